//! The command line in a sealed world: a fake agent on a real socket, a clock that stands, buffers for the output.

use std::sync::{Arc, Mutex};

use jiff::tz::TimeZone;
use serde_json::json;
use tempfile::TempDir;

use super::outside::{Outside, Terminal};
use super::{Exit, run};
use crate::control::wire::*;
use crate::control::{Access, Agent, Asked, Limits, Refusal, Reply, Request, bind, serve};
use crate::host::Host;
use crate::host::clock::FakeClock;
use crate::reconcile::Engine;
use crate::worker::Workers;

mod enrolling;
mod history;
mod offline;
mod orders;
mod samples;
mod shown;

/// What the fake agent answers: a reply, or a refusal.
type Answers = Box<dyn Fn(&Request) -> Result<Reply, Refusal> + Send + Sync>;

struct Fake {
    answers: Answers,
    asked: Mutex<Vec<Request>>,
}

impl Agent for Fake {
    fn ask(&self, asked: Asked) {
        let Asked { request, replies, .. } = asked;
        if matches!(request, Request::Sync(_)) {
            replies.more(Reply::Progress(ProgressReply { progress: Progress::Fetching }));
        }
        let answer = (self.answers)(&request);
        self.asked.lock().unwrap().push(request);
        replies.finish(answer);
    }

    fn access(&self) -> Access {
        Access::default()
    }
}

/// What came of one command line.
#[derive(Debug)]
struct Done {
    exit: Exit,
    out: String,
    err: String,
}

struct Bench {
    dir: TempDir,
    terminal: Terminal,
    fake: Option<Arc<Fake>>,
    workers: Arc<dyn Workers>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Bench {
    /// Without an agent.
    fn alone() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let workers = Arc::new(enrolling::Remote::default());
        Bench { dir, terminal: Terminal::PLAIN, fake: None, workers, stop: None, thread: None }
    }

    /// With an agent that gives these answers.
    fn with(answers: impl Fn(&Request) -> Result<Reply, Refusal> + Send + Sync + 'static) -> Self {
        let mut bench = Bench::alone();
        let fake = Arc::new(Fake { answers: Box::new(answers), asked: Mutex::default() });
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (path, agent) = (bench.dir.path().join("control.sock"), fake.clone());
        bench.thread = Some(std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = bind(&path, None).unwrap();
                ready.send(()).unwrap();
                tokio::select! {
                    () = serve(listener, agent, Limits::default()) => {}
                    _ = stopped => {}
                }
            });
        }));
        is_ready.recv().unwrap();
        (bench.fake, bench.stop) = (Some(fake), Some(stop));
        bench
    }

    fn run(&self, line: &[&str]) -> Done {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        let (socket, config, state) = (path("control.sock"), path("config"), path("state"));
        let sealed = ["--socket", &socket, "--config", &config, "--state", &state];
        let words = ["agentctl"].iter().chain(line).chain(&sealed).map(Into::into);
        let exit = run(words.collect::<Vec<_>>(), &mut self.outside(&mut out, &mut err));
        let text =
            |bytes| String::from_utf8(bytes).unwrap().replace(&self.dir.path().display().to_string(), "DIR");
        Done { exit, out: text(out), err: text(err) }
    }

    fn outside<'a>(&'a self, out: &'a mut Vec<u8>, err: &'a mut Vec<u8>) -> Outside<'a> {
        let refuse: fn() -> std::io::Result<Host> = || Err(std::io::Error::other("sealed"));
        Outside {
            out,
            err,
            terminal: self.terminal,
            clock: Arc::new(FakeClock::at(samples::NOW.parse().unwrap())),
            zone: TimeZone::UTC,
            here: self.dir.path().to_owned(),
            host: refuse,
            heads: || Err("sealed".to_owned()),
            engine: || Engine::new(Vec::new()),
            workers: &*self.workers,
        }
    }

    fn asked(&self) -> Vec<Request> {
        self.fake.as_ref().unwrap().asked.lock().unwrap().clone()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn status_of(snapshot: crate::status::Snapshot) -> Bench {
    Bench::with(move |_| Ok(Reply::Status(Box::new(StatusReply { status: snapshot.clone() }))))
}

fn plain(done: &Done) -> &str {
    assert!(!done.out.contains('\u{1b}'), "an escape without a terminal: {}", done.out);
    assert_eq!(done.err, "");
    &done.out
}
