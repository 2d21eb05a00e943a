//! Why a file could not be read or written.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::stat::FileType;

/// Why a file could not be read or written. Each says what was tried on what; the cause is the source.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The system refused.
    #[error("could not {operation} {path}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file system is full, or a quota is used up. The target is untouched; tried again at the next pass.
    #[error("no space left to {operation} {path}: free some space on that file system")]
    NoSpace {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file system is mounted read-only.
    #[error("could not {operation} {path}: its file system is read-only")]
    ReadOnly {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
    },
    /// The file carries the immutable or the append-only flag. We never clear it: a person set it.
    #[error(
        "{path} is blocked by its immutable or append-only flag: a person must clear it with `chattr -i -a`"
    )]
    Immutable {
        /// Which.
        path: PathBuf,
    },
    /// The file has other names: changing it would change what lies under those too.
    #[error("{path} has {links} names (hard links): it is not changed in place")]
    ManyNames {
        /// Which.
        path: PathBuf,
        /// How many names.
        links: u32,
    },
    /// Something else lies there.
    #[error("{path} is {found}, not {wanted}")]
    WrongType {
        /// Where.
        path: PathBuf,
        /// What is there.
        found: FileType,
        /// What should be.
        wanted: FileType,
    },
    /// Larger than the caller takes.
    #[error("{path} has {size} bytes; at most {limit} are read")]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// A symbolic link on the way that someone other than root could have laid.
    #[error("{path} is not followed: the link {link} could have been laid by someone other than root")]
    UnsafeLink {
        /// The whole path.
        path: PathBuf,
        /// The link.
        link: PathBuf,
    },
    /// A path that leaves its root, or names none of its files.
    #[error("`{path}` names no file below its root")]
    NoName {
        /// The path.
        path: PathBuf,
    },
    /// The folder it should be in is not there.
    #[error("the folder of {path} does not exist")]
    NoParent {
        /// The path.
        path: PathBuf,
    },
    /// Someone moved a folder while we worked in it.
    #[error("the folder of {path} was moved while it was worked on: tried again at the next pass")]
    Moved {
        /// The path.
        path: PathBuf,
    },
    /// Someone changed the file while it was read.
    #[error("{path} changed while it was read: tried again at the next pass")]
    Unsteady {
        /// The path.
        path: PathBuf,
    },
    /// Something is mounted there or below.
    #[error("{path} cannot be moved: {mount} is mounted there")]
    Mounted {
        /// The path.
        path: PathBuf,
        /// The mount point.
        mount: PathBuf,
    },
}

impl FilesError {
    /// Wraps what the system said about `operation` on `path`.
    pub(super) fn system(operation: &'static str, path: &Path, errno: Errno) -> Self {
        let path = path.to_owned();
        match errno {
            Errno::NOSPC | Errno::DQUOT => FilesError::NoSpace { operation, path, source: errno.into() },
            Errno::ROFS => FilesError::ReadOnly { operation, path },
            _ => FilesError::Io { operation, path, source: errno.into() },
        }
    }

    /// The system's error number, where there is one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            FilesError::Io { source, .. } | FilesError::NoSpace { source, .. } => source.raw_os_error(),
            FilesError::ReadOnly { .. } => Some(Errno::ROFS.raw_os_error()),
            FilesError::Immutable { .. }
            | FilesError::ManyNames { .. }
            | FilesError::WrongType { .. }
            | FilesError::TooLarge { .. }
            | FilesError::UnsafeLink { .. }
            | FilesError::NoName { .. }
            | FilesError::NoParent { .. }
            | FilesError::Moved { .. }
            | FilesError::Unsteady { .. }
            | FilesError::Mounted { .. } => None,
        }
    }

    /// Whether this is the system's error `errno`.
    pub(crate) fn is(&self, errno: Errno) -> bool {
        self.errno() == Some(errno.raw_os_error())
    }

    /// The message with its causes, for a person.
    pub fn chain(&self) -> String {
        match std::error::Error::source(self) {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        }
    }
}
