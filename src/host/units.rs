//! systemd, over D-Bus: the state of units, jobs, unit files, and transient units for work that must outlive us.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The full name of a unit, suffix included: `nginx.service`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct UnitName(String);

impl UnitName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for UnitName {
    type Err = String;

    /// The grammar of `systemd.unit(5)`: at most 255 characters of `[A-Za-z0-9:_.\\@-]`, with a known suffix.
    /// Templates without an instance (`x@.service`) and globs are no names of one unit.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const SUFFIXES: [&str; 6] = [".service", ".socket", ".timer", ".path", ".target", ".mount"];
        let allowed = |c: char| c.is_ascii_alphanumeric() || ":_.\\@-".contains(c);
        let Some(stem) = SUFFIXES.iter().find_map(|suffix| text.strip_suffix(suffix)) else {
            return Err(format!("`{text}` is no unit name: it must end in one of {}", SUFFIXES.join(", ")));
        };
        if stem.is_empty() || text.len() > 255 || text.starts_with('-') || !text.chars().all(allowed) {
            return Err(format!(
                "`{text}` is no unit name: letters, digits and :_.\\@- only, not starting with -"
            ));
        }
        if stem.ends_with('@') {
            return Err(format!("`{text}` is a template: name an instance, such as {stem}1.service"));
        }
        Ok(UnitName(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for UnitName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

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
    /// `enabled`, `enabled-runtime`, `disabled`, `static`, `masked`, `indirect`, `generated`, …; empty if there is no file.
    pub file: String,
    /// Why it last ended: `success`, `exit-code`, `signal`, `start-limit-hit`, …
    pub result: String,
    /// Whether its files changed since systemd read them.
    pub need_daemon_reload: bool,
    /// Identifies the current start; empty if it was never started.
    pub invocation: String,
}

/// What can be asked of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnitAction {
    /// Start it, and what it requires.
    Start,
    /// Stop it.
    Stop,
    /// Stop and start it.
    Restart,
    /// Tell it to read its configuration again; restart it if it can't.
    ReloadOrRestart,
    /// Forget that it failed, so that a start limit no longer holds.
    ResetFailed,
}

/// What can be done with a unit's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnitFileAction {
    /// Start it at boot.
    Enable,
    /// Do not start it at boot.
    Disable,
    /// Make starting it impossible.
    Mask,
    /// Make starting it possible again.
    Unmask,
}

/// Work that must outlive the agent: run as a transient unit of PID 1, outside our control group and sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransientJob {
    /// Name of the unit, such as `agentd-apt.service`. One at a time: a running one of that name is adopted
    /// (waited for) instead of started again.
    pub unit: UnitName,
    /// What people read in `systemctl status`.
    pub description: String,
    /// Program (absolute) and arguments.
    pub argv: Vec<String>,
    /// Environment.
    pub env: Vec<(String, String)>,
    /// File that standard output and error are appended to; root-only.
    pub log: std::path::PathBuf,
    /// After this systemd stops it, gently first.
    pub time_limit: Duration,
}

/// How a transient job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobEnd {
    /// systemd's word: `success`, `exit-code`, `signal`, `timeout`, `oom-kill`.
    pub result: String,
    /// The exit status of its main process.
    pub status: i32,
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
    /// The job ended without success.
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

/// Talks to systemd. Blocking: the pass has a thread of its own.
pub trait Units: Send + Sync {
    /// The status of each unit asked for, in one batch.
    fn status(&self, units: &[UnitName]) -> Result<Vec<UnitStatus>, UnitError>;
    /// Does something to a unit and waits for the job's end.
    fn act(&self, action: UnitAction, unit: &UnitName) -> Result<(), UnitError>;
    /// Changes unit files, in one call for all of them.
    fn change_files(&self, action: UnitFileAction, units: &[UnitName]) -> Result<(), UnitError>;
    /// Makes systemd read all unit files again.
    fn daemon_reload(&self) -> Result<(), UnitError>;
    /// Runs a job as a transient unit and waits for its end; adopts one that is running already.
    fn run_transient(&self, job: &TransientJob) -> Result<JobEnd, UnitError>;
}
