//! What sshd and sudo noted of logins in the journal: where a connection came from, and which command was asked for.
//!
//! Anybody may write into the journal under any name. What is believed is what journald itself adds to an entry: the
//! program that wrote it, its process, and the login it belongs to.

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use super::program::{ProgramError, Programs, Run};

/// A login that sshd let in, or a session that it opened for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshNote {
    /// The sshd that serves this login.
    pub pid: u32,
    /// When.
    pub at: Timestamp,
    /// The audit session it opened; none before that.
    pub session: Option<u32>,
    /// Where it came from: `10.0.0.5 port 50022`; none if this is not about that.
    pub from: Option<String>,
}

/// A command that sudo was about to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SudoNote {
    /// The sudo.
    pub pid: u32,
    /// When.
    pub at: Timestamp,
    /// The user who logged in; none if nobody did.
    pub login: Option<u32>,
    /// The user who called it, by real user id; none if not told.
    pub caller: Option<u32>,
    /// The audit session; none if there is none.
    pub session: Option<u32>,
    /// As whom the command runs.
    pub runs_as: String,
    /// The command, its words joined by blanks. Untrusted text.
    pub command: String,
}

/// What was noted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoginNotes {
    /// By sshd, oldest first.
    pub ssh: Vec<SshNote>,
    /// By sudo, oldest first.
    pub sudo: Vec<SudoNote>,
}

/// Whose notes are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// Of these processes of sshd.
    pub sshd: Vec<u32>,
    /// Of these processes of sudo.
    pub sudo: Vec<u32>,
    /// Of sshd, for this audit session.
    pub session: Option<u32>,
}

const SUDO: &str = "_EXE=/usr/bin/sudo";
/// The latter since OpenSSH 9.8.
const SSHD: [&str; 2] = ["_EXE=/usr/sbin/sshd", "_EXE=/usr/lib/openssh/sshd-session"];
/// No more than this is read for one question.
const LINES: &str = "200";
/// A journal that takes longer is not waited for: the evidence stays incomplete and says so.
const PATIENCE: Duration = Duration::from_secs(2);
/// Not a login, and the session of nobody: `(uid_t) -1`.
const NOBODY: u32 = u32::MAX;

impl Asked {
    /// Whether nothing is asked.
    pub fn is_nothing(&self) -> bool {
        self.sshd.is_empty() && self.sudo.is_empty() && self.session.is_none()
    }

    fn matches(&self) -> Vec<String> {
        let mut groups: Vec<Vec<String>> = Vec::new();
        let of = |pids: &[u32]| pids.iter().map(|pid| format!("_PID={pid}")).collect::<Vec<_>>();
        let sshd = || SSHD.map(str::to_owned).to_vec();
        if !self.sudo.is_empty() {
            groups.push([vec![SUDO.to_owned()], of(&self.sudo)].concat());
        }
        if !self.sshd.is_empty() {
            groups.push([sshd(), of(&self.sshd)].concat());
        }
        if let Some(session) = self.session {
            groups.push([sshd(), vec![format!("_AUDIT_SESSION={session}")]].concat());
        }
        groups.join(&"+".to_owned())
    }
}

/// What was noted since the host was booted of those who are asked for.
pub fn of(programs: &dyn Programs, asked: &Asked) -> Result<LoginNotes, ProgramError> {
    match asked.is_nothing() {
        true => Ok(LoginNotes::default()),
        false => ask(programs, &[vec!["--boot".to_owned()], asked.matches()].concat()),
    }
}

/// What sudo noted since then, by whomever.
pub fn of_sudo(programs: &dyn Programs, since: Timestamp) -> Result<Vec<SudoNote>, ProgramError> {
    let since = format!("--since=@{}", since.as_second());
    Ok(ask(programs, &[since, SUDO.to_owned()])?.sudo)
}

fn ask(programs: &dyn Programs, which: &[String]) -> Result<LoginNotes, ProgramError> {
    let mut arguments = vec!["--output=json", "--no-pager", "--quiet", "--lines", LINES];
    arguments.extend(which.iter().map(String::as_str));
    let mut run = Run::new("/usr/bin/journalctl", &arguments);
    run.time_limit = PATIENCE;
    let ran = programs.run(&run)?;
    let mut notes = LoginNotes::default();
    String::from_utf8_lossy(&ran.stdout).lines().for_each(|line| read(line, &mut notes));
    Ok(notes)
}

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    at: String,
    #[serde(rename = "_PID")]
    pid: String,
    #[serde(rename = "_UID")]
    uid: Option<String>,
    #[serde(rename = "_EXE")]
    program: String,
    #[serde(rename = "_AUDIT_LOGINUID")]
    login: Option<String>,
    #[serde(rename = "_AUDIT_SESSION")]
    session: Option<String>,
    /// Bytes, where it is no text: that is neither of ours.
    #[serde(rename = "MESSAGE")]
    message: serde_json::Value,
}

fn read(line: &str, notes: &mut LoginNotes) {
    let Ok(line) = serde_json::from_str::<Line>(line) else { return };
    let (Some(at), Ok(pid), Some(message)) = (time(&line.at), line.pid.parse(), line.message.as_str()) else {
        return;
    };
    let number = |text: &Option<String>| text.as_ref()?.parse().ok().filter(|number| *number != NOBODY);
    let session = number(&line.session);
    if line.program.ends_with("/sudo") {
        let asked = command(message).map(|(runs_as, command)| SudoNote {
            pid,
            at,
            login: number(&line.login),
            caller: number(&line.uid),
            session,
            runs_as,
            command,
        });
        notes.sudo.extend(asked);
    } else if number(&line.uid) == Some(0) {
        notes.ssh.push(SshNote { pid, at, session, from: accepted(message) });
    }
}

fn time(text: &str) -> Option<Timestamp> {
    Timestamp::from_microsecond(text.parse().ok()?).ok()
}

/// `Accepted publickey for ada from 10.0.0.5 port 50022 ssh2: ED25519 SHA256:…`
fn accepted(message: &str) -> Option<String> {
    let (words, _) = message.strip_prefix("Accepted ")?.split_once(" ssh2")?;
    let (_, from) = words.rsplit_once(" from ")?;
    let (address, port) = from.split_once(" port ")?;
    let (address, port): (IpAddr, u16) = (address.parse().ok()?, port.parse().ok()?);
    Some(format!("{} port {port}", address.to_canonical()))
}

/// `ada : TTY=pts/0 ; PWD=/home/ada ; USER=root ; COMMAND=/usr/bin/id`: as whom, and what. Where it refused, it says why
/// before the terminal. A folder or an argument may be named like another part: then nothing is read.
fn command(message: &str) -> Option<(String, String)> {
    let (_, rest) = message.split_once(" : ")?;
    let is_begun = ["HOST=", "TTY=", "PWD="].iter().any(|part| rest.starts_with(part));
    let (before, command) = rest.split_once(" ; COMMAND=").filter(|_| is_begun)?;
    let (_, user) = before.split_once(" ; USER=")?;
    let is_plain = !command.contains(" ; COMMAND=") && !user.contains(" ; USER=");
    let user = user.split(" ; ").next().filter(|_| is_plain)?;
    Some((user.to_owned(), command.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(program: &str, uid: u32, message: &str) -> String {
        serde_json::json!({
            "__REALTIME_TIMESTAMP": "1795456800000000", "_PID": "42", "_UID": uid.to_string(), "_EXE": program,
            "_AUDIT_LOGINUID": "1000", "_AUDIT_SESSION": "3", "MESSAGE": message,
        })
        .to_string()
    }

    fn notes(line: &str) -> LoginNotes {
        let mut notes = LoginNotes::default();
        read(line, &mut notes);
        notes
    }

    #[test]
    fn sshd_tells_where_a_login_came_from_and_nobody_else_does() {
        let from = |message: &str| notes(&line("/usr/sbin/sshd", 0, message)).ssh[0].from.clone();
        let accepted = "Accepted publickey for ada from 10.0.0.5 port 50022 ssh2: ED25519 SHA256:abc";
        assert_eq!(from(accepted).as_deref(), Some("10.0.0.5 port 50022"));
        assert_eq!(
            from("Accepted password for a from 1.1.1.1 port 1 from fe80::1 port 2 ssh2").as_deref(),
            Some("fe80::1 port 2")
        );
        assert_eq!(from("Failed password for ada from 10.0.0.5 port 1 ssh2"), None);
        assert_eq!(from("Accepted password for ada from nowhere port 1 ssh2"), None);
        let opened =
            notes(&line("/usr/lib/openssh/sshd-session", 0, "session opened for user ada(uid=1000)"));
        assert_eq!((opened.ssh[0].pid, opened.ssh[0].session), (42, Some(3)));
        assert_eq!(notes(&line("/usr/sbin/sshd", 1000, accepted)), LoginNotes::default(), "not root's sshd");
    }

    #[test]
    fn sudo_tells_what_it_started_and_not_what_it_refused() {
        let asked = |message: &str| notes(&line("/usr/bin/sudo", 1000, message)).sudo;
        let told = asked("     ada : TTY=pts/0 ; PWD=/home/ada ; USER=root ; COMMAND=/usr/bin/tee /etc/motd");
        assert_eq!((told[0].runs_as.as_str(), told[0].command.as_str()), ("root", "/usr/bin/tee /etc/motd"));
        assert_eq!((told[0].login, told[0].caller, told[0].session), (Some(1000), Some(1000), Some(3)));
        assert_eq!(asked("ada : PWD=/ ; USER=ben ; ENV=F=x ; COMMAND=/bin/id")[0].runs_as, "ben");
        for refused in [
            "ada : command not allowed ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/id",
            "ada : 3 incorrect password attempts ; PWD=/ ; USER=root ; COMMAND=/bin/id",
            "ada : PWD=/x ; USER=root ; COMMAND=/bin/false ; USER=root ; COMMAND=/bin/id",
            "pam_unix(sudo:session): session opened for user root(uid=0) by ada(uid=1000)",
        ] {
            assert_eq!(asked(refused), [], "{refused}");
        }
    }

    #[test]
    fn each_of_those_asked_for_is_a_group_of_its_own() {
        let asked = Asked { sshd: vec![7], sudo: vec![8, 9], session: Some(3) };
        let wanted = "_EXE=/usr/bin/sudo _PID=8 _PID=9 + _EXE=/usr/sbin/sshd _EXE=/usr/lib/openssh/sshd-session _PID=7 \
                      + _EXE=/usr/sbin/sshd _EXE=/usr/lib/openssh/sshd-session _AUDIT_SESSION=3";
        assert_eq!(asked.matches().join(" "), wanted);
        assert!(Asked::default().is_nothing());
    }

    #[test]
    fn no_line_makes_the_reader_panic() {
        proptest::proptest!(|(message in "(Accepted | from | port | ssh2| : |TTY=| ; USER=| ; COMMAND=|[a-z0-9 ü]){0,12}")| {
            notes(&line("/usr/sbin/sshd", 0, &message));
            notes(&line("/usr/bin/sudo", 0, &message));
        });
        read("{}", &mut LoginNotes::default());
        read("{\"MESSAGE\":[1,2]}", &mut LoginNotes::default());
    }
}
