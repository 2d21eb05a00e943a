//! Detached signatures of SSH (OpenSSH's `PROTOCOL.sshsig`), in the armour that git keeps in a commit.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{self, SHA256, SHA512};

use super::certificate::{Certificate, plain_name};
use super::key::{BadSignature, KeyFault, SshKey};
use super::wire::{Unreadable, Wire, put_string};

pub(super) const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";
const MAGIC: &[u8] = b"SSHSIG";
const VERSION: u32 = 1;

/// A signature as it was read; nothing is verified yet but a certificate's own signature.
#[derive(Clone, Debug)]
pub(super) struct SshSig {
    /// Who claims to have signed.
    pub(super) holder: Holder,
    /// What for.
    pub(super) namespace: String,
    hash: Hash,
    signature: Vec<u8>,
}

/// The key in a signature: a claim, to be looked up among the signers.
#[derive(Clone, Debug)]
pub(super) enum Holder {
    Key(SshKey),
    Certificate(Box<Certificate>),
}

/// Why bytes are no signature that is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SigFault {
    /// Not of the format.
    Malformed(&'static str),
    /// The key inside is none that is verified here.
    Key(KeyFault),
    /// The message is hashed by something else than SHA-256 or SHA-512.
    Hash(String),
}

#[derive(Clone, Copy, Debug)]
enum Hash {
    Sha256,
    Sha512,
}

impl Holder {
    /// The key that made the signature.
    pub(super) fn key(&self) -> &SshKey {
        match self {
            Holder::Key(key) => key,
            Holder::Certificate(certificate) => &certificate.key,
        }
    }
}

impl SshSig {
    /// Reads an armoured signature: nothing may stand before or behind it.
    pub(super) fn from_armour(text: &str) -> Result<Self, SigFault> {
        let body = text.trim_end_matches('\n').strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END));
        let body = body.ok_or(SigFault::Malformed("its armour is not whole"))?;
        let joined: String = body.split('\n').collect();
        let blob = STANDARD.decode(joined).map_err(|_| SigFault::Malformed("its armour holds no base64"))?;
        Self::from_blob(&blob)
    }

    fn from_blob(blob: &[u8]) -> Result<Self, SigFault> {
        let mut wire = Wire::new(blob);
        if wire.take(MAGIC.len())? != MAGIC || wire.u32()? != VERSION {
            return Err(SigFault::Malformed("it is no SSH signature of version 1"));
        }
        let holder = holder(wire.string()?).map_err(SigFault::Key)?;
        let namespace = wire.text()?.to_owned();
        let _reserved = wire.string()?;
        let hash = match wire.text()? {
            "sha256" => Hash::Sha256,
            "sha512" => Hash::Sha512,
            other => return Err(SigFault::Hash(other.escape_debug().to_string())),
        };
        let signature = wire.string()?.to_vec();
        wire.end()?;
        Ok(SshSig { holder, namespace, hash, signature })
    }

    /// Whether it is a good signature over `message` by the key it names.
    pub(super) fn verify(&self, message: &[u8]) -> Result<(), BadSignature> {
        let (name, hashed) = match self.hash {
            Hash::Sha256 => ("sha256", digest::digest(&SHA256, message)),
            Hash::Sha512 => ("sha512", digest::digest(&SHA512, message)),
        };
        let mut signed = MAGIC.to_vec();
        put_string(&mut signed, self.namespace.as_bytes());
        // The reserved field is not carried over: verifiers sign it as empty.
        put_string(&mut signed, b"");
        put_string(&mut signed, name.as_bytes());
        put_string(&mut signed, hashed.as_ref());
        self.holder.key().verify(&signed, &self.signature)
    }
}

impl From<Unreadable> for SigFault {
    fn from(_: Unreadable) -> Self {
        SigFault::Malformed("its fields are not whole")
    }
}

fn holder(blob: &[u8]) -> Result<Holder, KeyFault> {
    let algorithm = Wire::new(blob).text()?;
    Ok(match plain_name(algorithm) {
        Some(_) => Holder::Certificate(Box::new(Certificate::from_blob(blob)?)),
        None => Holder::Key(SshKey::from_blob(blob)?),
    })
}
