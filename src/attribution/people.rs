//! Looks up what a person calls those who were found: names, connections, sessions, and what sshd and sudo noted of
//! their logins. Asked once everything is put right.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Gathered, SessionNote};
use crate::host::logins::{self, Asked, LoginNotes};
use crate::host::{Host, process, sessions};
use crate::model::{Actor, Attribution, ProcessFacts};

/// Logins whose notes are remembered.
const REMEMBERED: usize = 64;
/// In a storm by ever new processes the journal is not asked about each of them.
const ONE_EACH: Duration = Duration::from_secs(1);

/// What was noted of logins, as far as it was asked for.
#[derive(Default)]
pub(super) struct Logins {
    known: BTreeMap<Asked, LoginNotes>,
    asked: Option<Duration>,
}

/// Looks up all of it for those who were found.
pub(super) fn introduce(found: &[Attribution], host: &Host, gathered: &mut Gathered, logins: &mut Logins) {
    for actor in found.iter().filter_map(|one| one.actor.as_ref()) {
        for account in actor.user.iter().chain(&actor.login) {
            if let Some(name) = host.accounts.user(account.uid) {
                gathered.people.insert(account.uid, name);
            }
        }
        for up in &actor.ancestors {
            if up.executable.rsplit('/').next().is_some_and(|name| name.starts_with("sshd"))
                && is_still(up.pid, gathered)
                && let Some(peer) = sessions::connection_of(up.pid)
            {
                gathered.connections.insert(up.pid, peer);
            }
        }
        if let Some(id) = actor.session.as_ref().and_then(|session| session.id)
            && let Some((remote, terminal)) = sessions::noted(&host.root.absolute("run"), id)
        {
            gathered.sessions.insert(id, SessionNote { remote, terminal });
        }
        let LoginNotes { ssh, sudo } = logins.of(actor, host);
        gathered.logins.ssh.extend(ssh);
        gathered.logins.sudo.extend(sudo);
    }
}

impl Logins {
    fn of(&mut self, actor: &Actor, host: &Host) -> LoginNotes {
        // Within a container a journal of its own has it.
        let asked = if actor.container.is_none() { super::logins::asked(actor) } else { Asked::default() };
        if let Some(known) = self.known.get(&asked) {
            return known.clone();
        }
        let now = host.clock.since_boot();
        let is_soon = self.asked.is_some_and(|last| now.saturating_sub(last) < ONE_EACH);
        if asked.is_nothing() || is_soon {
            return LoginNotes::default();
        }
        self.asked = Some(now);
        // Without the journal the answer is the same, less sure of itself.
        let mut notes = logins::of(&*host.programs, &asked).unwrap_or_default();
        // What opened the session let the login in before there was one.
        let openers = notes.ssh.iter().map(|note| note.pid).filter(|pid| !asked.sshd.contains(pid));
        let openers = Asked { sshd: openers.take(4).collect(), ..Asked::default() };
        notes.ssh.extend(logins::of(&*host.programs, &openers).unwrap_or_default().ssh);
        notes.ssh.sort_by_key(|note| note.at);
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        if notes != LoginNotes::default() {
            self.known.insert(asked, notes.clone());
        }
        notes
    }
}

/// Whether a number is still borne by the process that was found.
fn is_still(pid: u32, gathered: &Gathered) -> bool {
    let living: Option<&ProcessFacts> = gathered.processes.living.get(&pid);
    process::now(pid).map(|now| now.started) == living.map(|before| before.started)
}
