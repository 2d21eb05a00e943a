//! What happens on a host, one thing at a time: for those who follow along, and for the journal. Found by comparing
//! what is true with what was true before, so that nothing is told twice and nothing is forgotten.
//!
//! The form that programs read is `schema/event.json`, explained in `docs/history.md`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ResourceLine, Snapshot, WatchHealth, standing};
use crate::model::{CommitId, ResourceId, ResourceStatus, Verdict};
use crate::reconcile::PassReport;
use crate::reconcile::report::Seen;

/// Version of the form of an event. Grows when a field changes its meaning or goes; not when one is added.
pub const SCHEMA: u32 = 1;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Counts from 1 since the agent started: a gap is what a slow follower missed.
    pub number: u64,
    /// When the agent knew of it.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub what: Happening,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Happening {
    /// The host moved: a resource is not as declared any more.
    DriftSeen(Box<About>),
    /// The declaration moved, or was never reached, and nothing is done about it in this pass.
    BehindSeen(Box<About>),
    /// A drift was undone.
    Corrected(Box<About>),
    /// What the declaration newly demands was done.
    Applied(Box<About>),
    /// Putting it right failed.
    Failed(Box<About>),
    /// It was changed and would not stay so.
    NotConverging(Box<About>),
    /// Someone else keeps changing it back.
    Contested(Box<About>),
    /// It has to wait, or a person suspended it.
    Held(Box<About>),
    /// It could not be read.
    Unread {
        /// A kind or a resource.
        what: String,
        /// Why.
        message: String,
    },
    /// It is as declared again, without the agent's doing.
    RightAgain {
        /// Which.
        resource: ResourceId,
    },
    /// Another revision is in force.
    RevisionInForce {
        /// Which.
        commit: CommitId,
        /// Its author.
        author: String,
        /// What its message begins with.
        subject: String,
    },
    /// A commit is refused; the last good one stays in force.
    RevisionRefused {
        /// Which.
        commit: CommitId,
        /// In one word.
        reason: String,
        /// What happened and what to do next.
        message: String,
    },
    /// The remote can't be fetched from.
    SourceFailing {
        /// Why and what to do.
        message: String,
    },
    /// The remote can be fetched from again.
    SourceBack,
    /// A watcher does not see everything any more.
    WatcherLost(Watching),
    /// A watcher sees everything again.
    WatcherBack(Watching),
    /// A watcher's queue overflowed: a full pass makes up for it.
    WatcherOverflowed(Watching),
    /// A person said: hands off.
    Suspended {
        /// `file:/etc/motd`, `file` or `all`.
        target: String,
        /// Who.
        owner: String,
        /// Why.
        reason: String,
    },
    /// A suspension is over.
    Resumed {
        /// `file:/etc/motd`, `file` or `all`.
        target: String,
    },
}

/// A resource that something is told of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// How it stands, with what differed and who did it.
    #[serde(flatten)]
    pub line: ResourceLine,
    /// The number of its drift in the history.
    pub drift: Option<u64>,
    /// The pass.
    pub pass: u64,
    /// The revision that demands otherwise.
    pub commit: Option<CommitId>,
}

/// A watcher that something is told of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watching {
    /// What it watches.
    pub name: String,
    /// How.
    pub method: String,
    /// What is wrong.
    pub message: Option<String>,
}

impl Happening {
    /// Which resource it is about, if it is about one.
    pub fn resource(&self) -> Option<&ResourceId> {
        match self {
            Happening::DriftSeen(about)
            | Happening::BehindSeen(about)
            | Happening::Corrected(about)
            | Happening::Applied(about)
            | Happening::Failed(about)
            | Happening::NotConverging(about)
            | Happening::Contested(about)
            | Happening::Held(about) => Some(&about.line.resource),
            Happening::RightAgain { resource } => Some(resource),
            Happening::Unread { .. }
            | Happening::RevisionInForce { .. }
            | Happening::RevisionRefused { .. }
            | Happening::SourceFailing { .. }
            | Happening::SourceBack
            | Happening::WatcherLost(_)
            | Happening::WatcherBack(_)
            | Happening::WatcherOverflowed(_)
            | Happening::Suspended { .. }
            | Happening::Resumed { .. } => None,
        }
    }
}

/// Which pass something happened in.
#[derive(Clone, Copy, Debug)]
pub struct Occasion<'a> {
    /// Its number.
    pub pass: u64,
    /// The revision in force.
    pub commit: Option<&'a CommitId>,
    /// When it ended.
    pub at: Timestamp,
}

/// What a pass saw and did, told against how everything stood before it and stands after it.
pub fn of_pass(
    report: &PassReport,
    on: Occasion<'_>,
    before: &[ResourceLine],
    after: &[ResourceLine],
) -> Vec<Happening> {
    let mut told = Vec::new();
    for seen in &report.findings {
        of_resource(seen, on, before, &mut told);
    }
    let was_unread = |what: &str| {
        before.iter().any(|line| {
            line.status == ResourceStatus::Unknown
                && (line.resource.to_string() == what || format!("{}:*", what) == line.resource.to_string())
        })
    };
    let blind = report.blind.iter().map(|(kind, why)| (kind.to_string(), why.clone()));
    let single = report
        .unknown
        .iter()
        .map(|(kind, key, why)| (ResourceId::new(*kind, key.clone()).to_string(), why.clone()));
    let unread = blind.chain(single).filter(|(what, _)| !was_unread(what));
    told.extend(unread.map(|(what, message)| Happening::Unread { what, message }));
    let is_wrong = |line: &&ResourceLine| !is_right(line.status);
    for line in before.iter().filter(is_wrong) {
        let resource = &line.resource;
        let still = after.iter().filter(is_wrong).any(|line| line.resource == *resource);
        if !still && !report.findings.iter().any(|seen| seen.resource == *resource) {
            told.push(Happening::RightAgain { resource: resource.clone() });
        }
    }
    told
}

/// What is true now and was not before, besides what passes tell of.
pub fn between(before: &Snapshot, after: &Snapshot) -> Vec<Happening> {
    let mut told = Vec::new();
    if let Some(revision) = after.applied.as_ref().filter(|now| before.applied.as_ref() != Some(now)) {
        told.push(Happening::RevisionInForce {
            commit: revision.commit.clone(),
            author: revision.author.clone(),
            subject: revision.subject.clone(),
        });
    }
    let was_refused = |commit: &CommitId| before.rejected.as_ref().is_some_and(|old| old.commit == *commit);
    if let Some(refused) = after.rejected.as_ref().filter(|now| !was_refused(&now.commit)) {
        let (reason, message) = (refused.reason.clone(), refused.message.clone());
        told.push(Happening::RevisionRefused { commit: refused.commit.clone(), reason, message });
    }
    match (before.source.failing_since, after.source.failing_since) {
        (None, Some(_)) => {
            told.push(Happening::SourceFailing { message: after.source.error.clone().unwrap_or_default() })
        }
        (Some(_), None) => told.push(Happening::SourceBack),
        (None, None) | (Some(_), Some(_)) => {}
    }
    watches(&before.watches, &after.watches, &mut told);
    let is_in =
        |snapshot: &Snapshot, target: &str| snapshot.suspensions.iter().any(|one| one.target == target);
    for one in after.suspensions.iter().filter(|one| !is_in(before, &one.target)) {
        let (target, owner, reason) = (one.target.clone(), one.owner.clone(), one.reason.clone());
        told.push(Happening::Suspended { target, owner, reason });
    }
    let ended = before.suspensions.iter().filter(|one| !is_in(after, &one.target));
    told.extend(ended.map(|one| Happening::Resumed { target: one.target.clone() }));
    told
}

fn of_resource(seen: &Seen, on: Occasion<'_>, before: &[ResourceLine], told: &mut Vec<Happening>) {
    let known = |status| before.iter().any(|line| line.resource == seen.resource && line.status == status);
    let was_wrong = before.iter().any(|line| line.resource == seen.resource && !is_right(line.status));
    let about = || {
        let line = standing::line_of(seen, on.at);
        Box::new(About { line, drift: seen.drift, pass: on.pass, commit: on.commit.cloned() })
    };
    if !was_wrong && seen.verdict == Verdict::Drifted {
        told.push(Happening::DriftSeen(about()));
    }
    if seen.contested && !known(ResourceStatus::Contested) {
        told.push(Happening::Contested(about()));
    }
    let news = !known(seen.status) || seen.tried;
    match seen.status {
        ResourceStatus::Corrected => told.push(Happening::Corrected(about())),
        ResourceStatus::Synced => told.push(Happening::Applied(about())),
        ResourceStatus::Behind if news => told.push(Happening::BehindSeen(about())),
        ResourceStatus::Failed if news => told.push(Happening::Failed(about())),
        ResourceStatus::NotConverging if news => told.push(Happening::NotConverging(about())),
        ResourceStatus::Waiting | ResourceStatus::Suspended if news => told.push(Happening::Held(about())),
        // Told as seen, or as contested.
        ResourceStatus::Drifted
        | ResourceStatus::Contested
        | ResourceStatus::Behind
        | ResourceStatus::Failed
        | ResourceStatus::NotConverging
        | ResourceStatus::Waiting
        | ResourceStatus::Suspended
        // Not among the findings of a pass.
        | ResourceStatus::Unknown => {}
    }
}

fn watches(before: &[WatchHealth], after: &[WatchHealth], told: &mut Vec<Happening>) {
    let is_blind = |watch: &WatchHealth| watch.live_since.is_none() || watch.blind_since.is_some();
    for now in after {
        let old = before.iter().find(|old| old.name == now.name && old.method == now.method);
        let (name, method, message) = (now.name.clone(), now.method.clone(), now.message.clone());
        let watching = Watching { name, method, message };
        match (old.is_some_and(is_blind), is_blind(now)) {
            (false, true) => told.push(Happening::WatcherLost(watching.clone())),
            (true, false) => told.push(Happening::WatcherBack(watching.clone())),
            (false, false) | (true, true) => {}
        }
        if old.is_some_and(|old| old.overflows < now.overflows) {
            told.push(Happening::WatcherOverflowed(watching));
        }
    }
}

const fn is_right(status: ResourceStatus) -> bool {
    matches!(status, ResourceStatus::Synced | ResourceStatus::Corrected)
}
