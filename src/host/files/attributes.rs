//! Owner, mode, extended attributes.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd};

use rustix::fs::{Gid, Mode, Uid, XattrFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// Owner, group and permission bits of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// The lowest twelve bits of the mode.
    pub mode: u32,
}

impl Attributes {
    /// Owner and group root, and this mode.
    pub const fn root(mode: u32) -> Self {
        Attributes { uid: 0, gid: 0, mode }
    }
}

/// Extended attributes, access lists among them, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Xattrs(pub Vec<(CString, Vec<u8>)>);

/// An access list as `setxattr` takes it (`linux/posix_acl_xattr.h`).
const ACCESS_LIST: &[u8] = b"system.posix_acl_access";

impl Xattrs {
    /// What is worth carrying over from a file to the one that replaces it: `user.*`, `trusted.*`, access
    /// lists and the SELinux label. Not capabilities and not integrity signatures: they belong to the content
    /// that goes.
    pub(super) fn read(handle: &impl AsRawFd) -> Result<Self, Errno> {
        let path = format!("/proc/self/fd/{}", handle.as_raw_fd());
        let mut kept = Vec::new();
        for name in Self::names(&path)? {
            if !worth_keeping(name.as_bytes()) {
                continue;
            }
            match value(&path, &name) {
                Ok(value) => kept.push((name, value)),
                // Gone meanwhile.
                Err(Errno::NODATA) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(Xattrs(kept))
    }

    fn names(path: &str) -> Result<Vec<CString>, Errno> {
        let mut list = vec![0u8; 1024];
        let length = loop {
            match rustix::fs::listxattr(path, list.as_mut_slice()) {
                Ok(length) => break length,
                Err(Errno::RANGE) => list.resize(list.len() * 4, 0),
                // Links have none that concern us, some file systems have none at all.
                Err(Errno::OPNOTSUPP | Errno::LOOP) => return Ok(Vec::new()),
                Err(errno) => return Err(errno),
            }
        };
        let names = list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
        Ok(names.filter_map(|name| CString::new(name).ok()).collect())
    }

    /// Sets them on a file whose mode will be `mode`; an access list is narrowed to it, so that nobody it
    /// names may do more, even for a moment, than the mode says.
    pub(super) fn set(&self, handle: &impl AsFd, mode: u32) -> Result<(), Errno> {
        for (name, value) in &self.0 {
            let narrowed;
            let value = if name.as_bytes() == ACCESS_LIST {
                narrowed = narrow(value, mode);
                narrowed.as_slice()
            } else {
                value
            };
            match rustix::fs::fsetxattr(handle, name.as_c_str(), value, XattrFlags::empty()) {
                // The file system it moves to does not have them, or we are not root: content comes first.
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}

/// Sets owner, then mode (a change of owner clears the set-id bits).
pub(super) fn set(handle: &impl AsFd, attributes: Attributes) -> Result<(), Errno> {
    let (uid, gid) = ids(attributes);
    rustix::fs::fchown(handle, uid, gid)?;
    rustix::fs::fchmod(handle, Mode::from_raw_mode(attributes.mode & 0o7777))
}

pub(super) fn ids(attributes: Attributes) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(attributes.uid)), Some(Gid::from_raw(attributes.gid)))
}

fn worth_keeping(name: &[u8]) -> bool {
    name.starts_with(b"user.")
        || name.starts_with(b"trusted.")
        || name == ACCESS_LIST
        || name == b"system.posix_acl_default"
        || name == b"security.selinux"
}

fn value(path: &str, name: &CString) -> Result<Vec<u8>, Errno> {
    let mut value = vec![0u8; 256];
    loop {
        match rustix::fs::getxattr(path, name.as_c_str(), value.as_mut_slice()) {
            Ok(length) => {
                value.truncate(length);
                return Ok(value);
            }
            Err(Errno::RANGE) => value.resize(value.len() * 4, 0),
            Err(errno) => return Err(errno),
        }
    }
}

/// The access list with owner, mask (or group, if it has no mask) and others as `mode` says. The format is a
/// 32-bit version and then entries of tag (16 bits), permissions (16 bits) and id (32 bits), little-endian.
fn narrow(list: &[u8], mode: u32) -> Vec<u8> {
    const OWNER: u16 = 0x01;
    const GROUP: u16 = 0x04;
    const MASK: u16 = 0x10;
    const OTHERS: u16 = 0x20;
    let tag = |entry: &[u8]| u16::from_le_bytes([entry[0], entry[1]]);
    let has_mask = list.get(4..).unwrap_or_default().chunks_exact(8).any(|entry| tag(entry) == MASK);
    let mut list = list.to_vec();
    for entry in list.get_mut(4..).unwrap_or_default().chunks_exact_mut(8) {
        let bits = match tag(entry) {
            OWNER => mode >> 6,
            GROUP if !has_mask => mode >> 3,
            MASK => mode >> 3,
            OTHERS => mode,
            _ => continue,
        };
        entry[2] = (bits & 7) as u8;
        entry[3] = 0;
    }
    list
}
