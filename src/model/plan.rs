//! What was decided: ordered, printable, comparable, and nothing but data.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::commit::CommitId;
use super::digest::Digest;
use super::drift::{FieldDiff, Verdict};
use super::fingerprint;
use super::id::ResourceId;
use super::place::Place;

/// The fixed order of work on a host. Firewall first, so that nothing listens unprotected; sources before the
/// packages that come from them; files before the services that read them; removals backwards; reactions
/// last, when their inputs are complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// The agent's own nftables table.
    Firewall,
    /// Files that decide where packages come from (`/etc/apt`).
    AptSources,
    /// One apt transaction.
    Packages,
    /// All other files.
    Files,
    /// Units: enabled, running.
    Services,
    /// Units stopped and disabled for good.
    RemoveServices,
    /// Files taken away.
    RemoveFiles,
    /// Packages taken away.
    RemovePackages,
    /// Apt sources taken away.
    RemoveAptSources,
    /// The firewall table taken away.
    RemoveFirewall,
    /// Reloads and restarts owed to changed inputs.
    Reactions,
}

impl Step {
    /// Every step, in order.
    pub const ALL: [Step; 11] = [
        Step::Firewall,
        Step::AptSources,
        Step::Packages,
        Step::Files,
        Step::Services,
        Step::RemoveServices,
        Step::RemoveFiles,
        Step::RemovePackages,
        Step::RemoveAptSources,
        Step::RemoveFirewall,
        Step::Reactions,
    ];
}

/// One decided change of one resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedChange {
    /// What is changed.
    pub resource: ResourceId,
    /// When in the order.
    pub step: Step,
    /// Why it differs.
    pub verdict: Verdict,
    /// What will be done, in words: the change's own line.
    pub action: String,
    /// What differs.
    pub fields: Vec<FieldDiff>,
    /// Whether something is taken away (counts against the removal limit).
    pub removes: bool,
    /// Where the declaration demands it; none for what was removed from it.
    pub declared: Option<Place>,
    /// Why it will not be done in this pass, if it will not: warn mode, suspended, waiting, held.
    pub held: Option<Held>,
}

/// Why a planned change is not applied now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", content = "detail", rename_all = "kebab-case")]
pub enum Held {
    /// The mode is `warn`: report only.
    Warn,
    /// A person suspended it; with the reason given.
    Suspended(String),
    /// Something else must be there first.
    Waiting(String),
    /// It is not well, and nothing the agent may do would help: a person or its own restart must.
    Failing(String),
    /// Changed lately: why, and when the next attempt is due.
    BackOff(String),
    /// Someone else keeps changing it back: who, how to settle it, and when the next attempt is due.
    Contested(String),
    /// More would be removed than the limit allows; a person must approve.
    RemovalLimit(String),
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Held::Warn => f.write_str("mode is warn: reported, not changed"),
            Held::Suspended(reason) => write!(f, "suspended: {reason}"),
            Held::Waiting(what) => write!(f, "waiting for {what}"),
            Held::Failing(why) => f.write_str(why),
            Held::BackOff(why) => f.write_str(why),
            Held::Contested(why) => write!(f, "contested: {why}"),
            Held::RemovalLimit(why) => write!(f, "held for approval: {why}"),
        }
    }
}

/// What a pass will do, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The revision it leads to; none when planned from a plain directory.
    pub commit: Option<CommitId>,
    /// The changes, in the order in which they are applied.
    pub changes: Vec<PlannedChange>,
}

impl Plan {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The digest that names exactly this plan (`agentctl sync --plan DIGEST`).
    pub fn digest(&self) -> Digest {
        fingerprint::of(self)
    }
}
