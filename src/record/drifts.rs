//! Drifts from first sight to the end: what was seen, what was about to be done (on disk before it is), what
//! came of it. One drift is the time in which one resource differs, however often it is tried.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::chain::{self, Entry, Ledger};
use super::notes::{self, Space};
use super::ownership;
use super::passes::PassId;
use super::{Durability, Owned, Record, RecordError};
use crate::model::plan::Held;
use crate::model::{
    Attribution, CommitId, Digest, FieldDiff, LineAuthor, Place, ResourceId, Verdict, fingerprint,
};

/// Names a drift on this host. Counts from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DriftId(pub u64);

impl fmt::Display for DriftId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A difference as a pass saw it, and what is about to be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// What differs from its declaration.
    pub resource: ResourceId,
    /// Why.
    pub verdict: Verdict,
    /// What differs.
    pub fields: Vec<FieldDiff>,
    /// Where the declaration demands otherwise.
    pub place: Option<Place>,
    /// Whether its declaration wants it removed once dropped.
    pub prune: bool,
    /// What happens next.
    pub next: Next,
}

/// What happens next with a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing in this pass; why, if a reason is known.
    Held(Option<Held>),
    /// It is about to be changed: this is the intent.
    Change {
        /// The line of the plan.
        action: String,
        /// What it does to the existence of the resource.
        effect: Effect,
    },
}

/// What a change does to the existence of a resource: decides what counts as brought by the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// It was certainly not there before: the agent brings it, and may take it away again.
    Creates,
    /// It was there before.
    Changes,
    /// It is taken away.
    Removes,
}

/// What came of a drift in this pass, once verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Which.
    pub drift: DriftId,
    /// How it went.
    pub result: Settlement,
    /// Under which ids the keep holds what was there before.
    pub kept: Vec<String>,
}

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", content = "message", rename_all = "kebab-case")]
pub enum Settlement {
    /// Done, and a second look found it as declared: the drift is over.
    Corrected,
    /// Found as declared without the agent's doing: the drift is over.
    Gone,
    /// The declaration no longer speaks of it: the drift is over.
    GivenUp,
    /// Tried and failed; the drift stays.
    Failed(String),
    /// Not done: something else must come first; the drift stays.
    Waiting(String),
    /// Done, and a second look still found it different; the drift stays.
    NotConverging,
    /// The agent ended between intent and outcome; the next pass looks again.
    Interrupted,
}

impl Settlement {
    /// Whether the drift is over.
    pub const fn ends(&self) -> bool {
        match self {
            Settlement::Corrected | Settlement::Gone | Settlement::GivenUp => true,
            Settlement::Failed(_)
            | Settlement::Waiting(_)
            | Settlement::NotConverging
            | Settlement::Interrupted => false,
        }
    }
}

/// A drift that is not over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenDrift {
    /// Its number.
    pub id: DriftId,
    /// When it was first seen.
    pub seen: Timestamp,
    /// How often a correction was begun.
    pub attempts: u32,
    /// Whether a correction was begun and has no outcome yet.
    pub pending: bool,
    /// The pass that wrote of it last.
    pub pass: PassId,
    /// Of the sighting that was written last: the same again is not written again.
    pub words: Digest,
    /// Whether the intent under way is what made the resource count as brought by the agent.
    #[serde(default)]
    pub brings: bool,
    /// Of the attribution that was written last, if there is one: the same again is not written again.
    #[serde(default)]
    pub attributed: Option<Digest>,
}

impl Record {
    /// The drift of this resource that is not over.
    pub fn open_drift(&self, resource: &ResourceId) -> Option<&OpenDrift> {
        self.open.get(resource)
    }

    /// All drifts that are not over.
    pub fn open_drifts(&self) -> &BTreeMap<ResourceId, OpenDrift> {
        &self.open
    }

    /// Writes down what differs and what is about to be changed, in the current pass, in one transaction.
    /// Returns the number of each drift, in the same order.
    ///
    /// When this returns, intents are on disk and their resources owned: only then may the host be changed,
    /// and if it fails nothing may. Each intent makes its resource's generation grow by one. A difference that
    /// is held back and was written already costs nothing, so that a drift that stays is one entry and not one
    /// a pass.
    pub fn note(&mut self, sightings: &[Sighting]) -> Result<Vec<DriftId>, RecordError> {
        let mut batch = Batch::of(self);
        let numbers = sightings.iter().map(|sighting| batch.note(sighting)).collect();
        let Batch { entries, open, rows, mut ledger, at, durability, .. } = batch;
        if entries.is_empty() {
            return Ok(numbers);
        }
        self.write("write down what is about to be changed", durability, |db| {
            chain::append(db, &mut ledger, at, &entries)?;
            rows.iter().try_for_each(|(resource, row)| ownership::write(db, resource, row))?;
            open.iter().try_for_each(|(resource, open)| write_open(db, resource, open))
        })?;
        self.ledger = ledger;
        self.open.extend(open);
        self.resources.extend(rows);
        Ok(numbers)
    }

    /// Writes down what came of drifts in the current pass. A change that failed to create leaves its resource
    /// not brought by the agent; when in doubt, nothing of ours is there to be pruned.
    pub fn settle(&mut self, settled: &[Settled]) -> Result<(), RecordError> {
        let mut after = After::default();
        let by_number: BTreeMap<DriftId, &ResourceId> =
            self.open.iter().map(|(resource, open)| (open.id, resource)).collect();
        for Settled { drift, result, kept } in settled {
            let Some(resource) = by_number.get(drift) else { continue };
            after.settle(self, resource, result, kept, self.pass_now());
        }
        self.commit("write down what came of a change", Durability::Synced, after)
    }

    /// Writes down who made the changes behind drifts, over or not, in one transaction. The same again of a drift that
    /// is not over costs nothing. A power cut may lose it: nothing that is done to the host rests on it.
    pub fn attribute(&mut self, attributions: &[(DriftId, Attribution)]) -> Result<(), RecordError> {
        let mut after = After::default();
        for (drift, attribution) in attributions {
            let words = fingerprint::of(attribution);
            if let Some((resource, open)) = self.open.iter().find(|(_, open)| open.id == *drift) {
                if open.attributed == Some(words) {
                    continue;
                }
                let open = OpenDrift { attributed: Some(words), ..open.clone() };
                after.left_open.push((resource.clone(), open));
            }
            after
                .entries
                .push(Entry::Attributed { drift: *drift, attribution: Box::new(attribution.clone()) });
        }
        self.commit("write down who made a change", Durability::Written, after)
    }

    /// Writes down who wrote the lines that demanded otherwise, in one transaction. A power cut may lose it.
    pub fn demanded(&mut self, authors: &[(DriftId, LineAuthor)]) -> Result<(), RecordError> {
        let entry = |(drift, author): &(DriftId, LineAuthor)| Entry::Demanded {
            drift: *drift,
            author: Box::new(author.clone()),
        };
        let after = After { entries: authors.iter().map(entry).collect(), ..After::default() };
        self.commit("write down who wrote a line", Durability::Written, after)
    }

    /// Ends the drifts of these resources, if there are any; others are passed over.
    pub(super) fn end_drifts(
        &mut self,
        result: &Settlement,
        resources: &mut dyn Iterator<Item = &ResourceId>,
    ) -> Result<(), RecordError> {
        let mut after = After::default();
        for resource in resources.filter(|resource| self.open.contains_key(*resource)) {
            after.settle(self, resource, result, &[], self.pass_now());
        }
        self.commit("write down that a drift is over", Durability::Written, after)
    }

    /// Gives every intent that has no outcome the outcome `Interrupted`. Returns their resources.
    pub(super) fn interrupt_pending(&mut self) -> Result<Vec<ResourceId>, RecordError> {
        let mut after = After::default();
        for (resource, open) in self.open.iter().filter(|(_, open)| open.pending) {
            after.settle(self, resource, &Settlement::Interrupted, &[], open.pass);
        }
        let interrupted = after.left_open.iter().map(|(resource, _)| resource.clone()).collect();
        self.commit("write down what was interrupted", Durability::Synced, after)?;
        Ok(interrupted)
    }

    /// Appends entries that change no state.
    pub(super) fn append(&mut self, doing: &'static str, entries: &[Entry]) -> Result<(), RecordError> {
        let (mut ledger, now) = (self.ledger, self.clock.now());
        self.write(doing, Durability::Synced, |db| chain::append(db, &mut ledger, now, entries))?;
        self.ledger = ledger;
        Ok(())
    }

    fn commit(
        &mut self,
        doing: &'static str,
        durability: Durability,
        after: After,
    ) -> Result<(), RecordError> {
        let After { entries, closed, left_open, rows } = after;
        if entries.is_empty() {
            return Ok(());
        }
        let (mut ledger, now) = (self.ledger, self.clock.now());
        self.write(doing, durability, |db| {
            chain::append(db, &mut ledger, now, &entries)?;
            rows.iter().try_for_each(|(resource, row)| ownership::write(db, resource, row))?;
            left_open.iter().try_for_each(|(resource, open)| write_open(db, resource, open))?;
            closed.iter().try_for_each(|resource| notes::erase(db, Space::Open, &resource.to_string()))
        })?;
        self.ledger = ledger;
        self.resources.extend(rows);
        self.open.extend(left_open);
        for resource in &closed {
            self.open.remove(resource);
        }
        Ok(())
    }
}

/// Sightings under construction: what is in memory changes only when they are on disk.
struct Batch<'a> {
    record: &'a Record,
    pass: PassId,
    commit: Option<CommitId>,
    author: Option<String>,
    at: Timestamp,
    durability: Durability,
    ledger: Ledger,
    entries: Vec<Entry>,
    open: BTreeMap<ResourceId, OpenDrift>,
    rows: BTreeMap<ResourceId, ownership::Row>,
}

impl<'a> Batch<'a> {
    fn of(record: &'a Record) -> Self {
        Batch {
            record,
            pass: record.pass_now(),
            commit: record.current.as_ref().and_then(|pass| pass.commit.clone()),
            author: record.current.as_ref().and_then(|pass| pass.author.clone()),
            at: record.clock.now(),
            durability: Durability::Written,
            ledger: record.ledger,
            entries: Vec::new(),
            open: BTreeMap::new(),
            rows: BTreeMap::new(),
        }
    }

    fn note(&mut self, sighting: &Sighting) -> DriftId {
        let words = words_of(sighting);
        let mut open = self.known(&sighting.resource).unwrap_or_else(|| {
            self.ledger.drift += 1;
            OpenDrift {
                id: DriftId(self.ledger.drift),
                seen: self.at,
                attempts: 0,
                pending: false,
                pass: self.pass,
                words: Digest::from_bytes([0; 32]),
                brings: false,
                attributed: None,
            }
        });
        let drift = open.id;
        if open.words != words {
            open.words = words;
            open.pass = self.pass;
            self.entries.push(self.seen(drift, sighting));
        }
        if let Next::Change { action, effect } = &sighting.next {
            self.intend(&mut open, sighting, action, *effect);
        }
        self.open.insert(sighting.resource.clone(), open);
        drift
    }

    fn intend(&mut self, open: &mut OpenDrift, sighting: &Sighting, action: &str, effect: Effect) {
        let resource = &sighting.resource;
        let old = self.rows.get(resource).or_else(|| self.record.resources.get(resource));
        let row = ownership::intended(old, effect, sighting.prune, self.at);
        open.brings |= row.owned.brought && !old.is_some_and(|row| row.owned.brought);
        open.attempts += 1;
        open.pending = true;
        open.pass = self.pass;
        self.rows.insert(resource.clone(), row);
        self.durability = Durability::Synced;
        self.entries.push(Entry::Intent {
            drift: open.id,
            pass: self.pass,
            resource: resource.clone(),
            action: action.to_owned(),
            effect,
        });
    }

    fn known(&self, resource: &ResourceId) -> Option<OpenDrift> {
        self.open.get(resource).or_else(|| self.record.open.get(resource)).cloned()
    }

    fn seen(&self, drift: DriftId, sighting: &Sighting) -> Entry {
        let Sighting { resource, verdict, fields, place, prune: _, next } = sighting.clone();
        let held = match next {
            Next::Held(why) => why,
            Next::Change { .. } => None,
        };
        let (pass, commit) = (self.pass, self.commit.clone());
        let author = self.author.clone();
        Entry::Seen { drift, pass, resource, verdict, fields, place, commit, author, held }
    }
}

/// What makes two sightings of a drift the same. The words of a wait are left out: they may count down.
fn words_of(sighting: &Sighting) -> Digest {
    let Sighting { resource: _, verdict, fields, place, prune: _, next } = sighting;
    let held = match next {
        Next::Held(Some(held)) => Some(std::mem::discriminant(held)),
        Next::Held(None) | Next::Change { .. } => None,
    };
    fingerprint::of(&(verdict, fields, place.as_ref().map(ToString::to_string), format!("{held:?}")))
}

/// What is true once outcomes are on disk.
#[derive(Default)]
struct After {
    entries: Vec<Entry>,
    closed: Vec<ResourceId>,
    left_open: Vec<(ResourceId, OpenDrift)>,
    rows: Vec<(ResourceId, ownership::Row)>,
}

impl After {
    /// Settles the open drift of a resource; there must be one.
    fn settle(
        &mut self,
        record: &Record,
        resource: &ResourceId,
        result: &Settlement,
        kept: &[String],
        pass: PassId,
    ) {
        let Some(open) = record.open.get(resource) else { return };
        let (drift, result, kept) = (open.id, result.clone(), kept.to_vec());
        if result.ends() {
            self.closed.push(resource.clone());
        } else {
            let failed = matches!(result, Settlement::Failed(_) | Settlement::Waiting(_));
            if open.brings && failed {
                // Whether it is there now is not known, and whoever brings it next need not be us.
                self.rows.extend(record.resources.get(resource).map(|row| {
                    let owned = Owned { brought: false, ..row.owned.clone() };
                    (resource.clone(), ownership::Row { owned, ..row.clone() })
                }));
            }
            let brings = open.brings && !failed;
            self.left_open.push((resource.clone(), OpenDrift { pending: false, brings, ..open.clone() }));
        }
        self.entries.push(Entry::Outcome { drift, pass, result, kept });
    }
}

fn write_open(db: &rusqlite::Connection, resource: &ResourceId, open: &OpenDrift) -> rusqlite::Result<()> {
    notes::write(db, Space::Open, &resource.to_string(), &chain::to_json(open)?)
}
