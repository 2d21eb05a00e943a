//! The record as a pass's memory.

use super::memory::{Converged, DriftId, Intent, Memory, MemoryError, Remembered, Resolution};
use crate::kind::Reaction;
use crate::model::{Key, KindName, OutcomeResult, ResourceId};
use crate::record::{self, Effect, Next, Owned, Record, RecordError, Settled, Settlement, Sighting};

impl Memory for Record {
    fn known(&self, kind: KindName) -> Vec<(Key, Remembered)> {
        let remembered = |(key, owned): (&Key, &Owned)| {
            let generation = self.generation(&ResourceId::new(kind, key.clone()));
            (key.clone(), of_owned(owned, generation))
        };
        self.owned(kind).map(remembered).collect()
    }

    fn resource(&self, id: &ResourceId) -> Remembered {
        let generation = self.generation(id);
        match self.owner_of(id) {
            Some(owned) => of_owned(owned, generation),
            None => Remembered { generation, ..Remembered::default() },
        }
    }

    fn note(&mut self, intents: &[Intent]) -> Result<Vec<DriftId>, MemoryError> {
        let sightings: Vec<Sighting> = intents.iter().map(sighting).collect();
        let numbers = Record::note(self, &sightings).map_err(fault)?;
        Ok(numbers.into_iter().map(|number| number.0).collect())
    }

    fn open(&self) -> Vec<(ResourceId, DriftId)> {
        self.open_drifts().iter().map(|(id, open)| (id.clone(), open.id.0)).collect()
    }

    fn resolve(&mut self, resolutions: &[(DriftId, Resolution)]) -> Result<(), MemoryError> {
        let settled: Vec<Settled> = resolutions
            .iter()
            .map(|(number, resolution)| Settled {
                drift: record::DriftId(*number),
                result: settlement(resolution),
                kept: Vec::new(),
            })
            .collect();
        self.settle(&settled).map_err(fault)
    }

    fn converged(&mut self, rows: &[Converged]) -> Result<(), MemoryError> {
        let row = |row: &Converged| record::Converged {
            resource: row.resource.clone(),
            spec: row.spec,
            prune: row.prune,
        };
        let rows: Vec<record::Converged> = rows.iter().map(row).collect();
        Record::converged(self, &rows).map_err(fault)
    }

    fn forget(&mut self, resources: &[ResourceId]) -> Result<(), MemoryError> {
        self.give_up(resources).map_err(fault)
    }

    fn seen(&self, service: &ResourceId, reaction: Reaction) -> Option<u64> {
        self.level(service, reaction)
    }

    fn see(&mut self, rows: &[(ResourceId, Reaction, u64)]) -> Result<(), MemoryError> {
        self.set_levels(rows).map_err(fault)
    }

    fn suspended(&self, resource: &ResourceId) -> Option<String> {
        let suspension = Record::suspended(self, resource)?;
        let until = match suspension.until {
            Some(until) => format!("until {}", until.strftime("%Y-%m-%d %H:%M UTC")),
            None => "until resumed".to_owned(),
        };
        Some(format!("{} ({}, {until})", suspension.reason, suspension.owner))
    }
}

fn of_owned(owned: &Owned, generation: u64) -> Remembered {
    Remembered { brought: owned.brought, prune: owned.prune, converged: owned.spec, generation }
}

fn sighting(intent: &Intent) -> Sighting {
    let effect = match (intent.creates, intent.removes) {
        (true, _) => Effect::Creates,
        (false, true) => Effect::Removes,
        (false, false) => Effect::Changes,
    };
    let next = match &intent.held {
        Some(held) => Next::Held(Some(held.clone())),
        None => Next::Change { action: intent.action.clone(), effect },
    };
    Sighting {
        resource: intent.resource.clone(),
        verdict: intent.verdict,
        fields: intent.fields.clone(),
        place: intent.declared.clone(),
        prune: intent.prune,
        next,
    }
}

fn settlement(resolution: &Resolution) -> Settlement {
    match resolution {
        Resolution::Right | Resolution::Tried(OutcomeResult::Done | OutcomeResult::DoneNoting { .. }) => {
            Settlement::Corrected
        }
        Resolution::Gone => Settlement::Gone,
        Resolution::NotConverging => Settlement::NotConverging,
        Resolution::Tried(OutcomeResult::Failed { message }) => Settlement::Failed(message.clone()),
        Resolution::Tried(OutcomeResult::Waiting { message }) => Settlement::Waiting(message.clone()),
    }
}

fn fault(error: RecordError) -> MemoryError {
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(source) = cause {
        message.push_str(": ");
        message.push_str(&source.to_string());
        cause = source.source();
    }
    MemoryError { message }
}
