//! The compiling process: what root verified of a commit and the facts it is handed; no network, no other files to
//! speak of, and not the store either.
//!
//! Its answer is a line of JSON ([`Answer`]) and then the bytes of every content, one after another in the order
//! of the line. The parent stores them by digest while they come, so that neither side holds them all.

use std::io::{self, BufRead, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::confine::{Reach, confine};
use super::{Means, Worker, WorkerError, means, read_request, write_answer};
use crate::declaration::{self, Compiled};
use crate::host::facts::Facts;
use crate::host::privilege::Limits;
use crate::keep::Contents;
use crate::kind::Desired;
use crate::model::content::Content;
use crate::model::{CommitId, Diagnostic};
use crate::source::VerifiedTree;

/// A compile of ten thousand files takes a second or two; what takes this long hangs.
const TIME_LIMIT: Duration = Duration::from_secs(120);

/// How long the line of JSON may be: a hundred thousand resources fit.
const LONGEST_LINE: u64 = 128 << 20;

/// What is asked of the process.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    /// The file of what root verified of the commit.
    pub verified: PathBuf,
    /// The commit to compile.
    pub commit: CommitId,
    /// Where in the tree the declaration lives.
    pub subfolder: Option<String>,
    /// The host's name.
    pub host: String,
    /// The host's facts.
    pub facts: Facts,
}

/// What the process hands over.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The desired state; its contents follow.
    Compiled {
        /// What the host should be.
        desired: Box<Desired>,
        /// What is worth knowing and refuses nothing.
        warnings: Vec<Diagnostic>,
        /// The contents that follow, in this order.
        contents: Vec<Content>,
    },
    /// The declaration is refused.
    Refused {
        /// All its faults.
        diagnostics: Vec<Diagnostic>,
    },
    /// The commit could not be read.
    Unreadable {
        /// What happened and what to do next.
        message: String,
    },
}

/// What came of it: the process did not work out, or it answered.
pub type Answered = Result<Answer, WorkerError>;

/// Has a process do it; contents go to `contents` as they come.
pub(super) fn run(means: Means, request: &Request, contents: &Contents) -> Answered {
    let body = means::body(Worker::Compile, request)?;
    means.ask(Worker::Compile, &body, TIME_LIMIT, |input| receive(input, contents))
}

fn receive(output: &mut dyn BufRead, contents: &Contents) -> io::Result<Answer> {
    let mut line = Vec::new();
    Read::take(&mut *output, LONGEST_LINE).read_until(b'\n', &mut line)?;
    let answer: Answer = serde_json::from_slice(&line)?;
    if let Answer::Compiled { contents: list, .. } = &answer {
        for content in list {
            let mut bytes = vec![0; usize::try_from(content.size).map_err(io::Error::other)?];
            output.read_exact(&mut bytes)?;
            if Content::of(&bytes) != *content {
                return Err(io::Error::other(format!("content {} came as other bytes", content.digest)));
            }
            contents.put(&bytes).map_err(io::Error::other)?;
        }
    }
    Ok(answer)
}

/// The process itself.
pub(super) fn main(body: &[u8], output: &mut dyn Write) -> io::Result<()> {
    let request: Request = read_request(body)?;
    let limits = Limits { address_space: 1 << 30, file_size: 0, cpu_seconds: 60, open_files: 64 };
    confine(&Reach::Verified(&request.verified), &limits)?;
    let unreadable = |message: String| Answer::Unreadable { message };
    let VerifiedTree { revision, tree } = match VerifiedTree::open(&request.verified) {
        Ok(verified) => verified,
        Err(error) => {
            let message = format!("{} can't be read: {error}", request.verified.display());
            return write_answer(output, &unreadable(message));
        }
    };
    if revision.commit != request.commit {
        let message =
            format!("commit {} was verified, {} is to be compiled", revision.commit, request.commit);
        return write_answer(output, &unreadable(message));
    }
    match declaration::compile(&tree, &request.host, &request.facts) {
        Err(diagnostics) => write_answer(output, &Answer::Refused { diagnostics }),
        Ok(mut compiled) => {
            compiled.desired.revision = Some(revision);
            send(compiled, &tree, output)
        }
    }
}

fn send(compiled: Compiled, tree: &dyn declaration::Tree, output: &mut dyn Write) -> io::Result<()> {
    let contents: Vec<Content> = compiled.contents.keys().copied().collect();
    let desired = Box::new(compiled.desired.clone());
    write_answer(output, &Answer::Compiled { desired, warnings: compiled.warnings.clone(), contents })?;
    for content in compiled.contents.keys() {
        output.write_all(&compiled.bytes(content, tree).map_err(io::Error::other)?)?;
    }
    output.flush()
}
