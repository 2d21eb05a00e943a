//! What the one thread that touches the host works with: host, engine, record, stores, and how everything stands.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use jiff::Timestamp;
use tracing::warn;

use super::bounds::Bounds;
use super::errand::Basis;
use super::ground::Ground;
use super::setup::Setup;
use super::tally;
use crate::attribution::gather::Inquiry;
use crate::guard::{self, firewall::Awaiting, firewall::Confirmation};
use crate::host::files::Root;
use crate::host::{Host, memory};
use crate::keep::{Contents, Keep};
use crate::kind::Desired;
use crate::model::{
    Attribution, Digest, DriftMode, Evidence, Health, KindName, ResourceId, ResourceStatus, Sync, Trigger,
    Verdict, Witness,
};
use crate::reconcile::gate::Patience;
use crate::reconcile::pass::{Removals, Stage};
use crate::reconcile::perils::Task;
use crate::reconcile::report::Seen;
use crate::reconcile::{Engine, Order, PassReport, Purpose, Scope, World, pass};
use crate::record::{self, Noted, Record};
use crate::status::standing::Standing;
use crate::status::{PassSummary, ResourceLine, SuspensionLine};

/// Corrections are shown in the status for this long; the history has all of them.
const CORRECTED_SHOWN_FOR: Duration = Duration::from_secs(3600);

/// Without anything done, the head of the history is noted so often at most.
const HEAD_EVERY: Duration = Duration::from_secs(3600);

/// Tidying reads every note of what is kept: not in every full pass.
const TIDY_EVERY: Duration = Duration::from_secs(24 * 3600);

/// The tools and the memory of the thread that touches the host.
pub struct Workshop {
    /// The host.
    pub host: Host,
    /// The kinds at work.
    pub engine: Engine,
    /// The durable memory.
    pub record: Record,
    /// Contents to lay down.
    pub contents: Arc<Contents>,
    /// What was replaced or removed.
    pub keep: Keep,
    /// Where that lies.
    pub(super) kept: Root,
    /// The state folder.
    pub state: Root,
    /// What is wrong with what lies in it.
    pub(super) ground: Ground,
    /// How everything stands.
    pub standing: Standing,
    /// The local settings' mode.
    pub mode: DriftMode,
    /// What holds whatever is declared.
    pub bounds: Bounds,
    /// Why a new firewall can be confirmed by a person alone, if that is not simply what the settings say.
    pub unprovable: Option<&'static str>,
    /// What was found on opening that a person should know.
    pub notes: Vec<String>,
    /// Set when the agent is to stop.
    pub stopping: Arc<AtomicBool>,
    /// Told how far a pass is.
    pub progress: Box<dyn Fn(Stage) + Send>,
    /// Tells who made a resource differ, asked once a pass for each drift that the host's own moving made. The
    /// corrections are made by then.
    pub inquiry: Inquiry,
    /// Root of the declared fingerprint.
    pub(super) declared: Digest,
    /// What the desired state in force was compiled from, if that is known.
    pub(super) basis: Option<Basis>,
    /// When it was tidied last, on the boot-time clock.
    pub(super) tidied: Option<Duration>,
    /// When the head of the history was noted last, on the boot-time clock.
    pub(super) head_noted: Option<Duration>,
}

/// A pass that is asked for.
#[derive(Clone, Debug)]
pub struct PassRequest {
    /// What to look at.
    pub scope: Scope,
    /// Why.
    pub triggers: BTreeSet<Trigger>,
    /// Who was seen making changes.
    pub witnesses: Vec<Witness>,
    /// The interfaces that lost events, or whose witnesses were too many: somebody may have been missed.
    pub gaps: BTreeSet<Evidence>,
}

/// What became of a pass that was asked for.
#[derive(Clone, Debug)]
pub struct PassEnded {
    /// What it found and did; none if there was nothing to look at.
    pub done: Option<Box<PassDone>>,
    /// When something that waits is due, on the boot-time clock, and what.
    pub next: Option<(Duration, Scope)>,
}

/// A pass that was run.
#[derive(Clone, Debug)]
pub struct PassDone {
    /// What it found and did.
    pub report: PassReport,
    /// In short.
    pub summary: PassSummary,
    /// How everything stands now.
    pub view: View,
    /// Whether all contents that were wanted were there.
    pub stock: Stock,
    /// The head of the history, if it is to be noted in the journal now.
    pub head: Option<Noted>,
}

/// Whether the store of contents has what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stock {
    /// As far as was asked.
    Whole,
    /// Something is missing or damaged: it has to be compiled again.
    Short,
}

/// How everything stands, as the status shows it.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The desired state in force; none before the first.
    pub desired: Option<Arc<Desired>>,
    /// Root of its fingerprint.
    pub declared: Option<Digest>,
    /// What is not simply as declared, and what was corrected lately.
    pub lines: Vec<ResourceLine>,
    /// How many resources have which status.
    pub counts: BTreeMap<KindName, BTreeMap<ResourceStatus, u32>>,
    /// In sync or not, and how well; none before everything was looked at under it.
    pub verdict: Option<(Sync, Health)>,
    /// What is suspended.
    pub suspensions: Vec<SuspensionLine>,
    /// What a person should know.
    pub notes: Vec<String>,
    /// How a firewall change stands that had to be confirmed.
    pub confirmation: Option<Awaiting>,
    /// The head of the history that was noted last.
    pub head: Option<Noted>,
    /// When the desired state in force was put in force.
    pub applied_at: Option<Timestamp>,
    /// The longest wait for a next attempt, of each kind that waits for one.
    pub waits: BTreeMap<KindName, Duration>,
    /// Who keeps changing contested resources back, as far as is known.
    pub writers: BTreeMap<ResourceId, Attribution>,
}

impl Workshop {
    /// Runs a pass all the way and writes it down, unless what was noticed is the echo of our own work, or is known.
    pub fn pass(&mut self, request: PassRequest) -> PassEnded {
        let request = self.on_firm_ground(request);
        let done = self.look(request).map(Box::new);
        PassEnded { done, next: self.next_look() }
    }

    fn look(&mut self, request: PassRequest) -> Option<PassDone> {
        let PassRequest { scope, triggers, witnesses, gaps } = request;
        let began = self.host.clock.since_boot();
        // Before anything is put right: what a program was is soon forgotten.
        let asks = self.asks_who();
        if asks {
            self.inquiry.hear(&self.host, witnesses);
        }
        gaps.into_iter().for_each(|source| self.inquiry.missed(source, began));
        let only_noticed = triggers.iter().all(|trigger| *trigger == Trigger::Watch);
        let scope = if only_noticed { self.news(scope, began)? } else { scope };
        let started = self.host.clock.now();
        let commit = self.engine.desired().revision.as_ref().map(|revision| revision.commit.clone());
        let author = self.engine.desired().revision.as_ref().map(|revision| revision.author.clone());
        let number = self.record.begin_pass(triggers.clone(), tally::scope(&scope), commit);
        author.iter().for_each(|author| self.record.declared_by(author));
        let patience = match triggers.contains(&Trigger::Request) {
            true => Patience::Impatient,
            false => Patience::Patient,
        };
        let removals = self.removals();
        let order =
            Order { scope: scope.clone(), purpose: Purpose::Apply, mode: self.mode, patience, removals };
        let mut report = self.run(&order);
        if asks {
            self.attribute(&mut report);
        }
        self.engine.perils.rest();
        self.inquiry.saw(&scope, &report, began);
        let (counts, result) = (tally::counts(&report), tally::result(&report));
        let finished = number.and_then(|number| self.record.finish_pass(counts, result).map(|_| number));
        let id = match finished {
            Ok(number) => number.0,
            Err(error) => {
                report.record_fault.get_or_insert_with(|| error.to_string());
                0
            }
        };
        self.wrote_down(&scope, report.record_fault.as_deref());
        self.standing.absorb(&report, &scope, self.host.clock.now());
        let open = self.record.open_drifts();
        self.standing.date(|resource| open.get(resource).map(|drift| drift.seen));
        if triggers.contains(&Trigger::Interval) {
            self.tidy_daily();
        } else if self.keep.is_full() {
            self.tidy_keep();
        }
        let head = self.head_to_note(&report);
        let view = self.view();
        match scope {
            Scope::Full => {
                self.record.rest();
                memory::rest();
            }
            Scope::Some(_) => memory::give_back(),
        }
        let summary = tally::summary(id, triggers, started, &scope, &report);
        let stock = if self.contents.has_lost() { Stock::Short } else { Stock::Whole };
        Some(PassDone { report, summary, view, stock, head })
    }

    /// The head of the history, if it is to be noted outside the record now: after each pass that did something, and once
    /// an hour otherwise.
    fn head_to_note(&mut self, report: &PassReport) -> Option<Noted> {
        let now = self.host.clock.since_boot();
        let is_time = self.head_noted.is_none_or(|last| now.saturating_sub(last) >= HEAD_EVERY);
        if !is_time && !report.findings.iter().any(|seen| seen.tried) {
            return None;
        }
        self.head_noted = Some(now);
        match self.record.head_to_note() {
            Ok(head) => head,
            Err(error) => {
                warn!("the head of the history could not be noted: {}", super::chain(&error));
                None
            }
        }
    }

    /// Holds to these settings from now on.
    pub fn obey(&mut self, setup: &Setup) {
        (self.mode, self.bounds, self.unprovable) = (setup.mode, setup.bounds.clone(), setup.unprovable);
        self.keep.limit(setup.keep);
        self.host.root.protect(self.bounds.protect.clone());
        // What exceeds a new limit goes with the next full pass, and not a day later.
        self.tidied = None;
    }

    /// How everything stands.
    pub fn view(&self) -> View {
        let desired = self.engine.desired();
        let is_in_force = !desired.is_empty();
        let shown_after = self.host.clock.now() - CORRECTED_SHOWN_FOR;
        let (confirmation, undone) = guard::firewall::shown(&self.host);
        // A later revision may have taken back what was undone.
        let is_over = matches!(confirmation, Confirmation::Undone { .. })
            && self.standing.is_as_declared(KindName::Firewall);
        let undone = undone.filter(|_| !is_over);
        let confirmation = Awaiting { confirmation, at: self.host.clock.now() };
        let unprovable = self.unprovable.filter(|_| !desired.firewall.is_empty()).map(str::to_owned);
        let ground = self.ground.notes();
        let notes =
            self.notes.iter().chain(&ground).chain(self.standing.notes()).chain(&undone).chain(&unprovable);
        let lines = self.standing.lines(shown_after);
        let contested = lines.iter().filter(|line| line.status == ResourceStatus::Contested);
        let writer =
            |line: &ResourceLine| Some((line.resource.clone(), self.engine.writer(&line.resource)?.clone()));
        let writers = contested.filter_map(writer).collect();
        View {
            desired: is_in_force.then(|| Arc::clone(desired)),
            declared: is_in_force.then_some(self.declared),
            lines,
            counts: self.standing.counts(),
            verdict: self
                .standing
                .verdict()
                .filter(|_| is_in_force)
                .map(|verdict| self.ground.judge(verdict)),
            suspensions: self.record.active_suspensions().iter().map(suspension_line).collect(),
            notes: notes.cloned().collect(),
            confirmation: Some(confirmation),
            head: self.record.noted(),
            applied_at: self.record.fact(record::Fact::LastApplied).filter(|_| is_in_force),
            waits: self.engine.waits(self.host.clock.since_boot()),
            writers,
        }
    }

    /// Makes a plan over everything and changes nothing.
    pub fn plan(&mut self) -> PassReport {
        let order = Order {
            scope: Scope::Full,
            purpose: Purpose::Plan,
            mode: self.mode,
            patience: Patience::Impatient,
            removals: self.removals(),
        };
        let report = self.run(&order);
        memory::give_back();
        report
    }

    /// Whether it is asked who made what differs: not if the agent keeps dying of that.
    fn asks_who(&self) -> bool {
        let shunned = self.engine.perils.shuns(&Task::Attribution, self.host.clock.now());
        if shunned.is_none() {
            self.engine.perils.begin(&Task::Attribution);
        }
        shunned.is_none()
    }

    /// Asks who made what differ, and writes it down.
    fn attribute(&mut self, report: &mut PassReport) {
        let mut drifted: Vec<&mut Seen> =
            report.findings.iter_mut().filter(|seen| seen.verdict == Verdict::Drifted).collect();
        self.engine.perils.begin(&Task::Attribution);
        let found = self.inquiry.answer(&self.host, &drifted);
        self.engine.perils.survived(&Task::Attribution);
        let mut known = Vec::new();
        for (seen, attribution) in drifted.iter_mut().zip(found) {
            self.engine.changed_by(&seen.resource, &attribution);
            known.extend(seen.drift.map(|number| (record::DriftId(number), attribution.clone())));
            seen.attribution = Some(attribution);
        }
        if let Err(error) = self.record.attribute(&known) {
            report.record_fault.get_or_insert_with(|| error.to_string());
        }
    }

    fn removals(&self) -> Removals {
        let revision = self.engine.desired().revision.as_ref();
        let approval = revision.and_then(|revision| self.record.approval(revision.commit.as_str()));
        let approved = approval.map(|approval| approval.removals).unwrap_or_default();
        Removals { limit: self.bounds.removal_limit, approved }
    }

    fn tidy_keep(&self) {
        if let Err(error) = self.keep.tidy(self.host.clock.now()) {
            warn!("what was kept could not be tidied: {}", error.chain());
        }
    }

    /// Lets go of what was kept, and of what was written down, for long enough.
    fn tidy_daily(&mut self) {
        let now = self.host.clock.since_boot();
        if self.tidied.is_some_and(|last| now.saturating_sub(last) < TIDY_EVERY) {
            return;
        }
        self.tidied = Some(now);
        self.tidy_keep();
        if let Err(error) = self.record.tidy(&self.bounds.history) {
            warn!("the record could not be tidied: {error}");
        }
    }

    /// What of a scope is more than the echo of our own work, and not known to differ anyway. What is left out as an
    /// echo is as it was left.
    fn news(&mut self, scope: Scope, began: Duration) -> Option<Scope> {
        let scope = self.engine.without_waiting(&self.host, scope);
        if scope == Scope::nothing() {
            return None;
        }
        let left = self.engine.without_echoes(&self.host, scope.clone());
        if left.is_none() {
            self.inquiry.is_untouched(&scope, began);
        }
        left
    }

    fn run(&mut self, order: &Order) -> PassReport {
        // A plan is nobody's progress.
        let progress: &dyn Fn(Stage) = match order.purpose {
            Purpose::Apply => &*self.progress,
            Purpose::Plan => &|_| (),
        };
        let world = World {
            host: &self.host,
            contents: &self.contents,
            keep: &self.keep,
            stopping: &self.stopping,
            progress,
        };
        pass(&mut self.engine, &world, order, &mut self.record)
    }

    pub(super) fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}

fn suspension_line(suspension: &record::Suspension) -> SuspensionLine {
    SuspensionLine {
        target: suspension.target.to_string(),
        reason: suspension.reason.clone(),
        owner: suspension.owner.clone(),
        since: suspension.since,
        until: suspension.until,
    }
}
