//! The address of a repository: a strict grammar, so that nothing in it can become an option, a command, a second line
//! of a protocol, or a printed secret.

mod grammar;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Longest address taken, in bytes; longer ones are mistakes or attacks.
const LONGEST: usize = 2048;

/// An address that was checked. Its text never holds a credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RemoteUrl {
    text: String,
    place: Place,
}

/// Where an address leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// `https://host[:port]/path`
    Https,
    /// `ssh://[user@]host[:port]/path` and `[user@]host:path`
    Ssh(SshPlace),
    /// `/path` and `file:///path`
    Local(PathBuf),
}

/// The parts of an ssh address, each safe to be an argument after `--`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SshPlace {
    pub user: Option<String>,
    /// Without the brackets of an IPv6 address.
    pub host: String,
    pub port: Option<u16>,
    /// As the server shall see it; quoted when sent.
    pub path: String,
}

/// Why an address was refused. The message repeats at most the scheme or the host, so that a secret in the address is not printed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Nothing was given.
    #[error("the repository address is empty: give https://, ssh://, user@host:path or an absolute path")]
    Empty,
    /// Longer than any real address.
    #[error("the repository address is longer than {LONGEST} bytes")]
    TooLong,
    /// A newline, NUL, escape or other control character, or white space.
    #[error("the repository address holds a control character or white space (byte {at}): remove it")]
    ControlCharacter {
        /// Offset of the byte.
        at: usize,
    },
    /// A transport that can be read or changed on the way.
    #[error("`{scheme}://` is neither encrypted nor authenticated: use https:// or ssh://")]
    Plain {
        /// The scheme as it was given.
        scheme: String,
    },
    /// A transport that we don't have, among them git's `ext::` that runs a command.
    #[error("`{scheme}` is no transport of agentd: use https://, ssh://, user@host:path or an absolute path")]
    Scheme {
        /// The scheme as it was given.
        scheme: String,
    },
    /// `https://user:secret@host/`: it would end up in logs and process lists.
    #[error(
        "the address carries a user name or password: put them into the credentials file and leave them out here"
    )]
    EmbeddedCredentials,
    /// A password in an ssh address.
    #[error("the ssh address carries a password: agentd uses a key file alone")]
    EmbeddedPassword,
    /// The host is missing or has characters that no host name has, or starts like an option.
    #[error("the host in the address is not a host name or IP address")]
    Host,
    /// The user is missing before the `@`, starts like an option or has odd characters.
    #[error("the user name before `@` is not valid")]
    User,
    /// Not a number between 1 and 65535.
    #[error("the port in the address is not a number between 1 and 65535")]
    Port,
    /// No path, one that starts like an option, one with `..`, a query or a fragment.
    #[error("the path in the address is not valid: {why}")]
    Path {
        /// What is wrong with it.
        why: &'static str,
    },
    /// A path such as `repo.git`.
    #[error("a local repository needs an absolute path that starts with `/`")]
    Relative,
}

impl RemoteUrl {
    /// Reads an address, or says why it is refused.
    pub fn parse(text: &str) -> Result<RemoteUrl, UrlError> {
        let place = grammar::place(text)?;
        Ok(RemoteUrl { text: text.to_owned(), place })
    }

    /// The address as it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The path, for a repository on this machine.
    pub fn local_path(&self) -> Option<&Path> {
        match &self.place {
            Place::Local(path) => Some(path),
            Place::Https | Place::Ssh(_) => None,
        }
    }

    /// True for ssh, which needs a key file and pinned host keys.
    pub fn is_ssh(&self) -> bool {
        matches!(self.place, Place::Ssh(_))
    }

    /// True for https, which takes a token or a password.
    pub fn is_https(&self) -> bool {
        matches!(self.place, Place::Https)
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }
}

impl fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for RemoteUrl {
    type Error = UrlError;
    fn try_from(text: String) -> Result<RemoteUrl, UrlError> {
        RemoteUrl::parse(&text)
    }
}

impl From<RemoteUrl> for String {
    fn from(url: RemoteUrl) -> String {
        url.text
    }
}
