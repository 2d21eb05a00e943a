//! How often a resource was changed lately, and when the next attempt is due. Times are on the boot-time clock.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::ResourceId;

/// Wait before the second correction of a resource that keeps drifting, and before the retry of a failed one.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// Each further wait is this many times longer. Argo CD's self-heal has the same shape.
const FACTOR: u32 = 3;
/// No wait is longer: a person who settles the matter sees it within five minutes.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// After this long without a further attempt the count starts anew.
const FORGIVEN_AFTER: Duration = Duration::from_secs(600);

/// The attempts made lately, by resource.
#[derive(Clone, Debug, Default)]
pub struct Attempts(BTreeMap<ResourceId, Attempt>);

#[derive(Clone, Debug)]
struct Attempt {
    count: u32,
    last: Duration,
    outcome: Outcome,
}

/// How the last attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Well, as far as is known.
    Fine,
    /// It was done without complaint, and the resource differed right after.
    InVain,
    /// It failed, and how.
    Failed(String),
}

impl Attempts {
    /// When the next attempt is due, if not now.
    pub fn due(&self, resource: &ResourceId, now: Duration) -> Option<Duration> {
        let attempt = self.0.get(resource)?;
        let due = attempt.last + attempt.wait();
        (due > now).then_some(due)
    }

    /// How the last attempt ended; none if there was none lately.
    pub fn outcome(&self, resource: &ResourceId) -> Option<&Outcome> {
        self.0.get(resource).map(|attempt| &attempt.outcome)
    }

    /// An attempt was made.
    pub fn made(&mut self, resource: &ResourceId, now: Duration) {
        let attempt =
            self.0.entry(resource.clone()).or_insert(Attempt { count: 0, last: now, outcome: Outcome::Fine });
        attempt.count = attempt.count.saturating_add(1);
        attempt.last = now;
        attempt.outcome = Outcome::Fine;
    }

    /// How the last attempt ended.
    pub fn ended(&mut self, resource: &ResourceId, outcome: Outcome) {
        if let Some(attempt) = self.0.get_mut(resource) {
            attempt.outcome = outcome;
        }
    }

    /// The last attempt did what was asked and undid nobody's work: it is no sign of a fight and does not count.
    pub fn not_counted(&mut self, resource: &ResourceId) {
        let Some(attempt) = self.0.get_mut(resource) else { return };
        attempt.count = attempt.count.saturating_sub(1);
        if attempt.count == 0 {
            self.0.remove(resource);
        }
    }

    /// Forgets those that were quiet for long enough.
    pub fn forgive(&mut self, now: Duration) {
        self.0.retain(|_, attempt| now.saturating_sub(attempt.last) < FORGIVEN_AFTER + attempt.wait());
    }

    /// Forgets one: the declaration changed, or a person asked.
    pub fn clear(&mut self, resource: &ResourceId) {
        self.0.remove(resource);
    }

    /// Forgets all.
    pub fn clear_all(&mut self) {
        self.0.clear();
    }
}

impl Attempt {
    /// A first correction is followed at once by a second look only after [`FIRST_WAIT`].
    fn wait(&self) -> Duration {
        let factor = FACTOR.saturating_pow(self.count.saturating_sub(1));
        FIRST_WAIT.saturating_mul(factor).min(LONGEST_WAIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_the_cap_and_are_forgiven_after_quiet() {
        let motd: ResourceId = "file:/etc/motd".parse().unwrap();
        let mut attempts = Attempts::default();
        let mut now = Duration::from_secs(1000);
        let mut waits = Vec::new();
        for _ in 0..7 {
            assert_eq!(attempts.due(&motd, now), None);
            attempts.made(&motd, now);
            let due = attempts.due(&motd, now).unwrap();
            waits.push((due - now).as_secs());
            now = due;
        }
        assert_eq!(waits, [2, 6, 18, 54, 162, 300, 300]);
        attempts.forgive(now + Duration::from_secs(599));
        assert!(attempts.0.contains_key(&motd));
        attempts.forgive(now + Duration::from_secs(601));
        assert!(attempts.0.is_empty());
    }

    #[test]
    fn an_attempt_that_undid_nothing_leaves_the_next_wait_as_it_was() {
        let nginx: ResourceId = "service:nginx.service".parse().unwrap();
        let mut attempts = Attempts::default();
        let now = Duration::from_secs(100);
        attempts.made(&nginx, now);
        attempts.not_counted(&nginx);
        assert_eq!(attempts.due(&nginx, now), None);
        attempts.made(&nginx, now);
        attempts.made(&nginx, now);
        attempts.not_counted(&nginx);
        assert_eq!(attempts.due(&nginx, now), Some(now + FIRST_WAIT));
    }
}
