//! The words of a status, shared by the pass, the record, the wire and the terminal. They follow Argo CD and
//! Flux, whose users read them without a manual.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What is done about drift of a resource, or of everything on a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DriftMode {
    /// Ignore it: not even reported.
    Disabled,
    /// Report it and change nothing. The default at first contact.
    #[default]
    Warn,
    /// Correct it.
    Enabled,
}

impl FromStr for DriftMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "disabled" => Ok(DriftMode::Disabled),
            "warn" => Ok(DriftMode::Warn),
            "enabled" => Ok(DriftMode::Enabled),
            _ => Err(format!("`{text}` is no drift mode: use \"enabled\", \"warn\" or \"disabled\"")),
        }
    }
}

/// Whether the host is as the applied revision says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sync {
    /// As declared.
    Synced,
    /// Not as declared; `Drifted` wins over `Behind` as the reason.
    OutOfSync(SyncReason),
    /// Could not be told.
    Unknown,
}

/// Why a host is out of sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SyncReason {
    /// The host moved.
    Drifted,
    /// The declaration moved.
    Behind,
}

/// How well the host is. Ordered: the worst wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Health {
    /// All well.
    Healthy,
    /// A person said: hands off.
    Suspended,
    /// Under way to the declared state.
    Progressing,
    /// Something declared is not there.
    Missing,
    /// Something failed or does not converge.
    Degraded,
    /// Could not be told.
    Unknown,
}

/// What the last pass found and did about one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ResourceStatus {
    /// As declared.
    Synced,
    /// The host moved; not corrected (mode `warn`, or waiting).
    Drifted,
    /// The declaration moved; not yet applied.
    Behind,
    /// It differed and was put right in this pass.
    Corrected,
    /// Putting it right failed.
    Failed,
    /// We changed it and it differs again by our own doing, or refuses to change.
    NotConverging,
    /// Held until something else is there (an owner's package, a failed input, a lock).
    Waiting,
    /// A person suspended it.
    Suspended,
    /// Someone else keeps changing it back.
    Contested,
    /// Could not be read; nothing is done to it.
    Unknown,
}

/// Why a pass starts. Ordered by how much it says; several may be coalesced into one pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trigger {
    /// The daemon started.
    Boot,
    /// A new revision was accepted.
    Revision,
    /// A person asked.
    Request,
    /// Something that is watched changed.
    Watch,
    /// The time for a full pass came.
    Interval,
}

macro_rules! display_by_debug {
    ($($ty:ty),*) => {$(
        impl fmt::Display for $ty {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self, f)
            }
        }
    )*};
}
display_by_debug!(SyncReason, Health, ResourceStatus);

macro_rules! display_in_lower_case {
    ($($ty:ty),*) => {$(
        impl fmt::Display for $ty {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&format!("{self:?}").to_lowercase())
            }
        }
    )*};
}
display_in_lower_case!(DriftMode, Trigger);

impl fmt::Display for Sync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sync::Synced => f.write_str("Synced"),
            Sync::OutOfSync(reason) => write!(f, "OutOfSync ({reason})"),
            Sync::Unknown => f.write_str("Unknown"),
        }
    }
}
