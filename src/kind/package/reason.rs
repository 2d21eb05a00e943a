//! Why apt or dpkg did not do something: a closed list with stable codes, told from apt's output (apt itself
//! ends with 100 for everything). Each says what happened, to what, and what to do next.

use super::lock::Holder;
use super::spec::Wish;
use super::status::Status;

/// Why a package is not as declared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Someone else is at work.
    #[error("{0}")]
    LockHeld(Holder),
    /// A lock was taken between our look and apt's.
    #[error("it took a lock ({complaint})")]
    LockTaken {
        /// apt's words.
        complaint: String,
    },
    /// No source knows the name.
    #[error(
        "no such package: no apt source of this host knows {name}. Check the spelling, or declare the source \
         that has it below /etc/apt"
    )]
    NoSuchPackage {
        /// The package.
        name: String,
    },
    /// The name is known, and no version can be had: a virtual or withdrawn package.
    #[error(
        "{name} has no version to install: it is virtual, pinned away or gone from its source. Declare a package \
         that provides it"
    )]
    NoCandidate {
        /// The package.
        name: String,
    },
    /// The declared version is in no source.
    #[error(
        "version not in the archive: {name} {wanted} is in no apt source of this host, which has {available}. \
         Declare one of these, or add a source that keeps {wanted}"
    )]
    VersionNotInArchive {
        /// The package.
        name: String,
        /// What is declared.
        wanted: String,
        /// What there is.
        available: String,
    },
    /// Someone held it.
    #[error(
        "held: {name} is on hold on this host (apt-mark hold) and the declaration does not speak of the hold. \
         Declare hold = true or hold = false, or end it with `apt-mark unhold {name}`"
    )]
    Held {
        /// The package.
        name: String,
    },
    /// apt's solution takes away what nobody declared absent.
    #[error(
        "refused: apt would remove {removed}, which is not declared absent. Declare ensure = \"absent\" for it, or \
         another version"
    )]
    WouldRemove {
        /// What would go.
        removed: String,
    },
    /// apt's solution puts back an earlier version of something.
    #[error(
        "refused: apt would downgrade {downgraded}, which is not declared. Declare its version, or another one"
    )]
    WouldDowngrade {
        /// What would be downgraded, with versions.
        downgraded: String,
    },
    /// apt's solution contradicts another declared package.
    #[error(
        "refused: apt would change {name} to {version}, and {wish} is declared. One of the two must give way"
    )]
    WouldContradict {
        /// The other package.
        name: String,
        /// What apt would make of it.
        version: String,
        /// What is declared of it.
        wish: Wish,
    },
    /// apt's solution changes a held package.
    #[error(
        "refused: apt would change {name}, which is on hold on this host. Declare it with its hold, or end the \
         hold with `apt-mark unhold {name}`"
    )]
    WouldChangeHeld {
        /// The held package.
        name: String,
    },
    /// The host does not work without it.
    #[error("refused: {name} is essential to the host. Take ensure = \"absent\" out of the declaration")]
    Essential {
        /// The package.
        name: String,
    },
    /// No solution.
    #[error("its dependencies can't be satisfied from this host's apt sources: {complaint}")]
    Unsatisfiable {
        /// apt's words.
        complaint: String,
    },
    /// A maintainer script failed.
    #[error(
        "the {script} script of {package} failed. Mend its cause and the next pass finishes the work: {complaint}"
    )]
    ScriptFailed {
        /// The package.
        package: String,
        /// Which script.
        script: String,
        /// What it said.
        complaint: String,
    },
    /// Two packages have the same file.
    #[error("{complaint}. The two packages can't be installed together: declare one of them absent")]
    FileConflict {
        /// dpkg's words.
        complaint: String,
    },
    /// No room.
    #[error("the disk is full: {complaint}. Make room (`apt-get clean` frees fetched archives)")]
    DiskFull {
        /// The system's words.
        complaint: String,
    },
    /// A source can't be believed.
    #[error(
        "a package source is not trusted: {complaint}. Install its key, or take the source out of /etc/apt"
    )]
    Signature {
        /// apt's words.
        complaint: String,
    },
    /// A source is out of its validity, or the clock is wrong.
    #[error("a package source is out of date: {complaint}. Check the mirror, and this host's clock")]
    Expired {
        /// apt's words.
        complaint: String,
    },
    /// What was fetched is not what the index promised.
    #[error("a package source changed under us: {complaint}. The index is fetched anew at the next attempt")]
    IndexStale {
        /// apt's words.
        complaint: String,
    },
    /// A source can't be reached.
    #[error("a package source can't be reached: {complaint}. It is tried again later")]
    Fetch {
        /// apt's words.
        complaint: String,
    },
    /// The sources themselves are not what apt reads.
    #[error("apt can't read its sources or settings: {complaint}. Mend the named file below /etc/apt")]
    Sources {
        /// apt's words.
        complaint: String,
    },
    /// dpkg was interrupted and the ladder of repairs did not mend it.
    #[error("dpkg left {name} {status} and it could not be repaired: {complaint}")]
    NotRepaired {
        /// The package.
        name: String,
        /// How far dpkg got.
        status: &'static str,
        /// The last words.
        complaint: String,
    },
    /// It ran into its time limit and systemd ended it.
    #[error(
        "apt did not end within its time limit and was ended; the next pass repairs what it left: {complaint}"
    )]
    TimedOut {
        /// The last words.
        complaint: String,
    },
    /// dpkg refuses packages of its architecture.
    #[error(
        "this host takes no packages of {architecture}, so {name} can't be installed: `dpkg --add-architecture \
         {architecture}` on the host lets it, or leave `:{architecture}` out"
    )]
    ForeignArchitecture {
        /// The package.
        name: String,
        /// Its architecture.
        architecture: String,
    },
    /// Its configuration files could not be kept, so they are not taken away.
    #[error(
        "{name} is not purged: its configuration files could not be kept ({complaint}). Free space below \
         /var/lib/agentd, raise max_size of [keep] in the settings, or leave `purge` out"
    )]
    NotKept {
        /// The package.
        name: String,
        /// What went wrong.
        complaint: String,
    },
    /// apt could not be run.
    #[error("apt could not be run: {complaint}")]
    NotRun {
        /// What the system said.
        complaint: String,
    },
    /// None of the above.
    #[error("apt ended and {name} is not as declared: {complaint}")]
    Unexplained {
        /// The package.
        name: String,
        /// The last words.
        complaint: String,
    },
}

impl Reason {
    /// The stable code. Part of the interface: never renamed.
    pub const fn code(&self) -> &'static str {
        match self {
            Reason::LockHeld(_) | Reason::LockTaken { .. } => "lock-held",
            Reason::NoSuchPackage { .. } => "no-such-package",
            Reason::NoCandidate { .. } => "no-candidate",
            Reason::VersionNotInArchive { .. } => "version-not-in-archive",
            Reason::Held { .. } => "held",
            Reason::WouldRemove { .. } => "would-remove",
            Reason::WouldDowngrade { .. } => "would-downgrade",
            Reason::WouldContradict { .. } => "would-contradict",
            Reason::WouldChangeHeld { .. } => "would-change-held",
            Reason::Essential { .. } => "essential",
            Reason::Unsatisfiable { .. } => "unsatisfiable",
            Reason::ScriptFailed { .. } => "script-failed",
            Reason::FileConflict { .. } => "file-conflict",
            Reason::DiskFull { .. } => "disk-full",
            Reason::Signature { .. } => "signature",
            Reason::Expired { .. } => "expired",
            Reason::IndexStale { .. } => "index-stale",
            Reason::Fetch { .. } => "fetch",
            Reason::Sources { .. } => "sources",
            Reason::NotRepaired { .. } => "not-repaired",
            Reason::TimedOut { .. } => "timed-out",
            Reason::NotKept { .. } => "not-kept",
            Reason::ForeignArchitecture { .. } => "foreign-architecture",
            Reason::NotRun { .. } => "not-run",
            Reason::Unexplained { .. } => "unexplained",
        }
    }

    /// Whether it is only a matter of waiting for someone else.
    pub const fn waits(&self) -> bool {
        matches!(self, Reason::LockHeld(_) | Reason::LockTaken { .. })
    }

    /// Whether a fresh package index might know better.
    pub const fn may_be_stale(&self) -> bool {
        matches!(
            self,
            Reason::NoSuchPackage { .. } | Reason::NoCandidate { .. } | Reason::VersionNotInArchive { .. }
        )
    }

    /// The whole message: what a person reads, with the code by which it is looked up.
    pub fn message(&self) -> String {
        format!("{self} [{}]", self.code())
    }
}

/// Words of apt or dpkg, and what they are a sign of.
type Sign = (&'static [&'static str], fn(String) -> Reason);

/// Most telling first: a full disk makes scripts fail, a stale index makes fetches fail. Formats: apt 2.6 and 3.0,
/// dpkg 1.21 and 1.22, in the C locale.
const SIGNS: [Sign; 9] = [
    (
        &["Could not get lock", "Unable to acquire the dpkg frontend lock", "Unable to lock directory"],
        |complaint| Reason::LockTaken { complaint },
    ),
    (&["No space left on device", "You don't have enough free space"], |complaint| Reason::DiskFull {
        complaint,
    }),
    (&["is expired (invalid since", "is not valid yet", "is not yet valid"], |complaint| Reason::Expired {
        complaint,
    }),
    (
        &[
            "NO_PUBKEY",
            "BADSIG",
            "EXPKEYSIG",
            "REVKEYSIG",
            "is not signed",
            "no longer signed",
            "GPG error",
            "OpenPGP signature verification failed",
            "cannot be authenticated",
            "unauthenticated packages",
            "Clearsigned file isn't valid",
        ],
        |complaint| Reason::Signature { complaint },
    ),
    (&["Hash Sum mismatch", "File has unexpected size", "404  Not Found", "Failed to stat"], |complaint| {
        Reason::IndexStale { complaint }
    }),
    (
        &["Failed to fetch", "Could not resolve", "Could not connect", "Unable to fetch some archives"],
        |complaint| Reason::Fetch { complaint },
    ),
    (&["The list of sources could not be read", "Malformed entry", "Syntax error", "Type '"], |complaint| {
        Reason::Sources { complaint }
    }),
    (&["trying to overwrite"], |complaint| Reason::FileConflict { complaint }),
    (
        &["unmet dependencies", "held broken packages", "generated breaks", "Unable to correct problems"],
        |complaint| Reason::Unsatisfiable { complaint },
    ),
];

/// What apt's or dpkg's words tell of a whole run.
pub fn of_output(output: &str) -> Option<Reason> {
    let found = |needles: &[&str]| {
        let line = output.lines().find(|line| needles.iter().any(|needle| line.contains(needle)));
        line.map(|line| shorten(line.trim()))
    };
    let reason = SIGNS.iter().find_map(|(needles, reason)| found(needles).map(reason))?;
    Some(match reason {
        Reason::Unsatisfiable { .. } => Reason::Unsatisfiable { complaint: unmet(output) },
        told => told,
    })
}

/// What dpkg said of one package: a script that failed.
pub fn of_package(name: &str, output: &str) -> Option<Reason> {
    let lines: Vec<&str> = output.lines().collect();
    let about = |line: &&str| -> bool {
        let Some((_, rest)) = line.split_once("error processing package ") else { return false };
        let package = rest.split([' ', ':']).next().unwrap_or_default();
        package == name
    };
    let at = lines.iter().position(about)?;
    let said = lines.get(at + 1).map_or("", |line| line.trim());
    if !said.contains("script") {
        return None;
    }
    let script = ["post-installation", "pre-installation", "pre-removal", "post-removal"];
    let script = script.into_iter().find(|script| said.contains(script))?;
    // What the script itself printed stands before dpkg's complaint.
    let before: Vec<&str> = lines.get(at.saturating_sub(3)..at).unwrap_or_default().to_vec();
    let complaint = shorten(&[before.as_slice(), &[said]].concat().join("; "));
    Some(Reason::ScriptFailed { package: name.to_owned(), script: script.to_owned(), complaint })
}

/// The last words of an output, for a message.
pub fn last_words(output: &str) -> String {
    let lines: Vec<&str> = output.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    shorten(&lines[lines.len().saturating_sub(6)..].join("; "))
}

/// A package that the ladder did not mend.
pub fn not_repaired(name: &str, status: Status, output: &str) -> Reason {
    of_package(name, output).or_else(|| of_output(output)).unwrap_or_else(|| Reason::NotRepaired {
        name: name.to_owned(),
        status: status.as_str(),
        complaint: last_words(output),
    })
}

/// apt's list of unmet dependencies.
fn unmet(output: &str) -> String {
    let lines = output.lines().map(str::trim);
    let told = |line: &&str| {
        ["Depends:", "PreDepends:", "Conflicts:", "Breaks:"].iter().any(|word| line.contains(word))
    };
    let lines: Vec<&str> = lines.filter(told).take(4).collect();
    if lines.is_empty() { last_words(output) } else { shorten(&lines.join("; ")) }
}

/// Control characters out (the words come from scripts), and not longer than a person reads.
fn shorten(text: &str) -> String {
    const LIMIT: usize = 600;
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let kept: String = clean.clone().take(LIMIT).collect();
    if clean.count() > LIMIT { format!("{kept} …") } else { kept }
}
