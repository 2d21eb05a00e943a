//! The ladder of repairs after an interrupted dpkg: configure what is unpacked, install again what is
//! half-installed, mend dependencies. Each rung is judged by dpkg's database: `dpkg --configure -a` ends with 0
//! and leaves a half-installed package as it was.

use crate::host::Host;

use super::apply::{Work, wish_of};
use super::apt::{Allowed, CONFFILES, DPKG, Verb};
use super::diff::suits;
use super::offers::Offers;
use super::reason::Reason;
use super::spec::Wish;
use super::status::{Status, Table};
use super::{Packages, native, transaction};

/// A package that dpkg left half-way.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Broken {
    /// Its name and architecture, as apt takes it.
    name: String,
    /// The version it has or was to have; empty if dpkg does not know.
    version: String,
    /// Whether configuring can't help.
    reinstall: bool,
}

fn broken(table: &Table) -> Vec<Broken> {
    let packages = table.iter().filter(|package| package.status.interrupted() || package.reinstall_required);
    let native = native(table);
    packages
        .map(|package| {
            let architecture = if package.architecture == "all" { native } else { package.architecture };
            Broken {
                name: format!("{}:{architecture}", package.name),
                version: package.version.to_owned(),
                reinstall: package.reinstall_required || package.status == Status::HalfInstalled,
            }
        })
        .collect()
}

impl Packages {
    /// Climbs the ladder as far as needed. What is still broken then is told of the packages it concerns.
    pub(super) fn repair(&mut self, work: &mut Work<'_>) -> Result<(), Reason> {
        if !self.is_broken(work.host)? {
            return Ok(());
        }
        match self.run_held(work, "finishing an interrupted dpkg", configure()) {
            // A script that hangs: the version that is declared may do better. What dpkg had in hand when it was
            // ended lies in its journal, with which apt refuses to begin; any writing run of dpkg clears it.
            Err(reason @ Reason::TimedOut { .. }) => {
                work.ended = Some(reason);
                transaction::set_selections(work.host, "")?;
            }
            other => other?,
        }
        let again = self.half_installed(work)?;
        if !again.is_empty() {
            self.transact(
                work,
                "reinstalling half-installed packages",
                Verb::Reinstall,
                Allowed::default(),
                &again,
            )?;
        }
        Ok(())
    }

    /// The last rung, when apt itself asks for it.
    pub(super) fn fix_broken(&mut self, work: &mut Work<'_>) -> Result<(), Reason> {
        let simulated = transaction::simulate(work.host, Verb::FixBroken, Allowed::default(), &[])?;
        // With its safeguards closed apt refuses here what would remove or downgrade anything.
        if simulated.succeeded() {
            self.transact(work, "mending dependencies", Verb::FixBroken, Allowed::default(), &[])?;
        }
        Ok(())
    }

    fn is_broken(&mut self, host: &Host) -> Result<bool, Reason> {
        let any = !broken(self.fresh(host)?).is_empty();
        Ok(any || self.database.as_ref().is_some_and(|database| database.journal))
    }

    /// What must be installed again, in the version it has if that can still be had and suits, else in the one that
    /// is declared.
    fn half_installed(&mut self, work: &Work<'_>) -> Result<Vec<String>, Reason> {
        let table = self.fresh(work.host)?;
        let native = native(table).to_owned();
        let again: Vec<Broken> = broken(table).into_iter().filter(|broken| broken.reinstall).collect();
        if again.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<String> = again.iter().map(|broken| broken.name.clone()).collect();
        let offers = Offers::ask(work.host, &names, &native)?;
        let word = |broken: Broken| {
            let goal = work.goals.iter().find(|goal| goal.name.qualified(&native) == broken.name);
            let wish = goal.and_then(wish_of);
            let keeps = wish.is_none_or(|wish| suits(wish, &broken.version));
            if keeps && offers.has(&broken.name, &broken.version) {
                return Some(format!("{}={}", broken.name, broken.version));
            }
            let wish = wish.unwrap_or(&Wish::Any);
            let version = offers.choose(&broken.name, &broken.name, wish).ok()?;
            Some(format!("{}={version}", broken.name))
        };
        Ok(again.into_iter().filter_map(word).collect())
    }
}

fn configure() -> Vec<String> {
    let mut argv = vec![DPKG.to_owned()];
    argv.extend(CONFFILES.map(str::to_owned));
    argv.extend(["--configure", "--pending"].map(str::to_owned));
    argv
}
