//! What to fetch, how far, and for how long.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Credentials, RemoteUrl};

/// One branch of one repository, as the local settings name it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Remote {
    /// Where the repository is.
    pub url: RemoteUrl,
    /// The branch without `refs/heads/`.
    pub branch: String,
    /// Where in the tree the declaration lives; `None` for its root.
    pub subfolder: Option<String>,
    /// How to authenticate.
    pub credentials: Credentials,
    /// https: a PEM file with certificate authorities to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// ssh: the pinned host keys. Required for ssh.
    pub known_hosts: Option<PathBuf>,
    /// How much to take.
    pub caps: Caps,
    /// How long to wait.
    pub deadlines: Deadlines,
}

/// How much a remote may send and a store may hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Caps {
    /// Commits from the tip back that are fetched at most on the first contact. A longer history is cut (shallow).
    pub commits: u32,
    /// Bytes received in one fetch.
    pub bytes: u64,
    /// Bytes of one object when unpacked; also the largest single allocation for what a remote says.
    pub object_bytes: usize,
    /// Objects in one pack.
    pub objects: u32,
    /// Packs after which the store is cloned anew: each fetch leaves one, and reads slow down with their number.
    pub packs: usize,
}

/// How long to wait for a remote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Deadlines {
    /// To be connected, encryption included.
    pub connect: Duration,
    /// Without a single byte.
    pub stall: Duration,
    /// For the whole fetch, also if bytes drip.
    pub total: Duration,
}

impl Remote {
    /// A remote with default caps and deadlines, without credentials.
    pub fn new(url: RemoteUrl, branch: impl Into<String>) -> Remote {
        Remote {
            url,
            branch: branch.into(),
            subfolder: None,
            credentials: Credentials::None,
            ca_file: None,
            known_hosts: None,
            caps: Caps::default(),
            deadlines: Deadlines::default(),
        }
    }
}

impl Default for Caps {
    fn default() -> Caps {
        Caps {
            commits: 20_000,
            bytes: 256 << 20,
            // With it, a 1.6 MB pack that unpacks to 1.5 GB fails at 8 MB resident.
            object_bytes: 16 << 20,
            objects: 500_000,
            packs: 50,
        }
    }
}

impl Default for Deadlines {
    fn default() -> Deadlines {
        Deadlines {
            connect: Duration::from_secs(10),
            stall: Duration::from_secs(20),
            total: Duration::from_secs(180),
        }
    }
}
