//! The process that asks the repository's history who wrote lines of a declaration. It reads the store and nothing
//! else, and is started only after the drift that makes it worth knowing was put right.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::confine::{Reach, confine};
use super::{Worker, WorkerError, read_request, write_answer};
use crate::host::privilege::Limits;
use crate::host::program::ProgramError;
use crate::host::program::{Programs, SystemPrograms};
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

/// Runs the process.
pub fn run(request: &Request) -> Answered {
    let name = Worker::Blame.name();
    let run = Worker::Blame.run(request, TIME_LIMIT)?;
    let done =
        SystemPrograms.run(&run).map_err(|source: ProgramError| WorkerError::Process { name, source })?;
    let no_answer = |complaint: String| WorkerError::NoAnswer { name, complaint };
    if !done.succeeded() {
        return Err(no_answer(done.complaint()));
    }
    let answer: Vec<LineAuthor> =
        serde_json::from_slice(&done.stdout).map_err(|error| no_answer(error.to_string()))?;
    match answer.len() == request.lines.len() {
        true => Ok(answer),
        false => Err(no_answer(format!("{} answers for {} lines", answer.len(), request.lines.len()))),
    }
}

/// The process itself.
pub(super) fn main(input: impl Read, output: &mut impl Write) -> io::Result<()> {
    let request: Request = read_request(input)?;
    let limits = Limits { address_space: 1 << 30, file_size: 0, cpu_seconds: 50, open_files: 64 };
    confine(Reach::Nothing, &limits)?;
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
