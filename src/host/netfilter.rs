//! The kernel's packet filter: its generation id, which moves with every change of any table.
//!
//! Spoken over a raw netlink socket: one message there, one back, microseconds. The message formats are those of
//! `linux/netlink.h`, `linux/netfilter/nfnetlink.h` and `linux/netfilter/nf_tables.h`.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, netlink, recv, send, socket_with,
    sockopt,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Asks the kernel.
pub trait Netfilter: Send + Sync {
    /// The generation id of this network namespace's rule set. Equal ids mean that nothing changed in between
    /// (microseconds, where a listing costs milliseconds and a process).
    fn generation(&self) -> io::Result<u32>;
}

/// `NFNL_SUBSYS_NFTABLES` in the upper byte, `NFT_MSG_GETGEN` in the lower.
const GET_GENERATION: u16 = 10 << 8 | 16;
/// The same with `NFT_MSG_NEWGEN`.
const NEW_GENERATION: u16 = 10 << 8 | 15;
/// `NLMSG_ERROR`.
const ERROR: u16 = 2;
/// `NLM_F_REQUEST`.
const REQUEST: u16 = 1;
/// `NFTA_GEN_ID`: the generation, big-endian.
const GENERATION_ID: u16 = 1;
/// `NFTA_GEN_PROC_PID`.
const PROCESS_ID: u16 = 2;
/// `NFTA_GEN_PROC_NAME`.
const PROCESS_NAME: u16 = 3;
/// `NFNLGRP_NFTABLES` is 7; groups are bits, the first of them bit 0.
const GROUP: u32 = 1 << 6;
/// The kernel packs announcements into datagrams of at most this size.
const DATAGRAM_LIMIT: usize = 64 << 10;
/// `struct nlmsghdr` and `struct nfgenmsg`.
const HEADERS: usize = 16 + 4;
/// The kernel answers at once; a socket that stays silent this long is broken.
const PATIENCE: Duration = Duration::from_secs(1);

/// The kernel of this host, in the network namespace in which it was opened.
pub struct SystemNetfilter {
    socket: OwnedFd,
}

impl SystemNetfilter {
    /// Opens the socket; it stays in the caller's network namespace.
    pub fn open() -> io::Result<Self> {
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(netlink::NETFILTER),
        )?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(PATIENCE))?;
        Ok(SystemNetfilter { socket })
    }
}

impl Netfilter for SystemNetfilter {
    fn generation(&self) -> io::Result<u32> {
        send(&self.socket, &request(), SendFlags::empty())?;
        let mut answer = [0u8; 4096];
        let (length, _) = recv(&self.socket, &mut answer, RecvFlags::empty())?;
        let mut generations = announcements(&answer[..length])?;
        generations.pop().map(|announced| announced.generation).ok_or_else(malformed)
    }
}

/// Hears of every new generation, without asking.
pub struct Monitor {
    socket: OwnedFd,
}

/// A new generation, as the kernel announces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// Its id.
    pub generation: u32,
    /// The netlink port of who made it: for nft, its process id in its own process namespace.
    pub port: u32,
    /// The process that made it, in the initial process namespace; usually gone by now.
    pub process: Option<u32>,
    /// The name of that process.
    pub name: Option<String>,
}

/// What a monitor heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// These generations, oldest first; none if there was nothing to hear.
    Generations(Vec<Announced>),
    /// More than the kernel keeps for us: something changed, and who did it is lost.
    Missed,
}

impl Monitor {
    /// Begins to listen, in the caller's network namespace.
    pub fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(netlink::NETFILTER))?;
        bind(&socket, &netlink::SocketAddrNetlink::new(0, GROUP))?;
        Ok(Monitor { socket })
    }

    /// Takes everything that was announced since the last call; never waits. To wait, poll the handle.
    pub fn hear(&self) -> io::Result<Heard> {
        let mut heard = Vec::new();
        let mut datagram = vec![0u8; DATAGRAM_LIMIT];
        loop {
            match recv(&self.socket, &mut datagram[..], RecvFlags::empty()) {
                Ok((length, _)) => heard.extend(announcements(&datagram[..length])?),
                Err(Errno::AGAIN) => return Ok(Heard::Generations(heard)),
                Err(Errno::INTR) => {}
                Err(Errno::NOBUFS) => return Ok(Heard::Missed),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Monitor {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// A monitor that can be waited for by the loop.
pub struct Waiting(AsyncFd<Monitor>);

impl Waiting {
    /// Hands a monitor to the runtime we are called on.
    #[allow(unsafe_code)]
    pub fn on_runtime(monitor: Monitor) -> io::Result<Self> {
        // SAFETY: the monitor owns its socket and gives back the same one for as long as it lives.
        let registered = unsafe { AsyncFd::register_with_interest(monitor, Interest::READABLE) };
        registered.map(Waiting).map_err(io::Error::from)
    }

    /// Waits until there is something to hear, and takes it all. After [`Heard::Missed`] there may be more: what came
    /// later is heard next time.
    pub async fn hear(&self) -> io::Result<Heard> {
        let mut ready = self.0.readable().await?;
        let heard = self.0.get_ref().hear();
        if matches!(heard, Ok(Heard::Generations(_))) {
            ready.clear_ready();
        }
        heard
    }
}

fn request() -> [u8; HEADERS] {
    let mut message = [0u8; HEADERS];
    message[0..4].copy_from_slice(&(HEADERS as u32).to_ne_bytes());
    message[4..6].copy_from_slice(&GET_GENERATION.to_ne_bytes());
    message[6..8].copy_from_slice(&REQUEST.to_ne_bytes());
    message
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the kernel's message has an unknown form")
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2).map(|b| u16::from_ne_bytes([b[0], b[1]]))
}

fn long(bytes: &[u8], at: usize) -> Option<[u8; 4]> {
    bytes.get(at..at + 4).map(|b| [b[0], b[1], b[2], b[3]])
}

/// The generations announced in one datagram. Messages about single rules are passed over.
fn announcements(datagram: &[u8]) -> io::Result<Vec<Announced>> {
    let mut found = Vec::new();
    let mut rest = datagram;
    while !rest.is_empty() {
        let length = long(rest, 0).map(u32::from_ne_bytes).ok_or_else(malformed)? as usize;
        // A message shorter than its own header would keep us here for ever. The last one of a datagram that was
        // cut off is longer than what is left: nothing of it is read.
        let Some(message) = rest.get(..length).filter(|message| message.len() >= HEADERS) else {
            return if length > rest.len() && rest.len() >= HEADERS { Ok(found) } else { Err(malformed()) };
        };
        match word(message, 4) {
            Some(NEW_GENERATION) => found.push(announcement(message).ok_or_else(malformed)?),
            Some(ERROR) => {
                let errno = i32::from_ne_bytes(long(message, 16).ok_or_else(malformed)?);
                return Err(io::Error::from_raw_os_error(errno.wrapping_neg()));
            }
            Some(_) | None => {}
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(found)
}

fn announcement(message: &[u8]) -> Option<Announced> {
    let port = long(message, 12).map(u32::from_ne_bytes)?;
    let (mut generation, mut process, mut name) = (None, None, None);
    let mut at = HEADERS;
    while let (Some(length), Some(kind)) = (word(message, at), word(message, at + 2)) {
        let value = message.get(at + 4..at + usize::from(length).max(4))?;
        match kind {
            GENERATION_ID => generation = long(value, 0).map(u32::from_be_bytes),
            PROCESS_ID => process = long(value, 0).map(u32::from_be_bytes),
            PROCESS_NAME => {
                let text = value.split(|byte| *byte == 0).next().unwrap_or_default();
                name = Some(String::from_utf8_lossy(text).into_owned());
            }
            _ => {}
        }
        at += usize::from(length).max(4).next_multiple_of(4);
    }
    Some(Announced { generation: generation?, port, process, name })
}

/// A packet filter whose generation moves only when told.
#[derive(Default)]
pub struct FakeNetfilter(AtomicU32);

impl FakeNetfilter {
    /// As if someone had changed a table.
    pub fn moved(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Netfilter for FakeNetfilter {
    fn generation(&self) -> io::Result<u32> {
        Ok(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::super::program::{Files, Programs, Run, SystemPrograms};
    use super::*;

    #[test]
    fn the_generation_moves_with_a_change_and_not_with_a_listing() {
        let nft = |programs: &dyn Programs, args: &[&str]| {
            assert!(programs.run(&Run::new("/usr/sbin/nft", args)).unwrap().succeeded());
        };
        let mut seen = Vec::new();
        SystemPrograms
            .apart(Files::All, &mut |programs| {
                let kernel = SystemNetfilter::open().unwrap();
                seen.push(kernel.generation().unwrap());
                nft(programs, &["list", "ruleset"]);
                seen.push(kernel.generation().unwrap());
                nft(programs, &["add", "table", "inet", "x"]);
                seen.push(kernel.generation().unwrap());
            })
            .unwrap();
        assert_eq!(seen[0], seen[1]);
        assert_ne!(seen[1], seen[2]);
    }

    #[test]
    fn a_monitor_hears_each_generation_once_and_no_listing() {
        let mut heard = Vec::new();
        SystemPrograms
            .apart(Files::All, &mut |programs| {
                let nft = |args: &[&str]| {
                    assert!(programs.run(&Run::new("/usr/sbin/nft", args)).unwrap().succeeded());
                };
                let monitor = Monitor::open().unwrap();
                let kernel = SystemNetfilter::open().unwrap();
                for args in [
                    ["add", "table", "inet", "x"],
                    ["list", "table", "inet", "x"],
                    ["delete", "table", "inet", "x"],
                ] {
                    nft(&args);
                    heard.push((monitor.hear().unwrap(), kernel.generation().unwrap()));
                }
                heard.push((monitor.hear().unwrap(), kernel.generation().unwrap()));
            })
            .unwrap();
        let told = |(heard, generation): &(Heard, u32)| match heard {
            Heard::Generations(list) => list
                .iter()
                .map(|a| (a.generation == *generation, a.name.clone().unwrap()))
                .collect::<Vec<_>>(),
            Heard::Missed => panic!("missed"),
        };
        let all: Vec<_> = heard.iter().map(told).collect();
        let once = vec![(true, "nft".to_owned())];
        assert_eq!(all, [once.clone(), vec![], once, vec![]]);
    }

    #[test]
    fn a_monitor_that_was_not_listened_to_says_that_it_missed_something() {
        let mut heard = None;
        SystemPrograms
            .apart(Files::All, &mut |programs| {
                let monitor = Monitor::open().unwrap();
                let mut run = Run::new("/usr/sbin/nft", &["-f", "-"]);
                let rules = "add rule inet x c tcp dport 1 accept\n".repeat(20_000);
                run.stdin = format!("add table inet x\nadd chain inet x c\n{rules}").into_bytes();
                assert!(programs.run(&run).unwrap().succeeded());
                heard = Some(monitor.hear().unwrap());
            })
            .unwrap();
        assert_eq!(heard, Some(Heard::Missed));
    }

    #[test]
    fn no_bytes_make_the_reader_panic_or_loop() {
        let mut refused = vec![0u8; 36];
        refused[0..4].copy_from_slice(&36u32.to_ne_bytes());
        refused[4..6].copy_from_slice(&ERROR.to_ne_bytes());
        refused[16..20].copy_from_slice(&(-1i32).to_ne_bytes());
        assert_eq!(announcements(&refused).unwrap_err().raw_os_error(), Some(1));
        proptest::proptest!(|(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..128), kind in 0u16..4)| {
            let mut bytes = bytes;
            if bytes.len() >= 20 {
                let length = bytes.len() as u32;
                bytes[0..4].copy_from_slice(&length.to_ne_bytes());
                bytes[4..6].copy_from_slice(&[NEW_GENERATION, ERROR, GET_GENERATION, 0][usize::from(kind)].to_ne_bytes());
            }
            let _ = announcements(&bytes);
        });
    }
}
