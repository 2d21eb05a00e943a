//! Metrics where others can have them: on a socket of their own, made when somebody asks; and in a file for
//! node_exporter, written anew when something has changed. Never on a port.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::chain;
use super::events::Event;
use super::run::Daemon;
use crate::host::Host;
use crate::host::files::{Attributes, FilesError, Root, Xattrs};
use crate::metrics::{self, Facts, http};
use crate::status::{Condition, Snapshot};

/// So many are answered at once; more wait their turn.
const AT_ONCE: usize = 4;
/// A question and its answer take no longer, or there is none.
const PATIENCE: Duration = Duration::from_secs(5);
/// The commit that a release was built from; packaging/build-deb knows it.
const BUILT_FROM: Option<&str> = option_env!("AGENTD_COMMIT");

/// The name of the socket, beside that of the control socket.
pub const SOCKET: &str = "metrics.sock";

/// The file for node_exporter, which follows what it is told.
pub struct Textfile {
    wanted: watch::Sender<Option<Page>>,
    task: JoinHandle<()>,
}

#[derive(Clone)]
struct Page {
    path: PathBuf,
    text: String,
}

impl Textfile {
    /// On a runtime. Whether it could be written is told as an event when that changes.
    pub fn new(host: Arc<Host>, sender: UnboundedSender<Event>) -> Self {
        let (wanted, follows) = watch::channel(None);
        Textfile { wanted, task: tokio::spawn(follow(follows, host, sender)) }
    }

    fn want(&self, page: Option<Page>) {
        // While one is being written the last of those that come meanwhile is next.
        let _ = self.wanted.send(page);
    }
}

impl Drop for Textfile {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Daemon {
    /// The page as of now.
    pub(super) fn metrics(&self, snapshot: &Snapshot) -> String {
        metrics::page(&Facts {
            snapshot,
            tallies: &self.tallies,
            built_from: BUILT_FROM.unwrap_or("unknown"),
            applied_at: self.view.applied_at,
            waits: &self.view.waits,
            writers: &self.view.writers,
        })
    }

    /// Somebody asks for the page.
    pub(super) fn scraped(&mut self, answer: oneshot::Sender<String>) {
        self.refresh();
        let page = self.snapshot.as_ref().map(|snapshot| self.metrics(snapshot));
        // If there is none yet, or nobody waits any more, that is told by the end of the channel.
        page.into_iter().zip([answer]).for_each(|(page, answer)| drop(answer.send(page)));
    }

    /// Writes the file for node_exporter, if there is to be one; one that is not wanted any more is taken away.
    pub(super) fn expose(&self, snapshot: &Snapshot) {
        let path = self.setup.textfile.clone();
        self.textfile.want(path.map(|path| Page { path, text: self.metrics(snapshot) }));
    }

    /// Whether the file could be written.
    pub(super) fn exposed(&mut self, result: Result<(), String>) {
        self.textfile_fault = result.err();
        self.textfile_fault.iter().for_each(|fault| tracing::warn!("{fault}"));
        self.refresh();
    }
}

/// Whether something is other than it was that a file of a moment ago would not tell.
pub fn has_changed(before: &Snapshot, now: &Snapshot) -> bool {
    let words = |one: &Condition| (one.kind.clone(), one.status, one.reason.clone());
    let same = before.conditions.iter().map(words).eq(now.conditions.iter().map(words))
        && (before.sync, before.health, before.mode) == (now.sync, now.health, now.mode)
        && before.applied == now.applied
        && before.suspensions == now.suspensions
        && before.history == now.history;
    !same
}

/// Answers everybody who asks, until it is dropped.
pub async fn serve(listener: UnixListener, sender: UnboundedSender<Event>) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let sender = sender.clone();
                tokio::spawn(async move {
                    // Whoever is too slow, or has gone, gets nothing.
                    let _ = timeout(PATIENCE, converse(stream, &sender)).await;
                    drop(place);
                });
            }
            // Out of descriptors: what is open now will end.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn converse(mut stream: UnixStream, sender: &UnboundedSender<Event>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !http::is_whole(&head) {
        let mut piece = [0; 1024];
        let count = stream.read(&mut piece).await?;
        if count == 0 {
            return Ok(());
        }
        head.extend_from_slice(piece.get(..count).unwrap_or_default());
        if head.len() > http::HEAD_LIMIT {
            break;
        }
    }
    let wanted = if http::is_whole(&head) { http::wanted(&head) } else { http::Wanted::Nonsense };
    let page = match wanted {
        http::Wanted::Page | http::Wanted::Head => {
            let (answer, answered) = oneshot::channel();
            let _ = sender.send(Event::Scraped(answer));
            let Ok(page) = answered.await else { return Ok(()) };
            page
        }
        http::Wanted::Missing | http::Wanted::Refused | http::Wanted::Nonsense => String::new(),
    };
    stream.write_all(http::answer(wanted, &page).as_bytes()).await?;
    stream.shutdown().await
}

/// Keeps the file as it is wanted.
async fn follow(mut wanted: watch::Receiver<Option<Page>>, host: Arc<Host>, sender: UnboundedSender<Event>) {
    let (mut there, mut fault): (Option<PathBuf>, Option<String>) = (None, None);
    while wanted.changed().await.is_ok() {
        let page = wanted.borrow_and_update().clone();
        let gone = there.take().filter(|old| page.as_ref().is_none_or(|page| page.path != *old));
        there = page.as_ref().map(|page| page.path.clone());
        let host = Arc::clone(&host);
        let work = tokio::task::spawn_blocking(move || write(&host.root, gone.as_deref(), page.as_ref()));
        let now = match work.await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("the file for node_exporter is not written: {}", chain(&error))),
            Err(error) => Some(format!("the file for node_exporter is not written: {error}")),
        };
        if now != fault {
            let _ = sender.send(Event::Exposed(now.clone().map_or(Ok(()), Err)));
            fault = now;
        }
    }
}

/// In one step, so that nobody reads a part. Not synced: the next one is written soon.
fn write(root: &Root, gone: Option<&Path>, page: Option<&Page>) -> Result<(), FilesError> {
    if let Some(gone) = gone {
        root.remove(gone)?;
    }
    if let Some(Page { path, text }) = page {
        let (folder, name) = root.parent(path)?;
        let readable = Attributes::root(0o644);
        folder.stage_file(name, text.as_bytes(), readable, &Xattrs::default())?.replace()?;
    }
    Ok(())
}
