//! What does not stay as the agent made it is told apart from drift, and is not tried over and over.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use agentd::model::{ResourceStatus, Verdict};
use agentd::reconcile::gate::Patience;
use agentd::reconcile::report::Seen;
use agentd::record::Settlement;

use crate::contest::Scene;

/// As a file system does that knows no such modes and does not say so.
fn the_mode_does_not_stay(top: &Path) {
    set_mode(&top.join("etc/motd"));
}

fn set_mode(file: &Path) {
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// A host on which the mode of the file has just changed, and does not stay when it is put right.
fn scene() -> Scene {
    let mut scene = Scene::new();
    scene.meanwhile = the_mode_does_not_stay;
    set_mode(&scene.path());
    scene
}

/// A pass each second, or every so many: in which of them something was tried, and what each found.
fn passes(scene: &mut Scene, seconds: u64, step: u64) -> (Vec<u64>, Vec<Seen>) {
    let (mut tried, mut all) = (Vec::new(), Vec::new());
    for second in (0..seconds).step_by(step as usize) {
        let seen = scene.pass().unwrap();
        tried.extend(seen.tried.then_some(second));
        all.push(seen);
        scene.wait(step);
    }
    (tried, all)
}

/// How often it was tried, as the history has it, and what came of the tries.
fn in_the_history(scene: &Scene) -> Vec<Settlement> {
    let drifts = scene.drifts().into_iter().filter(|drift| drift.verdict != Verdict::Behind);
    drifts.flat_map(|drift| drift.attempts).filter_map(|attempt| attempt.result).collect()
}

/// Tried thrice, it is left alone.
fn rested() -> Scene {
    let mut scene = scene();
    let (tried, _) = passes(&mut scene, 30, 1);
    assert_eq!(tried, [0, 2, 8]);
    scene
}

#[test]
fn what_does_not_stay_is_tried_thrice_and_then_once_an_hour() {
    let mut scene = scene();
    let (tried, all) = passes(&mut scene, 60, 1);
    assert_eq!(tried, [0, 2, 8], "2 and 6 seconds apart");
    for seen in &all {
        assert_eq!((seen.status, seen.verdict), (ResourceStatus::NotConverging, Verdict::NotConverging));
        assert!(!seen.contested, "nobody fights: {seen:?}");
    }
    let message = all.last().unwrap().message.clone().unwrap();
    assert!(message.contains("did not stay") && message.contains("agentctl sync"), "{message}");
    assert_eq!(in_the_history(&scene), [const { Settlement::NotConverging }; 3]);
    assert_eq!(scene.drifts().len(), 2, "what was brought, and this");

    let (tried, all) = passes(&mut scene, 7200, 12);
    assert_eq!(tried, [3552, 7152], "an hour after the third, and an hour after that");
    assert!(all.iter().all(|seen| seen.status == ResourceStatus::NotConverging));
    assert_eq!(in_the_history(&scene), [const { Settlement::NotConverging }; 5]);
    assert_eq!(scene.drifts().len(), 2, "one drift, however many passes see it");
}

#[test]
fn a_person_has_it_tried_at_once() {
    let mut scene = rested();
    let seen = scene.pass_with(Patience::Impatient).unwrap();
    assert!(seen.tried && seen.status == ResourceStatus::NotConverging, "{seen:?}");
    assert_eq!(in_the_history(&scene).len(), 4);
    let (tried, _) = passes(&mut scene, 600, 10);
    assert_eq!(tried, [0; 0], "and left alone again");
}

#[test]
fn a_restart_of_the_agent_does_not_begin_it_anew() {
    let mut scene = rested();
    scene.restart();
    let (tried, all) = passes(&mut scene, 600, 10);
    assert_eq!(tried, [0; 0]);
    assert!(all.iter().all(|seen| seen.status == ResourceStatus::NotConverging), "{all:?}");
}

#[test]
fn another_difference_is_drift_and_tried_at_once() {
    let mut scene = rested();
    scene.tamper();
    let seen = scene.pass().unwrap();
    assert!(seen.tried, "{seen:?}");
    assert!(scene.is_right(), "the content is put right, whatever becomes of the mode");
    assert_eq!(scene.drifts().remove(0).verdict, Verdict::Drifted, "the host moved");
    assert_eq!(seen.status, ResourceStatus::NotConverging, "the mode did not stay this time either");
    let (tried, _) = passes(&mut scene, 600, 10);
    assert_eq!(tried, [0; 0], "and is left alone again");
}

#[test]
fn found_right_it_is_a_drift_like_any_other_the_next_time() {
    let mut scene = rested();
    std::fs::set_permissions(scene.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(scene.pass(), None);
    scene.meanwhile = |_| {};
    set_mode(&scene.path());
    let seen = scene.pass().unwrap();
    assert_eq!((seen.status, seen.verdict), (ResourceStatus::Corrected, Verdict::Drifted));
}

#[test]
fn what_stayed_in_the_end_has_three_attempts_again() {
    let mut scene = rested();
    scene.meanwhile = |_| {};
    assert_eq!(scene.pass_with(Patience::Impatient).unwrap().status, ResourceStatus::Corrected);
    scene.wait(600);
    scene.meanwhile = the_mode_does_not_stay;
    set_mode(&scene.path());
    let (tried, _) = passes(&mut scene, 60, 1);
    assert_eq!(tried, [0, 2, 8]);
}
