//! The history as a chain: every entry carries the digest of the one before, so that a flipped, dropped,
//! reordered or truncated entry is found against the head.
//!
//! `digest = SHA-256(digest before ‖ JSON array [seq, at, what, pass, drift, kind, key, body])`, the array
//! without white space, `at` in microseconds since 1970, `body` the stored text. The first entry follows 32
//! zero bytes. When the oldest entries are dropped by age or size, a `trimmed` entry, itself in the chain,
//! remembers where the rest begins.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::drifts::{DriftId, Effect, Settlement};
use super::notes::{self, Approval, Quarantined, Space, SuspendTarget, Suspension};
use super::passes::{PassId, PassRecord};
use crate::model::plan::Held;
use crate::model::{Attribution, CommitId, Digest, FieldDiff, LineAuthor, Place, ResourceId, Verdict};

/// One thing that happened. Serialised as JSON; fields are added, never renamed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Entry {
    /// A difference was seen, or it differs in another way now.
    Seen {
        /// Which drift this opens or continues.
        #[serde(skip)]
        drift: DriftId,
        /// In which pass.
        #[serde(skip)]
        pass: PassId,
        /// What differs from its declaration.
        resource: ResourceId,
        /// Why.
        verdict: Verdict,
        /// What differs.
        fields: Vec<FieldDiff>,
        /// Where the declaration demands otherwise.
        place: Option<Place>,
        /// The revision that demands otherwise.
        commit: Option<CommitId>,
        /// Who wrote that revision. Untrusted text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        author: Option<String>,
        /// Why nothing is done about it, if nothing is.
        held: Option<Held>,
    },
    /// The agent is about to change something. On disk before it does.
    Intent {
        /// For which drift.
        #[serde(skip)]
        drift: DriftId,
        /// In which pass.
        #[serde(skip)]
        pass: PassId,
        /// Of which resource.
        resource: ResourceId,
        /// The line of the plan.
        action: String,
        /// What it does to the existence of the resource.
        effect: Effect,
    },
    /// What came of it, after verification, or how the drift ended by itself.
    Outcome {
        /// For which drift.
        #[serde(skip)]
        drift: DriftId,
        /// In which pass.
        #[serde(skip)]
        pass: PassId,
        /// How it went.
        result: Settlement,
        /// Under which ids the keep holds what was there before.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        kept: Vec<String>,
    },
    /// Who made the change, as far as is known: comes after the correction, which never waits for it.
    Attributed {
        /// Which drift.
        #[serde(skip)]
        drift: DriftId,
        /// Who, with the evidence and how far it carries.
        attribution: Box<Attribution>,
    },
    /// Who wrote the line that demanded otherwise: comes when the correction is long done.
    Demanded {
        /// Of which drift.
        #[serde(skip)]
        drift: DriftId,
        /// Who.
        author: Box<LineAuthor>,
    },
    /// A pass ended.
    Pass(PassRecord),
    /// A person said: hands off.
    Suspended(Suspension),
    /// A suspension was ended before its time.
    Resumed {
        /// Of what.
        target: SuspendTarget,
        /// By whom.
        by: String,
    },
    /// A person approved what waited for it.
    Approved(Approval),
    /// A commit was refused for good.
    Quarantined(Quarantined),
    /// A commit may be tried again.
    Released {
        /// Which.
        commit: CommitId,
        /// By whom.
        by: String,
    },
    /// The record was begun anew because the old one could not be used.
    Rebuilt {
        /// Why.
        why: String,
    },
    /// The oldest entries were dropped.
    Trimmed {
        /// The last one that was dropped.
        through: Head,
    },
}

/// The end of the chain: names everything before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Number of the last entry; 0 before the first.
    pub seq: u64,
    /// Its digest.
    pub digest: Digest,
}

/// A head as it is noted outside the record (the journal, a metric), with the history it is of: a record that was begun
/// anew begins another history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noted {
    /// Of which history; none if whoever noted it left that out.
    pub history: Option<u64>,
    /// The head.
    pub head: Head,
}

impl fmt::Display for Noted {
    /// `HISTORY/SEQ:DIGEST`, the history in 16 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(history) = self.history {
            write!(f, "{history:016x}/")?;
        }
        write!(f, "{}:{}", self.head.seq, self.head.digest)
    }
}

impl FromStr for Noted {
    type Err = String;

    /// `HISTORY/SEQ:DIGEST` or `SEQ:DIGEST`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fault = || "write it as SEQ:DIGEST, as it was noted".to_owned();
        let (history, rest) = match text.split_once('/') {
            Some((history, rest)) => (Some(u64::from_str_radix(history, 16).map_err(|_| fault())?), rest),
            None => (None, text),
        };
        let (seq, digest) = rest.split_once(':').ok_or_else(fault)?;
        let digest = digest.parse().map_err(|_| fault())?;
        Ok(Noted { history, head: Head { seq: seq.parse().map_err(|_| fault())?, digest } })
    }
}

/// What checking the chain found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "result")]
pub enum Verification {
    /// Every entry follows from the one before, up to the head.
    Whole {
        /// How many entries were checked.
        entries: u64,
        /// The end of the chain.
        head: Head,
        /// The last entry that age or size took away; none if none did.
        #[serde(default)]
        dropped: Option<Head>,
        /// How many heads that were noted elsewhere it goes through.
        #[serde(default)]
        noted: u64,
        /// How many of those are older than what is kept.
        #[serde(default)]
        older: u64,
    },
    /// Something was changed, dropped, put in or cut off.
    Broken {
        /// Number of the first entry that does not fit.
        seq: u64,
        /// What does not fit.
        why: String,
    },
}

/// What is counted on: the head and the numbers given out so far.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Ledger {
    pub head: Head,
    /// The last drift number given out.
    pub drift: u64,
    /// Pass numbers up to this one are set apart: passes that leave no entry use them without a write.
    pub passes: u64,
    /// Tells this history from one that was begun anew in its place.
    #[serde(default)]
    pub history: u64,
    /// The last pass number given out.
    #[serde(skip)]
    pub pass: u64,
}

const BEFORE_THE_FIRST: Head = Head { seq: 0, digest: Digest::from_bytes([0; 32]) };
const LEDGER: &str = "ledger";

impl Default for Ledger {
    fn default() -> Self {
        Ledger { head: BEFORE_THE_FIRST, drift: 0, passes: 0, history: 0, pass: 0 }
    }
}

/// Checks the chain from its first entry to its head. `known` are heads of it that were noted elsewhere (the journal, a
/// metric): the chain must go through each. Read as of one moment, whatever the agent writes meanwhile.
pub(super) fn verify(db: &Connection, known: &[Head]) -> rusqlite::Result<Verification> {
    let db = db.unchecked_transaction()?;
    let ledger = read_ledger(&db)?.unwrap_or_default();
    let dropped = last_trim(&db)?;
    let mut last = dropped.unwrap_or(BEFORE_THE_FIRST);
    let mut heads: Vec<&Head> = known.iter().collect();
    heads.sort_by_key(|head| head.seq);
    let young = heads.split_off(heads.partition_point(|head| head.seq < last.seq));
    let (mut entries, mut noted, older) = (0, 0, heads.len() as u64);
    let mut young = young.into_iter().peekable();
    let broken = |seq: u64, why: &str| Ok(Verification::Broken { seq, why: why.to_owned() });
    // An index that says other than its table would hide entries from every question.
    let found: String = db.query_row("PRAGMA integrity_check(entries)", [], |row| row.get(0))?;
    if found != "ok" {
        return broken(last.seq + 1, &format!("its table or an index of it is damaged: {found}"));
    }
    let mut statement =
        db.prepare("SELECT seq, at, what, pass, drift, kind, key, body, digest FROM entries ORDER BY seq")?;
    let mut rows = statement.query([])?;
    loop {
        while let Some(head) = young.next_if(|head| head.seq == last.seq) {
            if *head != last {
                return broken(last.seq, "this entry is not the one whose digest was noted elsewhere");
            }
            noted += 1;
        }
        let Some(row) = rows.next()? else { break };
        let row = Row::read(row)?;
        if row.seq != last.seq + 1 {
            return broken(last.seq + 1, "this entry is missing");
        }
        let digest = row.digest(&last.digest);
        if row.stored != digest.as_bytes() {
            return broken(row.seq, "this entry is not what was written, or what came before it is not");
        }
        last = Head { seq: row.seq, digest };
        entries += 1;
    }
    if last.seq < ledger.head.seq || young.peek().is_some() {
        return broken(last.seq + 1, "this entry and what followed is missing");
    }
    if last != ledger.head {
        return broken(last.seq, "this entry was not written by the agent");
    }
    Ok(Verification::Whole { entries, head: last, dropped, noted, older })
}

/// Appends entries and notes the new head, within the caller's transaction.
pub(super) fn append(
    db: &Transaction<'_>,
    ledger: &mut Ledger,
    at: Timestamp,
    entries: &[Entry],
) -> rusqlite::Result<()> {
    let mut insert = db.prepare_cached(
        "INSERT INTO entries (seq, at, what, pass, drift, kind, key, body, digest)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    for entry in entries {
        let row = Row::of(ledger.head.seq + 1, at, entry)?;
        let digest = row.digest(&ledger.head.digest);
        insert.execute(params![
            row.seq,
            row.at,
            row.what,
            row.pass,
            row.drift,
            row.kind,
            row.key,
            row.body,
            digest.as_bytes()
        ])?;
        ledger.head = Head { seq: row.seq, digest };
    }
    write_ledger(db, ledger)
}

/// Notes the ledger without an entry.
pub(super) fn write_ledger(db: &Connection, ledger: &Ledger) -> rusqlite::Result<()> {
    notes::write(db, Space::Chain, LEDGER, &to_json(ledger)?)
}

/// Reads the ledger back.
pub(super) fn read_ledger(db: &Connection) -> rusqlite::Result<Option<Ledger>> {
    let body = notes::read(db, Space::Chain, LEDGER)?;
    body.map(|body| from_json(&body)).transpose()
}

/// One stored entry.
pub(super) struct Row {
    pub seq: u64,
    pub at: i64,
    pub what: String,
    pub pass: Option<u64>,
    pub drift: Option<u64>,
    pub kind: Option<String>,
    pub key: Option<String>,
    pub body: String,
    stored: Vec<u8>,
}

impl Row {
    pub(super) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
        Ok(Row {
            seq: row.get(0)?,
            at: row.get(1)?,
            what: row.get(2)?,
            pass: row.get(3)?,
            drift: row.get(4)?,
            kind: row.get(5)?,
            key: row.get(6)?,
            body: row.get(7)?,
            stored: row.get(8)?,
        })
    }

    /// When it was written.
    pub(super) fn time(&self) -> rusqlite::Result<Timestamp> {
        Timestamp::from_microsecond(self.at).map_err(|error| conversion(1, Box::new(error)))
    }

    /// What it says, with the numbers that stand in its columns.
    pub(super) fn entry(&self) -> rusqlite::Result<Entry> {
        let mut entry = from_json(&self.body)?;
        let drift_of = |this: &mut DriftId| *this = DriftId(self.drift.unwrap_or_default());
        let pass_of = |this: &mut PassId| *this = PassId(self.pass.unwrap_or_default());
        match &mut entry {
            Entry::Seen { drift, pass, .. }
            | Entry::Intent { drift, pass, .. }
            | Entry::Outcome { drift, pass, .. } => {
                drift_of(drift);
                pass_of(pass);
            }
            Entry::Attributed { drift, .. } | Entry::Demanded { drift, .. } => drift_of(drift),
            Entry::Pass(_)
            | Entry::Suspended(_)
            | Entry::Resumed { .. }
            | Entry::Approved(_)
            | Entry::Quarantined(_)
            | Entry::Released { .. }
            | Entry::Rebuilt { .. }
            | Entry::Trimmed { .. } => {}
        }
        Ok(entry)
    }

    fn of(seq: u64, at: Timestamp, entry: &Entry) -> rusqlite::Result<Row> {
        let (what, pass, drift, resource) = columns(entry);
        Ok(Row {
            seq,
            at: at.as_microsecond(),
            what: what.to_owned(),
            pass: pass.map(|pass| pass.0),
            drift: drift.map(|drift| drift.0),
            kind: resource.map(|resource| resource.kind.to_string()),
            key: resource.map(|resource| resource.key.to_string()),
            body: to_json(entry)?,
            stored: Vec::new(),
        })
    }

    pub(super) fn digest(&self, before: &Digest) -> Digest {
        let Row { seq, at, what, pass, drift, kind, key, body, stored: _ } = self;
        let text = serde_json::to_vec(&(seq, at, what, pass, drift, kind, key, body)).unwrap_or_default();
        let digest = Sha256::new().chain_update(before.as_bytes()).chain_update(text).finalize();
        Digest::from_bytes(digest.into())
    }
}

fn columns(entry: &Entry) -> (&'static str, Option<PassId>, Option<DriftId>, Option<&ResourceId>) {
    match entry {
        Entry::Seen { drift, pass, resource, .. } => ("seen", Some(*pass), Some(*drift), Some(resource)),
        Entry::Intent { drift, pass, resource, .. } => ("intent", Some(*pass), Some(*drift), Some(resource)),
        Entry::Outcome { drift, pass, .. } => ("outcome", Some(*pass), Some(*drift), None),
        Entry::Attributed { drift, .. } => ("attributed", None, Some(*drift), None),
        Entry::Demanded { drift, .. } => ("demanded", None, Some(*drift), None),
        Entry::Pass(pass) => ("pass", Some(pass.id), None, None),
        Entry::Suspended(_) => ("suspended", None, None, None),
        Entry::Resumed { .. } => ("resumed", None, None, None),
        Entry::Approved(_) => ("approved", None, None, None),
        Entry::Quarantined(_) => ("quarantined", None, None, None),
        Entry::Released { .. } => ("released", None, None, None),
        Entry::Rebuilt { .. } => ("rebuilt", None, None, None),
        Entry::Trimmed { .. } => ("trimmed", None, None, None),
    }
}

fn last_trim(db: &Connection) -> rusqlite::Result<Option<Head>> {
    let sql = "SELECT seq, at, what, pass, drift, kind, key, body, digest FROM entries
               WHERE what = 'trimmed' ORDER BY seq DESC LIMIT 1";
    let row = db.query_row(sql, [], Row::read).optional()?;
    match row.map(|row| row.entry()).transpose()? {
        Some(Entry::Trimmed { through }) => Ok(Some(through)),
        Some(_) | None => Ok(None),
    }
}

/// A value as it is stored.
pub(super) fn to_json(value: &impl Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

/// A stored value; one that can't be read is damage.
pub(super) fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text).map_err(|error| conversion(0, Box::new(error)))
}

/// The error for a stored value that makes no sense.
pub(super) fn conversion(column: usize, error: Box<dyn std::error::Error + Send + Sync>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error)
}
