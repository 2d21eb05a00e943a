//! A new firewall that waits for its confirmation: a connection to the remote that was begun after it was in force
//! gives it, if the settings say so.

use std::time::Duration;

use tracing::{info, warn};

use super::chain;
use super::events::Event;
use super::run::Daemon;
use crate::config::Confirm;
use crate::guard::firewall::{self, Confirmation};

/// While a change waits, a remote that could not be reached is asked again after this long.
const TRY_AGAIN: Duration = Duration::from_secs(5);

impl Daemon {
    /// Asks the remote at once if only that can confirm a change, and no fetch that could is under way.
    pub(super) fn seek_proof(&mut self) {
        let Some(loaded) = self.awaits_proof() else { return };
        let idle = self.timers.fetch.is_some();
        if idle && self.fetch_begun.is_none_or(|begun| begun <= loaded) {
            self.fetch();
        }
    }

    /// A fetch succeeded: if it was begun after a change was in force, it confirms it.
    pub(super) fn prove(&mut self) {
        let (Some(_), Some(begun)) = (self.awaits_proof(), self.fetch_begun) else { return };
        let (shop, sender) = (self.shop.clone(), self.sender.clone());
        tokio::spawn(async move {
            let proven = shop.ask(move |workshop| (firewall::prove(&workshop.host, begun), workshop.view()));
            let Ok((proven, view)) = proven.await else { return };
            match proven {
                Ok(true) => info!("the firewall change is confirmed: the remote was reached through it"),
                Ok(false) => {}
                Err(error) => warn!("the firewall change is not confirmed: {}", chain(&error)),
            }
            let _ = sender.send(Event::Viewed(Box::new(view)));
        });
    }

    /// How long to wait until the next fetch: not past the end of a change that a fetch could confirm.
    pub(super) fn wait_for_proof(&self, wait: Duration) -> Duration {
        match self.awaits_proof() {
            Some(_) => wait.min(TRY_AGAIN),
            None => wait,
        }
    }

    /// Since when a change is in force that a connection would confirm.
    fn awaits_proof(&self) -> Option<Duration> {
        match (self.setup.confirm, &self.view.confirmation) {
            (Confirm::Auto, Some(Confirmation::Awaited { loaded, .. })) if self.follow.is_some() => *loaded,
            (Confirm::Auto | Confirm::Ask | Confirm::Off, _) => None,
        }
    }
}
