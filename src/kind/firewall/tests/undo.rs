//! Confirm or undo, and what is loaded at boot. systemd is played by the test; nft is real.

#![allow(clippy::disallowed_methods, reason = "these tests play those who damage files")]

use std::sync::Arc;
use std::time::Duration;

use super::super::undo::{
    Confirmation, UndoError, Window, confirm, confirmation, disarm, forgive, prove, recover,
};
use super::super::{Change, Firewall, Spec};
use super::support::{TestHost, declared, on_a_host};
use crate::host::program::{Programs, Run, SystemPrograms};
use crate::kind::{Difference, Kind, Specs};
use crate::model::OutcomeResult;

const WINDOW: Duration = Duration::from_secs(60);
const BOOT: &str = "/var/lib/agentd/firewall.nft";
const UNDO: &str = "/var/lib/agentd/firewall-undo.nft";

fn window() -> Arc<Window> {
    let window = Arc::new(Window::default());
    window.set(Some(WINDOW));
    window
}

fn old() -> Specs<Spec> {
    declared("input = \"accept\"\n[rules.old]\nallow = [\"tcp/1\"]")
}

fn new() -> Specs<Spec> {
    declared("[input]\npolicy = \"drop\"\nmanagement = []\n[rules.new]\nallow = [\"tcp/2\"]")
}

/// A host with the old table, confirmed, under a guarded kind.
fn guarded(test: impl FnOnce(&mut TestHost) + Send) {
    on_a_host(|host| {
        host.correct(&old());
        host.kind = Firewall::guarded(window());
        host.programs.taken();
        test(host);
    });
}

fn systemd(host: &TestHost) -> Vec<String> {
    let runs = host.programs.taken();
    runs.iter()
        .filter(|run| run[0].starts_with("/usr/bin/systemd-run") || run[0].ends_with("systemctl"))
        .map(|run| run.join(" "))
        .collect()
}

/// As PID 1 does when the timer elapses.
fn timer_elapses(host: &TestHost) {
    host.load(&host.file(UNDO).unwrap());
    host.clock.advance(WINDOW + Duration::from_secs(3));
}

/// The table is undone, and this very instant someone looks.
fn timer_elapses_just_now(host: &TestHost) {
    host.load(&host.file(UNDO).unwrap());
    host.clock.advance(WINDOW);
}

/// Everything that differs is said to be undone, and nothing is done about it.
fn refused(host: &mut TestHost, specs: &Specs<Spec>) -> bool {
    let differences = host.differences(specs);
    let is_left = |difference: &Difference<Change>| {
        difference.changes.is_empty() && difference.failing.as_ref().is_some_and(|why| why.contains("undone"))
    };
    !differences.is_empty() && differences.iter().all(is_left)
}

#[test]
fn a_new_table_is_armed_before_it_is_loaded_and_boots_only_when_confirmed() {
    guarded(|host| {
        let before = host.file(BOOT).unwrap();
        host.correct(&new());
        let ran = systemd(host);
        assert_eq!(ran.len(), 1, "{ran:?}");
        for part in [
            "systemd-run --unit=agentd-firewall-undo-",
            "--on-active=60000ms",
            "AccuracySec=100ms",
            "/usr/sbin/nft -f",
        ] {
            assert!(ran[0].contains(part), "{ran:?}");
        }
        assert!(host.file(UNDO).unwrap().contains("agentd:old"));
        assert_eq!(host.file(BOOT).unwrap(), before, "a reboot inside the window is an undo");
        assert!(
            matches!(confirmation(&host.host).unwrap(), Confirmation::Awaited { left, .. } if left == WINDOW)
        );
        assert!(confirm(&host.host).unwrap());
        assert!(systemd(host)[0].contains("systemctl stop agentd-firewall-undo-"));
        assert!(host.file(BOOT).unwrap().contains("agentd:new"));
        assert_eq!(host.file(UNDO), None);
        assert_eq!(confirmation(&host.host).unwrap(), Confirmation::Settled);
        assert!(!confirm(&host.host).unwrap(), "nothing waits any more");
    });
}

#[test]
fn what_is_loaded_at_boot_is_the_confirmed_table_and_nothing_else_is_needed() {
    guarded(|host| {
        let listed = host.nft(&["-s", "list", "ruleset"]);
        host.nft(&["flush", "ruleset"]);
        host.load(&host.file(BOOT).unwrap());
        assert_eq!(host.nft(&["-s", "list", "ruleset"]), listed);
        assert_eq!(host.drift(&old()), [""; 0]);
        let mode = host.host.root.stat(BOOT).unwrap().unwrap().mode;
        assert_eq!(mode & 0o777, 0o600);
    });
}

#[test]
fn drift_of_a_confirmed_table_is_put_right_without_a_clock() {
    guarded(|host| {
        host.nft(&["flush", "ruleset"]);
        host.correct(&old());
        assert_eq!(systemd(host), [""; 0]);
        assert_eq!(confirmation(&host.host).unwrap(), Confirmation::Settled);
    });
}

#[test]
fn an_unconfirmed_table_is_undone_and_not_loaded_again() {
    guarded(|host| {
        let before = host.nft(&["-s", "list", "ruleset"]);
        host.correct(&new());
        timer_elapses(host);
        assert_eq!(host.nft(&["-s", "list", "ruleset"]), before);
        assert!(matches!(confirmation(&host.host).unwrap(), Confirmation::Undone { by_reboot: false, .. }));
        assert!(matches!(confirm(&host.host), Err(UndoError::TooLate)));
        systemd(host);
        assert!(refused(host, &new()));
        assert_eq!(host.nft(&["-s", "list", "ruleset"]), before);
        assert_eq!(systemd(host), [""; 0]);
        // Another table is another matter.
        host.correct(&declared("input = \"accept\"\n[rules.other]\nallow = [\"tcp/3\"]"));
        assert!(matches!(confirmation(&host.host).unwrap(), Confirmation::Awaited { .. }));
    });
}

#[test]
fn a_look_in_the_instant_of_the_undo_does_not_load_the_table_for_good() {
    guarded(|host| {
        let before = host.nft(&["-s", "list", "ruleset"]);
        host.correct(&new());
        timer_elapses_just_now(host);
        assert!(matches!(confirm(&host.host), Err(UndoError::TooLate)));
        assert!(!prove(&host.host, host.host.clock.since_boot()).unwrap());
        assert!(refused(host, &new()));
        assert_eq!(host.nft(&["-s", "list", "ruleset"]), before);
    });
}

#[test]
fn an_undone_table_may_be_tried_again_when_a_person_says_so() {
    guarded(|host| {
        host.correct(&new());
        timer_elapses(host);
        forgive(&host.host).unwrap();
        host.correct(&new());
        assert!(matches!(confirmation(&host.host).unwrap(), Confirmation::Awaited { .. }));
    });
}

#[test]
fn a_second_change_inside_the_window_is_undone_to_what_was_there_before_the_first() {
    guarded(|host| {
        let before = host.nft(&["-s", "list", "ruleset"]);
        host.correct(&new());
        host.clock.advance(Duration::from_secs(30));
        host.correct(&declared(
            "[input]\npolicy = \"drop\"\nmanagement = []\n[rules.third]\nallow = [\"tcp/3\"]",
        ));
        let ran = systemd(host);
        assert!(
            ran[1].contains("systemd-run") && ran[2].contains("systemctl stop"),
            "the new clock runs before the old one stops: {ran:?}"
        );
        timer_elapses(host);
        assert_eq!(host.nft(&["-s", "list", "ruleset"]), before);
    });
}

#[test]
fn a_rival_cannot_prolong_the_window() {
    guarded(|host| {
        host.correct(&new());
        systemd(host);
        host.clock.advance(Duration::from_secs(30));
        host.nft(&["flush", "ruleset"]);
        host.correct(&new());
        assert_eq!(systemd(host), [""; 0], "the clock runs on");
        assert!(
            matches!(confirmation(&host.host).unwrap(), Confirmation::Awaited { left, .. } if left == Duration::from_secs(30))
        );
        assert!(!host.file(BOOT).unwrap().contains("agentd:new"));
    });
}

#[test]
fn a_table_that_cannot_be_put_under_the_clock_is_not_loaded() {
    guarded(|host| {
        let before = host.nft(&["-s", "list", "ruleset"]);
        host.programs.fail("systemd-run");
        let results = host.correct_but(&new(), &[]);
        assert!(results.iter().all(|result| matches!(result, OutcomeResult::Failed { .. })), "{results:?}");
        assert_eq!(host.nft(&["-s", "list", "ruleset"]), before);
    });
}

#[test]
fn a_table_that_nft_refuses_after_all_leaves_no_clock_behind() {
    guarded(|host| {
        let specs = new();
        // Compiled already, so that only the load on the host itself fails.
        assert!(!host.drift(&specs).is_empty());
        host.programs.fail("nft -f -");
        let results = host.correct_but(&specs, &[]);
        assert!(results.iter().all(|result| matches!(result, OutcomeResult::Failed { .. })), "{results:?}");
        assert_eq!(confirmation(&host.host).unwrap(), Confirmation::Settled);
        assert!(systemd(host).last().unwrap().contains("systemctl stop"));
    });
}

#[test]
fn a_reboot_inside_the_window_is_an_undo() {
    guarded(|host| {
        let write = |host: &TestHost, text: &str| {
            std::fs::DirBuilder::new()
                .recursive(true)
                .create(host.folder.path().join("root/proc/sys/kernel/random"))
                .unwrap();
            let attributes = crate::host::files::Attributes::root(0o444);
            host.host.root.write("/proc/sys/kernel/random/boot_id", text.as_bytes(), attributes).unwrap();
        };
        write(host, "first\n");
        host.correct(&new());
        assert!(matches!(confirmation(&host.host).unwrap(), Confirmation::Awaited { .. }));
        write(host, "second\n");
        assert!(matches!(confirmation(&host.host).unwrap(), Confirmation::Undone { by_reboot: true, .. }));
        // The boot loaded the confirmed table; the other one is not loaded again.
        host.load(&host.file(BOOT).unwrap());
        assert!(refused(host, &new()));
    });
}

#[test]
fn a_confirmation_cut_short_is_finished() {
    guarded(|host| {
        host.correct(&new());
        // The agent dies after it noted the confirmation, before it stopped the timer.
        host.programs.fail("systemctl stop");
        assert!(confirm(&host.host).is_err());
        assert_eq!(confirmation(&host.host).unwrap(), Confirmation::Settled);
        host.programs.fail("nothing");
        recover(&host.host).unwrap();
        assert_eq!(host.file(UNDO), None);
        assert!(host.file(BOOT).unwrap().contains("agentd:new"));
    });
}

#[test]
fn an_undo_on_a_host_that_had_no_table_takes_ours_away() {
    on_a_host(|host| {
        host.kind = Firewall::guarded(window());
        host.correct(&new());
        timer_elapses(host);
        assert_eq!(host.nft(&["list", "ruleset"]), "");
        disarm(&host.host).unwrap();
    });
}

#[test]
fn only_a_connection_that_was_begun_after_the_load_proves_anything() {
    guarded(|host| {
        let before = host.host.clock.since_boot();
        host.correct(&new());
        assert!(!prove(&host.host, before).unwrap());
        assert!(
            !prove(&host.host, host.host.clock.since_boot()).unwrap(),
            "at the same instant is not after"
        );
        host.clock.advance(Duration::from_secs(1));
        assert!(prove(&host.host, host.host.clock.since_boot()).unwrap());
        assert_eq!(confirmation(&host.host).unwrap(), Confirmation::Settled);
        assert!(host.file(BOOT).unwrap().contains("agentd:new"));
        assert!(!prove(&host.host, host.host.clock.since_boot()).unwrap(), "nothing waits any more");
    });
}

#[test]
fn a_switch_that_is_turned_off_confirms_at_once() {
    guarded(|host| {
        let window = window();
        host.kind = Firewall::guarded(Arc::clone(&window));
        window.set(None);
        host.correct(&new());
        assert_eq!(confirmation(&host.host).unwrap(), Confirmation::Settled);
        assert!(host.file(BOOT).unwrap().contains("agentd:new"));
    });
}

#[test]
fn after_an_undo_the_host_is_held_to_the_table_that_was_confirmed() {
    guarded(|host| {
        let before = host.nft(&["-s", "list", "ruleset"]);
        host.correct(&new());
        timer_elapses(host);
        assert!(refused(host, &new()));
        host.nft(&["flush", "ruleset"]);
        let results = host.correct_but(&new(), &[]);
        assert!(
            results.iter().all(
                |result| matches!(result, OutcomeResult::Failed { message } if message.contains("not confirmed in time"))
            ),
            "the host is not as declared: {results:?}"
        );
        assert_eq!(host.nft(&["-s", "list", "ruleset"]), before);
        assert!(refused(host, &new()), "and that was all there was to do");
        assert_eq!(systemd(host).len(), 1, "nothing new to confirm");
    });
}

/// The timer elapses over what became of its file: nothing is undone by it.
fn timer_fails(host: &TestHost, broken: Option<&str>) {
    let undo = host.host.root.absolute(UNDO);
    match broken {
        Some(text) => std::fs::write(undo, text).unwrap(),
        None => std::fs::remove_file(undo).unwrap(),
    }
    let done = SystemPrograms
        .run(&Run::new("/usr/sbin/nft", &["-f", host.host.root.absolute(UNDO).to_str().unwrap()]));
    assert!(!done.unwrap().succeeded(), "the timer's unit fails");
    host.clock.advance(WINDOW + Duration::from_secs(3));
}

#[test]
fn an_undo_that_fails_for_its_file_is_made_by_the_agent() {
    for broken in [Some("table inet agentd {\n  chain inp"), Some("garbage"), None] {
        guarded(|host| {
            let before = host.nft(&["-s", "list", "ruleset"]);
            host.correct(&new());
            let unconfirmed = host.nft(&["-s", "list", "ruleset"]);
            timer_fails(host, broken);
            assert_eq!(host.nft(&["-s", "list", "ruleset"]), unconfirmed);
            assert!(matches!(confirm(&host.host), Err(UndoError::TooLate)));
            systemd(host);
            let differences = host.differences(&new());
            let [one] = differences.as_slice() else { panic!("{broken:?}: {differences:?}") };
            assert!(one.fields[0].observed.to_string().contains("the undo failed"), "{one:?}");
            let results = host.correct_but(&new(), &[]);
            assert!(
                results.iter().all(
                    |result| matches!(result, OutcomeResult::Failed { message } if message.contains("not confirmed in time"))
                ),
                "the host is not as declared: {results:?}"
            );
            assert_eq!(host.nft(&["-s", "list", "ruleset"]), before, "{broken:?}");
            assert!(host.kept().iter().any(|text| text.contains("agentd:new")), "what was there is kept");
            assert!(refused(host, &new()), "and that was all there was to do");
            assert_eq!(systemd(host), [""; 0], "nothing new to confirm");
            assert!(host.file(BOOT).unwrap().contains("agentd:old"));
        });
    }
}

#[test]
fn an_undo_that_fails_on_a_host_that_had_no_table_takes_ours_away() {
    on_a_host(|host| {
        host.kind = Firewall::guarded(window());
        host.correct(&new());
        timer_fails(host, Some("garbage"));
        assert_eq!(host.drift(&new()), ["input"]);
        host.correct_but(&new(), &[]);
        assert_eq!(host.nft(&["list", "ruleset"]), "");
        assert!(refused(host, &new()));
        assert_eq!(host.file(BOOT), None, "and nothing is loaded at boot");
    });
}

#[test]
fn what_nft_refuses_is_found_before_it_is_put_in_force() {
    guarded(|host| {
        let before = host.nft(&["-s", "list", "ruleset"]);
        let odd = declared("input = \"accept\"\n[rules.odd]\nraw = \"tcp dport ssh-ish accept\"");
        let faults = host.kind.rehearse(&host.host, &odd);
        let [fault] = faults.as_slice() else { panic!("{faults:?}") };
        assert_eq!(fault.code, "refused-by-nft");
        assert!(fault.to_string().contains("firewall:input/odd"), "{fault}");
        assert_eq!(host.kind.rehearse(&host.host, &new()), []);
        assert_eq!(host.nft(&["-s", "list", "ruleset"]), before);
        host.programs.miss();
        let third = declared("input = \"accept\"\n[rules.third]\nallow = [\"tcp/3\"]");
        assert_eq!(host.kind.rehearse(&host.host, &third), [], "without nft nothing can be said");
    });
}
