//! Makes the changes of one step: one apt transaction for all of them, judged by dpkg's database.
//!
//! ```text
//! adopt a running one ─▶ wait for the locks ─▶ repair ─▶ what is offered (refresh) ─▶ simulate, clear ─▶ run ─▶ judge
//! ```

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::host::Host;
use crate::keep::Keep;
use crate::kind::holdback::HoldUnit;
use crate::kind::{ApplyCx, Planned};
use crate::model::OutcomeResult;

use super::database::DatabaseError;
use super::diff::Change;
use super::goal::{End, Goal};
use super::lock;
use super::reason::{self, Reason};
use super::spec::{Spec, Wish};
use super::transaction::{self, RunError};
use super::{Packages, chain, native};

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

impl Settings {
    /// With locks waited for so long.
    #[must_use]
    pub fn waiting_for_locks(self, span: Duration) -> Self {
        let tries = span.as_millis() / self.lock_pause.as_millis().max(1);
        Settings { lock_tries: u32::try_from(tries).unwrap_or(u32::MAX).max(1), ..self }
    }
}

/// The settings that hold now: said by whoever reads them, heeded by the kind from its next change on.
#[derive(Debug, Default)]
pub struct Tuning(Mutex<Settings>);

impl Tuning {
    /// From now on these hold.
    pub fn set(&self, settings: Settings) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    pub(super) fn get(&self) -> Settings {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known of the changes while they are made.
pub(super) struct Work<'a> {
    pub host: &'a Host,
    pub keep: &'a Keep,
    pub hold_units: &'a [HoldUnit],
    pub goals: Vec<Goal>,
    /// Why a goal is given up, by its place in `goals`.
    pub given_up: BTreeMap<usize, Reason>,
    /// What apt and dpkg printed.
    pub output: String,
    /// A run that was ended at its time limit, and after which we went on.
    pub ended: Option<Reason>,
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
        if let Some(tuning) = &self.tuning {
            self.settings = tuning.get();
        }
        let goals: Result<Vec<Goal>, String> = changes.iter().map(Goal::of).collect();
        let goals = match goals {
            Ok(goals) => goals,
            Err(message) => {
                return changes.iter().map(|_| OutcomeResult::Failed { message: message.clone() }).collect();
            }
        };
        // A new version ends a hold (dpkg's own doing): where the hold is declared it is set again.
        let holds = changes.iter().zip(&goals).filter_map(|(planned, goal)| {
            let hold = planned.spec.as_ref().is_some_and(|declared| declared.spec.hold == Some(true));
            (hold && goal.end != End::Held).then(|| Goal { name: goal.name.clone(), end: End::Held })
        });
        let goals: Vec<Goal> = goals.iter().cloned().chain(holds).collect();
        let (given_up, output) = (BTreeMap::new(), String::new());
        let mut work = Work {
            host: cx.host,
            keep: cx.keep,
            hold_units: cx.hold_units,
            goals,
            given_up,
            output,
            ended: None,
        };
        let outcome = self.attempt(&mut work);
        let (before, general) = match outcome {
            Ok(before) => (before, None),
            Err(reason) => (vec![None; changes.len()], Some(reason)),
        };
        let mut results = self.judge(&work, &before, general.as_ref());
        results.truncate(changes.len());
        results
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

    /// What came of each change, by the database alone.
    fn judge(
        &mut self,
        work: &Work<'_>,
        before: &[Option<String>],
        general: Option<&Reason>,
    ) -> Vec<OutcomeResult> {
        let told = reason::of_output(&work.output);
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
            let why = why.or_else(|| work.ended.clone()).unwrap_or_else(|| Reason::Unexplained {
                name: goal.name.to_string(),
                complaint: reason::last_words(&work.output),
            });
            match why.waits() {
                true => OutcomeResult::Waiting {
                    message: format!("another package manager to end: {}", why.message()),
                },
                false => OutcomeResult::Failed { message: why.message() },
            }
        };
        work.goals.iter().enumerate().map(one).collect()
    }
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
