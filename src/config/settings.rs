//! What can be set.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::keep::Limits;
use crate::kind::package;
use crate::model::DriftMode;
use crate::record::Retention;
use crate::source::{Caps, Credentials, CredentialsError, Deadlines, Remote, RemoteUrl};

/// The settings of one host.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// What is done about drift: the declaration can be milder, never stricter. `warn` unless said.
    pub mode: DriftMode,
    /// The name the declaration is matched with; none means the host's own.
    pub host: Option<String>,
    /// How often the remote is asked.
    pub interval: Duration,
    /// How often everything is looked at, whatever the watches said.
    pub full_pass: Duration,
    /// Without a fetch that succeeds for so long the source is stale.
    pub stale_after: Duration,
    /// Where the declaration comes from; none until the host is enrolled.
    pub source: Option<Followed>,
    /// Facts that a person gave the host.
    pub labels: BTreeMap<String, String>,
    /// How many removals one pass makes without asking; the declaration's own limit holds too.
    pub removal_limit: u32,
    /// Paths that no declaration may touch, nor anything below them.
    pub protect: Vec<PathBuf>,
    /// How much of what was replaced or removed is kept.
    pub keep: Limits,
    /// How much history is kept.
    pub history: Retention,
    /// The group whose members may look, and connect at all.
    pub readers: String,
    /// The group whose members may change, too, if they are in the other one as well.
    pub changers: Option<String>,
    /// How long an unconfirmed guarded change lasts.
    pub guard_window: Duration,
    /// Who confirms it.
    pub confirm: Confirm,
    /// How packages are changed.
    pub packages: package::Settings,
    /// The file that metrics are written to for node_exporter; none if they are not.
    pub textfile: Option<PathBuf>,
}

/// Where the declaration comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Followed {
    /// The repository.
    pub url: RemoteUrl,
    /// The branch, without `refs/heads/`.
    pub branch: String,
    /// The folder of the declaration within the repository; none means its top.
    pub path: Option<String>,
    /// How the agent proves itself to the remote.
    pub login: Login,
    /// https: certificate authorities to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// ssh: the pinned host keys.
    pub known_hosts: Option<PathBuf>,
    /// How much a fetch may bring.
    pub caps: Caps,
    /// How long a fetch may take.
    pub deadlines: Deadlines,
}

/// How the agent proves itself to the remote. The files are root's alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Login {
    /// Not at all.
    #[default]
    None,
    /// https: a file with a token.
    Token(PathBuf),
    /// https: a file with `user:password`.
    Basic(PathBuf),
    /// ssh: a private key.
    Key(PathBuf),
}

/// Who confirms a guarded change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confirm {
    /// A new connection to the remote.
    Auto,
    /// A person, by `agentctl confirm`.
    Ask,
    /// Nobody: changes are not guarded.
    Off,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            mode: DriftMode::Warn,
            host: None,
            interval: Duration::from_secs(60),
            full_pass: Duration::from_secs(15 * 60),
            stale_after: Duration::from_secs(3600),
            source: None,
            labels: BTreeMap::new(),
            removal_limit: 10,
            protect: Vec::new(),
            keep: Limits::default(),
            history: Retention::default(),
            readers: "agentd".to_owned(),
            changers: None,
            guard_window: Duration::from_secs(60),
            confirm: Confirm::Auto,
            packages: package::Settings::default(),
            textfile: None,
        }
    }
}

impl Followed {
    /// The remote, with the credentials read from their file now.
    pub fn remote(&self) -> Result<Remote, CredentialsError> {
        let credentials = match &self.login {
            Login::None => Credentials::None,
            Login::Token(file) => Credentials::token_file(file)?,
            Login::Basic(file) => Credentials::basic_file(file)?,
            Login::Key(file) => Credentials::SshKey(file.clone()),
        };
        Ok(Remote {
            subfolder: self.path.clone(),
            credentials,
            ca_file: self.ca_file.clone(),
            known_hosts: self.known_hosts.clone(),
            caps: self.caps.clone(),
            deadlines: self.deadlines.clone(),
            ..Remote::new(self.url.clone(), self.branch.clone())
        })
    }
}
