//! What the agent is at work on, as a line in a file: whoever finds it there on the next start knows what the agent
//! died of. Not in the database, and not synced: it is to outlive a process and not the machine, and is written several
//! times a pass.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::host::files::Root;

const FILE: &str = "at-work";

/// More than the names of all that the agent could die of within one revision.
const LIMIT: usize = 1 << 20;

/// The file, open for as long as the agent lives.
#[derive(Debug)]
pub struct AtWork {
    file: OwnedFd,
    left: AtomicBool,
    line: Mutex<Line>,
}

/// How often the agent died of something lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deaths {
    /// How often in a row.
    pub times: u32,
    /// When last.
    pub last: Timestamp,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Line {
    /// What is being worked on.
    task: Option<String>,
    /// The version of the agent that the deaths are of, and the revision that was in force.
    agent: String,
    commit: Option<String>,
    deaths: BTreeMap<String, Deaths>,
}

impl AtWork {
    /// Opens the file in the state folder, for this version of the agent. Gives what the agent was at work on when it
    /// died, which counts as one more death of that; none if it ended well.
    pub fn open(state: &Root, agent: &str, now: Timestamp) -> io::Result<(Self, Option<String>)> {
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(state.handle(), FILE, flags, Mode::RUSR | Mode::WUSR)?;
        let mut line = read(&file)?;
        let died = line.task.take();
        if line.agent != agent {
            (line.agent, line.commit) = (agent.to_owned(), None);
            line.deaths.clear();
        }
        if let Some(task) = &died {
            let deaths = line.deaths.entry(task.clone()).or_insert(Deaths { times: 0, last: now });
            *deaths = Deaths { times: deaths.times.saturating_add(1), last: now };
        }
        let at_work = AtWork { file, left: AtomicBool::default(), line: Mutex::new(line) };
        at_work.write(&at_work.line());
        Ok((at_work, died))
    }

    /// From now on this is worked on.
    pub fn begin(&self, task: String) {
        let mut line = self.line();
        line.task = Some(task);
        self.write(&line);
    }

    /// From now on nothing is.
    pub fn rest(&self) {
        let mut line = self.line();
        if line.task.take().is_some() {
            self.write(&line);
        }
    }

    /// The agent ends as it should: whatever is still at work is not what it dies of.
    pub fn leave(&self) {
        self.rest();
        self.left.store(true, Ordering::Relaxed);
    }

    /// How often the agent died of this lately.
    pub fn deaths(&self, task: &str) -> Option<Deaths> {
        self.line().deaths.get(task).copied()
    }

    /// Whether it died of anything that `of` says is meant.
    pub fn died_of_any(&self, of: impl Fn(&str) -> bool) -> bool {
        self.line().deaths.keys().any(|task| of(task))
    }

    /// It was worked on, and the agent lives: earlier deaths count no more.
    pub fn survived(&self, task: &str) {
        let mut line = self.line();
        if line.deaths.remove(task).is_some() {
            self.write(&line);
        }
    }

    /// This revision is in force. If it is another one, nothing is known of what it does.
    pub fn declared(&self, commit: Option<&str>) {
        let mut line = self.line();
        if line.commit.as_deref() != commit {
            line.commit = commit.map(str::to_owned);
            line.deaths.clear();
            self.write(&line);
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One write, so that a reader finds all of a line or all of the one before. What can't be written (a full disk) is
    /// a death that is not counted, and nothing worse.
    fn write(&self, line: &Line) {
        if self.left.load(Ordering::Relaxed) {
            return;
        }
        if let Ok(mut text) = serde_json::to_vec(line) {
            text.push(b'\n');
            let _ = rustix::io::pwrite(&self.file, &text, 0);
        }
    }
}

/// The line; whatever is no such line is none.
fn read(file: &OwnedFd) -> io::Result<Line> {
    let mut text = vec![0; LIMIT];
    let count = rustix::io::pread(file, &mut text, 0)?;
    let first = text[..count].split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(serde_json::from_slice(first).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &std::path::Path, agent: &str) -> (AtWork, Option<String>) {
        AtWork::open(&Root::open(folder).unwrap(), agent, Timestamp::UNIX_EPOCH).unwrap()
    }

    #[test]
    fn deaths_are_counted_by_what_was_at_work_until_that_is_survived() {
        let folder = tempfile::tempdir().unwrap();
        let times = |at_work: &AtWork, task| at_work.deaths(task).map(|deaths| deaths.times);
        for round in 0..3 {
            let (at_work, died) = open(folder.path(), "1");
            assert_eq!(died.as_deref(), (round > 0).then_some("file:/etc/a"));
            assert_eq!(times(&at_work, "file:/etc/a"), (round > 0).then_some(round));
            at_work.begin("a much longer name than the one that it dies of".to_owned());
            at_work.begin("file:/etc/a".to_owned());
        }
        let (at_work, _) = open(folder.path(), "1");
        assert_eq!(times(&at_work, "file:/etc/a"), Some(3));
        at_work.begin("file".to_owned());
        at_work.rest();
        drop(at_work);
        let (at_work, died) = open(folder.path(), "1");
        assert_eq!((died, times(&at_work, "file:/etc/a")), (None, Some(3)), "it ended well");
        at_work.survived("file:/etc/a");
        drop(at_work);
        assert_eq!(times(&open(folder.path(), "1").0, "file:/etc/a"), None);
    }

    #[test]
    fn another_agent_or_another_revision_begins_anew_and_who_leaves_does_not_die() {
        let folder = tempfile::tempdir().unwrap();
        let (at_work, _) = open(folder.path(), "1");
        at_work.declared(Some("a"));
        at_work.begin("file".to_owned());
        drop(at_work);
        let (at_work, _) = open(folder.path(), "1");
        at_work.declared(Some("a"));
        assert!(at_work.died_of_any(|task| task == "file"));
        at_work.declared(Some("b"));
        assert!(!at_work.died_of_any(|_| true));
        at_work.begin("file".to_owned());
        drop(at_work);
        assert!(!open(folder.path(), "2").0.died_of_any(|task| task != "file"));
        let (at_work, _) = open(folder.path(), "3");
        assert!(!at_work.died_of_any(|_| true));
        at_work.begin("file".to_owned());
        at_work.leave();
        at_work.begin("service".to_owned());
        drop(at_work);
        assert_eq!(open(folder.path(), "3").1, None);
    }

    #[test]
    #[allow(clippy::disallowed_methods)] // damages the file as anything could
    fn whatever_lies_in_its_place_is_taken_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "\n", "{\"task\": 3}", "{\"task\":\"file\"", "\u{0}\u{0}", "[]"] {
            std::fs::write(folder.path().join(FILE), text).unwrap();
            assert_eq!(open(folder.path(), "1").1, None, "{text:?}");
        }
    }
}
