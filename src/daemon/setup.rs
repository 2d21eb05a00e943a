//! From the settings to what the daemon is run with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::bounds::Bounds;
use super::chain;
use crate::config::{self, Confirm, Settings};
use crate::control::Access;
use crate::keep::Limits;
use crate::kind::package;
use crate::model::DriftMode;
use crate::source::Remote;

/// What the daemon is run with: the local settings, made ready.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The name the declaration is matched with.
    pub host: String,
    /// What is followed; none if the host is not enrolled.
    pub remote: Option<Remote>,
    /// How often the remote is asked.
    pub interval: Duration,
    /// How often everything is looked at.
    pub full_pass: Duration,
    /// The local mode: no declaration loosens it.
    pub mode: DriftMode,
    /// What is kept of what was replaced, and for how long.
    pub keep: Limits,
    /// What holds whatever is declared.
    pub bounds: Bounds,
    /// Labels a person gave the host.
    pub labels: BTreeMap<String, String>,
    /// Without a fetch for so long the source is stale.
    pub stale_after: Duration,
    /// How long a new firewall may stay unconfirmed; none if it needs no confirmation.
    pub guard_window: Option<Duration>,
    /// Who confirms it.
    pub confirm: Confirm,
    /// Why a connection to the remote can't, although the settings name it.
    pub unprovable: Option<&'static str>,
    /// How packages are changed.
    pub packages: package::Settings,
    /// Who may ask what.
    pub access: Access,
    /// The file that metrics are written to as well.
    pub textfile: Option<PathBuf>,
}

/// Reads the settings below `folder` and makes them ready. The error is told as it is.
pub fn setup(folder: &Path) -> Result<Setup, String> {
    let settings = config::load(folder).map_err(|error| chain(&error))?;
    let Settings {
        host,
        mode,
        interval,
        full_pass,
        stale_after,
        source,
        labels,
        keep,
        readers,
        changers,
        removal_limit,
        protect,
        history,
        guard_window,
        confirm,
        packages,
        textfile,
    } = settings;
    let remote = source.map(|source| source.remote()).transpose().map_err(|error| chain(&error))?;
    let host = match host {
        Some(name) => name,
        None => own_name()?,
    };
    let group = |name: &str| users::get_group_by_name(name).map(|group| group.gid());
    let access = Access { readers: group(&readers), changers: changers.as_deref().and_then(group) };
    let (confirm, unprovable) = confirmed_by(confirm, remote.as_ref());
    let guard_window = match confirm {
        Confirm::Auto | Confirm::Ask => Some(guard_window),
        Confirm::Off => None,
    };
    Ok(Setup {
        bounds: Bounds { removal_limit, protect, history },
        guard_window,
        confirm,
        unprovable,
        host,
        remote,
        interval,
        full_pass,
        mode,
        keep,
        labels,
        stale_after,
        packages,
        access,
        textfile,
    })
}

/// Told wherever a firewall is declared on such a host.
const UNPROVABLE: &str = "a new firewall waits for `agentctl confirm`: the remote is a folder of this host, and reading \
                          it proves nothing about the network";

/// Who confirms a change, with this remote: one that is reached without the network can't show that the network is.
fn confirmed_by(confirm: Confirm, remote: Option<&Remote>) -> (Confirm, Option<&'static str>) {
    let is_local = remote.is_some_and(|remote| remote.url.local_path().is_some());
    match (confirm, is_local) {
        (Confirm::Auto, true) => (Confirm::Ask, Some(UNPROVABLE)),
        (Confirm::Auto | Confirm::Ask | Confirm::Off, _) => (confirm, None),
    }
}

/// The host's own name, in lower case as host files are named.
fn own_name() -> Result<String, String> {
    let name =
        nix::unistd::gethostname().map_err(|error| format!("the host's name is not known: {error}"))?;
    name.into_string()
        .map(|name| name.to_ascii_lowercase())
        .map_err(|_| "the host's name is not text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::RemoteUrl;

    #[test]
    fn a_remote_on_this_host_proves_nothing_about_the_network() {
        let by = |confirm, url: &str| {
            let remote = Remote::new(RemoteUrl::parse(url).unwrap(), "main");
            let (confirm, why) = confirmed_by(confirm, Some(&remote));
            (confirm, why.is_some())
        };
        for (wanted, url, expected) in [
            (Confirm::Auto, "https://git.example.org/fleet.git", (Confirm::Auto, false)),
            (Confirm::Auto, "git@git.example.org:fleet.git", (Confirm::Auto, false)),
            (Confirm::Auto, "/srv/fleet", (Confirm::Ask, true)),
            (Confirm::Auto, "file:///srv/fleet", (Confirm::Ask, true)),
            (Confirm::Ask, "/srv/fleet", (Confirm::Ask, false)),
            (Confirm::Off, "/srv/fleet", (Confirm::Off, false)),
        ] {
            assert_eq!(by(wanted, url), expected, "{wanted:?} {url}");
        }
    }
}
