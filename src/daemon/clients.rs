//! Those who ask over the control socket: answered from the last snapshot, by the thread that touches the host, or,
//! for a sync, when its pass is done.

use super::answers::{self, Answered};
use super::events::Event;
use super::listening::Word;
use super::run::Daemon;
use crate::control::wire::{DoneReply, FetchFirst, Progress, ProgressReply, StatusReply, SyncReply};
use crate::control::{Asked, Refusal, Reply, Request};
use crate::model::Trigger;
use crate::reconcile::{PassReport, Scope};
use crate::status::standing::line_of;

/// A client that waits for a sync.
pub(super) struct Sync {
    asked: Asked,
    stage: Stage,
    fetch_error: Option<String>,
}

/// How far a sync is. It is answered by what was begun after it was asked for, and by nothing else.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Until what the remote has is in force.
    Following,
    /// Until its pass begins.
    Waiting,
    /// Until its pass ends.
    Passing,
}

impl Daemon {
    pub(super) fn asked(&mut self, asked: Asked) {
        match &asked.request {
            Request::Status => {
                self.refresh();
                let answer = match &self.snapshot {
                    Some(snapshot) => {
                        Ok(Reply::Status(Box::new(StatusReply { status: (**snapshot).clone() })))
                    }
                    None => Err(Refusal::Busy),
                };
                asked.replies.finish(answer);
            }
            Request::Reload => {
                self.reload(Word::OfAPerson);
                let message = "the settings were read again".to_owned();
                asked.replies.finish(Ok(Reply::Done(DoneReply { message })));
            }
            Request::Sync(order) => {
                let fetch_first = order.fetch;
                self.syncs.push(Sync { asked, fetch_error: None, stage: Stage::Following });
                self.errands.reconsider();
                match fetch_first {
                    FetchFirst::Yes => {
                        self.tell_syncs(&Progress::Fetching);
                        self.ask_remote();
                    }
                    FetchFirst::No => self.syncs_may_pass(),
                }
            }
            Request::Confirm => self.confirm_for(asked),
            Request::Events(_) => self.followers.asked(asked),
            Request::Diff(_)
            | Request::Plan
            | Request::Suspend(_)
            | Request::Resume(_)
            | Request::Approve(_)
            | Request::History(_)
            | Request::Verify(_)
            | Request::Explain(_)
            | Request::Fingerprint
            | Request::Restore(_) => self.ask_shop(asked),
        }
    }

    /// Everything that needs the host or the record is answered by the thread that has them.
    pub(super) fn ask_shop(&mut self, asked: Asked) {
        let (shop, sender) = (self.shop.clone(), self.sender.clone());
        tokio::spawn(async move {
            let Asked { request, peer, replies } = asked;
            let answered = shop.ask(move |workshop| answers::answer(workshop, request, &peer)).await;
            match answered {
                Err(_) => replies.finish(Err(Refusal::Busy)),
                Ok(Answered { reply, view, look_at }) => {
                    replies.finish(reply);
                    if let Some(view) = view {
                        let _ = sender.send(Event::Viewed(Box::new(view)));
                    }
                    if let Some(scope) = look_at {
                        let _ = sender.send(Event::Wanted(scope));
                    }
                }
            }
        });
    }

    /// Following is over, one way or the other: those who wait for a sync get their pass.
    pub(super) fn syncs_may_pass(&mut self) {
        let fetch_error = self.follow.as_ref().and_then(|follow| follow.trouble.clone());
        if self.view.desired.is_none() {
            for sync in std::mem::take(&mut self.syncs) {
                let message = fetch_error.clone().unwrap_or_else(|| {
                    let rejected = self.follow.as_ref().and_then(|follow| follow.rejected.as_ref());
                    rejected.map_or_else(
                        || "this host is not enrolled: `agentctl enroll --url URL --branch NAME`".to_owned(),
                        |rejected| rejected.message.clone(),
                    )
                });
                sync.asked.replies.finish(Err(Refusal::Failed { message }));
            }
            return;
        }
        let mut any = false;
        for sync in self.syncs.iter_mut().filter(|sync| sync.stage == Stage::Following) {
            sync.stage = Stage::Waiting;
            sync.fetch_error.clone_from(&fetch_error);
            any = true;
        }
        if any {
            self.want_pass(Scope::Full, Trigger::Request);
        }
    }

    /// A pass over everything begins.
    pub(super) fn syncs_pass(&mut self) {
        for sync in self.syncs.iter_mut().filter(|sync| sync.stage == Stage::Waiting) {
            sync.stage = Stage::Passing;
        }
    }

    pub(super) fn finish_syncs(&mut self, report: &PassReport) {
        let Some(snapshot) = self.snapshot.clone() else { return };
        let (done, waiting) =
            std::mem::take(&mut self.syncs).into_iter().partition(|sync| sync.stage == Stage::Passing);
        self.syncs = waiting;
        for sync in done {
            let reply = SyncReply {
                status: (*snapshot).clone(),
                resources: report.findings.iter().map(|seen| line_of(seen, snapshot.at)).collect(),
                fetch_error: sync.fetch_error,
            };
            sync.asked.replies.finish(Ok(Reply::Sync(Box::new(reply))));
        }
    }

    pub(super) fn tell_syncs(&self, progress: &Progress) {
        for sync in &self.syncs {
            let reply = ProgressReply { progress: progress.clone() };
            sync.asked.replies.more(Reply::Progress(reply));
        }
    }
}
