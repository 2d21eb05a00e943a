//! How often things may happen when far more of them come than a person could make: at once as long as there are few,
//! and then so many a minute. Times are on the boot-time clock.

use std::time::Duration;

/// So many at once, then one each so often.
#[derive(Clone, Debug)]
pub struct Pace {
    burst: u32,
    one_each: Duration,
    left: u32,
    refilled: Duration,
}

impl Pace {
    /// Notices that lead to a look. A person's change is looked at at once; a storm ten times a second.
    pub const fn of_looks() -> Self {
        Pace::new(20, Duration::from_millis(100))
    }

    /// Lines in the journal about drift. Each may bring another one, of how many were held back: with the heads of the
    /// history fewer than sixty in any minute.
    pub const fn of_lines() -> Self {
        Pace::new(15, Duration::from_secs(4))
    }

    /// Heads of the history in the journal. One that is left out is covered by the next, which is later in the chain.
    pub const fn of_heads() -> Self {
        Pace::new(3, Duration::from_secs(10))
    }

    const fn new(burst: u32, one_each: Duration) -> Self {
        Pace { burst, one_each, left: burst, refilled: Duration::ZERO }
    }

    /// How long the next one has to wait; none if it need not.
    pub fn wait(&mut self, now: Duration) -> Option<Duration> {
        self.refill(now);
        (self.left == 0).then(|| (self.refilled + self.one_each).saturating_sub(now))
    }

    /// Takes one, if it need not wait.
    pub fn take(&mut self, now: Duration) -> bool {
        self.refill(now);
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }

    fn refill(&mut self, now: Duration) {
        let earned = now.saturating_sub(self.refilled).as_millis() / self.one_each.as_millis();
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        match self.left.saturating_add(earned) {
            left if left >= self.burst => (self.left, self.refilled) = (self.burst, now),
            left => {
                self.left = left;
                self.refilled += self.one_each * earned;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(pace: &mut Pace, from: u64, to: u64) -> usize {
        (from..to).filter(|at| pace.take(Duration::from_millis(*at))).count()
    }

    #[test]
    fn few_need_not_wait_and_many_get_so_many_a_second() {
        let mut pace = Pace::of_looks();
        assert_eq!(pace.wait(Duration::from_secs(9)), None);
        assert_eq!(taken(&mut pace, 10_000, 20_000), 20 + 99);
        assert_eq!(pace.wait(Duration::from_millis(19_999)), Some(Duration::from_millis(1)));
        assert_eq!(pace.wait(Duration::from_millis(20_000)), None);
    }

    #[test]
    fn no_minute_has_sixty_lines() {
        let (mut lines, mut heads) = (Pace::of_lines(), Pace::of_heads());
        let told = taken(&mut lines, 1_000_000, 1_060_000);
        let heads = taken(&mut heads, 1_000_000, 1_060_000);
        // Once many were held back, each line brings one that says so.
        assert!(told + (told - 15) + heads < 60, "{told} and {heads}");
        assert_eq!(taken(&mut lines, 1_060_000, 1_120_000), 15);
    }
}
