//! Transient units: work that must outlive us, and programs that run later whether we live or not.

use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags};
use zbus::Variant;

use super::bus::{BusError, Peer, UNIT, object_of};
use super::jobs::{Ended, JOB_LIMIT, queue};
use super::types::{JobEnd, Scheduled, TransientJob};
use crate::host::pulse::PULSE;

const SERVICE: &str = "org.freedesktop.systemd1.Service";
const EXISTS: &str = "org.freedesktop.systemd1.UnitExists";

/// How often an adopted job is looked at: its own end queues no signal that we asked for.
const LOOK: Duration = Duration::from_millis(200);

/// How often a running job is asked after: well within any watchdog's patience.
const SIGN_OF_LIFE: Duration = Duration::from_secs(20);

/// What systemd may need beyond the job's own limit: the time to stop it, gently and then for good.
const STOP: Duration = Duration::from_secs(30);

/// The properties of a transient unit, as the bus wants them.
type Properties = Vec<(&'static str, Variant<'static>)>;

/// Nothing: transient units may bring others along.
type Others = Vec<(&'static str, Properties)>;

/// The log must not be readable by everyone; systemd would make it so.
pub(super) fn make_log(root: &Path, log: &Path) -> io::Result<()> {
    let path = root.join(log.strip_prefix("/").unwrap_or(log));
    let flags = OFlags::CREATE | OFlags::APPEND | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, &path, flags, Mode::RUSR | Mode::WUSR)?;
    Ok(())
}

/// Starts the job, or adopts one of its name that is running, and waits for its end.
pub(super) async fn run(peer: &Peer, job: &TransientJob) -> Result<JobEnd, BusError> {
    let unit = job.unit.as_str();
    if is_under_way(peer, unit).await? {
        return adopt(peer, unit, job.time_limit).await;
    }
    forget(peer, unit).await?;
    let none: Others = Vec::new();
    let body = (unit, "fail", properties(job), none);
    // A oneshot's start job ends when its program does.
    let queued = queue(peer, "StartTransientUnit", &body, job.time_limit + STOP);
    match alive(peer, unit, queued).await {
        Ok(Ended::Said(_) | Ended::Unseen) => end_of(peer, unit).await,
        Ok(Ended::Late) => Err(BusError::Late(job.time_limit + STOP)),
        Err(error) if error.is(EXISTS) => adopt(peer, unit, job.time_limit).await,
        Err(error) => Err(error),
    }
}

/// Waits for the end of a job; meanwhile each answer of systemd that it goes on counts as progress, or the watchdog
/// would take an apt run of some minutes for a hang.
async fn alive<T>(peer: &Peer, unit: &str, job: impl Future<Output = T>) -> T {
    let mut job = std::pin::pin!(job);
    loop {
        match tokio::time::timeout(SIGN_OF_LIFE, job.as_mut()).await {
            Ok(ended) => return ended,
            Err(_) => {
                if is_under_way(peer, unit).await.unwrap_or(false) {
                    PULSE.beat();
                }
            }
        }
    }
}

/// Has a program started after a while, by a timer and a service of PID 1's own.
pub(super) async fn schedule(peer: &Peer, what: &Scheduled) -> Result<(), BusError> {
    let (timer, service) = (format!("{}.timer", what.stem), format!("{}.service", what.stem));
    stop(peer, &timer).await?;
    forget(peer, &timer).await?;
    forget(peer, &service).await?;
    let microseconds = u64::try_from(what.after.as_micros()).unwrap_or(u64::MAX);
    let properties: Properties = vec![
        ("Description", Variant::from(what.description.clone())),
        ("TimersMonotonic", Variant::from(vec![("OnActiveSec", microseconds)])),
        ("AccuracyUSec", Variant::from(100_000u64)),
        ("RemainAfterElapse", Variant::from(false)),
        ("CollectMode", Variant::from("inactive-or-failed")),
    ];
    let started: Properties = vec![
        ("Description", Variant::from(what.description.clone())),
        ("Type", Variant::from("oneshot")),
        ("ExecStartEx", command(&what.argv)),
        ("CollectMode", Variant::from("inactive-or-failed")),
    ];
    let others = vec![(service.as_str(), started)];
    match queue(peer, "StartTransientUnit", &(&timer, "fail", properties, others), JOB_LIMIT).await? {
        Ended::Said(result) if result != "done" => {
            Err(BusError::Refused(String::new(), format!("the timer's start ended with {result}")))
        }
        Ended::Said(_) | Ended::Unseen => Ok(()),
        Ended::Late => Err(BusError::Late(JOB_LIMIT)),
    }
}

fn properties(job: &TransientJob) -> Properties {
    let log = job.log.to_string_lossy().into_owned();
    let limit = u64::try_from(job.time_limit.as_micros()).unwrap_or(u64::MAX);
    let env: Vec<String> = job.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    vec![
        ("Description", Variant::from(job.description.clone())),
        ("Type", Variant::from("oneshot")),
        ("ExecStartEx", command(&job.argv)),
        ("Environment", Variant::from(env)),
        ("StandardInput", Variant::from("null")),
        ("StandardOutputFileToAppend", Variant::from(log.clone())),
        ("StandardErrorFileToAppend", Variant::from(log)),
        ("TimeoutStartUSec", Variant::from(limit)),
        ("TimeoutStopUSec", Variant::from(20_000_000u64)),
        // Held for us until we have read how it ended, and by nothing afterwards.
        ("AddRef", Variant::from(true)),
        ("CollectMode", Variant::from("inactive-or-failed")),
    ]
}

/// A program and its arguments, none of which systemd is to expand.
fn command(argv: &[String]) -> Variant<'static> {
    let program = argv.first().cloned().unwrap_or_default();
    Variant::from(vec![(program, argv.to_vec(), vec!["no-env-expand".to_owned()])])
}

/// Waits for a unit that someone else (most likely we, in an earlier life) started.
async fn adopt(peer: &Peer, unit: &str, limit: Duration) -> Result<JobEnd, BusError> {
    // Without a reference it would be gone, result and all, the moment it ends.
    let _ = peer.call::<()>(&object_of(unit), UNIT, "Ref", &()).await;
    let waiting = async {
        while is_under_way(peer, unit).await? {
            PULSE.beat();
            tokio::time::sleep(LOOK).await;
        }
        end_of(peer, unit).await
    };
    match tokio::time::timeout(limit + STOP, waiting).await {
        Ok(end) => end,
        Err(_) => Err(BusError::Late(limit + STOP)),
    }
}

async fn is_under_way(peer: &Peer, unit: &str) -> Result<bool, BusError> {
    let active: String = peer.property(&object_of(unit), UNIT, "ActiveState").await?;
    Ok(matches!(active.as_str(), "activating" | "active" | "deactivating" | "reloading"))
}

/// How it ended; then it is let go.
async fn end_of(peer: &Peer, unit: &str) -> Result<JobEnd, BusError> {
    let object = object_of(unit);
    let load: String = peer.property(&object, UNIT, "LoadState").await?;
    if load == "not-found" {
        return Ok(JobEnd { result: "unknown".into(), status: -1 });
    }
    let result: String = peer.property(&object, SERVICE, "Result").await?;
    let status: i32 = peer.property(&object, SERVICE, "ExecMainStatus").await?;
    // It may not have been held by us, or be gone by now.
    let _ = peer.call::<()>(&object, UNIT, "Unref", &()).await;
    Ok(JobEnd { result, status })
}

/// Lets go of what failed earlier, which would hold the name.
async fn forget(peer: &Peer, unit: &str) -> Result<(), BusError> {
    match peer.manager::<()>("ResetFailedUnit", &(unit,)).await {
        // There is nothing of that name.
        Ok(()) | Err(BusError::Refused(..)) => Ok(()),
        Err(other) => Err(other),
    }
}

async fn stop(peer: &Peer, unit: &str) -> Result<(), BusError> {
    match queue(peer, "StopUnit", &(unit, "replace"), JOB_LIMIT).await {
        Ok(Ended::Said(_) | Ended::Unseen) | Err(BusError::Refused(..)) => Ok(()),
        Ok(Ended::Late) => Err(BusError::Late(JOB_LIMIT)),
        Err(other) => Err(other),
    }
}
