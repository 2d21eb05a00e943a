//! The room `source` against real servers: git's own `http-backend` behind TLS, a real sshd, repositories made by git.

mod child;
mod damage;
mod damaged_remote;
mod forge;
mod handing;
mod hostile;
mod https;
mod local;
mod memory;
mod reading;
mod server;
mod ssh;

use std::path::Path;
use std::time::Duration;

use agentd::model::CommitId;
use agentd::source::{Care, Deadlines, FetchError, Fetched, Remote, RemoteUrl, fetch};

/// A remote with deadlines that suit a test: a hostile server must not cost minutes.
fn remote(url: &str) -> Remote {
    let mut remote = Remote::new(RemoteUrl::parse(url).unwrap(), "main");
    remote.deadlines = Deadlines {
        connect: Duration::from_secs(5),
        stall: Duration::from_secs(10),
        total: Duration::from_secs(30),
    };
    remote
}

fn poll(store: &Path, remote: &Remote, last: Option<&CommitId>) -> Result<Fetched, FetchError> {
    fetch(store, remote, last, Care::Quick)
}
