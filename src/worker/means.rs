//! How a worker is reached: as a unit of the service manager, or as a child of this process. Which one is a choice of
//! whoever starts; neither takes the other's place when it does not work.

use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::{Worker, WorkerError, Workers, blame, compile, confine, fetch, frame, objects, survey};
use crate::host::errand;
use crate::host::program::{Run, stream};
use crate::keep::Contents;

/// Our own binary, the very one that is running.
pub(super) const OURSELVES: &str = "/proc/self/exe";

/// Folder of the sockets that the workers' units listen at.
const SOCKETS: &str = "/run/agentd-workers";

/// Where the fetching unit may write beside the standing store: for stores that are looked at once.
const SCRATCH: &str = "/run/agentd-workers/scratch";

/// How workers are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// As units: each request starts one, with a user and a sandbox of its own, by way of a socket that nobody but root
    /// may connect to.
    Units,
    /// As children: the same program once more, which gives up what it does not need by itself. For hosts and trees
    /// without systemd, for tests, and for a developer who is not root.
    Processes,
}

impl Means {
    /// What a command has by itself: root on a host that systemd runs asks its units; everybody else, and root
    /// elsewhere, has children.
    pub fn of_command() -> Means {
        let has_units = Path::new("/run/systemd/system").is_dir() && rustix::process::geteuid().is_root();
        if has_units { Means::Units } else { Means::Processes }
    }

    /// Whether the files that a fetch needs by name must go along: a worker that is another user can't read them.
    pub(super) fn hands_files_over(self) -> bool {
        match self {
            Means::Units => true,
            Means::Processes => rustix::process::geteuid().is_root(),
        }
    }

    /// Asks a worker, and has its answer taken in while it comes.
    pub(super) fn ask<T: Send>(
        self,
        worker: Worker,
        body: &[u8],
        limit: Duration,
        take: impl FnOnce(&mut dyn BufRead) -> io::Result<T> + Send,
    ) -> Result<T, WorkerError> {
        let name = worker.name();
        let request = frame::request(worker, body);
        let take = |input: &mut dyn BufRead| -> Result<T, WorkerError> {
            frame::opened(worker, input)?;
            take(input).map_err(|error| WorkerError::NoAnswer { name, complaint: error.to_string() })
        };
        match self {
            Means::Units => {
                let socket = Path::new(SOCKETS).join(worker.unit());
                let answer = errand::send(&socket, &request, limit)
                    .map_err(|source| WorkerError::Unreached { name, unit: worker.unit(), source })?;
                take(&mut BufReader::new(answer))
            }
            Means::Processes => in_a_child(worker, request, limit, take),
        }
    }

    /// Asks a worker whose answer is one value.
    pub(super) fn ask_for<T: serde::de::DeserializeOwned + Send>(
        self,
        worker: Worker,
        request: &impl Serialize,
        limit: Duration,
    ) -> Result<T, WorkerError> {
        let body = body(worker, request)?;
        self.ask(worker, &body, limit, |input| Ok(serde_json::from_reader(input)?))
    }
}

/// A request as bytes.
pub(super) fn body(worker: Worker, request: &impl Serialize) -> Result<Vec<u8>, WorkerError> {
    serde_json::to_vec(request).map_err(|error| WorkerError::Storage {
        what: format!("write the request of the {} process", worker.name()),
        source: error.into(),
    })
}

/// Beside the pass: that workers work is no proof that it does.
fn in_a_child<T: Send>(
    worker: Worker,
    request: Vec<u8>,
    limit: Duration,
    take: impl FnOnce(&mut dyn BufRead) -> Result<T, WorkerError> + Send,
) -> Result<T, WorkerError> {
    let name = worker.name();
    let mut run = Run::new(PathBuf::from(OURSELVES), &["worker", name]);
    run.stdin = request;
    run.time_limit = limit;
    let (done, answer) = stream(&run, |output| Ok(take(&mut BufReader::new(output))))
        .map_err(|source| WorkerError::Process { name, source })?;
    match (done.succeeded(), answer) {
        (true, answer) => answer,
        // What it complained of says more than how its answer broke off.
        (false, _) => Err(WorkerError::NoAnswer { name, complaint: done.complaint() }),
    }
}

impl Workers for Means {
    fn fetch(&self, request: &fetch::Request) -> fetch::Answered {
        fetch::run(*self, request)
    }

    fn objects(
        &self,
        request: &objects::Request,
        laid: &Path,
        judge: objects::Judge<'_>,
    ) -> objects::Answered {
        objects::run(*self, request, laid, judge)
    }

    fn compile(&self, request: &compile::Request, contents: &Contents) -> compile::Answered {
        compile::run(*self, request, contents)
    }

    fn blame(&self, request: &blame::Request) -> blame::Answered {
        blame::run(*self, request)
    }

    fn survey(&self, request: &survey::Request) -> survey::Answered {
        survey::run(*self, request)
    }

    fn user(&self) -> io::Result<(u32, u32)> {
        confine::writer()
    }

    fn scratch(&self) -> PathBuf {
        match self {
            Means::Units => PathBuf::from(SCRATCH),
            Means::Processes => super::scratch(),
        }
    }
}
