//! Making the changes: links, directories, owners and removals one by one, contents in batches (see `write`).

use std::ffi::OsStr;
use std::path::Path;

use super::Files;
use super::change::{Act, Change};
use super::names::{gid_of, missing_name, uid_of};
use super::reach;
use super::spec::{Ownership, Spec};
use super::write::{self, Write};
use crate::host::files::{Attributes, FileType, FilesError, Folder};
use crate::keep::{Durable, KeepError, Kept, Occasion, Purpose};
use crate::kind::{ApplyCx, Planned};
use crate::model::{Key, KindName, OutcomeResult, ResourceId};

/// Folders that nobody declared but something declared lies in.
const ON_THE_WAY: Attributes = Attributes::root(0o755);

/// Why a change was not made.
#[derive(Debug)]
pub(super) enum NotDone {
    /// Something else must be there first.
    Waiting(String),
    /// It was tried.
    Failed(String),
}

pub(super) fn apply(
    files: &mut Files,
    cx: &mut ApplyCx<'_>,
    changes: &[Planned<Spec, Change>],
) -> Vec<OutcomeResult> {
    let mut results = vec![OutcomeResult::Done; changes.len()];
    let (mut plain, mut checked) = (Vec::new(), Vec::new());
    for (at, planned) in changes.iter().enumerate() {
        if let Err(refused) = permitted(cx, planned) {
            results[at] = refused.into();
            continue;
        }
        sweep(files, cx, &planned.key);
        match one(cx, planned) {
            Ok(None) => {}
            Ok(Some(write)) if write.check.is_empty() => plain.push((at, write)),
            Ok(Some(write)) => checked.push((at, write)),
            Err(not_done) => results[at] = not_done.into(),
        }
    }
    // Links that lead elsewhere by now were laid just above.
    for writes in [&mut plain, &mut checked] {
        writes.retain(|(at, _): &(usize, Write<'_>)| match permitted(cx, &changes[*at]) {
            Ok(()) => true,
            Err(refused) => {
                results[*at] = refused.into();
                false
            }
        });
    }
    // Contents after the folders they lie in, and those that are checked last: a check may read the others.
    let written = write::batches(cx, &files.proofs, &plain);
    let tried = checked.iter().map(|(at, write)| (*at, write::checked(cx, &files.proofs, write)));
    for (at, result) in written.into_iter().chain(tried) {
        results[at] = match result {
            Ok(kept) => {
                files.laid.extend(kept.new.map(|new| (changes[at].key.clone(), new)));
                write::outcome(&changes[at].key, &kept)
            }
            Err(not_done) => not_done.into(),
        };
    }
    results
}

/// Whether a change may be made where links lead.
fn permitted(cx: &ApplyCx<'_>, planned: &Planned<Spec, Change>) -> Result<(), NotDone> {
    let Planned { key, spec, change } = planned;
    let refused = match (change.act, spec) {
        (Act::Prune, _) => reach::brought(&cx.host.root, key),
        (Act::Remove, _) | (_, None) => reach::declared(&cx.host.root, key, &Spec::Absent),
        (Act::Lay | Act::Own, Some(declared)) => reach::declared(&cx.host.root, key, &declared.spec),
    };
    refused.map_or(Ok(()), |why| Err(NotDone::Failed(why)))
}

/// Does a change, unless it is a content that is to be written: that is returned.
fn one<'c>(cx: &ApplyCx<'_>, planned: &'c Planned<Spec, Change>) -> Result<Option<Write<'c>>, NotDone> {
    let Planned { key, spec, change } = planned;
    let spec = spec.as_ref().map(|declared| &declared.spec);
    match (change.act, spec) {
        (Act::Remove, _) => remove(cx, key, change).map(|()| None),
        (Act::Prune, _) => prune(cx, key, change).map(|()| None),
        (Act::Lay, Some(Spec::File { content, ownership, check })) => {
            let attributes = attributes(cx, ownership)?;
            Ok(Some(Write { key, content: *content, attributes, check, change }))
        }
        (Act::Own, Some(Spec::File { content, ownership, check })) => {
            let attributes = attributes(cx, ownership)?;
            match own(cx, key, FileType::File, attributes) {
                // What has other names is not changed through this one: it gets an inode of its own.
                Err(FilesError::ManyNames { .. }) if content.is_some() => {
                    Ok(Some(Write { key, content: *content, attributes, check, change }))
                }
                done => done.map(|()| None).map_err(NotDone::from),
            }
        }
        (Act::Lay, Some(Spec::Directory { ownership, .. })) => {
            let attributes = attributes(cx, ownership)?;
            directory(cx, key, change, attributes).map(|()| None)
        }
        (Act::Own, Some(Spec::Directory { ownership, .. })) => {
            let attributes = attributes(cx, ownership)?;
            Ok(own(cx, key, FileType::Directory, attributes).map(|()| None)?)
        }
        (Act::Lay, Some(Spec::Link { target })) => link(cx, key, change, target).map(|()| None),
        (Act::Lay | Act::Own, Some(Spec::Absent) | None) | (Act::Own, Some(Spec::Link { .. })) => {
            Err(NotDone::Failed(format!(
                "{key}: a change that does not fit what is declared; please report this"
            )))
        }
    }
}

/// Rids the folder of a path of what a crash left staged there, once in the life of the process. Nobody else
/// stages here, and we do one thing at a time.
fn sweep(files: &mut Files, cx: &ApplyCx<'_>, key: &Key) {
    let folder = key.as_str().rsplit_once('/').map_or("", |(folder, _)| folder);
    if files.swept.contains(folder) {
        return;
    }
    // Litter is no reason not to make the change; what is in its way will be said by the change itself.
    if let Ok(Some(opened)) = cx.host.root.folder(folder) {
        let _ = opened.sweep();
    }
    files.swept.insert(folder.to_owned());
}

/// The folder of a path, made if it is not there.
pub(super) fn folder_of(cx: &ApplyCx<'_>, key: &Key, durable: Durable) -> Result<Folder, FilesError> {
    let path = Path::new(key.as_str());
    let root = &cx.host.root;
    if let Some(parent) = path.parent() {
        match durable {
            Durable::Each => root.create_dirs(parent, ON_THE_WAY)?,
            Durable::Batch => root.create_dirs_unsynced(parent, ON_THE_WAY)?,
        };
    }
    root.parent(path).map(|(folder, _)| folder)
}

/// The last component of a path.
pub(super) fn name_of(key: &Key) -> &OsStr {
    OsStr::new(key.as_str().rsplit_once('/').map_or(key.as_str(), |(_, name)| name))
}

/// Runs `act` with the occasion to keep things on.
pub(super) fn on_occasion<T>(
    cx: &ApplyCx<'_>,
    key: &Key,
    change: &Change,
    act: impl FnOnce(Occasion<'_>) -> Result<T, KeepError>,
) -> Result<T, KeepError> {
    let resource = ResourceId::new(KindName::File, key.clone());
    let why = change.to_string();
    act(Occasion { resource: &resource, why: &why, now: cx.host.clock.now() })
}

fn attributes(cx: &ApplyCx<'_>, ownership: &Ownership) -> Result<Attributes, NotDone> {
    let accounts = &*cx.host.accounts;
    let waiting = |word: &str, name: &str| {
        NotDone::Waiting(format!("{}, which does not exist yet", missing_name(word, name)))
    };
    let uid = uid_of(accounts, &ownership.owner).ok_or_else(|| waiting("user", &ownership.owner))?;
    let gid = gid_of(accounts, &ownership.group).ok_or_else(|| waiting("group", &ownership.group))?;
    Ok(Attributes { uid, gid, mode: ownership.mode.bits() })
}

fn own(cx: &ApplyCx<'_>, key: &Key, wanted: FileType, attributes: Attributes) -> Result<(), FilesError> {
    let (folder, name) = cx.host.root.parent(Path::new(key.as_str()))?;
    match folder.stat(name)? {
        Some(stat) if stat.kind == wanted => folder.set_attributes(name, attributes).map(|_| ()),
        // It changed since it was looked at: the next pass sees it as it is now.
        Some(_) | None => Err(FilesError::Unsteady { path: folder.path().join(name) }),
    }
}

fn directory(cx: &ApplyCx<'_>, key: &Key, change: &Change, attributes: Attributes) -> Result<(), NotDone> {
    let folder = folder_of(cx, key, Durable::Each)?;
    let name = name_of(key);
    match folder.stat(name)? {
        None => {
            folder.create_dir(name, attributes)?;
            if let Some(made) = folder.subfolder(name)? {
                made.sync()?;
            }
            folder.sync()?;
        }
        Some(stat) if stat.kind == FileType::Directory => {
            folder.set_attributes(name, attributes)?;
        }
        Some(_) => {
            let staged = folder.stage_dir(name, attributes)?;
            let replace = |occasion: Occasion<'_>| {
                let keep = cx.keep;
                keep.replacing(occasion, key.as_str(), staged, None, Purpose::Stay, Durable::Each)?.commit()
            };
            on_occasion(cx, key, change, replace)?;
        }
    }
    Ok(())
}

fn link(cx: &ApplyCx<'_>, key: &Key, change: &Change, target: &str) -> Result<(), NotDone> {
    let folder = folder_of(cx, key, Durable::Each)?;
    let staged = folder.stage_link(name_of(key), OsStr::new(target), 0, 0)?;
    on_occasion(cx, key, change, |occasion| {
        cx.keep.replacing(occasion, key.as_str(), staged, None, Purpose::Stay, Durable::Each)?.commit()
    })?;
    Ok(())
}

fn remove(cx: &ApplyCx<'_>, key: &Key, change: &Change) -> Result<(), NotDone> {
    let path = Path::new(key.as_str());
    let Some(folder) = path.parent().map(|parent| cx.host.root.folder(parent)).transpose()?.flatten() else {
        return Ok(());
    };
    let name = name_of(key);
    if folder.stat(name)?.is_none() {
        return Ok(());
    }
    let removed: Result<Kept, KeepError> = on_occasion(cx, key, change, |occasion| {
        cx.keep.removing(occasion, key.as_str(), &folder, name, None, Durable::Each)?.commit()
    });
    removed.map(|_| ()).map_err(NotDone::from)
}

/// What we brought. A directory only once it is empty: what others put there is theirs.
fn prune(cx: &ApplyCx<'_>, key: &Key, change: &Change) -> Result<(), NotDone> {
    let stat = cx.host.root.stat(key.as_str())?;
    match stat {
        Some(stat) if stat.kind == FileType::Directory => {
            cx.host.root.remove(key.as_str())?;
            Ok(())
        }
        Some(_) => remove(cx, key, change),
        None => Ok(()),
    }
}

impl From<NotDone> for OutcomeResult {
    fn from(not_done: NotDone) -> Self {
        match not_done {
            NotDone::Waiting(message) => OutcomeResult::Waiting { message },
            NotDone::Failed(message) => OutcomeResult::Failed { message },
        }
    }
}

impl From<FilesError> for NotDone {
    fn from(error: FilesError) -> Self {
        NotDone::Failed(error.chain())
    }
}

impl From<KeepError> for NotDone {
    fn from(error: KeepError) -> Self {
        NotDone::Failed(error.chain())
    }
}
