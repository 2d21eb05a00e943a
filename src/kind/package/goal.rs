//! What a change is to reach, and whether it is reached: read from dpkg's database alone. Pure.

use std::collections::BTreeMap;

use crate::kind::{Declared, Planned};
use crate::model::{DriftMode, Key};

use super::apt::{Allowed, Install, Permission, Simulated};
use super::diff::{self, Change, State};
use super::name::PackageName;
use super::reason::Reason;
use super::spec::{Spec, Wish};
use super::status::{Status, Table};

/// What one change is to reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goal {
    /// Of which package.
    pub name: PackageName,
    /// What.
    pub end: End,
}

/// The end of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Installed and configured, in a version that suits.
    Present(Wish),
    /// Not installed.
    Removed,
    /// Nothing of it left.
    Purged,
    /// On hold.
    Held,
    /// Not on hold.
    Free,
}

impl Goal {
    /// The goal of a planned change. A key that is no package name has none.
    pub fn of(planned: &Planned<Spec, Change>) -> Result<Goal, String> {
        let name = planned.key.as_str().parse()?;
        let end = match &planned.change {
            Change::Install { want }
            | Change::Upgrade { want, .. }
            | Change::Downgrade { want, .. }
            | Change::Repair { want, .. } => End::Present(want.clone()),
            Change::Remove { .. } => End::Removed,
            Change::Purge { .. } => End::Purged,
            Change::Hold => End::Held,
            Change::Unhold => End::Free,
        };
        Ok(Goal { name, end })
    }

    /// Whether the database says that it is reached.
    pub fn reached(&self, table: &Table, native: &str) -> bool {
        let state = self.state(table, native);
        match &self.end {
            End::Present(wish) => state.is_some_and(|s| s.whole() && diff::suits(wish, &s.version)),
            End::Removed => state.is_none_or(|state| !state.status.on_host()),
            End::Purged => state.is_none_or(|state| state.status == Status::NotInstalled),
            End::Held => state.is_some_and(|state| state.hold),
            End::Free => state.is_none_or(|state| !state.hold),
        }
    }

    /// Whether the host does not work without the package.
    pub fn is_essential(&self, table: &Table, native: &str) -> bool {
        diff::find(table, &self.name, native).is_some_and(|package| package.essential)
    }

    /// What the database says of the package.
    pub fn state(&self, table: &Table, native: &str) -> Option<State> {
        diff::find(table, &self.name, native).map(State::from)
    }

    /// The version that is there; none if the package is not installed.
    pub fn version(&self, table: &Table, native: &str) -> Option<String> {
        self.state(table, native).filter(|state| state.status.on_host()).map(|state| state.version)
    }
}

/// What the declaration says of every package, against which apt's solutions are held.
#[derive(Clone, Debug, Default)]
pub struct Declaration(BTreeMap<(String, String), Word>);

#[derive(Clone, Debug)]
struct Word {
    wish: Wish,
    hold: Option<bool>,
    /// Whether the agent may act on it: not where it is to report only.
    acts: bool,
}

impl Declaration {
    /// From the specs, and the names that are to be pruned.
    pub fn of<'a>(
        specs: impl Iterator<Item = (&'a Key, &'a Declared<Spec>)>,
        pruned: impl Iterator<Item = &'a Key>,
        native: &str,
    ) -> Self {
        let at = |key: &Key| {
            let name: PackageName = key.as_str().parse().ok()?;
            Some((name.name().to_owned(), name.architecture().unwrap_or(native).to_owned()))
        };
        let mut words = BTreeMap::new();
        for key in pruned {
            let word = Word { wish: Wish::Absent, hold: None, acts: true };
            words.extend(at(key).map(|at| (at, word)));
        }
        for (key, declared) in specs {
            let acts = matches!(declared.drift, None | Some(DriftMode::Enabled));
            let word = Word { wish: declared.spec.want.clone(), hold: declared.spec.hold, acts };
            words.extend(at(key).map(|at| (at, word)));
        }
        Declaration(words)
    }

    fn word(&self, package: &str, native: &str) -> Option<&Word> {
        let (name, architecture) = package.split_once(':').unwrap_or((package, native));
        self.0.get(&(name.to_owned(), architecture.to_owned()))
    }

    /// Whether a solution of apt's does nothing that nobody declared; and which of apt's safeguards it needs
    /// opened. `asked` are the packages that the solution was asked for.
    pub fn clears(
        &self,
        solution: &Simulated,
        asked: &[&Goal],
        table: &Table,
        native: &str,
    ) -> Result<Allowed, Reason> {
        let removed: Vec<&str> =
            solution.removals.iter().map(String::as_str).filter(|name| !self.may_go(name, native)).collect();
        if !removed.is_empty() {
            return Err(Reason::WouldRemove { removed: removed.join(", ") });
        }
        let downgraded: Vec<String> = solution
            .installs
            .iter()
            .filter(|install| install.downgrades() && !self.may_go_back(install, native))
            .map(|install| {
                format!("{} {} → {}", install.name, install.from.as_deref().unwrap_or_default(), install.to)
            })
            .collect();
        if !downgraded.is_empty() {
            return Err(Reason::WouldDowngrade { downgraded: downgraded.join(", ") });
        }
        for install in &solution.installs {
            self.contradicts(install, native)?;
        }
        let touched = solution.installs.iter().map(|install| &install.name).chain(&solution.removals);
        let mut held = Permission::No;
        for name in touched.filter(|name| is_held(table, name, native)) {
            if self.word(name, native).is_none_or(|word| word.hold.is_none()) {
                let own = asked.iter().any(|goal| goal.name.name() == name.split(':').next().unwrap_or(name));
                let name = name.clone();
                return Err(if own { Reason::Held { name } } else { Reason::WouldChangeHeld { name } });
            }
            held = Permission::Yes;
        }
        let when = |yes: bool| if yes { Permission::Yes } else { Permission::No };
        Ok(Allowed {
            downgrades: when(solution.installs.iter().any(Install::downgrades)),
            held,
            removals: when(!solution.removals.is_empty()),
        })
    }

    fn may_go(&self, name: &str, native: &str) -> bool {
        self.word(name, native).is_some_and(|word| !word.wish.present() && word.acts)
    }

    fn may_go_back(&self, install: &Install, native: &str) -> bool {
        match self.word(&install.name, native).map(|word| (&word.wish, word.acts)) {
            Some((wish @ Wish::Exactly(_), true)) => diff::suits(wish, &install.to),
            Some(_) | None => false,
        }
    }

    fn contradicts(&self, install: &Install, native: &str) -> Result<(), Reason> {
        match self.word(&install.name, native) {
            Some(word) if !diff::suits(&word.wish, &install.to) => Err(Reason::WouldContradict {
                name: install.name.clone(),
                version: install.to.clone(),
                wish: word.wish.clone(),
            }),
            Some(_) | None => Ok(()),
        }
    }
}

fn is_held(table: &Table, package: &str, native: &str) -> bool {
    let name: Result<PackageName, String> = package.parse();
    name.is_ok_and(|name| diff::find(table, &name, native).is_some_and(|package| package.held))
}

#[cfg(test)]
mod tests {
    use super::super::apt::simulated;
    use super::super::reader::table;
    use super::*;
    use crate::model::{Place, Provenance};

    fn declaration(words: &[(&str, &str, Option<bool>)]) -> Declaration {
        let specs: Vec<(Key, Declared<Spec>)> = words
            .iter()
            .map(|(name, wish, hold)| {
                let want = match *wish {
                    "*" => Wish::Any,
                    "absent" => Wish::Absent,
                    version => Wish::Exactly(version.parse().unwrap()),
                };
                let spec = Spec { want, hold: *hold };
                let provenance = Provenance { winner: Place::file("web.toml"), below: Vec::new() };
                (Key::from(*name), Declared { spec, provenance, drift: None, prune: false })
            })
            .collect();
        Declaration::of(specs.iter().map(|(key, declared)| (key, declared)), [].iter(), "amd64")
    }

    fn code(words: &[(&str, &str, Option<bool>)], asked: &str, held: &str, output: &str) -> &'static str {
        let text = format!(
            "Package: {held}\nStatus: hold ok installed\nArchitecture: amd64\nVersion: 1\n\nPackage: other\n\
             Status: install ok installed\nArchitecture: amd64\nVersion: 1\n"
        );
        let goal = Goal { name: asked.parse().unwrap(), end: End::Present(Wish::Any) };
        let cleared = declaration(words).clears(&simulated(output), &[&goal], &table(&text), "amd64");
        cleared.map_or_else(|reason| reason.code(), |_| "cleared")
    }

    #[test]
    fn a_solution_may_do_only_what_is_declared() {
        let nginx = ("nginx", "1", None);
        let install = "Inst nginx (1 X [amd64])\n";
        let and = |line: &str| format!("{install}{line}\n");
        assert_eq!(code(&[nginx], "nginx", "none", install), "cleared");
        assert_eq!(code(&[nginx], "nginx", "none", &and("Inst libx (9 X [amd64])")), "cleared");
        assert_eq!(code(&[nginx], "nginx", "none", &and("Remv apache2 [2]")), "would-remove");
        let gone = ("apache2", "absent", None);
        assert_eq!(code(&[nginx, gone], "nginx", "none", &and("Remv apache2 [2]")), "cleared");
        assert_eq!(code(&[nginx, gone], "nginx", "none", &and("Remv apache2:i386 [2]")), "would-remove");
        assert_eq!(code(&[nginx], "nginx", "none", &and("Inst libx [9] (8 X [amd64])")), "would-downgrade");
        assert_eq!(code(&[nginx], "nginx", "none", "Inst nginx [2] (1 X [amd64])\n"), "cleared");
        let pinned = ("libx", "7", None);
        assert_eq!(
            code(&[nginx, pinned], "nginx", "none", &and("Inst libx (8 X [amd64])")),
            "would-contradict"
        );
        assert_eq!(
            code(&[nginx, gone], "nginx", "none", &and("Inst apache2 (8 X [amd64])")),
            "would-contradict"
        );
    }

    #[test]
    fn a_hold_that_nobody_declared_is_respected() {
        let lines = "Inst nginx [0] (1 X [amd64])\n";
        assert_eq!(code(&[("nginx", "1", None)], "nginx", "nginx", lines), "held");
        assert_eq!(code(&[("nginx", "1", Some(true))], "nginx", "nginx", lines), "cleared");
        let more = format!("{lines}Inst libx [0] (1 X [amd64])\n");
        assert_eq!(code(&[("nginx", "1", None)], "nginx", "libx", &more), "would-change-held");
    }
}
