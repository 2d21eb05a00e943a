//! Restarts of a service are limited apart from the corrections of the files that it is restarted for.

use std::time::Duration;

use agentd::host::clock::Clock;
use agentd::host::units::{UnitAction, UnitFileAction, UnitName, Units};
use agentd::kind::service::{Spec, Wish};
use agentd::kind::{Declared, Desired};
use agentd::model::{Key, Place, Provenance, ResourceStatus, Verdict};
use agentd::reconcile::PassReport;
use agentd::reconcile::gate::Patience;

use crate::contest::Scene;

const FILES: [&str; 3] = ["/etc/shop-1", "/etc/shop-2", "/etc/shop-3"];
const UNIT: &str = "shop.service";
const RESTART: &str = "restart shop.service";

/// A running service that is restarted when one of three files changes.
fn scene() -> Scene {
    let mut scene = Scene::new();
    let unit: UnitName = UNIT.parse().unwrap();
    scene
        .units
        .lay(&unit, "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n");
    scene.units.change_files(UnitFileAction::Enable, std::slice::from_ref(&unit)).unwrap();
    scene.units.act(UnitAction::Start, &unit).unwrap();
    let mut desired = Desired::default();
    for file in FILES {
        scene.add_file(&mut desired, file, "declared\n");
    }
    let restart_on = FILES.map(|file| format!("file:{file}").parse().unwrap()).to_vec();
    let spec = Spec { enabled: Some(true), state: Some(Wish::Running), restart_on, ..Spec::default() };
    let provenance = Provenance { winner: Place::file("roles/web.toml"), below: Vec::new() };
    desired.service.insert(Key::from(UNIT), Declared { spec, provenance, drift: None, prune: false });
    scene.adopt(desired);
    scene.report(Patience::Patient);
    scene.wait(3600);
    assert_eq!(scene.report(Patience::Patient).findings, [], "all is as declared");
    scene
}

fn restarts(scene: &Scene) -> usize {
    scene.units.log().iter().filter(|line| *line == RESTART).count()
}

fn status(report: &PassReport, resource: &str) -> Option<ResourceStatus> {
    let seen = report.findings.iter().find(|seen| seen.resource.to_string() == resource)?;
    Some(seen.status)
}

/// Somebody edits one of the files, ten seconds after the last time, and a pass follows. True if the file was put right in it.
fn edit(scene: &mut Scene, file: &str) -> (bool, PassReport) {
    scene.wait(10);
    // By then systemd's own limit on starts has forgotten the last one; time stands still in the fake.
    scene.units.act(UnitAction::ResetFailed, &UNIT.parse().unwrap()).unwrap();
    let path = scene.top.path().join(&file[1..]);
    std::fs::write(&path, "foreign\n").unwrap();
    let report = scene.report(Patience::Patient);
    let is_right = std::fs::read_to_string(&path).unwrap() == "declared\n";
    assert_eq!(status(&report, &format!("file:{file}")) == Some(ResourceStatus::Corrected), is_right);
    (is_right, report)
}

#[test]
fn every_file_is_put_right_at_once_and_the_sixth_restart_is_owed_until_the_first_is_ten_minutes_old() {
    let mut scene = scene();
    let before = restarts(&scene);
    let first = scene.clock.since_boot() + Duration::from_secs(10);
    let (mut made_at, mut last) = (Vec::new(), None);
    // One after the other, so that none of them has to wait for its own sake.
    for round in 0..12_usize {
        let count = restarts(&scene);
        let (is_right, report) = edit(&mut scene, FILES[round % FILES.len()]);
        assert!(is_right, "round {round}: {report:?}");
        if restarts(&scene) > count {
            made_at.push(round);
        }
        last = Some(report);
    }
    assert_eq!(made_at, [0, 1, 2, 3, 4]);
    assert_eq!(restarts(&scene) - before, 5, "one each");
    let last = last.unwrap();
    let service = last.findings.iter().find(|seen| seen.resource.to_string() == "service:shop.service");
    let service = service.unwrap();
    assert_eq!((service.status, service.verdict), (ResourceStatus::Behind, Verdict::Behind));
    assert!(service.message.as_ref().unwrap().contains("too often lately"), "{service:?}");
    assert!(!service.tried);

    // However often a pass looks, what is owed is made once, when the first leaves the window.
    let mut made_at = Vec::new();
    for _ in 0..1200 {
        let count = restarts(&scene);
        scene.report(Patience::Patient);
        if restarts(&scene) > count {
            made_at.push((scene.clock.since_boot() - first).as_secs());
        }
        scene.wait(1);
    }
    assert_eq!(made_at, [600], "seven edits are one restart");
    assert_eq!(scene.report(Patience::Patient).findings, []);
}

#[test]
fn a_restart_of_the_agent_forgets_neither_the_limit_nor_what_is_owed() {
    let mut scene = scene();
    let before = restarts(&scene);
    for round in 0..6_usize {
        edit(&mut scene, FILES[round % FILES.len()]);
    }
    assert_eq!(restarts(&scene) - before, 5);
    scene.restart();
    scene.wait(500);
    scene.report(Patience::Patient);
    assert_eq!(restarts(&scene) - before, 5, "still owed, and not yet due");
    scene.wait(60);
    scene.report(Patience::Patient);
    assert_eq!(restarts(&scene) - before, 6);
}

#[test]
fn a_person_has_what_is_owed_made_at_once() {
    let mut scene = scene();
    let before = restarts(&scene);
    for round in 0..6_usize {
        edit(&mut scene, FILES[round % FILES.len()]);
    }
    assert_eq!(restarts(&scene) - before, 5);
    scene.report(Patience::Impatient);
    assert_eq!(restarts(&scene) - before, 6);
}
