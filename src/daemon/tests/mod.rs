//! The life of a daemon: the real loop, the real thread, the real stores and the real socket over a root of its own.
//! Only who fetches and compiles is played.
#![allow(clippy::disallowed_methods)] // acts on files as a person would, and waits for threads

mod forge;
mod ground;
mod lost;
mod metrics;
mod settings;
mod stopping;
mod trouble;
mod workshop;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use tempfile::TempDir;
use tokio::sync::mpsc::UnboundedSender;

use self::forge::Forge;
use super::bounds::Bounds;
use super::events::Event;
use super::run::run_and_tell;
use super::{DaemonError, Place, Setup};
use crate::config::Confirm;
use crate::control::wire::{FetchFirst, StatusReply, SyncOrder, SyncReply};
use crate::control::{Access, Client, ClientError, Request};
use crate::host::Host;
use crate::host::accounts::ListedAccounts;
use crate::host::clock::SystemClock;
use crate::host::files::Root;
use crate::host::netfilter::FakeNetfilter;
use crate::host::program::{Programs, SystemPrograms};
use crate::host::units::FakeUnits;
use crate::keep::Limits;
use crate::kind::file::Files;
use crate::kind::package;
use crate::model::DriftMode;
use crate::reconcile::Engine;
use crate::reconcile::lane::Lane;
use crate::record::Retention;
use crate::source::{Remote, RemoteUrl};
use crate::status::Snapshot;

/// How long anything may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// What every commit of these tests lays down.
const MOTD: &str = "/srv/agentd-test/motd";

/// A host with what belongs to an agent on it, which may run.
struct Site {
    folder: TempDir,
    forge: Arc<Forge>,
    setup: Arc<Mutex<Setup>>,
    /// Whether the settings can't be used.
    broken: Arc<AtomicBool>,
    programs: Arc<dyn Programs>,
    running: Option<Running>,
}

struct Running {
    sender: UnboundedSender<Event>,
    thread: JoinHandle<Result<(), DaemonError>>,
}

impl Site {
    /// A host that is enrolled; the agent does not run yet.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["host", "state"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let setup = Arc::new(Mutex::new(setup()));
        let (forge, broken) = Default::default();
        Site { folder, forge, setup, broken, programs: Arc::new(SystemPrograms), running: None }
    }

    /// The same, following what was pushed, and in sync.
    fn following(files: &[(&str, &str)]) -> Self {
        let mut site = Site::new();
        site.forge.push("main", 'a', files);
        site.start();
        site.shows(MOTD, &site.forge.text('a', MOTD));
        site
    }

    fn start(&mut self) {
        let (told, tells) = mpsc::channel();
        let (state, socket) = (self.path("state"), self.path("socket"));
        let (host, aside) = (self.host(), Arc::new(self.host()));
        let (workers, setup) = (Arc::clone(&self.forge) as _, Arc::clone(&self.setup));
        let broken = Arc::clone(&self.broken);
        let thread = std::thread::spawn(move || {
            let load = Box::new(move || match broken.load(Ordering::Relaxed) {
                true => Err("a fault".to_owned()),
                false => Ok(setup.lock().unwrap().clone()),
            });
            let (window, tuning) = Default::default();
            let patience = Duration::from_millis(200);
            let place = Place { state, socket, window, tuning, aside, patience, workers, load };
            let engine = Engine::new(vec![Box::new(Lane::new(Files::default()))]);
            run_and_tell(host, engine, place, |sender| told.send(sender).unwrap())
        });
        let sender = tells.recv_timeout(LIMIT).unwrap_or_else(|_| panic!("it does not start"));
        self.running = Some(Running { sender, thread });
    }

    /// Stops it as the service manager does, and gives what came of it.
    fn stop(&mut self) -> Result<(), DaemonError> {
        let Running { sender, .. } = self.running.as_ref().unwrap();
        // If it has ended by itself nobody listens.
        let _ = sender.send(Event::Terminate);
        self.end()
    }

    /// Waits for its end.
    fn end(&mut self) -> Result<(), DaemonError> {
        let Running { thread, .. } = self.running.take().unwrap();
        until("the agent ends", || thread.is_finished());
        thread.join().unwrap()
    }

    fn restart(&mut self) {
        self.stop().unwrap();
        self.start();
    }

    /// Changes the settings and has them read again, as the service manager does.
    fn reload(&self, change: impl FnOnce(&mut Setup)) {
        change(&mut self.setup.lock().unwrap());
        self.running.as_ref().unwrap().sender.send(Event::Reload).unwrap();
    }

    /// From now on the settings can't be used, or can.
    fn break_settings(&self, broken: bool) {
        self.broken.store(broken, Ordering::Relaxed);
    }

    /// Enrols it: the settings are read again on a person's word.
    fn enrol(&self, change: impl FnOnce(&mut Setup)) {
        change(&mut self.setup.lock().unwrap());
        self.ask::<serde_json::Value>(&Request::Reload).unwrap();
    }

    fn ask<T: DeserializeOwned>(&self, request: &Request) -> Result<T, ClientError> {
        ask(self.path("socket"), request)
    }

    fn sync(&self) -> SyncReply {
        self.ask(&Request::Sync(SyncOrder { fetch: FetchFirst::Yes })).unwrap()
    }

    fn status(&self) -> Snapshot {
        let reply: StatusReply = self.ask(&Request::Status).unwrap();
        reply.status
    }

    /// Waits until a file of the host reads so.
    #[track_caller]
    fn shows(&self, path: &str, text: &str) {
        let file = self.file(path);
        let reads = || std::fs::read_to_string(&file).unwrap_or_default();
        if !comes_true(|| reads() == text) {
            panic!("{path} reads {:?}, not {text:?}: {:#?}", reads(), self.status());
        }
    }

    /// Waits until the commit of a letter is in force.
    #[track_caller]
    fn is_at(&self, commit: char) {
        until(&format!("{commit} is in force"), || self.in_force() == Some(commit));
    }

    fn in_force(&self) -> Option<char> {
        self.status().applied.and_then(|revision| revision.commit.as_str().chars().next())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where a file of the host really lies.
    fn file(&self, path: &str) -> PathBuf {
        self.path("host").join(path.trim_start_matches('/'))
    }

    fn host(&self) -> Host {
        Host {
            root: Root::open(self.path("host")).unwrap(),
            programs: Arc::clone(&self.programs),
            units: Arc::new(FakeUnits::new()),
            netfilter: Arc::new(FakeNetfilter::default()),
            accounts: Arc::new(ListedAccounts::new(&[("root", 0)], &[("root", 0)])),
            clock: Arc::new(SystemClock),
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.forge.let_go();
        if let Some(Running { sender, thread }) = self.running.take() {
            let _ = sender.send(Event::Terminate);
            let _ = thread.join();
        }
    }
}

fn ask<T: DeserializeOwned>(socket: PathBuf, request: &Request) -> Result<T, ClientError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { Client::connect(&socket).await?.ask(request).await })
}

fn remote(branch: &str) -> Remote {
    Remote::new(RemoteUrl::parse("https://git.example.org/fleet.git").unwrap(), branch)
}

/// Asks the remote all the time, and looks at everything only when there is a reason to.
fn setup() -> Setup {
    Setup {
        host: "web-1".to_owned(),
        remote: Some(remote("main")),
        interval: Duration::from_millis(20),
        full_pass: Duration::from_secs(3600),
        mode: DriftMode::Enabled,
        keep: Limits::default(),
        bounds: Bounds { removal_limit: 10, protect: Vec::new(), history: Retention::default() },
        labels: [("site".to_owned(), "fra".to_owned())].into(),
        stale_after: Duration::from_secs(3600),
        guard_window: None,
        confirm: Confirm::Off,
        unprovable: None,
        packages: package::Settings::default(),
        access: Access { readers: None, changers: None },
        textfile: None,
    }
}

fn comes_true(condition: impl Fn() -> bool) -> bool {
    let end = Instant::now() + LIMIT;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[track_caller]
fn until(what: &str, condition: impl Fn() -> bool) {
    assert!(comes_true(condition), "in vain: {what}");
}
