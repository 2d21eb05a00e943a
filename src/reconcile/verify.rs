//! Looking once more at what was changed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::attempts;
use super::case::Case;
use super::engine::Engine;
use super::lane::Finding;
use super::levels::LevelView;
use super::memory::Memory;
use super::pass::{Settled, World};
use super::perils::Task;
use super::report::PassReport;
use crate::kind::DiffCx;
use crate::model::plan::Held;
use crate::model::{DriftMode, Key, KindName, OutcomeResult, ResourceId, Verdict};

/// Observes and compares what was changed once more: there is no second notion of equality. Looks at what
/// waited, too: it may be able to go on.
pub(super) fn verify(
    engine: &mut Engine,
    world: &World<'_>,
    cases: &mut [Case],
    started: Duration,
    memory: &dyn Memory,
    settled: &mut Settled,
    report: &mut PassReport,
) {
    let touched = touched(cases);
    let nothing_changes = BTreeSet::new();
    for lane in &mut engine.lanes {
        let Some(keys) = touched.get(&lane.kind()) else { continue };
        engine.perils.begin(&Task::Kind(lane.kind()));
        let by_others: BTreeSet<&Key> =
            keys.iter().filter(|key| lane.was_changed_by_others(world.host, key)).collect();
        let only = (!lane.is_read_at_once()).then_some(keys);
        if let Err(why) = lane.observe(world.host, only) {
            report.blind.push((lane.kind(), why));
            continue;
        }
        let levels = LevelView { memory, changing: &nothing_changes };
        let residual = lane.compare(only, &DiffCx { levels: &levels }, memory);
        // What somebody did to others meanwhile was read with ours: its event would be taken for our echo.
        let is_news = |left: &Finding| {
            left.drift.unwrap_or(engine.desired.policy.drift) > DriftMode::Disabled
                && !cases.iter().any(|case| case.finding.resource == left.resource)
        };
        report.again |= residual.iter().any(is_news);
        settled.take(lane.as_mut(), Some(keys));
        let took = world.host.clock.since_boot().saturating_sub(started);
        let of_kind = cases.iter_mut().filter(|case| case.finding.resource.kind == lane.kind());
        for case in of_kind.filter(|case| keys.contains(&case.finding.resource.key)) {
            let left = residual.iter().find(|left| left.resource == case.finding.resource);
            match (&case.result, left) {
                (Some(OutcomeResult::Done), None) => {
                    case.took = Some(took);
                    engine.attempts.ended(&case.finding.resource, attempts::Outcome::Fine);
                    if case.undid_nothing() {
                        engine.attempts.not_counted(&case.finding.resource);
                    }
                }
                // Ours was done, and theirs is another drift, for the next pass.
                (Some(OutcomeResult::Done), Some(_)) if by_others.contains(&case.finding.resource.key) => {
                    case.took = Some(took);
                    engine.attempts.ended(&case.finding.resource, attempts::Outcome::Fine);
                    if case.undid_nothing() {
                        engine.attempts.not_counted(&case.finding.resource);
                    }
                    settled.converged.extend(case.converged());
                    report.again = true;
                }
                (Some(OutcomeResult::Done), Some(left)) if case.shows_only_new(left) => {
                    let message = "differences that showed only after its first changes".to_owned();
                    case.result = Some(OutcomeResult::Waiting { message });
                }
                (Some(OutcomeResult::Done), Some(left)) => {
                    case.verdict = Verdict::NotConverging;
                    case.finding.fields.clone_from(&left.fields);
                    let outcome = attempts::Outcome::InVain { left: Some(attempts::words_of(&left.fields)) };
                    engine.attempts.ended(&case.finding.resource, outcome);
                }
                // It waited for something that is there now.
                (None, left) if left.is_none_or(|left| left.waiting.is_none()) => report.again = true,
                (
                    None
                    | Some(
                        OutcomeResult::Waiting { .. }
                        | OutcomeResult::Failed { .. }
                        | OutcomeResult::DoneNoting { .. },
                    ),
                    _,
                ) => {}
            }
        }
    }
}

fn touched(cases: &[Case]) -> BTreeMap<KindName, BTreeSet<Key>> {
    let changed_something = cases.iter().any(|case| case.result == Some(OutcomeResult::Done));
    let mut touched: BTreeMap<KindName, BTreeSet<Key>> = BTreeMap::new();
    for case in cases {
        let waited = changed_something && matches!(case.held, Some(Held::Waiting(_)));
        if case.result.is_some() || waited {
            let ResourceId { kind, key } = case.finding.resource.clone();
            touched.entry(kind).or_default().insert(key);
        }
    }
    touched
}
