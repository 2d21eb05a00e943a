//! A folder for work that leaves nothing behind: its owner's alone, for root in memory, gone when it is dropped.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::CliError;
use crate::host::files::{Attributes, Root};
use crate::worker::Workers;

/// Where programs of root put what must not outlive them.
const OF_ROOT: &str = "/run";
/// The same for everybody else. A name that somebody took there before us is an error and never used.
const OF_ALL: &str = "/tmp";

/// How many this process made: each has a name of its own.
static MADE: AtomicU32 = AtomicU32::new(0);

/// A scratch folder.
#[derive(Debug)]
pub struct Scratch {
    above: Root,
    name: OsString,
}

impl Scratch {
    /// Makes one.
    pub fn make() -> Result<Scratch, CliError> {
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        let place = if uid.is_root() { OF_ROOT } else { OF_ALL };
        Scratch::owned(PathBuf::from(place), (uid.as_raw(), gid.as_raw()), 0o700)
    }

    /// Makes one for processes of another user to fill.
    pub fn for_workers(workers: &dyn Workers) -> Result<Scratch, CliError> {
        Scratch::owned(workers.scratch(), workers.user().map_err(CliError::NoUser)?, 0o750)
    }

    fn owned(place: PathBuf, (uid, gid): (u32, u32), mode: u32) -> Result<Scratch, CliError> {
        let above = Root::open(&place).map_err(|source| CliError::File { path: place, source })?;
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = OsString::from(format!("agentctl.{}.{number}", std::process::id()));
        let scratch = Scratch { above, name };
        // What another process of this number left when it was killed.
        scratch.clear();
        scratch.above.create_dir(&scratch.name, Attributes { uid, gid, mode })?;
        Ok(scratch)
    }

    /// Its path.
    pub fn path(&self) -> PathBuf {
        self.above.absolute(&self.name)
    }

    fn clear(&self) {
        if let Ok(Some(top)) = self.above.folder("") {
            // In memory, and gone with the next boot at the latest.
            let _ = top.remove_tree(&self.name);
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.clear();
    }
}
