#![allow(clippy::disallowed_methods)] // damages files on purpose

use super::*;
use crate::kind::Desired;
use crate::model::plan::Held;
use crate::model::{Attribution, Confidence, DriftMode, Evidence, KindName, LineAuthor};

#[test]
fn what_was_brought_is_remembered_and_can_be_given_up() {
    let bench = Bench::new();
    let mut record = bench.open();
    bring(&mut record, "file:/etc/motd");
    drop(record);
    let (mut record, opened) = bench.try_open().unwrap();
    assert_eq!(opened, Opened { state: OpenState::Fine, interrupted: Vec::new() });
    let (key, owned) = record.owned(KindName::File).next().unwrap();
    assert_eq!(key.as_str(), "/etc/motd");
    assert!(owned.brought && owned.prune);
    assert_eq!(owned.spec, Some(Digest::of(b"spec")));
    assert_eq!(owned.commit.as_deref(), Some(&commit('a')));
    record.give_up(&[id("file:/etc/motd")]).unwrap();
    drop(record);
    let record = bench.open();
    assert_eq!(record.owned(KindName::File).count(), 0);
    assert_eq!(record.generation(&id("file:/etc/motd")), 1, "a generation never goes back");
}

#[test]
fn what_was_there_before_is_owned_but_not_brought() {
    let bench = Bench::new();
    let mut record = bench.open();
    begin(&mut record, Trigger::Boot);
    let drift = record.note(&[change("file:/etc/motd", Effect::Changes)]).unwrap()[0];
    record.settle(&[settled(drift, Settlement::Corrected)]).unwrap();
    record.converged(&[right("file:/etc/motd", "x"), right("package:curl", "y")]).unwrap();
    assert!(!record.owner_of(&id("file:/etc/motd")).unwrap().brought);
    assert!(!record.owner_of(&id("package:curl")).unwrap().brought);
}

#[test]
fn a_creation_that_failed_brought_nothing() {
    let bench = Bench::new();
    let mut record = bench.open();
    begin(&mut record, Trigger::Boot);
    let drift = record.note(&[change("package:nginx", Effect::Creates)]).unwrap()[0];
    assert!(record.owner_of(&id("package:nginx")).unwrap().brought, "from the intent on");
    record.settle(&[settled(drift, Settlement::Failed("no such package".into()))]).unwrap();
    assert!(!record.owner_of(&id("package:nginx")).unwrap().brought);
    drop(record);
    assert!(!bench.open().owner_of(&id("package:nginx")).unwrap().brought);
}

#[test]
fn an_intent_without_outcome_is_interrupted_and_what_it_made_stays_ours() {
    let bench = Bench::new();
    let mut record = bench.open();
    begin(&mut record, Trigger::Boot);
    let drift = record.note(&[change("file:/etc/new", Effect::Creates)]).unwrap()[0];
    drop(record);
    let (mut record, opened) = bench.try_open().unwrap();
    assert_eq!(opened.interrupted, vec![id("file:/etc/new")]);
    assert!(record.owner_of(&id("file:/etc/new")).unwrap().brought);
    assert_eq!(record.open_drift(&id("file:/etc/new")).unwrap().id, drift);
    let story = bench.history().drift(drift).unwrap().unwrap();
    assert_eq!(story.attempts[0].result, Some(Settlement::Interrupted));
    begin(&mut record, Trigger::Boot);
    record.converged(&[right("file:/etc/new", "x")]).unwrap();
    assert!(record.open_drifts().is_empty(), "found as declared: the drift is over");
    assert!(record.owner_of(&id("file:/etc/new")).unwrap().brought);
}

#[test]
fn a_drift_that_stays_is_one_entry_and_one_number() {
    let bench = Bench::new();
    let mut record = bench.open();
    begin(&mut record, Trigger::Interval);
    let first = record.note(&[seen("file:/etc/motd", "0600")]).unwrap();
    let head = bench.history().head().unwrap();
    begin(&mut record, Trigger::Interval);
    assert_eq!(record.note(&[seen("file:/etc/motd", "0600")]).unwrap(), first);
    let waits = |when: &str| {
        let next = Next::Held(Some(Held::BackOff(when.into())));
        Sighting { next, ..seen("file:/etc/motd", "0600") }
    };
    record.note(&[waits("in 2 s")]).unwrap();
    let after = bench.history().head().unwrap();
    assert_eq!(after.seq, head.seq + 1);
    record.note(&[waits("in 1 s")]).unwrap();
    assert_eq!(bench.history().head().unwrap(), after, "a count-down is no news");
    assert_eq!(record.note(&[seen("file:/etc/motd", "0777")]).unwrap(), first, "it differs otherwise now");
    assert_eq!(bench.history().drift(first[0]).unwrap().unwrap().fields[0].observed, "0777".into());
}

#[test]
fn a_story_tells_every_attempt() {
    let bench = Bench::new();
    let mut record = bench.open();
    begin(&mut record, Trigger::Watch);
    let drift = record.note(&[change("service:x.service", Effect::Changes)]).unwrap()[0];
    bench.pass_time(1);
    record.settle(&[settled(drift, Settlement::Failed("exit code 1".into()))]).unwrap();
    bench.pass_time(60);
    let second = begin(&mut record, Trigger::Watch);
    assert_eq!(record.note(&[change("service:x.service", Effect::Changes)]).unwrap(), vec![drift]);
    bench.pass_time(1);
    let kept = vec!["k1".to_owned()];
    record.settle(&[Settled { drift, result: Settlement::Corrected, kept: kept.clone() }]).unwrap();
    let story = bench.history().drift(drift).unwrap().unwrap();
    assert_eq!(story.attempts.len(), 2);
    assert_eq!(story.attempts[1].kept, kept);
    assert_eq!(story.attempts[1].pass, second);
    assert_eq!(story.resolved.unwrap().duration_since(story.seen).as_secs(), 62);
    assert_eq!(bench.history().last_change(&id("service:x.service")).unwrap(), Some(story));
}

#[test]
fn a_quiet_pass_writes_nothing_for_watches_and_one_entry_else() {
    let bench = Bench::new();
    let mut record = bench.open();
    bring(&mut record, "file:/etc/motd");
    let quiet = PassCounts { observed: 1, ..PassCounts::default() };
    let changes = |record: &Record| record.db.total_changes();
    begin(&mut record, Trigger::Watch);
    let before = changes(&record);
    record.converged(&[right("file:/etc/motd", "spec")]).unwrap();
    record.set_levels(&[]).unwrap();
    record.finish_pass(quiet, PassResult::Synced).unwrap();
    assert_eq!(changes(&record), before);
    begin(&mut record, Trigger::Interval);
    let before = changes(&record);
    record.converged(&[right("file:/etc/motd", "spec")]).unwrap();
    record.finish_pass(quiet, PassResult::Synced).unwrap();
    assert_eq!(changes(&record), before + 2, "the entry and the head");
}

#[test]
fn a_new_commit_that_leaves_a_spec_alone_is_not_written_per_resource() {
    let bench = Bench::new();
    let mut record = bench.open();
    bring(&mut record, "file:/etc/motd");
    record.begin_pass([Trigger::Revision].into(), PassScope::Full, Some(commit('b'))).unwrap();
    let before = record.db.total_changes();
    record.converged(&[right("file:/etc/motd", "spec")]).unwrap();
    assert_eq!(record.db.total_changes(), before);
    record.converged(&[right("file:/etc/motd", "another")]).unwrap();
    assert_eq!(record.owner_of(&id("file:/etc/motd")).unwrap().commit.as_deref(), Some(&commit('b')));
}

#[test]
fn pass_numbers_are_never_given_twice() {
    let bench = Bench::new();
    let mut numbers = Vec::new();
    for _ in 0..3 {
        let mut record = bench.open();
        numbers.extend((0..70).map(|_| begin(&mut record, Trigger::Watch)));
    }
    assert!(numbers.is_sorted_by(|a, b| a < b));
}

#[test]
fn levels_are_remembered() {
    let bench = Bench::new();
    let mut record = bench.open();
    let nginx = id("service:nginx.service");
    assert_eq!(record.level(&nginx, Reaction::Reload), None);
    record.set_levels(&[(nginx.clone(), Reaction::Reload, 7)]).unwrap();
    drop(record);
    let record = bench.open();
    assert_eq!(record.level(&nginx, Reaction::Reload), Some(7));
    assert_eq!(record.level(&nginx, Reaction::Restart), None);
}

#[test]
fn a_suspension_ends_by_itself_and_the_narrowest_one_is_told() {
    let bench = Bench::new();
    let mut record = bench.open();
    let now: jiff::Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
    let suspension = |target: &str, minutes: i64| Suspension {
        target: target.parse().unwrap(),
        reason: target.to_owned(),
        owner: "anna".into(),
        since: now,
        until: now.checked_add(jiff::SignedDuration::from_mins(minutes)).ok(),
    };
    for (target, minutes) in [("all", 30), ("file", 20), ("file:/etc/motd", 10)] {
        record.suspend(suspension(target, minutes)).unwrap();
    }
    drop(record);
    let mut record = bench.open();
    let reason = |record: &Record, resource: &str| record.suspended(&id(resource)).map(|one| one.reason);
    assert_eq!(reason(&record, "file:/etc/motd").unwrap(), "file:/etc/motd");
    bench.pass_time(11 * 60);
    assert_eq!(reason(&record, "file:/etc/motd").unwrap(), "file");
    assert_eq!(reason(&record, "package:x").unwrap(), "all");
    assert!(record.resume(&SuspendTarget::All, "anna").unwrap());
    assert!(!record.resume(&SuspendTarget::All, "anna").unwrap());
    bench.pass_time(10 * 60);
    assert_eq!(reason(&record, "file:/etc/motd"), None);
}

#[test]
fn facts_quarantine_and_approvals_are_remembered() {
    let bench = Bench::new();
    let mut record = bench.open();
    record.set_fact(Fact::LastAccepted, &commit('c')).unwrap();
    let at = "2026-11-23T12:00:00Z".parse().unwrap();
    record.quarantine(Quarantined { commit: commit('d'), reason: "locked out".into(), since: at }).unwrap();
    record
        .approve(Approval { what: commit('e').to_string(), by: "root".into(), at, removals: BTreeSet::new() })
        .unwrap();
    drop(record);
    let mut record = bench.open();
    assert_eq!(record.fact(Fact::LastAccepted), Some(commit('c')));
    assert_eq!(record.quarantined(&commit('d')).unwrap().reason, "locked out");
    assert_eq!(record.approval(commit('e').as_str()).unwrap().by, "root");
    assert!(record.release(&commit('d'), "root").unwrap());
    assert!(record.quarantine_list().is_empty());
}

#[test]
fn history_is_filtered() {
    let bench = Bench::new();
    let mut record = bench.open();
    bring(&mut record, "file:/etc/motd");
    bench.pass_time(60);
    bring(&mut record, "package:curl");
    let history = bench.history();
    let names = |filter: DriftFilter| -> Vec<String> {
        history.drifts(&filter).unwrap().iter().map(|drift| drift.resource.to_string()).collect()
    };
    let all = DriftFilter::default();
    assert_eq!(names(all.clone()), ["package:curl", "file:/etc/motd"]);
    assert_eq!(names(DriftFilter { kind: Some(KindName::File), ..all.clone() }), ["file:/etc/motd"]);
    assert_eq!(names(DriftFilter { limit: Some(1), ..all.clone() }), ["package:curl"]);
    let later = "2026-11-23T12:00:30Z".parse().ok();
    assert_eq!(names(DriftFilter { since: later, ..all.clone() }), ["package:curl"]);
    assert_eq!(names(DriftFilter { until: later, ..all.clone() }), ["file:/etc/motd"]);
    assert_eq!(names(DriftFilter { verdict: Some(Verdict::Behind), ..all.clone() }), [""; 0]);
    assert_eq!(names(DriftFilter { resource: Some(id("package:curl")), ..all }), ["package:curl"]);
    assert_eq!(history.passes(&PassFilter::default()).unwrap().len(), 2);
}

#[test]
fn each_drift_is_found_by_its_own_words_and_by_no_other() {
    let bench = Bench::new();
    let mut record = bench.open();
    let all = [
        (Verdict::Drifted, "file:/etc/motd"),
        (Verdict::Behind, "package:curl"),
        (Verdict::NotConverging, "service:nginx.service"),
        (Verdict::Drifted, "firewall:input/ssh"),
    ];
    let ids: Vec<DriftId> = all
        .map(|(verdict, resource)| {
            begin(&mut record, Trigger::Watch);
            let drift = record.note(&[Sighting { verdict, ..seen(resource, "0600") }]).unwrap()[0];
            record.finish_pass(PassCounts::default(), PassResult::OutOfSync).unwrap();
            bench.pass_time(60);
            drift
        })
        .into();
    let history = bench.history();
    let found = |filter: DriftFilter| -> Vec<DriftId> {
        history.drifts(&filter).unwrap().iter().map(|drift| drift.id).collect()
    };
    let one = |at: usize| vec![ids[at]];
    let any = DriftFilter::default;
    for (verdict, expected) in [
        (Verdict::Drifted, vec![ids[3], ids[0]]),
        (Verdict::Behind, one(1)),
        (Verdict::NotConverging, one(2)),
    ] {
        assert_eq!(found(DriftFilter { verdict: Some(verdict), ..any() }), expected, "{verdict}");
    }
    for (at, (verdict, resource)) in all.into_iter().enumerate() {
        let resource = id(resource);
        assert_eq!(found(DriftFilter { kind: Some(resource.kind), ..any() }), one(at));
        assert_eq!(found(DriftFilter { resource: Some(resource.clone()), ..any() }), one(at));
        let both = DriftFilter { kind: Some(resource.kind), verdict: Some(verdict), ..any() };
        assert_eq!(found(both), one(at));
        let other = [Verdict::Drifted, Verdict::Behind].into_iter().find(|one| *one != verdict);
        assert_eq!(found(DriftFilter { resource: Some(resource), verdict: other, ..any() }), []);
    }
    // Seen at 12:00, 12:01, 12:02 and 12:03; `since` takes the very moment in, `until` leaves it out.
    let at = |minute: usize| format!("2026-11-23T12:0{minute}:00Z").parse::<jiff::Timestamp>().unwrap();
    for minute in 0..4 {
        let newest_first = |ids: &[DriftId]| ids.iter().rev().copied().collect::<Vec<_>>();
        let (since, until) = (Some(at(minute)), Some(at(minute)));
        assert_eq!(found(DriftFilter { since, ..any() }), newest_first(&ids[minute..]));
        assert_eq!(found(DriftFilter { until, ..any() }), newest_first(&ids[..minute]));
        let until = Some(at(minute + 1));
        assert_eq!(found(DriftFilter { since, until, ..any() }), one(minute));
        let passes = history.passes(&PassFilter { since, until, limit: None }).unwrap();
        assert_eq!(passes.len(), 1, "a pass, too");
    }
}

#[test]
fn the_applied_state_survives_damage_to_its_last_file() {
    let bench = Bench::new();
    let state = bench.state();
    assert_eq!(load_applied(&state).unwrap(), Applied::Never);
    let mut desired = Desired { host: "web-1".into(), ..Desired::default() };
    store_applied(&state, &desired).unwrap();
    let first = desired.clone();
    desired.policy.drift = DriftMode::Warn;
    store_applied(&state, &desired).unwrap();
    assert_eq!(load_applied(&state).unwrap(), Applied::Current(Box::new(desired.clone())));
    let file = state.absolute("applied.json");
    let whole = std::fs::read(&file).unwrap();
    for cut in [0, 10, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&file, &whole[..cut]).unwrap();
        match load_applied(&state).unwrap() {
            Applied::Previous { desired, .. } => assert_eq!(*desired, first),
            other => panic!("{other:?}"),
        }
    }
    std::fs::remove_file(state.absolute("applied.previous.json")).unwrap();
    assert!(load_applied(&state).unwrap_err().is_damage(), "never read as: nothing was applied");
    store_applied(&state, &desired).unwrap();
    assert_eq!(load_applied(&state).unwrap(), Applied::Current(Box::new(desired)));
}

#[test]
fn who_made_a_change_is_told_after_it_and_the_surest_word_counts() {
    let bench = Bench::new();
    let mut record = bench.open();
    let over = bring(&mut record, "file:/etc/motd");
    begin(&mut record, Trigger::Watch);
    let open = record.note(&[seen("file:/etc/issue", "0600")]).unwrap()[0];
    let sure = Attribution {
        confidence: Confidence::Certain,
        evidence: vec![Evidence::Fanotify],
        reason: "named with the event".to_owned(),
        ..Attribution::unknown("")
    };
    record.attribute(&[(over, sure.clone()), (open, Attribution::unknown("too late"))]).unwrap();
    let head = record.ledger.head;
    record.attribute(&[(open, Attribution::unknown("too late"))]).unwrap();
    assert_eq!(record.ledger.head, head, "said already");
    record.attribute(&[(over, Attribution::unknown("gone")), (open, sure.clone())]).unwrap();
    drop(record);
    let record = bench.open();
    assert!(record.open_drift(&id("file:/etc/issue")).unwrap().attributed.is_some());
    let history = bench.history();
    for drift in [over, open] {
        assert_eq!(history.drift(drift).unwrap().unwrap().attribution, Some(sure.clone()), "{drift}");
    }
    assert!(matches!(history.check().unwrap(), Verification::Whole { .. }));
}

#[test]
fn who_wrote_the_line_is_told_when_the_drift_is_over_and_not_of_another_commits_line() {
    let bench = Bench::new();
    let mut record = bench.open();
    let over = bring(&mut record, "file:/etc/motd");
    let revision = crate::model::Revision {
        commit: commit('a'),
        author: "Ada <ada@example.org>".to_owned(),
        time: "2026-11-23T12:00:00Z".parse().unwrap(),
        subject: "greet".to_owned(),
    };
    let author = LineAuthor::Older { revision };
    record.demanded(&[(over, author.clone())]).unwrap();
    drop(record);
    let history = bench.history();
    assert_eq!(history.drift(over).unwrap().unwrap().line_author, Some(author.clone()));
    assert!(matches!(history.check().unwrap(), Verification::Whole { .. }));

    let mut record = bench.open();
    begin(&mut record, Trigger::Watch);
    let open = record.note(&[seen("file:/etc/issue", "0600")]).unwrap()[0];
    record.demanded(&[(open, author.clone())]).unwrap();
    record.note(&[seen("file:/etc/issue", "0644")]).unwrap();
    assert_eq!(bench.history().drift(open).unwrap().unwrap().line_author, Some(author), "the same line");
    record.begin_pass([Trigger::Watch].into(), PassScope::Full, Some(commit('b'))).unwrap();
    record.note(&[seen("file:/etc/issue", "0640")]).unwrap();
    assert_eq!(bench.history().drift(open).unwrap().unwrap().line_author, None);
}
