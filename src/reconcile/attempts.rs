//! How often a resource was changed lately, when the next attempt is due, and who is at the other end of it. Times are
//! on the boot-time clock.

use std::collections::BTreeMap;
use std::time::Duration;

use super::lane::Finding;
use crate::model::{Attribution, Confidence, Digest, FieldDiff, ResourceId, fingerprint};

/// Wait before the second correction of a resource that keeps drifting, and before the retry of a failed one.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// Each further wait is this many times longer. Argo CD's self-heal has the same shape.
const FACTOR: u32 = 3;
/// No wait is longer: a person who settles the matter sees it within five minutes.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// After this long without a further attempt the count starts anew. Longer than the longest wait, so that a resource
/// that is held back never counts as quiet.
pub const FORGIVEN_AFTER: Duration = Duration::from_secs(600);
/// Changed by someone else as often as this without ten quiet minutes in between, a resource is contested.
const CONTESTED_FROM: u32 = 5;
/// Corrected in vain so often in a row, a resource is left alone until the host or the declaration moves, or a person
/// asks: what did not stay thrice will not stay the fourth time.
const VAIN_ATTEMPTS: u32 = 3;
/// ... and is tried once so often: what it lacked (another host, a disk) may be there by then.
const REST: Duration = Duration::from_secs(3600);

/// The attempts made lately, by resource.
#[derive(Clone, Debug, Default)]
pub struct Attempts(BTreeMap<ResourceId, Attempt>);

#[derive(Clone, Debug)]
struct Attempt {
    /// Under which spec (none: its removal); not known of what was made before the agent was restarted.
    under: Option<Option<Digest>>,
    count: u32,
    first: Duration,
    last: Duration,
    outcome: Outcome,
    /// How often in a row it was done in vain.
    vain: u32,
    /// Who was last found to change it back.
    writer: Option<Attribution>,
}

/// How the last attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Well, as far as is known.
    Fine,
    /// It was done without complaint, and the resource differed right after.
    InVain {
        /// What it differed in then, by [`words_of`]; not known of what was made before the agent was restarted.
        left: Option<Digest>,
    },
    /// It failed, and how.
    Failed(String),
}

/// Someone else keeps changing a resource back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contest {
    /// How often it was found changed, this time included.
    pub times: u32,
    /// Since when.
    pub first: Duration,
    /// Who, as far as is known.
    pub writer: Option<Attribution>,
}

impl Attempts {
    /// When a difference may be attended to, if not now.
    pub fn due(&self, finding: &Finding, now: Duration) -> Option<Duration> {
        let attempt = self.of(finding)?;
        let wait = if attempt.rests(finding) { REST } else { attempt.wait() };
        Some(attempt.last + wait).filter(|due| *due > now)
    }

    /// Whether it was corrected in vain so often that it is left alone.
    pub fn rests(&self, finding: &Finding) -> bool {
        self.of(finding).is_some_and(|attempt| attempt.rests(finding))
    }

    /// How the last attempt on what differs ended; none if there was none lately. What moved since it was left as an
    /// attempt in vain left it is no business of that attempt.
    pub fn outcome(&self, finding: &Finding) -> Option<&Outcome> {
        let attempt = self.of(finding)?;
        match attempt.outcome {
            Outcome::InVain { .. } if !attempt.is_as_left(finding) => Some(&Outcome::Fine),
            Outcome::InVain { .. } | Outcome::Fine | Outcome::Failed(_) => Some(&attempt.outcome),
        }
    }

    /// Whether someone else keeps changing a resource that is found drifted now.
    pub fn contest(&self, finding: &Finding) -> Option<Contest> {
        let attempt = self.of(finding).filter(|attempt| attempt.outcome == Outcome::Fine)?;
        let times = attempt.count + 1;
        let (first, writer) = (attempt.first, attempt.writer.clone());
        (times >= CONTESTED_FROM).then_some(Contest { times, first, writer })
    }

    /// An attempt was made.
    pub fn made(&mut self, resource: &ResourceId, spec: Option<Digest>, now: Duration) {
        self.begin(resource, Some(spec), now);
    }

    /// An attempt was made before the agent was restarted.
    pub fn was_made(&mut self, resource: &ResourceId, then: Duration) {
        self.begin(resource, None, then);
    }

    /// How the last attempt ended.
    pub fn ended(&mut self, resource: &ResourceId, outcome: Outcome) {
        let Some(attempt) = self.0.get_mut(resource) else { return };
        attempt.vain = match outcome {
            Outcome::InVain { .. } => attempt.vain + 1,
            Outcome::Fine | Outcome::Failed(_) => 0,
        };
        attempt.outcome = outcome;
    }

    /// The last attempt did what was asked and undid nobody's work: it is no sign of a fight and does not count.
    pub fn not_counted(&mut self, resource: &ResourceId) {
        let Some(attempt) = self.0.get_mut(resource) else { return };
        attempt.count = attempt.count.saturating_sub(1);
        if attempt.count == 0 {
            self.0.remove(resource);
        }
    }

    /// Who changed a resource, as far as is known: an `unknown` never replaces a name.
    pub fn changed_by(&mut self, resource: &ResourceId, writer: &Attribution) {
        let Some(attempt) = self.0.get_mut(resource) else { return };
        if attempt.writer.is_none() || writer.confidence > Confidence::Unknown {
            attempt.writer = Some(writer.clone());
        }
    }

    /// Who was last found to change a resource.
    pub fn writer(&self, resource: &ResourceId) -> Option<&Attribution> {
        self.0.get(resource)?.writer.as_ref()
    }

    /// It was found as declared: what was in vain before is settled.
    pub fn found_right(&mut self, is_right: impl Fn(&ResourceId) -> bool) {
        self.0.retain(|resource, attempt| {
            !(matches!(attempt.outcome, Outcome::InVain { .. }) && is_right(resource))
        });
    }

    /// Forgets those that were quiet for long enough. What was done in vain is remembered until something moves: it
    /// would be tried again and again otherwise.
    pub fn forgive(&mut self, now: Duration) {
        self.0.retain(|_, attempt| attempt.vain > 0 || attempt.is_fresh(now));
    }

    /// Another declaration is in force: what failed or did not stay may go well now. Who fights about what it says
    /// unchanged still does.
    pub fn declared_anew(&mut self) {
        self.0.retain(|_, attempt| attempt.outcome == Outcome::Fine);
    }

    fn of(&self, finding: &Finding) -> Option<&Attempt> {
        let attempt = self.0.get(&finding.resource)?;
        attempt.under.is_none_or(|under| under == finding.spec).then_some(attempt)
    }

    fn begin(&mut self, resource: &ResourceId, under: Option<Option<Digest>>, now: Duration) {
        let before = self.0.remove(resource);
        let before = before.filter(|old| old.under.is_none() || old.under == under);
        // What was done in vain stays known however long ago it was: each hour's attempt would be the first of three.
        let vain = before.as_ref().map_or(0, |old| old.vain);
        let (count, first, writer) = match before.filter(|old| old.is_fresh(now)) {
            Some(old) => (old.count.saturating_add(1), old.first, old.writer),
            None => (1, now, None),
        };
        let attempt = Attempt { under, count, first, last: now, outcome: Outcome::Fine, vain, writer };
        self.0.insert(resource.clone(), attempt);
    }
}

impl Attempt {
    fn wait(&self) -> Duration {
        let factor = FACTOR.saturating_pow(self.count.saturating_sub(1));
        FIRST_WAIT.saturating_mul(factor).min(LONGEST_WAIT)
    }

    fn is_fresh(&self, now: Duration) -> bool {
        now.saturating_sub(self.last) < FORGIVEN_AFTER
    }

    fn rests(&self, finding: &Finding) -> bool {
        self.vain >= VAIN_ATTEMPTS && self.is_as_left(finding)
    }

    /// Whether a resource differs as it did right after an attempt in vain.
    fn is_as_left(&self, finding: &Finding) -> bool {
        match &self.outcome {
            Outcome::InVain { left } => left.is_none_or(|left| left == words_of(&finding.fields)),
            Outcome::Fine | Outcome::Failed(_) => false,
        }
    }
}

/// What tells one way of differing from another.
pub fn words_of(fields: &[FieldDiff]) -> Digest {
    fingerprint::of(&fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::memory::Remembered;

    fn motd(mode: &str) -> Finding {
        Finding {
            resource: "file:/etc/motd".parse().unwrap(),
            fields: vec![FieldDiff::new("mode", mode, "0644")],
            actions: Vec::new(),
            waiting: None,
            failing: None,
            declared: None,
            spec: Some(Digest::of(b"spec")),
            remembered: Remembered::default(),
            drift: None,
            prune: false,
            absent: false,
            owner: None,
        }
    }

    fn made(attempts: &mut Attempts, finding: &Finding, now: Duration) {
        attempts.made(&finding.resource, finding.spec, now);
    }

    const START: Duration = Duration::from_secs(1000);

    #[test]
    fn waits_grow_up_to_the_cap_and_are_forgiven_after_ten_quiet_minutes() {
        let finding = motd("0600");
        let (mut attempts, mut now, mut waits) = (Attempts::default(), START, Vec::new());
        for _ in 0..8 {
            assert_eq!(attempts.due(&finding, now), None);
            made(&mut attempts, &finding, now);
            let due = attempts.due(&finding, now).unwrap();
            waits.push((due - now).as_secs());
            now = due;
        }
        assert_eq!(waits, [2, 6, 18, 54, 162, 300, 300, 300]);
        let last = now - LONGEST_WAIT;
        attempts.forgive(last + Duration::from_secs(599));
        assert!(!attempts.0.is_empty());
        attempts.forgive(last + Duration::from_secs(600));
        assert!(attempts.0.is_empty());
    }

    #[test]
    fn an_attempt_that_undid_nothing_leaves_the_next_wait_as_it_was() {
        let finding = motd("0600");
        let mut attempts = Attempts::default();
        made(&mut attempts, &finding, START);
        attempts.not_counted(&finding.resource);
        assert_eq!(attempts.due(&finding, START), None);
        made(&mut attempts, &finding, START);
        made(&mut attempts, &finding, START);
        attempts.not_counted(&finding.resource);
        assert_eq!(attempts.due(&finding, START), Some(START + FIRST_WAIT));
    }

    #[test]
    fn changed_for_the_fifth_time_it_is_contested_and_the_other_writer_is_named() {
        let finding = motd("0600");
        let mut attempts = Attempts::default();
        let named = Attribution { confidence: Confidence::Likely, ..Attribution::unknown("cron ran then") };
        for minute in 0..4 {
            assert_eq!(attempts.contest(&finding), None, "change {}", minute + 1);
            made(&mut attempts, &finding, START + Duration::from_secs(60 * minute));
            attempts.changed_by(&finding.resource, &named);
            attempts.changed_by(&finding.resource, &Attribution::unknown("ended too soon"));
        }
        let contest = Contest { times: 5, first: START, writer: Some(named) };
        assert_eq!(attempts.contest(&finding), Some(contest));
        attempts.ended(&finding.resource, Outcome::Failed("no space".into()));
        assert_eq!(attempts.contest(&finding), None, "what fails is no fight");
    }

    #[test]
    fn what_did_not_stay_thrice_rests_until_something_moves() {
        let (finding, moved) = (motd("0600"), motd("0666"));
        let mut attempts = Attempts::default();
        let left = Some(words_of(&finding.fields));
        let mut now = START;
        for _ in 0..3 {
            assert!(!attempts.rests(&finding));
            now = attempts.due(&finding, now).unwrap_or(now);
            made(&mut attempts, &finding, now);
            attempts.ended(&finding.resource, Outcome::InVain { left });
        }
        assert_eq!(attempts.due(&finding, now), Some(now + REST));
        attempts.forgive(now + FORGIVEN_AFTER * 2);
        assert!(attempts.rests(&finding), "resting is not being quiet");
        assert_eq!(attempts.outcome(&moved), Some(&Outcome::Fine), "the host moved: that is drift");
        assert_eq!(attempts.due(&moved, now + Duration::from_secs(18)), None);
        assert_eq!(attempts.due(&Finding { spec: Some(Digest::of(b"other")), ..finding.clone() }, now), None);
        let mut right = attempts.clone();
        right.found_right(|_| true);
        assert_eq!(right.due(&finding, now), None);
        attempts.declared_anew();
        assert_eq!(attempts.due(&finding, now), None);
    }
}
