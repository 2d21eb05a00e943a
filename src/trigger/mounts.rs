//! Watches what is mounted: a file system laid over a watched folder, or taken away, hides it from every other watch.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Mode, OFlags, open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::JoinHandle;

use super::gauge::Gauge;
use super::inbox::Inbox;
use crate::host::clock::Clock;
use crate::status::WatchHealth;

/// Containers come and go in crowds: the watches are seen to once for all of them.
const GATHER: Duration = Duration::from_millis(200);

/// Where the kernel lists the mounts of our namespace.
const TABLE: &str = "/proc/thread-self/mountinfo";

/// Watches the mounts of our namespace while it is armed.
pub struct MountWatch {
    gauge: Arc<Gauge>,
    inbox: Arc<Inbox>,
    clock: Arc<dyn Clock>,
    task: Option<JoinHandle<()>>,
}

impl MountWatch {
    /// A watcher that asks through `inbox` that the watches be seen to; not armed.
    pub fn new(inbox: Arc<Inbox>, clock: Arc<dyn Clock>) -> Self {
        MountWatch { gauge: Arc::new(Gauge::new("mounts", "mountinfo")), inbox, clock, task: None }
    }

    /// Watches from now on, if it does not already. On a runtime. The full pass covers a system that does not tell.
    pub fn arm(&mut self) {
        self.arm_by(TABLE);
    }

    /// How it is.
    pub fn health(&self) -> WatchHealth {
        self.gauge.health()
    }

    fn arm_by(&mut self, table_of_mounts: &str) {
        if self.task.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let now = self.clock.now();
        let table = match table(table_of_mounts) {
            Ok(table) => table,
            Err(error) => return self.gauge.blind(now, &format!("mounts can't be watched ({error})")),
        };
        self.gauge.live(now, 1);
        let (gauge, inbox, clock) =
            (Arc::clone(&self.gauge), Arc::clone(&self.inbox), Arc::clone(&self.clock));
        self.task = Some(tokio::spawn(async move {
            let error = listen(&table, &gauge, &inbox).await;
            gauge.blind(clock.now(), &format!("the kernel tells nothing more of mounts ({error})"));
            inbox.rearm(std::iter::empty());
        }));
    }
}

impl Drop for MountWatch {
    fn drop(&mut self) {
        self.task.iter().for_each(JoinHandle::abort);
    }
}

/// The table of mounts, which becomes urgent to read whenever it changed (proc_pid_mountinfo(5)).
#[allow(unsafe_code)]
fn table(path: &str) -> std::io::Result<AsyncFd<OwnedFd>> {
    let table = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    // SAFETY: the handle is owned and stays the same for as long as it is registered.
    let registered = unsafe { AsyncFd::register_with_interest(table, Interest::PRIORITY) };
    registered.map_err(std::io::Error::from)
}

async fn listen(table: &AsyncFd<OwnedFd>, gauge: &Gauge, inbox: &Inbox) -> std::io::Error {
    loop {
        match table.ready(Interest::PRIORITY).await {
            Ok(mut ready) => ready.clear_ready(),
            Err(error) => return error,
        }
        gauge.event();
        tokio::time::sleep(GATHER).await;
        inbox.rearm(std::iter::empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::clock::SystemClock;
    use crate::trigger::tests::in_own_mounts;

    #[test]
    fn a_mount_makes_the_watches_be_seen_to_and_is_counted() {
        in_own_mounts(async |mount| {
            let inbox = Arc::new(Inbox::default());
            let mut watch = MountWatch::new(Arc::clone(&inbox), Arc::new(SystemClock));
            assert_eq!((watch.health().live_since, watch.health().blind_since), (None, None));
            watch.arm();
            watch.arm();
            let at = tempfile::tempdir().unwrap();
            mount.over(at.path());
            assert!(inbox.take().await.rearm);
            let health = watch.health();
            assert!(health.live_since.is_some() && health.blind_since.is_none(), "{health:?}");
            assert_eq!((health.name.as_str(), health.watches, health.events), ("mounts", 1, 1));
            mount.away(at.path());
            assert!(inbox.take().await.rearm);
            assert_eq!(watch.health().events, 2);
        });
    }

    #[tokio::test]
    async fn where_the_table_can_not_be_read_it_is_blind_and_sees_once_it_can() {
        let mut watch = MountWatch::new(Arc::default(), Arc::new(SystemClock));
        watch.arm_by("/proc/thread-self/nothing");
        let health = watch.health();
        assert!(health.live_since.is_none() && health.blind_since.is_some(), "{health:?}");
        let message = health.message.unwrap();
        assert!(
            message.contains("mounts can't be watched") && message.contains("the full pass"),
            "{message}"
        );
        watch.arm();
        let health = watch.health();
        assert!(health.live_since.is_some() && health.blind_since.is_none(), "{health:?}");
        assert_eq!(health.message, None);
    }
}
