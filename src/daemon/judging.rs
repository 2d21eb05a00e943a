//! Judging a commit, on the loop's side: root has its objects verified and says whether the branch may lead there.

use std::path::PathBuf;
use std::sync::Arc;

use super::chain;
use super::errand::{Basis, Judged};
use super::events::Event;
use super::follow::Follow;
use super::following::finished;
use super::run::Daemon;
use crate::source::{Ask, History};
use crate::worker::objects::{Answer, Answered, GoOn, Request};
use crate::worker::{Worker, WorkerError};

/// Why a commit may not be followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// In one word, for the condition.
    pub reason: &'static str,
    /// In a sentence.
    pub message: String,
}

impl Daemon {
    /// Where what was verified of a commit lies until it is compiled.
    pub(super) fn verified_files(&self) -> PathBuf {
        self.place.state.join("verified").join("tree")
    }

    /// Has a commit verified, and judges it: nothing else is compiled.
    pub(super) fn judge(&mut self, basis: Basis) {
        let Some(follow) = &self.follow else { return };
        let ask = Ask {
            tip: basis.commit.clone(),
            last: follow.accepted.clone(),
            subfolder: basis.subfolder.clone(),
            signers: None,
        };
        let request = Request { store: self.place.state.join("source"), ask };
        let laid = self.verified_files();
        let (workers, sender) = (Arc::clone(&self.place.workers), self.sender.clone());
        tokio::spawn(async move {
            let work = move || {
                let mut refusal = None;
                let mut judge = |history: &History| {
                    refusal = refused(history, &request.ask);
                    if refusal.is_none() { GoOn::ToFiles } else { GoOn::NoFurther }
                };
                let answer = workers.objects(&request, &laid, &mut judge)?;
                Ok((answer, refusal))
            };
            let (answer, refusal) = match finished(Worker::Objects, work).await {
                Ok((answer, refusal)) => (Ok(answer), refusal),
                Err(error) => (Err::<Answer, WorkerError>(error), None),
            };
            let _ = sender.send(Event::Judged(basis, Box::new(answer), refusal));
        });
    }

    pub(super) fn judged(&mut self, basis: Basis, answer: Answered, refusal: Option<Refusal>) {
        let commit = basis.commit.clone();
        match (answer, refusal) {
            (Ok(Answer::Verified), None) => {
                self.errands.judged(basis, Judged::Accepted);
            }
            (Ok(_), Some(Refusal { reason, message })) => {
                if self.errands.judged(basis, Judged::Refused) {
                    self.refuse_for(reason, commit, message, Vec::new());
                }
            }
            (Ok(Answer::Refused { message }), None) => {
                if self.errands.judged(basis, Judged::Refused) {
                    self.refuse_for("RevisionRejected", commit, message, Vec::new());
                }
            }
            (Ok(Answer::Stopped), None) => self.not_judged(basis, "its history was not judged"),
            (Ok(Answer::Unreadable { message }), None) => self.not_judged(basis, &message),
            (Err(error), _) => self.not_judged(basis, &chain(&error)),
        }
        self.go_on();
        self.refresh();
    }

    /// Damage, or a process that came to grief: the next fetch looks closely, and it is tried again.
    fn not_judged(&mut self, basis: Basis, why: &str) {
        let message = format!("commit {} can't be verified: {why}", basis.commit.short());
        if self.errands.judged(basis, Judged::Failed) {
            self.follow.iter_mut().for_each(Follow::damaged);
            self.failed(message);
        }
    }
}

/// Root's own word on descent, by the commits' own bytes: whoever fetched may have been talked into anything.
fn refused(history: &History, ask: &Ask) -> Option<Refusal> {
    let last = ask.last.as_ref()?;
    if history.descends(&ask.tip, last) {
        return None;
    }
    let message = format!(
        "commit {} does not descend from {}, which was accepted last: the branch was set back or written anew; \
         if that is meant, enrol the host again",
        ask.tip.short(),
        last.short()
    );
    Some(Refusal { reason: "NotDescending", message })
}
