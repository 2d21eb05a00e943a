//! A commit from its raw bytes, and what of them was signed (git's `signature-format` documentation).
//!
//! Strict: what git writes is read, in git's order, and nothing that could be read in two ways.

use gix::ObjectId;

/// A commit as it was read. Who wrote it and why says nothing here.
#[derive(Clone, Debug)]
pub(super) struct Commit {
    pub(super) tree: ObjectId,
    pub(super) parents: Vec<ObjectId>,
    /// Seconds since 1970, as the committer wrote them.
    pub(super) committed: i64,
    /// The text of each `gpgsig` header.
    pub(super) signatures: Vec<String>,
    /// Whether a `gpgsig-sha256` header is there.
    pub(super) has_other_hash: bool,
    /// The commit without its signatures: what was signed.
    pub(super) payload: Vec<u8>,
}

/// What is wrong with a commit.
pub(super) type Malformed = &'static str;

/// Reads a commit.
pub(super) fn read(bytes: &[u8]) -> Result<Commit, Malformed> {
    let end = memchr::memmem::find(bytes, b"\n\n").map_or(bytes.len(), |at| at + 1);
    let (head, message) = bytes.split_at(end);
    if memchr::memchr(0, head).is_some() {
        return Err("a zero byte in its header");
    }
    if !head.ends_with(b"\n") {
        return Err("its header does not end");
    }
    let fields = fields(head)?;
    let mut fields = fields.iter().peekable();
    let tree =
        fields.next().filter(|field| field.name == b"tree").ok_or("it does not begin with its tree")?;
    let tree = id(tree.value())?;
    let mut parents = Vec::new();
    while let Some(field) = fields.next_if(|field| field.name == b"parent") {
        parents.push(id(field.value())?);
    }
    let author = fields.next().filter(|field| field.name == b"author");
    author.ok_or("no author where one is due")?;
    let committer = fields.next().filter(|field| field.name == b"committer");
    let committed = time(committer.ok_or("no committer where one is due")?.value())?;
    let mut commit = Commit {
        tree,
        parents,
        committed,
        signatures: Vec::new(),
        has_other_hash: false,
        payload: Vec::new(),
    };
    for field in fields {
        match field.name {
            b"gpgsig" => commit.signatures.push(field.unfolded()?),
            b"gpgsig-sha256" => commit.has_other_hash = true,
            b"tree" | b"parent" | b"author" | b"committer" => {
                return Err("a header that stands once is there twice");
            }
            _ => {}
        }
    }
    commit.payload = unsigned(head, message)?;
    Ok(commit)
}

/// A header with the lines that continue it.
struct Field<'a> {
    name: &'a [u8],
    raw: &'a [u8],
}

impl<'a> Field<'a> {
    /// From behind the name to the end of the last line, without the line's end.
    fn value(&self) -> &'a [u8] {
        &self.raw[self.name.len() + 1..self.raw.len() - 1]
    }

    /// The text with the blank taken off that continues a line.
    fn unfolded(&self) -> Result<String, Malformed> {
        let text = std::str::from_utf8(self.value()).map_err(|_| "a signature that is no text")?;
        Ok(text.replace("\n ", "\n"))
    }
}

fn fields(head: &[u8]) -> Result<Vec<Field<'_>>, Malformed> {
    let mut fields = Vec::new();
    let mut start = 0;
    while start < head.len() {
        let mut end = start;
        loop {
            end += memchr::memchr(b'\n', &head[end..]).ok_or("its header does not end")? + 1;
            if head.get(end) != Some(&b' ') {
                break;
            }
        }
        let raw = &head[start..end];
        let name = raw.split(|&byte| byte == b' ').next().unwrap_or(raw);
        if name.is_empty() || name.len() == raw.len() || name.contains(&b'\n') {
            return Err("a header without a name or a value");
        }
        fields.push(Field { name, raw });
        start = end;
    }
    Ok(fields)
}

/// The commit without its signature headers.
fn unsigned(head: &[u8], message: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut payload = Vec::with_capacity(head.len() + message.len());
    for field in fields(head)? {
        if !matches!(field.name, b"gpgsig" | b"gpgsig-sha256") {
            payload.extend_from_slice(field.raw);
        }
    }
    payload.extend_from_slice(message);
    Ok(payload)
}

fn id(value: &[u8]) -> Result<ObjectId, Malformed> {
    let is_hex = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    if value.len() != 40 || !value.iter().all(is_hex) {
        return Err("an id that is not 40 hexadecimal digits");
    }
    ObjectId::from_hex(value).map_err(|_| "an id that is none")
}

/// The seconds in `name <mail> SECONDS ZONE`.
fn time(committer: &[u8]) -> Result<i64, Malformed> {
    let fault = "a committer without a time";
    let text = committer.rsplit(|&byte| byte == b'>').next().unwrap_or(committer);
    let text = std::str::from_utf8(text).map_err(|_| fault)?;
    let mut words = text.split_ascii_whitespace();
    let (seconds, zone) = (words.next().ok_or(fault)?, words.next().ok_or(fault)?);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if words.next().is_some() || !digits(seconds) || !zone.strip_prefix(['+', '-']).is_some_and(digits) {
        return Err(fault);
    }
    seconds.parse().map_err(|_| fault)
}
