//! What the record promises, on real files.
#![allow(clippy::disallowed_methods)] // a deadline for other processes is real time

mod chain;
mod damage;
mod everyday;
mod killed;
mod tampering;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::host::clock::FakeClock;
use crate::host::files::Root;
use crate::model::{Digest, FieldDiff, Trigger, Verdict};

/// A state folder with a clock that moves only when told.
pub(super) struct Bench {
    dir: TempDir,
    clock: Arc<FakeClock>,
}

impl Bench {
    pub fn new() -> Self {
        let clock = FakeClock::at("2026-11-23T12:00:00Z".parse().unwrap());
        Bench { dir: tempfile::tempdir().unwrap(), clock: Arc::new(clock) }
    }

    /// Thousands of openings would sync for minutes on a real disk.
    pub fn in_memory() -> Self {
        Bench { dir: tempfile::tempdir_in("/dev/shm").unwrap(), ..Bench::new() }
    }

    pub fn state(&self) -> Root {
        Root::open(self.dir.path()).unwrap()
    }

    pub fn try_open(&self) -> Result<(Record, Opened), RecordError> {
        patiently(|| self.open_at_once())
    }

    pub fn open_at_once(&self) -> Result<(Record, Opened), RecordError> {
        Record::open(&self.state(), self.clock.clone())
    }

    pub fn open(&self) -> Record {
        self.try_open().unwrap().0
    }

    pub fn history(&self) -> History {
        History::open(&self.state()).unwrap().unwrap()
    }

    pub fn pass_time(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

impl History {
    /// Whether it is whole, without any head from elsewhere.
    pub(super) fn check(&self) -> Result<Verification, RecordError> {
        self.verify(&[]).map(|(verification, _)| verification)
    }
}

/// A head as it was noted elsewhere, of whichever history.
pub(super) fn noted(head: Head) -> Noted {
    Noted { history: None, head }
}

/// A test beside this one may be between fork and exec: its child holds our lock for that moment.
pub(super) fn patiently<T>(open: impl Fn() -> Result<T, RecordError>) -> Result<T, RecordError> {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        match open() {
            Err(RecordError::Locked { .. }) if std::time::Instant::now() < deadline => {
                std::thread::yield_now();
            }
            other => return other,
        }
    }
}

pub(super) fn id(text: &str) -> ResourceId {
    text.parse().unwrap()
}

pub(super) fn commit(digit: char) -> crate::model::CommitId {
    digit.to_string().repeat(40).parse().unwrap()
}

pub(super) fn seen(resource: &str, observed: &str) -> Sighting {
    Sighting {
        resource: id(resource),
        verdict: Verdict::Drifted,
        fields: vec![FieldDiff::new("mode", observed, "0644")],
        place: None,
        prune: false,
        next: Next::Held(None),
    }
}

pub(super) fn change(resource: &str, effect: Effect) -> Sighting {
    let next = Next::Change { action: format!("set mode of {resource}"), effect };
    Sighting { next, ..seen(resource, "0600") }
}

pub(super) fn right(resource: &str, spec: &str) -> Converged {
    Converged { resource: id(resource), spec: Digest::of(spec.as_bytes()), prune: true }
}

pub(super) fn settled(drift: DriftId, result: Settlement) -> Settled {
    Settled { drift, result, kept: Vec::new() }
}

pub(super) fn begin(record: &mut Record, trigger: Trigger) -> PassId {
    record.begin_pass(BTreeSet::from([trigger]), PassScope::Full, Some(commit('a'))).unwrap()
}

/// One pass that finds a resource missing and brings it.
pub(super) fn bring(record: &mut Record, resource: &str) -> DriftId {
    begin(record, Trigger::Interval);
    let drift = record.note(&[change(resource, Effect::Creates)]).unwrap()[0];
    record.settle(&[settled(drift, Settlement::Corrected)]).unwrap();
    record.converged(&[right(resource, "spec")]).unwrap();
    let counts = PassCounts { observed: 1, behind: 1, corrected: 1, ..PassCounts::default() };
    record.finish_pass(counts, PassResult::Synced).unwrap();
    drift
}
