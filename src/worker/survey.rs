//! Looks for a declaration in a commit that nobody follows yet: names alone, no content. For `agentctl enroll`, which is
//! root and reads nothing of a repository itself.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::confine::{Reach, confine};
use super::{Means, Worker, WorkerError, read_request, write_answer};
use crate::host::privilege::Limits;
use crate::model::CommitId;
use crate::source::{Store, Tree, TreeCaps};

/// A tree within the caps is walked in far less.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// What makes a folder a fleet repository.
const FLEET: &str = "fleet.toml";

/// What is asked of the process.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    /// The folder of the store.
    pub store: PathBuf,
    /// The commit to look into.
    pub commit: CommitId,
    /// Where in the tree the declaration is said to be.
    pub subfolder: Option<String>,
}

/// What the process hands over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// There is one where it is said to be.
    Here,
    /// There is none.
    Missing {
        /// A folder that has one, the nearest to the top; empty for the top itself.
        elsewhere: Option<String>,
    },
    /// The commit could not be read.
    Unreadable {
        /// What happened and what to do next.
        message: String,
    },
}

/// What came of it: the process did not work out, or it answered.
pub type Answered = Result<Answer, WorkerError>;

/// Has a process do it.
pub(super) fn run(means: Means, request: &Request) -> Answered {
    means.ask_for(Worker::Survey, request, TIME_LIMIT)
}

/// The process itself.
pub(super) fn main(body: &[u8], output: &mut dyn Write) -> io::Result<()> {
    let request: Request = read_request(body)?;
    let limits = Limits { address_space: 1 << 30, file_size: 0, cpu_seconds: 60, open_files: 64 };
    confine(&Reach::Store(&request.store), &limits)?;
    let answer = look(&request).unwrap_or_else(|message| Answer::Unreadable { message });
    write_answer(output, &answer)
}

fn look(request: &Request) -> Result<Answer, String> {
    let store = Store::open(&request.store).map_err(|error| error.to_string())?;
    let tree = |folder: Option<&str>| {
        store.tree(&request.commit, folder, &TreeCaps::default()).map_err(|error| error.to_string())
    };
    if tree(request.subfolder.as_deref())?.find(FLEET).is_some() {
        return Ok(Answer::Here);
    }
    Ok(Answer::Missing { elsewhere: nearest(&tree(None)?) })
}

/// The folder nearest to the top that has a declaration.
fn nearest(whole: &Tree) -> Option<String> {
    let folders = whole.entries().iter().filter_map(|entry| match entry.path.strip_suffix(FLEET)? {
        "" => Some(""),
        above => above.strip_suffix('/'),
    });
    folders.min_by_key(|folder| (!folder.is_empty(), folder.matches('/').count())).map(str::to_owned)
}
