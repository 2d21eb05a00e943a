//! Files below a root folder, reached by folder handles.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// The root of a file tree: `/`, or the folder an offline apply or a test works on.
pub struct Root {
    path: PathBuf,
    handle: OwnedFd,
}

impl Root {
    /// Opens a root folder.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        use rustix::fs::{Mode, OFlags};
        let path = path.as_ref().to_owned();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = rustix::fs::open(&path, flags, Mode::empty())?;
        Ok(Root { path, handle })
    }

    /// Where the root is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder handle.
    pub fn handle(&self) -> &OwnedFd {
        &self.handle
    }
}
