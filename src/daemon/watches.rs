//! Everything that wakes the loop by itself: folders, mounts, the packet filter, systemd. Losing one never stops the
//! others.

use std::sync::Arc;

use jiff::Timestamp;
use tracing::{info, warn};

use crate::host::clock::Clock;
use crate::kind::{Desired, Watch};
use crate::reconcile::Scope;
use crate::status::WatchHealth;
use crate::trigger::{FirewallWatch, Inbox, MountWatch, UnitWatch, Watcher, Way};

/// The watchers, and what each is there for.
pub struct Watches {
    folders: Result<Watcher, NoFolders>,
    firewall: FirewallWatch,
    units: UnitWatch,
    mounts: MountWatch,
}

/// Folders can't be watched at all.
struct NoFolders {
    since: Timestamp,
    why: String,
}

impl Watches {
    /// Watchers that put what they notice into `inbox`; they watch nothing yet.
    pub fn new(inbox: &Arc<Inbox>, clock: &Arc<dyn Clock>) -> Self {
        let since = clock.now();
        let folders = Watcher::new(Way::Best, Arc::clone(inbox), Arc::clone(clock)).map_err(|error| {
            warn!("folders can't be watched: the full pass covers them: {error}");
            NoFolders { since, why: format!("folders can't be watched ({error}); the full pass covers them") }
        });
        if let Ok(folders) = &folders {
            match folders.method() {
                (method, None) => info!("folders are watched by {method}"),
                (method, Some(why)) => info!("folders are watched by {method}: {why}"),
            }
        }
        let mut mounts = MountWatch::new(Arc::clone(inbox), Arc::clone(clock));
        mounts.arm();
        Watches {
            folders,
            firewall: FirewallWatch::new(Arc::clone(inbox), Arc::clone(clock)),
            units: UnitWatch::new(Arc::clone(inbox), Arc::clone(clock)),
            mounts,
        }
    }

    /// Watches what concerns this desired state, and nothing else.
    pub fn want(&mut self, watches: Vec<Watch>, desired: &Desired) {
        if let Ok(folders) = &mut self.folders {
            folders.want(watches);
        }
        match desired.firewall.is_empty() {
            true => self.firewall.disarm(),
            false => self.firewall.arm(),
        }
        // A name that is none is the kind's to complain about.
        self.units.want(desired.service.keys().filter_map(|key| key.as_str().parse().ok()).collect());
    }

    /// Sets anew what was lost, because something moved. Gives what came under watch just now and is worth a look.
    pub fn rearm(&mut self) -> Scope {
        self.folders.as_mut().map_or_else(|_| Scope::nothing(), Watcher::rearm)
    }

    /// Watches are themselves reconciled, wanted against present, with every full pass, which looks at everything.
    pub fn reconcile(&mut self, desired: Option<&Desired>) {
        if let Ok(folders) = &mut self.folders {
            folders.reconcile();
        }
        if desired.is_some_and(|desired| !desired.firewall.is_empty()) {
            self.firewall.arm();
        }
        self.mounts.arm();
    }

    /// How each is.
    pub fn health(&self) -> Vec<WatchHealth> {
        let folders = match &self.folders {
            Ok(folders) => folders.health(),
            Err(NoFolders { since, why }) => vec![WatchHealth {
                name: "file".to_owned(),
                method: "inotify".to_owned(),
                live_since: None,
                blind_since: Some(*since),
                watches: 0,
                events: 0,
                overflows: 0,
                message: Some(why.clone()),
            }],
        };
        let others = self.firewall.health().into_iter().chain(self.units.health());
        folders.into_iter().chain(others).chain([self.mounts.health()]).collect()
    }
}
