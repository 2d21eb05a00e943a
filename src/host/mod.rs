//! The only door to the operating system: rooted files, programs, systemd units, the packet filter's
//! generation, accounts, the clock; and the fakes of each.
//!
//! May not: know what a resource, a declaration or a plan is. Every function here does one thing to one host
//! and says what the host answered. All other rooms reach the host through a [`Host`] value, so that a test
//! or the simulation can hand them another one.

pub mod accounts;
mod apart;
pub mod apt_history;
pub mod clock;
pub mod counters;
pub mod dpkg_log;
pub mod errand;
pub mod exec_cache;
pub mod facts;
pub mod fanotify;
pub mod files;
pub mod handover;
pub mod journal;
pub mod landlock;
pub mod logins;
pub mod memory;
pub mod netfilter;
pub mod peer;
mod pipes;
pub mod privilege;
pub mod process;
pub mod program;
pub mod pulse;
pub mod sessions;
pub mod units;

use std::sync::Arc;

use accounts::Accounts;
use clock::Clock;
use files::Root;
use netfilter::Netfilter;
use program::Programs;
use units::Units;

/// One host, seen through its doors.
pub struct Host {
    /// The file tree: `/`, or the folder an offline apply or a test works on.
    pub root: Root,
    /// Runs programs.
    pub programs: Arc<dyn Programs>,
    /// Talks to systemd.
    pub units: Arc<dyn Units>,
    /// Asks the kernel's packet filter for its generation.
    pub netfilter: Arc<dyn Netfilter>,
    /// Names of users and groups.
    pub accounts: Arc<dyn Accounts>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}
