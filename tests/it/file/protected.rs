//! What a person keeps for themselves by the settings: not reached by any way, and not taken away.

use std::os::unix::fs::symlink;

use agentd::kind::file::Spec;
use agentd::kind::{Kind, Reading};
use agentd::model::{Key, OutcomeResult};

use super::Scene;

/// A host whose settings protect `/etc/ssh`, with a person's file in it.
fn scene_with_protected() -> Scene {
    let scene = Scene::new();
    std::fs::create_dir_all(scene.path("/etc/ssh")).unwrap();
    std::fs::write(scene.path("/etc/ssh/sshd_config"), "a person's\n").unwrap();
    scene.host.root.protect(vec!["/etc/ssh".into()]);
    scene
}

#[test]
fn a_link_of_an_earlier_revision_leads_nobody_to_what_is_protected() {
    let mut scene = scene_with_protected();
    scene.declare("/srv/conf", Spec::Link { target: "/etc/ssh".into() });
    scene.converge();
    scene.specs.clear();
    scene.file("/srv/conf/sshd_config", "the repository's\n");
    let faults = scene.files.rehearse(&scene.host, &scene.specs);
    assert_eq!(faults.len(), 1);
    assert!(faults[0].message.contains("leads to /etc/ssh/sshd_config"), "{:?}", faults[0]);
    // Were it in force all the same: nothing is known of it, so nothing is done to it.
    let observed = scene.observe();
    assert!(matches!(&observed.readings[&Key::from("/srv/conf/sshd_config")], Reading::Unknown(_)));
    assert_eq!(scene.pass(), []);
    assert_eq!(scene.read("/etc/ssh/sshd_config"), "a person's\n");
    assert_eq!(scene.names("/etc/ssh"), ["sshd_config"]);
    // Nor to what no declaration may touch on any host.
    let mut scene = scene_with_protected();
    std::fs::create_dir_all(scene.path("/etc/agentd")).unwrap();
    symlink("/etc", scene.path("/all")).unwrap();
    scene.file("/all/agentd/agent.toml", "mode = 'enabled'\n");
    scene.directory("/all/agentd/agent.toml.d", true, &[]);
    assert_eq!(scene.files.rehearse(&scene.host, &scene.specs).len(), 2);
    assert_eq!(scene.pass(), []);
    assert!(scene.names("/etc/agentd").is_empty());
}

#[test]
fn a_link_laid_in_the_same_pass_leads_nobody_to_what_is_protected_either() {
    let mut scene = scene_with_protected();
    std::fs::create_dir_all(scene.path("/mnt/data")).unwrap();
    symlink("/mnt/data", scene.path("/data")).unwrap();
    scene.declare("/mnt/data/x", Spec::Link { target: "/etc/ssh".into() });
    scene.file("/data/x/sshd_config", "the repository's\n");
    scene.file("/data/y", "harmless\n");
    let results = scene.pass();
    let failed: Vec<_> = results.iter().filter(|(_, result)| *result != OutcomeResult::Done).collect();
    assert!(
        matches!(&failed[..], [(line, OutcomeResult::Failed { message })]
        if line.contains("/data/x/sshd_config") && message.contains("protected")),
        "{results:?}"
    );
    assert_eq!(scene.read("/etc/ssh/sshd_config"), "a person's\n");
    assert_eq!(scene.read("/mnt/data/y"), "harmless\n");
}

#[test]
fn what_was_brought_and_protected_since_is_not_taken_away() {
    let mut scene = Scene::new();
    scene.directory("/etc/ssh", false, &[]);
    scene.file("/etc/ssh/banner", "x");
    scene.file("/etc/motd", "x");
    scene.converge();
    let keys: Vec<Key> = scene.specs.keys().cloned().collect();
    scene.specs.clear();
    scene.prune = keys.into_iter().collect();
    scene.host.root.protect(vec!["/etc/ssh".into()]);
    let planned = scene.look();
    let waiting = planned.iter().filter_map(|difference| difference.waiting.as_deref());
    let waiting: Vec<&str> = waiting.filter(|why| why.contains("by `protect` of its own settings")).collect();
    assert_eq!(waiting.len(), 2, "{waiting:?}");
    scene.pass();
    assert_eq!(scene.names("/etc"), ["ssh"]);
    assert_eq!(scene.names("/etc/ssh"), ["banner"]);
    scene.host.root.protect(Vec::new());
    scene.converge();
    assert!(scene.names("/etc").is_empty());
}
