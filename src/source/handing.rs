//! The two ends of the flat stream of one commit: the process that opens packs hands its objects over in a fixed order,
//! root walks in the same order and holds each object to the id that it asks for.
//!
//! ```text
//!  tip, then the commits back to the one accepted last ─ 'e' ─ folders and signers' files of each ─ 'e' ─
//!  folders of the tip down to the subfolder and below it ─ each file once ─ 'e'
//! ```

use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};
use std::io::{self, Read, Write};

use gix::ObjectId;
use gix::objs::{Kind, TreeRefIter};
use serde::{Deserialize, Serialize};

use super::commit::{self, Node};
use super::error::StoreError;
use super::flat::{self, FlatError, Tag};
use super::objects::{Objects, commit_id, object_id};
use super::spool::{Index, Line, write_index};
use super::tree::{Folders, Listing, TreeCaps, TreeError, TreeFault};
use crate::model::CommitId;

/// Commits that are taken at most; a host that was away for longer is enrolled anew.
const MOST_COMMITS: u32 = 20_000;

/// Bytes of all commits, and of all folders and files of signers: root holds them in memory.
const HISTORY_BYTES: u64 = 24 << 20;

/// Bytes of one commit; a message of a megabyte is none.
const COMMIT_BYTES: u64 = 1 << 20;

/// Bytes of one folder: a hundred thousand entries.
const FOLDER_BYTES: u64 = 8 << 20;

/// Bytes of all folders together; they are only passed through.
const FOLDERS_BYTES: u64 = 128 << 20;

/// Bytes of a file of signers.
const SIGNERS_BYTES: u64 = 1 << 20;

/// What is asked of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// The commit.
    pub tip: CommitId,
    /// The commit that was accepted last.
    pub last: Option<CommitId>,
    /// Where in the tree the declaration lives.
    pub subfolder: Option<String>,
    /// A file of signers within the repository, from its top.
    pub signers: Option<String>,
}

/// The commits and signers' files of a stream: each is what its id says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// The exact bytes of each commit.
    pub commits: BTreeMap<CommitId, Vec<u8>>,
    /// The file of signers as it is in a commit; none where it has none.
    pub signers: BTreeMap<CommitId, Vec<u8>>,
    /// There is more history than is taken.
    pub cut: bool,
}

/// Reads a stream as root does.
pub struct Receiver<R> {
    input: R,
    bytes: u64,
}

impl History {
    /// The parents of a commit; none if it is not there.
    pub fn parents(&self, id: &CommitId) -> Option<Vec<CommitId>> {
        let bytes = self.commits.get(id)?;
        let node = Node::parse(object_id(id).ok()?, bytes).ok()?;
        node.parents.into_iter().map(|parent| commit_id(parent).ok()).collect()
    }

    /// Whether `tip` is `last` or descends from it, as far as these commits show.
    pub fn descends(&self, tip: &CommitId, last: &CommitId) -> bool {
        let (mut seen, mut queue) = (HashSet::from([tip.clone()]), vec![tip.clone()]);
        while let Some(id) = queue.pop() {
            if id == *last {
                return true;
            }
            let parents = self.parents(&id).unwrap_or_default();
            queue.extend(parents.into_iter().filter(|parent| seen.insert(parent.clone())));
        }
        false
    }
}

/// Hands over what is asked for. What the store can't give is told in the stream; an error is the stream's.
pub(crate) fn hand_over(objects: &Objects, ask: &Ask, out: &mut dyn Write) -> io::Result<()> {
    let mut sender = Sender { objects, out, failed: None };
    match sender.all(ask) {
        Ok(()) => sender.out.flush(),
        Err(error) => match sender.failed {
            Some(broken) => Err(broken),
            None => {
                flat::send(sender.out, Tag::Trouble, chain(&error).as_bytes())?;
                sender.out.flush()
            }
        },
    }
}

struct Sender<'a> {
    objects: &'a Objects,
    out: &'a mut dyn Write,
    /// Nobody listens any more.
    failed: Option<io::Error>,
}

impl Folders for Sender<'_> {
    fn folder(&mut self, id: ObjectId) -> Result<Vec<u8>, TreeError> {
        let bytes = self.objects.read(id, Kind::Tree)?;
        self.send(Tag::Folder, &bytes)?;
        Ok(bytes)
    }
}

impl Sender<'_> {
    fn all(&mut self, ask: &Ask) -> Result<(), TreeError> {
        let tip = object_id(&ask.tip)?;
        let commits = self.commits(tip, ask)?;
        self.send(Tag::End, b"")?;
        if let Some(path) = &ask.signers {
            let mut known = Known::new(&mut *self);
            let blobs = signers(&mut known, &commits, path)?;
            let mut sent = HashSet::new();
            for (_, blob) in blobs {
                if sent.insert(blob) {
                    let bytes = self.objects.read(blob, Kind::Blob)?;
                    self.send(Tag::File, &bytes)?;
                }
            }
        }
        self.send(Tag::End, b"")?;
        let caps = TreeCaps::default();
        let root = Node::read(self.objects, tip)?.tree;
        let listing = Listing::of(self, root, ask.subfolder.as_deref(), &caps)?;
        for id in files_of(&listing) {
            let (_, size) = self.objects.header(id)?;
            if size > caps.file_bytes {
                self.note(flat::send_head, Tag::Large, size)?;
            } else {
                let bytes = self.objects.read(id, Kind::Blob)?;
                self.send(Tag::File, &bytes)?;
            }
        }
        self.send(Tag::End, b"")
    }

    /// The tip, and what lies between it and what was accepted last: newest first, until nothing is left that is not
    /// known to be older than that. Gives the order in which they went.
    fn commits(&mut self, tip: ObjectId, ask: &Ask) -> Result<Vec<(ObjectId, Node)>, TreeError> {
        let mut order = Vec::new();
        let last = ask.last.as_ref().filter(|last| **last != ask.tip).map(object_id).transpose()?;
        let mut queue = BinaryHeap::from([(i64::MAX, tip, true)]);
        let mut seen = HashSet::from([tip]);
        let mut old = HashSet::new();
        old.extend(last);
        let mut news = 1usize;
        while let Some((_, id, is_news)) = queue.pop() {
            news -= usize::from(is_news);
            let bytes = self.objects.read(id, Kind::Commit)?;
            let node = Node::parse(id, &bytes)?;
            self.send(Tag::Commit, &bytes)?;
            let is_old = old.contains(&id);
            // At the first contact the tip alone, and the parents whose signers it may be held to.
            let goes_on = last.is_some() || (order.is_empty() && ask.signers.is_some());
            let parents = if goes_on { node.parents.clone() } else { Vec::new() };
            order.push((id, node));
            if order.len() >= MOST_COMMITS as usize {
                break;
            }
            for parent in parents {
                if is_old {
                    old.insert(parent);
                }
                // History that was cut off ends here.
                if !self.objects.contains(parent) || !seen.insert(parent) {
                    continue;
                }
                let is_news = !old.contains(&parent);
                let seconds = Node::read(self.objects, parent)?.seconds;
                news += usize::from(is_news);
                queue.push((seconds, parent, is_news));
            }
            if news == 0 {
                break;
            }
        }
        // What is left are the parents of what is new: signers are named by them.
        let left = queue.into_iter().filter(|_| ask.signers.is_some());
        for (_, id, _) in left.take((MOST_COMMITS as usize).saturating_sub(order.len())) {
            let bytes = self.objects.read(id, Kind::Commit)?;
            self.send(Tag::Commit, &bytes)?;
            order.push((id, Node::parse(id, &bytes)?));
        }
        Ok(order)
    }

    fn send(&mut self, tag: Tag, bytes: &[u8]) -> Result<(), TreeError> {
        flat::send(self.out, tag, bytes).map_err(|error| self.broken(error))
    }

    fn note(
        &mut self,
        send: impl FnOnce(&mut dyn Write, Tag, u64) -> io::Result<()>,
        tag: Tag,
        size: u64,
    ) -> Result<(), TreeError> {
        send(self.out, tag, size).map_err(|error| self.broken(error))
    }

    fn broken(&mut self, error: io::Error) -> TreeError {
        let kind = error.kind();
        self.failed = Some(error);
        TreeError::Stream(FlatError::Broken(kind.into()))
    }
}

impl<R: Read> Folders for Receiver<R> {
    fn folder(&mut self, id: ObjectId) -> Result<Vec<u8>, TreeError> {
        let piece = flat::receive(&mut self.input, &[Tag::Folder], FOLDER_BYTES)?;
        self.count(piece.length, FOLDERS_BYTES, "bytes in all folders")?;
        flat::verify(Kind::Tree, &piece.bytes, id)?;
        Ok(piece.bytes)
    }
}

impl<R: Read> Receiver<R> {
    /// A stream that was not read yet.
    pub fn new(input: R) -> Self {
        Receiver { input, bytes: 0 }
    }

    /// Reads the commits and the signers' files: the first half of the stream.
    pub fn history(&mut self, ask: &Ask) -> Result<History, TreeError> {
        let (mut history, order) = self.commits(ask)?;
        if let Some(path) = &ask.signers {
            let blobs = signers(&mut Known::new(&mut *self), &order, path)?;
            let mut files: HashMap<ObjectId, Vec<u8>> = HashMap::new();
            for (commit, blob) in blobs {
                if let std::collections::hash_map::Entry::Vacant(place) = files.entry(blob) {
                    let piece = flat::receive(&mut self.input, &[Tag::File], SIGNERS_BYTES)?;
                    self.count(piece.length, HISTORY_BYTES, "bytes of signers")?;
                    flat::verify(Kind::Blob, &piece.bytes, blob)?;
                    place.insert(piece.bytes);
                }
                history.signers.insert(commit_id(commit)?, files[&blob].clone());
            }
        }
        flat::receive(&mut self.input, &[Tag::End], 0)?;
        self.bytes = 0;
        Ok(history)
    }

    /// Reads the folders and files of the tip, the second half, and writes what the compiler is to see.
    pub fn tree(mut self, ask: &Ask, history: &History, out: &mut dyn Write) -> Result<(), TreeError> {
        let caps = TreeCaps::default();
        let (tip, bytes) = (object_id(&ask.tip)?, history.commits.get(&ask.tip));
        let bytes = bytes.ok_or_else(|| StoreError::Missing { id: ask.tip.to_string() })?;
        let revision = commit::info_of(tip, bytes)?.revision();
        let root = Node::parse(tip, bytes)?.tree;
        let mut listing = Listing::of(&mut self, root, ask.subfolder.as_deref(), &caps)?;
        let laid = self.files(&listing, &caps, out)?;
        for at in 0..listing.entries.len() {
            if let Some((size, _)) = laid.get(&listing.ids[at]).filter(|_| listing.is_read(at)) {
                listing.sized(at, *size);
            }
        }
        flat::receive(&mut self.input, &[Tag::End], 0)?;
        flat::at_end(&mut self.input)?;
        let (entries, ids) = listing.within(&caps)?;
        let offset = |id| laid.get(&id).map_or(0, |(_, offset)| *offset);
        let entries = entries.into_iter().zip(ids).map(|(entry, id)| Line {
            offset: offset(id),
            path: entry.path,
            kind: entry.kind,
            size: entry.size,
        });
        let index = Index { revision, entries: entries.collect() };
        write_index(out, &index).map_err(|error| TreeError::Stream(FlatError::Broken(error)))
    }

    fn commits(&mut self, ask: &Ask) -> Result<(History, Vec<(ObjectId, Node)>), TreeError> {
        let mut history = History::default();
        let mut order = Vec::new();
        let mut named = HashSet::from([object_id(&ask.tip)?]);
        loop {
            let wanted: &[Tag] = if order.is_empty() { &[Tag::Commit] } else { &[Tag::Commit, Tag::End] };
            let piece = flat::receive(&mut self.input, wanted, COMMIT_BYTES)?;
            if piece.tag == Tag::End {
                break;
            }
            self.count(piece.length, HISTORY_BYTES, "bytes of commits")?;
            let id = flat::identify(Kind::Commit, &piece.bytes)?;
            // The tip, or a parent of one that came before, and each once.
            if !named.contains(&id) || history.commits.contains_key(&commit_id(id)?) {
                let wanted = "a parent that was not handed over yet".to_owned();
                let found = format!("the commit {id}");
                return Err(FlatError::Unexpected { found, wanted }.into());
            }
            let node = Node::parse(id, &piece.bytes)?;
            named.extend(node.parents.iter().copied());
            history.commits.insert(commit_id(id)?, piece.bytes);
            order.push((id, node));
            if order.len() > MOST_COMMITS as usize {
                return Err(FlatError::TooMuch { what: "commits", cap: MOST_COMMITS.into() }.into());
            }
        }
        history.cut = order.len() >= MOST_COMMITS as usize;
        Ok((history, order))
    }

    /// Passes each file through once: size and place by its id.
    fn files(
        &mut self,
        listing: &Listing,
        caps: &TreeCaps,
        out: &mut dyn Write,
    ) -> Result<HashMap<ObjectId, (u64, u64)>, TreeError> {
        let mut laid = HashMap::new();
        let mut offset = 0u64;
        for id in files_of(listing) {
            let piece = flat::receive(&mut self.input, &[Tag::File, Tag::Large], caps.file_bytes)?;
            if offset + piece.bytes.len() as u64 > caps.total_bytes {
                return Err(TreeError::Refused(vec![TreeFault::ManyBytes { cap: caps.total_bytes }]));
            }
            if piece.tag == Tag::Large {
                // Told, not shown: it is never read, only refused by whoever wants it.
                laid.insert(id, (piece.length.max(caps.file_bytes + 1), 0));
                continue;
            }
            flat::verify(Kind::Blob, &piece.bytes, id)?;
            out.write_all(&piece.bytes).map_err(|error| TreeError::Stream(FlatError::Broken(error)))?;
            laid.insert(id, (piece.length, offset));
            offset += piece.length;
        }
        Ok(laid)
    }

    fn count(&mut self, length: u64, cap: u64, what: &'static str) -> Result<(), FlatError> {
        self.bytes = self.bytes.saturating_add(length);
        if self.bytes > cap { Err(FlatError::TooMuch { what, cap }) } else { Ok(()) }
    }
}

/// Folders that were seen already are not handed over again: most commits share most folders.
struct Known<'a> {
    source: &'a mut dyn Folders,
    seen: HashMap<ObjectId, Vec<u8>>,
}

impl<'a> Known<'a> {
    fn new(source: &'a mut dyn Folders) -> Self {
        Known { source, seen: HashMap::new() }
    }

    fn folder(&mut self, id: ObjectId) -> Result<&[u8], TreeError> {
        match self.seen.entry(id) {
            std::collections::hash_map::Entry::Occupied(known) => Ok(known.into_mut()),
            std::collections::hash_map::Entry::Vacant(place) => Ok(place.insert(self.source.folder(id)?)),
        }
    }
}

/// The file of signers of each commit that has one.
fn signers(
    known: &mut Known<'_>,
    commits: &[(ObjectId, Node)],
    path: &str,
) -> Result<Vec<(ObjectId, ObjectId)>, TreeError> {
    let mut found = Vec::new();
    for (commit, node) in commits {
        if let Some(blob) = file_at(known, node.tree, path)? {
            found.push((*commit, blob));
        }
    }
    Ok(found)
}

/// The regular file at a path; a link or a folder of that name is none.
fn file_at(known: &mut Known<'_>, root: ObjectId, path: &str) -> Result<Option<ObjectId>, TreeError> {
    let mut at = root;
    let mut names = path.split('/').filter(|name| !name.is_empty()).peekable();
    while let Some(name) = names.next() {
        let is_last = names.peek().is_none();
        let mut next = None;
        for entry in TreeRefIter::from_bytes(known.folder(at)?, gix::hash::Kind::Sha1) {
            let entry = entry
                .map_err(|error| FlatError::Malformed { id: at.to_string(), cause: error.to_string() })?;
            let fits = if is_last { entry.mode.is_blob() } else { entry.mode.is_tree() };
            if entry.filename == name && fits {
                next = Some(entry.oid.to_owned());
            }
        }
        match next {
            Some(id) if is_last => return Ok(Some(id)),
            Some(id) => at = id,
            None => return Ok(None),
        }
    }
    Ok(None)
}

/// The files whose bytes are handed over, each once, in the order of their first path.
fn files_of(listing: &Listing) -> Vec<ObjectId> {
    let mut seen = HashSet::new();
    let ids = listing.ids.iter().enumerate().filter(|(at, _)| listing.is_read(*at));
    ids.map(|(_, id)| *id).filter(|id| seen.insert(*id)).collect()
}

fn chain(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
