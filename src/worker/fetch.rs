//! The fetching process: network, and the object store; nothing else.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::confine::{Reach, confine};
use super::{Worker, WorkerError, read_request, write_answer};
use crate::host::files::{Attributes, FilesError, Root};
use crate::host::privilege::Limits;
use crate::host::program::{Programs, ProgramsBeside};
use crate::model::CommitId;
use crate::source::{self, Care, Credentials, FetchError, Fetched, Remote};

/// Beyond the fetch's own deadline: starting, compacting and syncing the store.
const GRACE: Duration = Duration::from_secs(60);

/// What is asked of the process.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    /// The folder of the store; belongs to the unprivileged user.
    pub store: PathBuf,
    /// What to fetch.
    pub remote: Remote,
    /// The commit that was accepted last.
    pub last: Option<CommitId>,
    /// How closely to look at the store first.
    pub care: Care,
}

/// What came of it: the process did not work out, or the fetch failed, or it is well.
pub type Answered = Result<Result<Fetched, FetchError>, WorkerError>;

/// Runs the process and waits for its answer.
pub fn run(request: &Request) -> Answered {
    let name = Worker::Fetch.name();
    let run = Worker::Fetch.run(request, request.remote.deadlines.total + GRACE)?;
    // Beside the pass: that fetches go on is no proof that it does.
    let done = ProgramsBeside.run(&run).map_err(|source| WorkerError::Process { name, source })?;
    if !done.succeeded() {
        return Err(WorkerError::NoAnswer { name, complaint: done.complaint() });
    }
    serde_json::from_slice(&done.stdout)
        .map_err(|error| WorkerError::NoAnswer { name, complaint: error.to_string() })
}

/// The process itself.
pub(super) fn main(input: impl Read, output: &mut impl Write) -> io::Result<()> {
    let request: Request = read_request(input)?;
    let staged = Staged::open(&request.remote)?;
    let caps = &request.remote.caps;
    let limits = Limits {
        address_space: (512 << 20) + caps.bytes,
        file_size: caps.bytes.saturating_mul(4),
        cpu_seconds: 120,
        open_files: 256,
    };
    confine(Reach::Network, &limits)?;
    let store = Root::open(&request.store)?;
    let remote = staged.lay(&store, request.remote).map_err(io::Error::other)?;
    let answer = source::fetch(&request.store, &remote, request.last.as_ref(), request.care);
    staged.take_away(&store).map_err(io::Error::other)?;
    write_answer(output, &answer)
}

/// Files that only root can read and that `ssh` wants by name: read while we are root, laid down for the
/// unprivileged user while the fetch lasts.
struct Staged {
    files: Vec<(&'static str, Vec<u8>)>,
}

/// Where they lie meanwhile, within the store's folder.
const FOLDER: &str = "credentials";
const KEY: &str = "key";
const KNOWN_HOSTS: &str = "known_hosts";
const CA: &str = "ca.pem";

impl Staged {
    fn open(remote: &Remote) -> io::Result<Self> {
        let mut files = Vec::new();
        if let Credentials::SshKey(path) = &remote.credentials {
            files.push((KEY, read_small(path)?));
        }
        for (name, path) in [(KNOWN_HOSTS, &remote.known_hosts), (CA, &remote.ca_file)] {
            if let Some(path) = path {
                files.push((name, read_small(path)?));
            }
        }
        Ok(Staged { files })
    }

    fn lay(&self, store: &Root, mut remote: Remote) -> Result<Remote, FilesError> {
        if self.files.is_empty() {
            return Ok(remote);
        }
        let ours = |mode| Attributes {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            mode,
        };
        store.create_dirs(FOLDER, ours(0o700))?;
        for (name, bytes) in &self.files {
            let path = Path::new(FOLDER).join(name);
            store.write(&path, bytes, ours(0o400))?;
            let path = store.absolute(&path);
            match *name {
                KEY => remote.credentials = Credentials::SshKey(path),
                KNOWN_HOSTS => remote.known_hosts = Some(path),
                _ => remote.ca_file = Some(path),
            }
        }
        Ok(remote)
    }

    fn take_away(&self, store: &Root) -> Result<(), FilesError> {
        for (name, _) in &self.files {
            store.remove(Path::new(FOLDER).join(name))?;
        }
        Ok(())
    }
}

/// Keys, host keys and certificates are small; whatever is larger is something else.
fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    const LARGEST: u64 = 4 << 20;
    let at = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let mut bytes = Vec::new();
    std::fs::File::open(path).map_err(at)?.take(LARGEST).read_to_end(&mut bytes).map_err(at)?;
    Ok(bytes)
}
