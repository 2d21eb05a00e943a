//! The decided steps for one unit.

use std::fmt;

use crate::kind::{self, Reaction};
use crate::model::Step;

/// One decided step for one unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// systemd reads its changed files.
    ReadAgain,
    /// Starting it becomes possible.
    Unmask,
    /// Starting it becomes impossible.
    Mask,
    /// It starts at boot.
    Enable(Before),
    /// It does not start at boot.
    Disable,
    /// It is started.
    Start(Before),
    /// It is started because its package asked for that when it was held back.
    StartOwed,
    /// It is stopped.
    Stop,
    /// It is started anew, for inputs that changed.
    Restart,
    /// It reads its configuration again, for inputs that changed.
    Reload,
    /// It is stopped and disabled: the declaration dropped it.
    Retire,
}

/// What a unit was before it is turned on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Before {
    /// Neither running nor enabled: turning it on is our doing.
    Off,
    /// Running or enabled, and only not both.
    Partly,
    /// It had failed: systemd's word for how.
    Failed(String),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::ReadAgain => f.write_str("read its unit file again"),
            Change::Unmask => f.write_str("unmask"),
            Change::Mask => f.write_str("mask"),
            Change::Enable(_) => f.write_str("enable"),
            Change::Disable => f.write_str("disable"),
            Change::Start(Before::Failed(result)) => write!(f, "start again (it failed: {result})"),
            Change::Start(Before::Off | Before::Partly) => f.write_str("start"),
            Change::StartOwed => f.write_str("start, as its package asked"),
            Change::Stop => f.write_str("stop"),
            Change::Restart => f.write_str("restart"),
            Change::Reload => f.write_str("reload"),
            Change::Retire => f.write_str("stop and disable"),
        }
    }
}

impl kind::Change for Change {
    fn step(&self) -> Step {
        match self {
            Change::ReadAgain
            | Change::Unmask
            | Change::Mask
            | Change::Enable(_)
            | Change::Disable
            | Change::Start(_)
            | Change::StartOwed
            | Change::Stop => Step::Services,
            Change::Retire => Step::RemoveServices,
            Change::Restart | Change::Reload => Step::Reactions,
        }
    }

    fn removes(&self) -> bool {
        *self == Change::Retire
    }

    fn brings(&self) -> bool {
        matches!(self, Change::Enable(Before::Off) | Change::Start(Before::Off))
    }

    fn settles(&self) -> &[Reaction] {
        match self {
            Change::Start(_) | Change::StartOwed | Change::Restart => &[Reaction::Restart, Reaction::Reload],
            Change::Reload => &[Reaction::Reload],
            Change::ReadAgain
            | Change::Unmask
            | Change::Mask
            | Change::Enable(_)
            | Change::Disable
            | Change::Stop
            | Change::Retire => &[],
        }
    }
}
