//! What is removed: undeclared things in exclusive directories, and what was brought and is declared no more.

use std::os::unix::fs::symlink;

use agentd::model::Key;

use super::Scene;

#[test]
fn what_is_not_declared_in_an_exclusive_directory_is_removed_and_kept() {
    let mut scene = Scene::new();
    scene.directory("/etc/app", true, &["*.local", "sub/keep*"]);
    scene.file("/etc/app/conf", "x");
    scene.file("/etc/app/sub/deep/conf", "x");
    scene.converge();
    for name in ["extra", "x.local", "sub/extra", "sub/keep-me", "sub/deep/y.local", "new.dpkg-new"] {
        std::fs::write(scene.path(&format!("/etc/app/{name}")), name).unwrap();
    }
    std::fs::create_dir_all(scene.path("/etc/app/tree/er")).unwrap();
    std::fs::write(scene.path("/etc/app/tree/er/x"), "deep").unwrap();
    symlink("/canary", scene.path("/etc/app/link")).unwrap();
    let lines = scene.converge();
    assert_eq!(
        lines,
        [
            "remove the directory /etc/app/tree with everything in it",
            "remove /etc/app/sub/extra (a regular file)",
            "remove /etc/app/link (a symbolic link)",
            "remove /etc/app/extra (a regular file)",
        ]
    );
    assert_eq!(scene.names("/etc/app"), ["conf", "new.dpkg-new", "sub", "x.local"]);
    assert_eq!(scene.names("/etc/app/sub"), ["deep", "keep-me"]);
    assert_eq!(scene.kept_text("/etc/app/extra"), "extra");
    scene.kept("/etc/app/tree");
}

#[test]
fn an_undeclared_directory_keeps_what_lies_in_it() {
    let mut scene = Scene::new();
    scene.directory("/etc/app", false, &[]);
    scene.converge();
    std::fs::write(scene.path("/etc/app/extra"), "").unwrap();
    assert_eq!(scene.look(), []);
}

#[test]
fn what_was_brought_is_pruned_and_a_folder_with_other_things_in_it_waits() {
    let mut scene = Scene::new();
    scene.directory("/opt/app", false, &[]);
    scene.file("/opt/app/conf", "x");
    scene.converge();
    std::fs::write(scene.path("/opt/app/theirs"), "").unwrap();
    let keys: Vec<Key> = scene.specs.keys().cloned().collect();
    scene.specs.clear();
    scene.prune = keys.into_iter().collect();
    let waiting: Vec<Option<String>> =
        scene.look().into_iter().map(|difference| difference.waiting).collect();
    assert_eq!(waiting.len(), 2);
    assert!(waiting[1].as_ref().is_some_and(|why| why.contains("theirs")), "{waiting:?}");
    scene.pass();
    assert_eq!(scene.names("/opt/app"), ["theirs"]);
    std::fs::remove_file(scene.path("/opt/app/theirs")).unwrap();
    scene.converge();
    assert!(scene.names("/opt").is_empty());
}
