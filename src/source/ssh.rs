//! ssh: one `ssh` process that speaks to `git-upload-pack` on the other side.
//!
//! Our own instead of gix's because the program is absolute and its environment empty, the reads and writes have deadlines
//! and are counted, and what `ssh` says on stderr becomes part of the error instead of noise in our journal.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;

use super::error::{Fault, Trouble};
use super::meter::Meter;
use super::url::SshPlace;
use super::{Credentials, Remote};

/// OpenSSH's client, where Debian's `openssh-client` puts it.
const SSH: &str = "/usr/bin/ssh";

/// What is kept of stderr, in bytes; the rest is read and dropped so that ssh never blocks on it.
const STDERR_KEPT: usize = 4096;

/// A running ssh; ends with its owner.
pub(crate) struct Session {
    child: Child,
    said: Arc<Mutex<Vec<u8>>>,
    listener: Option<JoinHandle<()>>,
}

impl Session {
    /// Starts ssh. Gives it with the two ends that gix reads and writes.
    pub fn start(
        remote: &Remote,
        place: &SshPlace,
        meter: &Meter,
    ) -> Result<(Session, Incoming, Outgoing), Trouble> {
        let arguments = arguments(remote, place)?;
        meter.request()?;
        let mut child = spawn(&arguments)?;
        let (Some(stdin), Some(stdout), Some(mut stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(Trouble::new(Fault::Settings, "ssh was started without its pipes"));
        };
        let said = Arc::new(Mutex::new(Vec::new()));
        let keep = said.clone();
        let listener = std::thread::spawn(move || listen(&mut stderr, &keep));
        let nonblocking = rustix::fs::fcntl_setfl(&stdin, OFlags::NONBLOCK);
        let session = Session { child, said, listener: Some(listener) };
        nonblocking.map_err(|error| Trouble::new(Fault::Settings, error))?;
        let incoming = Incoming { pipe: stdout, meter: meter.clone() };
        Ok((session, incoming, Outgoing { pipe: stdin, meter: meter.clone() }))
    }

    /// Ends ssh and says what its last words mean, if it had any.
    pub fn end(mut self) -> Option<Trouble> {
        self.stop();
        let said = self.said.lock().ok()?;
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        if said.is_empty() { None } else { Some(Trouble::new(meaning(&said), words(&said))) }
    }

    fn stop(&mut self) {
        // Pipes are closed by now; a kill of a process that is gone is harmless.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What the server sends.
pub(crate) struct Incoming {
    pipe: ChildStdout,
    meter: Meter,
}

/// What we send.
pub(crate) struct Outgoing {
    pipe: ChildStdin,
    meter: Meter,
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        wait(self.pipe.as_fd(), PollFlags::IN, &self.meter)?;
        let count = self.pipe.read(buffer)?;
        self.meter.received(count).map_err(|over| self.meter.stop(over))?;
        Ok(count)
    }
}

impl Write for Outgoing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.pipe.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    wait(self.pipe.as_fd(), PollFlags::OUT, &self.meter)?;
                }
                done => return done,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn wait(fd: BorrowedFd<'_>, flags: PollFlags, meter: &Meter) -> io::Result<()> {
    loop {
        let patience = meter.patience().map_err(|over| meter.stop(over))?;
        let limit = Timespec::try_from(patience).map_err(io::Error::other)?;
        match poll(&mut [PollFd::from_borrowed_fd(fd, flags)], Some(&limit)) {
            Ok(0) => return Err(meter.stop(meter.impatience())),
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The one process of this room. It runs inside the short-lived, unprivileged fetching process, so it does not go through
/// the host's door for programs, which is the root agent's.
#[allow(clippy::disallowed_methods)]
fn spawn(arguments: &[String]) -> Result<Child, Trouble> {
    Command::new(SSH)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C")
        .env("GIT_PROTOCOL", "version=2")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| {
            Trouble::new(
                Fault::Settings,
                format!("cannot start {SSH}: {error}; install the package openssh-client"),
            )
        })
}

fn arguments(remote: &Remote, place: &SshPlace) -> Result<Vec<String>, Trouble> {
    let needs = |what: &str| Trouble::new(Fault::Settings, format!("an ssh address needs {what}"));
    let Credentials::SshKey(key) = &remote.credentials else { return Err(needs("a private key file")) };
    let Some(known_hosts) = &remote.known_hosts else {
        return Err(needs("a known_hosts file with the server's key"));
    };
    let connect = remote.deadlines.connect.as_secs().max(1);
    let mut all: Vec<String> = ["-F", "none", "-T", "-a", "-x", "-i"].map(str::to_owned).to_vec();
    all.push(option_value(key)?);
    let options = [
        "IdentitiesOnly=yes".to_owned(),
        "IdentityAgent=none".to_owned(),
        format!("UserKnownHostsFile={}", option_value(known_hosts)?),
        "GlobalKnownHostsFile=/dev/null".to_owned(),
        "StrictHostKeyChecking=yes".to_owned(),
        "UpdateHostKeys=no".to_owned(),
        "BatchMode=yes".to_owned(),
        "PreferredAuthentications=publickey".to_owned(),
        "ClearAllForwardings=yes".to_owned(),
        "ControlPath=none".to_owned(),
        "PermitLocalCommand=no".to_owned(),
        format!("ConnectTimeout={connect}"),
        "ServerAliveInterval=5".to_owned(),
        "ServerAliveCountMax=2".to_owned(),
        "SendEnv=GIT_PROTOCOL".to_owned(),
    ];
    for option in options {
        all.push("-o".to_owned());
        all.push(option);
    }
    if let Some(port) = place.port {
        all.extend(["-p".to_owned(), port.to_string()]);
    }
    if let Some(user) = &place.user {
        all.extend(["-l".to_owned(), user.clone()]);
    }
    all.extend(["--".to_owned(), place.host.clone(), format!("git-upload-pack {}", quoted(&place.path))]);
    Ok(all)
}

/// A path as an option's value: ssh itself splits at blanks and expands `%`, `~` and `${}` there.
fn option_value(path: &Path) -> Result<String, Trouble> {
    let usable = |text: &&str| {
        text.starts_with('/')
            && text.chars().all(|c| !c.is_whitespace() && !c.is_control() && !"%~$\"'\\".contains(c))
    };
    path.to_str().filter(usable).map(str::to_owned).ok_or_else(|| {
        let why = "must be an absolute path without blanks, quotes, %, ~ and $";
        Trouble::new(Fault::Settings, format!("{} {why}", path.display()))
    })
}

/// One word for the shell on the other side.
fn quoted(path: &str) -> String {
    format!("'{}'", path.replace('\'', r"'\''").replace('!', r"'\!'"))
}

fn listen(stderr: &mut impl Read, keep: &Mutex<Vec<u8>>) {
    let mut buffer = [0u8; 1024];
    while let Ok(count) = stderr.read(&mut buffer) {
        if count == 0 {
            return;
        }
        if let Ok(mut kept) = keep.lock() {
            let room = STDERR_KEPT.saturating_sub(kept.len()).min(count);
            kept.extend_from_slice(&buffer[..room]);
        }
    }
}

/// OpenSSH has one exit code for all; only its words (in the C locale) tell faults apart.
fn meaning(said: &str) -> Fault {
    let has = |needle: &str| said.contains(needle);
    // What git says of its repository on the other side. The last one: it has not what it has just offered.
    let corrupt = [
        "repository corruption",
        "pack-objects died",
        "is corrupt",
        "unable to unpack",
        "object file",
        "not our ref",
    ];
    if corrupt.iter().any(|needle| has(needle)) {
        return Fault::Corrupt;
    }
    if has("Host key verification failed")
        || has("HOST IDENTIFICATION HAS CHANGED")
        || has("host key is known for")
    {
        return Fault::HostKey;
    }
    if has("Permission denied") || has("Load key") || has("Too many authentication failures") {
        return Fault::Auth;
    }
    if has("does not appear to be a git repository")
        || has("epository not found")
        || has("project you were looking for")
    {
        return Fault::RepositoryMissing;
    }
    let unreachable = [
        "Could not resolve",
        "Connection refused",
        "Connection timed out",
        "No route to host",
        "unreachable",
        "timed out",
    ];
    if unreachable.iter().any(|needle| has(needle)) {
        return Fault::Unreachable;
    }
    if has("Connection closed") || has("Connection reset") || has("Broken pipe") || has("not responding") {
        return Fault::Interrupted;
    }
    Fault::Protocol
}

/// The lines that say something, without ssh's ornaments.
fn words(said: &str) -> String {
    let telling = |line: &&str| {
        !line.is_empty() && !line.starts_with("@@@") && !line.starts_with("Warning: Permanently")
    };
    said.lines().map(str::trim).filter(telling).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::RemoteUrl;
    use crate::source::url::Place;

    fn argv(url: &str) -> Vec<String> {
        let mut remote = Remote::new(RemoteUrl::parse(url).unwrap(), "main");
        remote.credentials = Credentials::SshKey("/etc/agentd/key".into());
        remote.known_hosts = Some("/etc/agentd/known_hosts".into());
        match remote.url.place().clone() {
            Place::Ssh(place) => arguments(&remote, &place).unwrap(),
            Place::Https | Place::Local(_) => panic!("not ssh"),
        }
    }

    #[test]
    fn ssh_is_told_everything_and_reads_no_configuration() {
        let expected = "-F none -T -a -x -i /etc/agentd/key -o IdentitiesOnly=yes -o IdentityAgent=none \
             -o UserKnownHostsFile=/etc/agentd/known_hosts -o GlobalKnownHostsFile=/dev/null -o StrictHostKeyChecking=yes \
             -o UpdateHostKeys=no -o BatchMode=yes -o PreferredAuthentications=publickey -o ClearAllForwardings=yes \
             -o ControlPath=none -o PermitLocalCommand=no -o ConnectTimeout=10 -o ServerAliveInterval=5 \
             -o ServerAliveCountMax=2 -o SendEnv=GIT_PROTOCOL -p 2222 -l git -- git.example.org git-upload-pack '/ops/fleet.git'";
        assert_eq!(argv("ssh://git@git.example.org:2222/ops/fleet.git").join(" "), expected);
    }

    #[test]
    fn a_path_stays_one_word_for_the_shell_on_the_other_side() {
        let cases = [
            ("host:a$(id)`id`;id", "git-upload-pack 'a$(id)`id`;id'"),
            ("host:it's", r"git-upload-pack 'it'\''s'"),
            ("host:a!b", r"git-upload-pack 'a'\!'b'"),
        ];
        for (url, command) in cases {
            let argv = argv(url);
            assert_eq!(argv[argv.len() - 3..], ["--", "host", command].map(str::to_owned));
        }
    }

    #[test]
    fn files_that_ssh_would_expand_or_split_are_refused() {
        for path in ["/a b", "/a%h", "~/key", "key", "/a\"b", "/${HOME}", "/a\nb"] {
            assert_eq!(option_value(Path::new(path)).unwrap_err().fault, Fault::Settings, "{path}");
        }
    }

    #[test]
    fn the_words_of_ssh_become_faults() {
        let cases = [
            (
                "No ED25519 host key is known for h and you have requested strict checking.\nHost key verification failed.",
                Fault::HostKey,
            ),
            ("git@h: Permission denied (publickey).", Fault::Auth),
            ("Load key \"/k\": invalid format", Fault::Auth),
            ("ssh: Could not resolve hostname h: Name or service not known", Fault::Unreachable),
            ("ssh: connect to host h port 22: Connection refused", Fault::Unreachable),
            ("ssh: connect to host h port 22: Connection timed out", Fault::Unreachable),
            ("ERROR: Repository not found.", Fault::RepositoryMissing),
            ("fatal: '/x' does not appear to be a git repository", Fault::RepositoryMissing),
            ("Connection closed by 127.0.0.1 port 22", Fault::Interrupted),
            ("client_loop: send disconnect: Broken pipe", Fault::Interrupted),
            ("fatal: loose object 1 (stored in ./objects/1) is corrupt", Fault::Corrupt),
            ("fatal: git upload-pack: not our ref 1", Fault::Corrupt),
            ("something else", Fault::Protocol),
        ];
        for (said, fault) in cases {
            assert_eq!(meaning(said), fault, "{said}");
        }
    }
}
