//! The agent's durable memory: what it owns and what it brought, what services have seen of their inputs,
//! what is suspended, approved and quarantined, and the chained history of passes and drifts. The desired
//! state that was last applied lies beside it as a plain file ([`applied`]), so that a host starts without
//! the database.
//!
//! May not: decide anything, touch a managed thing, or be read as more than it is. A record that is damaged or
//! of a newer version is set aside (never deleted) and begun anew: then nothing is *known to be brought by
//! the agent*, so nothing is pruned; it never means "nothing is declared".
//!
//! ```text
//! pass ─note─▶ on disk  , synced ─▶ the host is changed ─▶ settle, converged, finish_pass ─▶ on disk
//!                                                                              │
//!                              history (read-only, also without the daemon) ◀──┘
//! ```
//!
//! One writer, by a lock on the folder. Rows of state carry a sum each; entries of the history carry the digest
//! of the one before. A pass that finds nothing to do writes one small row at most.

pub mod applied;
pub mod at_work;
pub mod chain;
pub mod drifts;
pub mod history;
pub mod notes;
pub mod open;
pub mod ownership;
pub mod passes;
mod schema;
#[cfg(test)]
mod tests;
pub mod tidy;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::{Connection, Transaction};

use crate::host::clock::Clock;
use crate::host::files::FilesError;
use crate::kind::Reaction;
use crate::model::ResourceId;

pub use applied::{Applied, is_applied_there, load_applied, load_previous, set_applied_aside, store_applied};
pub use at_work::AtWork;
pub use chain::{Entry, Head, Noted, Verification};
pub use drifts::{DriftId, Effect, Next, OpenDrift, Settled, Settlement, Sighting};
pub use history::{Attempt, DriftFilter, DriftRecord, History, PassFilter};
pub use notes::{Approval, Fact, Quarantined, SuspendTarget, Suspension};
pub use open::{OpenState, Opened};
pub use ownership::{Converged, Owned};
pub use passes::{PassCounts, PassId, PassRecord, PassResult, PassScope};
pub use tidy::Retention;

/// Marks the lines of the journal that note the head of the history, in their field `HISTORY_HEAD`.
pub const HEAD_MESSAGE: &str = "4b1f0d7c5e2a4c0f9a3ad1c6b7e8f205";

/// Version of the form in which drifts, passes and what a verification found are published: `schema/history.json`. Grows
/// when a field changes its meaning or goes; not when one is added.
pub const HISTORY_SCHEMA: u32 = 1;

/// The record, open for writing. There is one at a time on a host.
pub struct Record {
    db: Connection,
    clock: Arc<dyn Clock>,
    resources: ownership::Resources,
    levels: BTreeMap<(ResourceId, Reaction), u64>,
    notes: notes::Notes,
    open: BTreeMap<ResourceId, OpenDrift>,
    ledger: chain::Ledger,
    /// The head that was noted last.
    noted: Option<Noted>,
    current: Option<passes::PassStart>,
    /// Held for as long as the record is open; the kernel lets go of it when the process ends.
    _lock: Option<Lock>,
    /// The inode of the file that was opened.
    file: Option<(u64, u64)>,
    /// Why nothing can be written down, if this only stands in for a record that can't be opened.
    unavailable: Option<String>,
}

/// The word that there is one writer.
struct Lock(OwnedFd);

impl Drop for Lock {
    /// Lets go of the lock by word: a program that is just being started holds a copy of the file for a moment.
    fn drop(&mut self) {
        // If it fails, closing does it.
        let _ = rustix::fs::flock(&self.0, rustix::fs::FlockOperation::Unlock);
    }
}

/// Why the record could not do something.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Another process has it open.
    #[error("the record in {} is in use by another agentd: stop that one first", dir.display())]
    Locked {
        /// The state folder.
        dir: PathBuf,
    },
    /// The lock could not be taken.
    #[error("could not open the lock of the record {}", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A folder or file of the record could not be used.
    #[error("the record's files could not be used")]
    Files {
        /// What was tried on what, and what the system said.
        #[source]
        source: FilesError,
    },
    /// There is none that could be written: a stand-in holds its place.
    #[error("it can't be opened: {why}")]
    Unavailable {
        /// What is in the way.
        why: String,
    },
    /// The database refused.
    #[error("the record could not {doing}")]
    Database {
        /// What was tried.
        doing: &'static str,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// The content of the record makes no sense.
    #[error("the record is damaged: {what}")]
    Damaged {
        /// What was found.
        what: String,
    },
    /// The file of the last applied revision makes no sense.
    #[error("{} is damaged: {what}", path.display())]
    AppliedDamaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
}

impl RecordError {
    /// Whether the content is to blame (opening the record again will set it aside and begin anew), and not
    /// a full disk, a missing right or a failing device.
    pub fn is_damage(&self) -> bool {
        match self {
            RecordError::Database { source, .. } => schema::is_damage(source),
            RecordError::Damaged { .. } | RecordError::AppliedDamaged { .. } => true,
            RecordError::Locked { .. }
            | RecordError::Lock { .. }
            | RecordError::Files { .. }
            | RecordError::Unavailable { .. } => false,
        }
    }
}

/// How sure a transaction must be on disk before the next line runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Durability {
    /// Survives a power cut from the moment it returns: whatever precedes a change of the host.
    Synced,
    /// Survives a crash of the agent; a power cut may lose it, at the cost of one repeated, harmless pass.
    Written,
}

impl Record {
    /// The end of the history, certain to outlive a power cut: to be noted outside the record. None if it is what was
    /// noted last.
    pub fn head_to_note(&mut self) -> Result<Option<Noted>, RecordError> {
        let noted = Noted { history: Some(self.ledger.history), head: self.ledger.head };
        if self.noted == Some(noted) {
            return Ok(None);
        }
        let ledger = self.ledger;
        // What was merely written comes to the disk with it.
        self.write("make its head certain", Durability::Synced, |db| chain::write_ledger(db, &ledger))?;
        self.noted = Some(noted);
        Ok(Some(noted))
    }

    /// Gives back what was kept in memory of the file, before a long rest: half a megabyte that the next pass reads
    /// again.
    pub fn rest(&self) {
        // It stays in memory then.
        let _ = self.db.execute_batch("PRAGMA shrink_memory");
    }

    /// The head that was noted last since the record was opened.
    pub fn noted(&self) -> Option<Noted> {
        self.noted
    }

    /// Runs `work` in one transaction.
    fn write<T>(
        &mut self,
        doing: &'static str,
        durability: Durability,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, RecordError> {
        if let Some(why) = &self.unavailable {
            return Err(RecordError::Unavailable { why: why.clone() });
        }
        let failed = |source| RecordError::Database { doing, source };
        let level = match durability {
            Durability::Synced => "FULL",
            Durability::Written => "NORMAL",
        };
        self.db.pragma_update(None, "synchronous", level).map_err(failed)?;
        let transaction = self.db.transaction().map_err(failed)?;
        let value = work(&transaction).map_err(failed)?;
        transaction.commit().map_err(failed)?;
        Ok(value)
    }
}
