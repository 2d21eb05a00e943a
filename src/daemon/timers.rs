//! The points in time the loop waits for. There are eight, and one timer for all of them.

use tokio::time::Instant;

/// When things are due.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timers {
    /// The next fetch; none while one is under way or nothing is followed.
    pub fetch: Option<Instant>,
    /// The next full pass.
    pub full_pass: Option<Instant>,
    /// The next attempt on something that was held back.
    pub retry: Option<Instant>,
    /// The full pass that makes up for lost events.
    pub lost: Option<Instant>,
    /// The end of the suspension that ends first.
    pub resume: Option<Instant>,
    /// The end of a firewall change that nobody confirmed: whether it took itself back is looked at.
    pub undo: Option<Instant>,
    /// The line of how many lines were held back, if no other brings it before.
    pub sum: Option<Instant>,
    /// The next look at the pulse for the watchdog.
    pub pulse: Option<Instant>,
}

impl Timers {
    /// The next one.
    pub fn next(&self) -> Option<Instant> {
        let passes = [self.full_pass, self.retry, self.lost, self.resume, self.undo];
        let all = [self.fetch, self.sum, self.pulse].into_iter().chain(passes);
        all.flatten().min()
    }

    /// Takes a timer if it is due.
    pub fn take_due(timer: &mut Option<Instant>, now: Instant) -> bool {
        let is_due = timer.is_some_and(|due| due <= now);
        if is_due {
            *timer = None;
        }
        is_due
    }
}
