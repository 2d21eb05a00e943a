//! The serving side: one task a connection, each bounded in bytes and in time.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::access::Access;
use super::frames::{Answer, Call, Frames};
use super::verb::{Right, Verb};
use super::wire::{Refusal, Reply, Request};
use super::{INTERFACE, INTERFACE_NAME};
use crate::host::peer::Peer;

/// Whoever answers: the daemon, or a fake in a test.
pub trait Agent: Send + Sync + 'static {
    /// Takes a request that is allowed. Returns at once; the answer comes through `asked.replies`.
    fn ask(&self, asked: Asked);
    /// Who may do what, by the settings in force.
    fn access(&self) -> Access;
}

/// A request that was authenticated, authorised and decoded. Nothing changes it afterwards.
#[derive(Debug)]
pub struct Asked {
    /// What is asked.
    pub request: Request,
    /// By whom.
    pub peer: Peer,
    /// Where the answer goes.
    pub replies: Replies,
}

/// Where the answer goes. Dropped without an answer, the client is told that the agent is stopping.
#[derive(Debug)]
pub struct Replies {
    more: Option<mpsc::Sender<Reply>>,
    last: oneshot::Sender<Result<Reply, Refusal>>,
}

impl Replies {
    /// Tells how far it is, if the client asked for that. What a slow client can't take is dropped.
    pub fn more(&self, progress: Reply) {
        if let Some(more) = &self.more {
            let _ = more.try_send(progress);
        }
    }

    /// Whether the client asked for several answers.
    pub fn wants_more(&self) -> bool {
        self.more.is_some()
    }

    /// Whether nobody takes an answer any more.
    pub fn is_gone(&self) -> bool {
        self.last.is_closed()
    }

    /// Answers. A client that has gone is no fault.
    pub fn finish(self, answer: Result<Reply, Refusal>) {
        let _ = self.last.send(answer);
    }
}

/// What a client may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one request.
    pub frame: usize,
    /// Connections of everybody together.
    pub connections: usize,
    /// Connections of one user other than root; what is left is root's.
    pub connections_of_a_user: usize,
    /// Without a whole request for so long, the connection ends.
    pub idle: Duration,
    /// A reply that is not taken within this ends the connection.
    pub write: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            // The largest sensible request names some hundreds of resources.
            frame: 64 << 10,
            connections: 32,
            connections_of_a_user: 8,
            idle: Duration::from_secs(30),
            write: Duration::from_secs(10),
        }
    }
}

/// Why the socket could not be opened or served.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The socket could not be made.
    #[error("could not {doing} the socket {}", path.display())]
    Bind {
        /// What was tried.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Makes the socket at `path`, in place of what an earlier agent left: mode 0660, owner root, group `readers`;
/// without such a group 0600. It never exists with wider rights. Must be called within a runtime.
pub fn bind(path: &Path, readers: Option<u32>) -> Result<UnixListener, ServerError> {
    use rustix::fs::{AtFlags, CWD};
    let failed = |doing, source| ServerError::Bind { doing, path: path.to_owned(), source };
    let mut name = OsStr::from_bytes(b".").to_owned();
    name.push(path.file_name().unwrap_or(OsStr::new("control.sock")));
    let new = path.with_file_name(name);
    match rustix::fs::unlinkat(CWD, &new, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(errno) => return Err(failed("clear the place of", errno.into())),
    }
    // To connect takes the right to write: until the mode is set, that is the owner's alone.
    let listener = UnixListener::bind(&new).map_err(|source| failed("make", source))?;
    open_to(&new, readers)
        .and_then(|()| rustix::fs::renameat(CWD, &new, CWD, path))
        .map_err(|errno| failed("set the rights of", errno.into()))?;
    Ok(listener)
}

/// Gives the socket at `path` to another group of readers, or to none: mode and group as [`bind`] sets them. Whoever is
/// connected stays connected; what they may do is asked of [`Agent::access`] with every request.
pub fn hand_over(path: &Path, readers: Option<u32>) -> Result<(), ServerError> {
    use rustix::fs::{AtFlags, CWD, Mode};
    let failed = |source: rustix::io::Errno| ServerError::Bind {
        doing: "set the rights of",
        path: path.to_owned(),
        source: source.into(),
    };
    // Closed first: between the two steps neither group may hold the other's right.
    rustix::fs::chmodat(CWD, path, Mode::RUSR | Mode::WUSR, AtFlags::empty()).map_err(failed)?;
    open_to(path, readers).map_err(failed)
}

/// The folder is root's alone, so that the name can't be another's meanwhile.
fn open_to(path: &Path, readers: Option<u32>) -> rustix::io::Result<()> {
    use rustix::fs::{AtFlags, CWD, Gid, Mode};
    let group = if readers.is_some() { Mode::RGRP | Mode::WGRP } else { Mode::empty() };
    // Without readers it is root's group again.
    let owner = Some(Gid::from_raw(readers.unwrap_or_else(|| rustix::process::getegid().as_raw())));
    rustix::fs::chownat(CWD, path, None, owner, AtFlags::empty())?;
    rustix::fs::chmodat(CWD, path, Mode::RUSR | Mode::WUSR | group, AtFlags::empty())
}

/// Serves until it is dropped, which ends every connection.
pub async fn serve(listener: UnixListener, agent: Arc<dyn Agent>, limits: Limits) {
    let mut tasks = JoinSet::new();
    let mut users: BTreeMap<tokio::task::Id, u32> = BTreeMap::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else {
                    // Out of descriptors: what is open now will end.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                };
                let Ok(user) = stream.peer_cred().map(|peer| peer.uid()) else { continue };
                let of_user = users.values().filter(|other| **other == user).count();
                let room = match user {
                    0 => limits.connections,
                    _ => limits.connections - limits.connections_of_a_user,
                };
                if users.len() >= room || (user != 0 && of_user >= limits.connections_of_a_user) {
                    continue;
                }
                let task = tasks.spawn(converse(stream, agent.clone(), limits));
                users.insert(task.id(), user);
            }
            Some(ended) = tasks.join_next_with_id() => {
                let id = match ended {
                    Ok((id, ())) => id,
                    Err(error) => error.id(),
                };
                users.remove(&id);
            }
        }
    }
}

/// One connection from its first request to its end.
async fn converse(stream: UnixStream, agent: Arc<dyn Agent>, limits: Limits) {
    let Ok(peer) = Peer::of(&stream) else { return };
    let mut frames = Frames::new(stream, limits.frame);
    loop {
        let Ok(Ok(call)) = timeout(limits.idle, frames.receive::<Call>()).await else { return };
        let Call { method, parameters, oneway, more } = call;
        let turn = Turn { frames: &mut frames, agent: agent.as_ref(), peer: &peer, limits, oneway, more };
        if turn.answer(&method, parameters).await.is_err() {
            return;
        }
    }
}

/// The client can't be talked to any more.
struct Gone;

/// One request and its answer.
struct Turn<'a> {
    frames: &'a mut Frames,
    agent: &'a dyn Agent,
    peer: &'a Peer,
    limits: Limits,
    oneway: bool,
    more: bool,
}

impl Turn<'_> {
    async fn answer(mut self, method: &str, parameters: Option<serde_json::Value>) -> Result<(), Gone> {
        if let Some(about) = method.strip_prefix("org.varlink.service.") {
            return self.introduce(about, parameters).await;
        }
        let name = method.strip_prefix(INTERFACE_NAME).and_then(|rest| rest.strip_prefix('.'));
        let Some(verb) = name.and_then(Verb::of_method) else {
            return self.error(&ServiceError::MethodNotFound { method }).await;
        };
        // Before the parameters are looked at: who may not ask learns nothing about them.
        if !self.agent.access().allows(self.peer, verb) {
            return self.error(&not_allowed(verb)).await;
        }
        match Request::decode(verb, parameters) {
            Ok(request) => self.ask(request).await,
            Err(why) => self.error(&ServiceError::InvalidParameter { parameter: &why.to_string() }).await,
        }
    }

    async fn ask(&mut self, request: Request) -> Result<(), Gone> {
        let (more, mut progress) = mpsc::channel(16);
        let (last, answer) = oneshot::channel();
        let more = self.more.then_some(more);
        let replies = Replies { more, last };
        let follows = request.verb() == Verb::Events;
        self.agent.ask(Asked { request, peer: self.peer.clone(), replies });
        loop {
            let reply = tokio::select! {
                reply = progress.recv() => reply,
                // Who follows may say nothing for hours: only the end of the connection tells that nobody does.
                () = self.frames.closed(), if follows => return Err(Gone),
            };
            let Some(reply) = reply else { break };
            self.send(&Answer { parameters: &reply, continues: true }).await?;
        }
        match answer.await {
            Ok(Ok(reply)) => self.reply(&reply).await,
            Ok(Err(refusal)) => self.error(&refusal).await,
            Err(_) => self.error(&Refusal::Busy).await,
        }
    }

    /// The interface every Varlink service has.
    async fn introduce(&mut self, about: &str, parameters: Option<serde_json::Value>) -> Result<(), Gone> {
        match about {
            "GetInfo" => {
                let info = Info {
                    vendor: "agentd",
                    product: "agentd",
                    version: env!("CARGO_PKG_VERSION"),
                    url: "",
                    interfaces: ["org.varlink.service", INTERFACE_NAME],
                };
                self.reply(&info).await
            }
            "GetInterfaceDescription" => {
                let interface = parameters.as_ref().and_then(|value| value.get("interface")?.as_str());
                match interface {
                    Some(INTERFACE_NAME) => self.reply(&Description { description: INTERFACE }).await,
                    Some("org.varlink.service") => {
                        self.reply(&Description { description: SERVICE_INTERFACE }).await
                    }
                    Some(interface) => self.error(&ServiceError::InterfaceNotFound { interface }).await,
                    None => self.error(&ServiceError::InvalidParameter { parameter: "interface" }).await,
                }
            }
            method => self.error(&ServiceError::MethodNotFound { method }).await,
        }
    }

    async fn reply(&mut self, parameters: &impl Serialize) -> Result<(), Gone> {
        self.send(&Answer { parameters, continues: false }).await
    }

    async fn error(&mut self, error: &impl Serialize) -> Result<(), Gone> {
        self.send(error).await
    }

    async fn send(&mut self, message: &impl Serialize) -> Result<(), Gone> {
        if self.oneway {
            return Ok(());
        }
        match timeout(self.limits.write, self.frames.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }
}

/// The errors of the interface every Varlink service has.
#[derive(Serialize)]
#[serde(tag = "error", content = "parameters")]
enum ServiceError<'a> {
    #[serde(rename = "org.varlink.service.InterfaceNotFound")]
    InterfaceNotFound { interface: &'a str },
    #[serde(rename = "org.varlink.service.MethodNotFound")]
    MethodNotFound { method: &'a str },
    #[serde(rename = "org.varlink.service.InvalidParameter")]
    InvalidParameter { parameter: &'a str },
}

#[derive(Serialize)]
struct Info {
    vendor: &'static str,
    product: &'static str,
    version: &'static str,
    url: &'static str,
    interfaces: [&'static str; 2],
}

#[derive(Serialize)]
struct Description {
    description: &'static str,
}

const SERVICE_INTERFACE: &str = include_str!("org.varlink.service.varlink");

fn not_allowed(verb: Verb) -> Refusal {
    let who = match verb.right() {
        Right::Read => "root and members of the group agentd",
        Right::Change => "root, and members of the group that `control.changers` of the settings names,",
    };
    Refusal::NotAllowed { who: who.to_owned() }
}
