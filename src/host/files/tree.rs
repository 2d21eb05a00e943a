//! Whole trees: taking one away, copying one to another file system. Only for trees that lie where nobody but
//! us can write, or that are copied and not changed.

use std::ffi::{OsStr, OsString};
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;

use super::FilesError;
use super::attributes::{self, Attributes};
use super::folder::Folder;
use super::stat::FileType;

impl Folder {
    /// Takes away what lies under `name`, with everything in it. Links are not followed.
    pub fn remove_tree(&self, name: &OsStr) -> Result<(), FilesError> {
        if let Some(folder) = self.subfolder(name)? {
            for entry in folder.list()? {
                match entry.kind {
                    FileType::Directory => folder.remove_tree(&entry.name)?,
                    FileType::File
                    | FileType::Link
                    | FileType::Pipe
                    | FileType::Socket
                    | FileType::Device => {
                        folder.remove(&entry.name)?;
                    }
                }
            }
        }
        self.remove(name)?;
        Ok(())
    }
}

/// How deep a tree is copied or measured: deeper than any honest one, shallow enough for the stack.
const DEPTH_LIMIT: usize = 64;

/// What a tree holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measure {
    /// Files, links and folders in it, itself included.
    pub entries: u64,
    /// Bytes of its regular files.
    pub bytes: u64,
}

impl Folder {
    /// Counts what lies under `name`, itself included. Links are not followed.
    pub fn measure(&self, name: &OsStr) -> Result<Measure, FilesError> {
        let mut measure = Measure::default();
        self.measure_into(name, &mut measure, DEPTH_LIMIT)?;
        Ok(measure)
    }

    /// Copies what lies under `name`, with owners, modes and attributes, to `new` in `to`, where nothing may
    /// be. Sockets are left out: without their process they are nothing.
    pub fn copy_tree(&self, name: &OsStr, to: &Folder, new: &OsStr) -> Result<(), FilesError> {
        self.copy_into(name, to, new, DEPTH_LIMIT)
    }

    /// The first mount point strictly below `name`, if there is one: such a tree cannot be moved without
    /// taking along what is mounted there.
    pub fn mount_below(&self, name: &OsStr) -> Result<Option<PathBuf>, FilesError> {
        let fault = |error: std::io::Error| {
            let errno = error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
            self.fault("find the mounts below", name, errno)
        };
        let real =
            std::fs::read_link(format!("/proc/self/fd/{}", self.handle().as_raw_fd())).map_err(fault)?;
        let top = real.join(name);
        let table = std::fs::read("/proc/self/mountinfo").map_err(fault)?;
        let mounts = table.split(|byte| *byte == b'\n').filter_map(mount_point);
        Ok(mounts.into_iter().find(|mount| mount.starts_with(&top) && *mount != top))
    }

    fn measure_into(&self, name: &OsStr, measure: &mut Measure, depth: usize) -> Result<(), FilesError> {
        let Some(stat) = self.stat(name)? else { return Ok(()) };
        measure.entries += 1;
        match stat.kind {
            FileType::File => measure.bytes += stat.size,
            FileType::Directory => {
                let depth = depth.checked_sub(1).ok_or_else(|| self.fault("measure", name, Errno::LOOP))?;
                let Some(folder) = self.subfolder(name)? else { return Ok(()) };
                for entry in folder.list()? {
                    folder.measure_into(&entry.name, measure, depth)?;
                }
            }
            FileType::Link | FileType::Pipe | FileType::Socket | FileType::Device => {}
        }
        Ok(())
    }

    fn copy_into(&self, name: &OsStr, to: &Folder, new: &OsStr, depth: usize) -> Result<(), FilesError> {
        let Some(stat) = self.stat(name)? else { return Ok(()) };
        let attributes = Attributes { uid: stat.uid, gid: stat.gid, mode: stat.mode };
        match stat.kind {
            FileType::File => self.copy_file(name, to, new, attributes),
            FileType::Link => {
                let target = self.read_link(name)?.unwrap_or_default();
                let staged = to.stage_link(new, target.as_os_str(), stat.uid, stat.gid)?;
                staged.move_in()
            }
            FileType::Directory => {
                let depth = depth.checked_sub(1).ok_or_else(|| self.fault("copy", name, Errno::LOOP))?;
                to.create_dir(new, Attributes { mode: 0o700, ..attributes })?;
                let (Some(from), Some(into)) = (self.subfolder(name)?, to.subfolder(new)?) else {
                    return Err(FilesError::Unsteady { path: self.path().join(name) });
                };
                for entry in from.list()? {
                    from.copy_into(&entry.name, &into, &entry.name, depth)?;
                }
                to.set_xattrs(new, &self.xattrs(name)?, stat.mode)?;
                to.set_attributes(new, attributes)?;
                into.sync()
            }
            FileType::Pipe => {
                rustix::fs::mkfifoat(to.handle(), new, Mode::from_raw_mode(0o600))
                    .map_err(|errno| to.fault("create", new, errno))?;
                let (uid, gid) = attributes::ids(attributes);
                rustix::fs::chownat(to.handle(), new, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(|errno| to.fault("create", new, errno))
            }
            FileType::Socket => Ok(()),
            FileType::Device => {
                let (found, wanted) = (FileType::Device, FileType::File);
                Err(FilesError::WrongType { path: self.path().join(name), found, wanted })
            }
        }
    }
}

/// The mount point of a line of `/proc/self/mountinfo` (`proc_pid_mountinfo(5)`): the fifth field, with blanks
/// and the like as three octal digits after a backslash.
fn mount_point(line: &[u8]) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let field = line.split(|byte| *byte == b' ').nth(4)?;
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        let octal = || u8::from_str_radix(std::str::from_utf8(tail.get(..3)?).ok()?, 8).ok();
        match (byte, octal()) {
            (b'\\', Some(escaped)) => {
                path.push(escaped);
                rest = &tail[3..];
            }
            _ => {
                path.push(byte);
                rest = tail;
            }
        }
    }
    Some(OsString::from_vec(path).into())
}
