//! One real Debian host: an overlay on a base tree, booted by systemd-nspawn, on the network of its laboratory.
//!
//! Programs run in it as children of nobody: they enter its namespaces from outside and so are not under the
//! container's system call filter. What a daemon may do is shown by a unit ([`Host::unit`]), not by such a shell.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::exec::{self, LIMIT, Output, run, ssh, wait_until};
use super::inside::Inside;
use super::lab::{FORGE, Lab, kept};
use super::ledger::{self, Entry};
use super::network;
use super::tree::{Suite, Tree, say};

/// How long a host may take to boot or to shut down. It takes a second; a loaded machine takes more.
const POWER_LIMIT: Duration = Duration::from_secs(90);

/// The exit code by which systemd-nspawn tells that the host wants to boot again.
const REBOOT: i32 = 133;

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

/// A host. It is shut off and removed when the value is dropped; if the test fails, it tells its last words first.
pub struct Host {
    lab: Lab,
    name: String,
    number: u8,
    folder: PathBuf,
    machine: Mutex<Option<Machine>>,
}

/// A host that is switched on.
struct Machine {
    nspawn: Child,
    /// Process 1 of the host, as this machine numbers it.
    leader: u32,
}

impl Host {
    /// Boots a server on a network of its own.
    pub fn boot(suite: Suite, name: &str) -> Self {
        Lab::new().boot(suite, name)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    pub fn ipv4(&self) -> String {
        network::ipv4(self.number)
    }

    pub fn ipv6(&self) -> String {
        network::ipv6(self.number)
    }

    /// Runs a program in the host as root, with a clean environment, within two minutes.
    pub fn run(&self, command: &[&str]) -> Output {
        self.run_with(command, b"")
    }

    /// The same with standard input.
    pub fn run_with(&self, command: &[&str], stdin: &[u8]) -> Output {
        let mut program = self.enter();
        // The limit is kept inside as well: killing nsenter would leave its child behind.
        program.args(["timeout", "--kill-after=5", &LIMIT.as_secs().to_string()]).args(command);
        exec::complete(program, stdin, LIMIT + Duration::from_secs(10))
    }

    /// Runs a shell script in the host; it stops at the first command that fails.
    pub fn sh(&self, script: &str) -> Output {
        Inside::sh(self, script)
    }

    /// Runs a program as a unit of the host's systemd and waits for it: under the container's system call filter
    /// and in a control group of its own, like a daemon.
    pub fn unit(&self, command: &[&str]) -> Output {
        self.run(&[&["systemd-run", "--quiet", "--wait", "--pipe", "--collect", "--"], command].concat())
    }

    /// Writes a file as an editor does that writes in place; missing folders are made.
    pub fn write(&self, path: &str, content: &str) {
        Inside::write(self, path, content);
    }

    /// What a file holds, which must be text.
    pub fn read(&self, path: &str) -> String {
        Inside::read(self, path)
    }

    /// Whether the name exists, also as a link that leads nowhere.
    pub fn exists(&self, path: &str) -> bool {
        Inside::exists(self, path)
    }

    /// Copies a folder of this machine with everything in it to a folder of the host.
    pub fn copy_in(&self, from: &Path, to: &str) {
        Inside::copy_in(self, from, to);
    }

    /// Makes an account for a person, who may log in over ssh and become root by sudo without a password.
    pub fn add_person(&self, name: &str) {
        Inside::add_person(self, name);
    }

    /// Logs in over ssh as a person made by [`Host::add_person`] and runs a shell script: a real session, with a
    /// login uid and a scope of its own.
    pub fn login(&self, name: &str, script: &str) -> Output {
        let (key, target) = (self.lab.people_key(), format!("{name}@{}", self.ipv4()));
        let ssh = ssh(&key, &[]);
        let ssh: Vec<&str> = ssh.iter().map(String::as_str).collect();
        self.lab.outside(&[&ssh[..], &[&target, script]].concat())
    }

    /// Waits until the condition holds; past the deadline the test fails with `what` and the host's last words.
    #[track_caller]
    pub fn wait_until(&self, what: &str, limit: Duration, condition: impl FnMut() -> bool) {
        wait_until(&format!("{}: {what}", self.name), limit, condition);
    }

    /// Whether a connection from this host to a TCP port comes about within two seconds.
    pub fn reaches(&self, address: &str, port: u16) -> bool {
        let attempt = format!("exec 3<>/dev/tcp/{address}/{port}");
        self.run(&["timeout", "2", "bash", "-c", &attempt]).success()
    }

    /// Pulls the network cable.
    pub fn unplug(&self) {
        network::set_cable(&self.lab.bridge(), self.number, "down");
    }

    /// Puts the network cable back.
    pub fn plug(&self) {
        network::set_cable(&self.lab.bridge(), self.number, "up");
    }

    /// Reboots in order, as `systemctl reboot` does, and waits until the host runs again. The firewall rules of the
    /// kernel are gone afterwards, as on real iron.
    pub fn reboot(&self) {
        self.run(&["systemctl", "reboot"]).success();
        assert_eq!(self.wait_off(), Some(REBOOT), "{} did not shut down to reboot", self.name);
        self.start();
    }

    /// Shuts down in order and stays off until [`Host::start`].
    pub fn power_off(&self) {
        self.run(&["systemctl", "poweroff"]).success();
        assert_eq!(self.wait_off(), Some(0), "{} did not shut down", self.name);
    }

    /// Ends every process of the host at once, with no chance to clean up. What was written stays written: this is
    /// the kernel dying, not the disk losing its cache.
    pub fn kill(&self) {
        let Some(mut machine) = self.machine().take() else {
            return;
        };
        // With process 1 its whole process namespace dies; nspawn sees that and ends.
        kill_process(machine.leader);
        wait_until("nspawn ends with its host", POWER_LIMIT, || {
            machine.nspawn.try_wait().expect("wait for nspawn").is_some()
        });
        self.forget_runtime();
    }

    /// Switches the host on and waits until systemd says `running`.
    pub fn start(&self) {
        let mut slot = self.machine();
        assert!(slot.is_none(), "{} is already on", self.name);
        self.lab.ledger().write(&Entry::Namespace(&self.namespace()));
        network::make_port(&self.lab.bridge(), &self.namespace(), self.number);
        let mut nspawn = self.nspawn();
        self.lab.ledger().write(&Entry::Process(nspawn.id()));
        match leader_of(&mut nspawn) {
            Some(leader) => {
                self.lab.ledger().write(&Entry::Process(leader));
                *slot = Some(Machine { nspawn, leader });
            }
            None => {
                children(nspawn.id()).into_iter().for_each(kill_process);
                nspawn.kill().ok();
                nspawn.wait().expect("wait for nspawn");
                panic!("{} does not boot; its console says:\n{}", self.name, self.console());
            }
        }
        drop(slot);
        let state = self.run(&["systemctl", "is-system-running", "--wait"]).stdout;
        if state.trim() != "running" {
            let failed = self.run(&["systemctl", "--failed", "--no-pager", "--full"]).stdout;
            panic!("{} booted to `{}`, not `running`:\n{failed}", self.name, state.trim());
        }
    }

    /// Process 1 of the host, as this machine numbers it: the handle for nsenter, strace and /proc.
    pub fn leader(&self) -> u32 {
        let slot = self.machine();
        slot.as_ref().map(|machine| machine.leader).unwrap_or_else(|| panic!("{} is off", self.name))
    }

    /// The root of the host's file system as this machine sees it, also while the host is off. Follow no links
    /// below it: an absolute one leads out into this machine.
    pub fn disk(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// Lays out a host's disk without booting it.
    pub(super) fn install(lab: Lab, tree: Tree, name: &str, number: u8) -> Self {
        let folder = lab.layers().join(name);
        for part in ["", "upper", "work", "root"] {
            fs::create_dir(folder.join(part)).unwrap_or_else(|error| panic!("make host {name}: {error}"));
        }
        let host = Host { lab, name: name.to_owned(), number, folder, machine: Mutex::new(None) };
        let root = host.disk();
        host.lab.ledger().write(&Entry::Mount(&root));
        let layers = format!(
            "lowerdir={},upperdir={},workdir={}",
            host.lab.tree(tree).display(),
            host.folder.join("upper").display(),
            host.folder.join("work").display()
        );
        let root = root.to_str().expect("a path in UTF-8");
        run(&["mount", "-t", "overlay", "overlay", "-o", &layers, root]).ok();
        host.personalise();
        host
    }

    /// Writes to the disk of a host that is off. The path is below /etc, /srv or a home and has no links in it.
    pub(super) fn lay(&self, path: &str, mode: u32, content: &str) {
        let target = self.disk().join(path.trim_start_matches('/'));
        fs::create_dir_all(target.parent().expect("a file has a folder")).expect("make folders on a disk");
        fs::write(&target, content).unwrap_or_else(|error| panic!("write {path} of {}: {error}", self.name));
        fs::set_permissions(&target, fs::Permissions::from_mode(mode)).expect("set a mode on a disk");
    }

    pub(super) fn namespace(&self) -> String {
        format!("agl-{}-{}", self.lab.id(), self.number)
    }

    /// What makes a copy of a tree a machine of its own: name, identity, keys, neighbours.
    fn personalise(&self) {
        let name = &self.name;
        self.lay("/etc/hostname", 0o644, &format!("{name}\n"));
        let machine = fs::read_to_string("/proc/sys/kernel/random/uuid").expect("read a random uuid");
        self.lay("/etc/machine-id", 0o444, &machine.replace('-', ""));
        let (four, six) = (network::ipv4(FORGE), network::ipv6(FORGE));
        let services = "git.example.org elsewhere.example.org apt.example.org";
        let hosts = format!(
            "127.0.0.1 localhost\n127.0.1.1 {name}.example.org {name}\n::1 localhost\n{four} {services}\n{six} {services}\n"
        );
        self.lay("/etc/hosts", 0o644, &hosts);
        let key = self.disk().join("etc/ssh/ssh_host_ed25519_key");
        let key = key.to_str().expect("a path in UTF-8");
        let comment = format!("root@{name}");
        run(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", &comment, "-f", key]).ok();
        self.lay("/etc/ssh/sshd_config.d/lab.conf", 0o644, "HostKey /etc/ssh/ssh_host_ed25519_key\n");
    }

    /// Starts systemd-nspawn. The process is nspawn itself: every program before it replaces itself by the next.
    fn nspawn(&self) -> Child {
        let groups: Vec<String> = self.cgroups().iter().map(|path| path.display().to_string()).collect();
        let console = fs::File::options().append(true).create(true).open(self.folder.join("console"));
        let console = console.expect("open the console file");
        let (root, folder) = (self.disk().display().to_string(), self.folder.display().to_string());
        let netns = format!("--network-namespace-path={folder}/netns");
        let mut program = if machine_has_systemd() {
            // Only a scope that delegates may have control groups made in it.
            let mut program = Command::new("systemd-run");
            let unit = format!("--unit={}", self.namespace());
            program.args(["--scope", "--quiet", "--collect", "--property=Delegate=yes", &unit, "unshare"]);
            program
        } else {
            Command::new("unshare")
        };
        program
            .args(["--mount", "--propagation", "private", "sh", "-c", START, "sh"])
            .args([&self.namespace(), &folder, &groups.join(" ")])
            .args(["systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--console=pipe"])
            .args(["--directory", &root, "--machine", &self.name, &netns])
            .args(["--resolv-conf=off", "--timezone=off", "--link-journal=no"])
            // nspawn gives it only with a network that it made itself.
            .arg("--capability=CAP_NET_ADMIN")
            // Without this, services inside may not watch by fanotify, though processes that enter may.
            .arg("--system-call-filter=fanotify_init fanotify_mark")
            // /proc/sys/net belongs to the host's own network; the rest of it would be this machine's.
            .env("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "network")
            // The releases expect the unified hierarchy, and Debian 13 refuses to boot on the old one.
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
            .stdin(Stdio::null())
            .stdout(console.try_clone().expect("share the console file"))
            .stderr(console);
        program.spawn().expect("start nspawn")
    }

    /// Control groups for this boot, one a hierarchy, where this machine's systemd does not make a scope: hosts that
    /// shared one would fight over its children.
    fn cgroups(&self) -> Vec<PathBuf> {
        if machine_has_systemd() {
            return Vec::new();
        }
        let top = Path::new("/sys/fs/cgroup");
        let unified = top.join("cgroup.controllers").exists();
        let hierarchies =
            if unified { vec![top.to_owned()] } else { vec![top.join("systemd"), top.join("unified")] };
        let groups: Vec<PathBuf> = hierarchies.iter().map(|path| path.join(self.namespace())).collect();
        for group in &groups {
            self.lab.ledger().write(&Entry::Cgroup(group));
            fs::create_dir_all(group).unwrap_or_else(|error| {
                panic!(
                    "make the control group {}: {error}; the lab needs cgroup v2 or the hybrid layout",
                    group.display()
                )
            });
        }
        groups
    }

    /// Enters the namespaces of the host with an environment like that of a login.
    fn enter(&self) -> Command {
        let mut program = Command::new("nsenter");
        program
            // The root as well: where this machine is itself a chroot, that of the namespace would be outside of the host.
            .args(["--target", &self.leader().to_string(), "--all", "--root", "--wd", "--"])
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .envs([
                ("HOME", "/root"),
                ("USER", "root"),
                ("LANG", "C.UTF-8"),
                ("DEBIAN_FRONTEND", "noninteractive"),
            ]);
        program
    }

    /// Waits for the host to shut down and gives nspawn's exit code.
    fn wait_off(&self) -> Option<i32> {
        let mut slot = self.machine();
        let machine = slot.as_mut().unwrap_or_else(|| panic!("{} is off", self.name));
        let mut status = None;
        wait_until(&format!("{} shuts down", self.name), POWER_LIMIT, || {
            status = machine.nspawn.try_wait().expect("wait for nspawn");
            status.is_some()
        });
        *slot = None;
        drop(slot);
        self.forget_runtime();
        status.and_then(|status| status.code())
    }

    /// What a switched-off machine does not keep: its network with all rules, its control groups.
    fn forget_runtime(&self) {
        network::remove_port(&self.lab.bridge(), &self.namespace(), self.number);
        self.cgroups().iter().for_each(|group| ledger::remove_cgroup(group));
    }

    /// The machine, if it is on. A test that failed while it held this must still be able to clean up.
    fn machine(&self) -> MutexGuard<'_, Option<Machine>> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn console(&self) -> String {
        fs::read_to_string(self.folder.join("console")).unwrap_or_default()
    }

    /// Shuts the host off and removes its disk.
    fn remove(&self) {
        self.kill();
        let root = self.disk();
        if ledger::is_mounted(&root) {
            run(&["umount", "--lazy", &root.to_string_lossy()]).ok();
        }
        fs::remove_dir_all(&self.folder).expect("remove the disk of a host");
    }

    /// What a person would look at first after a failure.
    fn last_words(&self) {
        let is_on = self.machine().is_some();
        eprintln!("==== {}: console\n{}", self.name, self.console());
        let journal = if is_on {
            self.run(&["journalctl", "--boot", "--lines=100", "--no-pager", "--no-hostname"])
        } else {
            let folder = self.disk().join("var/log/journal");
            let folder = folder.to_string_lossy().into_owned();
            run(&["journalctl", "--directory", &folder, "--lines=100", "--no-pager", "--no-hostname"])
        };
        eprintln!("==== {}: journal\n{}{}", self.name, journal.stdout, journal.stderr);
    }
}

impl Inside for Host {
    fn name(&self) -> &str {
        Host::name(self)
    }

    fn lab(&self) -> &Lab {
        Host::lab(self)
    }

    fn run_with(&self, command: &[&str], stdin: &[u8]) -> Output {
        Host::run_with(self, command, stdin)
    }

    fn login(&self, person: &str, script: &str) -> Output {
        Host::login(self, person, script)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        exec::clean_up(|| {
            if std::thread::panicking() {
                self.last_words();
            }
            if kept() {
                let leader = self.machine().as_ref().map(|machine| machine.leader);
                say(&format!(
                    "{} is kept: nsenter --target {} --all --root --wd",
                    self.name,
                    leader.unwrap_or_default()
                ));
            } else {
                self.remove();
            }
        });
    }
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
