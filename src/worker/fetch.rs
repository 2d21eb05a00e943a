//! The fetching process: network, and the object store; nothing else.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::confine::{Reach, confine, writer};
use super::{Means, Worker, WorkerError, means, write_answer};
use crate::host::files::{Attributes, FileType, Root};
use crate::host::handover;
use crate::host::privilege::{self, Limits};
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

/// What goes over the line: then the bytes of the files, one after another.
#[derive(Debug, Serialize, Deserialize)]
struct Sent<R> {
    request: R,
    files: Vec<Described>,
}

/// A file that goes along.
#[derive(Debug, Serialize, Deserialize)]
struct Described {
    part: Part,
    size: usize,
}

/// What a file is to a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Part {
    Key,
    KnownHosts,
    Authorities,
}

impl Part {
    /// What it is called where it is handed over.
    const fn name(self) -> &'static str {
        match self {
            Part::Key => "key",
            Part::KnownHosts => "known_hosts",
            Part::Authorities => "ca.pem",
        }
    }
}

/// Has a process do it.
pub(super) fn run(means: Means, request: &Request) -> Answered {
    let limit = request.remote.deadlines.total + GRACE;
    writer().and_then(|user| prepare(&request.store, user)).map_err(|source| {
        let what = format!("make {} ready for the fetching process", request.store.display());
        WorkerError::Storage { what, source }
    })?;
    let files = match means.hands_files_over() {
        true => match read_files(&request.remote) {
            Ok(files) => files,
            Err(error) => return Ok(Err(FetchError::settings(&request.remote, &error))),
        },
        false => Vec::new(),
    };
    let described = files.iter().map(|(part, bytes)| Described { part: *part, size: bytes.len() }).collect();
    let mut body = means::body(Worker::Fetch, &Sent { request, files: described })?;
    files.iter().for_each(|(_, bytes)| body.extend_from_slice(bytes));
    means.ask(Worker::Fetch, &body, limit, |input| Ok(serde_json::from_reader(input)?))
}

/// Makes the folder of the store if somebody removed it, for the user that is to write there. Who is not root works as
/// themselves.
fn prepare(store: &Path, (uid, gid): (u32, u32)) -> io::Result<()> {
    let (Some(above), Some(name)) = (store.parent(), store.file_name()) else { return Ok(()) };
    let wanted = Attributes { uid, gid, mode: 0o750 };
    let above = Root::open(above)?;
    match above.stat(name).map_err(io::Error::other)? {
        None => above.create_dir(name, wanted).map_err(io::Error::other),
        Some(stat) if stat.kind == FileType::Directory && (stat.uid, stat.gid) != (uid, gid) => {
            above.set_attributes(name, wanted).map(drop).map_err(io::Error::other)
        }
        Some(_) => Ok(()),
    }
}

/// The process itself.
pub(super) fn main(body: &[u8], output: &mut dyn Write) -> io::Result<()> {
    let (Request { store, mut remote, last, care }, files) = received(body)?;
    let handed = match take_over(&mut remote, files) {
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
    // Those who compile read what is written here as members of its group.
    privilege::let_group_read();
    let mut reads: Vec<PathBuf> = files_of(&mut remote).into_iter().map(|(_, path)| path.clone()).collect();
    reads.extend(remote.url.local_path().map(Path::to_owned));
    confine(&Reach::Network { store: &store, reads }, &limits)?;
    let answer = source::fetch(&store, &remote, last.as_ref(), care);
    write_answer(output, &answer.map_err(|error| handed.named(error)))
}

/// A file that came along.
type Along<'a> = (Part, &'a [u8]);

fn received(body: &[u8]) -> io::Result<(Request, Vec<Along<'_>>)> {
    let mut values = serde_json::Deserializer::from_slice(body).into_iter::<Sent<Request>>();
    let Some(sent) = values.next() else { return Err(io::ErrorKind::UnexpectedEof.into()) };
    let (sent, mut rest) = (sent?, body.get(values.byte_offset()..).unwrap_or_default());
    let mut files = Vec::new();
    for Described { part, size } in sent.files {
        let (bytes, more) = rest.split_at_checked(size).ok_or(io::ErrorKind::UnexpectedEof)?;
        files.push((part, bytes));
        rest = more;
    }
    Ok((sent.request, files))
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

/// The files that a fetch wants by name, where the remote names them.
fn files_of(remote: &mut Remote) -> Vec<(Part, &mut PathBuf)> {
    // One that reads a folder needs none.
    if remote.url.local_path().is_some() {
        return Vec::new();
    }
    let mut files = Vec::new();
    if let Credentials::SshKey(path) = &mut remote.credentials {
        files.push((Part::Key, path));
    }
    files.extend(remote.known_hosts.as_mut().map(|path| (Part::KnownHosts, path)));
    files.extend(remote.ca_file.as_mut().map(|path| (Part::Authorities, path)));
    files
}

/// Reads what only root can read, to go along with the request.
fn read_files(remote: &Remote) -> io::Result<Vec<(Part, Vec<u8>)>> {
    let mut remote = remote.clone();
    files_of(&mut remote).into_iter().map(|(part, path)| Ok((part, read_small(path)?))).collect()
}

/// Lays the files that came along where this process and its `ssh` find them by name, and nobody else does.
fn take_over(remote: &mut Remote, files: Vec<Along<'_>>) -> io::Result<Handed> {
    if files.is_empty() {
        return Ok(Handed(Vec::new()));
    }
    let named: Vec<(&str, &[u8])> = files.iter().map(|(part, bytes)| (part.name(), *bytes)).collect();
    let laid = match rustix::process::geteuid().is_root() {
        true => writer().and_then(|(uid, gid)| handover::hand_over(&named, uid, gid)),
        false => handover::lay(&named),
    };
    let folder =
        laid.map_err(|error| io::Error::other(format!("could not hand over the files it names: {error}")))?;
    let taken = files_of(remote).into_iter().map(|(part, path)| {
        let here = folder.join(part.name());
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
        assert_eq!(seen(), (12, 34, 0o750));
        // Made by hand, as root: nobody else could write there.
        prepare(&store, (56, 78)).unwrap();
        assert_eq!(seen(), (56, 78, 0o750));
    }
}
