//! The four locks of dpkg and apt, and who holds them. They are record locks (`fcntl`): asking needs no lock of
//! our own and disturbs nobody. A lock is waited for; never broken, its file never deleted, its holder never
//! ended.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use rustix::fs::{Mode, OFlags, openat};

use crate::host::Host;
use crate::host::files::Root;
use crate::host::pulse::PULSE;

/// Each lock, below the root, and what it protects.
const LOCKS: [(&str, LockName); 4] = [
    ("var/lib/dpkg/lock-frontend", LockName::Frontend),
    ("var/lib/dpkg/lock", LockName::Dpkg),
    ("var/lib/apt/lists/lock", LockName::Lists),
    ("var/cache/apt/archives/lock", LockName::Archives),
];

/// One of the locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockName {
    /// Held by whoever is about to run dpkg, for the whole of a transaction.
    Frontend,
    /// Held by dpkg itself.
    Dpkg,
    /// Held while the package index is fetched.
    Lists,
    /// Held while archives are fetched.
    Archives,
}

impl LockName {
    /// Whether someone who holds it may be changing packages.
    const fn changes_packages(self) -> bool {
        match self {
            LockName::Frontend | LockName::Dpkg => true,
            LockName::Lists | LockName::Archives => false,
        }
    }
}

impl fmt::Display for LockName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LockName::Frontend => "the dpkg frontend lock",
            LockName::Dpkg => "the dpkg lock",
            LockName::Lists => "the apt lists lock",
            LockName::Archives => "the apt archives lock",
        })
    }
}

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Which lock.
    pub lock: LockName,
    /// The process; none if it lives outside our sight (another container).
    pub pid: Option<i32>,
    /// What the process calls itself: a word to show, never proof of anything.
    pub program: Option<String>,
    /// The systemd unit it runs in.
    pub unit: Option<String>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is held by ", self.lock)?;
        match (&self.program, self.pid) {
            (Some(program), Some(pid)) => write!(f, "{program} (process {pid}")?,
            (None, Some(pid)) => write!(f, "process {pid}")?,
            (_, None) => write!(f, "a process that is not visible from here")?,
        }
        match (&self.unit, self.program.is_some() && self.pid.is_some()) {
            (Some(unit), true) => write!(f, ", {unit})"),
            (Some(unit), false) => write!(f, " of {unit}"),
            (None, true) => f.write_str(")"),
            (None, false) => Ok(()),
        }
    }
}

/// Who is changing packages right now, if anyone is. Microseconds.
pub fn transaction_running(host: &Host) -> Option<Holder> {
    holder_of(host, LockName::changes_packages)
}

/// Who holds any of the four locks.
pub fn any_holder(host: &Host) -> Option<Holder> {
    holder_of(host, |_| true)
}

/// Waits until no lock is held: `tries` looks, `pause` apart. Gives the holder that outlasted them.
pub fn wait_for_all(host: &Host, tries: u32, pause: Duration) -> Option<Holder> {
    let mut holder = any_holder(host);
    for _ in 1..tries.max(1) {
        if holder.is_none() {
            break;
        }
        std::thread::sleep(pause);
        // The wait has an end of its own: it is no hang.
        PULSE.beat();
        holder = any_holder(host);
    }
    holder
}

fn holder_of(host: &Host, which: impl Fn(LockName) -> bool) -> Option<Holder> {
    LOCKS.into_iter().filter(|(_, lock)| which(*lock)).find_map(|(path, lock)| {
        let pid = locked_by(&host.root, path)?;
        let pid = (pid > 0).then_some(pid);
        let program = pid.and_then(|pid| program_of(&host.root, pid));
        let unit = pid.and_then(|pid| unit_of(&host.root, pid));
        Some(Holder { lock, pid, program, unit })
    })
}

/// The process that holds a lock on this file; 0 or below if it is in none of our namespaces.
fn locked_by(root: &Root, path: &str) -> Option<i32> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let (folder, name) = root.parent(Path::new(path)).ok()?;
    let file = openat(folder.handle(), name, flags, Mode::empty()).ok()?;
    let mut lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_GETLK(&mut lock)).ok()?;
    (lock.l_type != libc::F_UNLCK as libc::c_short).then_some(lock.l_pid)
}

fn program_of(root: &Root, pid: i32) -> Option<String> {
    let name = read_small(root, &format!("proc/{pid}/comm"))?;
    let shown: String = name.trim().chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    (!shown.is_empty()).then_some(shown)
}

/// The last component of the control group that is a unit.
fn unit_of(root: &Root, pid: i32) -> Option<String> {
    let groups = read_small(root, &format!("proc/{pid}/cgroup"))?;
    // Version 2 is `0::/path`; version 1 has a line for systemd's own hierarchy.
    let path = groups.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (hierarchy, path) = rest.split_once(':')?;
        matches!(hierarchy, "" | "name=systemd").then_some(path).filter(|path| path.len() > 1)
    })?;
    let unit = path.rsplit('/').find(|part| part.ends_with(".service") || part.ends_with(".scope"))?;
    Some(unit.chars().map(|c| if c.is_control() { '?' } else { c }).collect())
}

fn read_small(root: &Root, path: &str) -> Option<String> {
    let bytes = root.read(path, 16 << 10).ok()??;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_told_with_all_that_is_known_of_it() {
        let mut holder = Holder {
            lock: LockName::Frontend,
            pid: Some(12),
            program: Some("unattended-upgr".into()),
            unit: Some("apt-daily-upgrade.service".into()),
        };
        assert_eq!(
            holder.to_string(),
            "the dpkg frontend lock is held by unattended-upgr (process 12, apt-daily-upgrade.service)"
        );
        holder.unit = None;
        assert!(holder.to_string().ends_with("held by unattended-upgr (process 12)"));
        holder.program = None;
        assert!(holder.to_string().ends_with("held by process 12"));
        holder.pid = None;
        assert!(holder.to_string().ends_with("held by a process that is not visible from here"));
    }
}
