//! One resource on its way through a pass: what was found, what was decided, what came of it.

use std::time::Duration;

use super::lane::Finding;
use super::memory::{Converged, DriftId, Intent, Resolution};
use super::report::Seen;
use crate::model::plan::Held;
use crate::model::{OutcomeResult, PlannedChange, ResourceStatus, Step, Verdict};

/// What was found of one resource and what is done about it.
pub(super) struct Case {
    pub finding: Finding,
    pub verdict: Verdict,
    pub held: Option<Held>,
    pub result: Option<OutcomeResult>,
    pub took: Option<Duration>,
    pub number: Option<DriftId>,
    pub note: Option<String>,
    /// Who fights about it, and how to settle it, if someone does.
    pub fight: Option<String>,
}

impl Case {
    pub(super) fn action(&self) -> String {
        let texts: Vec<&str> = self.finding.actions.iter().map(|action| action.text.as_str()).collect();
        texts.join(", ")
    }

    pub(super) fn planned(&self) -> Vec<PlannedChange> {
        let change = |step, action: &str, removes| PlannedChange {
            resource: self.finding.resource.clone(),
            step,
            verdict: self.verdict,
            action: action.to_owned(),
            fields: self.finding.fields.clone(),
            removes,
            declared: self.finding.declared.clone(),
            held: self.held.clone(),
        };
        if self.finding.actions.is_empty() {
            return vec![change(Step::Reactions, "wait", false)];
        }
        self.finding.actions.iter().map(|action| change(action.step, &action.text, action.removes)).collect()
    }

    pub(super) fn intent(&self) -> Intent {
        Intent {
            resource: self.finding.resource.clone(),
            verdict: self.verdict,
            fields: self.finding.fields.clone(),
            action: self.action(),
            held: self.held.clone(),
            creates: self.creates(),
            removes: self.finding.actions.iter().any(|action| action.removes),
            prune: self.finding.prune,
            declared: self.finding.declared.clone(),
        }
    }

    pub(super) fn creates(&self) -> bool {
        let mut actions = self.finding.actions.iter();
        actions.any(|action| action.brings || self.finding.absent && !action.removes)
    }

    /// Whether it is declared and is not there.
    fn is_missing(&self) -> bool {
        let goes = self.finding.actions.iter().any(|action| action.removes);
        self.finding.absent && self.finding.spec.is_some() && !goes
    }

    /// Whether an earlier change of this resource stopped the later ones.
    pub(super) const fn has_stopped(&self) -> bool {
        matches!(self.result, Some(OutcomeResult::Waiting { .. } | OutcomeResult::Failed { .. }))
    }

    /// Whether its changes only followed the declaration or our own earlier changes: nobody's work was undone.
    pub(super) fn undid_nothing(&self) -> bool {
        self.verdict == Verdict::Behind || self.finding.only_reacts()
    }

    /// Whether what is left after the changes is something that did not show before them.
    pub(super) fn shows_only_new(&self, left: &Finding) -> bool {
        left.fields.iter().all(|field| !self.finding.fields.iter().any(|before| before.field == field.field))
    }

    /// That it is as declared, if it is declared.
    pub(super) fn converged(&self) -> Option<Converged> {
        let Finding { resource, spec, prune, .. } = &self.finding;
        spec.map(|spec| Converged { resource: resource.clone(), spec, prune: *prune })
    }

    pub(super) fn resolution(&self) -> Option<Resolution> {
        match (&self.result, self.verdict) {
            (None, _) => None,
            (Some(OutcomeResult::Done), Verdict::NotConverging) if self.took.is_none() => {
                Some(Resolution::NotConverging)
            }
            (Some(OutcomeResult::Done), _) => Some(Resolution::Right),
            (Some(result), _) => Some(Resolution::Tried(result.clone())),
        }
    }

    pub(super) fn status(&self) -> ResourceStatus {
        match (&self.result, &self.held) {
            (Some(OutcomeResult::Done | OutcomeResult::DoneNoting { .. }), _) => {
                match (self.verdict, self.took) {
                    (Verdict::Behind, Some(_)) => ResourceStatus::Synced,
                    (Verdict::Drifted | Verdict::NotConverging, Some(_)) => ResourceStatus::Corrected,
                    (Verdict::Behind | Verdict::Drifted | Verdict::NotConverging, None) => {
                        ResourceStatus::NotConverging
                    }
                }
            }
            (Some(OutcomeResult::Failed { .. }), _) => ResourceStatus::Failed,
            (Some(OutcomeResult::Waiting { .. }), _) | (None, Some(Held::Waiting(_))) => {
                ResourceStatus::Waiting
            }
            (None, Some(Held::Suspended(_))) => ResourceStatus::Suspended,
            (None, Some(Held::Contested(_))) => ResourceStatus::Contested,
            (None, Some(Held::Failing(_))) => ResourceStatus::Failed,
            (None, Some(Held::BackOff(_))) if self.finding.failing.is_some() => ResourceStatus::Failed,
            (None, _) => match self.verdict {
                Verdict::Drifted => ResourceStatus::Drifted,
                Verdict::Behind => ResourceStatus::Behind,
                Verdict::NotConverging => ResourceStatus::NotConverging,
            },
        }
    }

    pub(super) fn message(&self) -> Option<String> {
        match (&self.result, &self.held) {
            (Some(OutcomeResult::Failed { message }), _) => Some(message.clone()),
            (Some(OutcomeResult::Waiting { message }), _) => Some(format!("waiting for {message}")),
            (Some(OutcomeResult::Done | OutcomeResult::DoneNoting { .. }), _) => {
                let words: Vec<&str> =
                    [&self.note, &self.fight].into_iter().flatten().map(String::as_str).collect();
                (!words.is_empty()).then(|| words.join("; "))
            }
            (None, held) => held.as_ref().map(ToString::to_string),
        }
    }

    pub(super) fn into_seen(self) -> Seen {
        Seen {
            missing: self.is_missing(),
            status: self.status(),
            verdict: self.verdict,
            action: self.action(),
            message: self.message(),
            contested: self.fight.is_some(),
            tried: self.result.is_some(),
            took: self.took,
            drift: self.number,
            attribution: None,
            fields: self.finding.fields,
            declared: self.finding.declared,
            resource: self.finding.resource,
        }
    }
}
