//! Keys whose word counts no more, whatever else says yes: public keys, one a line, or their fingerprints.
//!
//! A binary revocation list of OpenSSH (KRL) is refused as such, never taken for an empty list.

use super::key::SshKey;
use super::signers::{Line, lines, read_key};
use crate::model::{Diagnostic, Faults, Place};

/// How a KRL begins.
const KRL: &[u8] = b"SSHKRL\n\0";

/// Revoked keys, by fingerprint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revoked(std::collections::BTreeSet<String>);

impl Revoked {
    /// Reads a list of public keys as `ssh-keygen -r` takes it; a line may as well be a fingerprint (`SHA256:...`).
    ///
    /// # Errors
    /// Every fault, at its place: a list that can't be read in full revokes nothing reliably, so it is refused.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, Vec<Diagnostic>> {
        let mut faults = Faults::default();
        let mut revoked = Revoked::default();
        if bytes.starts_with(KRL) {
            let text = "this is a binary revocation list (KRL), which is not read here";
            let fault = Diagnostic::error("revoked-krl", &Place::file(file), text);
            faults
                .push(fault.hint("write the revoked public keys, or their SHA256 fingerprints, one a line"));
            return Err(faults.into_sorted());
        }
        for line in lines(file, bytes, &mut faults) {
            if line.comment().is_some() {
                continue;
            }
            match entry(&line) {
                Ok(fingerprint) => {
                    revoked.0.insert(fingerprint);
                }
                Err(fault) => faults.push(*fault),
            }
        }
        if faults.has_errors() { Err(faults.into_sorted()) } else { Ok(revoked) }
    }

    /// Whether a key is revoked.
    pub fn holds(&self, fingerprint: &str) -> bool {
        self.0.contains(fingerprint)
    }
}

fn entry(line: &Line<'_>) -> Result<String, Box<Diagnostic>> {
    let text = line.text.trim_matches([' ', '\t']);
    let start = line.text.len() - line.text.trim_start_matches([' ', '\t']).len();
    match text.strip_prefix("SHA256:") {
        // 32 bytes in base64 without padding.
        Some(digest) if digest.len() == 43 && digest.bytes().all(is_base64) => Ok(text.to_owned()),
        Some(_) => Err(line.fault(
            "revoked-fingerprint",
            (start, text.len()),
            "this is no SHA-256 fingerprint of a key",
        )),
        None => read_key(line, start).map(|key: SshKey| key.fingerprint()),
    }
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/'
}
