//! Contents the declaration wants laid down, by digest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::KeepError;
use crate::host::files::{Attributes, FilesError, Folder, Root, Xattrs};
use crate::model::{Content, Digest};

/// No content of a declaration is larger than this (the compiler refuses it long before).
const CONTENT_LIMIT: u64 = 1 << 30;

/// Contents by digest: in memory while a plan is made from a plain directory, in a root-only folder for the
/// daemon. The same bytes are there once, however often they are put.
pub struct Contents {
    store: Store,
    /// Something that is wanted was not there, or not whole, since this was asked last.
    lost: AtomicBool,
}

type Memory = BTreeMap<Digest, Arc<[u8]>>;

enum Store {
    Memory(Mutex<Memory>),
    /// As it was opened last: somebody may remove it.
    Folder(Mutex<Arc<Root>>),
}

impl Contents {
    /// Contents in memory, gone with the value.
    pub fn in_memory() -> Self {
        Contents::of(Store::Memory(Mutex::default()))
    }

    /// Contents in a folder, which nobody but us may read (mode 0700).
    pub fn in_folder(root: Root) -> Self {
        Contents::of(Store::Folder(Mutex::new(Arc::new(root))))
    }

    /// Whether something that was asked for was not there, or not whole, since this was last asked: then it is to
    /// be put in again.
    pub fn has_lost(&self) -> bool {
        self.lost.swap(false, Ordering::Relaxed)
    }

    /// Puts bytes in, durably. Bytes that are there already cost a look.
    pub fn put(&self, bytes: &[u8]) -> Result<Content, KeepError> {
        let content = Content::of(bytes);
        match &self.store {
            Store::Memory(memory) => {
                lock(memory).entry(content.digest).or_insert_with(|| Arc::from(bytes));
            }
            Store::Folder(root) => {
                let root = self.present(root)?;
                if !lies(&root, &content)? {
                    root.write(content.digest.to_string(), bytes, private())
                        .map_err(store("put a content"))?;
                }
            }
        }
        Ok(content)
    }

    /// Puts many in, with one wait for the disk instead of one each.
    pub fn put_all<'b>(&self, all: impl IntoIterator<Item = &'b [u8]>) -> Result<Vec<Content>, KeepError> {
        let root = match &self.store {
            Store::Memory(_) => return all.into_iter().map(|bytes| self.put(bytes)).collect(),
            Store::Folder(root) => self.present(root)?,
        };
        let folder = open(&root)?;
        let (mut contents, mut staged) = (Vec::new(), Vec::new());
        for bytes in all {
            let content = Content::of(bytes);
            contents.push(content);
            if !lies(&root, &content)? {
                let name = content.digest.to_string();
                let file = folder.stage_file(name.as_ref(), bytes, private(), &Xattrs::default());
                staged.push(file.map_err(store("put a content"))?);
            }
        }
        if !staged.is_empty() {
            folder.sync_filesystem().map_err(store("put contents"))?;
            for file in staged {
                file.replace().map_err(store("put a content"))?;
            }
            folder.sync().map_err(store("put contents"))?;
        }
        Ok(contents)
    }

    /// The bytes of a digest, verified. Bytes that are damaged are taken away, so that they can be put anew.
    pub fn get(&self, digest: &Digest) -> Result<Arc<[u8]>, KeepError> {
        let missing = || {
            self.lost.store(true, Ordering::Relaxed);
            KeepError::NoContent { digest: *digest }
        };
        let root = match &self.store {
            Store::Memory(memory) => return lock(memory).get(digest).cloned().ok_or_else(missing),
            Store::Folder(root) => self.present(root)?,
        };
        let name = digest.to_string();
        let bytes = root.read(&name, CONTENT_LIMIT).map_err(store("read a content"))?.ok_or_else(missing)?;
        if Digest::of(&bytes) != *digest {
            self.lost.store(true, Ordering::Relaxed);
            root.remove(&name).map_err(store("take away a damaged content"))?;
            return Err(KeepError::DamagedContent { digest: *digest });
        }
        Ok(bytes.into())
    }

    /// Whether bytes of this digest lie here (unverified).
    pub fn has(&self, digest: &Digest) -> Result<bool, KeepError> {
        match &self.store {
            Store::Memory(memory) => Ok(lock(memory).contains_key(digest)),
            Store::Folder(root) => {
                let root = self.present(root)?;
                Ok(root.stat(digest.to_string()).map_err(store("look for a content"))?.is_some())
            }
        }
    }

    /// Takes away every content that is not among these, and what a crash left half put. Returns how many.
    pub fn retain(&self, wanted: &BTreeSet<Digest>) -> Result<usize, KeepError> {
        let root = match &self.store {
            Store::Memory(memory) => {
                let mut memory = lock(memory);
                let before = memory.len();
                memory.retain(|digest, _| wanted.contains(digest));
                return Ok(before - memory.len());
            }
            Store::Folder(root) => self.present(root)?,
        };
        let folder = open(&root)?;
        folder.sweep().map_err(store("sweep"))?;
        let mut taken = 0;
        for entry in folder.list().map_err(store("list"))? {
            let digest = entry.name.to_str().and_then(|name| name.parse().ok());
            if digest.is_some_and(|digest| !wanted.contains(&digest)) {
                taken += usize::from(folder.remove(&entry.name).map_err(store("take away a content"))?);
            }
        }
        Ok(taken)
    }
}

impl Contents {
    const fn of(store: Store) -> Self {
        Contents { store, lost: AtomicBool::new(false) }
    }

    /// The folder, made anew if somebody removed it: then all that lay in it is to be put in again.
    fn present(&self, root: &Mutex<Arc<Root>>) -> Result<Arc<Root>, KeepError> {
        let mut root = lock(root);
        if !root.is_in_place() {
            *root = Arc::new(root.anew(super::store::private(0o700)).map_err(store("make a folder anew"))?);
            self.lost.store(true, Ordering::Relaxed);
        }
        Ok(Arc::clone(&root))
    }
}

/// Whether a content lies here in its full size: a file that a power cut left short is put again.
fn lies(root: &Root, content: &Content) -> Result<bool, KeepError> {
    let stat = root.stat(content.digest.to_string()).map_err(store("look for a content"))?;
    Ok(stat.is_some_and(|stat| stat.size == content.size))
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open(root: &Root) -> Result<Folder, KeepError> {
    let gone = || FilesError::NoParent { path: root.path().to_owned() };
    let folder = root.folder("/").and_then(|folder| folder.ok_or_else(gone));
    folder.map_err(store("open a folder"))
}

/// Owned by whoever runs, readable by nobody else.
fn private() -> Attributes {
    super::store::private(0o600)
}

fn store(operation: &'static str) -> impl FnOnce(FilesError) -> KeepError {
    move |source| KeepError::Store { operation, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn both() -> (tempfile::TempDir, [Contents; 2]) {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path()).unwrap();
        (folder, [Contents::in_memory(), Contents::in_folder(root)])
    }

    #[test]
    fn what_is_put_is_got_by_its_digest_and_lies_there_once() {
        let (folder, stores) = both();
        for store in &stores {
            let content = store.put(b"abc").unwrap();
            assert_eq!(content, Content::of(b"abc"));
            assert_eq!(store.put(b"abc").unwrap(), content);
            assert_eq!(&*store.get(&content.digest).unwrap(), b"abc");
            assert!(store.has(&content.digest).unwrap());
            let other = Digest::of(b"other");
            assert!(matches!(store.get(&other), Err(KeepError::NoContent { .. })));
            assert!(!store.has(&other).unwrap());
        }
        let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap).collect();
        assert_eq!(files.len(), 1);
        assert_eq!(files[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn many_are_put_at_once() {
        let (_folder, stores) = both();
        for store in &stores {
            store.put(b"1").unwrap();
            let contents = store.put_all([b"1".as_slice(), b"2", b"3", b"2"]).unwrap();
            assert_eq!(contents[1], contents[3]);
            for (content, bytes) in contents.iter().zip([b"1", b"2", b"3", b"2"]) {
                assert_eq!(&*store.get(&content.digest).unwrap(), bytes);
            }
        }
    }

    #[test]
    fn what_is_not_wanted_any_more_is_taken_away() {
        let (_folder, stores) = both();
        for store in &stores {
            let kept = store.put(b"1").unwrap().digest;
            let gone = store.put(b"2").unwrap().digest;
            assert_eq!(store.retain(&BTreeSet::from([kept])).unwrap(), 1);
            assert!(store.has(&kept).unwrap() && !store.has(&gone).unwrap());
        }
    }

    #[test]
    fn damaged_bytes_are_never_given_out_and_can_be_put_again() {
        let (folder, [_, store]) = both();
        let content = store.put(b"abc").unwrap();
        let path = folder.path().join(content.digest.to_string());
        #[allow(clippy::disallowed_methods)] // the test plays a bad disk
        std::fs::write(&path, b"abd").unwrap();
        assert!(!store.has_lost());
        assert!(matches!(store.get(&content.digest), Err(KeepError::DamagedContent { .. })));
        assert!(store.has_lost() && !store.has_lost(), "it is told once");
        assert!(matches!(store.get(&content.digest), Err(KeepError::NoContent { .. })));
        assert!(store.has_lost());
        store.put(b"abc").unwrap();
        assert_eq!(&*store.get(&content.digest).unwrap(), b"abc");
    }
}
