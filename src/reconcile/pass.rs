//! One pass, top to bottom.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::apply::apply;
use super::attempts;
use super::case::Case;
use super::engine::Engine;
use super::gate::{self, Gate, Judgement, Patience};
use super::lane;
use super::levels::LevelView;
use super::memory::{Converged, Intent, Memory, MemoryError, Resolution};
use super::perils::Task;
use super::report::PassReport;
use super::scope::Scope;
use super::verify::verify;
use super::waiting::Heed;
use crate::host::Host;
use crate::host::counters::COUNTERS;
use crate::host::pulse::PULSE;
use crate::keep::{Contents, Keep};
use crate::kind::DiffCx;
use crate::model::plan::Held;
use crate::model::{DriftMode, Key, KindName, Plan, PlannedChange, ResourceId};

/// Where a pass works.
pub struct World<'a> {
    /// The host.
    pub host: &'a Host,
    /// Contents the declaration wants laid down.
    pub contents: &'a Contents,
    /// Where what would be lost is kept.
    pub keep: &'a Keep,
    /// Set when the agent is to stop: the step at hand is finished, the next one is not begun.
    pub stopping: &'a AtomicBool,
    /// Told how far the pass is.
    pub progress: &'a dyn Fn(Stage),
}

/// How far a pass is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Everything was read and compared; so many changes are about to be made.
    Observed(usize),
    /// The changes were made and are looked at once more.
    Verifying,
}

/// What a pass is asked to do.
#[derive(Clone, Debug)]
pub struct Order {
    /// What to look at.
    pub scope: Scope,
    /// How far to go.
    pub purpose: Purpose,
    /// The local settings' mode.
    pub mode: DriftMode,
    /// Whether waits are kept.
    pub patience: Patience,
    /// How much may be taken away.
    pub removals: Removals,
}

/// How far a pass goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Up to the plan: nothing is changed and nothing is written down.
    Plan,
    /// All the way.
    Apply,
}

/// How much may be taken away without a person's word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removals {
    /// What the local settings allow in one pass; the declaration may say less.
    pub limit: u32,
    /// What a person let go: it does not count.
    pub approved: BTreeSet<ResourceId>,
}

/// What is as declared, and what is gone as asked: written down at the end of the pass.
#[derive(Default)]
pub(super) struct Settled {
    pub converged: Vec<Converged>,
    forgotten: Vec<ResourceId>,
}

/// Runs one pass: observe, diff, plan, apply, verify.
pub fn pass(engine: &mut Engine, world: &World<'_>, order: &Order, memory: &mut dyn Memory) -> PassReport {
    let started = world.host.clock.since_boot();
    let work = COUNTERS.read();
    let scope = engine.widen(&order.scope);
    engine.attempts.forgive(started);
    engine.reactions.forgive(started);

    let caught_up = match order.purpose {
        Purpose::Plan => Ok(()),
        Purpose::Apply => engine.catch_up(memory),
    };
    let mut report = PassReport::default();
    let mut settled = Settled::default();
    let mut cases = survey(engine, world, &scope, order, memory, &mut settled, &mut report);
    let limit = engine.desired.policy.removal_limit.min(order.removals.limit);
    let held = engine.held_beside(&scope, &report.blind);
    let held = hold_removals_above_limit(&mut cases, limit, &order.removals.approved, held);
    if order.purpose == Purpose::Apply {
        engine.held_removals = held;
    }
    report.plan = plan(engine, &cases);
    let elapsed = || world.host.clock.since_boot().saturating_sub(started);
    report.phases.observe = elapsed();
    (world.progress)(Stage::Observed(cases.iter().filter(|case| case.held.is_none()).count()));

    if order.purpose == Purpose::Apply {
        let done = caught_up.and_then(|()| write_down(&mut cases, memory)).and_then(|()| {
            let applied = apply(engine, world, &mut cases, memory, &mut report);
            // Whatever could not be written down meanwhile: what was changed is looked at.
            report.phases.apply = elapsed().saturating_sub(report.phases.observe);
            (world.progress)(Stage::Verifying);
            verify(engine, world, &mut cases, started, memory, &mut settled, &mut report);
            applied.and(conclude(&cases, &scope, settled, memory, &report))
        });
        let differs = |id: &ResourceId| cases.iter().any(|case| case.finding.resource == *id);
        engine.attempts.found_right(|id| scope.contains(id) && !differs(id) && !report.is_unread(id));
        let read = |kind: &KindName| !report.blind.iter().any(|(blind, _)| blind == kind);
        let kinds = engine.lanes.iter().map(|lane| lane.kind());
        for kind in kinds.filter(|kind| scope.of_kind(*kind).is_some() && read(kind)) {
            engine.perils.survived(&Task::Kind(kind));
        }
        report.record_fault = done.err().map(|fault| fault.to_string());
        let waits = waits(engine, &cases, started);
        engine.waiting.found(&scope, waits, started);
    }
    report.findings = cases.into_iter().map(Case::into_seen).collect();
    engine.lanes.iter_mut().for_each(|lane| lane.rest());
    engine.perils.rest();
    report.work = COUNTERS.read().since(work);
    report.duration = elapsed();
    report.phases.verify = report.duration.saturating_sub(report.phases.observe + report.phases.apply);
    report
}

/// What is not right and has to wait, and until when.
fn waits(engine: &Engine, cases: &[Case], now: Duration) -> Vec<(ResourceId, Duration, Heed)> {
    let wrong = cases.iter().filter(|case| case.took.is_none()).map(|case| &case.finding);
    let heed = |finding| match engine.attempts.outcome(finding) {
        Some(attempts::Outcome::Fine) => Heed::Time,
        Some(attempts::Outcome::InVain { .. } | attempts::Outcome::Failed(_)) | None => Heed::Notices,
    };
    wrong.filter_map(|one| Some((one.resource.clone(), engine.due(one, now)?, heed(one)))).collect()
}

/// Observes and compares lane by lane, and judges each finding at once: what a later kind reacts to is only
/// what an earlier kind will really change.
fn survey(
    engine: &mut Engine,
    world: &World<'_>,
    scope: &Scope,
    order: &Order,
    memory: &dyn Memory,
    settled: &mut Settled,
    report: &mut PassReport,
) -> Vec<Case> {
    let suspended = |id: &ResourceId| memory.suspended(id);
    // Who says `agentctl sync` has it tried, whatever it may cost.
    let is_dared = (order.purpose, order.patience) == (Purpose::Apply, Patience::Impatient);
    let (perils, at) = (&engine.perils, world.host.clock.now());
    let shuns = |task: &Task| if is_dared { None } else { perils.shuns(task, at) };
    let shunned = |id: &ResourceId| shuns(&Task::Resource(id.clone()));
    let gate = Gate {
        shunned: &shunned,
        local: order.mode,
        policy: &engine.desired.policy,
        attempts: &engine.attempts,
        waiting: &engine.waiting,
        reactions: &engine.reactions,
        suspended: &suspended,
        now: world.host.clock.since_boot(),
        patience: order.patience,
    };
    let mut changing = BTreeSet::new();
    let mut cases = Vec::new();
    for lane in &mut engine.lanes {
        let Some(only) = scope.of_kind(lane.kind()) else { continue };
        let task = Task::Kind(lane.kind());
        if let Some(why) = shuns(&task) {
            report.blind.push((lane.kind(), why));
            continue;
        }
        perils.begin(&task);
        if let Err(why) = lane.observe(world.host, only) {
            report.blind.push((lane.kind(), why));
            continue;
        }
        report.observed += only.map_or_else(|| lane.declared(), BTreeSet::len);
        PULSE.beat();
        report.unknown.extend(lane.unknown().into_iter().map(|(key, why)| (lane.kind(), key, why)));
        report.notes.extend_from_slice(lane.notes());
        let levels = LevelView { memory, changing: &changing };
        let findings = lane.compare(only, &DiffCx { levels: &levels }, memory);
        match order.purpose {
            Purpose::Plan => lane.looked_aside(),
            Purpose::Apply => settled.take(lane.as_mut(), only),
        }
        for finding in findings {
            let verdict = gate::verdict(&finding, &engine.attempts);
            let held = match gate.judge(&finding) {
                Judgement::Go => None,
                Judgement::Held(held) => Some(held),
                Judgement::Ignored => continue,
            };
            // Under a host-wide `warn` nothing is changed, but the plan shows all that would follow.
            if held.is_none() || (held == Some(Held::Warn) && order.mode <= DriftMode::Warn) {
                changing.insert(finding.resource.clone());
            }
            let fight = gate.fight(&finding, verdict);
            cases.push(Case {
                finding,
                verdict,
                held,
                result: None,
                took: None,
                number: None,
                note: None,
                fight,
            });
        }
    }
    cases
}

/// More removals than the limit wait for a person, all of them. What an earlier pass holds back counts along, or a
/// pass over a part would let go what the whole does not. Returns what is held back now.
fn hold_removals_above_limit(
    cases: &mut [Case],
    limit: u32,
    approved: &BTreeSet<ResourceId>,
    mut held: BTreeSet<ResourceId>,
) -> BTreeSet<ResourceId> {
    let removes = |case: &Case| {
        case.held.is_none()
            && case.finding.actions.iter().any(|action| action.removes)
            && !approved.contains(&case.finding.resource)
    };
    held.extend(cases.iter().filter(|case| removes(case)).map(|case| case.finding.resource.clone()));
    let count = held.len();
    if count <= limit as usize {
        return BTreeSet::new();
    }
    let why = format!(
        "{count} resources would be removed and the limit is {limit}; `agentctl plan` shows them, \
         `agentctl approve COMMIT` lets them go"
    );
    for case in cases.iter_mut().filter(|case| removes(case)) {
        case.held = Some(Held::RemovalLimit(why.clone()));
    }
    held
}

fn plan(engine: &Engine, cases: &[Case]) -> Plan {
    let mut changes: Vec<PlannedChange> = cases.iter().flat_map(Case::planned).collect();
    changes.sort_by_key(|change| change.step); // stable: within a step the kind's own order stays
    Plan { commit: engine.desired.revision.as_ref().map(|revision| revision.commit.clone()), changes }
}

/// Intents are on disk before the first change.
fn write_down(cases: &mut [Case], memory: &mut dyn Memory) -> Result<(), MemoryError> {
    if cases.is_empty() {
        return Ok(());
    }
    let intents: Vec<Intent> = cases.iter().map(Case::intent).collect();
    for (case, number) in cases.iter_mut().zip(memory.note(&intents)?) {
        case.number = Some(number);
    }
    Ok(())
}

/// Writes down what became of everything in scope.
fn conclude(
    cases: &[Case],
    scope: &Scope,
    settled: Settled,
    memory: &mut dyn Memory,
    report: &PassReport,
) -> Result<(), MemoryError> {
    let numbered = cases.iter().filter_map(|case| Some((case.number?, case.resolution()?)));
    let mut resolutions: Vec<_> = numbered.collect();
    let differing: BTreeSet<&ResourceId> = cases.iter().map(|case| &case.finding.resource).collect();
    let gone = memory
        .open()
        .into_iter()
        .filter(|(id, _)| scope.contains(id) && !differing.contains(id) && !report.is_unread(id));
    resolutions.extend(gone.map(|(_, number)| (number, Resolution::Gone)));
    if !resolutions.is_empty() {
        memory.resolve(&resolutions)?;
    }
    if !settled.converged.is_empty() {
        memory.converged(&settled.converged)?;
    }
    if !settled.forgotten.is_empty() {
        memory.forget(&settled.forgotten)?;
    }
    Ok(())
}

impl Settled {
    pub(super) fn take(&mut self, lane: &mut dyn lane::Stage, only: Option<&BTreeSet<Key>>) {
        let kind = lane.kind();
        let id = |key| ResourceId::new(kind, key);
        let rows = lane.settled(only).into_iter();
        self.converged.extend(rows.map(|(key, spec, prune)| Converged { resource: id(key), spec, prune }));
        self.forgotten.extend(lane.pruned(only).into_iter().map(id));
    }
}
