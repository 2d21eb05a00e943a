//! The process that asks the repository's history who wrote lines of a declaration. It reads the store and nothing
//! else, and is started only after the drift that makes it worth knowing was put right.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::confine::{Reach, confine};
use super::{Means, Worker, WorkerError, read_request, write_answer};
use crate::host::privilege::Limits;
use crate::model::{CommitId, LineAuthor};
use crate::source::{Blame, Store};

/// A line takes milliseconds, and one that was never touched in tens of thousands of commits some seconds.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// What is asked of the process.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    /// The folder of the store.
    pub store: PathBuf,
    /// The commit that has the lines.
    pub commit: CommitId,
    /// Where in the tree the declaration lives.
    pub subfolder: Option<String>,
    /// The lines: a file of the declaration and a number from 1.
    pub lines: Vec<(String, u32)>,
}

/// Who wrote each of the lines, in their order; or the process did not work out.
pub type Answered = Result<Vec<LineAuthor>, WorkerError>;

/// Has a process do it.
pub(super) fn run(means: Means, request: &Request) -> Answered {
    let answer: Vec<LineAuthor> = means.ask_for(Worker::Blame, request, TIME_LIMIT)?;
    match answer.len() == request.lines.len() {
        true => Ok(answer),
        false => Err(WorkerError::NoAnswer {
            name: Worker::Blame.name(),
            complaint: format!("{} answers for {} lines", answer.len(), request.lines.len()),
        }),
    }
}

/// The process itself.
pub(super) fn main(body: &[u8], output: &mut dyn Write) -> io::Result<()> {
    let request: Request = read_request(body)?;
    let limits = Limits { address_space: 1 << 30, file_size: 0, cpu_seconds: 50, open_files: 64 };
    confine(&Reach::Store(&request.store), &limits)?;
    write_answer(output, &answer(&request))
}

/// Who wrote each of the lines.
pub fn answer(request: &Request) -> Vec<LineAuthor> {
    let store = match Store::open(&request.store) {
        Ok(store) => store,
        Err(error) => {
            let unknown = LineAuthor::Unknown { why: error.to_string() };
            return vec![unknown; request.lines.len()];
        }
    };
    let of = |(file, line): &(String, u32)| {
        let path = match &request.subfolder {
            Some(folder) => format!("{}/{file}", folder.trim_end_matches('/')),
            None => file.clone(),
        };
        match store.blame(&request.commit, &path, *line) {
            Ok(Blame { commit, at_or_before: true, .. }) => LineAuthor::Older { revision: commit.revision() },
            Ok(Blame { commit, line, .. }) => LineAuthor::Written { revision: commit.revision(), line },
            Err(error) => LineAuthor::Unknown { why: error.to_string() },
        }
    };
    request.lines.iter().map(of).collect()
}
