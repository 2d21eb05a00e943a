//! How systemd-nspawn is started so that what it boots is like a server, when that is ready, and how it ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::exec::wait_until;
use super::ledger::{Entry, Ledger};

/// How long a host may take to boot or to shut down. It takes a second; a loaded machine takes more.
const POWER_LIMIT: Duration = Duration::from_secs(90);

/// Run as `sh -c START sh NAMESPACE FOLDER GROUPS COMMAND...`, in a mount namespace of its own. Where this machine
/// has no systemd, nspawn needs a fresh /run; it hides the network namespace, which is therefore bound elsewhere.
const START: &str = "\
set -eu
namespace=$1 folder=$2 groups=$3; shift 3
for group in $groups; do echo $$ > \"$group/cgroup.procs\"; done
: > \"$folder/netns\"
mount --bind \"/run/netns/$namespace\" \"$folder/netns\"
mount -t tmpfs -o mode=755 tmpfs /run
exec \"$@\"
";

/// The system calls of Landlock, which nspawn does not know of.
const LANDLOCK: &str = "landlock_create_ruleset landlock_add_rule landlock_restrict_self";

/// What is to be booted.
pub struct Boot<'a> {
    pub name: &'a str,
    /// The root of its file system.
    pub root: PathBuf,
    /// Where its console is written to, among other things.
    pub folder: &'a Path,
    /// Its network namespace, which is there already; its other names are made of this one.
    pub namespace: String,
}

/// A host that is switched on.
pub struct Machine {
    nspawn: Child,
    leader: u32,
}

impl Boot<'_> {
    /// Boots until systemd takes requests. None if that does not come about: then nothing of it runs any more.
    pub fn start(&self, ledger: &Ledger) -> Option<Machine> {
        let groups = cgroups(&self.namespace);
        for group in &groups {
            ledger.write(&Entry::Cgroup(group));
            make_cgroup(group);
        }
        let mut nspawn = self.nspawn(&groups);
        ledger.write(&Entry::Process(nspawn.id()));
        let Some(leader) = leader_of(&mut nspawn) else {
            children(nspawn.id()).into_iter().for_each(kill_process);
            nspawn.kill().ok();
            nspawn.wait().expect("wait for nspawn");
            return None;
        };
        ledger.write(&Entry::Process(leader));
        Some(Machine { nspawn, leader })
    }

    /// Starts systemd-nspawn. The process is nspawn itself: every program before it replaces itself by the next.
    fn nspawn(&self, groups: &[PathBuf]) -> Child {
        let groups: Vec<String> = groups.iter().map(|path| path.display().to_string()).collect();
        let console = fs::File::options().append(true).create(true).open(self.folder.join("console"));
        let console = console.expect("open the console file");
        let (root, folder) = (self.root.display().to_string(), self.folder.display().to_string());
        let netns = format!("--network-namespace-path={folder}/netns");
        let mut program = if machine_has_systemd() {
            // Only a scope that delegates may have control groups made in it.
            let mut program = Command::new("systemd-run");
            let unit = format!("--unit={}", self.namespace);
            program.args(["--scope", "--quiet", "--collect", "--property=Delegate=yes", &unit, "unshare"]);
            program
        } else {
            Command::new("unshare")
        };
        program
            .args(["--mount", "--propagation", "private", "sh", "-c", START, "sh"])
            .args([&self.namespace, &folder, &groups.join(" ")])
            .args(["systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--console=pipe"])
            .args(["--directory", &root, "--machine", self.name, &netns])
            .args(["--resolv-conf=off", "--timezone=off", "--link-journal=no"])
            // nspawn gives it only with a network that it made itself.
            .arg("--capability=CAP_NET_ADMIN")
            // Without these, services inside may neither watch by fanotify nor fence themselves in, though processes that
            // enter may.
            .arg(format!("--system-call-filter=fanotify_init fanotify_mark {LANDLOCK}"))
            // /proc/sys/net belongs to the host's own network; the rest of it would be this machine's.
            .env("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "network")
            // The releases expect the unified hierarchy, and Debian 13 refuses to boot on the old one.
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
            .stdin(Stdio::null())
            .stdout(console.try_clone().expect("share the console file"))
            .stderr(console);
        program.spawn().expect("start nspawn")
    }
}

impl Machine {
    /// Process 1 of the host, as this machine numbers it.
    pub fn leader(&self) -> u32 {
        self.leader
    }

    /// Ends every process of the host at once.
    pub fn kill(mut self) {
        // With process 1 its whole process namespace dies; nspawn sees that and ends.
        kill_process(self.leader);
        self.wait("nspawn ends with its host");
    }

    /// Waits for the host to end, for the reason `what`, and gives nspawn's exit code.
    pub fn wait(&mut self, what: &str) -> Option<i32> {
        let mut status = None;
        wait_until(what, POWER_LIMIT, || {
            status = self.nspawn.try_wait().expect("wait for nspawn");
            status.is_some()
        });
        status.and_then(|status| status.code())
    }
}

/// Control groups for a boot, one a hierarchy, where this machine's systemd does not make a scope: hosts that shared
/// one would fight over its children.
pub fn cgroups(namespace: &str) -> Vec<PathBuf> {
    if machine_has_systemd() {
        return Vec::new();
    }
    let top = Path::new("/sys/fs/cgroup");
    let unified = top.join("cgroup.controllers").exists();
    let hierarchies =
        if unified { vec![top.to_owned()] } else { vec![top.join("systemd"), top.join("unified")] };
    hierarchies.iter().map(|path| path.join(namespace)).collect()
}

fn make_cgroup(group: &Path) {
    fs::create_dir_all(group).unwrap_or_else(|error| {
        panic!(
            "make the control group {}: {error}; the lab needs cgroup v2 or the hybrid layout",
            group.display()
        )
    });
}

fn machine_has_systemd() -> bool {
    Path::new("/run/systemd/system").exists()
}

/// Waits until nspawn has a child that is process 1 of its own namespace and whose systemd takes requests; none when
/// nspawn ended or time ran out.
fn leader_of(nspawn: &mut Child) -> Option<u32> {
    let end = Instant::now() + POWER_LIMIT;
    while Instant::now() < end && nspawn.try_wait().expect("wait for nspawn").is_none() {
        let leader = children(nspawn.id()).into_iter().find(|pid| is_ready(*pid));
        if leader.is_some() {
            return leader;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

fn children(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn kill_process(pid: u32) {
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).ok();
}

fn is_ready(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let is_first = status.lines().any(|line| line.starts_with("NSpid:") && line.ends_with("\t1"));
    is_first && Path::new(&format!("/proc/{pid}/root/run/systemd/private")).exists()
}
