//! A pack as a stream: objects of another repository, unchanged, each compressed by itself. It feeds the same indexer that
//! a pack from the network goes through, so ids are computed anew from the content on our side.

use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use gix::ObjectId;
use gix::objs::{Find, Kind};
use gix::odb::pack;
use gix::zlib::stream::deflate::{Compress, FlushCompress};
use gix::zlib::{Compression, Status};

use super::disk;
use super::error::{Fault, StoreError, Trouble};
use super::meter::Meter;
use super::objects::Objects;

/// Stores these objects of `from` as one pack under `git_dir`. Gives the files that were made.
pub(crate) fn copy(
    from: &Objects,
    wanted: &[(ObjectId, Kind)],
    git_dir: &Path,
    object_bytes: usize,
    meter: &Meter,
) -> Result<Vec<PathBuf>, Trouble> {
    let folder = git_dir.join("objects/pack");
    let mut stream = BufReader::new(Stream::new(from, wanted, meter.clone())?);
    let options = pack::bundle::write::Options {
        thread_limit: Some(1),
        iteration_mode: pack::data::input::Mode::Verify,
        alloc_limit_bytes: Some(object_bytes),
        ..Default::default()
    };
    let written = pack::Bundle::write_to_directory(
        &mut stream,
        Some(&folder),
        &mut gix::progress::Discard,
        &AtomicBool::new(false),
        None::<NoBases>,
        gix::hash::Kind::Sha1,
        options,
    );
    match written {
        Ok(done) => {
            // It guards a pack from a garbage collection that never runs here.
            disk::remove_files(done.keep_path.as_slice());
            Ok([done.data_path, done.index_path].into_iter().flatten().collect())
        }
        Err(error) => Err(meter.take_trouble().unwrap_or_else(|| Trouble::disk(&folder, error))),
    }
}

/// Our packs are whole: no entry needs a base from elsewhere.
struct NoBases;

impl Find for NoBases {
    fn try_find<'a>(
        &self,
        _id: &gix::hash::oid,
        _buffer: &'a mut Vec<u8>,
    ) -> gix::Result<Option<gix::objs::Data<'a>>> {
        Ok(None)
    }
}

struct Stream<'a> {
    from: &'a Objects,
    rest: std::slice::Iter<'a, (ObjectId, Kind)>,
    hasher: gix::hash::Hasher,
    zlib: Compress,
    ready: io::Cursor<Vec<u8>>,
    ended: bool,
    meter: Meter,
}

impl<'a> Stream<'a> {
    fn new(from: &'a Objects, wanted: &'a [(ObjectId, Kind)], meter: Meter) -> Result<Stream<'a>, Trouble> {
        let too_many = |_| Trouble::bare(Fault::TooLarge { what: "objects in one pack".to_owned() });
        let count = u32::try_from(wanted.len()).map_err(too_many)?;
        let head = pack::data::header::encode(pack::data::Version::V2, count);
        let mut hasher = gix::hash::hasher(gix::hash::Kind::Sha1);
        hasher.update(&head);
        let ready = io::Cursor::new(head.to_vec());
        let zlib = Compress::new(Compression::BEST_SPEED);
        Ok(Stream { from, rest: wanted.iter(), hasher, zlib, ready, ended: false, meter })
    }

    fn next(&mut self) -> io::Result<Vec<u8>> {
        let Some((id, kind)) = self.rest.next() else { return self.trailer() };
        self.meter.remaining().map_err(|over| self.meter.stop(over))?;
        let content = self.from.read(*id, *kind).map_err(|error| self.meter.stop(source_trouble(error)))?;
        let mut entry = Vec::with_capacity(content.len() / 2 + 32);
        header(*kind).write_to(content.len() as u64, &mut entry)?;
        if content.len() < SMALL {
            store(&content, &mut entry);
        } else {
            compress(&mut self.zlib, &content, &mut entry)?;
        }
        self.meter.received(entry.len()).map_err(|over| self.meter.stop(over))?;
        self.hasher.update(&entry);
        Ok(entry)
    }

    fn trailer(&mut self) -> io::Result<Vec<u8>> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(Vec::new());
        }
        let whole = std::mem::replace(&mut self.hasher, gix::hash::hasher(gix::hash::Kind::Sha1));
        let digest = whole.try_finalize().map_err(io::Error::other)?;
        Ok(digest.as_slice().to_vec())
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ready.position() == self.ready.get_ref().len() as u64 {
            self.ready = io::Cursor::new(self.next()?);
        }
        self.ready.read(buffer)
    }
}

/// Damage in the other repository is its own fault, not our store's.
fn source_trouble(error: StoreError) -> Trouble {
    Trouble::from(error)
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
