//! Declared units must not be started by a package's own scripts before their files are there.
//!
//! For the time of the transaction each of them gets a drop-in below /run whose condition fails while our unit
//! exists: a start succeeds and does nothing, whoever asks for it and however. The condition names the file that
//! systemd itself keeps for a transient unit, so the hold ends with the transaction even if the agent is gone, and
//! nothing has to be undone.
//!
//! Where the declaration does not say whether a unit runs, its package's word counts: a start that was refused leaves
//! the drop-in where it is, and with it, for whoever looks next, that a start is owed. systemd itself remembers when
//! it refused, so neither a crash of the agent nor another transaction loses it; of a unit that nothing refers to (it is
//! not enabled) systemd forgets everything at once, and the journal remembers. Where a transaction fails, the drop-in
//! stays as well: what is left to be configured asks for the start in the next one.
//!
//! Rejected: `policy-rc.d` (scripts that call systemctl never ask it; mounting one over a private namespace
//! leaves an empty file on the host), and masking (a script that calls `systemctl start` then fails, and the
//! package with it; and a mask outlives a crash).

use std::path::PathBuf;

use crate::host::Host;
use crate::host::files::{Attributes, FilesError};
use crate::host::program::Run;
use crate::host::units::{UnitError, UnitName};

const TEXT: &str = "\
# Written by agentd for the time of a package transaction: this unit's declared files are not there yet.
# It holds nothing once agentd-apt.service has ended.
[Unit]
ConditionPathExists=!/run/systemd/transient/agentd-apt.service
";

/// The drop-in's name. Late in the order, so that a drop-in that clears conditions comes before it.
const NAME: &str = "zz-agentd-hold.conf";

const JOURNALCTL: &str = "/usr/bin/journalctl";

/// While it is there, a transaction runs.
const TRANSACTION: &str = "/run/systemd/transient/agentd-apt.service";

/// A declared unit that a package's own scripts must not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldUnit {
    /// Which.
    pub name: UnitName,
    /// Whether it runs afterwards.
    pub afterwards: Afterwards,
}

/// Who says whether a unit that was held back runs once its files are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// The declaration does.
    AsDeclared,
    /// Its package does: it is started if the scripts tried to.
    AsItsPackage,
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transaction {
    /// Everything was done.
    Done,
    /// Something failed: a package may be left half-way.
    Unfinished,
}

/// Why units could not be held back.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// systemd did not answer.
    #[error("could not ask which declared units run")]
    Ask(#[source] UnitError),
    /// What is left of an earlier hold could not be read.
    #[error("could not look for what is left of an earlier hold")]
    Look(#[source] FilesError),
    /// The drop-in could not be written.
    #[error("could not lay down the drop-in that holds {unit} back")]
    Lay {
        /// Which unit.
        unit: UnitName,
        /// What failed.
        #[source]
        source: FilesError,
    },
}

/// Units that are held back until [`Held::release`].
#[derive(Debug)]
pub struct Held(Vec<HoldUnit>);

/// Holds back those of `units` that don't run. One that runs is left to its package: an upgrade restarts it; and so is
/// one of which only its package says whether it runs, once that is there.
pub fn hold(host: &Host, units: &[HoldUnit]) -> Result<Held, HoldError> {
    if units.is_empty() {
        return Ok(Held(Vec::new()));
    }
    let names: Vec<UnitName> = units.iter().map(|unit| unit.name.clone()).collect();
    let mut statuses = host.units.status(&names).map_err(HoldError::Ask)?;
    // What systemd read may be long gone: a package that was removed need not have said so.
    if statuses.iter().any(|status| status.need_daemon_reload) {
        host.units.daemon_reload().map_err(HoldError::Ask)?;
        statuses = host.units.status(&names).map_err(HoldError::Ask)?;
    }
    let mut held = Held(Vec::new());
    let mut loaded = false;
    for (unit, status) in units.iter().zip(statuses) {
        if matches!(status.active.as_str(), "active" | "reloading" | "activating" | "deactivating") {
            continue;
        }
        // It is there, at rest, and nobody says otherwise: a socket may start it at any time, and may go on so. Unless
        // the transaction that brought it failed.
        let is_at_rest = unit.afterwards == Afterwards::AsItsPackage && status.load == "loaded";
        if is_at_rest && host.root.stat(drop_in(&unit.name)).map_err(HoldError::Look)?.is_none() {
            continue;
        }
        // Written anew it would be younger than the refusal.
        if !was_refused(host, &unit.name)? {
            loaded |= status.load == "loaded";
            lay(host, &unit.name).map_err(|source| HoldError::Lay { unit: unit.name.clone(), source })?;
        }
        held.0.push(unit.clone());
    }
    if loaded {
        // A unit that is not there yet is read, with its drop-in, when its package brings it.
        host.units.daemon_reload().map_err(HoldError::Ask)?;
    }
    Ok(held)
}

impl Held {
    /// Takes the drop-ins away, but where a start is owed, or may be asked for yet. A failure leaves files that no longer
    /// hold anything.
    pub fn release(self, host: &Host, transaction: Transaction) {
        let is_owed = |unit: &HoldUnit| match (unit.afterwards, transaction) {
            (Afterwards::AsDeclared, _) => false,
            (Afterwards::AsItsPackage, Transaction::Unfinished) => true,
            (Afterwards::AsItsPackage, Transaction::Done) => {
                was_refused(host, &unit.name).unwrap_or_default()
            }
        };
        let free: Vec<UnitName> =
            self.0.iter().filter(|unit| !is_owed(unit)).map(|unit| unit.name.clone()).collect();
        lift(host, &free);
    }
}

/// Whether a unit's start was refused for a transaction that is over, and nobody made up for it.
pub fn is_owed(host: &Host, unit: &UnitName) -> Result<bool, HoldError> {
    let is_over = || host.root.stat(TRANSACTION).map(|there| there.is_none()).map_err(HoldError::Look);
    Ok(was_refused(host, unit)? && is_over()?)
}

/// Takes drop-ins away: what was owed was made up for, or nothing was. A failure leaves files that no longer hold
/// anything.
pub fn lift(host: &Host, units: &[UnitName]) {
    let mut lifted = false;
    for unit in units {
        let folder = folder(unit);
        match host.root.remove(folder.join(NAME)) {
            Ok(was_there) => {
                lifted |= was_there;
                // Others may have drop-ins in there.
                let _ = host.root.remove(&folder);
            }
            Err(error) => {
                tracing::debug!(%unit, %error, "a drop-in that no longer holds anything stays behind");
            }
        }
    }
    if lifted && let Err(error) = host.units.daemon_reload() {
        tracing::debug!(%error, "systemd keeps in mind a drop-in that no longer holds anything");
    }
}

fn lay(host: &Host, unit: &UnitName) -> Result<(), FilesError> {
    host.root.create_dirs(folder(unit), Attributes::root(0o755))?;
    host.root.write(drop_in(unit), TEXT.as_bytes(), Attributes::root(0o644)).map(drop)
}

/// Whether the unit's last start was refused since its drop-in was laid.
fn was_refused(host: &Host, unit: &UnitName) -> Result<bool, HoldError> {
    let Some(drop_in) = host.root.stat(drop_in(unit)).map_err(HoldError::Look)? else { return Ok(false) };
    let refused = host.units.details(unit).map_err(HoldError::Ask)?.refused;
    let laid = u128::try_from(drop_in.identity.mtime).unwrap_or_default();
    Ok(refused.is_some_and(|at| at.as_nanos() >= laid) || is_noted(host, unit, laid))
}

/// Whether the journal says so. What it can't be asked it does not say.
fn is_noted(host: &Host, unit: &UnitName, since: u128) -> bool {
    // What is not there was not started, and need not be asked about.
    let there = host.units.status(std::slice::from_ref(unit)).unwrap_or_default();
    if !there.iter().any(|status| status.load == "loaded") {
        return false;
    }
    // What was just said may still be on its way.
    let _ = host.programs.run(&Run::new(JOURNALCTL, &["--sync"]));
    let (of, after) = (format!("UNIT={unit}"), format!("--since=@{}", since / 1_000_000_000));
    let args = ["--quiet", "--no-pager", "--output=json", "--output-fields=MESSAGE", "--boot", &after, &of];
    let Ok(done) = host.programs.run(&Run::new(JOURNALCTL, &args)) else { return false };
    let says_so = |line: &str| {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
        let at = entry["__REALTIME_TIMESTAMP"].as_str().and_then(|micros| micros.parse::<u128>().ok());
        let is_ours = entry["MESSAGE"].as_str().is_some_and(|text| text.contains(TRANSACTION));
        is_ours && at.is_some_and(|micros| micros * 1_000 >= since)
    };
    String::from_utf8_lossy(&done.stdout).lines().any(says_so)
}

fn drop_in(unit: &UnitName) -> PathBuf {
    folder(unit).join(NAME)
}

fn folder(unit: &UnitName) -> PathBuf {
    PathBuf::from(format!("/run/systemd/system/{unit}.d"))
}
