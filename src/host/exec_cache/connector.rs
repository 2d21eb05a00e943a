//! The same notes where the kernel takes no BPF programs: its process connector tells of every fork and exec, and what
//! was started is read from /proc while it lives. Costs a wake-up for each process, so it is only ever the second choice.
//!
//! What ended before it could be read, or ran something else by then, has no program in its note: nobody is named
//! after what they may have run. The formats are those of `linux/netlink.h`, `linux/connector.h` and `linux/cn_proc.h`.

use std::collections::{HashMap, VecDeque};
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
use rustix::time::{ClockId, clock_gettime};

use super::{ExecCache, Executed, FIRST_NAMESPACE, FIRST_NAMESPACE_NUMBER, OpenError, PROCESSES};
use crate::host::process;
use crate::model::{Evidence, ProcessFacts};

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
/// As much of a command line is kept as the notes of the kernel's own programs hold.
const COMMAND: usize = 256;
/// So many programs may be read at once, and so many a second after that: a tenth of a millisecond each.
const BURST: u32 = 1000;
const A_SECOND: u32 = 200;

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

/// What the connector tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Fork { at: Duration, parent: u32, child: u32 },
    Exec { at: Duration, pid: u32 },
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

/// Notes by process, newest first: at most two of one process.
#[derive(Default)]
struct Notes {
    by_pid: HashMap<u32, Vec<Note>>,
    /// In the order in which processes came up first.
    order: VecDeque<u32>,
    groups: HashMap<String, u64>,
    left: u32,
    refilled: Duration,
}

#[derive(Clone)]
struct Note {
    image: Executed,
    /// When /proc was read for it, on the monotonic clock.
    read: Duration,
}

/// Reads what a process shows now.
type Look<'a> = &'a dyn Fn(u32) -> Option<ProcessFacts>;

impl Notes {
    fn hear(&mut self, event: Event, look: Look<'_>) {
        match event {
            Event::Fork { at, parent, child } => self.forked(at, parent, child, look),
            Event::Exec { at, pid } => self.executed(at, pid, look),
        }
    }

    fn images(&self, pid: u32) -> Vec<Executed> {
        self.by_pid.get(&pid).into_iter().flatten().map(|note| note.image.clone()).collect()
    }

    fn all(&self) -> Vec<Executed> {
        self.by_pid.values().flatten().map(|note| note.image.clone()).collect()
    }

    fn forget(&mut self) {
        *self = Notes::default();
    }

    fn forked(&mut self, at: Duration, parent: u32, child: u32, look: Look<'_>) {
        let since = since_boot(at);
        let known = self.by_pid.get(&parent).and_then(|notes| notes.first());
        let image = match known {
            Some(known) => Executed {
                pid: child,
                started: ticks(since),
                since,
                is_fork: true,
                parent,
                parent_started: known.image.started,
                ..known.image.clone()
            },
            // The parent was there before we were: what the child is called tells whether it runs the same.
            None => {
                let facts = self.look(child, at, look);
                let name = facts.as_ref().map(|facts| facts.name.clone()).unwrap_or_default();
                let mut image = self.image(child, since, facts);
                (image.is_fork, image.parent, image.name) = (true, parent, name);
                (image.file, image.interpreter, image.command) = Default::default();
                image
            }
        };
        self.by_pid.insert(child, Vec::new());
        self.put(child, Note { image, read: at });
    }

    fn executed(&mut self, at: Duration, pid: u32, look: Look<'_>) {
        // What was read for the program before may have been this one already: then nobody knows what that was.
        if let Some(before) = self.by_pid.get(&pid).and_then(|notes| notes.first())
            && !before.image.is_fork
            && before.read >= at
        {
            let from = before.image.since;
            self.doubt(pid, from..since_boot(at));
        }
        let since = since_boot(at);
        let facts = self.look(pid, at, look);
        let read = monotonic();
        let mut image = self.image(pid, since, facts);
        if let Some(before) = self.by_pid.get(&pid).and_then(|notes| notes.first()) {
            // One process: its start is told the same in all of its notes.
            match image.started {
                0 => image = Executed { is_fork: false, ..blank(&before.image, since) },
                started => self
                    .by_pid
                    .entry(pid)
                    .or_default()
                    .iter_mut()
                    .for_each(|note| note.image.started = started),
            }
        }
        self.put(pid, Note { image, read });
    }

    /// Takes the program out of what is noted of a process in this time, and of those that were forked from it then.
    fn doubt(&mut self, pid: u32, time: std::ops::Range<Duration>) {
        let mut doubtful = vec![pid];
        while let Some(one) = doubtful.pop() {
            let forked = self.by_pid.values_mut().flatten().map(|note| &mut note.image);
            let forked = forked.filter(|image| {
                let is_copy = image.is_fork && image.parent == one && !image.interpreter.is_empty();
                time.contains(&image.since) && (is_copy || image.pid == pid && one == pid && !image.is_fork)
            });
            for image in forked {
                (image.file, image.interpreter, image.command) = Default::default();
                image.name.clear();
                doubtful.extend((image.pid != pid).then_some(image.pid));
            }
        }
    }

    /// What the process shows, if it is still that of the event and there is time for it.
    fn look(&mut self, pid: u32, at: Duration, look: Look<'_>) -> Option<ProcessFacts> {
        let earned = at.saturating_sub(self.refilled).as_millis() * u128::from(A_SECOND) / 1000;
        if let Ok(earned @ 1..) = u32::try_from(earned.min(BURST.into())) {
            self.left = self.left.saturating_add(earned).min(BURST);
            self.refilled = at;
        }
        self.left = self.left.checked_sub(1)?;
        look(pid).filter(|facts| facts.started <= ticks(since_boot(at)))
    }

    fn image(&mut self, pid: u32, since: Duration, facts: Option<ProcessFacts>) -> Executed {
        let facts = facts.unwrap_or_default();
        let parent_started = self
            .by_pid
            .get(&facts.parent)
            .and_then(|notes| notes.first())
            .map_or(0, |parent| parent.image.started);
        let program = facts.executable.unwrap_or_default();
        Executed {
            pid,
            started: facts.started,
            since,
            is_fork: false,
            parent: facts.parent,
            parent_started,
            uid: facts.uid.unwrap_or(u32::MAX),
            euid: facts.euid.unwrap_or(u32::MAX),
            login: facts.login,
            session: facts.session,
            cgroup: facts.cgroup.map_or(0, |group| self.group(group)),
            namespace: if facts.is_contained { 1 } else { FIRST_NAMESPACE_NUMBER },
            name: facts.name,
            file: program.clone(),
            interpreter: program,
            command: cut(facts.command),
            source: Evidence::ExecConnector,
        }
    }

    /// The number of a control group, by which its path is found again for as long as it is there.
    fn group(&mut self, path: String) -> u64 {
        if self.groups.len() >= PROCESSES as usize {
            self.groups.clear();
        }
        *self.groups.entry(path).or_insert_with_key(|path| super::number_of_group(path).unwrap_or(0))
    }

    fn put(&mut self, pid: u32, note: Note) {
        let notes = self.by_pid.entry(pid).or_default();
        if notes.is_empty() {
            self.order.push_back(pid);
        }
        notes.insert(0, note);
        notes.truncate(2);
        while self.order.len() > PROCESSES as usize {
            let Some(oldest) = self.order.pop_front() else { break };
            // One that came up again is in the line twice.
            if !self.order.contains(&oldest) {
                self.by_pid.remove(&oldest);
            }
        }
    }
}

/// A note of the same process without a program.
fn blank(of: &Executed, since: Duration) -> Executed {
    let (name, file, interpreter, command) = Default::default();
    Executed { since, name, file, interpreter, command, ..of.clone() }
}

fn cut(command: Vec<String>) -> Vec<String> {
    let mut left = COMMAND;
    let fits = |argument: &String| {
        let fits = argument.len() < left;
        left = left.saturating_sub(argument.len() + 1);
        fits
    };
    command.into_iter().take_while(fits).collect()
}

/// A hundredth of a second each.
fn ticks(since_boot: Duration) -> u64 {
    u64::try_from(since_boot.as_millis() / 10).unwrap_or(u64::MAX)
}

fn monotonic() -> Duration {
    duration(ClockId::Monotonic)
}

/// A moment of the monotonic clock on the one that also counts while the host sleeps.
fn since_boot(at: Duration) -> Duration {
    at + duration(ClockId::Boottime).saturating_sub(monotonic())
}

fn duration(clock: ClockId) -> Duration {
    let now = clock_gettime(clock);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::process::{Command, Stdio};
    use std::time::Instant;

    use super::*;

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

    /// A world in which each process shows what it is told to.
    #[derive(Default)]
    struct World(RefCell<HashMap<u32, ProcessFacts>>);

    impl World {
        fn runs(&self, pid: u32, program: Option<&str>) {
            let facts = program.map(|program| ProcessFacts {
                pid,
                executable: Some(program.to_owned()),
                name: "x".to_owned(),
                started: 1,
                ..ProcessFacts::default()
            });
            match facts {
                Some(facts) => drop(self.0.borrow_mut().insert(pid, facts)),
                None => drop(self.0.borrow_mut().remove(&pid)),
            }
        }

        fn hear(&self, notes: &mut Notes, event: Event) {
            notes.hear(event, &|pid| self.0.borrow().get(&pid).cloned());
        }
    }

    fn programs(notes: &Notes, pid: u32) -> Vec<String> {
        notes.images(pid).into_iter().map(|image| image.interpreter).collect()
    }

    /// Long before now, so that everything that is read is read after it.
    fn at(ms: u64) -> Duration {
        Duration::from_secs(60) + Duration::from_millis(ms)
    }

    #[test]
    fn a_program_that_ran_something_else_before_it_was_read_has_no_name_nor_have_its_children() {
        let (world, mut notes) = (World::default(), Notes::default());
        world.runs(7, Some("/bin/second"));
        world.hear(&mut notes, Event::Exec { at: at(0), pid: 7 });
        world.hear(&mut notes, Event::Fork { at: at(1), parent: 7, child: 8 });
        world.hear(&mut notes, Event::Fork { at: at(2), parent: 8, child: 9 });
        assert_eq!(programs(&notes, 9), ["/bin/second"], "so it seems");
        world.hear(&mut notes, Event::Exec { at: at(3), pid: 7 });
        assert_eq!(programs(&notes, 7), ["/bin/second", ""]);
        assert_eq!((programs(&notes, 8), programs(&notes, 9)), (vec![String::new()], vec![String::new()]));
        world.hear(&mut notes, Event::Fork { at: at(4), parent: 7, child: 10 });
        assert_eq!(programs(&notes, 10), ["/bin/second"]);
    }

    #[test]
    fn what_is_gone_or_was_handed_on_or_came_too_fast_has_no_name() {
        let (world, mut notes) = (World::default(), Notes::default());
        world.runs(7, Some("/bin/shell"));
        world.hear(&mut notes, Event::Exec { at: at(0), pid: 7 });
        world.hear(&mut notes, Event::Fork { at: at(1), parent: 7, child: 8 });
        world.hear(&mut notes, Event::Exec { at: at(2), pid: 8 });
        assert_eq!(programs(&notes, 8), ["", "/bin/shell"], "it ended before it was read");
        assert_eq!(notes.images(8)[0].parent, 7, "whose child it is is known");
        let mut later = ProcessFacts { started: 100_000_000_000, ..world.0.borrow()[&7].clone() };
        later.pid = 9;
        world.0.borrow_mut().insert(9, later);
        world.hear(&mut notes, Event::Exec { at: at(3), pid: 9 });
        assert_eq!(programs(&notes, 9), [""], "another process bears the number by now");
        notes.left = 0;
        world.hear(&mut notes, Event::Exec { at: at(3), pid: 7 });
        assert_eq!(programs(&notes, 7)[0], "", "so many at once are not read");
    }

    #[test]
    fn memory_is_bounded_and_what_was_lost_is_not_made_up() {
        let (world, mut notes) = (World::default(), Notes::default());
        for pid in 1..10_000 {
            world.hear(&mut notes, Event::Fork { at: at(pid.into()), parent: 1, child: pid });
        }
        assert_eq!(notes.by_pid.len(), PROCESSES as usize);
        assert!(notes.images(1).is_empty() && !notes.images(9_999).is_empty());
        notes.forget();
        assert!(notes.all().is_empty());
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
