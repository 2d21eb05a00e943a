//! Of logins: what sshd and sudo noted beside what the kernel told.

use super::*;
use crate::host::logins::{LoginNotes, SshNote, SudoNote};

fn second(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn let_in(pid: u32, at: i64, from: &str) -> SshNote {
    SshNote { pid, at: second(at), session: None, from: Some(from.to_owned()) }
}

fn opened(pid: u32, at: i64, session: u32) -> SshNote {
    SshNote { pid, at: second(at), session: Some(session), from: None }
}

fn started(pid: u32, at: i64, login: u32) -> SudoNote {
    let (login, caller, session) = (Some(login), Some(login), Some(3));
    let (runs_as, command) = ("root".to_owned(), "/usr/bin/vim /etc/motd".to_owned());
    SudoNote { pid, at: second(at), login, caller, session, runs_as, command }
}

/// A change by vim, below sudo, below a login whose connection is gone.
fn scene(notes: LoginNotes) -> Attribution {
    let vim = image(200, "/usr/bin/vim", &["vim", "/etc/motd"]);
    let seen = witness("/etc/motd", 200, 201_000, Caught::Alive(Box::new(facts(&vim))));
    let mut known = gathered(vec![vim], vec![seen]);
    known.connections.clear();
    known.logins = notes;
    attribute(&motd(&["content"]), &known)
}

fn from(attribution: &Attribution) -> Option<&str> {
    attribution.actor.as_ref()?.session.as_ref()?.ssh_from.as_deref()
}

#[test]
fn a_login_whose_connection_is_gone_is_known_by_what_sshd_noted() {
    let told = scene(LoginNotes { ssh: vec![let_in(10, 10, "10.0.0.9 port 4711")], sudo: Vec::new() });
    assert_eq!(from(&told), Some("10.0.0.9 port 4711"));
    assert_eq!(told.evidence, [Evidence::Fanotify, Evidence::Journal]);
    assert!(
        told.reason.ends_with("sshd noted that the login came from 10.0.0.9 port 4711"),
        "{}",
        told.reason
    );
    // The process number was another one's before.
    let earlier = scene(LoginNotes { ssh: vec![let_in(10, 5, "10.6.6.6 port 1")], sudo: Vec::new() });
    assert_eq!((from(&earlier), &earlier.evidence[..]), (None, &[Evidence::Fanotify][..]));
}

#[test]
fn a_session_leads_to_the_login_that_opened_it_and_to_no_other() {
    let ssh = vec![
        let_in(77, 10, "10.0.0.1 port 1"),
        let_in(78, 11, "10.0.0.2 port 2"),
        opened(77, 12, 3),
        opened(78, 13, 4),
        let_in(77, 14, "10.0.0.3 port 3"),
    ];
    assert_eq!(from(&scene(LoginNotes { ssh, sudo: Vec::new() })), Some("10.0.0.1 port 1"));
    let ssh = vec![let_in(78, 11, "10.0.0.2 port 2"), opened(78, 13, 4)];
    assert_eq!(from(&scene(LoginNotes { ssh, sudo: Vec::new() })), None);
}

#[test]
fn what_sudo_noted_counts_if_it_is_that_sudo_of_that_login() {
    let told = scene(LoginNotes { ssh: Vec::new(), sudo: vec![started(30, 31, 1000)] });
    assert_eq!(told.evidence, [Evidence::Fanotify, Evidence::Journal]);
    assert!(told.reason.ends_with("sudo noted the command"), "{}", told.reason);
    for other in [started(31, 31, 1000), started(30, 31, 1001), started(30, 20, 1000)] {
        assert_eq!(scene(LoginNotes { ssh: Vec::new(), sudo: vec![other] }).evidence, [Evidence::Fanotify]);
    }
}
