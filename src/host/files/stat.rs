//! What the file system says of a file without opening it.

use std::fmt;

use rustix::fs::{Statx, StatxAttributes};
use serde::{Deserialize, Serialize};

/// What lies under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileType {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A named pipe.
    Pipe,
    /// A socket.
    Socket,
    /// A block or character device.
    Device,
}

impl fmt::Display for FileType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FileType::File => "a regular file",
            FileType::Directory => "a directory",
            FileType::Link => "a symbolic link",
            FileType::Pipe => "a named pipe",
            FileType::Socket => "a socket",
            FileType::Device => "a device",
        })
    }
}

impl From<rustix::fs::FileType> for FileType {
    fn from(kind: rustix::fs::FileType) -> Self {
        use rustix::fs::FileType as Raw;
        match kind {
            Raw::RegularFile => FileType::File,
            Raw::Directory => FileType::Directory,
            Raw::Symlink => FileType::Link,
            Raw::Fifo => FileType::Pipe,
            Raw::Socket => FileType::Socket,
            Raw::CharacterDevice | Raw::BlockDevice | Raw::Unknown => FileType::Device,
        }
    }
}

/// What tells one content of a file from another without reading it. `ctime` moves with every change of content,
/// owner, mode or name, and no call sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// Device.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Size in bytes.
    pub size: u64,
    /// Last change of the content, in nanoseconds since 1970.
    pub mtime: i64,
    /// Last change of anything, in nanoseconds since 1970.
    pub ctime: i64,
}

/// What the file system says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: FileType,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits, set-id and sticky bits included (the lowest twelve).
    pub mode: u32,
    /// How many names it has.
    pub links: u32,
    /// Size in bytes.
    pub size: u64,
    /// What tells it from another, or from itself before a change.
    pub identity: Identity,
    /// Whether the immutable or the append-only flag is set.
    pub immutable: bool,
    /// Whether something is mounted on it.
    pub mounted: bool,
}

impl From<&Statx> for Stat {
    fn from(raw: &Statx) -> Self {
        let mode = u32::from(raw.stx_mode);
        let blocked = StatxAttributes::IMMUTABLE | StatxAttributes::APPEND;
        Stat {
            kind: rustix::fs::FileType::from_raw_mode(mode).into(),
            uid: raw.stx_uid,
            gid: raw.stx_gid,
            mode: mode & 0o7777,
            links: raw.stx_nlink,
            size: raw.stx_size,
            identity: Identity {
                device: u64::from(raw.stx_dev_major) << 32 | u64::from(raw.stx_dev_minor),
                inode: raw.stx_ino,
                size: raw.stx_size,
                mtime: nanoseconds(raw.stx_mtime.tv_sec, raw.stx_mtime.tv_nsec),
                ctime: nanoseconds(raw.stx_ctime.tv_sec, raw.stx_ctime.tv_nsec),
            },
            immutable: raw.stx_attributes.intersects(blocked),
            mounted: raw.stx_attributes.contains(StatxAttributes::MOUNT_ROOT),
        }
    }
}

/// Saturates in the year 2262: such a time never compares as recent, and that is all it is used for.
const fn nanoseconds(seconds: i64, nanoseconds: u32) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds as i64)
}
