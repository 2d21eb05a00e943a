//! What is to be done next to follow a branch: fetch, compile, put in force. Pure: told what came of a step, it says
//! which one is next.
//!
//! ```text
//!  asked ──▶ fetch ──▶ wanted ──▶ compile ──▶ ready ──▶ put in force
//!    ▲         │                     │          │ (while a pass is at work: waits, and fetches go on)
//!    └─────────┴──── back-off ◀──────┴──────────┘
//! ```
//!
//! At most one step is under way, so none ever meets another's leftovers: contents are tidied by putting a state in
//! force, and nothing is being compiled then. What is wanted is a level: a compiled state that is not what is wanted
//! any more is dropped, whenever it comes.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::kind::Desired;
use crate::model::{CommitId, Digest};

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
    ready: Option<Compiled>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UnderWay {
    Fetch,
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
        self.wanted = Some(basis);
    }

    /// Another remote is followed: what the one before said, or will say, counts no more.
    pub fn turn(&mut self) {
        self.void = self.begun;
        self.asked = false;
        (self.wanted, self.refused, self.failed, self.ready) = (None, None, None, None);
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
            Some(wanted) if !done.contains(&&self.wanted) => {
                self.under_way = Some(UnderWay::Compile);
                Next::Compile(wanted.clone())
            }
            Some(_) | None => Next::Rest,
        }
    }

    /// A fetch ended. Whether its answer counts.
    pub fn fetched(&mut self, number: Number) -> bool {
        self.ended(UnderWay::Fetch);
        number > self.void
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

#[cfg(test)]
mod tests {
    use super::*;

    fn basis(commit: char) -> Basis {
        Basis {
            commit: commit.to_string().repeat(40).parse().unwrap(),
            subfolder: None,
            host: "web-1".into(),
            facts: Digest::of(b"12"),
            agent: "1".into(),
        }
    }

    fn desired() -> Arc<Desired> {
        Arc::default()
    }

    /// What the loop is told, and what it is to do then, in one letter and the commit.
    enum Told {
        Ask,
        Want(char),
        Turn,
        Reconsider,
        Lost,
        Fetched,
        Compiled(char, Made),
        Adopted(char, Put),
    }

    fn tell(errands: &mut Errands, told: Told) {
        match told {
            Told::Ask => drop(errands.ask()),
            Told::Want(commit) => errands.want(basis(commit)),
            Told::Turn => errands.turn(),
            Told::Reconsider => errands.reconsider(),
            Told::Lost => errands.lost(),
            Told::Fetched => drop(errands.fetched(errands.begun)),
            Told::Compiled(commit, made) => drop(errands.compiled(basis(commit), made)),
            Told::Adopted(commit, put) => drop(errands.adopted(basis(commit), put)),
        }
    }

    fn said(next: &Next) -> String {
        let digit = |basis: &Basis| basis.commit.as_str()[..1].to_owned();
        match next {
            Next::Fetch(_) => "fetch".to_owned(),
            Next::Compile(basis) => format!("compile {}", digit(basis)),
            Next::Adopt(compiled) => format!("adopt {}", digit(&compiled.basis)),
            Next::Wait => "wait".to_owned(),
            Next::Rest => "rest".to_owned(),
        }
    }

    /// Row by row: what is told, how the host is, what is next.
    fn check(errands: &mut Errands, rows: impl IntoIterator<Item = (Vec<Told>, HostIs, &'static str)>) {
        for (number, (told, host, expected)) in rows.into_iter().enumerate() {
            told.into_iter().for_each(|one| tell(errands, one));
            assert_eq!(said(&errands.next(host)), expected, "row {number}");
        }
    }

    use HostIs::{AtWork, Free};
    use Told::{Adopted, Ask, Fetched, Lost, Reconsider, Turn, Want};

    fn made(commit: char) -> Told {
        Told::Compiled(commit, Made::Compiled(desired()))
    }

    #[test]
    fn a_commit_is_fetched_compiled_and_put_in_force_once() {
        check(
            &mut Errands::default(),
            [
                (vec![], Free, "rest"),
                (vec![Ask], Free, "fetch"),
                (vec![], Free, "wait"),
                (vec![Fetched, Want('a')], Free, "compile a"),
                (vec![made('a')], Free, "adopt a"),
                (vec![Adopted('a', Put::InForce)], Free, "rest"),
                (vec![Ask], Free, "fetch"),
                (vec![Fetched, Want('a')], Free, "rest"),
            ],
        );
    }

    #[test]
    fn two_commits_during_one_long_pass_are_one_new_state_and_never_the_older_one() {
        check(
            &mut Errands::default(),
            [
                (vec![Ask], AtWork, "fetch"),
                (vec![Fetched, Want('a')], AtWork, "compile a"),
                (vec![made('a')], AtWork, "wait"),
                (vec![Ask], AtWork, "fetch"),
                (vec![Fetched, Want('b')], AtWork, "compile b"),
                (vec![made('b')], AtWork, "wait"),
                (vec![], Free, "adopt b"),
                // Asked meanwhile: no compile is out while a state is put in force.
                (vec![Ask, Want('c')], Free, "wait"),
                (vec![Adopted('b', Put::InForce)], Free, "fetch"),
                (vec![Fetched], Free, "compile c"),
            ],
        );
    }

    #[test]
    fn what_is_compiled_slowly_is_dropped_if_another_is_wanted_by_then() {
        check(
            &mut Errands::default(),
            [
                (vec![Want('a')], Free, "compile a"),
                (vec![Want('b'), made('a')], Free, "compile b"),
                (vec![made('b')], Free, "adopt b"),
            ],
        );
    }

    #[test]
    fn what_is_refused_waits_for_another_basis_or_a_person() {
        check(
            &mut Errands::default(),
            [
                (vec![Want('a')], Free, "compile a"),
                (vec![Told::Compiled('a', Made::Refused)], Free, "rest"),
                (vec![Ask], Free, "fetch"),
                (vec![Fetched, Want('a')], Free, "rest"),
                (vec![Reconsider], Free, "compile a"),
                (vec![made('a')], Free, "adopt a"),
                (vec![Adopted('a', Put::Refused)], Free, "rest"),
                (vec![Want('b')], Free, "compile b"),
            ],
        );
        let mut errands = Errands::default();
        errands.want(basis('a'));
        errands.next(Free);
        errands.compiled(basis('a'), Made::Refused);
        errands.want(Basis { facts: Digest::of(b"13"), ..basis('a') });
        assert_eq!(said(&errands.next(Free)), "compile a", "the host is another one now");
    }

    #[test]
    fn what_failed_is_tried_again_after_the_next_fetch_and_not_before() {
        check(
            &mut Errands::default(),
            [
                (vec![Want('a')], Free, "compile a"),
                (vec![Told::Compiled('a', Made::Failed)], Free, "rest"),
                (vec![Ask], Free, "fetch"),
                // Whether that fetch reached anyone or not.
                (vec![Fetched], Free, "compile a"),
                (vec![made('a')], Free, "adopt a"),
                (vec![Adopted('a', Put::Failed)], Free, "rest"),
                (vec![Ask], Free, "fetch"),
                (vec![Fetched, Want('a')], Free, "compile a"),
            ],
        );
    }

    #[test]
    fn a_lost_content_has_the_commit_in_force_compiled_once_more() {
        check(
            &mut Errands::new(Some(basis('a'))),
            [
                (vec![Want('a')], Free, "rest"),
                (vec![Lost], Free, "compile a"),
                (vec![made('a')], Free, "adopt a"),
                (vec![Adopted('a', Put::InForce)], Free, "rest"),
            ],
        );
    }

    #[test]
    fn an_answer_of_the_remote_before_counts_no_more_and_one_fetch_waits_for_the_other() {
        let mut errands = Errands::default();
        errands.ask();
        let Next::Fetch(old) = errands.next(Free) else { panic!("a fetch") };
        errands.turn();
        let promised = errands.ask();
        assert_eq!(said(&errands.next(Free)), "wait", "the store is in use");
        assert!(!errands.fetched(old), "it answers for the other remote");
        let Next::Fetch(new) = errands.next(Free) else { panic!("a fetch") };
        assert_eq!(new, promised);
        assert!(errands.fetched(new));
        check(
            &mut errands,
            [
                (vec![Want('a')], Free, "compile a"),
                (vec![made('a')], AtWork, "wait"),
                (vec![Turn], Free, "rest"),
            ],
        );
    }

    #[test]
    fn a_fetch_that_was_begun_before_is_no_answer_to_who_asks_now() {
        let mut errands = Errands::default();
        let first = errands.ask();
        assert_eq!(errands.next(Free), Next::Fetch(first));
        let second = errands.ask();
        assert!(second > first);
        assert!(errands.fetched(first));
        assert_eq!(errands.next(Free), Next::Fetch(second));
    }

    #[test]
    fn what_was_put_in_force_is_in_force_whatever_is_wanted_by_then() {
        let mut errands = Errands::default();
        check(&mut errands, [(vec![Want('a')], Free, "compile a"), (vec![made('a')], Free, "adopt a")]);
        errands.turn();
        errands.want(basis('b'));
        assert!(!errands.adopted(basis('a'), Put::InForce), "the branch before");
        check(&mut errands, [(vec![Want('a')], Free, "rest"), (vec![Want('b')], Free, "compile b")]);
    }
}
