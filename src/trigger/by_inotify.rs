//! The portable way: `notify`, which is inotify on Linux. It does not tell who.

use std::path::Path;
use std::sync::Arc;

use notify::event::{Event, EventKindMask, Flag, ModifyKind};
use notify::{Config, ErrorKind, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::eyes::Refused;
use super::sight::Sight;
use crate::host::fanotify::Tell;
use crate::model::Deeds;

/// Two watchers, since each has one mask for all it watches.
pub(super) struct Inotify {
    /// Sees every change in the folders that hold something managed.
    changes: RecommendedWatcher,
    /// Sees only what comes and goes in the folders on the way to those: writes in `/etc` or `/var` beside what is
    /// managed wake nobody.
    names: RecommendedWatcher,
}

impl Inotify {
    /// Fails where the kernel gives no inotify instance.
    pub fn open(sight: &Arc<Sight>) -> Result<Self, notify::Error> {
        // CORE leaves out OPEN and ACCESS: reading a managed file must not wake us. The end of writing is told
        // where nothing was written, too: that is how dpkg's locks are let go, and what is written through a
        // mapping shows nowhere else.
        let changes = EventKindMask::CORE | EventKindMask::ACCESS_CLOSE;
        let names = EventKindMask::CREATE | EventKindMask::REMOVE | EventKindMask::MODIFY_NAME;
        Ok(Inotify { changes: watcher(changes, sight)?, names: watcher(names, sight)? })
    }

    pub fn watch(&mut self, path: &Path, tell: Tell) -> Result<(), Refused> {
        self.of(tell).watch(path, RecursiveMode::NonRecursive).map_err(|error| refused(&error))
    }

    pub fn unwatch(&mut self, path: &Path, tell: Tell) {
        // The kernel may have dropped it already, with its folder.
        let _ = self.of(tell).unwatch(path);
    }

    fn of(&mut self, tell: Tell) -> &mut RecommendedWatcher {
        match tell {
            Tell::Names => &mut self.names,
            Tell::Changes | Tell::File => &mut self.changes,
        }
    }
}

fn watcher(kinds: EventKindMask, sight: &Arc<Sight>) -> Result<RecommendedWatcher, notify::Error> {
    let config = Config::default().with_event_kinds(kinds).with_follow_symlinks(true);
    let sight = Arc::clone(sight);
    let handler = move |event: notify::Result<Event>| match event {
        Ok(event) => saw(&sight, &event),
        // Whatever it was, something may have been missed.
        Err(_) => sight.overflowed(),
    };
    RecommendedWatcher::new(handler, config)
}

fn saw(sight: &Sight, event: &Event) {
    // An overflow comes without a path: that is what makes it easy to miss.
    if event.attrs.flag() == Some(Flag::Rescan) {
        return sight.overflowed();
    }
    let deeds = match event.kind {
        EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) => {
            Deeds { named: true, ..Deeds::default() }
        }
        EventKind::Modify(ModifyKind::Metadata(_)) => Deeds { attributed: true, ..Deeds::default() },
        EventKind::Modify(ModifyKind::Any | ModifyKind::Data(_) | ModifyKind::Other)
        | EventKind::Access(_)
        | EventKind::Any
        | EventKind::Other => Deeds { wrote: true, ..Deeds::default() },
    };
    event.paths.iter().for_each(|path| sight.changed(path, deeds, || None));
}

/// A folder that is not there yet is watched for on its way.
fn refused(error: &notify::Error) -> Refused {
    match &error.kind {
        ErrorKind::PathNotFound | ErrorKind::WatchNotFound => Refused::Missing,
        ErrorKind::Io(io) if io.kind() == std::io::ErrorKind::NotFound => Refused::Missing,
        ErrorKind::MaxFilesWatch => Refused::For(
            "the kernel's limit is reached: raise fs.inotify.max_user_watches, e.g. in /etc/sysctl.d"
                .to_owned(),
        ),
        ErrorKind::Generic(_) | ErrorKind::Io(_) | ErrorKind::InvalidConfig(_) => {
            Refused::For(error.to_string())
        }
    }
}
