//! When to poll the source and when to pass over everything. Pure: hosts of a fleet spread by a stable hash of
//! their names, so that fifty that boot at once do not ask at once for ever.

use std::time::Duration;

use crate::model::Digest;

/// A fetch that keeps failing is tried at least this often.
pub const LONGEST_BACK_OFF: Duration = Duration::from_secs(15 * 60);

/// A point between 0 and 1 that is the same for a host on every start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread(f64);

impl Spread {
    /// The spread of a host.
    pub fn of(host: &str) -> Self {
        let [a, b, c, d, ..] = *Digest::of(host.as_bytes()).as_bytes();
        Spread(f64::from(u32::from_be_bytes([a, b, c, d])) / f64::from(u32::MAX))
    }

    /// The interval, lengthened by up to a tenth.
    pub fn interval(self, interval: Duration) -> Duration {
        interval.mul_f64(1.0 + 0.1 * self.0)
    }

    /// The wait after `failures` failures in a row: doubles from the interval up to [`LONGEST_BACK_OFF`], then
    /// lengthened by up to a tenth.
    pub fn back_off(self, interval: Duration, failures: u32) -> Duration {
        let doubled = interval.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1).min(16)));
        self.interval(doubled.min(LONGEST_BACK_OFF.max(interval)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn hosts_spread_over_a_tenth_of_the_interval_and_stay_where_they_are() {
        let intervals: Vec<_> = (0..1000).map(|n| Spread::of(&format!("web-{n}")).interval(MINUTE)).collect();
        assert!(intervals.iter().all(|i| (MINUTE..=MINUTE.mul_f64(1.1)).contains(i)));
        let early = intervals.iter().filter(|i| **i < MINUTE.mul_f64(1.05)).count();
        assert!((400..600).contains(&early), "{early} of 1000 in the first half");
        assert_eq!(Spread::of("web-1"), Spread::of("web-1"));
    }

    #[test]
    fn failures_double_the_wait_up_to_a_quarter_of_an_hour() {
        let spread = Spread(0.0);
        let waits: Vec<_> = (1..8).map(|n| spread.back_off(MINUTE, n).as_secs() / 60).collect();
        assert_eq!(waits, [1, 2, 4, 8, 15, 15, 15]);
    }
}
