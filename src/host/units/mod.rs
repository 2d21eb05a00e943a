//! systemd, over D-Bus: the state of units, jobs, unit files, and transient units for work that must outlive us.
//!
//! May not: decide which unit should be in which state. Flows in: unit names and what to do. Flows out: what
//! systemd said, in its own words.
//!
//! ```text
//! SystemUnits ── bus: one lazy connection, deadlines, made anew when the bus or PID 1 was restarted
//!             ├─ files: proof that the unit files are still as last asked about (a quiet pass is one call)
//!             ├─ stale: whether systemd should read files again, where it does not notice itself
//!             ├─ jobs: start, stop, reload and wait for the job's end
//!             └─ transient: work outside our control group, and timers that fire without us
//! UnitSignals ── what systemd tells without being asked; async, for the thread that waits for events
//! UnitCalls   ── who asks systemd for what over the bus; async as well
//! FakeUnits   ── the same behaviour without systemd; one contract test runs against both
//! ```

mod bus;
mod calls;
mod fake;
mod files;
mod jobs;
mod name;
mod signals;
mod stale;
mod system;
mod transient;
mod types;

pub use calls::{UnitCall, UnitCalls};
pub use fake::FakeUnits;
pub use name::{UnitKind, UnitName};
pub use signals::{UnitSignal, UnitSignals};
pub use system::SystemUnits;
pub use types::{
    JobEnd, Scheduled, TransientJob, UnitAction, UnitDetails, UnitError, UnitFileAction, UnitStatus,
};

/// Talks to systemd. Blocking: the pass has a thread of its own, and no async runtime may be entered on it.
pub trait Units: Send + Sync {
    /// The status of each unit asked for, in their order, in one batch.
    fn status(&self, units: &[UnitName]) -> Result<Vec<UnitStatus>, UnitError>;
    /// More of one unit, for explaining what is wrong with it.
    fn details(&self, unit: &UnitName) -> Result<UnitDetails, UnitError>;
    /// Does something to a unit and waits for the job's end.
    fn act(&self, action: UnitAction, unit: &UnitName) -> Result<(), UnitError>;
    /// Changes unit files, in one call for all of them, and makes systemd read them again.
    fn change_files(&self, action: UnitFileAction, units: &[UnitName]) -> Result<(), UnitError>;
    /// Makes systemd read all unit files again.
    fn daemon_reload(&self) -> Result<(), UnitError>;
    /// Runs a job as a transient unit and waits for its end; adopts one that is running already.
    fn run_transient(&self, job: &TransientJob) -> Result<JobEnd, UnitError>;
    /// Has a program run later, also if the agent is gone by then. A timer of that stem that is still waiting
    /// is replaced. Stopping the timer (`UnitAction::Stop`) calls it off.
    fn schedule(&self, what: &Scheduled) -> Result<(), UnitError>;
}
