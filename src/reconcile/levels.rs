//! The levels of inputs that services react to, mirrored in memory so that a quiet pass asks the record nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::memory::{Memory, MemoryError};
use crate::kind::{Levels, Reaction};
use crate::model::ResourceId;

/// Generations of inputs, and what each service has seen of them.
#[derive(Debug, Default)]
pub struct Ledger {
    inputs: Inputs,
    generations: BTreeMap<ResourceId, u64>,
    seen: BTreeMap<(ResourceId, Reaction), u64>,
}

/// What each service reacts to, and how.
pub type Inputs = BTreeMap<(ResourceId, Reaction), Vec<ResourceId>>;

impl Ledger {
    /// Takes up the services of a desired state with their inputs. A service of which nothing was recorded is
    /// taken to have seen its inputs as they are: adopting a running service restarts nothing. That baseline
    /// is durable before the first change, so that a reaction that becomes owed is never forgotten.
    pub fn adopt(inputs: Inputs, memory: &mut dyn Memory) -> Result<Self, MemoryError> {
        let generations = generations_of(inputs.values().flatten().collect(), memory);
        let mut ledger = Ledger { inputs, generations, seen: BTreeMap::new() };
        let mut baseline = Vec::new();
        for ((service, reaction), inputs) in &ledger.inputs {
            let level = memory.seen(service, *reaction).unwrap_or_else(|| {
                let level = ledger.sum(inputs);
                baseline.push((service.clone(), *reaction, level));
                level
            });
            ledger.seen.insert((service.clone(), *reaction), level);
        }
        if !baseline.is_empty() {
            memory.see(&baseline)?;
        }
        Ok(ledger)
    }

    /// The generations of these grew by one.
    pub fn grow<'a>(&mut self, changed: impl Iterator<Item = &'a ResourceId>) {
        for id in changed {
            *self.generations.entry(id.clone()).or_default() += 1;
        }
    }

    /// A service took notice of its inputs as they are now. Returns what to write down.
    pub fn settle(
        &mut self,
        service: &ResourceId,
        reactions: &[Reaction],
    ) -> Vec<(ResourceId, Reaction, u64)> {
        let mut rows = Vec::new();
        for reaction in reactions {
            let Some(inputs) = self.inputs.get(&(service.clone(), *reaction)) else { continue };
            let level = self.sum(inputs);
            self.seen.insert((service.clone(), *reaction), level);
            rows.push((service.clone(), *reaction, level));
        }
        rows
    }

    /// All inputs of a service.
    pub fn inputs<'a>(&'a self, service: &'a ResourceId) -> impl Iterator<Item = &'a ResourceId> {
        let of_service = self.inputs.iter().filter(move |((id, _), _)| id == service);
        of_service.flat_map(|(_, inputs)| inputs)
    }

    /// The services that react to a resource.
    pub fn dependents<'a>(&'a self, input: &'a ResourceId) -> impl Iterator<Item = &'a ResourceId> {
        self.inputs.iter().filter(move |(_, inputs)| inputs.contains(input)).map(|((service, _), _)| service)
    }

    /// The view a comparison gets: with what is about to change in this pass.
    pub fn view<'a>(&'a self, changing: &'a BTreeSet<ResourceId>) -> LevelView<'a> {
        LevelView { ledger: self, changing }
    }

    fn sum(&self, inputs: &[ResourceId]) -> u64 {
        inputs.iter().filter_map(|id| self.generations.get(id)).sum()
    }
}

/// A [`Ledger`] as a comparison sees it.
pub struct LevelView<'a> {
    ledger: &'a Ledger,
    changing: &'a BTreeSet<ResourceId>,
}

impl Levels for LevelView<'_> {
    fn now(&self, inputs: &[ResourceId]) -> Option<u64> {
        (!inputs.iter().any(|id| self.changing.contains(id))).then(|| self.ledger.sum(inputs))
    }

    fn seen(&self, service: &ResourceId, reaction: Reaction) -> Option<u64> {
        self.ledger.seen.get(&(service.clone(), reaction)).copied()
    }
}

fn generations_of(wanted: BTreeSet<&ResourceId>, memory: &dyn Memory) -> BTreeMap<ResourceId, u64> {
    let kinds: BTreeSet<_> = wanted.iter().map(|id| id.kind).collect();
    let known = kinds.into_iter().flat_map(|kind| {
        let of_kind = memory.known(kind).into_iter();
        of_kind.map(move |(key, remembered)| (ResourceId::new(kind, key), remembered.generation))
    });
    known.filter(|(id, _)| wanted.contains(id)).collect()
}
