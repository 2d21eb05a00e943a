//! The socket, over real sockets and with real user ids.
#![allow(clippy::disallowed_methods)] // sets modes and looks at files as a stranger would

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use super::wire::{DoneReply, Progress, ProgressReply, ResumeOrder, SuspendOrder};
use super::*;

mod hostile;
mod rights;
mod talk;

const READERS: u32 = 60_001;
const CHANGERS: u32 = 60_002;
const NOBODY: u32 = 65_534;

/// Answers everything with `Done`; `Sync` with two reports of progress; drops `Reload`.
#[derive(Default)]
struct Fake {
    asked: Mutex<Vec<(u32, Request)>>,
    followers: Mutex<Vec<Replies>>,
}

impl Agent for Fake {
    fn ask(&self, asked: Asked) {
        let Asked { request, peer, replies } = asked;
        let verb = request.verb();
        self.asked.lock().unwrap().push((peer.uid, request));
        if verb == Verb::Events && !replies.wants_more() {
            return replies.finish(Ok(Reply::Done(DoneReply { message: verb.method().to_owned() })));
        }
        if verb == Verb::Sync {
            replies.more(Reply::Progress(ProgressReply { progress: Progress::Fetching }));
            replies.more(Reply::Progress(ProgressReply { progress: Progress::Applying { changes: 3 } }));
        }
        match verb {
            Verb::Reload => drop(replies),
            Verb::Resume => replies.finish(Err(Refusal::NotFound { what: "nothing is suspended".into() })),
            // Followed for as long as the client is there.
            Verb::Events => {
                replies.more(Reply::Done(DoneReply { message: "first".into() }));
                self.followers.lock().unwrap().push(replies);
            }
            // As large as the plan of a big host.
            Verb::Plan => replies.finish(Ok(Reply::Done(DoneReply { message: "x".repeat(8 << 20) }))),
            _ => replies.finish(Ok(Reply::Done(DoneReply { message: verb.method().to_owned() }))),
        }
    }

    fn access(&self) -> Access {
        Access { readers: Some(READERS), changers: Some(CHANGERS) }
    }
}

/// A server on a thread of its own; ends with it.
struct Bench {
    dir: TempDir,
    fake: Arc<Fake>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Bench {
    fn with(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let fake = Arc::new(Fake::default());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (path, agent) = (dir.path().join("control.sock"), fake.clone());
        let thread = std::thread::spawn(move || {
            runtime().block_on(async move {
                let listener = bind(&path, Some(READERS)).unwrap();
                // Whom the file's mode would keep out is let in here: the table must hold by itself.
                std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
                ready.send(()).unwrap();
                tokio::select! {
                    () = serve(listener, agent, limits) => {}
                    _ = stopped => {}
                }
            });
        });
        is_ready.recv().unwrap();
        Bench { dir, fake, stop: Some(stop), thread: Some(thread) }
    }

    fn new() -> Self {
        Bench::with(Limits::default())
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("control.sock")
    }

    fn raw(&self) -> BlockingStream {
        let stream = BlockingStream::connect(self.path()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    fn ask(&self, request: &Request) -> Result<DoneReply, ClientError> {
        let path = self.path();
        runtime().block_on(async { Client::connect(&path).await?.ask(request).await })
    }

    fn assert_alive(&self) {
        assert_eq!(self.ask(&Request::Status).unwrap().message, "Status");
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn call(method: &str, parameters: &str) -> Vec<u8> {
    format!("{{\"method\":\"{method}\",\"parameters\":{parameters}}}\0").into_bytes()
}

/// Everything up to the next NUL; empty at the end of the connection.
fn frame(stream: &mut BlockingStream) -> String {
    let mut bytes = Vec::new();
    let mut one = [0];
    while stream.read(&mut one).unwrap_or(0) == 1 && one != [0] {
        bytes.push(one[0]);
    }
    String::from_utf8(bytes).unwrap()
}

/// A request of every verb, with parameters that make sense.
fn sample(verb: Verb) -> Request {
    let target = "file:/etc/motd";
    let parameters = match verb {
        Verb::Suspend => serde_json::json!({"target": target, "seconds": 60, "reason": "x"}),
        Verb::Resume => serde_json::json!({"target": target}),
        Verb::Approve => serde_json::json!({"what": "abcdef0"}),
        Verb::Explain => serde_json::json!({"resource": target}),
        Verb::Restore => serde_json::json!({"what": {"path": "/etc/motd"}, "seconds": 60}),
        Verb::Status
        | Verb::Diff
        | Verb::Plan
        | Verb::Sync
        | Verb::Confirm
        | Verb::History
        | Verb::Events
        | Verb::Verify
        | Verb::Fingerprint
        | Verb::Reload => serde_json::json!({}),
    };
    Request::decode(verb, Some(parameters)).unwrap()
}

/// Runs `work` on a thread that is another user to the kernel.
fn as_user<T: Send>(uid: u32, groups: &[u32], work: impl FnOnce() -> T + Send) -> T {
    use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
    std::thread::scope(|scope| {
        let become_and_work = || {
            let gid = rustix::fs::Gid::from_raw(if uid == 0 { 0 } else { NOBODY });
            let groups: Vec<_> = groups.iter().map(|group| rustix::fs::Gid::from_raw(*group)).collect();
            let uid = rustix::fs::Uid::from_raw(uid);
            set_thread_groups(&groups).expect("this test needs root");
            set_thread_res_gid(gid, gid, gid).expect("this test needs root");
            set_thread_res_uid(uid, uid, uid).expect("this test needs root");
            work()
        };
        scope.spawn(become_and_work).join().unwrap()
    })
}
