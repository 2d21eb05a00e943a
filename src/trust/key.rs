//! Public keys of SSH (RFC 4253 section 6.6, RFC 5656, RFC 8709, OpenSSH's `PROTOCOL.u2f`) and what they signed.
//!
//! The cryptography is `ring`'s. What it has no code for (DSA, NIST P-521) and what is too weak (RSA below 2048 bits) is
//! no key at all here.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use ring::digest::{SHA256, digest};
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};

use super::wire::{Unreadable, Wire};

/// A public key that signatures can be verified with.
#[derive(Clone, PartialEq, Eq)]
pub struct SshKey {
    blob: Vec<u8>,
    material: Material,
}

/// Why a public key is none that is taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// No key of the format it claims.
    #[error("this is no SSH public key")]
    Malformed,
    /// A kind of key that is not verified here.
    #[error("keys of the kind `{0}` can't be verified here")]
    Unsupported(String),
    /// RSA of fewer bits than are safe, or more than are verified.
    #[error("an RSA key of {0} bits is not taken: from 2048 to 8192 are")]
    Size(usize),
}

/// Why a signature is not a good one of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadSignature {
    /// Made with an algorithm that is not taken, such as RSA with SHA-1.
    Algorithm,
    /// Not of the format that its algorithm has.
    Malformed,
    /// Made on a security key without a touch.
    NoTouch,
    /// The numbers don't agree: other bytes were signed, or by another key.
    Wrong,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Material {
    Ed25519(Vec<u8>),
    Ecdsa(Curve, Vec<u8>),
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    SkEd25519 { key: Vec<u8>, application: Vec<u8> },
    SkEcdsa { point: Vec<u8>, application: Vec<u8> },
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
}

impl Curve {
    const fn name(self) -> &'static str {
        match self {
            Curve::P256 => "nistp256",
            Curve::P384 => "nistp384",
        }
    }

    /// Bytes of a coordinate.
    const fn width(self) -> usize {
        match self {
            Curve::P256 => 32,
            Curve::P384 => 48,
        }
    }
}

impl SshKey {
    /// Reads a key from its wire format.
    ///
    /// # Errors
    /// What is no key, or none that is verified here.
    pub fn from_blob(blob: &[u8]) -> Result<Self, KeyFault> {
        let mut wire = Wire::new(blob);
        let algorithm = wire.text()?;
        let material = Material::read(algorithm, &mut wire)?;
        wire.end()?;
        Ok(SshKey { blob: blob.to_vec(), material })
    }

    /// Reads a key from its base64.
    ///
    /// # Errors
    /// As [`SshKey::from_blob`].
    pub fn from_base64(text: &str) -> Result<Self, KeyFault> {
        Self::from_blob(&STANDARD.decode(text).map_err(|_| KeyFault::Malformed)?)
    }

    /// A key whose fields were read elsewhere (a certificate); its blob is made from them.
    pub(super) fn of(algorithm: &str, fields: &[u8], material: Material) -> Self {
        let mut blob = Vec::new();
        super::wire::put_string(&mut blob, algorithm.as_bytes());
        blob.extend_from_slice(fields);
        SshKey { blob, material }
    }

    /// The name of its kind, such as `ssh-ed25519`.
    pub fn algorithm(&self) -> &'static str {
        match &self.material {
            Material::Ed25519(_) => "ssh-ed25519",
            Material::Ecdsa(Curve::P256, _) => "ecdsa-sha2-nistp256",
            Material::Ecdsa(Curve::P384, _) => "ecdsa-sha2-nistp384",
            Material::Rsa { .. } => "ssh-rsa",
            Material::SkEd25519 { .. } => "sk-ssh-ed25519@openssh.com",
            Material::SkEcdsa { .. } => "sk-ecdsa-sha2-nistp256@openssh.com",
        }
    }

    /// As `ssh-keygen -l` prints it: `SHA256:` and base64 without padding.
    pub fn fingerprint(&self) -> String {
        format!("SHA256:{}", STANDARD_NO_PAD.encode(digest(&SHA256, &self.blob)))
    }

    /// Whether `signature` (algorithm and bytes, as on the wire) is this key's over `message`.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        let mut wire = Wire::new(signature);
        let algorithm = wire.text()?;
        let bytes = wire.string()?;
        let touch = match &self.material {
            Material::SkEd25519 { .. } | Material::SkEcdsa { .. } => Some((wire.byte()?, wire.u32()?)),
            Material::Ed25519(_) | Material::Ecdsa(..) | Material::Rsa { .. } => None,
        };
        wire.end()?;
        match (&self.material, touch) {
            (Material::Rsa { modulus, exponent }, _) => rsa(algorithm, modulus, exponent, message, bytes),
            _ if algorithm != self.algorithm() => Err(BadSignature::Algorithm),
            (Material::Ed25519(key), _) => ed25519(key, message, bytes),
            (Material::Ecdsa(curve, point), _) => ecdsa(*curve, point, message, bytes),
            (Material::SkEd25519 { key, application }, Some((flags, counter))) => {
                ed25519(key, &touched(application, flags, counter, message)?, bytes)
            }
            (Material::SkEcdsa { point, application }, Some((flags, counter))) => {
                ecdsa(Curve::P256, point, &touched(application, flags, counter, message)?, bytes)
            }
            (Material::SkEd25519 { .. } | Material::SkEcdsa { .. }, None) => Err(BadSignature::Malformed),
        }
    }
}

impl fmt::Debug for SshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm(), self.fingerprint())
    }
}

impl From<Unreadable> for KeyFault {
    fn from(_: Unreadable) -> Self {
        KeyFault::Malformed
    }
}

impl From<Unreadable> for BadSignature {
    fn from(_: Unreadable) -> Self {
        BadSignature::Malformed
    }
}

impl Material {
    /// Reads the fields that come after the name of the kind.
    pub(super) fn read(algorithm: &str, wire: &mut Wire<'_>) -> Result<Self, KeyFault> {
        Ok(match algorithm {
            "ssh-ed25519" => Material::Ed25519(exactly(wire.string()?, 32)?),
            "ecdsa-sha2-nistp256" => Material::Ecdsa(Curve::P256, point(wire, Curve::P256)?),
            "ecdsa-sha2-nistp384" => Material::Ecdsa(Curve::P384, point(wire, Curve::P384)?),
            "ssh-rsa" => {
                let exponent = wire.positive()?.to_vec();
                let modulus = wire.positive()?.to_vec();
                let bits =
                    modulus.len() * 8 - modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
                if !(2048..=8192).contains(&bits) {
                    return Err(KeyFault::Size(bits));
                }
                Material::Rsa { modulus, exponent }
            }
            "sk-ssh-ed25519@openssh.com" => Material::SkEd25519 {
                key: exactly(wire.string()?, 32)?,
                application: wire.string()?.to_vec(),
            },
            "sk-ecdsa-sha2-nistp256@openssh.com" => {
                Material::SkEcdsa { point: point(wire, Curve::P256)?, application: wire.string()?.to_vec() }
            }
            other => return Err(KeyFault::Unsupported(other.escape_debug().to_string())),
        })
    }
}

fn exactly(bytes: &[u8], length: usize) -> Result<Vec<u8>, KeyFault> {
    if bytes.len() == length { Ok(bytes.to_vec()) } else { Err(KeyFault::Malformed) }
}

/// The curve's name once more and a point, uncompressed.
fn point(wire: &mut Wire<'_>, curve: Curve) -> Result<Vec<u8>, KeyFault> {
    if wire.text()? != curve.name() {
        return Err(KeyFault::Malformed);
    }
    let point = exactly(wire.string()?, 1 + 2 * curve.width())?;
    if point.first() == Some(&4) { Ok(point) } else { Err(KeyFault::Malformed) }
}

/// What a security key signs instead of the message: the application, flags, a counter and the message's digest.
fn touched(application: &[u8], flags: u8, counter: u32, message: &[u8]) -> Result<Vec<u8>, BadSignature> {
    const USER_PRESENT: u8 = 0x01;
    if flags & USER_PRESENT == 0 {
        return Err(BadSignature::NoTouch);
    }
    let mut signed = digest(&SHA256, application).as_ref().to_vec();
    signed.push(flags);
    signed.extend_from_slice(&counter.to_be_bytes());
    signed.extend_from_slice(digest(&SHA256, message).as_ref());
    Ok(signed)
}

fn ed25519(key: &[u8], message: &[u8], bytes: &[u8]) -> Result<(), BadSignature> {
    UnparsedPublicKey::new(&signature::ED25519, key).verify(message, bytes).map_err(|_| BadSignature::Wrong)
}

fn ecdsa(curve: Curve, point: &[u8], message: &[u8], bytes: &[u8]) -> Result<(), BadSignature> {
    let mut wire = Wire::new(bytes);
    let (r, s) = (wire.positive()?, wire.positive()?);
    wire.end()?;
    let width = curve.width();
    let mut fixed = vec![0; 2 * width];
    for (number, field) in [r, s].into_iter().zip(fixed.chunks_mut(width)) {
        let start = width.checked_sub(number.len()).ok_or(BadSignature::Malformed)?;
        field[start..].copy_from_slice(number);
    }
    let algorithm = match curve {
        Curve::P256 => &signature::ECDSA_P256_SHA256_FIXED,
        Curve::P384 => &signature::ECDSA_P384_SHA384_FIXED,
    };
    UnparsedPublicKey::new(algorithm, point).verify(message, &fixed).map_err(|_| BadSignature::Wrong)
}

/// With SHA-2 alone (RFC 8332): `ssh-rsa` as the name of a signature means SHA-1.
fn rsa(algorithm: &str, n: &[u8], e: &[u8], message: &[u8], bytes: &[u8]) -> Result<(), BadSignature> {
    let parameters = match algorithm {
        "rsa-sha2-256" => &signature::RSA_PKCS1_2048_8192_SHA256,
        "rsa-sha2-512" => &signature::RSA_PKCS1_2048_8192_SHA512,
        _ => return Err(BadSignature::Algorithm),
    };
    RsaPublicKeyComponents { n, e }.verify(parameters, message, bytes).map_err(|_| BadSignature::Wrong)
}
