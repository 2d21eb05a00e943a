//! Objects as a flat stream, from the process that opens packs to root, which does not: a letter, a length, the bytes;
//! no ids. Root computes each id anew (with collision detection) and compares it with the one it asks for next, so that
//! nothing can be missing, doubled, left over or another object than it says.
//!
//! ```text
//!  'c' commit   't' folder   'b' file   'l' file that is too large (its length alone)   'e' end of a part
//!  'x' the store can't be read (a message)            each: letter, length (8 bytes, big-endian), bytes
//! ```

use std::io::{self, Read, Write};

use gix::ObjectId;
use gix::objs::Kind;

/// Longest message of a process that can't go on, in bytes.
const LONGEST_MESSAGE: u64 = 64 << 10;

/// What a piece of the stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tag {
    Commit,
    Folder,
    File,
    /// A file beyond the cap: its length without its bytes. Only ever a reason not to read it.
    Large,
    End,
    Trouble,
}

/// One piece.
pub(crate) struct Piece {
    pub tag: Tag,
    /// The length as it was told; of the bytes, unless the file is too large.
    pub length: u64,
    pub bytes: Vec<u8>,
}

/// Why a stream of objects is not believed.
#[derive(Debug, thiserror::Error)]
pub enum FlatError {
    /// It ended in the middle, or could not be read.
    #[error("the stream of objects broke off")]
    Broken(#[source] io::Error),
    /// What came is not what is asked for at this place.
    #[error("the stream of objects holds {found} where {wanted} belongs")]
    Unexpected {
        /// What came.
        found: String,
        /// What was asked for.
        wanted: String,
    },
    /// An object's bytes do not have the id that is asked for.
    #[error("an object that was asked for as {wanted} has the id {found}")]
    OtherObject {
        /// What was asked for.
        wanted: String,
        /// What its bytes amount to.
        found: String,
    },
    /// The bytes of an object are made to collide with another's.
    #[error("an object bears the marks of an attack on its id (a SHA-1 collision): {0}")]
    Collision(String),
    /// An object has the right id and is none of git's.
    #[error("object {id} is malformed: {cause}")]
    Malformed {
        /// Its id.
        id: String,
        /// What is wrong.
        cause: String,
    },
    /// More than is taken.
    #[error("more than {cap} {what}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// The cap.
        cap: u64,
    },
    /// The process could not read the store.
    #[error("{0}")]
    Store(String),
}

impl Tag {
    const ALL: [Tag; 6] = [Tag::Commit, Tag::Folder, Tag::File, Tag::Large, Tag::End, Tag::Trouble];

    const fn letter(self) -> u8 {
        match self {
            Tag::Commit => b'c',
            Tag::Folder => b't',
            Tag::File => b'b',
            Tag::Large => b'l',
            Tag::End => b'e',
            Tag::Trouble => b'x',
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Tag::Commit => "a commit",
            Tag::Folder => "a folder",
            Tag::File => "a file",
            Tag::Large => "a file that is too large",
            Tag::End => "an end",
            Tag::Trouble => "a complaint",
        }
    }
}

/// Writes a piece with its bytes.
pub(crate) fn send(out: &mut dyn Write, tag: Tag, bytes: &[u8]) -> io::Result<()> {
    send_head(out, tag, bytes.len() as u64)?;
    out.write_all(bytes)
}

/// Writes a piece's letter and length alone.
pub(crate) fn send_head(out: &mut dyn Write, tag: Tag, length: u64) -> io::Result<()> {
    out.write_all(&[tag.letter()])?;
    out.write_all(&length.to_be_bytes())
}

/// Reads the next piece, of at most `largest` bytes and of one of these sorts. A complaint is an error at any place.
pub(crate) fn receive(input: &mut dyn Read, wanted: &[Tag], largest: u64) -> Result<Piece, FlatError> {
    let mut head = [0; 9];
    input.read_exact(&mut head).map_err(FlatError::Broken)?;
    let [letter, length @ ..] = head;
    let length = u64::from_be_bytes(length);
    let words = || wanted.iter().map(|tag| tag.name()).collect::<Vec<_>>().join(" or ");
    let unexpected = |found: String| FlatError::Unexpected { found, wanted: words() };
    let tag = Tag::ALL.into_iter().find(|tag| tag.letter() == letter);
    let tag = tag.ok_or_else(|| unexpected(format!("the byte {letter}")))?;
    if tag == Tag::Trouble {
        let said = bytes(input, length.min(LONGEST_MESSAGE))?;
        return Err(FlatError::Store(String::from_utf8_lossy(&said).into_owned()));
    }
    if !wanted.contains(&tag) {
        return Err(unexpected(tag.name().to_owned()));
    }
    match tag {
        Tag::Large => Ok(Piece { tag, length, bytes: Vec::new() }),
        Tag::End if length > 0 => Err(unexpected("an end with bytes".to_owned())),
        Tag::Commit | Tag::Folder | Tag::File | Tag::End | Tag::Trouble => {
            if length > largest {
                return Err(FlatError::TooMuch { what: "bytes in one object", cap: largest });
            }
            Ok(Piece { tag, length, bytes: bytes(input, length)? })
        }
    }
}

/// Nothing may follow the last end.
pub(crate) fn at_end(input: &mut dyn Read) -> Result<(), FlatError> {
    match input.read(&mut [0]).map_err(FlatError::Broken)? {
        0 => Ok(()),
        _ => Err(FlatError::Unexpected { found: "more".to_owned(), wanted: "its end".to_owned() }),
    }
}

/// The id of these bytes, computed anew; an error if they bear the marks of a collision.
pub(crate) fn identify(kind: Kind, bytes: &[u8]) -> Result<ObjectId, FlatError> {
    gix::objs::compute_hash(gix::hash::Kind::Sha1, kind, bytes)
        .map_err(|error| FlatError::Collision(error.to_string()))
}

/// Holds these bytes to the id they were asked for by.
pub(crate) fn verify(kind: Kind, bytes: &[u8], wanted: ObjectId) -> Result<(), FlatError> {
    match identify(kind, bytes)? {
        found if found == wanted => Ok(()),
        found => Err(FlatError::OtherObject { wanted: wanted.to_string(), found: found.to_string() }),
    }
}

/// Grows with what really comes: a length alone makes nobody set memory aside.
fn bytes(input: &mut dyn Read, length: u64) -> Result<Vec<u8>, FlatError> {
    let mut bytes = Vec::new();
    input.take(length).read_to_end(&mut bytes).map_err(FlatError::Broken)?;
    match bytes.len() as u64 == length {
        true => Ok(bytes),
        false => Err(FlatError::Broken(io::ErrorKind::UnexpectedEof.into())),
    }
}
