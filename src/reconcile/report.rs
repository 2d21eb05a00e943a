//! What a pass found and did.

use std::time::Duration;

use crate::host::counters::Counts;
use crate::model::{
    Attribution, FieldDiff, Key, KindName, Outcome, Place, Plan, ResourceId, ResourceStatus, Verdict,
};

/// What a pass found and did.
#[derive(Clone, Debug, Default)]
pub struct PassReport {
    /// What was decided.
    pub plan: Plan,
    /// What came of the changes that were made.
    pub outcomes: Vec<Outcome>,
    /// Every resource in scope that was not simply as declared.
    pub findings: Vec<Seen>,
    /// How many resources were looked at.
    pub observed: usize,
    /// Kinds of which nothing could be read, and why.
    pub blind: Vec<(KindName, String)>,
    /// Single resources that could not be read, and why.
    pub unknown: Vec<(KindName, Key, String)>,
    /// What a person should know and no resource stands for.
    pub notes: Vec<String>,
    /// How long it took.
    pub duration: Duration,
    /// How long its parts took.
    pub phases: Phases,
    /// The work it did.
    pub work: Counts,
    /// Something that waited can go on now, or somebody changed again what was just put right: pass again at once.
    pub again: bool,
    /// The record could not be written: why, and what to do. Where this was so before the first change, none was
    /// made.
    pub record_fault: Option<String>,
}

/// How long the parts of a pass took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// Up to the plan.
    pub observe: Duration,
    /// Intents written down and changes made.
    pub apply: Duration,
    /// The second look, and what came of it all written down.
    pub verify: Duration,
}

/// One resource that differed, and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Which.
    pub resource: ResourceId,
    /// How it stands now.
    pub status: ResourceStatus,
    /// Why it differed.
    pub verdict: Verdict,
    /// Whether it is declared and was not there.
    pub missing: bool,
    /// What differed.
    pub fields: Vec<FieldDiff>,
    /// What was or would be done.
    pub action: String,
    /// What to tell a person.
    pub message: Option<String>,
    /// Whether someone else keeps changing it back: the message says who and what to do.
    pub contested: bool,
    /// Whether something was done, or tried, about it in this pass.
    pub tried: bool,
    /// Where it is declared.
    pub declared: Option<Place>,
    /// From the start of the pass until it was verified.
    pub took: Option<Duration>,
    /// Its number in the record.
    pub drift: Option<u64>,
    /// Who made it differ, once somebody has looked: after the pass, never during it.
    pub attribution: Option<Attribution>,
}

impl PassReport {
    /// Whether a resource could not be read.
    pub fn is_unread(&self, id: &ResourceId) -> bool {
        self.blind.iter().any(|(kind, _)| *kind == id.kind)
            || self.unknown.iter().any(|(kind, key, _)| *kind == id.kind && *key == id.key)
    }

    /// How many changes were made without failing.
    pub fn changed(&self) -> usize {
        self.findings
            .iter()
            .filter(|seen| matches!(seen.status, ResourceStatus::Corrected | ResourceStatus::Synced))
            .count()
    }

    /// How many resources failed or do not converge.
    pub fn failed(&self) -> usize {
        self.findings
            .iter()
            .filter(|seen| matches!(seen.status, ResourceStatus::Failed | ResourceStatus::NotConverging))
            .count()
    }
}
