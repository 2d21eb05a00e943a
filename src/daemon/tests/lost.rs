//! Events that a watcher lost are one full pass, whichever lost them and however often.

use std::collections::BTreeSet;

use super::*;
use crate::model::{Evidence, Trigger};
use crate::reconcile::Scope;
use crate::status::PassSummary;
use crate::trigger::Noticed;

/// As the inbox gives what a watcher noticed, after it was told so often that events were lost.
fn lost(source: Evidence, overflows: u64, scope: Scope) -> Noticed {
    let gaps = BTreeSet::from([source]);
    Noticed { scope, rearm: true, events: overflows, overflows, witnesses: Vec::new(), gaps }
}

impl Site {
    fn notices(&self, noticed: Noticed) {
        self.running.as_ref().unwrap().sender.send(Event::Noticed(noticed)).unwrap();
    }

    fn last_pass(&self) -> PassSummary {
        self.status().last_pass.unwrap()
    }

    /// How many passes there were since the one with this number. One more of our own comes after whatever was wanted
    /// before it.
    fn passes_since(&self, before: u64) -> u64 {
        let order = SyncOrder { fetch: FetchFirst::No };
        let _: SyncReply = self.ask(&Request::Sync(order)).unwrap();
        self.last_pass().id - before - 1
    }
}

#[test]
fn whatever_was_lost_however_often_is_one_full_pass() {
    for (source, overflows) in
        [(Evidence::Fanotify, 1), (Evidence::Fanotify, 3), (Evidence::Netfilter, 1), (Evidence::Netfilter, 3)]
    {
        let site = Site::following(&[(MOTD, "a")]);
        site.sync();
        let before = site.last_pass().id;
        // Nobody tells of this change: the watches are on the machine's own folders.
        std::fs::write(site.file(MOTD), "by hand").unwrap();
        site.notices(lost(source, overflows, Scope::nothing()));
        site.shows(MOTD, "a");
        until("the pass is told", || site.last_pass().id > before);
        let pass = site.last_pass();
        assert!(pass.full && pass.triggers == [Trigger::Watch], "{source}: {pass:?}");
        assert_eq!(site.passes_since(before), 1, "{source}, {overflows} times");
    }
}

#[test]
fn what_was_seen_all_the_same_is_looked_at_before_the_full_pass() {
    let site = Site::following(&[(MOTD, "a")]);
    site.sync();
    let before = site.last_pass().id;
    std::fs::write(site.file(MOTD), "by hand").unwrap();
    let seen = Scope::of([format!("file:{MOTD}").parse().unwrap()]);
    site.notices(lost(Evidence::Netfilter, 1, seen));
    site.shows(MOTD, "a");
    until("everything was looked at", || site.last_pass().id > before + 1 && site.last_pass().full);
    assert_eq!(site.passes_since(before), 2, "that alone, then everything, once");
}
