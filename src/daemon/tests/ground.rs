//! What the agent stands on: a full disk at the start, and folders of its own that somebody takes away.

use super::trouble::{fill, fill_with_files, on_a_small_disk};
use super::*;
use crate::model::vocabulary::{Health, Sync};
use crate::source::Fault;

fn notes(site: &Site, text: &str) -> bool {
    site.status().notes.iter().any(|note| note.contains(text))
}

#[test]
fn a_start_on_a_full_disk_looks_at_the_host_says_so_and_goes_on_by_itself_once_there_is_room() {
    // Threads share a namespace with whoever starts them: all of this is one thread's business.
    std::thread::spawn(|| {
        const EXTRA: &str = "/srv/agentd-test/extra";
        let mut site = Site::new();
        on_a_small_disk(&site);
        site.forge.prune();
        site.forge.push("main", 'a', &[(MOTD, "a"), (EXTRA, "a")]);
        site.start();
        site.shows(MOTD, "a");
        site.shows(EXTRA, "a");
        site.sync();
        site.stop().unwrap();
        let filler = fill(&site);
        site.forge.cut_off(Fault::Unreachable);
        std::fs::write(site.file(MOTD), "vandal").unwrap();
        site.start();
        until("it has looked", || matches!(site.status().sync, Sync::OutOfSync(_)));
        let status = site.status();
        assert_eq!((status.health, site.in_force()), (Health::Degraded, Some('a')));
        assert_eq!(status.resources.len(), 1, "{:?}", status.resources);
        assert!(notes(&site, "nothing on it is changed"), "{:?}", status.notes);
        assert!(notes(&site, "free space"), "why: {:?}", status.notes);
        assert_eq!(std::fs::read_to_string(site.file(MOTD)).unwrap(), "vandal");
        std::fs::remove_file(filler).unwrap();
        // Nobody asks for it.
        site.shows(MOTD, "a");
        until("that is over", || !notes(&site, "nothing on it is changed"));
        until("all is well", || {
            let status = site.status();
            (status.sync, status.health) == (Sync::Synced, Health::Healthy)
        });
        // It is the record of before: what the agent brought is known, and goes when it is dropped.
        site.forge.plug_in();
        site.forge.push("main", 'b', &[(MOTD, "b")]);
        site.shows(MOTD, "b");
        until("what it brought is gone", || !site.file(EXTRA).exists());
    })
    .join()
    .unwrap();
}

#[test]
fn a_start_on_a_full_disk_without_folders_of_its_own_looks_at_the_host_says_so_and_goes_on_once_there_is_room()
 {
    std::thread::spawn(|| {
        for gone in [&["contents"][..], &["kept"], &["kept", "contents"], &["kept", "contents", "record"]] {
            let mut site = Site::new();
            on_a_small_disk(&site);
            site.forge.push("main", 'a', &[(MOTD, "a")]);
            site.start();
            site.shows(MOTD, "a");
            site.sync();
            site.stop().unwrap();
            for folder in gone {
                std::fs::remove_dir_all(site.path("state").join(folder)).unwrap();
            }
            let fillers = [fill_with_files(&site), fill(&site)];
            site.forge.cut_off(Fault::Unreachable);
            std::fs::write(site.file(MOTD), "vandal").unwrap();
            site.start();
            until("it has looked", || matches!(site.status().sync, Sync::OutOfSync(_)));
            let status = site.status();
            assert_eq!((status.health, site.in_force()), (Health::Degraded, Some('a')), "{gone:?}");
            assert_eq!(status.resources.len(), 1, "{gone:?}: {:?}", status.resources);
            assert!(notes(&site, "nothing on it is changed"), "{gone:?}: {:?}", status.notes);
            assert!(notes(&site, "space"), "{gone:?}: why: {:?}", status.notes);
            site.sync();
            assert_eq!(std::fs::read_to_string(site.file(MOTD)).unwrap(), "vandal", "{gone:?}");
            for filler in fillers {
                match filler.is_dir() {
                    true => std::fs::remove_dir_all(filler).unwrap(),
                    false => std::fs::remove_file(filler).unwrap(),
                }
            }
            site.forge.plug_in();
            // Nobody asks for it.
            site.shows(MOTD, "a");
            until("all is well", || {
                let status = site.status();
                (status.sync, status.health) == (Sync::Synced, Health::Healthy)
            });
            assert!(!notes(&site, "nothing on it is changed") && !notes(&site, "can't be made anew"));
            let kept = || std::fs::read_dir(site.path("state/kept")).unwrap().count();
            assert!(kept() > 0, "{gone:?}: what the vandal wrote is kept");
            site.stop().unwrap();
        }
    })
    .join()
    .unwrap();
}

#[test]
fn a_disk_that_fills_up_meanwhile_is_said_and_what_differs_is_put_right_once_there_is_room() {
    std::thread::spawn(|| {
        let mut site = Site::new();
        on_a_small_disk(&site);
        site.forge.push("main", 'a', &[(MOTD, "a")]);
        site.start();
        site.shows(MOTD, "a");
        site.sync();
        let filler = fill(&site);
        std::fs::write(site.file(MOTD), "vandal").unwrap();
        site.sync();
        assert!(notes(&site, "nothing on it is changed"), "{:?}", site.status().notes);
        assert_eq!(site.status().health, Health::Degraded);
        std::fs::remove_file(filler).unwrap();
        site.shows(MOTD, "a");
        until("that is over", || !notes(&site, "nothing on it is changed"));
    })
    .join()
    .unwrap();
}

#[test]
fn what_somebody_takes_away_of_the_state_folder_is_made_anew_while_the_agent_runs() {
    for what in ["kept", "contents", "record", "record/record.db", "applied.json", ""] {
        let mut site = Site::following(&[(MOTD, "a")]);
        site.sync();
        let there = site.path("state").join(what);
        match there.is_dir() {
            true => std::fs::remove_dir_all(&there).unwrap(),
            false => std::fs::remove_file(&there).unwrap(),
        }
        std::fs::write(site.file(MOTD), "vandal").unwrap();
        site.sync();
        site.shows(MOTD, "a");
        assert!(there.exists(), "{what}");
        assert_eq!(
            notes(&site, "the record was removed"),
            ["record", "record/record.db", ""].contains(&what),
            "{what}"
        );
        until("all is well", || {
            let status = site.status();
            (status.sync, status.health) == (Sync::Synced, Health::Healthy)
        });
        // And all of it is of use to the next start, and to a person.
        site.forge.cut_off(Fault::Unreachable);
        site.stop().unwrap();
        std::fs::write(site.file(MOTD), "vandal again").unwrap();
        site.start();
        site.shows(MOTD, "a");
        assert_eq!(site.in_force(), Some('a'), "{what}");
        let kept = || std::fs::read_dir(site.path("state/kept")).unwrap().count();
        until("what was there is kept", || kept() > 0);
    }
}
