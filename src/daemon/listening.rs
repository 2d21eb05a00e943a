//! The loop itself: waits for the next thing that happens and hands it to whoever deals with it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::signal::unix::Signal;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::events::Event;
use super::run::{Daemon, follow, now, now_plus};
use super::service::Manager;
use super::timers::Timers;
use super::workshop::PassRequest;
use crate::model::Trigger;
use crate::reconcile::Scope;
use crate::trigger::Noticed;

/// What the loop listens to.
pub(super) struct Ears {
    pub events: UnboundedReceiver<Event>,
    pub terminate: Signal,
    pub interrupt: Signal,
    pub hangup: Signal,
}

/// Whether the loop goes on.
#[derive(PartialEq, Eq)]
pub(super) enum Flow {
    GoOn,
    Stop,
}

impl Daemon {
    pub(super) async fn listen(&mut self, ears: &mut Ears) {
        let inbox = Arc::clone(&self.inbox);
        loop {
            let timer = self.timers.next();
            let event = tokio::select! {
                event = ears.events.recv() => event.unwrap_or(Event::Terminate),
                // While a pass runs, what is noticed gathers into the next one.
                noticed = inbox.take(), if !self.passing => Event::Noticed(noticed),
                () = wait_until(timer) => Event::Timer,
                _ = ears.terminate.recv() => Event::Terminate,
                _ = ears.interrupt.recv() => Event::Terminate,
                _ = ears.hangup.recv() => Event::Reload,
            };
            if self.handle(event) == Flow::Stop {
                return;
            }
        }
    }

    fn handle(&mut self, event: Event) -> Flow {
        match event {
            Event::Noticed(noticed) => self.noticed(noticed),
            Event::Reached(stage) => self.reached(stage),
            Event::Passed(done) => return self.passed(done),
            Event::Fetched(answer) => self.fetched(*answer),
            Event::Compiled(commit, answer) => self.compiled(commit, *answer),
            Event::Adopted(desired, result) => self.adopted(&desired, *result),
            Event::Viewed(view) => {
                self.view = *view;
                self.refresh();
                self.seek_proof();
            }
            Event::Awaited => self.awaited(),
            Event::Confirmed(result) => self.confirmed(result),
            Event::Asked(asked) => self.asked(*asked),
            Event::Wanted(scope) => self.want_pass(scope, Trigger::Request),
            Event::Timer => self.timer(),
            Event::Reload => self.reload(),
            Event::Terminate => {
                self.manager.stopping();
                self.stopping.store(true, Ordering::Relaxed);
                return Flow::Stop;
            }
        }
        Flow::GoOn
    }

    fn noticed(&mut self, noticed: Noticed) {
        let mut scope = noticed.scope;
        if noticed.rearm {
            scope.merge(self.watches.rearm());
        }
        if noticed.overflows > 0 {
            warn!(overflows = noticed.overflows, "events were lost: one full pass makes up for them");
        }
        if scope != Scope::nothing() {
            let triggers = BTreeSet::from([Trigger::Watch]);
            let has_gaps = noticed.overflows > 0;
            self.want(PassRequest { scope, triggers, witnesses: noticed.witnesses, has_gaps });
        }
    }

    fn timer(&mut self) {
        let at = now();
        if Timers::take_due(&mut self.timers.full_pass, at) {
            self.want_pass(Scope::Full, Trigger::Interval);
        }
        if Timers::take_due(&mut self.timers.retry, at) {
            let scope = std::mem::replace(&mut self.retry, Scope::nothing());
            self.want_pass(scope, Trigger::Interval);
        }
        if Timers::take_due(&mut self.timers.fetch, at) {
            self.fetch();
        }
        if Timers::take_due(&mut self.timers.pulse, at) {
            self.look_at_pulse();
        }
    }

    /// Feeds the watchdog if something was finished since the last look. If nothing was there to do, asks the
    /// other thread for a sign of life, which counts as finished work once it is given.
    fn look_at_pulse(&mut self) {
        self.manager.feed();
        self.timers.pulse = Manager::pulse_interval().map(now_plus);
        let shop = self.shop.clone();
        tokio::spawn(async move {
            let _ = shop.ask(|_| ()).await;
        });
    }

    pub(super) fn reload(&mut self) {
        let setup = match (self.place.load)() {
            Ok(setup) => setup,
            Err(faults) => {
                warn!("the settings can't be used, the old ones stay in force:\n{faults}");
                self.notes =
                    vec![format!("the settings can't be used, the old ones stay in force: {faults}")];
                return self.refresh();
            }
        };
        info!("the settings were read again");
        self.notes.clear();
        let accepted = self.follow.as_ref().and_then(|follow| follow.accepted.clone());
        self.follow = follow(&setup, accepted.or_else(|| self.commit_in_force()));
        let (mode, bounds) = (setup.mode, setup.bounds.clone());
        self.place.window.set(setup.guard_window);
        self.setup = setup;
        let shop = self.shop.clone();
        tokio::spawn(async move {
            let _ = shop.ask(move |workshop| (workshop.mode, workshop.bounds) = (mode, bounds)).await;
        });
        if self.follow.is_some() {
            self.fetch();
        }
        self.want_pass(Scope::Full, Trigger::Request);
        self.refresh();
    }
}

async fn wait_until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
