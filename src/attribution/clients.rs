//! Programs that ask systemd to change units: those whom the bus named with a call, those who were started with such a
//! request as their arguments, and those whom sudo says it started so.

use std::time::Duration;

use jiff::Timestamp;

use super::chain::{self, Finding, Suspect};
use super::scripts::{base, program};
use super::{Gathered, Question};
use crate::host::exec_cache::Executed;
use crate::host::logins::SudoNote;
use crate::model::{Confidence, Evidence, ProcessFacts, Subject};

/// Programs that ask systemd for something.
const CLIENTS: [&str; 11] = [
    "busctl",
    "dbus-send",
    "deb-systemd-invoke",
    "deb-systemd-helper",
    "gdbus",
    "init",
    "invoke-rc.d",
    "service",
    "systemctl",
    "telinit",
    "update-rc.d",
];
/// Those of them that always do so over the bus.
const ON_THE_BUS: [&str; 3] = ["busctl", "dbus-send", "gdbus"];
/// Programs that send signals to processes by their name.
const KILLERS: [&str; 2] = ["killall", "pkill"];
/// sudo notes a command just before it starts it, and systemd a job as soon as it was asked for it: what is further
/// apart is not of each other.
const SOON: Duration = Duration::from_secs(10);

/// What the bus told of calls for this unit since it was right.
pub(super) fn over_bus(unit: &str, verbs: &[&str], question: &Question, gathered: &Gathered) -> Vec<Finding> {
    let about = |subject: &Subject| match subject {
        Subject::Unit { unit: named, verb } => named == unit && verbs.contains(verb),
        Subject::Path(_) | Subject::Rules { .. } => false,
    };
    let mut calls: Vec<Finding> = Vec::new();
    for testimony in &gathered.testimonies {
        if testimony.witness.since_boot >= question.good && about(&testimony.witness.subject) {
            calls.push(chain::finding(testimony, None, gathered));
        }
    }
    calls
}

/// Who was started since then with the unit and such a verb as arguments.
pub(super) fn by_arguments(
    unit: &str,
    verbs: &[&str],
    question: &Question,
    gathered: &Gathered,
) -> Vec<Suspect> {
    let notes = gathered.newest_images(question.good);
    let asking = notes.iter().filter(|note| asks(&note.interpreter, &note.command, unit, verbs));
    let suspects = asking.map(|note| Suspect {
        facts: chain::from_note(note, &gathered.processes),
        evidence: vec![note.source],
        confidence: Confidence::Likely,
        reason: format!("the kernel noted that it was started with {unit} and such a verb as its arguments"),
        when: note.since,
    });
    suspects.filter(|one| !chain::is_own(&one.facts, gathered.own)).collect()
}

/// Whom sudo says it started so, just before the job that systemd noted at `job`. For where programs are not noted.
pub(super) fn by_sudo(
    unit: &str,
    verbs: &[&str],
    question: &Question,
    gathered: &Gathered,
    job: Timestamp,
) -> Vec<Suspect> {
    let good = gathered.wall(question.good);
    let is_before = |note: &&SudoNote| {
        let until = note.at.checked_add(SOON).unwrap_or(Timestamp::MAX);
        note.at >= good && note.runs_as == "root" && (note.at..=until).contains(&job)
    };
    let suspect = |note: &SudoNote| {
        let words: Vec<String> = note.command.split(' ').map(str::to_owned).collect();
        let program = words.first().cloned().unwrap_or_default();
        asks(&program, &words, unit, verbs).then(|| Suspect {
            facts: started(note, program, words),
            evidence: vec![Evidence::Journal],
            confidence: Confidence::Likely,
            reason: format!("sudo was asked to start it with {unit} and such a verb as its arguments"),
            when: since_boot(note.at, gathered),
        })
    };
    gathered.logins.sudo.iter().filter(is_before).filter_map(suspect).collect()
}

/// Whether it is a program that asks systemd for something, or that sends signals.
pub(super) fn is_client(note: &Executed) -> bool {
    let program = program(&note.interpreter, &note.command);
    CLIENTS.contains(&program) || KILLERS.contains(&program)
}

/// Whether what it asks systemd for certainly goes over the bus.
pub(super) fn takes_the_bus(facts: &ProcessFacts) -> bool {
    facts.executable.as_deref().is_some_and(|path| ON_THE_BUS.contains(&base(path)))
}

/// A program that sudo started: its own number was not noted.
fn started(note: &SudoNote, program: String, words: Vec<String>) -> ProcessFacts {
    let sudo = ProcessFacts {
        pid: note.pid,
        executable: Some("/usr/bin/sudo".to_owned()),
        name: "sudo".to_owned(),
        login: note.login,
        session: note.session,
        ..ProcessFacts::default()
    };
    ProcessFacts {
        parent: note.pid,
        name: base(&program).to_owned(),
        executable: Some(program),
        command: words,
        uid: Some(0),
        euid: Some(0),
        login: note.login,
        session: note.session,
        ancestors: vec![sudo],
        ..ProcessFacts::default()
    }
}

fn since_boot(at: Timestamp, gathered: &Gathered) -> Duration {
    Duration::try_from(at.duration_since(gathered.booted)).unwrap_or_default()
}

fn asks(interpreter: &str, command: &[String], unit: &str, verbs: &[&str]) -> bool {
    let stem = unit.strip_suffix(".service").unwrap_or(unit);
    let arguments = || command.iter().skip(1).map(String::as_str);
    if KILLERS.contains(&base(interpreter)) {
        return verbs.contains(&"kill") && arguments().any(|argument| argument == stem);
    }
    if !CLIENTS.contains(&program(interpreter, command)) {
        return false;
    }
    // `stop`, `--now`, or a call such as `StopUnit`: the unit may be named like a verb, and `is-enabled` only asks.
    let is_verb = |argument: &str| {
        let call = argument.rsplit('.').next().unwrap_or(argument).to_ascii_lowercase();
        let is_word = verbs.contains(&argument);
        !means(argument, unit, stem)
            && (is_word || call.contains("unit") && verbs.iter().any(|verb| call.starts_with(verb)))
    };
    arguments().any(is_verb) && arguments().any(|argument| means(argument, unit, stem))
}

/// Whether an argument names the unit, or is a pattern that does.
fn means(argument: &str, unit: &str, stem: &str) -> bool {
    let by_pattern = argument.split_once('*').is_some_and(|(before, after)| {
        unit.starts_with(before) && unit.ends_with(after) || stem.starts_with(before) && stem.ends_with(after)
    });
    argument == unit || argument == stem || by_pattern || argument.ends_with(&format!(":{unit}"))
}
