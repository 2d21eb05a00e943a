//! The lanes of all kinds, with what outlives a single pass: the desired state, what reacts to what and the
//! attempts made lately.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::attempts::{self, Attempts, FORGIVEN_AFTER};
use super::lane::{Finding, Stage};
use super::levels::Inputs;
use super::memory::{Memory, MemoryError};
use super::perils::Perils;
use super::reactions::Reactions;
use super::scope::{KindScope, Scope};
use super::waiting::Waiting;
use crate::host::Host;
use crate::kind::{Desired, LookAt, Watch};
use crate::model::fingerprint::Fingerprint;
use crate::model::{Attribution, Diagnostic, Digest, Key, KindName, ResourceId, Verdict};
use crate::record::{self, DriftRecord, Settlement};

#[cfg(test)]
mod tests;

/// All kinds at work on one host.
pub struct Engine {
    pub(super) lanes: Vec<Box<dyn Stage>>,
    pub(super) desired: Arc<Desired>,
    pub(super) inputs: Inputs,
    pub(super) attempts: Attempts,
    pub(super) reactions: Reactions,
    /// Given up by the desired state in force, and not written down yet; none when all of that is.
    unwritten: Option<Vec<ResourceId>>,
    /// What the last pass would have removed, had it not been more than the limit.
    pub(super) held_removals: BTreeSet<ResourceId>,
    pub(super) waiting: Waiting,
    /// What the agent died of lately.
    pub perils: Perils,
}

impl Engine {
    /// An engine over these kinds, in the order in which a pass observes them.
    pub fn new(lanes: Vec<Box<dyn Stage>>) -> Self {
        Engine {
            lanes,
            desired: Arc::default(),
            inputs: Inputs::default(),
            attempts: Attempts::default(),
            reactions: Reactions::default(),
            unwritten: None,
            held_removals: BTreeSet::new(),
            waiting: Waiting::default(),
            perils: Perils::default(),
        }
    }

    /// Takes up a desired state. What the declaration dropped is given up, except what is to be pruned.
    /// An empty desired state is the caller's error: it never comes here. It is in force whether or not that can
    /// be written down now.
    pub fn adopt(&mut self, desired: Arc<Desired>, memory: &mut dyn Memory) -> Result<(), MemoryError> {
        let mut given_up = Vec::new();
        for lane in &mut self.lanes {
            let kind = lane.kind();
            let keys = lane.adopt(&desired, memory);
            given_up.extend(keys.into_iter().map(|key| ResourceId::new(kind, key)));
        }
        self.inputs = self.lanes.iter().flat_map(|lane| lane.inputs()).collect();
        self.attempts.declared_anew();
        self.reactions.clear();
        self.held_removals.clear();
        self.perils.declared(desired.revision.as_ref().map(|revision| &revision.commit));
        self.desired = desired;
        self.unwritten = Some(given_up);
        self.catch_up(memory)
    }

    /// Writes down what could not be written when the desired state was taken up. Nothing is changed before that:
    /// a change that no service's baseline precedes would be a reaction forgotten.
    pub(super) fn catch_up(&mut self, memory: &mut dyn Memory) -> Result<(), MemoryError> {
        let Some(given_up) = &self.unwritten else { return Ok(()) };
        if !given_up.is_empty() {
            memory.forget(given_up)?;
        }
        self.inputs.lay_baseline(memory)?;
        self.unwritten = None;
        Ok(())
    }

    /// What failed or did not stay may go well now: what it takes was put right.
    pub fn forgive(&mut self) {
        self.attempts.declared_anew();
    }

    /// Faults of a desired state that root itself looks for, whoever compiled it.
    pub fn validate(&self, desired: &Desired) -> Vec<Diagnostic> {
        self.lanes.iter().flat_map(|lane| lane.validate(desired)).collect()
    }

    /// Faults that only this host can find in a desired state that is about to be put in force.
    pub fn rehearse(&mut self, host: &Host, desired: &Desired) -> Vec<Diagnostic> {
        self.lanes.iter_mut().flat_map(|lane| lane.rehearse(host, desired)).collect()
    }

    /// The desired state in force.
    pub fn desired(&self) -> &Arc<Desired> {
        &self.desired
    }

    /// What is worth waking up for.
    pub fn watches(&self) -> Vec<Watch> {
        self.lanes.iter().flat_map(|lane| lane.watches()).collect()
    }

    /// How many resources of each kind are declared.
    pub fn declared(&self) -> BTreeMap<KindName, usize> {
        self.lanes.iter().map(|lane| (lane.kind(), lane.declared())).collect()
    }

    /// Every declared key of a kind.
    pub fn keys(&self, kind: KindName) -> Vec<Key> {
        self.lanes.iter().find(|lane| lane.kind() == kind).map(|lane| lane.keys()).unwrap_or_default()
    }

    /// What waits for a person to let it go, because it is more than the limit.
    pub fn held_removals(&self) -> &BTreeSet<ResourceId> {
        &self.held_removals
    }

    /// What of that a pass did not look at itself.
    pub(super) fn held_beside(&self, scope: &Scope, blind: &[(KindName, String)]) -> BTreeSet<ResourceId> {
        let is_blind = |id: &ResourceId| blind.iter().any(|(kind, _)| *kind == id.kind);
        self.held_removals.iter().filter(|id| !scope.contains(id) || is_blind(id)).cloned().collect()
    }

    /// Digests of the contents the desired state in force lays down.
    pub fn contents(&self) -> BTreeSet<Digest> {
        self.lanes.iter().flat_map(|lane| lane.contents()).collect()
    }

    /// What of something noticed is worth a look now: not what is known to differ and waits for its next attempt.
    pub fn without_waiting(&mut self, host: &Host, scope: Scope) -> Scope {
        self.waiting.without(scope, host.clock.since_boot())
    }

    /// When something that waits is due, on the boot-time clock, and what.
    pub fn next_look(&self) -> Option<(Duration, Scope)> {
        self.waiting.next()
    }

    /// What of a scope is more than the echo of our own work; none if nothing is.
    pub fn without_echoes(&self, host: &Host, scope: Scope) -> Option<Scope> {
        let Scope::Some(kinds) = scope else { return Some(scope) };
        let mut left = BTreeMap::new();
        for lane in &self.lanes {
            match kinds.get(&lane.kind()) {
                None => {}
                Some(KindScope::All) if lane.is_untouched(host, None) => {}
                Some(KindScope::All) => drop(left.insert(lane.kind(), KindScope::All)),
                Some(KindScope::Keys(keys)) => {
                    let touched = keys.iter().filter(|key| !lane.is_untouched(host, Some(*key)));
                    let touched: BTreeSet<Key> = touched.cloned().collect();
                    if !touched.is_empty() {
                        left.insert(lane.kind(), KindScope::Keys(touched));
                    }
                }
            }
        }
        (!left.is_empty()).then_some(Scope::Some(left))
    }

    /// Takes up what was tried before the agent was restarted: a wait, a fight and what is in vain outlive it. `now`
    /// is the same moment on both clocks. What was done under another revision than the one in force is left out.
    pub fn recall(&mut self, stories: &[DriftRecord], now: (Timestamp, Duration)) {
        let commit = self.desired.revision.as_ref().map(|revision| &revision.commit);
        let mut tries: Vec<(&record::Attempt, &DriftRecord)> = stories
            .iter()
            .filter(|story| story.commit.as_ref() == commit)
            .flat_map(|story| story.attempts.iter().map(move |attempt| (attempt, story)))
            .collect();
        tries.sort_by_key(|(attempt, _)| attempt.began);
        for (attempt, story) in tries {
            let ago = now.0.duration_since(attempt.began).try_into().unwrap_or(Duration::ZERO);
            self.recall_one(attempt, story, now.1.saturating_sub(ago));
        }
        self.attempts.forgive(now.1);
        self.reactions.forgive(now.1);
    }

    fn recall_one(&mut self, attempt: &record::Attempt, story: &DriftRecord, then: Duration) {
        let resource = &story.resource;
        // What was cut short by a death that is counted by itself: the innocent need not wait for it.
        if matches!(attempt.result, None | Some(Settlement::Interrupted)) && self.perils.knows_any() {
            return;
        }
        self.attempts.was_made(resource, then);
        if let Some(writer) = &story.attribution {
            self.attempts.changed_by(resource, writer);
        }
        match &attempt.result {
            Some(Settlement::Corrected) if story.verdict == Verdict::Behind => {
                self.attempts.not_counted(resource);
                if resource.kind == KindName::Service {
                    self.reactions.made(resource, then);
                }
            }
            Some(Settlement::Failed(message)) => {
                self.attempts.ended(resource, attempts::Outcome::Failed(message.clone()));
            }
            Some(Settlement::NotConverging) => {
                let left = Some(attempts::words_of(&story.fields));
                self.attempts.ended(resource, attempts::Outcome::InVain { left });
            }
            Some(Settlement::Corrected | Settlement::Gone | Settlement::GivenUp) => {
                self.attempts.ended(resource, attempts::Outcome::Fine);
            }
            Some(Settlement::Waiting(_) | Settlement::Interrupted) | None => {}
        }
    }

    /// Who was found to have changed a resource: named if it comes to a fight.
    pub fn changed_by(&mut self, resource: &ResourceId, writer: &Attribution) {
        self.attempts.changed_by(resource, writer);
    }

    /// Who was last found to change a resource, as far as is known.
    pub fn writer(&self, resource: &ResourceId) -> Option<&Attribution> {
        self.attempts.writer(resource)
    }

    /// The longest wait for a next attempt, of each kind that waits for one.
    pub fn waits(&self, now: Duration) -> BTreeMap<KindName, Duration> {
        self.waiting.longest(now)
    }

    /// How long before now what was tried may still matter.
    pub const RECALL: Duration = FORGIVEN_AFTER.saturating_mul(6);

    /// When the next attempt on something that differs is due, if it is held back.
    pub(super) fn due(&self, finding: &Finding, now: Duration) -> Option<Duration> {
        let reaction = finding.only_reacts().then(|| self.reactions.due(&finding.resource, now)).flatten();
        self.attempts.due(finding, now).max(reaction)
    }

    /// Reads the whole host and digests what it found. Kinds that could not be read are named.
    pub fn fingerprint(&mut self, host: &Host) -> (Fingerprint, Vec<(KindName, String)>) {
        let mut fingerprint = Fingerprint::default();
        let mut blind = Vec::new();
        for lane in &mut self.lanes {
            let read = lane.observe(host, None);
            lane.looked_aside();
            match read {
                Ok(()) => {
                    for (key, digest) in lane.fingerprint() {
                        fingerprint.insert(lane.kind(), key, digest);
                    }
                    // What could not be read is not the same as what is not there.
                    let unread = lane.unknown().into_iter();
                    blind.extend(unread.map(|(key, why)| (lane.kind(), format!("{key}: {why}"))));
                }
                Err(why) => blind.push((lane.kind(), why)),
            }
            lane.rest();
        }
        (fingerprint, blind)
    }

    /// Reads one resource and writes the TOML that would declare it as it is.
    pub fn declare(&mut self, host: &Host, resource: &ResourceId) -> Option<String> {
        let lane = self.lanes.iter_mut().find(|lane| lane.kind() == resource.kind)?;
        let read = lane.observe(host, Some(&BTreeSet::from([resource.key.clone()])));
        lane.looked_aside();
        read.ok()?;
        let toml = lane.declare(&resource.key);
        lane.rest();
        toml
    }

    /// Widens a scope by what reacts to its resources, and by what its changes touch.
    pub(super) fn widen(&self, scope: &Scope) -> Scope {
        let Scope::Some(kinds) = scope else { return Scope::Full };
        let mut wide = scope.clone();
        // Units come and go with packages, and what is held back meanwhile is to be started.
        if kinds.contains_key(&KindName::Package) && !self.desired.service.is_empty() {
            wide.add(&LookAt::Kind(KindName::Service));
        }
        for lane in self.lanes.iter().filter(|lane| lane.is_read_at_once()) {
            if kinds.contains_key(&lane.kind()) {
                wide.add(&LookAt::Kind(lane.kind()));
            }
        }
        for (kind, within) in kinds {
            let keys = match within {
                KindScope::All => self.keys(*kind).into_iter().collect(),
                KindScope::Keys(keys) => keys.clone(),
            };
            for key in keys {
                for service in self.inputs.dependents(&ResourceId::new(*kind, key)) {
                    wide.add(&LookAt::Resource(service.clone()));
                }
            }
        }
        wide
    }
}
