//! The fetching process: network, and the object store; nothing else.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::confine::{Reach, confine, user};
use super::{Worker, WorkerError, read_request, write_answer};
use crate::host::files::{Attributes, FileType, Root};
use crate::host::handover;
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
    user().and_then(|user| prepare(&request.store, user)).map_err(|source| {
        let what = format!("make {} ready for the fetching process", request.store.display());
        WorkerError::Storage { what, source }
    })?;
    // Beside the pass: that fetches go on is no proof that it does.
    let done = ProgramsBeside.run(&run).map_err(|source| WorkerError::Process { name, source })?;
    super::answer(name, &done)
}

/// Makes the folder of the store if somebody removed it, for the user that is to write there. Who is not root works as
/// themselves.
fn prepare(store: &Path, (uid, gid): (u32, u32)) -> io::Result<()> {
    let (Some(above), Some(name)) = (store.parent(), store.file_name()) else { return Ok(()) };
    let wanted = Attributes { uid, gid, mode: 0o700 };
    let above = Root::open(above)?;
    match above.stat(name).map_err(io::Error::other)? {
        None => above.create_dir(name, wanted).map_err(io::Error::other),
        Some(stat) if stat.kind == FileType::Directory && stat.uid != uid => {
            above.set_attributes(name, wanted).map(drop).map_err(io::Error::other)
        }
        Some(_) => Ok(()),
    }
}

/// The process itself.
pub(super) fn main(input: impl Read, output: &mut impl Write) -> io::Result<()> {
    let Request { store, mut remote, last, care } = read_request(input)?;
    let handed = match hand_over(&mut remote) {
        Ok(handed) => handed,
        Err(error) => return write_answer(output, &Err::<Fetched, _>(FetchError::settings(&remote, &error))),
    };
    let caps = &remote.caps;
    let limits = Limits {
        address_space: (512 << 20) + caps.bytes,
        file_size: caps.bytes.saturating_mul(4),
        cpu_seconds: 120,
        open_files: 256,
    };
    confine(Reach::Network, &limits)?;
    let answer = source::fetch(&store, &remote, last.as_ref(), care);
    write_answer(output, &answer.map_err(|error| handed.named(error)))
}

/// What each file that was handed over is called in the settings.
struct Handed(Vec<(PathBuf, PathBuf)>);

impl Handed {
    /// The error in words of the settings: nobody else ever sees the names it has here.
    fn named(&self, mut error: FetchError) -> FetchError {
        for (here, original) in &self.0 {
            error.cause = error.cause.replace(&*here.to_string_lossy(), &original.to_string_lossy());
        }
        error
    }
}

/// Hands over the files that only root can read and that are wanted by name: read while we are root, and from then on
/// the unprivileged user's for as long as this process lives, and where no other process finds them.
fn hand_over(remote: &mut Remote) -> io::Result<Handed> {
    let mut originals: Vec<(&str, &mut PathBuf)> = Vec::new();
    if let Credentials::SshKey(path) = &mut remote.credentials {
        originals.push(("key", path));
    }
    originals.extend(remote.known_hosts.as_mut().map(|path| ("known_hosts", path)));
    originals.extend(remote.ca_file.as_mut().map(|path| ("ca.pem", path)));
    // Without privileges of its own to give up, a process reads what it may read; one that reads a folder needs none.
    let is_local = remote.url.local_path().is_some();
    if is_local || originals.is_empty() || !rustix::process::geteuid().is_root() {
        return Ok(Handed(Vec::new()));
    }
    let mut files = Vec::new();
    for (name, path) in &originals {
        files.push((*name, read_small(path)?));
    }
    let (uid, gid) = user()?;
    let folder = handover::hand_over(&files, uid, gid)
        .map_err(|error| io::Error::other(format!("could not hand over the files it names: {error}")))?;
    let taken = originals.into_iter().map(|(name, path)| {
        let here = folder.join(name);
        (here.clone(), std::mem::replace(path, here))
    });
    Ok(Handed(taken.collect()))
}

/// Keys, host keys and certificates are small; whatever is larger is something else.
fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    const LARGEST: u64 = 4 << 20;
    let at = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let mut bytes = Vec::new();
    std::fs::File::open(path).map_err(at)?.take(LARGEST).read_to_end(&mut bytes).map_err(at)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_store_that_somebody_removed_is_made_anew_for_the_user_that_writes_there() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("source");
        let seen = || {
            let meta = std::fs::metadata(&store).unwrap();
            (meta.uid(), meta.gid(), meta.mode() & 0o7777)
        };
        prepare(&store, (12, 34)).unwrap();
        assert_eq!(seen(), (12, 34, 0o700));
        // Made by hand, as root: nobody else could write there.
        prepare(&store, (56, 78)).unwrap();
        assert_eq!(seen(), (56, 78, 0o700));
    }
}
