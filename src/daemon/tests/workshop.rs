//! The thread that touches the host, without a loop.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::daemon::errand::Basis;
use crate::daemon::follow::{Accepted, Branch};
use crate::daemon::workshop::{PassEnded, PassRequest, Workshop};
use crate::model::{Digest, Trigger};
use crate::reconcile::Scope;
use crate::record::{Entry, History};
use crate::worker::Workers;
use crate::worker::compile::{Answer, Request as Compile};

/// A workshop with commit `a` in force, of which nothing is laid down yet.
fn workshop(site: &Site) -> Workshop {
    site.forge.push("main", 'a', &[(MOTD, "a")]);
    let state = Root::open(site.path("state")).unwrap();
    let engine = Engine::new(vec![Box::new(Lane::new(Files::default()))]);
    let setup = setup();
    let mut workshop = Workshop::open(site.host(), engine, state, setup.keep, setup.mode).unwrap();
    let facts = crate::host::facts::Facts::read("/".as_ref(), setup.labels).unwrap();
    let (commit, host) = (forge::id('a'), setup.host);
    let request = Compile {
        verified: site.path("none"),
        commit: commit.clone(),
        subfolder: None,
        host: host.clone(),
        facts,
    };
    let Ok(Answer::Compiled { desired, .. }) = site.forge.compile(&request, &workshop.contents) else {
        panic!("it compiles")
    };
    let basis = Basis {
        commit: commit.clone(),
        subfolder: None,
        host,
        facts: Digest::of(b"facts"),
        agent: "1".to_owned(),
    };
    let accepted = Accepted { of: Branch::of(&remote("main")), commit };
    workshop.adopt(&Arc::from(desired), &basis, &accepted).unwrap();
    workshop
}

#[test]
fn a_plan_is_no_progress_of_a_pass() {
    let site = Site::new();
    let mut workshop = workshop(&site);
    let told = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told);
    workshop.progress = Box::new(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    assert_eq!(workshop.plan().plan.changes.len(), 1);
    assert_eq!(told.load(Ordering::Relaxed), 0, "nobody's sync is told, and the manager is not told ready");
    let scope = crate::reconcile::Scope::Full;
    let triggers = [crate::model::Trigger::Boot].into();
    workshop.pass(super::super::workshop::PassRequest {
        scope,
        triggers,
        witnesses: Vec::new(),
        gaps: std::collections::BTreeSet::new(),
    });
    assert!(told.load(Ordering::Relaxed) > 0);
}

#[test]
fn the_author_of_the_line_that_demands_otherwise_is_in_the_history_of_a_drift() {
    use crate::control::wire::{HistoryQuery, HistoryReply};
    use crate::model::LineAuthor;
    use crate::record::DriftFilter;
    let site = Site::following(&[(MOTD, "a")]);
    // The pass that laid it down is over.
    site.sync();
    std::fs::write(site.file(MOTD), "by hand").unwrap();
    site.sync();
    site.shows(MOTD, "a");
    let history = || -> HistoryReply {
        let query = HistoryQuery { id: None, drifts: Some(DriftFilter::default()), passes: None };
        site.ask(&Request::History(query)).unwrap()
    };
    let author = || {
        history().drifts.into_iter().find_map(|drift| match drift.line_author {
            Some(LineAuthor::Written { revision, line: 1 }) => Some(revision.author),
            Some(_) | None => None,
        })
    };
    let found = comes_true(|| author().as_deref() == Some("the author of roles/a.toml"));
    assert!(found, "{:#?}", history().drifts);
}

/// Every entry of the history, oldest first.
fn entries(site: &Site) -> Vec<(u64, Entry)> {
    let history = History::open(&Root::open(site.path("state")).unwrap()).unwrap().unwrap();
    let entries = history.entries_after(0, u32::MAX).unwrap();
    entries.into_iter().map(|(seq, _, entry)| (seq, entry)).collect()
}

fn trims(site: &Site) -> usize {
    entries(site).iter().filter(|(_, entry)| matches!(entry, Entry::Trimmed { .. })).count()
}

fn pass(workshop: &mut Workshop, scope: Scope, trigger: Trigger) -> PassEnded {
    let triggers = [trigger].into();
    workshop.pass(PassRequest { scope, triggers, witnesses: Vec::new(), gaps: BTreeSet::new() })
}

/// Obeys these limits of the history from now on.
fn keeps(workshop: &mut Workshop, history: Retention) {
    let bounds = Bounds { history, ..setup().bounds };
    workshop.obey(&Setup { bounds, ..setup() });
}

#[test]
fn history_beyond_its_limits_goes_with_a_full_pass_and_once_a_day() {
    let site = Site::new();
    let mut workshop = workshop(&site);
    for _ in 0..5 {
        pass(&mut workshop, Scope::Full, Trigger::Request);
    }
    pass(&mut workshop, Scope::Full, Trigger::Interval);
    let before = entries(&site);
    assert!(before.len() >= 9 && trims(&site) == 0, "within a year nothing goes: {before:?}");

    keeps(&mut workshop, Retention { age: Duration::ZERO, ..Retention::default() });
    pass(&mut workshop, Scope::Full, Trigger::Request);
    assert_eq!(trims(&site), 0, "a pass that is asked for has other things to do");
    pass(&mut workshop, Scope::Full, Trigger::Interval);
    let left = entries(&site);
    assert_eq!(trims(&site), 1, "{left:?}");
    assert!(left.len() <= 2 && left[0].0 > before[0].0, "{left:?}");
    pass(&mut workshop, Scope::Full, Trigger::Interval);
    pass(&mut workshop, Scope::Full, Trigger::Interval);
    assert_eq!(trims(&site), 1, "not again within the day");
    assert_eq!(entries(&site).len(), left.len() + 2);
}

#[test]
fn history_beyond_its_size_goes_oldest_first() {
    let site = Site::new();
    let mut workshop = workshop(&site);
    for _ in 0..600 {
        pass(&mut workshop, Scope::Full, Trigger::Request);
    }
    let before = entries(&site);
    keeps(&mut workshop, Retention { bytes: 1, ..Retention::default() });
    pass(&mut workshop, Scope::Full, Trigger::Interval);
    let after = entries(&site);
    assert!(after.len() < before.len() && after[0].0 > before[0].0, "{} of {}", after.len(), before.len());
    let last = before.last().unwrap();
    assert!(after.iter().any(|(seq, _)| *seq == last.0), "the newest stay");
    assert!(trims(&site) >= 1);
}

/// Where the kernel does not tell who made a change, our own come as events, too.
#[test]
fn the_echo_of_our_own_write_is_no_pass_and_a_foreign_one_of_the_same_size_and_time_is() {
    // Another text; and one in place, as long as before, with the times set back to what they were.
    let in_place = "touch -r \"$1\" \"$1.time\"; tr a-z A-Z < \"$1\" > \"$1.new\"; cat \"$1.new\" > \"$1\"; \
                    touch -r \"$1.time\" \"$1\"; rm \"$1.new\" \"$1.time\"";
    for script in ["printf 'by hand' > \"$1\"", in_place] {
        let site = Site::new();
        let mut workshop = workshop(&site);
        let (motd, text) = (site.file(MOTD), site.forge.text('a', MOTD));
        let reads = || std::fs::read_to_string(&motd).unwrap();
        let seen = || Scope::of([format!("file:{MOTD}").parse().unwrap()]);
        pass(&mut workshop, Scope::Full, Trigger::Boot);
        assert_eq!(reads(), text);
        for round in 0..3 {
            let ended = pass(&mut workshop, seen(), Trigger::Watch);
            assert!(ended.done.is_none(), "round {round}: what we laid down is as we left it");
        }
        let status = std::process::Command::new("/bin/sh").args(["-euc", script, "sh"]).arg(&motd).status();
        assert!(status.unwrap().success() && reads() != text, "{script}");
        let done = pass(&mut workshop, seen(), Trigger::Watch).done.expect(script);
        assert_eq!((done.summary.differed, done.summary.changed), (1, 1), "{script}");
        assert_eq!(reads(), text);
        let ended = pass(&mut workshop, seen(), Trigger::Watch);
        assert!(ended.done.is_none(), "the echo of the correction");
    }
}
