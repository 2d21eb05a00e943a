//! One real Debian host: an overlay on a base tree, booted by systemd-nspawn, on the network of its laboratory.
//!
//! Programs run in it as children of nobody: they enter its namespaces from outside and so are not under the
//! container's system call filter. What a daemon may do is shown by a unit ([`Host::unit`]), not by such a shell.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::exec::{self, LIMIT, Output, run, ssh, wait_until};
use super::inside::Inside;
use super::lab::{FORGE, Lab};
use super::ledger::{self, Entry};
use super::network;
use super::nspawn::{self, Boot, Machine};
use super::tree::{Suite, Tree, say};

/// The exit code by which systemd-nspawn tells that the host wants to boot again.
const REBOOT: i32 = 133;

/// A host. It is shut off and removed when the value is dropped; if the test fails, it tells its last words first.
pub struct Host {
    lab: Lab,
    name: String,
    number: u8,
    folder: PathBuf,
    machine: Mutex<Option<Machine>>,
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
        let Some(machine) = self.machine().take() else {
            return;
        };
        machine.kill();
        self.forget_runtime();
    }

    /// Switches the host on and waits until systemd says `running`.
    pub fn start(&self) {
        let mut slot = self.machine();
        assert!(slot.is_none(), "{} is already on", self.name);
        self.lab.ledger().write(&Entry::Namespace(&self.namespace()));
        network::make_port(&self.lab.bridge(), &self.namespace(), self.number);
        let boot =
            Boot { name: &self.name, root: self.disk(), folder: &self.folder, namespace: self.namespace() };
        let machine = boot.start(self.lab.ledger());
        let is_on = machine.is_some();
        *slot = machine;
        drop(slot);
        assert!(is_on, "{} does not boot; its console says:\n{}", self.name, self.console());
        let state = self.run(&["systemctl", "is-system-running", "--wait"]).stdout;
        if state.trim() != "running" {
            let failed = self.run(&["systemctl", "--failed", "--no-pager", "--full"]).stdout;
            panic!("{} booted to `{}`, not `running`:\n{failed}", self.name, state.trim());
        }
    }

    /// Process 1 of the host, as this machine numbers it: the handle for nsenter, strace and /proc.
    pub fn leader(&self) -> u32 {
        let slot = self.machine();
        slot.as_ref().map(Machine::leader).unwrap_or_else(|| panic!("{} is off", self.name))
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
        let code = machine.wait(&format!("{} shuts down", self.name));
        *slot = None;
        drop(slot);
        self.forget_runtime();
        code
    }

    /// What a switched-off machine does not keep: its network with all rules, its control groups.
    fn forget_runtime(&self) {
        network::remove_port(&self.lab.bridge(), &self.namespace(), self.number);
        nspawn::cgroups(&self.namespace()).iter().for_each(|group| ledger::remove_cgroup(group));
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
            if Lab::is_kept() {
                let leader = self.machine().as_ref().map(Machine::leader);
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
