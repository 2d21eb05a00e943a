//! What is counted from the start of the agent on.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::family::{self, Family};
use super::histogram::Histogram;
use super::text::Text;
use crate::model::{ResourceStatus, Trigger, Verdict};
use crate::reconcile::PassReport;
use crate::record::PassResult;
use crate::status::PassSummary;
use crate::status::event::{About, Happening, Turn};

/// Counters and histograms. All have two labels of few values.
#[derive(Clone, Debug, Default)]
pub struct Tallies {
    syncs: Counter,
    reconcile: Times,
    git: Counter,
    git_duration: Times,
    detected: Counter,
    corrected: Counter,
    detect: Times,
    correct: Times,
}

/// What asking the remote came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// There was nothing new.
    Nothing,
    /// Something was brought.
    Brought,
    /// It failed.
    Failed,
}

#[derive(Clone, Debug, Default)]
struct Counter(BTreeMap<[&'static str; 2], u64>);

#[derive(Clone, Debug, Default)]
struct Times(BTreeMap<[&'static str; 2], Histogram>);

impl Tallies {
    /// A pass ended.
    pub fn pass(
        &mut self,
        report: &PassReport,
        summary: &PassSummary,
        result: &PassResult,
        told: &[Happening],
    ) {
        let trigger = reason(&summary.triggers);
        let result = match result {
            PassResult::Synced => "synced",
            PassResult::OutOfSync => "out-of-sync",
            PassResult::Degraded => "degraded",
            PassResult::Failed(_) => "failed",
        };
        self.syncs.count([result, trigger]);
        self.reconcile.took([trigger, "observe"], report.phases.observe);
        if !report.outcomes.is_empty() {
            self.reconcile.took([trigger, "apply"], report.phases.apply);
            self.reconcile.took([trigger, "verify"], report.phases.verify);
        }
        let looked = summary.started.checked_add(report.phases.observe).unwrap_or(summary.started);
        for happening in told {
            if let Happening::Resource { turn, about } = happening {
                self.resource(*turn, about, trigger, looked);
            }
        }
    }

    /// The remote was asked.
    pub fn asked(&mut self, came_to: Asked, took: Duration) {
        let labels = match came_to {
            Asked::Nothing => ["ls-remote", "success"],
            Asked::Brought => ["fetch", "success"],
            Asked::Failed => ["fetch", "failure"],
        };
        self.git.count(labels);
        self.git_duration.took(labels, took);
    }

    fn resource(&mut self, turn: Turn, about: &About, trigger: &'static str, looked: Timestamp) {
        let (line, kind) = (&about.line, about.line.resource.kind.as_str());
        match turn {
            Turn::DriftSeen => {
                self.detected.count([kind, trigger]);
                let changed = line.attribution.as_ref().and_then(|known| known.at);
                if let Some(changed) = changed {
                    // Clocks of events are coarse: never less than nothing.
                    let took = looked.duration_since(changed).try_into().unwrap_or(Duration::ZERO);
                    self.detect.took([kind, trigger], took);
                }
            }
            Turn::Corrected => {
                self.corrected.count([kind, "corrected"]);
                let took = line.corrected_ms.map(|ms| Duration::from_secs_f64(ms / 1000.0));
                took.iter().for_each(|took| self.correct.took([kind, trigger], *took));
            }
            Turn::Failed
                if line.verdict == Some(Verdict::Drifted) && line.status == ResourceStatus::Failed =>
            {
                self.corrected.count([kind, "failed"]);
            }
            Turn::NotConverging => self.corrected.count([kind, "not-converging"]),
            Turn::BehindSeen | Turn::Applied | Turn::Failed | Turn::Contested | Turn::Held => {}
        }
    }

    /// Writes the counters and histograms, in the order of their families.
    pub(super) fn write(&self, text: &mut Text) {
        let Tallies { syncs, reconcile, git, git_duration, detected, corrected, detect, correct } = self;
        syncs.write(family::SYNCS, text);
        reconcile.write(family::RECONCILE, text);
        git.write(family::GIT_REQUESTS, text);
        git_duration.write(family::GIT_DURATION, text);
        detected.write(family::DETECTED, text);
        corrected.write(family::CORRECTED, text);
        detect.write(family::DETECT, text);
        correct.write(family::CORRECT, text);
    }
}

impl Counter {
    fn count(&mut self, labels: [&'static str; 2]) {
        *self.0.entry(labels).or_default() += 1;
    }

    fn write(&self, family: &'static Family, text: &mut Text) {
        let mut samples = text.of(family);
        self.0.iter().for_each(|(labels, count)| samples.put(labels, *count as f64));
    }
}

impl Times {
    fn took(&mut self, labels: [&'static str; 2], time: Duration) {
        self.0.entry(labels).or_default().observe(time.as_secs_f64());
    }

    fn write(&self, family: &'static Family, text: &mut Text) {
        let mut samples = text.of(family);
        self.0.iter().for_each(|(labels, histogram)| samples.histogram(labels, histogram));
    }
}

/// Of several reasons for one pass the one that says most.
fn reason(triggers: &[Trigger]) -> &'static str {
    match triggers.iter().min() {
        Some(Trigger::Boot) => "boot",
        Some(Trigger::Revision) => "revision",
        Some(Trigger::Request) => "request",
        Some(Trigger::Watch) => "watch",
        Some(Trigger::Interval) | None => "interval",
    }
}
