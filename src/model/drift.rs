//! What differs, field by field, and why.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::digest::Digest;

/// Why observed differs from desired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The host moved although the declaration did not.
    Drifted,
    /// The declaration moved.
    Behind,
    /// We changed it, and it differs again by our own doing or refuses to change.
    NotConverging,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Drifted => "drifted",
            Verdict::Behind => "behind",
            Verdict::NotConverging => "not converging",
        })
    }
}

/// One field that differs: what the host has and what is declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldDiff {
    /// Name of the field as written in a declaration: `mode`, `content`, `version`, `state`.
    pub field: String,
    /// What the host has.
    pub observed: Shown,
    /// What is declared.
    pub desired: Shown,
}

impl FieldDiff {
    /// A field that differs.
    pub fn new(field: &str, observed: impl Into<Shown>, desired: impl Into<Shown>) -> Self {
        FieldDiff { field: field.to_owned(), observed: observed.into(), desired: desired.into() }
    }
}

/// A value as it may be shown. Contents are shown by digest; the text is fetched by digest where a person
/// asks for the diff, and never for what is secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shown {
    /// Not there.
    Absent,
    /// A short value.
    Value(String),
    /// Contents of a file.
    Content {
        /// SHA-256 of the bytes.
        digest: Digest,
        /// Size in bytes.
        size: u64,
    },
    /// Something that is not to be shown.
    Secret,
}

impl From<&str> for Shown {
    fn from(text: &str) -> Self {
        Shown::Value(text.to_owned())
    }
}

impl From<String> for Shown {
    fn from(text: String) -> Self {
        Shown::Value(text)
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shown::Absent => f.write_str("absent"),
            Shown::Value(text) => f.write_str(text),
            Shown::Content { digest, size } => write!(f, "{size} bytes, sha256 {}", digest.short()),
            Shown::Secret => f.write_str("(secret)"),
        }
    }
}
