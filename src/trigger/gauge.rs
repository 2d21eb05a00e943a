//! How a watcher that runs by itself is: written by its task, read by the loop.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::status::WatchHealth;

/// The health of one watcher.
#[derive(Debug)]
pub struct Gauge {
    name: &'static str,
    method: &'static str,
    sight: Mutex<Sight>,
    events: AtomicU64,
    overflows: AtomicU64,
}

#[derive(Debug, Default)]
struct Sight {
    live_since: Option<Timestamp>,
    blind_since: Option<Timestamp>,
    watches: u64,
    message: Option<String>,
}

impl Gauge {
    /// The gauge of a watcher of `name` that works by `method`; neither live nor blind yet.
    pub fn new(name: &'static str, method: &'static str) -> Self {
        Gauge {
            name,
            method,
            sight: Mutex::default(),
            events: AtomicU64::new(0),
            overflows: AtomicU64::new(0),
        }
    }

    /// It sees, holding so many watches.
    pub fn live(&self, since: Timestamp, watches: usize) {
        let watches = watches as u64;
        *self.sight() = Sight { live_since: Some(since), watches, ..Sight::default() };
    }

    /// It does not see, and why.
    pub fn blind(&self, since: Timestamp, why: &str) {
        self.deaf(since, format!("{why}; the full pass covers it"));
    }

    /// It does not see what no full pass would show, and why.
    pub fn deaf(&self, since: Timestamp, why: String) {
        let mut sight = self.sight();
        sight.live_since = None;
        sight.watches = 0;
        sight.blind_since.get_or_insert(since);
        sight.message = Some(why);
    }

    /// It saw something.
    pub fn event(&self) {
        self.events.fetch_add(1, Ordering::Relaxed);
    }

    /// It was told that it missed something.
    pub fn overflow(&self) {
        self.overflows.fetch_add(1, Ordering::Relaxed);
    }

    /// As the status shows it.
    pub fn health(&self) -> WatchHealth {
        let sight = self.sight();
        WatchHealth {
            name: self.name.to_owned(),
            method: self.method.to_owned(),
            live_since: sight.live_since,
            blind_since: sight.blind_since,
            watches: sight.watches,
            events: self.events.load(Ordering::Relaxed),
            overflows: self.overflows.load(Ordering::Relaxed),
            message: sight.message.clone(),
        }
    }

    fn sight(&self) -> MutexGuard<'_, Sight> {
        self.sight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
