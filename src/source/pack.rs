//! A pack made here: objects of another repository, unchanged, each compressed by itself, and the index to them. Each
//! object is checked against its id when it is read, so the index needs no second look at the pack: nothing is held in
//! memory but the list of what was written, 16 bytes an object.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use gix::ObjectId;
use gix::objs::Kind;
use gix::odb::pack;
use gix::zlib::stream::deflate::{Compress, FlushCompress};
use gix::zlib::{Compression, Status};

use super::disk;
use super::error::{Fault, Trouble};
use super::foreign::Foreign;
use super::index;
use super::meter::Meter;

/// Stores these objects of `from` as one pack under `git_dir`. Gives the files that were made.
pub(crate) fn copy(
    from: &mut Foreign,
    wanted: &[(ObjectId, Kind)],
    git_dir: &Path,
    meter: &Meter,
) -> Result<Vec<PathBuf>, Trouble> {
    let folder = git_dir.join("objects/pack");
    let disk = |error: io::Error| Trouble::disk(&folder, error);
    let staged = disk::Staged::make(&folder).map_err(disk)?;
    let mut pack = Pack::begin(&staged.pack, wanted.len())?.map_err(disk)?;
    for (id, kind) in wanted {
        meter.remaining()?;
        let content = from.read(*id, *kind)?;
        let bytes = pack.put(*kind, &content).map_err(disk)?;
        meter.received(bytes)?;
    }
    let (entries, digest) = pack.end().map_err(disk)?;
    let index = File::options().write(true).open(&staged.index).map_err(disk)?;
    let id = |at: u32| &wanted[at as usize].0;
    index::write(BufWriter::new(index), id, &entries, digest).map_err(disk)?;
    staged.name(&digest.to_string()).map_err(disk)
}

/// A pack under way.
struct Pack {
    file: BufWriter<File>,
    hasher: gix::hash::Hasher,
    zlib: Compress,
    entries: Vec<index::Entry>,
    at: u64,
    buffer: Vec<u8>,
}

impl Pack {
    fn begin(path: &Path, count: usize) -> Result<io::Result<Pack>, Trouble> {
        let too_many = |_| Trouble::bare(Fault::TooLarge { what: "objects in one pack".to_owned() });
        let head =
            pack::data::header::encode(pack::data::Version::V2, u32::try_from(count).map_err(too_many)?);
        let begin = || {
            let mut pack = Pack {
                file: BufWriter::new(File::options().write(true).open(path)?),
                hasher: gix::hash::hasher(gix::hash::Kind::Sha1),
                zlib: Compress::new(Compression::BEST_SPEED),
                entries: Vec::with_capacity(count),
                at: 0,
                buffer: Vec::new(),
            };
            pack.append(&head)?;
            Ok(pack)
        };
        Ok(begin())
    }

    /// Appends an object; gives how many bytes it takes.
    fn put(&mut self, kind: Kind, content: &[u8]) -> io::Result<usize> {
        let mut entry = std::mem::take(&mut self.buffer);
        entry.clear();
        header(kind).write_to(content.len() as u64, &mut entry)?;
        if content.len() < SMALL {
            store(content, &mut entry);
        } else {
            compress(&mut self.zlib, content, &mut entry)?;
        }
        self.entries.push(index::Entry { crc32: crc32fast::hash(&entry), offset: self.at });
        self.append(&entry)?;
        let bytes = entry.len();
        // A large object's room is not held on to.
        self.buffer = if entry.capacity() > 1 << 20 { Vec::new() } else { entry };
        Ok(bytes)
    }

    /// The pack's own digest ends it.
    fn end(mut self) -> io::Result<(Vec<index::Entry>, ObjectId)> {
        let digest = self.hasher.try_finalize().map_err(io::Error::other)?;
        self.file.write_all(digest.as_slice())?;
        self.file.flush()?;
        Ok((self.entries, digest))
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.at += bytes.len() as u64;
        self.file.write_all(bytes)
    }
}

fn header(kind: Kind) -> pack::data::entry::Header {
    use pack::data::entry::Header;
    match kind {
        Kind::Commit => Header::Commit,
        Kind::Tree => Header::Tree,
        Kind::Blob => Header::Blob,
        Kind::Tag => Header::Tag,
    }
}

/// Contents below this many bytes are stored as they are: to clear the compressor's 128 KiB table costs more than it saves.
const SMALL: usize = 2048;

/// Appends a zlib stream (RFC 1950) that is one stored block (RFC 1951, 3.2.4).
fn store(content: &[u8], out: &mut Vec<u8>) {
    let length = content.len() as u16;
    out.extend_from_slice(&[0x78, 0x01, 0x01]);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&(!length).to_le_bytes());
    out.extend_from_slice(content);
    let (mut a, mut b) = (1u32, 0u32);
    for byte in content {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    out.extend_from_slice(&(b << 16 | a).to_be_bytes());
}

/// Appends a zlib stream of the content.
fn compress(zlib: &mut Compress, content: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    zlib.reset();
    loop {
        let (read, written) = (zlib.total_in() as usize, zlib.total_out() as usize);
        let start = out.len();
        out.resize(start + content.len() / 2 + 1024, 0);
        let status = zlib
            .compress(&content[read..], &mut out[start..], FlushCompress::Finish)
            .map_err(io::Error::other)?;
        out.truncate(start + zlib.total_out() as usize - written);
        if status == Status::StreamEnd {
            return Ok(());
        }
    }
}
