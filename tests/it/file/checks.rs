//! Checks: a content that is refused is never in force for longer than its check takes.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use agentd::keep::Recovered;
use agentd::model::ResourceId;

use super::{scene_with_conf, text};

#[test]
fn a_check_of_the_staged_file_decides_before_it_is_live() {
    let mut scene = scene_with_conf();
    scene.checked("/etc/app/conf", "bad\n", &["/bin/grep", "-q", "good", "{new}"]);
    let message = scene.failure();
    assert!(
        message.contains("/etc/app/conf was left as it was") && message.contains("/bin/grep"),
        "{message}"
    );
    assert_eq!(scene.read("/etc/app/conf"), "declared\n");
    assert_eq!(scene.names("/etc/app"), ["conf"]);
    scene.checked("/etc/app/conf", "good\n", &["/bin/grep", "-q", "good", "{new}"]);
    scene.converge();
    assert_eq!(scene.read("/etc/app/conf"), "good\n");
    assert_eq!(scene.keep.list().unwrap().len(), 1);
}

#[test]
fn a_check_in_place_sees_the_new_content_and_puts_the_old_back_if_it_refuses() {
    let mut scene = scene_with_conf();
    let path = scene.path("/etc/app/conf");
    let before = std::fs::metadata(&path).unwrap().ino();
    scene.checked("/etc/app/conf", "bad\n", &["/bin/grep", "-q", "good", text(&path)]);
    let message = scene.failure();
    assert!(message.contains("put back as it was"), "{message}");
    assert_eq!(scene.read("/etc/app/conf"), "declared\n");
    assert_eq!(std::fs::metadata(&path).unwrap().ino(), before);
    assert_eq!(scene.names("/etc/app"), ["conf"]);
    assert_eq!(scene.keep.list().unwrap(), []);
    scene.checked("/etc/app/conf", "good\n", &["/bin/grep", "-q", "good", text(&path)]);
    scene.converge();
    assert_eq!(scene.read("/etc/app/conf"), "good\n");

    let fresh = scene.path("/etc/app/fresh");
    scene.checked("/etc/app/fresh", "bad\n", &["/bin/grep", "-q", "good", text(&fresh)]);
    scene.failure();
    assert!(!fresh.exists());
}

#[test]
fn a_check_that_cannot_be_run_leaves_the_file_alone() {
    let mut scene = scene_with_conf();
    scene.checked("/etc/app/conf", "new\n", &["/no/such/program", "{new}"]);
    let message = scene.failure();
    assert!(message.contains("/no/such/program"), "{message}");
    assert_eq!(scene.read("/etc/app/conf"), "declared\n");
}

#[test]
fn a_trial_that_a_crash_cut_short_is_undone_before_the_next_pass() {
    let mut scene = scene_with_conf();
    // As after a crash: exchanged in, never judged. (The crash itself is in `file_crash`.)
    let resource: ResourceId = "file:/etc/app/conf".parse().unwrap();
    let now = scene.host.clock.now();
    let occasion = agentd::keep::Occasion { resource: &resource, why: "", now };
    let (folder, name) = scene.host.root.parent(Path::new("/etc/app/conf")).unwrap();
    let attributes = agentd::host::files::Attributes::root(0o644);
    let staged = folder.stage_file(name, b"bad\n", attributes, &Default::default()).unwrap();
    let pending = scene
        .keep
        .replacing(
            occasion,
            "/etc/app/conf",
            staged,
            None,
            agentd::keep::Purpose::Trial,
            agentd::keep::Durable::Each,
        )
        .unwrap();
    pending.commit().unwrap();
    assert_eq!(scene.read("/etc/app/conf"), "bad\n");
    let recovered = scene.keep.recover(&scene.host.root).unwrap();
    assert!(matches!(recovered.as_slice(), [Recovered::Undone { .. }]), "{recovered:?}");
    assert_eq!(scene.read("/etc/app/conf"), "declared\n");
    assert_eq!(scene.look(), []);
}
