//! One connection to the system bus: made when first needed, made anew when the bus or PID 1 was restarted, every
//! call with a deadline.
//!
//! The pass is synchronous, the bus library is not: a current-thread runtime of our own is driven exactly while a
//! call is under way. No thread, no wake-up in between; what the bus sends meanwhile waits in the socket.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_core::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use zbus::{Connection, DynamicType, Message, MessageStream, OwnedVariant, Type, fdo};

use super::types::UnitError;
use crate::host::counters::COUNTERS;

/// Where Debian's bus listens.
pub(super) const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";

pub(super) const MANAGER: &str = "org.freedesktop.systemd1.Manager";
pub(super) const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
pub(super) const UNIT: &str = "org.freedesktop.systemd1.Unit";
pub(super) const SYSTEMD: &str = "org.freedesktop.systemd1";
pub(super) const BUS: &str = "org.freedesktop.DBus";

/// How long one call may take: the bus's own custom. A reload of all unit files has its own limit.
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(25);

/// A re-executed PID 1 is back on the bus within a second; a bus that is away longer is away.
const PATIENCE: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// Why a call gave no answer.
#[derive(Debug)]
pub(super) enum BusError {
    /// The other end is not there, or went away.
    Gone(String),
    /// It answered with an error: its name and its words.
    Refused(String, String),
    /// It did not answer in time.
    Late(Duration),
    /// It answered something we do not understand.
    Strange(String),
}

impl BusError {
    /// The error for people, who asked for `operation` of `unit`.
    pub(super) fn telling(self, operation: &str, unit: &str) -> UnitError {
        let (operation, unit) = (operation.to_owned(), unit.to_owned());
        match self {
            BusError::Gone(message) | BusError::Strange(message) => UnitError::Unreachable { message },
            BusError::Refused(_, message) => UnitError::Refused { operation, unit, message },
            BusError::Late(limit) => UnitError::TimedOut { operation, unit, limit },
        }
    }

    /// Whether systemd answered with the error of this name.
    pub(super) fn is(&self, error: &str) -> bool {
        matches!(self, BusError::Refused(name, _) if name == error)
    }
}

impl From<zbus::Error> for BusError {
    fn from(error: zbus::Error) -> Self {
        use fdo::Error as Fdo;
        let text = error.to_string();
        match error {
            zbus::Error::InputOutput(_) | zbus::Error::Connection(..) | zbus::Error::Handshake(_) => {
                BusError::Gone(text)
            }
            zbus::Error::MethodError(name, message, _) => {
                BusError::Refused(name.to_string(), message.unwrap_or_else(|| name.to_string()))
            }
            zbus::Error::FDO(inner) => match *inner {
                Fdo::NoReply(_)
                | Fdo::Disconnected(_)
                | Fdo::ServiceUnknown(_)
                | Fdo::NameHasNoOwner(_)
                | Fdo::NoServer(_)
                | Fdo::IOError(_) => BusError::Gone(text),
                Fdo::ZBus(_) => BusError::Strange(text),
                known => {
                    let words = zbus::DBusError::description(&known).unwrap_or(&text).to_owned();
                    BusError::Refused(zbus::DBusError::name(&known).to_string(), words)
                }
            },
            _ => BusError::Strange(text),
        }
    }
}

/// The connection and what drives it.
pub(super) struct Bus {
    socket: PathBuf,
    live: Option<(Runtime, Peer)>,
}

/// A live connection. Calls are counted.
#[derive(Clone)]
pub(super) struct Peer(Connection);

impl Bus {
    /// A bus that listens at `socket`; not connected yet.
    pub(super) fn at(socket: impl AsRef<Path>) -> Self {
        Bus { socket: socket.as_ref().to_owned(), live: None }
    }

    /// Does `work` over a live connection. If one that was alive is gone, the work is done once more over a new one
    /// (it must be safe to repeat), and the bus gets the time of a restart to come back.
    pub(super) fn run<T>(&mut self, work: impl AsyncFn(Peer) -> Result<T, BusError>) -> Result<T, BusError> {
        let was_alive = self.live.is_some();
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.attempt(&work) {
                Err(BusError::Gone(message)) => {
                    self.live = None;
                    if !was_alive || attempt == PATIENCE {
                        return Err(BusError::Gone(message));
                    }
                    // The first time it was most likely our connection that had grown old.
                    if attempt > 1 {
                        std::thread::sleep(PAUSE);
                    }
                }
                done => return done,
            }
        }
    }

    fn attempt<T>(&mut self, work: &impl AsyncFn(Peer) -> Result<T, BusError>) -> Result<T, BusError> {
        let (runtime, peer) = match &self.live {
            Some(live) => live,
            None => {
                let live = connect(&self.socket)?;
                self.live.insert(live)
            }
        };
        runtime.block_on(work(peer.clone()))
    }
}

fn connect(socket: &Path) -> Result<(Runtime, Peer), BusError> {
    let gone = |error: io::Error| BusError::Gone(format!("{}: {error}", socket.display()));
    let runtime = Builder::new_current_thread().enable_all().build().map_err(gone)?;
    let peer = runtime.block_on(Peer::connect(socket))?;
    Ok((runtime, peer))
}

impl Peer {
    /// A connection that the runtime we are called on drives.
    pub(super) async fn connect(socket: &Path) -> Result<Peer, BusError> {
        let gone = |error: io::Error| BusError::Gone(format!("{}: {error}", socket.display()));
        let connecting = async {
            let stream = tokio::net::UnixStream::connect(socket).await.map_err(gone)?;
            let stream = stream.into_std().map_err(gone)?;
            zbus::connection::Builder::unix_stream(stream).build().await.map_err(BusError::from)
        };
        match timeout(CALL_LIMIT, connecting).await {
            Ok(connected) => connected.map(Peer),
            Err(_) => Err(BusError::Late(CALL_LIMIT)),
        }
    }

    /// A method of the bus itself.
    pub(super) async fn bus<R>(
        &self,
        method: &str,
        body: &(impl Serialize + DynamicType),
    ) -> Result<R, BusError>
    where
        R: DeserializeOwned + Type,
    {
        COUNTERS.bus_called();
        let calling = self.0.call_method(Some(BUS), "/org/freedesktop/DBus", Some(BUS), method, body);
        match timeout(CALL_LIMIT, calling).await {
            Ok(reply) => answer(&reply?),
            Err(_) => Err(BusError::Late(CALL_LIMIT)),
        }
    }

    /// Has the bus tell us of what these rules match, to whomever it is addressed. From then on we may not speak.
    pub(super) async fn become_monitor(&self, rules: &[String]) -> Result<(), BusError> {
        const MONITORING: &str = "org.freedesktop.DBus.Monitoring";
        COUNTERS.bus_called();
        let (path, body) = ("/org/freedesktop/DBus", (rules, 0_u32));
        let calling = self.0.call_method(Some(BUS), path, Some(MONITORING), "BecomeMonitor", &body);
        match timeout(CALL_LIMIT, calling).await {
            Ok(reply) => reply.map(drop).map_err(BusError::from),
            Err(_) => Err(BusError::Late(CALL_LIMIT)),
        }
    }

    /// Everything the bus sends us from now on. To be read while there is one: its queue is short.
    pub(super) fn everything(&self) -> MessageStream {
        MessageStream::from(&self.0)
    }

    /// A method of the manager.
    pub(super) async fn manager<R>(
        &self,
        method: &str,
        body: &(impl Serialize + DynamicType),
    ) -> Result<R, BusError>
    where
        R: DeserializeOwned + Type,
    {
        self.call(MANAGER_PATH, MANAGER, method, body).await
    }

    /// A method of an object of systemd.
    pub(super) async fn call<R>(
        &self,
        path: &str,
        interface: &str,
        method: &str,
        body: &(impl Serialize + DynamicType),
    ) -> Result<R, BusError>
    where
        R: DeserializeOwned + Type,
    {
        let reply = self.message(path, interface, method, body, CALL_LIMIT).await?;
        answer(&reply)
    }

    /// A method, with a limit; the whole reply.
    pub(super) async fn message(
        &self,
        path: &str,
        interface: &str,
        method: &str,
        body: &(impl Serialize + DynamicType),
        limit: Duration,
    ) -> Result<Message, BusError> {
        COUNTERS.bus_called();
        let calling = self.0.call_method(Some(SYSTEMD), path, Some(interface), method, body);
        match timeout(limit, calling).await {
            Ok(reply) => Ok(reply?),
            Err(_) => Err(BusError::Late(limit)),
        }
    }

    /// A property of an object of systemd.
    pub(super) async fn property<V>(&self, path: &str, interface: &str, name: &str) -> Result<V, BusError>
    where
        V: TryFrom<OwnedVariant>,
    {
        const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
        let value: OwnedVariant = self.call(path, PROPERTIES, "Get", &(interface, name)).await?;
        V::try_from(value).map_err(|_| BusError::Strange(format!("property {name} has another type")))
    }

    /// Signals of the manager with this name, from now on. The bus lets nobody but systemd's owner match, but
    /// anyone may address a signal to us: compare its sender.
    pub(super) async fn signals(&self, member: &str) -> Result<MessageStream, BusError> {
        let rule = zbus::MatchRule::builder()
            .msg_type(zbus::message::Type::Signal)
            .sender(SYSTEMD)
            .path(MANAGER_PATH)
            .interface(MANAGER)
            .member(member)
            .build()?;
        COUNTERS.bus_called();
        match timeout(CALL_LIMIT, MessageStream::for_match_rule(rule, &self.0, QUEUE)).await {
            Ok(stream) => Ok(stream?),
            Err(_) => Err(BusError::Late(CALL_LIMIT)),
        }
    }
}

/// A full queue would stop the reader, and with it the reply we wait for: room for more jobs than a host has units.
const QUEUE: Option<std::num::NonZeroUsize> = std::num::NonZeroUsize::new(4096);

/// The next signal, or none when `limit` has passed. An ended stream is a lost connection.
pub(super) async fn next_within(
    stream: &mut MessageStream,
    limit: Duration,
) -> Result<Option<Message>, BusError> {
    match timeout(limit, next(stream)).await {
        Err(_) => Ok(None),
        Ok(message) => message.map(Some),
    }
}

/// The next message. An ended stream is a lost connection.
pub(super) async fn next(stream: &mut MessageStream) -> Result<Message, BusError> {
    match std::future::poll_fn(|cx| std::pin::Pin::new(&mut *stream).poll_next(cx)).await {
        Some(message) => Ok(message?),
        None => Err(BusError::Gone("the connection was closed".into())),
    }
}

/// The body of a reply or a signal.
pub(super) fn answer<R: DeserializeOwned + Type>(message: &Message) -> Result<R, BusError> {
    // Our own copy of the wanted type decides, not the sender's word for it.
    message
        .body()
        .deserialize_ignore_signature::<R>()
        .map_err(|error| BusError::Strange(format!("an answer that can't be read: {error}")))
}

/// The object of a unit, by its name: every byte but letters and digits as `_xx` (`bus_label_escape`).
pub(super) fn object_of(unit: &str) -> String {
    use std::fmt::Write as _;
    let mut path = String::from("/org/freedesktop/systemd1/unit/");
    for (index, byte) in unit.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => path.push(char::from(byte)),
            b'0'..=b'9' if index > 0 => path.push(char::from(byte)),
            _ => {
                // Writing to a string never fails.
                let _ = write!(path, "_{byte:02x}");
            }
        }
    }
    path
}

/// The unit of an object: the reverse of [`object_of`]. None if it is no unit's.
pub(super) fn unit_of(object: &str) -> Option<String> {
    let label = object.strip_prefix(MANAGER_PATH)?.strip_prefix("/unit/")?;
    let mut parts = label.split('_');
    let mut name = parts.next()?.as_bytes().to_vec();
    for part in parts {
        name.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        name.extend(part.bytes().skip(2));
    }
    String::from_utf8(name).ok()
}

/// Awaits all, in their order of starting; the calls are on their way together.
pub(super) async fn all<T: Send + 'static>(
    work: Vec<impl Future<Output = T> + Send + 'static>,
) -> Result<Vec<T>, BusError> {
    let tasks: Vec<_> = work.into_iter().map(tokio::spawn).collect();
    let mut done = Vec::with_capacity(tasks.len());
    for task in tasks {
        done.push(task.await.map_err(|error| BusError::Strange(error.to_string()))?);
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_of_a_unit_is_escaped_as_systemd_does() {
        assert_eq!(object_of("dbus.service"), "/org/freedesktop/systemd1/unit/dbus_2eservice");
        assert_eq!(object_of("getty@tty1.service"), "/org/freedesktop/systemd1/unit/getty_40tty1_2eservice");
        assert_eq!(object_of("9p.mount"), "/org/freedesktop/systemd1/unit/_39p_2emount");
        for unit in ["dbus.service", "getty@tty1.service", "9p.mount", "a\\x2db.service"] {
            assert_eq!(unit_of(&object_of(unit)).as_deref(), Some(unit));
        }
        for object in
            ["/org/freedesktop/systemd1/unit/a_2", "/org/freedesktop/systemd1/unit/a_zz", "/x/unit/a"]
        {
            assert_eq!(unit_of(object), None, "{object}");
        }
    }

    #[test]
    fn a_bus_that_is_not_there_is_said_and_nothing_hangs() {
        let mut bus = Bus::at("/nonexistent/bus");
        let error = bus.run(async |peer| peer.manager::<()>("Reload", &()).await).unwrap_err();
        assert!(matches!(error, BusError::Gone(_)), "{error:?}");
    }
}
