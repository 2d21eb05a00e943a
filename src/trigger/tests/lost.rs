//! A watcher that is lost: told at once, no harm to the others, and back with a full pass.

use super::*;
use crate::host::clock::{Clock, FakeClock};
use crate::status::WatchHealth;
use crate::trigger::MountWatch;

fn health(watcher: &Watcher) -> WatchHealth {
    let [health] = &watcher.health()[..] else { panic!("one kind is watched") };
    health.clone()
}

fn is_blind(watcher: &Watcher) -> bool {
    let WatchHealth { live_since, blind_since, .. } = health(watcher);
    assert_eq!(live_since.is_some(), blind_since.is_none(), "one or the other");
    blind_since.is_some()
}

/// Makes the reader of fanotify fail, and waits until that is known.
async fn lose(watcher: &Watcher, inbox: &Inbox, dir: &Path) {
    watcher.eyes.fail();
    sh(dir, "echo unseen > motd");
    let noticed = inbox.take().await;
    assert_eq!((noticed.overflows, noticed.rearm), (1, true), "one full pass, and the watches are seen to");
    assert!(is_blind(watcher));
}

#[test]
fn a_reader_that_fails_is_told_at_once_stops_no_other_and_is_replaced_by_the_full_pass_that_makes_up_for_it()
{
    in_own_mounts(async |mounts| {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (inbox, clock) =
            (Arc::new(Inbox::default()), Arc::new(FakeClock::at(jiff::Timestamp::UNIX_EPOCH)));
        let mut watcher = Watcher::new(Way::Best, Arc::clone(&inbox), clock.clone()).unwrap();
        let mut mounted = MountWatch::new(Arc::clone(&inbox), clock.clone());
        mounted.arm();
        let motd = dir.path().join("motd");
        watcher.want(vec![watch(&motd)]);
        assert!(!is_blind(&watcher));

        clock.advance(Duration::from_secs(5));
        lose(&watcher, &inbox, dir.path()).await;
        let told = health(&watcher);
        assert_eq!(told.blind_since, Some(clock.now()));
        let message = told.message.unwrap();
        for words in ["fanotify tells nothing more", "the full pass covers it"] {
            assert!(message.contains(words), "{message}");
        }
        watcher.rearm();
        assert!(is_blind(&watcher), "not before the full pass");

        mounts.over(other.path());
        let noticed = inbox.take().await;
        assert_eq!((noticed.overflows, noticed.rearm), (0, true), "the others still see");
        let told = mounted.health();
        assert_eq!((told.events, told.blind_since), (1, None));

        // As each full pass does before it looks.
        let news = watcher.reconcile();
        assert!(news.contains(&id(&motd)), "{news:?}");
        let told = health(&watcher);
        assert_eq!((told.live_since, told.blind_since, told.message), (Some(clock.now()), None, None));
        sh(dir.path(), "echo seen > motd");
        let noticed = inbox.take().await;
        assert_eq!((noticed.overflows, noticed.scope), (0, only(&[motd])), "nothing else was missed");
    });
}

#[tokio::test]
async fn one_that_fails_again_at_once_stays_shut_for_a_while() {
    let dir = tempfile::tempdir().unwrap();
    let (inbox, clock) = (Arc::new(Inbox::default()), Arc::new(FakeClock::at(jiff::Timestamp::UNIX_EPOCH)));
    let mut watcher = Watcher::new(Way::Best, Arc::clone(&inbox), clock.clone()).unwrap();
    watcher.want(vec![watch(&dir.path().join("motd"))]);
    lose(&watcher, &inbox, dir.path()).await;
    watcher.reconcile();
    assert!(!is_blind(&watcher));
    lose(&watcher, &inbox, dir.path()).await;
    for _ in 0..100 {
        watcher.reconcile();
    }
    assert!(is_blind(&watcher), "each loss is a full pass, and each full pass would be a loss");
    clock.advance(Duration::from_secs(60));
    watcher.reconcile();
    assert!(!is_blind(&watcher));
}
