//! Full disks, damaged files, lost contents.

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::*;
use crate::model::vocabulary::{Health, Sync};
use crate::source::{Care, Fault};

/// Gives the state a small disk of its own, which only this test's threads see.
pub(super) fn on_a_small_disk(site: &Site) {
    let nothing = None::<&str>;
    unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).expect("a mount namespace needs root");
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing).unwrap();
    mount(Some("none"), &site.path("state"), Some("tmpfs"), MsFlags::empty(), Some("size=4m,nr_inodes=300"))
        .unwrap();
}

/// Fills the disk to its last byte; gives the file to remove.
pub(super) fn fill(site: &Site) -> PathBuf {
    let path = site.path("state/filler");
    let file = std::fs::File::create(&path).unwrap();
    for size in [4096, 1] {
        while std::io::Write::write_all(&mut &file, &vec![b'x'; size]).is_ok() {}
    }
    path
}

/// Uses up every inode of the disk, so that no folder can be made; gives the folder to remove.
pub(super) fn fill_with_files(site: &Site) -> PathBuf {
    let path = site.path("state/fillers");
    std::fs::create_dir(&path).unwrap();
    let full = (0..10_000).any(|number| std::fs::File::create(path.join(number.to_string())).is_err());
    assert!(full, "the disk has an end");
    // One is left for the file that fills the rest.
    std::fs::remove_file(path.join("0")).unwrap();
    path
}

#[test]
fn a_full_disk_refuses_no_commit_and_the_commit_is_in_force_once_there_is_room() {
    // Threads share a namespace with whoever starts them: all of this is one thread's business.
    std::thread::spawn(|| {
        let mut site = Site::new();
        on_a_small_disk(&site);
        site.forge.push("main", 'a', &[(MOTD, "a")]);
        site.start();
        site.shows(MOTD, "a");
        let filler = fill(&site);
        let large = "b".repeat(64 << 10);
        site.forge.push("main", 'b', &[(MOTD, &large)]);
        until("it failed more than once", || {
            site.forge.compiles().iter().filter(|commit| **commit == 'b').count() > 2
        });
        let status = site.status();
        assert_eq!((status.rejected, site.in_force()), (None, Some('a')));
        assert!(status.source.failing_since.is_some() && status.source.error.is_some());
        std::fs::remove_file(filler).unwrap();
        site.shows(MOTD, &large);
        until("the trouble is over", || site.status().source.failing_since.is_none());
    })
    .join()
    .unwrap();
}

#[test]
fn a_state_that_cannot_be_written_is_tried_again_and_refuses_nothing() {
    let site = Site::following(&[(MOTD, "a")]);
    let (file, aside) = (site.path("state/applied.json"), site.path("aside.json"));
    std::fs::rename(&file, &aside).unwrap();
    std::fs::create_dir(&file).unwrap();
    site.forge.push("main", 'b', &[(MOTD, "b")]);
    until("it failed", || site.status().source.error.is_some_and(|error| error.contains("put in force")));
    assert_eq!((site.status().rejected, site.in_force()), (None, Some('a')));
    std::fs::remove_dir(&file).unwrap();
    site.shows(MOTD, "b");
}

#[test]
fn with_both_applied_files_damaged_nothing_is_removed_and_all_is_compiled_anew_also_offline() {
    let mut site = Site::following(&[(MOTD, "a"), ("/srv/agentd-test/issue", "a")]);
    site.forge.push("main", 'b', &[(MOTD, "b")]);
    site.shows(MOTD, "b");
    site.stop().unwrap();
    for name in ["applied.json", "applied.previous.json"] {
        std::fs::write(site.path("state").join(name), "agentd-applied 9 of a later version\n{}").unwrap();
    }
    std::fs::write(site.file(MOTD), "vandal").unwrap();
    site.forge.cut_off(Fault::Unreachable);
    site.start();
    site.shows(MOTD, "b");
    assert!(site.file("/srv/agentd-test/issue").exists());
    let status = site.status();
    assert!(status.notes.iter().any(|note| note.contains("applied.json.damaged")), "{:?}", status.notes);
    assert!(site.path("state/applied.json.damaged").exists());
    // And the next start is an ordinary one.
    site.restart();
    assert_eq!(site.in_force(), Some('b'));
}

#[test]
fn with_the_last_applied_file_damaged_the_one_before_holds_until_the_last_is_compiled_again() {
    let mut site = Site::following(&[(MOTD, "a")]);
    site.forge.push("main", 'b', &[(MOTD, "b")]);
    site.shows(MOTD, "b");
    site.stop().unwrap();
    std::fs::write(site.path("state/applied.json"), "").unwrap();
    site.forge.cut_off(Fault::Unreachable);
    site.start();
    site.is_at('b');
    site.shows(MOTD, "b");
}

#[test]
fn a_lost_or_damaged_content_is_compiled_again_without_another_commit() {
    let mut site = Site::following(&[(MOTD, "the right one")]);
    let contents = site.path("state/contents");
    let stored = || std::fs::read_dir(&contents).unwrap().map(|entry| entry.unwrap().path());
    for damage in ["the wrong one", ""] {
        stored().for_each(|path| match damage {
            "" => std::fs::remove_file(path).unwrap(),
            other => std::fs::write(path, other).unwrap(),
        });
        std::fs::remove_file(site.file(MOTD)).unwrap();
        // Also right after a restart.
        site.restart();
        site.shows(MOTD, "the right one");
    }
    assert_eq!(site.forge.compiles(), ['a', 'a', 'a']);
    until("all is well", || {
        let status = site.status();
        (status.sync, status.health) == (Sync::Synced, Health::Healthy)
    });
}

#[test]
fn the_contents_of_the_revision_before_are_kept_also_across_a_restart() {
    let mut site = Site::following(&[(MOTD, "a")]);
    site.forge.push("main", 'b', &[(MOTD, "b")]);
    site.shows(MOTD, "b");
    site.restart();
    site.forge.push("main", 'c', &[(MOTD, "c")]);
    site.shows(MOTD, "c");
    let stored = |text: &str| {
        let name = crate::model::Digest::of(text.as_bytes()).to_string();
        site.path("state/contents").join(name).exists()
    };
    assert_eq!(["a", "b", "c"].map(stored), [false, true, true]);
}

#[test]
fn a_fault_of_the_declaration_is_refused_once_and_looked_at_again_when_someone_asks() {
    let site = Site::following(&[(MOTD, "a")]);
    site.forge.refuse();
    site.forge.push("main", 'b', &[(MOTD, "b")]);
    until("it is refused", || site.status().rejected.is_some());
    let before = site.forge.fetches().len();
    until("it was asked on", || site.forge.fetches().len() > before + 3);
    assert_eq!(site.forge.compiles(), ['a', 'b']);
    site.sync();
    assert_eq!(site.forge.compiles(), ['a', 'b', 'b']);
    assert_eq!(site.in_force(), Some('a'));
}

#[test]
fn the_store_is_looked_at_closely_at_first_and_after_damage() {
    let site = Site::following(&[(MOTD, "a")]);
    until("it was asked often", || site.forge.fetches().len() > 3);
    assert_eq!(site.forge.fetches()[..3], [Care::Thorough, Care::Quick, Care::Quick]);
    site.forge.cut_off(Fault::Corrupt);
    until("it looks closely", || site.forge.fetches().last() == Some(&Care::Thorough));
}

/// The second file is to go with the commit that drops it, if the agent knows that it brought it.
#[test]
fn a_record_that_is_damaged_newer_or_gone_costs_no_file_and_no_declaration() {
    const EXTRA: &str = "/srv/agentd-test/extra";
    for harm in ["none", "damaged", "newer", "gone"] {
        let mut site = Site::new();
        site.forge.prune();
        site.forge.push("main", 'a', &[(MOTD, "a"), (EXTRA, "a")]);
        site.start();
        site.shows(MOTD, "a");
        site.shows(EXTRA, "a");
        site.sync();
        site.stop().unwrap();
        let database = site.path("state/record/record.db");
        match harm {
            "damaged" => std::fs::write(&database, vec![b'x'; 8192]).unwrap(),
            "newer" => {
                rusqlite::Connection::open(&database)
                    .unwrap()
                    .pragma_update(None, "user_version", 99)
                    .unwrap();
            }
            "gone" => std::fs::remove_dir_all(site.path("state/record")).unwrap(),
            _ => {}
        }
        std::fs::write(site.file(MOTD), "vandal").unwrap();
        site.forge.cut_off(Fault::Unreachable);
        site.start();
        // What was applied is in force, without the remote and without the record.
        site.shows(MOTD, "a");
        site.shows(EXTRA, "a");
        assert_eq!(site.in_force(), Some('a'), "{harm}");
        let begun_anew = site.status().notes.iter().any(|note| note.contains("begun anew"));
        assert_eq!(begun_anew, ["damaged", "newer"].contains(&harm), "{harm}: {:?}", site.status().notes);
        site.forge.plug_in();
        site.forge.push("main", 'b', &[(MOTD, "b")]);
        site.shows(MOTD, "b");
        site.sync();
        // Never "nothing is owned: remove everything", but not known to be ours any more, either.
        assert_eq!(site.file(EXTRA).exists(), harm != "none", "{harm}");
    }
}

#[test]
fn a_file_system_that_turns_read_only_is_told_once_and_tried_less_and_less() {
    std::thread::spawn(|| {
        let mut site = Site::new();
        let nothing = None::<&str>;
        unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).expect("a mount namespace needs root");
        mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing).unwrap();
        let host = site.path("host");
        mount(Some("none"), &host, Some("tmpfs"), MsFlags::empty(), Some("size=4m")).unwrap();
        let remount = |flags| mount(nothing, &host, nothing, MsFlags::MS_REMOUNT | flags, nothing).unwrap();
        site.forge.push("main", 'a', &[(MOTD, "a")]);
        site.start();
        site.shows(MOTD, "a");
        site.sync();
        std::fs::write(site.file(MOTD), "vandal").unwrap();
        remount(MsFlags::MS_RDONLY);
        let reply = site.sync();
        assert_eq!(reply.resources.len(), 1, "{:?}", reply.resources);
        let told = reply.resources[0].message.clone().unwrap_or_default();
        assert!(told.to_lowercase().contains("read-only"), "{told}");
        assert_eq!(reply.status.health, Health::Degraded);
        // It is tried again by itself, and not over and over: each pass is one try, and each wait longer than the last.
        let first = reply.status.last_pass.unwrap().id;
        let tries = || site.status().last_pass.unwrap().id - first;
        until("it is tried again", || tries() >= 1);
        let lines = site.status().resources;
        assert!(
            lines.iter().any(|line| line.message.as_ref().is_some_and(|why| why.contains("read-only"))),
            "{lines:?}"
        );
        assert!(tries() <= 2, "{} tries", tries());
        remount(MsFlags::empty());
        // The next try, or a person's word.
        site.sync();
        site.shows(MOTD, "a");
    })
    .join()
    .unwrap();
}
