//! The desired state that was last applied, as a plain file beside the database: a host starts from it without
//! the network and without the record. The one before it is kept too.
//!
//! First line: `agentd-applied 1 sha256 DIGEST`; the rest is the canonical JSON of the desired state, which the
//! digest is of.

use std::path::{Path, PathBuf};

use crate::host::files::{Attributes, FilesError, Root};
use crate::kind::Desired;
use crate::model::{Digest, fingerprint};

use super::RecordError;

const CURRENT: &str = "applied.json";
const PREVIOUS: &str = "applied.previous.json";
const MAGIC: &str = "agentd-applied 1 sha256 ";

/// 100,000 resources take some 40 MB.
const LIMIT: u64 = 256 << 20;

/// What lies on disk as last applied.
#[derive(Clone, Debug, PartialEq)]
pub enum Applied {
    /// Nothing was ever applied. Not the same as an empty declaration: there is no wish at all.
    Never,
    /// The last applied desired state.
    Current(Box<Desired>),
    /// The last one can't be read; this is the one before it.
    Previous {
        /// What was applied before.
        desired: Box<Desired>,
        /// What is wrong with the last one.
        why: String,
    },
}

/// Reads what was last applied from the state folder. A file that is damaged is never read as "nothing".
pub fn load_applied(state: &Root) -> Result<Applied, RecordError> {
    let why = match load(state, CURRENT) {
        Ok(Some(desired)) => return Ok(Applied::Current(Box::new(desired))),
        Ok(None) => format!("{CURRENT} is missing"),
        Err(error @ RecordError::AppliedDamaged { .. }) => error.to_string(),
        Err(error) => return Err(error),
    };
    match load(state, PREVIOUS)? {
        Some(desired) => Ok(Applied::Previous { desired: Box::new(desired), why }),
        None if state.stat(CURRENT).map_err(unusable)?.is_none() => Ok(Applied::Never),
        None => Err(RecordError::AppliedDamaged { path: state.absolute(CURRENT), what: why }),
    }
}

/// Whether a file of what was applied lies there, whole or not. What can't be looked at is not gone.
pub fn is_applied_there(state: &Root) -> bool {
    state.stat(CURRENT).map_or(true, |stat| stat.is_some())
}

/// The desired state before the last applied one, if it is kept and whole.
pub fn load_previous(state: &Root) -> Result<Option<Desired>, RecordError> {
    load(state, PREVIOUS)
}

/// Writes what was applied, whole and durable, and keeps the one before it. The same again writes nothing.
pub fn store_applied(state: &Root, desired: &Desired) -> Result<(), RecordError> {
    let bytes = encode(desired);
    let before = state.read(CURRENT, LIMIT).map_err(unusable)?;
    if before.as_deref() == Some(&bytes) {
        return Ok(());
    }
    let attributes = ours(0o600);
    if let Some(before) = before.filter(|before| decode(before).is_ok()) {
        state.write(PREVIOUS, &before, attributes).map_err(unusable)?;
    }
    state.write(CURRENT, &bytes, attributes).map_err(unusable)?;
    Ok(())
}

/// Moves aside what can't be used, for a person to look at: what is applied next is written afresh. It is never
/// deleted, and never read as "nothing is declared".
pub fn set_applied_aside(state: &Root) -> Result<PathBuf, RecordError> {
    for name in [CURRENT, PREVIOUS] {
        let (folder, name) = state.parent(Path::new(name)).map_err(unusable)?;
        let mut aside = name.to_owned();
        aside.push(".damaged");
        if folder.stat(name).map_err(unusable)?.is_some() {
            folder.remove(&aside).map_err(unusable)?;
            folder.move_to(name, &folder, &aside).map_err(unusable)?;
        }
    }
    Ok(state.absolute(format!("{CURRENT}.damaged")))
}

/// A file or folder that belongs to whoever we are: root, or the user of a test.
pub(super) fn ours(mode: u32) -> Attributes {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    Attributes { uid, gid, mode }
}

pub(super) fn unusable(source: FilesError) -> RecordError {
    RecordError::Files { source }
}

fn load(state: &Root, name: &str) -> Result<Option<Desired>, RecordError> {
    let damaged = |what| RecordError::AppliedDamaged { path: state.absolute(name), what };
    match state.read(name, LIMIT).map_err(unusable)? {
        Some(bytes) => decode(&bytes).map(Some).map_err(damaged),
        None => Ok(None),
    }
}

fn encode(desired: &Desired) -> Vec<u8> {
    let body = fingerprint::canonical(desired);
    let mut bytes = format!("{MAGIC}{}\n", Digest::of(&body)).into_bytes();
    bytes.extend_from_slice(&body);
    bytes
}

fn decode(bytes: &[u8]) -> Result<Desired, String> {
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or("it has no first line")?;
    let (line, body) = (&bytes[..end], &bytes[end + 1..]);
    let line = std::str::from_utf8(line).map_err(|_| "its first line is no text")?;
    let digest = line.strip_prefix(MAGIC).ok_or("it is not of a version this agentd knows")?;
    if digest != Digest::of(body).to_string() {
        return Err("its content is not what was written".into());
    }
    serde_json::from_slice(body).map_err(|error| error.to_string())
}
