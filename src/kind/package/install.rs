//! Brings packages in the versions that are declared, from what the host's apt sources have.

use std::collections::BTreeMap;

use super::apply::Work;
use super::apt::Verb;
use super::diff::suits;
use super::goal::End;
use super::offers::{self, Offers};
use super::reason::{self, Reason};
use super::status::Status;
use super::{Packages, native, transaction};

/// The architectures that dpkg takes beside its own, and its own; not there before somebody added one.
const ARCHITECTURES: &str = "/var/lib/dpkg/arch";

/// What apt is told of each goal, by its place: `name:arch=version`.
type Chosen = BTreeMap<usize, String>;

/// The goals for which there is nothing to tell, and why.
type Missing = Vec<(usize, Reason)>;

impl Packages {
    /// Brings what should be there. An archive that is gone although the index has it means that the index is
    /// out of date: it is fetched, and the work is done once more with what is offered now.
    pub(super) fn install(&mut self, work: &mut Work<'_>) -> Result<(), Reason> {
        let begin = work.output.len();
        self.install_once(work)?;
        let told = work.output.get(begin..).and_then(reason::of_output);
        match told {
            Some(Reason::IndexStale { .. }) => {
                self.index_suspect = true;
                self.install_once(work)
            }
            // Nothing was fetched now, and fetching an index would fare no better.
            Some(_) | None => Ok(()),
        }
    }

    fn install_once(&mut self, work: &mut Work<'_>) -> Result<(), Reason> {
        let open = self.open(work, |end| matches!(end, End::Present(_)))?;
        let open = self.of_this_host(work, open)?;
        if open.is_empty() {
            return Ok(());
        }
        let chosen = self.choose(work, &open)?;
        let wanted: Vec<(usize, String)> = chosen.into_iter().collect();
        let (cleared, allowed) = self.clear(work, Verb::Install, &wanted)?;
        self.transact(work, "changing packages", Verb::Install, allowed, &cleared)
    }

    /// Gives up what is of an architecture that nobody told dpkg of: apt may find it all the same, and dpkg refuses it
    /// in the middle of the transaction.
    fn of_this_host(&mut self, work: &mut Work<'_>, mut open: Vec<usize>) -> Result<Vec<usize>, Reason> {
        let native = native(self.fresh(work.host)?).to_owned();
        let listed = work.host.root.read(ARCHITECTURES, 1 << 16);
        let listed = listed.map_err(|error| Reason::NotRun { complaint: error.chain() })?.unwrap_or_default();
        let listed = String::from_utf8_lossy(&listed);
        open.retain(|at| {
            let name = &work.goals[*at].name;
            let Some(architecture) = name.architecture() else { return true };
            let known = [native.as_str(), "all", "any"].contains(&architecture)
                || listed.lines().any(|line| line.trim() == architecture);
            if !known {
                let (name, architecture) = (name.to_string(), architecture.to_owned());
                work.given_up.insert(*at, Reason::ForeignArchitecture { name, architecture });
            }
            known
        });
        Ok(open)
    }

    /// Which version of each package, as apt is told: `name:arch=version`. What has none is given up.
    fn choose(&mut self, work: &mut Work<'_>, open: &[usize]) -> Result<Chosen, Reason> {
        let mut refreshed = None;
        if self.index_suspect || offers::index_is_old(work.host, self.settings.index_age) {
            refreshed = Some(self.refresh(work)?);
        }
        let (mut chosen, mut missing) = self.match_offers(work, open)?;
        let stale = missing.iter().any(|(_, reason)| reason.may_be_stale());
        if stale && refreshed.is_none() {
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
            // What was removed but for its configuration is not there, whatever version dpkg remembers of it.
            let there = goal.state(table, native).filter(|state| state.status.on_host());
            let there = there.filter(|state| suits(wish, &state.version));
            match offers.choose(&goal.name.to_string(), name, wish) {
                // The ladder has tried this very version already.
                Ok(version) if there.as_ref().is_some_and(|state| state.version == version) => {
                    let status = there.map_or(Status::HalfConfigured, |state| state.status);
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
}
