//! Why something was not done.

use serde::{Deserialize, Serialize};

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "error", content = "parameters")]
pub enum Refusal {
    /// The peer may not.
    #[error("only {who} may do this")]
    #[serde(rename = "org.agentd.Agent.NotAllowed")]
    NotAllowed {
        /// Who may.
        who: String,
    },
    /// There is nothing of that name.
    #[error("{what}")]
    #[serde(rename = "org.agentd.Agent.NotFound")]
    NotFound {
        /// What was not found, and what to do.
        what: String,
    },
    /// It makes no sense now; the message says why and what to do.
    #[error("{message}")]
    #[serde(rename = "org.agentd.Agent.Refused")]
    Refused {
        /// Why, and what to do.
        message: String,
    },
    /// It was tried and failed.
    #[error("{message}")]
    #[serde(rename = "org.agentd.Agent.Failed")]
    Failed {
        /// What happened, and what to do.
        message: String,
    },
    /// The agent ends; ask again.
    #[error("the agent is stopping or busy: ask again")]
    #[serde(rename = "org.agentd.Agent.Busy")]
    Busy,
}
