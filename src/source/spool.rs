//! What root verified of a commit, in one file: the compiler's only view of the repository.
//!
//! ```text
//!  the bytes of each file, one after another │ index (JSON) │ length of the index (8 bytes, big-endian) │ MAGIC
//! ```

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::tree::{Entry, EntryKind, Tree, TreeCaps};
use crate::model::Revision;

/// Ends a file that was written to its end.
const MAGIC: &[u8; 8] = b"agentd\x00\x01";

/// Fifty thousand entries with paths of a kilobyte fit.
const LONGEST_INDEX: u64 = 128 << 20;

/// An open file of verified bytes.
pub(crate) struct Spool(File);

/// What stands in the index.
#[derive(Serialize, Deserialize)]
pub(crate) struct Index {
    pub revision: Revision,
    pub entries: Vec<Line>,
}

/// One entry of the tree.
#[derive(Serialize, Deserialize)]
pub(crate) struct Line {
    pub path: String,
    pub kind: EntryKind,
    pub size: u64,
    /// Where its bytes begin.
    pub offset: u64,
}

/// A commit that was verified: its files, and who wrote it.
pub struct VerifiedTree {
    /// The commit.
    pub revision: Revision,
    /// Its files below the subfolder.
    pub tree: Tree<'static>,
}

impl VerifiedTree {
    /// Opens what root laid down.
    ///
    /// # Errors
    /// It is not there, or was not written to its end.
    pub fn open(path: &Path) -> io::Result<VerifiedTree> {
        let mut file = File::open(path)?;
        let index = read_index(&mut file)?;
        let entries = index.entries.into_iter().map(|line| {
            let Line { path, kind, size, offset } = line;
            (Entry { path, kind, size, blob: None }, offset)
        });
        let tree = Tree::from_spool(Spool(file), entries.collect(), &TreeCaps::default());
        Ok(VerifiedTree { revision: index.revision, tree })
    }
}

impl Spool {
    /// Bytes from a place on.
    pub fn read(&self, offset: u64, size: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(size).map_err(io::Error::other)?];
        self.0.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }
}

/// Ends a file of verified bytes.
pub(crate) fn write_index(out: &mut dyn Write, index: &Index) -> io::Result<()> {
    let text = serde_json::to_vec(index)?;
    out.write_all(&text)?;
    out.write_all(&(text.len() as u64).to_be_bytes())?;
    out.write_all(MAGIC)?;
    out.flush()
}

fn read_index(file: &mut File) -> io::Result<Index> {
    let unfinished = || io::Error::other("the verified files of the commit were not written to their end");
    let mut tail = [0; 16];
    file.seek(SeekFrom::End(-16)).map_err(|_| unfinished())?;
    file.read_exact(&mut tail)?;
    let length = u64::from_be_bytes(std::array::from_fn(|at| tail[at]));
    if &tail[8..] != MAGIC || length > LONGEST_INDEX {
        return Err(unfinished());
    }
    let back = i64::try_from(length + 16).map_err(io::Error::other)?;
    file.seek(SeekFrom::End(-back)).map_err(|_| unfinished())?;
    let mut text = Vec::new();
    file.take(length).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}
