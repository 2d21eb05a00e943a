//! Gives up what a worker does not need, before anything untrusted is read. In a unit most of it was never there; this
//! is the second fence, and the only one where there is no service manager.

use std::io;
use std::path::{Path, PathBuf};

use crate::host::landlock::{self, Fence};
use crate::host::privilege::{self, Limits};

/// The user that fetches, and the group through which the store is read. `sysusers.d` makes both when the package is
/// installed.
const FETCH: &str = "agentd-fetch";

/// The user that reads the repository's text.
const COMPILE: &str = "agentd-compile";

/// What a worker may still reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reach<'a> {
    /// The network, the store to write it, and what else it must read or run.
    Network {
        /// The folder of the store.
        store: &'a Path,
        /// Files and folders of this fetch alone.
        reads: Vec<PathBuf>,
    },
    /// The store, to read it.
    Store(&'a Path),
    /// What root verified of a commit, to read it.
    Verified(&'a Path),
}

/// What a fetch reads of the system: names, certificates, libraries, random numbers, where it may run programs from.
const SYSTEM: [&str; 9] = [
    "/etc",
    "/usr",
    "/lib",
    "/lib64",
    "/proc/self",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
    "/dev/urandom",
];

/// The one program that a fetch runs, and where its libraries are.
const PROGRAMS: [&str; 4] = ["/usr/bin/ssh", "/usr/lib", "/lib", "/lib64"];

/// Becomes the unprivileged user, with bounded resources and behind a fence. A process that is unprivileged already
/// stays who it is; root without a user to become is an error.
pub(super) fn confine(reach: &Reach<'_>, limits: &Limits) -> io::Result<()> {
    privilege::limit(limits)?;
    if rustix::process::geteuid().is_root() {
        if matches!(reach, Reach::Store(_) | Reach::Verified(_)) {
            privilege::leave_network()?;
        }
        let (uid, gid) = match reach {
            Reach::Network { .. } => writer()?,
            Reach::Store(_) => (named(COMPILE)?.0, writer()?.1),
            Reach::Verified(_) => named(COMPILE)?,
        };
        privilege::become_user(uid, gid)?;
    }
    landlock::restrict(&fence(reach))
}

/// User and group that fetch: a process that is not root, itself.
pub(super) fn writer() -> io::Result<(u32, u32)> {
    let ours = rustix::process::geteuid();
    if !ours.is_root() {
        return Ok((ours.as_raw(), rustix::process::getegid().as_raw()));
    }
    named(FETCH)
}

/// The group of whoever compiles: what was verified is readable for it.
pub(super) fn reader() -> io::Result<u32> {
    match rustix::process::geteuid().is_root() {
        true => named(COMPILE).map(|(_, gid)| gid),
        false => Ok(rustix::process::getegid().as_raw()),
    }
}

fn named(name: &str) -> io::Result<(u32, u32)> {
    let user = users::get_user_by_name(name).ok_or_else(|| {
        io::Error::other(format!(
            "there is no user `{name}` to run as: install the package, or run systemd-sysusers"
        ))
    })?;
    Ok((user.uid(), user.primary_group_id()))
}

fn fence(reach: &Reach<'_>) -> Fence {
    let owned = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
    match reach {
        Reach::Verified(file) => Fence { reads: vec![(*file).to_owned()], ..Fence::default() },
        Reach::Store(store) => Fence { reads: vec![(*store).to_owned()], ..Fence::default() },
        Reach::Network { store, reads } => {
            let mut all = owned(&SYSTEM);
            all.extend(reads.iter().cloned());
            // What it throws away: a program's output.
            let writes = vec![(*store).to_owned(), PathBuf::from("/dev/null")];
            Fence { reads: all, writes, runs: owned(&PROGRAMS), network: landlock::Network::Kept }
        }
    }
}
