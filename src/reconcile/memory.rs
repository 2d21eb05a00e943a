//! What a pass remembers and writes down. The record is the durable one; [`Forgetful`] serves plans that are
//! made without a daemon, and tests.

use std::collections::BTreeMap;

use crate::kind::Reaction;
use crate::model::plan::Held;
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
    /// Why it is not changed now; none if it is.
    pub held: Option<Held>,
    /// Whether it is not there yet and the change creates it.
    pub creates: bool,
    /// Whether the change takes it away.
    pub removes: bool,
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
}

/// The number of a drift in the record.
pub type DriftId = u64;

/// Memory could not be written: no change is begun that could not be accounted for.
#[derive(Debug, thiserror::Error)]
#[error(
    "the record can't be written ({message}): no further change is begun until it can; free space below its folder"
)]
pub struct MemoryError {
    /// What failed, on which file.
    pub message: String,
}

/// What a pass remembers and writes down. Asking is cheap: it is asked of single resources in every pass.
pub trait Memory: Send {
    /// Everything of one kind that is under management.
    fn known(&self, kind: KindName) -> Vec<(Key, Remembered)>;
    /// What is remembered of one resource.
    fn resource(&self, id: &ResourceId) -> Remembered;
    /// Writes intents and sightings down, durably, in one go; generations of those that apply grow by one.
    /// A drift keeps its number for as long as the resource differs. Numbers come in the same order.
    fn note(&mut self, intents: &[Intent]) -> Result<Vec<DriftId>, MemoryError>;
    /// The drifts that are not over.
    fn open(&self) -> Vec<(ResourceId, DriftId)>;
    /// Writes down what became of drifts.
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
    open: BTreeMap<ResourceId, DriftId>,
    /// Every intent so far.
    pub intents: Vec<Intent>,
    /// Every resolution so far.
    pub resolutions: Vec<(DriftId, Resolution)>,
}

impl Forgetful {
    /// Suspends a resource.
    pub fn suspend(&mut self, resource: ResourceId, reason: &str) {
        self.suspended.insert(resource, reason.to_owned());
    }
}

impl Memory for Forgetful {
    fn known(&self, kind: KindName) -> Vec<(Key, Remembered)> {
        let of_kind = self.resources.iter().filter(|(id, _)| id.kind == kind);
        of_kind.map(|(id, remembered)| (id.key.clone(), remembered.clone())).collect()
    }

    fn resource(&self, id: &ResourceId) -> Remembered {
        self.resources.get(id).cloned().unwrap_or_default()
    }

    fn note(&mut self, intents: &[Intent]) -> Result<Vec<DriftId>, MemoryError> {
        let mut numbers = Vec::new();
        for intent in intents {
            if intent.held.is_none() {
                let remembered = self.resources.entry(intent.resource.clone()).or_default();
                remembered.generation += 1;
                remembered.brought |= intent.creates;
            }
            let next = self.intents.len() as DriftId + 1;
            numbers.push(*self.open.entry(intent.resource.clone()).or_insert(next));
            self.intents.push(intent.clone());
        }
        Ok(numbers)
    }

    fn open(&self) -> Vec<(ResourceId, DriftId)> {
        self.open.iter().map(|(id, number)| (id.clone(), *number)).collect()
    }

    fn resolve(&mut self, resolutions: &[(DriftId, Resolution)]) -> Result<(), MemoryError> {
        for (number, resolution) in resolutions {
            if matches!(resolution, Resolution::Right | Resolution::Gone) {
                self.open.retain(|_, open| open != number);
            }
            self.resolutions.push((*number, resolution.clone()));
        }
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
            self.open.remove(id);
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
