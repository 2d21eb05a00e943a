//! A new firewall that waits for its confirmation. A person gives it, or, if the settings say so, a connection to the
//! remote that was begun after the firewall was in force.
//!
//! Beside the thread that touches the host: it may be at work on packages for longer than the change may wait.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::chain;
use super::events::Event;
use super::following::Begun;
use super::run::{Daemon, now_plus};
use crate::config::Confirm;
use crate::control::wire::ConfirmedReply;
use crate::control::{Asked, Refusal, Reply};
use crate::guard::firewall::{self, Awaiting, Confirmation, UndoError};

/// While a change waits, a remote that could not be reached is asked again after this long.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// How late the timer of a change may be, and how long a look at it may take.
const GRACE: Duration = Duration::from_secs(3);

impl Daemon {
    /// A new firewall was loaded just now.
    pub(super) fn awaited(&mut self) {
        let window = self.place.window.get().unwrap_or_default();
        info!("a new firewall is in force; unless it is confirmed it is undone in {window:?}");
        self.read_confirmation();
        self.seek_proof();
    }

    /// Asks the remote at once if that could confirm a change, and no fetch that could is under way.
    pub(super) fn seek_proof(&mut self) {
        let Some(loaded) = self.awaits_proof() else { return };
        if self.last_fetch.is_none_or(|begun| begun.at <= loaded) {
            self.ask_remote();
        }
    }

    /// A fetch succeeded: if it was begun after a change was in force, it confirms it.
    pub(super) fn prove(&mut self) {
        let (Some(_), Some(Begun { at: begun, .. })) = (self.awaits_proof(), self.last_fetch) else { return };
        let (host, sender) = (Arc::clone(&self.place.aside), self.sender.clone());
        tokio::task::spawn_blocking(move || {
            let proven = firewall::prove(&host, begun).map_err(|error| chain(&error));
            let _ = sender.send(Event::Confirmed(proven));
        });
    }

    /// A person confirms.
    pub(super) fn confirm_for(&mut self, asked: Asked) {
        let (host, sender) = (Arc::clone(&self.place.aside), self.sender.clone());
        tokio::task::spawn_blocking(move || {
            let done = firewall::confirm(&host);
            let told = match &done {
                Ok(settled) => {
                    Ok(Reply::Confirmed(ConfirmedReply { what: settled.then(|| firewall::WHAT.to_owned()) }))
                }
                Err(error @ UndoError::TooLate) => Err(Refusal::Refused { message: error.to_string() }),
                Err(error) => Err(Refusal::Failed { message: chain(error) }),
            };
            asked.replies.finish(told);
            let _ = sender.send(Event::Confirmed(done.map_err(|error| chain(&error))));
        });
    }

    /// A confirmation was tried.
    pub(super) fn confirmed(&mut self, result: Result<bool, String>) {
        match result {
            Ok(true) => info!("the new firewall is confirmed: it stays, also at boot"),
            Ok(false) => {}
            Err(message) => warn!("the new firewall could not be confirmed: {message}"),
        }
        self.read_confirmation();
        self.seek_proof();
    }

    /// How long to wait until the next fetch: not past the end of a change that a fetch could confirm.
    pub(super) fn wait_for_proof(&self, wait: Duration) -> Duration {
        match self.awaits_proof() {
            Some(_) => wait.min(TRY_AGAIN),
            None => wait,
        }
    }

    /// When it is looked whether a change that nobody confirmed took itself back. It tells of that itself unless it did
    /// not.
    pub(super) fn end_of_window(&self) -> Option<Instant> {
        let Awaiting { confirmation: Confirmation::Awaited { left, .. }, at } =
            self.view.confirmation.as_ref()?
        else {
            return None;
        };
        let since = self.clock.now().duration_since(*at).unsigned_abs();
        let wait = (*left + GRACE).saturating_sub(since).max(GRACE);
        Some(self.timers.undo.unwrap_or_else(|| now_plus(wait)))
    }

    fn read_confirmation(&mut self) {
        let (confirmation, _) = firewall::shown(&self.place.aside);
        self.view.confirmation = Some(Awaiting { confirmation, at: self.clock.now() });
        self.refresh();
    }

    /// Since when a change is in force that a connection would confirm.
    fn awaits_proof(&self) -> Option<Duration> {
        match (self.setup.confirm, self.view.confirmation.as_ref().map(|awaiting| &awaiting.confirmation)) {
            (Confirm::Auto, Some(Confirmation::Awaited { loaded, .. })) if self.follow.is_some() => *loaded,
            (Confirm::Auto | Confirm::Ask | Confirm::Off, _) => None,
        }
    }
}
