//! The table as it is put in force at boot, before the network is up: one file for nft, and nothing else. It holds
//! the last confirmed state. `agentd-firewall.service` loads it without the daemon and without a database.

use crate::host::Host;
use crate::host::files::{Attributes, FilesError};

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
    if read(host)?.as_deref() == Some(text) {
        return Ok(());
    }
    host.root.create_dirs(FOLDER, Attributes::root(MODE))?;
    host.root.write(BOOT_FILE, format!("{HEADER}{text}").as_bytes(), Attributes::root(0o600)).map(drop)
}

/// Nothing is loaded at boot any more.
pub fn remove(host: &Host) -> Result<(), FilesError> {
    host.root.remove(BOOT_FILE).map(drop)
}
