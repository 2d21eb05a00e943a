//! What /proc shows of a process, and the proof that it was of this process: a number alone is handed on to the next
//! one as soon as its bearer is gone. Formats: proc(5).

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use crate::model::{Caught, ProcessFacts};

/// Command lines are cut here: nobody reads more, and some are as long as their writer likes.
const COMMAND_LIMIT: usize = 4096;
/// Ancestors that are looked at. An ssh login with sudo and a script has some ten.
const ANCESTORS: usize = 16;
/// Not a login: `(uid_t) -1`.
const NOBODY: u32 = u32::MAX;

/// Reads what can be had of the process behind a handle, with its ancestors. What is given was read while the number
/// was still its own.
pub fn look(pid: u32, process: BorrowedFd<'_>) -> Caught {
    let (facts, has_ended) = match read(pid) {
        Some(found) => found,
        None => return Caught::Gone(None),
    };
    let ancestors = ancestors(&facts);
    // It holds its number until it was waited for: if it can still be reached, all of the above was of it.
    if !is_there(pid, process) {
        return Caught::Gone(None);
    }
    let facts = Box::new(ProcessFacts { ancestors, ..facts });
    if has_ended { Caught::Ended(facts) } else { Caught::Alive(facts) }
}

/// The same for a process that is known to wait for something just now. Its number is not handed on so soon after: they
/// are given in order, and there are millions.
pub fn look_at_once(pid: u32) -> Caught {
    let number = rustix::process::Pid::from_raw(pid.cast_signed());
    let open = |number| rustix::process::pidfd_open(number, rustix::process::PidfdFlags::empty()).ok();
    number.and_then(open).map_or(Caught::Gone(None), |handle| look(pid, handle.as_fd()))
}

/// The same without a handle, for a process that did something after `since` (on the clock that counts from boot) and
/// was called `name` then. None if it can't be shown that the number is still its own: it must have borne it before.
pub fn look_since(pid: u32, since: Duration, name: &str) -> Option<ProcessFacts> {
    let (facts, has_ended) = read(pid)?;
    // Ticks are a hundredth of a second, cut off.
    let started_before = Duration::from_millis(facts.started.saturating_add(1).saturating_mul(10)) < since;
    if has_ended || !started_before || facts.name != name {
        return None;
    }
    let ancestors = ancestors(&facts);
    let (again, _) = read(pid)?;
    (again.started == facts.started).then_some(ProcessFacts { ancestors, ..facts })
}

/// What a process shows of itself now, without its ancestors. None if there is no such process.
pub fn now(pid: u32) -> Option<ProcessFacts> {
    read(pid).map(|(facts, _)| facts)
}

/// The real path of a program that was named by another one (`/bin/sh`), as /proc would show it.
pub fn real_path(path: &str) -> Option<String> {
    let is_absolute = path.starts_with('/');
    let real = is_absolute.then(|| std::fs::canonicalize(path).ok()).flatten()?;
    Some(text(real.as_os_str().as_bytes()))
}

/// When the file at a path changed by its own word (`ctime`), links not followed.
pub fn changed_at(path: &Path) -> Option<Timestamp> {
    use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
    let stat = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::CTIME).ok()?;
    Timestamp::new(stat.stx_ctime.tv_sec, i32::try_from(stat.stx_ctime.tv_nsec).ok()?).ok()
}

/// Which numbers processes have for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// Those that the kernel itself uses.
    Kernel,
    /// Those of a namespace of our own, as in most containers.
    Own,
}

impl Numbers {
    /// Ours.
    pub fn ours() -> Self {
        // PROC_PID_INIT_INO of linux/proc_ns.h: fixed, so that it can be told.
        match std::fs::read_link("/proc/self/ns/pid") {
            Ok(name) if name == Path::new("pid:[4026531836]") => Numbers::Kernel,
            Ok(_) | Err(_) => Numbers::Own,
        }
    }
}

/// Parent, its parent and so on. Each link is proved: a child that still has the same parent after that was read shows
/// that the parent was there all the while.
fn ancestors(of: &ProcessFacts) -> Vec<ProcessFacts> {
    let mut chain: Vec<ProcessFacts> = Vec::new();
    while chain.len() < ANCESTORS {
        let child = chain.last().unwrap_or(of);
        if child.parent == 0 {
            break;
        }
        let Some((parent, _)) = read(child.parent) else { break };
        if stat(child.pid).is_none_or(|now| now.parent != parent.pid || now.started != child.started) {
            break;
        }
        chain.push(parent);
    }
    chain
}

/// The kernel shows the number of the process behind a handle, and -1 once it was waited for.
fn is_there(pid: u32, process: BorrowedFd<'_>) -> bool {
    let shown = std::fs::read(format!("/proc/self/fdinfo/{}", process.as_raw_fd())).unwrap_or_default();
    let mut lines = shown.split(|byte| *byte == b'\n');
    lines.find_map(|line| line.strip_prefix(b"Pid:")).and_then(number) == Some(pid)
}

/// What one process shows of itself, and whether it has ended. None if there is no such process.
fn read(pid: u32) -> Option<(ProcessFacts, bool)> {
    let Stat { parent, started, terminal, has_ended } = stat(pid)?;
    let mut facts = ProcessFacts { pid, parent, started, terminal, ..ProcessFacts::default() };
    let file = |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).ok();
    read_status(&file("status").unwrap_or_default(), &mut facts);
    facts.login = file("loginuid").and_then(|text| number(&text)).filter(|uid| *uid != NOBODY);
    facts.session = file("sessionid").and_then(|text| number(&text)).filter(|id| *id != NOBODY);
    facts.cgroup = file("cgroup").and_then(|text| cgroup(&text));
    facts.command = command(file("cmdline").unwrap_or_default());
    if let Ok(target) = std::fs::read_link(format!("/proc/{pid}/exe")) {
        let bytes = target.as_os_str().as_bytes();
        let path = bytes.strip_suffix(b" (deleted)");
        facts.is_deleted = path.is_some();
        facts.executable = Some(text(path.unwrap_or(bytes)));
    }
    Some((facts, has_ended))
}

struct Stat {
    parent: u32,
    started: u64,
    terminal: Option<u32>,
    has_ended: bool,
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&std::fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// The fields after the name, which may itself hold spaces and brackets: the last bracket ends it.
fn parse_stat(line: &[u8]) -> Option<Stat> {
    let after = line.iter().rposition(|byte| *byte == b')')? + 1;
    let mut fields = std::str::from_utf8(line.get(after..)?).ok()?.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let terminal: i32 = fields.nth(2)?.parse().ok()?;
    let started = fields.nth(14)?.parse().ok()?;
    Some(Stat {
        parent,
        started,
        terminal: (terminal != 0).then_some(terminal.cast_unsigned()),
        has_ended: matches!(state, "Z" | "X" | "x"),
    })
}

fn read_status(status: &[u8], facts: &mut ProcessFacts) {
    for line in status.split(|byte| *byte == b'\n') {
        let Some(at) = line.iter().position(|byte| *byte == b':') else { continue };
        let value = text(&line[at + 1..]);
        match &line[..at] {
            b"Name" => value.trim_start().clone_into(&mut facts.name),
            b"Uid" => {
                let mut uids = value.split_ascii_whitespace().map(|uid| uid.parse().ok());
                (facts.uid, facts.euid) = (uids.next().flatten(), uids.next().flatten());
            }
            // One number for each namespace, from that of this /proc inwards.
            b"NSpid" => facts.is_contained = value.split_ascii_whitespace().count() > 1,
            _ => {}
        }
    }
}

fn cgroup(lines: &[u8]) -> Option<String> {
    let unified = lines.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::"))?;
    Some(text(unified.strip_suffix(b" (deleted)").unwrap_or(unified)))
}

fn command(mut bytes: Vec<u8>) -> Vec<String> {
    bytes.truncate(COMMAND_LIMIT);
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
    if bytes.is_empty() { Vec::new() } else { bytes.split(|byte| *byte == 0).map(text).collect() }
}

fn number(bytes: &[u8]) -> Option<u32> {
    std::str::from_utf8(bytes).ok()?.trim().parse().ok()
}

fn text(bytes: &[u8]) -> String {
    OsStr::from_bytes(bytes).to_string_lossy().into_owned()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // a process that ends when it is told
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn handle(pid: u32) -> std::os::fd::OwnedFd {
        let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
        rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap()
    }

    #[test]
    fn a_process_is_read_while_it_lives_as_what_is_left_and_never_once_it_is_gone() {
        let mut child = Command::new("/bin/cat").stdin(Stdio::piped()).spawn().unwrap();
        let (pid, handle) = (child.id(), handle(child.id()));
        let name = |pid| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
        while name(pid).trim() != "cat" {
            std::thread::yield_now();
        }
        let Caught::Alive(facts) = look(pid, handle.as_fd()) else { panic!("it lives") };
        assert_eq!(look_at_once(pid), Caught::Alive(facts.clone()));
        assert_eq!((facts.pid, facts.parent, facts.name.as_str()), (pid, std::process::id(), "cat"));
        assert_eq!(facts.command, ["/bin/cat"]);
        assert!(facts.executable.as_ref().unwrap().ends_with("/bin/cat"), "{facts:?}");
        assert_eq!(facts.uid, Some(rustix::process::getuid().as_raw()));
        assert_eq!(facts.ancestors[0].pid, std::process::id());
        assert_eq!(
            facts.ancestors[0].executable,
            std::env::current_exe().unwrap().to_str().map(str::to_owned)
        );

        drop(child.stdin.take());
        while !stat(pid).unwrap().has_ended {
            std::thread::yield_now();
        }
        let Caught::Ended(left) = look(pid, handle.as_fd()) else { panic!("nobody waited for it yet") };
        assert_eq!((left.executable, left.command.len(), left.name.as_str()), (None, 0, "cat"));
        assert_eq!((left.parent, left.uid), (facts.parent, facts.uid));
        child.wait().unwrap();
        assert_eq!((look(pid, handle.as_fd()), look_at_once(pid)), (Caught::Gone(None), Caught::Gone(None)));
        // A number that someone else bears is not taken for the process that the handle stands for.
        assert_eq!(look(std::process::id(), handle.as_fd()), Caught::Gone(None));
    }

    #[test]
    fn without_a_handle_only_a_process_that_is_older_than_the_event_is_named() {
        let me = std::process::id();
        let name = read(me).unwrap().0.name;
        let started = Duration::from_millis(stat(me).unwrap().started * 10);
        assert_eq!(look_since(me, started, &name), None);
        let later = started + Duration::from_secs(1);
        assert_eq!(look_since(me, later, "another"), None);
        assert_eq!(look_since(me, later, &name).unwrap().pid, me);
    }

    #[test]
    fn names_with_brackets_and_blanks_are_read_as_names() {
        let line = b"7 (a) b (c) S 3 7 7 34816 7 4194304 1 0 0 0 0 0 0 0 20 0 1 0 4242 1 1";
        let stat = parse_stat(line).unwrap();
        assert_eq!((stat.parent, stat.terminal, stat.started, stat.has_ended), (3, Some(34816), 4242, false));
        assert!(parse_stat(b"7 (a S 3").is_none() && parse_stat(b"").is_none());
    }
}
