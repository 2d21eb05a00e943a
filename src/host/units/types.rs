//! What is asked of systemd and what it answers.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::name::UnitName;

/// What systemd says of one unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitStatus {
    /// Its name as asked for.
    pub name: UnitName,
    /// `loaded`, `not-found`, `masked`, `bad-setting`, `error`.
    pub load: String,
    /// `active`, `reloading`, `inactive`, `failed`, `activating`, `deactivating`, `maintenance`.
    pub active: String,
    /// `running`, `exited`, `dead`, `auto-restart`, …
    pub sub: String,
    /// `enabled`, `enabled-runtime`, `disabled`, `static`, `masked`, `indirect`, `generated`, `alias`, …; empty
    /// if there is no file.
    pub file: String,
    /// Why its last run ended: `success`, `exit-code`, `signal`, `start-limit-hit`, … Only what failed or is
    /// about to be restarted has another word than `success`.
    pub result: String,
    /// Whether its files changed since systemd read them, also where systemd does not notice it itself.
    pub need_daemon_reload: bool,
    /// What systemd is about to do with it: `start`, `stop`, `restart`, …; empty if nothing is queued.
    pub job: String,
}

/// What is worth asking of a unit that is not as it should be; several calls, so not for a quiet pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitDetails {
    /// Type of a service: `simple`, `oneshot`, `notify`, …; empty for other units.
    pub service_type: String,
    /// Whether a service counts as active when its processes have ended.
    pub remain_after_exit: bool,
    /// When its conditions were looked at last, since 1970, if they did not hold: it was not started then.
    pub refused: Option<Duration>,
}

/// What can be asked of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnitAction {
    /// Start it, and what it requires.
    Start,
    /// Stop it.
    Stop,
    /// Stop and start it, if it runs; nothing otherwise.
    Restart,
    /// If it runs, tell it to read its configuration again; restart it if it can't. Nothing otherwise.
    ReloadOrRestart,
    /// Forget that it failed, so that a start limit no longer holds.
    ResetFailed,
}

impl UnitAction {
    /// The verb, as in a message.
    pub const fn verb(self) -> &'static str {
        match self {
            UnitAction::Start => "start",
            UnitAction::Stop => "stop",
            UnitAction::Restart => "restart",
            UnitAction::ReloadOrRestart => "reload",
            UnitAction::ResetFailed => "reset",
        }
    }
}

/// What can be done with a unit's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnitFileAction {
    /// Start it at boot.
    Enable,
    /// Do not start it at boot; undoes `enabled-runtime` too.
    Disable,
    /// Make starting it impossible. A unit file of a person's own under /etc is never overwritten: refused.
    Mask,
    /// Make starting it possible again; undoes `masked-runtime` too.
    Unmask,
}

impl UnitFileAction {
    /// The verb, as in a message.
    pub const fn verb(self) -> &'static str {
        match self {
            UnitFileAction::Enable => "enable",
            UnitFileAction::Disable => "disable",
            UnitFileAction::Mask => "mask",
            UnitFileAction::Unmask => "unmask",
        }
    }
}

/// Work that must outlive the agent: run as a transient unit of PID 1, outside our control group and sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransientJob {
    /// Name of the unit, such as `agentd-apt.service`. One at a time: a running one of that name is adopted
    /// (waited for) instead of started again.
    pub unit: UnitName,
    /// What people read in `systemctl status`.
    pub description: String,
    /// Program (absolute) and arguments, taken literally: neither `%` nor `$` means anything.
    pub argv: Vec<String>,
    /// Environment.
    pub env: Vec<(String, String)>,
    /// File that standard output and error are appended to; made root-only if it isn't there.
    pub log: PathBuf,
    /// After this systemd stops it, gently first.
    pub time_limit: Duration,
}

/// How a transient job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobEnd {
    /// systemd's word: `success`, `exit-code`, `signal`, `timeout`, `oom-kill`; `unknown` if it ended while
    /// nobody was connected, and only what it left behind can tell.
    pub result: String,
    /// The exit status of its main process (the number of the signal that ended it, if one did).
    pub status: i32,
}

/// A program that runs later even if we are dead by then: the dead-man's switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheduled {
    /// Stem of the names: `agentd-undo` makes `agentd-undo.timer` and `agentd-undo.service`.
    pub stem: String,
    /// What people read in `systemctl list-timers`.
    pub description: String,
    /// How long from now, by a clock that neither jumps nor stops.
    pub after: Duration,
    /// Program (absolute) and arguments, taken literally.
    pub argv: Vec<String>,
}

/// Why systemd could not do something.
#[derive(Debug, thiserror::Error)]
pub enum UnitError {
    /// The bus or systemd did not answer.
    #[error("systemd does not answer on the system bus: {message}")]
    Unreachable {
        /// What the bus said.
        message: String,
    },
    /// systemd refused.
    #[error("systemd refused to {operation} {unit}: {message}")]
    Refused {
        /// What was asked.
        operation: String,
        /// Of which unit.
        unit: String,
        /// systemd's words.
        message: String,
    },
    /// The job was not done in time.
    #[error("{operation} of {unit} did not end within {limit:?}")]
    TimedOut {
        /// What was asked.
        operation: String,
        /// Of which unit.
        unit: String,
        /// The limit.
        limit: Duration,
    },
    /// The job ended without success: `failed`, `timeout`, `dependency`, `canceled`; `condition` if a start was
    /// called off because a `Condition…=` of the unit did not hold (which systemd itself counts as success).
    #[error("{operation} of {unit} ended with {result}")]
    JobFailed {
        /// What was asked.
        operation: String,
        /// Of which unit.
        unit: String,
        /// systemd's word for it.
        result: String,
    },
}
