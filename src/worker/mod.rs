//! The short-lived processes that touch what is not to be trusted: the network, and the repository's text. They
//! are entries of the `agentd` binary, run as unprivileged users, hand over plain data, and give all their memory back by
//! ending.
//!
//! ```text
//! agentd ──request (JSON, standard input)──▶ agentd worker fetch   ──▶ Fetched | FetchError
//!        ──request──────────────────────────▶ agentd worker objects ──▶ raw objects, which root holds to their ids
//!        ──request, what root verified──────▶ agentd worker compile ──▶ Desired + contents | diagnostics
//!        ──request──────────────────────────▶ agentd worker blame   ──▶ who wrote each line
//! agentctl enroll: fetch as above, then ──▶ agentd worker survey  ──▶ whether there is a declaration, and where
//! ```
//!
//! On a host they are units (`agentd-fetch@.service`, `agentd-compile@.service`), one for each request, started through a
//! socket: their users, their sandbox and their end are the service manager's, and none of it is given up by themselves.
//! Without a service manager they are children ([`means`]). What goes over the line is the same ([`frame`]).
//!
//! May not: change the host. What a worker hands over is data; the root agent validates it again.

pub mod blame;
pub mod compile;
pub mod confine;
pub mod fetch;
mod frame;
mod means;
pub mod objects;
pub mod survey;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::host::program::ProgramError;
use crate::keep::Contents;

pub use means::Means;

/// A worker's name and entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worker {
    /// Fetches one branch.
    Fetch,
    /// Hands over the objects of one commit.
    Objects,
    /// Compiles one commit for one host.
    Compile,
    /// Looks for a declaration in one commit.
    Survey,
    /// Finds out who wrote lines of a declaration.
    Blame,
}

impl Worker {
    const ALL: [Worker; 5] = [Worker::Fetch, Worker::Objects, Worker::Compile, Worker::Survey, Worker::Blame];
}

/// Whoever does the work: processes of our own; in tests, whatever a test says.
pub trait Workers: Send + Sync {
    /// Fetches a branch into its store.
    fn fetch(&self, request: &fetch::Request) -> fetch::Answered;
    /// Has the objects of a commit verified, and the history judged; the files that are verified are laid down at `laid`.
    fn objects(
        &self,
        request: &objects::Request,
        laid: &Path,
        judge: objects::Judge<'_>,
    ) -> objects::Answered;
    /// Compiles what was verified of a commit for this host; its contents go to `contents`.
    fn compile(&self, request: &compile::Request, contents: &Contents) -> compile::Answered;
    /// Finds out who wrote lines of a declaration.
    fn blame(&self, request: &blame::Request) -> blame::Answered;
    /// Looks for a declaration in a commit that was fetched.
    fn survey(&self, request: &survey::Request) -> survey::Answered;
    /// The user and group that fetch: what they are to write belongs to them.
    fn user(&self) -> io::Result<(u32, u32)>;

    /// The folder in which stores are made that are looked at once.
    fn scratch(&self) -> PathBuf {
        scratch()
    }
}

/// Where programs put what must not outlive them: for root in memory. A name that somebody took there before us is an
/// error and never used.
fn scratch() -> PathBuf {
    PathBuf::from(if rustix::process::geteuid().is_root() { "/run" } else { "/tmp" })
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
    /// Its unit could not be started.
    #[error(
        "the {name} process can't be reached: see `systemctl status agentd-{unit}.socket`, and start that"
    )]
    Unreached {
        /// Which.
        name: &'static str,
        /// What its units are called after.
        unit: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It ended without a word.
    #[error("the {name} process ended without an answer: see `journalctl --unit 'agentd-{unit}*'`")]
    Silent {
        /// Which.
        name: &'static str,
        /// What its units are called after.
        unit: &'static str,
    },
    /// The program was replaced since one of the two was started.
    #[error(
        "the {name} process is of version {theirs} and we are of {ours}: after an upgrade the agent is started anew, or \
         by `systemctl restart agentd`"
    )]
    OtherVersion {
        /// Which.
        name: &'static str,
        /// Our version.
        ours: String,
        /// Its version.
        theirs: String,
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
            Worker::Objects => "objects",
            Worker::Compile => "compile",
            Worker::Survey => "survey",
            Worker::Blame => "blame",
        }
    }

    /// What its socket and its units are called after: those that touch nothing but the store share one sandbox.
    const fn unit(self) -> &'static str {
        match self {
            Worker::Fetch => "fetch",
            Worker::Objects | Worker::Compile | Worker::Survey | Worker::Blame => "compile",
        }
    }

    /// The worker that a command line asks for: one that we started ourselves, or a person's like it.
    pub fn asked_for(arguments: impl IntoIterator<Item = OsString>) -> Option<Worker> {
        let mut arguments = arguments.into_iter();
        let is_ours = arguments.next()? == means::OURSELVES && arguments.next()? == "worker";
        arguments.next()?.to_str().filter(|_| is_ours)?.parse().ok()
    }

    /// Runs the entry of this name in this process: reads the request, gives up what it does not need, answers.
    pub fn main(self) -> io::Result<()> {
        frame::serve(self, io::stdin().lock(), &mut io::stdout().lock(), |asked, body, output| match asked {
            Worker::Fetch => fetch::main(body, output),
            Worker::Objects => objects::main(body, output),
            Worker::Compile => compile::main(body, output),
            Worker::Survey => survey::main(body, output),
            Worker::Blame => blame::main(body, output),
        })
    }
}

impl std::str::FromStr for Worker {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = Worker::ALL.into_iter().find(|worker| worker.name() == text);
        named.ok_or_else(|| format!("`{text}` is no worker: fetch, objects, compile, survey or blame"))
    }
}

fn read_request<T: DeserializeOwned>(body: &[u8]) -> io::Result<T> {
    Ok(serde_json::from_slice(body)?)
}

fn write_answer(output: &mut dyn Write, answer: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *output, answer)?;
    output.write_all(b"\n")?;
    output.flush()
}
