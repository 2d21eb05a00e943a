//! Keeping the record small: the oldest entries go by age and by size, what ended long ago goes with them.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Transaction, params};
use serde::{Deserialize, Serialize};

use super::chain::{self, Entry, Head};
use super::notes::{self, Space, Suspension};
use super::{Durability, Record, RecordError};
use crate::model::Digest;

/// How much history is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// Entries older than this go.
    pub age: Duration,
    /// Above this many bytes in the file the oldest entries go.
    pub bytes: u64,
}

impl Default for Retention {
    /// A year, since auditors ask for one; 64 MiB hold some 100,000 drifts.
    fn default() -> Self {
        Retention { age: Duration::from_secs(366 * 24 * 3600), bytes: 64 << 20 }
    }
}

/// How many entries go at once, at least: every trim is itself an entry.
const CHUNK: u64 = 256;

impl Record {
    /// Drops what is beyond the retention. Returns how many entries went. Cheap when there is nothing to do.
    pub fn tidy(&mut self, retention: &Retention) -> Result<u64, RecordError> {
        self.forget_ended_suspensions(retention)?;
        let mut dropped = 0;
        // Of one moment: what is written meanwhile, of what went, is not old.
        let horizon = self.clock.now().checked_sub(retention.age).unwrap_or(Timestamp::MIN);
        while let Some(through) = self.excess(retention, horizon)? {
            dropped += self.drop_through(through)?;
        }
        Ok(dropped)
    }

    /// The number of the last entry that should go now.
    fn excess(&self, retention: &Retention, horizon: Timestamp) -> Result<Option<u64>, RecordError> {
        let failed = |source| RecordError::Database { doing: "measure itself", source };
        let number =
            |sql: &str| self.db.query_row(sql, [], |row| row.get::<_, Option<u64>>(0)).map_err(failed);
        let Some(first) = number("SELECT MIN(seq) FROM entries")? else { return Ok(None) };
        let last = number("SELECT MAX(seq) FROM entries")?.unwrap_or(first);
        let sql = "SELECT MIN(seq) FROM entries WHERE at >= ?1";
        let young: Option<u64> =
            self.db.query_row(sql, params![horizon.as_microsecond()], |row| row.get(0)).map_err(failed)?;
        // The last entry stays, whatever its age: it may be the trim that says where the chain begins.
        let too_old = young.unwrap_or(last).saturating_sub(1);
        if too_old >= first + CHUNK || (too_old >= first && young.is_none()) {
            return Ok(Some(too_old));
        }
        let pages = number("PRAGMA page_count")?.unwrap_or(0) - number("PRAGMA freelist_count")?.unwrap_or(0);
        let bytes = pages * number("PRAGMA page_size")?.unwrap_or(0);
        let small = last - first < 2 * CHUNK;
        Ok((bytes > retention.bytes && !small).then_some(first + CHUNK.max((last - first) / 10)))
    }

    fn drop_through(&mut self, through: u64) -> Result<u64, RecordError> {
        let (mut ledger, now) = (self.ledger, self.clock.now());
        let dropped = self.write("drop its oldest entries", Durability::Written, |db| {
            let Some(head) = head_at(db, through)? else { return Ok(0) };
            let dropped = db.execute("DELETE FROM entries WHERE seq <= ?1", params![through])?;
            chain::append(db, &mut ledger, now, &[Entry::Trimmed { through: head }])?;
            Ok(dropped as u64)
        })?;
        self.ledger = ledger;
        Ok(dropped)
    }

    fn forget_ended_suspensions(&mut self, retention: &Retention) -> Result<(), RecordError> {
        let horizon = self.clock.now().checked_sub(retention.age).unwrap_or(Timestamp::MIN);
        let ended = |body: &String| {
            serde_json::from_str::<Suspension>(body)
                .is_ok_and(|suspension| suspension.until.is_some_and(|until| until < horizon))
        };
        let names: Vec<(Space, String)> = self
            .notes
            .iter()
            .filter(|((space, _), body)| *space == Space::Suspension && ended(body))
            .map(|(name, _)| name.clone())
            .collect();
        if names.is_empty() {
            return Ok(());
        }
        self.write("forget what ended long ago", Durability::Written, |db| {
            names.iter().try_for_each(|(space, name)| notes::erase(db, *space, name))
        })?;
        self.notes.retain(|name, _| !names.contains(name));
        Ok(())
    }
}

fn head_at(db: &Transaction<'_>, seq: u64) -> rusqlite::Result<Option<Head>> {
    let sql = "SELECT digest FROM entries WHERE seq = ?1";
    let digest: Option<[u8; 32]> = db.query_row(sql, params![seq], |row| row.get(0)).optional()?;
    Ok(digest.map(|digest| Head { seq, digest: Digest::from_bytes(digest) }))
}
