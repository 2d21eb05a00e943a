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

/// What happened. For programs all of it is flat: the word under `event` is a different one in each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Happening {
    /// A pass found or did something about a resource.
    Resource {
        /// What.
        #[serde(rename = "event")]
        turn: Turn,
        /// How the resource stands.
        #[serde(flatten)]
        about: Box<About>,
    },
    /// A pass found something out about a resource of which there is nothing to show.
    Found(Found),
    /// The host or its agent, besides passes.
    Host(OnHost),
}

/// What a pass found or did about a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Turn {
    /// The host moved: it is not as declared any more.
    DriftSeen,
    /// The declaration moved, or was never reached, and nothing is done about it in this pass.
    BehindSeen,
    /// A drift was undone.
    Corrected,
    /// What the declaration newly demands was done.
    Applied,
    /// Putting it right failed.
    Failed,
    /// It was changed and would not stay so.
    NotConverging,
    /// Someone else keeps changing it back.
    Contested,
    /// It has to wait, or a person suspended it.
    Held,
}

/// What a pass found out about a resource of which there is nothing to show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Found {
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
}

/// What happens besides passes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum OnHost {
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
            Happening::Resource { about, .. } => Some(&about.line.resource),
            Happening::Found(Found::RightAgain { resource }) => Some(resource),
            Happening::Found(Found::Unread { .. }) | Happening::Host(_) => None,
        }
    }
}

impl From<OnHost> for Happening {
    fn from(what: OnHost) -> Self {
        Happening::Host(what)
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
    told.extend(unread.map(|(what, message)| Happening::Found(Found::Unread { what, message })));
    let is_wrong = |line: &&ResourceLine| !is_right(line.status);
    for line in before.iter().filter(is_wrong) {
        let resource = &line.resource;
        let still = after.iter().filter(is_wrong).any(|line| line.resource == *resource);
        if !still && !report.findings.iter().any(|seen| seen.resource == *resource) {
            told.push(Happening::Found(Found::RightAgain { resource: resource.clone() }));
        }
    }
    told
}

/// What is true now and was not before, besides what passes tell of.
pub fn between(before: &Snapshot, after: &Snapshot) -> Vec<OnHost> {
    let mut told = Vec::new();
    if let Some(revision) = after.applied.as_ref().filter(|now| before.applied.as_ref() != Some(now)) {
        told.push(OnHost::RevisionInForce {
            commit: revision.commit.clone(),
            author: revision.author.clone(),
            subject: revision.subject.clone(),
        });
    }
    let was_refused = |commit: &CommitId| before.rejected.as_ref().is_some_and(|old| old.commit == *commit);
    if let Some(refused) = after.rejected.as_ref().filter(|now| !was_refused(&now.commit)) {
        let (reason, message) = (refused.reason.clone(), refused.message.clone());
        told.push(OnHost::RevisionRefused { commit: refused.commit.clone(), reason, message });
    }
    match (before.source.failing_since, after.source.failing_since) {
        (None, Some(_)) => {
            told.push(OnHost::SourceFailing { message: after.source.error.clone().unwrap_or_default() })
        }
        (Some(_), None) => told.push(OnHost::SourceBack),
        (None, None) | (Some(_), Some(_)) => {}
    }
    watches(&before.watches, &after.watches, &mut told);
    let is_in =
        |snapshot: &Snapshot, target: &str| snapshot.suspensions.iter().any(|one| one.target == target);
    for one in after.suspensions.iter().filter(|one| !is_in(before, &one.target)) {
        let (target, owner, reason) = (one.target.clone(), one.owner.clone(), one.reason.clone());
        told.push(OnHost::Suspended { target, owner, reason });
    }
    let ended = before.suspensions.iter().filter(|one| !is_in(after, &one.target));
    told.extend(ended.map(|one| OnHost::Resumed { target: one.target.clone() }));
    told
}

fn of_resource(seen: &Seen, on: Occasion<'_>, before: &[ResourceLine], told: &mut Vec<Happening>) {
    let known = |status| before.iter().any(|line| line.resource == seen.resource && line.status == status);
    let was_wrong = before.iter().any(|line| line.resource == seen.resource && !is_right(line.status));
    let mut tell = |turn| {
        let line = standing::line_of(seen, on.at);
        let about = About { line, drift: seen.drift, pass: on.pass, commit: on.commit.cloned() };
        told.push(Happening::Resource { turn, about: Box::new(about) });
    };
    if !was_wrong && seen.verdict == Verdict::Drifted {
        tell(Turn::DriftSeen);
    }
    if seen.contested && !known(ResourceStatus::Contested) {
        tell(Turn::Contested);
    }
    let news = !known(seen.status) || seen.tried;
    match seen.status {
        ResourceStatus::Corrected => tell(Turn::Corrected),
        ResourceStatus::Synced => tell(Turn::Applied),
        ResourceStatus::Behind if news => tell(Turn::BehindSeen),
        ResourceStatus::Failed if news => tell(Turn::Failed),
        ResourceStatus::NotConverging if news => tell(Turn::NotConverging),
        ResourceStatus::Waiting | ResourceStatus::Suspended if news => tell(Turn::Held),
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

fn watches(before: &[WatchHealth], after: &[WatchHealth], told: &mut Vec<OnHost>) {
    let is_blind = |watch: &WatchHealth| watch.live_since.is_none() || watch.blind_since.is_some();
    for now in after {
        let old = before.iter().find(|old| old.name == now.name && old.method == now.method);
        let (name, method, message) = (now.name.clone(), now.method.clone(), now.message.clone());
        let watching = Watching { name, method, message };
        match (old.is_some_and(is_blind), is_blind(now)) {
            (false, true) => told.push(OnHost::WatcherLost(watching.clone())),
            (true, false) => told.push(OnHost::WatcherBack(watching.clone())),
            (false, false) | (true, true) => {}
        }
        if old.is_some_and(|old| old.overflows < now.overflows) {
            told.push(OnHost::WatcherOverflowed(watching));
        }
    }
}

const fn is_right(status: ResourceStatus) -> bool {
    matches!(status, ResourceStatus::Synced | ResourceStatus::Corrected)
}
