//! Time. Wall-clock time is for people and records; everything that waits uses the boot-time clock, which
//! neither jumps nor stops in suspend.

use std::sync::Mutex;
use std::time::Duration;

use jiff::Timestamp;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Wall-clock time: for records and messages, never for waiting.
    fn now(&self) -> Timestamp;
    /// Time since boot, suspend included: for waiting and for measuring.
    fn since_boot(&self) -> Duration;
}

/// The kernel's clocks.
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)] // this is the door
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn since_boot(&self) -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        // The boot-time clock starts at zero: neither part is ever negative.
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
    }
}

/// A clock that moves only when told.
pub struct FakeClock(Mutex<(Timestamp, Duration)>);

impl FakeClock {
    /// A clock that shows `now` and a host that booted an hour ago.
    pub fn at(now: Timestamp) -> Self {
        FakeClock(Mutex::new((now, Duration::from_secs(3600))))
    }

    /// Lets time pass on both clocks.
    pub fn advance(&self, by: Duration) {
        let mut time = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        time.0 = time.0.checked_add(by).unwrap_or(Timestamp::MAX);
        time.1 += by;
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).0
    }

    fn since_boot(&self) -> Duration {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).1
    }
}
