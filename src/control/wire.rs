//! The words on the wire. Fields are added, never renamed; what a client does not know it passes over, what the
//! server does not know it refuses.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::verb::Verb;
use crate::model::fingerprint::Fingerprint;
use crate::model::{
    CommitId, Digest, DriftMode, FieldDiff, Key, KindName, Place, Plan, Provenance, ResourceId, Revision,
    Verdict,
};
use crate::record::{DriftFilter, DriftId, DriftRecord, Head, PassFilter, PassRecord, SuspendTarget};
use crate::record::{Suspension, Verification};
use crate::status::{ResourceLine, Snapshot};

/// What was asked, decoded once and never changed afterwards.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// What is true now.
    Status,
    /// What differs, with contents.
    Diff(DiffQuery),
    /// What a pass would do.
    Plan,
    /// Fetch and reconcile now.
    Sync(SyncOrder),
    /// Hands off.
    Suspend(SuspendOrder),
    /// Hands on again.
    Resume(ResumeOrder),
    /// A guarded change is fine.
    Confirm,
    /// What was held may go ahead.
    Approve(ApproveOrder),
    /// Drifts and passes.
    History(HistoryQuery),
    /// Check the chain of the history.
    Verify(VerifyQuery),
    /// Everything about one resource.
    Explain(ExplainQuery),
    /// Digests of what is declared and observed.
    Fingerprint,
    /// Bring back what was kept.
    Restore(RestoreOrder),
    /// Read the settings again.
    Reload,
}

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

/// Parameters of `Verify`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifyQuery {
    /// A head that was noted elsewhere: the chain must go through it.
    #[serde(default)]
    pub head: Option<Head>,
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

/// What is answered. Serialised as the parameters of a reply.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Reply {
    /// To `Status`.
    Status(Box<StatusReply>),
    /// To `Diff`.
    Diff(DiffReply),
    /// To `Plan`.
    Plan(PlanReply),
    /// To `Sync`, before the end: `continues` is set.
    Progress(ProgressReply),
    /// To `Sync`, at the end.
    Sync(Box<SyncReply>),
    /// To `Suspend`.
    Suspended(SuspendedReply),
    /// To `Resume`.
    Resumed(ResumedReply),
    /// To `Confirm`.
    Confirmed(ConfirmedReply),
    /// To `History`.
    History(HistoryReply),
    /// To `Verify`.
    Verified(VerifyReply),
    /// To `Explain`.
    Explain(Box<Explanation>),
    /// To `Fingerprint`.
    Fingerprint(FingerprintReply),
    /// To `Restore`.
    Restored(RestoredReply),
    /// To `Approve` and `Reload`: it was done.
    Done(DoneReply),
}

/// Answer to `Status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusReply {
    /// Everything that is true now.
    pub status: Snapshot,
}

/// Answer to `Diff`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffReply {
    /// What differs, in the order of the plan.
    pub differences: Vec<ResourceDiff>,
    /// What could not be read, and why.
    #[serde(default)]
    pub unknown: Vec<Unread>,
}

/// One resource that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceDiff {
    /// Which.
    pub resource: ResourceId,
    /// Why.
    pub verdict: Verdict,
    /// What differs, field by field.
    pub fields: Vec<FieldDiff>,
    /// Where the declaration demands otherwise.
    pub declared: Option<Place>,
    /// Why nothing is done about it, if nothing is.
    pub held: Option<String>,
    /// The contents, where a content differs.
    pub content: Option<ContentPair>,
}

/// Both contents of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentPair {
    /// What the host has.
    pub observed: ContentText,
    /// What is declared.
    pub desired: ContentText,
}

/// A content as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is", content = "text")]
pub enum ContentText {
    /// Nothing is there.
    Absent,
    /// Text.
    Text(String),
    /// Not text.
    Binary,
    /// Larger than is shown.
    TooLarge,
    /// Not to be shown.
    Secret,
    /// It can't be had any more.
    Gone,
}

/// Something that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unread {
    /// A kind or a resource.
    pub what: String,
    /// Why.
    pub why: String,
}

/// Answer to `Plan`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanReply {
    /// What would be done, in order.
    pub plan: Plan,
    /// What could not be read: nothing is planned for it.
    #[serde(default)]
    pub unknown: Vec<Unread>,
    /// What a person should know besides.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// A step of a sync that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressReply {
    /// What it is at.
    pub progress: Progress,
}

/// How far a sync is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "at")]
pub enum Progress {
    /// Asking the remote.
    Fetching,
    /// The remote answered.
    Fetched {
        /// The tip of the branch.
        commit: CommitId,
        /// Whether it is another one than the applied one.
        new: bool,
    },
    /// Compiling a commit for this host.
    Compiling {
        /// Which.
        commit: CommitId,
    },
    /// Looking at the host.
    Observing,
    /// Making changes.
    Applying {
        /// How many are made.
        changes: u32,
    },
    /// Looking at the host once more.
    Verifying,
}

/// Answer to `Sync`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SyncReply {
    /// What is true now.
    pub status: Snapshot,
    /// What this sync changed or found differing.
    pub resources: Vec<ResourceLine>,
    /// Why the remote could not be asked, if so. What is applied was held to nevertheless.
    pub fetch_error: Option<String>,
}

/// Answer to `Suspend`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuspendedReply {
    /// As it was noted.
    pub suspension: Suspension,
}

/// Answer to `Resume`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResumedReply {
    /// Whether it was suspended at all.
    pub was_suspended: bool,
}

/// Answer to `Confirm`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfirmedReply {
    /// What was waiting; none if nothing was.
    pub what: Option<String>,
}

/// Answer to `History`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HistoryReply {
    /// Drifts, newest first.
    #[serde(default)]
    pub drifts: Vec<DriftRecord>,
    /// Passes, newest first.
    #[serde(default)]
    pub passes: Vec<PassRecord>,
}

/// Answer to `Verify`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReply {
    /// What was found.
    pub verification: Verification,
}

/// Answer to `Explain`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// What.
    pub resource: ResourceId,
    /// Whether and how it is declared; none if it is not.
    pub declared: Option<DeclaredView>,
    /// Its state now; none if it is simply as declared, or not declared.
    pub state: Option<ResourceLine>,
    /// The last change the agent made to it.
    pub last_change: Option<DriftRecord>,
    /// The suspension that holds for it.
    pub suspension: Option<Suspension>,
    /// Since when it is under management; none if it is not.
    pub managed_since: Option<Timestamp>,
    /// Whether the agent brought it.
    pub brought: bool,
}

/// How a resource is declared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeclaredView {
    /// The revision.
    pub revision: Option<Revision>,
    /// Which lines spoke of it, and which one won.
    pub provenance: Provenance,
    /// What is declared, by field. Secrets are placeholders.
    pub spec: serde_json::Value,
    /// What is done about its drift.
    pub mode: DriftMode,
    /// Whether dropping it from the declaration removes it, if the agent brought it.
    pub prune: bool,
}

/// Answer to `Fingerprint`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FingerprintReply {
    /// The host.
    pub host: String,
    /// Of what is declared.
    pub declared: FingerprintView,
    /// Of what was observed in the last full pass; none before the first.
    pub observed: Option<FingerprintView>,
}

/// A fingerprint with its sums.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FingerprintView {
    /// Over all kinds.
    pub root: Digest,
    /// By kind, in their order.
    pub kinds: Vec<KindFingerprint>,
}

/// The fingerprint of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindFingerprint {
    /// Which.
    pub kind: KindName,
    /// Over its resources.
    pub digest: Digest,
    /// Each resource's own.
    pub resources: Vec<(Key, Digest)>,
}

impl From<&Fingerprint> for FingerprintView {
    fn from(fingerprint: &Fingerprint) -> Self {
        let of_kind = |kind| KindFingerprint {
            kind,
            digest: fingerprint.kind(kind),
            resources: fingerprint.resources(kind).map(|(key, digest)| (key.clone(), *digest)).collect(),
        };
        FingerprintView { root: fingerprint.root(), kinds: KindName::ALL.into_iter().map(of_kind).collect() }
    }
}

/// Answer to `Restore`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoredReply {
    /// What is back.
    pub resource: ResourceId,
    /// What was kept of the state that it replaced, if something was.
    pub kept: Option<String>,
    /// So that it is not undone at once.
    pub suspension: Option<Suspension>,
}

/// Answer to what has nothing to tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoneReply {
    /// What a person should know.
    #[serde(default)]
    pub message: String,
}

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

impl Request {
    /// Its verb.
    pub const fn verb(&self) -> Verb {
        match self {
            Request::Status => Verb::Status,
            Request::Diff(_) => Verb::Diff,
            Request::Plan => Verb::Plan,
            Request::Sync(_) => Verb::Sync,
            Request::Suspend(_) => Verb::Suspend,
            Request::Resume(_) => Verb::Resume,
            Request::Confirm => Verb::Confirm,
            Request::Approve(_) => Verb::Approve,
            Request::History(_) => Verb::History,
            Request::Verify(_) => Verb::Verify,
            Request::Explain(_) => Verb::Explain,
            Request::Fingerprint => Verb::Fingerprint,
            Request::Restore(_) => Verb::Restore,
            Request::Reload => Verb::Reload,
        }
    }

    /// The request of a verb with these parameters; an error names what is wrong with them.
    pub fn decode(verb: Verb, parameters: Option<serde_json::Value>) -> Result<Request, serde_json::Error> {
        use serde_json::from_value;
        let object = || serde_json::Value::Object(serde_json::Map::new());
        let parameters = parameters.filter(|value| !value.is_null()).unwrap_or_else(object);
        Ok(match verb {
            Verb::Diff => Request::Diff(from_value(parameters)?),
            Verb::Sync => Request::Sync(from_value(parameters)?),
            Verb::Suspend => Request::Suspend(from_value(parameters)?),
            Verb::Resume => Request::Resume(from_value(parameters)?),
            Verb::Approve => Request::Approve(from_value(parameters)?),
            Verb::History => Request::History(from_value(parameters)?),
            Verb::Verify => Request::Verify(from_value(parameters)?),
            Verb::Explain => Request::Explain(from_value(parameters)?),
            Verb::Restore => Request::Restore(from_value(parameters)?),
            Verb::Status => nothing(parameters, Request::Status)?,
            Verb::Plan => nothing(parameters, Request::Plan)?,
            Verb::Confirm => nothing(parameters, Request::Confirm)?,
            Verb::Fingerprint => nothing(parameters, Request::Fingerprint)?,
            Verb::Reload => nothing(parameters, Request::Reload)?,
        })
    }

    /// Its parameters as they go over the wire.
    pub fn parameters(&self) -> Result<serde_json::Value, serde_json::Error> {
        use serde_json::to_value;
        match self {
            Request::Status | Request::Plan | Request::Confirm | Request::Fingerprint | Request::Reload => {
                to_value(NoParameters {})
            }
            Request::Diff(query) => to_value(query),
            Request::Sync(order) => to_value(order),
            Request::Suspend(order) => to_value(order),
            Request::Resume(order) => to_value(order),
            Request::Approve(order) => to_value(order),
            Request::History(query) => to_value(query),
            Request::Verify(query) => to_value(query),
            Request::Explain(query) => to_value(query),
            Request::Restore(order) => to_value(order),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoParameters {}

fn nothing(parameters: serde_json::Value, request: Request) -> Result<Request, serde_json::Error> {
    serde_json::from_value::<NoParameters>(parameters)?;
    Ok(request)
}
