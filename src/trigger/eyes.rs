//! The two ways of watching folders behind one door. Chosen once, at the start.

use std::path::Path;
use std::sync::Arc;

use super::by_fanotify::Fanotify;
use super::by_inotify::Inotify;
use super::sight::Sight;
use crate::host::fanotify::Tell;

/// Watches what it is told to.
pub(super) enum Eyes {
    /// Tells who, and costs least.
    Fanotify(Fanotify),
    /// Works everywhere.
    Inotify(Inotify),
}

/// Why something is not watched.
#[derive(Debug)]
pub(super) enum Refused {
    /// It is not there.
    Missing,
    /// The system does not allow it, in words for a person.
    For(String),
}

/// Which way to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// fanotify where the kernel and our privileges allow it, otherwise inotify.
    Best,
    /// inotify.
    Portable,
}

impl Eyes {
    /// Opens the best there is, and says why not better.
    pub fn open(way: Way, sight: &Arc<Sight>) -> Result<(Self, Option<String>), notify::Error> {
        let worse = match way {
            Way::Portable => None,
            Way::Best => match Fanotify::open(sight) {
                Ok(fanotify) => {
                    let blurred = (!fanotify.tells_who()).then(|| {
                        "without CAP_SYS_ADMIN the kernel does not tell who made a change".to_owned()
                    });
                    return Ok((Eyes::Fanotify(fanotify), blurred));
                }
                Err(error) => {
                    Some(format!("fanotify is refused ({error}), so that no event tells who made a change"))
                }
            },
        };
        Ok((Eyes::Inotify(Inotify::open(sight)?), worse))
    }

    /// Makes the reader fail at the next event.
    #[cfg(test)]
    pub fn fail(&self) {
        match self {
            Eyes::Fanotify(fanotify) => fanotify.fail(),
            Eyes::Inotify(_) => panic!("notify has its own reader"),
        }
    }

    /// Its name in the status.
    pub const fn method(&self) -> &'static str {
        match self {
            Eyes::Fanotify(_) => "fanotify",
            Eyes::Inotify(_) => "inotify",
        }
    }

    /// Begins to watch. Once more of the same, where something else took its place, is welcome.
    pub fn watch(&mut self, path: &Path, tell: Tell) -> Result<(), Refused> {
        match self {
            Eyes::Fanotify(fanotify) => fanotify.watch(path, tell),
            Eyes::Inotify(inotify) => inotify.watch(path, tell),
        }
    }

    /// Watches no more.
    pub fn unwatch(&mut self, path: &Path, tell: Tell) {
        match self {
            Eyes::Fanotify(fanotify) => fanotify.unwatch(path, tell),
            Eyes::Inotify(inotify) => inotify.unwatch(path, tell),
        }
    }
}
