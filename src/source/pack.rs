//! A pack as a stream: objects of another repository, unchanged, each compressed by itself. It feeds the same indexer that
//! a pack from the network goes through, so ids are computed anew from the content on our side.

use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use gix::ObjectId;
use gix::objs::{Find, Kind};
use gix::odb::pack;
use gix::zlib::Compression;
use gix::zlib::stream::deflate;

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
        Ok(Stream { from, rest: wanted.iter(), hasher, ready, ended: false, meter })
    }

    fn next(&mut self) -> io::Result<Vec<u8>> {
        let Some((id, kind)) = self.rest.next() else { return self.trailer() };
        self.meter.remaining().map_err(|over| self.meter.stop(over))?;
        let content = self.from.read(*id, *kind).map_err(|error| self.meter.stop(source_trouble(error)))?;
        let entry = entry(*kind, &content)?;
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

fn entry(kind: Kind, content: &[u8]) -> io::Result<Vec<u8>> {
    use pack::data::entry::Header;
    let header = match kind {
        Kind::Commit => Header::Commit,
        Kind::Tree => Header::Tree,
        Kind::Blob => Header::Blob,
        Kind::Tag => Header::Tag,
    };
    let mut out = Vec::with_capacity(content.len() / 2 + 32);
    header.write_to(content.len() as u64, &mut out)?;
    let mut zlib = deflate::Write::new(out, Compression::BEST_SPEED);
    zlib.write_all(content)?;
    zlib.flush()?;
    Ok(zlib.into_inner())
}
