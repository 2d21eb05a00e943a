//! The thread that touches the host, without a loop.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::daemon::errand::Basis;
use crate::daemon::follow::{Accepted, Branch};
use crate::daemon::workshop::Workshop;
use crate::model::Digest;
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
        store: site.path("none"),
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
