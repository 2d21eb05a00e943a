//! An errand at a local socket: what is asked is sent and the line closed on this side; what comes back is read until
//! the other side closes it, or time is up.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// What comes back.
pub struct Answer {
    stream: UnixStream,
    deadline: Instant,
}

/// Connects, sends, and closes this side. The limit is for everything, the last byte of the answer included.
#[allow(clippy::disallowed_methods)] // a deadline for a real process is real time
pub fn send(socket: &Path, request: &[u8], limit: Duration) -> io::Result<Answer> {
    let deadline = Instant::now() + limit;
    let mut stream = UnixStream::connect(socket)?;
    stream.set_write_timeout(Some(limit))?;
    let sent = stream.write_all(request).and_then(|()| stream.shutdown(Shutdown::Write));
    match sent {
        // Whoever does not want all of it may have said why.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        Ok(()) | Err(_) => Ok(Answer { stream, deadline }),
    }
}

impl Read for Answer {
    #[allow(clippy::disallowed_methods)] // as above
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let late = || io::Error::new(io::ErrorKind::TimedOut, "it did not answer in time");
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(late());
        }
        self.stream.set_read_timeout(Some(left))?;
        match self.stream.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(late()),
            done => done,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn an_errand_sends_all_and_reads_to_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let other = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).unwrap();
            heard.reverse();
            stream.write_all(&heard).unwrap();
        });
        let mut told = String::new();
        send(&path, b"abc", Duration::from_secs(20)).unwrap().read_to_string(&mut told).unwrap();
        other.join().unwrap();
        assert_eq!(told, "cba");
    }

    #[test]
    fn who_never_answers_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let _listener = UnixListener::bind(&path).unwrap();
        let mut answer = send(&path, b"abc", Duration::from_millis(50)).unwrap();
        let error = answer.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(answer.read(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn where_nobody_listens_is_an_error_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let error = send(&folder.path().join("none"), b"", Duration::from_secs(20)).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
