//! Proof of progress of the thread that touches the host. Whoever finishes a piece of its work beats; the watchdog is
//! fed only if the pulse moved. A timer that feeds it would prove nothing but that timers work, and what is done beside
//! that thread (fetches, compiles, answers) would prove nothing about it: none of that may beat.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts finished pieces of work.
#[derive(Debug)]
pub struct Pulse(AtomicU64);

/// The pulse of this process.
pub static PULSE: Pulse = Pulse(AtomicU64::new(0));

impl Pulse {
    /// A piece of work is finished: a job, a stage of a pass, an answer while waiting for a long transaction.
    pub fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many so far.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
