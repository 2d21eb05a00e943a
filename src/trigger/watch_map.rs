//! From what the kinds want watched to folders, and from an event's path back to what to look at. Pure.

use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::kind::{LookAt, Watch};
use crate::model::KindName;

/// Folders to watch, and what stands behind each name in them.
#[derive(Debug, Default)]
pub struct WatchMap {
    folders: HashMap<PathBuf, Folder>,
    /// Folders on the way: only the coming and going of the named children matters.
    ways: HashMap<PathBuf, BTreeSet<OsString>>,
}

/// Sorted lists and not maps: there is one entry for each of 10,000 files, and it is kept for good.
#[derive(Debug, Default)]
struct Folder {
    anything: Box<[LookAt]>,
    /// By name; more than one thing may stand behind a name.
    names: Box<[(Box<OsStr>, LookAt)]>,
}

impl WatchMap {
    /// The map of these watches.
    pub fn new(watches: Vec<Watch>) -> Self {
        let mut map = WatchMap::default();
        let mut folders: HashMap<PathBuf, (Vec<LookAt>, Vec<_>)> = HashMap::new();
        for Watch { folder, name, look_at } in watches {
            map.add_way(&folder);
            let (anything, names) = folders.entry(folder).or_default();
            match name {
                Some(name) => names.push((OsString::from(name).into_boxed_os_str(), look_at)),
                None => anything.push(look_at),
            }
        }
        map.folders = folders.into_iter().map(|(path, content)| (path, Folder::of(content))).collect();
        map
    }

    /// The folders whose content is watched.
    pub fn folders(&self) -> impl Iterator<Item = &Path> {
        self.folders.keys().map(PathBuf::as_path)
    }

    /// Whether the content of this folder is watched.
    pub fn has_folder(&self, path: &Path) -> bool {
        self.folders.contains_key(path)
    }

    /// The folders on the way to those, in which only coming and going is watched.
    pub fn ways(&self) -> impl Iterator<Item = &Path> {
        self.ways.keys().map(PathBuf::as_path)
    }

    /// What is watched by name in a folder.
    pub fn names(&self, folder: &Path) -> impl Iterator<Item = &OsStr> {
        let folder = self.folders.get(folder).into_iter();
        folder.flat_map(|folder| folder.names.iter().map(|(name, _)| &**name))
    }

    /// What to look at when the content of a watched folder changes at `path`.
    pub fn at<'a>(&'a self, path: &Path) -> impl Iterator<Item = &'a LookAt> {
        let in_folder = path.parent().and_then(|parent| self.folders.get(parent));
        let named = in_folder.zip(path.file_name()).map(|(folder, name)| folder.named(name));
        // The folder itself as the subject: its mode changed, it was moved or removed.
        let itself = self.folders.get(path).map(|folder| &folder.anything);
        let any = in_folder.map(|folder| &folder.anything);
        named.into_iter().flatten().chain(any.into_iter().chain(itself).flatten())
    }

    /// Whether something watched lies below a folder on the way that came or went.
    pub fn is_on_the_way(&self, path: &Path) -> bool {
        let parent = path.parent().and_then(|parent| self.ways.get(parent));
        parent.zip(path.file_name()).is_some_and(|(names, name)| names.contains(name))
    }

    /// Everything to look at below a folder that came or went.
    pub fn below<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = &'a LookAt> {
        let folders = self.folders.iter().filter(move |(folder, _)| folder.starts_with(path));
        folders.flat_map(|(_, folder)| folder.everything())
    }

    /// Everything to look at in one folder.
    pub fn in_folder<'a>(&'a self, folder: &Path) -> impl Iterator<Item = &'a LookAt> + use<'a> {
        let folder = self.folders.get(folder).into_iter();
        folder.flat_map(Folder::everything)
    }

    /// The kinds that watch the content of a folder.
    pub fn kinds_in(&self, folder: &Path) -> BTreeSet<KindName> {
        self.in_folder(folder).map(kind_of).collect()
    }

    /// The kinds that have something in a folder or below it.
    pub fn kinds_below(&self, path: &Path) -> BTreeSet<KindName> {
        self.below(path).map(kind_of).collect()
    }

    fn add_way(&mut self, folder: &Path) {
        let mut child = folder;
        while let (Some(parent), Some(name)) = (child.parent(), child.file_name()) {
            let is_known = !self.ways.entry(parent.to_owned()).or_default().insert(name.to_owned());
            if is_known {
                return;
            }
            child = parent;
        }
    }
}

impl Folder {
    fn of((anything, mut names): (Vec<LookAt>, Vec<(Box<OsStr>, LookAt)>)) -> Self {
        names.sort_unstable();
        Folder { anything: anything.into(), names: names.into() }
    }

    fn named<'a>(&'a self, name: &OsStr) -> impl Iterator<Item = &'a LookAt> + use<'a> {
        let first = self.names.partition_point(|(known, _)| &**known < name);
        let end = first + self.names[first..].partition_point(|(known, _)| &**known == name);
        self.names[first..end].iter().map(|(_, look_at)| look_at)
    }

    fn everything(&self) -> impl Iterator<Item = &LookAt> {
        self.anything.iter().chain(self.names.iter().map(|(_, look_at)| look_at))
    }
}

/// The kind that is to look.
pub(super) fn kind_of(look_at: &LookAt) -> KindName {
    match look_at {
        LookAt::Kind(kind) => *kind,
        LookAt::Resource(resource) => resource.kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ResourceId;

    fn map() -> WatchMap {
        let site = LookAt::Resource(ResourceId::new(KindName::File, "/etc/nginx/site"));
        let watch = |folder: &str, name: Option<&str>, look_at| Watch {
            folder: folder.into(),
            name: name.map(Into::into),
            look_at,
        };
        WatchMap::new(vec![
            watch("/etc/nginx", Some("site"), site),
            watch("/var/lib/dpkg", None, LookAt::Kind(KindName::Package)),
        ])
    }

    fn shown<'a>(looks: impl Iterator<Item = &'a LookAt>) -> Vec<String> {
        looks.map(|look| format!("{look:?}")).collect()
    }

    #[test]
    fn an_event_leads_to_what_was_named() {
        let map = map();
        assert_eq!(shown(map.at(Path::new("/etc/nginx/site"))).len(), 1);
        assert!(shown(map.at(Path::new("/etc/nginx/other"))).is_empty());
        assert!(shown(map.at(Path::new("/etc/nginx/sit"))).is_empty());
        assert_eq!(shown(map.at(Path::new("/var/lib/dpkg/status"))), ["Kind(Package)"]);
    }

    #[test]
    fn a_parent_that_comes_or_goes_leads_to_all_below() {
        let map = map();
        assert!(map.is_on_the_way(Path::new("/etc/nginx")) && map.is_on_the_way(Path::new("/etc")));
        assert!(!map.is_on_the_way(Path::new("/etc/passwd")));
        assert_eq!(shown(map.below(Path::new("/etc"))).len(), 1);
        let ways: BTreeSet<_> = map.ways().collect();
        let ways: Vec<_> = ways.into_iter().collect();
        assert_eq!(ways, [Path::new("/"), Path::new("/etc"), Path::new("/var"), Path::new("/var/lib")]);
    }
}
