//! A real virtual machine: its kernel, clock and control groups are its own, and nobody's evidence is hidden.
//!
//! qemu runs Debian's kernel on a disk whose changes are forgotten, with the processor's help where /dev/kvm gives
//! it and by translation where not. The machine reaches nobody; its sshd is reached through a port of this machine's
//! loopback. Slower than a container in everything: keep one for a whole group of tests.

mod image;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::unistd::{SysconfVar, sysconf};

use super::exec::{self, LIMIT, Output, quoted, ssh, wait_until};
use super::inside::Inside;
use super::lab::Lab;
use super::ledger::Entry;
use super::tree::{Suite, say};
use image::Image;

/// How long a kernel with the processor's help may take to its first line. It takes a second; one whose every
/// instruction is emulated by a nested hypervisor takes minutes, and translation is faster than that.
const SIGN_OF_LIFE: Duration = Duration::from_secs(12);

/// How long a machine may take to boot: half a minute by translation on an idle machine.
const BOOT_LIMIT: Duration = Duration::from_secs(400);

/// A plain `qemu64` has an instruction that nested hypervisors do not emulate; `host` sets registers they lack.
const KVM: [&str; 3] = ["-enable-kvm", "-cpu", "qemu64,-cx16"];
const TRANSLATION: [&str; 2] = ["-accel", "tcg,thread=multi"];

/// By what a machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    Kvm,
    Translation,
}

/// A virtual machine. It is switched off and forgotten when the value is dropped.
pub struct Vm {
    lab: Lab,
    name: String,
    accelerator: Accelerator,
    qemu: Child,
    port: u16,
    folder: PathBuf,
    image: Image,
}

impl Vm {
    /// Boots a machine and waits until systemd says `running`.
    pub fn boot(lab: &Lab, suite: Suite, name: &str) -> Self {
        let image = Image::ensure(&lab.cache(), suite);
        let folder = lab.folder(&format!("vm-{name}"));
        let begun = Instant::now();
        let (accelerator, qemu, port) = switch_on(lab, &image, &folder);
        let vm = Vm { lab: lab.clone(), name: name.to_owned(), accelerator, qemu, port, folder, image };
        wait_until("the machine's sshd answers", BOOT_LIMIT, || {
            vm.root(&["-o", "ConnectTimeout=10"], &["true"])
        });
        let state = vm.run(&["systemctl", "is-system-running", "--wait"]).stdout;
        if state.trim() != "running" {
            let failed = vm.run(&["systemctl", "--failed", "--no-pager", "--full"]).stdout;
            panic!("{name} booted to `{}`, not `running`:\n{failed}", state.trim());
        }
        say(&format!(
            "a virtual machine of {}, {}, up in {} s",
            suite.name(),
            vm.how(),
            begun.elapsed().as_secs()
        ));
        vm
    }

    /// By what it runs, for the person who reads figures.
    pub fn how(&self) -> &'static str {
        match self.accelerator {
            Accelerator::Kvm => "by KVM",
            Accelerator::Translation => "by translation (tcg)",
        }
    }

    /// Whether a first word of root's comes through.
    fn root(&self, options: &[&str], command: &[&str]) -> bool {
        exec::complete(self.ssh_root(options, command), b"", LIMIT).success()
    }

    fn ssh_root(&self, options: &[&str], command: &[&str]) -> Command {
        self.ssh(
            &self.image.key(),
            "root",
            options,
            &command.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
        )
    }

    fn ssh(&self, key: &Path, person: &str, options: &[&str], line: &str) -> Command {
        let port = self.port.to_string();
        let words = ssh(key, &[&["-p", &port], options].concat());
        let mut program = Command::new(&words[0]);
        // Its socket is named from there: the path of one must be short, and that of a checkout need not be.
        program.current_dir(&self.folder);
        program.args(&words[1..]).arg(format!("{person}@127.0.0.1")).arg(line);
        program
    }

    fn console(&self) -> String {
        fs::read_to_string(self.folder.join("console")).unwrap_or_default()
    }

    /// What a person would look at first after a failure.
    fn last_words(&self) {
        let journal = self.run(&["journalctl", "--boot", "--lines=100", "--no-pager", "--no-hostname"]);
        eprintln!("==== {}: console\n{}", self.name, self.console());
        eprintln!("==== {}: journal\n{}{}", self.name, journal.stdout, journal.stderr);
    }
}

impl Inside for Vm {
    fn name(&self) -> &str {
        &self.name
    }

    fn lab(&self) -> &Lab {
        &self.lab
    }

    fn run_with(&self, command: &[&str], stdin: &[u8]) -> Output {
        let limit = LIMIT.as_secs().to_string();
        let environment = [
            "env",
            "-i",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME=/root",
            "USER=root",
            "LANG=C.UTF-8",
            "DEBIAN_FRONTEND=noninteractive",
            "timeout",
            "--kill-after=5",
            &limit,
        ];
        // One connection for all that root does, so that a command is no login.
        let options = ["-o", "ControlMaster=auto", "-o", "ControlPersist=yes", "-o", "ControlPath=ssh"];
        let program = self.ssh_root(&options, &[&environment[..], command].concat());
        exec::complete(program, stdin, LIMIT + Duration::from_secs(30))
    }

    fn login(&self, person: &str, script: &str) -> Output {
        exec::complete(self.ssh(&self.lab.people_key(), person, &[], script), b"", LIMIT)
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        exec::clean_up(|| {
            if std::thread::panicking() {
                self.last_words();
            }
            if Lab::is_kept() {
                let key = self.image.key();
                say(&format!(
                    "{} is kept: ssh -p {} -i {} root@127.0.0.1",
                    self.name,
                    self.port,
                    key.display()
                ));
                return;
            }
            self.qemu.kill().ok();
            self.qemu.wait().ok();
        });
    }
}

/// Starts qemu, with KVM if that gives a sign of life.
fn switch_on(lab: &Lab, image: &Image, folder: &Path) -> (Accelerator, Child, u16) {
    if kvm_may_work(lab) {
        let (mut qemu, port) = start(lab, image, folder, &KVM);
        if gives_a_sign(&mut qemu, folder) {
            return (Accelerator::Kvm, qemu, port);
        }
        qemu.kill().ok();
        qemu.wait().ok();
        fs::write(no_kvm(lab), "").expect("note that KVM does not work here");
    }
    let (qemu, port) = start(lab, image, folder, &TRANSLATION);
    (Accelerator::Translation, qemu, port)
}

/// Whether to try KVM: it opens, and was not found dead since this machine was booted.
fn kvm_may_work(lab: &Lab) -> bool {
    let opens = fs::File::options().read(true).write(true).open("/dev/kvm").is_ok();
    opens && !no_kvm(lab).exists()
}

/// The note that KVM gives no sign of life here, until this machine is booted anew.
fn no_kvm(lab: &Lab) -> PathBuf {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("read the id of this boot");
    lab.cache().join(format!("no-kvm-{}", boot.trim()))
}

/// Whether the kernel says its first line in time.
fn gives_a_sign(qemu: &mut Child, folder: &Path) -> bool {
    let end = Instant::now() + SIGN_OF_LIFE;
    while Instant::now() < end && qemu.try_wait().expect("wait for qemu").is_none() {
        let console = fs::read(folder.join("console")).unwrap_or_default();
        if console.windows(13).any(|bytes| bytes == b"Linux version") {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}

/// Starts qemu with its console in a file and sshd on a port of the loopback.
fn start(lab: &Lab, image: &Image, folder: &Path, accelerator: &[&str]) -> (Child, u16) {
    let port = free_port();
    let text = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
    let console = folder.join("console");
    fs::write(&console, "").expect("empty the console");
    let processors = sysconf(SysconfVar::_NPROCESSORS_ONLN).ok().flatten().unwrap_or(1).clamp(1, 2);
    let drive = format!("file={},format=raw,if=virtio,snapshot=on", text(&image.disk()));
    let network = format!("user,id=lab,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22");
    let said = fs::File::create(folder.join("qemu")).expect("create the file for what qemu says");
    let mut program = Command::new("qemu-system-x86_64");
    program
        .args(accelerator)
        .args(["-m", "1024", "-smp", &processors.to_string()])
        .args(["-nodefaults", "-no-user-config", "-display", "none"])
        .args(["-serial", &format!("file:{}", text(&console))])
        .args(["-kernel", &text(&image.kernel()), "-initrd", &text(&image.initrd())])
        .args(["-append", "root=/dev/vda rw console=ttyS0 earlyprintk=ttyS0 net.ifnames=0"])
        .args(["-drive", &drive, "-netdev", &network])
        .args(["-device", "virtio-net-pci,netdev=lab,romfile=", "-device", "virtio-rng-pci"])
        // What the snapshot writes goes below the run, and with it.
        .env("TMPDIR", folder)
        .stdin(Stdio::null())
        .stdout(said.try_clone().expect("share a file"))
        .stderr(said);
    let qemu = program.spawn().unwrap_or_else(|error| {
        panic!("cannot start qemu-system-x86_64: {error}; has `make setup-vm` been run?")
    });
    lab.ledger().write(&Entry::Process(qemu.id()));
    (qemu, port)
}

/// A port of the loopback that nobody has now.
fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("bind a port of the loopback");
    listener.local_addr().expect("a bound socket has an address").port()
}
