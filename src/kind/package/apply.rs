//! Makes the changes of one step: one apt transaction for all of them, judged by dpkg's database.
//!
//! ```text
//! adopt a running one ─▶ wait for the locks ─▶ repair ─▶ what is offered (refresh) ─▶ simulate, clear ─▶ run ─▶ judge
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use crate::host::Host;
use crate::host::units::UnitName;
use crate::kind::{ApplyCx, Planned};
use crate::model::OutcomeResult;

use super::apt::{self, Allowed, Permission, Verb};
use super::database::DatabaseError;
use super::diff::{Change, suits};
use super::goal::{End, Goal};
use super::lock;
use super::offers::{self, Offers};
use super::reason::{self, Reason};
use super::spec::{Spec, Wish};
use super::transaction::{self, RunError};
use super::{Packages, chain, holdback, native};

/// What an operator may set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The index is fetched anew before a change if it is older than this.
    pub index_age: Duration,
    /// How often a held lock is looked at before the change is put off.
    pub lock_tries: u32,
    /// The time between two looks.
    pub lock_pause: Duration,
    /// After this systemd ends a transaction.
    pub time_limit: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            index_age: Duration::from_secs(24 * 3600),
            // Half a minute: long enough for someone's `apt-get install`; a longer one ends with an event.
            lock_tries: 150,
            lock_pause: Duration::from_millis(200),
            time_limit: Duration::from_secs(3600),
        }
    }
}

/// What apt is told of each goal, by its place: `name:arch=version`.
type Chosen = BTreeMap<usize, String>;

/// The goals for which there is nothing to tell, and why.
type Missing = Vec<(usize, Reason)>;

/// What is known of the changes while they are made.
pub(super) struct Work<'a> {
    pub host: &'a Host,
    pub hold_units: &'a [UnitName],
    pub goals: Vec<Goal>,
    /// Why a goal is given up, by its place in `goals`.
    pub given_up: BTreeMap<usize, Reason>,
    /// What apt and dpkg printed.
    pub output: String,
}

impl From<RunError> for Reason {
    fn from(error: RunError) -> Self {
        Reason::NotRun { complaint: chain(&error) }
    }
}

impl From<DatabaseError> for Reason {
    fn from(error: DatabaseError) -> Self {
        Reason::NotRun { complaint: chain(&error) }
    }
}

impl Packages {
    /// Makes changes of one step. One result a change, in their order.
    pub(super) fn make(&mut self, cx: &ApplyCx<'_>, changes: &[Planned<Spec, Change>]) -> Vec<OutcomeResult> {
        let goals: Result<Vec<Goal>, String> = changes.iter().map(Goal::of).collect();
        let goals = match goals {
            Ok(goals) => goals,
            Err(message) => {
                return changes.iter().map(|_| OutcomeResult::Failed { message: message.clone() }).collect();
            }
        };
        let (given_up, output) = (BTreeMap::new(), String::new());
        let mut work = Work { host: cx.host, hold_units: cx.hold_units, goals, given_up, output };
        let outcome = self.attempt(&mut work);
        let (before, general) = match outcome {
            Ok(before) => (before, None),
            Err(reason) => (vec![None; changes.len()], Some(reason)),
        };
        self.judge(&work, &before, general.as_ref())
    }

    /// Does what can be done; gives the versions that were there before.
    fn attempt(&mut self, work: &mut Work<'_>) -> Result<Vec<Option<String>>, Reason> {
        transaction::adopt(work.host, self.settings.time_limit)?;
        if let Some(holder) =
            lock::wait_for_all(work.host, self.settings.lock_tries, self.settings.lock_pause)
        {
            return Err(Reason::LockHeld(holder));
        }
        let before = {
            let table = self.fresh(work.host)?;
            let native = native(table);
            work.goals.iter().map(|goal| goal.version(table, native)).collect()
        };
        self.select(work, &End::Free)?;
        if !self.open(work, |end| !matches!(end, End::Held | End::Free))?.is_empty() {
            self.repair(work)?;
            self.install(work)?;
            self.remove(work)?;
        }
        self.select(work, &End::Held)?;
        Ok(before)
    }

    /// The goals of a sort that are not reached and not given up.
    pub(super) fn open(
        &mut self,
        work: &Work<'_>,
        sort: impl Fn(&End) -> bool,
    ) -> Result<Vec<usize>, Reason> {
        let table = self.fresh(work.host)?;
        let native = native(table);
        let goals = work.goals.iter().enumerate();
        let open = goals.filter(|(at, goal)| {
            sort(&goal.end) && !work.given_up.contains_key(at) && !goal.reached(table, native)
        });
        Ok(open.map(|(at, _)| at).collect())
    }

    /// Sets or ends holds, all in one run of dpkg. It renames one file and can't be left half-way.
    fn select(&mut self, work: &mut Work<'_>, end: &End) -> Result<(), Reason> {
        let open = self.open(work, |other| other == end)?;
        let table = self.fresh(work.host)?;
        let native = native(table);
        let word = if *end == End::Held { "hold" } else { "install" };
        let lines: Vec<String> = open
            .iter()
            .filter_map(|at| {
                let goal = &work.goals[*at];
                let state = goal.state(table, native).filter(|state| state.status.on_host())?;
                Some(format!("{}:{} {word}\n", goal.name.name(), state.architecture))
            })
            .collect();
        if lines.is_empty() {
            return Ok(());
        }
        let done = transaction::set_selections(work.host, &lines.concat())?;
        work.output.push_str(&done.complaint());
        Ok(())
    }

    /// Brings what should be there.
    fn install(&mut self, work: &mut Work<'_>) -> Result<(), Reason> {
        let open = self.open(work, |end| matches!(end, End::Present(_)))?;
        if open.is_empty() {
            return Ok(());
        }
        let chosen = self.choose(work, &open)?;
        if chosen.is_empty() {
            return Ok(());
        }
        let wanted: Vec<(usize, String)> = chosen.into_iter().collect();
        let (cleared, allowed) = self.clear(work, Verb::Install, &wanted)?;
        self.transact(work, "changing packages", Verb::Install, allowed, &cleared)
    }

    /// Which version of each package, as apt is told: `name:arch=version`. What has none is given up.
    fn choose(&mut self, work: &mut Work<'_>, open: &[usize]) -> Result<Chosen, Reason> {
        let mut refreshed = None;
        if self.index_suspect || offers::index_is_old(work.host, self.settings.index_age) {
            refreshed = Some(self.refresh(work)?);
        }
        let (mut chosen, mut missing) = self.match_offers(work, open)?;
        if !missing.is_empty() && refreshed.is_none() {
            refreshed = Some(self.refresh(work)?);
            (chosen, missing) = self.match_offers(work, open)?;
        }
        // A source that failed explains a missing version better than its absence does.
        let failed = refreshed.and_then(Result::err);
        for (at, reason) in missing {
            work.given_up.insert(at, failed.clone().unwrap_or(reason));
        }
        Ok(chosen)
    }

    fn match_offers(&mut self, work: &Work<'_>, open: &[usize]) -> Result<(Chosen, Missing), Reason> {
        let table = self.fresh(work.host)?;
        let native = native(table);
        let names: Vec<String> = open.iter().map(|at| work.goals[*at].name.qualified(native)).collect();
        let offers = Offers::ask(work.host, &names, native)?;
        let (mut chosen, mut missing) = (Chosen::new(), Missing::new());
        for (at, name) in open.iter().zip(&names) {
            let goal = &work.goals[*at];
            let End::Present(wish) = &goal.end else { continue };
            let there = goal.state(table, native).filter(|state| suits(wish, &state.version));
            match offers.choose(&goal.name.to_string(), name, wish) {
                // The ladder has tried this very version already.
                Ok(version) if there.as_ref().is_some_and(|state| state.version == version) => {
                    let status = there.map_or(super::status::Status::HalfConfigured, |state| state.status);
                    missing.push((*at, reason::not_repaired(goal.name.name(), status, &work.output)));
                }
                Ok(version) => {
                    chosen.insert(*at, format!("{name}={version}"));
                }
                Err(reason) => missing.push((*at, reason)),
            }
        }
        Ok((chosen, missing))
    }

    /// Fetches the package index; the inner error is a source that failed, which need not matter.
    fn refresh(&mut self, work: &mut Work<'_>) -> Result<Result<(), Reason>, Reason> {
        let ran = transaction::run(
            work.host,
            "fetching the package index",
            offers::refresh(),
            self.settings.time_limit,
        )?;
        self.index_suspect = false;
        Ok(offers::refreshed(&ran))
    }

    /// Takes away what should not be there.
    fn remove(&mut self, work: &mut Work<'_>) -> Result<(), Reason> {
        for (end, verb) in [(End::Removed, Verb::Remove), (End::Purged, Verb::Purge)] {
            let open = self.open(work, |other| *other == end)?;
            if open.is_empty() {
                continue;
            }
            let native = native(self.fresh(work.host)?).to_owned();
            let wanted: Vec<(usize, String)> =
                open.into_iter().map(|at| (at, work.goals[at].name.qualified(&native))).collect();
            let (cleared, allowed) = self.clear(work, verb, &wanted)?;
            self.transact(work, "removing packages", verb, allowed, &cleared)?;
        }
        Ok(())
    }

    /// The largest part of what is wanted that apt can do without touching what is not declared. The rest is
    /// given up, each with its reason; one bad package does not hold up the others.
    fn clear(
        &mut self,
        work: &mut Work<'_>,
        verb: Verb,
        wanted: &[(usize, String)],
    ) -> Result<(Vec<String>, Allowed), Reason> {
        let mut good: Vec<(usize, String)> = Vec::new();
        let mut allowed = Allowed::default();
        let mut waiting = vec![wanted.to_vec()];
        while let Some(part) = waiting.pop() {
            let tried: Vec<(usize, String)> = good.iter().chain(&part).cloned().collect();
            match self.simulate(work, verb, &tried)? {
                Ok(needed) => (good, allowed) = (tried, needed),
                Err(reason) => match part.as_slice() {
                    [] => {}
                    [(at, _)] => {
                        work.given_up.insert(*at, reason);
                    }
                    part => {
                        let (first, second) = part.split_at(part.len() / 2);
                        waiting.push(second.to_vec());
                        waiting.push(first.to_vec());
                    }
                },
            }
        }
        Ok((good.into_iter().map(|(_, word)| word).collect(), allowed))
    }

    fn simulate(
        &mut self,
        work: &mut Work<'_>,
        verb: Verb,
        wanted: &[(usize, String)],
    ) -> Result<Result<Allowed, Reason>, Reason> {
        let words: Vec<String> = wanted.iter().map(|(_, word)| word.clone()).collect();
        // With every safeguard open, to see all that apt would do; they are opened one by one for the run.
        let all = Allowed { downgrades: Permission::Yes, held: Permission::Yes, removals: Permission::Yes };
        let mut done = transaction::simulate(work.host, verb, all, &words)?;
        if !done.succeeded() && transaction::text(&done).contains("fix-broken") {
            self.fix_broken(work)?;
            done = transaction::simulate(work.host, verb, all, &words)?;
        }
        let text = transaction::text(&done);
        if !done.succeeded() {
            return Ok(Err(refusal(work, wanted, &text)));
        }
        let goals: Vec<&Goal> = wanted.iter().map(|(at, _)| &work.goals[*at]).collect();
        let declaration = std::mem::take(&mut self.declaration);
        let table = self.fresh(work.host)?;
        let cleared = declaration.clears(&apt::simulated(&text), &goals, table, native(table));
        self.declaration = declaration;
        Ok(cleared)
    }

    /// Runs apt for real, with the declared units held back.
    pub(super) fn transact(
        &mut self,
        work: &mut Work<'_>,
        what: &str,
        verb: Verb,
        allowed: Allowed,
        words: &[String],
    ) -> Result<(), Reason> {
        if words.is_empty() && verb != Verb::FixBroken {
            return Ok(());
        }
        self.run_held(work, what, transaction::apt_get(verb, allowed, words))
    }

    /// Runs a program that changes packages, with the declared units held back.
    pub(super) fn run_held(
        &mut self,
        work: &mut Work<'_>,
        what: &str,
        argv: Vec<String>,
    ) -> Result<(), Reason> {
        let held = holdback::hold(work.host, work.hold_units)
            .map_err(|error| Reason::NotRun { complaint: chain(&error) })?;
        let ran = transaction::run(work.host, what, argv, self.settings.time_limit);
        held.release(work.host);
        let ran = ran?;
        work.output.push_str(&ran.output);
        if ran.timed_out {
            return Err(Reason::TimedOut { complaint: reason::last_words(&ran.output) });
        }
        Ok(())
    }

    /// What came of each change, by the database alone.
    fn judge(
        &mut self,
        work: &Work<'_>,
        before: &[Option<String>],
        general: Option<&Reason>,
    ) -> Vec<OutcomeResult> {
        let told = reason::of_output(&work.output);
        self.index_suspect |= matches!(told, Some(Reason::IndexStale { .. }));
        let table = match self.fresh(work.host) {
            Ok(table) => table,
            Err(error) => {
                let message = Reason::from(error).message();
                return work
                    .goals
                    .iter()
                    .map(|_| OutcomeResult::Failed { message: message.clone() })
                    .collect();
            }
        };
        let native = native(table);
        let one = |(at, goal): (usize, &Goal)| {
            if goal.reached(table, native) {
                return done(goal, before.get(at).cloned().flatten(), goal.version(table, native));
            }
            let why = work.given_up.get(&at).or(general).cloned();
            let why =
                why.or_else(|| reason::of_package(goal.name.name(), &work.output)).or_else(|| told.clone());
            let why = why.unwrap_or_else(|| Reason::Unexplained {
                name: goal.name.to_string(),
                complaint: reason::last_words(&work.output),
            });
            let message = why.message();
            if why.waits() { OutcomeResult::Waiting { message } } else { OutcomeResult::Failed { message } }
        };
        work.goals.iter().enumerate().map(one).collect()
    }
}

/// Why a simulation failed.
fn refusal(work: &Work<'_>, wanted: &[(usize, String)], text: &str) -> Reason {
    let essential = ["Essential packages were removed", "essential packages will be removed"];
    if essential.iter().any(|words| text.contains(words)) {
        let name = wanted.last().map(|(at, _)| work.goals[*at].name.to_string()).unwrap_or_default();
        return Reason::Essential { name };
    }
    reason::of_output(text).unwrap_or_else(|| Reason::Unsatisfiable { complaint: reason::last_words(text) })
}

/// Done, with the versions before and after where the version is what changed.
fn done(goal: &Goal, before: Option<String>, after: Option<String>) -> OutcomeResult {
    if before == after {
        return OutcomeResult::Done;
    }
    let shown = |version: Option<String>| version.unwrap_or_else(|| "absent".to_owned());
    OutcomeResult::DoneNoting { note: format!("{} {} → {}", goal.name, shown(before), shown(after)) }
}

/// The wish of a goal for a package that should be there.
pub(super) fn wish_of(goal: &Goal) -> Option<&Wish> {
    match &goal.end {
        End::Present(wish) => Some(wish),
        End::Removed | End::Purged | End::Held | End::Free => None,
    }
}
