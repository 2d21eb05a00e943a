//! What is to be done next to follow a branch: fetch, judge, compile, put in force. Pure: told what came of a step, it says
//! which one is next.
//!
//! ```text
//!  asked ──▶ fetch ──▶ wanted ──▶ judge ──▶ compile ──▶ ready ──▶ put in force
//!    ▲         │                    │          │          │ (while a pass is at work: waits, and fetches go on)
//!    └─────────┴──── back-off ◀─────┴──────────┴──────────┘
//! ```
//!
//! At most one step is under way, so none ever meets another's leftovers: contents are tidied by putting a state in
//! force, and nothing is being compiled then. What is wanted is a level: a compiled state that is not what is wanted
//! any more is dropped, whenever it comes. Nothing is compiled that was not judged just before, also what was in force
//! already.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::kind::Desired;
use crate::model::{CommitId, Digest};

#[cfg(test)]
mod tests;

/// Which fetch: a later one has a higher number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number(u64);

/// What a desired state is compiled from. The same again would give the same result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Basis {
    /// The commit.
    pub commit: CommitId,
    /// Where in its tree the declaration lives.
    pub subfolder: Option<String>,
    /// The name the declaration is matched with.
    pub host: String,
    /// Of the host's facts, its labels among them.
    pub facts: Digest,
    /// The version of the agent that compiled it.
    pub agent: String,
}

/// A compiled desired state that waits to be put in force.
#[derive(Clone, Debug, PartialEq)]
pub struct Compiled {
    /// What it was compiled from.
    pub basis: Basis,
    /// What the host should be.
    pub desired: Arc<Desired>,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Ask the remote.
    Fetch(Number),
    /// Verify this, and judge whether it may be followed.
    Judge(Basis),
    /// Compile this.
    Compile(Basis),
    /// Put this in force.
    Adopt(Compiled),
    /// A step is under way, or what is ready waits for the host.
    Wait,
    /// What can be had is in force.
    Rest,
}

/// Whether another desired state can be put in force now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostIs {
    /// It can.
    Free,
    /// A pass is at work under the one in force.
    AtWork,
}

/// What came of judging.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// It may be compiled.
    Accepted,
    /// It may not, and never will be.
    Refused,
    /// It did not work out, or time may tell: it is tried again after the next fetch.
    Failed,
}

/// What came of a compile.
#[derive(Clone, Debug, PartialEq)]
pub enum Made {
    /// A desired state.
    Compiled(Arc<Desired>),
    /// The declaration has faults: nothing else will ever come of it.
    Refused,
    /// It did not work out, which is not the declaration's fault: it is tried again after the next fetch.
    Failed,
}

/// What came of putting a desired state in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is.
    InForce,
    /// Root's own checks refuse it: they always will.
    Refused,
    /// It did not work out: it is tried again after the next fetch.
    Failed,
}

/// How far following is.
#[derive(Debug, Default)]
pub struct Errands {
    under_way: Option<UnderWay>,
    /// A fetch is wanted that begins from now on.
    asked: bool,
    /// The last fetch that was begun.
    begun: Number,
    /// Fetches up to this one asked a remote that is not followed any more.
    void: Number,
    wanted: Option<Basis>,
    in_force: Option<Basis>,
    refused: Option<Basis>,
    /// Not to be tried before the next fetch.
    failed: Option<Basis>,
    /// What was judged and is to be compiled next.
    judged: Option<Basis>,
    ready: Option<Compiled>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UnderWay {
    Fetch,
    Judge,
    Compile,
    Adopt,
}

impl Number {
    const fn next(self) -> Number {
        Number(self.0 + 1)
    }
}

impl Errands {
    /// Nothing is under way; `in_force` is what the desired state in force was compiled from, if that is known.
    pub fn new(in_force: Option<Basis>) -> Self {
        Errands { in_force, ..Errands::default() }
    }

    /// A fetch is wanted. One that is under way does not count, since it may have been answered already: the
    /// number is that of the first that does.
    pub fn ask(&mut self) -> Number {
        self.asked = true;
        self.begun.next()
    }

    /// This is to be in force.
    pub fn want(&mut self, basis: Basis) {
        self.ready.take_if(|ready| ready.basis != basis);
        self.judged.take_if(|judged| *judged != basis);
        self.wanted = Some(basis);
    }

    /// Another remote is followed: what the one before said, or will say, counts no more.
    pub fn turn(&mut self) {
        self.void = self.begun;
        self.asked = false;
        (self.wanted, self.refused, self.failed) = (None, None, None);
        (self.judged, self.ready) = (None, None);
    }

    /// A person asks: what was refused or failed is tried once more.
    pub fn reconsider(&mut self) {
        (self.refused, self.failed) = (None, None);
    }

    /// Something of what is in force was lost from the stores: it is compiled once more.
    pub fn lost(&mut self) {
        self.in_force = None;
    }

    /// The next step, which is under way from now on.
    pub fn next(&mut self, host: HostIs) -> Next {
        if self.under_way.is_some() {
            return Next::Wait;
        }
        if let Some(compiled) = self.ready.take_if(|_| host == HostIs::Free) {
            self.under_way = Some(UnderWay::Adopt);
            return Next::Adopt(compiled);
        }
        if self.asked {
            (self.asked, self.failed, self.begun) = (false, None, self.begun.next());
            self.under_way = Some(UnderWay::Fetch);
            return Next::Fetch(self.begun);
        }
        if self.ready.is_some() {
            return Next::Wait;
        }
        let done = [&self.in_force, &self.refused, &self.failed];
        match &self.wanted {
            Some(wanted) if !done.contains(&&self.wanted) => match self.judged.take() {
                Some(judged) => {
                    self.under_way = Some(UnderWay::Compile);
                    Next::Compile(judged)
                }
                None => {
                    self.under_way = Some(UnderWay::Judge);
                    Next::Judge(wanted.clone())
                }
            },
            Some(_) | None => Next::Rest,
        }
    }

    /// A fetch ended. Whether its answer counts.
    pub fn fetched(&mut self, number: Number) -> bool {
        self.ended(UnderWay::Fetch);
        number > self.void
    }

    /// A judgement came. Whether it counts.
    pub fn judged(&mut self, basis: Basis, judged: Judged) -> bool {
        self.ended(UnderWay::Judge);
        if self.wanted.as_ref() != Some(&basis) {
            return false;
        }
        match judged {
            Judged::Accepted => self.judged = Some(basis),
            Judged::Refused => self.refused = Some(basis),
            Judged::Failed => self.failed = Some(basis),
        }
        true
    }

    /// A compile ended. Whether its answer counts.
    pub fn compiled(&mut self, basis: Basis, made: Made) -> bool {
        self.ended(UnderWay::Compile);
        if self.wanted.as_ref() != Some(&basis) {
            return false;
        }
        match made {
            Made::Compiled(desired) => self.ready = Some(Compiled { basis, desired }),
            Made::Refused => self.refused = Some(basis),
            Made::Failed => self.failed = Some(basis),
        }
        true
    }

    /// Putting in force ended. Whether a refusal or failure counts: what is in force is, whatever is wanted by now.
    pub fn adopted(&mut self, basis: Basis, put: Put) -> bool {
        self.ended(UnderWay::Adopt);
        let counts = self.wanted.as_ref() == Some(&basis);
        match (put, counts) {
            (Put::InForce, _) => self.in_force = Some(basis),
            (Put::Refused, true) => self.refused = Some(basis),
            (Put::Failed, true) => self.failed = Some(basis),
            (Put::Refused | Put::Failed, false) => {}
        }
        counts
    }

    fn ended(&mut self, step: UnderWay) {
        debug_assert_eq!(self.under_way, Some(step), "an answer to a step that was not begun");
        self.under_way = None;
    }
}
