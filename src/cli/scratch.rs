//! A folder for work that leaves nothing behind: in memory, root's alone, gone when it is dropped.

use std::ffi::OsString;
use std::path::PathBuf;

use super::CliError;
use crate::host::files::{Attributes, Root};

/// Where programs of root put what must not outlive them.
const ABOVE: &str = "/run";

/// A scratch folder.
#[derive(Debug)]
pub struct Scratch {
    above: Root,
    name: OsString,
}

impl Scratch {
    /// Makes one; takes root.
    pub fn make() -> Result<Scratch, CliError> {
        let above = Root::open(ABOVE).map_err(|source| CliError::File { path: ABOVE.into(), source })?;
        let name = OsString::from(format!("agentctl.{}", std::process::id()));
        let scratch = Scratch { above, name };
        // What another process of this number left when it was killed.
        scratch.clear();
        scratch.above.create_dir(&scratch.name, Attributes::root(0o700))?;
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
