//! What a host's owner has said, what the host remembers, and what a verdict says.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::revoked::Revoked;
use super::signers::Signers;
use crate::model::CommitId;

/// Whose word counts on this host. All of it comes from local settings; no commit can change it.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The local keys: they alone may change the repository's own list of signers.
    pub signers: Signers,
    /// Keys that count no more, of local signers and of the repository's alike.
    pub revoked: Revoked,
    /// How many of the commits must be signed.
    pub strict: Strict,
    /// Identities of which a signer must be one, as `ssh-keygen -Y verify -I` takes it; with none, whoever is listed.
    pub identities: Vec<String>,
    /// Path in the repository, plain names with `/` between, of a further file of signers; each commit is governed by the
    /// one before it.
    pub delegated: Option<String>,
    /// The zone of times in signers files that name none: the host's.
    pub zone: TimeZone,
}

/// How many of the commits must be signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strict {
    /// The one that is accepted: it covers everything it holds.
    #[default]
    Tip,
    /// It and every commit since the last accepted one, over all parents of merges.
    All,
}

/// What a host remembers of earlier verdicts. Losing it would mean to trust anew: keep it in two places.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// The commit accepted last.
    pub last: Option<CommitId>,
    /// The version of the repository's list of signers in it, the highest ever accepted.
    pub signers_version: Option<u64>,
    /// The latest time that an accepted commit proved: no later moment can lie before it.
    pub highest_time: Option<Timestamp>,
}

/// How a commit is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// By a key of SSH.
    Ssh,
    /// By a key of SSH that a certificate vouches for.
    SshCertificate,
}

/// Where a signer is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Listed {
    /// In the local file.
    Local,
    /// In the repository's.
    Repository,
}

/// Who signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signer {
    /// The principals of the line that let the key in: patterns, as written. Untrusted text if listed in the repository.
    pub principals: String,
    /// The fingerprint of the key that signed, as `ssh-keygen -l` prints it.
    pub fingerprint: String,
    /// How.
    pub format: Format,
    /// Where the key is listed.
    pub listed: Listed,
}

/// A commit whose word the host takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The commit.
    pub commit: CommitId,
    /// Who signed it.
    pub signed_by: Signer,
    /// What to remember from now on, in place of the memory that was handed in.
    pub memory: Memory,
}
