//! Where in the fleet repository something was said.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A place in a file of the fleet repository. Lines and columns count from 1; columns count characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// Path within the repository's declaration folder.
    #[serde(deserialize_with = "super::word::deserialize")]
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// How many characters of that line it spans; at least 1.
    pub length: u32,
}

impl Place {
    /// A place that is a whole file: its first character.
    pub fn file(name: &str) -> Self {
        Place { file: Arc::from(name), line: 1, column: 1, length: 1 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Which layers spoke of a resource: the line that won, and those it won over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// The place whose word counts.
    pub winner: Place,
    /// Places of lower layers that said something of the same resource, lowest layer first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub below: Vec<Place>,
}
