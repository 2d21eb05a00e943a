//! What goes with a question or an order.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::ResourceId;
use crate::record::{DriftFilter, DriftId, Noted, PassFilter, SuspendTarget};

/// Parameters of `Diff`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiffQuery {
    /// Only these; empty means everything.
    #[serde(default)]
    pub resources: Vec<ResourceId>,
}

/// Parameters of `Sync`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyncOrder {
    /// Whether to ask the remote first.
    #[serde(default)]
    pub fetch: FetchFirst,
}

/// Whether a sync asks the remote first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FetchFirst {
    /// Ask for a newer commit, then reconcile.
    #[default]
    Yes,
    /// Reconcile with what is applied.
    No,
}

/// Parameters of `Suspend`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SuspendOrder {
    /// What.
    pub target: SuspendTarget,
    /// For how long, in seconds.
    pub seconds: u64,
    /// Why.
    pub reason: String,
}

impl SuspendOrder {
    /// For how long.
    pub const fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

/// Parameters of `Resume`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResumeOrder {
    /// What was suspended.
    pub target: SuspendTarget,
}

/// Parameters of `Approve`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApproveOrder {
    /// The commit that waits, or the digest of a plan; abbreviated to at least seven digits.
    pub what: String,
}

/// Parameters of `History`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryQuery {
    /// One drift in full; the filters are not looked at then.
    #[serde(default)]
    pub id: Option<DriftId>,
    /// Which drifts.
    #[serde(default)]
    pub drifts: Option<DriftFilter>,
    /// Which passes.
    #[serde(default)]
    pub passes: Option<PassFilter>,
}

/// Parameters of `Events`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventsQuery {
    /// So many of the last ones first, as far as they are remembered.
    #[serde(default)]
    pub last: u32,
    /// Whether to go on with what happens from now on. Takes a call with `more`.
    #[serde(default)]
    pub follow: Follow,
}

/// Whether events are followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Follow {
    /// What is remembered, and no more.
    #[default]
    No,
    /// Until one of both ends it.
    Yes,
}

/// Parameters of `Verify`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifyQuery {
    /// Heads that were noted elsewhere: the chain must go through each.
    #[serde(default)]
    pub heads: Vec<Noted>,
}

/// Parameters of `Explain`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplainQuery {
    /// What.
    pub resource: ResourceId,
}

/// Parameters of `Restore`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoreOrder {
    /// The number of a drift, or the path of a file (then what was kept of it last).
    pub what: RestoreWhat,
    /// For how long the resource is suspended afterwards, in seconds, so that it is not undone at once.
    pub seconds: u64,
}

/// What to bring back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RestoreWhat {
    /// What a drift's correction replaced or removed.
    Drift(DriftId),
    /// What was kept last of a file.
    Path(String),
}
