//! What sshd and sudo noted of the login that a process belongs to.

use super::Gathered;
use super::scripts::base;
use crate::host::logins::{Asked, SshNote, SudoNote};
use crate::model::{Actor, Process, ProcessFacts};

const SSHD: [&str; 2] = ["sshd", "sshd-session"];
const SUDO: [&str; 1] = ["sudo"];

/// What was noted of one process and its ancestors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Noted<'a> {
    /// By sshd, as it let the login in.
    pub ssh: Option<&'a SshNote>,
    /// By the sudo among the ancestors.
    pub sudo: Option<&'a SudoNote>,
}

/// Whose notes to ask for.
pub(super) fn asked(actor: &Actor) -> Asked {
    let of = |programs: &[&str]| {
        let is_it = |one: &&Process| programs.contains(&base(&one.executable));
        let line = actor.process.iter().chain(&actor.ancestors);
        let mut pids: Vec<u32> = line.filter(is_it).map(|one| one.pid).collect();
        pids.sort_unstable();
        pids
    };
    Asked { sshd: of(&SSHD), sudo: of(&SUDO), session: actor.session.as_ref().and_then(|session| session.id) }
}

/// What was noted of it.
pub(super) fn noted<'a>(facts: &ProcessFacts, gathered: &'a Gathered) -> Noted<'a> {
    let notes = &gathered.logins;
    // A process number is borne by others before and after: what was noted before this one began is not of it.
    let is_of = |pid: u32, at, one: &ProcessFacts| pid == one.pid && at >= gathered.wall_of(one.started);
    let by_sshd = |one: &ProcessFacts| {
        let mut let_in = notes.ssh.iter().filter(|note| note.from.is_some() && is_of(note.pid, note.at, one));
        let_in.next_back()
    };
    let by_sudo = |one: &ProcessFacts| {
        let mut started =
            notes.sudo.iter().filter(|note| is_of(note.pid, note.at, one) && note.login == facts.login);
        started.next_back()
    };
    let ssh = line(facts).filter(|one| runs(one, &SSHD)).find_map(by_sshd);
    Noted {
        ssh: ssh.or_else(|| of_session(facts.session?, &notes.ssh)),
        sudo: line(facts).filter(|one| runs(one, &SUDO)).find_map(by_sudo),
    }
}

/// The login of which this session is: the sshd that opened it let it in just before.
fn of_session(session: u32, notes: &[SshNote]) -> Option<&SshNote> {
    let opened = notes.iter().find(|note| note.session == Some(session))?;
    let mut let_in =
        notes.iter().filter(|note| note.from.is_some() && note.pid == opened.pid && note.at <= opened.at);
    let_in.next_back()
}

fn line(facts: &ProcessFacts) -> impl Iterator<Item = &ProcessFacts> {
    std::iter::once(facts).chain(&facts.ancestors)
}

fn runs(facts: &ProcessFacts, programs: &[&str]) -> bool {
    programs.contains(&base(facts.executable.as_deref().unwrap_or_default()))
}
