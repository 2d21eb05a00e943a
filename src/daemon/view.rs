//! From the pieces to the snapshot that everybody is shown.

use std::sync::Arc;

use jiff::Timestamp;

use super::exposing;
use super::journal;
use super::run::Daemon;
use super::workshop::View;
use crate::guard::firewall::{Awaiting, Confirmation, WHAT};
use crate::model::vocabulary::SyncReason;
use crate::model::{DriftMode, Health, Revision, Sync};
use crate::status::event;
use crate::status::{
    AgentInfo, Condition, PassSummary, PendingConfirmation, Rejection, SCHEMA, Snapshot, SourceStatus,
    WatchHealth,
};

/// The pieces.
pub struct Parts<'a> {
    /// Now.
    pub now: Timestamp,
    /// The running agent.
    pub agent: &'a AgentInfo,
    /// The host's name.
    pub host: &'a str,
    /// What is done about drift.
    pub mode: DriftMode,
    /// How everything stands.
    pub view: &'a View,
    /// Following the branch.
    pub source: SourceStatus,
    /// A commit that is refused.
    pub rejected: Option<Rejection>,
    /// The watchers.
    pub watches: Vec<WatchHealth>,
    /// The last pass.
    pub last_pass: Option<PassSummary>,
    /// When the next full pass is due.
    pub next_full_pass: Option<Timestamp>,
    /// Whether a pass is under way.
    pub reconciling: bool,
    /// Notes besides those of the pass.
    pub notes: Vec<String>,
    /// Whether the system wants to be rebooted.
    pub reboot_required: bool,
    /// After how long without a fetch the source counts as stale.
    pub stale_after: std::time::Duration,
}

impl Daemon {
    /// Makes a new snapshot of what is known.
    pub(super) fn refresh(&mut self) {
        self.timers.resume = self.end_of_suspension();
        self.timers.undo = self.end_of_window();
        let follow = self.follow.as_ref();
        let mut source = follow.map(|follow| follow.status.clone()).unwrap_or_default();
        source.next = self.timers.fetch.map(|due| self.wall_time(due));
        let parts = Parts {
            now: self.clock.now(),
            agent: &self.agent,
            host: &self.setup.host,
            mode: self.setup.mode,
            view: &self.view,
            source,
            rejected: follow.and_then(|follow| follow.rejected.clone()),
            watches: self.watches.health().into_iter().chain([self.programs.clone()]).collect(),
            last_pass: self.last_pass.clone(),
            next_full_pass: self.timers.full_pass.map(|due| self.wall_time(due)),
            reconciling: self.passing,
            notes: self.notes.iter().chain(&self.textfile_fault).cloned().collect(),
            reboot_required: std::path::Path::new("/run/reboot-required").exists(),
            stale_after: self.setup.stale_after,
        };
        let made = snapshot(parts, self.snapshot.as_deref());
        self.manager.status(&made);
        if let Some(before) = &self.snapshot {
            let told = event::between(before, &made);
            journal::host(&told);
            self.is_stale |= !told.is_empty() || exposing::has_changed(before, &made);
            self.followers.tell(made.at, told);
        }
        if std::mem::take(&mut self.is_stale) {
            self.expose(&made);
        }
        self.snapshot = Some(Arc::new(made));
    }
}

/// Puts the snapshot together; what did not change keeps its `since` from the one before.
pub fn snapshot(parts: Parts<'_>, before: Option<&Snapshot>) -> Snapshot {
    let (sync, health) = parts.view.verdict.unwrap_or((Sync::Unknown, Health::Unknown));
    let health = match (parts.reconciling, health) {
        (true, Health::Healthy) => Health::Progressing,
        (_, health) => health,
    };
    let since = match before {
        Some(before) if before.sync == sync && before.health == health => before.since,
        Some(_) | None => parts.now,
    };
    let desired = parts.view.desired.as_deref();
    let applied: Option<Revision> = desired.and_then(|desired| desired.revision.clone());
    let mode = desired.map_or(parts.mode, |desired| parts.mode.min(desired.policy.drift));
    let conditions = conditions(&parts, sync, health, before);
    let notes = parts.notes.into_iter().chain(parts.view.notes.iter().cloned());
    Snapshot {
        schema: SCHEMA,
        at: parts.now,
        agent: parts.agent.clone(),
        host: parts.host.to_owned(),
        host_file: desired.and_then(|desired| desired.host_file.clone()),
        roles: desired.map(|desired| desired.roles.clone()).unwrap_or_default(),
        mode,
        target: parts.rejected.as_ref().map(|rejected| rejected.commit.clone()),
        applied,
        rejected: parts.rejected,
        sync,
        health,
        since,
        conditions,
        counts: parts.view.counts.clone(),
        resources: parts.view.lines.clone(),
        source: parts.source,
        watches: parts.watches,
        last_pass: parts.last_pass,
        next_full_pass: parts.next_full_pass,
        suspensions: parts.view.suspensions.clone(),
        pending_confirmation: parts.view.confirmation.as_ref().and_then(pending),
        notes: notes.collect(),
        declared: parts.view.declared,
        history: parts.view.head,
    }
}

/// A change that waits for its confirmation, with the deadline on the wall clock.
fn pending(awaiting: &Awaiting) -> Option<PendingConfirmation> {
    match awaiting.confirmation {
        Confirmation::Awaited { left, .. } => Some(PendingConfirmation {
            what: WHAT.to_owned(),
            deadline: awaiting.at.checked_add(left).unwrap_or(Timestamp::MAX),
        }),
        Confirmation::Settled | Confirmation::Undone { .. } => None,
    }
}

/// One condition before it knows since when.
struct Said {
    kind: &'static str,
    status: Option<bool>,
    reason: String,
    message: String,
}

fn said(kind: &'static str, status: bool, reason: &str, message: impl Into<String>) -> Said {
    Said { kind, status: Some(status), reason: reason.to_owned(), message: message.into() }
}

fn conditions(parts: &Parts<'_>, sync: Sync, health: Health, before: Option<&Snapshot>) -> Vec<Condition> {
    let all = [
        ready(parts, sync, health),
        said("Reconciling", parts.reconciling, if parts.reconciling { "PassRunning" } else { "Idle" }, ""),
        stalled(parts),
        drifted(sync),
        source_stale(parts),
        watches_live(parts),
        healthy(health),
        said(
            "Suspended",
            !parts.view.suspensions.is_empty(),
            if parts.view.suspensions.is_empty() { "None" } else { "ByAPerson" },
            "",
        ),
        said(
            "RebootRequired",
            parts.reboot_required,
            if parts.reboot_required { "PackageAsked" } else { "None" },
            "",
        ),
    ];
    all.into_iter().map(|said| since(said, parts.now, before)).collect()
}

fn since(said: Said, now: Timestamp, before: Option<&Snapshot>) -> Condition {
    let Said { kind, status, reason, message } = said;
    let earlier = before.and_then(|before| before.conditions.iter().find(|condition| condition.kind == kind));
    let since = match earlier {
        Some(earlier) if earlier.status == status && earlier.reason == reason => earlier.since,
        Some(_) | None => now,
    };
    Condition { kind: kind.to_owned(), status, reason, message, since }
}

fn ready(parts: &Parts<'_>, sync: Sync, health: Health) -> Said {
    if parts.view.desired.is_none() {
        return said("Ready", false, "NoRevision", "no revision was applied yet");
    }
    if parts.view.verdict.is_none() {
        return said("Ready", false, "NotObserved", "the host was not looked at under this revision yet");
    }
    match (sync, health) {
        (Sync::Synced, Health::Healthy | Health::Progressing) => said("Ready", true, "Synced", ""),
        (sync, health) => said("Ready", false, "NotAsDeclared", format!("{sync}, {health}")),
    }
}

fn stalled(parts: &Parts<'_>) -> Said {
    match &parts.rejected {
        Some(rejected) => said("Stalled", true, &rejected.reason, rejected.message.clone()),
        None => said("Stalled", false, "None", ""),
    }
}

fn drifted(sync: Sync) -> Said {
    match sync {
        Sync::OutOfSync(SyncReason::Drifted) => said("Drifted", true, "HostMoved", ""),
        Sync::OutOfSync(SyncReason::Behind) | Sync::Synced => said("Drifted", false, "None", ""),
        Sync::Unknown => {
            Said { kind: "Drifted", status: None, reason: "Unread".to_owned(), message: String::new() }
        }
    }
}

fn source_stale(parts: &Parts<'_>) -> Said {
    let Some(last) = parts.source.last_success else {
        let message = parts.source.error.clone().unwrap_or_default();
        return said("SourceStale", true, "NeverFetched", message);
    };
    let limit = jiff::SignedDuration::try_from(parts.stale_after).unwrap_or(jiff::SignedDuration::MAX);
    match parts.now.duration_since(last) > limit {
        true => said("SourceStale", true, "NotFetched", parts.source.error.clone().unwrap_or_default()),
        false => said("SourceStale", false, "Fresh", ""),
    }
}

fn watches_live(parts: &Parts<'_>) -> Said {
    let blind = |watch: &&WatchHealth| watch.live_since.is_none() || watch.blind_since.is_some();
    match parts.watches.iter().find(blind) {
        Some(watch) => said(
            "WatchesLive",
            false,
            "Blind",
            format!("{}: {}", watch.name, watch.message.as_deref().unwrap_or("")),
        ),
        None => said("WatchesLive", !parts.watches.is_empty(), "Live", ""),
    }
}

fn healthy(health: Health) -> Said {
    match health {
        Health::Healthy | Health::Progressing | Health::Suspended => {
            said("Healthy", true, &health.to_string(), "")
        }
        Health::Missing | Health::Degraded => said("Healthy", false, &health.to_string(), ""),
        Health::Unknown => {
            Said { kind: "Healthy", status: None, reason: "Unread".to_owned(), message: String::new() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Desired;

    fn shown(view: &View) -> Snapshot {
        let agent = AgentInfo { version: String::new(), pid: 1, started: Timestamp::UNIX_EPOCH };
        let parts = Parts {
            now: Timestamp::UNIX_EPOCH,
            agent: &agent,
            host: "web-1",
            mode: DriftMode::Enabled,
            view,
            source: SourceStatus::default(),
            rejected: None,
            watches: Vec::new(),
            last_pass: None,
            next_full_pass: None,
            reconciling: true,
            notes: Vec::new(),
            reboot_required: false,
            stale_after: std::time::Duration::ZERO,
        };
        snapshot(parts, None)
    }

    fn ready(snapshot: &Snapshot) -> (Option<bool>, &str) {
        let condition = snapshot.conditions.iter().find(|one| one.kind == "Ready").unwrap();
        (condition.status, &condition.reason)
    }

    #[test]
    fn a_revision_in_force_is_not_ready_before_the_host_was_looked_at_under_it() {
        let mut view = View { desired: Some(Arc::new(Desired::default())), ..View::default() };
        let before = shown(&view);
        assert_eq!(ready(&before), (Some(false), "NotObserved"));
        assert_eq!((before.sync, before.health), (Sync::Unknown, Health::Unknown));
        view.verdict = Some((Sync::Synced, Health::Healthy));
        assert_eq!(ready(&shown(&view)), (Some(true), "Synced"));
    }
}
