//! Gathers evidence: before a correction what would be gone after it, afterwards the rest. What is asked before costs
//! one look into the exec cache and one stat for each witness, no file and no program.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::people::{self, Logins};
use super::{Gathered, Processes, Question, Testimony, clients, packages};
use crate::host::exec_cache::{self, ExecCache, Executed};
use crate::host::{Host, apt_history, dpkg_log, journal, logins, process};
use crate::kind::firewall::undo;
use crate::model::{Attribution, Caught, Evidence, KindName, ResourceId, ResourceStatus, Subject, Witness};
use crate::reconcile::report::Seen;
use crate::reconcile::{PassReport, Scope};

/// Witnesses that are held. A package manager's run is some dozens; a storm has more, and is told as what it is.
const TESTIMONIES: usize = 512;
/// Resources whose last good moment is remembered one by one.
const REMEMBERED: usize = 4096;
/// Ancestors that are followed.
const GENERATIONS: usize = 16;
/// How long witnesses are held for what stays wrong, and how long in any case: a package manager's run may be seen long
/// before dpkg lets anybody look.
const LONGEST: Duration = Duration::from_secs(3600);
const SHORTEST: Duration = Duration::from_secs(600);
const APT_HISTORY: &str = "/var/log/apt/history.log";
const DPKG_LOG: &str = "/var/log/dpkg.log";

/// The door at which evidence is handed in and questions are asked.
pub struct Inquiry {
    cache: Option<Arc<dyn ExecCache>>,
    own: u32,
    testimonies: Vec<Testimony>,
    images: BTreeMap<u32, Vec<Executed>>,
    /// When all of a kind were looked at last.
    looked: BTreeMap<KindName, Duration>,
    /// When one resource was last seen as declared, where that was later.
    good: BTreeMap<ResourceId, Duration>,
    /// Those that differ, and when they were last seen as declared.
    wrong: BTreeMap<ResourceId, Duration>,
    /// What was answered for those that are wrong still, and for which fields.
    answers: BTreeMap<ResourceId, (Vec<String>, Attribution)>,
    /// When events of an interface were lost last, or a testimony let go.
    missed: BTreeMap<Evidence, Duration>,
    logins: Logins,
}

impl Inquiry {
    /// An inquiry that asks this cache, if there is one. What this process and its children do is nobody's doing.
    pub fn new(cache: Option<Arc<dyn ExecCache>>) -> Self {
        Inquiry::beside(std::process::id(), cache)
    }

    /// The same, where another process is the agent.
    pub fn beside(own: u32, cache: Option<Arc<dyn ExecCache>>) -> Self {
        Inquiry {
            cache,
            own,
            testimonies: Vec::new(),
            images: BTreeMap::new(),
            looked: BTreeMap::new(),
            good: BTreeMap::new(),
            wrong: BTreeMap::new(),
            answers: BTreeMap::new(),
            missed: BTreeMap::new(),
            logins: Logins::default(),
        }
    }

    /// Takes in what events told, before anything is done about it.
    pub fn hear(&mut self, host: &Host, witnesses: Vec<Witness>) {
        if witnesses.is_empty() {
            return;
        }
        let booted = booted(host);
        for witness in witnesses {
            let Some(pid) = witness.pid.filter(|pid| *pid != self.own) else {
                if witness.pid.is_none() {
                    self.testimonies.push(Testimony { witness, changed: None });
                }
                continue;
            };
            if let Some(images) = self.cache.as_ref().and_then(|cache| cache.images(pid).ok()) {
                self.images.insert(pid, images);
            }
            let changed = match &witness.subject {
                Subject::Path(path) => process::changed_at(&host.root.absolute(path)),
                Subject::Rules { .. } | Subject::Unit { .. } => None,
            };
            let changed = changed.and_then(|at| Duration::try_from(at.duration_since(booted)).ok());
            self.testimonies.push(Testimony { witness, changed });
        }
        let surplus = self.testimonies.len().saturating_sub(TESTIMONIES);
        let gone: Vec<Testimony> = self.testimonies.drain(..surplus).collect();
        gone.iter().for_each(|one| self.missed(one.witness.source, one.witness.since_boot));
    }

    /// This interface lost events until then, or what it told was too much: whoever is known may not be all there were.
    pub fn missed(&mut self, source: Evidence, until: Duration) {
        let last = self.missed.entry(source).or_default();
        *last = until.max(*last);
    }

    /// Until when each interface is known to have told of more than is known here.
    pub fn gaps(&self) -> &BTreeMap<Evidence, Duration> {
        &self.missed
    }

    /// Answers for drifts of the pass that has just ended, in their order.
    pub fn answer(&mut self, host: &Host, drifts: &[&mut Seen]) -> Vec<Attribution> {
        let questions: Vec<Question> = drifts.iter().map(|seen| self.question(seen)).collect();
        let is_new = |one: &&Question| self.answered(one).is_none();
        let new: Vec<Question> = questions.iter().filter(is_new).cloned().collect();
        let mut found = Vec::new();
        if !new.is_empty() {
            let mut gathered = self.gather(host, &new);
            let first: Vec<Attribution> = new.iter().map(|one| super::attribute(one, &gathered)).collect();
            people::introduce(&first, host, &mut gathered, &mut self.logins);
            found = new.iter().map(|one| super::attribute(one, &gathered)).collect();
        }
        let mut fresh = new.into_iter().zip(found);
        let mut answers = Vec::with_capacity(questions.len());
        for question in questions {
            if let Some(known) = self.answered(&question) {
                answers.push(known.clone());
            } else if let Some((question, attribution)) = fresh.next() {
                self.keep_answer(question, &attribution);
                answers.push(attribution);
            }
        }
        answers
    }

    /// Takes in what a pass over this scope, begun then, found: what it found right was right then.
    pub fn saw(&mut self, scope: &Scope, report: &PassReport, began: Duration) {
        let unread = report.unknown.iter().map(|(kind, key, _)| ResourceId::new(*kind, key.clone()));
        let unread: Vec<ResourceId> = unread.collect();
        unread.iter().for_each(|resource| self.is_wrong(resource));
        for seen in &report.findings {
            match seen.status {
                ResourceStatus::Corrected | ResourceStatus::Synced => {
                    self.wrong.remove(&seen.resource);
                    self.is_good(seen.resource.clone(), began);
                }
                ResourceStatus::Drifted
                | ResourceStatus::Behind
                | ResourceStatus::Failed
                | ResourceStatus::NotConverging
                | ResourceStatus::Waiting
                | ResourceStatus::Suspended
                | ResourceStatus::Contested
                | ResourceStatus::Unknown => self.is_wrong(&seen.resource),
            }
        }
        let found: BTreeSet<&ResourceId> = report.findings.iter().map(|seen| &seen.resource).collect();
        let blind = |kind: KindName| report.blind.iter().any(|(one, _)| *one == kind);
        for kind in KindName::ALL.into_iter().filter(|kind| !blind(*kind)) {
            match scope.of_kind(kind) {
                None => {}
                // While somebody's dpkg is at work its changes are not looked at: only a full look says that all is right.
                Some(None) if kind == KindName::Package && *scope != Scope::Full => {}
                Some(None) => {
                    // What is right again by itself is no longer wrong.
                    self.wrong
                        .retain(|one, _| one.kind != kind || found.contains(one) || unread.contains(one));
                    self.looked.insert(kind, began);
                }
                Some(Some(keys)) => {
                    let ids = keys.iter().map(|key| ResourceId::new(kind, key.clone()));
                    for id in ids.filter(|id| !found.contains(id) && !unread.contains(id)) {
                        self.wrong.remove(&id);
                        self.is_good(id, began);
                    }
                }
            }
        }
        self.answers.retain(|resource, _| self.wrong.contains_key(resource));
        self.rest(began);
    }

    /// What this scope names is as it was left. Of packages that is not so: they rest also while somebody's dpkg runs,
    /// which has perhaps done already what is found when it has ended.
    pub fn is_untouched(&mut self, scope: &Scope, now: Duration) {
        for kind in KindName::ALL.into_iter().filter(|kind| *kind != KindName::Package) {
            match scope.of_kind(kind) {
                None => {}
                Some(_) if kind == KindName::Package => {}
                Some(None) => drop(self.looked.insert(kind, now)),
                Some(Some(keys)) => {
                    keys.iter().for_each(|key| self.is_good(ResourceId::new(kind, key.clone()), now));
                }
            }
        }
        self.rest(now);
    }

    fn is_good(&mut self, resource: ResourceId, then: Duration) {
        if self.good.len() >= REMEMBERED {
            self.good.clear();
        }
        self.good.insert(resource, then);
    }

    fn is_wrong(&mut self, resource: &ResourceId) {
        let good = self.good_of(resource);
        if self.wrong.len() < REMEMBERED {
            self.wrong.entry(resource.clone()).or_insert(good);
        }
    }

    /// Lets go of what no question can still be about.
    fn rest(&mut self, now: Duration) {
        let oldest_wrong = self.wrong.values().min().copied().unwrap_or(now);
        let keep_from = oldest_wrong.max(now.saturating_sub(LONGEST)).min(now.saturating_sub(SHORTEST));
        self.testimonies.retain(|one| one.witness.since_boot >= keep_from);
        let pids: BTreeSet<u32> = self.testimonies.iter().filter_map(|one| one.witness.pid).collect();
        self.images.retain(|pid, _| pids.contains(pid));
    }

    fn question(&self, seen: &Seen) -> Question {
        Question {
            resource: seen.resource.clone(),
            fields: seen.fields.iter().map(|field| field.field.clone()).collect(),
            good: self.good_of(&seen.resource),
        }
    }

    /// What costs a program or a log to find out is asked once for as long as the same stays wrong.
    fn answered(&self, question: &Question) -> Option<&Attribution> {
        let (fields, attribution) = self.answers.get(&question.resource)?;
        (*fields == question.fields).then_some(attribution)
    }

    fn keep_answer(&mut self, question: Question, attribution: &Attribution) {
        let is_dear = matches!(question.resource.kind, KindName::Package | KindName::Service);
        if is_dear && self.answers.len() < REMEMBERED {
            self.answers.insert(question.resource, (question.fields, attribution.clone()));
        }
    }

    fn good_of(&self, resource: &ResourceId) -> Duration {
        let looked = self.looked.get(&resource.kind).copied().unwrap_or_default();
        let good = self.good.get(resource).copied().unwrap_or_default();
        self.wrong.get(resource).copied().unwrap_or(looked.max(good))
    }

    fn gather(&mut self, host: &Host, questions: &[Question]) -> Gathered {
        let about = |kind: KindName| questions.iter().filter(move |one| one.resource.kind == kind);
        let asks = |kind: KindName| about(kind).next().is_some();
        let mut gathered = Gathered {
            own: self.own,
            missed: self.missed.clone(),
            booted: booted(host),
            testimonies: self.testimonies.clone(),
            processes: Processes { images: self.images.clone(), ..Processes::default() },
            ..Gathered::default()
        };
        if asks(KindName::Package) || asks(KindName::Service) {
            gathered.recent = self.cache.as_ref().and_then(|cache| cache.recent(Duration::ZERO).ok());
        }
        if asks(KindName::Firewall) {
            gathered.taken_back = undo::taken_back(host);
        }
        if asks(KindName::Package) {
            let text = apt_history::tail(&host.root.absolute(APT_HISTORY)).unwrap_or_default();
            gathered.apt = apt_history::parse(&text, &TimeZone::system());
            let text = apt_history::tail(&host.root.absolute(DPKG_LOG)).unwrap_or_default();
            gathered.dpkg = dpkg_log::parse(&text, &TimeZone::system());
        }
        let units: Vec<&str> = about(KindName::Service).map(|one| one.resource.key.as_str()).collect();
        if let Some(since) = about(KindName::Service).map(|one| one.good).min() {
            // Without the journal the answer is the same, less sure of itself.
            let since = gathered.wall(since);
            gathered.units = journal::of_units(&*host.programs, &units, since).unwrap_or_default();
            if gathered.recent.is_none() {
                gathered.logins.sudo = logins::of_sudo(&*host.programs, since).unwrap_or_default();
            }
        }
        self.trace(&mut gathered);
        gathered
    }

    /// Follows everybody who may be named up to the first process.
    fn trace(&self, gathered: &mut Gathered) {
        for note in gathered.recent.iter().flatten() {
            let notes = gathered.processes.images.entry(note.pid).or_default();
            if !notes.contains(note) {
                notes.push(note.clone());
            }
        }
        for notes in gathered.processes.images.values_mut() {
            notes.sort_by_key(|note| std::cmp::Reverse(note.since));
        }
        let witnessed = gathered.testimonies.iter().filter_map(|one| one.witness.pid);
        let started = gathered.recent.iter().flatten();
        let started = started.filter(|note| packages::is_package_tool(note) || clients::is_client(note));
        let mut starts: BTreeSet<u32> = witnessed.chain(started.map(|note| note.pid)).collect();
        let known = gathered.testimonies.iter().filter_map(|one| match &one.witness.caught {
            Caught::Alive(facts) | Caught::Ended(facts) => Some(facts),
            Caught::Gone(_) | Caught::Skipped => None,
        });
        starts.extend(known.flat_map(|facts| facts.ancestors.iter().map(|one| one.pid)));
        for start in starts {
            self.follow(start, &mut gathered.processes);
        }
        let notes = gathered.processes.images.values().flatten();
        let groups: BTreeSet<u64> = notes.clone().map(|note| note.cgroup).collect();
        let paths: BTreeSet<&String> = notes.map(|note| &note.interpreter).collect();
        gathered.processes.paths =
            paths.into_iter().filter_map(|path| Some((path.clone(), process::real_path(path)?))).collect();
        gathered.processes.groups =
            groups.into_iter().filter_map(|id| Some((id, exec_cache::control_group(id)?))).collect();
    }

    fn follow(&self, start: u32, processes: &mut Processes) {
        let mut pid = start;
        for _ in 0..GENERATIONS {
            if pid == 0 || processes.living.contains_key(&pid) {
                return;
            }
            if !processes.images.contains_key(&pid)
                && let Some(notes) = self.cache.as_ref().and_then(|cache| cache.images(pid).ok())
                && !notes.is_empty()
            {
                processes.images.insert(pid, notes);
            }
            let note = processes.images.get(&pid).and_then(|notes| notes.first()).map(|note| note.parent);
            let living = process::now(pid);
            let parent = note.or(living.as_ref().map(|facts| facts.parent));
            if let Some(facts) = living {
                processes.living.insert(pid, facts);
            }
            match parent {
                Some(parent) => pid = parent,
                None => return,
            }
        }
    }
}

fn booted(host: &Host) -> Timestamp {
    host.clock.now().checked_sub(host.clock.since_boot()).unwrap_or(Timestamp::UNIX_EPOCH)
}

impl Gathered {
    /// A moment on the clock that counts from boot, as the wall clock has it now.
    pub(super) fn wall(&self, since_boot: Duration) -> Timestamp {
        self.booted.checked_add(since_boot).unwrap_or(Timestamp::MAX)
    }

    /// When a process started, by the wall clock as it is now; earlier rather than later.
    pub(super) fn wall_of(&self, started: u64) -> Timestamp {
        self.wall(Duration::from_millis(started.saturating_mul(10)).saturating_sub(Duration::from_secs(1)))
    }

    /// What was started since then, of each process the last, forks aside.
    pub(super) fn newest_images(&self, since: Duration) -> Vec<&Executed> {
        let mut newest: BTreeMap<(u32, u64), &Executed> = BTreeMap::new();
        let recent = self.recent.iter().flatten().filter(|note| note.since >= since && !note.is_fork);
        for note in recent {
            newest.insert((note.pid, note.started), note);
        }
        let mut newest: Vec<&Executed> = newest.into_values().collect();
        newest.sort_by_key(|note| note.since);
        newest
    }
}
