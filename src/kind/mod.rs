//! What the author of a kind writes, the ordered list of kinds, and one folder a kind.
//!
//! Whatever differs by kind lives in the kind's folder; whatever is the same for all kinds lives in a stage's
//! room (`declaration`, `reconcile`). Kinds never import each other: a relation between resources is an id.
//!
//! ```text
//! TOML ─parse─▶ Specs ──────────────────────────────┐
//!                                                   ├─diff─▶ Difference{fields, changes} ─apply─▶ Outcome
//! Host ─observe─▶ Observed (or unknown, never guessed) ┘
//! ```
//!
//! Only `observe` reads the host, only `apply` writes it; every other function is pure. Batch is the base case:
//! one read of the dpkg database, one apt transaction, one nft transaction; never a process per resource.

pub mod desired;
pub mod fields;
pub mod file;
pub mod firewall;
pub mod holdback;
pub mod package;
pub mod parse;
pub mod service;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::host::Host;
use crate::keep::{Contents, Keep};
use crate::kind::holdback::HoldUnit;
use crate::model::content::Content;
use crate::model::{
    Diagnostic, DriftMode, FieldDiff, Key, KindName, Located, OutcomeResult, Provenance, ResourceId, Step,
};

pub use desired::{Desired, Policy};
pub use fields::Fields;
pub use parse::{Materials, ParseCx, PruneDefaults};

/// One class of resources and how it is done on this host. A value of the type may hold what makes the next
/// observation cheap (the last listing and the proof that it still holds); it holds no truth.
pub trait Kind: Send {
    /// The prefix of resource ids.
    const NAME: KindName;
    /// The TOML table it is declared in.
    const TABLE: &'static str;

    /// Whether whoever looks at one resource reads them all (one database, one listing). Such a kind is always compared
    /// as a whole: what was read and not compared would be taken for known when its event comes.
    const READ_AT_ONCE: bool = false;

    /// What may be declared of one resource. A field that is left out is not managed.
    type Spec: Clone + fmt::Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync;
    /// What was observed of one resource: complete, normalised, comparable, without volatile fields.
    type State: Clone + fmt::Debug + PartialEq + Serialize + Send + Sync;
    /// One decided step for one resource. Its `Display` is its line in the plan.
    type Change: Change;

    /// Reads the kind's merged table into specs; faults go to `cx`, all of them. Pure.
    fn parse(table: &Located, cx: &mut ParseCx<'_>) -> Specs<Self::Spec>;

    /// Faults across resources of the kind, and folly that each alone could not show. Also run by the root
    /// agent over a desired state it was handed: it must not rely on `parse` having been run. Pure.
    fn validate(specs: &Specs<Self::Spec>) -> Vec<Diagnostic>;

    /// Faults that only this host can find, such as words that its own tools refuse. Asked before a desired state is
    /// put in force; changes nothing. What can't be tried here and now is no fault.
    fn rehearse(&mut self, _host: &Host, _specs: &Specs<Self::Spec>) -> Vec<Diagnostic> {
        Vec::new()
    }

    /// Reads the host, in one batch. An error means that nothing of this kind is known, and nothing is
    /// planned for it; a single unreadable resource is [`Reading::Unknown`].
    fn observe(
        &mut self,
        host: &Host,
        want: &Want<'_, Self::Spec>,
    ) -> Result<Observed<Self::State>, ObserveError>;

    /// Compares; the only notion of equality there is (verification is the same function once more). Says
    /// nothing of what is unknown. Differences come in the order in which their changes should be made. Pure.
    fn diff(
        &self,
        want: &Want<'_, Self::Spec>,
        observed: &Observed<Self::State>,
        cx: &DiffCx<'_>,
    ) -> Vec<Difference<Self::Change>>;

    /// Makes changes of one step, in one batch, keeping first what would be lost. Returns one result a change,
    /// in their order.
    fn apply(
        &mut self,
        cx: &mut ApplyCx<'_>,
        changes: &[Planned<Self::Spec, Self::Change>],
    ) -> Vec<OutcomeResult>;

    /// The TOML that would declare what is there: for adopting and importing. Pure.
    fn declare(key: &Key, state: &Self::State) -> String;

    /// What is worth waking up for. Pure.
    fn watches(specs: &Specs<Self::Spec>) -> Vec<Watch>;

    /// Whether a resource (or, without a key, the whole kind) is provably what it was when it was last read or
    /// written by us: then an event about it is the echo of our own work. Cheap, and never guessed by time.
    fn is_untouched(&self, _host: &Host, _key: Option<&Key>) -> bool {
        false
    }

    /// Whether somebody else provably changed a resource since we last wrote it: what differs right after a change of
    /// ours is then another's doing, and nothing that will not stay. Cheap, and never guessed by time.
    ///
    /// Only files can tell: their inode, size and time of content are ours until somebody writes. A kind that can't says
    /// no, which costs an attempt that counts as in vain, and never a wrong name.
    fn was_changed_by_others(&self, _host: &Host, _key: &Key) -> bool {
        false
    }

    /// The contents a spec wants laid down. Pure.
    fn contents(_spec: &Self::Spec) -> Vec<Content> {
        Vec::new()
    }

    /// The resources whose changes this one reacts to, and how. Pure.
    fn inputs(_spec: &Self::Spec) -> Vec<(Reaction, ResourceId)> {
        Vec::new()
    }
}

/// One decided step for one resource.
pub trait Change: Clone + fmt::Debug + fmt::Display + Send + Sync {
    /// When in the fixed order it is done.
    fn step(&self) -> Step;

    /// Whether it takes something away: counts against the removal limit.
    fn removes(&self) -> bool {
        false
    }

    /// Whether it brings the resource about although it was there in some form (a service that was off), so that
    /// dropping the declaration may take it away again.
    fn brings(&self) -> bool {
        false
    }

    /// Which reactions to changed inputs this change settles, if it succeeds: a restart settles both, a
    /// reload settles reloads.
    fn settles(&self) -> &[Reaction] {
        &[]
    }
}

/// What was declared of one resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declared<S> {
    /// What is wanted.
    pub spec: S,
    /// Who said so.
    pub provenance: Provenance,
    /// The resource's own `drift = …`, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<DriftMode>,
    /// Whether removing it from the declaration removes it from the host (if the agent brought it).
    #[serde(default)]
    pub prune: bool,
}

/// All resources of one kind, by key.
pub type Specs<S> = BTreeMap<Key, Declared<S>>;

/// What a stage is asked to look at.
pub struct Want<'a, S> {
    /// What is declared.
    pub specs: &'a Specs<S>,
    /// Owned, no longer declared, and to be taken away.
    pub prune: &'a BTreeSet<Key>,
    /// Only these; none means all.
    pub only: Option<&'a BTreeSet<Key>>,
}

impl<'a, S> Want<'a, S> {
    /// The declared resources in scope, by key. A look at one of a hundred thousand costs one search.
    pub fn declared(&self) -> impl Iterator<Item = (&'a Key, &'a Declared<S>)> + use<'a, S> {
        let specs = self.specs;
        let all = self.only.is_none().then(|| specs.iter());
        let some = self.only.into_iter().flatten().filter_map(move |key| specs.get_key_value(key));
        all.into_iter().flatten().chain(some)
    }

    /// The resources in scope that are to be taken away because the declaration dropped them, by key.
    pub fn pruned(&self) -> impl Iterator<Item = &'a Key> + use<'a, S> {
        let prune = self.prune;
        let all = self.only.is_none().then(|| prune.iter());
        let some = self.only.into_iter().flatten().filter_map(move |key| prune.get(key));
        all.into_iter().flatten().chain(some)
    }

    /// Whether a key is in scope.
    pub fn in_scope(&self, key: &Key) -> bool {
        self.only.is_none_or(|only| only.contains(key))
    }
}

/// What was read of one resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Reading<S> {
    /// It is there.
    Present(S),
    /// It is certainly not there.
    Absent,
    /// It could not be read, and why. Neither drifted nor absent; nothing is done to it.
    Unknown(String),
}

/// What was read of the resources of one kind: every key in scope, and what lies inside something exclusive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed<S> {
    /// The readings.
    pub readings: BTreeMap<Key, Reading<S>>,
    /// What a person should know and no resource stands for: a foreign firewall table, a held dpkg lock.
    pub notes: Vec<String>,
}

impl<S> Default for Observed<S> {
    fn default() -> Self {
        Observed { readings: BTreeMap::new(), notes: Vec::new() }
    }
}

/// Nothing of a kind could be read.
#[derive(Debug, thiserror::Error)]
#[error("could not observe {kind} resources: {message}")]
pub struct ObserveError {
    /// The kind.
    pub kind: KindName,
    /// What failed, on what, and what to do next.
    pub message: String,
}

/// One resource that is not as declared, and what would put it right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference<C> {
    /// Which.
    pub key: Key,
    /// What differs.
    pub fields: Vec<FieldDiff>,
    /// What is to be done, in order. Empty only if `waiting` or `failing` says why.
    pub changes: Vec<C>,
    /// What must be there first (an owner whose package is missing).
    pub waiting: Option<String>,
    /// What is wrong with it beyond being different, while nothing is done about it: it crashed and is left to its
    /// own restart, or it can never be as declared. Shown as failed.
    pub failing: Option<String>,
    /// Of what is not declared itself: the declared resource that wants it gone, such as the exclusive directory it
    /// lies in. Mode and suspension of that one hold for this one.
    pub owner: Option<Key>,
}

/// What a comparison may know besides desired and observed.
pub struct DiffCx<'a> {
    /// The levels of inputs that services react to.
    pub levels: &'a dyn Levels,
}

/// Reactions are levels, not edges. Each resource has a generation that grows, durably and before the change,
/// with every change the agent makes to it; a service remembers the sum it had seen at its last start or
/// reload. If the sums differ, a reaction is owed, also after a crash in between.
pub trait Levels {
    /// The sum of generations over these resources as it will be when the changes decided so far are made;
    /// none if one of them is about to change (its generation is not known yet).
    fn now(&self, inputs: &[ResourceId]) -> Option<u64>;
    /// What the service had seen; none if nothing was ever recorded of it.
    fn seen(&self, service: &ResourceId, reaction: Reaction) -> Option<u64>;
}

/// How a service takes notice of changed inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reaction {
    /// Reads its configuration again.
    Reload,
    /// Starts anew.
    Restart,
}

/// A change that was decided and cleared, with what it is for.
#[derive(Clone, Debug)]
pub struct Planned<S, C> {
    /// Which resource.
    pub key: Key,
    /// What is declared of it; none if the declaration dropped it.
    pub spec: Option<Declared<S>>,
    /// What to do.
    pub change: C,
}

/// What a change is made with.
pub struct ApplyCx<'a> {
    /// The host.
    pub host: &'a Host,
    /// Contents that the declaration wants laid down, by digest.
    pub contents: &'a Contents,
    /// Where what would be lost is kept first.
    pub keep: &'a Keep,
    /// Units that are declared and must not be started by what a change brings along (a package's own scripts)
    /// before their files are there. Those that run already are left alone.
    pub hold_units: &'a [HoldUnit],
}

/// A place on the host whose change is worth a look.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Watch {
    /// The folder to watch (it may not exist yet).
    pub folder: PathBuf,
    /// The name within it; none for everything in it.
    pub name: Option<String>,
    /// What to look at when it changes.
    pub look_at: LookAt,
}

/// What to look at when a watch fires.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LookAt {
    /// One resource.
    Resource(ResourceId),
    /// All of a kind.
    Kind(KindName),
}
