//! What may be changed now, and what is held and why. Pure: a person's word, the mode, the back-off and the
//! removal limit are values that are handed in.

use std::time::Duration;

use super::attempts::{Attempts, Contest, Outcome};
use super::lane::Finding;
use super::reactions::Reactions;
use super::waiting::Waiting;
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
    /// What waits, and whether it still has to.
    pub waiting: &'a Waiting,
    /// Reloads and restarts made lately.
    pub reactions: &'a Reactions,
    /// Why a person suspended a resource, if so.
    pub suspended: &'a dyn Fn(&ResourceId) -> Option<String>,
    /// Why a resource is left alone because the agent died of it, if so.
    pub shunned: &'a dyn Fn(&ResourceId) -> Option<String>,
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
        let owner = finding.owner.as_ref().map(|owner| &owner.resource);
        if let Some(reason) = [&finding.resource].into_iter().chain(owner).find_map(|id| (self.suspended)(id))
        {
            return Judgement::Held(Held::Suspended(reason));
        }
        if let Some(why) = (self.shunned)(&finding.resource) {
            return Judgement::Held(Held::Failing(why));
        }
        if let Some(waiting) = &finding.waiting {
            return Judgement::Held(Held::Waiting(waiting.clone()));
        }
        if let (Some(failing), []) = (&finding.failing, finding.actions.as_slice()) {
            return Judgement::Held(Held::Failing(failing.clone()));
        }
        match self.patience {
            Patience::Patient => self.wait(finding).map_or(Judgement::Go, Judgement::Held),
            Patience::Impatient => Judgement::Go,
        }
    }

    /// Who fights about a drifted resource, and how to settle it, if someone does.
    pub fn fight(&self, finding: &Finding, verdict: Verdict) -> Option<String> {
        let contest = self.attempts.contest(finding).filter(|_| verdict == Verdict::Drifted)?;
        Some(format!("contested: {}", contested(&contest, finding, self.now)))
    }

    /// Why it has to wait, and until when, if it has to.
    fn wait(&self, finding: &Finding) -> Option<Held> {
        let is_calm = self.waiting.is_calm(&finding.resource, self.now);
        if let Some(due) = self.attempts.due(finding, self.now).filter(|_| !is_calm) {
            return Some(self.back_off(finding, due));
        }
        let due = finding.only_reacts().then(|| self.reactions.due(&finding.resource, self.now)).flatten()?;
        let wait = span(due.saturating_sub(self.now));
        Some(Held::BackOff(format!("it was reloaded or restarted too often lately (again in {wait})")))
    }

    /// A failure stays told until it is tried again; so does a fight.
    fn back_off(&self, finding: &Finding, due: Duration) -> Held {
        let wait = span(due.saturating_sub(self.now));
        let next = format!("next attempt in {wait}");
        if let Some(contest) = self.attempts.contest(finding) {
            return Held::Contested(format!(
                "{}; put right again in {wait}",
                contested(&contest, finding, self.now)
            ));
        }
        match self.attempts.outcome(finding) {
            Some(Outcome::Failed(message)) => Held::Failing(format!("{message} ({next})")),
            Some(Outcome::InVain { .. }) if self.attempts.rests(finding) => Held::BackOff(format!(
                "it did not stay as it was set, several times: it is left alone until the host or the declaration \
                 moves, `agentctl sync` is said, or {wait} have passed"
            )),
            Some(Outcome::InVain { .. }) => Held::BackOff(format!("it did not stay as it was set ({next})")),
            Some(Outcome::Fine) | None => {
                Held::BackOff(format!("it was changed again shortly before ({next})"))
            }
        }
    }
}

/// Who fights about what, and how to settle it.
fn contested(contest: &Contest, finding: &Finding, now: Duration) -> String {
    let Contest { times, first, writer } = contest;
    let writer = match writer {
        Some(writer) => writer.to_string(),
        None => "it is not known by whom".to_owned(),
    };
    format!(
        "changed {times} times in {}: {writer}. Declare what it should be, suspend it (`agentctl suspend {} --for 2h \
         --reason TEXT`), or stop the other",
        span(now.saturating_sub(*first)),
        finding.resource,
    )
}

fn span(span: Duration) -> String {
    match span.as_secs().max(1) {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds => format!("{} min", seconds.div_ceil(60)),
    }
}

/// Why something differs: the declaration moved, the host moved, or we moved it and it will not stay.
pub fn verdict(finding: &Finding, attempts: &Attempts) -> Verdict {
    if matches!(attempts.outcome(finding), Some(Outcome::InVain { .. })) {
        return Verdict::NotConverging;
    }
    // It is older than its inputs, which we changed: the host itself did not move.
    if finding.only_reacts() {
        return Verdict::Behind;
    }
    if let Some(owner) = &finding.owner {
        return if owner.settled { Verdict::Drifted } else { Verdict::Behind };
    }
    match (finding.remembered.converged, finding.spec) {
        (Some(converged), Some(spec)) if converged == spec => Verdict::Drifted,
        (None | Some(_), None | Some(_)) => Verdict::Behind,
    }
}
