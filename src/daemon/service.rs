//! The manners of a systemd service: readiness, status text, and a watchdog that is fed by finished work.

use std::time::Duration;

use sd_notify::NotifyState;

use crate::host::pulse::PULSE;
use crate::status::Snapshot;

/// Talks to the service manager; without one it says nothing.
#[derive(Debug, Default)]
pub struct Manager {
    ready: bool,
    pulse: u64,
}

impl Manager {
    /// The first observation is done (or nothing is to be observed yet): dependents may start.
    pub fn ready(&mut self) {
        if !self.ready {
            self.ready = true;
            tell(&[NotifyState::Ready]);
        }
    }

    /// The line that `systemctl status` shows.
    pub fn status(&self, snapshot: &Snapshot) {
        let revision = snapshot.applied.as_ref().map_or("no revision", |revision| revision.commit.short());
        let text = format!("{}, {}, at {revision}", snapshot.sync, snapshot.health);
        tell(&[NotifyState::Status(&text)]);
    }

    /// Stopping: the step at hand is finished first.
    pub fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }

    /// Feeds the watchdog if work was finished since the last time. Says whether it did.
    pub fn feed(&mut self) -> bool {
        let count = PULSE.count();
        let moved = count != self.pulse;
        self.pulse = count;
        if moved {
            tell(&[NotifyState::Watchdog]);
        }
        moved
    }

    /// How often to look at the pulse: thrice within the watchdog's patience; none if there is no watchdog.
    pub fn pulse_interval() -> Option<Duration> {
        sd_notify::watchdog_enabled().map(|patience| patience / 3)
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager could not be told");
    }
}
