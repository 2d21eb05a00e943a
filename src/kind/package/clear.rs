//! One transaction of apt: simulated with all its safeguards open, held against the declaration, and then run with
//! just those opened that the declaration asks for.

use crate::model::{KindName, ResourceId};

use super::apply::Work;
use super::apt::{self, Allowed, Permission, Verb};
use super::goal::{End, Goal};
use super::reason::{self, Reason};
use super::{Packages, chain, conffiles, native, transaction};
use crate::kind::holdback::{self, Transaction};

impl Packages {
    /// Takes away what should not be there.
    pub(super) fn remove(&mut self, work: &mut Work<'_>) -> Result<(), Reason> {
        for (end, verb) in [(End::Removed, Verb::Remove), (End::Purged, Verb::Purge)] {
            let open = self.open(work, |other| *other == end)?;
            let table = self.fresh(work.host)?;
            let native = native(table);
            let mut wanted = Vec::new();
            for at in open {
                let goal = &work.goals[at];
                if goal.is_essential(table, native) {
                    work.given_up.insert(at, Reason::Essential { name: goal.name.to_string() });
                } else {
                    wanted.push((at, goal.name.qualified(native)));
                }
            }
            let (mut cleared, allowed) = self.clear(work, verb, &wanted)?;
            if verb == Verb::Purge {
                wanted.retain(|(_, word)| cleared.contains(word));
                cleared = self.keep_first(work, wanted)?;
            }
            self.transact(work, "removing packages", verb, allowed, &cleared)?;
        }
        Ok(())
    }

    /// The largest part of what is wanted that apt can do without touching what is not declared. The rest is
    /// given up, each with its reason; one bad package does not hold up the others.
    pub(super) fn clear(
        &mut self,
        work: &mut Work<'_>,
        verb: Verb,
        wanted: &[(usize, String)],
    ) -> Result<(Vec<String>, Allowed), Reason> {
        let mut good: Vec<(usize, String)> = Vec::new();
        if wanted.is_empty() {
            return Ok((Vec::new(), Allowed::default()));
        }
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

    /// Keeps what purging these takes away. What could not be kept is not purged.
    fn keep_first(
        &mut self,
        work: &mut Work<'_>,
        wanted: Vec<(usize, String)>,
    ) -> Result<Vec<String>, Reason> {
        let table = self.fresh(work.host)?;
        let native = native(table);
        let mut kept = Vec::new();
        for (at, word) in wanted {
            let goal = &work.goals[at];
            let name = goal.name.to_string();
            let resource = ResourceId::new(KindName::Package, name.as_str());
            // apt takes a package for all architectures by the name of the host's own, dpkg does not.
            let for_all = goal.state(table, native).is_some_and(|state| state.architecture == "all");
            let known_as = if for_all { goal.name.name() } else { &word };
            match conffiles::keep(work.host, work.keep, &resource, known_as) {
                Ok(()) => kept.push(word),
                Err(complaint) => drop(work.given_up.insert(at, Reason::NotKept { name, complaint })),
            }
        }
        Ok(kept)
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
        self.run_held(work, what, transaction::apt_get(work.host, verb, allowed, words))
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
        held.release(
            work.host,
            match &ran {
                Ok(ran) if ran.succeeded => Transaction::Done,
                Ok(_) | Err(_) => Transaction::Unfinished,
            },
        );
        let ran = ran?;
        work.output.push_str(&ran.output);
        if ran.timed_out {
            return Err(Reason::TimedOut { complaint: reason::last_words(&ran.output) });
        }
        Ok(())
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
