//! Looks at the processes that events name: at once, and never more often than a storm may cost.

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::host::clock::Clock;
use crate::host::fanotify::Event;
use crate::host::process;
use crate::model::{Caught, Deeds, Evidence, Subject, Witness};

/// So many looks may follow each other at once: an editor's save, a package's files. One costs a quarter of a
/// millisecond.
const BURST: u32 = 64;
/// After those, one in this time: about a hundredth of a core.
const ONE_EACH: Duration = Duration::from_millis(25);

/// Makes witnesses of events.
pub(super) struct Witnesses {
    clock: Arc<dyn Clock>,
    tells_who: bool,
    own: u32,
    left: u32,
    refilled: Duration,
    /// The last one of this batch: a write is two events or three, by the same process.
    last: Option<(u32, Caught)>,
}

impl Witnesses {
    pub fn new(clock: Arc<dyn Clock>, tells_who: bool) -> Self {
        let refilled = clock.since_boot();
        Witnesses { clock, tells_who, own: std::process::id(), left: BURST, refilled, last: None }
    }

    /// Our own number.
    pub const fn own(&self) -> u32 {
        self.own
    }

    /// What comes now was not read together with what came before.
    pub fn next_batch(&mut self) {
        self.last = None;
    }

    /// The witness of an event.
    pub fn call(&mut self, event: &Event<'_>, path: &Path, deeds: Deeds) -> Witness {
        let since_boot = self.clock.since_boot();
        let pid = (self.tells_who && event.pid != 0).then_some(event.pid);
        let known = self.last.take().filter(|(known, _)| pid == Some(*known));
        let caught = match (&event.process, known) {
            (Some(_), Some((_, caught))) => caught,
            (Some(process), None) if self.may_look(since_boot) => process::look(event.pid, process.as_fd()),
            (Some(_), None) => Caught::Skipped,
            (None, _) => Caught::Gone(None),
        };
        if caught != Caught::Skipped {
            self.last = pid.map(|pid| (pid, caught.clone()));
        }
        Witness {
            subject: Subject::Path(path.to_owned()),
            at: self.clock.now(),
            since_boot,
            source: Evidence::Fanotify,
            pid,
            caught,
            deeds,
        }
    }

    fn may_look(&mut self, now: Duration) -> bool {
        let earned = now.saturating_sub(self.refilled).as_millis() / ONE_EACH.as_millis();
        if let Ok(earned @ 1..) = u32::try_from(earned) {
            self.left = self.left.saturating_add(earned).min(BURST);
            self.refilled = now;
        }
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::host::clock::FakeClock;

    #[test]
    fn a_storm_gets_a_burst_of_looks_and_then_so_many_a_second() {
        let clock = Arc::new(FakeClock::at(Timestamp::UNIX_EPOCH));
        let mut witnesses = Witnesses::new(Arc::clone(&clock) as Arc<dyn Clock>, true);
        let mut looks = |events: u32| (0..events).filter(|_| witnesses.may_look(clock.since_boot())).count();
        assert_eq!(looks(10_000), 64);
        clock.advance(Duration::from_secs(1));
        assert_eq!(looks(10_000), 40);
        clock.advance(Duration::from_millis(24));
        assert_eq!(looks(10_000), 0);
        clock.advance(Duration::from_secs(3600));
        assert_eq!(looks(10_000), 64);
    }
}
