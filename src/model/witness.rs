//! What an event itself told of who made a change: raw, before it is joined to a drift.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use super::attribution::Evidence;

/// One event, and who the kernel said made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// What it was about.
    pub subject: Subject,
    /// When it was read from the queue, some time after the change itself.
    pub at: Timestamp,
    /// The same on the clock that counts from boot.
    pub since_boot: Duration,
    /// Which interface told of it.
    pub source: Evidence,
    /// The process the kernel named, in the agent's process namespace; none if it named none (the maker is in a
    /// namespace that is not below ours, or the kernel tells nobody without privileges).
    pub pid: Option<u32>,
    /// What could be read of that process.
    pub caught: Caught,
    /// What it was seen doing.
    pub deeds: Deeds,
}

/// What a process was seen doing to a subject: one that changed the mode did not write the content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deeds {
    /// It wrote, or closed what it had opened for writing.
    pub wrote: bool,
    /// It changed owner, mode, times or other attributes.
    pub attributed: bool,
    /// It created, removed or renamed.
    pub named: bool,
}

impl Deeds {
    /// All that either did.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Deeds {
            wrote: self.wrote || other.wrote,
            attributed: self.attributed || other.attributed,
            named: self.named || other.named,
        }
    }
}

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A file or folder, by the path under which it is watched.
    Path(PathBuf),
    /// The packet filter's rules, as they were made by the generation of this number.
    Rules {
        /// The generation.
        generation: u32,
    },
    /// A unit that systemd was asked to change.
    Unit {
        /// Its name as it was called. Untrusted text.
        unit: String,
        /// What was asked for, in the words of `systemctl`.
        verb: &'static str,
    },
}

/// What could be read of the process that an event named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caught {
    /// It was there, and provably still the same one when the reading was done.
    Alive(Box<ProcessFacts>),
    /// It had ended and not yet been waited for: name, parent and user are there, program and command are not.
    Ended(Box<ProcessFacts>),
    /// It was gone. What the kernel told with the event beside the number, if anything: its short name.
    Gone(Option<String>),
    /// Not looked at: too many events at that moment.
    Skipped,
}

/// A process as /proc showed it. What could not be read is none or empty. All text is untrusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessFacts {
    /// Its id in the agent's process namespace.
    pub pid: u32,
    /// Its parent's.
    pub parent: u32,
    /// When it started: clock ticks since boot. With the pid it names a process for good.
    pub started: u64,
    /// Its program, as a path in the mount namespace of the agent (`/proc/PID/exe`).
    pub executable: Option<String>,
    /// Whether that file has been deleted or replaced since.
    pub is_deleted: bool,
    /// Its short name, which it gives to itself.
    pub name: String,
    /// Its arguments, possibly cut. It can overwrite them.
    pub command: Vec<String>,
    /// Real user id.
    pub uid: Option<u32>,
    /// Effective user id.
    pub euid: Option<u32>,
    /// The user who logged in; none if nobody did.
    pub login: Option<u32>,
    /// The audit session; none if there is none.
    pub session: Option<u32>,
    /// The number of its controlling terminal (`tty_nr` of proc(5)); none if it has none.
    pub terminal: Option<u32>,
    /// Its control group: where it is in the unified hierarchy, such as `/system.slice/cron.service`.
    pub cgroup: Option<String>,
    /// Whether it is in another process namespace than the agent: inside a container, then.
    pub is_contained: bool,
    /// Its ancestors, parent first, without their own ancestors. Ends where one could not be read.
    pub ancestors: Vec<ProcessFacts>,
}
