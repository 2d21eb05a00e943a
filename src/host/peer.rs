//! Who is at the other end of a local socket, by the kernel's word at the time it was connected.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// The user, groups and process that connected (or listened, seen from the other end).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary group ids.
    pub groups: Vec<u32>,
    /// Process id; for messages only, since it may be another process by now.
    pub pid: u32,
}

impl Peer {
    /// The peer of a connected Unix socket (`unix(7)`: `SO_PEERCRED`, `SO_PEERGROUPS`).
    pub fn of(socket: impl AsFd) -> io::Result<Peer> {
        let credentials = rustix::net::sockopt::socket_peercred(socket.as_fd())?;
        Ok(Peer {
            uid: credentials.uid.as_raw(),
            gid: credentials.gid.as_raw(),
            groups: groups(socket)?,
            pid: credentials.pid.as_raw_nonzero().get().unsigned_abs(),
        })
    }

    /// Whether the peer is in a group.
    pub fn is_in(&self, group: u32) -> bool {
        self.gid == group || self.groups.contains(&group)
    }
}

#[allow(unsafe_code)] // no crate we have offers this option
fn groups(socket: impl AsFd) -> io::Result<Vec<u32>> {
    // The kernel allows 65,536 groups; hardly anybody has more than a few.
    let mut groups: Vec<libc::gid_t> = vec![0; 64];
    loop {
        let room = groups.len() * size_of::<libc::gid_t>();
        let mut length = libc::socklen_t::try_from(room).unwrap_or(libc::socklen_t::MAX);
        // SAFETY: `groups` holds `length` bytes and outlives the call, which writes at most that many and sets
        // `length` to how many there are.
        let result = unsafe {
            libc::getsockopt(
                socket.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let count = length as usize / size_of::<libc::gid_t>();
        match result {
            0 => {
                groups.truncate(count);
                return Ok(groups);
            }
            _ => match io::Error::last_os_error() {
                error if error.raw_os_error() == Some(libc::ERANGE) && count > groups.len() => {
                    groups.resize(count, 0);
                }
                error => return Err(error),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_of_ourselves_is_ourselves() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let peer = Peer::of(&one).unwrap();
        assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
        assert_eq!(peer.pid, std::process::id());
        let mine: Vec<u32> = nix::unistd::getgroups().unwrap().iter().map(|group| group.as_raw()).collect();
        assert_eq!(peer.groups, mine);
    }
}
