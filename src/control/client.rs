//! The asking side.

use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::INTERFACE_NAME;
use super::frames::{Answered, Call, FrameError, Frames};
use super::wire::{self, Progress, Refusal, Request};

/// A connection to the agent.
#[derive(Debug)]
pub struct Client {
    frames: Frames,
}

/// Why the agent gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("agentd is not running (nothing answers at {}): start it with `systemctl start agentd`", path.display())]
    NotRunning {
        /// Where it should listen.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The socket is there and we may not use it.
    #[error("you may not talk to agentd at {}: run this as root, or join the group agentd", path.display())]
    NotAllowed {
        /// Where it listens.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It said no.
    #[error(transparent)]
    Refused(Refusal),
    /// It does not know the question, or a part of it.
    #[error("agentd does not understand this agentctl ({0}): bring both to the same version")]
    Misunderstood(String),
    /// The connection broke.
    #[error("lost contact with agentd")]
    Lost(#[source] FrameError),
}

/// An answer is at most this large, in bytes: the plan of a host of 100,000 resources.
const ANSWER: usize = 96 << 20;

impl Client {
    /// Connects to the socket at `path`.
    pub async fn connect(path: &Path) -> Result<Client, ClientError> {
        let connected = tokio::net::UnixStream::connect(path).await;
        let stream = connected.map_err(|source| match source.kind() {
            io::ErrorKind::PermissionDenied => ClientError::NotAllowed { path: path.to_owned(), source },
            _ => ClientError::NotRunning { path: path.to_owned(), source },
        })?;
        Ok(Client { frames: Frames::new(stream, ANSWER) })
    }

    /// Asks and reads one answer of the type that belongs to the question.
    pub async fn ask<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T, ClientError> {
        self.send(request, false).await?;
        let (answer, _) = self.receive().await?;
        read(answer)
    }

    /// Asks, and hands each report of progress to `told` until the answer is there.
    pub async fn ask_with_progress<T: DeserializeOwned>(
        &mut self,
        request: &Request,
        told: &mut dyn FnMut(Progress),
    ) -> Result<T, ClientError> {
        self.send(request, true).await?;
        loop {
            let (answer, continues) = self.receive().await?;
            if !continues {
                return read(answer);
            }
            // Progress of a kind that this client does not know is not worth failing for.
            if let Ok(wire::ProgressReply { progress }) = serde_json::from_value(answer) {
                told(progress);
            }
        }
    }

    /// Asks, and hands each answer to `told` until the agent or `told` ends it.
    pub async fn follow<T: DeserializeOwned, E: From<ClientError>>(
        &mut self,
        request: &Request,
        told: &mut dyn FnMut(T) -> Result<(), E>,
    ) -> Result<(), E> {
        self.send(request, true).await?;
        loop {
            let (answer, continues) = self.receive().await?;
            told(read(answer)?)?;
            if !continues {
                return Ok(());
            }
        }
    }

    async fn send(&mut self, request: &Request, more: bool) -> Result<(), ClientError> {
        let parameters =
            request.parameters().map_err(|error| ClientError::Misunderstood(error.to_string()))?;
        let method = format!("{INTERFACE_NAME}.{}", request.verb().method());
        let call = Call { method, parameters: Some(parameters), oneway: false, more };
        self.frames.send(&call).await.map_err(ClientError::Lost)
    }

    async fn receive(&mut self) -> Result<(serde_json::Value, bool), ClientError> {
        let answered: Answered = self.frames.receive().await.map_err(ClientError::Lost)?;
        let Answered { error, parameters, continues } = answered;
        let Some(error) = error else { return Ok((parameters.unwrap_or_default(), continues)) };
        let detail = parameters.as_ref().map(ToString::to_string).unwrap_or_default();
        let words = serde_json::json!({ "error": &error, "parameters": parameters });
        Err(match serde_json::from_value(words) {
            Ok(refusal) => ClientError::Refused(refusal),
            Err(_) => ClientError::Misunderstood(format!("{error} {detail}")),
        })
    }
}

fn read<T: DeserializeOwned>(answer: serde_json::Value) -> Result<T, ClientError> {
    serde_json::from_value(answer).map_err(|error| ClientError::Misunderstood(error.to_string()))
}
