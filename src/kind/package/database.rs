//! Reads the dpkg database below a root, once for as long as it stays the same.
//!
//! dpkg writes `status` anew and renames it into place; while it runs, single entries lie in `updates/` (file
//! names of digits only) and win over it. An unchanged pair of stats with an empty journal is proof that the
//! table still holds: a quiet pass opens nothing.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, openat};

use crate::host::counters::COUNTERS;
use crate::host::files::{FilesError, Folder, Identity, Root};

use super::reader::{ParseFault, Reader};
use super::status::Table;

/// dpkg's folder, below the root.
pub const FOLDER: &str = "var/lib/dpkg";

/// How much is read at a time; also the longest line there may be is this times [`LONGEST_LINE`].
const PIECE: usize = 128 << 10;

/// A single line of more pieces than this (16 MiB) is no line dpkg wrote.
const LONGEST_LINE: usize = 128;

/// How often the database may change under our reading before we give up: dpkg is at work then.
const TRIES: usize = 5;

/// The database as last read.
#[derive(Debug)]
pub struct Database {
    table: Table,
    identity: Option<Unchanged>,
    /// Whether a journal was there: dpkg is at work, or was interrupted and nothing but
    /// `dpkg --configure -a` works.
    pub journal: bool,
}

/// What tells that neither the status file nor the journal's folder changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Unchanged {
    status: Identity,
    updates: Identity,
}

/// Why the database can't be read.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The way there is barred.
    #[error("could not reach dpkg's database /{FOLDER}")]
    Reach(#[source] FilesError),
    /// It is not there.
    #[error("there is no /{path}: is this a Debian host? If it is, put back status-old beside it")]
    Missing {
        /// Which file, below the root.
        path: PathBuf,
    },
    /// The system refused.
    #[error("could not read /{path}")]
    Read {
        /// Which file, below the root.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is not what dpkg writes.
    #[error("/{path} is damaged (compare it with status-old beside it and with /var/backups/dpkg.status.0)")]
    Damaged {
        /// Which file, below the root.
        path: PathBuf,
        /// Where and how.
        #[source]
        fault: ParseFault,
    },
    /// It lists no package: what a power cut leaves, never what a Debian host has.
    #[error(
        "/{FOLDER}/status lists no package at all: put back status-old beside it or /var/backups/dpkg.status.0"
    )]
    Empty,
    /// It changed each time it was read.
    #[error("/{FOLDER}/status changes faster than it can be read: dpkg is at work")]
    Restless,
}

impl Database {
    /// The packages.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Whether the database is provably still the one that was read. Two stats.
    pub fn still_holds(&self, root: &Root) -> bool {
        let now = root.folder(FOLDER).ok().flatten().and_then(|folder| Unchanged::of(&folder).ok());
        self.identity.is_some() && self.identity == now
    }

    /// The database as it is now: `last` again if it still holds.
    pub fn read(root: &Root, last: Option<Database>) -> Result<Database, DatabaseError> {
        let folder = root.folder(FOLDER).map_err(DatabaseError::Reach)?;
        let folder = folder.ok_or_else(|| DatabaseError::Missing { path: FOLDER.into() })?;
        let mut before = Unchanged::of(&folder)?;
        if let Some(last) = last
            && last.identity == Some(before)
        {
            return Ok(last);
        }
        for _ in 0..TRIES {
            let (table, journal) = read_table(&folder)?;
            let after = Unchanged::of(&folder)?;
            if after != before {
                before = after;
                continue;
            }
            if table.is_empty() {
                return Err(DatabaseError::Empty);
            }
            // The journal's files come and go faster than a folder's timestamp moves: never trusted twice.
            let identity = (!journal).then_some(before);
            return Ok(Database { table, identity, journal });
        }
        Err(DatabaseError::Restless)
    }
}

impl Unchanged {
    fn of(folder: &Folder) -> Result<Self, DatabaseError> {
        let identity = |name: &str| match folder.stat(OsStr::new(name)).map_err(DatabaseError::Reach)? {
            Some(stat) => Ok(stat.identity),
            None => Err(DatabaseError::Missing { path: Path::new(FOLDER).join(name) }),
        };
        Ok(Unchanged { status: identity("status")?, updates: identity("updates")? })
    }
}

fn read_table(folder: &Folder) -> Result<(Table, bool), DatabaseError> {
    let mut reader = Reader::default();
    read_file(folder, "status", &mut reader)?;
    let missing = || DatabaseError::Missing { path: Path::new(FOLDER).join("updates") };
    let updates =
        folder.subfolder(OsStr::new("updates")).map_err(DatabaseError::Reach)?.ok_or_else(missing)?;
    let mut journal = false;
    // Sorted by name, which is the order in which dpkg wrote them.
    for entry in updates.list().map_err(DatabaseError::Reach)? {
        let Some(name) = entry.name.to_str() else { continue };
        if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()) {
            read_file(&updates, name, &mut reader)?;
            journal = true;
        }
    }
    Ok((reader.finish(), journal))
}

/// Piece by piece: the largest part of the file is never of interest, and never in memory.
fn read_file(folder: &Folder, name: &str, reader: &mut Reader) -> Result<(), DatabaseError> {
    let path = || match folder.path().ends_with("updates") {
        true => Path::new(FOLDER).join("updates").join(name),
        false => Path::new(FOLDER).join(name),
    };
    let fault = |source| DatabaseError::Read { path: path(), source };
    let damaged = |fault| DatabaseError::Damaged { path: path(), fault };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(folder.handle(), name, flags, Mode::empty());
    let mut file = File::from(file.map_err(|errno| fault(errno.into()))?);
    COUNTERS.file_opened();
    let mut piece = vec![0; PIECE];
    let mut filled = 0;
    loop {
        let count = file.read(&mut piece[filled..]).map_err(fault)?;
        if count == 0 {
            break;
        }
        filled += count;
        if let Some(end) = memchr::memrchr(b'\n', &piece[..filled]) {
            reader.feed(&piece[..=end]).map_err(damaged)?;
            piece.copy_within(end + 1..filled, 0);
            filled -= end + 1;
        } else if piece.len() >= PIECE * LONGEST_LINE {
            return Err(fault(io::Error::new(io::ErrorKind::InvalidData, "a line without end")));
        } else if filled == piece.len() {
            piece.resize(piece.len() * 2, 0);
        }
    }
    reader.feed(&piece[..filled]).map_err(damaged)?;
    reader.end_file().map_err(damaged)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // tests build their host by hand
mod tests {
    use super::*;

    use super::super::status::Status;
    use std::fs;

    const NGINX: &str =
        "Package: nginx\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.22\n\n";

    fn host(status: &str) -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("var/lib/dpkg/updates")).unwrap();
        fs::write(folder.path().join("var/lib/dpkg/status"), status).unwrap();
        let root = Root::open(folder.path()).unwrap();
        (folder, root)
    }

    fn status_of(database: &Database, name: &str) -> Option<(String, Status)> {
        database.table().named(name).next().map(|package| (package.version.to_owned(), package.status))
    }

    #[test]
    fn an_unchanged_database_is_not_opened_again() {
        let (folder, root) = host(NGINX);
        let first = Database::read(&root, None).unwrap();
        let word = |database: &Database| database.table().iter().next().unwrap().name.as_ptr();
        let text = word(&first);
        let again = Database::read(&root, Some(first)).unwrap();
        assert_eq!(word(&again), text, "the very same table");
        // As dpkg does: a new file renamed over the old one.
        let path = folder.path().join("var/lib/dpkg");
        fs::write(path.join("status-new"), NGINX.replace("1.22", "1.23")).unwrap();
        assert!(again.still_holds(&root));
        fs::rename(path.join("status-new"), path.join("status")).unwrap();
        assert!(!again.still_holds(&root));
        let changed = Database::read(&root, Some(again)).unwrap();
        assert_eq!(status_of(&changed, "nginx"), Some(("1.23".into(), Status::Installed)));
    }

    #[test]
    fn the_journal_is_honoured_in_order_and_never_trusted_twice() {
        let (folder, root) = host(NGINX);
        let updates = folder.path().join("var/lib/dpkg/updates");
        fs::write(updates.join("0001"), NGINX.replace("1.22", "1.24")).unwrap();
        fs::write(updates.join("0000"), NGINX.replace("1.22", "1.23")).unwrap();
        fs::write(updates.join("tmp.i"), "torn").unwrap();
        let first = Database::read(&root, None).unwrap();
        assert!(first.journal && first.identity.is_none());
        assert_eq!(status_of(&first, "nginx"), Some(("1.24".into(), Status::Installed)));
        fs::write(updates.join("0001"), NGINX.replace("installed", "unpacked")).unwrap();
        let again = Database::read(&root, Some(first)).unwrap();
        assert_eq!(status_of(&again, "nginx"), Some(("1.22".into(), Status::Unpacked)));
    }

    #[test]
    fn a_database_that_is_missing_empty_or_torn_is_an_error_and_not_an_empty_host() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path()).unwrap();
        assert!(matches!(Database::read(&root, None), Err(DatabaseError::Missing { .. })));
        let (_folder, root) = host("");
        assert!(matches!(Database::read(&root, None), Err(DatabaseError::Empty)));
        let (_folder, root) = host(&NGINX[..NGINX.len() - 30]);
        assert!(matches!(Database::read(&root, None), Err(DatabaseError::Damaged { .. })));
    }

    #[test]
    fn a_link_cannot_lead_out_of_the_root() {
        let (folder, root) = host(NGINX);
        let dpkg = folder.path().join("var/lib/dpkg");
        fs::remove_file(dpkg.join("status")).unwrap();
        std::os::unix::fs::symlink("/var/lib/dpkg/status", dpkg.join("status")).unwrap();
        assert!(matches!(Database::read(&root, None), Err(DatabaseError::Read { .. })));
    }

    #[test]
    fn entries_longer_than_a_piece_are_read() {
        let long = format!(
            "{}Package: z9\nConffiles:\n {}\nStatus: install ok installed\n",
            NGINX,
            "x".repeat(PIECE * 3)
        );
        let (_folder, root) = host(&long);
        let database = Database::read(&root, None).unwrap();
        assert_eq!(status_of(&database, "z9"), Some((String::new(), Status::Installed)));
        assert_eq!(status_of(&database, "nginx"), Some(("1.22".into(), Status::Installed)));
    }
}
