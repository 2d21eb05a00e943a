//! A folder that was resolved: everything else is done relative to its handle, by single names.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, StatxFlags};
use rustix::io::Errno;

use super::attributes::{self, Attributes};
use super::stat::{FileType, Stat};
use super::{FilesError, Xattrs};

/// A folder by its handle. Whatever happens to its path, this stays the same folder.
#[derive(Debug)]
pub struct Folder {
    handle: OwnedFd,
    path: PathBuf,
    /// Where links on the way led; none if there were none.
    led_to: Option<PathBuf>,
}

impl Folder {
    pub(super) fn new(handle: OwnedFd, path: PathBuf) -> Self {
        Folder { handle, path, led_to: None }
    }

    pub(super) fn behind_links(handle: OwnedFd, path: PathBuf, led_to: PathBuf) -> Self {
        Folder { handle, path, led_to: Some(led_to) }
    }

    /// Stands for one that can't be made or opened: whatever is tried in it fails.
    pub fn absent(path: PathBuf) -> std::io::Result<Self> {
        let handle = rustix::fs::open("/dev/null", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Folder::new(handle, path))
    }

    /// Where it really is below its root, with a leading `/`, if a symbolic link led there; none if its path holds
    /// no link.
    pub fn led_to(&self) -> Option<&Path> {
        self.led_to.as_deref()
    }

    /// Where it was when it was resolved.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The handle (opened for its path only).
    pub fn handle(&self) -> &OwnedFd {
        &self.handle
    }

    /// Device and inode: which folder this is.
    pub fn identity(&self) -> Result<(u64, u64), FilesError> {
        let identity = self.own_stat()?.identity;
        Ok((identity.device, identity.inode))
    }

    /// Which mount the folder is reached through. Nothing can be renamed from one mount to another, be they of the
    /// same file system: systemd makes a unit's state folder a mount of its own when it confines the unit.
    pub fn mount(&self) -> Result<u64, FilesError> {
        let raw = rustix::fs::statx(&self.handle, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID);
        raw.map(|raw| raw.stx_mnt_id).map_err(|errno| FilesError::system("look at", &self.path, errno))
    }

    /// What the file system says of the folder itself.
    pub fn own_stat(&self) -> Result<Stat, FilesError> {
        let raw = rustix::fs::statx(&self.handle, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS);
        raw.map(|raw| Stat::from(&raw)).map_err(|errno| FilesError::system("look at", &self.path, errno))
    }

    /// What lies under `name`, links not followed; none if nothing does.
    pub fn stat(&self, name: &OsStr) -> Result<Option<Stat>, FilesError> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        match rustix::fs::statx(&self.handle, name, flags, StatxFlags::BASIC_STATS) {
            Ok(raw) => Ok(Some(Stat::from(&raw))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.fault("look at", name, errno)),
        }
    }

    /// The folder under `name`; none if there is none. A link is no folder.
    pub fn subfolder(&self, name: &OsStr) -> Result<Option<Folder>, FilesError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.handle, name, flags, Mode::empty()) {
            Ok(handle) => {
                let led_to = self.led_to.as_ref().map(|real| real.join(name));
                Ok(Some(Folder { handle, path: self.path.join(name), led_to }))
            }
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(self.fault("open the folder", name, errno)),
        }
    }

    /// Takes away the file, link or empty folder under `name`. Says whether there was one.
    pub fn remove(&self, name: &OsStr) -> Result<bool, FilesError> {
        let removed = match rustix::fs::unlinkat(&self.handle, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => rustix::fs::unlinkat(&self.handle, name, AtFlags::REMOVEDIR),
            other => other,
        };
        match removed {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(self.fault("remove", name, errno)),
        }
    }

    /// Makes a folder with its final owner and mode; durable when it and this folder are synced.
    pub fn create_dir(&self, name: &OsStr, attributes: Attributes) -> Result<(), FilesError> {
        let fault = |errno| self.fault("create the folder", name, errno);
        // Ours alone until owner and mode are final.
        rustix::fs::mkdirat(&self.handle, name, Mode::from_raw_mode(0o700)).map_err(fault)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(&self.handle, name, flags, Mode::empty()).and_then(|handle| {
            attributes::set(&handle, attributes).and_then(|()| rustix::fs::fsync(&handle))
        });
        if made.is_err() {
            let _ = rustix::fs::unlinkat(&self.handle, name, AtFlags::REMOVEDIR);
        }
        made.map_err(fault)
    }

    /// Gives the file or folder under `name` its owner and mode, durably; a link its owner. A file with other
    /// names is refused: they may be another's (a hard link to a file the folder's owner may not touch).
    pub fn set_attributes(&self, name: &OsStr, attributes: Attributes) -> Result<Stat, FilesError> {
        let fault = |errno| self.fault("set owner and mode of", name, errno);
        let before = self.stat(name)?.ok_or_else(|| fault(Errno::NOENT))?;
        match before.kind {
            FileType::Link => {
                let (uid, gid) = attributes::ids(attributes);
                rustix::fs::chownat(&self.handle, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(fault)?;
                self.sync()?;
            }
            FileType::File | FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
                let handle = rustix::fs::openat(&self.handle, name, flags | OFlags::CLOEXEC, Mode::empty())
                    .map_err(fault)?;
                let opened = super::read::handle_stat(&handle).map_err(fault)?;
                if opened.kind != before.kind {
                    return Err(FilesError::Unsteady { path: self.path.join(name) });
                }
                if opened.kind == FileType::File && opened.links > 1 {
                    return Err(FilesError::ManyNames { path: self.path.join(name), links: opened.links });
                }
                attributes::set(&handle, attributes)
                    .and_then(|()| rustix::fs::fsync(&handle))
                    .map_err(fault)?;
            }
            FileType::Pipe | FileType::Socket | FileType::Device => {
                let path = self.path.join(name);
                return Err(FilesError::WrongType { path, found: before.kind, wanted: FileType::File });
            }
        }
        self.stat(name)?.ok_or_else(|| fault(Errno::NOENT))
    }

    /// The extended attributes (access lists among them) worth carrying over to what replaces `name`.
    pub fn xattrs(&self, name: &OsStr) -> Result<Xattrs, FilesError> {
        // There is no call that reads them relative to a folder without opening the file; a handle opened for
        // its path only serves through /proc.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.handle, name, flags, Mode::empty()) {
            Ok(handle) => {
                Xattrs::read(&handle).map_err(|errno| self.fault("read the attributes of", name, errno))
            }
            Err(Errno::NOENT) => Ok(Xattrs::default()),
            Err(errno) => Err(self.fault("read the attributes of", name, errno)),
        }
    }

    /// Sets extended attributes of the folder or file under `name`.
    pub(super) fn set_xattrs(&self, name: &OsStr, xattrs: &Xattrs, mode: u32) -> Result<(), FilesError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::openat(&self.handle, name, flags, Mode::empty())
            .and_then(|handle| xattrs.set(&handle, mode))
            .map_err(|errno| self.fault("set the attributes of", name, errno))
    }

    /// Makes what was done in this folder survive a power cut.
    pub fn sync(&self) -> Result<(), FilesError> {
        self.readable()
            .and_then(rustix::fs::fsync)
            .map_err(|errno| FilesError::system("sync", &self.path, errno))
    }

    /// Makes everything written on this folder's file system survive a power cut: one call for a big batch.
    pub fn sync_filesystem(&self) -> Result<(), FilesError> {
        self.readable()
            .and_then(rustix::fs::syncfs)
            .map_err(|errno| FilesError::system("sync", &self.path, errno))
    }

    /// Moves `name` to `new` in `to`, where nothing may be. On another file system this is `EXDEV`.
    pub fn move_to(&self, name: &OsStr, to: &Folder, new: &OsStr) -> Result<(), FilesError> {
        self.rename(name, to, new, RenameFlags::NOREPLACE)
    }

    /// Exchanges `name` with `other` in `with`, in one step. Both must be there.
    pub fn exchange(&self, name: &OsStr, with: &Folder, other: &OsStr) -> Result<(), FilesError> {
        self.rename(name, with, other, RenameFlags::EXCHANGE)
    }

    /// Moves `name` over whatever file lies at `new` in the same folder.
    pub(super) fn rename_over(&self, name: &OsStr, new: &OsStr) -> Result<(), FilesError> {
        self.rename(name, self, new, RenameFlags::empty())
    }

    fn rename(&self, name: &OsStr, to: &Folder, new: &OsStr, how: RenameFlags) -> Result<(), FilesError> {
        rustix::fs::renameat_with(&self.handle, name, &to.handle, new, how).map_err(|errno| {
            let exchange = how.contains(RenameFlags::EXCHANGE);
            let blocked = [(self, name), (to, new)].into_iter().find(|(folder, name)| {
                errno == Errno::PERM && folder.stat(name).is_ok_and(|s| s.is_some_and(|s| s.immutable))
            });
            match blocked {
                Some((folder, name)) => FilesError::Immutable { path: folder.path.join(name) },
                None if exchange => to.fault("exchange", new, errno),
                None => to.fault("put in place", new, errno),
            }
        })
    }

    /// The folder opened for reading: a handle opened for its path can be neither listed nor synced.
    pub(super) fn readable(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.handle, ".", flags, Mode::empty())
    }

    /// What the system said about `operation` on `name`, as an error; a file that is blocked by a flag says so.
    pub(super) fn fault(&self, operation: &'static str, name: &OsStr, errno: Errno) -> FilesError {
        let path = self.path.join(name);
        if errno == Errno::PERM && self.stat(name).is_ok_and(|stat| stat.is_some_and(|stat| stat.immutable)) {
            return FilesError::Immutable { path };
        }
        FilesError::system(operation, &path, errno)
    }

    /// A name beside `name` that nobody guesses, for what is staged or displaced.
    pub(super) fn beside(prefix: &str, name: &OsStr) -> OsString {
        use std::hash::{BuildHasher, Hasher};
        use std::os::unix::ffi::{OsStrExt, OsStringExt};
        // Seeded from the kernel's randomness by the standard library.
        let random = std::hash::RandomState::new().build_hasher().finish() as u32;
        let suffix = format!(".{random:08x}");
        // A name has at most 255 bytes.
        let room = 255 - prefix.len() - suffix.len();
        let name = name.as_bytes();
        let mut whole = prefix.as_bytes().to_vec();
        whole.extend_from_slice(&name[..name.len().min(room)]);
        whole.extend_from_slice(suffix.as_bytes());
        OsString::from_vec(whole)
    }
}
