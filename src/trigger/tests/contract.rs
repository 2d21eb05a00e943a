//! What is seen, whichever way it is watched.

use std::os::unix::ffi::OsStringExt;

use super::*;

const CONF: &str = "etc/app/conf";
const BEFORE: &str = "mkdir -p etc/app; echo a > etc/app/conf";
const MAPPED: &str = "AGENTD_TEST_MAPPED";

#[tokio::test]
async fn every_manual_change_of_a_file_is_noticed() {
    let changes = [
        ("written in place", "", "echo b > etc/app/conf"),
        ("appended to", "", "echo b >> etc/app/conf"),
        ("edited by sed", "", "sed -i s/a/b/ etc/app/conf"),
        ("truncated", "", "truncate --size=0 etc/app/conf"),
        ("overwritten by dd", "", "dd if=/dev/zero of=etc/app/conf bs=1 count=1 conv=notrunc status=none"),
        ("copied over", "echo b > new", "cp new etc/app/conf"),
        ("installed over", "echo b > new", "install new etc/app/conf"),
        ("renamed over", "echo b > new", "mv new etc/app/conf"),
        ("renamed away", "", "mv etc/app/conf etc/app/old"),
        ("removed", "", "rm etc/app/conf"),
        ("made a link", "", "ln -sf elsewhere etc/app/conf"),
        ("made a folder", "rm etc/app/conf", "mkdir etc/app/conf"),
        ("made a pipe", "rm etc/app/conf", "mkfifo etc/app/conf"),
        ("linked from elsewhere", "rm etc/app/conf; echo b > new", "ln new etc/app/conf"),
        ("its mode", "", "chmod 600 etc/app/conf"),
        ("its owner", "", "chown 7 etc/app/conf"),
        ("its group", "", "chgrp 7 etc/app/conf"),
        ("its times", "", "touch etc/app/conf"),
        ("opened for writing and let go", "", "exec 9<>etc/app/conf"),
        ("written by another name", "ln etc/app/conf other", "echo b > other"),
        ("its mode by another name", "ln etc/app/conf other", "chmod 600 other"),
        ("its folder renamed", "", "mv etc/app etc/old"),
        ("its folder removed", "", "rm -r etc/app"),
        ("the folder above renamed", "", "mv etc old"),
        ("the folder made", "rm -r etc/app", "mkdir etc/app"),
        ("all folders made", "rm -r etc", "mkdir -p etc/app; echo b > etc/app/conf"),
        ("a whole tree moved there", "mv etc new", "mv new etc"),
    ];
    for way in WAYS {
        for (what, before, change) in changes {
            let mut ground = Ground::new(way, &format!("{BEFORE}; {before}"), &[CONF]);
            ground.sh(change);
            ground.noticed(CONF, &format!("{what}, {way:?}")).await;
        }
    }
}

#[tokio::test]
async fn what_is_written_through_a_mapping_is_noticed_once_it_is_let_go() {
    for way in WAYS {
        let mut ground = Ground::new(way, BEFORE, &[CONF]);
        let mapper = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "trigger::tests::contract::the_process_that_maps", "--nocapture"])
            .env(MAPPED, ground.at(CONF))
            .status();
        assert!(mapper.unwrap().success());
        assert_eq!(std::fs::read(ground.at(CONF)).unwrap(), b"b\n");
        ground.noticed(CONF, &format!("mapped, {way:?}")).await;
    }
}

/// Not a test by itself: writes a file through a mapping.
#[test]
#[allow(unsafe_code)]
fn the_process_that_maps() {
    use std::os::fd::AsRawFd;
    let Some(path) = std::env::var_os(MAPPED) else { return };
    let file = std::fs::File::options().read(true).write(true).open(PathBuf::from(path)).unwrap();
    let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
    // SAFETY: the file is open and longer than one byte; the mapping is used only below, and only its first byte.
    unsafe {
        let at = libc::mmap(std::ptr::null_mut(), 1, access, flags, file.as_raw_fd(), 0);
        assert_ne!(at, libc::MAP_FAILED);
        drop(file);
        at.cast::<u8>().write(b'b');
        assert_eq!(libc::munmap(at, 1), 0);
    }
}

#[tokio::test]
async fn what_takes_the_place_of_a_folder_is_watched_in_its_stead() {
    let replacements = [
        ("the folder", "cp -r etc/app new; mv etc/app old; mv new etc/app"),
        ("the folder above", "cp -r etc new; mv etc old; mv new etc"),
        ("removed and made again", "rm -r etc/app; mkdir etc/app; echo a > etc/app/conf"),
        ("a link to it", "mv etc/app real; ln -s ../real etc/app"),
    ];
    for way in WAYS {
        for (what, replace) in replacements {
            let mut ground = Ground::new(way, BEFORE, &[CONF]);
            ground.sh(replace);
            ground.noticed(CONF, &format!("{what} replaced, {way:?}")).await;
            ground.watcher.rearm();
            ground.sh("echo b > etc/app/conf");
            ground.noticed(CONF, &format!("written after {what}, {way:?}")).await;
            assert!(ground.watcher.health().iter().all(|health| health.blind_since.is_none()));
        }
    }
}

#[tokio::test]
async fn a_folder_that_the_agent_makes_itself_comes_under_watch() {
    for way in WAYS {
        let mut ground = Ground::new(way, "mkdir etc", &[CONF]);
        for folder in ["etc/app", "etc/app/further"] {
            std::fs::create_dir(ground.at(folder)).unwrap();
        }
        std::fs::write(ground.at(CONF), "a").unwrap();
        let noticed = tokio::time::timeout(LIMIT, ground.inbox.take()).await;
        assert!(noticed.is_ok_and(|noticed| noticed.rearm), "the watches are to be looked after, {way:?}");
        assert!(ground.watcher.rearm().contains(&id(&ground.at(CONF))), "{way:?}");
        ground.sh("echo b > etc/app/conf");
        ground.noticed(CONF, &format!("written in the new folder, {way:?}")).await;
    }
}

#[tokio::test]
async fn a_folder_that_is_a_link_is_watched_where_it_leads() {
    for way in WAYS {
        let mut ground = Ground::new(way, "mkdir real; ln -s real etc; echo a > etc/conf", &["etc/conf"]);
        for path in ["etc/conf", "real/conf"] {
            ground.sh(&format!("echo b > {path}"));
            ground.noticed("etc/conf", &format!("written as {path}, {way:?}")).await;
        }
    }
}

#[test]
fn what_is_mounted_over_a_folder_is_watched_and_so_is_what_it_hid() {
    in_own_mounts(async |mounts| {
        for way in WAYS {
            let mut ground = Ground::new(way, BEFORE, &[CONF]);
            let wanted = id(&ground.at(CONF));
            mounts.over(&ground.at("etc/app"));
            assert!(ground.watcher.rearm().contains(&wanted), "{way:?}: hidden, so that it is worth a look");
            ground.sh("echo b > etc/app/conf");
            ground.noticed(CONF, &format!("written on top, {way:?}")).await;
            mounts.away(&ground.at("etc/app"));
            assert!(ground.watcher.rearm().contains(&wanted), "{way:?}: back, so that it is worth a look");
            ground.sh("echo b > etc/app/conf");
            ground.noticed(CONF, &format!("written below, {way:?}")).await;
            assert_eq!(ground.watcher.rearm(), Scope::nothing(), "{way:?}: nothing is new");
        }
    });
}

#[tokio::test]
async fn a_file_that_got_another_name_is_watched_by_it_from_the_next_full_pass_on() {
    for way in WAYS {
        let mut ground = Ground::new(way, BEFORE, &[CONF]);
        ground.sh("ln etc/app/conf other");
        assert!(ground.watcher.reconcile().contains(&id(&ground.at(CONF))));
        assert_eq!(ground.watcher.reconcile(), Scope::nothing());
        ground.sh("echo b > other");
        ground.noticed(CONF, &format!("{way:?}")).await;
    }
}

#[tokio::test]
async fn nothing_beside_what_is_wanted_wakes_anyone() {
    for way in WAYS {
        let mut ground = Ground::new(way, BEFORE, &["etc/app/other", CONF]);
        ground.sh(
            "cat etc/app/conf; ls etc/app; stat etc/app/conf; echo x > etc/app/beside; rm etc/app/beside; \
             echo x > etc/beside; mkdir etc/folder; echo x > beside; chmod 700 etc",
        );
        ground.sh("echo x > etc/app/other");
        let noticed = ground.noticed("etc/app/other", &format!("{way:?}")).await;
        assert_eq!(noticed.scope, only(&[ground.at("etc/app/other")]), "{way:?}");
        assert!(!noticed.rearm);
        ground.watcher.want(Vec::new());
        ground.sh("echo y > etc/app/other");
        assert!(ground.watcher.health().is_empty());
    }
}

#[tokio::test]
async fn what_was_lost_while_nobody_read_is_one_full_look() {
    for way in WAYS {
        let mut ground = Ground::new(way, BEFORE, &[CONF]);
        {
            // The reader waits here, as if it had been stopped.
            let _held = ground.watcher.sight.hold();
            // More names than the queue holds.
            ground.sh("cd etc/app; seq 17000 | xargs -n 5000 touch; echo b > conf");
        }
        // What was in the queue before may come first.
        let lost = tokio::time::timeout(LIMIT, async {
            loop {
                let noticed = ground.inbox.take().await;
                if noticed.overflows > 0 {
                    return noticed;
                }
            }
        });
        let noticed = lost.await.unwrap_or_else(|_| panic!("nothing was lost, {way:?}"));
        assert_eq!(noticed.overflows, 1, "{way:?}");
        assert_eq!(ground.watcher.health()[0].overflows, 1, "{way:?}");
        ground.sh("echo c > etc/app/conf");
        let noticed = ground.noticed(CONF, &format!("after, {way:?}")).await;
        assert_eq!(noticed.overflows, 0, "{way:?}");
    }
}

#[tokio::test]
async fn a_name_in_any_bytes_is_borne() {
    for way in WAYS {
        let mut ground = Ground::new(way, BEFORE, &[CONF]);
        let odd = std::ffi::OsString::from_vec(b"etc/app/\xff\n".to_vec());
        std::fs::write(ground.dir.path().join(odd), "x").unwrap();
        ground.sh("rm etc/app/conf; touch etc/app/*; echo b > etc/app/conf");
        ground.noticed(CONF, &format!("{way:?}")).await;
    }
}
