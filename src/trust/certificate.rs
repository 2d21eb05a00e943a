//! Certificates of SSH (OpenSSH's `PROTOCOL.certkeys`): a key, for whom and how long, under the signature of another.

use super::key::{KeyFault, Material, SshKey};
use super::wire::Wire;

/// What ends the name of each kind of certificate.
const SUFFIX: &str = "-cert-v01@openssh.com";
/// The type of a certificate for people; the other one is for hosts.
const USER: u32 = 1;

/// A certificate whose own signature was verified when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    /// The key it is for.
    pub(super) key: SshKey,
    /// The key that signed it.
    pub(super) authority: SshKey,
    /// Whom it is for.
    pub(super) principals: Vec<String>,
    /// Seconds since 1970 from which on it is good.
    pub(super) valid_after: u64,
    /// Seconds since 1970 from which on it is not.
    pub(super) valid_before: u64,
    /// Names of options that whoever does not know them must refuse.
    pub(super) critical: Vec<String>,
    /// Whether it is for a person rather than for a host.
    pub(super) is_user: bool,
}

/// The name of the plain key of a kind of certificate, if it is one.
pub(super) fn plain_name(algorithm: &str) -> Option<String> {
    let base = algorithm.strip_suffix(SUFFIX)?;
    Some(if base.starts_with("sk-") { format!("{base}@openssh.com") } else { base.to_owned() })
}

impl Certificate {
    /// Reads a certificate and verifies its signature.
    pub(super) fn from_blob(blob: &[u8]) -> Result<Self, KeyFault> {
        let mut wire = Wire::new(blob);
        let algorithm = plain_name(wire.text()?).ok_or(KeyFault::Malformed)?;
        let _nonce = wire.string()?;
        let start = blob.len() - wire.left();
        let material = Material::read(&algorithm, &mut wire)?;
        let fields = &blob[start..blob.len() - wire.left()];
        let key = SshKey::of(&algorithm, fields, material);
        let _serial = wire.u64()?;
        let is_user = wire.u32()? == USER;
        let _id = wire.string()?;
        let principals = texts(wire.string()?)?;
        let (valid_after, valid_before) = (wire.u64()?, wire.u64()?);
        let critical = names(wire.string()?)?;
        let _extensions = names(wire.string()?)?;
        let _reserved = wire.string()?;
        let authority = SshKey::from_blob(wire.string()?)?;
        let signed = &blob[..blob.len() - wire.left()];
        let signature = wire.string()?;
        wire.end()?;
        authority.verify(signed, signature).map_err(|_| KeyFault::Malformed)?;
        Ok(Certificate { key, authority, principals, valid_after, valid_before, critical, is_user })
    }
}

fn texts(bytes: &[u8]) -> Result<Vec<String>, KeyFault> {
    let mut wire = Wire::new(bytes);
    let mut found = Vec::new();
    while !wire.is_empty() {
        found.push(wire.text()?.to_owned());
    }
    Ok(found)
}

/// Options: a name and its data, in turn.
fn names(bytes: &[u8]) -> Result<Vec<String>, KeyFault> {
    let mut wire = Wire::new(bytes);
    let mut found = Vec::new();
    while !wire.is_empty() {
        found.push(wire.text()?.to_owned());
        wire.string()?;
    }
    Ok(found)
}
