//! Who stopped, started, enabled or disabled a unit. systemd does it for whoever asks, and does not say who that was:
//! what is left is a program that was started with the unit's name and such a verb. At best that is `likely`.

use super::chain::{self, Finding, Suspect};
use super::scripts::{base, program};
use super::{Gathered, Question, files, verdict};
use crate::host::exec_cache::Executed;
use crate::host::journal::UnitNote;
use crate::model::{Attribution, Confidence, Deeds, Evidence};

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
/// Programs that send signals to processes by their name.
const KILLERS: [&str; 2] = ["killall", "pkill"];
/// What changes whether a unit runs. Calls over D-Bus begin with the same words: `StopUnit`.
const RUN_VERBS: [&str; 14] = [
    "stop",
    "start",
    "restart",
    "try-restart",
    "reload-or-restart",
    "try-reload-or-restart",
    "condrestart",
    "force-reload",
    "kill",
    "isolate",
    "--now",
    "freeze",
    "emergency",
    "rescue",
];
/// What changes whether a unit is started at boot.
const BOOT_VERBS: [&str; 10] =
    ["enable", "disable", "mask", "unmask", "preset", "reenable", "revert", "link", "remove", "defaults"];
/// Where units and their links lie.
const FOLDERS: [&str; 4] = [
    "/etc/systemd/system",
    "/etc/systemd/system/multi-user.target.wants",
    "/etc/systemd/system/timers.target.wants",
    "/etc/systemd/system/sockets.target.wants",
];
/// Fields that are about files, not about what runs.
const BOOT_FIELDS: [&str; 3] = ["enabled", "masked", "unit file"];

pub(super) fn attribute(question: &Question, gathered: &Gathered) -> Attribution {
    let unit = question.resource.key.as_str();
    let is_boot = |field: &String| BOOT_FIELDS.contains(&field.as_str());
    let about_boot = question.fields.iter().any(is_boot);
    let about_running = question.fields.is_empty() || !question.fields.iter().all(is_boot);
    let verbs: Vec<&str> = match (about_boot, about_running) {
        (true, false) => BOOT_VERBS.to_vec(),
        (false, _) => RUN_VERBS.to_vec(),
        (true, true) => [&BOOT_VERBS[..], &RUN_VERBS[..]].concat(),
    };
    if !about_running && let Some(attribution) = by_links(unit, question, gathered) {
        return attribution;
    }
    by_command(unit, &verbs, question, gathered)
}

/// Who changed the unit's own links and files, unless it was systemd on somebody's behalf.
fn by_links(unit: &str, question: &Question, gathered: &Gathered) -> Option<Attribution> {
    let paths = FOLDERS.iter().map(|folder| format!("{folder}/{unit}"));
    let mut findings = Vec::new();
    for path in paths {
        findings.extend(files::at(&path, &|_: Deeds| true, question, gathered));
    }
    findings.retain(|finding| match finding {
        Finding::Named(suspect) => suspect.facts.pid != 1,
        Finding::Own => false,
        Finding::Unnamed(_) => true,
    });
    (!findings.is_empty()).then(|| verdict::over(findings, gathered))
}

fn by_command(unit: &str, verbs: &[&str], question: &Question, gathered: &Gathered) -> Attribution {
    let Some(_) = &gathered.recent else {
        return Attribution::unknown(format!(
            "systemd does not say who asked for it, and which programs were started is not known here{}",
            told(unit, question, gathered)
        ));
    };
    let kills = ["kill"];
    let verbs = if ended_by_itself(unit, question, gathered) { &kills[..] } else { verbs };
    let notes = gathered.newest_images(question.good);
    let asked = |note: &&&Executed| asks(note, unit, verbs);
    let facts = notes.iter().filter(asked).map(|note| (*note, chain::from_note(note, &gathered.processes)));
    let mut suspects: Vec<Suspect> = facts
        .filter(|(_, facts)| !chain::is_own(facts, gathered.own))
        .map(|(note, facts)| Suspect {
            facts,
            evidence: vec![note.source],
            confidence: Confidence::Likely,
            reason: format!(
                "the kernel noted that it was started with {unit} and such a verb as its arguments"
            ),
            when: note.since,
        })
        .collect();
    // A script that calls another one of them: the one that really asked is the innermost.
    let callers: Vec<u32> =
        suspects.iter().flat_map(|one| one.facts.ancestors.iter().map(|up| up.pid)).collect();
    suspects.retain(|one| !callers.contains(&one.facts.pid));
    if suspects.is_empty() {
        return Attribution::unknown(format!(
            "systemd does not say who asked for it, and no program was started with {unit} among its arguments{}",
            told(unit, question, gathered)
        ));
    }
    if !suspects.iter().any(|one| one.facts.euid == Some(0)) {
        return Attribution::unknown(format!(
            "systemd does not say who asked for it, and who was started with {unit} among its arguments is not root: it may have been refused"
        ));
    }
    let when = suspects.iter().map(|one| one.when).max().unwrap_or_default();
    if note_of_job(unit, question, gathered).is_some() {
        for suspect in &mut suspects {
            suspect.evidence.push(Evidence::Journal);
            suspect.reason.push_str("; systemd noted the job");
        }
    }
    let attribution = verdict::among(suspects, gathered);
    let at = attribution.actor.is_some().then(|| gathered.wall(when));
    Attribution { at, ..attribution }
}

/// Whether it is a program that asks systemd for something, or that sends signals.
pub(super) fn is_client(note: &Executed) -> bool {
    let program = program(&note.interpreter, &note.command);
    CLIENTS.contains(&program) || KILLERS.contains(&program)
}

fn asks(note: &Executed, unit: &str, verbs: &[&str]) -> bool {
    let program = base(&note.interpreter);
    let stem = unit.strip_suffix(".service").unwrap_or(unit);
    let arguments = || note.command.iter().skip(1).map(String::as_str);
    if KILLERS.contains(&program) {
        return verbs.contains(&"kill") && arguments().any(|argument| argument == stem);
    }
    if !is_client(note) {
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

/// The first job systemd noted for the unit since then: a later one is the agent's, which puts it right.
fn note_of_job<'a>(unit: &str, question: &Question, gathered: &'a Gathered) -> Option<&'a UnitNote> {
    notes_of(unit, question, gathered).find(|note| note.job.is_some())
}

/// Whether its main process ended before systemd had anything to do for the unit: by itself, or by a signal. Nobody who
/// asked for a job, and was perhaps refused, did that.
fn ended_by_itself(unit: &str, question: &Question, gathered: &Gathered) -> bool {
    let mut telling =
        notes_of(unit, question, gathered).filter(|note| note.job.is_some() || note.exit.is_some());
    telling.next().is_some_and(|note| note.job.is_none())
}

/// What systemd noted of the unit since then, oldest first.
fn notes_of<'a>(
    unit: &str,
    question: &Question,
    gathered: &'a Gathered,
) -> impl Iterator<Item = &'a UnitNote> {
    let since = gathered.wall(question.good);
    gathered.units.iter().filter(move |note| note.unit == unit && note.at >= since)
}

/// What systemd itself said of the unit's end.
fn told(unit: &str, question: &Question, gathered: &Gathered) -> String {
    let since = gathered.wall(question.good);
    let mut notes = gathered.units.iter().rev().filter(|note| note.unit == unit && note.at >= since);
    match notes.find(|note| note.exit.is_some()).and_then(|note| note.exit.as_ref()) {
        Some(exit) => format!("; its main process ended: {exit}"),
        None => String::new(),
    }
}
