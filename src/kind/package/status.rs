//! The dpkg database, parsed: `/var/lib/dpkg/status` and the journal beside it, as dpkg 1.21 and 1.22 write them
//! (deb-control syntax; `Status: want flag status`, `dpkg-query(1)`). Pure; any bytes may come in.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How far dpkg got with a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Nothing of it is there.
    NotInstalled,
    /// Removed; its configuration files are still there.
    ConfigFiles,
    /// Its installation or removal was begun and not completed.
    HalfInstalled,
    /// Its files are there, it is not configured.
    Unpacked,
    /// Its configuration was begun and not completed.
    HalfConfigured,
    /// It waits for another package's trigger to be processed.
    TriggersAwaited,
    /// Its own trigger is still to be processed.
    TriggersPending,
    /// All well.
    Installed,
}

impl Status {
    /// dpkg's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::NotInstalled => "not-installed",
            Status::ConfigFiles => "config-files",
            Status::HalfInstalled => "half-installed",
            Status::Unpacked => "unpacked",
            Status::HalfConfigured => "half-configured",
            Status::TriggersAwaited => "triggers-awaited",
            Status::TriggersPending => "triggers-pending",
            Status::Installed => "installed",
        }
    }

    /// Whether something of the package's own (more than configuration files) is on the host.
    pub const fn on_host(self) -> bool {
        !matches!(self, Status::NotInstalled | Status::ConfigFiles)
    }

    /// Whether dpkg was interrupted while it worked on the package.
    pub const fn interrupted(self) -> bool {
        !matches!(self, Status::NotInstalled | Status::ConfigFiles | Status::Installed)
    }

    fn from_word(word: &[u8]) -> Option<Status> {
        Some(match word {
            b"not-installed" => Status::NotInstalled,
            b"config-files" => Status::ConfigFiles,
            b"half-installed" => Status::HalfInstalled,
            b"unpacked" => Status::Unpacked,
            b"half-configured" => Status::HalfConfigured,
            b"triggers-awaited" => Status::TriggersAwaited,
            b"triggers-pending" => Status::TriggersPending,
            b"installed" => Status::Installed,
            _ => return None,
        })
    }
}

/// One package as dpkg knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Package<'a> {
    /// Its name, without architecture.
    pub name: &'a str,
    /// Its architecture; empty for one that was never installed.
    pub architecture: &'a str,
    /// Its version; empty if dpkg knows none.
    pub version: &'a str,
    /// How far dpkg got with it.
    pub status: Status,
    /// Whether it is held: apt leaves it alone.
    pub held: bool,
    /// Whether dpkg says that only a reinstallation mends it.
    pub reinstall_required: bool,
    /// Whether the host does not work without it (`Essential` or `Protected`).
    pub essential: bool,
}

/// Every package dpkg knows, sorted by name and architecture. Two allocations, some 60 bytes a package: the
/// table stays in memory between passes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    text: Box<str>,
    entries: Box<[Entry]>,
}

/// Where a package's words lie in the table's text (name, architecture, version, one after the other).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    start: u32,
    name: u8,
    architecture: u8,
    version: u16,
    status: Status,
    held: bool,
    reinstall_required: bool,
    essential: bool,
}

/// Why a database can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct ParseFault {
    /// Line, from 1.
    pub line: u32,
    /// What is wrong there.
    pub message: String,
}

impl Table {
    /// Every package, by name and architecture.
    pub fn iter(&self) -> impl Iterator<Item = Package<'_>> {
        self.entries.iter().map(|entry| self.package(entry))
    }

    /// How many packages dpkg knows.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether dpkg knows none at all.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The packages of one name, whatever their architecture.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Package<'a>> {
        let first = self.entries.partition_point(|entry| self.package(entry).name < name);
        let rest = self.entries.get(first..).unwrap_or_default();
        rest.iter().map(|entry| self.package(entry)).take_while(move |package| package.name == name)
    }

    fn package(&self, entry: &Entry) -> Package<'_> {
        let rest = self.text.get(entry.start as usize..).unwrap_or_default();
        let (name, rest) = rest.split_at_checked(entry.name.into()).unwrap_or_default();
        let (architecture, rest) = rest.split_at_checked(entry.architecture.into()).unwrap_or_default();
        let version = rest.get(..entry.version.into()).unwrap_or_default();
        let Entry { status, held, reinstall_required, essential, .. } = *entry;
        Package { name, architecture, version, status, held, reinstall_required, essential }
    }
}

/// Reads a database stanza by stanza, in pieces of any size that end at a line's end. Keeps of each stanza what
/// a [`Package`] has, so that a database of megabytes is never in memory.
#[derive(Default)]
pub struct Reader {
    packages: BTreeMap<(Box<str>, Box<str>), Kept>,
    stanza: Stanza,
    line: u32,
    files_read: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    version: Box<str>,
    status: Status,
    held: bool,
    reinstall_required: bool,
    essential: bool,
    multi_arch_same: bool,
}

#[derive(Default)]
struct Stanza {
    begun: bool,
    name: Option<String>,
    architecture: Option<String>,
    version: Option<String>,
    status: Option<(Status, bool, bool)>,
    essential: bool,
    multi_arch_same: bool,
}

impl Reader {
    /// Reads whole lines.
    pub fn feed(&mut self, mut lines: &[u8]) -> Result<(), ParseFault> {
        while !lines.is_empty() {
            let end = memchr::memchr(b'\n', lines).unwrap_or(lines.len());
            let (line, rest) = lines.split_at(end);
            lines = rest.get(1..).unwrap_or_default();
            self.line += 1;
            match line.first() {
                None => self.end_stanza()?,
                // Continuation lines are nine in ten; nothing of ours is in them.
                Some(b' ' | b'\t') => {}
                Some(first) => {
                    self.stanza.begun = true;
                    if matches!(first.to_ascii_lowercase(), b'p' | b'a' | b'v' | b's' | b'm' | b'e') {
                        self.field(line)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Ends one file (its last stanza needs no blank line). What is fed next is a file of the journal, whose
    /// entries replace those of the same package.
    pub fn end_file(&mut self) -> Result<(), ParseFault> {
        self.end_stanza()?;
        self.line = 0;
        self.files_read += 1;
        Ok(())
    }

    /// The table of all that was read.
    pub fn finish(self) -> Table {
        let size =
            self.packages.iter().map(|((name, arch), kept)| name.len() + arch.len() + kept.version.len());
        let mut text = String::with_capacity(size.sum());
        let mut entries = Vec::with_capacity(self.packages.len());
        for ((name, architecture), kept) in &self.packages {
            // The reader bounds every word (`bounded`), and a status file of 4 GiB is no status file.
            let entry = Entry {
                start: u32::try_from(text.len()).unwrap_or(u32::MAX),
                name: u8::try_from(name.len()).unwrap_or(u8::MAX),
                architecture: u8::try_from(architecture.len()).unwrap_or(u8::MAX),
                version: u16::try_from(kept.version.len()).unwrap_or(u16::MAX),
                status: kept.status,
                held: kept.held,
                reinstall_required: kept.reinstall_required,
                essential: kept.essential,
            };
            entries.push(entry);
            text.extend([name, architecture, &kept.version].map(AsRef::<str>::as_ref));
        }
        Table { text: text.into(), entries: entries.into() }
    }

    fn field(&mut self, line: &[u8]) -> Result<(), ParseFault> {
        let Some(colon) = memchr::memchr(b':', line) else {
            return Err(self.fault("a field without a colon"));
        };
        let (field, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let is = |name: &str| field.eq_ignore_ascii_case(name.as_bytes());
        if is("Package") {
            self.stanza.name =
                Some(self.once("Package", value, u8::MAX.into(), self.stanza.name.is_some())?);
        } else if is("Architecture") {
            let again = self.stanza.architecture.is_some();
            self.stanza.architecture = Some(self.once("Architecture", value, u8::MAX.into(), again)?);
        } else if is("Version") {
            let again = self.stanza.version.is_some();
            self.stanza.version = Some(self.once("Version", value, u16::MAX.into(), again)?);
        } else if is("Status") {
            self.stanza.status = Some(self.status(value)?);
        } else if is("Essential") || is("Protected") {
            self.stanza.essential |= value.eq_ignore_ascii_case(b"yes");
        } else if is("Multi-Arch") {
            self.stanza.multi_arch_same = value.eq_ignore_ascii_case(b"same");
        }
        Ok(())
    }

    fn once(&self, field: &str, value: &[u8], limit: usize, again: bool) -> Result<String, ParseFault> {
        if again {
            return Err(self.fault(&format!("a second `{field}` in one entry")));
        }
        match std::str::from_utf8(value) {
            Ok(text) if text.len() <= limit && text.bytes().all(|b| b.is_ascii_graphic()) => {
                Ok(text.to_owned())
            }
            _ => Err(self.fault(&format!("the value of `{field}` is no such thing"))),
        }
    }

    /// `install ok installed`: what is wanted, whether it must be reinstalled, how far it got.
    fn status(&self, value: &[u8]) -> Result<(Status, bool, bool), ParseFault> {
        let words: Vec<&[u8]> =
            value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
        let &[want, flag, status] = words.as_slice() else {
            return Err(self.fault("a `Status` that has not three words"));
        };
        let held = match want {
            b"hold" => true,
            b"install" | b"deinstall" | b"purge" | b"unknown" => false,
            _ => return Err(self.fault("a `Status` whose first word dpkg does not know")),
        };
        let reinstall_required = match flag {
            b"ok" => false,
            b"reinstreq" => true,
            _ => return Err(self.fault("a `Status` whose second word dpkg does not know")),
        };
        match Status::from_word(status) {
            Some(status) => Ok((status, held, reinstall_required)),
            None => Err(self.fault("a `Status` whose third word dpkg does not know")),
        }
    }

    fn end_stanza(&mut self) -> Result<(), ParseFault> {
        let stanza = std::mem::take(&mut self.stanza);
        if !stanza.begun {
            return Ok(());
        }
        let Some(name) = stanza.name else { return Err(self.fault("an entry without `Package`")) };
        // An entry that only carries a wish (`dpkg --set-selections` of an unknown package) has no more.
        let (status, held, reinstall_required) =
            stanza.status.unwrap_or((Status::NotInstalled, false, false));
        let kept = Kept {
            version: stanza.version.unwrap_or_default().into(),
            status,
            held,
            reinstall_required,
            essential: stanza.essential,
            multi_arch_same: stanza.multi_arch_same,
        };
        self.insert(name.into(), stanza.architecture.unwrap_or_default().into(), kept);
        Ok(())
    }

    /// In the journal one name has one place, unless all of its entries are `Multi-Arch: same`: a package that
    /// changed its architecture replaces itself.
    fn insert(&mut self, name: Box<str>, architecture: Box<str>, kept: Kept) {
        if self.files_read > 0 && !self.packages.contains_key(&(name.clone(), architecture.clone())) {
            let mut others = self
                .packages
                .range((name.clone(), Box::default())..)
                .take_while(|((other, _), _)| *other == name)
                .filter(|(_, other)| other.status != Status::NotInstalled);
            let (only, second) = (others.next(), others.next());
            let replaced = only
                .filter(|(_, other)| second.is_none() && !(kept.multi_arch_same && other.multi_arch_same))
                .map(|(key, _)| key.clone());
            if let Some(key) = replaced {
                self.packages.remove(&key);
            }
        }
        self.packages.insert((name, architecture), kept);
    }

    fn fault(&self, message: &str) -> ParseFault {
        ParseFault { line: self.line, message: message.to_owned() }
    }
}

/// A table of this text, for tests.
#[cfg(test)]
pub fn table(text: &str) -> Table {
    let mut reader = Reader::default();
    reader.feed(text.as_bytes()).unwrap();
    reader.end_file().unwrap();
    reader.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TWO: &str = "Package: nginx\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.22.1-9\n\
                       Description: small\n Version: 9 is no field here\n\nPackage: curl\n\
                       Status: hold reinstreq half-installed\nArchitecture: amd64\nVersion: 7.88\n";

    fn fault(text: &str) -> String {
        let mut reader = Reader::default();
        let outcome = reader.feed(text.as_bytes()).and_then(|()| reader.end_file());
        outcome.unwrap_err().to_string()
    }

    #[test]
    fn entries_are_read_and_sorted_by_name() {
        let table = table(TWO);
        let names: Vec<_> = table.iter().map(|package| package.name).collect();
        assert_eq!(names, ["curl", "nginx"]);
        let curl = table.named("curl").next().unwrap();
        assert_eq!((curl.version, curl.status), ("7.88", Status::HalfInstalled));
        assert!(curl.held && curl.reinstall_required && curl.status.interrupted());
        let nginx = table.named("nginx").next().unwrap();
        assert_eq!((nginx.version, nginx.architecture, nginx.held), ("1.22.1-9", "amd64", false));
        assert_eq!(table.named("ngin").count() + table.named("nginx-core").count(), 0);
    }

    #[test]
    fn one_name_may_have_two_architectures() {
        let table = table(
            "Package: libc6\nStatus: install ok installed\nArchitecture: i386\nVersion: 2\nMulti-Arch: same\n\n\
             Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2\nMulti-Arch: same\n",
        );
        let found: Vec<_> = table.named("libc6").map(|package| package.architecture).collect();
        assert_eq!(found, ["amd64", "i386"]);
    }

    #[test]
    fn the_journal_replaces_what_the_status_file_said() {
        let mut reader = Reader::default();
        reader.feed(TWO.as_bytes()).unwrap();
        reader.end_file().unwrap();
        let later = b"Package: nginx\nStatus: install ok unpacked\nArchitecture: all\nVersion: 1.23\n";
        reader.feed(later).unwrap();
        reader.end_file().unwrap();
        let table = reader.finish();
        let found: Vec<_> = table.named("nginx").collect();
        assert_eq!(found.len(), 1, "a package that became `all` replaces itself");
        assert_eq!((found[0].version, found[0].status), ("1.23", Status::Unpacked));
    }

    #[test]
    fn what_dpkg_would_not_write_is_a_fault_with_its_line() {
        assert_eq!(fault("Package: a\nPackage: b\n"), "line 2: a second `Package` in one entry");
        assert_eq!(fault("Status: install ok installed\n"), "line 1: an entry without `Package`");
        for status in ["install ok", "install ok gone", "take ok installed", "install bad installed", ""] {
            let said = fault(&format!("Package: a\nStatus: {status}\n"));
            assert!(said.starts_with("line 2: a `Status`"), "{status}: {said}");
        }
        assert!(fault("Package: a b\n").contains("no such thing"));
        assert!(fault("Package\n").contains("without a colon"));
    }

    proptest! {
        #[test]
        fn any_bytes_may_come_in(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut reader = Reader::default();
            let _ = reader.feed(&bytes).and_then(|()| reader.end_file());
            let table = reader.finish();
            prop_assert_eq!(table.iter().count(), table.len());
        }

        #[test]
        fn where_the_pieces_are_cut_does_not_matter(cut in 0usize..12) {
            let lines: Vec<&str> = TWO.split_inclusive('\n').collect();
            let (head, tail) = lines.split_at(cut.min(lines.len()));
            let mut reader = Reader::default();
            reader.feed(head.concat().as_bytes()).unwrap();
            reader.feed(tail.concat().as_bytes()).unwrap();
            reader.end_file().unwrap();
            prop_assert_eq!(reader.finish(), table(TWO));
        }
    }
}
