//! Where watchers put what they noticed until the loop has time for it. However many events come, it holds no
//! more than one scope: a storm costs no memory and one pass at a time.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::kind::LookAt;
use crate::model::{Subject, Witness};
use crate::reconcile::Scope;

/// Witnesses that are held between two looks. A storm has more; whom it drives out is said to be unknown.
const WITNESSES: usize = 256;

/// What was noticed since the last look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noticed {
    /// What to look at.
    pub scope: Scope,
    /// Folders moved, appeared or went: the watches themselves must be looked after.
    pub rearm: bool,
    /// How many events it stands for.
    pub events: u64,
    /// How often a queue overflowed meanwhile.
    pub overflows: u64,
    /// Who was seen making the changes: the newest for each subject.
    pub witnesses: Vec<Witness>,
}

/// Collects what the watchers notice.
#[derive(Debug)]
pub struct Inbox {
    noticed: Mutex<Option<Noticed>>,
    /// Apart from what was noticed: a witness alone wakes nobody.
    witnesses: Mutex<BTreeMap<Subject, Witness>>,
    bell: Notify,
}

impl Default for Inbox {
    fn default() -> Self {
        Inbox { noticed: Mutex::new(None), witnesses: Mutex::default(), bell: Notify::new() }
    }
}

impl Inbox {
    /// Someone was seen. To be said before the change itself, so that whoever takes that finds the witness.
    pub fn testify(&self, witness: Witness) {
        let mut witnesses = self.witnesses.lock().unwrap_or_else(PoisonError::into_inner);
        if witnesses.len() < WITNESSES || witnesses.contains_key(&witness.subject) {
            witnesses.insert(witness.subject.clone(), witness);
        }
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

    /// Events were lost: look at everything, once.
    pub fn overflowed(&self) {
        self.update(|noticed| {
            noticed.overflows += 1;
            noticed.rearm = true;
            noticed.scope = Scope::Full;
        });
    }

    /// Waits until something was noticed and takes it.
    pub async fn take(&self) -> Noticed {
        loop {
            let heard = self.bell.notified();
            let noticed = self.noticed.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(noticed) = noticed {
                let mut witnesses = self.witnesses.lock().unwrap_or_else(PoisonError::into_inner);
                let witnesses = std::mem::take(&mut *witnesses).into_values().collect();
                return Noticed { witnesses, ..noticed };
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
        });
        noticed.events += 1;
        change(noticed);
        self.bell.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ResourceId;

    #[tokio::test]
    async fn a_burst_is_one_notice_and_an_overflow_is_one_full_look() {
        let inbox = Inbox::default();
        let motd: ResourceId = "file:/etc/motd".parse().unwrap();
        for _ in 0..1000 {
            inbox.look_at(std::iter::once(&LookAt::Resource(motd.clone())));
        }
        let noticed = inbox.take().await;
        assert_eq!((noticed.scope, noticed.events), (Scope::of([motd.clone()]), 1000));
        inbox.overflowed();
        inbox.look_at(std::iter::once(&LookAt::Resource(motd)));
        inbox.overflowed();
        let noticed = inbox.take().await;
        assert_eq!((noticed.scope, noticed.overflows), (Scope::Full, 2));
    }
}
