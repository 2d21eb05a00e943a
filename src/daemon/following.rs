//! Following the branch, on the loop's side: does the step that `errand` says is next, and tells it what came of it.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::adoption::{Adopted, Adoption};
use super::chain;
use super::errand::{Basis, Compiled, HostIs, Made, Next, Number, Put};
use super::events::Event;
use super::follow::{Accepted, Follow};
use super::run::{Daemon, now_plus};
use crate::control::wire::Progress;
use crate::host::facts::Facts;
use crate::host::memory;
use crate::metrics;
use crate::model::{CommitId, Diagnostic, Severity, Trigger, fingerprint};
use crate::reconcile::Scope;
use crate::source::{Care, Fault, Fetched};
use crate::worker::{self, Worker, WorkerError, compile::Answer};

/// The fetch that was begun last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    /// When, on the clock that counts from boot.
    pub at: Duration,
    /// How closely it looks.
    pub care: Care,
}

impl Daemon {
    /// Has the remote asked as soon as nothing is in the way.
    pub(super) fn ask_remote(&mut self) {
        if self.follow.is_some() {
            self.errands.ask();
        }
        self.go_on();
    }

    /// Does the next step, if it is time for one.
    pub(super) fn go_on(&mut self) {
        if self.follow.is_none() {
            return self.syncs_may_pass();
        }
        let host = if self.passing { HostIs::AtWork } else { HostIs::Free };
        match self.errands.next(host) {
            Next::Fetch(number) => self.fetch(number),
            Next::Judge(basis) => self.judge(basis),
            Next::Compile(basis) => self.compile(basis),
            Next::Adopt(compiled) => self.adopt(compiled),
            Next::Wait => {}
            Next::Rest => {
                if self.follow.as_mut().is_some_and(Follow::rest) {
                    self.arm_fetch();
                }
                self.syncs_may_pass();
            }
        }
    }

    /// Looks at the host's facts once more: what is in force may have been compiled for others.
    pub(super) fn look_at_facts(&mut self) {
        self.facts = None;
        self.aim();
    }

    /// Says what is to be in force: the tip, or what was accepted last, for the host as it is.
    fn aim(&mut self) {
        let Some(commit) = self.follow.as_ref().and_then(|follow| follow.goal().cloned()) else { return };
        match self.basis(commit) {
            Ok(basis) => self.errands.want(basis),
            Err(message) => self.failed(message),
        }
    }

    fn basis(&mut self, commit: CommitId) -> Result<Basis, String> {
        let facts = match self.facts.take() {
            Some(facts) => facts,
            None => {
                let facts = Facts::read("/".as_ref(), self.setup.labels.clone());
                Arc::new(facts.map_err(|error| chain(&error))?)
            }
        };
        let digest = fingerprint::of(&*facts);
        self.facts = Some(facts);
        let subfolder = self.setup.remote.as_ref().and_then(|remote| remote.subfolder.clone());
        let (host, agent) = (self.setup.host.clone(), self.agent.version.clone());
        Ok(Basis { commit, subfolder, host, facts: digest, agent })
    }

    fn fetch(&mut self, number: Number) {
        let Some(follow) = &self.follow else { return };
        self.timers.fetch = None;
        let at = self.clock.since_boot();
        let care = follow.care(at);
        self.last_fetch = Some(Begun { at, care });
        let request = worker::fetch::Request {
            store: self.place.state.join("source"),
            remote: follow.remote.clone(),
            last: follow.accepted.clone(),
            care,
        };
        self.tell_syncs(&Progress::Fetching);
        let (workers, sender) = (Arc::clone(&self.place.workers), self.sender.clone());
        tokio::spawn(async move {
            let answer = finished(Worker::Fetch, move || workers.fetch(&request)).await;
            let _ = sender.send(Event::Fetched(number, Box::new(answer)));
        });
    }

    pub(super) fn fetched(&mut self, number: Number, answer: worker::fetch::Answered) {
        let came_to = match &answer {
            Ok(Ok(fetched)) if fetched.new || fetched.cloned.is_some() => metrics::Asked::Brought,
            Ok(Ok(_)) => metrics::Asked::Nothing,
            Ok(Err(_)) | Err(_) => metrics::Asked::Failed,
        };
        if let Some(Begun { at, care: _ }) = self.last_fetch {
            self.tallies.asked(came_to, self.clock.since_boot().saturating_sub(at));
        }
        if self.errands.fetched(number) {
            match answer {
                Ok(Ok(fetched)) => self.reached_remote(fetched),
                Ok(Err(error)) => {
                    if error.fault == Fault::Corrupt {
                        self.follow.iter_mut().for_each(Follow::damaged);
                    }
                    self.failed(error.to_string());
                }
                Err(error) => self.failed(chain(&error)),
            }
            self.aim();
        }
        self.arm_fetch();
        self.go_on();
        memory::rest();
        self.refresh();
    }

    fn reached_remote(&mut self, fetched: Fetched) {
        let (now, new) = (self.clock.now(), self.commit_in_force().as_ref() != Some(&fetched.tip));
        if let (Some(follow), Some(Begun { at, care })) = (&mut self.follow, self.last_fetch) {
            follow.fetched(&fetched, care, at, now);
        }
        self.tell_syncs(&Progress::Fetched { commit: fetched.tip, new });
        self.prove();
    }

    fn compile(&mut self, basis: Basis) {
        let Some(facts) = self.facts.clone() else { return };
        self.tell_syncs(&Progress::Compiling { commit: basis.commit.clone() });
        let request = worker::compile::Request {
            verified: self.verified_files(),
            commit: basis.commit.clone(),
            subfolder: basis.subfolder.clone(),
            host: basis.host.clone(),
            facts: (*facts).clone(),
        };
        let (workers, contents) = (Arc::clone(&self.place.workers), Arc::clone(&self.contents));
        let sender = self.sender.clone();
        tokio::spawn(async move {
            let answer = finished(Worker::Compile, move || workers.compile(&request, &contents)).await;
            let _ = sender.send(Event::Compiled(basis, Box::new(answer)));
        });
    }

    pub(super) fn compiled(&mut self, basis: Basis, answer: worker::compile::Answered) {
        let commit = basis.commit.clone();
        match answer {
            Ok(Answer::Compiled { desired, warnings, contents: _ }) => {
                for warning in &warnings {
                    warn!(revision = commit.short(), "{}", warning.message);
                }
                self.errands.compiled(basis, Made::Compiled(Arc::from(desired)));
            }
            Ok(Answer::Refused { diagnostics }) => {
                let message = first_of(&diagnostics);
                if self.errands.compiled(basis, Made::Refused) {
                    self.refuse(commit, message, diagnostics);
                }
            }
            Ok(Answer::Unreadable { message }) => {
                if self.errands.compiled(basis, Made::Failed) {
                    self.follow.iter_mut().for_each(Follow::damaged);
                    self.failed(format!("commit {} can't be read: {message}", commit.short()));
                }
            }
            Err(error) => {
                if self.errands.compiled(basis, Made::Failed) {
                    let message =
                        format!("commit {} could not be compiled: {}", commit.short(), chain(&error));
                    self.failed(message);
                }
            }
        }
        self.go_on();
        self.refresh();
    }

    /// Has a compiled revision put in force, if it passes what root itself checks.
    fn adopt(&mut self, compiled: Compiled) {
        let Some(follow) = &self.follow else { return };
        let accepted = Accepted { of: follow.branch(), commit: compiled.basis.commit.clone() };
        let adoption = Adoption { compiled, accepted };
        let (shop, sender) = (self.shop.clone(), self.sender.clone());
        tokio::spawn(async move {
            let asked = adoption.clone();
            if let Ok(result) = shop.ask(move |workshop| asked.run(workshop)).await {
                let _ = sender.send(Event::Adopted(Box::new(adoption), Box::new(result)));
            }
        });
    }

    pub(super) fn adopted(&mut self, adoption: Adoption, result: Adopted) {
        let Adoption { compiled: Compiled { basis, desired }, accepted } = adoption;
        let commit = accepted.commit;
        match result {
            Adopted::Refused { message, diagnostics } => {
                if self.errands.adopted(basis, Put::Refused) {
                    self.refuse(commit, message, diagnostics);
                }
            }
            Adopted::Failed { message } => {
                if self.errands.adopted(basis, Put::Failed) {
                    self.failed(format!("commit {} can't be put in force: {message}", commit.short()));
                }
            }
            Adopted::InForce { watches, view } => {
                info!(revision = commit.short(), "revision {} is in force", commit.short());
                self.errands.adopted(basis, Put::InForce);
                self.watches.want(watches, &desired);
                if let Some(follow) = self.follow.as_mut().filter(|follow| follow.branch() == accepted.of) {
                    follow.accept(commit);
                }
                self.view = *view;
                self.queue_pass(Scope::Full, Trigger::Revision);
            }
        }
        self.go_on();
        self.start_pass();
        self.refresh();
    }

    fn refuse(&mut self, commit: CommitId, message: String, diagnostics: Vec<Diagnostic>) {
        self.refuse_for("RevisionRejected", commit, message, diagnostics);
    }

    /// The same, for a reason of its own.
    pub(super) fn refuse_for(
        &mut self,
        reason: &str,
        commit: CommitId,
        message: String,
        diagnostics: Vec<Diagnostic>,
    ) {
        warn!(
            revision = commit.short(),
            "commit {} is refused, the last good one stays in force: {message}",
            commit.short()
        );
        let at = self.clock.now();
        if let Some(follow) = &mut self.follow {
            follow.reject(commit, reason, message, diagnostics, at);
        }
    }

    /// A step failed for a reason that passes: it is tried again, less and less often.
    pub(super) fn failed(&mut self, message: String) {
        let at = self.clock.now();
        if let Some(follow) = &mut self.follow {
            if follow.trouble.as_ref() != Some(&message) {
                warn!("the last good revision stays in force: {message}");
            }
            follow.failed(message, at);
        }
        self.arm_fetch();
    }

    fn arm_fetch(&mut self) {
        self.timers.fetch = self.follow.as_ref().map(|follow| now_plus(self.wait_for_proof(follow.wait())));
    }
}

/// Waits for work beside the loop. Every step that was begun ends, also by a panic: a loop that waited for an answer
/// would follow nothing any more.
pub(super) async fn finished<T: Send + 'static>(
    worker: Worker,
    work: impl FnOnce() -> Result<T, WorkerError> + Send + 'static,
) -> Result<T, WorkerError> {
    let ended = tokio::task::spawn_blocking(work).await;
    ended.unwrap_or_else(|error| {
        Err(WorkerError::NoAnswer { name: worker.name(), complaint: error.to_string() })
    })
}

fn first_of(diagnostics: &[Diagnostic]) -> String {
    let errors: Vec<_> = diagnostics.iter().filter(|one| one.severity == Severity::Error).collect();
    let first = errors.first().map(|one| format!(": {}: {}", one.place, one.message)).unwrap_or_default();
    format!("{} errors in the declaration{first}", errors.len())
}
