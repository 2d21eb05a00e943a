//! The short-lived processes that touch what is not to be trusted: the network, and the repository's text. They
//! are entries of the `agentd` binary, run as the unprivileged user `agentd`, hand over plain data, and give all
//! their memory back by ending.
//!
//! ```text
//! agentd ──request (JSON, standard input)──▶ agentd worker fetch   ──▶ Fetched | FetchError
//!        ──request──────────────────────────▶ agentd worker compile ──▶ Desired + contents | diagnostics
//!        ──request──────────────────────────▶ agentd worker blame   ──▶ who wrote each line
//! agentctl enroll: fetch as above, then ──▶ agentd worker survey  ──▶ whether there is a declaration, and where
//! ```
//!
//! May not: change the host. What a worker hands over is data; the root agent validates it again.

pub mod blame;
pub mod compile;
pub mod confine;
pub mod fetch;
pub mod survey;

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::host::program::{Finished, ProgramError, Run};
use crate::keep::Contents;

/// Our own binary, the very one that is running: an upgrade in between does not mix two versions.
const OURSELVES: &str = "/proc/self/exe";

/// How long a request may be: it comes from our own parent.
const LONGEST_REQUEST: u64 = 16 << 20;

/// A worker's name and entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worker {
    /// Fetches one branch.
    Fetch,
    /// Compiles one commit for one host.
    Compile,
    /// Looks for a declaration in one commit.
    Survey,
    /// Finds out who wrote lines of a declaration.
    Blame,
}

impl Worker {
    const ALL: [Worker; 4] = [Worker::Fetch, Worker::Compile, Worker::Survey, Worker::Blame];
}

/// Whoever does the work: processes of our own; in tests, whatever a test says.
pub trait Workers: Send + Sync {
    /// Fetches a branch into its store.
    fn fetch(&self, request: &fetch::Request) -> fetch::Answered;
    /// Compiles a commit for this host; its contents go to `contents`.
    fn compile(&self, request: &compile::Request, contents: &Contents) -> compile::Answered;
    /// Finds out who wrote lines of a declaration.
    fn blame(&self, request: &blame::Request) -> blame::Answered;
    /// Looks for a declaration in a commit that was fetched.
    fn survey(&self, request: &survey::Request) -> survey::Answered;
    /// The user and group they work as: what they are to write belongs to them.
    fn user(&self) -> io::Result<(u32, u32)>;
}

/// The unprivileged processes.
pub struct Processes;

impl Workers for Processes {
    fn fetch(&self, request: &fetch::Request) -> fetch::Answered {
        fetch::run(request)
    }

    fn compile(&self, request: &compile::Request, contents: &Contents) -> compile::Answered {
        compile::run(request, contents)
    }

    fn blame(&self, request: &blame::Request) -> blame::Answered {
        blame::run(request)
    }

    fn survey(&self, request: &survey::Request) -> survey::Answered {
        survey::run(request)
    }

    fn user(&self) -> io::Result<(u32, u32)> {
        confine::user()
    }
}

/// Why a worker gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// It could not be run to its end.
    #[error("the {name} process did not work out")]
    Process {
        /// Which.
        name: &'static str,
        /// What happened.
        #[source]
        source: ProgramError,
    },
    /// It ended without a usable answer.
    #[error("the {name} process gave no answer: {complaint}")]
    NoAnswer {
        /// Which.
        name: &'static str,
        /// What it said.
        complaint: String,
    },
    /// What it handed over could not be stored or prepared.
    #[error("could not {what}")]
    Storage {
        /// What was tried, on what.
        what: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Worker {
    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Worker::Fetch => "fetch",
            Worker::Compile => "compile",
            Worker::Survey => "survey",
            Worker::Blame => "blame",
        }
    }

    /// The worker that a command line asks for: one that was made by [`Worker::run`], or a person's like it.
    pub fn asked_for(arguments: impl IntoIterator<Item = OsString>) -> Option<Worker> {
        let mut arguments = arguments.into_iter();
        let is_ours = arguments.next()? == OURSELVES && arguments.next()? == "worker";
        arguments.next()?.to_str().filter(|_| is_ours)?.parse().ok()
    }

    /// Runs the entry of this name in this process: reads the request, gives up privileges, answers.
    pub fn main(self) -> io::Result<()> {
        let input = io::stdin().lock();
        let output = &mut io::stdout().lock();
        match self {
            Worker::Fetch => fetch::main(input, output),
            Worker::Compile => compile::main(input, output),
            Worker::Survey => survey::main(input, output),
            Worker::Blame => blame::main(input, output),
        }
    }

    fn run(self, request: &impl Serialize, time_limit: Duration) -> Result<Run, WorkerError> {
        let mut run = Run::new(PathBuf::from(OURSELVES), &["worker", self.name()]);
        run.stdin = serde_json::to_vec(request).map_err(|error| WorkerError::Storage {
            what: format!("write the request of the {} process", self.name()),
            source: error.into(),
        })?;
        run.time_limit = time_limit;
        Ok(run)
    }
}

impl std::str::FromStr for Worker {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = Worker::ALL.into_iter().find(|worker| worker.name() == text);
        named.ok_or_else(|| format!("`{text}` is no worker: fetch, compile, survey or blame"))
    }
}

fn read_request<T: DeserializeOwned>(input: impl Read) -> io::Result<T> {
    let mut bytes = Vec::new();
    input.take(LONGEST_REQUEST).read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// The answer of a worker that ended.
fn answer<T: DeserializeOwned>(name: &'static str, done: &Finished) -> Result<T, WorkerError> {
    if !done.succeeded() {
        return Err(WorkerError::NoAnswer { name, complaint: done.complaint() });
    }
    serde_json::from_slice(&done.stdout)
        .map_err(|error| WorkerError::NoAnswer { name, complaint: error.to_string() })
}

fn write_answer(output: &mut impl Write, answer: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *output, answer)?;
    output.write_all(b"\n")?;
    output.flush()
}
