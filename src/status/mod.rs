//! What is true now: one immutable snapshot, made after every pass and every fetch. `agentctl status`, the
//! metrics and the journal are projections of it.
//!
//! May not: decide anything. Flows in: the last pass, the source's state, the watchers' health. Flows out:
//! [`Snapshot`].

pub mod event;
pub mod standing;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::host::counters::Counts;
use crate::model::vocabulary::SyncReason;
use crate::model::{
    Attribution, CommitId, Diagnostic, Digest, DriftMode, FieldDiff, Health, KindName, Place, ResourceId,
    ResourceStatus, Revision, Sync, Trigger, Verdict,
};
use crate::record::Noted;

/// Version of the snapshot's shape. Grows when a field changes its meaning or goes; not when one is added.
pub const SCHEMA: u32 = 1;

/// Everything that is true of one host now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// [`SCHEMA`].
    pub schema: u32,
    /// When the snapshot was made.
    pub at: Timestamp,
    /// The agent itself.
    pub agent: AgentInfo,
    /// The name the declaration is matched with.
    pub host: String,
    /// The host file that matched, if a revision is in force.
    pub host_file: Option<Place>,
    /// The host's roles, in order.
    pub roles: Vec<String>,
    /// What is done about drift, after the local settings had their say.
    pub mode: DriftMode,
    /// The revision that is in force.
    pub applied: Option<Revision>,
    /// The newest commit that was seen, if it is another one.
    pub target: Option<CommitId>,
    /// Why the target is not in force.
    pub rejected: Option<Rejection>,
    /// In sync or not.
    pub sync: Sync,
    /// How well the host is.
    pub health: Health,
    /// Since when `sync` and `health` are what they are.
    pub since: Timestamp,
    /// The conditions, by type.
    pub conditions: Vec<Condition>,
    /// How many resources have which status, by kind.
    pub counts: BTreeMap<KindName, BTreeMap<ResourceStatus, u32>>,
    /// Every resource that is not simply `Synced`, and those corrected lately.
    pub resources: Vec<ResourceLine>,
    /// Where the declaration comes from.
    pub source: SourceStatus,
    /// The watchers.
    pub watches: Vec<WatchHealth>,
    /// The last pass.
    pub last_pass: Option<PassSummary>,
    /// When the next full pass is due.
    pub next_full_pass: Option<Timestamp>,
    /// What is suspended.
    pub suspensions: Vec<SuspensionLine>,
    /// A guarded change that waits for its confirmation.
    pub pending_confirmation: Option<PendingConfirmation>,
    /// What a person should know and no resource stands for.
    pub notes: Vec<String>,
    /// Root of the declared fingerprint.
    pub declared: Option<Digest>,
    /// The head of the history that was noted in the journal last.
    #[serde(default)]
    pub history: Option<Noted>,
}

/// The running agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentInfo {
    /// Its version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// When it started.
    pub started: Timestamp,
}

/// A revision that is not put in force, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// The commit.
    pub commit: CommitId,
    /// Reason in one word, as in the condition `Stalled`: `RevisionRejected`, `AwaitingApproval`.
    pub reason: String,
    /// What happened and what to do next.
    pub message: String,
    /// The faults of the declaration, if that is the reason.
    pub diagnostics: Vec<Diagnostic>,
    /// Since when.
    pub since: Timestamp,
}

/// One condition, in the manner of Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// `Ready`, `Reconciling`, `Stalled`, `Drifted`, `SourceStale`, `WatchesLive`, `Healthy`, `Suspended`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it holds; none if it could not be told.
    pub status: Option<bool>,
    /// Reason in one word.
    pub reason: String,
    /// For people.
    pub message: String,
    /// Since when.
    pub since: Timestamp,
}

/// One resource as the status shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResourceLine {
    /// Which.
    pub resource: ResourceId,
    /// What the last pass found and did.
    pub status: ResourceStatus,
    /// Why it differs or differed.
    pub verdict: Option<Verdict>,
    /// Whether it is declared and is not there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub missing: bool,
    /// What differs or differed.
    pub fields: Vec<FieldDiff>,
    /// What was done or would be done.
    pub action: Option<String>,
    /// Why it is not right, in words: what failed, what it waits for, who suspended it.
    pub message: Option<String>,
    /// Where it is declared.
    pub declared: Option<Place>,
    /// When this was first seen.
    pub since: Timestamp,
    /// How long putting it right took, from the start of the pass that saw it; milliseconds.
    pub corrected_ms: Option<f64>,
    /// Who made it differ, as far as is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribution: Option<Attribution>,
}

/// Where the declaration comes from and how it goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// URL without credentials; empty if none is configured.
    pub url: String,
    /// Branch.
    pub branch: String,
    /// Folder of the declaration within the repository.
    pub path: String,
    /// The last fetch that succeeded.
    pub last_success: Option<Timestamp>,
    /// Since when fetching fails.
    pub failing_since: Option<Timestamp>,
    /// Why it fails and what to do.
    pub error: Option<String>,
    /// When it is tried again.
    pub next: Option<Timestamp>,
    /// Whether the history is cut off, so that older lines have no author.
    pub shallow: bool,
}

/// How a watcher is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchHealth {
    /// What it watches: `file`, `package`, `service`, `firewall`.
    pub name: String,
    /// How it does so: `inotify`, `fanotify`, `netlink`, `dbus`.
    pub method: String,
    /// Since when it is live; none if it is not.
    pub live_since: Option<Timestamp>,
    /// Since when something is not seen, if so.
    pub blind_since: Option<Timestamp>,
    /// How many folders (or groups, or signals) it holds.
    pub watches: u64,
    /// How many events it has seen.
    pub events: u64,
    /// How often its queue overflowed.
    pub overflows: u64,
    /// What is wrong, and that the full pass covers it.
    pub message: Option<String>,
}

/// One pass in short.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PassSummary {
    /// Its number in the record.
    pub id: u64,
    /// Why it started.
    pub triggers: Vec<Trigger>,
    /// When it started.
    pub started: Timestamp,
    /// How long it took; milliseconds.
    pub duration_ms: f64,
    /// Whether it looked at everything.
    pub full: bool,
    /// How many resources differed.
    pub differed: u32,
    /// How many changes were made.
    pub changed: u32,
    /// How many failed.
    pub failed: u32,
    /// The work it did.
    pub work: Counts,
}

/// A suspension as shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuspensionLine {
    /// `file:/etc/motd`, `file` or `all`.
    pub target: String,
    /// Why.
    pub reason: String,
    /// Who.
    pub owner: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when; none if until it is resumed.
    pub until: Option<Timestamp>,
}

/// A guarded change that undoes itself unless it is confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingConfirmation {
    /// What was changed.
    pub what: String,
    /// When it is undone.
    pub deadline: Timestamp,
}

impl Snapshot {
    /// In sync or not, by the worst resource: drifted wins over behind, unknown over both. Failed, waiting
    /// and suspended resources count by the verdict they had.
    pub fn sync_of(lines: &[ResourceLine]) -> Sync {
        let mut sync = Sync::Synced;
        for line in lines {
            let reason = match line.status {
                ResourceStatus::Synced | ResourceStatus::Corrected => continue,
                ResourceStatus::Unknown => return Sync::Unknown,
                ResourceStatus::Behind => SyncReason::Behind,
                ResourceStatus::Drifted | ResourceStatus::Contested => SyncReason::Drifted,
                ResourceStatus::Failed
                | ResourceStatus::NotConverging
                | ResourceStatus::Waiting
                | ResourceStatus::Suspended => match line.verdict {
                    Some(Verdict::Behind) => SyncReason::Behind,
                    Some(Verdict::Drifted | Verdict::NotConverging) | None => SyncReason::Drifted,
                },
            };
            if sync != Sync::OutOfSync(SyncReason::Drifted) {
                sync = Sync::OutOfSync(reason);
            }
        }
        sync
    }

    /// The worst health of any resource.
    pub fn health_of(lines: &[ResourceLine]) -> Health {
        lines.iter().map(health_of_line).max().unwrap_or(Health::Healthy)
    }
}

const fn health_of_line(line: &ResourceLine) -> Health {
    match line.status {
        // Nothing is done about it for now, and it is not there: what relies on it does not work.
        ResourceStatus::Drifted | ResourceStatus::Behind if line.missing => Health::Missing,
        ResourceStatus::Synced
        | ResourceStatus::Corrected
        | ResourceStatus::Drifted
        | ResourceStatus::Behind => Health::Healthy,
        ResourceStatus::Waiting => Health::Progressing,
        ResourceStatus::Suspended => Health::Suspended,
        ResourceStatus::Failed | ResourceStatus::NotConverging | ResourceStatus::Contested => {
            Health::Degraded
        }
        ResourceStatus::Unknown => Health::Unknown,
    }
}
