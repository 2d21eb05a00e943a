//! Declared units must not be started by a package's own scripts before their files are there.
//!
//! For the time of the transaction each of them gets a drop-in below /run whose condition fails while our unit
//! exists: a start succeeds and does nothing, whoever asks for it and however. The condition names the file that
//! systemd itself keeps for a transient unit, so the hold ends with the transaction even if the agent is gone, and
//! nothing has to be undone.
//!
//! Rejected: `policy-rc.d` (scripts that call systemctl never ask it; mounting one over a private namespace
//! leaves an empty file on the host), and masking (a script that calls `systemctl start` then fails, and the
//! package with it; and a mask outlives a crash).

use std::path::PathBuf;

use crate::host::Host;
use crate::host::files::{Attributes, FilesError};
use crate::host::units::{UnitError, UnitName};

const TEXT: &str = "\
# Written by agentd for the time of a package transaction: this unit's declared files are not there yet.
# It holds nothing once agentd-apt.service has ended.
[Unit]
ConditionPathExists=!/run/systemd/transient/agentd-apt.service
";

/// The drop-in's name. Late in the order, so that a drop-in that clears conditions comes before it.
const NAME: &str = "zz-agentd-hold.conf";

/// Why units could not be held back.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// systemd did not answer.
    #[error("could not ask which declared units run")]
    Ask(#[source] UnitError),
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
pub struct Held(Vec<UnitName>);

/// Holds back those of `units` that don't run. One that runs is left to its package: an upgrade restarts it.
pub fn hold(host: &Host, units: &[UnitName]) -> Result<Held, HoldError> {
    if units.is_empty() {
        return Ok(Held(Vec::new()));
    }
    let mut held = Held(Vec::new());
    let mut loaded = false;
    for status in host.units.status(units).map_err(HoldError::Ask)? {
        if matches!(status.active.as_str(), "active" | "reloading" | "activating" | "deactivating") {
            continue;
        }
        loaded |= status.load == "loaded";
        let unit = status.name;
        let lay = host.root.create_dirs(folder(&unit), Attributes::root(0o755)).and_then(|_| {
            host.root.write(folder(&unit).join(NAME), TEXT.as_bytes(), Attributes::root(0o644))
        });
        lay.map_err(|source| HoldError::Lay { unit: unit.clone(), source })?;
        held.0.push(unit);
    }
    if loaded {
        // A unit that is not there yet is read, with its drop-in, when its package brings it.
        host.units.daemon_reload().map_err(HoldError::Ask)?;
    }
    Ok(held)
}

impl Held {
    /// Takes the drop-ins away. A failure leaves files that no longer hold anything.
    pub fn release(self, host: &Host) {
        if self.0.is_empty() {
            return;
        }
        for unit in &self.0 {
            let folder = folder(unit);
            let gone = host.root.remove(folder.join(NAME)).and_then(|_| host.root.remove(&folder));
            if let Err(error) = gone {
                tracing::debug!(%unit, %error, "a drop-in that no longer holds anything stays behind");
            }
        }
        if let Err(error) = host.units.daemon_reload() {
            tracing::debug!(%error, "systemd keeps in mind a drop-in that no longer holds anything");
        }
    }
}

fn folder(unit: &UnitName) -> PathBuf {
    PathBuf::from(format!("/run/systemd/system/{unit}.d"))
}
