//! Reading: regular files only, never blocking on what someone put in their place.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{AtFlags, Dir, Mode, OFlags, StatxFlags};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::stat::{FileType, Stat};
use super::{FilesError, Folder};
use crate::host::counters::COUNTERS;
use crate::model::{Content, Digest};

/// How much is read at once while hashing: large enough that the calls cost nothing beside the hash, small
/// enough to stay in the cache.
const CHUNK: usize = 128 << 10;

/// How often a file that changes while it is read is read again before we give up.
const STEADY_TRIES: usize = 3;

/// One name in a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The name.
    pub name: OsString,
    /// What it is.
    pub kind: FileType,
}

/// A content that was read, and what proves it later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashed {
    /// Size and digest.
    pub content: Content,
    /// What the file system said of the file before and after.
    pub stat: Stat,
    /// Whether every later change will show in the stat. A file system stamps changes with the time of its last
    /// clock tick: if the file's own times lie in the tick in which it was read (or, on file systems that count
    /// whole seconds, within two of them), a later change could carry the same time.
    pub solid: bool,
}

impl Folder {
    /// The content of the regular file under `name`; none if nothing is there. Counts as a file opened.
    pub fn read(&self, name: &OsStr, limit: u64) -> Result<Option<Vec<u8>>, FilesError> {
        let Some((file, stat)) = self.open_regular(name)? else { return Ok(None) };
        let too_large = |size| FilesError::TooLarge { path: self.path().join(name), size, limit };
        if stat.size > limit {
            return Err(too_large(stat.size));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(stat.size).unwrap_or(0));
        // One more than allowed shows a file that grew since, or one that lies about its size.
        let read = file.take(limit.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|error| self.read_fault(name, &error))?;
        if bytes.len() as u64 > limit {
            return Err(too_large(bytes.len() as u64));
        }
        Ok(Some(bytes))
    }

    /// Size and digest of the regular file under `name`, and what proves them; none if nothing is there. The
    /// file is read in pieces; one that keeps changing meanwhile is [`FilesError::Unsteady`].
    pub fn content(&self, name: &OsStr) -> Result<Option<Hashed>, FilesError> {
        let mut buffer = Vec::new();
        for _ in 0..STEADY_TRIES {
            let started = tick();
            let Some((mut file, before)) = self.open_regular(name)? else { return Ok(None) };
            // Small files (most) need no more than their size and one byte to see the end.
            let wanted = usize::try_from(before.size).unwrap_or(CHUNK).saturating_add(1).min(CHUNK);
            buffer.resize(wanted, 0);
            let content = hash(&mut file, &mut buffer).map_err(|error| self.read_fault(name, &error))?;
            let after = handle_stat(&OwnedFd::from(file)).map_err(|errno| self.fault("read", name, errno))?;
            if before.identity == after.identity && content.size == after.size {
                let solid = is_solid(&after, started);
                return Ok(Some(Hashed { content, stat: after, solid }));
            }
        }
        Err(FilesError::Unsteady { path: self.path().join(name) })
    }

    /// Where the symbolic link under `name` points; none if nothing is there.
    pub fn read_link(&self, name: &OsStr) -> Result<Option<PathBuf>, FilesError> {
        use std::os::unix::ffi::OsStringExt;
        match rustix::fs::readlinkat(self.handle(), name, Vec::new()) {
            Ok(target) => Ok(Some(OsString::from_vec(target.into_bytes()).into())),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.fault("read the link", name, errno)),
        }
    }

    /// What lies in this folder, sorted by name.
    pub fn list(&self) -> Result<Vec<Entry>, FilesError> {
        self.entries().map_err(|errno| FilesError::system("list", self.path(), errno))
    }

    fn entries(&self) -> Result<Vec<Entry>, Errno> {
        use std::os::unix::ffi::OsStrExt;
        let mut entries = Vec::new();
        for entry in Dir::new(self.readable()?)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let kind = match entry.file_type() {
                // Some file systems do not say it here.
                rustix::fs::FileType::Unknown => {
                    let flags = AtFlags::SYMLINK_NOFOLLOW;
                    match rustix::fs::statx(self.handle(), name, flags, StatxFlags::TYPE) {
                        Ok(raw) => Stat::from(&raw).kind,
                        Err(Errno::NOENT) => continue,
                        Err(errno) => return Err(errno),
                    }
                }
                kind => kind.into(),
            };
            entries.push(Entry { name: name.to_owned(), kind });
        }
        entries.sort();
        Ok(entries)
    }

    /// Opens the regular file under `name` for reading. A pipe, device or link in its place is an error and is
    /// neither waited for nor touched.
    pub(super) fn open_regular(&self, name: &OsStr) -> Result<Option<(File, Stat)>, FilesError> {
        let wrong = |found| {
            let path = self.path().join(name);
            FilesError::WrongType { path, found, wanted: FileType::File }
        };
        // Looked at first, because opening a device may already do something.
        let Some(before) = self.stat(name)? else { return Ok(None) };
        if before.kind != FileType::File {
            return Err(wrong(before.kind));
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let handle = match rustix::fs::openat(self.handle(), name, flags, Mode::empty()) {
            Ok(handle) => handle,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(wrong(FileType::Link)),
            Err(errno) => return Err(self.fault("open", name, errno)),
        };
        COUNTERS.file_opened();
        let stat = handle_stat(&handle).map_err(|errno| self.fault("look at", name, errno))?;
        if stat.kind != FileType::File {
            return Err(wrong(stat.kind));
        }
        Ok(Some((File::from(handle), stat)))
    }

    fn read_fault(&self, name: &OsStr, error: &io::Error) -> FilesError {
        let errno = error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
        self.fault("read", name, errno)
    }
}

/// The clock that file systems stamp changes with, in nanoseconds since 1970.
fn tick() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}

fn is_solid(stat: &Stat, started: i64) -> bool {
    const SECOND: i64 = 1_000_000_000;
    let last = stat.identity.mtime.max(stat.identity.ctime);
    let whole_seconds = stat.identity.ctime % SECOND == 0;
    let margin = if whole_seconds { 2 * SECOND } else { 0 };
    last.saturating_add(margin) < started
}

/// What the file system says of an opened file.
pub(super) fn handle_stat(handle: &OwnedFd) -> Result<Stat, Errno> {
    let raw = rustix::fs::statx(handle, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
    Ok(Stat::from(&raw))
}

fn hash(file: &mut File, buffer: &mut [u8]) -> io::Result<Content> {
    let mut state = Sha256::new();
    let mut size = 0;
    loop {
        match file.read(buffer) {
            Ok(0) => break,
            Ok(count) => {
                state.update(&buffer[..count]);
                size += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Content { digest: Digest::from_bytes(state.finalize().into()), size })
}
