//! Writing: whatever is to appear under a name is made beside it first, whole and with its final owner and mode,
//! and then takes the name in one step.
//!
//! The order is: create exclusively with mode 0, write, owner, access list and attributes, mode, sync, rename,
//! sync the folder. A crash leaves the old or the new, and at worst a stale `.agentd.NAME.XXXXXXXX`, which
//! [`Folder::sweep`] takes away. Rejected: `O_TMPFILE`, which needs a second name and a rename all the same.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::attributes::{self, Attributes, Xattrs};
use super::read::handle_stat;
use super::stat::{FileType, Stat};
use super::{FilesError, Folder};
use crate::host::counters::COUNTERS;

/// How the names of staged files begin.
const STAGED: &str = ".agentd.";

/// How the names of what was displaced and still has to be kept begin. Never swept.
const DISPLACED: &str = ".agentd-old.";

/// How often another name is tried if one is taken.
const NAME_TRIES: usize = 8;

/// How something came to be under its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// In one step: nobody ever saw a part.
    Replaced,
    /// Overwritten in place, because something is mounted on the name and it cannot be replaced. A crash in
    /// between leaves a part, which the next pass puts right.
    InPlace,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// What lies there now.
    pub stat: Stat,
    /// How it got there.
    pub how: How,
}

/// Something made beside its final name. Dropped, it is taken away again.
#[derive(Debug)]
pub struct Staged<'f> {
    folder: &'f Folder,
    target: OsString,
    name: OsString,
    /// The open file; none for a link or a folder.
    file: Option<OwnedFd>,
    attributes: Attributes,
    armed: bool,
}

impl Folder {
    /// Makes a regular file beside `target`, with everything final but its name.
    pub fn stage_file(
        &self,
        target: &OsStr,
        bytes: &[u8],
        attributes: Attributes,
        xattrs: &Xattrs,
    ) -> Result<Staged<'_>, FilesError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (name, file) = self.staged(target, |name| {
            // Nobody may open it before its owner and mode are final.
            rustix::fs::openat(self.handle(), name, flags, Mode::empty())
        })?;
        COUNTERS.file_written();
        let staged = self.armed(target, name, Some(file), attributes);
        staged.fill(bytes, xattrs).map_err(|errno| self.fault("write", target, errno))?;
        Ok(staged)
    }

    /// Copies the regular file under `name` to `new` in `to`, where nothing may be, in pieces and synced.
    pub(super) fn copy_file(
        &self,
        name: &OsStr,
        to: &Folder,
        new: &OsStr,
        attributes: Attributes,
    ) -> Result<(), FilesError> {
        let xattrs = self.xattrs(name)?;
        let Some((mut from, _)) = self.open_regular(name)? else {
            return Err(self.fault("copy", name, Errno::NOENT));
        };
        let staged = to.stage_file(new, b"", attributes, &xattrs)?;
        let fault = |error: &std::io::Error| to.fault("copy to", new, errno(error));
        if let Some(file) = &staged.file {
            let mut into = File::from(file.try_clone().map_err(|error| fault(&error))?);
            std::io::copy(&mut from, &mut into).map_err(|error| fault(&error))?;
        }
        staged.sync()?;
        staged.move_in()
    }

    /// Makes a symbolic link beside `target`.
    pub fn stage_link(
        &self,
        target: &OsStr,
        to: &OsStr,
        uid: u32,
        gid: u32,
    ) -> Result<Staged<'_>, FilesError> {
        let (name, ()) = self.staged(target, |name| rustix::fs::symlinkat(to, self.handle(), name))?;
        COUNTERS.file_written();
        let attributes = Attributes { uid, gid, mode: 0o777 };
        let staged = self.armed(target, name, None, attributes);
        let (uid, gid) = attributes::ids(attributes);
        rustix::fs::chownat(self.handle(), &staged.name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| self.fault("set the owner of", target, errno))?;
        Ok(staged)
    }

    /// Makes an empty folder beside `target`.
    pub fn stage_dir(&self, target: &OsStr, attributes: Attributes) -> Result<Staged<'_>, FilesError> {
        let mode = Mode::from_raw_mode(0o700);
        let (name, ()) = self.staged(target, |name| rustix::fs::mkdirat(self.handle(), name, mode))?;
        let staged = self.armed(target, name, None, attributes);
        self.set_attributes(&staged.name, attributes)?;
        Ok(staged)
    }

    /// Copies the tree under `name` in `from` to beside `target`.
    pub fn stage_copy(&self, target: &OsStr, from: &Folder, name: &OsStr) -> Result<Staged<'_>, FilesError> {
        let beside = Folder::beside(STAGED, target);
        let staged = self.armed(target, beside, None, Attributes::root(0));
        from.copy_tree(name, self, &staged.name)?;
        Ok(staged)
    }

    /// Gives the file `name` the further name `other`, in place of whatever file lies there, in one step.
    pub fn link_over(&self, name: &OsStr, other: &OsStr) -> Result<(), FilesError> {
        let link =
            |beside: &OsStr| rustix::fs::linkat(self.handle(), name, self.handle(), beside, AtFlags::empty());
        let (beside, ()) = self.staged(other, link)?;
        self.rename_over(&beside, other)
    }

    /// Takes away what a crash left staged in this folder. Only for a caller that knows that nobody is staging
    /// here now. Returns how many.
    pub fn sweep(&self) -> Result<usize, FilesError> {
        let mut swept = 0;
        for entry in self.list()? {
            if !is_staged_name(&entry.name) {
                continue;
            }
            self.remove_tree(&entry.name)?;
            swept += 1;
        }
        Ok(swept)
    }

    /// Overwrites the regular file under `name` where it lies. Not in one step: only for a name that cannot be
    /// replaced because something is mounted on it.
    pub fn overwrite(
        &self,
        name: &OsStr,
        bytes: &[u8],
        attributes: Attributes,
    ) -> Result<Written, FilesError> {
        let fault = |errno| self.fault("overwrite", name, errno);
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let handle = rustix::fs::openat(self.handle(), name, flags, Mode::empty()).map_err(fault)?;
        let found = handle_stat(&handle).map_err(fault)?.kind;
        if found != FileType::File {
            let path = self.path().join(name);
            return Err(FilesError::WrongType { path, found, wanted: FileType::File });
        }
        COUNTERS.file_written();
        // Owner and mode first where they narrow: others must not read the new content through the old mode.
        attributes::set(&handle, attributes).map_err(fault)?;
        rustix::fs::ftruncate(&handle, 0).map_err(fault)?;
        write_all(handle, bytes).and_then(rustix::fs::fsync).map_err(fault)?;
        let stat = self.stat(name)?.ok_or_else(|| fault(Errno::NOENT))?;
        Ok(Written { stat, how: How::InPlace })
    }

    /// A name beside `target` for what is displaced by it and waits to be kept.
    pub fn displaced_name(target: &OsStr) -> OsString {
        Folder::beside(DISPLACED, target)
    }

    fn staged<T>(
        &self,
        target: &OsStr,
        make: impl Fn(&OsStr) -> Result<T, Errno>,
    ) -> Result<(OsString, T), FilesError> {
        for _ in 0..NAME_TRIES {
            let name = Folder::beside(STAGED, target);
            match make(&name) {
                Ok(made) => return Ok((name, made)),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(self.fault("write beside", target, errno)),
            }
        }
        Err(self.fault("write beside", target, Errno::EXIST))
    }

    fn armed(
        &self,
        target: &OsStr,
        name: OsString,
        file: Option<OwnedFd>,
        attributes: Attributes,
    ) -> Staged<'_> {
        Staged { folder: self, target: target.to_owned(), name, file, attributes, armed: true }
    }
}

impl<'f> Staged<'f> {
    /// The folder it is staged in.
    pub fn folder(&self) -> &'f Folder {
        self.folder
    }

    /// The name it is to have.
    pub fn target(&self) -> &OsStr {
        &self.target
    }

    /// The name it has for now.
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// The path it has for now: what a check of the new content is given.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join(&self.name)
    }

    /// What was staged, as it lies there.
    pub fn stat(&self) -> Result<Stat, FilesError> {
        let gone = || self.folder.fault("look at", &self.name, Errno::NOENT);
        self.folder.stat(&self.name)?.ok_or_else(gone)
    }

    /// Writes more to what was staged: before it has its name.
    pub(super) fn writer(&self) -> Result<File, FilesError> {
        let fault = |errno| self.folder.fault("write", &self.target, errno);
        let file = self.file.as_ref().ok_or_else(|| fault(Errno::BADF))?;
        file.try_clone().map(File::from).map_err(|error| fault(errno(&error)))
    }

    /// Makes the content survive a power cut. An error is final: what was written may be lost although a second
    /// try would succeed, so it must be staged anew.
    pub fn sync(&self) -> Result<(), FilesError> {
        match &self.file {
            Some(file) => {
                rustix::fs::fdatasync(file).map_err(|errno| self.folder.fault("sync", &self.target, errno))
            }
            None => Ok(()),
        }
    }

    /// Takes its final name, in place of whatever file or link is there. Where something is mounted on that
    /// name, the content is overwritten in place instead. The folder is not synced yet.
    pub fn replace(mut self) -> Result<Written, FilesError> {
        match self.folder.rename_over(&self.name, &self.target) {
            Ok(()) => {
                self.armed = false;
                let gone = || self.folder.fault("look at", &self.target, Errno::NOENT);
                let stat = self.folder.stat(&self.target)?.ok_or_else(gone)?;
                Ok(Written { stat, how: How::Replaced })
            }
            Err(error) if error.is(Errno::BUSY) && self.file.is_some() => {
                let bytes = self.folder.read(&self.name, u64::MAX)?.unwrap_or_default();
                self.folder.overwrite(&self.target, &bytes, self.attributes)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes its final name, where nothing may be. The folder is not synced yet.
    pub fn move_in(mut self) -> Result<(), FilesError> {
        self.folder.move_to(&self.name, self.folder, &self.target)?;
        self.armed = false;
        Ok(())
    }

    /// Leaves it under its present name, which is the caller's to deal with from here on.
    #[must_use]
    pub fn release(mut self) -> OsString {
        self.armed = false;
        std::mem::take(&mut self.name)
    }

    fn fill(&self, bytes: &[u8], xattrs: &Xattrs) -> Result<(), Errno> {
        let Some(file) = &self.file else { return Ok(()) };
        let file = write_all(file.try_clone().map_err(|error| errno(&error))?, bytes)?;
        let (uid, gid) = attributes::ids(self.attributes);
        rustix::fs::fchown(&file, uid, gid)?;
        xattrs.set(&file, self.attributes.mode)?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(self.attributes.mode & 0o7777))
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        if self.armed {
            // What cannot be taken away now is swept later.
            let _ = self.folder.remove_tree(&self.name);
        }
    }
}

/// Whether a name is one that [`Folder::stage_file`] and its siblings give: `.agentd.NAME.` and eight
/// hexadecimal digits.
pub fn is_staged_name(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    let Some(rest) = name.strip_prefix(STAGED.as_bytes()) else { return false };
    let Some(dot) = rest.len().checked_sub(9) else { return false };
    rest[dot] == b'.' && rest[dot + 1..].iter().all(u8::is_ascii_hexdigit)
}

fn write_all(handle: OwnedFd, bytes: &[u8]) -> Result<OwnedFd, Errno> {
    let mut file = File::from(handle);
    file.write_all(bytes).map_err(|error| errno(&error))?;
    Ok(file.into())
}

pub(super) fn errno(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error)
}
