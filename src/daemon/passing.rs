//! When a pass is run, over what, and what follows from it. One at a time; what is wanted meanwhile is one more.

use std::collections::BTreeSet;
use std::time::Duration;

use tracing::warn;

use super::events::Event;
use super::journal;
use super::run::{Daemon, now_plus};
use super::shop::Closed;
use super::tally;
use super::workshop::{PassDone, PassEnded, PassRequest, Stock, View};
use crate::control::wire::Progress;
use crate::model::Trigger;
use crate::reconcile::pass::Stage;
use crate::reconcile::{PassReport, Scope};
use crate::record::Noted;
use crate::status::PassSummary;
use crate::status::event::{self, Occasion};

impl Daemon {
    pub(super) fn want_pass(&mut self, scope: Scope, trigger: Trigger) {
        self.queue_pass(scope, trigger);
        self.start_pass();
    }

    /// Wants a pass that someone else starts.
    pub(super) fn queue_pass(&mut self, scope: Scope, trigger: Trigger) {
        let triggers = BTreeSet::from([trigger]);
        self.queue(PassRequest { scope, triggers, witnesses: Vec::new(), gaps: BTreeSet::new() });
    }

    pub(super) fn want(&mut self, request: PassRequest) {
        self.queue(request);
        self.start_pass();
    }

    fn queue(&mut self, request: PassRequest) {
        match &mut self.pending {
            Some(pending) => {
                pending.scope.merge(request.scope);
                pending.triggers.extend(request.triggers);
                pending.witnesses.extend(request.witnesses);
                pending.gaps.extend(request.gaps);
            }
            None => self.pending = Some(request),
        }
    }

    pub(super) fn start_pass(&mut self) {
        if self.passing || self.view.desired.is_none() {
            return;
        }
        let Some(request) = self.pending.take() else { return };
        self.passing = true;
        if request.scope == Scope::Full {
            // Watches are themselves reconciled: a full pass makes up for whatever they missed.
            self.watches.reconcile(self.view.desired.as_deref());
            self.syncs_pass();
            self.tell_syncs(&Progress::Observing);
            self.timers.full_pass = Some(now_plus(self.spread().interval(self.setup.full_pass)));
        }
        let (shop, sender) = (self.shop.clone(), self.sender.clone());
        tokio::spawn(async move {
            let done = shop.ask(move |workshop| workshop.pass(request)).await;
            let _ = sender.send(Event::Passed(done));
        });
    }

    pub(super) fn reached(&mut self, stage: Stage) {
        self.manager.ready();
        let progress = match stage {
            Stage::Observed(0) => return,
            Stage::Observed(changes) => {
                Progress::Applying { changes: u32::try_from(changes).unwrap_or(u32::MAX) }
            }
            Stage::Verifying => Progress::Verifying,
        };
        self.tell_syncs(&progress);
    }

    /// Tells the journal and whoever follows what a pass saw and did.
    fn tell(&mut self, report: &PassReport, summary: &PassSummary, view: &View, head: Option<Noted>) {
        let revision = view.desired.as_ref().and_then(|desired| desired.revision.as_ref());
        let commit = revision.map(|revision| &revision.commit);
        let at = self.clock.now();
        let told =
            event::of_pass(report, Occasion { pass: summary.id, commit, at }, &self.view.lines, &view.lines);
        let lines = (&mut self.lines, self.clock.since_boot());
        journal::pass(&told, report, summary, revision, lines);
        if self.lines.are_held_back() {
            self.sum_up_later();
        }
        // In a storm not each of them: the next one is later in the chain, and covers those before.
        let may_tell = !self.lines.are_held_back() || self.heads.take(self.clock.since_boot());
        head.iter().filter(|_| may_tell).for_each(journal::head);
        self.tallies.pass(report, summary, &tally::result(report), &told);
        self.is_stale = true;
        self.followers.tell(at, told);
    }

    /// Says how many lines were held back, even if no further one comes.
    pub(super) fn sum_up_later(&mut self) {
        self.timers.sum.get_or_insert_with(|| now_plus(journal::SUMMED_AFTER));
    }

    pub(super) fn passed(&mut self, ended: Result<PassEnded, Closed>) {
        self.passing = false;
        // That the thread is gone is said by its end.
        let Ok(PassEnded { done, next }) = ended else { return };
        self.timers.retry = next.as_ref().map(|(due, _)| {
            now_plus(due.saturating_sub(self.clock.since_boot()) + Duration::from_millis(50))
        });
        self.retry = next.map_or_else(Scope::nothing, |(_, scope)| scope);
        if let Some(done) = done {
            let PassDone { report, summary, view, stock, head } = *done;
            if stock == Stock::Short {
                warn!("a content was lost from the store: it is taken from the repository again");
                self.errands.lost();
            }
            self.tell(&report, &summary, &view, head);
            self.view = view;
            self.seek_authors(&report);
            if summary.full {
                self.full_took = report.duration;
            }
            let was_full = summary.full;
            let triggers = summary.triggers.iter().copied().collect();
            self.last_pass = Some(summary);
            self.manager.ready();
            self.refresh();
            self.seek_proof();
            if was_full {
                self.finish_syncs(&report);
            }
            if report.again {
                // What waited can go on now: for the same reasons.
                let (witnesses, gaps) = (Vec::new(), BTreeSet::new());
                self.queue(PassRequest { scope: Scope::Full, triggers, witnesses, gaps });
            }
        }
        // What waits to be put in force comes before another pass under what is.
        self.go_on();
        self.start_pass();
    }
}
