//! How every resource stands, kept from pass to pass: a scoped pass says nothing of what it did not look at.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;

use super::{ResourceLine, Snapshot};
use crate::model::plan::Held;
use crate::model::{Health, Key, KindName, ResourceId, ResourceStatus, Sync, Verdict};
use crate::reconcile::report::Seen;
use crate::reconcile::{PassReport, Scope};
use crate::record::{DriftRecord, Settlement};

/// How many corrections are shown after the fact; the record has all of them.
const RECENT: usize = 20;

/// How every resource stands.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    lines: BTreeMap<ResourceId, ResourceLine>,
    recent: VecDeque<ResourceLine>,
    blind: BTreeMap<KindName, String>,
    declared: BTreeMap<KindName, usize>,
    notes: Vec<String>,
    /// Everything was looked at since the desired state in force was taken up: before that nothing is known.
    looked: bool,
}

impl Standing {
    /// Another desired state is in force: what stood of the old one is history.
    pub fn adopt(&mut self, declared: BTreeMap<KindName, usize>) {
        self.lines.clear();
        self.blind.clear();
        self.declared = declared;
        self.looked = false;
    }

    /// What differed when the agent ended, by its record: told already, and known since then.
    pub fn recall(&mut self, lines: impl IntoIterator<Item = ResourceLine>) {
        self.lines.extend(lines.into_iter().map(|line| (line.resource.clone(), line)));
    }

    /// Takes in what a pass over `scope` found and did.
    pub fn absorb(&mut self, report: &PassReport, scope: &Scope, now: Timestamp) {
        let before = std::mem::take(&mut self.lines);
        let looked_at = |id: &ResourceId| scope.contains(id);
        let kept = before.iter().filter(|(id, _)| !looked_at(id));
        self.lines = kept.map(|(id, line)| (id.clone(), line.clone())).collect();
        self.blind.retain(|kind, _| scope.of_kind(*kind).is_none());
        self.blind.extend(report.blind.iter().cloned());
        for seen in &report.findings {
            let since = before.get(&seen.resource).map_or(now, |line| line.since);
            let line = line_of(seen, since);
            match seen.status {
                ResourceStatus::Synced => {}
                ResourceStatus::Corrected => {
                    self.recent.push_front(line);
                    self.recent.truncate(RECENT);
                }
                ResourceStatus::Drifted
                | ResourceStatus::Behind
                | ResourceStatus::Failed
                | ResourceStatus::NotConverging
                | ResourceStatus::Waiting
                | ResourceStatus::Suspended
                | ResourceStatus::Contested
                | ResourceStatus::Unknown => {
                    self.lines.insert(seen.resource.clone(), line);
                }
            }
        }
        for (kind, key, why) in &report.unknown {
            let id = ResourceId::new(*kind, key.clone());
            let since = before.get(&id).map_or(now, |line| line.since);
            self.lines.insert(id.clone(), unknown_line(id, why, since));
        }
        if *scope == Scope::Full {
            self.notes = report.notes.clone();
            self.looked = true;
        }
    }

    /// Since when something differs, where the record knows: the same before and after a restart.
    pub fn date(&mut self, since: impl Fn(&ResourceId) -> Option<Timestamp>) {
        for line in self.lines.values_mut() {
            line.since = since(&line.resource).unwrap_or(line.since);
        }
    }

    /// Everything that is not simply as declared, then what was corrected since `after`.
    pub fn lines(&self, after: Timestamp) -> Vec<ResourceLine> {
        let blind = self.blind.iter().map(|(kind, why)| {
            let id = ResourceId::new(*kind, Key::from("*"));
            unknown_line(id, why, Timestamp::UNIX_EPOCH)
        });
        let recent = self.recent.iter().filter(|line| line.since >= after);
        self.lines.values().cloned().chain(blind).chain(recent.cloned()).collect()
    }

    /// How many resources have which status.
    pub fn counts(&self) -> BTreeMap<KindName, BTreeMap<ResourceStatus, u32>> {
        let mut counts: BTreeMap<KindName, BTreeMap<ResourceStatus, u32>> = BTreeMap::new();
        for (kind, declared) in &self.declared {
            let declared = u32::try_from(*declared).unwrap_or(u32::MAX);
            let of_kind = counts.entry(*kind).or_default();
            if !self.looked || self.blind.contains_key(kind) {
                of_kind.insert(ResourceStatus::Unknown, declared);
                continue;
            }
            let mut others = 0;
            for (_, line) in self.lines.iter().filter(|(id, _)| id.kind == *kind) {
                *of_kind.entry(line.status).or_default() += 1;
                others += 1;
            }
            of_kind.insert(ResourceStatus::Synced, declared.saturating_sub(others));
        }
        counts
    }

    /// In sync or not, and how well; none until everything was looked at once.
    pub fn verdict(&self) -> Option<(Sync, Health)> {
        let lines = self.lines(Timestamp::MAX);
        self.looked.then(|| (Snapshot::sync_of(&lines), Snapshot::health_of(&lines)))
    }

    /// Whether everything of a kind was as declared when it was looked at last.
    pub fn is_as_declared(&self, kind: KindName) -> bool {
        self.looked && !self.blind.contains_key(&kind) && !self.lines.keys().any(|id| id.kind == kind)
    }

    /// What a person should know and no resource stands for.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

/// A finding as the status shows it.
pub fn line_of(seen: &Seen, since: Timestamp) -> ResourceLine {
    ResourceLine {
        resource: seen.resource.clone(),
        status: seen.status,
        verdict: Some(seen.verdict),
        missing: seen.missing,
        fields: seen.fields.clone(),
        action: (!seen.action.is_empty()).then(|| seen.action.clone()),
        message: seen.message.clone(),
        declared: seen.declared.clone(),
        since,
        corrected_ms: seen.took.map(|took| took.as_secs_f64() * 1000.0),
        attribution: seen.attribution.clone(),
    }
}

/// A drift that is not over, as the status showed it when the agent ended.
pub fn line_of_story(story: DriftRecord) -> ResourceLine {
    let (status, message) = match (&story.held, &story.result) {
        (Some(held), _) => (status_of_held(held, story.verdict), Some(held.to_string())),
        (None, Some(Settlement::Failed(message))) => (ResourceStatus::Failed, Some(message.clone())),
        (None, Some(Settlement::Waiting(what))) => {
            (ResourceStatus::Waiting, Some(format!("waiting for {what}")))
        }
        (None, Some(Settlement::NotConverging)) => (ResourceStatus::NotConverging, None),
        (
            None,
            Some(Settlement::Corrected | Settlement::Gone | Settlement::GivenUp | Settlement::Interrupted)
            | None,
        ) => (status_of_verdict(story.verdict), None),
    };
    ResourceLine {
        resource: story.resource,
        status,
        verdict: Some(story.verdict),
        missing: false,
        fields: story.fields,
        action: story.attempts.into_iter().next_back().map(|attempt| attempt.action),
        message,
        declared: story.place,
        since: story.seen,
        corrected_ms: None,
        attribution: story.attribution,
    }
}

fn status_of_held(held: &Held, verdict: Verdict) -> ResourceStatus {
    match held {
        Held::Suspended(_) => ResourceStatus::Suspended,
        Held::Waiting(_) => ResourceStatus::Waiting,
        Held::Failing(_) => ResourceStatus::Failed,
        Held::Contested(_) => ResourceStatus::Contested,
        Held::Warn | Held::BackOff(_) | Held::RemovalLimit(_) => status_of_verdict(verdict),
    }
}

const fn status_of_verdict(verdict: Verdict) -> ResourceStatus {
    match verdict {
        Verdict::Drifted => ResourceStatus::Drifted,
        Verdict::Behind => ResourceStatus::Behind,
        Verdict::NotConverging => ResourceStatus::NotConverging,
    }
}

fn unknown_line(resource: ResourceId, why: &str, since: Timestamp) -> ResourceLine {
    ResourceLine {
        resource,
        status: ResourceStatus::Unknown,
        verdict: None,
        missing: false,
        fields: Vec::new(),
        action: None,
        message: Some(why.to_owned()),
        declared: None,
        since,
        corrected_ms: None,
        attribution: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unread() -> BTreeMap<KindName, BTreeMap<ResourceStatus, u32>> {
        [(KindName::File, [(ResourceStatus::Unknown, 3)].into())].into()
    }

    #[test]
    fn nothing_is_known_of_a_revision_before_everything_was_looked_at_under_it() {
        let mut standing = Standing::default();
        let (full, quiet) = (PassReport::default(), Timestamp::UNIX_EPOCH);
        standing.adopt([(KindName::File, 3)].into());
        assert_eq!((standing.verdict(), standing.counts()), (None, unread()));
        // A look at a part says nothing of the rest.
        standing.absorb(&full, &Scope::of([ResourceId::new(KindName::File, "/etc/motd")]), quiet);
        assert_eq!((standing.verdict(), standing.counts()), (None, unread()));
        standing.absorb(&full, &Scope::Full, quiet);
        assert_eq!(standing.verdict(), Some((Sync::Synced, Health::Healthy)));
        assert_eq!(standing.counts()[&KindName::File][&ResourceStatus::Synced], 3);
        // Another revision: it begins anew.
        standing.adopt([(KindName::File, 3)].into());
        assert_eq!((standing.verdict(), standing.counts()), (None, unread()));
    }
}
