//! Who made a change, with the evidence and how far it carries.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How far the evidence carries. A wrong name is worse than none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// No name is given; the reason says why.
    Unknown,
    /// The evidence points to this actor and to no other, but nothing ties the very change to it.
    Likely,
    /// The kernel or the changing program itself named the actor of this very change.
    Certain,
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Confidence::Unknown => "unknown",
            Confidence::Likely => "likely",
            Confidence::Certain => "certain",
        })
    }
}

/// Where a piece of evidence comes from, strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// The process that fanotify named with the event, read through its pidfd while it was there.
    Fanotify,
    /// The process that nftables named with the new generation.
    Netfilter,
    /// apt's history: the command line and the user who asked for it.
    AptHistory,
    /// dpkg's log: that a package changed and when, not by whom.
    DpkgLog,
    /// The sender of a D-Bus call, or the job systemd ran for it.
    Bus,
    /// What journald noted of a process: units, sudo, sshd.
    Journal,
    /// The kernel's notes of which program a process started, kept after its end.
    ExecCache,
    /// The process connector's notes of the same, where the kernel allows no better.
    ExecConnector,
    /// /proc as it was when the drift was looked at.
    Proc,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Evidence::Fanotify => "fanotify",
            Evidence::Netfilter => "nftables",
            Evidence::AptHistory => "apt's history",
            Evidence::DpkgLog => "dpkg's log",
            Evidence::Bus => "D-Bus",
            Evidence::Journal => "the journal",
            Evidence::ExecCache => "the kernel's notes of programs",
            Evidence::ExecConnector => "the process connector's notes",
            Evidence::Proc => "/proc",
        })
    }
}

/// A process as it was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Process {
    /// Its id in the agent's pid namespace.
    pub pid: u32,
    /// The program it ran, as a path. Untrusted text: escape it before a terminal. Empty if not known.
    pub executable: String,
    /// Its short name (`comm`): a process gives it to itself, so it proves nothing. Untrusted text.
    pub name: String,
    /// Its argument vector. Untrusted text, possibly cut.
    pub command: Vec<String>,
}

/// An account, by number and, where it is known on this host, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// User id.
    pub uid: u32,
    /// Its name here.
    pub name: Option<String>,
}

/// The login a process belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Session {
    /// The kernel's audit session, which systemd-logind uses as its own id.
    pub id: Option<u32>,
    /// The terminal, such as `pts/0`.
    pub terminal: Option<String>,
    /// Where an ssh connection came from: address and port.
    pub ssh_from: Option<String>,
    /// The command line that was given to sudo, if there is one among the ancestors.
    pub sudo: Option<String>,
}

/// Who made a change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Actor {
    /// The process that made it.
    pub process: Option<Process>,
    /// Its ancestors, parent first.
    pub ancestors: Vec<Process>,
    /// The user it ran as.
    pub user: Option<Account>,
    /// The user who logged in (`loginuid`): stays the same through sudo and su.
    pub login: Option<Account>,
    /// The login session.
    pub session: Option<Session>,
    /// The systemd unit it ran in.
    pub unit: Option<String>,
    /// The container it ran in: the name of the machine or an id.
    pub container: Option<String>,
}

/// Who made a change, as far as the evidence carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attribution {
    /// How far.
    pub confidence: Confidence,
    /// Who; none if unknown.
    pub actor: Option<Actor>,
    /// What the name rests on, strongest first.
    pub evidence: Vec<Evidence>,
    /// In a sentence: why this name, or why none.
    pub reason: String,
    /// When the change was made, as far as an event told.
    pub at: Option<Timestamp>,
}

impl Attribution {
    /// No name, and why.
    pub fn unknown(reason: impl Into<String>) -> Self {
        Attribution {
            confidence: Confidence::Unknown,
            actor: None,
            evidence: Vec::new(),
            reason: reason.into(),
            at: None,
        }
    }
}

impl Attribution {
    /// The same as its text, without the reason for naming nobody: for where many stand below each other.
    pub fn in_short(&self) -> String {
        match self.names_someone() {
            true => self.to_string(),
            false => "unknown by whom".to_owned(),
        }
    }

    /// Whether somebody is named.
    pub fn names_someone(&self) -> bool {
        self.actor.is_some() && self.confidence > Confidence::Unknown
    }
}

impl fmt::Display for Attribution {
    /// In a line: `/usr/bin/vim [4312] by anna as root in session-4.scope from 10.0.0.9, certain`. Holds untrusted text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.actor {
            Some(actor) if self.names_someone() => write!(f, "{actor}, {}", self.confidence),
            Some(_) | None => write!(f, "unknown by whom ({})", self.reason),
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        words.extend(self.process.as_ref().map(ToString::to_string));
        match (&self.login, &self.user) {
            (Some(login), Some(user)) if login.uid != user.uid => words.push(format!("by {login} as {user}")),
            (Some(user), _) | (None, Some(user)) => words.push(format!("by {user}")),
            (None, None) => {}
        }
        let sudo = self.session.as_ref().and_then(|session| session.sudo.as_ref());
        words.extend(sudo.map(|command| format!("through `sudo {command}`")));
        words.extend(self.unit.as_ref().map(|unit| format!("in {unit}")));
        words.extend(self.container.as_ref().map(|name| format!("in container {name}")));
        let from = self.session.as_ref().and_then(|session| session.ssh_from.as_ref());
        words.extend(from.map(|from| format!("from {from}")));
        if words.is_empty() {
            words.push("someone".to_owned());
        }
        f.write_str(&words.join(" "))
    }
}

impl fmt::Display for Process {
    /// The program and its number: `/usr/bin/vim [4312]`; by its own name where the program is not known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = match (self.executable.as_str(), self.name.as_str()) {
            ("", "") => "a process",
            ("", name) => name,
            (executable, _) => executable,
        };
        match self.pid {
            0 => f.write_str(program),
            pid => write!(f, "{program} [{pid}]"),
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => f.write_str(name),
            None => write!(f, "uid {}", self.uid),
        }
    }
}
