//! More folders than the kernel lets anyone watch.

use super::*;

/// How many folders can be watched in the child's user namespace.
const ALLOWED: usize = 5;

/// A namespace of users has limits of its own: the child is held to them, and nobody else.
#[test]
fn folders_beyond_the_limit_are_told_and_the_rest_is_still_watched() {
    let ours = std::env::current_exe().unwrap();
    let script = format!("echo {ALLOWED} > /proc/sys/user/max_inotify_watches; exec \"$0\" \"$@\"");
    let child = "trigger::tests::limits::child_with_a_limit";
    let output = Command::new("/usr/bin/unshare")
        .args(["--user", "--map-root-user", "/bin/sh", "-euc", &script])
        .arg(ours)
        .args([child, "--exact", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test]
#[ignore = "it is the child of the test above"]
async fn child_with_a_limit() {
    let names: Vec<String> = (0..ALLOWED * 2).map(|number| format!("{number}/motd")).collect();
    let paths: Vec<&str> = names.iter().map(String::as_str).collect();
    let folders: Vec<String> = (0..ALLOWED * 2).map(|number| number.to_string()).collect();
    let ground = Ground::new(Way::Portable, &format!("mkdir {}", folders.join(" ")), &paths);
    let [health] = &ground.watcher.health()[..] else { panic!("one kind is watched") };
    assert!(health.live_since.is_some() && health.blind_since.is_some(), "{health:?}");
    let told = health.message.as_deref().unwrap_or_default();
    for words in ["folders can't be watched", "fs.inotify.max_user_watches", "the full pass covers them"] {
        assert!(told.contains(words), "{told}");
    }
    let watched = usize::try_from(health.watches).unwrap();
    assert!((1..=ALLOWED).contains(&watched), "{health:?}");
    // What could be watched is.
    ground.sh("for one in */; do echo x > $one/motd; done");
    let mut seen = 0;
    let waited = tokio::time::timeout(LIMIT, async {
        while seen < watched {
            let noticed = ground.inbox.take().await;
            let in_it = |name: &&String| noticed.scope.contains(&id(&ground.at(name)));
            seen += names.iter().filter(in_it).count();
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{seen} of {watched} were noticed"));
}
