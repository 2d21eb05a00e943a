//! The declared table in nft's own form, as it was when it was last loaded, on disk: so that a start of the agent need
//! not have nft work it out anew, which takes longer than all else in the first look. A convenience and no truth: it is
//! taken only for the very text that is declared, only if the kernel's own listing comes from the same nft, and only if
//! that is the same. In all other cases, and where it can't be read, the form is worked out.

use serde::{Deserialize, Serialize};

use super::boot::{FOLDER, LIMIT, MODE};
use super::compile::Compiled;
use super::listing::Listing;
use super::state::states;
use crate::host::Host;
use crate::host::files::{Attributes, FilesError};
use crate::model::Digest;

const FILE: &str = "/var/lib/agentd/firewall.normal.json";

#[derive(Serialize, Deserialize)]
struct Remembered {
    source: Digest,
    listing: Listing,
}

/// What was remembered of the table that this is the digest of.
pub fn read(host: &Host, source: Digest) -> Option<Compiled> {
    let bytes = host.root.read(FILE, LIMIT).ok()??;
    let Remembered { source: of, listing } = serde_json::from_slice(&bytes).ok()?;
    let states = states(&listing);
    (of == source).then_some(Compiled { source, listing, states })
}

/// Remembers it, for root alone.
pub fn write(host: &Host, compiled: &Compiled) -> Result<(), FilesError> {
    let Compiled { source, listing, .. } = compiled;
    // A listing is text and numbers: there is none that can't be written.
    let bytes =
        serde_json::to_vec(&Remembered { source: *source, listing: listing.clone() }).unwrap_or_default();
    host.root.create_dirs(FOLDER, Attributes::root(MODE))?;
    host.root.write(FILE, &bytes, Attributes::root(0o600)).map(drop)
}

/// Forgets it.
pub fn remove(host: &Host) -> Result<(), FilesError> {
    host.root.remove(FILE).map(drop)
}
