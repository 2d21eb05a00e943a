//! What came of a change.

use serde::{Deserialize, Serialize};

use super::id::ResourceId;

/// What came of one change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// What was changed.
    pub resource: ResourceId,
    /// How it went.
    pub result: OutcomeResult,
}

impl Outcome {
    /// It was done.
    pub fn done(resource: ResourceId) -> Self {
        Outcome { resource, result: OutcomeResult::Done }
    }

    /// It failed; `message` says what happened, to what, and what to do next.
    pub fn failed(resource: ResourceId, message: impl Into<String>) -> Self {
        Outcome { resource, result: OutcomeResult::Failed { message: message.into() } }
    }
}

/// How a change went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutcomeResult {
    /// Done, as far as the kind can tell; verification decides.
    Done,
    /// Done, with what a person will ask for later: `nginx 1.22.0-1 → 1.22.1-9`.
    DoneNoting {
        /// What was before and after, where the plan could not know it.
        note: String,
    },
    /// Not done: something else must come first. Tried again at the next pass.
    Waiting {
        /// What for.
        message: String,
    },
    /// Tried and failed.
    Failed {
        /// What happened, to what, and what to do next.
        message: String,
    },
}

impl OutcomeResult {
    /// Splits off the note of a change that is done.
    pub fn into_noted(self) -> (OutcomeResult, Option<String>) {
        match self {
            OutcomeResult::DoneNoting { note } => (OutcomeResult::Done, Some(note)),
            other @ (OutcomeResult::Done | OutcomeResult::Waiting { .. } | OutcomeResult::Failed { .. }) => {
                (other, None)
            }
        }
    }
}
