//! Where the members of the kernel's structures lie, from its own description of its types (BTF).
//!
//! The file is five megabytes and twelve numbers of it are wanted: it is read once from front to end in small pieces,
//! strings first, and nothing of it is kept. The format is that of the kernel's `Documentation/bpf/btf.rst`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

/// A member that is asked for, as `(structure, member)`.
pub(super) type Member = (&'static str, &'static str);

/// Where members lie, in bytes from the start of their structure. What the kernel has not is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Offsets(BTreeMap<Member, i32>);

/// Numbers of the format.
const MAGIC: u16 = 0xeb9f;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
/// One piece that is read at a time.
const PIECE: usize = 64 << 10;

impl Offsets {
    /// Reads them out of a description.
    pub(super) fn read(file: File, wanted: &[Member]) -> io::Result<Self> {
        let mut file = BufReader::with_capacity(PIECE, file);
        let header = Header::read(&mut file)?;
        file.seek(SeekFrom::Start(header.strings))?;
        let names = Names::read(&mut (&mut file).take(header.strings_length), wanted)?;
        file.seek(SeekFrom::Start(header.types))?;
        let mut walk = Walk::new(names);
        walk.types((&mut file).take(header.types_length))?;
        Ok(walk.conclude(wanted))
    }

    /// Where a member lies; none if this kernel has no such member.
    pub(super) fn of(&self, structure: &'static str, member: &'static str) -> Option<i32> {
        self.0.get(&(structure, member)).copied()
    }
}

struct Header {
    types: u64,
    types_length: u64,
    strings: u64,
    strings_length: u64,
}

impl Header {
    fn read(file: &mut impl Read) -> io::Result<Self> {
        let mut raw = [0u8; 24];
        file.read_exact(&mut raw)?;
        let long = |at: usize| u32::from_ne_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]]);
        if u16::from_ne_bytes([raw[0], raw[1]]) != MAGIC {
            return Err(malformed("it does not begin as a description of types does"));
        }
        let body = u64::from(long(4));
        Ok(Header {
            types: body + u64::from(long(8)),
            types_length: long(12).into(),
            strings: body + u64::from(long(16)),
            strings_length: long(20).into(),
        })
    }
}

/// The numbers under which the wanted names go in the description.
struct Names(BTreeMap<u32, &'static str>);

impl Names {
    fn read(strings: &mut impl Read, wanted: &[Member]) -> io::Result<Self> {
        let mut known = BTreeMap::new();
        let words: std::collections::BTreeSet<&'static str> =
            wanted.iter().flat_map(|(structure, member)| [*structure, *member]).collect();
        let longest = words.iter().map(|word| word.len()).max().unwrap_or(0);
        let mut piece = vec![0u8; PIECE];
        let (mut word, mut begins, mut at) = (Vec::with_capacity(longest + 1), 0u32, 0u32);
        loop {
            let length = strings.read(&mut piece)?;
            if length == 0 {
                return Ok(Names(known));
            }
            for byte in &piece[..length] {
                at = at.wrapping_add(1);
                if *byte != 0 {
                    // One byte more than the longest tells a longer word from a wanted one.
                    if word.len() <= longest {
                        word.push(*byte);
                    }
                    continue;
                }
                if let Some(found) = words.iter().find(|wanted| wanted.as_bytes() == word) {
                    known.insert(begins, *found);
                }
                word.clear();
                begins = at;
            }
        }
    }
}

/// What is found on the way through the types.
struct Walk {
    names: Names,
    /// Members by the number of the type they are in.
    found: BTreeMap<u32, BTreeMap<&'static str, i32>>,
    /// Structures by name.
    structures: BTreeMap<&'static str, u32>,
    /// Nameless structures within structures: where they lie.
    nested: BTreeMap<u32, Vec<(u32, i32)>>,
}

impl Walk {
    fn new(names: Names) -> Self {
        Walk { names, found: BTreeMap::new(), structures: BTreeMap::new(), nested: BTreeMap::new() }
    }

    fn types(&mut self, mut types: impl Read) -> io::Result<()> {
        let mut number = 0u32;
        let mut head = [0u8; 12];
        let mut members = Vec::new();
        loop {
            match types.read(&mut head[..1])? {
                0 => return Ok(()),
                _ => types.read_exact(&mut head[1..])?,
            }
            number += 1;
            let long = |at: usize| u32::from_ne_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
            let (name, info) = (long(0), long(4));
            let (count, kind, has_bits) = ((info & 0xffff) as usize, info >> 24 & 0x1f, info >> 31 == 1);
            members.resize(behind(kind, count)?, 0);
            types.read_exact(&mut members)?;
            if matches!(kind, STRUCT | UNION) {
                self.structure(number, name, &members, has_bits);
            }
        }
    }

    fn structure(&mut self, number: u32, name: u32, members: &[u8], has_bits: bool) {
        let structure = self.names.0.get(&name).copied();
        if name != 0 && structure.is_none() {
            return;
        }
        if let Some(structure) = structure {
            // The first of a name is the kernel's own; a later one of the same name is a driver's.
            if *self.structures.entry(structure).or_insert(number) != number {
                return;
            }
        }
        for member in members.chunks_exact(12) {
            let long =
                |at: usize| u32::from_ne_bytes([member[at], member[at + 1], member[at + 2], member[at + 3]]);
            let bits = if has_bits { long(8) & 0xff_ffff } else { long(8) };
            let Ok(offset) = i32::try_from(bits / 8) else { continue };
            match (long(0), self.names.0.get(&long(0))) {
                (0, _) => self.nested.entry(number).or_default().push((long(4), offset)),
                (_, Some(member)) => {
                    self.found.entry(number).or_default().insert(member, offset);
                }
                (_, None) => {}
            }
        }
    }

    fn conclude(&self, wanted: &[Member]) -> Offsets {
        let place = |member: &Member| {
            let structure = self.structures.get(member.0)?;
            Some((*member, self.place(*structure, member.1, 4)?))
        };
        Offsets(wanted.iter().filter_map(place).collect())
    }

    /// A member of a structure or of the nameless ones within it.
    fn place(&self, structure: u32, member: &str, depth: u32) -> Option<i32> {
        if let Some(offset) = self.found.get(&structure).and_then(|members| members.get(member)) {
            return Some(*offset);
        }
        let nested = self.nested.get(&structure).filter(|_| depth > 0)?;
        nested.iter().find_map(|(inner, at)| Some(at + self.place(*inner, member, depth - 1)?))
    }
}

/// How many bytes follow the head of a type.
fn behind(kind: u32, count: usize) -> io::Result<usize> {
    match kind {
        // Integers, variables, tags of declarations: one word.
        1 | 14 | 17 => Ok(4),
        // Arrays.
        3 => Ok(12),
        // Structures, unions, sections of data, wide enumerations: three words each.
        STRUCT | UNION | 15 | 19 => Ok(count * 12),
        // Enumerations and parameters of functions: two words each.
        6 | 13 => Ok(count * 8),
        // Pointers, forward declarations, names of types, qualifiers, functions, floats, tags of types.
        2 | 7..=12 | 16 | 18 => Ok(0),
        _ => Err(malformed("it has a kind of type that is not known here")),
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the kernel's description of its types can't be read: {what}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_structures_and_of_nameless_ones_within_are_found() {
        let file = File::open("/sys/kernel/btf/vmlinux").expect("a kernel that describes its types");
        let wanted = [("task_struct", "comm"), ("mm_struct", "arg_start"), ("task_struct", "no_such_member")];
        let offsets = Offsets::read(file, &wanted).unwrap();
        assert!(offsets.of("task_struct", "comm").unwrap() > 0);
        assert!(offsets.of("mm_struct", "arg_start").unwrap() > 0);
        assert_eq!(offsets.of("task_struct", "no_such_member"), None);
    }

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn a_damaged_description_is_refused() {
        use std::io::Write;
        for bytes in [
            &b"no types"[..],
            &[0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, 99, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7],
        ] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            file.rewind().unwrap();
            assert!(Offsets::read(file, &[("a", "b")]).is_err());
        }
    }
}
