//! Watches units: systemd tells on the system bus what came of them. Where it cannot be heard (the bus or PID 1 was
//! restarted) the watcher tries again with growing waits, and looks at all units once it hears again. Who asked systemd
//! for it is noted beside it, as far as that went over the bus.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::callers::Callers;
use super::gauge::Gauge;
use super::inbox::Inbox;
use crate::host::clock::Clock;
use crate::host::units::{UnitError, UnitName, UnitSignal, UnitSignals};
use crate::kind::LookAt;
use crate::model::{KindName, ResourceId};
use crate::status::WatchHealth;

/// The wait before the first new attempt; a re-executed PID 1 is back within a second.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// No wait is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A connection that lived so long was a good one: the waits start anew.
const GOOD_AFTER: Duration = Duration::from_secs(10);
/// A unit that ended and is started again by systemd sooner than this is not looked at in between: it is told of when
/// it has started. One that waits longer is down, and that is to be seen.
const RESTART_SOON: Duration = Duration::from_secs(1);

/// Watches declared units.
pub struct UnitWatch {
    shared: Arc<Shared>,
    units: Vec<UnitName>,
    tasks: Vec<JoinHandle<()>>,
}

struct Shared {
    root: PathBuf,
    gauge: Gauge,
    inbox: Arc<Inbox>,
    clock: Arc<dyn Clock>,
    callers: Callers,
}

impl UnitWatch {
    /// A watcher of the systemd of this host that puts what it notices into `inbox`; it watches nothing yet.
    pub fn new(inbox: Arc<Inbox>, clock: Arc<dyn Clock>) -> Self {
        UnitWatch::of_host_at("/".into(), inbox, clock)
    }

    /// The same for the host whose file tree is seen at `root`, such as a container's.
    pub fn of_host_at(root: PathBuf, inbox: Arc<Inbox>, clock: Arc<dyn Clock>) -> Self {
        let gauge = Gauge::new("service", "dbus");
        let callers = Callers::new(root.clone(), Arc::clone(&inbox), Arc::clone(&clock));
        let shared = Arc::new(Shared { root, gauge, inbox, clock, callers });
        UnitWatch { shared, units: Vec::new(), tasks: Vec::new() }
    }

    /// Watches exactly these units. On a runtime.
    pub fn want(&mut self, units: Vec<UnitName>) {
        if units == self.units {
            return;
        }
        self.stop();
        if !units.is_empty() {
            let (shared, wanted) = (Arc::clone(&self.shared), units.clone());
            self.tasks.push(tokio::spawn(async move { shared.callers.watch(&wanted).await }));
            let (shared, wanted) = (Arc::clone(&self.shared), units.clone());
            self.tasks.push(tokio::spawn(async move { shared.watch(&wanted).await }));
        }
        self.units = units;
    }

    /// How it is, and how it hears of who asks systemd; nothing while there is nothing to watch.
    pub fn health(&self) -> Vec<WatchHealth> {
        let gauges = [&self.shared.gauge, &self.shared.callers.gauge];
        gauges.into_iter().take(self.tasks.len()).map(Gauge::health).collect()
    }

    fn stop(&mut self) {
        self.tasks.drain(..).for_each(|task| task.abort());
    }
}

impl Drop for UnitWatch {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    async fn watch(&self, units: &[UnitName]) {
        let mut wait = FIRST_WAIT;
        loop {
            let began = self.clock.since_boot();
            let error = self.hear(units).await;
            self.gauge.blind(self.clock.now(), &error.to_string());
            // Nothing to look at, but something to tell.
            self.inbox.rearm(std::iter::empty());
            if self.clock.since_boot().saturating_sub(began) >= GOOD_AFTER {
                wait = FIRST_WAIT;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Listens until that is no longer possible.
    async fn hear(&self, units: &[UnitName]) -> UnitError {
        let mut signals = match UnitSignals::listen(&self.root, units).await {
            Ok(signals) => signals,
            Err(error) => return error,
        };
        self.gauge.live(self.clock.now(), units.len());
        // Whatever happened while nobody listened.
        self.inbox.look_at(std::iter::once(&LookAt::Kind(KindName::Service)));
        let mut restarting: BTreeMap<UnitName, Instant> = BTreeMap::new();
        loop {
            let due = restarting.values().min().copied();
            let told = tokio::select! {
                told = signals.next() => told,
                () = wait_until(due) => {
                    let now = Instant::now();
                    let down = restarting.extract_if(.., |_, due| *due <= now);
                    let looks: Vec<LookAt> = down.map(|(unit, _)| look_at(&unit)).collect();
                    self.inbox.look_at(looks.iter());
                    continue;
                }
            };
            let look_at = match told {
                Ok(UnitSignal::Settled(unit)) => {
                    restarting.remove(&unit);
                    look_at(&unit)
                }
                Ok(UnitSignal::Restarting(unit)) => {
                    self.gauge.event();
                    restarting.entry(unit).or_insert_with(|| Instant::now() + RESTART_SOON);
                    continue;
                }
                Ok(UnitSignal::Files) => LookAt::Kind(KindName::Service),
                Err(error) => return error,
            };
            self.gauge.event();
            // Whoever asked for it was told of before.
            self.callers.settled().await;
            self.inbox.look_at(std::iter::once(&look_at));
        }
    }
}

fn look_at(unit: &UnitName) -> LookAt {
    LookAt::Resource(ResourceId::new(KindName::Service, unit.as_str()))
}

async fn wait_until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
