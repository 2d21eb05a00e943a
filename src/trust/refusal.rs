//! Why a commit is not taken: each reason with a stable code, a sentence that says what to do, and how long it lasts.

use crate::model::{CommitId, Diagnostic};

/// How long a refusal lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// For ever: this commit will not be taken, whatever changes.
    Commit,
    /// Until the signers, the revocations or other settings change.
    Settings,
    /// Until the clock is right or goes on: ask again soon.
    Clock,
    /// Until what was fetched is whole: fetch again.
    Fetch,
}

/// Why a commit is not taken. Nothing of the host changes; the last accepted commit stays in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// An id of SHA-256: repositories of that format are not read.
    #[error("commit {0} is of a SHA-256 repository, which is not supported: use a repository with SHA-1 ids")]
    ObjectFormat(CommitId),
    /// An object is not among what was handed over.
    #[error("object {id}, which commit {commit} needs to be judged, is not there: fetch again")]
    Missing {
        /// What was being judged.
        commit: String,
        /// What is missing.
        id: String,
    },
    /// An object is not of its format.
    #[error("object {id} is malformed ({why}): make the commit anew with git")]
    Malformed {
        /// Which one.
        id: String,
        /// In which way.
        why: &'static str,
    },
    /// No signature at all.
    #[error("commit {0} is not signed: sign it (git commit -S) and push again")]
    Unsigned(String),
    /// More than one signature.
    #[error("commit {0} has several signatures: one is taken, so that nobody chooses which is looked at")]
    SeveralSignatures(String),
    /// A signature over the commit in another object format.
    #[error(
        "commit {0} has a `gpgsig-sha256` header: only a single `gpgsig` is taken; sign it in a SHA-1 repository"
    )]
    OtherHashSignature(String),
    /// A format of signature that the settings don't allow.
    #[error(
        "commit {commit} is signed by {format}, which is not taken here: sign it with SSH (gpg.format = ssh)"
    )]
    Format {
        /// Which commit.
        commit: String,
        /// The format.
        format: &'static str,
    },
    /// The signature can't be read.
    #[error("the signature of commit {commit} is malformed ({why}): sign it anew")]
    SignatureMalformed {
        /// Which commit.
        commit: String,
        /// In which way.
        why: String,
    },
    /// An algorithm that is too weak or not known.
    #[error("the signature of commit {commit} is not of a kind that is taken ({why}): sign with ed25519")]
    Algorithm {
        /// Which commit.
        commit: String,
        /// What is wrong with it.
        why: String,
    },
    /// Signed for another purpose.
    #[error(
        "commit {commit} has a signature for `{namespace}` instead of `git`: it was made for something else"
    )]
    Namespace {
        /// Which commit.
        commit: String,
        /// The purpose it was made for, escaped.
        namespace: String,
    },
    /// The signature is not over these bytes by that key.
    #[error("the signature of commit {0} is wrong: the commit was changed after it was signed")]
    BadSignature(String),
    /// A security key that signed by itself.
    #[error("the security key was not touched when commit {0} was signed: sign it anew and touch the key")]
    NoTouch(String),
    /// A key nobody lists.
    #[error(
        "commit {commit} is signed by {fingerprint}, which is no allowed signer here: add the key or sign with another"
    )]
    UnknownSigner {
        /// Which commit.
        commit: String,
        /// The key.
        fingerprint: String,
    },
    /// The key counts no more.
    #[error("commit {commit} is signed by {fingerprint}, which is revoked: sign with another key")]
    Revoked {
        /// Which commit.
        commit: String,
        /// The key.
        fingerprint: String,
    },
    /// The key is listed, but for other people.
    #[error(
        "{fingerprint} signed commit {commit} but stands for `{principals}`, who has no word on this host"
    )]
    Principal {
        /// Which commit.
        commit: String,
        /// The key.
        fingerprint: String,
        /// Whom the key stands for, escaped.
        principals: String,
    },
    /// The key is listed, but not for commits.
    #[error("{fingerprint} signed commit {commit} but may not sign for `git`: see `namespaces` of its line")]
    NotForGit {
        /// Which commit.
        commit: String,
        /// The key.
        fingerprint: String,
    },
    /// The key is not good yet.
    #[error(
        "{fingerprint}, which signed commit {commit}, is not valid yet: wait for `valid-after`, or check the clock"
    )]
    NotYetValid {
        /// Which commit.
        commit: String,
        /// The key.
        fingerprint: String,
    },
    /// The key is good no more.
    #[error("{fingerprint}, which signed commit {commit}, has expired: sign with a valid key")]
    Expired {
        /// Which commit.
        commit: String,
        /// The key.
        fingerprint: String,
    },
    /// The clock is behind what is known, so nobody can say whether the key is still good.
    #[error(
        "the clock is behind, so whether {fingerprint} (commit {commit}) has expired can't be told: set the clock"
    )]
    ClockBehind {
        /// Which commit.
        commit: String,
        /// The key.
        fingerprint: String,
    },
    /// The commit says it was made later than now.
    #[error("commit {commit} is dated {by} s in the future: check the clock here and where it was made")]
    Future {
        /// Which commit.
        commit: String,
        /// Seconds.
        by: i64,
    },
    /// A certificate that lets nobody in.
    #[error("the certificate that signed commit {commit} is not taken ({why}): issue another one")]
    Certificate {
        /// Which commit.
        commit: String,
        /// What is wrong with it.
        why: String,
    },
    /// The history was rewritten, or rewound.
    #[error(
        "commit {commit} does not descend from {last}, accepted last: restore the branch, or roll back by hand on the host"
    )]
    NotDescendant {
        /// Which commit.
        commit: String,
        /// The one accepted last.
        last: CommitId,
    },
    /// More commits than are looked at.
    #[error("more than {0} commits lie between commit and the one accepted last: push in smaller steps")]
    TooFar(usize),
    /// The repository's list of signers has faults.
    #[error("the signers file `{path}` of commit {commit} is faulty: {}", first(.faults))]
    SignersFile {
        /// Which commit.
        commit: String,
        /// Where in the repository.
        path: String,
        /// Each fault.
        faults: Vec<Diagnostic>,
    },
    /// The list was changed by somebody who may not.
    #[error(
        "commit {commit} changes `{path}` but is signed by {fingerprint}: only a key of the local settings may do that"
    )]
    SignersChange {
        /// Which commit.
        commit: String,
        /// Where in the repository.
        path: String,
        /// The key.
        fingerprint: String,
    },
    /// The list is changed, or older than one seen before, under a version that does not rise.
    #[error(
        "`{path}` of commit {commit} has version {found}, after {seen} was accepted: raise `# version:` in it"
    )]
    SignersVersion {
        /// Which commit.
        commit: String,
        /// Where in the repository.
        path: String,
        /// Its version; 0 if it names none.
        found: u64,
        /// The one to exceed.
        seen: u64,
    },
}

impl Refusal {
    /// A stable code in kebab case. Part of the interface: never renamed.
    pub const fn code(&self) -> &'static str {
        match self {
            Refusal::ObjectFormat(_) => "object-format",
            Refusal::Missing { .. } => "object-missing",
            Refusal::Malformed { .. } => "object-malformed",
            Refusal::Unsigned(_) => "unsigned",
            Refusal::SeveralSignatures(_) => "several-signatures",
            Refusal::OtherHashSignature(_) => "signature-sha256",
            Refusal::Format { .. } => "signature-format",
            Refusal::SignatureMalformed { .. } => "signature-malformed",
            Refusal::Algorithm { .. } => "signature-algorithm",
            Refusal::Namespace { .. } => "signature-namespace",
            Refusal::BadSignature(_) => "signature-wrong",
            Refusal::NoTouch(_) => "signature-untouched",
            Refusal::UnknownSigner { .. } => "signer-unknown",
            Refusal::Revoked { .. } => "signer-revoked",
            Refusal::Principal { .. } => "signer-principal",
            Refusal::NotForGit { .. } => "signer-namespace",
            Refusal::NotYetValid { .. } => "signer-not-yet-valid",
            Refusal::Expired { .. } => "signer-expired",
            Refusal::ClockBehind { .. } => "clock-behind",
            Refusal::Future { .. } => "commit-future",
            Refusal::Certificate { .. } => "certificate",
            Refusal::NotDescendant { .. } => "not-descendant",
            Refusal::TooFar(_) => "too-many-commits",
            Refusal::SignersFile { .. } => "signers-file",
            Refusal::SignersChange { .. } => "signers-change",
            Refusal::SignersVersion { .. } => "signers-version",
        }
    }

    /// How long it lasts.
    pub const fn lasting(&self) -> Lasting {
        match self {
            Refusal::ObjectFormat(_)
            | Refusal::Malformed { .. }
            | Refusal::Unsigned(_)
            | Refusal::SeveralSignatures(_)
            | Refusal::OtherHashSignature(_)
            | Refusal::SignatureMalformed { .. }
            | Refusal::Algorithm { .. }
            | Refusal::Namespace { .. }
            | Refusal::BadSignature(_)
            | Refusal::NoTouch(_) => Lasting::Commit,
            Refusal::Format { .. }
            | Refusal::UnknownSigner { .. }
            | Refusal::Revoked { .. }
            | Refusal::Principal { .. }
            | Refusal::NotForGit { .. }
            | Refusal::Expired { .. }
            | Refusal::Certificate { .. }
            | Refusal::NotDescendant { .. }
            | Refusal::TooFar(_)
            | Refusal::SignersFile { .. }
            | Refusal::SignersChange { .. }
            | Refusal::SignersVersion { .. } => Lasting::Settings,
            Refusal::NotYetValid { .. } | Refusal::ClockBehind { .. } | Refusal::Future { .. } => {
                Lasting::Clock
            }
            Refusal::Missing { .. } => Lasting::Fetch,
        }
    }
}

fn first(faults: &[Diagnostic]) -> String {
    faults.first().map_or_else(String::new, |fault| {
        format!("line {}, column {}: {}", fault.place.line, fault.place.column, fault.message)
    })
}
