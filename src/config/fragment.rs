//! One piece of the settings, as written: every key may be left out.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One piece of the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fragment {
    /// The name the declaration is matched with; the host's own unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// `enabled` corrects drift, `warn` (the default) reports and changes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// How often the remote is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<String>,
    /// How often everything is looked at, whatever the watches said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full_pass: Option<String>,
    /// Without a successful fetch for so long the source counts as stale.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale_after: Option<String>,
    /// Where the declaration comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Facts a person gives the host; `[match]` may test them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What is kept of what the agent replaced or removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<Keep>,
    /// Who may use the control socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control: Option<Control>,
    /// The switch that undoes a firewall change which is not confirmed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guard: Option<Guard>,
}

/// Where the declaration comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// `https://…`, `ssh://user@host/path`, `user@host:path`, or the absolute path of a local repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The branch; `main` unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The folder of the declaration within the repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// https: a root-only file with one line, a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// https: a root-only file with one line, `user:password`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic_file: Option<PathBuf>,
    /// https: a PEM file with certificate authorities to trust besides the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// ssh: a private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssh_key: Option<PathBuf>,
    /// ssh: the pinned host keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_hosts: Option<PathBuf>,
    /// Commits of history that are fetched at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_commits: Option<u32>,
    /// Bytes that one fetch may receive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_size: Option<String>,
}

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keep {
    /// Nothing is kept longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<String>,
    /// Nor more than this, altogether.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_size: Option<String>,
}

/// Who may use the control socket besides root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// The group whose members may look; `agentd` unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readers: Option<String>,
    /// The group whose members may also change things; nobody unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changers: Option<String>,
}

/// The switch that undoes what is not confirmed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guard {
    /// After this an unconfirmed change is undone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<String>,
    /// `auto`: a new connection to the remote confirms. `ask`: a person confirms. `off`: no switch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirm: Option<String>,
}

macro_rules! over {
    ($upper:ident, $lower:ident, $type:ident { $($field:ident),* }) => {
        $type { $($field: $upper.$field.or($lower.$field)),* }
    };
}

impl Fragment {
    /// This piece laid over another one: what it says wins, key by key.
    #[must_use]
    pub fn over(self, lower: Fragment) -> Fragment {
        let mut labels = lower.labels;
        labels.extend(self.labels);
        Fragment {
            host: self.host.or(lower.host),
            mode: self.mode.or(lower.mode),
            interval: self.interval.or(lower.interval),
            full_pass: self.full_pass.or(lower.full_pass),
            stale_after: self.stale_after.or(lower.stale_after),
            source: both(self.source, lower.source, |upper, lower| {
                over!(
                    upper,
                    lower,
                    Source {
                        url,
                        branch,
                        path,
                        token_file,
                        basic_file,
                        ca_file,
                        ssh_key,
                        known_hosts,
                        max_commits,
                        max_size
                    }
                )
            }),
            labels,
            keep: both(self.keep, lower.keep, |upper, lower| over!(upper, lower, Keep { max_age, max_size })),
            control: both(self.control, lower.control, |upper, lower| {
                over!(upper, lower, Control { readers, changers })
            }),
            guard: both(self.guard, lower.guard, |upper, lower| {
                over!(upper, lower, Guard { window, confirm })
            }),
        }
    }
}

fn both<T>(upper: Option<T>, lower: Option<T>, merge: impl FnOnce(T, T) -> T) -> Option<T> {
    match (upper, lower) {
        (Some(upper), Some(lower)) => Some(merge(upper, lower)),
        (upper, lower) => upper.or(lower),
    }
}
