//! The files of the store: layout, lock, sweeping, syncing, swapping. All other files of this room only read.
//!
//! ```text
//! STORE/lock          held while fetching
//! STORE/current.git   what readers open: a bare repository with refs/agentd/tip and packs
//! STORE/next.git      a clone under way; swapped in by one rename, or swept
//! ```
//!
//! This is the unprivileged fetching process writing its own cache, not the root agent writing the host: it goes through
//! `std::fs`, never follows a link out of the store by name, and nothing of it is accepted state.
#![allow(clippy::disallowed_methods)]

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use gix::ObjectId;
use rustix::fs::{CWD, FlockOperation, RenameFlags};

use super::error::{Fault, Trouble};

/// The reference that a fetch moves, always to what the remote has.
pub(crate) const TIP: &str = "refs/agentd/tip";

const HEAD: &str = "ref: refs/heads/none\n";
const CONFIG: &str = "[core]\n\trepositoryformatversion = 0\n\tbare = true\n";

/// The store, locked. One fetch at a time; readers need no lock.
pub(crate) struct Locked {
    store: PathBuf,
    lock: File,
}

/// Where readers find the repository.
pub(crate) fn current(store: &Path) -> PathBuf {
    store.join("current.git")
}

impl Drop for Locked {
    /// Lets go by word, not by closing alone: a process that is being started elsewhere in this one holds a copy of
    /// the file until it runs its program, and with it the lock.
    fn drop(&mut self) {
        // If it fails, closing does it, a moment later.
        let _ = rustix::fs::flock(&self.lock, FlockOperation::Unlock);
    }
}

impl Locked {
    /// Makes the folder if needed, takes the lock without waiting, and sweeps what a killed fetch left.
    pub fn take(store: &Path) -> Result<Locked, Trouble> {
        let at = |error: io::Error| Trouble::disk(store, error);
        fs::DirBuilder::new().recursive(true).mode(0o755).create(store).map_err(at)?;
        let lock = File::options().create(true).append(true).open(store.join("lock")).map_err(at)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(Trouble::bare(Fault::Busy)),
            Err(error) => return Err(at(error.into())),
        }
        let locked = Locked { store: store.to_owned(), lock };
        locked.remove(&locked.next())?;
        sweep(&locked.current()).map_err(|error| Trouble::disk(&locked.current(), error))?;
        Ok(locked)
    }

    pub fn current(&self) -> PathBuf {
        current(&self.store)
    }

    pub fn next(&self) -> PathBuf {
        self.store.join("next.git")
    }

    /// Lays an empty bare repository where the next clone is made.
    pub fn lay_next(&self) -> Result<PathBuf, Trouble> {
        let next = self.next();
        self.remove(&next)?;
        let lay = || {
            for folder in ["objects/pack", "refs/heads", "refs/agentd"] {
                fs::create_dir_all(next.join(folder))?;
            }
            fs::write(next.join("HEAD"), HEAD)?;
            fs::write(next.join("config"), CONFIG)
        };
        lay().map_err(|error| Trouble::disk(&next, error))?;
        Ok(next)
    }

    /// Makes the next clone the current one: everything synced, then one rename. Readers keep what they have open.
    pub fn swap_in(&self) -> Result<(), Trouble> {
        let (next, current) = (self.next(), self.current());
        let at = |error: io::Error| Trouble::disk(&current, error);
        sync_tree(&next).map_err(at)?;
        if current.exists() {
            rustix::fs::renameat_with(CWD, &next, CWD, &current, RenameFlags::EXCHANGE)
                .map_err(|e| at(e.into()))?;
        } else {
            fs::rename(&next, &current).map_err(at)?;
        }
        sync(&self.store).map_err(at)?;
        self.remove(&next)
    }

    /// Removes a repository of the store.
    pub fn remove(&self, path: &Path) -> Result<(), Trouble> {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Trouble::disk(path, error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// The store's files are exactly ours: a repository that was damaged or tampered with in its fixed parts is not used.
pub(crate) fn check_layout(git_dir: &Path) -> Result<(), String> {
    for (name, content) in [("HEAD", HEAD), ("config", CONFIG)] {
        match fs::read(git_dir.join(name)) {
            Ok(found) if found == content.as_bytes() => {}
            Ok(_) => return Err(format!("{name} was changed")),
            Err(error) => return Err(format!("{name}: {error}")),
        }
    }
    for foreign in ["objects/info/alternates", "commondir", "packed-refs", "refs/replace", "info/grafts"] {
        if git_dir.join(foreign).symlink_metadata().is_ok() {
            return Err(format!("{foreign} does not belong there"));
        }
    }
    Ok(())
}

/// What the tip reference holds; `None` before the first fetch.
pub(crate) fn read_tip(git_dir: &Path) -> Result<Option<ObjectId>, String> {
    match fs::read(git_dir.join(TIP)) {
        Ok(text) => {
            let hex = text.strip_suffix(b"\n").unwrap_or(&text);
            ObjectId::from_hex(hex).map(Some).map_err(|error| format!("{TIP}: {error}"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{TIP}: {error}")),
    }
}

/// Points the tip at a commit, for transports that don't go through gix's own reference update.
pub(crate) fn write_tip(git_dir: &Path, tip: ObjectId) -> io::Result<()> {
    replace(&git_dir.join(TIP), format!("{tip}\n").as_bytes())
}

/// The commits whose parents were left out; empty if the history is whole.
pub(crate) fn read_shallow(git_dir: &Path) -> Result<Vec<ObjectId>, String> {
    let text = match fs::read(git_dir.join("shallow")) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("shallow: {error}")),
    };
    let lines = text.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| ObjectId::from_hex(line).map_err(|error| format!("shallow: {error}"))).collect()
}

/// Writes the list of commits whose parents were left out.
pub(crate) fn write_shallow(git_dir: &Path, commits: &[ObjectId]) -> io::Result<()> {
    let text: String = commits.iter().map(|id| format!("{id}\n")).collect();
    replace(&git_dir.join("shallow"), text.as_bytes())
}

/// How many packs there are.
pub(crate) fn packs(git_dir: &Path) -> Vec<PathBuf> {
    let Ok(list) = fs::read_dir(git_dir.join("objects/pack")) else { return Vec::new() };
    list.flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "pack"))
        .collect()
}

/// Removes files that turned out to be unwanted.
pub(crate) fn remove_files(files: &[PathBuf]) {
    for file in files {
        // What stays is swept with the next clone; nothing refers to it.
        let _ = fs::remove_file(file);
    }
}

/// A pack and its index under way, under names that a sweep takes.
pub(crate) struct Staged {
    folder: PathBuf,
    pub pack: PathBuf,
    pub index: PathBuf,
}

impl Staged {
    /// Makes both, empty.
    pub fn make(folder: &Path) -> io::Result<Staged> {
        let (pack, index) = (folder.join(".tmp-pack"), folder.join(".tmp-index"));
        File::create(&pack)?;
        File::create(&index)?;
        Ok(Staged { folder: folder.to_owned(), pack, index })
    }

    /// Gives both their name. The pack first: an index without its pack would be damage to a reader.
    pub fn name(self, name: &str) -> io::Result<Vec<PathBuf>> {
        let named = |ending: &str| self.folder.join(format!("pack-{name}.{ending}"));
        let files = vec![named("pack"), named("idx")];
        fs::rename(&self.pack, &files[0])?;
        fs::rename(&self.index, &files[1])?;
        Ok(files)
    }
}

impl Drop for Staged {
    /// What has its name is no longer here; the rest is no use to anybody.
    fn drop(&mut self) {
        remove_files(&[std::mem::take(&mut self.pack), std::mem::take(&mut self.index)]);
    }
}

/// Makes one fetch durable: its pack and index, the references, the shallow list, and the folders that name them.
pub(crate) fn sync_fetch(git_dir: &Path, files: &[PathBuf]) -> io::Result<()> {
    for file in files {
        share(file)?;
        sync(file)?;
    }
    sync(&git_dir.join("objects/pack"))?;
    let shallow = git_dir.join("shallow");
    if shallow.exists() {
        sync(&shallow)?;
    }
    sync(&git_dir.join(TIP))?;
    sync(&git_dir.join("refs/agentd"))?;
    sync(git_dir)
}

fn sync_tree(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_tree(&entry.path())?;
        } else {
            share(&entry.path())?;
            sync(&entry.path())?;
        }
    }
    sync(folder)
}

/// Lets the group read what was made as a temporary file: those who compile are members of it.
fn share(path: &Path) -> io::Result<()> {
    let mode = path.symlink_metadata()?.permissions().mode() & 0o7777;
    if mode & 0o040 == 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(mode | 0o040))?;
    }
    Ok(())
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let staged = path.with_extension("lock");
    fs::write(&staged, content)?;
    sync(&staged)?;
    fs::rename(&staged, path)
}

/// A killed fetch leaves `*.lock` (with which every later one fails), `.tmp*` and `*.keep`. Under our lock nobody else uses them.
fn sweep(folder: &Path) -> io::Result<()> {
    let list = match fs::read_dir(folder) {
        Ok(list) => list,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in list {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sweep(&entry.path())?;
            continue;
        }
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.ends_with(".lock") || name.ends_with(".keep") || name.starts_with(".tmp") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
