//! From a path to a folder handle.
//!
//! First the kernel resolves the whole path in one call, allowing no symbolic link at all. If there is one, we
//! walk component by component and follow a link only where nobody but root (or we ourselves) could have laid
//! it: the link is root's, and so is every folder on the way to it, writable by root alone. This lets
//! merged-`/usr` and `/var/run` through, and stops whoever owns a folder from leading us elsewhere. Rejected:
//! a table of known links (it ages), and the kernel's `RESOLVE_IN_ROOT` (it follows anyone's link).

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;

use super::stat::{FileType, Stat};
use super::{FilesError, Folder, Root};

/// How many links are followed on one path. The kernel allows 40; no honest path to a managed file has more
/// than two or three.
const LINK_LIMIT: usize = 16;

const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const STEP: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The folder at `path`; none if it, or a folder on the way, is not there.
pub(super) fn folder(root: &Root, path: &Path) -> Result<Option<Folder>, FilesError> {
    let bytes = path.as_os_str().as_bytes();
    // Refused, not resolved: nothing of ours needs it.
    if bytes.split(|byte| *byte == b'/').any(|name| name == b"..") {
        return Err(FilesError::NoName { path: path.to_owned() });
    }
    let shown = root.absolute(path);
    let relative = OsStr::from_bytes(&bytes[bytes.iter().take_while(|byte| **byte == b'/').count()..]);
    let relative = if relative.is_empty() { OsStr::new(".") } else { relative };
    let rules = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(root.handle(), relative, FOLDER, Mode::empty(), rules) {
        Ok(handle) => Ok(Some(Folder::new(handle, shown))),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        // A link on the way; or a kernel or a container that does not know the call.
        Err(Errno::LOOP | Errno::NOSYS | Errno::PERM | Errno::AGAIN) => walk(root, names(path), &shown),
        Err(errno) => Err(FilesError::system("open the folder", &shown, errno)),
    }
}

/// The components of a path, last first.
fn names(path: &Path) -> Vec<OsString> {
    let name = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::RootDir | Component::CurDir | Component::ParentDir | Component::Prefix(_) => None,
    };
    path.components().rev().filter_map(name).collect()
}

/// One folder on the way.
struct Step {
    handle: OwnedFd,
    name: OsString,
    /// Whether nobody but root or we could have put what lies in here, all the way up to the root.
    ours: bool,
}

/// Walks component by component. `pending` holds what is still to do, next last.
fn walk(root: &Root, mut pending: Vec<OsString>, shown: &Path) -> Result<Option<Folder>, FilesError> {
    let system = |errno| FilesError::system("open the folder", shown, errno);
    let mut way = vec![top(root).map_err(system)?];
    let mut links = 0;
    while let Some(name) = pending.pop() {
        if name == ".." {
            // Only a link's target brings this. Above the root is the root.
            if way.len() > 1 {
                way.pop();
            }
            continue;
        }
        let Some(here) = way.last() else { return Ok(None) };
        let handle = match rustix::fs::openat(&here.handle, &name, STEP, Mode::empty()) {
            Ok(handle) => handle,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(errno) => return Err(system(errno)),
        };
        let stat = stat(&handle).map_err(system)?;
        match stat.kind {
            FileType::Directory => {
                let ours = here.ours && closed(root, &stat);
                way.push(Step { handle, name, ours });
            }
            FileType::Link => {
                links += 1;
                if links > LINK_LIMIT {
                    return Err(system(Errno::LOOP));
                }
                if !here.ours || !trusted(root, stat.uid) {
                    let link = way.iter().map(|step| &step.name).chain([&name]).collect();
                    return Err(FilesError::UnsafeLink { path: shown.to_owned(), link });
                }
                let target = rustix::fs::readlinkat(&handle, "", Vec::new()).map_err(system)?;
                if follow(target.as_bytes(), &mut pending) {
                    way.truncate(1);
                }
            }
            FileType::File | FileType::Pipe | FileType::Socket | FileType::Device => return Ok(None),
        }
    }
    // The first step is the root itself.
    let real = Path::new("/").join(way.iter().skip(1).map(|step| &step.name).collect::<PathBuf>());
    Ok(way.pop().map(|step| match links {
        0 => Folder::new(step.handle, shown.to_owned()),
        _ => Folder::behind_links(step.handle, shown.to_owned(), real),
    }))
}

/// Puts a link's target in front of what is pending. Says whether it starts again at the root.
fn follow(target: &[u8], pending: &mut Vec<OsString>) -> bool {
    let target = Path::new(OsStr::from_bytes(target));
    for component in target.components().rev() {
        match component {
            Component::Normal(name) => pending.push(name.to_owned()),
            Component::ParentDir => pending.push("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    target.is_absolute()
}

fn top(root: &Root) -> Result<Step, Errno> {
    let handle = rustix::fs::openat(root.handle(), ".", FOLDER, Mode::empty())?;
    let ours = closed(root, &stat(&handle)?);
    Ok(Step { handle, name: OsString::from("/"), ours })
}

fn stat(handle: &OwnedFd) -> Result<Stat, Errno> {
    let raw = rustix::fs::statx(handle, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
    Ok(Stat::from(&raw))
}

/// Whether nobody but root or we can put anything into this folder. With an access list the group bits are its
/// mask: a list that lets others write shows there.
fn closed(root: &Root, stat: &Stat) -> bool {
    trusted(root, stat.uid) && stat.mode & 0o022 == 0
}

fn trusted(root: &Root, uid: u32) -> bool {
    uid == 0 || uid == root.ourselves
}
