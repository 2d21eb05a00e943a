//! The join as a table: what was gathered, and the name or the reason for none.

mod files;
mod firewall;
mod gaps;
mod logins;
mod packages;
mod services;

use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::model::{Caught, Confidence, Deeds, Evidence, Subject};

/// The agent.
const OWN: u32 = 100;

/// A program that process `pid` ran since its start, second `pid` after boot; a child of bash, of sudo, of bash, of sshd.
pub(super) fn image(pid: u32, path: &str, command: &[&str]) -> Executed {
    Executed {
        pid,
        started: u64::from(pid) * 100,
        since: Duration::from_secs(pid.into()) + Duration::from_millis(2),
        is_fork: false,
        parent: 30,
        parent_started: 3000,
        uid: 0,
        euid: 0,
        login: Some(1000),
        session: Some(3),
        cgroup: 7,
        namespace: 4_026_531_836,
        name: path.rsplit('/').next().unwrap_or_default().to_owned(),
        file: path.to_owned(),
        interpreter: path.to_owned(),
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        source: Evidence::ExecCache,
    }
}

fn login() -> Processes {
    let child =
        |parent: u32, note: Executed| Executed { parent, parent_started: u64::from(parent) * 100, ..note };
    let sshd =
        Executed { login: None, session: None, ..image(10, "/usr/sbin/sshd", &["sshd: alice [priv]"]) };
    let notes = [
        child(1, sshd),
        child(10, Executed { uid: 1000, euid: 1000, ..image(20, "/bin/bash", &["-bash"]) }),
        child(20, image(30, "/usr/bin/sudo", &["sudo", "vim", "/etc/motd"])),
    ];
    let mut processes = Processes::default();
    for note in notes {
        processes.images.insert(note.pid, vec![note]);
    }
    processes.groups.insert(7, "/user.slice/user-1000.slice/session-3.scope".to_owned());
    processes
}

fn facts(note: &Executed) -> ProcessFacts {
    ProcessFacts {
        pid: note.pid,
        parent: note.parent,
        started: note.started,
        executable: Some(note.interpreter.clone()),
        name: note.name.clone(),
        command: note.command.clone(),
        uid: Some(note.uid),
        euid: Some(note.euid),
        login: note.login,
        session: note.session,
        ..ProcessFacts::default()
    }
}

fn witness(path: &str, pid: u32, at: u64, caught: Caught) -> Testimony {
    let deeds = Deeds { wrote: true, ..Deeds::default() };
    Testimony {
        witness: Witness {
            subject: Subject::Path(path.into()),
            at: Timestamp::UNIX_EPOCH,
            since_boot: Duration::from_millis(at),
            source: Evidence::Fanotify,
            pid: Some(pid),
            caught,
            deeds,
        },
        changed: None,
    }
}

fn doing(deeds: Deeds, testimony: Testimony) -> Testimony {
    Testimony { witness: Witness { deeds, ..testimony.witness }, ..testimony }
}

fn gathered(notes: Vec<Executed>, testimonies: Vec<Testimony>) -> Gathered {
    let mut gathered = Gathered {
        own: OWN,
        booted: Timestamp::UNIX_EPOCH,
        testimonies,
        processes: login(),
        people: [(0, "root".to_owned()), (1000, "alice".to_owned())].into(),
        connections: [(10, "10.0.0.5 port 50022".to_owned())].into(),
        ..Gathered::default()
    };
    for note in notes.iter().rev() {
        gathered.processes.images.entry(note.pid).or_default().push(note.clone());
    }
    gathered.recent = Some(notes);
    gathered
}

fn question(resource: &str, fields: &[&str]) -> Question {
    Question {
        resource: resource.parse().unwrap(),
        fields: fields.iter().map(|field| (*field).to_owned()).collect(),
        good: Duration::from_secs(100),
    }
}

/// What comes of it in one line: confidence, program, user, login.
fn told(question: &Question, gathered: &Gathered) -> String {
    let attribution = attribute(question, gathered);
    let Some(actor) = &attribution.actor else {
        assert_eq!(attribution.confidence, Confidence::Unknown);
        return format!("unknown: {}", attribution.reason);
    };
    assert_ne!(attribution.confidence, Confidence::Unknown);
    let name = |account: &Option<crate::model::Account>| account.as_ref().and_then(|one| one.name.clone());
    format!(
        "{}: {} as {} by {}",
        attribution.confidence,
        actor.process.as_ref().unwrap().executable,
        name(&actor.user).unwrap_or_else(|| "?".to_owned()),
        name(&actor.login).unwrap_or_else(|| "?".to_owned()),
    )
}

fn motd(fields: &[&str]) -> Question {
    question("file:/etc/motd", fields)
}
