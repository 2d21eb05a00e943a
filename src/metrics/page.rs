//! From what is true now to a page.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::family as f;
use super::tallies::Tallies;
use super::text::Text;
use crate::model::{Attribution, KindName, ResourceId, ResourceStatus, Sync, Verdict};
use crate::status::{ResourceLine, Snapshot, WatchHealth};

/// So many contested resources are named; the rest is counted.
const NAMED: usize = 50;

/// What a page is made of.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// What is true now.
    pub snapshot: &'a Snapshot,
    /// What was counted.
    pub tallies: &'a Tallies,
    /// The commit that the agent was built from, if that is known.
    pub built_from: &'a str,
    /// When the declaration in force was put in force.
    pub applied_at: Option<Timestamp>,
    /// The longest wait for a next attempt, by kind.
    pub waits: &'a BTreeMap<KindName, Duration>,
    /// Who keeps changing a contested resource back.
    pub writers: &'a BTreeMap<ResourceId, Attribution>,
}

/// The page that a scraper gets.
pub fn page(facts: &Facts<'_>) -> String {
    let Facts { snapshot, tallies, built_from, .. } = facts;
    let mut text = Text::default();
    text.of(f::BUILD_INFO).put(&[&snapshot.agent.version, built_from], 1.0);
    host(facts, &mut text);
    resources(facts, &mut text);
    times(facts, &mut text);
    watchers(&snapshot.watches, &mut text);
    tallies.write(&mut text);
    text.finish()
}

fn host(facts: &Facts<'_>, text: &mut Text) {
    let snapshot = facts.snapshot;
    let (sync, reason) = match snapshot.sync {
        Sync::Synced => ("Synced", String::new()),
        Sync::OutOfSync(reason) => ("OutOfSync", reason.to_string()),
        Sync::Unknown => ("Unknown", String::new()),
    };
    let revision = snapshot.applied.as_ref().map_or("", |revision| revision.commit.as_str());
    let (health, mode) = (snapshot.health.to_string(), snapshot.mode.to_string());
    let labels = [sync, &reason, &health, revision, &snapshot.source.branch, &mode];
    text.of(f::HOST_INFO).put(&labels, 1.0);
    let mut conditions = text.of(f::CONDITION);
    for condition in &snapshot.conditions {
        conditions.maybe(&[&condition.kind, &condition.reason], condition.status.map(truth));
    }
}

fn resources(facts: &Facts<'_>, text: &mut Text) {
    let Facts { snapshot, waits, writers, .. } = facts;
    let mut samples = text.of(f::RESOURCES);
    for (kind, by_status) in &snapshot.counts {
        for (status, count) in by_status {
            samples.put(&[kind.as_str(), &status.to_string()], f64::from(*count));
        }
    }
    let kinds = || snapshot.counts.keys().copied();
    let drifted =
        |kind| snapshot.resources.iter().filter(move |line| line.resource.kind == kind && is_drifted(line));
    let contested = || snapshot.resources.iter().filter(|line| line.status == ResourceStatus::Contested);
    let mut samples = text.of(f::DRIFTED);
    kinds().for_each(|kind| samples.put(&[kind.as_str()], drifted(kind).count() as f64));
    let mut samples = text.of(f::CONTESTED);
    for kind in kinds() {
        let of_kind = contested().filter(|line| line.resource.kind == kind);
        samples.put(&[kind.as_str()], of_kind.count() as f64);
    }
    let mut samples = text.of(f::CONTESTED_INFO);
    for line in contested().take(NAMED) {
        let [program, unit] = writer(writers.get(&line.resource));
        samples.put(&[line.resource.kind.as_str(), &line.resource.to_string(), program, unit], 1.0);
    }
    let mut samples = text.of(f::DRIFT_SINCE);
    for kind in kinds() {
        samples.maybe(&[kind.as_str()], drifted(kind).map(|line| line.since).min().map(seconds));
    }
    let mut samples = text.of(f::BACKOFF);
    for kind in kinds() {
        samples.put(&[kind.as_str()], waits.get(&kind).map_or(0.0, Duration::as_secs_f64));
    }
}

fn times(facts: &Facts<'_>, text: &mut Text) {
    let Facts { snapshot, applied_at, .. } = facts;
    text.of(f::LAST_FETCH).maybe(&[], snapshot.source.last_success.map(seconds));
    let ended = snapshot.last_pass.as_ref().map(|pass| seconds(pass.started) + pass.duration_ms / 1000.0);
    // To the millisecond, like the rest.
    text.of(f::LAST_RECONCILE).maybe(&[], ended.map(|ended| (ended * 1000.0).round() / 1000.0));
    text.of(f::LAST_APPLIED).maybe(&[], applied_at.map(seconds));
    text.of(f::SUSPENDED).put(&[], snapshot.suspensions.len() as f64);
    let ends = snapshot.suspensions.iter().filter_map(|one| one.until);
    text.of(f::SUSPENDED_UNTIL).maybe(&[], ends.min().map(seconds));
    let reboot = snapshot.conditions.iter().find(|one| one.kind == "RebootRequired");
    text.of(f::REBOOT).maybe(&[], reboot.and_then(|one| one.status).map(truth));
    if let Some(noted) = &snapshot.history {
        let history = noted.history.map(|history| format!("{history:016x}")).unwrap_or_default();
        let (entry, digest) = (noted.head.seq.to_string(), noted.head.digest.to_string());
        text.of(f::HISTORY_HEAD).put(&[&history, &entry, &digest], 1.0);
    }
}

fn watchers(watches: &[WatchHealth], text: &mut Text) {
    let mut each = |family, value: &dyn Fn(&WatchHealth) -> Option<f64>| {
        let mut samples = text.of(family);
        watches.iter().for_each(|watch| samples.maybe(&[&watch.name], value(watch)));
    };
    let sees = |watch: &WatchHealth| watch.live_since.is_some() && watch.blind_since.is_none();
    each(f::WATCHES, &|watch| Some(watch.watches as f64));
    each(f::WATCHER_UP, &|watch| Some(truth(sees(watch))));
    each(f::WATCHER_LIVE_SINCE, &|watch| watch.live_since.map(seconds));
    each(f::WATCHER_BLIND_SINCE, &|watch| watch.blind_since.map(seconds));
    each(f::WATCH_EVENTS, &|watch| Some(watch.events as f64));
    each(f::WATCH_OVERFLOWS, &|watch| Some(watch.overflows as f64));
}

/// What the host moved and is not right yet, whatever is done about it.
fn is_drifted(line: &ResourceLine) -> bool {
    let is_right = matches!(line.status, ResourceStatus::Synced | ResourceStatus::Corrected);
    line.verdict == Some(Verdict::Drifted) && !is_right
}

/// Program and unit, as far as the evidence carries.
fn writer(known: Option<&Attribution>) -> [&str; 2] {
    let actor = known.filter(|known| known.names_someone()).and_then(|known| known.actor.as_ref());
    let program = actor.and_then(|actor| actor.process.as_ref()).map(|process| process.executable.as_str());
    let unit = actor.and_then(|actor| actor.unit.as_deref());
    [program.filter(|program| !program.is_empty()).unwrap_or("unknown"), unit.unwrap_or("")]
}

fn truth(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}

/// Since 1970, to the millisecond.
fn seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1000.0
}
