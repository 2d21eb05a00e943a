//! What a run made on this machine, written down before it is made, so that the next run can undo what an
//! interrupted one left: processes by id and start time, mounts and namespaces by name, folders by path.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::exec::{run, wait_until};

/// The ledger of one run, a file in the folder of the run.
pub struct Ledger {
    file: PathBuf,
}

/// One thing that was made.
pub enum Entry<'a> {
    /// The process that made the run: while it lives, the run is nobody else's business.
    Owner(u32),
    Process(u32),
    Mount(&'a Path),
    Namespace(&'a str),
    Cgroup(&'a Path),
    Folder(&'a Path),
}

impl Ledger {
    /// Opens the ledger of a run that this process owns.
    pub fn create(run: &Path) -> Self {
        let ledger = Ledger { file: run.join("ledger") };
        ledger.write(&Entry::Owner(std::process::id()));
        ledger
    }

    pub fn write(&self, entry: &Entry<'_>) {
        let line = match entry {
            Entry::Owner(pid) => format!("owner {pid} {}\n", started(*pid).unwrap_or_default()),
            Entry::Process(pid) => format!("process {pid} {}\n", started(*pid).unwrap_or_default()),
            Entry::Mount(path) => format!("mount {}\n", path.display()),
            Entry::Namespace(name) => format!("namespace {name}\n"),
            Entry::Cgroup(path) => format!("cgroup {}\n", path.display()),
            Entry::Folder(path) => format!("folder {}\n", path.display()),
        };
        let mut options = fs::OpenOptions::new();
        let mut file =
            options.append(true).create(true).mode(0o600).open(&self.file).expect("open the ledger");
        file.write_all(line.as_bytes()).expect("write the ledger");
    }

    /// Undoes everything written here, last first, and removes the folder of the run.
    pub fn undo(&self) {
        let lines = fs::read_to_string(&self.file).unwrap_or_default();
        for line in lines.lines().rev() {
            undo(line);
        }
        let run = self.file.parent().expect("the ledger lies in the folder of its run");
        // The ledger goes last: as long as it is there, another run can do what this one did not finish.
        for entry in
            fs::read_dir(run).into_iter().flatten().flatten().filter(|entry| entry.path() != self.file)
        {
            let path = entry.path();
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.unwrap_or_else(|error| panic!("remove {}: {error}", path.display()));
        }
        fs::remove_file(&self.file).expect("remove the ledger of a run");
        match fs::remove_dir(run) {
            // Without its ledger the folder is anybody's: another laboratory's sweep was faster.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            removed => removed.expect("remove the folder of a run"),
        }
    }
}

/// Undoes the runs below `runs` whose owner is gone. The caller holds the lock of the laboratory.
pub fn sweep(runs: &Path) {
    let Ok(entries) = fs::read_dir(runs) else { return };
    for entry in entries {
        let run = entry.expect("read the folder of runs").path();
        let ledger = Ledger { file: run.join("ledger") };
        // A folder without a ledger is at the very end of its owner's own removal.
        let Ok(lines) = fs::read_to_string(&ledger.file) else {
            fs::remove_dir(&run).ok();
            continue;
        };
        let alive = lines.lines().filter_map(|line| line.strip_prefix("owner ")).any(is_alive);
        if !alive {
            ledger.undo();
        }
    }
}

/// Removes a control group with everything in it and below it; on the unified hierarchy this ends its processes.
pub fn remove_cgroup(path: &Path) {
    let kill = path.join("cgroup.kill");
    if kill.exists() {
        fs::write(kill, "1").ok();
    }
    if let Ok(entries) = fs::read_dir(path) {
        for child in entries.flatten().filter(|entry| entry.path().is_dir()) {
            remove_cgroup(&child.path());
        }
    }
    for _ in 0..100 {
        match fs::remove_dir(path) {
            Err(error) if error.kind() == ErrorKind::ResourceBusy => {
                std::thread::sleep(Duration::from_millis(10));
            }
            _ => return,
        }
    }
}

/// Whether something is mounted exactly there.
pub fn is_mounted(path: &Path) -> bool {
    let table = fs::read_to_string("/proc/self/mountinfo").expect("read the mount table");
    let wanted = path.to_string_lossy().replace(' ', "\\040");
    table.lines().any(|line| line.split(' ').nth(4) == Some(&wanted))
}

fn undo(line: &str) {
    let (what, rest) = line.split_once(' ').unwrap_or((line, ""));
    let path = Path::new(rest);
    match what {
        "process" if is_alive(rest) => {
            let pid = rest.split(' ').next().and_then(|pid| pid.parse().ok()).expect("a pid in the ledger");
            kill(Pid::from_raw(pid), Signal::SIGKILL).ok();
            wait_until("a process left by an earlier run ends", Duration::from_secs(10), || !is_alive(rest));
        }
        "mount" if is_mounted(path) => {
            run(&["umount", "--lazy", rest]).ok();
        }
        "namespace" if Path::new("/run/netns").join(rest).exists() => {
            run(&["ip", "netns", "delete", rest]).ok();
        }
        "cgroup" => remove_cgroup(path),
        "folder" if path.exists() => {
            fs::remove_dir_all(path).expect("remove a folder left by an earlier run")
        }
        _ => {}
    }
}

/// Whether "PID START" still is the process that was meant, not another one with its number; a zombie is gone.
fn is_alive(process: &str) -> bool {
    let Some((pid, start)) = process.split_once(' ') else { return false };
    pid.parse().ok().and_then(started).is_some_and(|now| now == start)
}

/// The start time of a process in clock ticks since boot, field 22 of proc(5)'s stat.
fn started(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    (fields.first() != Some(&"Z")).then(|| fields.get(19).map(ToString::to_string)).flatten()
}
