//! Who made a change: evidence joined to a drift, with how far it carries.
//!
//! May not: guess. A wrong name is worse than none: where two candidates remain, where the evidence contradicts itself
//! or does not reach, the answer is `unknown`, and says why. Nothing here delays a correction: [`gather`] takes what
//! would be lost before it (witnesses, the kernel's notes of programs) and completes it afterwards (/proc, logs,
//! sessions).
//!
//! Flows in: witnesses of the watchers, what the host's interfaces remember. Flows out: [`Attribution`].

mod actor;
mod chain;
mod clients;
mod files;
mod firewall;
pub mod gather;
mod logins;
mod packages;
mod people;
mod scripts;
mod services;
#[cfg(test)]
mod tests;
mod verdict;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::host::apt_history::AptRun;
use crate::host::dpkg_log::DpkgNote;
use crate::host::exec_cache::Executed;
use crate::host::journal::UnitNote;
use crate::host::logins::LoginNotes;
use crate::kind::firewall::undo::TakenBack;
use crate::model::{Attribution, Evidence, KindName, ProcessFacts, ResourceId, Witness};

/// One drift whose maker is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What drifted.
    pub resource: ResourceId,
    /// The names of the fields that differ.
    pub fields: Vec<String>,
    /// When it was last known to be as declared, on the clock that counts from boot. Who did something before that did
    /// not do this.
    pub good: Duration,
}

/// A witness, with what was taken at the same time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Testimony {
    /// What the event told.
    pub witness: Witness,
    /// When the file changed by its own word (`ctime`), on the clock that counts from boot; a tick of the kernel's
    /// clock too early. None if it is no file, or gone.
    pub changed: Option<Duration>,
}

/// What is known of processes.
#[derive(Clone, Debug, Default)]
pub struct Processes {
    /// What each ran, by process id, newest first, from the exec cache.
    pub images: BTreeMap<u32, Vec<Executed>>,
    /// Those that still live, from /proc.
    pub living: BTreeMap<u32, ProcessFacts>,
    /// Control groups, by number.
    pub groups: BTreeMap<u64, String>,
    /// Real paths of the programs that were named by another one.
    pub paths: BTreeMap<String, String>,
}

/// All that was gathered for the drifts of one pass.
#[derive(Clone, Debug, Default)]
pub struct Gathered {
    /// The agent's own process id.
    pub own: u32,
    /// When the host was booted, by the wall clock as it is now.
    pub booted: Timestamp,
    /// When an interface lost events last, or told more than could be held, on the clock that counts from boot.
    pub missed: BTreeMap<Evidence, Duration>,
    /// What the events told.
    pub testimonies: Vec<Testimony>,
    /// What is known of the processes they name and of the ancestors of those.
    pub processes: Processes,
    /// Everything that was started since the drifts' resources were last as declared, oldest first; none if there is
    /// no exec cache.
    pub recent: Option<Vec<Executed>>,
    /// What apt noted of its runs, oldest first.
    pub apt: Vec<AptRun>,
    /// What dpkg noted that it did to packages, oldest first.
    pub dpkg: Vec<DpkgNote>,
    /// What systemd noted of units, oldest first.
    pub units: Vec<UnitNote>,
    /// That a firewall which nobody confirmed took itself back, if it did.
    pub taken_back: Option<TakenBack>,
    /// Names of users.
    pub people: BTreeMap<u32, String>,
    /// Where the ssh connections come from, by the process id of the sshd that serves them.
    pub connections: BTreeMap<u32, String>,
    /// The same, and the terminal, by session id, as systemd-logind noted them.
    pub sessions: BTreeMap<u32, SessionNote>,
    /// What sshd and sudo noted of the logins of those who were found, oldest first.
    pub logins: LoginNotes,
}

/// What systemd-logind noted of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionNote {
    /// The other end's address.
    pub remote: Option<String>,
    /// The terminal.
    pub terminal: Option<String>,
}

/// Who made a drift, as far as what was gathered carries.
pub fn attribute(question: &Question, gathered: &Gathered) -> Attribution {
    let attribution = match question.resource.kind {
        KindName::File => files::attribute(question, gathered),
        KindName::Package => packages::attribute(question, gathered),
        KindName::Service => services::attribute(question, gathered),
        KindName::Firewall => firewall::attribute(question, gathered),
    };
    let missed = attribution.evidence.first().and_then(|first| gathered.missed.get(first));
    match missed {
        Some(missed) if *missed > question.good => Attribution::unknown(format!(
            "events were lost since it was right: {} was seen, and whoever was not may have done it",
            attribution.actor.and_then(|actor| actor.process).map_or_else(String::new, |one| one.to_string()),
        )),
        Some(_) | None => attribution,
    }
}
