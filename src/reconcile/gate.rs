//! What may be changed now, and what is held and why. Pure: a person's word, the mode, the back-off and the
//! removal limit are values that are handed in.

use std::time::Duration;

use super::attempts::{Attempts, Outcome};
use super::lane::Finding;
use crate::kind::Policy;
use crate::model::plan::Held;
use crate::model::{DriftMode, ResourceId, Verdict};

/// What the judgement of a pass goes by.
pub struct Gate<'a> {
    /// The local settings' mode: no declaration loosens it.
    pub local: DriftMode,
    /// What the declaration says for the host.
    pub policy: &'a Policy,
    /// Attempts made lately.
    pub attempts: &'a Attempts,
    /// Why a person suspended a resource, if so.
    pub suspended: &'a dyn Fn(&ResourceId) -> Option<String>,
    /// Time since boot.
    pub now: Duration,
    /// How patient the pass is.
    pub patience: Patience,
}

/// Whether back-off holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Waits are kept.
    Patient,
    /// A person asked: everything is tried now.
    Impatient,
}

/// What is done about a finding.
#[derive(Clone, Debug, PartialEq)]
pub enum Judgement {
    /// It is changed.
    Go,
    /// It is reported, not changed.
    Held(Held),
    /// It is not even reported: its mode is `disabled`.
    Ignored,
}

impl Gate<'_> {
    /// Judges one finding.
    pub fn judge(&self, finding: &Finding) -> Judgement {
        match finding.drift.unwrap_or(self.policy.drift).min(self.local) {
            DriftMode::Disabled => return Judgement::Ignored,
            DriftMode::Warn => return Judgement::Held(Held::Warn),
            DriftMode::Enabled => {}
        }
        if let Some(reason) = (self.suspended)(&finding.resource) {
            return Judgement::Held(Held::Suspended(reason));
        }
        if let Some(waiting) = &finding.waiting {
            return Judgement::Held(Held::Waiting(waiting.clone()));
        }
        if let (Some(failing), []) = (&finding.failing, finding.actions.as_slice()) {
            return Judgement::Held(Held::Failing(failing.clone()));
        }
        let due = match self.patience {
            Patience::Patient => self.attempts.due(&finding.resource, self.now),
            Patience::Impatient => None,
        };
        match due {
            Some(due) => Judgement::Held(self.back_off(&finding.resource, due)),
            None => Judgement::Go,
        }
    }

    /// Why it has to wait, and until when: a failure stays told until it is tried again.
    fn back_off(&self, resource: &ResourceId, due: Duration) -> Held {
        let next = format!("next attempt in {} s", (due - self.now).as_secs().max(1));
        match self.attempts.outcome(resource) {
            Some(Outcome::Failed(message)) => Held::Failing(format!("{message} ({next})")),
            Some(Outcome::InVain) => Held::BackOff(format!("it did not stay as it was set ({next})")),
            Some(Outcome::Fine) | None => {
                Held::BackOff(format!("it was changed again shortly before ({next})"))
            }
        }
    }
}

/// Why something differs: the declaration moved, the host moved, or we moved it and it will not stay.
pub fn verdict(finding: &Finding, attempts: &Attempts) -> Verdict {
    if attempts.outcome(&finding.resource) == Some(&Outcome::InVain) {
        return Verdict::NotConverging;
    }
    // It is older than its inputs, which we changed: the host itself did not move.
    if finding.only_reacts() {
        return Verdict::Behind;
    }
    match (finding.remembered.converged, finding.spec) {
        (Some(converged), Some(spec)) if converged == spec => Verdict::Drifted,
        (None | Some(_), None | Some(_)) => Verdict::Behind,
    }
}
