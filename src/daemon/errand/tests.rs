//! What is next, by table.

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
    Judged(char, Judged),
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
        Told::Judged(commit, judged) => drop(errands.judged(basis(commit), judged)),
        Told::Compiled(commit, made) => drop(errands.compiled(basis(commit), made)),
        Told::Adopted(commit, put) => drop(errands.adopted(basis(commit), put)),
    }
}

fn said(next: &Next) -> String {
    let digit = |basis: &Basis| basis.commit.as_str()[..1].to_owned();
    match next {
        Next::Fetch(_) => "fetch".to_owned(),
        Next::Judge(basis) => format!("judge {}", digit(basis)),
        Next::Compile(basis) => format!("compile {}", digit(basis)),
        Next::Adopt(compiled) => format!("adopt {}", digit(&compiled.basis)),
        Next::Wait => "wait".to_owned(),
        Next::Rest => "rest".to_owned(),
    }
}

/// What is next, with every judgement in favour when the next but one is asked for.
fn next(errands: &mut Errands, host: HostIs, expected: &str) -> Next {
    match errands.next(host) {
        Next::Judge(basis) if expected.starts_with("compile") => {
            assert!(errands.judged(basis, Judged::Accepted));
            errands.next(host)
        }
        next => next,
    }
}

/// Row by row: what is told, how the host is, what is next.
fn check(errands: &mut Errands, rows: impl IntoIterator<Item = (Vec<Told>, HostIs, &'static str)>) {
    for (number, (told, host, expected)) in rows.into_iter().enumerate() {
        told.into_iter().for_each(|one| tell(errands, one));
        assert_eq!(said(&next(errands, host, expected)), expected, "row {number}");
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
    next(&mut errands, Free, "compile a");
    errands.compiled(basis('a'), Made::Refused);
    errands.want(Basis { facts: Digest::of(b"13"), ..basis('a') });
    assert_eq!(said(&next(&mut errands, Free, "compile a")), "compile a", "the host is another one now");
}

#[test]
fn nothing_is_compiled_that_was_not_judged_just_before() {
    check(
        &mut Errands::new(Some(basis('a'))),
        [
            (vec![Want('b')], Free, "judge b"),
            (vec![Told::Judged('b', Judged::Refused)], Free, "rest"),
            (vec![Ask], Free, "fetch"),
            (vec![Fetched, Want('b')], Free, "rest"),
            (vec![Want('c')], Free, "judge c"),
            (vec![Told::Judged('c', Judged::Failed)], Free, "rest"),
            (vec![Ask], Free, "fetch"),
            (vec![Fetched], Free, "judge c"),
            // Another is wanted by then: what was judged is not what is compiled.
            (vec![Want('d'), Told::Judged('c', Judged::Accepted)], Free, "judge d"),
            (vec![Told::Judged('d', Judged::Accepted), Want('e')], Free, "judge e"),
            (vec![Told::Judged('e', Judged::Accepted)], Free, "compile e"),
            (vec![Told::Compiled('e', Made::Failed), Ask], Free, "fetch"),
            (vec![Fetched], Free, "judge e"),
        ],
    );
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
        [(vec![Want('a')], Free, "compile a"), (vec![made('a')], AtWork, "wait"), (vec![Turn], Free, "rest")],
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
