//! Opening the record: one writer, a careful look at what is there, and a new beginning beside what can't be
//! used.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::Connection;
use rustix::fs::{FlockOperation, Mode, OFlags};

use super::applied::{ours, unusable};
use super::chain::{self, Entry, Ledger};
use super::{Lock, Record, RecordError, notes, ownership, schema};
use crate::host::clock::Clock;
use crate::host::files::{FileType, Folder, Root};
use crate::model::ResourceId;

/// The folder of the database within the state folder: a folder, so that the file and its log are set aside
/// together, by one rename.
pub(super) const FOLDER: &str = "record";
/// The database within its folder.
pub(super) const FILE: &str = "record.db";
const LOCK: &str = "record.lock";
const NEW: &str = "record.new";

/// What was found on opening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// In which state the record was.
    pub state: OpenState,
    /// Resources whose change was begun and has no outcome: the agent ended in between. Their drifts were
    /// marked interrupted; look at these first.
    pub interrupted: Vec<ResourceId>,
}

/// In which state the record was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenState {
    /// There was none: first contact, or someone deleted it. Nothing is known to be ours.
    New,
    /// As it was left.
    Fine,
    /// It could not be used and was begun anew. Nothing is known to be ours: nothing is pruned until the agent
    /// brings it again.
    Rebuilt {
        /// What was wrong.
        why: String,
        /// Where the old one lies now.
        kept: PathBuf,
    },
}

impl Record {
    /// Opens the record in the state folder `state`. A record that is damaged or of a newer version is set aside
    /// under a new name and begun anew; errors of the system (no space, no right, a failing device) are errors,
    /// and leave it alone.
    pub fn open(state: &Root, clock: Arc<dyn Clock>) -> Result<(Record, Opened), RecordError> {
        let lock = lock(state)?;
        let (loaded, found) = match load(state) {
            Ok(Some(loaded)) => (loaded, OpenState::Fine),
            Ok(None) => (begin(state)?, OpenState::New),
            Err(error) if error.is_damage() => {
                let why = chain_of(&error);
                let kept = set_aside(state, clock.now())?;
                (begin(state)?, OpenState::Rebuilt { why, kept })
            }
            Err(error) => return Err(error),
        };
        let mut record =
            Record { _lock: Some(Lock(lock)), file: identity(state), ..Record::of(loaded, clock) };
        if let OpenState::Rebuilt { why, .. } = &found {
            record.append("note that it was begun anew", &[Entry::Rebuilt { why: why.clone() }])?;
        }
        let interrupted = record.interrupt_pending()?;
        Ok((record, Opened { state: found, interrupted }))
    }

    /// What takes the place of a record that can't be opened now: it knows nothing and refuses every write, so that the
    /// host is looked at and nothing on it is changed.
    pub fn stand_in(clock: Arc<dyn Clock>, why: &RecordError) -> Result<Record, RecordError> {
        let failed = |source| RecordError::Database { doing: "be stood in for", source };
        let db = schema::in_memory().map_err(failed)?;
        let loaded = read(db).map_err(failed)?;
        Ok(Record { unavailable: Some(chain_of(why)), ..Record::of(loaded, clock) })
    }

    /// Why this is only a stand-in, if it is.
    pub fn unavailable(&self) -> Option<&str> {
        self.unavailable.as_deref()
    }

    /// Whether the file that was opened is the one that lies in the state folder: somebody may have removed it. What
    /// can't be looked at is not gone.
    pub fn is_in_place(&self, state: &Root) -> bool {
        let there = state.stat(Path::new(FOLDER).join(FILE));
        there.map_or(true, |there| there.map(|stat| (stat.identity.device, stat.identity.inode)) == self.file)
    }

    fn of(loaded: Loaded, clock: Arc<dyn Clock>) -> Record {
        let Loaded { db, resources, levels, notes, open, ledger } = loaded;
        Record {
            db,
            clock,
            resources,
            levels,
            notes,
            open,
            ledger,
            noted: None,
            current: None,
            _lock: None,
            file: None,
            unavailable: None,
        }
    }
}

fn identity(state: &Root) -> Option<(u64, u64)> {
    let stat = state.stat(Path::new(FOLDER).join(FILE)).ok().flatten()?;
    Some((stat.identity.device, stat.identity.inode))
}

struct Loaded {
    db: Connection,
    resources: ownership::Resources,
    levels: std::collections::BTreeMap<(ResourceId, crate::kind::Reaction), u64>,
    notes: notes::Notes,
    open: std::collections::BTreeMap<ResourceId, super::OpenDrift>,
    ledger: Ledger,
}

/// One writer: an advisory lock that the kernel lets go of when the process ends, however it ends.
fn lock(state: &Root) -> Result<OwnedFd, RecordError> {
    let failed =
        |errno: rustix::io::Errno| RecordError::Lock { path: state.absolute(LOCK), source: errno.into() };
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::openat(state.handle(), LOCK, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(RecordError::Locked { dir: state.path().to_owned() }),
        Err(errno) => Err(failed(errno)),
    }
}

/// Reads everything that is kept in memory. None if there is no record at all.
fn load(state: &Root) -> Result<Option<Loaded>, RecordError> {
    if state.stat(FOLDER).map_err(unusable)?.is_none() {
        return Ok(None);
    }
    let name = Path::new(FOLDER).join(FILE);
    let file = state.absolute(&name);
    let is_file = state.stat(&name).map_err(unusable)?.is_some_and(|stat| stat.kind == FileType::File);
    if !is_file {
        return Err(RecordError::Damaged { what: format!("{} is missing", file.display()) });
    }
    let failed = |source| RecordError::Database { doing: "be read", source };
    let mut db = schema::connect(&file).map_err(failed)?;
    check(&db)?;
    schema::migrate(&mut db).map_err(failed)?;
    let missing = || RecordError::Damaged { what: "the head of its history is missing".into() };
    chain::read_ledger(&db).map_err(failed)?.ok_or_else(missing)?;
    read(db).map(Some).map_err(failed)
}

fn read(db: Connection) -> rusqlite::Result<Loaded> {
    let mut ledger = chain::read_ledger(&db)?.unwrap_or_default();
    ledger.pass = ledger.passes;
    let mut notes = notes::read_all(&db)?;
    let open = notes::take_open(&mut notes)?;
    let resources = ownership::read(&db)?;
    let levels = ownership::read_levels(&db)?;
    Ok(Loaded { db, resources, levels, notes, open, ledger })
}

fn check(db: &Connection) -> Result<(), RecordError> {
    let failed = |source| RecordError::Database { doing: "be checked", source };
    let number = |pragma: &str| -> Result<i32, RecordError> {
        db.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0)).map_err(failed)
    };
    let damaged = |what: String| Err(RecordError::Damaged { what });
    if number("application_id")? != schema::APPLICATION {
        return damaged("its file is not a record of agentd".into());
    }
    let version = number("user_version")?;
    if version > schema::VERSION {
        return damaged(format!(
            "its schema has version {version}, newer than the {} this agentd knows",
            schema::VERSION
        ));
    }
    let found: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
    if found != "ok" {
        return damaged(found);
    }
    Ok(())
}

/// Makes a new record beside its place and moves it there complete: a folder of that name without tables is
/// therefore always damage, never a beginning that was cut short.
fn begin(state: &Root) -> Result<Loaded, RecordError> {
    let top = top(state)?;
    let new = OsStr::new(NEW);
    // What a beginning that was cut short left: nothing in it was ever in use.
    top.remove_tree(new).map_err(unusable)?;
    top.create_dir(new, ours(0o700)).map_err(unusable)?;
    let file = state.absolute(Path::new(NEW).join(FILE));
    schema::create(&file).map_err(|source| RecordError::Database { doing: "be begun", source })?;
    state.folder(NEW).map_err(unusable)?.map_or(Ok(()), |folder| folder.sync()).map_err(unusable)?;
    top.move_to(new, &top, OsStr::new(FOLDER)).map_err(unusable)?;
    top.sync().map_err(unusable)?;
    load(state)?.ok_or_else(|| RecordError::Damaged { what: "the new record is gone".into() })
}

fn set_aside(state: &Root, now: Timestamp) -> Result<PathBuf, RecordError> {
    let name = format!("record.set-aside-{}", now.strftime("%Y%m%dT%H%M%S.%6fZ"));
    let top = top(state)?;
    top.move_to(OsStr::new(FOLDER), &top, OsStr::new(&name)).map_err(unusable)?;
    top.sync().map_err(unusable)?;
    Ok(state.absolute(name))
}

fn top(state: &Root) -> Result<Folder, RecordError> {
    let top = state.folder("").map_err(unusable)?;
    top.ok_or_else(|| RecordError::Damaged { what: format!("{} is gone", state.path().display()) })
}

/// An error and what is behind it, in one line.
fn chain_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}
