//! From what was read of a process to who that is in words a person uses: account, login, session, unit, container.
//! All of it is bounded: a process chooses its own name and arguments.

use super::scripts::base;
use super::{Gathered, SessionNote, logins};
use crate::model::{Account, Actor, Process, ProcessFacts, Session};

/// Longest text that is kept of one argument or path.
const TEXT: usize = 256;
/// Longest command line that is kept, of the one who did it and of each ancestor.
const COMMAND: usize = 512;
const ANCESTORS_COMMAND: usize = 128;
/// Ancestors that are kept.
const ANCESTORS: usize = 12;

/// Who this is.
pub(super) fn of(facts: &ProcessFacts, gathered: &Gathered) -> Actor {
    let account = |uid: u32| Account { uid, name: gathered.people.get(&uid).cloned() };
    let contained = container(facts);
    // Within a container the same number may be another person; root is root everywhere.
    let user = match &contained {
        Some(_) => facts.euid.map(|uid| Account { uid, name: (uid == 0).then(|| "root".to_owned()) }),
        None => facts.euid.map(account),
    };
    let ancestors = facts.ancestors.iter().take(ANCESTORS);
    Actor {
        process: Some(process(facts, COMMAND)),
        ancestors: ancestors.map(|one| process(one, ANCESTORS_COMMAND)).collect(),
        user,
        login: facts.login.map(account),
        session: session(facts, gathered),
        unit: facts.cgroup.as_deref().and_then(unit),
        container: contained,
    }
}

/// The beginning of a text.
pub(super) fn cut(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

fn process(facts: &ProcessFacts, limit: usize) -> Process {
    let mut left = limit;
    let mut command = Vec::new();
    for argument in &facts.command {
        if left == 0 {
            command.push("…".to_owned());
            break;
        }
        let argument = cut(argument, TEXT.min(left));
        left = left.saturating_sub(argument.chars().count() + 1);
        command.push(argument);
    }
    Process {
        pid: facts.pid,
        executable: cut(facts.executable.as_deref().unwrap_or_default(), TEXT),
        name: cut(&facts.name, 16),
        command,
    }
}

fn session(facts: &ProcessFacts, gathered: &Gathered) -> Option<Session> {
    let line = || std::iter::once(facts).chain(&facts.ancestors);
    let note = facts.session.and_then(|id| gathered.sessions.get(&id)).cloned().unwrap_or_default();
    let SessionNote { remote, terminal } = note;
    let connection = line().find_map(|one| gathered.connections.get(&one.pid)).cloned();
    let sudo = line().find(|one| one.executable.as_deref().is_some_and(|path| base(path) == "sudo"));
    let sudo =
        sudo.map(|sudo| cut(&sudo.command.iter().skip(1).cloned().collect::<Vec<_>>().join(" "), TEXT));
    let noted = logins::noted(facts, gathered);
    let session = Session {
        id: facts.session,
        terminal: line().find_map(|one| one.terminal).and_then(terminal_name).or(terminal),
        // The socket has the port, too, and so has sshd's own note, which stays when the connection is gone.
        ssh_from: connection.or_else(|| noted.ssh?.from.clone()).or(remote),
        sudo: sudo.filter(|words| !words.is_empty()).or_else(|| Some(cut(&noted.sudo?.command, TEXT))),
    };
    (session != Session::default()).then_some(session)
}

/// The name of a terminal by its device number, as `tty_nr` of proc(5) has it. Numbers: `admin-guide/devices.txt`.
fn terminal_name(number: u32) -> Option<String> {
    let (major, minor) = (number >> 8 & 0xfff, number & 0xff | number >> 12 & 0xf_ff00);
    match (major, minor) {
        (136..=143, _) => Some(format!("pts/{}", (major - 136) * 256 + minor)),
        (4, 0..=63) => Some(format!("tty{minor}")),
        (4, _) => Some(format!("ttyS{}", minor - 64)),
        (204, 64..) => Some(format!("ttyAMA{}", minor - 64)),
        (229, _) => Some(format!("hvc{minor}")),
        _ => None,
    }
}

/// The systemd unit of a control group: the first part from the left that is one, slices aside.
fn unit(cgroup: &str) -> Option<String> {
    let is_unit =
        |part: &&str| [".service", ".scope", ".socket", ".mount"].iter().any(|end| part.ends_with(end));
    cgroup.split('/').find(is_unit).map(|part| cut(part, TEXT))
}

/// The container of a process, by its control group, or by its process namespace alone.
pub(super) fn container(facts: &ProcessFacts) -> Option<String> {
    let named = facts.cgroup.as_deref().and_then(|group| group.split('/').find_map(container_in));
    named
        .or_else(|| container_folder(facts.cgroup.as_deref()?))
        .or_else(|| facts.is_contained.then(|| "unnamed".to_owned()))
}

/// `docker-ID.scope`, `libpod-ID.scope`, `cri-containerd-ID.scope`, `crio-ID.scope`, `machine-NAME.scope`,
/// `systemd-nspawn@NAME.service`, `lxc.payload.NAME`.
fn container_in(part: &str) -> Option<String> {
    let scope = part.strip_suffix(".scope");
    for (prefix, word) in
        [("docker-", "docker"), ("libpod-", "podman"), ("cri-containerd-", "containerd"), ("crio-", "crio")]
    {
        if let Some(id) = scope.and_then(|scope| scope.strip_prefix(prefix)).filter(|id| is_id(id)) {
            return Some(format!("{word} {}", &id[..12]));
        }
    }
    let machine = scope.and_then(|scope| scope.strip_prefix("machine-"));
    let nspawn = part.strip_prefix("systemd-nspawn@").and_then(|rest| rest.strip_suffix(".service"));
    let lxc = part.strip_prefix("lxc.payload.");
    machine.or(nspawn).or(lxc).map(|name| cut(&unescape(name), 64))
}

/// `/docker/ID`, `/lxc/NAME`, `/kubepods/…/ID`: where systemd does not keep the groups.
fn container_folder(cgroup: &str) -> Option<String> {
    let parts: Vec<&str> = cgroup.split('/').collect();
    parts.windows(2).find_map(|pair| match pair {
        ["docker", id] if is_id(id) => Some(format!("docker {}", &id[..12])),
        ["lxc", name] if !name.is_empty() => Some(cut(name, 64)),
        _ => None,
    })
}

fn is_id(text: &str) -> bool {
    text.len() >= 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// systemd writes what a name of a unit can't hold as `\xNN`.
fn unescape(name: &str) -> String {
    let mut parts = name.split("\\x");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if byte.is_ascii() => {
                text.push(char::from(byte));
                text.push_str(&part[2..]);
            }
            Some(_) | None => {
                text.push_str("\\x");
                text.push_str(part);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_containers_are_read_from_control_groups() {
        let id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        for (group, in_unit, in_container) in [
            ("/system.slice/cron.service".to_owned(), Some("cron.service"), None),
            ("/user.slice/user-1000.slice/session-3.scope".to_owned(), Some("session-3.scope"), None),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/x.service".to_owned(),
                Some("user@1000.service"),
                None,
            ),
            (format!("/system.slice/docker-{id}.scope"), None, Some("docker 0123456789ab")),
            (format!("/docker/{id}"), None, Some("docker 0123456789ab")),
            (format!("/machine.slice/libpod-{id}.scope/container"), None, Some("podman 0123456789ab")),
            (
                "/machine.slice/machine-web\\x2d1.scope/payload/system.slice/cron.service".to_owned(),
                None,
                Some("web-1"),
            ),
            ("/machine.slice/systemd-nspawn@db.service/payload".to_owned(), None, Some("db")),
            ("/lxc.payload.one/init.scope".to_owned(), None, Some("one")),
            ("/".to_owned(), None, None),
        ] {
            let facts = ProcessFacts { cgroup: Some(group.clone()), ..ProcessFacts::default() };
            assert_eq!(container(&facts).as_deref(), in_container, "{group}");
            if in_container.is_none() {
                assert_eq!(unit(&group).as_deref(), in_unit, "{group}");
            }
        }
        let facts = ProcessFacts { is_contained: true, ..ProcessFacts::default() };
        assert_eq!(container(&facts).as_deref(), Some("unnamed"));
    }

    #[test]
    fn terminals_are_named_as_people_know_them() {
        for (number, name) in [(34816, "pts/0"), (34821, "pts/5"), (1025, "tty1"), (1088, "ttyS0")] {
            assert_eq!(terminal_name(number).as_deref(), Some(name));
        }
    }

    #[test]
    fn what_a_process_says_of_itself_is_bounded() {
        let facts = ProcessFacts {
            command: vec!["x".repeat(10_000); 1000],
            executable: Some("/".repeat(5000)),
            ..ProcessFacts::default()
        };
        let actor = of(&facts, &Gathered::default());
        let text = serde_json::to_string(&actor).unwrap();
        assert!(text.len() < 2000, "{}", text.len());
    }
}
