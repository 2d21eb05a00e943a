//! From pieces to settings that are known to make sense.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::fragment::{Fragment, Source};
use super::units;
use crate::keep::Limits;
use crate::model::DriftMode;
use crate::source::{Credentials, CredentialsError, Remote, RemoteUrl};

/// Shorter than this and a fleet becomes a load on its git server.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(5);

/// The settings of this host.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The name the declaration is matched with, if it is not the host's own.
    pub host: Option<String>,
    /// The local mode: no declaration loosens it.
    pub mode: DriftMode,
    /// How often the remote is asked.
    pub interval: Duration,
    /// How often everything is looked at.
    pub full_pass: Duration,
    /// Without a fetch for so long the source is stale.
    pub stale_after: Duration,
    /// Where the declaration comes from; none if the host is not enrolled.
    pub source: Option<Followed>,
    /// Facts a person gave the host.
    pub labels: BTreeMap<String, String>,
    /// What is kept.
    pub keep: Limits,
    /// The group that may look.
    pub readers: String,
    /// The group that may change things.
    pub changers: Option<String>,
    /// How long an unconfirmed firewall change lasts.
    pub guard_window: Duration,
    /// Who confirms it.
    pub confirm: Confirm,
}

/// The followed branch. Credentials are named, not read: they are read anew for every fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// Where.
    pub url: RemoteUrl,
    /// Which branch.
    pub branch: String,
    /// The folder of the declaration.
    pub path: Option<String>,
    /// How to authenticate.
    pub login: Login,
    /// Certificate authorities besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Pinned host keys.
    pub known_hosts: Option<PathBuf>,
    /// Commits of history at most.
    pub max_commits: Option<u32>,
    /// Bytes of one fetch at most.
    pub max_size: Option<u64>,
}

/// Where the credentials are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// None are needed.
    None,
    /// A file with a token.
    Token(PathBuf),
    /// A file with `user:password`.
    Basic(PathBuf),
    /// A private key for ssh.
    Key(PathBuf),
}

/// Who confirms a guarded change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirm {
    /// A new connection to the remote.
    Auto,
    /// A person.
    Ask,
    /// Nobody: changes are not guarded.
    Off,
}

/// A setting that makes no sense.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("setting `{key}`: {fault}")]
pub struct SettingsError {
    /// Which.
    pub key: &'static str,
    /// What is wrong and what to write instead.
    pub fault: String,
}

impl Settings {
    /// Makes the settings of all pieces together.
    pub fn of(merged: Fragment) -> Result<Settings, SettingsError> {
        let Fragment { host, mode, interval, full_pass, stale_after, source, labels, keep, control, guard } =
            merged;
        let (keep, control, guard) =
            (keep.unwrap_or_default(), control.unwrap_or_default(), guard.unwrap_or_default());
        let interval = duration("interval", interval, Duration::from_secs(60))?;
        let full_pass = duration("full_pass", full_pass, Duration::from_secs(15 * 60))?;
        for (key, value) in [("interval", interval), ("full_pass", full_pass)] {
            if value < SHORTEST_INTERVAL {
                return Err(SettingsError { key, fault: "must be 5s or more".to_owned() });
            }
        }
        let default = Limits::default();
        Ok(Settings {
            host: host.map(|name| host_name(&name)).transpose()?,
            mode: mode.map_or(Ok(DriftMode::Warn), |mode| at("mode", mode.parse()))?,
            interval,
            full_pass,
            stale_after: duration("stale_after", stale_after, Duration::from_secs(3600))?,
            source: source.map(followed).transpose()?,
            labels,
            keep: Limits {
                max_age: duration("keep.max_age", keep.max_age, default.max_age)?,
                max_bytes: keep
                    .max_size
                    .map_or(Ok(default.max_bytes), |text| at("keep.max_size", units::size(&text)))?,
            },
            readers: control.readers.unwrap_or_else(|| "agentd".to_owned()),
            changers: control.changers,
            guard_window: duration("guard.window", guard.window, Duration::from_secs(60))?,
            confirm: guard.confirm.map_or(Ok(Confirm::Auto), |text| at("guard.confirm", confirm(&text)))?,
        })
    }
}

impl Followed {
    /// What to fetch, with the credentials as they are in their files now.
    pub fn remote(&self) -> Result<Remote, CredentialsError> {
        let mut remote = Remote::new(self.url.clone(), self.branch.clone());
        remote.subfolder.clone_from(&self.path);
        remote.credentials = match &self.login {
            Login::None => Credentials::None,
            Login::Token(path) => Credentials::token_file(path)?,
            Login::Basic(path) => Credentials::basic_file(path)?,
            Login::Key(path) => Credentials::SshKey(path.clone()),
        };
        remote.ca_file.clone_from(&self.ca_file);
        remote.known_hosts.clone_from(&self.known_hosts);
        remote.caps.commits = self.max_commits.unwrap_or(remote.caps.commits);
        remote.caps.bytes = self.max_size.unwrap_or(remote.caps.bytes);
        Ok(remote)
    }
}

fn followed(source: Source) -> Result<Followed, SettingsError> {
    let Source {
        url,
        branch,
        path,
        token_file,
        basic_file,
        ca_file,
        ssh_key,
        known_hosts,
        max_commits,
        max_size,
    } = source;
    let url = url.ok_or_else(|| SettingsError {
        key: "source.url",
        fault: "is missing: `agentctl enroll --url URL` writes it".to_owned(),
    })?;
    let url = at("source.url", RemoteUrl::parse(&url).map_err(|error| error.to_string()))?;
    let files = [
        ("source.token_file", &token_file),
        ("source.basic_file", &basic_file),
        ("source.ca_file", &ca_file),
        ("source.ssh_key", &ssh_key),
        ("source.known_hosts", &known_hosts),
    ];
    for (key, path) in files {
        if path.as_deref().is_some_and(Path::is_relative) {
            return Err(SettingsError { key, fault: "must be an absolute path".to_owned() });
        }
    }
    let login = login(&url, token_file, basic_file, ssh_key)?;
    let max_size = max_size.map(|text| at("source.max_size", units::size(&text))).transpose()?;
    let branch = branch.unwrap_or_else(|| "main".to_owned());
    Ok(Followed { url, branch, path, login, ca_file, known_hosts, max_commits, max_size })
}

fn login(
    url: &RemoteUrl,
    token: Option<PathBuf>,
    basic: Option<PathBuf>,
    key: Option<PathBuf>,
) -> Result<Login, SettingsError> {
    let wrong = |key, fault: &str| Err(SettingsError { key, fault: fault.to_owned() });
    match (token, basic, key) {
        (None, None, None) => Ok(Login::None),
        (Some(token), None, None) if url.is_https() => Ok(Login::Token(token)),
        (None, Some(basic), None) if url.is_https() => Ok(Login::Basic(basic)),
        (None, None, Some(key)) if url.is_ssh() => Ok(Login::Key(key)),
        (None, None, Some(_)) => wrong("source.ssh_key", "goes with an ssh address"),
        (Some(_), None, None) => wrong("source.token_file", "goes with an https address"),
        (None, Some(_), None) => wrong("source.basic_file", "goes with an https address"),
        _ => wrong("source", "name one of token_file, basic_file and ssh_key"),
    }
}

fn confirm(text: &str) -> Result<Confirm, String> {
    match text {
        "auto" => Ok(Confirm::Auto),
        "ask" => Ok(Confirm::Ask),
        "off" => Ok(Confirm::Off),
        _ => Err(format!("`{text}` is none of \"auto\", \"ask\", \"off\"")),
    }
}

/// A label of dots, as hosts are named: what a file of the repository may be called after.
fn host_name(name: &str) -> Result<String, SettingsError> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || ".-".contains(c);
    match !name.is_empty() && name.len() <= 253 && !name.starts_with(['-', '.']) && name.chars().all(is_fine)
    {
        true => Ok(name.to_ascii_lowercase()),
        false => Err(SettingsError { key: "host", fault: format!("`{name}` is no host name") }),
    }
}

fn duration(key: &'static str, text: Option<String>, default: Duration) -> Result<Duration, SettingsError> {
    text.map_or(Ok(default), |text| at(key, units::duration(&text)))
}

fn at<T>(key: &'static str, result: Result<T, String>) -> Result<T, SettingsError> {
    result.map_err(|fault| SettingsError { key, fault })
}
