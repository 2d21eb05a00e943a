//! Reads the dpkg database: `/var/lib/dpkg/status` and the journal beside it, as dpkg 1.21 and 1.22 write them
//! (deb-control syntax; `Status: want flag status`, `dpkg-query(1)`). Pure; any bytes may come in.

use memchr::memmem::Finder;

use super::status::{Filling, Package, Status, Table};

/// Why a database can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct ParseFault {
    /// Line, from 1.
    pub line: u32,
    /// What is wrong there.
    pub message: String,
}

/// Reads a database stanza by stanza, in pieces of any size that end at a line's end. Keeps of each stanza what
/// a [`Package`] has, so that a database of megabytes is never in memory.
pub struct Reader {
    filling: Filling,
    stanza: Stanza,
    /// Whether nothing before the next blank line is of interest.
    skips: bool,
    blank: Finder<'static>,
    line: usize,
    files_read: u32,
}

/// What was read of one entry. Its words are kept for the next one to be written over.
#[derive(Default)]
struct Stanza {
    begun: bool,
    name: Word,
    architecture: Word,
    version: Word,
    status: Option<(Status, bool, bool)>,
    essential: bool,
    multi_arch_same: bool,
}

#[derive(Default)]
struct Word {
    seen: bool,
    text: String,
}

impl Default for Reader {
    fn default() -> Self {
        Reader {
            filling: Filling::default(),
            stanza: Stanza::default(),
            skips: false,
            blank: Finder::new(b"\n\n"),
            line: 0,
            files_read: 0,
        }
    }
}

impl Reader {
    /// Reads whole lines.
    pub fn feed(&mut self, mut lines: &[u8]) -> Result<(), ParseFault> {
        while !lines.is_empty() {
            if self.skips {
                lines = self.skip(lines);
                continue;
            }
            let end = memchr::memchr(b'\n', lines).unwrap_or(lines.len());
            let (line, rest) = lines.split_at(end);
            lines = rest.get(1..).unwrap_or_default();
            self.line += 1;
            match line.first() {
                None => self.end_stanza()?,
                // A continuation: nothing of ours is in them.
                Some(b' ' | b'\t') => {}
                Some(_) => {
                    self.stanza.begun = true;
                    self.field(line)?;
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
        self.filling.finish()
    }

    /// To the next blank line; what is left begins with it.
    fn skip<'a>(&mut self, lines: &'a [u8]) -> &'a [u8] {
        let end = match lines.first() {
            Some(b'\n') => Some(0),
            _ => self.blank.find(lines).map(|at| at + 1),
        };
        let (skipped, rest) = lines.split_at(end.unwrap_or(lines.len()));
        self.line += memchr::memchr_iter(b'\n', skipped).count();
        self.skips = end.is_none();
        rest
    }

    fn field(&mut self, line: &[u8]) -> Result<(), ParseFault> {
        let Some(colon) = memchr::memchr(b':', line) else {
            return Err(self.fault("a field without a colon"));
        };
        let (field, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let is = |name: &str| field.eq_ignore_ascii_case(name.as_bytes());
        let Stanza { name, architecture, version, status, essential, multi_arch_same, .. } = &mut self.stanza;
        // By length first: most fields are none of ours.
        let read = match field.len() {
            6 if is("Status") => status_words(value).map(|words| *status = Some(words)),
            7 if is("Package") => name.set("Package", value, u8::MAX.into()),
            7 if is("Version") => version.set("Version", value, u16::MAX.into()),
            9 if is("Essential") || is("Protected") => {
                *essential |= value.eq_ignore_ascii_case(b"yes");
                Ok(())
            }
            10 if is("Multi-Arch") => {
                *multi_arch_same = value.eq_ignore_ascii_case(b"same");
                Ok(())
            }
            12 if is("Architecture") => architecture.set("Architecture", value, u8::MAX.into()),
            _ => Ok(()),
        };
        // dpkg writes the version last of all that is ours; the larger part of an entry comes after it.
        self.skips = version.seen && name.seen && architecture.seen && status.is_some();
        read.map_err(|message| self.fault(&message))
    }

    fn end_stanza(&mut self) -> Result<(), ParseFault> {
        self.skips = false;
        if !self.stanza.begun {
            return Ok(());
        }
        if !self.stanza.name.seen {
            return Err(self.fault("an entry without `Package`"));
        }
        if self.files_read > 0 {
            self.make_room();
        }
        let Stanza { name, architecture, version, status, essential, .. } = &self.stanza;
        // An entry that only carries a wish (`dpkg --set-selections` of an unknown package) has no more.
        let (status, held, reinstall_required) = status.unwrap_or((Status::NotInstalled, false, false));
        self.filling.add(&Package {
            name: &name.text,
            architecture: &architecture.text,
            version: &version.text,
            status,
            held,
            reinstall_required,
            essential: *essential,
        });
        self.stanza.clear();
        Ok(())
    }

    /// In the journal a package that changed its architecture replaces itself, unless it is one of several
    /// (`Multi-Arch: same`).
    fn make_room(&mut self) {
        let Stanza { name, architecture, multi_arch_same, .. } = &self.stanza;
        let there = self.filling.named(&name.text);
        let there = there.filter(|package| package.status != Status::NotInstalled).count();
        if there == 1 && !multi_arch_same {
            self.filling.remove(&name.text, |package| package.architecture != architecture.text);
        }
    }

    fn fault(&self, message: &str) -> ParseFault {
        ParseFault { line: u32::try_from(self.line).unwrap_or(u32::MAX), message: message.to_owned() }
    }
}

impl Stanza {
    fn clear(&mut self) {
        let Stanza { begun, name, architecture, version, status, essential, multi_arch_same } = self;
        (*begun, *status, *essential, *multi_arch_same) = (false, None, false, false);
        for word in [name, architecture, version] {
            word.seen = false;
            word.text.clear();
        }
    }
}

impl Word {
    fn set(&mut self, field: &str, value: &[u8], limit: usize) -> Result<(), String> {
        if self.seen {
            return Err(format!("a second `{field}` in one entry"));
        }
        let graphic = value.len() <= limit && value.iter().all(u8::is_ascii_graphic);
        match std::str::from_utf8(value) {
            Ok(text) if graphic => {
                self.text.push_str(text);
                self.seen = true;
                Ok(())
            }
            Ok(_) | Err(_) => Err(format!("the value of `{field}` is no such thing")),
        }
    }
}

/// `install ok installed`: how far it got, whether it is held, whether it must be reinstalled.
fn status_words(value: &[u8]) -> Result<(Status, bool, bool), String> {
    let mut words = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let (Some(want), Some(flag), Some(status), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err("a `Status` that has not three words".to_owned());
    };
    let unknown = |which: &str| format!("a `Status` whose {which} word dpkg does not know");
    let held = match want {
        b"hold" => true,
        b"install" | b"deinstall" | b"purge" | b"unknown" => false,
        _ => return Err(unknown("first")),
    };
    let reinstall_required = match flag {
        b"ok" => false,
        b"reinstreq" => true,
        _ => return Err(unknown("second")),
    };
    let status = Status::from_word(status).ok_or_else(|| unknown("third"))?;
    Ok((status, held, reinstall_required))
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
    fn what_is_skipped_is_skipped_to_the_next_entry_and_counted() {
        let text =
            TWO.replace("Description: small\n", "Conffiles:\n /etc/a 1\n /etc/b 2\nDescription: small\n");
        assert_eq!(table(&text), table(TWO));
        let said = fault(&format!("{text}\nPackage: a b\n"));
        assert_eq!(said, "line 16: the value of `Package` is no such thing");
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
