//! Files below a root folder, reached by folder handles: the only way the program reads or writes a file.
//!
//! A path is always relative to a [`Root`] (a leading `/` means the root itself). Its parent is resolved once,
//! to a [`Folder`], by rules that hold against a person who owns a folder on the way (see `resolve`); from
//! there on everything is done relative to that handle, by a single name, and the last component is never
//! followed. What is written appears whole and with its final owner and mode, or not at all (see `write`).
//!
//! May not: decide what is written or kept. Missing is `None`; not being able to tell is an error.

mod attributes;
mod error;
mod folder;
mod read;
mod resolve;
mod stat;
mod tree;
mod write;

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

pub use attributes::{Attributes, Xattrs};
pub use error::FilesError;
pub use folder::Folder;
pub use read::{Entry, Hashed};
pub use stat::{FileType, Identity, Stat};
pub use tree::Measure;
pub use write::{How, Staged, Written, is_staged_name};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// The root of a file tree: `/`, the folder an offline apply or a test works on, or the agent's own state.
#[derive(Debug)]
pub struct Root {
    path: PathBuf,
    handle: OwnedFd,
    /// Who, besides root, may lay symbolic links that we follow: ourselves.
    ourselves: u32,
    /// What a person keeps for themselves.
    protected: RwLock<Vec<PathBuf>>,
}

impl Root {
    /// Opens a root folder.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref().to_owned();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = rustix::fs::open(&path, flags, Mode::empty())?;
        let ourselves = rustix::process::geteuid().as_raw();
        Ok(Root { path, handle, ourselves, protected: RwLock::default() })
    }

    /// Stands for a folder that can't be made or opened: it is never in place, and whatever is tried in it fails.
    pub fn absent(path: impl AsRef<Path>) -> io::Result<Self> {
        let handle = rustix::fs::open("/dev/null", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let ourselves = rustix::process::geteuid().as_raw();
        Ok(Root { path: path.as_ref().to_owned(), handle, ourselves, protected: RwLock::default() })
    }

    /// From now on a person keeps these paths for themselves, and what lies below them. Only said here: whoever decides
    /// about a change asks [`Root::protected`].
    pub fn protect(&self, paths: Vec<PathBuf>) {
        *self.protected.write().unwrap_or_else(PoisonError::into_inner) = paths;
    }

    /// The paths that a person keeps for themselves.
    pub fn protected(&self) -> Vec<PathBuf> {
        self.protected.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where the root is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder handle (opened for its path only).
    pub fn handle(&self) -> &OwnedFd {
        &self.handle
    }

    /// Whether the folder that was opened is the one that lies at its path: somebody may have removed or replaced it.
    /// What can't be looked at is not gone.
    pub fn is_in_place(&self) -> bool {
        let inode = |stat: rustix::fs::Stat| (stat.st_dev, stat.st_ino);
        match (rustix::fs::stat(&self.path), rustix::fs::fstat(&self.handle)) {
            (Ok(there), Ok(ours)) => inode(there) == inode(ours),
            (Err(Errno::NOENT | Errno::NOTDIR), _) => false,
            (Err(_), _) | (_, Err(_)) => true,
        }
    }

    /// The folder at this path as it is now, made with these attributes if there is none. The folder above must be there.
    pub fn anew(&self, attributes: Attributes) -> Result<Root, FilesError> {
        let (above, name) = split(&self.path)?;
        let open = |path: &Path| {
            let opened = Root::open(path);
            opened.map_err(|source| FilesError::Io { operation: "open", path: path.to_owned(), source })
        };
        open(above)?.create_dirs(name, attributes)?;
        open(&self.path)
    }

    /// The path of a file below this root as the whole system names it.
    pub fn absolute(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.path.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The folder at `path`; none if it is not there, or if something that is no folder is on the way.
    pub fn folder(&self, path: impl AsRef<Path>) -> Result<Option<Folder>, FilesError> {
        resolve::folder(self, path.as_ref())
    }

    /// What lies at `path`, without following a link there; none if nothing does.
    pub fn stat(&self, path: impl AsRef<Path>) -> Result<Option<Stat>, FilesError> {
        self.within(path.as_ref(), |folder, name| folder.stat(name))
    }

    /// The content of the regular file at `path`; none if nothing is there. Larger than `limit` is an error.
    pub fn read(&self, path: impl AsRef<Path>, limit: u64) -> Result<Option<Vec<u8>>, FilesError> {
        self.within(path.as_ref(), |folder, name| folder.read(name, limit))
    }

    /// Where the symbolic link at `path` points; none if nothing is there.
    pub fn read_link(&self, path: impl AsRef<Path>) -> Result<Option<PathBuf>, FilesError> {
        self.within(path.as_ref(), |folder, name| folder.read_link(name))
    }

    /// What lies in the folder at `path`, sorted by name; none if there is no such folder.
    pub fn list(&self, path: impl AsRef<Path>) -> Result<Option<Vec<Entry>>, FilesError> {
        self.folder(path)?.map(|folder| folder.list()).transpose()
    }

    /// Puts a regular file at `path`, whole and durable, in place of whatever file or link is there. The parent
    /// must exist. Only for files whose previous content need not be kept.
    pub fn write(
        &self,
        path: impl AsRef<Path>,
        bytes: &[u8],
        attributes: Attributes,
    ) -> Result<Written, FilesError> {
        let path = path.as_ref();
        let (folder, name) = self.parent(path)?;
        let staged = folder.stage_file(name, bytes, attributes, &Xattrs::default())?;
        staged.sync()?;
        self.still_there(&folder, path)?;
        let written = staged.replace()?;
        folder.sync()?;
        Ok(written)
    }

    /// Puts a regular file at `path`, whole, of whatever `fill` writes; it is not durable. For what is made anew at need.
    ///
    /// # Errors
    /// What `fill` says, then nothing was put there; or the files.
    pub fn write_by<T, E: From<FilesError>>(
        &self,
        path: impl AsRef<Path>,
        attributes: Attributes,
        fill: impl FnOnce(&mut dyn io::Write) -> Result<T, E>,
    ) -> Result<T, E> {
        let path = path.as_ref();
        let (folder, name) = self.parent(path)?;
        let staged = folder.stage_file(name, b"", attributes, &Xattrs::default())?;
        let mut writer = io::BufWriter::with_capacity(64 << 10, staged.writer()?);
        let done = fill(&mut writer)?;
        io::Write::flush(&mut writer).map_err(|error| folder.fault("write", name, write::errno(&error)))?;
        self.still_there(&folder, path)?;
        staged.replace()?;
        Ok(done)
    }

    /// Takes away the file, link or empty folder at `path`, durably. Says whether there was one.
    pub fn remove(&self, path: impl AsRef<Path>) -> Result<bool, FilesError> {
        let removed = self.within(path.as_ref(), |folder, name| {
            let removed = folder.remove(name)?;
            folder.sync()?;
            Ok(Some(removed))
        })?;
        Ok(removed.unwrap_or(false))
    }

    /// Makes the folder at `path` with its final owner and mode, durably. The parent must exist; something
    /// that is there already is an error.
    pub fn create_dir(&self, path: impl AsRef<Path>, attributes: Attributes) -> Result<(), FilesError> {
        let (folder, name) = self.parent(path.as_ref())?;
        folder.create_dir(name, attributes)?;
        if let Some(made) = folder.subfolder(name)? {
            made.sync()?;
        }
        folder.sync()
    }

    /// Makes every folder that is missing on the way to `path` (and `path` itself) with these attributes,
    /// durably; those that exist are left as they are. Returns the ones that were made, topmost first.
    pub fn create_dirs(
        &self,
        path: impl AsRef<Path>,
        attributes: Attributes,
    ) -> Result<Vec<PathBuf>, FilesError> {
        let made = self.create_dirs_unsynced(path, attributes)?;
        for folder in &made {
            for touched in [self.folder(folder)?, self.folder(split(folder)?.0)?].into_iter().flatten() {
                touched.sync()?;
            }
        }
        Ok(made)
    }

    /// As [`Root::create_dirs`]; durable only when the caller has synced the file system.
    pub fn create_dirs_unsynced(
        &self,
        path: impl AsRef<Path>,
        attributes: Attributes,
    ) -> Result<Vec<PathBuf>, FilesError> {
        let path = path.as_ref();
        let mut missing = Vec::new();
        for ancestor in path.ancestors().filter(|ancestor| ancestor.file_name().is_some()) {
            if self.folder(ancestor)?.is_some() {
                break;
            }
            missing.push(ancestor.to_owned());
        }
        missing.reverse();
        for ancestor in &missing {
            let (folder, name) = self.parent(ancestor)?;
            folder.create_dir(name, attributes)?;
        }
        Ok(missing)
    }

    /// Puts a symbolic link at `path`, in place of whatever file or link is there, durably.
    pub fn symlink(
        &self,
        path: impl AsRef<Path>,
        target: impl AsRef<OsStr>,
        uid: u32,
        gid: u32,
    ) -> Result<Written, FilesError> {
        let path = path.as_ref();
        let (folder, name) = self.parent(path)?;
        let staged = folder.stage_link(name, target.as_ref(), uid, gid)?;
        self.still_there(&folder, path)?;
        let written = staged.replace()?;
        folder.sync()?;
        Ok(written)
    }

    /// Gives the file or folder at `path` its owner and mode, durably, and leaves its content alone.
    pub fn set_attributes(&self, path: impl AsRef<Path>, attributes: Attributes) -> Result<Stat, FilesError> {
        let (folder, name) = self.parent(path.as_ref())?;
        folder.set_attributes(name, attributes)
    }

    /// The parent folder of `path` and its last component. A missing parent is an error.
    pub fn parent<'p>(&self, path: &'p Path) -> Result<(Folder, &'p OsStr), FilesError> {
        let (parent, name) = split(path)?;
        let folder = self.folder(parent)?.ok_or_else(|| FilesError::NoParent { path: path.to_owned() })?;
        Ok((folder, name))
    }

    /// Refuses if the parent of `path` is by now another folder than `folder`: someone moved it meanwhile.
    pub fn still_there(&self, folder: &Folder, path: &Path) -> Result<(), FilesError> {
        let now = self.folder(split(path)?.0)?;
        match now.map(|now| now.identity()).transpose()? {
            Some(now) if now == folder.identity()? => Ok(()),
            _ => Err(FilesError::Moved { path: path.to_owned() }),
        }
    }

    fn within<T>(
        &self,
        path: &Path,
        act: impl FnOnce(&Folder, &OsStr) -> Result<Option<T>, FilesError>,
    ) -> Result<Option<T>, FilesError> {
        let (parent, name) = split(path)?;
        match self.folder(parent)? {
            Some(folder) => act(&folder, name),
            None => Ok(None),
        }
    }
}

/// The parent and the last component of a path that names something below a root.
fn split(path: &Path) -> Result<(&Path, &OsStr), FilesError> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok((parent, name)),
        _ => Err(FilesError::NoName { path: path.to_owned() }),
    }
}

#[cfg(test)]
mod tests;
