//! Exact counts of the work done on the host. Times are noisy; counts are asserted in tests and shown by
//! `make bench`.

use std::sync::atomic::{AtomicU64, Ordering};

/// How often the process did an expensive thing since it started.
#[derive(Debug, Default)]
pub struct Counters {
    files_opened: AtomicU64,
    files_written: AtomicU64,
    programs_started: AtomicU64,
    bus_calls: AtomicU64,
}

/// A reading of [`Counters`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    /// Files opened to read their content.
    pub files_opened: u64,
    /// Files written.
    pub files_written: u64,
    /// Programs started.
    pub programs_started: u64,
    /// Method calls on the system bus.
    pub bus_calls: u64,
}

/// The counters of this process.
pub static COUNTERS: Counters = Counters {
    files_opened: AtomicU64::new(0),
    files_written: AtomicU64::new(0),
    programs_started: AtomicU64::new(0),
    bus_calls: AtomicU64::new(0),
};

impl Counters {
    /// One more file opened for its content.
    pub fn file_opened(&self) {
        self.files_opened.fetch_add(1, Ordering::Relaxed);
    }

    /// One more file written.
    pub fn file_written(&self) {
        self.files_written.fetch_add(1, Ordering::Relaxed);
    }

    /// One more program started.
    pub fn program_started(&self) {
        self.programs_started.fetch_add(1, Ordering::Relaxed);
    }

    /// One more call on the bus.
    pub fn bus_called(&self) {
        self.bus_calls.fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn read(&self) -> Counts {
        Counts {
            files_opened: self.files_opened.load(Ordering::Relaxed),
            files_written: self.files_written.load(Ordering::Relaxed),
            programs_started: self.programs_started.load(Ordering::Relaxed),
            bus_calls: self.bus_calls.load(Ordering::Relaxed),
        }
    }
}

impl Counts {
    /// What was added since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Counts) -> Counts {
        Counts {
            files_opened: self.files_opened - earlier.files_opened,
            files_written: self.files_written - earlier.files_written,
            programs_started: self.programs_started - earlier.programs_started,
            bus_calls: self.bus_calls - earlier.bus_calls,
        }
    }
}
