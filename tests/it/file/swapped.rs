//! Whoever owns a folder swaps what is in it as fast as they can while the agent changes it.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use agentd::kind::file::{Mode, Ownership};
use agentd::model::OutcomeResult;

use super::{Scene, run, text};

/// What lies outside of what is managed, and must not change whatever is swapped inside.
fn canary(path: &Path) -> (String, u32, u32, u32) {
    let meta = std::fs::symlink_metadata(path).unwrap();
    (std::fs::read_to_string(path).unwrap(), meta.permissions().mode(), meta.uid(), meta.gid())
}

/// Exchanges two names as fast as it goes while `act` works. Says how often.
fn swapping(a: &Path, b: &Path, act: impl FnOnce()) -> u64 {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    /// Ends the swapping also when the work panics.
    struct Stop<'s>(&'s AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Relaxed);
        }
    }
    let stop = AtomicBool::new(false);
    let swap = || renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).is_ok();
    std::thread::scope(|scope| {
        let swapper = scope.spawn(|| {
            let mut swaps = 0;
            while !stop.load(Relaxed) {
                swaps += u64::from(swap());
            }
            // Left as it was found.
            if swaps % 2 == 1 {
                swap();
            }
            swaps
        });
        let stop = Stop(&stop);
        act();
        drop(stop);
        swapper.join().unwrap()
    })
}

#[test]
fn whoever_owns_the_folder_cannot_lead_a_change_elsewhere_however_fast_they_swap() {
    const CHANGES: usize = 50;
    let mut scene = Scene::new();
    let shop = |number: usize| Ownership {
        owner: "shop".into(),
        group: "www".into(),
        mode: Mode::from_bits(if number.is_multiple_of(2) { 0o666 } else { 0o646 }),
    };
    scene.owned("/srv/shop/conf/app", "declared\n", shop(0), &[]);
    scene.converge();
    let top = scene.path("/");
    let at = |path: &str| top.join(path.trim_start_matches('/'));
    // Theirs, with one thing of each kind to put in the way.
    std::fs::create_dir_all(at("/outside/conf")).unwrap();
    std::fs::write(at("/outside/conf/app"), "precious\n").unwrap();
    std::fs::write(at("/outside/shadow"), "secret\n").unwrap();
    std::fs::set_permissions(at("/outside/shadow"), PermissionsExt::from_mode(0o600)).unwrap();
    symlink("../../outside/conf", at("/srv/shop/link-folder")).unwrap();
    symlink("../../../outside/shadow", at("/srv/shop/conf/link")).unwrap();
    std::fs::hard_link(at("/outside/shadow"), at("/srv/shop/conf/hard")).unwrap();
    run("/usr/bin/mkfifo", &[text(&at("/srv/shop/conf/pipe"))]);
    std::fs::create_dir(at("/srv/shop/conf/dir")).unwrap();
    for path in ["/srv/shop", "/srv/shop/conf", "/srv/shop/link-folder", "/srv/shop/conf/link"] {
        std::os::unix::fs::lchown(at(path), Some(2001), Some(2002)).unwrap();
    }
    let canaries = [at("/outside/conf/app"), at("/outside/shadow")];
    let before: Vec<_> = canaries.iter().map(|path| canary(path)).collect();
    let outside = scene.names("/outside");
    let outside_conf = scene.names("/outside/conf");

    let pairs = [
        ("/srv/shop/conf", "/srv/shop/link-folder"),
        ("/srv/shop/conf/app", "/srv/shop/conf/link"),
        ("/srv/shop/conf/app", "/srv/shop/conf/hard"),
        ("/srv/shop/conf/app", "/srv/shop/conf/pipe"),
        ("/srv/shop/conf/app", "/srv/shop/conf/dir"),
    ];
    let mut total = 0;
    for (a, b) in pairs {
        let (a, b) = (scene.path(a), scene.path(b));
        total += swapping(&a, &b, || {
            // Nothing is expected of a single change, but that it is made here or not at all.
            let deadline = Instant::now() + Duration::from_secs(60);
            let (mut made, mut last) = (0, Vec::new());
            while made < CHANGES {
                assert!(Instant::now() < deadline, "{made} against {}: {last:?}", b.display());
                // Every other one has nothing but owner and mode to set.
                scene.owned("/srv/shop/conf/app", &format!("{}\n", made / 2), shop(made), &[]);
                last = scene.pass();
                made += last.iter().filter(|(_, result)| *result == OutcomeResult::Done).count();
            }
        });
    }
    assert!(total > 5 * CHANGES as u64, "nobody swapped");
    let after: Vec<_> = canaries.iter().map(|path| canary(path)).collect();
    assert_eq!(after, before);
    assert_eq!(scene.names("/outside"), outside);
    assert_eq!(scene.names("/outside/conf"), outside_conf);
}
