//! What is answered.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::fingerprint::Fingerprint;
use crate::model::{
    CommitId, Digest, DriftMode, FieldDiff, Key, KindName, Place, Plan, Provenance, ResourceId, Revision,
    Verdict,
};
use crate::record::{DriftRecord, Noted, PassRecord, Suspension, Verification};
use crate::status::event::Event;
use crate::status::{ResourceLine, Snapshot};

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
    /// To `Events`; with `continues` set as long as they are followed.
    Events(EventsReply),
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

/// The longest text that is shown of a content, in bytes; beyond it nobody reads.
pub const SHOWN: u64 = 1 << 20;

impl ContentText {
    /// These bytes as they may be shown.
    pub fn of(bytes: &[u8]) -> Self {
        if bytes.len() as u64 > SHOWN {
            return ContentText::TooLarge;
        }
        match std::str::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => ContentText::Text(text.to_owned()),
            Ok(_) | Err(_) => ContentText::Binary,
        }
    }
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

/// Answer to `Events`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EventsReply {
    /// What happened, oldest first.
    pub events: Vec<Event>,
}

/// Answer to `Verify`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReply {
    /// What was found.
    pub verification: Verification,
    /// Heads that are of another history: the record was begun anew or replaced since they were noted.
    #[serde(default)]
    pub others: Vec<Noted>,
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
