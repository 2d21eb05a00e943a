//! Git objects as bytes, under ids that were computed here: whoever handed them over has named nothing.

use std::collections::HashMap;

use gix::ObjectId;
pub use gix::objs::Kind;

/// Where [`judge`](super::judge()) finds objects. Whoever implements it answers with bytes whose id it has computed
/// itself, with [`id_of`]; [`Objects`] does.
pub trait RawObjects {
    /// An object's kind and bytes, without git's header; `None` if it was not handed over.
    fn object(&self, id: &ObjectId) -> Option<(Kind, &[u8])>;
}

/// Bytes made to share an id with others: an attack on SHA-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an object was made to collide with another one under SHA-1: refuse it and ask who made it")]
pub struct Collision;

/// Why an object does not go into a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectFault {
    /// It was made to collide.
    #[error(transparent)]
    Collision(#[from] Collision),
    /// It is more than the collection may hold.
    #[error("the objects to verify are larger than {0} bytes in all")]
    TooLarge(usize),
}

/// Objects in memory, each under the id that its bytes have.
#[derive(Debug)]
pub struct Objects {
    by_id: HashMap<ObjectId, (Kind, Box<[u8]>)>,
    left: usize,
    limit: usize,
}

impl Objects {
    /// An empty collection of at most `limit` bytes.
    pub fn with_limit(limit: usize) -> Self {
        Objects { by_id: HashMap::new(), left: limit, limit }
    }

    /// Takes an object in and says its id.
    ///
    /// # Errors
    /// Bytes made to collide; more bytes than the limit.
    pub fn insert(&mut self, kind: Kind, bytes: &[u8]) -> Result<ObjectId, ObjectFault> {
        // What an object costs beside its bytes, so that empty ones are not free.
        const OVERHEAD: usize = 96;
        let id = id_of(kind, bytes)?;
        if !self.by_id.contains_key(&id) {
            let cost = bytes.len().saturating_add(OVERHEAD);
            self.left = self.left.checked_sub(cost).ok_or(ObjectFault::TooLarge(self.limit))?;
            self.by_id.insert(id, (kind, bytes.into()));
        }
        Ok(id)
    }
}

impl RawObjects for Objects {
    fn object(&self, id: &ObjectId) -> Option<(Kind, &[u8])> {
        self.by_id.get(id).map(|(kind, bytes)| (*kind, &**bytes))
    }
}

/// The id of an object: SHA-1 over git's header and the bytes, with the detection of collision attacks.
///
/// # Errors
/// Bytes that show the traces of such an attack.
pub fn id_of(kind: Kind, bytes: &[u8]) -> Result<ObjectId, Collision> {
    let mut hasher = gix::hash::hasher(gix::hash::Kind::Sha1);
    hasher.update(&gix::objs::encode::loose_header(kind, bytes.len() as u64));
    hasher.update(bytes);
    hasher.try_finalize().map_err(|_| Collision)
}

/// What a path in a tree leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    File(ObjectId),
    /// Something that is no regular file, or goes through something that is no folder.
    Other,
    Missing(ObjectId),
    Malformed(ObjectId),
}

/// Walks from a tree along a path of plain names with `/` between.
pub(super) fn walk(objects: &impl RawObjects, tree: ObjectId, path: &str) -> Found {
    let mut at = tree;
    let mut names = path.split('/').peekable();
    while let Some(name) = names.next() {
        let Some((kind, bytes)) = objects.object(&at) else { return Found::Missing(at) };
        if kind != Kind::Tree {
            return Found::Malformed(at);
        }
        match (entry(bytes, name.as_bytes()), names.peek()) {
            (Err(Broken), _) => return Found::Malformed(at),
            (Ok(None), _) => return Found::Nothing,
            (Ok(Some((b"40000", id))), Some(_)) => at = id,
            (Ok(Some((b"100644" | b"100755", id))), None) => return Found::File(id),
            (Ok(Some(_)), _) => return Found::Other,
        }
    }
    Found::Nothing
}

struct Broken;

/// The entry of a name, in a tree that is whole and names nothing twice.
fn entry<'a>(tree: &'a [u8], name: &[u8]) -> Result<Option<(&'a [u8], ObjectId)>, Broken> {
    const ID: usize = 20;
    let mut found = None;
    let mut rest = tree;
    while !rest.is_empty() {
        let nul = memchr::memchr(0, rest).ok_or(Broken)?;
        let (mode, named) = rest[..nul].split_at(memchr::memchr(b' ', &rest[..nul]).ok_or(Broken)?);
        let (id, after) = rest[nul + 1..].split_at_checked(ID).ok_or(Broken)?;
        if &named[1..] == name && found.replace((mode, ObjectId::try_from(id).map_err(|_| Broken)?)).is_some()
        {
            return Err(Broken);
        }
        rest = after;
    }
    Ok(found)
}
