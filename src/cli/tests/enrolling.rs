//! Enrolling: the unprivileged processes look at the remote, and what they refuse leaves nothing behind.

use std::sync::{Arc, Mutex};

use super::{Bench, Done};
use crate::cli::Exit;
use crate::keep::Contents;
use crate::model::CommitId;
use crate::source::{Fault, FetchError, Fetched};
use crate::worker::{WorkerError, Workers, blame, compile, fetch, objects, survey};

/// What the two processes answer, and what they were asked.
#[derive(Default)]
pub(super) struct Remote {
    fetched: Option<Result<Fetched, FetchError>>,
    found: Option<survey::Answer>,
    asked: Mutex<Vec<String>>,
}

fn silent(name: &'static str) -> WorkerError {
    WorkerError::NoAnswer { name, complaint: "sealed".to_owned() }
}

impl Workers for Remote {
    fn fetch(&self, request: &fetch::Request) -> fetch::Answered {
        let fetch::Request { store, remote, last, .. } = request;
        assert!(last.is_none() && store.is_dir());
        self.asked.lock().unwrap().push(format!("fetch {} {}", remote.url, remote.caps.commits));
        self.fetched.clone().ok_or_else(|| silent("fetch"))
    }

    fn objects(
        &self,
        _request: &objects::Request,
        _laid: &std::path::Path,
        _judge: objects::Judge<'_>,
    ) -> objects::Answered {
        Err(silent("objects"))
    }

    fn compile(&self, _request: &compile::Request, _contents: &Contents) -> compile::Answered {
        Err(silent("compile"))
    }

    fn blame(&self, _request: &blame::Request) -> blame::Answered {
        Err(silent("blame"))
    }

    fn survey(&self, request: &survey::Request) -> survey::Answered {
        let (commit, folder) = (request.commit.short(), request.subfolder.as_deref().unwrap_or("/"));
        self.asked.lock().unwrap().push(format!("survey {commit} {folder}"));
        self.found.clone().ok_or_else(|| silent("survey"))
    }

    fn user(&self) -> std::io::Result<(u32, u32)> {
        Ok((rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()))
    }
}

fn tip() -> Fetched {
    let tip: CommitId = "a".repeat(40).parse().unwrap();
    Fetched { tip, new: true, requests: 1, bytes_received: 0, history_complete: false, cloned: None }
}

/// Enrols with a remote like that; what was said, and what the processes were asked.
fn enrol(remote: Remote, more: &[&str]) -> (Bench, Done, Vec<String>) {
    let remote = Arc::new(remote);
    let mut bench = Bench::alone();
    bench.workers = remote.clone();
    let line = ["enroll", "--url", "https://git.example.org/f.git", "--branch", "main"];
    let done = bench.run(&[&line, more].concat());
    let asked = remote.asked.lock().unwrap().clone();
    (bench, done, asked)
}

#[track_caller]
fn refused(remote: Remote, more: &[&str], words: &[&str]) {
    let (bench, done, _) = enrol(remote, more);
    assert_eq!(done.exit, Exit::Failed, "{}", done.err);
    for word in words.iter().chain(&["nothing was written"]) {
        assert!(done.err.contains(word), "{word}: {}", done.err);
    }
    assert!(!bench.dir.path().join("config").exists());
}

#[test]
fn the_unprivileged_processes_fetch_the_tip_alone_and_look_for_a_declaration() {
    let found = Some(survey::Answer::Here);
    let remote = Remote { fetched: Some(Ok(tip())), found, ..Remote::default() };
    let (bench, done, asked) = enrol(remote, &["--path", "ops"]);
    assert_eq!(asked, ["fetch https://git.example.org/f.git 1", "survey aaaaaaaaaaaa ops"]);
    // No agent can be started in here; by then the settings are written.
    assert!(!done.err.contains("nothing was written"), "{}", done.err);
    let settings = crate::config::load(&bench.dir.path().join("config")).unwrap();
    assert!(settings.source.is_some());
}

#[test]
fn what_they_refuse_is_told_and_nothing_is_written() {
    let error = FetchError { remote: "branch `main`".into(), fault: Fault::Auth, cause: "403".into() };
    refused(
        Remote { fetched: Some(Err(error)), ..Remote::default() },
        &[],
        &["does not accept our credentials", "403"],
    );
    let found = |answer| Remote { fetched: Some(Ok(tip())), found: Some(answer), ..Remote::default() };
    let missing = survey::Answer::Missing { elsewhere: Some("ops/fleet".to_owned()) };
    refused(found(missing), &["--path", "ops"], &["no fleet.toml in `ops`", "say --path ops/fleet"]);
    let unreadable = survey::Answer::Unreadable { message: "there is no folder `ops`".to_owned() };
    refused(found(unreadable), &["--path", "ops"], &["no folder `ops`"]);
    refused(Remote::default(), &[], &["the fetch process gave no answer: sealed"]);
}

#[test]
fn signatures_are_asked_for_in_vain_and_nothing_is_asked_or_written() {
    let key = "ssh-ed25519 AAAA ada@example.org";
    for more in [
        &["--signers", "/etc/agentd/signers"][..],
        &["--signer", key],
        &["--signer", key, "--signer", key, "--signers", "/etc/agentd/signers"],
        &["--signer", key, "--offline"],
    ] {
        let found = Some(survey::Answer::Here);
        let (bench, done, asked) =
            enrol(Remote { fetched: Some(Ok(tip())), found, ..Remote::default() }, more);
        assert_eq!((done.exit, asked), (Exit::Failed, Vec::new()), "{more:?}");
        for words in ["can't verify signatures", "nothing was written", "leave --signers and --signer out"] {
            assert!(done.err.contains(words), "{words}: {}", done.err);
        }
        assert!(!bench.dir.path().join("config").exists(), "{more:?}");
    }
}
