//! The rules for names and bounds, the same for a commit and for a plain folder.

use std::collections::HashMap;

use gix::ObjectId;

use super::id::BlobId;
use super::tree::{Entry, EntryKind, TreeCaps, TreeError, TreeFault};

/// Faults reported at once; more are noise.
const MOST_FAULTS: usize = 50;

/// Gathers entries and faults, whatever the tree comes from.
pub(crate) struct Collector {
    caps: TreeCaps,
    found: Vec<(Entry, Option<ObjectId>)>,
    /// Lower-cased path of files and folders, to the path as it is.
    folded: HashMap<String, String>,
    bytes: u64,
    folders: usize,
    faults: Vec<TreeFault>,
}

impl Collector {
    pub fn new(caps: TreeCaps) -> Collector {
        Collector {
            caps,
            found: Vec::new(),
            folded: HashMap::new(),
            bytes: 0,
            folders: 0,
            faults: Vec::new(),
        }
    }

    /// Judges a name; gives its path if it may be used.
    pub fn name(&mut self, prefix: &str, name: &[u8]) -> Option<String> {
        let join = |name: &str| if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
        let shown = || escaped(&join(&String::from_utf8_lossy(name)));
        let Ok(text) = std::str::from_utf8(name) else {
            self.fault(TreeFault::NotUtf8 { path: shown() });
            return None;
        };
        if is_dangerous(text) {
            self.fault(TreeFault::Dangerous { path: shown() });
            return None;
        }
        if text.chars().any(misleads) {
            self.fault(TreeFault::Control { path: shown() });
            return None;
        }
        let path = join(text);
        if path.len() > self.caps.path_bytes {
            self.fault(TreeFault::LongPath { path: escaped(&path), cap: self.caps.path_bytes });
            return None;
        }
        if let Some(other) = self.folded.insert(path.to_lowercase(), path.clone()) {
            self.fault(TreeFault::SameButCase { path: path.clone(), other });
            return None;
        }
        Some(path)
    }

    /// Judges a folder; true if it may be entered.
    pub fn folder(&mut self, path: &str, depth: usize) -> bool {
        self.folders += 1;
        if depth > self.caps.depth {
            self.fault(TreeFault::Deep { path: escaped(path), cap: self.caps.depth });
            return false;
        }
        true
    }

    pub fn entry(&mut self, path: String, kind: EntryKind, size: u64, id: Option<ObjectId>) {
        self.bytes = self.bytes.saturating_add(size);
        self.found.push((Entry { path, kind, size, blob: id.map(BlobId::of) }, id));
    }

    /// True once there is no sense in going on.
    pub fn full(&self) -> bool {
        // A tree of nothing but folders is as endless as one of files.
        self.found.len() + self.folders > self.caps.entries || self.faults.len() >= MOST_FAULTS
    }

    fn fault(&mut self, fault: TreeFault) {
        if self.faults.len() < MOST_FAULTS {
            self.faults.push(fault);
        }
    }

    /// Everything that was found, sorted, or all faults.
    pub fn finish(mut self) -> Result<(Vec<Entry>, Vec<Option<ObjectId>>), TreeError> {
        if self.found.len() + self.folders > self.caps.entries {
            self.fault(TreeFault::ManyEntries { cap: self.caps.entries });
        }
        if self.bytes > self.caps.total_bytes {
            self.fault(TreeFault::ManyBytes { cap: self.caps.total_bytes });
        }
        if !self.faults.is_empty() {
            return Err(TreeError::Refused(self.faults));
        }
        self.found.sort_by(|a, b| a.0.path.cmp(&b.0.path));
        Ok(self.found.into_iter().unzip())
    }
}

/// Names that are refused by git itself on some file system, whichever we have.
fn is_dangerous(name: &str) -> bool {
    use gix::validate::path::component;
    let options = component::Options { protect_windows: false, protect_hfs: true, protect_ntfs: true };
    name.contains('/') || gix::validate::path::component(name.into(), None, options).is_err()
}

fn misleads(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// A path for a message: control characters written out, cut.
pub(crate) fn escaped(path: &str) -> String {
    path.escape_debug().take(300).collect()
}
