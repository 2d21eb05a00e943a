//! The loop itself: waits for the next thing that happens and hands it to whoever deals with it.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::events::Event;
use super::exposing;
use super::follow::{Branch, Follow};
use super::run::{Daemon, DaemonError, now, now_plus};
use super::service::Manager;
use super::setup::Setup;
use super::shop::Ended;
use super::timers::Timers;
use super::workshop::{PassRequest, Workshop};
use crate::control::{self, Access};
use crate::kind::LookAt;
use crate::model::{KindName, Trigger};
use crate::reconcile::Scope;
use crate::trigger::schedule::Spread;
use crate::trigger::{Inbox, Noticed};

/// While events are lost all the time, a full pass makes up for them so often: a twentieth of a core on a host with
/// thousands of files, and five seconds after the end everything is right.
const MADE_UP_EACH: Duration = Duration::from_secs(4);

/// What the loop listens to.
pub(super) struct Ears {
    pub events: UnboundedReceiver<Event>,
    pub terminate: Signal,
    pub interrupt: Signal,
    pub hangup: Signal,
    /// The end of the thread that touches the host.
    pub ended: Ended,
}

/// Whether the loop goes on.
#[derive(PartialEq, Eq)]
enum Flow {
    GoOn,
    Stop,
}

/// Who wants the settings read again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// The service manager, by a signal.
    OfTheManager,
    /// A person who enrolled the host: what the branch has is accepted as it is.
    OfAPerson,
}

impl Daemon {
    /// Until it is told to stop. Without the other thread it can't go on: a start anew can.
    pub(super) async fn listen(&mut self, ears: &mut Ears) -> Result<(), DaemonError> {
        let inbox = Arc::clone(&self.inbox);
        loop {
            let timer = self.timers.next();
            let pace = self.looks.wait(self.clock.since_boot()).map(now_plus);
            let event = tokio::select! {
                event = ears.events.recv() => event.unwrap_or(Event::Terminate),
                // While a pass runs, what is noticed gathers into the next one.
                noticed = paced(pace, &inbox), if !self.passing => Event::Noticed(noticed),
                () = wait_until(timer) => Event::Timer,
                _ = ears.terminate.recv() => Event::Terminate,
                _ = ears.interrupt.recv() => Event::Terminate,
                _ = ears.hangup.recv() => Event::Reload,
                () = ears.ended.wait() => return Err(DaemonError::Died),
            };
            if self.handle(event) == Flow::Stop {
                return Ok(());
            }
        }
    }

    fn handle(&mut self, event: Event) -> Flow {
        match event {
            Event::Noticed(noticed) => self.noticed(noticed),
            Event::Reached(stage) => self.reached(stage),
            Event::Passed(done) => self.passed(done),
            Event::Fetched(number, answer) => self.fetched(number, *answer),
            Event::Judged(basis, answer, refusal) => self.judged(basis, *answer, refusal),
            Event::Compiled(basis, answer) => self.compiled(basis, *answer),
            Event::Blamed(lines, answer) => self.blamed(lines, *answer),
            Event::Adopted(adoption, result) => self.adopted(*adoption, *result),
            Event::Viewed(view) => {
                self.view = *view;
                self.refresh();
                self.seek_proof();
            }
            Event::Awaited => self.awaited(),
            Event::Confirmed(result) => self.confirmed(result),
            Event::Asked(asked) => self.asked(*asked),
            Event::Wanted(scope) => self.want_pass(scope, Trigger::Request),
            Event::Scraped(answer) => self.scraped(answer),
            Event::Exposed(result) => self.exposed(result),
            Event::Timer => self.timer(),
            Event::Reload => self.reload(Word::OfTheManager),
            Event::Terminate => return Flow::Stop,
        }
        Flow::GoOn
    }

    fn noticed(&mut self, noticed: Noticed) {
        let mut scope = noticed.scope;
        if noticed.rearm {
            scope.merge(self.watches.rearm());
        }
        self.looks.take(self.clock.since_boot());
        if noticed.overflows > 0 {
            self.lost.extend(&noticed.gaps);
            self.make_up();
        }
        if scope != Scope::nothing() {
            let triggers = BTreeSet::from([Trigger::Watch]);
            let Noticed { witnesses, gaps, .. } = noticed;
            self.want(PassRequest { scope, triggers, witnesses, gaps });
        } else if noticed.rearm {
            // A watcher was lost, perhaps: that is told at once.
            self.refresh();
        }
    }

    /// One full pass for all events that were lost: at once, or, while they are being lost all the time, when the last
    /// such pass is long enough ago.
    fn make_up(&mut self) {
        let gap = MADE_UP_EACH.max(self.full_took * 10);
        let now = self.clock.since_boot();
        let wait = self.made_up.map_or(Duration::ZERO, |last| (last + gap).saturating_sub(now));
        self.timers.lost.get_or_insert_with(|| now_plus(wait));
    }

    fn timer(&mut self) {
        let at = now();
        if Timers::take_due(&mut self.timers.lost, at) {
            warn!("events were lost: one full pass makes up for them");
            self.made_up = Some(self.clock.since_boot());
            let triggers = BTreeSet::from([Trigger::Watch]);
            let gaps = std::mem::take(&mut self.lost);
            self.want(PassRequest { scope: Scope::Full, triggers, witnesses: Vec::new(), gaps });
        }
        if Timers::take_due(&mut self.timers.full_pass, at) {
            self.look_at_facts();
            self.go_on();
            self.want_pass(Scope::Full, Trigger::Interval);
        }
        if Timers::take_due(&mut self.timers.retry, at) {
            let scope = std::mem::replace(&mut self.retry, Scope::nothing());
            self.want_pass(scope, Trigger::Interval);
        }
        if Timers::take_due(&mut self.timers.resume, at) {
            info!("a suspension has ended: the declaration holds again");
            self.want_pass(Scope::Full, Trigger::Interval);
        }
        if Timers::take_due(&mut self.timers.undo, at) {
            let mut scope = Scope::nothing();
            scope.add(&LookAt::Kind(KindName::Firewall));
            self.want_pass(scope, Trigger::Interval);
        }
        if Timers::take_due(&mut self.timers.fetch, at) {
            self.ask_remote();
        }
        if Timers::take_due(&mut self.timers.sum, at) && !self.lines.sum_up_in_time(self.clock.since_boot()) {
            self.sum_up_later();
        }
        if Timers::take_due(&mut self.timers.pulse, at) {
            self.look_at_pulse();
        }
    }

    /// Feeds the watchdog if something was finished since the last look. If nothing was there to do, asks the
    /// other thread for a sign of life, which counts as finished work once it is given.
    fn look_at_pulse(&mut self) {
        let moved = self.manager.feed();
        self.timers.pulse = Manager::next_look(moved).map(now_plus);
        self.shop.knock();
    }

    pub(super) fn reload(&mut self, word: Word) {
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
        self.follow_again(&setup, word);
        self.place.window.set(setup.guard_window);
        self.place.tuning.set(setup.packages);
        self.hand_over(setup.access);
        self.setup = setup.clone();
        let shop = self.shop.clone();
        tokio::spawn(async move {
            let _ = shop.ask(move |workshop| workshop.obey(&setup)).await;
        });
        // What was refused may pass now: by other bounds, for another host.
        self.errands.reconsider();
        self.look_at_facts();
        self.ask_remote();
        self.want_pass(Scope::Full, Trigger::Request);
        self.is_stale = true;
        self.refresh();
    }

    /// Who may ask what from now on, and who may connect at all.
    fn hand_over(&mut self, access: Access) {
        *self.access.lock().unwrap_or_else(PoisonError::into_inner) = access;
        let metrics = self.place.socket.with_file_name(exposing::SOCKET);
        for socket in [&self.place.socket, &metrics] {
            if let Err(error) = control::hand_over(socket, access.readers) {
                let message = super::chain(&error);
                warn!("{message}");
                self.notes.push(message);
            }
        }
    }

    /// When the first of the suspensions ends by itself. An end that was waited for stays waited for until it was
    /// looked at, also when what is suspended is asked for in between: then it is no longer among them.
    pub(super) fn end_of_suspension(&self) -> Option<Instant> {
        let ends = self.view.suspensions.iter().filter_map(|suspension| suspension.until);
        let left =
            ends.map(|end| end.duration_since(self.clock.now())).filter(jiff::SignedDuration::is_positive);
        let first = left.min().map(|left| now_plus(left.unsigned_abs() + Duration::from_millis(50)));
        [first, self.timers.resume].into_iter().flatten().min()
    }

    /// Follows what the settings name now. Of another branch nothing was accepted yet.
    fn follow_again(&mut self, setup: &Setup, word: Word) {
        let before = self.follow.take();
        let before = before.filter(|before| setup.remote.as_ref().map(Branch::of) == Some(before.branch()));
        if before.is_none() {
            self.errands.turn();
            self.timers.fetch = None;
        }
        self.follow = match (before, setup.remote.clone()) {
            (Some(before), Some(remote)) => {
                Some(before.anew(remote, setup.interval, Spread::of(&setup.host)))
            }
            (_, remote) => {
                remote.map(|remote| Follow::new(remote, setup.interval, Spread::of(&setup.host), None))
            }
        };
        if word == Word::OfAPerson {
            self.follow.iter_mut().for_each(|follow| follow.accepted = None);
            let shop = self.shop.clone();
            tokio::spawn(async move {
                let _ = shop.ask(Workshop::accept_anew).await;
            });
        }
    }
}

async fn paced(pace: Option<Instant>, inbox: &Inbox) -> Noticed {
    if let Some(due) = pace {
        sleep_until(due).await;
    }
    inbox.take().await
}

async fn wait_until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
