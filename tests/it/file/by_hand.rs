//! What a person does to a declared file by hand is undone, and what they made is kept.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use agentd::kind::file::Spec;
use agentd::model::{OutcomeResult, ResourceId};

use super::{Scene, run, scene_with_conf, text};

#[test]
fn an_edit_in_place_is_undone_and_kept() {
    let mut scene = scene_with_conf();
    let path = scene.path("/etc/app/conf");
    run("/bin/sh", &["-c", &format!("echo by hand >> {}", text(&path))]);
    assert_eq!(scene.fields(), ["/etc/app/conf content"]);
    scene.converge();
    assert_eq!(scene.read("/etc/app/conf"), "declared\n");
    assert_eq!(scene.kept_text("/etc/app/conf"), "declared\nby hand\n");
    assert_eq!(scene.names("/etc/app"), ["conf"]);
}

#[test]
fn an_edit_of_the_same_size_with_the_old_times_is_seen() {
    let mut scene = scene_with_conf();
    let path = scene.path("/etc/app/conf");
    let reference = scene.path("/reference");
    run("/bin/cp", &["-p", text(&path), text(&reference)]);
    std::fs::write(&path, "DECLARED\n").unwrap();
    run("/usr/bin/touch", &["-r", text(&reference), text(&path)]);
    assert_eq!(scene.fields(), ["/etc/app/conf content"]);
}

#[test]
fn an_edit_by_rename_is_undone() {
    let mut scene = scene_with_conf();
    let path = scene.path("/etc/app/conf");
    run("/bin/sed", &["-i", "s/declared/by hand/", text(&path)]);
    scene.converge();
    assert_eq!(scene.read("/etc/app/conf"), "declared\n");
    assert_eq!(scene.kept_text("/etc/app/conf"), "by hand\n");
}

#[test]
fn a_drifted_mode_or_owner_is_corrected_and_the_content_left_alone() {
    let mut scene = scene_with_conf();
    let path = scene.path("/etc/app/conf");
    let inode = std::fs::metadata(&path).unwrap().ino();
    run("/bin/chmod", &["0666", text(&path)]);
    assert_eq!(scene.converge(), ["correct /etc/app/conf: mode 0666 → 0644"]);
    run("/bin/chown", &["2001:2002", text(&path)]);
    assert_eq!(scene.converge(), ["correct /etc/app/conf: owner shop → root, group www → root"]);
    run("/bin/chown", &["4711", text(&path)]);
    assert_eq!(scene.converge(), ["correct /etc/app/conf: owner 4711 → root"]);
    assert_eq!(std::fs::metadata(&path).unwrap().ino(), inode);
    assert_eq!(scene.keep.list().unwrap(), []);
}

#[test]
fn a_removed_file_and_a_parent_that_was_moved_away_come_back() {
    let mut scene = scene_with_conf();
    std::fs::remove_file(scene.path("/etc/app/conf")).unwrap();
    scene.converge();
    run("/bin/mv", &[text(&scene.path("/etc/app")), text(&scene.path("/etc/moved"))]);
    assert_eq!(scene.fields(), ["/etc/app/conf ensure,content"]);
    scene.converge();
    assert_eq!(scene.read("/etc/app/conf"), "declared\n");
    assert_eq!(scene.names("/etc/moved"), ["conf"]);
}

#[test]
fn a_directory_link_pipe_or_socket_in_place_of_the_file_is_kept_and_replaced() {
    let mut scene = scene_with_conf();
    let path = scene.path("/etc/app/conf");
    let clear = |path: &Path| std::fs::remove_file(path).unwrap();

    clear(&path);
    std::fs::create_dir_all(path.join("deep/er")).unwrap();
    std::fs::write(path.join("deep/er/x"), "precious").unwrap();
    scene.converge();
    let id = scene.kept("/etc/app/conf").id;
    let resource: ResourceId = "file:/etc/app/conf".parse().unwrap();
    let now = scene.host.clock.now();
    let occasion = agentd::keep::Occasion { resource: &resource, why: "a person asked", now };
    scene.keep.restore(&scene.host.root, &id, occasion).unwrap();
    assert_eq!(scene.read("/etc/app/conf/deep/er/x"), "precious");
    scene.converge();

    clear(&path);
    std::fs::write(scene.path("/canary"), "precious").unwrap();
    symlink("../../canary", &path).unwrap();
    scene.converge();
    assert_eq!(scene.read("/canary"), "precious");

    clear(&path);
    run("/usr/bin/mkfifo", &[text(&path)]);
    scene.converge();

    clear(&path);
    let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    scene.converge();
    assert_eq!(scene.read("/etc/app/conf"), "declared\n");
    assert_eq!(scene.names("/etc/app"), ["conf"]);
    assert_eq!(scene.keep.of_path("/etc/app/conf").unwrap().len(), 6);
}

#[test]
fn a_file_in_place_of_a_directory_or_link_is_kept_and_replaced() {
    let mut scene = Scene::new();
    scene.directory("/etc/app", false, &[]);
    scene.file("/etc/app/conf", "x");
    scene.declare("/etc/current", Spec::Link { target: "app".into() });
    std::fs::create_dir(scene.path("/etc")).unwrap();
    std::fs::write(scene.path("/etc/app"), "in the way").unwrap();
    std::fs::write(scene.path("/etc/current"), "in the way too").unwrap();
    scene.converge();
    assert_eq!(scene.kept_text("/etc/app"), "in the way");
    assert_eq!(scene.kept_text("/etc/current"), "in the way too");
    assert_eq!(scene.read("/etc/current/conf"), "x");
}

#[test]
fn a_hard_link_to_another_file_is_broken_and_the_other_file_left_alone() {
    let mut scene = scene_with_conf();
    std::fs::write(scene.path("/shadow"), "declared\n").unwrap();
    std::fs::set_permissions(scene.path("/shadow"), PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::remove_file(scene.path("/etc/app/conf")).unwrap();
    std::fs::hard_link(scene.path("/shadow"), scene.path("/etc/app/conf")).unwrap();
    assert_eq!(scene.fields(), ["/etc/app/conf mode"]);
    scene.converge();
    assert_eq!(scene.mode("/shadow"), 0o600);
    assert_eq!(std::fs::metadata(scene.path("/shadow")).unwrap().nlink(), 1);
}

#[test]
fn an_immutable_file_is_reported_and_corrected_once_the_flag_is_gone() {
    let mut scene = scene_with_conf();
    let path = scene.path("/etc/app/conf");
    std::fs::write(&path, "by hand").unwrap();
    run("/usr/bin/chattr", &["+i", text(&path)]);
    let message = scene.failure();
    run("/usr/bin/chattr", &["-i", text(&path)]);
    assert!(message.contains("immutable") && message.contains("chattr -i"), "{message}");
    assert_eq!(scene.read("/etc/app/conf"), "by hand");
    assert_eq!(scene.names("/etc/app"), ["conf"]);
    scene.converge();
}

#[test]
fn a_file_that_something_is_mounted_on_is_overwritten_in_place_and_says_so() {
    let mut scene = scene_with_conf();
    let path = scene.path("/etc/app/conf");
    std::fs::write(scene.path("/other"), "mounted").unwrap();
    let none: Option<&str> = None;
    nix::mount::mount(Some(&scene.path("/other")), &path, none, nix::mount::MsFlags::MS_BIND, none).unwrap();
    let results = scene.pass();
    let residual = scene.look();
    nix::mount::umount(&path).unwrap();
    let [(_, OutcomeResult::DoneNoting { note })] = results.as_slice() else { panic!("{results:?}") };
    assert!(note.contains("in place"), "{note}");
    assert_eq!(residual, []);
    assert_eq!(scene.read("/other"), "declared\n");
    assert_eq!(scene.kept_text("/etc/app/conf"), "mounted");
}

#[test]
fn xattrs_and_access_lists_of_the_old_file_are_kept() {
    let mut scene = scene_with_conf();
    let path = scene.path("/etc/app/conf");
    let set = |name: &str, value: &[u8]| {
        rustix::fs::setxattr(&path, name, value, rustix::fs::XattrFlags::empty()).unwrap();
    };
    let get = |name: &str| {
        let mut value = [0u8; 128];
        let length = rustix::fs::getxattr(&path, name, value.as_mut_slice()).unwrap();
        value[..length].to_vec()
    };
    set("user.note", b"x");
    // What `setfacl -m u:1234:r` sets: version 2, then tag, rights and id of each entry (linux/posix_acl_xattr.h).
    let none = u32::MAX;
    let entries: [(u16, u16, u32); 5] =
        [(1, 6, none), (2, 4, 1234), (4, 4, none), (16, 4, none), (32, 4, none)];
    let mut list = 2u32.to_le_bytes().to_vec();
    for (tag, rights, id) in entries {
        list.extend(tag.to_le_bytes().into_iter().chain(rights.to_le_bytes()).chain(id.to_le_bytes()));
    }
    set("system.posix_acl_access", &list);
    std::fs::write(&path, "by hand").unwrap();
    let inode = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&path).unwrap());
    scene.converge();
    let after = std::fs::metadata(&path).unwrap();
    assert_ne!(std::os::unix::fs::MetadataExt::ino(&after), inode, "it is another file");
    assert_eq!((get("user.note"), get("system.posix_acl_access")), (b"x".to_vec(), list));
}
