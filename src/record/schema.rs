//! Tables, their version, and what counts as damage.

use rusqlite::{Connection, ErrorCode, OpenFlags};
use sha2::{Digest as _, Sha256};
use std::path::Path;

/// Version of the tables, in `user_version`. A file of a newer one is not touched but set aside.
pub const VERSION: i32 = 1;

/// Marks the file as ours, in `application_id`: "agtd".
pub const APPLICATION: i32 = 0x6167_7464;

/// The steps from each version to the next; the first makes an empty file.
const STEPS: [&str; VERSION as usize] = ["
    CREATE TABLE resources (
        kind TEXT NOT NULL, key TEXT NOT NULL,
        owned INTEGER NOT NULL, brought INTEGER NOT NULL, prune INTEGER NOT NULL,
        spec BLOB, commit_id TEXT, generation INTEGER NOT NULL,
        first_managed INTEGER NOT NULL, last_converged INTEGER,
        sum INTEGER NOT NULL,
        PRIMARY KEY (kind, key)
    ) WITHOUT ROWID;
    CREATE TABLE levels (
        service TEXT NOT NULL, reaction TEXT NOT NULL, seen INTEGER NOT NULL,
        sum INTEGER NOT NULL,
        PRIMARY KEY (service, reaction)
    ) WITHOUT ROWID;
    CREATE TABLE notes (
        space TEXT NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL,
        sum INTEGER NOT NULL,
        PRIMARY KEY (space, key)
    ) WITHOUT ROWID;
    CREATE TABLE entries (
        seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, what TEXT NOT NULL,
        pass INTEGER, drift INTEGER, kind TEXT, key TEXT,
        body TEXT NOT NULL, digest BLOB NOT NULL
    );
    CREATE INDEX entries_by_drift ON entries (drift) WHERE drift IS NOT NULL;
    CREATE INDEX entries_by_resource ON entries (kind, key) WHERE kind IS NOT NULL;
    CREATE INDEX entries_by_what ON entries (what);
"];

/// Opens the file for writing and sets it up.
pub fn connect(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    set_up(Connection::open_with_flags(file, flags)?)
}

/// Opens the file for reading beside a writer.
pub fn connect_to_read(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(file, flags)?;
    db.busy_timeout(std::time::Duration::from_secs(2))?;
    distrust(&db)?;
    Ok(db)
}

/// Makes a new file with all tables, closed and complete when this returns.
pub fn create(file: &Path) -> rusqlite::Result<()> {
    let mut db = set_up(Connection::open(file)?)?;
    migrate(&mut db)?;
    let ledger = super::chain::Ledger { history: random(), ..super::chain::Ledger::default() };
    super::chain::write_ledger(&db, &ledger)?;
    db.close().map_err(|(_, error)| error)
}

/// Empty tables that nobody ever reads again.
pub fn in_memory() -> rusqlite::Result<Connection> {
    let mut db = Connection::open_in_memory()?;
    migrate(&mut db)?;
    Ok(db)
}

fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}

/// Brings a file of an older version to this one.
pub fn migrate(db: &mut Connection) -> rusqlite::Result<()> {
    let from: usize = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let change = db.transaction()?;
    for step in STEPS.iter().skip(from) {
        change.execute_batch(step)?;
    }
    change.pragma_update(None, "application_id", APPLICATION)?;
    change.pragma_update(None, "user_version", VERSION)?;
    change.commit()
}

/// Whether an error says that the content is broken (and not the disk full, locked, or unreadable).
pub fn is_damage(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => {
            matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        }
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::Utf8Error(..) => true,
        // A table or column that is not there: the schema itself was damaged.
        rusqlite::Error::SqlInputError { .. } => true,
        other => other.to_string().contains("no such table"),
    }
}

fn set_up(db: Connection) -> rusqlite::Result<Connection> {
    db.busy_timeout(std::time::Duration::from_secs(2))?;
    // Both answer with a row, so they are queries.
    db.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    db.query_row("PRAGMA journal_size_limit = 4194304", [], |_| Ok(()))?;
    // Checkpoints are made after a pass (`Record::finish_pass`), never between an intent and its change.
    db.pragma_update(None, "wal_autocheckpoint", 0)?;
    // KiB when negative. What is asked often is kept in our own maps.
    db.pragma_update(None, "cache_size", -512)?;
    distrust(&db)?;
    Ok(db)
}

/// The file may have been damaged by anything: believe neither its schema nor its cell sizes.
fn distrust(db: &Connection) -> rusqlite::Result<()> {
    db.pragma_update(None, "trusted_schema", false)?;
    db.pragma_update(None, "cell_size_check", true)
}

/// The sum of one row of state: guards against damage that leaves the file well-formed, such as a flipped bit
/// in "brought by the agent".
pub struct RowSum(Sha256);

impl RowSum {
    /// A sum over nothing yet, of a row of `table`.
    pub fn of(table: &str) -> Self {
        RowSum(Sha256::new()).text(table)
    }

    /// Adds a text.
    pub fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    /// Adds a text that may be missing.
    pub fn maybe(self, bytes: Option<&[u8]>) -> Self {
        match bytes {
            Some(bytes) => self.number(1).bytes(bytes),
            None => self.number(0),
        }
    }

    /// Adds bytes.
    pub fn bytes(self, bytes: &[u8]) -> Self {
        let mut sum = self.number(i64::try_from(bytes.len()).unwrap_or(i64::MAX));
        sum.0.update(bytes);
        sum
    }

    /// Adds a number.
    pub fn number(mut self, number: i64) -> Self {
        self.0.update(number.to_be_bytes());
        self
    }

    /// The first eight bytes: enough against accidents, which is all it is for.
    pub fn finish(self) -> i64 {
        let digest = self.0.finalize();
        let mut first = [0u8; 8];
        first.copy_from_slice(&digest[..8]);
        i64::from_be_bytes(first)
    }
}
