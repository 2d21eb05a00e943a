//! What the agent died of lately. A death that repeats itself must neither leave the host unwatched nor starve
//! everything that comes after it: what the agent was at work on is written down before it is begun, a kind that it died
//! in is worked on resource by resource, and what it died of three times in a row is left alone.

use std::fmt;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::model::{CommitId, KindName, ResourceId};
use crate::record::AtWork;

/// Died of so often in a row, something is left alone.
const TIMES: u32 = 3;

/// ... for so long: what it took (another host, a disk) may be gone by then.
const REST: SignedDuration = SignedDuration::from_hours(1);

/// Something to be at work on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Looking at a kind, comparing it, or changing many of it at once.
    Kind(KindName),
    /// Changing this resource.
    Resource(ResourceId),
    /// Asking who made a change.
    Attribution,
    /// Putting a revision in force.
    Adoption(CommitId),
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Task::Kind(kind) => write!(f, "{kind}"),
            Task::Resource(id) => write!(f, "{id}"),
            Task::Attribution => f.write_str("attribution"),
            Task::Adoption(commit) => write!(f, "revision {commit}"),
        }
    }
}

/// What the agent died of lately, and what it is at work on. Without a file that says so it has died of nothing.
#[derive(Clone, Debug, Default)]
pub struct Perils(Option<Arc<AtWork>>);

impl Perils {
    /// As the file says.
    pub fn of(at_work: AtWork) -> Self {
        Perils(Some(Arc::new(at_work)))
    }

    /// From now on this is worked on.
    pub fn begin(&self, task: &Task) {
        if let Some(at_work) = &self.0 {
            at_work.begin(task.to_string());
        }
    }

    /// From now on nothing is.
    pub fn rest(&self) {
        self.0.iter().for_each(|at_work| at_work.rest());
    }

    /// The agent ends as it should.
    pub fn leave(&self) {
        self.0.iter().for_each(|at_work| at_work.leave());
    }

    /// It was worked on, and the agent lives.
    pub fn survived(&self, task: &Task) {
        self.0.iter().for_each(|at_work| at_work.survived(&task.to_string()));
    }

    /// A revision is in force.
    pub fn declared(&self, commit: Option<&CommitId>) {
        self.0.iter().for_each(|at_work| at_work.declared(commit.map(CommitId::as_str)));
    }

    /// Why this is left alone, if it is.
    pub fn shuns(&self, task: &Task, now: Timestamp) -> Option<String> {
        let deaths = self.0.as_ref()?.deaths(&task.to_string()).filter(|deaths| deaths.times >= TIMES)?;
        let ago = now.duration_since(deaths.last).abs();
        (ago < REST).then(|| {
            format!(
                "the agent died {} times in a row while it was at work on this: it is left alone until another \
                 revision is in force, `agentctl sync` is said, or an hour has passed (`journalctl -u agentd` has why)",
                deaths.times
            )
        })
    }

    /// Whether it died in this kind: then its resources are changed one by one.
    pub fn asks_for_care(&self, kind: KindName) -> bool {
        let (whole, one) = (Task::Kind(kind).to_string(), format!("{kind}:"));
        self.any(|task| task == whole || task.starts_with(&one))
    }

    /// Whether it died of anything lately.
    pub fn knows_any(&self) -> bool {
        self.any(|_| true)
    }

    fn any(&self, of: impl Fn(&str) -> bool) -> bool {
        self.0.as_ref().is_some_and(|at_work| at_work.died_of_any(of))
    }
}
