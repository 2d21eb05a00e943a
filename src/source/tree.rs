//! The files of one commit, or of a plain folder, as a sorted list; each read on demand.
//!
//! Policy. Names that could hurt or mislead (`..`, `.git` in any disguise, control characters, bytes that are not UTF-8,
//! two paths that differ only in case) refuse the whole tree, all faults at once. Symlinks, submodules and special files are
//! listed and refused only when they are read: a fleet repository may well keep a link among its documents. Nothing outside
//! the subfolder is looked at.

use std::fmt;

use gix::ObjectId;
use gix::objs::tree::EntryKind as Mode;
use gix::objs::{Kind, TreeRefIter};
use serde::{Deserialize, Serialize};

use super::collector::{Collector, escaped};
use super::directory::Directory;
use super::error::StoreError;
use super::flat::FlatError;
use super::id::BlobId;
use super::objects::{Objects, damaged};
use super::spool::Spool;

/// How much a tree may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeCaps {
    /// Files, links and submodules.
    pub entries: usize,
    /// Folders within folders.
    pub depth: usize,
    /// Bytes of a path.
    pub path_bytes: usize,
    /// Bytes of one file, when it is read.
    pub file_bytes: u64,
    /// Bytes of all regular files.
    pub total_bytes: u64,
}

/// One thing in a tree that is not a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path below the subfolder, with `/`; free of `..`, control characters and other traps.
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
    /// Bytes of a regular file; 0 for the rest.
    pub size: u64,
    /// The blob, if the tree comes from a commit.
    pub blob: Option<BlobId>,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A regular file that may be executed.
    Executable,
    /// A symbolic link; never followed.
    Symlink,
    /// A submodule; never fetched.
    Submodule,
    /// A socket, FIFO or device in a plain folder.
    Special,
}

/// The files of a commit below its subfolder, or of a folder.
pub struct Tree<'a> {
    entries: Vec<Entry>,
    source: Source<'a>,
    file_bytes: u64,
}

enum Source<'a> {
    Objects(&'a Objects, Vec<ObjectId>),
    Directory(Directory),
    Verified(Spool, Vec<u64>),
}

/// Why a tree, or a file in it, can't be had.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The subfolder is not in the commit, or is a file.
    #[error("the repository has no folder `{0}`; correct the path in the settings of the source")]
    NoSubfolder(String),
    /// Entries that are refused.
    #[error("the repository holds entries that are refused: {}", list(.0))]
    Refused(Vec<TreeFault>),
    /// There is no such file.
    #[error("there is no file `{0}` in the repository")]
    NoFile(String),
    /// A link, submodule or special file was to be read.
    #[error("`{path}` is a {kind}, which is not read: put a regular file there")]
    NotAFile {
        /// The path.
        path: String,
        /// What it is.
        kind: EntryKind,
    },
    /// A file is larger than may be read.
    #[error("`{path}` has {size} bytes, {cap} are allowed")]
    TooLarge {
        /// The path.
        path: String,
        /// Its size in bytes.
        size: u64,
        /// The cap in bytes.
        cap: u64,
    },
    /// A plain folder could not be read.
    #[error("cannot read `{path}`")]
    Io {
        /// The path below the folder.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The store is damaged.
    #[error("cannot read the repository's objects")]
    Store(#[from] StoreError),
    /// The stream of the repository's objects is not what it should be.
    #[error("cannot verify the repository's objects")]
    Stream(#[from] FlatError),
}

/// One refused entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeFault {
    /// A name that git or a file system may take for something else.
    #[error("`{path}`: a name that is refused everywhere (`.`, `..`, `.git` in any spelling, `/`)")]
    Dangerous {
        /// The path, escaped.
        path: String,
    },
    /// Bytes that are no text.
    #[error("`{path}`: the name is not valid UTF-8")]
    NotUtf8 {
        /// The path, escaped.
        path: String,
    },
    /// A newline, an escape, or a character that turns the direction of text.
    #[error("`{path}`: the name holds a control character")]
    Control {
        /// The path, escaped.
        path: String,
    },
    /// Two names that are one to a person, and on some systems.
    #[error("`{path}` and `{other}` differ only in case")]
    SameButCase {
        /// One of them.
        path: String,
        /// The other.
        other: String,
    },
    /// Longer than the cap.
    #[error("`{path}`: the path is longer than {cap} bytes")]
    LongPath {
        /// Its beginning, escaped.
        path: String,
        /// The cap.
        cap: usize,
    },
    /// Deeper than the cap.
    #[error("`{path}`: more than {cap} folders within each other")]
    Deep {
        /// The path, escaped.
        path: String,
        /// The cap.
        cap: usize,
    },
    /// More entries than the cap.
    #[error("more than {cap} files")]
    ManyEntries {
        /// The cap.
        cap: usize,
    },
    /// More bytes than the cap.
    #[error("more than {cap} bytes in all files together")]
    ManyBytes {
        /// The cap.
        cap: u64,
    },
}

impl Default for TreeCaps {
    fn default() -> TreeCaps {
        TreeCaps { entries: 50_000, depth: 32, path_bytes: 1024, file_bytes: 8 << 20, total_bytes: 256 << 20 }
    }
}

impl Tree<'static> {
    /// The files of a plain folder, by the same rules. A `.git` at its top is left out, so a work tree may be given.
    pub fn from_directory(path: &std::path::Path, caps: &TreeCaps) -> Result<Tree<'static>, TreeError> {
        let (directory, collected) = Directory::list(path, caps)?;
        let (entries, _) = collected.finish()?;
        Ok(Tree { entries, source: Source::Directory(directory), file_bytes: caps.file_bytes })
    }
}

impl Tree<'static> {
    /// The files that root verified and spooled: entries sorted by path, each with where its bytes begin.
    pub(crate) fn from_spool(spool: Spool, entries: Vec<(Entry, u64)>, caps: &TreeCaps) -> Tree<'static> {
        let (entries, offsets) = entries.into_iter().unzip();
        Tree { entries, source: Source::Verified(spool, offsets), file_bytes: caps.file_bytes }
    }
}

impl Tree<'_> {
    /// Everything in it, sorted by path.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry at exactly that path.
    pub fn find(&self, path: &str) -> Option<&Entry> {
        self.position(path).map(|at| &self.entries[at])
    }

    /// Everything below a folder, such as `hosts`.
    pub fn below(&self, folder: &str) -> impl Iterator<Item = &Entry> {
        let prefix = format!("{}/", folder.trim_end_matches('/'));
        let start = self.entries.partition_point(|entry| entry.path.as_str() < prefix.as_str());
        self.entries[start..].iter().take_while(move |entry| entry.path.starts_with(&prefix))
    }

    /// The content of a regular file.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, TreeError> {
        let at = self.position(path).ok_or_else(|| TreeError::NoFile(escaped(path)))?;
        let entry = &self.entries[at];
        match entry.kind {
            EntryKind::File | EntryKind::Executable => {}
            kind @ (EntryKind::Symlink | EntryKind::Submodule | EntryKind::Special) => {
                return Err(TreeError::NotAFile { path: entry.path.clone(), kind });
            }
        }
        if entry.size > self.file_bytes {
            let (path, size, cap) = (entry.path.clone(), entry.size, self.file_bytes);
            return Err(TreeError::TooLarge { path, size, cap });
        }
        match &self.source {
            Source::Objects(objects, ids) => Ok(objects.read(ids[at], Kind::Blob)?),
            Source::Verified(spool, offsets) => spool
                .read(offsets[at], entry.size)
                .map_err(|source| TreeError::Io { path: entry.path.clone(), source }),
            Source::Directory(directory) => directory.read(&entry.path, self.file_bytes),
        }
    }

    fn position(&self, path: &str) -> Option<usize> {
        self.entries.binary_search_by(|entry| entry.path.as_str().cmp(path)).ok()
    }
}

impl<'a> Tree<'a> {
    pub(crate) fn from_objects(
        objects: &'a Objects,
        root: ObjectId,
        subfolder: Option<&str>,
        caps: &TreeCaps,
    ) -> Result<Tree<'a>, TreeError> {
        let mut listing = Listing::of(&mut { objects }, root, subfolder, caps)?;
        for at in 0..listing.entries.len() {
            if listing.is_read(at) {
                listing.sized(at, objects.header(listing.ids[at])?.1);
            }
        }
        let (entries, ids) = listing.within(caps)?;
        Ok(Tree { entries, source: Source::Objects(objects, ids), file_bytes: caps.file_bytes })
    }
}

impl fmt::Display for EntryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EntryKind::File => "file",
            EntryKind::Executable => "executable file",
            EntryKind::Symlink => "symbolic link",
            EntryKind::Submodule => "submodule",
            EntryKind::Special => "socket, FIFO or device",
        })
    }
}

fn list(faults: &[TreeFault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Whoever has the folders of a commit: the store, or a stream whose every object is checked.
pub(crate) trait Folders {
    /// The bytes of the folder with exactly this id.
    fn folder(&mut self, id: ObjectId) -> Result<Vec<u8>, TreeError>;
}

impl Folders for &Objects {
    fn folder(&mut self, id: ObjectId) -> Result<Vec<u8>, TreeError> {
        Ok(self.read(id, Kind::Tree)?)
    }
}

/// What a tree holds, sorted by path; of the files' sizes only what was told since.
pub(crate) struct Listing {
    pub entries: Vec<Entry>,
    pub ids: Vec<ObjectId>,
}

impl Listing {
    /// Reads the folders down to the subfolder and below it, always in the same order.
    pub fn of(
        folders: &mut dyn Folders,
        root: ObjectId,
        subfolder: Option<&str>,
        caps: &TreeCaps,
    ) -> Result<Listing, TreeError> {
        let top = match subfolder {
            Some(folder) => descend(folders, root, folder)?,
            None => root,
        };
        let mut collector = Collector::new(caps.clone());
        walk(folders, top, &mut collector)?;
        let (entries, ids) = collector.finish()?;
        Ok(Listing { entries, ids: ids.into_iter().flatten().collect() })
    }

    /// Whether the entry is a regular file, whose bytes may be asked for.
    pub fn is_read(&self, at: usize) -> bool {
        match self.entries[at].kind {
            EntryKind::File | EntryKind::Executable => true,
            EntryKind::Symlink | EntryKind::Submodule | EntryKind::Special => false,
        }
    }

    /// Tells the size of a file.
    pub fn sized(&mut self, at: usize, size: u64) {
        self.entries[at].size = size;
    }

    /// The entries and their ids, if all files together are within the cap.
    pub fn within(self, caps: &TreeCaps) -> Result<(Vec<Entry>, Vec<ObjectId>), TreeError> {
        let bytes = self.entries.iter().fold(0u64, |sum, entry| sum.saturating_add(entry.size));
        if bytes > caps.total_bytes {
            return Err(TreeError::Refused(vec![TreeFault::ManyBytes { cap: caps.total_bytes }]));
        }
        Ok((self.entries, self.ids))
    }
}

/// The folder of this path below a folder.
pub(crate) fn descend(
    folders: &mut dyn Folders,
    root: ObjectId,
    folder: &str,
) -> Result<ObjectId, TreeError> {
    let missing = || TreeError::NoSubfolder(escaped(folder));
    let mut at = root;
    for name in folder.split('/').filter(|name| !name.is_empty() && *name != ".") {
        let bytes = folders.folder(at)?;
        let mut found = None;
        for entry in TreeRefIter::from_bytes(&bytes, gix::hash::Kind::Sha1) {
            let entry = entry.map_err(|error| damaged(at, error))?;
            if entry.filename == name && entry.mode.is_tree() {
                found = Some(entry.oid.to_owned());
            }
        }
        at = found.ok_or_else(missing)?;
    }
    Ok(at)
}

fn walk(source: &mut dyn Folders, top: ObjectId, collector: &mut Collector) -> Result<(), TreeError> {
    let mut folders = vec![(top, String::new(), 0usize)];
    while let Some((id, prefix, depth)) = folders.pop() {
        let bytes = source.folder(id)?;
        for entry in TreeRefIter::from_bytes(&bytes, gix::hash::Kind::Sha1) {
            let entry = entry.map_err(|error| damaged(id, error))?;
            let Some(path) = collector.name(&prefix, entry.filename) else { continue };
            let kind = match entry.mode.kind() {
                Mode::Tree => {
                    if collector.full() {
                        return Ok(());
                    }
                    if collector.folder(&path, depth + 1) {
                        folders.push((entry.oid.to_owned(), path, depth + 1));
                    }
                    continue;
                }
                Mode::Blob => EntryKind::File,
                Mode::BlobExecutable => EntryKind::Executable,
                Mode::Link => EntryKind::Symlink,
                Mode::Commit => EntryKind::Submodule,
            };
            collector.entry(path, kind, 0, Some(entry.oid.to_owned()));
            if collector.full() {
                return Ok(());
            }
        }
    }
    Ok(())
}
