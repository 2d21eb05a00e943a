//! On real file systems: the store beside the files, and on another one.

#![allow(clippy::disallowed_methods)] // the tests play the other users of the host

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::host::files::{Attributes, FileType, How, Root, Xattrs};
use crate::model::{Content, KindName, ResourceId};

struct Scene {
    _folders: Vec<tempfile::TempDir>,
    host: Root,
    keep: Keep,
    store: PathBuf,
    resource: ResourceId,
    now: Timestamp,
}

/// A host whose store lies on the same file system, and one whose store does not.
fn scenes() -> [Scene; 2] {
    [scene(Path::new("/tmp")), scene(Path::new("/dev/shm"))]
}

fn scene(store: &Path) -> Scene {
    let host = tempfile::tempdir_in("/tmp").unwrap();
    let store = tempfile::tempdir_in(store).unwrap();
    let keep = Keep::open(&Root::open(store.path()).unwrap(), Limits::default()).unwrap();
    Scene {
        host: Root::open(host.path()).unwrap(),
        keep,
        store: store.path().to_owned(),
        _folders: vec![host, store],
        resource: ResourceId::new(KindName::File, "/conf"),
        now: "2026-01-31T23:59:59.123Z".parse().unwrap(),
    }
}

fn ours(mode: u32) -> Attributes {
    super::store::private(mode)
}

impl Scene {
    fn occasion(&self) -> Occasion<'_> {
        Occasion { resource: &self.resource, why: "content differs", now: self.now }
    }

    fn write(&self, path: &str, text: &str) {
        self.host.write(path, text.as_bytes(), ours(0o640)).unwrap();
    }

    fn read(&self, path: &str) -> Option<String> {
        self.host.read(path, 999).unwrap().map(|bytes| String::from_utf8(bytes).unwrap())
    }

    fn replace(&self, path: &str, text: &str, purpose: Purpose) -> Result<Kept, KeepError> {
        let (folder, name) = self.host.parent(Path::new(path)).unwrap();
        let staged = folder.stage_file(name, text.as_bytes(), ours(0o600), &Xattrs::default()).unwrap();
        self.keep.replacing(self.occasion(), path, staged, None, purpose, Durable::Each)?.commit()
    }

    fn remove(&self, path: &str) -> Result<Kept, KeepError> {
        let (folder, name) = self.host.parent(Path::new(path)).unwrap();
        self.keep.removing(self.occasion(), path, &folder, name, None, Durable::Each)?.commit()
    }

    fn stored(&self) -> BTreeSet<String> {
        std::fs::read_dir(&self.store)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    fn names(&self) -> Vec<String> {
        let entries = self.host.list("/").unwrap().unwrap();
        entries.into_iter().map(|entry| entry.name.into_string().unwrap()).collect()
    }
}

#[test]
fn what_is_replaced_is_kept_with_everything_that_was_known_of_it() {
    for scene in scenes() {
        scene.write("/conf", "by hand");
        let path = scene.host.absolute("/conf");
        rustix::fs::setxattr(&path, "user.note", b"x", rustix::fs::XattrFlags::empty()).unwrap();
        let before = scene.host.stat("/conf").unwrap().unwrap();
        let kept = scene.replace("/conf", "declared", Purpose::Stay).unwrap();
        assert_eq!(kept.how, How::Replaced);
        assert_eq!(scene.read("/conf").unwrap(), "declared");
        assert_eq!(scene.names(), ["conf"]);
        let item = scene.keep.item(kept.id.as_ref().unwrap()).unwrap();
        assert_eq!(item.path.as_deref(), Some("/conf"));
        assert_eq!(
            (item.why.as_str(), item.kept_at, &item.resource),
            ("content differs", scene.now, &scene.resource)
        );
        let What::File { attributes, modified, content, xattrs } = &item.what else { panic!("{item:?}") };
        assert_eq!(*attributes, ours(0o640));
        assert_eq!(*modified, before.identity.mtime);
        assert_eq!(*content, Some(Content::of(b"by hand")));
        assert_eq!(xattrs.0.len(), 1);
        assert_eq!(scene.keep.bytes(&item.id).unwrap(), b"by hand");
        assert_eq!(scene.keep.of_path("/conf").unwrap(), [item]);
    }
}

#[test]
fn the_store_is_shut_to_everybody_else() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    Keep::open(&Root::open(folder.path()).unwrap(), Limits::default()).unwrap();
    assert_eq!(std::fs::metadata(folder.path()).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn nothing_is_kept_where_nothing_was_and_a_file_that_comes_in_between_is_not_overwritten() {
    for scene in scenes() {
        assert_eq!(scene.replace("/conf", "declared", Purpose::Stay).unwrap().id, None);
        assert!(scene.stored().is_empty());
        let (folder, name) = scene.host.parent(Path::new("/other")).unwrap();
        let staged = folder.stage_file(name, b"declared", ours(0o600), &Xattrs::default()).unwrap();
        let pending = scene
            .keep
            .replacing(scene.occasion(), "/other", staged, None, Purpose::Stay, Durable::Each)
            .unwrap();
        scene.write("/other", "by hand");
        pending.commit().unwrap_err();
        assert_eq!(scene.read("/other").unwrap(), "by hand");
        assert_eq!(scene.names(), ["conf", "other"]);
    }
}

#[test]
fn what_is_removed_is_kept_and_comes_back() {
    for scene in scenes() {
        scene.write("/conf", "by hand");
        let id = scene.remove("/conf").unwrap().id.unwrap();
        assert_eq!(scene.read("/conf"), None);
        let restored = scene.keep.restore(&scene.host, &id, scene.occasion()).unwrap();
        assert_eq!(restored, Restored { path: "/conf".into(), replaced: None });
        assert_eq!(scene.read("/conf").unwrap(), "by hand");
        assert_eq!(scene.host.stat("/conf").unwrap().unwrap().mode, 0o640);
        scene.write("/conf", "something else");
        let restored = scene.keep.restore(&scene.host, &id, scene.occasion()).unwrap();
        assert_eq!(scene.keep.bytes(&restored.replaced.unwrap()).unwrap(), b"something else");
    }
}

#[test]
fn a_folder_and_a_link_are_kept_whole_and_come_back() {
    for scene in scenes() {
        scene.host.create_dirs("/conf/a/b", ours(0o750)).unwrap();
        scene.write("/conf/a/b/f", "deep");
        scene.host.symlink("/conf/a/l", "b/f", ours(0).uid, ours(0).gid).unwrap();
        let id = scene.replace("/conf", "declared", Purpose::Stay).unwrap().id.unwrap();
        assert_eq!(scene.read("/conf").unwrap(), "declared");
        let item = scene.keep.item(&id).unwrap();
        assert!(matches!(item.what, What::Directory { entries: 5, .. }), "{item:?}");
        assert_eq!(item.bytes, 4);
        let back = scene.keep.restore(&scene.host, &id, scene.occasion()).unwrap();
        assert_eq!(scene.keep.bytes(&back.replaced.unwrap()).unwrap(), b"declared");
        assert_eq!(scene.read("/conf/a/b/f").unwrap(), "deep");
        assert_eq!(scene.host.read_link("/conf/a/l").unwrap().unwrap(), Path::new("b/f"));
        assert_eq!(scene.host.stat("/conf/a").unwrap().unwrap().mode, 0o750);

        scene.host.symlink("/link", "away", ours(0).uid, ours(0).gid).unwrap();
        let id = scene.replace("/link", "declared", Purpose::Stay).unwrap().id.unwrap();
        scene.keep.restore(&scene.host, &id, scene.occasion()).unwrap();
        assert_eq!(scene.host.read_link("/link").unwrap().unwrap(), Path::new("away"));
    }
}

#[test]
fn a_file_with_another_name_is_copied_and_the_other_name_is_left_alone() {
    for scene in scenes() {
        scene.write("/shadow", "secret");
        std::fs::hard_link(scene.host.absolute("/shadow"), scene.host.absolute("/conf")).unwrap();
        let before = scene.host.stat("/shadow").unwrap().unwrap();
        let id = scene.replace("/conf", "declared", Purpose::Stay).unwrap().id.unwrap();
        assert_eq!(scene.keep.bytes(&id).unwrap(), b"secret");
        let after = scene.host.stat("/shadow").unwrap().unwrap();
        assert_eq!((after.identity.inode, after.mode, after.links), (before.identity.inode, before.mode, 1));
        assert_eq!(scene.read("/conf").unwrap(), "declared");
    }
}

#[test]
fn what_was_written_in_the_last_moment_is_what_is_kept() {
    for scene in scenes() {
        scene.write("/conf", "by hand");
        let (folder, name) = scene.host.parent(Path::new("/conf")).unwrap();
        let staged = folder.stage_file(name, b"declared", ours(0o600), &Xattrs::default()).unwrap();
        let pending = scene
            .keep
            .replacing(scene.occasion(), "/conf", staged, None, Purpose::Stay, Durable::Each)
            .unwrap();
        std::fs::write(scene.host.absolute("/conf"), "by hand, and once more").unwrap();
        let id = pending.commit().unwrap().id.unwrap();
        assert_eq!(scene.keep.bytes(&id).unwrap(), b"by hand, and once more");
    }
}

#[test]
fn a_change_that_is_prepared_and_dropped_leaves_no_trace() {
    for scene in scenes() {
        scene.write("/conf", "by hand");
        let (folder, name) = scene.host.parent(Path::new("/conf")).unwrap();
        let staged = folder.stage_file(name, b"declared", ours(0o600), &Xattrs::default()).unwrap();
        drop(
            scene
                .keep
                .replacing(scene.occasion(), "/conf", staged, None, Purpose::Stay, Durable::Each)
                .unwrap(),
        );
        assert_eq!(scene.read("/conf").unwrap(), "by hand");
        assert!(scene.stored().is_empty());
        assert_eq!(scene.names(), ["conf"]);
    }
}

#[test]
fn a_trial_that_fails_puts_the_old_back_and_one_that_is_passed_keeps_it() {
    for scene in scenes() {
        scene.write("/conf", "old");
        let before = scene.host.stat("/conf").unwrap().unwrap();
        let id = scene.replace("/conf", "new", Purpose::Trial).unwrap().id.unwrap();
        assert_eq!(scene.read("/conf").unwrap(), "new");
        scene.keep.fail(&scene.host, &id).unwrap();
        assert_eq!(scene.read("/conf").unwrap(), "old");
        assert_eq!(scene.host.stat("/conf").unwrap().unwrap().identity.inode, before.identity.inode);
        assert!(scene.stored().is_empty());
        assert_eq!(scene.names(), ["conf"]);

        let id = scene.replace("/conf", "new", Purpose::Trial).unwrap().id.unwrap();
        scene.keep.pass(&scene.host, &id).unwrap();
        assert_eq!(scene.keep.recover(&scene.host).unwrap(), []);
        assert_eq!(scene.read("/conf").unwrap(), "new");
        assert_eq!(scene.keep.bytes(&id).unwrap(), b"old");
        assert_eq!(scene.names(), ["conf"]);
    }
}

#[test]
fn a_trial_in_an_empty_place_leaves_it_empty_if_it_fails() {
    for scene in scenes() {
        let id = scene.replace("/conf", "new", Purpose::Trial).unwrap().id.unwrap();
        scene.keep.fail(&scene.host, &id).unwrap();
        assert!(scene.names().is_empty() && scene.stored().is_empty());
        let id = scene.replace("/conf", "new", Purpose::Trial).unwrap().id.unwrap();
        scene.keep.pass(&scene.host, &id).unwrap();
        assert_eq!(scene.read("/conf").unwrap(), "new");
        assert!(scene.stored().is_empty());
    }
}

#[test]
fn a_trial_that_a_crash_cut_short_is_undone_by_recovery() {
    for scene in scenes() {
        scene.write("/conf", "old");
        scene.replace("/conf", "new", Purpose::Trial).unwrap();
        scene.replace("/fresh", "new", Purpose::Trial).unwrap();
        let recovered = scene.keep.recover(&scene.host).unwrap();
        assert_eq!(recovered.len(), 2, "{recovered:?}");
        assert_eq!(scene.read("/conf").unwrap(), "old");
        assert_eq!(scene.names(), ["conf"]);
        assert!(scene.stored().is_empty());
        assert_eq!(scene.keep.recover(&scene.host).unwrap(), []);
    }
}

#[test]
fn what_someone_writes_during_a_trial_that_fails_is_kept() {
    let scene = scene(Path::new("/tmp"));
    scene.write("/conf", "old");
    let id = scene.replace("/conf", "new", Purpose::Trial).unwrap().id.unwrap();
    scene.write("/conf", "third");
    scene.keep.fail(&scene.host, &id).unwrap();
    assert_eq!(scene.read("/conf").unwrap(), "old");
    assert_eq!(scene.keep.bytes(&id).unwrap(), b"third");
}

#[test]
fn recovery_leaves_what_is_kept_alone_and_removes_a_torn_note() {
    for scene in scenes() {
        scene.write("/conf", "by hand");
        let id = scene.replace("/conf", "declared", Purpose::Stay).unwrap().id.unwrap();
        let torn = scene.store.join("20260131-235959-123-00000000.json");
        std::fs::write(&torn, "{\"id\":").unwrap();
        let recovered = scene.keep.recover(&scene.host).unwrap();
        assert_eq!(recovered.len(), 1);
        assert!(!torn.exists());
        assert_eq!(scene.keep.bytes(&id).unwrap(), b"by hand");
    }
}

#[test]
fn an_unreadable_note_of_something_kept_is_told_and_touches_nothing() {
    let scene = scene(Path::new("/tmp"));
    scene.write("/conf", "by hand");
    let id = scene.replace("/conf", "declared", Purpose::Stay).unwrap().id.unwrap();
    std::fs::write(scene.store.join(format!("{id}.json")), "{\"from\":\"the future\"}").unwrap();
    let recovered = scene.keep.recover(&scene.host).unwrap();
    assert!(matches!(recovered.as_slice(), [Recovered::Stuck(_)]), "{recovered:?}");
    assert!(scene.stored().contains(&format!("{id}.data")));
    scene.keep.tidy(scene.now).unwrap();
    assert!(scene.stored().contains(&format!("{id}.data")));
}

#[test]
fn a_kept_file_that_was_changed_afterwards_is_not_put_back() {
    let scene = scene(Path::new("/tmp"));
    scene.write("/conf", "by hand");
    let mut open = std::fs::OpenOptions::new().append(true).open(scene.host.absolute("/conf")).unwrap();
    let id = scene.replace("/conf", "declared", Purpose::Stay).unwrap().id.unwrap();
    std::io::Write::write_all(&mut open, b"!").unwrap();
    let error = scene.keep.restore(&scene.host, &id, scene.occasion()).unwrap_err();
    assert!(matches!(error, KeepError::ChangedItem { .. }), "{error}");
    assert_eq!(scene.read("/conf").unwrap(), "declared");
}

#[test]
fn texts_are_kept_for_kinds_that_are_no_files() {
    let scene = scene(Path::new("/tmp"));
    let id = scene.keep.put_text(scene.occasion(), "ruleset", b"table inet x {}").unwrap();
    assert_eq!(scene.keep.bytes(&id).unwrap(), b"table inet x {}");
    assert!(scene.keep.recover(&scene.host).unwrap().is_empty());
    assert!(matches!(scene.keep.item(&id).unwrap().what, What::Text { .. }));
    let error = scene.keep.restore(&scene.host, &id, scene.occasion()).unwrap_err();
    assert!(matches!(error, KeepError::NoFile { .. }), "{error}");
}

#[test]
fn equal_contents_share_their_bytes_and_the_oldest_go_first() {
    let mut scene = scene(Path::new("/tmp"));
    let mut ids = Vec::new();
    for text in ["aaaa", "bbbb", "aaaa", "cccc"] {
        scene.write("/conf", text);
        ids.push(scene.replace("/conf", "declared", Purpose::Stay).unwrap().id.unwrap());
        scene.now += Duration::from_secs(60);
    }
    let tidied = scene.keep.tidy(scene.now).unwrap();
    assert_eq!(tidied, Tidied { gone: 0, shared: 1, bytes: 12 });
    assert_eq!(scene.keep.bytes(&ids[0]).unwrap(), b"aaaa");
    assert!(!scene.keep.is_full());
    scene.keep.limits.max_bytes = 8;
    assert!(scene.keep.is_full());
    let tidied = scene.keep.tidy(scene.now).unwrap();
    assert!(!scene.keep.is_full());
    assert_eq!(tidied, Tidied { gone: 2, shared: 0, bytes: 8 });
    let left: Vec<ItemId> = scene.keep.list().unwrap().into_iter().map(|item| item.id).collect();
    assert_eq!(left, [ids[3].clone(), ids[2].clone()]);
    scene.keep.limits.max_age = Duration::from_secs(90);
    assert_eq!(scene.keep.tidy(scene.now).unwrap().gone, 1);
    assert_eq!(scene.stored().len(), 2);
    assert_eq!(scene.keep.bytes(&ids[3]).unwrap(), b"cccc");
}

#[test]
fn a_folder_with_something_mounted_inside_is_left_alone() {
    assert!(rustix::process::geteuid().is_root(), "this test must run as root");
    let scene = scene(Path::new("/tmp"));
    scene.host.create_dirs("/conf/mnt", ours(0o755)).unwrap();
    let at = scene.host.absolute("/conf/mnt");
    nix::mount::mount(Some("none"), &at, Some("tmpfs"), nix::mount::MsFlags::empty(), Some("size=64k"))
        .unwrap();
    let replaced = scene.replace("/conf", "declared", Purpose::Stay);
    nix::mount::umount(&at).unwrap();
    assert!(matches!(replaced, Err(KeepError::MountInside { .. })), "{replaced:?}");
    assert_eq!(scene.host.stat("/conf").unwrap().unwrap().kind, FileType::Directory);
    assert!(scene.stored().is_empty());
    assert_eq!(scene.names(), ["conf"]);
}

#[test]
fn a_pipe_in_the_way_is_kept_by_its_inode() {
    for scene in scenes() {
        let status = std::process::Command::new("/usr/bin/mkfifo").arg(scene.host.absolute("/conf")).status();
        assert!(status.unwrap().success());
        let id = scene.replace("/conf", "declared", Purpose::Stay).unwrap().id.unwrap();
        let item = scene.keep.item(&id).unwrap();
        assert_eq!(item.what, What::Other { found: FileType::Pipe });
        assert_eq!(scene.read("/conf").unwrap(), "declared");
        assert_eq!(scene.names(), ["conf"]);
    }
}

#[test]
fn an_id_reads_back_what_it_prints_and_nothing_else() {
    let id = ItemId::new("2026-01-31T23:59:59.123Z".parse().unwrap());
    assert!(id.as_str().starts_with("20260131-235959-123-"), "{id}");
    assert_eq!(id.as_str().parse(), Ok(id));
    for text in ["", "../../../../etc/passwd-----", "20260131-235959-123-0A1B2C3D"] {
        assert!(text.parse::<ItemId>().is_err(), "{text}");
    }
}

#[test]
fn what_is_larger_than_the_store_may_be_is_left_alone() {
    let mut scene = scene(Path::new("/tmp"));
    scene.keep.limits.max_bytes = 4;
    scene.write("/conf", "by hand");
    let error = scene.replace("/conf", "declared", Purpose::Stay).unwrap_err();
    assert!(matches!(error, KeepError::TooMuch { bytes: 7, limit: 4, .. }), "{error}");
    assert_eq!(scene.read("/conf").unwrap(), "by hand");
    assert_eq!(scene.names(), ["conf"]);
}

#[test]
fn a_kept_file_that_shares_the_inode_of_what_replaced_it_survives_recovery() {
    let scene = scene(Path::new("/tmp"));
    scene.write("/conf", "by hand");
    let first = scene.replace("/conf", "declared", Purpose::Stay).unwrap().id.unwrap();
    // The same edit again, this time in the very inode that replaced the first.
    std::fs::write(scene.host.absolute("/conf"), "by hand").unwrap();
    let second = scene.replace("/conf", "declared", Purpose::Stay).unwrap().id.unwrap();
    assert_eq!(scene.keep.tidy(scene.now).unwrap().shared, 1);
    assert_eq!(scene.keep.recover(&scene.host).unwrap(), []);
    assert_eq!(scene.keep.bytes(&first).unwrap(), b"by hand");
    assert_eq!(scene.keep.bytes(&second).unwrap(), b"by hand");
}

#[test]
fn a_trial_whose_folder_is_gone_leaves_what_was_there_kept() {
    for scene in scenes() {
        scene.host.create_dir("/dir", ours(0o755)).unwrap();
        scene.write("/dir/conf", "old");
        let id = scene.replace("/dir/conf", "new", Purpose::Trial).unwrap().id.unwrap();
        scene.replace("/dir/fresh", "new", Purpose::Trial).unwrap();
        std::fs::rename(scene.host.absolute("/dir"), scene.host.absolute("/moved")).unwrap();
        let recovered = scene.keep.recover(&scene.host).unwrap();
        assert!(!recovered.iter().any(|one| matches!(one, Recovered::Stuck(_))), "{recovered:?}");
        // On another file system it waits in the folder that was moved away, and is there still.
        let beside = scene.store.starts_with("/dev/shm");
        assert_eq!(scene.keep.bytes(&id).is_ok(), !beside);
        let left = scene.host.list("/moved").unwrap().unwrap();
        assert_eq!(left.len(), if beside { 3 } else { 2 }, "{left:?}");
    }
}
