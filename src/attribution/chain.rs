//! From the process an event named to who that was: which program it ran at that moment, and whose child it is.

use std::time::Duration;

use super::scripts;
use super::{Gathered, Processes, Testimony};
use crate::host::exec_cache::Executed;
use crate::model::{Caught, Confidence, Evidence, ProcessFacts};

/// Who may have made a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Suspect {
    /// Who, with ancestors.
    pub facts: ProcessFacts,
    /// What the name rests on, strongest first.
    pub evidence: Vec<Evidence>,
    /// How far that carries.
    pub confidence: Confidence,
    /// Why, in a sentence.
    pub reason: String,
    /// When it was seen, on the clock that counts from boot.
    pub when: Duration,
}

/// What one testimony comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// It was the agent, or something it started.
    Own,
    /// A process, its program and its user are known.
    Named(Box<Suspect>),
    /// Somebody, and why no name can be given.
    Unnamed(String),
}

/// Files are stamped with the time of the kernel's last tick: ten milliseconds ago where ticks are rarest, but as long
/// ago as the processor that counts them was held up, which a busy host does to its virtual machines.
const LAG: Duration = Duration::from_secs(2);
/// From the fork to the exec a process is nobody yet. What takes longer did something of its own.
const FORK_TO_EXEC: Duration = Duration::from_millis(50);
/// As many as an ssh login with sudo and a few scripts has.
const ANCESTORS: usize = 16;
/// Units the agent has its changes made in. See `kind::package` and `kind::firewall`.
const OWN_UNITS: [&str; 3] = ["agentd.service", "agentd-apt.", "agentd-firewall"];

/// What a testimony comes to. `path` is what was changed, if it was a file.
pub(super) fn finding(testimony: &Testimony, path: Option<&str>, gathered: &Gathered) -> Finding {
    let witness = &testimony.witness;
    let Some(pid) = witness.pid else { return Finding::Unnamed(nobody(witness.source)) };
    if pid == gathered.own {
        return Finding::Own;
    }
    let processes = &gathered.processes;
    let images = processes.images.get(&pid).map(Vec::as_slice).unwrap_or_default();
    let named = match &witness.caught {
        Caught::Alive(facts) | Caught::Ended(facts) => {
            let same: Vec<&Executed> = images.iter().filter(|image| image.started == facts.started).collect();
            match pick(&same, testimony, path) {
                Pick::Either(one, other) => return Finding::Unnamed(either(pid, one, other)),
                Pick::None => (facts.as_ref().clone(), None),
                Pick::One(image) => {
                    let by_note = facts.executable.is_none().then_some(image.source);
                    (seen_and_noted(facts, image, same[0], processes), by_note)
                }
            }
        }
        Caught::Gone(_) | Caught::Skipped => {
            match pick(&images.iter().collect::<Vec<_>>(), testimony, path) {
                Pick::Either(one, other) => return Finding::Unnamed(either(pid, one, other)),
                Pick::None => return Finding::Unnamed(gone(pid, &witness.caught)),
                Pick::One(image) => (noted(image, processes), Some(image.source)),
            }
        }
    };
    let (facts, by_note) = named;
    let ancestors = ancestors(&facts, processes);
    let facts = ProcessFacts { ancestors, ..facts };
    if is_own(&facts, gathered.own) {
        return Finding::Own;
    }
    let facts = with_forked_program(facts, processes);
    if facts.executable.is_none() {
        return Finding::Unnamed(format!(
            "process {pid}, which called itself `{}`, had ended before its program could be read",
            facts.name
        ));
    }
    let confidence = match witness.caught {
        Caught::Skipped => Confidence::Likely,
        Caught::Alive(_) | Caught::Ended(_) | Caught::Gone(_) => Confidence::Certain,
    };
    let mut evidence = vec![witness.source];
    let told = match witness.source {
        Evidence::Netfilter => "the kernel named it with the new rules",
        Evidence::Bus => "D-Bus named it with the call",
        _ => "the kernel named it with the change",
    };
    let mut reason = format!("{told} (process {pid})");
    if let Some(noted_by) = by_note {
        evidence.push(noted_by);
        reason.push_str(&format!("; it had ended, and {noted_by} tell what it ran"));
    }
    Finding::Named(Box::new(Suspect { facts, evidence, confidence, reason, when: witness.since_boot }))
}

/// A process of which only the kernel's note is left, with its ancestors.
pub(super) fn from_note(image: &Executed, processes: &Processes) -> ProcessFacts {
    let facts = noted(image, processes);
    let ancestors = ancestors(&facts, processes);
    with_forked_program(ProcessFacts { ancestors, ..facts }, processes)
}

/// Whether it is the agent's own doing.
pub(super) fn is_own(facts: &ProcessFacts, own: u32) -> bool {
    let in_own_unit = |facts: &ProcessFacts| {
        let mut parts = facts.cgroup.as_deref().unwrap_or_default().split('/');
        parts.any(|part| OWN_UNITS.iter().any(|own| part.starts_with(own)))
    };
    // The agent itself was there before the notes were: that a process is its child has to do.
    let is_it = |one: &ProcessFacts| one.pid == own || one.parent == own || in_own_unit(one);
    is_it(facts) || facts.ancestors.iter().any(is_it)
}

enum Pick<'a> {
    None,
    One(&'a Executed),
    Either(&'a Executed, &'a Executed),
}

/// Which program the process ran when it made the change. `images` are of one process, newest first.
fn pick<'a>(images: &[&'a Executed], testimony: &Testimony, path: Option<&str>) -> Pick<'a> {
    let read = testimony.witness.since_boot;
    let mut images = images.iter().copied().filter(|image| image.since <= read);
    let (now, before) = match (images.next(), images.next()) {
        (None, _) => return Pick::None,
        (Some(now), None) => return Pick::One(now),
        (Some(now), Some(before)) => (now, before),
    };
    if let Some(changed) = testimony.changed {
        // A change that was stamped after it had begun is its own; one stamped long before is not.
        if now.since <= changed {
            return Pick::One(now);
        }
        if now.since > changed + LAG && changed + LAG >= before.since {
            return Pick::One(before);
        }
    }
    let soon = now.since.saturating_sub(before.since) < FORK_TO_EXEC;
    let just_forked = before.is_fork && (soon || scripts::only_starts(before));
    if just_forked || scripts::wrote_nothing(before) {
        return Pick::One(now);
    }
    let Some(path) = path else { return Pick::Either(now, before) };
    match (scripts::redirects_to(before, path), scripts::names(now, path)) {
        (true, false) => Pick::One(before),
        (false, true) if !scripts::names(before, path) => Pick::One(now),
        (true | false, _) => Pick::Either(now, before),
    }
}

fn either(pid: u32, one: &Executed, other: &Executed) -> String {
    format!(
        "process {pid} ran `{}` and then `{}`, and which of them made the change can't be told",
        one_of(other),
        one_of(one)
    )
}

fn one_of(image: &Executed) -> &str {
    if image.interpreter.is_empty() { &image.name } else { &image.interpreter }
}

fn nobody(source: Evidence) -> String {
    match source {
        Evidence::Bus => {
            "systemd was asked for it over D-Bus by one who had gone before the bus could be asked who it was"
        }
        _ => "the kernel named no process: whoever did it is outside of the agent's process namespace",
    }
    .to_owned()
}

fn gone(pid: u32, caught: &Caught) -> String {
    let name = match caught {
        Caught::Gone(Some(name)) => format!(", which called itself `{name}`,"),
        Caught::Alive(_) | Caught::Ended(_) | Caught::Gone(None) | Caught::Skipped => String::new(),
    };
    format!(
        "process {pid}{name} had ended before it could be looked at, and the kernel holds no note of what it ran"
    )
}

/// What /proc showed, and what the kernel noted of the same process. /proc has the real path of the program that runs
/// when it is read; the note has the arguments as they were given, which a process can't change.
fn seen_and_noted(
    facts: &ProcessFacts,
    image: &Executed,
    newest: &Executed,
    processes: &Processes,
) -> ProcessFacts {
    let noted = noted(image, processes);
    let is_newest = image == newest;
    let has_command = !image.command.is_empty();
    ProcessFacts {
        executable: facts.executable.clone().filter(|_| is_newest).or(noted.executable),
        is_deleted: facts.is_deleted && is_newest,
        command: if has_command { noted.command } else { facts.command.clone() },
        parent: noted.parent,
        cgroup: facts.cgroup.clone().or(noted.cgroup),
        ..facts.clone()
    }
}

/// What the kernel noted, in the words of /proc.
fn noted(image: &Executed, processes: &Processes) -> ProcessFacts {
    let path = Some(&image.interpreter).filter(|path| !path.is_empty());
    let is_contained = image.namespace != FIRST_NAMESPACE && image.namespace != 0;
    // A container has a file tree of its own, in which links lead elsewhere.
    let real = |path: &String| processes.paths.get(path).filter(|_| !is_contained).unwrap_or(path).clone();
    ProcessFacts {
        pid: image.pid,
        parent: image.parent,
        started: image.started,
        executable: path.map(real),
        is_deleted: false,
        name: image.name.clone(),
        command: image.command.clone(),
        uid: Some(image.uid),
        euid: Some(image.euid),
        login: image.login,
        session: image.session,
        terminal: None,
        cgroup: processes.groups.get(&image.cgroup).cloned(),
        is_contained,
        ancestors: Vec::new(),
    }
}

/// Inode number of the first process namespace: the exec cache is there for agents in that one alone.
const FIRST_NAMESPACE: u32 = 4_026_531_836;

/// Parent, its parent and so on. The kernel's notes tell the parent at the time of the exec: one that has ended since is
/// not hidden by the one that took its children over.
fn ancestors(of: &ProcessFacts, processes: &Processes) -> Vec<ProcessFacts> {
    let mut chain: Vec<ProcessFacts> = Vec::new();
    while chain.len() < ANCESTORS {
        let child = chain.last().unwrap_or(of);
        let Some(parent) = parent(child, of, processes) else { break };
        if parent.pid == 0 || chain.iter().any(|known| known.pid == parent.pid) {
            break;
        }
        chain.push(parent);
    }
    chain
}

fn parent(child: &ProcessFacts, of: &ProcessFacts, processes: &Processes) -> Option<ProcessFacts> {
    let started = note_of(child, processes).map(|note| note.parent_started);
    let is_it = |pid: u32, at: u64| {
        pid == child.parent && started.is_none_or(|started| started == at) && at <= child.started
    };
    let seen = of.ancestors.iter().chain(processes.living.values()).find(|one| is_it(one.pid, one.started));
    let notes = processes.images.get(&child.parent).map(Vec::as_slice).unwrap_or_default();
    // What it ran when it had this child, not what it ran later.
    let born = Duration::from_millis(child.started.saturating_mul(10) + 10);
    let mut notes = notes.iter().filter(|note| is_it(note.pid, note.started) && note.since <= born);
    let newest = processes.images.get(&child.parent).and_then(|notes| notes.first());
    match (seen, notes.next()) {
        (Some(seen), Some(note)) => {
            Some(without_ancestors(seen_and_noted(seen, note, newest.unwrap_or(note), processes)))
        }
        (Some(seen), None) => Some(without_ancestors(seen.clone())),
        (None, Some(note)) => Some(noted(note, processes)),
        (None, None) => None,
    }
}

fn without_ancestors(facts: ProcessFacts) -> ProcessFacts {
    ProcessFacts { ancestors: Vec::new(), ..facts }
}

fn note_of<'a>(facts: &ProcessFacts, processes: &'a Processes) -> Option<&'a Executed> {
    processes.images.get(&facts.pid)?.iter().find(|note| note.started == facts.started)
}

/// A fork runs what its parent ran: where the note of it was made before the agent knew the parent, the parent tells.
fn with_forked_program(mut facts: ProcessFacts, processes: &Processes) -> ProcessFacts {
    let is_fork = note_of(&facts, processes).is_some_and(|note| note.is_fork);
    if facts.executable.is_none()
        && is_fork
        && let Some(parent) = facts.ancestors.first()
        && parent.name == facts.name
    {
        facts.executable.clone_from(&parent.executable);
        facts.command.clone_from(&parent.command);
    }
    facts
}
