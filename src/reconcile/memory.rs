//! What a pass remembers and writes down. The record is the durable one; [`Forgetful`] serves plans that are
//! made without a daemon, and tests.

use std::collections::BTreeMap;

use crate::kind::Reaction;
use crate::model::{Digest, FieldDiff, Key, KindName, OutcomeResult, Place, ResourceId, Verdict};

/// What is remembered of one resource that is or was under management.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// The agent itself brought it: only then may pruning take it away.
    pub brought: bool,
    /// `prune` as last declared.
    pub prune: bool,
    /// Digest of the spec at the last convergence; none if it never converged.
    pub converged: Option<Digest>,
    /// Grows with every intent to change it.
    pub generation: u64,
}

/// A drift that was seen, about to be written down. If it will be applied, this is the intent, and it is on
/// disk before the first change.
#[derive(Clone, Debug, PartialEq)]
pub struct Intent {
    /// Which resource.
    pub resource: ResourceId,
    /// Why it differs.
    pub verdict: Verdict,
    /// What differs.
    pub fields: Vec<FieldDiff>,
    /// What will be done, in words; empty if nothing will be.
    pub action: String,
    /// Whether it will be changed now.
    pub applies: bool,
    /// Whether it is not there yet and the change creates it.
    pub creates: bool,
    /// `prune` as declared.
    pub prune: bool,
    /// Where the declaration demands it.
    pub declared: Option<Place>,
}

/// What became of an intent.
#[derive(Clone, Debug, PartialEq)]
pub enum Resolution {
    /// Corrected or applied, and verified.
    Right,
    /// It went away by itself, or someone else put it right.
    Gone,
    /// Tried; the kind says how it went.
    Tried(OutcomeResult),
    /// Applied without complaint, and it still differs.
    NotConverging,
    /// It was still open when a later attempt began, which has a number of its own.
    Retried,
}

/// The number of a drift in the record.
pub type DriftId = u64;

/// Memory could not be written: no change may be made that could not be accounted for.
#[derive(Debug, thiserror::Error)]
#[error(
    "the record can't be written ({message}): nothing is changed until it can; free space or repair {place}"
)]
pub struct MemoryError {
    /// What failed.
    pub message: String,
    /// Where the record is.
    pub place: String,
}

/// What a pass remembers and writes down.
pub trait Memory: Send {
    /// Everything known of one kind.
    fn known(&self, kind: KindName) -> BTreeMap<Key, Remembered>;
    /// Writes intents and sightings down, durably, in one go; generations of those that apply grow by one.
    /// Returns their numbers in the same order.
    fn note(&mut self, intents: &[Intent]) -> Result<Vec<DriftId>, MemoryError>;
    /// Writes down what became of them.
    fn resolve(&mut self, resolutions: &[(DriftId, Resolution)]) -> Result<(), MemoryError>;
    /// These are as declared, under this spec: they are owned from now on.
    fn converged(&mut self, rows: &[Converged]) -> Result<(), MemoryError>;
    /// These are no longer under management.
    fn forget(&mut self, resources: &[ResourceId]) -> Result<(), MemoryError>;
    /// What a service had seen of its inputs.
    fn seen(&self, service: &ResourceId, reaction: Reaction) -> Option<u64>;
    /// Writes down what a service has seen.
    fn see(&mut self, rows: &[(ResourceId, Reaction, u64)]) -> Result<(), MemoryError>;
    /// Why a person suspended it, if so.
    fn suspended(&self, resource: &ResourceId) -> Option<String>;
}

/// A resource that is as declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converged {
    /// Which.
    pub resource: ResourceId,
    /// Digest of its spec.
    pub spec: Digest,
    /// `prune` as declared.
    pub prune: bool,
}

/// Memory that ends with the process.
#[derive(Clone, Debug, Default)]
pub struct Forgetful {
    resources: BTreeMap<ResourceId, Remembered>,
    seen: BTreeMap<(ResourceId, Reaction), u64>,
    suspended: BTreeMap<ResourceId, String>,
    /// Every intent so far; its position is its number.
    pub intents: Vec<Intent>,
    /// Every resolution so far.
    pub resolutions: Vec<(DriftId, Resolution)>,
}

impl Forgetful {
    /// Suspends a resource.
    pub fn suspend(&mut self, resource: ResourceId, reason: &str) {
        self.suspended.insert(resource, reason.to_owned());
    }

    /// What is remembered of a resource.
    pub fn resource(&self, id: &ResourceId) -> Option<&Remembered> {
        self.resources.get(id)
    }
}

impl Memory for Forgetful {
    fn known(&self, kind: KindName) -> BTreeMap<Key, Remembered> {
        let of_kind = self.resources.iter().filter(|(id, _)| id.kind == kind);
        of_kind.map(|(id, remembered)| (id.key.clone(), remembered.clone())).collect()
    }

    fn note(&mut self, intents: &[Intent]) -> Result<Vec<DriftId>, MemoryError> {
        let first = self.intents.len() as u64;
        for intent in intents.iter().filter(|intent| intent.applies) {
            let remembered = self.resources.entry(intent.resource.clone()).or_default();
            remembered.generation += 1;
            remembered.brought |= intent.creates;
        }
        self.intents.extend_from_slice(intents);
        Ok((first..self.intents.len() as u64).collect())
    }

    fn resolve(&mut self, resolutions: &[(DriftId, Resolution)]) -> Result<(), MemoryError> {
        self.resolutions.extend_from_slice(resolutions);
        Ok(())
    }

    fn converged(&mut self, rows: &[Converged]) -> Result<(), MemoryError> {
        for row in rows {
            let remembered = self.resources.entry(row.resource.clone()).or_default();
            remembered.converged = Some(row.spec);
            remembered.prune = row.prune;
        }
        Ok(())
    }

    fn forget(&mut self, resources: &[ResourceId]) -> Result<(), MemoryError> {
        for id in resources {
            self.resources.remove(id);
        }
        Ok(())
    }

    fn seen(&self, service: &ResourceId, reaction: Reaction) -> Option<u64> {
        self.seen.get(&(service.clone(), reaction)).copied()
    }

    fn see(&mut self, rows: &[(ResourceId, Reaction, u64)]) -> Result<(), MemoryError> {
        for (service, reaction, level) in rows {
            self.seen.insert((service.clone(), *reaction), *level);
        }
        Ok(())
    }

    fn suspended(&self, resource: &ResourceId) -> Option<String> {
        self.suspended.get(resource).cloned()
    }
}
