//! What dpkg knows of packages, as a table that stays in memory between passes. Pure.

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

    /// From dpkg's word.
    pub(super) fn from_word(word: &[u8]) -> Option<Status> {
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

/// Where a package's words lie in the table's text (name, architecture, version, one after the other), and the
/// rest of it.
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

/// A table while it is filled, in any order.
#[derive(Clone, Debug, Default)]
pub(super) struct Filling {
    text: String,
    entries: Vec<Entry>,
}

impl Filling {
    /// Adds a package. The words are as long as their fields in [`Entry`] can say, which the reader sees to.
    pub(super) fn add(&mut self, package: &Package<'_>) {
        let Package { name, architecture, version, status, held, reinstall_required, essential } = *package;
        self.entries.push(Entry {
            // A database of 4 GiB is none.
            start: u32::try_from(self.text.len()).unwrap_or(u32::MAX),
            name: u8::try_from(name.len()).unwrap_or(u8::MAX),
            architecture: u8::try_from(architecture.len()).unwrap_or(u8::MAX),
            version: u16::try_from(version.len()).unwrap_or(u16::MAX),
            status,
            held,
            reinstall_required,
            essential,
        });
        self.text.extend([name, architecture, version]);
    }

    /// Takes out the packages of a name for which `gone` holds.
    pub(super) fn remove(&mut self, name: &str, gone: impl Fn(&Package<'_>) -> bool) {
        let text = &self.text;
        self.entries.retain(|entry| {
            let package = entry.package(text);
            package.name != name || !gone(&package)
        });
    }

    /// The packages of a name.
    pub(super) fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Package<'a>> {
        let packages = self.entries.iter().map(|entry| entry.package(&self.text));
        packages.filter(move |package| package.name == name)
    }

    /// The table: sorted, and of two entries of one package the later one.
    pub(super) fn finish(mut self) -> Table {
        let text = &self.text;
        let place = |entry: &Entry| {
            let package = entry.package(text);
            (package.name, package.architecture)
        };
        self.entries.sort_by(|a, b| place(a).cmp(&place(b)));
        let mut kept: Vec<Entry> = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            match kept.last_mut() {
                Some(last) if place(last) == place(entry) => *last = *entry,
                Some(_) | None => kept.push(*entry),
            }
        }
        Table { text: self.text.into(), entries: kept.into() }
    }
}

impl Entry {
    fn package<'a>(&self, text: &'a str) -> Package<'a> {
        let rest = text.get(self.start as usize..).unwrap_or_default();
        let (name, rest) = rest.split_at_checked(self.name.into()).unwrap_or_default();
        let (architecture, rest) = rest.split_at_checked(self.architecture.into()).unwrap_or_default();
        let version = rest.get(..self.version.into()).unwrap_or_default();
        let Entry { status, held, reinstall_required, essential, .. } = *self;
        Package { name, architecture, version, status, held, reinstall_required, essential }
    }
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
        entry.package(&self.text)
    }
}
