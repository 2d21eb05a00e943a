//! Why and when a pass starts: watches, timers and requests, coalesced into "look at this, for these reasons".
//!
//! May not: read what changed. An event only says "look again"; truth is read by the pass. A lost event costs
//! latency, never correctness. Flows in: what the kinds want watched, the settings' intervals. Flows out:
//! [`inbox::Noticed`] and points in time.

mod by_fanotify;
mod by_inotify;
mod callers;
mod eyes;
mod gauge;
pub mod inbox;
pub mod mounts;
pub mod netfilter;
pub mod schedule;
mod sight;
pub mod units;
pub mod watch_map;
pub mod watcher;
mod witnesses;

#[cfg(test)]
mod tests;

pub use eyes::Way;
pub use inbox::{Inbox, Noticed};
pub use mounts::MountWatch;
pub use netfilter::FirewallWatch;
pub use units::UnitWatch;
pub use watch_map::WatchMap;
pub use watcher::Watcher;
