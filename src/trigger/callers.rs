//! Notes who asks systemd over the system bus to change units. It wakes nobody: what came of a call is told by the
//! unit's own signals, and whoever takes those finds the caller noted.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};

use super::gauge::Gauge;
use super::inbox::Inbox;
use crate::host::clock::Clock;
use crate::host::process;
use crate::host::units::{UnitCall, UnitCalls, UnitError, UnitName};
use crate::model::{Caught, Deeds, Evidence, Subject, Witness};

/// The waits between attempts to listen: as for units themselves.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// What came of a call is not kept waiting longer than this for who made it.
const LONGEST_ASKED: Duration = Duration::from_millis(100);

/// Who calls, as far as it is known yet.
pub(super) struct Callers {
    root: PathBuf,
    pub(super) gauge: Gauge,
    inbox: Arc<Inbox>,
    clock: Arc<dyn Clock>,
    /// Held while it is asked whose a call is.
    asking: Mutex<()>,
}

impl Callers {
    pub fn new(root: PathBuf, inbox: Arc<Inbox>, clock: Arc<dyn Clock>) -> Self {
        let gauge = Gauge::new("service", "dbus-monitor");
        Callers { root, gauge, inbox, clock, asking: Mutex::new(()) }
    }

    /// Once this gives, whoever was heard before is noted.
    pub async fn settled(&self) {
        let _: Result<MutexGuard<'_, ()>, _> = tokio::time::timeout(LONGEST_ASKED, self.asking.lock()).await;
    }

    /// Listens for calls about these units, for ever.
    pub async fn watch(&self, units: &[UnitName]) {
        let mut wait = FIRST_WAIT;
        loop {
            let error = self.hear(units, &mut wait).await;
            let why = format!("who asks systemd for changes over D-Bus is not told: {error}");
            self.gauge.deaf(self.clock.now(), why);
            // Who called meanwhile is not known here.
            self.inbox.missed(Evidence::Bus);
            self.inbox.rearm(std::iter::empty());
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    async fn hear(&self, units: &[UnitName], wait: &mut Duration) -> UnitError {
        let mut calls = match UnitCalls::listen(&self.root).await {
            Ok(calls) => calls,
            Err(error) => return error,
        };
        self.gauge.live(self.clock.now(), units.len());
        loop {
            let call = match calls.next().await {
                Ok(call) => call,
                Err(error) => return error,
            };
            *wait = FIRST_WAIT;
            let about: Vec<&String> =
                call.units.iter().filter(|name| units.iter().any(|unit| unit.as_str() == *name)).collect();
            if about.is_empty() {
                continue;
            }
            let _asking = self.asking.lock().await;
            let pid = calls.caller_of(&call).await;
            if pid == Some(std::process::id()) {
                continue;
            }
            self.gauge.event();
            let witness = self.witness(&call, pid);
            for unit in about {
                let subject = Subject::Unit { unit: unit.clone(), verb: call.verb };
                self.inbox.testify(Witness { subject, ..witness.clone() });
            }
        }
    }

    fn witness(&self, call: &UnitCall, pid: Option<u32>) -> Witness {
        Witness {
            subject: Subject::Unit { unit: String::new(), verb: call.verb },
            at: self.clock.now(),
            since_boot: self.clock.since_boot(),
            source: Evidence::Bus,
            pid,
            caught: pid.map_or(Caught::Gone(None), process::look_at_once),
            deeds: Deeds { wrote: true, ..Deeds::default() },
        }
    }
}
