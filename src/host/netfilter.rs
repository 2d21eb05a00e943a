//! The kernel's packet filter: its generation id, which moves with every change of any table.
//!
//! Spoken over a raw netlink socket: one message there, one back, microseconds. The message formats are those of
//! `linux/netlink.h`, `linux/netfilter/nfnetlink.h` and `linux/netfilter/nf_tables.h`.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with, sockopt,
};

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
        parse(&answer[..length])
    }
}

fn request() -> [u8; HEADERS] {
    let mut message = [0u8; HEADERS];
    message[0..4].copy_from_slice(&(HEADERS as u32).to_ne_bytes());
    message[4..6].copy_from_slice(&GET_GENERATION.to_ne_bytes());
    message[6..8].copy_from_slice(&REQUEST.to_ne_bytes());
    message
}

/// Reads one answer to [`request`].
fn parse(message: &[u8]) -> io::Result<u32> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer has an unknown form");
    let word = |at: usize| message.get(at..at + 2).map(|b| u16::from_ne_bytes([b[0], b[1]]));
    let long = |at: usize| message.get(at..at + 4).map(|b| [b[0], b[1], b[2], b[3]]);
    match word(4).ok_or_else(malformed)? {
        NEW_GENERATION => {}
        ERROR => {
            let errno = i32::from_ne_bytes(long(16).ok_or_else(malformed)?);
            return Err(io::Error::from_raw_os_error(errno.wrapping_neg()));
        }
        _ => return Err(malformed()),
    }
    let mut at = HEADERS;
    while let (Some(length), Some(kind)) = (word(at), word(at + 2)) {
        if kind == GENERATION_ID {
            return long(at + 4).map(u32::from_be_bytes).ok_or_else(malformed);
        }
        // Attributes start at multiples of four; one shorter than its own header would loop for ever.
        at += usize::from(length).max(4).next_multiple_of(4);
    }
    Err(malformed())
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
    fn an_error_and_a_mutilated_answer_are_errors() {
        let mut refused = [0u8; 36];
        refused[4..6].copy_from_slice(&ERROR.to_ne_bytes());
        refused[16..20].copy_from_slice(&(-1i32).to_ne_bytes());
        assert_eq!(parse(&refused).unwrap_err().raw_os_error(), Some(1));
        let mut looping = [0u8; 40];
        looping[4..6].copy_from_slice(&NEW_GENERATION.to_ne_bytes());
        for cut in 0..looping.len() {
            assert!(parse(&looping[..cut]).is_err());
        }
    }
}
