//! The time by which keys are judged: that of receipt, never that inside a commit, and never before what is known.

use jiff::Timestamp;

/// By how much clocks may differ before it is said, in seconds.
const SKEW: i64 = 15 * 60;

/// What is known of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clock {
    /// Seconds since 1970: the clock's, unless something is known to be later.
    pub(super) at: i64,
    /// Whether the clock itself may be believed. If not, the time is at least [`Clock::at`], by nobody knows how much.
    pub(super) is_sure: bool,
}

impl Clock {
    /// From the clock, the time this program was built, and the latest time an accepted commit proved.
    pub(super) fn of(now: Timestamp, build: Timestamp, highest: Option<Timestamp>) -> Self {
        let floor = highest.map_or(build, |highest| highest.max(build)).as_second();
        let now = now.as_second();
        Clock { at: now.max(floor), is_sure: now.saturating_add(SKEW) >= floor }
    }

    /// How far ahead a time is that can't be yet; `None` if it can, or if nobody knows.
    pub(super) fn ahead(self, time: i64) -> Option<i64> {
        let by = time.saturating_sub(self.at);
        (self.is_sure && by > SKEW).then_some(by)
    }
}
