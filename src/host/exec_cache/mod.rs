//! What program each process runs, noted in the kernel at the moment it is started and kept after its end: a change is
//! often made by a program that lives for a millisecond, and /proc then has nothing left to tell.
//!
//! Two small BPF programs (no compiler, no crate) fill a map that forgets what was used least lately. Nobody is woken
//! by them: the map is read when a drift is seen and at no other time.

mod btf;
mod code;
mod connector;
mod heard;
mod kernel;
mod note;
mod program;

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

pub use connector::Connector;
use kernel::{Attached, Map, MapKind};
use program::{Maps, Missing};

use crate::model::Evidence;

/// What a process ran, as the kernel noted it. All text is untrusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executed {
    /// Process id.
    pub pid: u32,
    /// When the process started, in clock ticks since boot: with the id it names a process for good.
    pub started: u64,
    /// Since when it runs this program, on the clock that counts from boot.
    pub since: Duration,
    /// It was forked and runs what its parent ran.
    pub is_fork: bool,
    /// The parent's process id.
    pub parent: u32,
    /// When the parent started.
    pub parent_started: u64,
    /// Real user id.
    pub uid: u32,
    /// Effective user id.
    pub euid: u32,
    /// The user who logged in; none if nobody did.
    pub login: Option<u32>,
    /// The audit session; none if there is none.
    pub session: Option<u32>,
    /// Number of the control group in the unified hierarchy.
    pub cgroup: u64,
    /// Inode number of the process namespace it is in.
    pub namespace: u32,
    /// Its short name.
    pub name: String,
    /// The file that was started, as it was named: may be relative, and may be cut. Empty if a process is a fork of
    /// one that was there before the cache was.
    pub file: String,
    /// What really runs: the interpreter of a script, otherwise the same file.
    pub interpreter: String,
    /// Its arguments, cut after 256 bytes.
    pub command: Vec<String>,
    /// Who noted it: the kernel itself, or the process connector's listener.
    pub source: Evidence,
}

/// What can be asked of the cache.
pub trait ExecCache: Send + Sync {
    /// What a process id ran, newest first: at most the last two programs of the last process of that id.
    fn images(&self, pid: u32) -> io::Result<Vec<Executed>>;
    /// Everything that was started since then, oldest first, as far as it is remembered.
    fn recent(&self, since: Duration) -> io::Result<Vec<Executed>>;
}

/// Why there is no cache.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The agent itself is in a container: the kernel's numbers are not ours.
    #[error(
        "the agent runs in a process namespace of its own, whose process ids the kernel's programs don't use"
    )]
    Namespace,
    /// The kernel does not describe its types.
    #[error("the kernel does not describe its types in {BTF}")]
    Types(#[source] io::Error),
    /// The kernel's structures are other than we know them.
    #[error("the kernel's structures are not as known: {0}")]
    Structures(String),
    /// It refused.
    #[error("the kernel refused to {doing}")]
    Refused {
        /// What was tried.
        doing: &'static str,
        /// What it said.
        #[source]
        source: io::Error,
    },
}

impl From<Missing> for OpenError {
    fn from(missing: Missing) -> Self {
        OpenError::Structures(missing.to_string())
    }
}

/// The kernel's description of its types.
const BTF: &str = "/sys/kernel/btf/vmlinux";
/// Inode number of the first process namespace (`PROC_PID_INIT_INO`).
const FIRST_NAMESPACE: &str = "pid:[4026531836]";
const FIRST_NAMESPACE_NUMBER: u32 = 4_026_531_836;
/// How many processes are remembered at least; with 600 bytes each, well above a megabyte of kernel memory.
const PROCESSES: u32 = 2048;
/// The kernel sets apart up to 128 entries for each processor: on a large machine there must be more of them.
const PER_PROCESSOR: u32 = 160;
/// No machine needs more.
const MOST_PROCESSES: u32 = 16 << 10;

/// The cache in the kernel. It is filled for as long as this lives.
pub struct KernelCache {
    notes: Map,
    _desk: Map,
    _programs: [Attached; 2],
}

impl KernelCache {
    /// Loads the programs and has them run from now on.
    pub fn open() -> Result<Self, OpenError> {
        let namespace = rustix::fs::readlink("/proc/self/ns/pid", Vec::new());
        if !namespace.is_ok_and(|name| name.to_bytes() == FIRST_NAMESPACE.as_bytes()) {
            return Err(OpenError::Namespace);
        }
        let types = File::open(BTF).map_err(OpenError::Types)?;
        let offsets = btf::Offsets::read(types, &program::MEMBERS).map_err(OpenError::Types)?;
        let refused = |doing| move |source| OpenError::Refused { doing, source };
        let entries = (processors() * PER_PROCESSOR).clamp(PROCESSES, MOST_PROCESSES);
        let size = note::SIZE.unsigned_abs();
        let notes = Map::create(MapKind::LeastRecentlyUsed, 8, size, entries)
            .map_err(refused("make a map for the programs that are started"))?;
        let desk = Map::create(MapKind::PerProcessorArray, 4, size, 2)
            .map_err(refused("make a map for the programs that are started"))?;
        let maps = Maps { notes: notes.number(), desk: desk.number() };
        let attach = |tracepoint, code: code::Code| {
            kernel::attach(tracepoint, code.words())
                .map_err(refused("take note of the programs that are started"))
        };
        let programs = [
            attach(c"sched_process_exec", program::at_exec(&offsets, maps)?)?,
            attach(c"sched_process_fork", program::at_fork(&offsets, maps)?)?,
        ];
        Ok(KernelCache { notes, _desk: desk, _programs: programs })
    }
}

impl ExecCache for KernelCache {
    fn images(&self, pid: u32) -> io::Result<Vec<Executed>> {
        let Some(now) = self.notes.get(note::key(pid, 0))?.as_deref().and_then(note::read) else {
            return Ok(Vec::new());
        };
        let before = self.notes.get(note::key(pid, 1))?.as_deref().and_then(note::read);
        // What is left of an earlier process of the same id is no image of this one.
        let before = before.filter(|before| before.started == now.started);
        Ok(std::iter::once(now).chain(before).collect())
    }

    fn recent(&self, since: Duration) -> io::Result<Vec<Executed>> {
        let mut recent = Vec::new();
        self.notes.each(|bytes| {
            recent.extend(note::read(bytes).filter(|executed| executed.since >= since));
        })?;
        recent.sort_by_key(|executed| executed.since);
        Ok(recent)
    }
}

/// The path of a control group in the unified hierarchy by its number; none if it is gone.
pub fn control_group(number: u64) -> Option<String> {
    use std::os::unix::ffi::OsStrExt;
    let path = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].iter().find_map(|root| {
        let path = kernel::path_of_group(root, number).ok()?;
        path.strip_prefix(root).ok().map(|rest| Path::new("/").join(rest))
    })?;
    Some(String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned())
}

/// The number of a control group by its path there.
fn number_of_group(path: &str) -> Option<u64> {
    let below = |root: &&str| rustix::fs::stat(format!("{root}{path}")).ok();
    ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].iter().find_map(below).map(|stat| stat.st_ino)
}

fn processors() -> u32 {
    // The kernel sets apart for those that could be plugged in as well; the count of those that are there will do.
    std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX))
}

/// A cache that knows what it is told, for tests.
#[derive(Default)]
pub struct FakeExecCache(pub Vec<Executed>);

impl ExecCache for FakeExecCache {
    fn images(&self, pid: u32) -> io::Result<Vec<Executed>> {
        let mut images: Vec<Executed> = self.0.iter().filter(|one| one.pid == pid).cloned().collect();
        images.sort_by_key(|one| std::cmp::Reverse(one.since));
        let last = images.first().map(|one| one.started);
        images.retain(|one| Some(one.started) == last);
        images.truncate(2);
        Ok(images)
    }

    fn recent(&self, since: Duration) -> io::Result<Vec<Executed>> {
        let mut recent: Vec<Executed> = self.0.iter().filter(|one| one.since >= since).cloned().collect();
        recent.sort_by_key(|one| one.since);
        Ok(recent)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Starts a program, waits for its end, and gives its process id.
    #[allow(clippy::disallowed_methods)] // tests start programs the way others do
    fn ran(program: &str, arguments: &[&str]) -> u32 {
        let mut child =
            Command::new(program).args(arguments).stdout(std::process::Stdio::null()).spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        pid
    }

    fn open() -> KernelCache {
        KernelCache::open().unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)))
    }

    #[test]
    fn a_program_that_has_ended_is_known_with_its_arguments_and_parent() {
        let cache = open();
        let before = crate::host::clock::Clock::since_boot(&crate::host::clock::SystemClock);
        for round in 0..200 {
            let argument = format!("round {round}");
            let pid = ran("/bin/true", &[&argument, "ü\u{1b}[2J"]);
            let images = cache.images(pid).unwrap();
            let now = &images[0];
            assert_eq!(now.command, ["/bin/true", &argument, "ü\u{1b}[2J"]);
            assert_eq!((now.file.as_str(), now.interpreter.as_str()), ("/bin/true", "/bin/true"));
            assert_eq!((now.name.as_str(), now.is_fork, now.parent), ("true", false, std::process::id()));
            assert_eq!((now.uid, now.euid), (0, 0));
            assert!(now.since >= before);
            // Before the exec it was us.
            assert!(images.get(1).is_none_or(|before| before.is_fork && before.pid == pid), "{images:?}");
        }
        let all = cache.recent(before).unwrap();
        assert_eq!(
            all.iter().filter(|one| one.command.get(1).is_some_and(|a| a.starts_with("round "))).count(),
            200
        );
    }

    #[test]
    fn a_script_is_known_by_its_file_and_its_interpreter_and_a_fork_by_what_its_parent_runs() {
        let cache = open();
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("change");
        let text = "#!/bin/sh\n(cat /proc/self/stat >/dev/null; read -r pid rest </proc/self/stat; echo $pid) >$1\nexit 0\n";
        #[allow(clippy::disallowed_methods)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::write(&script, text).unwrap();
            std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let out = dir.path().join("pid");
        let pid = ran(script.to_str().unwrap(), &[out.to_str().unwrap()]);
        let image = cache.images(pid).unwrap().remove(0);
        assert_eq!(image.file, script.to_str().unwrap());
        assert_eq!(image.interpreter, "/bin/sh");
        let inner: u32 = std::fs::read_to_string(&out).unwrap().trim().parse().unwrap();
        let inner = cache.images(inner).unwrap().remove(0);
        assert_eq!((inner.is_fork, inner.parent, inner.parent_started), (true, pid, image.started));
        assert_eq!((inner.file, inner.command), (image.file, image.command));
    }

    #[test]
    fn the_start_of_a_process_is_told_as_proc_tells_it() {
        let cache = open();
        #[allow(clippy::disallowed_methods)]
        let mut child = Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let image = cache.images(child.id()).unwrap().remove(0);
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        let started: u64 =
            stat.rsplit(')').next().unwrap().split_whitespace().nth(19).unwrap().parse().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(image.started, started);
    }

    #[test]
    fn what_a_process_ran_before_is_at_hand() {
        let cache = open();
        let pid = ran("/bin/sh", &["-c", "exec /bin/true once more"]);
        let images: Vec<_> = cache.images(pid).unwrap().into_iter().map(|one| one.command).collect();
        assert_eq!(
            images,
            [vec!["/bin/true", "once", "more"], vec!["/bin/sh", "-c", "exec /bin/true once more"]]
        );
    }

    #[test]
    fn far_more_processes_than_are_remembered_cost_no_more_memory_and_the_last_is_known() {
        let cache = open();
        #[allow(clippy::disallowed_methods)]
        let status = Command::new("/bin/sh")
            .args(["-c", "i=0; while [ $i -lt 3000 ]; do (:); i=$((i+1)); done"])
            .status();
        assert!(status.unwrap().success());
        let pid = ran("/bin/true", &["the last"]);
        assert_eq!(cache.images(pid).unwrap()[0].command, ["/bin/true", "the last"]);
        let entries = (processors() * PER_PROCESSOR).clamp(PROCESSES, MOST_PROCESSES);
        assert!(cache.recent(Duration::ZERO).unwrap().len() <= entries as usize);
    }
}
