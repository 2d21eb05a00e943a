//! What is declared is laid down, once, whole and for whom it is meant.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;

use agentd::host::accounts::ListedAccounts;
use agentd::kind::Reading;
use agentd::kind::file::{Files, Mode, Ownership, Spec};

use super::{Scene, root_owned, scene_with_conf};

#[test]
fn what_is_declared_is_laid_down_with_owner_and_mode_and_a_second_pass_is_empty() {
    let mut scene = Scene::new();
    let shop = Ownership { owner: "shop".into(), group: "www".into(), mode: Mode::from_bits(0o4750) };
    scene.owned("/opt/shop/run", "#!/bin/sh\n", shop, &[]);
    scene.directory("/etc/app", false, &[]);
    scene.file("/etc/app/conf", "x");
    scene.declare("/etc/app/current", Spec::Link { target: "conf".into() });
    scene.declare("/etc/app/gone", Spec::Absent);
    scene.declare(
        "/etc/app/touched",
        Spec::File { content: None, ownership: root_owned(0o600), check: vec![] },
    );
    scene.converge();
    let meta = std::fs::metadata(scene.path("/opt/shop/run")).unwrap();
    assert_eq!((meta.uid(), meta.gid(), meta.permissions().mode() & 0o7777), (2001, 2002, 0o4750));
    assert_eq!(scene.mode("/opt/shop"), 0o755);
    assert_eq!(std::fs::read_link(scene.path("/etc/app/current")).unwrap(), Path::new("conf"));
    assert_eq!((scene.read("/etc/app/touched").as_str(), scene.mode("/etc/app/touched")), ("", 0o600));
    assert_eq!(scene.keep.list().unwrap(), []);
}

#[test]
fn many_files_are_laid_down_in_one_batch() {
    let mut scene = Scene::new();
    for number in 0..300 {
        scene.file(&format!("/etc/many/{}/{number}", number % 7), &number.to_string());
    }
    std::fs::create_dir_all(scene.path("/etc/many/3")).unwrap();
    for number in (0..300).filter(|number| number % 7 == 3) {
        std::fs::write(scene.path(&format!("/etc/many/3/{number}")), "by hand").unwrap();
    }
    assert_eq!(scene.converge().len(), 300);
    assert_eq!(scene.keep.list().unwrap().len(), 43);
    assert_eq!(scene.keep.recover(&scene.host.root).unwrap(), []);
    assert_eq!(scene.read("/etc/many/5/299"), "299");
}

#[test]
fn an_owner_that_does_not_exist_yet_is_waited_for() {
    let mut scene = Scene::new();
    let redis = Ownership { owner: "redis".into(), group: "www".into(), mode: Mode::from_bits(0o640) };
    scene.owned("/etc/redis.conf", "x", redis, &[]);
    let differences = scene.look();
    assert_eq!(differences[0].waiting.as_deref(), Some("user redis, which does not exist yet"));
    assert!(!scene.path("/etc").exists());
    scene.host.accounts = Arc::new(ListedAccounts::new(&[("redis", 2005)], &[("www", 2002)]));
    scene.converge();
    assert_eq!(std::fs::metadata(scene.path("/etc/redis.conf")).unwrap().uid(), 2005);
    // The name went away again: what is there is not touched, and what is missing is said.
    scene.host.accounts = Arc::new(ListedAccounts::new(&[], &[]));
    assert!(scene.look()[0].waiting.is_some());
}

#[test]
fn what_a_crash_left_staged_is_swept_by_the_next_change_in_that_folder() {
    let mut scene = scene_with_conf();
    std::fs::write(scene.path("/etc/app/.agentd.conf.12345678"), "half").unwrap();
    std::fs::write(scene.path("/etc/app/conf"), "by hand").unwrap();
    scene.files = Files::new();
    scene.converge();
    assert_eq!(scene.names("/etc/app"), ["conf"]);
}

#[test]
fn what_cannot_be_read_is_unknown_and_left_alone() {
    let mut scene = Scene::new();
    std::fs::create_dir_all(scene.path("/srv/theirs")).unwrap();
    std::os::unix::fs::chown(scene.path("/srv/theirs"), Some(2001), None).unwrap();
    symlink("/etc", scene.path("/srv/theirs/link")).unwrap();
    scene.file("/srv/theirs/link/conf", "x");
    let observed = scene.observe();
    let reading = &observed.readings["/srv/theirs/link/conf"];
    let Reading::Unknown(why) = reading else { panic!("{reading:?}") };
    assert!(why.contains("someone other than root"), "{why}");
    assert_eq!(scene.look(), []);
}

#[test]
fn observing_never_writes() {
    let mut scene = scene_with_conf();
    scene.directory("/etc/app", true, &[]);
    std::fs::write(scene.path("/etc/app/extra"), "").unwrap();
    std::fs::write(scene.path("/etc/app/.agentd.conf.12345678"), "").unwrap();
    let names = scene.names("/etc/app");
    assert_eq!(scene.fields(), ["/etc/app/extra ensure"]);
    assert_eq!(scene.names("/etc/app"), names);
}
