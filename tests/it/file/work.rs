//! What looking and mending cost, in files opened and written.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentd::host::clock::FakeClock;
use agentd::host::counters::{COUNTERS, Counts};
use agentd::kind::file::Files;

use super::{Scene, run, scene_with_conf, text};

/// Runs a test alone in a process of its own: the counters are the whole process's.
fn alone(test: &str, body: impl FnOnce()) {
    if std::env::var_os("AGENTD_TEST_ALONE").is_some() {
        return body();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--test-threads=1", "--nocapture"])
        .env("AGENTD_TEST_ALONE", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "no such test: {said}");
}

fn counted<T>(act: impl FnOnce() -> T) -> (T, Counts) {
    let before = COUNTERS.read();
    let result = act();
    (result, COUNTERS.read().since(before))
}

/// Looks until every file rests: what was written in this very tick of the clock is read once more.
fn settle(scene: &mut Scene) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while counted(|| scene.look()).1.files_opened > 0 {
        assert!(Instant::now() < deadline, "the files never come to rest");
    }
}

#[test]
fn a_quiet_pass_opens_no_file_and_starts_no_process() {
    alone("file::work::a_quiet_pass_opens_no_file_and_starts_no_process", || {
        let mut scene = Scene::new();
        scene.directory("/etc/app", true, &[]);
        for number in 0..200 {
            scene.file(&format!("/etc/app/{number}"), &number.to_string());
        }
        scene.converge();
        settle(&mut scene);
        let (differences, counts) = counted(|| scene.look());
        assert_eq!(differences, []);
        assert_eq!(counts, Counts::default());
    });
}

#[test]
fn the_first_look_of_a_process_reads_each_content_once_and_sees_what_any_look_sees() {
    alone(
        "file::work::the_first_look_of_a_process_reads_each_content_once_and_sees_what_any_look_sees",
        || {
            let mut scene = Scene::new();
            for number in 0..400 {
                scene.file(&format!("/etc/app/{}/{number}", number % 9), &number.to_string());
            }
            scene.converge();
            settle(&mut scene);
            std::fs::write(scene.path("/etc/app/5/5"), "by hand").unwrap();
            std::fs::remove_file(scene.path("/etc/app/6/6")).unwrap();
            std::fs::remove_file(scene.path("/etc/app/7/7")).unwrap();
            std::os::unix::fs::symlink("/etc/app/8/8", scene.path("/etc/app/7/7")).unwrap();
            std::fs::remove_dir_all(scene.path("/etc/app/1")).unwrap();
            let any = scene.look();
            settle(&mut scene);
            scene.files = Files::new();
            let (first, counts) = counted(|| scene.look());
            assert_eq!(first, any);
            assert!(any.len() > 3, "{any:?}");
            let there = (0..400).filter(|number| number % 9 != 1).count() as u64 - 2;
            assert_eq!(counts, Counts { files_opened: there, ..Counts::default() });
        },
    );
}

#[test]
fn one_changed_file_among_many_costs_one_read_to_see_and_one_write_to_mend() {
    alone("file::work::one_changed_file_among_many_costs_one_read_to_see_and_one_write_to_mend", || {
        let mut scene = Scene::new();
        for number in 0..200 {
            scene.file(&format!("/etc/app/{number}"), &number.to_string());
        }
        scene.converge();
        settle(&mut scene);
        std::fs::write(scene.path("/etc/app/77"), "by hand").unwrap();
        let (differences, counts) = counted(|| scene.look());
        assert_eq!(differences.len(), 1);
        assert_eq!(counts, Counts { files_opened: 1, ..Counts::default() });
        settle(&mut scene);
        let (_, counts) = counted(|| scene.pass());
        // The file, and the note about what was kept of the old one.
        assert_eq!(counts, Counts { files_written: 2, ..Counts::default() });
        let (differences, counts) = counted(|| scene.look());
        assert_eq!(differences, []);
        assert_eq!(counts.files_opened, 1, "what was written is read back");
    });
}

#[test]
fn a_touched_file_is_read_once_and_then_known_again() {
    alone("file::work::a_touched_file_is_read_once_and_then_known_again", || {
        let mut scene = scene_with_conf();
        settle(&mut scene);
        run("/usr/bin/touch", &[text(&scene.path("/etc/app/conf"))]);
        let (differences, counts) = counted(|| scene.look());
        assert_eq!(differences, []);
        assert_eq!(counts.files_opened, 1);
        settle(&mut scene);
    });
}

#[test]
fn every_file_is_read_again_once_in_a_while_and_few_at_once() {
    alone("file::work::every_file_is_read_again_once_in_a_while_and_few_at_once", || {
        let mut scene = Scene::new();
        for number in 0..40 {
            scene.file(&format!("/etc/app/{number}"), &number.to_string());
        }
        scene.converge();
        settle(&mut scene);
        let clock = Arc::new(FakeClock::at(scene.host.clock.now()));
        scene.host.clock = Arc::clone(&clock) as Arc<dyn agentd::host::clock::Clock>;
        // Known under the fake clock from here on.
        scene.files = Files::new();
        settle(&mut scene);
        clock.advance(Duration::from_secs(6 * 24 * 3600));
        assert_eq!(counted(|| scene.look()).1.files_opened, 0, "nothing is due within a week");
        clock.advance(Duration::from_secs(9 * 24 * 3600));
        let opened: Vec<u64> = (0..4).map(|_| counted(|| scene.look()).1.files_opened).collect();
        assert_eq!(opened, [16, 16, 8, 0]);
    });
}
