//! Where watchers put what they noticed until the loop has time for it. However many events come, it holds no
//! more than one scope: a storm costs no memory and one pass at a time.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::kind::LookAt;
use crate::model::{Caught, Evidence, Subject, Witness};
use crate::reconcile::Scope;

/// Witnesses that are held between two looks. A storm has more: the oldest go, and that is told as a gap.
const WITNESSES: usize = 256;
/// A process number is not handed on within this time: numbers are given in order, and there are millions.
const SOON: Duration = Duration::from_millis(500);

/// What was noticed since the last look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noticed {
    /// What to look at, besides everything if there were overflows.
    pub scope: Scope,
    /// Folders moved, appeared or went: the watches themselves must be looked after.
    pub rearm: bool,
    /// How many events it stands for.
    pub events: u64,
    /// How often a queue overflowed meanwhile.
    pub overflows: u64,
    /// Who was seen making the changes: for each subject, each process with all that it did.
    pub witnesses: Vec<Witness>,
    /// The interfaces that told of more than is held here: events were lost, or witnesses dropped. Somebody else than
    /// those who are known may have made a change.
    pub gaps: BTreeSet<Evidence>,
}

/// Collects what the watchers notice.
#[derive(Debug)]
pub struct Inbox {
    noticed: Mutex<Option<Noticed>>,
    /// Apart from what was noticed: a witness alone wakes nobody.
    witnesses: Mutex<Witnesses>,
    bell: Notify,
}

#[derive(Debug, Default)]
struct Witnesses {
    seen: BTreeMap<(Subject, Option<u32>), Witness>,
    gaps: BTreeSet<Evidence>,
}

impl Default for Inbox {
    fn default() -> Self {
        Inbox { noticed: Mutex::new(None), witnesses: Mutex::default(), bell: Notify::new() }
    }
}

impl Inbox {
    /// Someone was seen. To be said before the change itself, so that whoever takes that finds the witness.
    pub fn testify(&self, mut witness: Witness) {
        let mut witnesses = self.witnesses.lock().unwrap_or_else(PoisonError::into_inner);
        let Witnesses { seen, gaps } = &mut *witnesses;
        let who = (witness.subject.clone(), witness.pid);
        if seen.len() >= WITNESSES && !seen.contains_key(&who) {
            let oldest = seen.iter().min_by_key(|(_, known)| known.since_boot).map(|(who, _)| who.clone());
            gaps.extend(oldest.and_then(|oldest| seen.remove(&oldest)).map(|dropped| dropped.source));
        }
        match seen.entry(who) {
            Entry::Occupied(mut known) => {
                let before = known.get();
                witness.deeds = witness.deeds.and(before.deeds);
                // It ended in between; what was read of it before still holds of the same number so soon after.
                let is_soon = witness.since_boot.saturating_sub(before.since_boot) < SOON;
                if is_soon && !matches!(witness.caught, Caught::Alive(_)) {
                    witness.caught = before.caught.clone();
                }
                known.insert(witness);
            }
            Entry::Vacant(free) => drop(free.insert(witness)),
        }
    }

    /// Somebody whom this interface told of is not known here. To be said before the change itself.
    pub fn missed(&self, source: Evidence) {
        self.witnesses.lock().unwrap_or_else(PoisonError::into_inner).gaps.insert(source);
    }

    /// Something that is watched changed.
    pub fn look_at<'a>(&self, targets: impl Iterator<Item = &'a LookAt>) {
        self.update(|noticed| targets.for_each(|target| noticed.scope.add(target)));
    }

    /// A folder on the way to something watched changed: look at all below it, and at the watches.
    pub fn rearm<'a>(&self, targets: impl Iterator<Item = &'a LookAt>) {
        self.update(|noticed| {
            noticed.rearm = true;
            targets.for_each(|target| noticed.scope.add(target));
        });
    }

    /// An interface lost events: everything is to be looked at, once, however often it did, and the watches.
    pub fn overflowed(&self, source: Evidence) {
        self.missed(source);
        self.update(|noticed| {
            noticed.overflows += 1;
            noticed.rearm = true;
        });
    }

    /// Waits until something was noticed and takes it.
    pub async fn take(&self) -> Noticed {
        loop {
            let heard = self.bell.notified();
            let noticed = self.noticed.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(noticed) = noticed {
                let mut witnesses = self.witnesses.lock().unwrap_or_else(PoisonError::into_inner);
                let Witnesses { seen, gaps } = std::mem::take(&mut *witnesses);
                return Noticed { witnesses: seen.into_values().collect(), gaps, ..noticed };
            }
            heard.await;
        }
    }

    fn update(&self, change: impl FnOnce(&mut Noticed)) {
        let mut slot = self.noticed.lock().unwrap_or_else(PoisonError::into_inner);
        let noticed = slot.get_or_insert_with(|| Noticed {
            scope: Scope::nothing(),
            rearm: false,
            events: 0,
            overflows: 0,
            witnesses: Vec::new(),
            gaps: BTreeSet::new(),
        });
        noticed.events += 1;
        change(noticed);
        self.bell.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::{Deeds, Evidence, ProcessFacts, ResourceId};

    fn witness(path: &str, pid: u32, at: u64, caught: Caught, deeds: Deeds) -> Witness {
        Witness {
            subject: Subject::Path(path.into()),
            at: Timestamp::UNIX_EPOCH,
            since_boot: Duration::from_millis(at),
            source: Evidence::Fanotify,
            pid: Some(pid),
            caught,
            deeds,
        }
    }

    #[tokio::test]
    async fn each_process_is_remembered_with_all_it_did_and_a_storm_holds_no_more() {
        let inbox = Inbox::default();
        let wrote = Deeds { wrote: true, ..Deeds::default() };
        let named = Deeds { named: true, ..Deeds::default() };
        let alive = Caught::Alive(Box::new(ProcessFacts { pid: 7, ..ProcessFacts::default() }));
        inbox.testify(witness("/a", 7, 0, alive.clone(), named));
        inbox.testify(witness("/a", 7, 10, Caught::Gone(None), wrote));
        inbox.testify(witness("/a", 8, 20, Caught::Skipped, wrote));
        inbox.testify(witness("/a", 7, 5000, Caught::Gone(None), wrote));
        inbox.look_at(std::iter::empty());
        let noticed = inbox.take().await;
        assert!(noticed.gaps.is_empty(), "all who were seen are here");
        let seen = noticed.witnesses;
        let short: Vec<_> = seen.iter().map(|one| (one.pid, one.deeds.wrote && one.deeds.named)).collect();
        assert_eq!(short, [(Some(7), true), (Some(8), false)]);
        assert_eq!(seen[0].caught, Caught::Gone(None), "too long after it was seen alive");

        inbox.testify(witness("/a", 7, 0, alive.clone(), named));
        inbox.testify(witness("/a", 7, 10, Caught::Gone(None), wrote));
        (0..200).for_each(|n| inbox.testify(witness("/b", n, 20, Caught::Skipped, wrote)));
        inbox.look_at(std::iter::empty());
        assert_eq!(inbox.take().await.witnesses[0].caught, alive);
        (0..1000).for_each(|n| inbox.testify(witness("/b", n, u64::from(n), Caught::Skipped, wrote)));
        inbox.look_at(std::iter::empty());
        let noticed = inbox.take().await;
        let left: Vec<_> = noticed.witnesses.iter().map(|one| one.pid).collect();
        assert_eq!(left, (744..1000).map(Some).collect::<Vec<_>>(), "the newest");
        assert_eq!(noticed.gaps, [Evidence::Fanotify].into(), "and that there were more");
        inbox.look_at(std::iter::empty());
        assert!(inbox.take().await.gaps.is_empty(), "a gap is told once");
    }

    #[tokio::test]
    async fn a_burst_is_one_notice_and_an_overflow_is_one_full_look() {
        let inbox = Inbox::default();
        let motd: ResourceId = "file:/etc/motd".parse().unwrap();
        for _ in 0..1000 {
            inbox.look_at(std::iter::once(&LookAt::Resource(motd.clone())));
        }
        let noticed = inbox.take().await;
        assert_eq!((noticed.scope, noticed.events), (Scope::of([motd.clone()]), 1000));
        inbox.overflowed(Evidence::Fanotify);
        let motd_again = motd.clone();
        inbox.look_at(std::iter::once(&LookAt::Resource(motd)));
        inbox.overflowed(Evidence::Netfilter);
        let noticed = inbox.take().await;
        assert_eq!((noticed.scope, noticed.overflows), (Scope::of([motd_again]), 2));
        assert_eq!(noticed.gaps, [Evidence::Fanotify, Evidence::Netfilter].into());
    }
}
