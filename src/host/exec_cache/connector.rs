//! The same notes where the kernel takes no BPF programs: its process connector tells of every fork and exec, and what
//! was started is read from /proc while it lives. Costs a wake-up for each process, so it is only ever the second choice.
//!
//! What ended before it could be read, or ran something else by then, has no program in its note: nobody is named
//! after what they may have run. The formats are those of `linux/netlink.h`, `linux/connector.h` and `linux/cn_proc.h`.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, netlink, recv, send, socket_with,
    sockopt,
};

use super::heard::{Event, Notes};
use super::{ExecCache, Executed, FIRST_NAMESPACE, OpenError};
use crate::host::process;

/// `CN_IDX_PROC`: the number of the connector and of its group.
const CONNECTOR: u32 = 1;
/// `NLMSG_DONE`, the type of every message of a connector.
const DONE: u16 = 3;
/// `PROC_CN_MCAST_LISTEN`.
const LISTEN: u32 = 1;
/// `PROC_EVENT_FORK` and `PROC_EVENT_EXEC`.
const FORK: u32 = 1;
const EXEC: u32 = 2;
/// `struct nlmsghdr` and `struct cn_msg`.
const HEADERS: usize = 16 + 20;
/// `struct proc_event` up to its union.
const EVENT_HEAD: usize = 16;
/// Room for what comes while the reader sleeps: some ten thousand events.
const ROOM: usize = 4 << 20;
/// What the connector told, and what /proc showed then.
pub struct Connector {
    shared: Arc<Shared>,
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    socket: OwnedFd,
    notes: Mutex<Notes>,
}

impl Connector {
    /// Listens from now on. Fails outside of the first process namespace and without the right to listen.
    pub fn open() -> Result<Self, OpenError> {
        let namespace = rustix::fs::readlink("/proc/self/ns/pid", Vec::new());
        if !namespace.is_ok_and(|name| name.to_bytes() == FIRST_NAMESPACE.as_bytes()) {
            return Err(OpenError::Namespace);
        }
        let refused = |doing| move |source| OpenError::Refused { doing, source };
        let socket = listen().map_err(refused("tell of processes through its process connector"))?;
        let shared = Arc::new(Shared { socket, notes: Mutex::default() });
        let stop = eventfd(0, EventfdFlags::CLOEXEC).map_err(io::Error::from);
        let stop = Arc::new(stop.map_err(refused("give a handle to end the listening with"))?);
        let (reader, told) = (Arc::clone(&shared), Arc::clone(&stop));
        let thread = std::thread::Builder::new().name("connector".to_owned());
        let thread = thread.spawn(move || reader.run(&told)).map_err(refused("start a thread"))?;
        Ok(Connector { shared, stop, thread: Some(thread) })
    }
}

impl Drop for Connector {
    fn drop(&mut self) {
        let _ = rustix::io::write(&*self.stop, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl ExecCache for Connector {
    fn images(&self, pid: u32) -> io::Result<Vec<Executed>> {
        Ok(self.shared.up_to_date()?.images(pid))
    }

    fn recent(&self, since: Duration) -> io::Result<Vec<Executed>> {
        let mut recent = self.shared.up_to_date()?.all();
        recent.retain(|note| note.since >= since);
        recent.sort_by_key(|note| note.since);
        Ok(recent)
    }
}

fn listen() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(netlink::CONNECTOR))?;
    bind(&socket, &netlink::SocketAddrNetlink::new(0, CONNECTOR))?;
    // More than the host's limit is root's right.
    sockopt::set_socket_recv_buffer_size_force(&socket, ROOM)
        .or_else(|_| sockopt::set_socket_recv_buffer_size(&socket, ROOM))?;
    send(&socket, &order(&[LISTEN]), SendFlags::empty())?;
    // Kernels since 6.6 tell only what is asked for; those before pass over what is longer than they know.
    send(&socket, &order(&[LISTEN, FORK | EXEC]), SendFlags::empty())?;
    Ok(socket)
}

/// A message to the connector.
fn order(words: &[u32]) -> Vec<u8> {
    let body: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let length = u32::try_from(HEADERS + body.len()).unwrap_or_default();
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(DONE.to_ne_bytes());
    message.extend([0; 10]);
    message.extend([CONNECTOR.to_ne_bytes(), CONNECTOR.to_ne_bytes(), [0; 4], [0; 4]].concat());
    message.extend(u16::try_from(body.len()).unwrap_or_default().to_ne_bytes());
    message.extend([0; 2]);
    message.extend(body);
    message
}

impl Shared {
    fn run(&self, stop: &OwnedFd) {
        loop {
            let mut wait = [
                PollFd::from_borrowed_fd(stop.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::IN),
            ];
            match poll(&mut wait, None) {
                Err(Errno::INTR) => continue,
                Err(_) => return,
                Ok(_) if !wait[0].revents().is_empty() => return,
                Ok(_) => {}
            }
            if self.up_to_date().is_err() {
                return;
            }
        }
    }

    /// The notes with everything in them that was told until now.
    fn up_to_date(&self) -> io::Result<std::sync::MutexGuard<'_, Notes>> {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut datagram = [0u8; 4096];
        loop {
            match recv(&self.socket, &mut datagram[..], RecvFlags::empty()) {
                Ok((length, _)) => {
                    for event in events(&datagram[..length]) {
                        notes.hear(event, &process::now);
                    }
                }
                Err(Errno::AGAIN) => return Ok(notes),
                Err(Errno::INTR) => {}
                // Who was forked from whom, and what they run now, is not known any more.
                Err(Errno::NOBUFS) => notes.forget(),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// The events of a datagram. Times are on the monotonic clock. Threads are no processes of their own.
fn events(datagram: &[u8]) -> Vec<Event> {
    let mut found = Vec::new();
    let mut rest = datagram;
    while let Some(length) = word(rest, 0) {
        let Some(message) = rest.get(..length as usize).filter(|message| message.len() >= HEADERS) else {
            break;
        };
        found.extend(event(&message[HEADERS..]));
        rest = rest.get((length as usize).next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

fn event(body: &[u8]) -> Option<Event> {
    let at = Duration::from_nanos(u64::from_ne_bytes(body.get(8..16)?.try_into().ok()?));
    let field = |number: usize| word(body, EVENT_HEAD + number * 4);
    match word(body, 0)? {
        FORK => {
            let (parent, child, group) = (field(1)?, field(2)?, field(3)?);
            (child == group).then_some(Event::Fork { at, parent, child })
        }
        EXEC => Some(Event::Exec { at, pid: field(1)? }),
        _ => None,
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::Instant;

    use super::super::FIRST_NAMESPACE_NUMBER;
    use super::*;
    use crate::model::Evidence;

    /// Runs `sh -c SCRIPT` with its input open until `enough` says so.
    #[allow(clippy::disallowed_methods)] // tests start programs the way others do
    fn ran(script: &str, enough: impl Fn(u32) -> bool) -> u32 {
        let mut child = Command::new("/bin/sh").args(["-c", script]).stdin(Stdio::piped()).spawn().unwrap();
        let pid = child.id();
        let end = Instant::now() + Duration::from_secs(60);
        while !enough(pid) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(child.stdin.take());
        child.wait().unwrap();
        pid
    }

    #[test]
    fn what_a_process_runs_and_what_it_was_forked_from_are_known_after_its_end() {
        let connector = Connector::open().expect("the right to listen to the process connector");
        let real = |name: &str| std::fs::canonicalize(name).unwrap().to_str().unwrap().to_owned();
        let is_read = |pid: u32| {
            let images = connector.images(pid).unwrap();
            images.first().is_some_and(|image| image.interpreter == real("/bin/cat"))
        };
        for _ in 0..5 {
            let pid = ran("exec /bin/cat", is_read);
            let images = connector.images(pid).unwrap();
            assert!(images.iter().all(|image| image.pid == pid && image.started > 0), "{images:?}");
            assert_eq!(images[0].interpreter, real("/bin/cat"), "{images:?}");
            assert_eq!(images[0].command[0], "/bin/cat");
            assert_eq!((images[0].parent, images[0].uid, images[0].is_fork), (std::process::id(), 0, false));
            assert_eq!(images[0].source, Evidence::ExecConnector);
            assert_eq!(images[0].namespace, FIRST_NAMESPACE_NUMBER);
            assert!(connector.recent(images[0].since).unwrap().contains(&images[0]));
        }
        // What ends before it can be read may be without a name, and never has a wrong one.
        for round in 0..20 {
            let pid = ran(&format!("exec /bin/sleep 0.00{round}"), |_| true);
            let images = connector.images(pid).unwrap();
            let right = |name: &str| name.is_empty() || name == real("/bin/sleep");
            assert!(images.first().is_none_or(|image| right(&image.interpreter)), "{images:?}");
        }
    }

    #[test]
    fn messages_are_read_and_no_bytes_make_the_reader_panic() {
        let message = |what: u32, fields: &[u32]| {
            let mut body = [what.to_ne_bytes(), [0; 4]].concat();
            body.extend(5u64.to_ne_bytes());
            body.extend(fields.iter().flat_map(|field| field.to_ne_bytes()));
            let mut message = order(&[]);
            message[0..4].copy_from_slice(&((HEADERS + body.len()) as u32).to_ne_bytes());
            [message, body].concat()
        };
        let at = Duration::from_nanos(5);
        let both =
            [message(FORK, &[3, 3, 4, 4]), message(FORK, &[3, 3, 5, 4]), message(EXEC, &[4, 4])].concat();
        assert_eq!(events(&both), [Event::Fork { at, parent: 3, child: 4 }, Event::Exec { at, pid: 4 }]);
        proptest::proptest!(|(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200), cut in 0usize..120)| {
            events(&bytes);
            events(&both[..cut.min(both.len())]);
        });
    }
}
