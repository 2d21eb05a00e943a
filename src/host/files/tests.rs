//! On a real file system; as root for owners, flags and mounts.

#![allow(clippy::disallowed_methods)] // the tests play the other users of the host

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use super::*;

struct Tree {
    folder: tempfile::TempDir,
    root: Root,
}

fn tree() -> Tree {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::open(folder.path()).unwrap();
    Tree { folder, root }
}

impl Tree {
    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn names(&self, path: &str) -> Vec<String> {
        let entries = self.root.list(path).unwrap().unwrap();
        entries.into_iter().map(|entry| entry.name.into_string().unwrap()).collect()
    }
}

fn ours(mode: u32) -> Attributes {
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    Attributes { uid, gid, mode }
}

fn assert_root() {
    assert!(rustix::process::geteuid().is_root(), "this test must run as root");
}

#[test]
fn what_is_written_is_read_back_with_its_attributes_and_leaves_nothing_beside() {
    let tree = tree();
    tree.root.create_dirs("/etc/app", ours(0o755)).unwrap();
    let written = tree.root.write("/etc/app/conf", b"one", ours(0o4640)).unwrap();
    assert_eq!((written.how, written.stat.mode, written.stat.size), (How::Replaced, 0o4640, 3));
    assert_eq!(tree.root.stat("/etc/app/conf").unwrap(), Some(written.stat));
    tree.root.write("etc/app/conf", b"two", ours(0o600)).unwrap();
    assert_eq!(tree.root.read("/etc/app/conf", 10).unwrap().unwrap(), b"two");
    assert_eq!(tree.names("/etc/app"), ["conf"]);
}

#[test]
fn missing_is_none_and_a_file_on_the_way_is_missing_too() {
    let tree = tree();
    tree.root.write("file", b"", ours(0o644)).unwrap();
    assert_eq!(tree.root.stat("/no/such").unwrap(), None);
    assert_eq!(tree.root.stat("/file/below").unwrap(), None);
    assert_eq!(tree.root.read("nothing", 1).unwrap(), None);
    assert_eq!(tree.root.read_link("nothing").unwrap(), None);
    assert_eq!(tree.root.list("/no/such").unwrap(), None);
    assert!(!tree.root.remove("nothing").unwrap());
}

#[test]
fn a_path_that_leaves_the_root_is_refused() {
    let tree = tree();
    for path in ["/../x", "a/../../x", "/", ""] {
        assert!(matches!(tree.root.stat(path), Err(FilesError::NoName { .. })), "{path}");
    }
}

#[test]
fn a_larger_file_than_asked_for_is_refused() {
    let tree = tree();
    tree.root.write("big", b"12345", ours(0o644)).unwrap();
    assert!(matches!(tree.root.read("big", 4), Err(FilesError::TooLarge { size: 5, limit: 4, .. })));
    assert_eq!(tree.root.read("big", 5).unwrap().unwrap(), b"12345");
}

#[test]
fn a_pipe_in_place_of_a_file_is_neither_opened_nor_waited_for() {
    let tree = tree();
    let status = std::process::Command::new("/usr/bin/mkfifo").arg(tree.at("pipe")).status().unwrap();
    assert!(status.success());
    let error = tree.root.read("pipe", 10).unwrap_err();
    assert!(matches!(error, FilesError::WrongType { found: FileType::Pipe, .. }), "{error}");
    tree.root.write("pipe", b"x", ours(0o644)).unwrap();
    assert_eq!(tree.root.read("pipe", 10).unwrap().unwrap(), b"x");
}

#[test]
fn a_link_in_the_last_place_is_replaced_and_never_followed() {
    let tree = tree();
    tree.root.write("canary", b"precious", ours(0o600)).unwrap();
    tree.root.symlink("link", "canary", ours(0).uid, ours(0).gid).unwrap();
    assert_eq!(tree.root.read_link("link").unwrap().unwrap(), Path::new("canary"));
    assert!(matches!(tree.root.read("link", 99), Err(FilesError::WrongType { .. })));
    tree.root.write("link", b"new", ours(0o644)).unwrap();
    assert_eq!(tree.root.read("canary", 99).unwrap().unwrap(), b"precious");
    assert_eq!(tree.root.stat("link").unwrap().unwrap().kind, FileType::File);
}

#[test]
fn roots_own_links_are_followed_within_the_root_and_a_loop_ends() {
    let tree = tree();
    tree.root.create_dirs("usr/bin", ours(0o755)).unwrap();
    tree.root.create_dirs("var", ours(0o755)).unwrap();
    tree.root.create_dirs("run", ours(0o755)).unwrap();
    let link = |path, target| tree.root.symlink(path, target, ours(0).uid, ours(0).gid).unwrap();
    link("bin", "usr/bin");
    link("var/run", "/run");
    link("var/up", "../../../usr/../usr/bin/.");
    link("loop", "loop");
    tree.root.write("/bin/tool", b"1", ours(0o755)).unwrap();
    tree.root.write("/var/run/pid", b"2", ours(0o644)).unwrap();
    assert!(tree.at("usr/bin/tool").exists() && tree.at("run/pid").exists());
    assert!(tree.root.stat("/var/up/tool").unwrap().is_some());
    let error = tree.root.stat("/loop/x").unwrap_err();
    assert!(error.is(rustix::io::Errno::LOOP), "{error}");
}

#[test]
fn a_link_that_someone_else_could_have_laid_is_refused() {
    assert_root();
    let tree = tree();
    tree.root.create_dirs("target", ours(0o755)).unwrap();
    // In a folder others may write, even a link of root's; another's link, even in root's folder; root's link
    // in root's folder, but below a folder of someone else's.
    for (name, dir_mode, dir_uid, link_uid) in [
        ("open", 0o777, 0, 0),
        ("sticky", 0o1777, 0, 0),
        ("theirs", 0o755, 1000, 0),
        ("link", 0o755, 0, 1000),
    ] {
        tree.root.create_dir(name, Attributes { uid: dir_uid, gid: 0, mode: dir_mode }).unwrap();
        tree.root.symlink(format!("{name}/l"), "/target", link_uid, 0).unwrap();
        let error = tree.root.write(format!("{name}/l/x"), b"", ours(0o644)).unwrap_err();
        assert!(matches!(error, FilesError::UnsafeLink { .. }), "{name}: {error}");
    }
    tree.root.create_dir("theirs/inner", ours(0o755)).unwrap();
    tree.root.symlink("theirs/inner/l", "/target", 0, 0).unwrap();
    let error = tree.root.stat("theirs/inner/l/x").unwrap_err();
    assert!(matches!(error, FilesError::UnsafeLink { .. }), "{error}");
    assert_eq!(tree.names("target"), Vec::<String>::new());
}

#[test]
fn a_hard_linked_file_is_replaced_under_one_name_and_never_changed_in_place() {
    let tree = tree();
    tree.root.write("shadow", b"secret", ours(0o600)).unwrap();
    std::fs::hard_link(tree.at("shadow"), tree.at("conf")).unwrap();
    let error = tree.root.set_attributes("conf", ours(0o644)).unwrap_err();
    assert!(matches!(error, FilesError::ManyNames { links: 2, .. }), "{error}");
    tree.root.write("conf", b"declared", ours(0o644)).unwrap();
    assert_eq!(tree.root.read("shadow", 99).unwrap().unwrap(), b"secret");
    assert_eq!(tree.root.stat("shadow").unwrap().unwrap().mode, 0o600);
}

#[test]
fn owner_and_mode_are_set_without_touching_the_content() {
    assert_root();
    let tree = tree();
    let before = tree.root.write("conf", b"x", ours(0o644)).unwrap().stat;
    let after = tree.root.set_attributes("conf", Attributes { uid: 7, gid: 8, mode: 0o4710 }).unwrap();
    assert_eq!((after.uid, after.gid, after.mode), (7, 8, 0o4710));
    assert_eq!((after.identity.inode, after.identity.mtime), (before.identity.inode, before.identity.mtime));
}

#[test]
fn extended_attributes_and_access_lists_are_carried_over_and_narrowed_to_the_mode() {
    assert_root();
    let tree = tree();
    tree.root.write("conf", b"old", ours(0o664)).unwrap();
    let path = tree.at("conf");
    rustix::fs::setxattr(&path, "user.note", b"kept", rustix::fs::XattrFlags::empty()).unwrap();
    // owner rw, user 1000 rw, group r, mask rw, others r
    let mut list = vec![2, 0, 0, 0];
    for (tag, bits, id) in
        [(1u16, 6u16, u32::MAX), (2, 6, 1000), (4, 4, u32::MAX), (16, 6, u32::MAX), (32, 4, u32::MAX)]
    {
        list.extend(tag.to_le_bytes());
        list.extend(bits.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    rustix::fs::setxattr(&path, "system.posix_acl_access", &list, rustix::fs::XattrFlags::empty()).unwrap();
    let (folder, name) = tree.root.parent(Path::new("conf")).unwrap();
    let xattrs = folder.xattrs(name).unwrap();
    let staged = folder.stage_file(name, b"new", ours(0o640), &xattrs).unwrap();
    assert_eq!(staged.stat().unwrap().mode, 0o640);
    staged.replace().unwrap();
    let now = folder.xattrs(name).unwrap();
    let value = |wanted: &str| now.0.iter().find(|(name, _)| name.to_str() == Ok(wanted)).unwrap().1.clone();
    assert_eq!(value("user.note"), b"kept");
    let list = value("system.posix_acl_access");
    let entries: Vec<(u8, u8)> = list[4..].chunks(8).map(|entry| (entry[0], entry[2])).collect();
    assert_eq!(entries, [(1, 6), (2, 6), (4, 4), (16, 4), (32, 0)]);
    assert_eq!(tree.root.read("conf", 9).unwrap().unwrap(), b"new");
}

#[test]
fn a_staged_file_has_its_final_mode_before_its_name_and_is_gone_when_dropped() {
    let tree = tree();
    let (folder, name) = tree.root.parent(Path::new("conf")).unwrap();
    let staged = folder.stage_file(name, b"x", ours(0o440), &Xattrs::default()).unwrap();
    assert!(is_staged_name(staged.name()));
    assert_eq!(std::fs::metadata(staged.path()).unwrap().permissions().mode() & 0o7777, 0o440);
    drop(staged);
    assert!(tree.names("/").is_empty());
}

#[test]
fn a_sweep_takes_what_was_staged_and_nothing_else() {
    let tree = tree();
    let (folder, name) = tree.root.parent(Path::new("conf")).unwrap();
    let _ = folder.stage_file(name, b"x", ours(0o440), &Xattrs::default()).unwrap().release();
    for other in [".agentd.conf", "conf", ".agentd.conf.zzzzzzzz", "agentd.conf.12345678"] {
        tree.root.write(other, b"", ours(0o644)).unwrap();
    }
    assert_eq!(folder.sweep().unwrap(), 1);
    assert_eq!(tree.names("/").len(), 4);
}

#[test]
fn a_name_of_full_length_can_be_written() {
    let tree = tree();
    let name = "n".repeat(255);
    tree.root.write(&name, b"x", ours(0o644)).unwrap();
    assert_eq!(tree.names("/"), [name]);
}

#[test]
fn an_immutable_file_is_reported_as_such_and_left_alone() {
    assert_root();
    let tree = tree();
    tree.root.write("conf", b"old", ours(0o644)).unwrap();
    let chattr = |flag: &str| {
        let status = std::process::Command::new("/usr/bin/chattr").arg(flag).arg(tree.at("conf")).status();
        assert!(status.unwrap().success(), "chattr {flag} must work on the file system of the test");
    };
    chattr("+i");
    let write = tree.root.write("conf", b"new", ours(0o644));
    let mode = tree.root.set_attributes("conf", ours(0o600));
    let removed = tree.root.remove("conf");
    let immutable = tree.root.stat("conf").unwrap().unwrap().immutable;
    chattr("-i");
    assert!(matches!(write, Err(FilesError::Immutable { .. })), "{write:?}");
    assert!(matches!(mode, Err(FilesError::Immutable { .. })), "{mode:?}");
    assert!(matches!(removed, Err(FilesError::Immutable { .. })), "{removed:?}");
    assert!(immutable);
    assert_eq!(tree.names("/"), ["conf"]);
    assert_eq!(tree.root.read("conf", 9).unwrap().unwrap(), b"old");
}

#[test]
fn a_file_that_something_is_mounted_on_is_overwritten_in_place_and_says_so() {
    assert_root();
    let tree = tree();
    tree.root.write("source", b"other", ours(0o600)).unwrap();
    tree.root.write("conf", b"hidden", ours(0o644)).unwrap();
    rustix_mount(&tree.at("source"), &tree.at("conf"));
    let result = tree.root.write("conf", b"declared", ours(0o640));
    let stat = tree.root.stat("conf").unwrap().unwrap();
    let content = tree.root.read("conf", 99).unwrap().unwrap();
    nix::mount::umount(&tree.at("conf")).unwrap();
    assert_eq!(result.unwrap().how, How::InPlace);
    assert!(stat.mounted);
    assert_eq!((content.as_slice(), stat.mode), (b"declared".as_slice(), 0o640));
    assert_eq!(tree.root.read("conf", 99).unwrap().unwrap(), b"hidden");
    assert_eq!(tree.names("/"), ["conf", "source"]);
}

fn rustix_mount(source: &Path, target: &Path) {
    let none: Option<&str> = None;
    nix::mount::mount(Some(source), target, none, nix::mount::MsFlags::MS_BIND, none).unwrap();
}

#[test]
fn a_full_file_system_is_said_and_leaves_the_target_untouched() {
    assert_root();
    let tree = tree();
    tree.root.create_dir("small", ours(0o755)).unwrap();
    let at = tree.at("small");
    nix::mount::mount(Some("none"), &at, Some("tmpfs"), nix::mount::MsFlags::empty(), Some("size=64k"))
        .unwrap();
    let before = tree.root.write("small/conf", b"old", ours(0o644));
    let full = tree.root.write("small/conf", &vec![b'x'; 1 << 20], ours(0o644));
    let after = tree.root.read("small/conf", 99);
    let names = tree.names("small");
    nix::mount::umount(&at).unwrap();
    before.unwrap();
    assert!(matches!(full, Err(FilesError::NoSpace { .. })), "{full:?}");
    assert_eq!(after.unwrap().unwrap(), b"old");
    assert_eq!(names, ["conf"]);
}

#[test]
fn a_parent_moved_away_meanwhile_is_noticed() {
    let tree = tree();
    tree.root.create_dir("dir", ours(0o755)).unwrap();
    let path = Path::new("dir/conf");
    let (folder, _) = tree.root.parent(path).unwrap();
    std::fs::rename(tree.at("dir"), tree.at("moved")).unwrap();
    assert!(matches!(tree.root.still_there(&folder, path), Err(FilesError::Moved { .. })));
    tree.root.create_dir("dir", ours(0o755)).unwrap();
    assert!(matches!(tree.root.still_there(&folder, path), Err(FilesError::Moved { .. })));
}

#[test]
fn a_digest_comes_with_the_stat_that_proves_it() {
    let tree = tree();
    let bytes = vec![7u8; 300_000];
    tree.root.write("conf", &bytes, ours(0o644)).unwrap();
    let (folder, name) = tree.root.parent(Path::new("conf")).unwrap();
    let read = folder.content(name).unwrap().unwrap();
    assert_eq!(read.content, crate::model::Content::of(&bytes));
    assert_eq!(Some(read.stat), folder.stat(name).unwrap());
    assert_eq!(std::fs::metadata(tree.at("conf")).unwrap().ino(), read.stat.identity.inode);
    // In a moment every further change will show; until then the proof says that it is none.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while !folder.content(name).unwrap().unwrap().solid {
        assert!(std::time::Instant::now() < deadline, "a file that rests never becomes solid");
    }
}

#[test]
fn two_files_of_different_folders_are_exchanged_in_one_step() {
    let tree = tree();
    tree.root.create_dirs("store", ours(0o700)).unwrap();
    tree.root.write("conf", b"old", ours(0o644)).unwrap();
    tree.root.write("store/new", b"new", ours(0o644)).unwrap();
    let (here, name) = tree.root.parent(Path::new("conf")).unwrap();
    let (store, other) = tree.root.parent(Path::new("store/new")).unwrap();
    store.exchange(other, &here, name).unwrap();
    assert_eq!(tree.root.read("conf", 9).unwrap().unwrap(), b"new");
    assert_eq!(tree.root.read("store/new", 9).unwrap().unwrap(), b"old");
}

#[test]
fn a_tree_is_removed_without_following_links() {
    let tree = tree();
    tree.root.create_dirs("a/b/c", ours(0o755)).unwrap();
    tree.root.write("canary", b"", ours(0o644)).unwrap();
    tree.root.write("a/b/f", b"", ours(0o644)).unwrap();
    tree.root.symlink("a/b/out", "../../", ours(0).uid, ours(0).gid).unwrap();
    tree.root.folder("/").unwrap().unwrap().remove_tree(OsStr::new("a")).unwrap();
    assert_eq!(tree.names("/"), ["canary"]);
}
