//! Makes the changes of one step: unit files in one call for each kind of change, jobs one after the other (systemd
//! itself starts what belongs together), then one look at what became of them.

use crate::host::Host;
use crate::host::program::Run;
use crate::host::units::{UnitAction, UnitError, UnitFileAction, UnitName, UnitStatus};
use crate::kind::{Planned, holdback};
use crate::model::OutcomeResult;

use super::change::Change;
use super::spec::Spec;
use super::state::{Activity, State, Told};

/// How much of a unit's journal a message carries.
const JOURNAL_LINES: usize = 5;
const LINE_LENGTH: usize = 300;

/// A change with its unit and, once known, its outcome.
struct Work<'a> {
    unit: UnitName,
    change: &'a Change,
    result: Option<OutcomeResult>,
}

/// Makes changes of one step. One result a change, in their order.
pub fn apply(host: &Host, changes: &[Planned<Spec, Change>]) -> Vec<OutcomeResult> {
    let mut units = Vec::with_capacity(changes.len());
    for planned in changes {
        match planned.key.as_str().parse::<UnitName>() {
            Ok(unit) => units.push(unit),
            // The desired state was validated: nothing of it may be guessed.
            Err(message) => return changes.iter().map(|_| failed(&message)).collect(),
        }
    }
    let works = units.into_iter().zip(changes);
    let mut works: Vec<Work<'_>> =
        works.map(|(unit, planned)| Work { unit, change: &planned.change, result: None }).collect();
    match read_again(host, &works) {
        Ok(statuses) => {
            change_files(host, &mut works);
            works.iter_mut().for_each(|work| act(host, work, &statuses));
            settle_owed(host, &works);
            look(host, &mut works);
        }
        Err(error) => works.iter_mut().for_each(|work| work.result = Some(failed(&error.to_string()))),
    }
    works.into_iter().map(|work| work.result.unwrap_or(OutcomeResult::Done)).collect()
}

/// A file that was laid since we looked is read before anything is started from it: once for all units.
fn read_again(host: &Host, works: &[Work<'_>]) -> Result<Vec<UnitStatus>, UnitError> {
    let units: Vec<UnitName> = works.iter().map(|work| work.unit.clone()).collect();
    let statuses = host.units.status(&units)?;
    if statuses.iter().any(|status| status.need_daemon_reload) {
        host.units.daemon_reload()?;
    }
    Ok(statuses)
}

fn change_files(host: &Host, works: &mut [Work<'_>]) {
    let actions =
        [UnitFileAction::Unmask, UnitFileAction::Enable, UnitFileAction::Disable, UnitFileAction::Mask];
    for action in actions {
        let of_action = |work: &Work<'_>| file_action(work.change) == Some(action);
        let units: Vec<UnitName> =
            works.iter().filter(|work| of_action(work)).map(|work| work.unit.clone()).collect();
        if units.is_empty() {
            continue;
        }
        let together = host.units.change_files(action, &units);
        for work in works.iter_mut().filter(|work| of_action(work)) {
            let done = match &together {
                Ok(()) => Ok(()),
                Err(error) if units.len() == 1 => Err(failed(&error.to_string())),
                // One unit of the batch is at fault: the others need not suffer for it.
                Err(_) => {
                    let alone = host.units.change_files(action, std::slice::from_ref(&work.unit));
                    alone.map_err(|error| failed(&error.to_string()))
                }
            };
            work.result = done.err();
        }
    }
}

const fn file_action(change: &Change) -> Option<UnitFileAction> {
    match change {
        Change::Unmask => Some(UnitFileAction::Unmask),
        Change::Mask => Some(UnitFileAction::Mask),
        Change::Enable(_) => Some(UnitFileAction::Enable),
        Change::Disable | Change::Retire => Some(UnitFileAction::Disable),
        Change::ReadAgain
        | Change::Start(_)
        | Change::StartOwed
        | Change::Stop
        | Change::Restart
        | Change::Reload => None,
    }
}

const fn job(change: &Change) -> Option<UnitAction> {
    match change {
        Change::Start(_) | Change::StartOwed => Some(UnitAction::Start),
        Change::Stop | Change::Retire => Some(UnitAction::Stop),
        Change::Restart => Some(UnitAction::Restart),
        Change::Reload => Some(UnitAction::ReloadOrRestart),
        Change::ReadAgain | Change::Unmask | Change::Mask | Change::Enable(_) | Change::Disable => None,
    }
}

fn act(host: &Host, work: &mut Work<'_>, before: &[UnitStatus]) {
    let Some(action) = job(work.change) else { return };
    if work.result.is_some() {
        return;
    }
    let failed_before = before.iter().any(|status| status.name == work.unit && status.active == "failed");
    let done = match action {
        // Otherwise the start limit that it ran into would hold.
        UnitAction::Start if failed_before => host
            .units
            .act(UnitAction::ResetFailed, &work.unit)
            .and_then(|()| host.units.act(action, &work.unit)),
        UnitAction::Start
        | UnitAction::Stop
        | UnitAction::Restart
        | UnitAction::ReloadOrRestart
        | UnitAction::ResetFailed => host.units.act(action, &work.unit),
    };
    work.result = done.err().map(|error| told(host, &work.unit, &error));
}

/// A start that was owed is made up for once, however it went: a failure is a failure like any other.
fn settle_owed(host: &Host, works: &[Work<'_>]) {
    let owed = works.iter().filter(|work| *work.change == Change::StartOwed);
    let owed: Vec<UnitName> = owed.map(|work| work.unit.clone()).collect();
    holdback::lift(host, &owed);
}

/// A unit whose start job was done may be dead by now.
fn look(host: &Host, works: &mut [Work<'_>]) {
    let to_run = |work: &Work<'_>| {
        work.result.is_none()
            && matches!(work.change, Change::Start(_) | Change::StartOwed | Change::Restart | Change::Reload)
    };
    let units: Vec<UnitName> =
        works.iter().filter(|work| to_run(work)).map(|work| work.unit.clone()).collect();
    // What can't be read now is judged by verification.
    for status in host.units.status(&units).unwrap_or_default() {
        let Told::State(State { activity: Activity::Failed(result) | Activity::Restarting(result), .. }) =
            State::told(&status)
        else {
            continue;
        };
        let message = with_journal(
            host,
            &status.name,
            &format!("{} ended right after its start ({result})", status.name),
        );
        for work in works.iter_mut().filter(|work| work.unit == status.name && to_run(work)) {
            work.result = Some(OutcomeResult::Failed { message: message.clone() });
        }
    }
}

fn told(host: &Host, unit: &UnitName, error: &UnitError) -> OutcomeResult {
    match error {
        UnitError::JobFailed { result, .. } if result == "condition" => failed(&format!(
            "{unit} was not started: a Condition…= of its unit file does not hold; `systemctl status {unit}` names it"
        )),
        UnitError::JobFailed { operation, result, .. } => {
            let message = with_journal(host, unit, &format!("{operation} of {unit} ended with `{result}`"));
            OutcomeResult::Failed { message }
        }
        UnitError::TimedOut { .. } => failed(&format!("{error}; it goes on, and the next pass looks again")),
        UnitError::Unreachable { .. } | UnitError::Refused { .. } => failed(&error.to_string()),
    }
}

fn failed(message: &str) -> OutcomeResult {
    OutcomeResult::Failed { message: message.to_owned() }
}

/// What happened, with the last lines of the unit's journal.
fn with_journal(host: &Host, unit: &UnitName, what: &str) -> String {
    let lines = journal(host, unit);
    if lines.is_empty() {
        return format!("{what}; its journal is silent: see `systemctl status {unit}`");
    }
    format!("{what}; the last lines of its journal (`journalctl -u {unit}`):\n  {}", lines.join("\n  "))
}

fn journal(host: &Host, unit: &UnitName) -> Vec<String> {
    const JOURNALCTL: &str = "/usr/bin/journalctl";
    // What was just said may still be on its way to the journal; without this the last lines would be missing.
    let _ = host.programs.run(&Run::new(JOURNALCTL, &["--sync"]));
    let (unit, lines) = (format!("--unit={unit}"), format!("--lines={JOURNAL_LINES}"));
    let args = ["--quiet", "--no-pager", "--output=cat", "--boot", &unit, &lines];
    let Ok(done) = host.programs.run(&Run::new(JOURNALCTL, &args)) else { return Vec::new() };
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let printable = |line: &str| {
        line.chars().take(LINE_LENGTH).map(|c| if c.is_control() { ' ' } else { c }).collect::<String>()
    };
    text.lines().filter(|line| !line.trim().is_empty()).map(printable).collect()
}
