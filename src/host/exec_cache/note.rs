//! One note of the exec cache: the bytes the programs in the kernel write, and what they mean.

use std::time::Duration;

use super::Executed;
use crate::model::Evidence;

// Where each part lies. The programs and the reader share these; every long lies on a multiple of eight.
pub(super) const SINCE: i16 = 0;
pub(super) const STARTED: i16 = 8;
pub(super) const CGROUP: i16 = 16;
pub(super) const PARENT_STARTED: i16 = 24;
pub(super) const IS_FORK: i16 = 32;
pub(super) const PID: i16 = 40;
pub(super) const PARENT: i16 = 44;
pub(super) const UID: i16 = 48;
pub(super) const EUID: i16 = 52;
pub(super) const LOGIN: i16 = 56;
pub(super) const SESSION: i16 = 60;
pub(super) const ARGUMENTS_LENGTH: i16 = 64;
pub(super) const NAMESPACE: i16 = 68;
pub(super) const NAME: i16 = 72;
pub(super) const FILE: i16 = 88;
pub(super) const INTERPRETER: i16 = 216;
pub(super) const ARGUMENTS: i16 = 344;
/// `TASK_COMM_LEN`.
pub(super) const NAME_SIZE: i32 = 16;
/// Room for a path; longer ones are cut.
pub(super) const TEXT: i32 = 128;
/// Room for arguments; more are cut.
pub(super) const ARGUMENTS_SIZE: i32 = 256;
/// All of it.
pub(super) const SIZE: i32 = 600;
/// Where in a key it says whether the note is of the program before: the pid comes first.
pub(super) const BEFORE_AT: i16 = 4;

/// `AUDIT_UID_UNSET`, and the session of nobody.
const UNSET: u32 = u32::MAX;
/// A clock tick of proc(5): a hundredth of a second, on every architecture Debian has.
const TICK: u64 = 10_000_000;

/// The key of what a process runs, or ran before that.
pub(super) const fn key(pid: u32, before: u32) -> u64 {
    // As the programs write it: two words in the order of the machine.
    let (pid, before) = (pid.to_ne_bytes(), before.to_ne_bytes());
    u64::from_ne_bytes([pid[0], pid[1], pid[2], pid[3], before[0], before[1], before[2], before[3]])
}

/// Reads a note; none if it is shorter than one.
pub(super) fn read(bytes: &[u8]) -> Option<Executed> {
    let bytes = bytes.get(..SIZE as usize)?;
    let cut = |at: i16, length: usize| &bytes[at.unsigned_abs() as usize..][..length];
    let long = |at: i16| cut(at, 8).try_into().map_or(0, u64::from_ne_bytes);
    let word = |at: i16| cut(at, 4).try_into().map_or(0, u32::from_ne_bytes);
    let set = |at: i16| Some(word(at)).filter(|value| *value != UNSET);
    let length = (word(ARGUMENTS_LENGTH) as usize).min(ARGUMENTS_SIZE as usize);
    Some(Executed {
        pid: word(PID),
        started: long(STARTED) / TICK,
        since: Duration::from_nanos(long(SINCE)),
        is_fork: long(IS_FORK) != 0,
        parent: word(PARENT),
        parent_started: long(PARENT_STARTED) / TICK,
        uid: word(UID),
        euid: word(EUID),
        login: set(LOGIN),
        session: set(SESSION),
        cgroup: long(CGROUP),
        namespace: word(NAMESPACE),
        name: text(cut(NAME, NAME_SIZE as usize)),
        file: text(cut(FILE, TEXT as usize)),
        interpreter: text(cut(INTERPRETER, TEXT as usize)),
        command: arguments(cut(ARGUMENTS, length)),
        source: Evidence::ExecCache,
    })
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// Arguments end with a zero byte each; the last one may have been cut.
fn arguments(bytes: &[u8]) -> Vec<String> {
    let bytes = bytes.strip_suffix(&[0]).unwrap_or(bytes);
    match bytes.is_empty() {
        true => Vec::new(),
        false => {
            bytes.split(|byte| *byte == 0).map(|one| String::from_utf8_lossy(one).into_owned()).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_are_read_without_harm_and_too_few_are_none() {
        assert!(read(&[0; 10]).is_none());
        let read = read(&[0xff; SIZE as usize]).unwrap();
        assert_eq!((read.login, read.session, read.name.chars().count()), (None, None, 16));
        assert!(arguments(b"").is_empty());
        assert_eq!(arguments(b"sed\0-i\0\0"), ["sed", "-i", ""]);
        assert_eq!(arguments(b"sed\0--expr"), ["sed", "--expr"]);
    }
}
