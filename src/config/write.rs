//! What `agentctl enroll` is told, as a fragment of settings.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{ConfigError, ENROLLED, FURTHER, Settings, fragments};
use crate::host::files::{Attributes, Root};
use crate::model::DriftMode;

/// What `agentctl enroll` is told. What is left out stays as it is in the other files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Enrolment {
    /// Report or correct.
    pub mode: DriftMode,
    /// The name the declaration is matched with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Where the declaration comes from.
    pub source: EnrolmentSource,
    /// Facts that a person gave the host.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// The table `source`, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EnrolmentSource {
    /// The repository.
    pub url: String,
    /// The branch.
    pub branch: String,
    /// The folder of the declaration within the repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// https: a file with a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// https: a file with `user:password`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic_file: Option<PathBuf>,
    /// ssh: a private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssh_key: Option<PathBuf>,
    /// https: certificate authorities to trust besides the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// ssh: the pinned host keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_hosts: Option<PathBuf>,
}

const HEAD: &str = "# Written by `agentctl enroll`; running it again replaces this file.\n\n";

/// The settings as they would be with an enrolment, which is not written.
pub fn preview(folder: &Path, enrolment: &Enrolment) -> Result<Settings, ConfigError> {
    let told = folder.join(ENROLLED);
    let text = text_of(enrolment, &told)?;
    match Root::open(folder) {
        Ok(root) => fragments::load_with(Some(&root), &told, text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => fragments::load_with(None, &told, text),
        Err(source) => Err(ConfigError::Folder { path: folder.to_owned(), source }),
    }
}

/// Writes the fragment of an enrolment into the folder of the settings, whole and durable, and reads all settings
/// back. If they are refused, the earlier fragment is back in its place (or none), and the faults are told. Returns
/// its path with the settings.
pub fn write_enrolment(folder: &Path, enrolment: &Enrolment) -> Result<(PathBuf, Settings), ConfigError> {
    let writing = |source| ConfigError::Files { doing: "written", source };
    let root = Root::open("/")
        .and_then(|top| {
            top.create_dirs(folder, ours(0o755)).map_err(io::Error::other)?;
            Root::open(folder)
        })
        .map_err(|source| ConfigError::Folder { path: folder.to_owned(), source })?;
    let told = folder.join(ENROLLED);
    let text = text_of(enrolment, &told)?;
    root.create_dirs(FURTHER, ours(0o755)).map_err(writing)?;
    let before = root.read(ENROLLED, 1 << 20).map_err(writing)?;
    root.write(ENROLLED, text.as_bytes(), ours(0o644)).map_err(writing)?;
    match fragments::load(&root) {
        Ok(settings) => Ok((told, settings)),
        Err(refused) => {
            match before {
                Some(bytes) => root.write(ENROLLED, &bytes, ours(0o644)).map(|_| ()).map_err(writing)?,
                None => root.remove(ENROLLED).map(|_| ()).map_err(writing)?,
            }
            Err(refused)
        }
    }
}

fn text_of(enrolment: &Enrolment, path: &Path) -> Result<String, ConfigError> {
    let refused = |error: toml::ser::Error| ConfigError::Enrolment {
        path: path.to_owned(),
        message: error.to_string(),
    };
    Ok(format!("{HEAD}{}", toml::to_string(enrolment).map_err(refused)?))
}

/// Owned by whoever we are: root, or the user of a test.
fn ours(mode: u32) -> Attributes {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    Attributes { uid, gid, mode }
}
