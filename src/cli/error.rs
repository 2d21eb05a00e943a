//! Why a command failed.

use std::io;
use std::path::PathBuf;

use crate::config::ConfigError;
use crate::control::ClientError;
use crate::host::facts::FactsError;
use crate::host::files::FilesError;
use crate::host::units::UnitError;
use crate::model::CommitId;
use crate::record::RecordError;
use crate::source::{CredentialsError, FetchError};
use crate::worker::WorkerError;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Nobody takes what is said.
    #[error("could not write the output")]
    Output(#[source] io::Error),
    /// The agent gave no answer.
    #[error(transparent)]
    Agent(#[from] ClientError),
    /// The local settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A folder that was named.
    #[error("could not read {}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// What happened.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file that was named, or that is to be written.
    #[error("could not use {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What happened.
        #[source]
        source: io::Error,
    },
    /// The declaration has faults; they were shown.
    #[error("the declaration is refused: {count} faults are shown above")]
    Refused {
        /// How many.
        count: usize,
    },
    /// The facts of this host.
    #[error("the facts of this host could not be read")]
    Facts(#[from] FactsError),
    /// This host's doors.
    #[error("this host could not be looked at: run it as root")]
    Host(#[source] io::Error),
    /// The remote did not give the branch.
    #[error("the remote could not be used, so nothing was written")]
    Remote(#[from] FetchError),
    /// The process that asks the remote did not work out.
    #[error("the remote could not be asked, so nothing was written")]
    Worker(#[from] WorkerError),
    /// The user that asks the remote is missing.
    #[error("the remote could not be asked, so nothing was written")]
    NoUser(#[source] io::Error),
    /// The remote gave the branch, and it can't be read as a declaration.
    #[error("the branch can't be followed, so nothing was written: {0}")]
    Unusable(String),
    /// There is no declaration where it is said to be.
    #[error(
        "commit {} has no fleet.toml in {}, so nothing was written: {}",
        tip.short(), place(folder.as_deref()), advice(elsewhere.as_deref())
    )]
    NoFleet {
        /// What the branch points to.
        tip: CommitId,
        /// The folder that was looked into; none is the top.
        folder: Option<String>,
        /// A folder that has one.
        elsewhere: Option<String>,
    },
    /// Signatures are asked for.
    #[error(
        "this version can't verify signatures of commits yet, so nothing was written: leave --signers and --signer out \
         to trust what the remote serves over https or ssh"
    )]
    Unsigned,
    /// The credentials could not be read.
    #[error("the remote could not be asked, so nothing was written")]
    Credentials(#[from] CredentialsError),
    /// The agent could not be started.
    #[error(
        "the settings are written, but agentd could not be started: `systemctl status agentd` tells more"
    )]
    Start(#[source] UnitError),
    /// The history without the agent.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A scratch folder.
    #[error("could not prepare a scratch folder")]
    Scratch(#[from] FilesError),
    /// What was typed makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The asynchronous machinery could not be started.
    #[error("could not start")]
    Runtime(#[source] io::Error),
}

fn place(folder: Option<&str>) -> String {
    folder.map_or_else(|| "its top folder".to_owned(), |folder| format!("`{}`", folder.escape_debug()))
}

fn advice(elsewhere: Option<&str>) -> String {
    match elsewhere {
        Some("") => "leave --path out, there is one at the top".to_owned(),
        Some(folder) => format!("there is one in `{0}`: say --path {0}", folder.escape_debug()),
        None => "name another repository or branch, or push a fleet.toml that says `schema = 1`".to_owned(),
    }
}
