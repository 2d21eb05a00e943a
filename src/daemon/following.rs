//! Following the branch, on the loop's side: asks the remote, has what is new compiled, puts it in force or refuses it.

use std::sync::Arc;

use tracing::{info, warn};

use super::chain;
use super::events::Event;
use super::follow::Next;
use super::run::{Daemon, now_plus};
use super::workshop::View;
use crate::control::wire::Progress;
use crate::host::facts::Facts;
use crate::host::memory;
use crate::kind::{Desired, Watch};
use crate::model::{CommitId, Diagnostic, Severity, Trigger};
use crate::reconcile::Scope;
use crate::worker::{self, compile::Answer};

/// Root's own checks, or the disk, refused a compiled revision.
#[derive(Debug)]
pub(super) struct Refused {
    pub message: String,
    pub diagnostics: Vec<Diagnostic>,
}

impl Daemon {
    pub(super) fn fetch(&mut self) {
        let Some(follow) = &self.follow else { return };
        self.timers.fetch = None;
        self.fetch_begun = Some(self.clock.since_boot());
        let request = worker::fetch::Request {
            store: self.place.state.join("source"),
            remote: follow.remote.clone(),
            last: follow.accepted.clone(),
            care: follow.care(),
        };
        self.tell_syncs(&Progress::Fetching);
        let sender = self.sender.clone();
        tokio::task::spawn_blocking(move || {
            let answer = worker::fetch::run(&request);
            let _ = sender.send(Event::Fetched(Box::new(answer)));
        });
    }

    pub(super) fn fetched(&mut self, answer: worker::fetch::Answered) {
        let at = self.clock.now();
        let in_force = self.commit_in_force();
        let Some(follow) = &mut self.follow else { return };
        let failure = match answer {
            Ok(Ok(fetched)) => {
                let next = follow.fetched(&fetched, in_force.as_ref(), at);
                let new = in_force.as_ref() != Some(&fetched.tip);
                let progress = Progress::Fetched { commit: fetched.tip, new };
                self.tell_syncs(&progress);
                self.prove();
                match next {
                    Next::Stay => self.syncs_may_pass(None),
                    Next::Compile(commit) => self.compile(commit),
                }
                None
            }
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(chain(&error)),
        };
        if let Some(message) = failure
            && let Some(follow) = &mut self.follow
        {
            if follow.status.failing_since.is_none() {
                warn!("the last good revision stays in force: {message}");
            }
            follow.failed(message.clone(), at);
            self.syncs_may_pass(Some(message));
        }
        self.timers.fetch = self.follow.as_ref().map(|follow| now_plus(self.wait_for_proof(follow.wait())));
        memory::give_back();
        self.refresh();
    }

    pub(super) fn compile(&mut self, commit: CommitId) {
        let Some(follow) = &self.follow else { return };
        self.tell_syncs(&Progress::Compiling { commit: commit.clone() });
        let facts = match Facts::read("/".as_ref(), self.setup.labels.clone()) {
            Ok(facts) => facts,
            Err(error) => return self.refuse(commit, chain(&error), Vec::new()),
        };
        let request = worker::compile::Request {
            store: self.place.state.join("source"),
            commit: commit.clone(),
            subfolder: follow.remote.subfolder.clone(),
            host: self.setup.host.clone(),
            facts,
        };
        let (shop, sender) = (self.shop.clone(), self.sender.clone());
        tokio::spawn(async move {
            let Ok(contents) = shop.ask(|workshop| Arc::clone(&workshop.contents)).await else { return };
            let compiled =
                tokio::task::spawn_blocking(move || worker::compile::run(&request, &contents)).await;
            if let Ok(answer) = compiled {
                let _ = sender.send(Event::Compiled(commit, Box::new(answer)));
            }
        });
    }

    pub(super) fn compiled(&mut self, commit: CommitId, answer: worker::compile::Answered) {
        match answer {
            Ok(Answer::Compiled { desired, warnings, contents: _ }) => {
                for warning in &warnings {
                    warn!(revision = commit.short(), "{}", warning.message);
                }
                self.adopt(commit, *desired);
            }
            Ok(Answer::Refused { diagnostics }) => {
                let errors = diagnostics.iter().filter(|one| one.severity == Severity::Error).count();
                let first = diagnostics.iter().find(|one| one.severity == Severity::Error);
                let first = first.map(|one| format!(": {}: {}", one.place, one.message)).unwrap_or_default();
                self.refuse(commit, format!("{errors} errors in the declaration{first}"), diagnostics);
            }
            Ok(Answer::Unreadable { message }) => self.refuse(commit, message, Vec::new()),
            Err(error) => {
                // Not the commit's fault: it is tried again with the next fetch.
                let at = self.clock.now();
                let message = format!("commit {} could not be compiled: {}", commit.short(), chain(&error));
                warn!("{message}");
                if let Some(follow) = &mut self.follow {
                    follow.failed(message.clone(), at);
                }
                self.syncs_may_pass(Some(message));
                self.refresh();
            }
        }
    }

    /// Puts a compiled revision in force, if it passes what root itself checks.
    pub(super) fn adopt(&mut self, commit: CommitId, desired: Desired) {
        if desired.is_empty() {
            let message = "the declaration of this host is empty: that is never a wish to remove everything";
            return self.refuse(commit, message.to_owned(), Vec::new());
        }
        let desired = Arc::new(desired);
        let (shop, sender) = (self.shop.clone(), self.sender.clone());
        tokio::spawn(async move {
            let taken = Arc::clone(&desired);
            let adopted = shop.ask(move |workshop| {
                let mut diagnostics = workshop.engine.validate(&taken);
                diagnostics.extend(workshop.bounds.faults(&taken));
                if diagnostics.iter().any(|one| one.severity == Severity::Error) {
                    return Err(Refused { message: "refused by the agent".to_owned(), diagnostics });
                }
                match workshop.adopt(taken) {
                    Ok(()) => Ok((workshop.engine.watches(), workshop.view())),
                    Err(error) => Err(Refused { message: chain(&error), diagnostics: Vec::new() }),
                }
            });
            if let Ok(result) = adopted.await {
                let _ = sender.send(Event::Adopted(desired, Box::new(result)));
            }
        });
    }

    pub(super) fn adopted(&mut self, desired: &Desired, result: Result<(Vec<Watch>, View), Refused>) {
        let Some(commit) = desired.revision.as_ref().map(|revision| revision.commit.clone()) else { return };
        match result {
            Err(Refused { message, diagnostics }) => self.refuse(commit, message, diagnostics),
            Ok((watches, view)) => {
                info!(revision = commit.short(), "revision {} is in force", commit.short());
                self.watches.want(watches, desired);
                self.follow.iter_mut().for_each(|follow| follow.accept(commit.clone()));
                self.view = view;
                self.want_pass(Scope::Full, Trigger::Revision);
                self.syncs_may_pass(None);
            }
        }
    }

    pub(super) fn refuse(&mut self, commit: CommitId, message: String, diagnostics: Vec<Diagnostic>) {
        warn!(
            revision = commit.short(),
            "commit {} is refused, the last good one stays in force: {message}",
            commit.short()
        );
        let at = self.clock.now();
        if let Some(follow) = &mut self.follow {
            follow.reject(commit, "RevisionRejected", message, diagnostics, at);
        }
        self.syncs_may_pass(None);
        self.refresh();
    }
}
