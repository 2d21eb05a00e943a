//! The index of a pack, version 2, as git's documentation has it (gitformat-pack): a table of how many ids begin with at
//! most each byte, the ids in order, a checksum of each packed entry, and where each begins.

use std::io::{self, Write};

use gix::ObjectId;

/// One object of a pack. With the id that stands elsewhere anyway it would be more than twice as large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Of the entry as it lies in the pack.
    pub crc32: u32,
    /// Where it begins in the pack.
    pub offset: u64,
}

const SIGNATURE: &[u8] = b"\xfftOc";
const VERSION: u32 = 2;
/// Offsets from here on stand in a table of their own, to whose places the first table then points.
const FAR: u64 = 1 << 31;

/// Writes the index of the pack with this digest. Each entry has its id at the same place in `ids`.
pub(crate) fn write<'a>(
    out: impl Write,
    id: impl Fn(u32) -> &'a ObjectId,
    entries: &[Entry],
    pack: ObjectId,
) -> io::Result<()> {
    let mut order: Vec<u32> = (0..number(entries.len())?).collect();
    order.sort_unstable_by_key(|at| id(*at));
    let in_order = || order.iter().map(|at| &entries[*at as usize]);
    let mut out = Hashing { out, hasher: gix::hash::hasher(gix::hash::Kind::Sha1) };
    out.put(SIGNATURE)?;
    out.put(&VERSION.to_be_bytes())?;
    let mut upto = 0;
    for first in 0..=u8::MAX {
        upto += order[upto..].iter().take_while(|at| id(**at).first_byte() == first).count();
        out.put(&number(upto)?.to_be_bytes())?;
    }
    for at in &order {
        out.put(id(*at).as_slice())?;
    }
    for entry in in_order() {
        out.put(&entry.crc32.to_be_bytes())?;
    }
    let mut far = Vec::new();
    for entry in in_order() {
        let place = match u32::try_from(entry.offset) {
            Ok(near) if entry.offset < FAR => near,
            Ok(_) | Err(_) => {
                far.push(entry.offset);
                number(far.len() - 1)? | 1 << 31
            }
        };
        out.put(&place.to_be_bytes())?;
    }
    for offset in far {
        out.put(&offset.to_be_bytes())?;
    }
    out.put(pack.as_slice())?;
    out.end()
}

fn number(count: usize) -> io::Result<u32> {
    u32::try_from(count).map_err(io::Error::other)
}

struct Hashing<W> {
    out: W,
    hasher: gix::hash::Hasher,
}

impl<W: Write> Hashing<W> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.out.write_all(bytes)
    }

    fn end(mut self) -> io::Result<()> {
        let digest = self.hasher.try_finalize().map_err(io::Error::other)?;
        self.out.write_all(digest.as_slice())?;
        self.out.flush()
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // a file of the test's own
mod tests {
    use super::*;

    fn id(first: u8, last: u8) -> ObjectId {
        let mut bytes = [0; 20];
        (bytes[0], bytes[19]) = (first, last);
        ObjectId::from(bytes)
    }

    #[test]
    fn an_index_reads_back_also_beyond_two_gigabytes() {
        let ids = [id(0xff, 1), id(0, 1), id(7, 2), id(7, 1)];
        let entry = |offset: u64| Entry { crc32: 7 + offset as u32, offset };
        let entries = [12, FAR - 1, FAR, (1 << 40) + 5].map(entry);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pack-0.idx");
        let out = std::fs::File::create(&path).unwrap();
        write(out, |at| &ids[at as usize], &entries, id(9, 9)).unwrap();
        let read = gix::odb::pack::index::File::at(&path, gix::hash::Kind::Sha1).unwrap();
        assert_eq!((read.num_objects(), read.pack_checksum()), (4, id(9, 9)));
        let go_on = std::sync::atomic::AtomicBool::new(false);
        read.verify_checksum(&mut gix::progress::Discard, &go_on).unwrap();
        for (id, (at, entry)) in ids.iter().zip([3, 0, 2, 1].into_iter().zip(entries)) {
            assert_eq!(read.lookup(id), Some(at));
            assert_eq!((read.oid_at_index(at), read.pack_offset_at_index(at)), (&**id, entry.offset));
            assert_eq!(read.crc32_at_index(at), Some(entry.crc32));
        }
        assert_eq!(read.lookup(id(8, 1)), None);
    }
}
