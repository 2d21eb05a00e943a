//! Watches what is mounted: a file system laid over a watched folder, or taken away, hides it from every other watch.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Mode, OFlags, open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::JoinHandle;
use tracing::warn;

use super::inbox::Inbox;

/// Containers come and go in crowds: the watches are seen to once for all of them.
const GATHER: Duration = Duration::from_millis(200);

/// Watches the mounts of our namespace.
pub struct MountWatch(Option<JoinHandle<()>>);

impl MountWatch {
    /// Watches from now on, and asks through `inbox` that the watches be seen to. On a runtime. The full pass covers a
    /// system that does not tell.
    pub fn start(inbox: Arc<Inbox>) -> Self {
        let task = table().map(|table| {
            tokio::spawn(async move {
                let error = listen(&table, &inbox).await;
                warn!("mounts are not watched any more; the full pass covers them: {error}");
            })
        });
        MountWatch(
            task.inspect_err(|error| warn!("mounts can't be watched; the full pass covers them: {error}"))
                .ok(),
        )
    }
}

impl Drop for MountWatch {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// The table of mounts, which becomes urgent to read whenever it changed (proc_pid_mountinfo(5)).
#[allow(unsafe_code)]
fn table() -> std::io::Result<AsyncFd<OwnedFd>> {
    let table = open("/proc/thread-self/mountinfo", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    // SAFETY: the handle is owned and stays the same for as long as it is registered.
    let registered = unsafe { AsyncFd::register_with_interest(table, Interest::PRIORITY) };
    registered.map_err(std::io::Error::from)
}

async fn listen(table: &AsyncFd<OwnedFd>, inbox: &Inbox) -> std::io::Error {
    loop {
        match table.ready(Interest::PRIORITY).await {
            Ok(mut ready) => ready.clear_ready(),
            Err(error) => return error,
        }
        tokio::time::sleep(GATHER).await;
        inbox.rearm(std::iter::empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trigger::tests::in_own_mounts;

    #[test]
    fn a_mount_makes_the_watches_be_seen_to() {
        in_own_mounts(async |mount| {
            let inbox = Arc::new(Inbox::default());
            let _watch = MountWatch::start(Arc::clone(&inbox));
            let at = tempfile::tempdir().unwrap();
            mount.over(at.path());
            assert!(inbox.take().await.rearm);
            mount.away(at.path());
            assert!(inbox.take().await.rearm);
        });
    }
}
