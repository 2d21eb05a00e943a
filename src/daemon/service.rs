//! The manners of a systemd service: readiness, status text, and a watchdog that is fed by finished work.

use std::time::Duration;

use sd_notify::NotifyState;

use crate::host::pulse::PULSE;
use crate::status::Snapshot;

/// Microseconds that a start may take from each sign of life on.
const START_MAY_TAKE: u32 = 90_000_000;

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

    /// Feeds the watchdog if work was finished since the last time; before we are ready, the patience for our start.
    /// Says whether it did.
    pub fn feed(&mut self) -> bool {
        let count = PULSE.count();
        let moved = count != self.pulse;
        self.pulse = count;
        match (moved, self.ready) {
            (true, true) => tell(&[NotifyState::Watchdog]),
            // A first look at very much takes its time: while it gets on it may.
            (true, false) => tell(&[NotifyState::ExtendTimeoutUsec(START_MAY_TAKE)]),
            (false, _) => {}
        }
        moved
    }

    /// When to look at the pulse next; none if there is no watchdog. While all is well, late in the watchdog's patience,
    /// so that a quiet host is woken seldom; once a look was in vain, often, so that a piece of work that takes nearly
    /// all of that patience is no hang yet.
    pub fn next_look(moved: bool) -> Option<Duration> {
        let patience = sd_notify::watchdog_enabled()?;
        Some(look_after(patience, moved))
    }
}

fn look_after(patience: Duration, moved: bool) -> Duration {
    if moved { patience * 2 / 3 } else { patience / 15 }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager could not be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The longest piece of work that is no hang, and the longest time that passes before a hang is one.
    #[test]
    fn work_of_nearly_all_the_patience_is_no_hang_and_a_quiet_host_is_looked_at_once_a_minute() {
        let patience = Duration::from_secs(90);
        assert_eq!(look_after(patience, true), Duration::from_secs(60));
        let mut at = look_after(patience, true);
        let mut looks = vec![at];
        while at + look_after(patience, false) < patience {
            at += look_after(patience, false);
            looks.push(at);
        }
        // Whatever ends by then feeds it in time.
        assert_eq!(looks.last(), Some(&Duration::from_secs(84)));
    }

    #[test]
    fn only_work_that_was_finished_feeds_it_and_a_program_beside_the_pass_is_none() {
        use crate::host::program::{Programs, ProgramsBeside, Run, SystemPrograms};
        let mut manager = Manager::default();
        // Other tests of this process beat, too: what counts is whose programs do.
        let moves = |programs: &dyn Programs| {
            let before = PULSE.count();
            programs.run(&Run::new("/bin/true", &[])).unwrap();
            PULSE.count() > before
        };
        assert!(moves(&SystemPrograms));
        assert!((0..100).any(|_| !moves(&ProgramsBeside)));
        manager.feed();
        PULSE.beat();
        assert!(manager.feed());
    }
}
