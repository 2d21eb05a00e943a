//! Whole trees: taking one away, copying one to another file system. Only for trees that lie where nobody but
//! us can write, or that are copied and not changed.

use std::ffi::OsStr;

use super::FilesError;
use super::folder::Folder;
use super::stat::FileType;

impl Folder {
    /// Takes away what lies under `name`, with everything in it. Links are not followed.
    pub fn remove_tree(&self, name: &OsStr) -> Result<(), FilesError> {
        if let Some(folder) = self.subfolder(name)? {
            for entry in folder.list()? {
                match entry.kind {
                    FileType::Directory => folder.remove_tree(&entry.name)?,
                    FileType::File
                    | FileType::Link
                    | FileType::Pipe
                    | FileType::Socket
                    | FileType::Device => {
                        folder.remove(&entry.name)?;
                    }
                }
            }
        }
        self.remove(name)?;
        Ok(())
    }
}
