//! A plain folder read as a tree: for checking a working copy before it is committed.

use std::ffi::CStr;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, statat};

use super::collector::Collector;
use super::tree::{EntryKind, TreeCaps, TreeError};

/// An open folder; files are opened below it, component by component, through no link.
pub(crate) struct Directory(OwnedFd);

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Directory {
    /// Opens a folder and lists all that is in it. The folder's own path may lead through links: a person named it.
    pub fn list(path: &Path, caps: &TreeCaps) -> Result<(Directory, Collector), TreeError> {
        let named = path.display().to_string();
        let top = openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let top = top.map_err(|error| TreeError::Io { path: named, source: error.into() })?;
        let mut collector = Collector::new(caps.clone());
        let directory = Directory(top);
        let mut folders = vec![(String::new(), 0usize)];
        while let Some((prefix, depth)) = folders.pop() {
            directory.list_one(&prefix, depth, &mut collector, &mut folders)?;
            if collector.full() {
                break;
            }
        }
        Ok((directory, collector))
    }

    /// The content of a regular file, if it still is one and not larger than listed.
    pub fn read(&self, path: &str, cap: u64) -> Result<Vec<u8>, TreeError> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let io = |error: rustix::io::Errno| TreeError::Io { path: path.to_owned(), source: error.into() };
        let folder = self.open(folder).map_err(io)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = std::fs::File::from(openat(&folder, name, flags, Mode::empty()).map_err(io)?);
        let still_regular = file.metadata().is_ok_and(|found| found.is_file());
        if !still_regular {
            return Err(TreeError::NotAFile { path: path.to_owned(), kind: EntryKind::Special });
        }
        let mut content = Vec::new();
        let read = file.take(cap + 1).read_to_end(&mut content);
        read.map_err(|source| TreeError::Io { path: path.to_owned(), source })?;
        if content.len() as u64 > cap {
            return Err(TreeError::TooLarge { path: path.to_owned(), size: content.len() as u64, cap });
        }
        Ok(content)
    }

    fn list_one(
        &self,
        prefix: &str,
        depth: usize,
        collector: &mut Collector,
        folders: &mut Vec<(String, usize)>,
    ) -> Result<(), TreeError> {
        let io = |error: rustix::io::Errno| TreeError::Io { path: prefix.to_owned(), source: error.into() };
        let folder = self.open(prefix).map_err(io)?;
        for entry in Dir::read_from(&folder).map_err(io)? {
            let entry = entry.map_err(io)?;
            let name = entry.file_name();
            if name == c"." || name == c".." || (prefix.is_empty() && name == c".git") {
                continue;
            }
            let Some(path) = collector.name(prefix, name.to_bytes()) else { continue };
            let (kind, size) = match look(&folder, name).map_err(io)? {
                Looked::Folder => {
                    if collector.folder(&path, depth + 1) {
                        folders.push((path, depth + 1));
                    }
                    continue;
                }
                Looked::Other(kind, size) => (kind, size),
            };
            collector.entry(path, kind, size, None);
            if collector.full() {
                break;
            }
        }
        Ok(())
    }

    fn open(&self, path: &str) -> rustix::io::Result<OwnedFd> {
        let mut at = self.0.as_fd().try_clone_to_owned().map_err(|_| rustix::io::Errno::MFILE)?;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            at = openat(&at, name, FOLDER, Mode::empty())?;
        }
        if path.is_empty() {
            // A duplicate shares its offset, so a listing needs a description of its own.
            at = openat(&at, c".", FOLDER, Mode::empty())?;
        }
        Ok(at)
    }
}

enum Looked {
    Folder,
    Other(EntryKind, u64),
}

fn look(folder: &OwnedFd, name: &CStr) -> rustix::io::Result<Looked> {
    let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Looked::Folder,
        FileType::RegularFile => {
            let kind = if stat.st_mode & 0o111 == 0 { EntryKind::File } else { EntryKind::Executable };
            Looked::Other(kind, stat.st_size.unsigned_abs())
        }
        FileType::Symlink => Looked::Other(EntryKind::Symlink, 0),
        FileType::Fifo
        | FileType::Socket
        | FileType::CharacterDevice
        | FileType::BlockDevice
        | FileType::Unknown => Looked::Other(EntryKind::Special, 0),
    })
}
