//! What the agent owns, what of it it brought, and the generation of each resource.
//!
//! *Owned* is what the agent has changed or found as declared: it is under management. *Brought* is what was
//! certainly absent before the agent made it: only this is ever pruned. When in doubt a resource is not
//! brought. The generation grows, durably, with each intent to change a resource: services compare sums of
//! generations to know whether they owe a restart.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::chain::conversion;
use super::drifts::{Effect, Settlement};
use super::schema::RowSum;
use super::{Durability, Record, RecordError};
use crate::kind::Reaction;
use crate::model::{CommitId, Digest, Key, KindName, ResourceId};

/// What the record knows of a resource under management.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// Whether the agent made it. Only this is ever pruned.
    pub brought: bool,
    /// Whether its declaration, when last seen, wanted it removed once dropped.
    pub prune: bool,
    /// Fingerprint of the spec it last converged to; none if it never did.
    pub spec: Option<Digest>,
    /// The revision that brought that spec.
    pub commit: Option<Arc<CommitId>>,
    /// Since when it is under management.
    pub first_managed: Timestamp,
    /// When it last became as declared.
    pub last_converged: Option<Timestamp>,
}

/// A resource that was found as declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converged {
    /// Which.
    pub resource: ResourceId,
    /// Fingerprint of its spec.
    pub spec: Digest,
    /// Whether its declaration wants it removed once dropped.
    pub prune: bool,
}

/// A row of the table: what was ever managed. Its generation stays when the ownership ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub managed: bool,
    pub generation: u64,
    pub owned: Owned,
}

/// All rows, by kind and key.
#[derive(Debug, Default)]
pub(super) struct Resources(BTreeMap<KindName, BTreeMap<Key, Row>>);

impl Resources {
    pub fn get(&self, resource: &ResourceId) -> Option<&Row> {
        self.0.get(&resource.kind)?.get(&resource.key)
    }

    pub fn of(&self, kind: KindName) -> impl Iterator<Item = (&Key, &Row)> {
        self.0.get(&kind).into_iter().flatten()
    }

    /// Filled one by one in their order, the nodes of a map stay half empty; made anew from all at once they are
    /// full.
    fn packed(self) -> Self {
        Resources(self.0.into_iter().map(|(kind, rows)| (kind, rows.into_iter().collect())).collect())
    }
}

impl Extend<(ResourceId, Row)> for Resources {
    fn extend<I: IntoIterator<Item = (ResourceId, Row)>>(&mut self, rows: I) {
        for (resource, row) in rows {
            self.0.entry(resource.kind).or_default().insert(resource.key, row);
        }
    }
}

impl Record {
    /// What is owned of a kind.
    pub fn owned(&self, kind: KindName) -> impl Iterator<Item = (&Key, &Owned)> {
        self.resources.of(kind).filter(|(_, row)| row.managed).map(|(key, row)| (key, &row.owned))
    }

    /// What is known of one resource, if it is owned.
    pub fn owner_of(&self, resource: &ResourceId) -> Option<&Owned> {
        self.resources.get(resource).filter(|row| row.managed).map(|row| &row.owned)
    }

    /// Every resource of a kind that is or was under management, with its generation.
    pub fn remembered(&self, kind: KindName) -> impl Iterator<Item = (&Key, u64, Option<&Owned>)> {
        let of_kind = self.resources.of(kind);
        of_kind.map(|(key, row)| (key, row.generation, row.managed.then_some(&row.owned)))
    }

    /// How often the agent was about to change this resource; 0 if never.
    pub fn generation(&self, resource: &ResourceId) -> u64 {
        self.resources.get(resource).map_or(0, |row| row.generation)
    }

    /// The sum of generations a service had seen at its last start (or reload); none if nothing was recorded.
    pub fn level(&self, service: &ResourceId, reaction: Reaction) -> Option<u64> {
        self.levels.get(&(service.clone(), reaction)).copied()
    }

    /// Notes the sums that services have seen. Those that are known already cost nothing.
    pub fn set_levels(&mut self, levels: &[(ResourceId, Reaction, u64)]) -> Result<(), RecordError> {
        let new: Vec<_> = levels
            .iter()
            .filter(|(service, reaction, seen)| self.level(service, *reaction) != Some(*seen))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        self.write("write down what services have seen", Durability::Written, |db| {
            new.iter().try_for_each(|(service, reaction, seen)| write_level(db, service, *reaction, *seen))
        })?;
        for (service, reaction, seen) in new {
            self.levels.insert((service.clone(), *reaction), *seen);
        }
        Ok(())
    }

    /// Notes which resources are as declared, by the revision of the current pass; their drifts, if any, are over. Only what
    /// is news is written: for a quiet pass that is nothing.
    pub fn converged(&mut self, converged: &[Converged]) -> Result<(), RecordError> {
        let now = self.clock.now();
        let commit = self.current.as_ref().and_then(|pass| pass.commit.clone()).map(Arc::new);
        let mut rows = Vec::new();
        for one in converged {
            let old = self.resources.get(&one.resource);
            let was_drifting = self.open.contains_key(&one.resource);
            let known = old.is_some_and(|row| {
                let Owned { prune, spec, last_converged, .. } = &row.owned;
                let settled = last_converged.is_some() && !was_drifting;
                row.managed && *prune == one.prune && *spec == Some(one.spec) && settled
            });
            if !known {
                rows.push((one.resource.clone(), converged_row(old, one, commit.as_ref(), now)));
            }
        }
        self.end_drifts(&Settlement::Gone, &mut converged.iter().map(|one| &one.resource))?;
        if rows.is_empty() {
            return Ok(());
        }
        self.write("write down what is as declared", Durability::Written, |db| {
            rows.iter().try_for_each(|(resource, row)| write(db, resource, row))
        })?;
        self.resources.extend(rows);
        Ok(())
    }

    /// Ends the ownership of resources: the declaration no longer speaks of them, or they were taken away.
    pub fn give_up(&mut self, resources: &[ResourceId]) -> Result<(), RecordError> {
        let rows: Vec<(ResourceId, Row)> = resources
            .iter()
            .filter_map(|resource| Some((resource, self.resources.get(resource).filter(|row| row.managed)?)))
            .map(|(resource, row)| (resource.clone(), given_up(row)))
            .collect();
        self.end_drifts(&Settlement::GivenUp, &mut resources.iter())?;
        if rows.is_empty() {
            return Ok(());
        }
        self.write("write down what was given up", Durability::Synced, |db| {
            rows.iter().try_for_each(|(resource, row)| write(db, resource, row))
        })?;
        self.resources.extend(rows);
        Ok(())
    }
}

/// The row as an intent leaves it.
pub(super) fn intended(old: Option<&Row>, effect: Effect, prune: bool, now: Timestamp) -> Row {
    let fresh =
        Owned { brought: false, prune, spec: None, commit: None, first_managed: now, last_converged: None };
    let managed = old.filter(|row| row.managed);
    let before = managed.map_or(fresh, |row| row.owned.clone());
    let owned = Owned { brought: before.brought || effect == Effect::Creates, prune, ..before };
    Row { managed: true, generation: old.map_or(0, |row| row.generation) + 1, owned }
}

fn converged_row(old: Option<&Row>, one: &Converged, commit: Option<&Arc<CommitId>>, now: Timestamp) -> Row {
    let managed = old.filter(|row| row.managed);
    let same_spec = managed.filter(|row| row.owned.spec == Some(one.spec));
    let owned = Owned {
        brought: managed.is_some_and(|row| row.owned.brought),
        prune: one.prune,
        spec: Some(one.spec),
        // The revision that brought this spec: a later one that left it alone is not noted.
        commit: same_spec.and_then(|row| row.owned.commit.clone()).or_else(|| commit.cloned()),
        first_managed: managed.map_or(now, |row| row.owned.first_managed),
        last_converged: Some(now),
    };
    Row { managed: true, generation: old.map_or(0, |row| row.generation), owned }
}

fn given_up(row: &Row) -> Row {
    let owned = Owned { brought: false, prune: false, spec: None, commit: None, ..row.owned.clone() };
    Row { managed: false, generation: row.generation, owned }
}

/// Writes one row, within the caller's transaction.
pub(super) fn write(db: &Connection, resource: &ResourceId, row: &Row) -> rusqlite::Result<()> {
    let Row { managed, generation, owned } = row;
    let Owned { brought, prune, spec, commit, first_managed, last_converged } = owned;
    db.prepare_cached(
        "INSERT OR REPLACE INTO resources
         (kind, key, owned, brought, prune, spec, commit_id, generation, first_managed, last_converged, sum)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?
    .execute(params![
        resource.kind.as_str(),
        resource.key.as_str(),
        managed,
        brought,
        prune,
        spec.as_ref().map(Digest::as_bytes),
        commit.as_ref().map(|commit| commit.as_str()),
        generation,
        first_managed.as_microsecond(),
        last_converged.map(Timestamp::as_microsecond),
        row_sum(resource, row),
    ])?;
    Ok(())
}

/// Reads every row. One whose sum does not fit is damage.
pub(super) fn read(db: &Connection) -> rusqlite::Result<Resources> {
    let mut commits: Vec<Arc<CommitId>> = Vec::new();
    let mut resources = Resources::default();
    let mut statement = db.prepare(
        "SELECT kind, key, owned, brought, prune, spec, commit_id, generation, first_managed,
                last_converged, sum FROM resources",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (resource, found, sum) = read_row(row, &mut commits)?;
        if row_sum(&resource, &found) != sum {
            return Err(conversion(10, format!("the sum of the row of {resource} does not fit").into()));
        }
        resources.extend([(resource, found)]);
    }
    Ok(resources.packed())
}

fn read_row(
    row: &rusqlite::Row<'_>,
    commits: &mut Vec<Arc<CommitId>>,
) -> rusqlite::Result<(ResourceId, Row, i64)> {
    let bad = |column: usize| move |why: String| conversion(column, why.into());
    let time = |column: usize, at: i64| {
        Timestamp::from_microsecond(at).map_err(|error| conversion(column, Box::new(error)))
    };
    let kind: KindName = row.get::<_, String>(0)?.parse().map_err(bad(0))?;
    let spec: Option<[u8; 32]> = row.get(5)?;
    let commit: Option<String> = row.get(6)?;
    let commit = commit.map(|text| text.parse::<CommitId>().map_err(bad(6))).transpose()?;
    let owned = Owned {
        brought: row.get(3)?,
        prune: row.get(4)?,
        spec: spec.map(Digest::from_bytes),
        commit: commit.map(|commit| shared(commits, commit)),
        first_managed: time(8, row.get(8)?)?,
        last_converged: row.get::<_, Option<i64>>(9)?.map(|at| time(9, at)).transpose()?,
    };
    let found = Row { managed: row.get(2)?, generation: row.get(7)?, owned };
    Ok((ResourceId::new(kind, row.get::<_, String>(1)?), found, row.get(10)?))
}

/// Most resources share a handful of commits: each is kept once.
fn shared(commits: &mut Vec<Arc<CommitId>>, commit: CommitId) -> Arc<CommitId> {
    if let Some(known) = commits.iter().find(|known| ***known == commit) {
        return known.clone();
    }
    let new = Arc::new(commit);
    commits.push(new.clone());
    new
}

fn row_sum(resource: &ResourceId, row: &Row) -> i64 {
    let Row { managed, generation, owned } = row;
    let Owned { brought, prune, spec, commit, first_managed, last_converged } = owned;
    RowSum::of("resources")
        .text(resource.kind.as_str())
        .text(resource.key.as_str())
        .number(i64::from(*managed))
        .number(i64::from(*brought))
        .number(i64::from(*prune))
        .maybe(spec.as_ref().map(|spec| spec.as_bytes().as_slice()))
        .maybe(commit.as_ref().map(|commit| commit.as_str().as_bytes()))
        .number(i64::try_from(*generation).unwrap_or(i64::MAX))
        .number(first_managed.as_microsecond())
        .number(last_converged.map_or(i64::MIN, Timestamp::as_microsecond))
        .finish()
}

fn write_level(db: &Connection, service: &ResourceId, reaction: Reaction, seen: u64) -> rusqlite::Result<()> {
    let (service, reaction) = (service.to_string(), reaction_word(reaction));
    db.prepare_cached(
        "INSERT OR REPLACE INTO levels (service, reaction, seen, sum) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![service, reaction, seen, level_sum(&service, reaction, seen)])?;
    Ok(())
}

/// Reads what services have seen. A row whose sum does not fit is damage.
pub(super) fn read_levels(db: &Connection) -> rusqlite::Result<BTreeMap<(ResourceId, Reaction), u64>> {
    let mut levels = BTreeMap::new();
    let mut statement = db.prepare("SELECT service, reaction, seen, sum FROM levels")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (service, word): (String, String) = (row.get(0)?, row.get(1)?);
        let (seen, sum): (u64, i64) = (row.get(2)?, row.get(3)?);
        let reaction = [Reaction::Reload, Reaction::Restart].into_iter().find(|r| reaction_word(*r) == word);
        match (service.parse(), reaction) {
            (Ok(resource), Some(reaction)) if level_sum(&service, &word, seen) == sum => {
                levels.insert((resource, reaction), seen);
            }
            _ => return Err(conversion(3, format!("the row of {service} makes no sense").into())),
        }
    }
    Ok(levels)
}

const fn reaction_word(reaction: Reaction) -> &'static str {
    match reaction {
        Reaction::Reload => "reload",
        Reaction::Restart => "restart",
    }
}

fn level_sum(service: &str, reaction: &str, seen: u64) -> i64 {
    let seen = i64::try_from(seen).unwrap_or(i64::MAX);
    RowSum::of("levels").text(service).text(reaction).number(seen).finish()
}
