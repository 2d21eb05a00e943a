//! What is loaded at boot, when somebody changes that: it is to be what is confirmed.

#![allow(
    clippy::disallowed_methods,
    reason = "these tests play the somebody, and wait for a tick of the clock"
)]

use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::undo::{Confirmation, Window, confirm, confirmation};
use super::super::{Firewall, Spec};
use super::support::{TestHost, declared, on_a_host};
use crate::kind::Specs;

const WINDOW: Duration = Duration::from_secs(60);
const BOOT: &str = "/var/lib/agentd/firewall.nft";

fn old() -> Specs<Spec> {
    declared("input = \"accept\"\n[rules.old]\nallow = [\"tcp/1\"]\n[sets.s]\nelements = [\"10.0.0.1\"]")
}

fn new() -> Specs<Spec> {
    declared("[input]\npolicy = \"drop\"\nmanagement = []\n[rules.new]\nallow = [\"tcp/2\"]")
}

/// A host with the old table, confirmed, under a guarded kind.
fn guarded(test: impl FnOnce(&mut TestHost) + Send) {
    on_a_host(|host| {
        host.correct(&old());
        let window = Arc::new(Window::default());
        window.set(Some(WINDOW));
        host.kind = Firewall::guarded(window);
        assert_eq!(host.drift(&old()), [""; 0]);
        test(host);
    });
}

fn path(host: &TestHost) -> std::path::PathBuf {
    host.host.root.absolute(BOOT)
}

/// Somebody does something to the file: it is seen, told as what it is, and put right without a new confirmation.
#[track_caller]
fn after(harm: impl Fn(&TestHost) + Sync, told: &str) {
    guarded(|host| {
        let (before, rules) = (host.file(BOOT).unwrap(), host.nft(&["-s", "list", "ruleset"]));
        harm(host);
        let differences = host.differences(&old());
        let [one] = differences.as_slice() else { panic!("{differences:?}") };
        assert_eq!((one.key.as_str(), one.fields[0].observed.to_string().as_str()), ("boot", told));
        assert!(one.owner.is_some(), "a mode or a suspension of the firewall holds for it");
        host.programs.taken();
        host.correct(&old());
        let ran = host.programs.taken();
        assert!(ran.iter().all(|run| run[0].ends_with("nft")), "nothing to confirm: {ran:?}");
        assert_eq!(confirmation(&host.host).unwrap(), Confirmation::Settled);
        assert_eq!(host.file(BOOT).unwrap(), before);
        let stat = host.host.root.stat(BOOT).unwrap().unwrap();
        assert_eq!((stat.uid, stat.mode), (0, 0o600));
        assert_eq!(host.nft(&["-s", "list", "ruleset"]), rules);
    });
}

#[test]
fn a_boot_file_that_is_gone_is_written_again() {
    after(|host| std::fs::remove_file(path(host)).unwrap(), "absent");
    after(|host| std::fs::remove_dir_all(path(host).parent().unwrap()).unwrap(), "absent");
}

#[test]
fn a_boot_file_that_says_another_thing_is_written_again() {
    let edit = |from: &'static str, to: &'static str| {
        move |host: &TestHost| {
            let text = host.file(BOOT).unwrap();
            assert!(text.contains(from), "{text}");
            std::fs::write(path(host), text.replace(from, to)).unwrap();
        }
    };
    for (from, to) in
        [("dport 1 ", "dport 22 "), ("10.0.0.1", "10.0.0.2"), ("table inet agentd {", "garbage {")]
    {
        after(edit(from, to), "something else");
    }
    after(|host| std::fs::write(path(host), "").unwrap(), "something else");
    let more = |host: &TestHost| {
        let text = host.file(BOOT).unwrap();
        std::fs::write(path(host), format!("{text}table inet other {{}}\n")).unwrap();
    };
    after(more, "something else");
}

#[test]
fn a_link_in_place_of_the_boot_file_is_replaced_and_not_followed() {
    let elsewhere = |host: &TestHost| host.folder.path().join("elsewhere.nft");
    after(
        |host| {
            std::fs::write(elsewhere(host), "flush ruleset\n").unwrap();
            std::fs::remove_file(path(host)).unwrap();
            symlink(elsewhere(host), path(host)).unwrap();
        },
        "something else",
    );
}

#[test]
fn a_boot_file_that_others_may_write_is_closed_again() {
    let open = |host: &TestHost| {
        std::fs::set_permissions(path(host), std::fs::Permissions::from_mode(0o666)).unwrap();
    };
    after(open, "others than root may read or write it");
}

#[test]
fn what_nft_reads_as_the_same_is_the_same() {
    guarded(|host| {
        let text = host.file(BOOT).unwrap();
        let other = format!("# by another hand\n{}\n", text.replace("tcp dport 1 ", "tcp  dport 1 "));
        assert_ne!(other.trim(), text.trim());
        std::fs::write(path(host), other).unwrap();
        assert_eq!(host.drift(&old()), [""; 0], "in other words, as another version of nft may choose");
    });
}

#[test]
fn while_a_table_waits_for_its_confirmation_nothing_of_it_is_loaded_at_boot() {
    guarded(|host| {
        host.correct(&new());
        std::fs::remove_file(path(host)).unwrap();
        assert_eq!(host.drift(&new()), [""; 0], "it may be undone yet");
        // Also if somebody takes the account of it away.
        let account = host.host.root.absolute("/var/lib/agentd/firewall-pending.json");
        let text = std::fs::read(&account).unwrap();
        std::fs::remove_file(&account).unwrap();
        assert_eq!(host.drift(&new()), [""; 0], "nobody knows whether it is confirmed");
        std::fs::write(&account, text).unwrap();
        assert!(confirm(&host.host).unwrap());
        assert!(host.file(BOOT).unwrap().contains("agentd:new"));
        std::fs::remove_file(path(host)).unwrap();
        host.correct(&new());
        assert!(host.file(BOOT).unwrap().contains("agentd:new"));
    });
}

#[test]
fn a_table_that_was_undone_and_loaded_by_hand_is_not_loaded_at_boot_but_the_one_before_it_is() {
    guarded(|host| {
        host.correct(&new());
        let unconfirmed = host.nft(&["list", "table", "inet", "agentd"]);
        host.load(&host.file("/var/lib/agentd/firewall-undo.nft").unwrap());
        host.clock.advance(WINDOW + Duration::from_secs(3));
        std::fs::remove_file(path(host)).unwrap();
        // The declaration goes back to what is in force.
        assert_eq!(host.drift(&old()), ["boot"]);
        host.correct(&old());
        assert!(host.file(BOOT).unwrap().contains("agentd:old"));
        host.load(&format!("delete table inet agentd\n{unconfirmed}"));
        assert_eq!(host.drift(&new()), ["input"], "it is undone again, and nothing else");
        host.correct_but(&new(), &[]);
        assert!(host.nft(&["list", "ruleset"]).contains("agentd:old"));
        assert!(host.file(BOOT).unwrap().contains("agentd:old"));
    });
}

#[test]
fn a_boot_file_that_was_found_right_is_not_read_again() {
    guarded(|host| {
        let deadline = Instant::now() + Duration::from_secs(60);
        while host.kind.boot.known().is_none() {
            assert!(Instant::now() < deadline, "the tick of its last change has passed long since");
            assert_eq!(host.drift(&old()), [""; 0]);
        }
        let known = host.kind.boot.known();
        host.programs.taken();
        assert_eq!(host.drift(&old()), [""; 0]);
        assert_eq!((host.kind.boot.known(), host.programs.taken().len()), (known, 0));
    });
}
