//! Jobs of systemd: asked for, and waited for until they are done. Changes of unit files.

use std::time::Duration;

use zbus::{AsyncDrop, Message, MessageStream, OwnedObjectPath};

use super::bus::{BusError, CALL_LIMIT, MANAGER, MANAGER_PATH, Peer, UNIT, answer, next_within, object_of};
use super::name::UnitName;
use super::types::{UnitAction, UnitError, UnitFileAction};
use crate::host::pulse::PULSE;

/// How long a job is waited for. Longer than the 90 s that systemd gives a start or a stop by default; what takes
/// longer goes on without us and is looked at again by the next pass.
pub(super) const JOB_LIMIT: Duration = Duration::from_secs(100);

/// A signal may be lost when PID 1 re-executes itself: after this long without one we ask whether the job is there.
const LOOK: Duration = Duration::from_secs(2);

/// Reading all unit files again runs the generators, which have their own limit of 90 s; PID 1 answers nobody
/// meanwhile. Within the watchdog's patience: what takes longer goes on without us.
const RELOAD_LIMIT: Duration = Duration::from_secs(75);

/// How a job that was waited for ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// systemd's word: `done`, `failed`, `timeout`, `canceled`, `dependency`, …
    Said(String),
    /// It is gone and nobody told us how: look at the unit.
    Unseen,
    /// It goes on.
    Late,
}

/// Does something to a unit and waits for the end of the job.
pub(super) async fn act(peer: &Peer, action: UnitAction, unit: &UnitName) -> Result<Ended, BusError> {
    let method = match action {
        UnitAction::Start => return start(peer, unit.as_str()).await,
        UnitAction::Stop => "StopUnit",
        UnitAction::Restart => "TryRestartUnit",
        UnitAction::ReloadOrRestart => "ReloadOrTryRestartUnit",
        UnitAction::ResetFailed => {
            peer.manager::<()>("ResetFailedUnit", &(unit.as_str(),)).await?;
            return Ok(Ended::Said("done".into()));
        }
    };
    queue(peer, method, &(unit.as_str(), "replace"), JOB_LIMIT).await
}

/// Starts a unit. It is held in memory meanwhile: systemd forgets a unit that did not start because of a condition
/// at once, and with it the reason.
async fn start(peer: &Peer, unit: &str) -> Result<Ended, BusError> {
    peer.manager::<()>("RefUnit", &(unit,)).await?;
    let ended = queue(peer, "StartUnit", &(unit, "replace"), JOB_LIMIT).await;
    let called_off = match &ended {
        Ok(Ended::Said(result)) if result == "done" => was_called_off(peer, unit).await,
        Ok(_) | Err(_) => Ok(false),
    };
    // It ends with the connection at the latest.
    let _ = peer.manager::<()>("UnrefUnit", &(unit,)).await;
    match called_off? {
        true => Ok(Ended::Said("condition".into())),
        false => ended,
    }
}

async fn was_called_off(peer: &Peer, unit: &str) -> Result<bool, BusError> {
    let object = object_of(unit);
    let active: String = peer.property(&object, UNIT, "ActiveState").await?;
    if active != "inactive" {
        return Ok(false);
    }
    let condition: bool = peer.property(&object, UNIT, "ConditionResult").await?;
    Ok(!condition)
}

/// The error, if any, that a job's end is for the caller.
pub(super) fn judge(ended: Result<Ended, BusError>, verb: &str, unit: &UnitName) -> Result<(), UnitError> {
    let (operation, unit_name) = (verb.to_owned(), unit.to_string());
    match ended {
        Ok(Ended::Unseen) => Ok(()),
        Ok(Ended::Said(result)) if result == "done" => Ok(()),
        Ok(Ended::Said(result)) => Err(UnitError::JobFailed { operation, unit: unit_name, result }),
        Ok(Ended::Late) => Err(UnitError::TimedOut { operation, unit: unit_name, limit: JOB_LIMIT }),
        Err(error) => Err(error.telling(verb, unit.as_str())),
    }
}

/// Calls a method that queues a job, and waits for the job's end.
pub(super) async fn queue(
    peer: &Peer,
    method: &str,
    body: &(impl serde::Serialize + zbus::DynamicType),
    limit: Duration,
) -> Result<Ended, BusError> {
    // Listening comes first: a job may be done before the reply is here.
    let mut removed = peer.signals("JobRemoved").await?;
    let reply = peer.message(MANAGER_PATH, MANAGER, method, body, CALL_LIMIT).await?;
    let job: OwnedObjectPath = answer(&reply)?;
    let ended = match tokio::time::timeout(limit, end(peer, &job, &reply, &mut removed)).await {
        Ok(ended) => ended,
        Err(_) => Ok(Ended::Late),
    };
    // Now, not when the runtime next runs: nobody reads between calls.
    let _ = tokio::time::timeout(CALL_LIMIT, removed.async_drop()).await;
    ended
}

async fn end(
    peer: &Peer,
    job: &OwnedObjectPath,
    reply: &Message,
    removed: &mut MessageStream,
) -> Result<Ended, BusError> {
    loop {
        match next_within(removed, LOOK).await? {
            Some(signal) => {
                if let Some(result) = end_of(job, reply, &signal) {
                    return Ok(Ended::Said(result));
                }
            }
            None if !is_queued(peer, job).await? => return Ok(Ended::Unseen),
            // It goes on, systemd says, and the wait for it has an end of its own: that is no hang.
            None => PULSE.beat(),
        }
    }
}

/// The result of our job, if the signal tells of it and comes from who answered us.
fn end_of(job: &OwnedObjectPath, reply: &Message, signal: &Message) -> Option<String> {
    if signal.header().sender() != reply.header().sender() {
        return None;
    }
    let (_, removed, _, result): (u32, OwnedObjectPath, String, String) = answer(signal).ok()?;
    (removed == *job).then_some(result)
}

async fn is_queued(peer: &Peer, job: &OwnedObjectPath) -> Result<bool, BusError> {
    let id = job.as_str().rsplit('/').next().and_then(|id| id.parse::<u32>().ok()).unwrap_or(0);
    match peer.manager::<OwnedObjectPath>("GetJob", &(id,)).await {
        Ok(_) => Ok(true),
        Err(BusError::Refused(..)) => Ok(false),
        Err(other) => Err(other),
    }
}

/// One change that systemd made to a unit file: what, which link, to where.
type FileChange = (String, String, String);

/// Changes unit files; then systemd reads them again, as `systemctl` has it do.
pub(super) async fn change_files(
    peer: &Peer,
    action: UnitFileAction,
    units: &[&str],
) -> Result<(), BusError> {
    const PERSISTENT: bool = false;
    const RUNTIME: bool = true;
    const KEEP_EXISTING: bool = false;
    match action {
        UnitFileAction::Enable => {
            let body = (units, PERSISTENT, KEEP_EXISTING);
            peer.manager::<(bool, Vec<FileChange>)>("EnableUnitFiles", &body).await?;
        }
        UnitFileAction::Disable => {
            for runtime in [PERSISTENT, RUNTIME] {
                peer.manager::<(Vec<FileChange>,)>("DisableUnitFiles", &(units, runtime)).await?;
            }
        }
        UnitFileAction::Mask => {
            let body = (units, PERSISTENT, KEEP_EXISTING);
            peer.manager::<(Vec<FileChange>,)>("MaskUnitFiles", &body).await?;
        }
        UnitFileAction::Unmask => {
            for runtime in [PERSISTENT, RUNTIME] {
                peer.manager::<(Vec<FileChange>,)>("UnmaskUnitFiles", &(units, runtime)).await?;
            }
        }
    }
    reload(peer).await
}

/// Has systemd read all unit files again.
pub(super) async fn reload(peer: &Peer) -> Result<(), BusError> {
    peer.message(MANAGER_PATH, MANAGER, "Reload", &(), RELOAD_LIMIT).await.map(drop)
}
