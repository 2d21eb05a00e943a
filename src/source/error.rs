//! What goes wrong between a remote and the store, typed, and classed by what would help.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::CommitId;

use super::Remote;

/// A fetch that did not end with a usable tip. The last good revision stays in force. It crosses a process as data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchError {
    /// Branch and address, which never holds credentials: "branch `main` of https://git.example.org/fleet".
    pub remote: String,
    /// What happened.
    pub fault: Fault,
    /// What the system, the server or `ssh` said; may be empty.
    pub cause: String,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Name not found, connection refused, no route, no connection in time.
    Unreachable,
    /// The connection ended in the middle.
    Interrupted,
    /// No byte for the stall deadline.
    Stalled {
        /// Seconds without a byte.
        seconds: u64,
    },
    /// Bytes came, but the whole took too long.
    TimedOut {
        /// Seconds for the whole fetch.
        seconds: u64,
    },
    /// The server answered that it can't serve now (429, 5xx).
    Unavailable {
        /// The HTTP status.
        status: u16,
    },
    /// The server wants other credentials, or does not allow these.
    Auth,
    /// The host key is not the pinned one, or none is pinned.
    HostKey,
    /// The certificate of the server is not trusted, expired, or for another name.
    Certificate,
    /// The server sent us elsewhere; nothing was sent there.
    Redirected {
        /// Where to, without user, query and fragment.
        to: String,
    },
    /// No repository at this address, or none that these credentials may see.
    RepositoryMissing,
    /// The repository has no such branch, or no commit yet.
    BranchMissing,
    /// The answer is not git's.
    Protocol,
    /// More data, objects or a larger object than the caps allow, also without history.
    TooLarge {
        /// Which cap, in words.
        what: String,
    },
    /// The tip does not descend from the commit that was accepted last.
    Rewritten {
        /// Accepted last.
        last: CommitId,
        /// What the branch points to now.
        tip: CommitId,
    },
    /// The history that was kept is too short to show that the tip descends from the accepted commit.
    HistoryTooShort {
        /// Accepted last.
        last: CommitId,
        /// What the branch points to now.
        tip: CommitId,
    },
    /// What was received does not hold together, or the remote says that its repository does not.
    Corrupt,
    /// The settings of this remote can't work.
    Settings,
    /// Another fetch has the store.
    Busy,
    /// The store could not be read or written.
    Disk {
        /// The file or folder.
        path: PathBuf,
    },
}

/// What would help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// It often passes by itself within seconds.
    Soon,
    /// The next interval, with back-off.
    NextInterval,
    /// A person has to change something; asking on is harmless but will not help.
    Person,
}

/// An object or the store itself could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// There is no store, or it can't be opened.
    #[error("cannot open the object store {}: {cause}", path.display())]
    Open {
        /// The store.
        path: PathBuf,
        /// What was found.
        cause: String,
    },
    /// An object that must be there is not.
    #[error("object {id} is not in the store")]
    Missing {
        /// Its id.
        id: String,
    },
    /// An object can't be decoded, or its content does not have its id.
    #[error("object {id} in the store is damaged: {cause}")]
    Damaged {
        /// Its id.
        id: String,
        /// What was found.
        cause: String,
    },
    /// An object is larger than may be read.
    #[error("object {id} has {size} bytes, {cap} are allowed")]
    TooLarge {
        /// Its id.
        id: String,
        /// Its size when unpacked.
        size: u64,
        /// The cap.
        cap: u64,
    },
}

impl FetchError {
    pub(crate) fn new(remote: &Remote, trouble: Trouble) -> FetchError {
        let Trouble { fault, cause } = trouble;
        FetchError { remote: format!("branch `{}` of {}", remote.branch, remote.url), fault, cause }
    }

    /// What the settings name can't be used.
    pub fn settings(remote: &Remote, cause: &std::io::Error) -> FetchError {
        FetchError::new(remote, Trouble::new(Fault::Settings, cause))
    }

    /// What would help.
    pub fn retry(&self) -> Retry {
        match &self.fault {
            Fault::Unreachable | Fault::Interrupted | Fault::Busy => Retry::Soon,
            Fault::Stalled { .. }
            | Fault::TimedOut { .. }
            | Fault::Unavailable { .. }
            | Fault::Protocol
            | Fault::Corrupt
            | Fault::Disk { .. } => Retry::NextInterval,
            Fault::Auth
            | Fault::HostKey
            | Fault::Certificate
            | Fault::Redirected { .. }
            | Fault::RepositoryMissing
            | Fault::BranchMissing
            | Fault::TooLarge { .. }
            | Fault::Rewritten { .. }
            | Fault::HistoryTooShort { .. }
            | Fault::Settings => Retry::Person,
        }
    }

    /// The reason as one CamelCase word, for a condition or a metric label.
    pub fn reason(&self) -> &'static str {
        match &self.fault {
            Fault::Unreachable => "Unreachable",
            Fault::Interrupted => "Interrupted",
            Fault::Stalled { .. } => "Stalled",
            Fault::TimedOut { .. } => "TimedOut",
            Fault::Unavailable { .. } => "Unavailable",
            Fault::Auth => "AuthenticationFailed",
            Fault::HostKey => "HostKeyRefused",
            Fault::Certificate => "CertificateRefused",
            Fault::Redirected { .. } => "Redirected",
            Fault::RepositoryMissing => "RepositoryMissing",
            Fault::BranchMissing => "BranchMissing",
            Fault::Protocol => "ProtocolError",
            Fault::TooLarge { .. } => "TooLarge",
            Fault::Rewritten { .. } => "HistoryRewritten",
            Fault::HistoryTooShort { .. } => "HistoryTooShort",
            Fault::Corrupt => "Corrupt",
            Fault::Settings => "InvalidSettings",
            Fault::Busy => "Busy",
            Fault::Disk { .. } => "StoreUnusable",
        }
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FetchError { remote, fault, cause } = self;
        write!(f, "cannot fetch {remote}: {fault}")?;
        if cause.is_empty() { Ok(()) } else { write!(f, " ({cause})") }
    }
}

impl std::error::Error for FetchError {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Unreachable => f.write_str("the host can't be reached; check network, name service and firewall"),
            Fault::Interrupted => f.write_str("the connection ended in the middle; it is tried again"),
            Fault::Stalled { seconds } => write!(f, "the server sent nothing for {seconds} s; it is tried again"),
            Fault::TimedOut { seconds } => write!(f, "it was not done after {seconds} s; it is tried again"),
            Fault::Unavailable { status } => {
                write!(f, "the server can't serve now (HTTP {status}); it is tried again")
            }
            Fault::Auth => f.write_str(
                "the server does not accept our credentials; renew the token or key, and check that it may read the repository",
            ),
            Fault::HostKey => f.write_str(
                "the server's host key is not the pinned one; if the key was changed on purpose, put the new one into the known_hosts file",
            ),
            Fault::Certificate => f.write_str(
                "the server's certificate is not trusted; renew it, or name the authority's file as the extra CA file",
            ),
            Fault::Redirected { to } => {
                write!(f, "the server redirects to {to}, which is not followed; set that address if it is right")
            }
            Fault::RepositoryMissing => {
                f.write_str("there is no repository at this address, or our credentials may not see it")
            }
            Fault::BranchMissing => {
                f.write_str("the repository has no such branch or no commit on it; push it, or name another branch")
            }
            Fault::Protocol => f.write_str("the answer is not that of a git server; check the address"),
            Fault::TooLarge { what } => {
                write!(f, "the repository exceeds the limit of {what}; make it smaller or raise the limit")
            }
            Fault::Rewritten { last, tip } => write!(
                f,
                "the branch was rewritten: {tip} does not descend from the accepted {last}; push a commit on top of it, or accept the new history by `agentctl enroll` with the same --url and --branch"
            ),
            Fault::HistoryTooShort { last, tip } => write!(
                f,
                "the history within the limits does not show that {tip} descends from the accepted {last}; raise the limits, or accept it by `agentctl enroll` with the same --url and --branch"
            ),
            Fault::Corrupt => f.write_str(
                "what the remote sent is damaged; the last good revision stays in force: run `git fsck` in the repository at the remote",
            ),
            Fault::Settings => f.write_str("the settings of the source don't fit"),
            Fault::Busy => f.write_str("another fetch is using the store; it is tried again"),
            Fault::Disk { path } => {
                write!(f, "the store {} can't be used; check free space and permissions", path.display())
            }
        }
    }
}

impl fmt::Display for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Retry::Soon => "retried soon",
            Retry::NextInterval => "retried at the next interval",
            Retry::Person => "waits for a person",
        })
    }
}

/// A fault inside this room, before the remote's name is put to it.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub fault: Fault,
    pub cause: String,
}

/// Longest cause kept: servers and `ssh` may say anything.
const LONGEST_CAUSE: usize = 600;

impl Trouble {
    /// A fault with what was said, cut and cleaned of control characters.
    pub fn new(fault: Fault, cause: impl fmt::Display) -> Trouble {
        let clean = |c: char| if c.is_control() { ' ' } else { c };
        let cause: String = cause.to_string().trim().chars().map(clean).take(LONGEST_CAUSE).collect();
        Trouble { fault, cause }
    }

    pub fn bare(fault: Fault) -> Trouble {
        Trouble { fault, cause: String::new() }
    }

    pub fn disk(path: &std::path::Path, cause: impl fmt::Display) -> Trouble {
        Trouble::new(Fault::Disk { path: path.to_owned() }, cause)
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Trouble {
        match &error {
            StoreError::TooLarge { cap, .. } => {
                Trouble::new(Fault::TooLarge { what: format!("{cap} bytes in one object") }, &error)
            }
            StoreError::Open { .. } | StoreError::Missing { .. } | StoreError::Damaged { .. } => {
                Trouble::new(Fault::Corrupt, &error)
            }
        }
    }
}
