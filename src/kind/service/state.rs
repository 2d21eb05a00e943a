//! What is observed of a unit, in words that do not depend on the version of systemd.

use serde::Serialize;

use crate::host::units::{UnitName, UnitStatus};
use crate::model::Key;

/// What is observed of one unit whose file is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct State {
    /// Whether systemd could read it.
    pub load: Load,
    /// Whether it starts at boot.
    pub boot: Boot,
    /// Whether it runs.
    pub activity: Activity,
    /// Whether its files changed since systemd read them.
    pub stale: bool,
    /// Whether it is a oneshot whose run leaves it stopped. Told only of what is stopped and should run.
    pub passing: bool,
    /// Whether its package asked for a start that was held back. Of this moment, so no part of a fingerprint.
    #[serde(skip)]
    pub start_owed: bool,
}

/// Whether systemd could read a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Load {
    /// It could, or need not because the unit is masked.
    Loaded,
    /// It could not: its word for why.
    Broken(String),
}

/// Whether a unit starts at boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Boot {
    /// It does.
    Enabled,
    /// It is enabled until the next boot only.
    EnabledForNow,
    /// It does not, and could be enabled.
    Disabled,
    /// Starting it is impossible.
    Masked,
    /// Starting it is impossible until the next boot.
    MaskedForNow,
    /// It can be neither enabled nor disabled: systemd's word for why (`static`, `generated`, `alias`, …).
    Fixed(String),
}

/// Whether a unit runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activity {
    /// It does.
    Running,
    /// It is about to.
    Starting,
    /// It ended (systemd's word for how) and systemd will start it again by itself.
    Restarting(String),
    /// It is about to end.
    Stopping,
    /// It does not, and nothing is wrong.
    Stopped,
    /// It ended badly (systemd's word for how), and systemd has given up on it.
    Failed(String),
}

impl Boot {
    /// The word for people.
    pub fn as_str(&self) -> &str {
        match self {
            Boot::Enabled => "enabled",
            Boot::EnabledForNow => "enabled until the next boot",
            Boot::Disabled => "disabled",
            Boot::Masked => "masked",
            Boot::MaskedForNow => "masked until the next boot",
            Boot::Fixed(word) => word,
        }
    }

    /// Whether starting the unit is impossible.
    pub const fn is_masked(&self) -> bool {
        match self {
            Boot::Masked | Boot::MaskedForNow => true,
            Boot::Enabled | Boot::EnabledForNow | Boot::Disabled | Boot::Fixed(_) => false,
        }
    }
}

impl std::fmt::Display for Activity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Activity::Running => f.write_str("running"),
            Activity::Starting => f.write_str("starting"),
            Activity::Restarting(result) => write!(f, "restarting ({result})"),
            Activity::Stopping => f.write_str("stopping"),
            Activity::Stopped => f.write_str("stopped"),
            Activity::Failed(result) => write!(f, "failed ({result})"),
        }
    }
}

/// What a status says of a unit.
pub enum Told {
    /// There is no such unit.
    NotFound,
    /// It is so.
    State(State),
    /// In words that we do not know.
    Unclear(String),
}

impl State {
    /// Reads systemd's words.
    pub fn told(status: &UnitStatus) -> Told {
        if status.load == "not-found" && status.active == "inactive" && !status.file.starts_with("masked") {
            return Told::NotFound;
        }
        let activity = match (status.active.as_str(), status.sub.as_str()) {
            // Later versions say `refreshing` of what reloads its extensions.
            ("active" | "reloading" | "refreshing", _) => Activity::Running,
            ("activating", sub) if sub.starts_with("auto-restart") => {
                Activity::Restarting(status.result.clone())
            }
            ("activating", _) => Activity::Starting,
            ("inactive", _) if matches!(status.job.as_str(), "start" | "restart") => Activity::Starting,
            // A restart between its halves.
            ("deactivating", _) if matches!(status.job.as_str(), "start" | "restart") => Activity::Starting,
            ("deactivating", _) => Activity::Stopping,
            ("inactive", _) => Activity::Stopped,
            ("failed" | "maintenance", _) => Activity::Failed(status.result.clone()),
            (other, _) => return Told::Unclear(format!("systemd calls it `{other}`")),
        };
        let load = match status.load.as_str() {
            "loaded" | "masked" => Load::Loaded,
            other => Load::Broken(other.to_owned()),
        };
        let boot = boot(&status.file, &status.load);
        Told::State(State {
            load,
            boot,
            activity,
            stale: status.need_daemon_reload,
            passing: false,
            start_owed: false,
        })
    }

    /// Whether neither it runs nor will it at boot.
    pub fn is_off(&self) -> bool {
        let resting = match &self.activity {
            Activity::Stopped | Activity::Failed(_) => true,
            Activity::Running | Activity::Starting | Activity::Restarting(_) | Activity::Stopping => false,
        };
        resting && !matches!(self.boot, Boot::Enabled | Boot::EnabledForNow)
    }
}

fn boot(file: &str, load: &str) -> Boot {
    match file {
        "enabled" => Boot::Enabled,
        "enabled-runtime" => Boot::EnabledForNow,
        // A linked unit is known to systemd by a link and can be enabled.
        "disabled" | "linked" | "linked-runtime" => Boot::Disabled,
        "masked" => Boot::Masked,
        "masked-runtime" => Boot::MaskedForNow,
        "" if load == "masked" => Boot::Masked,
        "" => Boot::Fixed("without a unit file".into()),
        other => Boot::Fixed(other.to_owned()),
    }
}

/// The TOML that would declare this state.
pub fn declare(key: &Key, state: &State) -> String {
    use std::fmt::Write as _;
    let mut toml = format!("[services.{}]\n", toml_key(key));
    // Writing to a string never fails.
    let _ = match state.boot {
        Boot::Enabled | Boot::EnabledForNow => writeln!(toml, "enabled = true"),
        Boot::Disabled => writeln!(toml, "enabled = false"),
        Boot::Masked | Boot::MaskedForNow => writeln!(toml, "masked = true"),
        Boot::Fixed(_) => Ok(()),
    };
    let running = match state.activity {
        Activity::Running | Activity::Starting | Activity::Restarting(_) => true,
        Activity::Stopping | Activity::Stopped | Activity::Failed(_) => false,
    };
    if running && !state.boot.is_masked() {
        toml.push_str("state = \"running\"\n");
    } else {
        toml.push_str("state = \"stopped\"\n");
    }
    toml
}

/// A service without its suffix, if that leads back to the same unit; quoted where TOML wants it.
fn toml_key(key: &Key) -> String {
    let full = key.as_str();
    let short = full.strip_suffix(".service").filter(|stem| stem.parse::<UnitName>().is_err());
    let name = short.unwrap_or(full);
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    // Of what TOML would escape, a unit's name can hold only the backslash.
    if name.chars().all(bare) { name.to_owned() } else { format!("\"{}\"", name.replace('\\', "\\\\")) }
}
