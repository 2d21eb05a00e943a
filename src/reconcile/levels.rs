//! The levels of inputs that services react to. The numbers are the memory's; here is who reacts to what.

use std::collections::{BTreeMap, BTreeSet};

use super::memory::{Memory, MemoryError};
use crate::kind::{Levels, Reaction};
use crate::model::ResourceId;

/// What each service reacts to, and how.
#[derive(Debug, Default)]
pub struct Inputs(BTreeMap<(ResourceId, Reaction), Vec<ResourceId>>);

impl Inputs {
    /// A service of which nothing was recorded is taken to have seen its inputs as they are: adopting a running
    /// service restarts nothing. That baseline is durable before the first change, so that a reaction that becomes
    /// owed is never forgotten.
    pub fn lay_baseline(&self, memory: &mut dyn Memory) -> Result<(), MemoryError> {
        let unknown = self.0.keys().filter(|(service, reaction)| memory.seen(service, *reaction).is_none());
        let baseline: Vec<_> =
            unknown.filter_map(|(service, reaction)| self.level(service, *reaction, memory)).collect();
        if baseline.is_empty() { Ok(()) } else { memory.see(&baseline) }
    }

    /// What to write down when a service took notice of its inputs as they are now.
    pub fn settled(
        &self,
        service: &ResourceId,
        reactions: &[Reaction],
        memory: &dyn Memory,
    ) -> Vec<(ResourceId, Reaction, u64)> {
        reactions.iter().filter_map(|reaction| self.level(service, *reaction, memory)).collect()
    }

    /// All inputs of a service.
    pub fn of<'a>(&'a self, service: &'a ResourceId) -> impl Iterator<Item = &'a ResourceId> {
        let of_service = self.0.iter().filter(move |((id, _), _)| id == service);
        of_service.flat_map(|(_, inputs)| inputs)
    }

    /// The services that react to a resource.
    pub fn dependents<'a>(&'a self, input: &'a ResourceId) -> impl Iterator<Item = &'a ResourceId> {
        self.0.iter().filter(move |(_, inputs)| inputs.contains(input)).map(|((service, _), _)| service)
    }

    fn level(
        &self,
        service: &ResourceId,
        reaction: Reaction,
        memory: &dyn Memory,
    ) -> Option<(ResourceId, Reaction, u64)> {
        let inputs = self.0.get(&(service.clone(), reaction))?;
        Some((service.clone(), reaction, sum(inputs, memory)))
    }
}

impl FromIterator<(ResourceId, Reaction, ResourceId)> for Inputs {
    /// Who reacts, how, and to what.
    fn from_iter<T: IntoIterator<Item = (ResourceId, Reaction, ResourceId)>>(rows: T) -> Self {
        let mut inputs: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (service, reaction, input) in rows {
            inputs.entry((service, reaction)).or_default().push(input);
        }
        Inputs(inputs)
    }
}

/// The levels as a comparison sees them: with what is about to change in this pass.
pub struct LevelView<'a> {
    /// The numbers.
    pub memory: &'a dyn Memory,
    /// What is about to change.
    pub changing: &'a BTreeSet<ResourceId>,
}

impl Levels for LevelView<'_> {
    fn now(&self, inputs: &[ResourceId]) -> Option<u64> {
        (!inputs.iter().any(|id| self.changing.contains(id))).then(|| sum(inputs, self.memory))
    }

    fn seen(&self, service: &ResourceId, reaction: Reaction) -> Option<u64> {
        self.memory.seen(service, reaction)
    }
}

fn sum(inputs: &[ResourceId], memory: &dyn Memory) -> u64 {
    inputs.iter().map(|id| memory.resource(id).generation).sum()
}
