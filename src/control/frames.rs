//! Varlink's framing: JSON objects, each ended by a NUL byte. Bounded in what is read before a frame is whole.
//!
//! The `zlink` crate is the reference our tests speak to us with. It does not carry us: its writer begins a
//! message anew for every 256 bytes that did not fit (minutes for the plan of a large host), its reader takes
//! up to 100 MiB and any file descriptors from anybody, and its server serves all clients in turn, without
//! time limits.

use std::io;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// A call as it comes or goes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Call {
    /// `interface.Method`.
    pub method: String,
    /// Its parameters.
    #[serde(default)]
    pub parameters: Option<serde_json::Value>,
    /// No answer is wanted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub oneway: bool,
    /// Several answers are fine.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

/// An answer as it goes.
#[derive(Debug, Serialize)]
pub struct Answer<'a, T> {
    /// The reply's parameters.
    pub parameters: &'a T,
    /// More will follow.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub continues: bool,
}

/// An answer or an error as it comes.
#[derive(Debug, Deserialize)]
pub struct Answered {
    /// The name of an error, if it is one.
    #[serde(default)]
    pub error: Option<String>,
    /// The parameters of either.
    #[serde(default)]
    pub parameters: Option<serde_json::Value>,
    /// More will follow.
    #[serde(default)]
    pub continues: bool,
}

/// Why a conversation is over.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The other side has ended it.
    #[error("the connection was closed")]
    Closed,
    /// A frame was longer than is taken.
    #[error("a message is longer than {0} bytes")]
    TooLong(usize),
    /// A frame was no such message.
    #[error("a message makes no sense: {0}")]
    Nonsense(serde_json::Error),
    /// The socket failed.
    #[error("the socket failed: {0}")]
    Socket(io::Error),
}

/// One end of a conversation.
#[derive(Debug)]
pub struct Frames {
    stream: UnixStream,
    limit: usize,
    /// What was read and not yet taken.
    read: Vec<u8>,
}

impl Frames {
    /// Frames of at most `limit` bytes over a stream.
    pub fn new(stream: UnixStream, limit: usize) -> Self {
        Frames { stream, limit, read: Vec::new() }
    }

    /// Reads one message. Dropping the future loses nothing: what was read stays.
    pub async fn receive<T: DeserializeOwned>(&mut self) -> Result<T, FrameError> {
        let mut looked_at = 0;
        let end = loop {
            if let Some(at) = memchr::memchr(0, &self.read[looked_at..]) {
                break looked_at + at;
            }
            looked_at = self.read.len();
            if looked_at >= self.limit {
                return Err(FrameError::TooLong(self.limit));
            }
            // Doubling, so that a large answer takes few reads.
            self.read.reserve(looked_at.clamp(4096, 1 << 20));
            match self.stream.read_buf(&mut self.read).await {
                Ok(0) => return Err(FrameError::Closed),
                Ok(_) => {}
                Err(error) => return Err(FrameError::Socket(error)),
            }
        };
        if end > self.limit {
            return Err(FrameError::TooLong(self.limit));
        }
        let message = serde_json::from_slice(&self.read[..end]).map_err(FrameError::Nonsense);
        self.read.drain(..=end);
        // One large message must not hold its memory for as long as the connection is open.
        self.read.shrink_to(8192);
        message
    }

    /// Waits for the end of the conversation. What comes meanwhile is kept for [`Frames::receive`]; dropping the future
    /// loses nothing.
    pub async fn closed(&mut self) {
        while self.read.len() < self.limit {
            match self.stream.read_buf(&mut self.read).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        // Who talks on without listening for an answer is not read any further.
        std::future::pending().await
    }

    /// Writes one message.
    pub async fn send(&mut self, message: &impl Serialize) -> Result<(), FrameError> {
        let mut bytes = serde_json::to_vec(message).map_err(FrameError::Nonsense)?;
        bytes.push(0);
        self.stream.write_all(&bytes).await.map_err(FrameError::Socket)
    }
}
