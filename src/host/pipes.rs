//! The pipes of a program that runs: what it is to read is written, and what it writes is read while it runs, so that it
//! never waits for us.

use std::io::{Read, Write};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How much of each output stream is kept; the rest is read and dropped, so that the program never blocks.
pub const OUTPUT_LIMIT: usize = 16 << 20;

/// Some programs write word by word, nft among them. To be woken for each takes longer than all their work: after fewer
/// bytes than this, the reader lets more come together for a moment.
const MANY: usize = 4096;
const PAUSE: Duration = Duration::from_micros(200);

/// Writes all of it to the program, beside whoever waits for its end.
pub(super) fn feed(mut pipe: impl Write + Send + 'static, bytes: Vec<u8>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        // A program that stops reading early says so by its exit code.
        let _ = pipe.write_all(&bytes);
    })
}

/// What a program writes, read while it runs.
pub(super) struct Output {
    kept: Arc<Mutex<Vec<u8>>>,
    ended: Receiver<()>,
}

impl Output {
    /// All of it; or what there was by then, if something that the program left behind keeps the pipe open.
    #[allow(clippy::disallowed_methods)] // a deadline for a real process is real time
    pub fn until(self, deadline: Instant) -> Vec<u8> {
        let _ = self.ended.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        std::mem::take(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Reads all of it, and keeps what there is room for.
#[allow(clippy::disallowed_methods)] // paces the reading of a real pipe
pub(super) fn drain(mut pipe: impl Read + Send + 'static) -> Output {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let (end, ended) = mpsc::channel();
    let into = Arc::clone(&kept);
    std::thread::spawn(move || {
        let mut chunk = vec![0u8; 64 << 10];
        while let Ok(count @ 1..) = pipe.read(&mut chunk) {
            {
                let mut kept = into.lock().unwrap_or_else(PoisonError::into_inner);
                let room = OUTPUT_LIMIT.saturating_sub(kept.len());
                kept.extend_from_slice(&chunk[..count.min(room)]);
            }
            if count < MANY {
                std::thread::sleep(PAUSE);
            }
        }
        let _ = end.send(());
    });
    Output { kept, ended }
}
