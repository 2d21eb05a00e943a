//! Small things that are remembered by name: suspensions, approvals, quarantined commits, facts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::chain::{self, Entry, conversion, from_json, to_json};
use super::schema::RowSum;
use super::{Durability, Record, RecordError};
use crate::model::{CommitId, KindName, ResourceId};

/// What a suspension holds for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SuspendTarget {
    /// Everything on the host.
    All,
    /// One kind.
    Kind(KindName),
    /// One resource.
    Resource(ResourceId),
}

impl SuspendTarget {
    /// Whether it holds for a resource.
    pub fn covers(&self, resource: &ResourceId) -> bool {
        match self {
            SuspendTarget::All => true,
            SuspendTarget::Kind(kind) => *kind == resource.kind,
            SuspendTarget::Resource(one) => one == resource,
        }
    }
}

impl fmt::Display for SuspendTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SuspendTarget::All => f.write_str("all"),
            SuspendTarget::Kind(kind) => write!(f, "{kind}"),
            SuspendTarget::Resource(resource) => write!(f, "{resource}"),
        }
    }
}

impl FromStr for SuspendTarget {
    type Err = String;

    /// `all`, a kind (`file`), or a resource (`file:/etc/motd`).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "all" => Ok(SuspendTarget::All),
            _ if text.contains(':') => Ok(SuspendTarget::Resource(text.parse()?)),
            _ => text.parse().map(SuspendTarget::Kind).map_err(|_| {
                format!("`{text}` is no target: use all, a kind such as file, or a resource such as file:/etc/motd")
            }),
        }
    }
}

impl Serialize for SuspendTarget {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SuspendTarget {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A person said: look, but keep your hands off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    /// Of what.
    pub target: SuspendTarget,
    /// Why. Untrusted text.
    pub reason: String,
    /// Who said so: a user name. Untrusted text.
    pub owner: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when; none for as long as nobody resumes.
    pub until: Option<Timestamp>,
}

/// A person approved what was held: a plan (by digest) or a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// The commit or the digest of the plan.
    pub what: String,
    /// Who said so. Untrusted text.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// What may be removed by it: what waited when it was given, and nothing that came to it later.
    #[serde(default)]
    pub removals: BTreeSet<ResourceId>,
}

/// A commit that is not to be applied again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// Which.
    pub commit: CommitId,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// What is remembered by name, one value each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fact {
    /// The commit that was last accepted, and of which branch: the host never follows an older one by itself.
    LastAccepted,
    /// What the last applied desired state was compiled from.
    Compiled,
    /// When the remote was last reached, and what it said.
    LastFetch,
    /// When a revision was last applied.
    LastApplied,
    /// Since when the host is in or out of sync.
    SyncSince,
}

impl Fact {
    const fn word(self) -> &'static str {
        match self {
            Fact::LastAccepted => "last-accepted",
            Fact::Compiled => "compiled",
            Fact::LastFetch => "last-fetch",
            Fact::LastApplied => "last-applied",
            Fact::SyncSince => "sync-since",
        }
    }
}

/// The rooms within the table of notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Space {
    Suspension,
    Approval,
    Quarantine,
    Fact,
    Open,
    Chain,
}

/// The notes by room and name, as stored.
pub(super) type Notes = BTreeMap<(Space, String), String>;

impl Record {
    /// Suspends something; an earlier suspension of the same target is replaced.
    pub fn suspend(&mut self, suspension: Suspension) -> Result<(), RecordError> {
        let name = suspension.target.to_string();
        self.put(Space::Suspension, name, &suspension.clone(), Entry::Suspended(suspension))
    }

    /// Ends a suspension. False if there was none that is still in force.
    pub fn resume(&mut self, target: &SuspendTarget, by: &str) -> Result<bool, RecordError> {
        let active = self.active_suspensions().iter().any(|suspension| suspension.target == *target);
        let entry = Entry::Resumed { target: target.clone(), by: by.to_owned() };
        if active {
            self.take(Space::Suspension, target.to_string(), entry)?;
        }
        Ok(active)
    }

    /// The suspensions in force now.
    pub fn active_suspensions(&self) -> Vec<Suspension> {
        let now = self.clock.now();
        let all = self.all::<Suspension>(Space::Suspension);
        all.into_iter().filter(|one| one.until.is_none_or(|until| until > now)).collect()
    }

    /// The suspension that holds for a resource now, if any; the narrowest one.
    pub fn suspended(&self, resource: &ResourceId) -> Option<Suspension> {
        let active = self.active_suspensions().into_iter();
        active.filter(|one| one.target.covers(resource)).max_by(|a, b| a.target.cmp(&b.target))
    }

    /// Notes an approval.
    pub fn approve(&mut self, approval: Approval) -> Result<(), RecordError> {
        self.put(Space::Approval, approval.what.clone(), &approval.clone(), Entry::Approved(approval))
    }

    /// The approval of a commit or a plan's digest.
    pub fn approval(&self, what: &str) -> Option<Approval> {
        self.recall(Space::Approval, what)
    }

    /// Refuses a commit for good.
    pub fn quarantine(&mut self, quarantined: Quarantined) -> Result<(), RecordError> {
        let name = quarantined.commit.to_string();
        self.put(Space::Quarantine, name, &quarantined.clone(), Entry::Quarantined(quarantined))
    }

    /// Why a commit is refused, if it is.
    pub fn quarantined(&self, commit: &CommitId) -> Option<Quarantined> {
        self.recall(Space::Quarantine, commit.as_str())
    }

    /// All commits that are refused.
    pub fn quarantine_list(&self) -> Vec<Quarantined> {
        self.all(Space::Quarantine)
    }

    /// Lets a commit be tried again. False if it was not refused.
    pub fn release(&mut self, commit: &CommitId, by: &str) -> Result<bool, RecordError> {
        if self.quarantined(commit).is_none() {
            return Ok(false);
        }
        let entry = Entry::Released { commit: commit.clone(), by: by.to_owned() };
        self.take(Space::Quarantine, commit.to_string(), entry)?;
        Ok(true)
    }

    /// A fact, if it is known and of this shape.
    pub fn fact<T: DeserializeOwned>(&self, fact: Fact) -> Option<T> {
        self.recall(Space::Fact, fact.word())
    }

    /// Notes a fact, synced to disk; the same value again costs nothing.
    pub fn set_fact(&mut self, fact: Fact, value: &impl Serialize) -> Result<(), RecordError> {
        let body = encode(value)?;
        let name = (Space::Fact, fact.word().to_owned());
        if self.notes.get(&name) == Some(&body) {
            return Ok(());
        }
        self.write("write down a fact", Durability::Synced, |db| write(db, name.0, &name.1, &body))?;
        self.notes.insert(name, body);
        Ok(())
    }

    fn recall<T: DeserializeOwned>(&self, space: Space, name: &str) -> Option<T> {
        serde_json::from_str(self.notes.get(&(space, name.to_owned()))?).ok()
    }

    fn all<T: DeserializeOwned>(&self, space: Space) -> Vec<T> {
        let of_space = self.notes.iter().filter(|((of, _), _)| *of == space);
        of_space.filter_map(|(_, body)| serde_json::from_str(body).ok()).collect()
    }

    fn put(
        &mut self,
        space: Space,
        name: String,
        value: &impl Serialize,
        entry: Entry,
    ) -> Result<(), RecordError> {
        let body = encode(value)?;
        let (mut ledger, now) = (self.ledger, self.clock.now());
        self.write("write down a person's word", Durability::Synced, |db| {
            chain::append(db, &mut ledger, now, &[entry])?;
            write(db, space, &name, &body)
        })?;
        self.ledger = ledger;
        self.notes.insert((space, name), body);
        Ok(())
    }

    fn take(&mut self, space: Space, name: String, entry: Entry) -> Result<(), RecordError> {
        let (mut ledger, now) = (self.ledger, self.clock.now());
        self.write("write down a person's word", Durability::Synced, |db| {
            chain::append(db, &mut ledger, now, &[entry])?;
            erase(db, space, &name)
        })?;
        self.ledger = ledger;
        self.notes.remove(&(space, name));
        Ok(())
    }
}

impl Space {
    const ALL: [Space; 6] =
        [Space::Suspension, Space::Approval, Space::Quarantine, Space::Fact, Space::Open, Space::Chain];

    const fn word(self) -> &'static str {
        match self {
            Space::Suspension => "suspension",
            Space::Approval => "approval",
            Space::Quarantine => "quarantine",
            Space::Fact => "fact",
            Space::Open => "open",
            Space::Chain => "chain",
        }
    }
}

/// Writes one note, within the caller's transaction.
pub(super) fn write(db: &Connection, space: Space, key: &str, body: &str) -> rusqlite::Result<()> {
    let sum = note_sum(space.word(), key, body);
    db.prepare_cached("INSERT OR REPLACE INTO notes (space, key, body, sum) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![space.word(), key, body, sum])?;
    Ok(())
}

/// Removes one note, within the caller's transaction.
pub(super) fn erase(db: &Connection, space: Space, key: &str) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM notes WHERE space = ?1 AND key = ?2")?
        .execute(params![space.word(), key])?;
    Ok(())
}

/// Reads one note.
pub(super) fn read(db: &Connection, space: Space, key: &str) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT body, sum FROM notes WHERE space = ?1 AND key = ?2";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?));
    match db.query_row(sql, params![space.word(), key], read).optional()? {
        None => Ok(None),
        Some((body, sum)) if note_sum(space.word(), key, &body) == sum => Ok(Some(body)),
        Some(_) => Err(misfit(space.word(), key)),
    }
}

/// Reads every note. One whose sum does not fit is damage.
pub(super) fn read_all(db: &Connection) -> rusqlite::Result<Notes> {
    let mut notes = Notes::new();
    let mut statement = db.prepare("SELECT space, key, body, sum FROM notes")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (word, key): (String, String) = (row.get(0)?, row.get(1)?);
        let (body, sum): (String, i64) = (row.get(2)?, row.get(3)?);
        let space = Space::ALL.into_iter().find(|space| space.word() == word);
        match space {
            Some(space) if note_sum(&word, &key, &body) == sum => notes.insert((space, key), body),
            Some(_) | None => return Err(misfit(&word, &key)),
        };
    }
    Ok(notes)
}

/// Takes the open drifts out of the notes.
pub(super) fn take_open(notes: &mut Notes) -> rusqlite::Result<BTreeMap<ResourceId, super::OpenDrift>> {
    let mut open = BTreeMap::new();
    for ((_, name), body) in notes.extract_if(.., |(space, _), _| *space == Space::Open) {
        let resource: ResourceId = name.parse().map_err(|why: String| conversion(1, why.into()))?;
        open.insert(resource, from_json(&body)?);
    }
    notes.retain(|(space, _), _| *space != Space::Chain);
    Ok(open)
}

fn encode(value: &impl Serialize) -> Result<String, RecordError> {
    to_json(value).map_err(|source| RecordError::Database { doing: "encode a note", source })
}

fn note_sum(space: &str, key: &str, body: &str) -> i64 {
    RowSum::of("notes").text(space).text(key).text(body).finish()
}

fn misfit(space: &str, key: &str) -> rusqlite::Error {
    conversion(3, format!("the sum of the note {space} {key} does not fit").into())
}
