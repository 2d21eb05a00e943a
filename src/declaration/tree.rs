//! What the compiler reads: the files of one commit, or of a plain folder.

use std::collections::BTreeMap;

use crate::source;

/// The files of a declaration's folder. Whoever offers them has refused dangerous names and does not follow
/// links; the compiler only ever asks for paths that were listed.
pub trait Tree {
    /// Paths of everything but folders, with `/`, relative to the declaration's folder. What is no regular file
    /// is listed too, so that a linked host file is a fault and not ignored; reading it fails.
    fn paths(&self) -> Vec<String>;

    /// The bytes of one of them.
    fn read(&self, path: &str) -> Result<Vec<u8>, Unreadable>;
}

/// A file that is listed and can't be read, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

/// Files in memory: for tests, and for what is made up on the spot.
impl Tree for BTreeMap<String, Vec<u8>> {
    fn paths(&self) -> Vec<String> {
        self.keys().cloned().collect()
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, Unreadable> {
        self.get(path).cloned().ok_or_else(|| Unreadable(format!("there is no file `{path}`")))
    }
}

impl Tree for source::Tree<'_> {
    fn paths(&self) -> Vec<String> {
        self.entries().iter().map(|entry| entry.path.clone()).collect()
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, Unreadable> {
        source::Tree::read(self, path).map_err(|error| {
            let chain = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
            Unreadable(chain.map(ToString::to_string).collect::<Vec<_>>().join(": "))
        })
    }
}
