//! The process that opens packs, so that root does not: the store, no network. It hands over the raw objects of one commit;
//! root, here, computes each id anew and lays down what it verified, the compiler's only view of the repository.

use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::confine::{Reach, confine, reader};
use super::{Means, Worker, WorkerError, means, read_request};
use crate::host::files::{Attributes, FilesError, Root};
use crate::host::privilege::Limits;
use crate::source::{Ask, History, Receiver, Store, TreeError};

/// Twenty thousand commits and 256 MiB of files take seconds; what takes this long hangs.
const TIME_LIMIT: Duration = Duration::from_secs(120);

/// What is asked of the process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    /// The folder of the store.
    pub store: PathBuf,
    /// The commit, and what else is needed to judge it.
    pub ask: Ask,
}

/// How root, having seen the history, goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoOn {
    /// The tip may be used: its files are read.
    ToFiles,
    /// It may not, or its files are not wanted.
    NoFurther,
}

/// What came of it.
#[derive(Debug)]
pub enum Answer {
    /// Every object is what its id says, and the files lie where they were to be laid.
    Verified,
    /// As far as the history; the judge wanted no more.
    Stopped,
    /// The tree is one that is always refused: bad names, too many bytes, no such folder.
    Refused {
        /// Why.
        message: String,
    },
    /// The objects are not what they should be, or the store can't be read.
    Unreadable {
        /// What happened.
        message: String,
    },
}

/// What came of it: the process did not work out, or it answered.
pub type Answered = Result<Answer, WorkerError>;

/// Whoever judges the history, by root's own word.
pub type Judge<'j> = &'j mut (dyn FnMut(&History) -> GoOn + Send);

/// Has a process hand them over; what is verified is laid down at `laid`, whole or not at all, for the compiling process.
pub(super) fn run(means: Means, request: &Request, laid: &Path, judge: Judge<'_>) -> Answered {
    let body = means::body(Worker::Objects, request)?;
    let storage = |source| WorkerError::Storage { what: format!("make {} ready", laid.display()), source };
    let (folder, file) = prepare(laid).map_err(storage)?;
    let verified = means.ask(Worker::Objects, &body, TIME_LIMIT, |output| {
        Ok(receive(output, request, (&folder, file), judge))
    })?;
    match verified {
        Err(Trouble::Files(error)) => Err(storage(error)),
        Err(Trouble::Tree(error)) => Ok(refusal(&error)),
        Ok(answer) => Ok(answer),
    }
}

/// The process itself.
pub(super) fn main(body: &[u8], output: &mut dyn Write) -> io::Result<()> {
    let request: Request = read_request(body)?;
    let limits = Limits { address_space: 1 << 30, file_size: 0, cpu_seconds: 60, open_files: 64 };
    confine(&Reach::Store(&request.store), &limits)?;
    let mut output = io::BufWriter::with_capacity(64 << 10, output);
    let told = match Store::open(&request.store) {
        Ok(store) => store.hand_over(&request.ask, &mut output),
        Err(error) => Store::complain(&error.to_string(), &mut output),
    };
    match told {
        // Root has heard enough: it refuses the history, or does not want the files.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

enum Trouble {
    Tree(TreeError),
    Files(io::Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Trouble::Files(error)
    }
}

impl From<TreeError> for Trouble {
    fn from(error: TreeError) -> Self {
        Trouble::Tree(error)
    }
}

impl From<FilesError> for Trouble {
    fn from(error: FilesError) -> Self {
        Trouble::Files(io::Error::other(error))
    }
}

fn receive(
    output: &mut dyn BufRead,
    request: &Request,
    (folder, file): (&Root, &Path),
    judge: Judge<'_>,
) -> Result<Answer, Trouble> {
    let ask = &request.ask;
    let mut receiver = Receiver::new(output);
    let history = receiver.history(ask)?;
    match judge(&history) {
        GoOn::NoFurther => Ok(Answer::Stopped),
        GoOn::ToFiles => {
            folder.write_by(file, readable(0o640)?, |out| {
                receiver.tree(ask, &history, out).map_err(Trouble::from)
            })?;
            Ok(Answer::Verified)
        }
    }
}

/// What the tree itself is at fault for will never be otherwise; the rest may be damage, or somebody's doing.
fn refusal(error: &TreeError) -> Answer {
    let chain = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    let message = chain.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    match error {
        TreeError::NoSubfolder(_) | TreeError::Refused(_) => Answer::Refused { message },
        TreeError::NoFile(_)
        | TreeError::NotAFile { .. }
        | TreeError::TooLarge { .. }
        | TreeError::Io { .. }
        | TreeError::Store(_)
        | TreeError::Stream(_) => Answer::Unreadable { message },
    }
}

/// Ours, and readable for the group that the compiling process has.
fn readable(mode: u32) -> io::Result<Attributes> {
    Ok(Attributes { uid: rustix::process::geteuid().as_raw(), gid: reader()?, mode })
}

/// Makes the folder if it is not there: root's, and readable for the group that the compiling process has.
fn prepare(laid: &Path) -> io::Result<(Root, &Path)> {
    let (Some(above), Some(file)) = (laid.parent(), laid.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    if let (Some(top), Some(name)) = (above.parent(), above.file_name()) {
        Root::open(top)?.create_dirs(name, readable(0o750)?).map_err(io::Error::other)?;
    }
    Ok((Root::open(above)?, Path::new(file)))
}
