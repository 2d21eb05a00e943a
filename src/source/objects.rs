//! Objects by id, each checked against its id when it is read: neither a damaged disk nor a tampered pack gets further.

use std::path::Path;

use gix::ObjectId;
use gix::objs::{Exists, Find, Kind};
use gix::odb::{Handle, Header};

use super::error::StoreError;

/// An object database that is only read.
pub(crate) struct Objects {
    handle: Handle,
    /// Largest object that is unpacked, in bytes.
    cap: usize,
}

impl Objects {
    /// Opens the folder `objects` of a repository. Replacement references and grafts play no part at this level.
    pub fn open(folder: &Path, cap: usize) -> Result<Objects, StoreError> {
        let options = gix::odb::store::init::Options { alloc_limit_bytes: Some(cap), ..Default::default() };
        let open = |cause: String| StoreError::Open { path: folder.to_owned(), cause };
        if !folder.is_dir() {
            return Err(open("it is not there".to_owned()));
        }
        let mut handle = gix::odb::at_opts(folder, gix::hash::Kind::Sha1, None, options)
            .map_err(|e| open(e.to_string()))?;
        // A miss would list the folder again each time, and misses are how a copy learns what to take.
        handle.refresh_never();
        handle.set_pack_cache(|| Box::new(Bases::new()));
        Ok(Objects { handle, cap })
    }

    /// True if an object with that id is listed. Its content is not looked at.
    pub fn contains(&self, id: ObjectId) -> bool {
        self.handle.exists(&id)
    }

    /// Kind and size of an object.
    pub fn header(&self, id: ObjectId) -> Result<(Kind, u64), StoreError> {
        match self.handle.try_header(&id) {
            Ok(Some(header)) => Ok((header.kind(), header.size())),
            Ok(None) => Err(StoreError::Missing { id: id.to_string() }),
            Err(error) => Err(damaged(id, error)),
        }
    }

    /// The content of an object of that kind.
    pub fn read(&self, id: ObjectId, kind: Kind) -> Result<Vec<u8>, StoreError> {
        let mut buffer = Vec::new();
        let found = match self.handle.try_find(&id, &mut buffer) {
            Ok(Some(data)) => data,
            Ok(None) => return Err(StoreError::Missing { id: id.to_string() }),
            Err(error) => return Err(self.refusal(id, error)),
        };
        if found.kind != kind {
            return Err(damaged(id, format_args!("it is a {}, not a {kind}", found.kind)));
        }
        found.verify_checksum(&id).map_err(|error| damaged(id, error))?;
        Ok(buffer)
    }

    /// The handle refuses to unpack beyond the cap; only its header says by how much.
    fn refusal(&self, id: ObjectId, error: gix::Error) -> StoreError {
        let cap = self.cap as u64;
        match self.header(id) {
            Ok((_, size)) if size > cap => StoreError::TooLarge { id: id.to_string(), size, cap },
            Ok(_) | Err(_) => damaged(id, error),
        }
    }
}

/// Bases of deltas that were just unpacked. Neighbours in history share them: a walk through 20,000 commits unpacks each
/// folder's long chain once instead of once a commit. One slot a hash value, no lists: a collision costs one unpacking.
struct Bases(Vec<Option<Base>>);

struct Base {
    place: (u32, u64),
    kind: Kind,
    compressed: usize,
    data: Vec<u8>,
}

impl Bases {
    const SLOTS: usize = 256;
    /// Largest base kept, in bytes; with all slots full that is 4 MiB.
    const LARGEST: usize = 16 << 10;

    fn new() -> Bases {
        Bases(std::iter::repeat_with(|| None).take(Bases::SLOTS).collect())
    }

    fn slot(&mut self, pack: u32, offset: u64) -> &mut Option<Base> {
        // Fibonacci hashing: offsets of neighbours differ in few low bits.
        let hash = (offset ^ (u64::from(pack) << 40)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        &mut self.0[(hash >> 56) as usize]
    }
}

impl gix::odb::pack::cache::DecodeEntry for Bases {
    fn put(&mut self, pack: u32, offset: u64, data: &[u8], kind: Kind, compressed: usize) {
        if data.len() <= Bases::LARGEST {
            *self.slot(pack, offset) =
                Some(Base { place: (pack, offset), kind, compressed, data: data.to_vec() });
        }
    }

    fn get(&mut self, pack: u32, offset: u64, out: &mut Vec<u8>) -> Option<(Kind, usize)> {
        let base = self.slot(pack, offset).as_ref().filter(|base| base.place == (pack, offset))?;
        out.clear();
        out.extend_from_slice(&base.data);
        Some((base.kind, base.compressed))
    }
}

pub(crate) fn damaged(id: ObjectId, cause: impl std::fmt::Display) -> StoreError {
    StoreError::Damaged { id: id.to_string(), cause: cause.to_string() }
}

/// The model's name of an id. It is valid by construction; the fallback can't be reached.
pub(crate) fn commit_id(id: ObjectId) -> Result<crate::model::CommitId, StoreError> {
    id.to_string().parse().map_err(|why: String| damaged(id, why))
}

/// Our store holds SHA-1 repositories alone, so a SHA-256 id is simply not in it.
pub(crate) fn object_id(id: &crate::model::CommitId) -> Result<ObjectId, StoreError> {
    match ObjectId::from_hex(id.as_str().as_bytes()) {
        Ok(id) if id.kind() == gix::hash::Kind::Sha1 => Ok(id),
        Ok(_) | Err(_) => Err(StoreError::Missing { id: id.to_string() }),
    }
}
