//! The agent's own settings: `/etc/agentd/agent.toml`, then `/etc/agentd/agent.toml.d/*.toml` in the order of
//! their names; later wins key by key. What protects the host from the repository stands here alone: no commit
//! can loosen it.
//!
//! May not: read the repository, or fall back silently: a setting that can't be used is a located error, and the
//! caller keeps what was in force.

mod fragment;
mod settings;
mod units;

use std::io;
use std::path::{Path, PathBuf};

pub use fragment::{Fragment, Source};
pub use settings::{Confirm, Settings, SettingsError};

/// Where the settings are.
pub const FOLDER: &str = "/etc/agentd";
/// The first piece.
const FIRST: &str = "agent.toml";
/// The folder of the further ones.
const FURTHER: &str = "agent.toml.d";
/// The piece that `agentctl enroll` writes.
pub const ENROLLED: &str = "agent.toml.d/enroll.toml";

/// Why a piece could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It could not be read.
    #[error("could not read {}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It says something that makes no sense.
    #[error("{}: {fault}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What, with line, column and caret.
        fault: String,
    },
    /// All pieces together make no sense.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

/// Reads all pieces below `folder` and makes the settings of them.
pub fn load(folder: &Path) -> Result<Settings, ConfigError> {
    let mut merged = Fragment::default();
    for path in pieces(folder)? {
        let read = |source| ConfigError::Read { path: path.clone(), source };
        let text = std::fs::read_to_string(&path).map_err(read)?;
        let piece: Fragment =
            parse(&text).map_err(|fault| ConfigError::Syntax { path: path.clone(), fault })?;
        merged = piece.over(merged);
    }
    Ok(Settings::of(merged)?)
}

/// Reads one piece; the fault names line and column and shows them.
pub fn parse(text: &str) -> Result<Fragment, String> {
    toml::from_str(text).map_err(|error| {
        let shown = error.to_string();
        match hint(error.message()) {
            Some(hint) => format!("{}\nhelp: {hint}", shown.trim_end()),
            None => shown.trim_end().to_owned(),
        }
    })
}

/// serde names what it expected; of a long list the nearest is what was meant.
fn hint(message: &str) -> Option<String> {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let wrong = quoted.next().filter(|_| message.starts_with("unknown "))?;
    let nearest = quoted.min_by_key(|known| strsim::damerau_levenshtein(wrong, known))?;
    let is_near = strsim::damerau_levenshtein(wrong, nearest) <= 1 + wrong.chars().count() / 4;
    is_near.then(|| format!("did you mean `{nearest}`?"))
}

fn pieces(folder: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let first = folder.join(FIRST);
    let mut paths: Vec<PathBuf> = first.exists().then_some(first).into_iter().collect();
    let further = folder.join(FURTHER);
    let read = |source| ConfigError::Read { path: further.clone(), source };
    let entries = match std::fs::read_dir(&further) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(paths),
        Err(error) => return Err(read(error)),
    };
    let mut more = Vec::new();
    for entry in entries {
        let path = entry.map_err(read)?.path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            more.push(path);
        }
    }
    more.sort();
    paths.extend(more);
    Ok(paths)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::DriftMode;

    fn folder(pieces: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(FURTHER)).unwrap();
        for (name, text) in pieces {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    #[test]
    fn without_any_piece_the_defaults_are_the_safe_ones() {
        let dir = tempfile::tempdir().unwrap();
        let settings = load(dir.path()).unwrap();
        assert_eq!((settings.mode, settings.source), (DriftMode::Warn, None));
        assert_eq!((settings.interval.as_secs(), settings.full_pass.as_secs()), (60, 900));
    }

    #[test]
    fn later_pieces_win_key_by_key() {
        let dir = folder(&[
            (
                "agent.toml",
                "mode = \"enabled\"\ninterval = \"30s\"\n[source]\nurl = \"https://a.example.org/f\"\n",
            ),
            ("agent.toml.d/10.toml", "[source]\nbranch = \"prod\"\n[labels]\nrack = \"7\"\n"),
            ("agent.toml.d/20.toml", "mode = \"warn\"\n[labels]\nrow = \"b\"\n"),
            ("agent.toml.d/note.txt", "this is no piece"),
        ]);
        let settings = load(dir.path()).unwrap();
        let source = settings.source.unwrap();
        assert_eq!((source.branch.as_str(), settings.mode), ("prod", DriftMode::Warn));
        assert_eq!(source.url.to_string(), "https://a.example.org/f");
        assert_eq!((settings.interval, settings.labels.len()), (Duration::from_secs(30), 2));
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_place_and_the_nearest_known_one() {
        let dir = folder(&[("agent.toml", "mode = \"warn\"\nintervall = \"30s\"\n")]);
        let fault = load(dir.path()).unwrap_err().to_string();
        for part in ["agent.toml", "line 2, column 1", "^^^", "did you mean `interval`?"] {
            assert!(fault.contains(part), "{part} is not in:\n{fault}");
        }
    }

    #[test]
    fn values_that_make_no_sense_are_refused() {
        for text in [
            "interval = \"1\"",
            "interval = \"1s\"",
            "full_pass = \"0m\"",
            "mode = \"on\"",
            "[source]\nurl = \"http://a.example.org/f\"",
            "[source]\nbranch = \"main\"",
            "[source]\nurl = \"https://a.example.org/f\"\ntoken_file = \"t\"",
            "[source]\nurl = \"https://a.example.org/f\"\nssh_key = \"/k\"",
            "[keep]\nmax_size = \"10\"",
            "host = \"a/b\"",
        ] {
            let dir = folder(&[("agent.toml", text)]);
            assert!(load(dir.path()).is_err(), "{text}");
        }
    }
}
