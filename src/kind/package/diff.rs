//! Observed against declared: what differs and what would put it right. Pure.

use std::cmp::Ordering;
use std::fmt;

use serde::Serialize;

use super::name::PackageName;
use super::spec::{Spec, Wish};
use super::status::{Package, Status, Table};
use super::version::compare;
use crate::kind::Difference;
use crate::model::{FieldDiff, Key, Shown, Step};

/// What was observed of one package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct State {
    /// Its version; empty if dpkg knows none.
    pub version: String,
    /// How far dpkg got with it.
    pub status: Status,
    /// Its architecture: `amd64`, `all`, …
    pub architecture: String,
    /// Whether it is held against upgrades.
    pub hold: bool,
    /// Whether dpkg says that only a reinstallation mends it.
    pub reinstall_required: bool,
}

impl State {
    /// Whether its files are there and configured.
    pub fn whole(&self) -> bool {
        self.status == Status::Installed && !self.reinstall_required
    }
}

impl From<Package<'_>> for State {
    fn from(package: Package<'_>) -> Self {
        let Package { name: _, architecture, version, status, held, reinstall_required, essential: _ } =
            package;
        State {
            version: version.to_owned(),
            status,
            architecture: architecture.to_owned(),
            hold: held,
            reinstall_required,
        }
    }
}

/// One decided step for one package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is not there: install it.
    Install {
        /// Which version.
        want: Wish,
    },
    /// It is there in an earlier version.
    Upgrade {
        /// The version that is there.
        from: String,
        /// Which version is wanted.
        want: Wish,
    },
    /// It is there in a later version than the one declared.
    Downgrade {
        /// The version that is there.
        from: String,
        /// Which version is wanted.
        want: Wish,
    },
    /// dpkg was interrupted with it.
    Repair {
        /// How far dpkg got.
        from: Status,
        /// Which version is wanted.
        want: Wish,
    },
    /// Take it away, leaving configuration files.
    Remove {
        /// The version that is there.
        from: String,
    },
    /// Take it away with its configuration files.
    Purge {
        /// The version that is there.
        from: String,
    },
    /// Hold it against upgrades by others.
    Hold,
    /// Hold it no longer.
    Unhold,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Install { want: Wish::Exactly(version) } => write!(f, "install version {version}"),
            Change::Install { want: Wish::AtLeast(version) } => {
                write!(f, "install version {version} or later")
            }
            Change::Install { want: Wish::Any | Wish::Absent | Wish::Purged } => f.write_str("install"),
            Change::Upgrade { from, want } => write!(f, "upgrade {from} → {want}"),
            Change::Downgrade { from, want } => write!(f, "downgrade {from} → {want}"),
            Change::Repair { from, .. } => write!(f, "repair: dpkg left it {}", from.as_str()),
            Change::Remove { from } => write!(f, "remove {from}, keeping its configuration files"),
            Change::Purge { from } if from.is_empty() => f.write_str("purge its configuration files"),
            Change::Purge { from } => write!(f, "purge {from} with its configuration files"),
            Change::Hold => f.write_str("hold against upgrades"),
            Change::Unhold => f.write_str("end the hold"),
        }
    }
}

impl crate::kind::Change for Change {
    fn step(&self) -> Step {
        match self {
            Change::Install { .. }
            | Change::Upgrade { .. }
            | Change::Downgrade { .. }
            | Change::Repair { .. }
            | Change::Hold
            | Change::Unhold => Step::Packages,
            Change::Remove { .. } | Change::Purge { .. } => Step::RemovePackages,
        }
    }

    fn removes(&self) -> bool {
        match self {
            Change::Remove { .. } | Change::Purge { .. } => true,
            Change::Install { .. }
            | Change::Upgrade { .. }
            | Change::Downgrade { .. }
            | Change::Repair { .. }
            | Change::Hold
            | Change::Unhold => false,
        }
    }
}

/// The entry of the database that a name stands for: of the architecture it names, or of the host's own;
/// `all` serves both.
pub fn find<'a>(table: &'a Table, name: &'a PackageName, native: &str) -> Option<Package<'a>> {
    let wanted = name.architecture().unwrap_or(native);
    let fits = |package: &Package<'_>| {
        package.architecture == wanted || (wanted == native && matches!(package.architecture, "all" | ""))
    };
    // A package that became `all` may leave its older self behind as configuration files.
    table.named(name.name()).filter(fits).max_by_key(|package| package.status)
}

/// What differs between a declared package and what is there.
pub fn difference(key: &Key, spec: &Spec, state: Option<&State>) -> Option<Difference<Change>> {
    let Spec { want, hold } = spec;
    let (mut fields, mut changes) = (Vec::new(), Vec::new());
    match want {
        Wish::Any | Wish::Exactly(_) | Wish::AtLeast(_) => present(want, state, &mut fields, &mut changes),
        Wish::Absent | Wish::Purged => absent(want, state, &mut fields, &mut changes),
    }
    let held = state.is_some_and(|state| state.hold);
    if let Some(hold) = *hold
        && hold != held
    {
        fields.push(FieldDiff::new("hold", held.to_string(), hold.to_string()));
        if hold {
            changes.push(Change::Hold);
        } else {
            // First, so that apt may change the version.
            changes.insert(0, Change::Unhold);
        }
    }
    (!changes.is_empty()).then(|| Difference {
        key: key.clone(),
        fields,
        changes,
        waiting: None,
        failing: None,
        owner: None,
    })
}

/// What the removal of a package that is no longer declared takes.
pub fn pruned(key: &Key, state: Option<&State>) -> Option<Difference<Change>> {
    let (mut fields, mut changes) = (Vec::new(), Vec::new());
    absent(&Wish::Absent, state, &mut fields, &mut changes);
    (!changes.is_empty()).then(|| Difference {
        key: key.clone(),
        fields,
        changes,
        waiting: None,
        failing: None,
        owner: None,
    })
}

/// Whether a version is what is wished for.
pub fn suits(want: &Wish, version: &str) -> bool {
    match want {
        Wish::Any => true,
        Wish::Exactly(exact) => compare(version, exact.as_str()) == Ordering::Equal,
        Wish::AtLeast(least) => compare(version, least.as_str()) != Ordering::Less,
        Wish::Absent | Wish::Purged => false,
    }
}

fn present(want: &Wish, state: Option<&State>, fields: &mut Vec<FieldDiff>, changes: &mut Vec<Change>) {
    let want_version = || Shown::Value(want.to_string());
    let Some(state) = state.filter(|state| state.status.on_host()) else {
        fields.push(FieldDiff::new("version", Shown::Absent, want_version()));
        changes.push(Change::Install { want: want.clone() });
        return;
    };
    let right = suits(want, &state.version);
    if !right {
        fields.push(FieldDiff::new("version", state.version.as_str(), want_version()));
    }
    if !state.whole() {
        let found = match state.reinstall_required {
            true => format!("{}, reinstallation required", state.status.as_str()),
            false => state.status.as_str().to_owned(),
        };
        fields.push(FieldDiff::new("status", found, Status::Installed.as_str()));
        changes.push(Change::Repair { from: state.status, want: want.clone() });
    } else if !right {
        let from = state.version.clone();
        let later = match want {
            Wish::Exactly(version) => compare(&from, version.as_str()) == Ordering::Greater,
            Wish::Any | Wish::AtLeast(_) | Wish::Absent | Wish::Purged => false,
        };
        changes.push(match later {
            true => Change::Downgrade { from, want: want.clone() },
            false => Change::Upgrade { from, want: want.clone() },
        });
    }
}

fn absent(want: &Wish, state: Option<&State>, fields: &mut Vec<FieldDiff>, changes: &mut Vec<Change>) {
    let Some(state) = state else { return };
    let purge = *want == Wish::Purged;
    match state.status {
        Status::NotInstalled => {}
        Status::ConfigFiles if purge => {
            fields.push(FieldDiff::new("ensure", "configuration files", Shown::Absent));
            changes.push(Change::Purge { from: String::new() });
        }
        Status::ConfigFiles => {}
        Status::HalfInstalled
        | Status::Unpacked
        | Status::HalfConfigured
        | Status::TriggersAwaited
        | Status::TriggersPending
        | Status::Installed => {
            let from = state.version.clone();
            fields.push(FieldDiff::new("ensure", from.as_str(), Shown::Absent));
            changes.push(if purge { Change::Purge { from } } else { Change::Remove { from } });
        }
    }
}
