//! A folder for work that leaves nothing behind: its owner's alone, for root in memory, gone when it is dropped.

use std::ffi::OsString;
use std::path::PathBuf;

use super::CliError;
use crate::host::files::{Attributes, Root};

/// Where programs of root put what must not outlive them.
const OF_ROOT: &str = "/run";
/// The same for everybody else. A name that somebody took there before us is an error and never used.
const OF_ALL: &str = "/tmp";

/// A scratch folder.
#[derive(Debug)]
pub struct Scratch {
    above: Root,
    name: OsString,
}

impl Scratch {
    /// Makes one.
    pub fn make() -> Result<Scratch, CliError> {
        let uid = rustix::process::geteuid();
        let place = if uid.is_root() { OF_ROOT } else { OF_ALL };
        let above = Root::open(place).map_err(|source| CliError::File { path: place.into(), source })?;
        let name = OsString::from(format!("agentctl.{}", std::process::id()));
        let scratch = Scratch { above, name };
        // What another process of this number left when it was killed.
        scratch.clear();
        let (uid, gid) = (uid.as_raw(), rustix::process::getegid().as_raw());
        scratch.above.create_dir(&scratch.name, Attributes { uid, gid, mode: 0o700 })?;
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
