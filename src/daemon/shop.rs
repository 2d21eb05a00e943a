//! The one thread that touches the host. Jobs come one after another, so that nothing is ever done twice at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};

use tokio::sync::oneshot;

use super::workshop::Workshop;
use crate::host::pulse::PULSE;

type Job = Box<dyn FnOnce(&mut Workshop) + Send>;

/// The way to the thread that touches the host.
#[derive(Clone)]
pub struct Shop {
    jobs: Sender<Job>,
}

/// The end of the thread.
pub struct Ended(oneshot::Receiver<()>);

impl Ended {
    /// Waits for it.
    pub async fn wait(&mut self) {
        if !self.0.is_terminated() {
            let _ = (&mut self.0).await;
        }
    }
}

/// The thread has ended: the agent is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the agent is stopping")]
pub struct Closed;

impl Shop {
    /// Starts the thread. It ends after the job at hand once it is told to stop, or by a panic.
    pub fn start(workshop: Workshop) -> std::io::Result<(Shop, Ended)> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (end, ended) = oneshot::channel::<()>();
        let stopping = Arc::clone(&workshop.stopping);
        std::thread::Builder::new().name("pass".to_owned()).spawn(move || {
            // Dropped however the thread ends, and last: then the record is closed, and another agent may open it.
            let _end = end;
            let mut workshop = workshop;
            while let Ok(job) = queue.recv()
                && !stopping.load(Ordering::Relaxed)
            {
                job(&mut workshop);
                PULSE.beat();
            }
        })?;
        Ok((Shop { jobs }, Ended(ended)))
    }

    /// Has the thread stop after the step at hand: what is queued is not begun any more.
    pub fn close(&self, stopping: &AtomicBool) {
        stopping.store(true, Ordering::Relaxed);
        self.knock();
    }

    /// Asks the thread for a sign of life, which is its beat of the pulse. Nobody waits for it: that would wake the loop
    /// once more.
    pub fn knock(&self) {
        // Ended, it gives none; the watchdog is there for that.
        let _ = self.jobs.send(Box::new(|_| ()));
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
