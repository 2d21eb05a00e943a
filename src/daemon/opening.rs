//! The workshop is opened: everything below the state folder, and what a crash cut short finished.

use std::sync::Arc;

use super::bounds::Bounds;
use super::workshop::Workshop;
use crate::attribution::gather::Inquiry;
use crate::guard;
use crate::host::Host;
use crate::host::files::{Attributes, Root};
use crate::keep::{Contents, Keep, Limits};
use crate::model::{Digest, DriftMode};
use crate::reconcile::{Engine, Perils};
use crate::record::{AtWork, OpenState, Record, RecordError};
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
        let contents = Contents::in_folder(subfolder(&state, "contents")?);
        let keep_root = subfolder(&state, "kept")?;
        let keep = Keep::open(&keep_root, keep)
            .map_err(|source| OpenError::Folder { what: "kept", source: source.into() })?;
        let recovered = keep
            .recover(&host.root)
            .map_err(|source| OpenError::Folder { what: "kept", source: source.into() })?;
        notes.extend(recovered.into_iter().map(|one| format!("after an interruption: {one:?}")));
        if let Err(error) = guard::firewall::recover(&host) {
            notes.push(error.to_string());
        }
        let (record, opened) = Record::open(&state, Arc::clone(&host.clock)).map_err(OpenError::Record)?;
        if let OpenState::Rebuilt { why, kept } = opened.state {
            notes.push(format!(
                "the record could not be used ({why}) and was begun anew; the old one is {}; nothing is pruned \
                 until the agent brings it again",
                kept.display()
            ));
        }
        Ok(Workshop {
            host,
            engine,
            record,
            contents: Arc::new(contents),
            keep,
            state,
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
        })
    }
}

fn subfolder(state: &Root, name: &'static str) -> Result<Root, OpenError> {
    state
        .create_dirs(name, Attributes::root(0o700))
        .map_err(|source| OpenError::Folder { what: name, source: source.into() })?;
    Root::open(state.absolute(name)).map_err(|source| OpenError::Folder { what: name, source: source.into() })
}
