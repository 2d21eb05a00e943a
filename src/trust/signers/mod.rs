//! The file of allowed signers, read as `ssh-keygen` reads it (ssh-keygen(1), ALLOWED SIGNERS), with two differences: a
//! faulty line refuses the file instead of being passed over, and a leading comment `# version: N` numbers the file.

mod line;
mod time;

use jiff::tz::TimeZone;
pub(super) use line::read_key;

use super::key::SshKey;
use super::pattern;
use crate::model::{Diagnostic, Faults, Place};

/// How large a file of signers may be, in bytes: some thousand keys.
pub const FILE_LIMIT: usize = 1 << 20;

/// Who may sign.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signers {
    /// The number of the file's `# version: N`, if it has one.
    pub version: Option<u64>,
    /// Its lines, in their order.
    pub lines: Vec<SignerLine>,
}

/// A line: for whom a key stands, and within which bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignerLine {
    /// Patterns of identities, as written.
    pub principals: String,
    /// The key.
    pub key: SshKey,
    /// Whether the key itself signs, or certificates under it.
    pub role: Role,
    /// Patterns of namespaces; all of them unless said.
    pub namespaces: Option<String>,
    /// Seconds since 1970 before which the key is not good.
    pub valid_after: Option<i64>,
    /// Seconds since 1970 after which it is not.
    pub valid_before: Option<i64>,
    /// Where it stands.
    pub place: Place,
}

/// What the key of a line does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It signs commits.
    Signer,
    /// It signs certificates whose keys sign commits (`cert-authority`).
    Authority,
}

impl Signers {
    /// Reads a file. Times without a zone of their own (`Z`) are of `zone`, the host's.
    ///
    /// # Errors
    /// Every fault, at its place; one is enough to refuse the file.
    pub fn parse(file: &str, bytes: &[u8], zone: &TimeZone) -> Result<Self, Vec<Diagnostic>> {
        let mut faults = Faults::default();
        let mut signers = Signers::default();
        for line in lines(file, bytes, &mut faults) {
            match line.comment() {
                Some(comment) => signers.note(&line, comment, &mut faults),
                None => match line::read(&line, zone) {
                    Ok(read) => signers.lines.extend(read),
                    Err(fault) => faults.push(*fault),
                },
            }
        }
        if faults.has_errors() { Err(faults.into_sorted()) } else { Ok(signers) }
    }

    /// The lines of one key in one role.
    pub(super) fn of<'a>(&'a self, key: &'a SshKey, role: Role) -> impl Iterator<Item = &'a SignerLine> {
        self.lines.iter().filter(move |line| line.role == role && line.key == *key)
    }

    /// Takes the version from a comment before the first key; other comments say nothing.
    fn note(&mut self, line: &Line<'_>, comment: &str, faults: &mut Faults) {
        let Some(number) = comment.trim().strip_prefix("version:") else { return };
        let number = number.trim();
        let place = line.place(line.text.find(number).unwrap_or(0), number.len());
        if !self.lines.is_empty() || self.version.is_some() {
            let text = "the version stands once, before the first key";
            faults.push(Diagnostic::error("signers-version", &place, text));
        } else if number.bytes().all(|byte| byte.is_ascii_digit()) && number.parse::<u64>().is_ok() {
            self.version = number.parse().ok();
        } else {
            let text = format!("`{}` is no version: a whole number is", number.escape_debug());
            faults.push(Diagnostic::error("signers-version", &place, text));
        }
    }
}

impl SignerLine {
    /// Whether it stands for an identity.
    pub(super) fn is_for(&self, identity: &str) -> bool {
        pattern::in_list(identity, &self.principals)
    }

    /// Whether it lets its key sign in a namespace.
    pub(super) fn covers(&self, namespace: &str) -> bool {
        self.namespaces.as_ref().is_none_or(|patterns| pattern::in_list(namespace, patterns))
    }
}

/// A line of a file of keys.
pub(super) struct Line<'a> {
    file: &'a str,
    number: u32,
    pub(super) text: &'a str,
}

impl Line<'_> {
    /// A place in it, from byte offsets.
    pub(super) fn place(&self, start: usize, length: usize) -> Place {
        let count = |range: std::ops::Range<usize>| {
            self.text.get(range).map_or(0, |part| part.chars().count()) as u32
        };
        let end = (start + length).min(self.text.len());
        Place {
            file: self.file.into(),
            line: self.number,
            column: count(0..start) + 1,
            length: count(start..end).max(1),
        }
    }

    /// An error in it.
    pub(super) fn fault(
        &self,
        code: &str,
        at: (usize, usize),
        message: impl Into<String>,
    ) -> Box<Diagnostic> {
        let mut fault = Diagnostic::error(code, &self.place(at.0, at.1), message);
        fault.excerpt = Some(self.text.to_owned());
        Box::new(fault)
    }

    /// What a comment says.
    pub(super) fn comment(&self) -> Option<&str> {
        self.text.trim_start_matches([' ', '\t']).strip_prefix('#')
    }
}

/// The lines of a file that hold something; what is no text is a fault.
pub(super) fn lines<'a>(file: &'a str, bytes: &'a [u8], faults: &mut Faults) -> Vec<Line<'a>> {
    if bytes.len() > FILE_LIMIT {
        let text = format!("the file is larger than {FILE_LIMIT} bytes");
        faults.push(Diagnostic::error("signers-size", &Place::file(file), text));
        return Vec::new();
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let before = &bytes[..error.valid_up_to()];
            let number = before.iter().filter(|&&byte| byte == b'\n').count() as u32 + 1;
            let place = Place { line: number, ..Place::file(file) };
            faults.push(Diagnostic::error("not-utf8", &place, "this is no UTF-8 text"));
            return Vec::new();
        }
    };
    let lines = text.split('\n').zip(1..).map(|(text, number)| Line {
        file,
        number,
        text: text.strip_suffix('\r').unwrap_or(text),
    });
    lines.filter(|line| !line.text.trim_matches([' ', '\t']).is_empty()).collect()
}
