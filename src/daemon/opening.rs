//! The workshop is opened: everything below the state folder, and what a crash cut short finished.

use std::sync::Arc;

use super::bounds::Bounds;
use super::chain;
use super::ground::Ground;
use super::workshop::Workshop;
use crate::attribution::gather::Inquiry;
use crate::guard;
use crate::host::Host;
use crate::host::files::{Attributes, Root};
use crate::keep::{Contents, Keep, Limits};
use crate::model::{Digest, DriftMode};
use crate::reconcile::{Engine, Perils};
use crate::record::{AtWork, OpenState, Opened, Record, RecordError};
use crate::status::standing::Standing;

/// Why the workshop could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A folder of the state could not be made or opened.
    #[error("could not prepare {what} below the state folder")]
    Folder {
        /// Which.
        what: &'static str,
        /// What was tried, and what the system said.
        #[source]
        source: Box<dyn std::error::Error + Send + std::marker::Sync>,
    },
    /// The record could not be opened.
    #[error("could not open the record")]
    Record(#[source] RecordError),
}

impl Workshop {
    /// Opens everything below the state folder and finishes what a crash cut short.
    pub fn open(
        host: Host,
        engine: Engine,
        state: Root,
        keep: Limits,
        mode: DriftMode,
    ) -> Result<Self, OpenError> {
        let mut engine = engine;
        let mut notes = Vec::new();
        match AtWork::open(&state, env!("CARGO_PKG_VERSION"), host.clock.now()) {
            Ok((at_work, died)) => {
                notes.extend(died.map(|task| format!("the agent died while it was at work on {task}")));
                engine.perils = Perils::of(at_work);
            }
            Err(error) => notes.push(format!("what the agent is at work on can't be written down: {error}")),
        }
        let contents = Contents::in_folder(contents_folder(&state)?);
        let (kept, keep, without_keep) = match open_keep(&state, keep, &host) {
            Ok((kept, keep, told)) => {
                notes.extend(told);
                (kept, keep, None)
            }
            Err(error) => {
                let kept = absent(&state, "kept")?;
                let keep = Keep::nowhere(kept.path().to_owned(), keep).map_err(of("kept"))?;
                (kept, keep, Some(chain(&error)))
            }
        };
        if let Err(error) = guard::firewall::recover(&host) {
            notes.push(error.to_string());
        }
        let (record, opened) = match &without_keep {
            None => open_record(&state, &host).map_err(OpenError::Record)?,
            // What can't be kept is not changed, and so nothing is to be written down.
            Some(why) => (stand_in(&host, why).map_err(OpenError::Record)?, None),
        };
        notes.extend(opened.and_then(|opened| begun_anew(opened.state)));
        let mut workshop = Workshop {
            host,
            engine,
            record,
            contents: Arc::new(contents),
            keep,
            kept,
            state,
            ground: Ground::default(),
            standing: Standing::default(),
            mode,
            bounds: Bounds::default(),
            unprovable: None,
            notes,
            stopping: Arc::default(),
            progress: Box::new(|_| ()),
            inquiry: Inquiry::new(None),
            declared: Digest::of(b""),
            basis: None,
            tidied: None,
            head_noted: None,
        };
        if let Some(why) = workshop.record.unavailable().map(str::to_owned) {
            workshop.not_written(&why);
        }
        Ok(workshop)
    }
}

/// The record; what keeps it from being opened (no space, a failing device) does not keep the host from being
/// watched. That another agent is at work does.
fn open_record(state: &Root, host: &Host) -> Result<(Record, Option<Opened>), RecordError> {
    match Record::open(state, Arc::clone(&host.clock)) {
        Ok((record, opened)) => Ok((record, Some(opened))),
        Err(error @ RecordError::Locked { .. }) => Err(error),
        Err(error) => Ok((Record::stand_in(Arc::clone(&host.clock), &error)?, None)),
    }
}

/// What a person should know of how the record was found.
pub(super) fn begun_anew(state: OpenState) -> Option<String> {
    match state {
        OpenState::Rebuilt { why, kept } => Some(format!(
            "the record could not be used ({why}) and was begun anew; the old one is {}; nothing is pruned until the \
             agent brings it again, and what was suspended is not",
            kept.display()
        )),
        OpenState::New | OpenState::Fine => None,
    }
}

/// A record that takes nothing, for as long as nothing can be kept.
pub(super) fn stand_in(host: &Host, why: &str) -> Result<Record, RecordError> {
    let why = RecordError::Unavailable { why: why.to_owned() };
    Record::stand_in(Arc::clone(&host.clock), &why)
}

/// What was there before, with what a crash cut short of it finished; and what a person should know of that.
pub(super) fn open_keep(
    state: &Root,
    limits: Limits,
    host: &Host,
) -> Result<(Root, Keep, Vec<String>), OpenError> {
    let kept = subfolder(state, "kept")?;
    let keep = Keep::open(&kept, limits).map_err(of("kept"))?;
    let recovered = keep.recover(&host.root).map_err(of("kept"))?;
    let told = recovered.into_iter().map(|one| format!("after an interruption: {one:?}")).collect();
    Ok((kept, keep, told))
}

/// Where contents lie. Where that can't be made now, it is tried again by whoever puts one in or asks for one.
fn contents_folder(state: &Root) -> Result<Root, OpenError> {
    subfolder(state, "contents").or_else(|_| absent(state, "contents"))
}

fn absent(state: &Root, name: &'static str) -> Result<Root, OpenError> {
    Root::absent(state.absolute(name)).map_err(of(name))
}

fn of<E: std::error::Error + Send + std::marker::Sync + 'static>(
    what: &'static str,
) -> impl FnOnce(E) -> OpenError {
    move |source| OpenError::Folder { what, source: source.into() }
}

pub(super) fn subfolder(state: &Root, name: &'static str) -> Result<Root, OpenError> {
    state
        .create_dirs(name, Attributes::root(0o700))
        .map_err(|source| OpenError::Folder { what: name, source: source.into() })?;
    Root::open(state.absolute(name)).map_err(|source| OpenError::Folder { what: name, source: source.into() })
}
