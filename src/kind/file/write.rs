//! Writing contents: each staged beside its target with everything final, the old one kept, one step to take its
//! place. Many at once wait for the disk together.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::apply::{NotDone, folder_of, name_of, on_occasion};
use super::change::Change;
use super::check;
use super::proofs::Proofs;
use crate::host::files::{Attributes, FileType, FilesError, Folder, How, Staged, Xattrs};
use crate::host::pulse::PULSE;
use crate::keep::{Durable, Kept, Known, Pending, Purpose};
use crate::kind::ApplyCx;
use crate::model::{Content, Key, OutcomeResult};

/// From this many on, one wait for the whole file system is cheaper than one a file.
const MANY: usize = 8;

/// How many are in the air at once: each holds a file handle.
const AT_ONCE: usize = 128;

/// A content to be written.
pub(super) struct Write<'c> {
    pub key: &'c Key,
    /// None for an empty file whose content is not managed.
    pub content: Option<Content>,
    pub attributes: Attributes,
    pub check: &'c [String],
    pub change: &'c Change,
}

/// Writes contents that need no check. Each comes with the number it was given.
pub(super) fn batches(
    cx: &ApplyCx<'_>,
    proofs: &Proofs,
    writes: &[(usize, Write<'_>)],
) -> Vec<(usize, Result<Kept, NotDone>)> {
    let mut results = Vec::with_capacity(writes.len());
    for chunk in writes.chunks(AT_ONCE) {
        let durable = if chunk.len() >= MANY { Durable::Batch } else { Durable::Each };
        let done = batch(cx, proofs, chunk, durable);
        results.extend(chunk.iter().map(|(at, _)| *at).zip(done));
        PULSE.beat();
    }
    results
}

/// Writes a content that a program must agree to.
pub(super) fn checked(cx: &ApplyCx<'_>, proofs: &Proofs, write: &Write<'_>) -> Result<Kept, NotDone> {
    let key = write.key;
    let folder = folder_of(cx, key, Durable::Each)?;
    let staged = stage(cx, &folder, write)?;
    let programs = &*cx.host.programs;
    let refused = |why: String| NotDone::Failed(format!("{key} was left as it was: {why}"));
    if check::looks_at_staged(write.check) {
        check::run(programs, write.check, Some(&staged.path())).map_err(refused)?;
        let pending = prepare(cx, proofs, write, staged, Purpose::Stay, Durable::Each)?;
        return commit(cx, &folder, write, pending);
    }
    let pending = prepare(cx, proofs, write, staged, Purpose::Trial, Durable::Each)?;
    let kept = commit(cx, &folder, write, pending)?;
    let passed = check::run(programs, write.check, None);
    let Some(id) = &kept.id else { return Ok(kept) };
    match passed {
        Ok(()) => {
            cx.keep.pass(&cx.host.root, id)?;
            Ok(kept)
        }
        Err(why) => match cx.keep.fail(&cx.host.root, id) {
            Ok(()) => Err(NotDone::Failed(format!("{key} was put back as it was: {why}"))),
            Err(error) => Err(NotDone::Failed(format!(
                "{key}: {why}; and what was there before could not be put back: {}",
                error.chain()
            ))),
        },
    }
}

fn batch(
    cx: &ApplyCx<'_>,
    proofs: &Proofs,
    writes: &[(usize, Write<'_>)],
    durable: Durable,
) -> Vec<Result<Kept, NotDone>> {
    let (folders, places) = open_folders(cx, writes, durable);
    let pending: Vec<Result<(&Folder, Pending<'_>), NotDone>> = writes
        .iter()
        .zip(places)
        .map(|((_, write), place)| {
            let folder = &folders[place?];
            let staged = stage(cx, folder, write)?;
            Ok((folder, prepare(cx, proofs, write, staged, Purpose::Stay, durable)?))
        })
        .collect();
    if let Err(error) = sync_staged(cx, &folders, durable) {
        return writes.iter().map(|_| Err(NotDone::Failed(error.clone()))).collect();
    }
    let results: Vec<_> = writes
        .iter()
        .zip(pending)
        .map(|((_, write), pending)| {
            let (folder, pending) = pending?;
            commit(cx, folder, write, pending)
        })
        .collect();
    match sync_folders(cx, &folders, durable) {
        Ok(()) => results,
        Err(error) => {
            results.into_iter().map(|result| result.and(Err(NotDone::Failed(error.clone())))).collect()
        }
    }
}

/// The folders of all writes, each once, and for each write which one it is.
fn open_folders(
    cx: &ApplyCx<'_>,
    writes: &[(usize, Write<'_>)],
    durable: Durable,
) -> (Vec<Folder>, Vec<Result<usize, NotDone>>) {
    let mut folders = Vec::new();
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    let mut places = Vec::with_capacity(writes.len());
    for (_, write) in writes {
        let parent = write.key.as_str().rsplit_once('/').map_or("", |(parent, _)| parent);
        let place = match known.get(parent) {
            Some(place) => Ok(*place),
            None => folder_of(cx, write.key, durable).map(|folder| {
                folders.push(folder);
                known.insert(parent, folders.len() - 1);
                folders.len() - 1
            }),
        };
        places.push(place.map_err(NotDone::from));
    }
    (folders, places)
}

fn stage<'f>(cx: &ApplyCx<'_>, folder: &'f Folder, write: &Write<'_>) -> Result<Staged<'f>, NotDone> {
    let bytes: Arc<[u8]> = match &write.content {
        Some(content) => cx.contents.get(&content.digest)?,
        None => Arc::from([]),
    };
    let name = name_of(write.key);
    let xattrs = match folder.stat(name)? {
        Some(stat) if stat.kind == FileType::File => folder.xattrs(name)?,
        Some(_) | None => Xattrs::default(),
    };
    Ok(folder.stage_file(name, &bytes, write.attributes, &xattrs)?)
}

fn prepare<'a>(
    cx: &ApplyCx<'a>,
    proofs: &Proofs,
    write: &Write<'_>,
    staged: Staged<'a>,
    purpose: Purpose,
    durable: Durable,
) -> Result<Pending<'a>, NotDone> {
    let stat = staged.folder().stat(staged.target())?;
    let known: Known = stat.and_then(|stat| Some((stat.identity, proofs.last(&stat.identity)?)));
    let keep = cx.keep;
    let pending = on_occasion(cx, write.key, write.change, |occasion| {
        keep.replacing(occasion, write.key.as_str(), staged, known, purpose, durable)
    });
    Ok(pending?)
}

/// What was written is read back by the verification: it is believed of the disk, not of us.
fn commit(
    cx: &ApplyCx<'_>,
    folder: &Folder,
    write: &Write<'_>,
    pending: Pending<'_>,
) -> Result<Kept, NotDone> {
    cx.host.root.still_there(folder, Path::new(write.key.as_str()))?;
    Ok(pending.commit()?)
}

/// What came of a write that was made.
pub(super) fn outcome(key: &Key, kept: &Kept) -> OutcomeResult {
    match kept.how {
        How::Replaced => OutcomeResult::Done,
        How::InPlace => OutcomeResult::DoneNoting {
            note: format!("{key} was overwritten in place, because something is mounted on it"),
        },
    }
}

/// One wait for each file system that is written to.
fn sync_staged(cx: &ApplyCx<'_>, folders: &[Folder], durable: Durable) -> Result<(), String> {
    if durable == Durable::Each {
        return Ok(());
    }
    cx.keep.sync_all().map_err(|error| error.chain())?;
    let mut synced = vec![device(cx.keep.folder()).map_err(|error| error.chain())?];
    for folder in folders {
        let device = device(folder).map_err(|error| error.chain())?;
        if !synced.contains(&device) {
            folder.sync_filesystem().map_err(|error| error.chain())?;
            synced.push(device);
        }
    }
    Ok(())
}

fn sync_folders(cx: &ApplyCx<'_>, folders: &[Folder], durable: Durable) -> Result<(), String> {
    if durable == Durable::Each {
        return Ok(());
    }
    let synced = folders.iter().try_for_each(Folder::sync).and_then(|()| cx.keep.folder().sync());
    synced.map_err(|error| error.chain())
}

fn device(folder: &Folder) -> Result<u64, FilesError> {
    folder.own_stat().map(|stat| stat.identity.device)
}
