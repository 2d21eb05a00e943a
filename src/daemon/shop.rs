//! The one thread that touches the host. Jobs come one after another, so that nothing is ever done twice at once.

use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::workshop::Workshop;
use crate::host::pulse::PULSE;

type Job = Box<dyn FnOnce(&mut Workshop) + Send>;

/// The way to the thread that touches the host.
#[derive(Clone)]
pub struct Shop {
    jobs: Sender<Job>,
}

/// The thread has ended: the agent is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the agent is stopping")]
pub struct Closed;

impl Shop {
    /// Starts the thread over what `open` brings. The thread ends when the last `Shop` is dropped and the job
    /// at hand is done.
    pub fn start(mut workshop: Workshop) -> std::io::Result<(Shop, JoinHandle<()>)> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let thread = std::thread::Builder::new().name("pass".to_owned()).spawn(move || {
            while let Ok(job) = queue.recv() {
                job(&mut workshop);
                PULSE.beat();
            }
        })?;
        Ok((Shop { jobs }, thread))
    }

    /// Has something done there and waits for what comes of it.
    pub async fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Workshop) -> T + Send + 'static,
    ) -> Result<T, Closed> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |workshop| {
            // Nobody waits any more if the client went away: the work is done all the same.
            let _ = answer.send(job(workshop));
        });
        self.jobs.send(job).map_err(|_| Closed)?;
        answered.await.map_err(|_| Closed)
    }
}
