use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use agentd::source::{Credentials, Fault, Remote, Retry, Store, TreeCaps};
use tempfile::TempDir;

use super::forge::Forge;
use super::{poll, remote};

/// A real sshd on loopback that lets one generated key in; ends with its owner.
pub(super) struct Sshd {
    dir: TempDir,
    child: Child,
    port: u16,
}

impl Sshd {
    pub(super) fn start(extra: &str) -> Sshd {
        let dir = TempDir::new().unwrap();
        for name in ["host", "other_host", "user", "stranger"] {
            keygen(&dir.path().join(name));
        }
        std::fs::copy(dir.path().join("user.pub"), dir.path().join("authorized")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let at = dir.path().display();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {at}/host\nAuthorizedKeysFile {at}/authorized\nPidFile none\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n{extra}\n"
        );
        std::fs::write(dir.path().join("config"), config).unwrap();
        std::fs::create_dir_all("/run/sshd").unwrap();
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(dir.path().join("config"))
            .stderr(std::fs::File::create(dir.path().join("log")).unwrap())
            .spawn()
            .expect("sshd is needed for these tests: apt-get install openssh-server");
        let sshd = Sshd { dir, child, port };
        sshd.pin("host");
        let deadline = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "sshd does not listen: {}", sshd.log());
            std::thread::yield_now();
        }
        sshd
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Writes the known_hosts file with that key.
    fn pin(&self, key: &str) {
        let public = std::fs::read_to_string(self.path(&format!("{key}.pub"))).unwrap();
        std::fs::write(self.path("known_hosts"), format!("[127.0.0.1]:{} {public}", self.port)).unwrap();
    }

    pub(super) fn remote(&self, repository: &Path) -> Remote {
        let mut remote = remote(&format!("ssh://root@127.0.0.1:{}{}", self.port, repository.display()));
        remote.credentials = Credentials::SshKey(self.path("user"));
        remote.known_hosts = Some(self.path("known_hosts"));
        remote
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let status = self.child.wait();
        assert!(
            std::thread::panicking() || status.unwrap().signal().is_some(),
            "sshd ended by itself: {}",
            self.log()
        );
    }
}

fn keygen(path: &Path) {
    let status = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status();
    assert!(status.expect("ssh-keygen is needed: apt-get install openssh-client").success());
}

#[test]
fn ssh_fetches_with_a_key_and_a_pinned_host() {
    let forge = Forge::new();
    // With and without the newer protocol, which a server has to be told to let through.
    for extra in ["AcceptEnv GIT_PROTOCOL", ""] {
        let sshd = Sshd::start(extra);
        let remote = sshd.remote(&forge.bare());
        let _ = std::fs::remove_dir_all(forge.store());
        let first =
            poll(&forge.store(), &remote, None).unwrap_or_else(|error| panic!("{error}\n{}", sshd.log()));
        assert_eq!(first.tip, forge.tip());
        let again = poll(&forge.store(), &remote, Some(&first.tip)).unwrap();
        assert!(!again.new && again.requests == 1, "{again:?}");
        let tip = forge.commit(&[("fleet.toml", &format!("# {extra}\n"))], "more");
        assert_eq!(poll(&forge.store(), &remote, Some(&first.tip)).unwrap().tip, tip);
        let store = Store::open(&forge.store()).unwrap();
        store.tree(&tip, None, &TreeCaps::default()).unwrap().read("fleet.toml").unwrap();
    }
}

/// Where the server does not let the newer protocol through, the library asks for a depth in words that such a server
/// takes for another question, and answers with all there is: more than was asked for, and told as what it is.
#[test]
fn a_history_beyond_the_cap_is_cut_off_over_ssh_where_the_server_speaks_the_newer_protocol() {
    let forge = Forge::new();
    let tip = forge.commits(9);
    for (extra, is_whole) in [("AcceptEnv GIT_PROTOCOL", false), ("", true)] {
        let sshd = Sshd::start(extra);
        let mut remote = sshd.remote(&forge.bare());
        let _ = std::fs::remove_dir_all(forge.store());
        remote.caps.commits = 2;
        let first =
            poll(&forge.store(), &remote, None).unwrap_or_else(|error| panic!("{error}\n{}", sshd.log()));
        assert_eq!((&first.tip, first.history_complete), (&tip, is_whole), "{extra:?}");
        // A store that is lost while the agent knows what it accepted.
        std::fs::remove_dir_all(forge.store()).unwrap();
        for _ in 0..2 {
            let again = poll(&forge.store(), &remote, Some(&tip)).unwrap();
            assert_eq!((&again.tip, again.history_complete), (&tip, is_whole), "{extra:?}");
        }
    }
}

#[test]
fn a_host_key_that_is_not_pinned_waits_for_a_person() {
    let forge = Forge::new();
    let sshd = Sshd::start("");
    let remote = sshd.remote(&forge.bare());
    sshd.pin("other_host");
    let changed = poll(&forge.store(), &remote, None).unwrap_err();
    std::fs::write(sshd.path("known_hosts"), "").unwrap();
    let unknown = poll(&forge.store(), &remote, None).unwrap_err();
    for error in [changed, unknown] {
        assert_eq!((&error.fault, error.retry()), (&Fault::HostKey, Retry::Person), "{error}");
    }
    assert_eq!(std::fs::read_to_string(sshd.path("known_hosts")).unwrap(), "", "nothing is learnt");
}

#[test]
fn a_key_that_the_server_does_not_know_waits_for_a_person() {
    let forge = Forge::new();
    let sshd = Sshd::start("");
    let mut remote = sshd.remote(&forge.bare());
    remote.credentials = Credentials::SshKey(sshd.path("stranger"));
    let error = poll(&forge.store(), &remote, None).unwrap_err();
    assert_eq!((&error.fault, error.retry()), (&Fault::Auth, Retry::Person), "{error}");
    assert!(error.cause.contains("Permission denied"), "ssh's own words are kept: {error}");
}

#[test]
fn a_missing_repository_or_server_is_told_apart() {
    let forge = Forge::new();
    let sshd = Sshd::start("");
    let error = poll(&forge.store(), &sshd.remote(&forge.root().join("other.git")), None).unwrap_err();
    assert_eq!(error.fault, Fault::RepositoryMissing, "{error}");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut remote = remote(&format!("ssh://root@127.0.0.1:{closed}/x.git"));
    remote.credentials = Credentials::SshKey(sshd.path("user"));
    remote.known_hosts = Some(sshd.path("known_hosts"));
    let error = poll(&forge.store(), &remote, None).unwrap_err();
    assert_eq!((&error.fault, error.retry()), (&Fault::Unreachable, Retry::Soon), "{error}");
}

#[test]
fn a_server_that_says_nothing_is_given_up_and_ssh_is_ended() {
    let forge = Forge::new();
    let sshd = Sshd::start("ForceCommand /bin/sleep 1000");
    let mut remote = sshd.remote(&forge.bare());
    remote.deadlines.stall = Duration::from_secs(2);
    let error = poll(&forge.store(), &remote, None).unwrap_err();
    assert_eq!(error.fault, Fault::Stalled { seconds: 2 }, "{error}");
    let sshd = Sshd::start("ForceCommand while :; do printf x; sleep 0.2; done");
    let mut remote = sshd.remote(&forge.bare());
    remote.deadlines.total = Duration::from_secs(2);
    let error = poll(&forge.store(), &remote, None).unwrap_err();
    assert!(matches!(error.fault, Fault::TimedOut { seconds: 2 } | Fault::Protocol), "{error}");
}

#[test]
fn settings_that_ssh_needs_are_asked_for() {
    let forge = Forge::new();
    let error = poll(&forge.store(), &remote("git@git.example.org:fleet"), None).unwrap_err();
    assert_eq!(error.fault, Fault::Settings);
    assert!(error.cause.contains("private key"), "{error}");
}
