//! The one definition of the command line: help, man pages and completions come from it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::outside::Colour;
use crate::model::{DriftMode, KindName, ResourceId, Verdict};
use crate::record::{DriftId, Noted, SuspendTarget};

/// Ask and direct agentd, which holds this host to its declaration in git.
///
/// `status`, `diff`, `plan` and `sync` exit with 0 if the host is in sync, 1 if it differs, and 2 if that could not
/// be told or the command failed. Times are shown in the host's time zone.
#[derive(Clone, Debug, Parser)]
#[command(name = "agentctl", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "Begin with `agentctl enroll --url URL --branch NAME`, then `agentctl status`.")]
pub struct Arguments {
    /// Answer in JSON.
    #[arg(long, global = true, display_order = 900)]
    pub json: bool,
    /// When to use colours: auto, always or never.
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true,
        display_order = 901
    )]
    pub color: Colour,
    /// The agent's socket.
    #[arg(long, global = true, value_name = "PATH", default_value = crate::control::SOCKET, hide = true)]
    pub socket: PathBuf,
    /// The folder of the settings.
    #[arg(long, global = true, value_name = "DIR", default_value = crate::config::FOLDER, hide = true)]
    pub config: PathBuf,
    /// The agent's state folder.
    #[arg(long, global = true, value_name = "DIR", default_value = "/var/lib/agentd", hide = true)]
    pub state: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Follow a branch of a fleet repository from now on.
    ///
    /// Checks the remote, writes the settings to agent.toml.d/enroll.toml, starts the agent, and shows what would
    /// change. The mode is `warn` unless said: drift is reported and nothing is changed.
    ///
    /// Signatures of commits are not verified by this version: what the remote serves over https or ssh is trusted.
    /// --signers and --signer are therefore refused, and nothing is written.
    Enroll(Enroll),
    /// Show what is true now: revision, sync, health, what drifted and what was done.
    Status,
    /// Show what differs from the declaration, field by field.
    Diff(Diff),
    /// Show what a pass would do, in order.
    Plan(Plan),
    /// Fetch and reconcile now.
    Sync(Sync),
    /// Stop correcting for a while; drift is still seen and told.
    Suspend(Suspend),
    /// End a suspension before its time.
    Resume(Resume),
    /// Say that a guarded change is fine, before it undoes itself.
    Confirm,
    /// Let go ahead what waits for a person.
    Approve(Approve),
    /// Show drifts and passes: before, after, when.
    History(History),
    /// Show what happened last, and with --follow what happens from now on.
    Events(Events),
    /// Tell everything about one resource: what is declared, by which line, and what happened to it.
    Explain(Explain),
    /// Check a whole fleet repository: every host it names, no host touched, no root needed.
    Check(Check),
    /// Print the digests of what is declared and of what is there.
    Fingerprint(Fingerprint),
    /// Put back what was kept of a file, and suspend it so that it stays.
    Restore(Restore),
    /// Make what packages ship.
    #[command(hide = true)]
    Generate(Generate),
}

/// Options of `enroll`.
#[derive(Clone, Debug, Args)]
pub struct Enroll {
    /// The fleet repository: https://…, ssh://user@host/path, user@host:path, or an absolute path.
    #[arg(long)]
    pub url: String,
    /// The branch to follow.
    #[arg(long, value_name = "NAME")]
    pub branch: String,
    /// The folder of the declaration within the repository.
    #[arg(long, value_name = "DIR")]
    pub path: Option<String>,
    /// The name of this host in the declaration, if it is not its own.
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
    /// A fact that [match] may test; may be repeated.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,
    /// What is done about drift: report it, or correct it.
    #[arg(long, value_name = "MODE", default_value = "warn", value_parser = enrol_mode)]
    pub mode: DriftMode,
    /// https: a file that only root can read, with one line: a token.
    #[arg(long, value_name = "FILE", group = "login")]
    pub token_file: Option<PathBuf>,
    /// https: a file that only root can read, with one line: user:password.
    #[arg(long, value_name = "FILE", group = "login")]
    pub basic_file: Option<PathBuf>,
    /// ssh: the private key.
    #[arg(long, value_name = "FILE", group = "login")]
    pub ssh_key: Option<PathBuf>,
    /// ssh: the pinned host keys of the remote.
    #[arg(long, value_name = "FILE")]
    pub known_hosts: Option<PathBuf>,
    /// https: certificate authorities to trust besides the system's, in PEM.
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Write the settings only: do not ask the remote and do not start the agent. For images.
    #[arg(long)]
    pub offline: bool,
    /// The keys that are trusted to sign, in a file. Not in the help: this version can only refuse it.
    #[arg(long, value_name = "FILE", hide = true)]
    pub signers: Vec<PathBuf>,
    /// A key that is trusted to sign. Not in the help: this version can only refuse it.
    #[arg(long, value_name = "KEY", hide = true)]
    pub signer: Vec<String>,
}

/// Options of `diff`.
#[derive(Clone, Debug, Args)]
pub struct Diff {
    /// Only these, such as file:/etc/motd.
    #[arg(value_name = "RESOURCE")]
    pub resources: Vec<ResourceId>,
}

/// Options of `plan`.
#[derive(Clone, Debug, Args)]
pub struct Plan {
    /// Plan from a folder with a fleet repository instead of asking the agent; what only root can read takes root.
    #[arg(long, value_name = "DIR", requires = "host")]
    pub repo: Option<PathBuf>,
    /// The name of the host in that repository.
    #[arg(long, value_name = "NAME", requires = "repo")]
    pub host: Option<String>,
}

/// Options of `sync`.
#[derive(Clone, Debug, Args)]
pub struct Sync {
    /// Do not ask the remote: reconcile with what is applied.
    #[arg(long)]
    pub no_fetch: bool,
}

/// Options of `suspend`.
#[derive(Clone, Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub struct Suspend {
    /// A resource such as file:/etc/motd, or a kind such as file.
    #[arg(value_name = "RESOURCE|KIND", group = "what")]
    pub target: Option<SuspendTarget>,
    /// Everything on this host.
    #[arg(long, group = "what")]
    pub all: bool,
    /// For how long: 30m, 2h, 1d.
    #[arg(long = "for", value_name = "SPAN", value_parser = crate::config::duration)]
    pub span: std::time::Duration,
    /// Why; others read it in the status.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

/// Options of `resume`.
#[derive(Clone, Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub struct Resume {
    /// What was suspended.
    #[arg(value_name = "RESOURCE|KIND", group = "what")]
    pub target: Option<SuspendTarget>,
    /// Everything on this host.
    #[arg(long, group = "what")]
    pub all: bool,
}

/// Options of `approve`.
#[derive(Clone, Debug, Args)]
pub struct Approve {
    /// The commit that waits; its first seven digits will do.
    #[arg(value_name = "COMMIT")]
    pub what: String,
}

/// Options of `history`.
#[derive(Clone, Debug, Args)]
pub struct History {
    /// Only of this resource.
    #[arg(value_name = "RESOURCE")]
    pub resource: Option<ResourceId>,
    /// Only of this kind.
    #[arg(long, value_name = "KIND")]
    pub kind: Option<KindName>,
    /// Only with this verdict.
    #[arg(long, value_name = "VERDICT")]
    pub verdict: Option<VerdictWord>,
    /// Only made by this user, by name or number: as who ran, or as who logged in.
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// Not before: a span back from now (2h), a date, or a time.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Before: a span back from now (2h), a date, or a time.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// At most so many, the newest first.
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 20)]
    pub limit: u32,
    /// Passes instead of drifts.
    #[arg(long)]
    pub passes: bool,
    /// The whole story of one drift.
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["resource", "kind", "verdict", "user", "since", "until", "passes"])]
    pub id: Option<DriftId>,
    /// Check that no entry was changed, dropped or put in, also against the heads that the journal has.
    #[arg(long, conflicts_with_all = ["resource", "kind", "verdict", "user", "since", "until", "passes", "id"])]
    pub verify: bool,
    /// With --verify: the history must go through this head, noted elsewhere.
    #[arg(long, value_name = "SEQ:DIGEST", requires = "verify")]
    pub head: Option<Noted>,
}

/// Options of `events`.
#[derive(Clone, Debug, Args)]
pub struct Events {
    /// Only of these, such as file:/etc/motd.
    #[arg(value_name = "RESOURCE")]
    pub resources: Vec<ResourceId>,
    /// Go on with what happens, until interrupted.
    #[arg(long, short)]
    pub follow: bool,
    /// Begin with so many of the last ones; the agent remembers a hundred, the history all.
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 10)]
    pub last: u32,
}

/// The words for a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum VerdictWord {
    /// The host moved.
    Drifted,
    /// The declaration moved.
    Behind,
    /// It would not stay as we made it.
    NotConverging,
}

impl From<VerdictWord> for Verdict {
    fn from(word: VerdictWord) -> Self {
        match word {
            VerdictWord::Drifted => Verdict::Drifted,
            VerdictWord::Behind => Verdict::Behind,
            VerdictWord::NotConverging => Verdict::NotConverging,
        }
    }
}

/// Options of `explain`.
#[derive(Clone, Debug, Args)]
pub struct Explain {
    /// What, such as file:/etc/motd, package:nginx, service:nginx.service, firewall:input/ssh.
    #[arg(value_name = "RESOURCE")]
    pub resource: ResourceId,
}

/// Options of `check`.
#[derive(Clone, Debug, Args)]
pub struct Check {
    /// The folder with fleet.toml.
    #[arg(value_name = "DIR", default_value = ".")]
    pub folder: PathBuf,
}

/// Options of `fingerprint`.
#[derive(Clone, Debug, Args)]
pub struct Fingerprint {
    /// Every resource, and not only the kinds.
    #[arg(long)]
    pub all: bool,
}

/// Options of `restore`.
#[derive(Clone, Debug, Args)]
pub struct Restore {
    /// The number of a drift, or the path of a file: then what was kept of it last.
    #[arg(value_name = "DRIFT|PATH")]
    pub what: String,
    /// For how long it is suspended afterwards.
    #[arg(long = "for", value_name = "SPAN", default_value = "2h", value_parser = crate::config::duration)]
    pub span: std::time::Duration,
}

/// Options of `generate`.
#[derive(Clone, Debug, Args)]
pub struct Generate {
    /// What to make.
    pub what: Generated,
    /// The folder to put it in.
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}

/// What can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Generated {
    /// Man pages.
    Man,
    /// Completions for bash, zsh and fish.
    Completions,
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("write it as NAME=VALUE, such as site=north".to_owned()),
    }
}

fn enrol_mode(text: &str) -> Result<DriftMode, String> {
    match text.parse() {
        Ok(mode @ (DriftMode::Warn | DriftMode::Enabled)) => Ok(mode),
        Ok(DriftMode::Disabled) | Err(_) => Err("use warn (report) or enabled (correct)".to_owned()),
    }
}
