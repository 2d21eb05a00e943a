//! From what a back end saw to what is to be looked at. Called on the back ends' own threads.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use jiff::Timestamp;

use super::inbox::Inbox;
use super::watch_map::{WatchMap, kind_of};
use crate::host::clock::Clock;
use crate::kind::LookAt;
use crate::model::{Deeds, Evidence, KindName, Witness};

/// What is wanted, and what was seen of it.
pub(super) struct Sight {
    map: RwLock<WatchMap>,
    inbox: Arc<Inbox>,
    pub(super) clock: Arc<dyn Clock>,
    events: Mutex<BTreeMap<KindName, u64>>,
    overflows: AtomicU64,
    /// Since when nothing is seen any more, and why.
    lost: Mutex<Option<(Timestamp, String)>>,
}

impl Sight {
    pub fn new(inbox: Arc<Inbox>, clock: Arc<dyn Clock>) -> Self {
        Sight {
            map: RwLock::default(),
            inbox,
            clock,
            events: Mutex::default(),
            overflows: AtomicU64::new(0),
            lost: Mutex::default(),
        }
    }

    /// Takes up what is wanted.
    pub fn want(&self, map: WatchMap) {
        *self.map.write().unwrap_or_else(PoisonError::into_inner) = map;
    }

    /// Keeps every back end from going on, as if it had been stopped.
    #[cfg(test)]
    pub fn hold(&self) -> std::sync::RwLockWriteGuard<'_, WatchMap> {
        self.map.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn map(&self) -> RwLockReadGuard<'_, WatchMap> {
        self.map.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something happened at a path. If that is of any interest, `who` is asked first who did it.
    pub fn changed(&self, path: &Path, deeds: Deeds, who: impl FnOnce() -> Option<Witness>) {
        let map = self.map();
        let mut targets: Vec<&LookAt> = map.at(path).collect();
        // All below it, and the watches.
        let is_turned = is_turned(&map, path, deeds);
        if is_turned {
            targets.extend(map.below(path));
        }
        if targets.is_empty() {
            return;
        }
        self.count(&targets);
        who().into_iter().for_each(|witness| self.inbox.testify(witness));
        match is_turned {
            true => self.inbox.rearm(targets.into_iter()),
            false => self.inbox.look_at(targets.into_iter()),
        }
    }

    /// We did something at a path. What we laid there needs no look, but a folder that we made needs its watch.
    pub fn changed_by_us(&self, path: &Path, deeds: Deeds) {
        if is_turned(&self.map(), path, deeds) {
            self.inbox.rearm(std::iter::empty());
        }
    }

    /// Events were lost: one full look.
    pub fn overflowed(&self) {
        self.overflows.fetch_add(1, Ordering::Relaxed);
        self.inbox.overflowed(Evidence::Fanotify);
    }

    /// Nothing is seen any more: one full look, and the watches are seen to.
    pub fn went_blind(&self, why: String) {
        self.lost().get_or_insert((self.clock.now(), why));
        self.inbox.overflowed(Evidence::Fanotify);
    }

    pub fn events(&self) -> BTreeMap<KindName, u64> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn overflows(&self) -> u64 {
        self.overflows.load(Ordering::Relaxed)
    }

    pub fn lost(&self) -> MutexGuard<'_, Option<(Timestamp, String)>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One event for each kind that it is about.
    fn count(&self, targets: &[&LookAt]) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        match targets {
            [one] => *events.entry(kind_of(one)).or_default() += 1,
            many => {
                for kind in many.iter().map(|target| kind_of(target)).collect::<BTreeSet<_>>() {
                    *events.entry(kind).or_default() += 1;
                }
            }
        }
    }
}

/// Whether a folder on the way came or went, or a watched folder itself.
fn is_turned(map: &WatchMap, path: &Path, deeds: Deeds) -> bool {
    deeds.named && (map.is_on_the_way(path) || map.has_folder(path))
}
