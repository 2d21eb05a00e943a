//! The settings, and what the host is, move.

use super::*;
use crate::control::wire::SuspendOrder;
use crate::model::vocabulary::{Health, Sync};

const TELLING: &[(&str, &str)] = &[(MOTD, "{host} {site} {folder}")];

fn relabel(setup: &mut Setup) {
    setup.labels.insert("site".to_owned(), "ams".to_owned());
}

#[test]
fn changed_labels_are_compiled_for_without_another_commit() {
    let site = Site::following(TELLING);
    site.reload(relabel);
    site.shows(MOTD, "web-1 ams ");
    assert_eq!(site.forge.compiles(), ['a', 'a']);
}

#[test]
fn a_changed_name_and_folder_are_compiled_for() {
    let site = Site::following(TELLING);
    site.reload(|setup| setup.host = "web-2".to_owned());
    site.shows(MOTD, "web-2 fra ");
    site.enrol(|setup| setup.remote.as_mut().unwrap().subfolder = Some("fleet".to_owned()));
    site.shows(MOTD, "web-2 fra fleet");
}

#[test]
fn what_changed_while_the_agent_was_off_is_compiled_for_also_without_the_remote() {
    let mut site = Site::following(TELLING);
    site.restart();
    site.sync();
    assert_eq!(site.forge.compiles(), ['a'], "the same again is not compiled again");
    site.stop().unwrap();
    relabel(&mut site.setup.lock().unwrap());
    site.forge.cut_off(crate::source::Fault::Unreachable);
    site.start();
    site.shows(MOTD, "web-1 ams ");
}

#[test]
fn who_enrols_again_is_shown_what_is_declared_now() {
    let site = Site::following(TELLING);
    site.enrol(relabel);
    let reply = site.sync();
    assert_eq!(reply.fetch_error, None);
    assert_eq!(std::fs::read_to_string(site.file(MOTD)).unwrap(), "web-1 ams ");
}

#[test]
fn the_mode_is_obeyed_from_the_reload_on() {
    let site = Site::following(TELLING);
    site.reload(|setup| setup.mode = DriftMode::Warn);
    until("the mode is shown", || site.status().mode == DriftMode::Warn);
    std::fs::write(site.file(MOTD), "vandal").unwrap();
    assert!(matches!(site.sync().status.sync, Sync::OutOfSync(_)));
    assert_eq!(std::fs::read_to_string(site.file(MOTD)).unwrap(), "vandal");
    site.reload(|setup| setup.mode = DriftMode::Enabled);
    site.shows(MOTD, "web-1 fra ");
}

#[test]
fn what_is_declared_and_not_there_is_missing_for_as_long_as_nothing_is_done_about_it() {
    let site = Site::following(TELLING);
    site.reload(|setup| setup.mode = DriftMode::Warn);
    until("the mode is shown", || site.status().mode == DriftMode::Warn);
    let health = || site.sync().status.health;
    std::fs::write(site.file(MOTD), "vandal").unwrap();
    assert_eq!(health(), Health::Healthy, "it is out of sync, and there");
    std::fs::remove_file(site.file(MOTD)).unwrap();
    assert_eq!(health(), Health::Missing);
    let healthy = site.status().conditions.into_iter().find(|one| one.kind == "Healthy").unwrap();
    assert_eq!((healthy.status, healthy.reason.as_str()), (Some(false), "Missing"));
    site.reload(|setup| setup.mode = DriftMode::Enabled);
    site.shows(MOTD, "web-1 fra ");
    until("all is well", || site.status().health == Health::Healthy);
}

#[test]
fn broken_settings_keep_the_old_ones_until_a_good_reload() {
    let site = Site::following(TELLING);
    let broken =
        || site.status().notes.iter().any(|note| note.contains("the old ones stay in force: a fault"));
    site.break_settings(true);
    site.reload(|setup| {
        setup.mode = DriftMode::Warn;
        relabel(setup);
    });
    until("that is told", broken);
    assert_eq!(site.status().mode, DriftMode::Enabled);
    std::fs::write(site.file(MOTD), "vandal").unwrap();
    site.sync();
    assert_eq!(std::fs::read_to_string(site.file(MOTD)).unwrap(), "web-1 fra ", "the old ones hold");
    assert_eq!(site.forge.compiles(), ['a'], "nothing was compiled for the new ones");
    site.break_settings(false);
    site.reload(|_| ());
    until("the note is gone and the new ones hold", || !broken() && site.status().mode == DriftMode::Warn);
    until("it is compiled for them", || site.forge.compiles() == ['a', 'a']);
}

#[test]
fn another_branch_is_followed_although_nothing_there_descends_from_what_is_in_force() {
    let site = Site::following(&[(MOTD, "main")]);
    site.forge.push("next", 'b', &[(MOTD, "next")]);
    site.reload(|setup| setup.remote = Some(remote("next")));
    site.shows(MOTD, "next");
    // And back, to a commit that is older than what is in force: the settings are a person's word.
    site.reload(|setup| setup.remote = Some(remote("main")));
    site.shows(MOTD, "main");
}

#[test]
fn an_answer_of_the_branch_before_is_not_taken_for_the_new_ones() {
    let site = Site::following(&[(MOTD, "main")]);
    site.forge.push("next", 'b', &[(MOTD, "next")]);
    site.forge.hold(forge::Step::Fetch);
    until("a fetch is under way", || site.forge.holds());
    site.forge.push("main", 'c', &[(MOTD, "never")]);
    site.reload(|setup| setup.remote = Some(remote("next")));
    until("the settings were read", || site.status().source.branch == "next");
    assert_eq!(site.status().source.last_success, None, "nothing was heard of it yet");
    site.forge.let_go();
    site.shows(MOTD, "next");
    assert_eq!(site.forge.compiles(), ['a', 'b']);
    assert_eq!(site.status().source.error, None);
}

#[test]
fn a_rewritten_branch_is_refused_until_a_person_enrols_again() {
    let mut site = Site::following(&[(MOTD, "old")]);
    site.forge.rewrite("main", 'b', &[(MOTD, "new")]);
    let refused = site.sync().fetch_error.unwrap();
    assert!(refused.contains("rewritten") && refused.contains("agentctl enroll"), "{refused}");
    // Neither by reading the settings again nor by a restart.
    site.reload(|_| ());
    assert!(site.sync().fetch_error.is_some());
    site.restart();
    assert!(site.sync().fetch_error.is_some());
    assert_eq!(site.in_force(), Some('a'));
    site.enrol(|_| ());
    site.shows(MOTD, "new");
}

#[test]
fn a_fetch_that_was_taken_over_leads_to_no_commit_that_does_not_descend_from_the_accepted_one() {
    let mut site = Site::following(&[(MOTD, "old")]);
    site.forge.take_over();
    site.forge.rewrite("main", 'b', &[(MOTD, "new")]);
    for _ in 0..2 {
        site.sync();
        let rejected = site.status().rejected.unwrap();
        assert_eq!((rejected.reason.as_str(), rejected.commit), ("NotDescending", super::forge::id('b')));
        assert_eq!((site.in_force(), site.forge.compiles()), (Some('a'), vec!['a']));
        site.restart();
    }
    site.enrol(|_| ());
    site.shows(MOTD, "new");
}

#[test]
fn a_person_s_word_outlives_a_restart() {
    let mut site = Site::following(&[(MOTD, "old")]);
    site.forge.cut_off(crate::source::Fault::Unreachable);
    site.forge.rewrite("main", 'b', &[(MOTD, "new")]);
    site.enrol(|_| ());
    site.sync();
    site.restart();
    site.forge.plug_in();
    site.shows(MOTD, "new");
}

#[test]
fn drift_is_put_right_when_a_suspension_ends_by_itself() {
    let site = Site::following(TELLING);
    let order = SuspendOrder { target: "all".parse().unwrap(), reason: "a look".to_owned(), seconds: 1 };
    site.ask::<serde_json::Value>(&Request::Suspend(order)).unwrap();
    std::fs::write(site.file(MOTD), "mine for now").unwrap();
    // Nothing else is due for an hour.
    site.shows(MOTD, "web-1 fra ");
    // The file is right before the pass that did it has told of it.
    until("the suspension is no longer shown", || site.status().suspensions.is_empty());
}

#[test]
fn everything_is_looked_at_once_in_a_while_by_each_host_at_a_time_of_its_own() {
    let wait_of = |host: &str| {
        let site = Site::following(TELLING);
        site.reload(|setup| {
            setup.host = host.to_owned();
            setup.full_pass = Duration::from_secs(10_000);
        });
        site.sync();
        let status = site.status();
        let (next, last) = (status.next_full_pass.unwrap(), status.last_pass.unwrap());
        assert!(last.full);
        next.duration_since(last.started).as_secs()
    };
    let waits = ["web-1", "web-1", "web-2", "web-3"].map(wait_of);
    assert!(waits.iter().all(|wait| (9_900..=11_100).contains(wait)), "{waits:?}");
    // The same host waits as long after each start, but for the time that the passes of this test take.
    let [one, again, other, another] = waits;
    assert!(one.abs_diff(again) < 60, "{waits:?}");
    assert!(one.abs_diff(other) > 60 || one.abs_diff(another) > 60, "{waits:?}");
}
