//! The lanes of all kinds, with what outlives a single pass: the desired state, what reacts to what and the
//! attempts made lately.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::attempts::Attempts;
use super::lane::Stage;
use super::levels::Inputs;
use super::memory::{Memory, MemoryError};
use super::scope::{KindScope, Scope};
use crate::host::Host;
use crate::kind::{Desired, LookAt, Watch};
use crate::model::fingerprint::Fingerprint;
use crate::model::{Diagnostic, Digest, Key, KindName, ResourceId};

/// All kinds at work on one host.
pub struct Engine {
    pub(super) lanes: Vec<Box<dyn Stage>>,
    pub(super) desired: Arc<Desired>,
    pub(super) inputs: Inputs,
    pub(super) attempts: Attempts,
}

impl Engine {
    /// An engine over these kinds, in the order in which a pass observes them.
    pub fn new(lanes: Vec<Box<dyn Stage>>) -> Self {
        Engine { lanes, desired: Arc::default(), inputs: Inputs::default(), attempts: Attempts::default() }
    }

    /// Takes up a desired state. What the declaration dropped is given up, except what is to be pruned.
    /// An empty desired state is the caller's error: it never comes here.
    pub fn adopt(&mut self, desired: Arc<Desired>, memory: &mut dyn Memory) -> Result<(), MemoryError> {
        let mut given_up = Vec::new();
        for lane in &mut self.lanes {
            let kind = lane.kind();
            let keys = lane.adopt(&desired, memory);
            given_up.extend(keys.into_iter().map(|key| ResourceId::new(kind, key)));
        }
        if !given_up.is_empty() {
            memory.forget(&given_up)?;
        }
        self.inputs = Inputs::adopt(self.lanes.iter().flat_map(|lane| lane.inputs()), memory)?;
        self.attempts.clear_all();
        self.desired = desired;
        Ok(())
    }

    /// Faults of a desired state that root itself looks for, whoever compiled it.
    pub fn validate(&self, desired: &Desired) -> Vec<Diagnostic> {
        self.lanes.iter().flat_map(|lane| lane.validate(desired)).collect()
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

    /// Digests of the contents the desired state in force lays down.
    pub fn contents(&self) -> BTreeSet<Digest> {
        self.lanes.iter().flat_map(|lane| lane.contents()).collect()
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

    /// Forgets how often resources were changed lately: a person asked, so waits no longer hold.
    pub fn forgive(&mut self) {
        self.attempts.clear_all();
    }

    /// When the next attempt on a resource is due, if it is held back.
    pub(super) fn due(&self, resource: &ResourceId, now: std::time::Duration) -> Option<std::time::Duration> {
        self.attempts.due(resource, now)
    }

    /// Reads the whole host and digests what it found. Kinds that could not be read are named.
    pub fn fingerprint(&mut self, host: &Host) -> (Fingerprint, Vec<(KindName, String)>) {
        let mut fingerprint = Fingerprint::default();
        let mut blind = Vec::new();
        for lane in &mut self.lanes {
            match lane.observe(host, None) {
                Ok(()) => {
                    for (key, digest) in lane.fingerprint() {
                        fingerprint.insert(lane.kind(), key, digest);
                    }
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
        lane.observe(host, Some(&BTreeSet::from([resource.key.clone()]))).ok()?;
        let toml = lane.declare(&resource.key);
        lane.rest();
        toml
    }

    /// Widens a scope by what reacts to its resources.
    pub(super) fn widen(&self, scope: &Scope) -> Scope {
        let Scope::Some(kinds) = scope else { return Scope::Full };
        let mut wide = scope.clone();
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
