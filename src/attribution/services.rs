//! Who stopped, started, enabled or disabled a unit. systemd does it for whoever asks, and does not say who that was.
//! What went over D-Bus is told by the bus with its caller; root's `systemctl` does not take the bus, and of that a
//! program is left that was started with the unit's name and such a verb: at best that is `likely`.

use super::chain::{Finding, Suspect};
use super::clients;
use super::{Gathered, Question, files, verdict};
use crate::host::journal::UnitNote;
use crate::model::{Attribution, Confidence, Deeds, Evidence};

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
    by_request(unit, &verbs, question, gathered)
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

fn by_request(unit: &str, verbs: &[&str], question: &Question, gathered: &Gathered) -> Attribution {
    let kills = ["kill"];
    let verbs = if ended_by_itself(unit, question, gathered) { &kills[..] } else { verbs };
    let job = note_of_job(unit, question, gathered);
    let (mut suspects, mut unnamed) = (Vec::new(), None);
    for finding in clients::over_bus(unit, verbs, question, gathered) {
        match finding {
            Finding::Own => {}
            Finding::Named(suspect) => suspects.push(*suspect),
            Finding::Unnamed(why) => unnamed = Some(why),
        }
    }
    match (&gathered.recent, job) {
        (Some(_), _) => suspects.extend(clients::by_arguments(unit, verbs, question, gathered)),
        (None, Some(job)) => suspects.extend(clients::by_sudo(unit, verbs, question, gathered, job.at)),
        (None, None) => {}
    }
    let mut suspects = innermost(suspects);
    // What asks over the bus and is known by its arguments is the one who had gone when the bus was asked.
    if let Some(why) = unnamed
        && !suspects.iter().any(|one| clients::takes_the_bus(&one.facts))
    {
        return Attribution::unknown(why);
    }
    if suspects.is_empty() {
        return Attribution::unknown(nobody(unit, question, gathered));
    }
    if !suspects.iter().any(|one| one.facts.euid == Some(0)) {
        return Attribution::unknown(format!(
            "systemd does not say for whom it did it, and who is known to have asked for it is not root and may have been refused: {}",
            suspects.iter().map(|one| verdict::one_line(&one.facts)).collect::<Vec<_>>().join(", ")
        ));
    }
    for suspect in &mut suspects {
        // Who does not take the bus is not seen where programs are not noted; what no job followed did nothing.
        if job.is_none() || gathered.recent.is_none() {
            suspect.confidence = suspect.confidence.min(Confidence::Likely);
        }
        if job.is_some() {
            suspect.reason.push_str("; systemd noted the job");
            if !suspect.evidence.contains(&Evidence::Journal) {
                suspect.evidence.push(Evidence::Journal);
            }
        }
    }
    let when = suspects.iter().map(|one| one.when).max().unwrap_or_default();
    let attribution = verdict::among(suspects, gathered);
    let at = attribution.actor.is_some().then(|| gathered.wall(when));
    Attribution { at, ..attribution }
}

/// Each process once, by the strongest evidence, and of a script that calls another client the one that really asked.
fn innermost(suspects: Vec<Suspect>) -> Vec<Suspect> {
    let above = |one: &Suspect| one.facts.ancestors.iter().map(|up| up.pid).collect::<Vec<u32>>();
    let callers: Vec<u32> = suspects.iter().flat_map(above).collect();
    let below: Vec<u32> = suspects.iter().filter(|one| one.facts.pid != 0).flat_map(above).collect();
    let mut left: Vec<Suspect> = Vec::new();
    for suspect in suspects {
        // Of one whom sudo started the number is not known, but that of the sudo.
        let is_it = |known: &Suspect| {
            let (known, one) = (&known.facts, &suspect.facts);
            (known.pid, known.started, known.parent) == (one.pid, one.started, one.parent)
        };
        // Whom sudo says it started is the one that the bus named below the same sudo.
        let is_known = suspect.facts.pid == 0 && below.contains(&suspect.facts.parent);
        if !is_known && !callers.contains(&suspect.facts.pid) && !left.iter().any(is_it) {
            left.push(suspect);
        }
    }
    left
}

fn nobody(unit: &str, question: &Question, gathered: &Gathered) -> String {
    let what = match &gathered.recent {
        Some(_) => format!("no program was started with {unit} among its arguments"),
        None => "which programs were started is not known here".to_owned(),
    };
    format!(
        "systemd does not say who asked for it, nobody asked over D-Bus, and {what}{}",
        told(unit, question, gathered)
    )
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
