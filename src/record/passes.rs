//! Passes: when, why, over what, and what came of them.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::chain::{self, Entry};
use super::{Durability, Record, RecordError};
use crate::model::{CommitId, ResourceId, Trigger};

/// Names a pass on this host. Grows; a restart of the agent may skip some.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PassId(pub u64);

impl fmt::Display for PassId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What a pass looks at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PassScope {
    /// Everything that is declared.
    Full,
    /// Only these.
    Only(BTreeSet<ResourceId>),
}

/// A pass that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PassStart {
    pub id: PassId,
    pub started: Timestamp,
    pub triggers: BTreeSet<Trigger>,
    pub scope: PassScope,
    pub commit: Option<CommitId>,
    /// Who wrote the revision, as its commit says.
    pub author: Option<String>,
}

/// How many resources were in which state when the pass ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassCounts {
    /// Looked at.
    pub observed: u32,
    /// Differed although the declaration had not moved.
    pub drifted: u32,
    /// Differed because the declaration had moved.
    pub behind: u32,
    /// Put right.
    pub corrected: u32,
    /// Could not be put right.
    pub failed: u32,
    /// Not touched: mode, suspension, something else first, limits.
    pub held: u32,
    /// Could not be read.
    pub unknown: u32,
}

impl PassCounts {
    /// Whether everything that was looked at was as declared.
    pub fn is_quiet(&self) -> bool {
        let PassCounts { observed: _, drifted, behind, corrected, failed, held, unknown } = *self;
        [drifted, behind, corrected, failed, held, unknown].iter().all(|count| *count == 0)
    }
}

/// What came of a pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", content = "message", rename_all = "kebab-case")]
pub enum PassResult {
    /// Everything is as declared.
    Synced,
    /// Something differs still, with no failure: it is held back.
    OutOfSync,
    /// Something failed.
    Degraded,
    /// The pass could not be carried through.
    Failed(String),
}

/// A pass that ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassRecord {
    /// Its number.
    pub id: PassId,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// Why it was run.
    pub triggers: BTreeSet<Trigger>,
    /// Over what.
    pub scope: PassScope,
    /// The revision it held the host to.
    pub commit: Option<CommitId>,
    /// How many resources were in which state.
    pub counts: PassCounts,
    /// What came of it.
    #[serde(flatten)]
    pub result: PassResult,
}

/// How many pass numbers are set apart at once.
const BLOCK: u64 = 64;

/// Above this many bytes of log the file is brought up to date after a pass.
const CHECKPOINT_FRAMES: u32 = 256;

/// A scope of more resources than this is written down as full: nobody reads a list of thousands.
const SCOPE_LIMIT: usize = 32;

impl Record {
    /// Says who wrote the revision of the current pass: what differs from it is written down with that name.
    pub fn declared_by(&mut self, author: &str) {
        if let Some(pass) = &mut self.current {
            pass.author = Some(author.to_owned());
        }
    }

    /// Begins a pass: everything that is written until its end belongs to it. Writes nothing (but once in many
    /// passes). A pass that is under way already is forgotten.
    pub fn begin_pass(
        &mut self,
        triggers: BTreeSet<Trigger>,
        scope: PassScope,
        commit: Option<CommitId>,
    ) -> Result<PassId, RecordError> {
        let mut ledger = self.ledger;
        ledger.pass += 1;
        if ledger.pass > ledger.passes {
            ledger.passes = ledger.pass + BLOCK;
            self.write("set pass numbers apart", Durability::Written, |db| chain::write_ledger(db, &ledger))?;
        }
        self.ledger = ledger;
        let started = self.clock.now();
        let id = PassId(ledger.pass);
        self.current = Some(PassStart { id, started, triggers, scope, commit, author: None });
        Ok(id)
    }

    /// Ends the current pass and tidies the log. A quiet pass that only watches woke leaves nothing; any other quiet pass
    /// leaves one small entry. None if no pass is under way.
    pub fn finish_pass(
        &mut self,
        counts: PassCounts,
        result: PassResult,
    ) -> Result<Option<PassRecord>, RecordError> {
        let Some(PassStart { id, started, triggers, scope, commit, author: _ }) = self.current.take() else {
            return Ok(None);
        };
        let scope = match scope {
            PassScope::Only(resources) if resources.len() > SCOPE_LIMIT => PassScope::Full,
            PassScope::Only(_) | PassScope::Full => scope,
        };
        let only_watches = triggers.iter().all(|trigger| *trigger == Trigger::Watch);
        let ended = self.clock.now();
        let record = PassRecord { id, started, ended, triggers, scope, commit, counts, result };
        if !(only_watches && counts.is_quiet() && record.result == PassResult::Synced) {
            let (mut ledger, entry) = (self.ledger, Entry::Pass(record.clone()));
            self.write("write down a pass", Durability::Written, |db| {
                chain::append(db, &mut ledger, ended, &[entry])
            })?;
            self.ledger = ledger;
        }
        self.checkpoint()?;
        Ok(Some(record))
    }

    pub(super) fn pass_now(&self) -> PassId {
        PassId(self.ledger.pass)
    }

    fn checkpoint(&mut self) -> Result<(), RecordError> {
        let failed = |source| RecordError::Database { doing: "bring its file up to date", source };
        let frames: i64 =
            self.db.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| row.get(1)).map_err(failed)?;
        if frames > i64::from(CHECKPOINT_FRAMES) {
            self.db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).map_err(failed)?;
        }
        Ok(())
    }
}
