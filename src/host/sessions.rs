//! Where logins come from. What a process says in its environment (`SSH_CONNECTION`) is not asked: it can say anything.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// A server has few connections; a longer table is not read to its end.
const CONNECTIONS: usize = 4096;
/// `TCP_ESTABLISHED`.
const ESTABLISHED: &str = "01";

/// The other end of the first connection that a process serves, by the kernel's table: `10.0.0.5 port 50022`. For an
/// sshd that serves one login that is where the login comes from.
pub fn connection_of(pid: u32) -> Option<String> {
    let handles = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let sockets: Vec<String> = handles
        .take(64)
        .filter_map(|handle| fs::read_link(handle.ok()?.path()).ok())
        .filter_map(|target| Some(target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    ["tcp", "tcp6"].iter().find_map(|table| {
        let table = fs::read_to_string(format!("/proc/{pid}/net/{table}")).ok()?;
        let other_end = |line: &str| {
            let fields: Vec<&str> = line.split_ascii_whitespace().take(10).collect();
            let is_ours = fields.get(3) == Some(&ESTABLISHED)
                && sockets.iter().any(|one| Some(&one.as_str()) == fields.get(9));
            if is_ours { address(fields[2]) } else { None }
        };
        table.lines().skip(1).take(CONNECTIONS).find_map(other_end)
    })
}

/// What systemd-logind noted of a session: the remote host and the terminal.
pub fn noted(run: &Path, session: u32) -> Option<(Option<String>, Option<String>)> {
    let text = fs::read_to_string(run.join("systemd/sessions").join(session.to_string())).ok()?;
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
        Some(value.to_owned()).filter(|value| !value.is_empty())
    };
    Some((field("REMOTE_HOST"), field("TTY")))
}

/// `0500000A:C366`, as /proc/net/tcp writes addresses: words of four bytes in the order of the machine.
fn address(text: &str) -> Option<String> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words: Option<Vec<u8>> = (0..address.len())
        .step_by(8)
        .map(|at| Some(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes()))
        .collect::<Option<Vec<_>>>()
        .map(|words| words.concat());
    let address = match words?.as_slice() {
        [a, b, c, d] => IpAddr::V4(Ipv4Addr::new(*a, *b, *c, *d)),
        bytes => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)).to_canonical(),
    };
    Some(format!("{address} port {port}"))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn the_other_end_of_a_connection_is_told_by_the_kernel() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (_there, _) = listener.accept().unwrap();
        let told = connection_of(std::process::id()).unwrap();
        assert!(told.starts_with("127.0.0.1 port "), "{told}");
        drop(here);
    }

    #[test]
    fn addresses_are_read_as_the_kernel_writes_them() {
        let v4 = u32::from_ne_bytes([10, 0, 0, 5]);
        assert_eq!(address(&format!("{v4:08X}:C366")).unwrap(), "10.0.0.5 port 50022");
        let mapped = [[0; 4], [0; 4], [0, 0, 255, 255], [10, 0, 0, 5]].map(u32::from_ne_bytes);
        let text: String = mapped.iter().map(|word| format!("{word:08X}")).collect();
        assert_eq!(address(&format!("{text}:0016")).unwrap(), "10.0.0.5 port 22");
        assert_eq!(address("x:1"), None);
        assert_eq!(address("ü:1"), None);
    }

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn a_session_is_read_as_logind_noted_it() {
        let run = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(run.path().join("systemd/sessions")).unwrap();
        std::fs::write(run.path().join("systemd/sessions/3"), "UID=1000\nREMOTE_HOST=10.0.0.5\nTTY=\n")
            .unwrap();
        assert_eq!(noted(run.path(), 3), Some((Some("10.0.0.5".to_owned()), None)));
        assert_eq!(noted(run.path(), 4), None);
    }
}
