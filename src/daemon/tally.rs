//! A pass in numbers and words, as the record and the status have it.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::model::{ResourceId, ResourceStatus, Trigger, Verdict};
use crate::reconcile::report::Seen;
use crate::reconcile::scope::KindScope;
use crate::reconcile::{PassReport, Scope};
use crate::record::{PassCounts, PassResult, PassScope};
use crate::status::PassSummary;

/// What it looked at, for the record.
pub fn scope(scope: &Scope) -> PassScope {
    match scope {
        Scope::Full => PassScope::Full,
        Scope::Some(kinds) => {
            let mut only = BTreeSet::new();
            for (kind, within) in kinds {
                match within {
                    KindScope::All => {
                        only.insert(ResourceId::new(*kind, "*"));
                    }
                    KindScope::Keys(keys) => {
                        only.extend(keys.iter().map(|key| ResourceId::new(*kind, key.clone())));
                    }
                }
            }
            PassScope::Only(only)
        }
    }
}

/// How many of what, for the record.
pub fn counts(report: &PassReport) -> PassCounts {
    let count = |wanted: &dyn Fn(&Seen) -> bool| {
        u32::try_from(report.findings.iter().filter(|seen| wanted(seen)).count()).unwrap_or(u32::MAX)
    };
    PassCounts {
        observed: u32::try_from(report.observed).unwrap_or(u32::MAX),
        drifted: count(&|seen| seen.verdict != Verdict::Behind),
        behind: count(&|seen| seen.verdict == Verdict::Behind),
        corrected: count(&|seen| matches!(seen.status, ResourceStatus::Corrected | ResourceStatus::Synced)),
        failed: count(&|seen| matches!(seen.status, ResourceStatus::Failed | ResourceStatus::NotConverging)),
        held: count(&|seen| {
            matches!(
                seen.status,
                ResourceStatus::Drifted
                    | ResourceStatus::Behind
                    | ResourceStatus::Waiting
                    | ResourceStatus::Suspended
                    | ResourceStatus::Contested
            )
        }),
        unknown: u32::try_from(report.unknown.len() + report.blind.len()).unwrap_or(u32::MAX),
    }
}

/// How it ended, for the record.
pub fn result(report: &PassReport) -> PassResult {
    match &report.record_fault {
        Some(fault) => PassResult::Failed(fault.clone()),
        None if report.failed() > 0 => PassResult::Degraded,
        None if report.findings.len() > report.changed() || !report.blind.is_empty() => PassResult::OutOfSync,
        None => PassResult::Synced,
    }
}

/// In short, for the status.
pub fn summary(
    id: u64,
    triggers: BTreeSet<Trigger>,
    started: Timestamp,
    scope: &Scope,
    report: &PassReport,
) -> PassSummary {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    PassSummary {
        id,
        triggers: triggers.into_iter().collect(),
        started,
        duration_ms: report.duration.as_secs_f64() * 1000.0,
        full: *scope == Scope::Full,
        differed: number(report.findings.len()),
        changed: number(report.changed()),
        failed: number(report.failed()),
        work: report.work,
    }
}
