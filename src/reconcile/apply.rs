//! The changes of a pass, made step by step, kind by kind.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::attempts::{self, Attempts};
use super::case::Case;
use super::engine::Engine;
use super::lane::{Applied, Stage};
use super::levels::Inputs;
use super::memory::{Memory, MemoryError};
use super::pass::World;
use super::perils::{Perils, Task};
use super::reactions::Reactions;
use super::report::PassReport;
use crate::host::pulse::PULSE;
use crate::kind::holdback::{self, Afterwards, HoldUnit};
use crate::kind::{ApplyCx, Desired};
use crate::model::{DriftMode, Key, KindName, Outcome, OutcomeResult, ResourceId, Step};

/// Makes the changes of all cases that nothing holds. Independent resources go on when one fails; what depends on it
/// waits. The error is of the memory, and no change is left out because of it.
pub(super) fn apply(
    engine: &mut Engine,
    world: &World<'_>,
    cases: &mut [Case],
    memory: &mut dyn Memory,
    report: &mut PassReport,
) -> Result<(), MemoryError> {
    let Some(mut work) = Work::on(cases, world.host.clock.since_boot()) else { return Ok(()) };
    let Engine { lanes, inputs, attempts, reactions, perils, desired, .. } = engine;
    work.going.iter().for_each(|(id, at)| attempts.made(id, work.cases[*at].finding.spec, work.now));
    let hold_units = units_to_hold(desired, memory);
    let mut cx =
        ApplyCx { host: world.host, contents: world.contents, keep: world.keep, hold_units: &hold_units };
    let (mut fault, mut survived) = (None, Vec::new());
    for step in Step::ALL {
        if world.stopping.load(Ordering::Relaxed) {
            break;
        }
        for lane in &mut *lanes {
            let kind = lane.kind();
            let mut owed = Vec::new();
            let mut go = |key: &Key| match work.leave(&ResourceId::new(kind, key.clone()), step, inputs) {
                Leave::Go => true,
                Leave::Stay => false,
                Leave::Owed { at, message } => {
                    owed.push((at, message));
                    false
                }
            };
            let applied = match perils.asks_for_care(kind) {
                false => lane.apply(step, &mut cx, &mut |key| {
                    let goes = go(key);
                    if goes {
                        perils.begin(&Task::Kind(kind));
                    }
                    goes
                }),
                true => {
                    let keys = work.keys(kind);
                    keys.iter()
                        .flat_map(|key| one(lane.as_mut(), step, &mut cx, &mut go, key, perils))
                        .collect()
                }
            };
            survived.extend(applied.iter().map(|one| Task::Resource(ResourceId::new(kind, one.key.clone()))));
            PULSE.beat();
            for (at, message) in owed {
                work.cases[at].result = Some(OutcomeResult::Waiting { message });
            }
            for one in applied {
                fault = fault.or(work.remember(kind, &one, inputs, memory).err());
                report.outcomes.push(work.take_in(kind, step, one, attempts, reactions));
            }
        }
    }
    survived.iter().for_each(|task| perils.survived(task));
    // What a package asked for while it was held back is done once the files are there.
    report.again |= work.going.keys().any(|id| id.kind == KindName::Package)
        && hold_units.iter().any(|unit| {
            unit.afterwards == Afterwards::AsItsPackage
                && holdback::is_owed(world.host, &unit.name).unwrap_or_default()
        });
    fault.map_or(Ok(()), Err)
}

/// The change of one resource alone: if the agent dies of it, it is known of which.
fn one(
    lane: &mut dyn Stage,
    step: Step,
    cx: &mut ApplyCx<'_>,
    go: &mut dyn FnMut(&Key) -> bool,
    only: &Key,
    perils: &Perils,
) -> Vec<Applied> {
    let task = Task::Resource(ResourceId::new(lane.kind(), only.clone()));
    lane.apply(step, cx, &mut |key| {
        let goes = key == only && go(key);
        if goes {
            perils.begin(&task);
        }
        goes
    })
}

/// The cases of a pass while their changes are made.
struct Work<'a> {
    cases: &'a mut [Case],
    /// Which of them are to be changed, by resource.
    going: BTreeMap<ResourceId, usize>,
    /// When the changes began, on the boot-time clock.
    now: Duration,
}

/// Whether a resource may be changed now.
enum Leave {
    Go,
    Stay,
    /// It reacts to something that is not as declared yet: it waits for that.
    Owed {
        at: usize,
        message: String,
    },
}

impl<'a> Work<'a> {
    /// None if nothing is to be changed.
    fn on(cases: &'a mut [Case], now: Duration) -> Option<Self> {
        let free = cases.iter().enumerate().filter(|(_, case)| case.held.is_none());
        let going: BTreeMap<_, _> = free.map(|(at, case)| (case.finding.resource.clone(), at)).collect();
        (!going.is_empty()).then_some(Work { cases, going, now })
    }

    /// What is to be changed of a kind.
    fn keys(&self, kind: KindName) -> Vec<Key> {
        self.going.keys().filter(|id| id.kind == kind).map(|id| id.key.clone()).collect()
    }

    fn leave(&self, id: &ResourceId, step: Step, inputs: &Inputs) -> Leave {
        let Some(at) = self.going.get(id).copied() else { return Leave::Stay };
        if self.cases[at].has_stopped() {
            return Leave::Stay;
        }
        let incomplete = inputs.of(id).find(|input| !self.is_complete(input));
        match incomplete {
            Some(input) if step == Step::Reactions => {
                Leave::Owed { at, message: format!("{input}, which is not as declared yet") }
            }
            Some(_) | None => Leave::Go,
        }
    }

    /// Writes down what a change settled. If that fails, the reaction happens once more: harmless, and told.
    fn remember(
        &self,
        kind: KindName,
        one: &Applied,
        inputs: &Inputs,
        memory: &mut dyn Memory,
    ) -> Result<(), MemoryError> {
        let id = ResourceId::new(kind, one.key.clone());
        // A start that came before the last of its inputs has not seen them: it settles nothing.
        let saw_all = || inputs.of(&id).all(|input| self.is_complete(input));
        let is_done = matches!(one.result, OutcomeResult::Done | OutcomeResult::DoneNoting { .. });
        if !is_done || one.settles.is_empty() || !saw_all() {
            return Ok(());
        }
        memory.see(&inputs.settled(&id, &one.settles, memory))
    }

    /// What came of one change, in its case and in what outlives the pass.
    fn take_in(
        &mut self,
        kind: KindName,
        step: Step,
        one: Applied,
        attempts: &mut Attempts,
        reactions: &mut Reactions,
    ) -> Outcome {
        let id = ResourceId::new(kind, one.key);
        let (result, note) = one.result.into_noted();
        if let OutcomeResult::Failed { message } = &result {
            attempts.ended(&id, attempts::Outcome::Failed(message.clone()));
        }
        if let Some(case) = self.going.get(&id).map(|at| &mut self.cases[*at])
            && !case.has_stopped()
        {
            if step == Step::Reactions && result == OutcomeResult::Done {
                reactions.made(&id, self.now);
            }
            case.result = Some(result.clone());
            case.note = note.or(case.note.take());
        }
        Outcome { resource: id, result }
    }

    /// An input is complete unless it differs and was not put right in this pass.
    fn is_complete(&self, input: &ResourceId) -> bool {
        let case = self.cases.iter().find(|case| case.finding.resource == *input);
        case.is_none_or(|case| case.result == Some(OutcomeResult::Done))
    }
}

/// Units that a package's own scripts must not start, whatever this pass looks at: their files may not be there yet.
/// Only those that are ours to start afterwards.
fn units_to_hold(desired: &Desired, memory: &dyn Memory) -> Vec<HoldUnit> {
    let declared = desired.service.iter().filter(|(key, declared)| {
        matches!(declared.drift, None | Some(DriftMode::Enabled))
            && memory.suspended(&ResourceId::new(KindName::Service, (*key).clone())).is_none()
    });
    let hold = declared.filter_map(|(key, declared)| {
        let (name, spec) = (key.as_str().parse().ok()?, &declared.spec);
        let is_told = spec.state.is_some() || spec.enabled == Some(false) || spec.masked == Some(true);
        let afterwards = if is_told { Afterwards::AsDeclared } else { Afterwards::AsItsPackage };
        Some(HoldUnit { name, afterwards })
    });
    hold.collect()
}
