//! Giving up what a process does not need. Called by a process of its own, before it has threads.

use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};

/// What a process may use at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Address space in bytes. Mapped files count, so it is not residency.
    pub address_space: u64,
    /// Largest file it writes, in bytes.
    pub file_size: u64,
    /// Seconds of processor time.
    pub cpu_seconds: u64,
    /// Open files.
    pub open_files: u64,
}

/// Bounds this process. No core is ever dumped: its memory may hold credentials.
pub fn limit(limits: &Limits) -> io::Result<()> {
    let set = |resource, value| {
        setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) }).map_err(io::Error::from)
    };
    set(Resource::As, limits.address_space)?;
    set(Resource::Fsize, limits.file_size)?;
    set(Resource::Cpu, limits.cpu_seconds)?;
    set(Resource::Nofile, limits.open_files)?;
    set(Resource::Core, 0)
}

/// Has the group of this process's files read them, and nobody else.
pub fn let_group_read() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o027));
}

/// Moves this process to a network namespace of its own, which has nothing but an idle loopback.
pub fn leave_network() -> io::Result<()> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).map_err(io::Error::from)
}

/// Becomes another user, for good: real, effective and saved ids, no supplementary groups.
pub fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    setgroups(&[])?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    // A later exec (of ssh) must not gain anything back.
    nix::sys::prctl::set_no_new_privs().map_err(io::Error::from)
}
