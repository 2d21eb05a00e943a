//! One fetch over https or ssh through gix: references first, and a pack only if the branch moved.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use gix::ObjectId;
use gix::progress::Discard;
use gix::protocol::transport::Protocol;
use gix::protocol::transport::client::blocking_io::Transport;
use gix::remote::fetch::{Shallow, Status, Tags};
use gix_transport::client::blocking_io::http::connect_http;
use gix_transport::client::git;
use gix_transport::client::git::blocking_io::Connection;

use super::Remote;
use super::disk;
use super::error::{Fault, Trouble};
use super::http::HttpClient;
use super::meter::Meter;
use super::ssh::Session;
use super::url::SshPlace;

/// What a transport brought: the branch's commit, and the files of its pack if it sent one.
pub(crate) struct Delivery {
    pub tip: ObjectId,
    pub files: Vec<PathBuf>,
    pub objects: usize,
}

/// Fetches over https. A depth from the tip back is for a first clone alone: on a later fetch it would move the boundary,
/// and a genuine fast-forward would look like a rewrite.
pub(crate) fn https(
    git_dir: &Path,
    remote: &Remote,
    shallow: Shallow,
    meter: &Meter,
) -> Result<Delivery, Trouble> {
    let client = HttpClient::new(remote, meter.clone())?;
    let url =
        gix::Url::try_from(remote.url.as_str()).map_err(|error| Trouble::new(Fault::Settings, error))?;
    let transport = connect_http(client, url, Protocol::V2, false);
    receive(git_dir, remote, shallow, transport, meter).map_err(|error| match meter.take_trouble() {
        Some(trouble) => trouble,
        // The answer came to its end as HTTP has it: no connection broke.
        None => error.into_trouble(git_dir, meter, &Fault::Corrupt),
    })
}

/// Fetches over ssh.
pub(crate) fn ssh(
    git_dir: &Path,
    remote: &Remote,
    place: &SshPlace,
    shallow: Shallow,
    meter: &Meter,
) -> Result<Delivery, Trouble> {
    let (session, incoming, outgoing) = Session::start(remote, place, meter)?;
    let mode = git::ConnectMode::Process;
    let transport = Connection::new(
        incoming,
        outgoing,
        Protocol::V2,
        place.path.as_str(),
        None::<(String, Option<u16>)>,
        mode,
        false,
    )
    .custom_url(Some(remote.url.as_str().into()));
    let received = receive(git_dir, remote, shallow, transport, meter);
    let words = session.end();
    received.map_err(|error| match (meter.take_trouble(), error) {
        // What we did ourselves (too slow, too much) explains ssh's complaints, not the other way round.
        (Some(trouble), _) => trouble,
        (None, Failure::Trouble(trouble)) => trouble,
        (None, error @ Failure::Git(_)) => {
            words.unwrap_or_else(|| error.into_trouble(git_dir, meter, &Fault::Interrupted))
        }
    })
}

enum Failure {
    Trouble(Trouble),
    Git(gix::Error),
}

impl From<gix::Error> for Failure {
    fn from(error: gix::Error) -> Failure {
        Failure::Git(error)
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Failure {
        Failure::Trouble(trouble)
    }
}

impl Failure {
    /// What it was, given what it means that the bytes ended too early.
    fn into_trouble(self, git_dir: &Path, meter: &Meter, ended_early: &Fault) -> Trouble {
        let error = match self {
            Failure::Trouble(trouble) => return trouble,
            Failure::Git(error) => error,
        };
        let said: Vec<String> = error.iter_errors().map(|error| error.to_string()).collect();
        let said = said.join(": ");
        if error.is_resource_exhausted() || said.contains("too large") {
            return Trouble::new(Fault::TooLarge { what: "memory for one object".to_owned() }, said);
        }
        let kinds: Vec<ErrorKind> = error
            .iter_errors()
            .filter_map(|error| error.downcast_ref::<std::io::Error>().map(std::io::Error::kind))
            .collect();
        let full = [
            ErrorKind::StorageFull,
            ErrorKind::QuotaExceeded,
            ErrorKind::ReadOnlyFilesystem,
            ErrorKind::FileTooLarge,
        ];
        if kinds.iter().any(|kind| full.contains(kind)) {
            return Trouble::disk(git_dir, said);
        }
        let ended = kinds.contains(&ErrorKind::UnexpectedEof);
        // Before a pack is under way, whatever can't be understood means that nobody speaks git there.
        let fault = match (meter.is_pack_expected(), ended) {
            (true, true) => ended_early.clone(),
            (true, false) if error.is_corrupted() => Fault::Corrupt,
            (true | false, _) => Fault::Protocol,
        };
        Trouble::new(fault, said)
    }
}

fn receive<T: Transport>(
    git_dir: &Path,
    remote: &Remote,
    shallow: Shallow,
    transport: T,
    meter: &Meter,
) -> Result<Delivery, Failure> {
    let repository = open(git_dir, remote)?;
    let refspec = format!("+refs/heads/{}:{}", remote.branch, disk::TIP);
    let source = repository
        .remote_at_without_url_rewrite(remote.url.as_str())?
        .with_fetch_tags(Tags::None)
        .with_refspecs([refspec.as_str()], gix::remote::Direction::Fetch)?;
    let prepared = source
        .to_connection_with_transport(transport)
        // Without this gix would look for credential helpers, and then ask on the terminal.
        .with_credentials(|_| Ok(None))
        .with_transport_options(Box::new(()))
        .prepare_fetch(Discard, gix::remote::ref_map::Options::default())?;
    let Some(tip) =
        prepared.ref_map().mappings.first().and_then(|mapping| mapping.remote.as_id()).map(ToOwned::to_owned)
    else {
        return Err(Trouble::bare(Fault::BranchMissing).into());
    };
    meter.expect_pack();
    let outcome = prepared.with_shallow(shallow).receive(Discard, &AtomicBool::new(false))?;
    Ok(match outcome.status {
        Status::NoPackReceived { .. } => Delivery { tip, files: Vec::new(), objects: 0 },
        Status::Change { write_pack_bundle: pack, .. } => Delivery {
            tip,
            objects: pack.index.num_objects as usize,
            files: [pack.data_path, pack.index_path].into_iter().flatten().collect(),
        },
    })
}

fn open(git_dir: &Path, remote: &Remote) -> Result<gix::Repository, Failure> {
    let overrides = [
        "pack.threads=1".to_owned(),
        format!("gitoxide.objects.allocLimit={}", remote.caps.object_bytes),
        "core.useReplaceRefs=false".to_owned(),
        "core.logAllRefUpdates=false".to_owned(),
    ];
    let options = gix::open::Options::isolated().open_path_as_is(true).config_overrides(overrides);
    let mut repository = gix::open_opts(git_dir, options)?;
    repository.committer_or_set_generic_fallback()?;
    Ok(repository)
}
