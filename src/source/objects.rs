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
        let (_, size) = self.header(id)?;
        if size > self.cap as u64 {
            return Err(StoreError::TooLarge { id: id.to_string(), size, cap: self.cap as u64 });
        }
        let mut buffer = Vec::new();
        let found = match self.handle.try_find(&id, &mut buffer) {
            Ok(Some(data)) => data,
            Ok(None) => return Err(StoreError::Missing { id: id.to_string() }),
            Err(error) => return Err(damaged(id, error)),
        };
        if found.kind != kind {
            return Err(damaged(id, format_args!("it is a {}, not a {kind}", found.kind)));
        }
        found.verify_checksum(&id).map_err(|error| damaged(id, error))?;
        Ok(buffer)
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
