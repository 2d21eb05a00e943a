//! Confirm or undo: a new firewall that nobody confirms in time takes itself back, even if the agent is dead, stopped
//! or cut off by then.
//!
//! Before the change the undo file is written and proven to load, and a timer of systemd's own is started that
//! loads it. [`confirm`] stops the timer and makes the new table the one that is loaded at boot; until then the old
//! one is, so that a reboot inside the window is an undo too.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::boot;
use super::nft::{NFT, call, nft};
use crate::host::Host;
use crate::host::files::{Attributes, FilesError};
use crate::host::program::Run;
use crate::model::Digest;

/// What the timer loads.
pub const UNDO_FILE: &str = "/var/lib/agentd/firewall-undo.nft";
/// What will be loaded at boot once it is confirmed.
const NEXT_FILE: &str = "/var/lib/agentd/firewall-next.nft";
/// What is pending, as JSON.
const PENDING_FILE: &str = "/var/lib/agentd/firewall-pending.json";
/// Changes with every boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const SYSTEMD_RUN: &str = "/usr/bin/systemd-run";
const SYSTEMCTL: &str = "/usr/bin/systemctl";

/// A pass loads tables on one thread while a person confirms on another: one account, one hand at a time.
static ACCOUNT: Mutex<()> = Mutex::new(());

/// How long a new table may stay unconfirmed, and who is told when one is loaded. Shared between the settings, which
/// may be read again, and the kind.
#[derive(Default)]
pub struct Window {
    millis: AtomicU64,
    teller: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Window {
    /// From now on this long; none: tables need no confirmation.
    pub fn set(&self, window: Option<Duration>) {
        let millis = window.map_or(0, |window| u64::try_from(window.as_millis()).unwrap_or(u64::MAX).max(1));
        self.millis.store(millis, Ordering::Relaxed);
    }

    /// This long.
    pub fn get(&self) -> Option<Duration> {
        match self.millis.load(Ordering::Relaxed) {
            0 => None,
            millis => Some(Duration::from_millis(millis)),
        }
    }

    /// Whom to tell that a table was loaded and waits for its confirmation. The pass goes on meanwhile, perhaps for
    /// longer than the window. The first one counts.
    pub fn on_load(&self, tell: impl Fn() + Send + Sync + 'static) {
        let _ = self.teller.set(Box::new(tell));
    }

    pub(super) fn loaded(&self) {
        if let Some(tell) = self.teller.get() {
            tell();
        }
    }
}

impl std::fmt::Debug for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Window").field(&self.get()).finish()
    }
}

/// What became of the last change that had to be confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Confirmation {
    /// Nothing waits for confirmation.
    Settled,
    /// A change waits; without [`confirm`] it is undone.
    Awaited {
        /// Of the table that was loaded.
        table: Digest,
        /// When it was loaded, on the clock that counts from boot; none if that was cut short.
        loaded: Option<Duration>,
        /// Time left until it is undone.
        left: Duration,
    },
    /// It was not confirmed in time. The table is not loaded again by itself.
    Undone {
        /// Of the table that was loaded.
        table: Digest,
        /// Whether a reboot did it.
        by_reboot: bool,
    },
}

/// That a change took itself back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenBack {
    /// The unit that loaded what was there before.
    pub unit: String,
    /// Since when that is in force, on the clock that counts from boot; not earlier.
    pub since: Duration,
}

/// What is on disk while a change waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Pending {
    table: Digest,
    timer: String,
    boot: String,
    /// On the clock that counts from boot.
    deadline: Duration,
    /// On the same clock: when the table was in force.
    loaded: Option<Duration>,
    /// Confirmed, but not all is tidied up yet.
    confirmed: bool,
}

/// Why a change could not be guarded, confirmed or judged.
#[derive(Debug, thiserror::Error)]
pub enum UndoError {
    /// A file of the agent's own.
    #[error("could not keep account of the firewall change that waits for confirmation")]
    Files(#[from] FilesError),
    /// The account is damaged.
    #[error("{PENDING_FILE} is damaged: remove it, then look at the firewall with `nft list ruleset`")]
    Damaged(#[source] serde_json::Error),
    /// nft or systemd.
    #[error("{0}")]
    Program(String),
    /// There is nothing to confirm any more.
    #[error("too late: the firewall change was undone; push a revision with another firewall")]
    TooLate,
}

/// Starts the clock for a change to `next`: from now on, without [`confirm`], `undo` is loaded after `window`.
/// A change that follows an unconfirmed one is undone to what was there before the first.
pub fn arm(host: &Host, window: Duration, undo: &str, next: &str) -> Result<(), UndoError> {
    let _account = account();
    let before = read(host)?;
    let waiting = before.as_ref().filter(|_| matches!(confirmation(host), Ok(Confirmation::Awaited { .. })));
    host.root.create_dirs(boot::FOLDER, Attributes::root(boot::MODE))?;
    if waiting.is_none() {
        call(&*host.programs, &nft(&["-c", "-f", "-"], undo)).map_err(UndoError::Program)?;
        write(host, UNDO_FILE, undo)?;
    }
    write(host, NEXT_FILE, next)?;
    let now = host.clock.since_boot();
    let timer = format!("agentd-firewall-undo-{}", now.as_millis());
    let pending = Pending {
        table: Digest::of(next.as_bytes()),
        timer: timer.clone(),
        boot: boot_id(host)?,
        deadline: now + window,
        loaded: None,
        confirmed: false,
    };
    // The account first: a timer that nobody knows of could not be stopped.
    note(host, &pending)?;
    start_timer(host, &timer, window)?;
    match waiting {
        Some(before) => stop_timer(host, &before.timer),
        None => Ok(()),
    }
}

/// Takes back [`arm`] for a change that was not made.
pub fn disarm(host: &Host) -> Result<(), UndoError> {
    let _account = account();
    if let Some(pending) = read(host)? {
        stop_timer(host, &pending.timer)?;
    }
    tidy(host)
}

/// Notes that the table is in force: what happens from now on can prove it.
pub fn in_force(host: &Host) -> Result<(), UndoError> {
    let _account = account();
    match read(host)? {
        Some(pending) => note(host, &Pending { loaded: Some(host.clock.since_boot()), ..pending }),
        None => Ok(()),
    }
}

/// Confirms on the strength of a connection to the remote that was begun at `begun` (on the clock that counts from
/// boot) and succeeded. One that was begun before the table was in force proves nothing. Says whether it did.
pub fn prove(host: &Host, begun: Duration) -> Result<bool, UndoError> {
    let _account = account();
    match confirmation(host)? {
        Confirmation::Awaited { loaded: Some(loaded), .. } if begun > loaded => settle(host),
        Confirmation::Awaited { .. } | Confirmation::Settled | Confirmation::Undone { .. } => Ok(false),
    }
}

/// Finishes a confirmation that a crash cut short.
pub fn recover(host: &Host) -> Result<(), UndoError> {
    let _account = account();
    match read(host)? {
        Some(Pending { confirmed: true, .. }) => settle(host).map(drop),
        Some(_) | None => Ok(()),
    }
}

/// The new table stays: now, and at every boot from here on. Says whether anything waited for it.
pub fn confirm(host: &Host) -> Result<bool, UndoError> {
    let _account = account();
    settle(host)
}

fn settle(host: &Host) -> Result<bool, UndoError> {
    let Some(pending) = read(host)? else { return Ok(false) };
    if !pending.confirmed {
        match confirmation(host)? {
            Confirmation::Settled => return Ok(false),
            Confirmation::Undone { .. } => return Err(UndoError::TooLate),
            Confirmation::Awaited { .. } => note(host, &Pending { confirmed: true, ..pending.clone() })?,
        }
    }
    stop_timer(host, &pending.timer)?;
    if let Some(next) = host.root.read(NEXT_FILE, boot::LIMIT)? {
        boot::write(host, &String::from_utf8_lossy(&next))?;
    }
    tidy(host)?;
    Ok(true)
}

/// What became of the last change. A confirmation that a crash interrupted counts as given. From the deadline on the
/// change counts as undone, although the timer may be a moment late: whoever loaded it again in that moment, or right
/// after, would load it for good.
pub fn confirmation(host: &Host) -> Result<Confirmation, UndoError> {
    let Some(pending) = read(host)? else { return Ok(Confirmation::Settled) };
    let now = host.clock.since_boot();
    let Pending { table, boot, deadline, loaded, confirmed, timer: _ } = pending;
    let by_reboot = boot != boot_id(host)?;
    Ok(match (confirmed, by_reboot || now >= deadline) {
        (true, _) => Confirmation::Settled,
        (false, true) => Confirmation::Undone { table, by_reboot },
        (false, false) => Confirmation::Awaited { table, loaded, left: deadline.saturating_sub(now) },
    })
}

/// Whether a table that is in force is confirmed: it does not wait for that, and is not one that was undone. Where
/// somebody took the account of a change away and the rest of it is there, nothing is known.
pub fn is_confirmed(host: &Host, table: Digest) -> Result<bool, UndoError> {
    // A confirmation under way on another thread comes to its end first.
    let _account = account();
    Ok(match (read(host)?, confirmation(host)?) {
        (None, _) => host.root.stat(NEXT_FILE)?.is_none() && host.root.stat(UNDO_FILE)?.is_none(),
        (Some(_), Confirmation::Settled) => true,
        (Some(_), Confirmation::Awaited { .. }) => false,
        (Some(_), Confirmation::Undone { table: undone, .. }) => undone != table,
    })
}

/// Whether and since when the last change is undone, and by which unit: whoever asks who changed the rules then asks
/// about ourselves. None as well where the account can't be read.
pub fn taken_back(host: &Host) -> Option<TakenBack> {
    let by_reboot = match confirmation(host).ok()? {
        Confirmation::Undone { by_reboot, .. } => by_reboot,
        Confirmation::Settled | Confirmation::Awaited { .. } => return None,
    };
    let Pending { timer, deadline, .. } = read(host).ok()??;
    Some(match by_reboot {
        true => TakenBack { unit: boot::UNIT.to_owned(), since: Duration::ZERO },
        false => TakenBack { unit: format!("{timer}.service"), since: deadline },
    })
}

/// Forgets that a change was undone, so that the same table may be tried again.
pub fn forgive(host: &Host) -> Result<(), UndoError> {
    let _account = account();
    match confirmation(host)? {
        Confirmation::Undone { .. } => tidy(host),
        Confirmation::Settled | Confirmation::Awaited { .. } => Ok(()),
    }
}

fn account() -> MutexGuard<'static, ()> {
    ACCOUNT.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start_timer(host: &Host, timer: &str, window: Duration) -> Result<(), UndoError> {
    let unit = format!("--unit={timer}");
    let after = format!("--on-active={}ms", window.as_millis());
    let file = host.root.absolute(UNDO_FILE).display().to_string();
    let run = Run::new(
        SYSTEMD_RUN,
        &[
            &unit,
            &after,
            "--timer-property=AccuracySec=100ms",
            "--description=Takes back a firewall change of agentd that nobody confirmed",
            "--setenv=TZ=UTC",
            "--quiet",
            NFT,
            "-f",
            &file,
        ],
    );
    call(&*host.programs, &run).map(drop).map_err(UndoError::Program)
}

fn stop_timer(host: &Host, timer: &str) -> Result<(), UndoError> {
    let unit = format!("{timer}.timer");
    let run = Run::new(SYSTEMCTL, &["stop", &unit]);
    match host.programs.run(&run) {
        Ok(done) if done.succeeded() => Ok(()),
        // Gone already: it ran, or it never started.
        Ok(done) if done.complaint().contains("not loaded") => Ok(()),
        Ok(done) => Err(UndoError::Program(format!("systemctl stop {unit} failed: {}", done.complaint()))),
        Err(error) => Err(UndoError::Program(error.to_string())),
    }
}

/// The account goes last: what a crash leaves of it is tidied up by whoever reads it next.
fn tidy(host: &Host) -> Result<(), UndoError> {
    for file in [NEXT_FILE, UNDO_FILE, PENDING_FILE] {
        host.root.remove(file)?;
    }
    Ok(())
}

fn read(host: &Host) -> Result<Option<Pending>, UndoError> {
    let bytes = host.root.read(PENDING_FILE, boot::LIMIT)?;
    bytes.map(|bytes| serde_json::from_slice(&bytes).map_err(UndoError::Damaged)).transpose()
}

fn note(host: &Host, pending: &Pending) -> Result<(), UndoError> {
    let text = serde_json::to_string(pending).map_err(UndoError::Damaged)?;
    write(host, PENDING_FILE, &text)
}

fn write(host: &Host, file: &str, text: &str) -> Result<(), UndoError> {
    host.root.write(file, text.as_bytes(), Attributes::root(0o600))?;
    Ok(())
}

/// Empty where there is none (a test's root).
fn boot_id(host: &Host) -> Result<String, UndoError> {
    let bytes = host.root.read(BOOT_ID, 64)?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()).unwrap_or_default())
}
