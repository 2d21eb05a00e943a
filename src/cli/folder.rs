//! A fleet repository as it lies in a folder: a work tree in front of someone, or in CI.

use std::path::{Path, PathBuf};

use super::CliError;
use crate::declaration::{Tree, Unreadable};
use crate::host::files::{FileType, FilesError, Folder, Root};

/// The files of a folder. Links are listed and not followed, as they are not in a commit.
#[derive(Debug)]
pub struct FolderTree {
    root: Root,
    paths: Vec<String>,
}

/// A fleet repository of more files than this is a mistake, such as `/`.
const MOST_FILES: usize = 100_000;

/// No file of a fleet repository is larger.
const LARGEST: u64 = 16 << 20;

impl FolderTree {
    /// Lists the folder at `path`.
    pub fn open(path: &Path) -> Result<FolderTree, CliError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| CliError::Folder {
            path: path.to_owned(),
            source,
        };
        let root = Root::open(path).map_err(|error| failed(error.into()))?;
        let mut paths = Vec::new();
        let top = root.folder("").map_err(|error| failed(error.into()))?;
        if let Some(top) = top {
            list(&top, "", &mut paths).map_err(failed)?;
        }
        Ok(FolderTree { root, paths })
    }
}

impl Tree for FolderTree {
    fn paths(&self) -> Vec<String> {
        self.paths.clone()
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, Unreadable> {
        let missing = || Unreadable(format!("there is no file `{path}`"));
        if self.paths.binary_search_by(|known| known.as_str().cmp(path)).is_err() {
            return Err(missing());
        }
        let told = |error: FilesError| Unreadable(error.chain());
        self.root.read(PathBuf::from(path), LARGEST).map_err(told)?.ok_or_else(missing)
    }
}

fn list(
    folder: &Folder,
    above: &str,
    paths: &mut Vec<String>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    for entry in folder.list()? {
        let name = entry.name.to_str().ok_or_else(|| {
            format!("the name of `{}{}` is no UTF-8 text", above, entry.name.to_string_lossy())
        })?;
        let path = format!("{above}{name}");
        match entry.kind {
            // Only git's own: everything else is what a commit would hold.
            FileType::Directory if name == ".git" => {}
            FileType::Directory => {
                if let Some(inside) = folder.subfolder(&entry.name)? {
                    list(&inside, &format!("{path}/"), paths)?;
                }
            }
            FileType::File | FileType::Link | FileType::Pipe | FileType::Socket | FileType::Device => {
                paths.push(path);
            }
        }
        if paths.len() > MOST_FILES {
            return Err(
                format!("it holds more than {MOST_FILES} files: name the folder with fleet.toml").into()
            );
        }
    }
    if above.is_empty() {
        paths.sort_unstable();
    }
    Ok(())
}
