//! The agent's own settings: `/etc/agentd/agent.toml`, then the fragments `/etc/agentd/agent.toml.d/*.toml` in
//! the order of their names; later wins key by key. What protects the host from the repository stands here
//! alone: no commit can loosen it.
//!
//! May not: know a declaration, touch anything but these files, or guess: an unknown key, a wrong type or a file
//! that others can write refuses the settings as a whole, with every fault at its place.

mod amounts;
mod fragments;
mod read;
mod settings;
#[cfg(test)]
mod tests;
mod write;

use std::io;
use std::path::{Path, PathBuf};

use crate::host::files::{FilesError, Root};
use crate::model::Diagnostic;

pub use amounts::{duration, show_duration};
pub use settings::{Confirm, Followed, Login, Settings};
pub use write::{Enrolment, EnrolmentSource, preview, write_enrolment};

/// Where the settings are.
pub const FOLDER: &str = "/etc/agentd";

/// The settings proper, in their folder.
const FIRST: &str = "agent.toml";

/// The folder of fragments, in their folder.
const FURTHER: &str = "agent.toml.d";

/// The fragment that `agentctl enroll` writes. The name sorts after what images and packages lay there.
pub const ENROLLED: &str = "agent.toml.d/enroll.toml";

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file could not be read or written.
    #[error("the settings could not be {doing}")]
    Files {
        /// `read` or `written`.
        doing: &'static str,
        /// On what, and why.
        #[source]
        source: FilesError,
    },
    /// Their folder could not be opened.
    #[error("could not open the folder of the settings, {}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Something in them is wrong.
    #[error("the settings are refused:\n{}", shown(.0))]
    Faults(Vec<Diagnostic>),
    /// What `enroll` was told makes no settings.
    #[error("{path}: {message}", path = path.display())]
    Enrolment {
        /// The file that would be written.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
}

/// Reads the settings in `folder`. Without any file these are the defaults: no source, mode `warn`.
pub fn load(folder: &Path) -> Result<Settings, ConfigError> {
    match Root::open(folder) {
        Ok(root) => fragments::load(&root),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Settings::default()),
        Err(source) => Err(ConfigError::Folder { path: folder.to_owned(), source }),
    }
}

fn shown(faults: &[Diagnostic]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
