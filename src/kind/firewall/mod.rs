//! The kind `firewall`: the agent's own table `inet agentd`, and nothing else of the packet filter.
//!
//! ```text
//! specs ─render─▶ text ─nft, in an empty network─▶ listing (normal form) ─┐
//!                                                                          ├─ states, differences ─▶ one transaction
//! kernel, if its generation moved ─────────nft────▶ listing ──────────────┘
//! ```
//!
//! What is compared, loaded and kept for the next boot is always a listing made by nft, never the text that was
//! declared: equality is between two listings of the same program, and raw text can do nothing its listing does
//! not show. A rule is known again by the comment the agent gives it. Whatever differs is put right by loading
//! the whole table in one transaction; a difference that is to stay (suspended, reported only) is loaded as it was
//! observed. Other tables are looked at by name and never touched, unless the declaration says `exclusive`.

mod address;
mod apply;
mod boot;
mod change;
mod compile;
mod compose;
mod declare;
mod listing;
mod look;
mod meaning;
mod names;
mod nft;
mod normal;
mod parse;
mod parse_rule;
mod raw;
mod remembered;
mod render;
mod spec;
mod standing;
mod state;
#[cfg(test)]
mod tests;
mod text;
mod traffic;
pub mod undo;
mod validate;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use change::{Action, Change, LoadPlan};
pub use spec::Spec;
pub use state::State;

use apply::UNDONE;
use boot::{AtBoot, Wrong};
use compile::{CompileFault, Compiled, compile};
use listing::Listing;
use look::{Seen, left_alone, look, notes, readings};
use render::Source;
use spec::keys;
use state::differences;
use undo::Window;

use super::desired::{Desired, Part};
use super::{
    ApplyCx, DiffCx, Difference, Kind, ObserveError, Observed, ParseCx, Planned, Reading, Specs, Want, Watch,
};
use crate::host::Host;
use crate::model::{Diagnostic, Digest, FieldDiff, Key, KindName, Located, OutcomeResult};

/// The agent's table, as nft names it.
const TABLE: &str = "inet agentd";
/// What the agent's comments begin with: a rule's name follows, or a blank and what a standing rule is for.
const COMMENT: &str = "agentd:";

/// The key of what stands for the table as it is loaded at boot.
pub const AT_BOOT: &str = keys::BOOT;

/// The kind. Holds the last listing of the kernel, with the generation that proves that it still holds, and the
/// declared table in nft's own form.
#[derive(Default)]
pub struct Firewall {
    window: Arc<Window>,
    /// Nothing was declared at the last look.
    idle: bool,
    seen: Option<Arc<Seen>>,
    compiled: Option<Arc<Compiled>>,
    /// The declared table was undone for want of confirmation: what is held to instead.
    undone: Option<Undone>,
    /// How the file stands that is loaded at boot.
    boot: AtBoot,
}

/// How the table stands that was confirmed before the declared one was undone.
enum Undone {
    /// It is in force.
    InForce,
    /// The declared one is, for its undo did not work.
    NotYet {
        /// The text of the one to put back; of none, if there was none.
        confirmed: Arc<str>,
        /// The text of the declared one.
        instead: Arc<str>,
    },
    /// It is not.
    Missing {
        /// Its text.
        confirmed: Arc<str>,
        /// The text of what is there instead, if anything is.
        instead: Option<Arc<str>>,
    },
}

impl Part for Firewall {
    fn part(desired: &Desired) -> &Specs<Spec> {
        &desired.firewall
    }
}

impl Kind for Firewall {
    const NAME: KindName = KindName::Firewall;
    const TABLE: &'static str = "firewall";
    const READ_AT_ONCE: bool = true;

    type Spec = Spec;
    type State = State;
    type Change = Change;

    fn parse(table: &Located, cx: &mut ParseCx<'_>) -> Specs<Spec> {
        parse::parse(table, cx)
    }

    fn validate(specs: &Specs<Spec>) -> Vec<Diagnostic> {
        validate::validate(specs)
    }

    fn rehearse(&mut self, host: &Host, specs: &Specs<Spec>) -> Vec<Diagnostic> {
        let Some((_, first)) = specs.iter().next() else { return Vec::new() };
        let source = render::render(specs);
        if self.is_compiled(&source, None) {
            return Vec::new();
        }
        match compile(&*host.programs, &source, specs) {
            Ok(compiled) => {
                self.compiled = Some(compiled);
                Vec::new()
            }
            Err(CompileFault::Untried(_)) => Vec::new(),
            Err(CompileFault::Refused { owner, message }) => {
                let declared = owner.and_then(|owner| specs.get(&owner)).unwrap_or(first);
                vec![Diagnostic::error("refused-by-nft", &declared.provenance.winner, message)]
            }
        }
    }

    fn observe(&mut self, host: &Host, want: &Want<'_, Spec>) -> Result<Observed<State>, ObserveError> {
        // No firewall declared and none to take away: nft need not even be installed.
        self.idle = want.specs.is_empty() && want.prune.is_empty();
        if self.idle {
            return Ok(Observed::default());
        }
        let failed = |message| ObserveError { kind: KindName::Firewall, message };
        let seen = self.look(host, want.specs).map_err(failed)?;
        if !want.specs.is_empty() {
            self.undone = self.undone(host, want.specs, &seen).map_err(failed)?;
        }
        let mut readings = readings(want, &seen);
        readings.extend(self.look_at_boot(host, want, &seen).map_err(failed)?);
        Ok(Observed { readings, notes: notes(want.specs, &left_alone(want.specs, &seen)) })
    }

    fn diff(
        &self,
        want: &Want<'_, Spec>,
        observed: &Observed<State>,
        _cx: &DiffCx<'_>,
    ) -> Vec<Difference<Change>> {
        let nothing = BTreeMap::new();
        let desired = self.compiled.as_ref().map_or(&nothing, |compiled| &compiled.states);
        let mut found: Vec<(Key, Vec<FieldDiff>, Option<Action>)> = Vec::new();
        for (key, reading) in &observed.readings {
            let have = match reading {
                Reading::Present(state) => Some(state),
                Reading::Absent => None,
                Reading::Unknown(_) => continue,
            };
            let declared = want.specs.contains_key(key);
            let fields = differences(have, desired.get(key).filter(|_| declared));
            if fields.is_empty() {
                continue;
            }
            let action = match (declared, have) {
                (true, None) => Action::Load,
                (true, Some(_)) => Action::Correct,
                (false, _) => Action::Remove,
            };
            found.push((key.clone(), fields, (!key.as_str().starts_with("table/")).then_some(action)));
        }
        let mut differences = self.planned(want, found);
        differences.extend(self.at_boot(want));
        differences.extend(self.not_undone(want));
        differences
    }

    fn apply(&mut self, cx: &mut ApplyCx<'_>, changes: &[Planned<Spec, Change>]) -> Vec<OutcomeResult> {
        let done = apply::apply(cx, &self.window, changes);
        // Whatever came of it, the next look is taken in full.
        self.seen = None;
        let result = match done {
            Ok(()) => OutcomeResult::Done,
            Err(message) => OutcomeResult::Failed { message },
        };
        vec![result; changes.len()]
    }

    fn declare(key: &Key, state: &State) -> String {
        declare::declare(key, state)
    }

    fn watches(_specs: &Specs<Spec>) -> Vec<Watch> {
        // No folder tells of it: the kernel's generation does (`host::netfilter`).
        Vec::new()
    }

    // Whether somebody else changed a rule since our own transaction can't be told (`was_changed_by_others` stays at its
    // no): the generation counts the transactions of all tables, so that a later one than ours may be that of a container
    // runtime's own table, and a rule that nft does not list as it was given would be taken for a stranger's each time.
    // Who made which generation is heard by the watcher, and may be heard after the second look.

    fn is_untouched(&self, host: &Host, _key: Option<&Key>) -> bool {
        let last = self.seen.as_ref().and_then(|seen| seen.generation);
        // What others do to their tables is nothing to a firewall that is not declared.
        self.idle || last.is_some() && host.netfilter.generation().ok() == last
    }
}

impl Firewall {
    /// A firewall whose new tables must be confirmed within `window` ([`undo::confirm`]) or are undone. The default
    /// one takes every table as confirmed: for a plan, for an image, for a host without systemd.
    pub fn guarded(window: Arc<Window>) -> Self {
        Firewall { window, ..Firewall::default() }
    }

    /// Lists what the kernel has, and brings the declared table into nft's own form unless that was done before by the
    /// same nft: both at once where it was not, for each takes several runs of nft and neither needs the other.
    fn look(&mut self, host: &Host, specs: &Specs<Spec>) -> Result<Arc<Seen>, String> {
        let source = render::render(specs);
        let remembered = match specs.is_empty() || self.is_compiled(&source, None) {
            true => None,
            false => remembered::read(host, digest(&source)),
        };
        let to_compile = !specs.is_empty() && remembered.is_none() && !self.is_compiled(&source, None);
        let seen = self.seen.take();
        let (seen, compiled) = std::thread::scope(|scope| {
            let compiling = to_compile.then(|| scope.spawn(|| compile(&*host.programs, &source, specs)));
            let seen = look(host, seen.as_ref());
            let compiled = compiling
                .map(|compiling| compiling.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            (seen, compiled)
        });
        let seen = seen?;
        self.seen = Some(Arc::clone(&seen));
        // Believed only where it says that there is nothing to do: another version of the agent may have made it.
        let is_good = |remembered: &Compiled| {
            let same_nft = |own: &Listing| own.version == remembered.listing.version;
            seen.own.as_ref().is_some_and(same_nft) && differing(specs, &seen, remembered).is_empty()
        };
        if let Some(remembered) = remembered.filter(is_good) {
            self.compiled = Some(Arc::new(remembered));
        }
        let compiled = match compiled {
            None if !specs.is_empty() && !self.is_compiled(&source, seen.own.as_ref()) => {
                Some(compile(&*host.programs, &source, specs))
            }
            done => done,
        };
        if let Some(compiled) = compiled {
            self.compiled = None;
            self.compiled = Some(compiled.map_err(|fault| fault.to_string())?);
        }
        Ok(seen)
    }

    /// Whether we have this table in nft's own form, by the same nft as a listing of ours.
    fn is_compiled(&self, source: &Source, listed: Option<&Listing>) -> bool {
        let digest = digest(source);
        self.compiled.as_deref().is_some_and(|compiled| {
            compiled.source == digest && listed.is_none_or(|own| own.version == compiled.listing.version)
        })
    }

    /// Whether the declared table is one that was undone, and how the one before it stands.
    fn undone(&self, host: &Host, specs: &Specs<Spec>, seen: &Seen) -> Result<Option<Undone>, String> {
        let Some(desired) = self.compiled.as_ref().filter(|_| self.window.get().is_some()) else {
            return Ok(None);
        };
        if !apply::undone(host, || desired.listing.loadable())? {
            return Ok(None);
        }
        let confirmed = boot::read(host).map_err(|error| error.chain())?;
        if differing(specs, seen, desired).is_empty() {
            let confirmed = confirmed.unwrap_or_else(|| render::REPLACE.to_owned()).into();
            return Ok(Some(Undone::NotYet { confirmed, instead: desired.listing.loadable().into() }));
        }
        let there = seen.own.as_ref().map(Listing::loadable);
        Ok(Some(match confirmed {
            Some(text) if there.as_ref() != Some(&text) => {
                Undone::Missing { confirmed: text.into(), instead: there.map(Into::into) }
            }
            Some(_) | None => Undone::InForce,
        }))
    }

    /// Looks at what is loaded at boot, while what is in force is as declared.
    fn look_at_boot(
        &mut self,
        host: &Host,
        want: &Want<'_, Spec>,
        seen: &Seen,
    ) -> Result<Option<(Key, Reading<State>)>, String> {
        let key = Key::from(keys::BOOT);
        let desired = self.compiled.as_deref().filter(|desired| {
            !want.specs.is_empty() && want.in_scope(&key) && differing(want.specs, seen, desired).is_empty()
        });
        let wrong = self.boot.look(host, desired)?;
        Ok(wrong.map(|wrong| match wrong {
            Wrong::Missing => (key, Reading::Absent),
            Wrong::Other | Wrong::Exposed => (key, Reading::Present(State::default())),
        }))
    }

    /// What is to be done about it. It stands for the whole table, as whatever is declared first does.
    fn at_boot(&self, want: &Want<'_, Spec>) -> Option<Difference<Change>> {
        let (wrong, desired) = (self.boot.wrong()?, self.compiled.as_ref()?);
        Some(Difference {
            key: keys::BOOT.into(),
            fields: vec![wrong.field()],
            changes: vec![Change::Boot { desired: Arc::clone(desired) }],
            waiting: None,
            failing: None,
            owner: want.specs.keys().next().cloned(),
        })
    }

    /// That the undo of the declared table did not work. It stands for the whole table, too.
    fn not_undone(&self, want: &Want<'_, Spec>) -> Option<Difference<Change>> {
        let undone = self.undone.as_ref().filter(|undone| matches!(undone, Undone::NotYet { .. }))?;
        let key = want.declared().next()?.0.clone();
        Some(Difference {
            key,
            fields: vec![FieldDiff::new("confirmation", "not given in time, and the undo failed", "undone")],
            changes: undone.change().into_iter().collect(),
            waiting: None,
            failing: Some(UNDONE.to_owned()),
            owner: None,
        })
    }

    fn planned(
        &self,
        want: &Want<'_, Spec>,
        found: Vec<(Key, Vec<FieldDiff>, Option<Action>)>,
    ) -> Vec<Difference<Change>> {
        let plan = self.compiled.as_ref().filter(|_| !want.specs.is_empty()).map(|desired| {
            let observed = self.seen.clone().unwrap_or_default();
            let differing = differing(want.specs, &observed, desired);
            Arc::new(LoadPlan { desired: Arc::clone(desired), observed, differing })
        });
        let change = |key: &Key, action: Option<Action>| match (action, &plan) {
            (Some(_), Some(_)) if let Some(undone) = &self.undone => undone.change(),
            (Some(action), Some(plan)) => Some(Change::Load { action, plan: Arc::clone(plan) }),
            (Some(_), None) => Some(Change::RemoveOwn),
            (None, _) => {
                let (family, name) = key.as_str().strip_prefix("table/")?.split_once(' ')?;
                Some(Change::RemoveForeign { family: family.to_owned(), name: name.to_owned() })
            }
        };
        let difference = |(key, fields, action): (Key, Vec<FieldDiff>, Option<Action>)| {
            let changes = change(&key, action).into_iter().collect();
            let owner = owner(want, &key);
            let failing = self.undone.as_ref().filter(|_| action.is_some()).map(|_| UNDONE.to_owned());
            Difference { key, fields, changes, waiting: None, failing, owner }
        };
        found.into_iter().map(difference).collect()
    }
}

impl Undone {
    /// What there is to do: put the confirmed table back, if it is not there.
    fn change(&self) -> Option<Change> {
        match self {
            Undone::InForce => None,
            Undone::Missing { confirmed, instead } => {
                Some(Change::Restore { text: Arc::clone(confirmed), instead: instead.clone() })
            }
            Undone::NotYet { confirmed, instead } => {
                Some(Change::Restore { text: Arc::clone(confirmed), instead: Some(Arc::clone(instead)) })
            }
        }
    }
}

/// Who wants something gone that is not declared: what declares other tables unwanted, the chain it stands in, or
/// else whatever is declared first, for the table is one.
fn owner(want: &Want<'_, Spec>, key: &Key) -> Option<Key> {
    let specs = want.specs;
    if specs.contains_key(key) || want.prune.contains(key) {
        return None;
    }
    let chain = key.as_str().split_once('/').map_or("", |(chain, _)| chain);
    let by = if key.as_str().starts_with("table/") { keys::TABLES } else { chain };
    specs.get_key_value(by).or_else(|| specs.iter().next()).map(|(owner, _)| owner.clone())
}

fn digest(source: &Source) -> Digest {
    Digest::of(source.text().as_bytes())
}

/// Everything that differs, in scope or not: loading the table touches all of it.
fn differing(specs: &Specs<Spec>, observed: &Seen, desired: &Compiled) -> BTreeSet<Key> {
    let differs = |key: &Key| {
        let wanted = desired.states.get(key).filter(|_| specs.contains_key(key));
        !differences(observed.states.get(key), wanted).is_empty()
    };
    specs.keys().chain(observed.states.keys()).filter(|key| differs(key)).cloned().collect()
}
