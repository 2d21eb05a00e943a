//! The event loop.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::time::Instant;
use tracing::{info, warn};

use super::authors::Authors;
use super::clients::Sync;
use super::errand::Errands;
use super::events::Event;
use super::exposing::{self, Textfile};
use super::follow::{Branch, Follow};
use super::followers::Followers;
use super::following::Begun;
use super::journal;
use super::listening::Ears;
use super::opening::OpenError;
use super::pace::Pace;
use super::programs;
use super::service::Manager;
use super::setup::Setup;
use super::shop::Shop;
use super::timers::Timers;
use super::watches::Watches;
use super::workshop::{PassRequest, View, Workshop};
use crate::attribution::gather::Inquiry;
use crate::control::{self, Access, Agent, Asked};
use crate::guard::firewall::Window;
use crate::host::Host;
use crate::host::clock::{Clock, SystemClock};
use crate::host::facts::Facts;
use crate::host::files::Root;
use crate::keep::Contents;
use crate::kind::package::Tuning;
use crate::metrics::Tallies;
use crate::model::{CommitId, Evidence, Trigger};
use crate::reconcile::{Engine, Scope};
use crate::status::{AgentInfo, Snapshot, WatchHealth};
use crate::trigger::Inbox;
use crate::trigger::schedule::Spread;
use crate::worker::Workers;

/// How long the step at hand may take to end when we are to stop: well within the patience of the service manager,
/// and longer than anything takes but what others do for us.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Where the daemon works.
pub struct Place {
    /// The state folder.
    pub state: PathBuf,
    /// The control socket.
    pub socket: PathBuf,
    /// How long a new firewall may stay unconfirmed, told to the kind.
    pub window: Arc<Window>,
    /// How packages are changed, told to the kind.
    pub tuning: Arc<Tuning>,
    /// The host as the loop sees it: only to read and settle what waits for a confirmation while a pass is at work.
    pub aside: Arc<Host>,
    /// How long the step at hand may take to end when the agent is to stop.
    pub patience: Duration,
    /// Fetches and compiles.
    pub workers: Arc<dyn Workers>,
    /// Reads the settings anew.
    pub load: Box<dyn Fn() -> Result<Setup, String>>,
}

/// Why the daemon could not run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The settings are not usable.
    #[error("the settings can't be used:\n{0}")]
    Settings(String),
    /// The state could not be opened.
    #[error("could not open the state")]
    State(#[source] OpenError),
    /// The thread that touches the host has ended by itself.
    #[error("the thread that touches the host has died: the service manager starts the agent anew")]
    Died,
    /// The control socket could not be opened.
    #[error("could not open the control socket")]
    Control(#[source] control::ServerError),
    /// The system refused something basic.
    #[error("could not {what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// Runs until it is told to stop.
pub fn run(host: Host, engine: Engine, place: Place) -> Result<(), DaemonError> {
    run_and_tell(host, engine, place, |_| ())
}

/// Runs, and tells once, when it listens, how it is told of things.
pub(super) fn run_and_tell(
    host: Host,
    engine: Engine,
    place: Place,
    tell: impl FnOnce(UnboundedSender<Event>),
) -> Result<(), DaemonError> {
    let patience = place.patience;
    let system = |what| move |source| DaemonError::System { what, source };
    let setup = (place.load)().map_err(DaemonError::Settings)?;
    place.window.set(setup.guard_window);
    place.tuning.set(setup.packages);
    let state = Root::open(&place.state).map_err(system("open the state folder"))?;
    let mut workshop =
        Workshop::open(host, engine, state, setup.keep, setup.mode).map_err(DaemonError::State)?;
    workshop.obey(&setup);
    let perils = workshop.engine.perils.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .build()
        .map_err(system("start the event loop"))?;
    let outcome = runtime.block_on(async {
        let (mut daemon, mut ears) = Daemon::start(setup, place, workshop)?;
        tell(daemon.sender.clone());
        let outcome = daemon.listen(&mut ears).await;
        daemon.stop(&mut ears, patience).await;
        if outcome.is_ok() {
            perils.leave();
        }
        outcome
    });
    // Whatever still waits for a process would hold us up for as long as that takes.
    runtime.shutdown_background();
    outcome
}

/// What the loop knows.
pub(super) struct Daemon {
    pub(super) setup: Setup,
    pub(super) place: Place,
    /// Who may ask what: shared with the server of the socket.
    pub(super) access: Arc<Mutex<Access>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) agent: AgentInfo,
    pub(super) shop: Shop,
    pub(super) stopping: Arc<AtomicBool>,
    pub(super) sender: UnboundedSender<Event>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) watches: Watches,
    /// How programs that have ended are known.
    pub(super) programs: WatchHealth,
    pub(super) follow: Option<Follow>,
    /// What is done next to follow it.
    pub(super) errands: Errands,
    /// Who wrote the lines that demand otherwise.
    pub(super) authors: Authors,
    /// What the host is, as it was when that was looked at last.
    pub(super) facts: Option<Arc<Facts>>,
    pub(super) last_fetch: Option<Begun>,
    /// Contents to lay down: a compile brings them while the other thread is at work.
    pub(super) contents: Arc<Contents>,
    pub(super) timers: Timers,
    pub(super) manager: Manager,
    pub(super) view: View,
    pub(super) snapshot: Option<Arc<Snapshot>>,
    pub(super) last_pass: Option<crate::status::PassSummary>,
    /// What is tried again when the time for it comes.
    pub(super) retry: Scope,
    pub(super) passing: bool,
    /// How long the last full pass took.
    pub(super) full_took: Duration,
    /// When the last full pass for lost events was asked for, on the clock that counts from boot.
    pub(super) made_up: Option<Duration>,
    /// Which interfaces lost events that are not made up for yet.
    pub(super) lost: BTreeSet<Evidence>,
    pub(super) looks: Pace,
    pub(super) lines: journal::Lines,
    pub(super) heads: Pace,
    pub(super) pending: Option<PassRequest>,
    pub(super) syncs: Vec<Sync>,
    pub(super) followers: Followers,
    pub(super) notes: Vec<String>,
    /// What was counted, for the metrics.
    pub(super) tallies: Tallies,
    pub(super) textfile: Textfile,
    /// Why the metrics' file is not written, if it should be.
    pub(super) textfile_fault: Option<String>,
    /// Whether the metrics' file is not what it would be now.
    pub(super) is_stale: bool,
}

/// The server's way into the loop.
struct Door {
    sender: UnboundedSender<Event>,
    access: Arc<Mutex<Access>>,
}

impl Agent for Door {
    fn ask(&self, asked: Asked) {
        // If the loop is gone the question is dropped, which tells the client that the agent is stopping.
        let _ = self.sender.send(Event::Asked(Box::new(asked)));
    }

    fn access(&self) -> Access {
        *self.access.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Daemon {
    fn start(setup: Setup, place: Place, mut workshop: Workshop) -> Result<(Daemon, Ears), DaemonError> {
        let system = |what| move |source| DaemonError::System { what, source };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (sender, events) = mpsc::unbounded_channel();
        let (cache, programs) = programs::open(clock.now());
        workshop.inquiry = Inquiry::new(cache);
        workshop.resume();
        let follow = setup.remote.clone().map(|remote| {
            let accepted = workshop.accepted(&Branch::of(&remote));
            Follow::new(remote, setup.interval, Spread::of(&setup.host), accepted)
        });
        let errands = Errands::new(workshop.basis.clone());
        let contents = Arc::clone(&workshop.contents);
        let progress = sender.clone();
        workshop.progress = Box::new(move |stage| drop(progress.send(Event::Reached(stage))));
        let loaded = sender.clone();
        place.window.on_load(move || drop(loaded.send(Event::Awaited)));
        let stopping = Arc::clone(&workshop.stopping);
        let watches = workshop.engine.watches();
        let view = workshop.view();
        let (shop, ended) =
            Shop::start(workshop).map_err(system("start the thread that touches the host"))?;

        let readers = setup.access.readers;
        let listener = control::bind(&place.socket, readers).map_err(DaemonError::Control)?;
        let access = Arc::new(Mutex::new(setup.access));
        let door = Arc::new(Door { sender: sender.clone(), access: Arc::clone(&access) });
        tokio::spawn(control::serve(listener, door, control::Limits::default()));
        let mut notes = Vec::new();
        match control::bind(&place.socket.with_file_name(exposing::SOCKET), readers) {
            Ok(listener) => drop(tokio::spawn(exposing::serve(listener, sender.clone()))),
            // The host is held all the same.
            Err(error) => {
                let message = super::chain(&error);
                warn!("{message}");
                notes.push(message);
            }
        }
        let textfile = Textfile::new(Arc::clone(&place.aside), sender.clone());

        let inbox = Arc::new(Inbox::default());
        let mut armed = Watches::new(&inbox, &clock);
        if let Some(desired) = &view.desired {
            // Before the first look: what changes in between is noticed.
            armed.want(watches, desired);
        }
        let agent = AgentInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started: clock.now(),
        };
        let timers = Timers::default();
        let mut daemon = Daemon {
            follow,
            errands,
            authors: Authors::default(),
            facts: None,
            last_fetch: None,
            contents,
            setup,
            place,
            access,
            clock,
            agent,
            shop,
            stopping,
            sender,
            inbox,
            watches: armed,
            programs,
            timers,
            manager: Manager::default(),
            view,
            snapshot: None,
            last_pass: None,
            retry: Scope::nothing(),
            passing: false,
            full_took: Duration::ZERO,
            made_up: None,
            lost: BTreeSet::new(),
            looks: Pace::of_looks(),
            lines: journal::Lines::default(),
            heads: Pace::of_heads(),
            pending: None,
            syncs: Vec::new(),
            followers: Followers::default(),
            notes,
            tallies: Tallies::default(),
            textfile,
            textfile_fault: None,
            is_stale: true,
        };
        let ears = Ears {
            events,
            terminate: signal(SignalKind::terminate()).map_err(system("listen for signals"))?,
            interrupt: signal(SignalKind::interrupt()).map_err(system("listen for signals"))?,
            hangup: signal(SignalKind::hangup()).map_err(system("listen for signals"))?,
            ended,
        };
        daemon.begin();
        Ok((daemon, ears))
    }

    /// The first steps: hold the host to what was last applied, ask the remote, look at the pulse.
    fn begin(&mut self) {
        self.timers.pulse = Manager::next_look(true).map(now_plus);
        if self.view.desired.is_some() {
            self.want_pass(Scope::Full, Trigger::Boot);
        } else {
            self.refresh();
            self.manager.ready();
        }
        if self.follow.is_none() {
            info!("not enrolled: `agentctl enroll --url URL --branch NAME` connects this host to its fleet");
        }
        self.look_at_facts();
        self.ask_remote();
    }

    /// Has the other thread finish the step at hand. Where that step is the work of others (apt in a unit of its
    /// own), they go on without us, and the next start takes it up.
    async fn stop(&mut self, ears: &mut Ears, patience: Duration) {
        self.manager.stopping();
        self.lines.sum_up();
        self.shop.close(&self.stopping);
        match tokio::time::timeout(patience, ears.ended.wait()).await {
            Ok(()) => info!("stopped"),
            Err(_) => info!("stopped; the step at hand goes on without the agent"),
        }
    }

    pub(super) fn commit_in_force(&self) -> Option<CommitId> {
        let revision = self.view.desired.as_ref()?.revision.as_ref()?;
        Some(revision.commit.clone())
    }

    pub(super) fn spread(&self) -> Spread {
        Spread::of(&self.setup.host)
    }

    pub(super) fn wall_time(&self, due: Instant) -> Timestamp {
        let left = due.saturating_duration_since(now());
        self.clock.now().checked_add(left).unwrap_or(Timestamp::MAX)
    }
}

pub(super) fn now() -> Instant {
    Instant::now()
}

pub(super) fn now_plus(wait: Duration) -> Instant {
    now() + wait
}
