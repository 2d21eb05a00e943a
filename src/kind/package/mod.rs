//! The kind `package`: Debian packages through dpkg and apt.
//!
//! Observation is one native read of dpkg's database, skipped while it stays the same; no process is started.
//! Changing is one apt transaction a step: simulated first, run as a unit of its own that outlives the agent,
//! and judged by dpkg's database before and after, never by an exit code (apt says 100 for everything).
//!
//! May not: remove or downgrade what is not declared so, delete or break a lock, end someone else's dpkg, or
//! pass on a name or version that is not of Debian's grammar.
//!
//! ```text
//! [packages] ─spec─▶ Spec ─┐
//!                          ├─diff─▶ Change ─▶ (policy, simulate) ─▶ transient unit ─▶ judge by state
//! dpkg status ─database─▶ State                repair ladder, if dpkg was interrupted
//! ```

pub mod apply;
pub mod apt;
mod clear;
mod conffiles;
pub mod database;
pub mod diff;
pub mod goal;
mod install;
pub mod lock;
pub mod name;
pub mod offers;
pub mod reader;
pub mod reason;
mod repair;
pub mod spec;
pub mod status;
pub mod transaction;
pub mod version;

use std::sync::Arc;

use crate::host::Host;
use crate::kind::desired::Part;
use crate::kind::{
    ApplyCx, Desired, DiffCx, Difference, Kind, LookAt, ObserveError, Observed, ParseCx, Planned, Reading,
    Specs, Want, Watch,
};
use crate::model::{Diagnostic, Key, KindName, Located, OutcomeResult};

pub use apply::{Settings, Tuning};
use database::DatabaseError;
use database::{Database, FOLDER};
pub use diff::{Change, State};
use goal::Declaration;
pub use lock::{Holder, transaction_running};
use name::PackageName;
pub use spec::{Spec, Wish};
use status::{Package, Table};

/// Debian packages, as dpkg and apt do them.
#[derive(Debug, Default)]
pub struct Packages {
    settings: Settings,
    /// Says which settings hold, if they may change.
    tuning: Option<Arc<Tuning>>,
    /// The last reading, for as long as the database stays the same.
    database: Option<Database>,
    /// Who was changing packages when we last looked.
    running: Option<Holder>,
    /// What is declared of all packages, as of the last look: apt's solutions must not contradict it.
    declaration: Declaration,
    /// Whether the last transaction showed that the package index is out of date.
    index_suspect: bool,
}

impl Packages {
    /// With settings of its own.
    pub fn new(settings: Settings) -> Self {
        Packages { settings, ..Packages::default() }
    }

    /// With settings that may change.
    pub fn tuned_by(tuning: Arc<Tuning>) -> Self {
        Packages { tuning: Some(tuning), ..Packages::default() }
    }

    /// Every package on the host, by name and architecture: what two hosts are compared by. One read of the
    /// database at most.
    pub fn all(&mut self, host: &Host) -> Result<impl Iterator<Item = Package<'_>>, ObserveError> {
        Ok(self.table(host)?.iter().filter(|package| package.status.on_host()))
    }

    fn table(&mut self, host: &Host) -> Result<&Table, ObserveError> {
        self.fresh(host).map_err(|error| ObserveError { kind: KindName::Package, message: chain(&error) })
    }

    fn fresh(&mut self, host: &Host) -> Result<&Table, DatabaseError> {
        let read = Database::read(&host.root, self.database.take())?;
        Ok(self.database.insert(read).table())
    }
}

impl Kind for Packages {
    const NAME: KindName = KindName::Package;
    const TABLE: &'static str = "packages";
    const READ_AT_ONCE: bool = true;
    type Spec = Spec;
    type State = State;
    type Change = Change;

    fn parse(table: &Located, cx: &mut ParseCx<'_>) -> Specs<Spec> {
        spec::parse(table, cx)
    }

    fn validate(specs: &Specs<Spec>) -> Vec<Diagnostic> {
        spec::validate(specs)
    }

    fn observe(&mut self, host: &Host, want: &Want<'_, Spec>) -> Result<Observed<State>, ObserveError> {
        // The lock first: a transaction that begins after we read is seen by the next pass, one that ended
        // before has written its last word.
        self.running = transaction_running(host);
        let table = self.table(host)?;
        let native = native(table);
        let keys = want.declared().map(|(key, _)| key).chain(want.pruned());
        let readings = keys.map(|key| (key.clone(), reading(table, key, native))).collect();
        let declaration = Declaration::of(want.specs.iter(), want.prune.iter(), native);
        self.declaration = declaration;
        let note = match &self.running {
            Some(holder) => Some(holder.to_string()),
            None => self.database.as_ref().and_then(interrupted_note),
        };
        Ok(Observed { readings, notes: note.into_iter().collect() })
    }

    fn diff(
        &self,
        want: &Want<'_, Spec>,
        observed: &Observed<State>,
        _cx: &DiffCx<'_>,
    ) -> Vec<Difference<Change>> {
        let state = |key: &Key| match observed.readings.get(key)? {
            Reading::Present(state) => Some(Some(state)),
            Reading::Absent => Some(None),
            Reading::Unknown(_) => None,
        };
        let declared =
            want.declared().filter_map(|(key, declared)| diff::difference(key, &declared.spec, state(key)?));
        // That the agent is no longer declared is no wish that it should remove itself.
        let is_own = |key: &Key| key.as_str().parse().is_ok_and(|name| spec::is_own(&name));
        let pruned = want.pruned().filter(|key| !is_own(key));
        let pruned = pruned.filter_map(|key| diff::pruned(key, state(key)?));
        let mut differences: Vec<_> = declared.chain(pruned).collect();
        // A transaction of our own (of an earlier life) is not waited for: applying adopts it.
        let others = self.running.as_ref().filter(|holder| holder.unit.as_deref() != Some(transaction::UNIT));
        if let Some(holder) = others {
            let waiting = format!("the end of a running transaction ({holder})");
            differences.iter_mut().for_each(|difference| difference.waiting = Some(waiting.clone()));
        }
        differences
    }

    fn apply(&mut self, cx: &mut ApplyCx<'_>, changes: &[Planned<Spec, Change>]) -> Vec<OutcomeResult> {
        self.make(cx, changes)
    }

    fn declare(key: &Key, state: &State) -> String {
        spec::declare(key, state)
    }

    /// Nobody is changing packages, nobody was when the database was read, and it is the same. Or whoever was
    /// changing them still is: there is nothing to be done before the end, which is told by the lock.
    fn is_untouched(&self, host: &Host, _key: Option<&Key>) -> bool {
        let running = transaction_running(host);
        let holds = |database: &Database| database.still_holds(&host.root);
        running == self.running && (running.is_some() || self.database.as_ref().is_some_and(holds))
    }

    /// dpkg renames a new `status` into place at the end of every run, and lets go of its locks when a
    /// transaction is over.
    fn watches(specs: &Specs<Spec>) -> Vec<Watch> {
        let watch = |name: &str| Watch {
            folder: format!("/{FOLDER}").into(),
            name: Some(name.to_owned()),
            look_at: LookAt::Kind(KindName::Package),
        };
        if specs.is_empty() { Vec::new() } else { ["status", "lock-frontend", "lock"].map(watch).into() }
    }
}

impl Part for Packages {
    fn part(desired: &Desired) -> &Specs<Spec> {
        &desired.package
    }
}

/// The host's own architecture: that of dpkg itself. Where dpkg does not list itself (a bare root), that of
/// this program.
fn native(table: &Table) -> &str {
    let own = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "i386",
        other => other,
    };
    table.named("dpkg").next().map_or(own, |dpkg| dpkg.architecture)
}

fn reading(table: &Table, key: &Key, native: &str) -> Reading<State> {
    match key.as_str().parse::<PackageName>() {
        Err(message) => Reading::Unknown(message),
        Ok(name) => match diff::find(table, &name, native) {
            Some(package) => Reading::Present(State::from(package)),
            None => Reading::Absent,
        },
    }
}

/// Packages that dpkg left half-way, whoever they belong to.
fn interrupted_note(database: &Database) -> Option<String> {
    let table = database.table();
    let broken = |package: &Package<'_>| package.status.interrupted() || package.reinstall_required;
    let names: Vec<_> = table.iter().filter(broken).map(|package| package.name).collect();
    match (names.as_slice(), database.journal) {
        ([], false) => None,
        ([], true) => Some("dpkg was interrupted and left its journal".to_owned()),
        (names, _) => {
            let shown = names.get(..5).unwrap_or(names).join(", ");
            Some(format!("dpkg left {} packages half-way: {shown}", names.len()))
        }
    }
}

/// An error with its sources, for places that take one sentence.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests;
