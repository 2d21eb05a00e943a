//! The table as it is put in force at boot, before the network is up: one file for nft, and nothing else. It holds
//! the last confirmed state. `agentd-firewall.service` loads it without the daemon and without a database.

use std::path::Path;

use super::compile::{Compiled, is_read_as};
use super::undo;
use crate::host::Host;
use crate::host::files::{Attributes, FileType, FilesError, Identity, Stat};
use crate::model::{Digest, FieldDiff, Shown};

/// The agent's own folder.
pub const FOLDER: &str = "/var/lib/agentd";
/// Its mode, should somebody have removed it: it may be passed through, not read.
pub const MODE: u32 = 0o711;
/// What loads it.
pub const UNIT: &str = "agentd-firewall.service";
/// The file that `agentd-firewall.service` loads.
pub const BOOT_FILE: &str = "/var/lib/agentd/firewall.nft";

/// No rule set is larger.
pub const LIMIT: u64 = 64 << 20;

const HEADER: &str = "# The last confirmed firewall of agentd, loaded at boot by agentd-firewall.service.\n\
                      # Written by the agent: a change made here is lost.\n";

/// Root alone may read it.
const ATTRIBUTES: Attributes = Attributes::root(0o600);

/// What is known of the file: one that was found right is known by its inode, size and times, and not opened again.
#[derive(Default)]
pub struct AtBoot {
    right: Option<(Digest, Identity)>,
    wrong: Option<Wrong>,
}

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It is not there.
    Missing,
    /// It is no file, or says another thing.
    Other,
    /// Others than root may read or write it.
    Exposed,
}

impl AtBoot {
    /// What is wrong with it, as it was looked at last.
    pub fn wrong(&self) -> Option<Wrong> {
        self.wrong
    }

    /// What makes it unnecessary to read the file again.
    #[cfg(test)]
    pub fn known(&self) -> Option<(Digest, Identity)> {
        self.right
    }

    /// Looks at the file, given the declared table if that is in force and nothing differs. Such a one that waits for no
    /// confirmation is what is confirmed; while anything waits, the file is to be what it was before.
    pub fn look(&mut self, host: &Host, in_force: Option<&Compiled>) -> Result<Option<Wrong>, String> {
        self.wrong = None;
        let Some(desired) = in_force else { return Ok(None) };
        let text = desired.listing.loadable();
        if undo::is_confirmed(host, Digest::of(text.as_bytes())).map_err(|error| error.to_string())? {
            self.wrong = self.found(host, desired, &text)?;
        }
        Ok(self.wrong)
    }

    fn found(&mut self, host: &Host, desired: &Compiled, text: &str) -> Result<Option<Wrong>, String> {
        let failed = |error: FilesError| error.chain();
        let digest = Digest::of(text.as_bytes());
        let stat = match host.root.stat(BOOT_FILE).map_err(failed)? {
            None => return Ok(Some(Wrong::Missing)),
            Some(stat) if stat.kind != FileType::File => return Ok(Some(Wrong::Other)),
            Some(stat) if !is_ours(&stat) => return Ok(Some(Wrong::Exposed)),
            Some(stat) => stat,
        };
        if self.right == Some((digest, stat.identity)) {
            return Ok(None);
        }
        let (folder, name) = host.root.parent(Path::new(BOOT_FILE)).map_err(failed)?;
        let Some(hashed) = folder.content(name).map_err(failed)? else { return Ok(Some(Wrong::Missing)) };
        let there = read(host).map_err(failed)?.unwrap_or_default();
        // Another nft may have written the same in other words.
        if there != text && !is_read_as(&*host.programs, &there, desired)? {
            return Ok(Some(Wrong::Other));
        }
        self.right = hashed.solid.then_some((digest, hashed.stat.identity));
        Ok(None)
    }
}

impl Wrong {
    /// What differs, for a person.
    pub fn field(self) -> FieldDiff {
        let (field, observed, desired) = match self {
            Wrong::Missing => ("loaded at boot", Shown::Absent, CONFIRMED),
            Wrong::Other => ("loaded at boot", "something else".into(), CONFIRMED),
            Wrong::Exposed => ("rights", "others than root may read or write it".into(), "root alone"),
        };
        FieldDiff::new(field, observed, desired)
    }
}

const CONFIRMED: &str = "the table that is in force";

/// The text that is loaded at boot, if there is one.
pub fn read(host: &Host) -> Result<Option<String>, FilesError> {
    let bytes = host.root.read(BOOT_FILE, LIMIT)?;
    Ok(bytes.map(|bytes| {
        let text = String::from_utf8_lossy(&bytes);
        text.strip_prefix(HEADER).unwrap_or(&text).to_owned()
    }))
}

/// Makes `text` what is loaded at boot. Atomic and durable, readable by root alone; a file that says the same
/// already is left alone.
pub fn write(host: &Host, text: &str) -> Result<(), FilesError> {
    // What is no file can't be read, and is replaced.
    let is_there = read(host).is_ok_and(|there| there.as_deref() == Some(text));
    if is_there && host.root.stat(BOOT_FILE)?.is_some_and(|stat| is_ours(&stat)) {
        return Ok(());
    }
    host.root.create_dirs(FOLDER, Attributes::root(MODE))?;
    host.root.write(BOOT_FILE, format!("{HEADER}{text}").as_bytes(), ATTRIBUTES).map(drop)
}

/// Nothing is loaded at boot any more.
pub fn remove(host: &Host) -> Result<(), FilesError> {
    host.root.remove(BOOT_FILE).map(drop)
}

fn is_ours(stat: &Stat) -> bool {
    (stat.uid, stat.gid, stat.mode) == (ATTRIBUTES.uid, ATTRIBUTES.gid, ATTRIBUTES.mode)
}
