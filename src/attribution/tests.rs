//! The join as a table: what was gathered, and the name or the reason for none.

use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::model::{Caught, Confidence, Deeds, Evidence, Subject};

/// The agent.
const OWN: u32 = 100;

/// A program that process `pid` ran since its start, second `pid` after boot; a child of bash, of sudo, of bash, of sshd.
pub(super) fn image(pid: u32, path: &str, command: &[&str]) -> Executed {
    Executed {
        pid,
        started: u64::from(pid) * 100,
        since: Duration::from_secs(pid.into()) + Duration::from_millis(2),
        is_fork: false,
        parent: 30,
        parent_started: 3000,
        uid: 0,
        euid: 0,
        login: Some(1000),
        session: Some(3),
        cgroup: 7,
        namespace: 4_026_531_836,
        name: path.rsplit('/').next().unwrap_or_default().to_owned(),
        file: path.to_owned(),
        interpreter: path.to_owned(),
        command: command.iter().map(|word| (*word).to_owned()).collect(),
    }
}

fn login() -> Processes {
    let child =
        |parent: u32, note: Executed| Executed { parent, parent_started: u64::from(parent) * 100, ..note };
    let sshd =
        Executed { login: None, session: None, ..image(10, "/usr/sbin/sshd", &["sshd: alice [priv]"]) };
    let notes = [
        child(1, sshd),
        child(10, Executed { uid: 1000, euid: 1000, ..image(20, "/bin/bash", &["-bash"]) }),
        child(20, image(30, "/usr/bin/sudo", &["sudo", "vim", "/etc/motd"])),
    ];
    let mut processes = Processes::default();
    for note in notes {
        processes.images.insert(note.pid, vec![note]);
    }
    processes.groups.insert(7, "/user.slice/user-1000.slice/session-3.scope".to_owned());
    processes
}

fn facts(note: &Executed) -> ProcessFacts {
    ProcessFacts {
        pid: note.pid,
        parent: note.parent,
        started: note.started,
        executable: Some(note.interpreter.clone()),
        name: note.name.clone(),
        command: note.command.clone(),
        uid: Some(note.uid),
        euid: Some(note.euid),
        login: note.login,
        session: note.session,
        ..ProcessFacts::default()
    }
}

fn witness(path: &str, pid: u32, at: u64, caught: Caught) -> Testimony {
    let deeds = Deeds { wrote: true, ..Deeds::default() };
    Testimony {
        witness: Witness {
            subject: Subject::Path(path.into()),
            at: Timestamp::UNIX_EPOCH,
            since_boot: Duration::from_millis(at),
            source: Evidence::Fanotify,
            pid: Some(pid),
            caught,
            deeds,
        },
        changed: None,
    }
}

fn doing(deeds: Deeds, testimony: Testimony) -> Testimony {
    Testimony { witness: Witness { deeds, ..testimony.witness }, ..testimony }
}

fn gathered(notes: Vec<Executed>, testimonies: Vec<Testimony>) -> Gathered {
    let mut gathered = Gathered {
        own: OWN,
        booted: Timestamp::UNIX_EPOCH,
        testimonies,
        processes: login(),
        people: [(0, "root".to_owned()), (1000, "alice".to_owned())].into(),
        connections: [(10, "10.0.0.5 port 50022".to_owned())].into(),
        ..Gathered::default()
    };
    for note in notes.iter().rev() {
        gathered.processes.images.entry(note.pid).or_default().push(note.clone());
    }
    gathered.recent = Some(notes);
    gathered
}

fn question(resource: &str, fields: &[&str]) -> Question {
    Question {
        resource: resource.parse().unwrap(),
        fields: fields.iter().map(|field| (*field).to_owned()).collect(),
        good: Duration::from_secs(100),
    }
}

/// What comes of it in one line: confidence, program, user, login.
fn told(question: &Question, gathered: &Gathered) -> String {
    let attribution = attribute(question, gathered);
    let Some(actor) = &attribution.actor else {
        assert_eq!(attribution.confidence, Confidence::Unknown);
        return format!("unknown: {}", attribution.reason);
    };
    assert_ne!(attribution.confidence, Confidence::Unknown);
    let name = |account: &Option<crate::model::Account>| account.as_ref().and_then(|one| one.name.clone());
    format!(
        "{}: {} as {} by {}",
        attribution.confidence,
        actor.process.as_ref().unwrap().executable,
        name(&actor.user).unwrap_or_else(|| "?".to_owned()),
        name(&actor.login).unwrap_or_else(|| "?".to_owned()),
    )
}

fn motd(fields: &[&str]) -> Question {
    question("file:/etc/motd", fields)
}

#[test]
fn one_who_was_seen_alive_is_named_with_login_sudo_and_connection() {
    let vim = image(200, "/usr/bin/vim", &["vim", "/etc/motd"]);
    let seen = witness("/etc/motd", 200, 201_000, Caught::Alive(Box::new(facts(&vim))));
    let gathered = gathered(vec![vim], vec![seen]);
    assert_eq!(told(&motd(&["content"]), &gathered), "certain: /usr/bin/vim as root by alice");
    let attribution = attribute(&motd(&["content"]), &gathered);
    assert_eq!(attribution.evidence, [Evidence::Fanotify]);
    let actor = attribution.actor.unwrap();
    let names: Vec<_> = actor.ancestors.iter().map(|one| one.executable.as_str()).collect();
    assert_eq!(names, ["/usr/bin/sudo", "/bin/bash", "/usr/sbin/sshd"]);
    let session = actor.session.unwrap();
    assert_eq!((session.id, session.sudo.as_deref()), (Some(3), Some("vim /etc/motd")));
    assert_eq!(session.ssh_from.as_deref(), Some("10.0.0.5 port 50022"));
    assert_eq!(actor.unit.as_deref(), Some("session-3.scope"));
}

#[test]
fn one_who_had_ended_is_named_by_the_kernels_note_and_without_it_by_nobody() {
    let sed = image(200, "/bin/sed", &["sed", "-i", "s/a/b/", "/etc/motd"]);
    let seen = witness("/etc/motd", 200, 200_050, Caught::Gone(None));
    let noted = gathered(vec![sed.clone()], vec![seen.clone()]);
    assert_eq!(told(&motd(&["content"]), &noted), "certain: /bin/sed as root by alice");
    assert_eq!(attribute(&motd(&["content"]), &noted).evidence, [Evidence::Fanotify, Evidence::ExecCache]);
    let blind = gathered(vec![], vec![seen]);
    assert!(told(&motd(&["content"]), &blind).contains("had ended before it could be looked at"));
    let zombie = ProcessFacts { executable: None, command: Vec::new(), ..facts(&sed) };
    let seen = witness("/etc/motd", 200, 200_050, Caught::Ended(Box::new(zombie)));
    assert_eq!(
        told(&motd(&["content"]), &gathered(vec![sed], vec![seen.clone()])),
        "certain: /bin/sed as root by alice"
    );
    assert!(
        told(&motd(&["content"]), &gathered(vec![], vec![seen])).contains("called itself `sed`, had ended")
    );
}

#[test]
fn a_number_that_was_handed_on_names_nobody() {
    // What the kernel remembers of the number is of a process that came after the change was read.
    let later =
        Executed { started: 30_000, since: Duration::from_secs(300), ..image(200, "/bin/cp", &["cp"]) };
    let seen = witness("/etc/motd", 200, 200_050, Caught::Gone(None));
    assert!(told(&motd(&["content"]), &gathered(vec![later.clone()], vec![seen])).starts_with("unknown"));
    // It was seen alive: the note of another process of that number adds nothing.
    let vim = image(200, "/usr/bin/vim", &["vim"]);
    let seen = witness("/etc/motd", 200, 200_050, Caught::Alive(Box::new(facts(&vim))));
    assert_eq!(
        told(&motd(&["content"]), &gathered(vec![later], vec![seen])),
        "certain: /usr/bin/vim as root by alice"
    );
}

#[test]
fn the_program_before_an_exec_is_told_from_the_one_after_it() {
    let at = |ms: u64| Duration::from_millis(ms);
    let shell =
        |script: &str| Executed { since: at(200_000), ..image(200, "/bin/bash", &["bash", "-c", script]) };
    let sleep = Executed { since: at(200_010), ..image(200, "/bin/sleep", &["sleep", "9"]) };
    let sed = Executed { since: at(200_010), ..image(200, "/bin/sed", &["sed", "-i", "x", "/etc/motd"]) };
    let fork = Executed { is_fork: true, since: at(200_000), ..image(200, "/bin/bash", &["-bash"]) };
    let gone = |changed: Option<u64>| Testimony {
        changed: changed.map(at),
        ..witness("/etc/motd", 200, 200_300, Caught::Gone(None))
    };
    let tell =
        |notes: Vec<Executed>, changed| told(&motd(&["content"]), &gathered(notes, vec![gone(changed)]));
    for (notes, changed, wanted) in [
        // The shell had nothing to write.
        (vec![shell("sed -i x /etc/motd"), sed.clone()], None, "certain: /bin/sed"),
        (vec![fork.clone(), sed.clone()], None, "certain: /bin/sed"),
        // The shell redirected and then became something else.
        (vec![shell("echo x > /etc/motd; sleep 9"), sleep.clone()], None, "certain: /bin/bash"),
        // Both may have, and nothing tells which.
        (
            vec![shell("echo x > $f; sleep 9"), sleep.clone()],
            None,
            "unknown: process 200 ran `/bin/bash` and then",
        ),
        (vec![shell("echo x > /etc/motd; sed -i x /etc/motd"), sed.clone()], None, "unknown"),
        // The file itself says when.
        (vec![shell("echo x > $f; sleep 9"), sleep.clone()], Some(200_100), "certain: /bin/sleep"),
        (vec![shell("echo x > /etc/motd; sed -i x /etc/motd"), sed], Some(200_010), "certain: /bin/sed"),
        (vec![Executed { since: at(200_200), ..sleep.clone() }], Some(200_100), "certain: /bin/sleep"),
        (
            vec![shell("echo x > $f; sleep 9"), Executed { since: at(200_200), ..sleep.clone() }],
            Some(200_100),
            "certain: /bin/bash",
        ),
        // A fork that lived on before it became another program may have done it itself.
        (vec![fork, Executed { since: at(200_200), ..sleep }], None, "unknown"),
    ] {
        let told = tell(notes.clone(), changed);
        assert!(told.starts_with(wanted), "{told}\n{notes:?}");
    }
}

#[test]
fn two_writers_are_one_name_only_if_they_are_one_hand_or_one_tree() {
    let sed = image(200, "/bin/sed", &["sed", "-i", "x", "/etc/motd"]);
    let again = image(201, "/bin/sed", &["sed", "-i", "y", "/etc/motd"]);
    let bob = Executed { login: Some(1001), ..again.clone() };
    let cp = image(202, "/bin/cp", &["cp", "x", "/etc/motd"]);
    let chmod = Executed {
        parent: 200,
        parent_started: 20_000,
        ..image(203, "/bin/chmod", &["chmod", "0", "/etc/motd"])
    };
    let gone =
        |note: &Executed| witness("/etc/motd", note.pid, u64::from(note.pid) * 1000 + 50, Caught::Gone(None));
    let both = |one: &Executed, other: &Executed| {
        told(
            &motd(&["content", "mode"]),
            &gathered(vec![one.clone(), other.clone()], vec![gone(one), gone(other)]),
        )
    };
    assert_eq!(both(&sed, &again), "likely: /bin/sed as root by alice");
    assert!(both(&sed, &bob).starts_with("unknown: more than one changed it"));
    assert!(both(&sed, &cp).starts_with("unknown: more than one changed it"));
    assert_eq!(both(&sed, &chmod), "likely: /bin/sed as root by alice", "it started the other one");
    let unseen = witness("/etc/motd", 999, 203_000, Caught::Gone(None));
    let one_unseen = gathered(vec![sed.clone()], vec![gone(&sed), unseen]);
    assert!(
        told(&motd(&["content"]), &one_unseen)
            .starts_with("unknown: besides `/bin/sed` (process 200), somebody else")
    );
}

#[test]
fn only_what_can_have_made_the_difference_counts() {
    let chmod = image(200, "/bin/chmod", &["chmod", "0", "/etc/motd"]);
    let cat = image(201, "/bin/cp", &["cp", "x", "/etc/motd"]);
    let attributed = Deeds { attributed: true, ..Deeds::default() };
    let named = Deeds { named: true, ..Deeds::default() };
    let alive =
        |note: &Executed| witness("/etc/motd", note.pid, 202_000, Caught::Alive(Box::new(facts(note))));
    let seen = vec![doing(attributed, alive(&chmod)), alive(&cat)];
    let gathered = gathered(vec![chmod.clone(), cat], seen);
    assert!(told(&motd(&["mode"]), &gathered).contains("/bin/chmod"));
    assert!(told(&motd(&["content"]), &gathered).contains("/bin/cp"));
    assert!(told(&motd(&["content", "mode"]), &gathered).starts_with("unknown: more than one"));

    // Renaming the folder takes the file along; writing beside it does not.
    let folder = |deeds| doing(deeds, witness("/etc", 200, 202_000, Caught::Alive(Box::new(facts(&chmod)))));
    let one = |testimony| super::tests::gathered(vec![chmod.clone()], vec![testimony]);
    assert!(told(&motd(&["ensure"]), &one(folder(named))).contains("/bin/chmod"));
    assert!(told(&motd(&["ensure"]), &one(folder(attributed))).starts_with("unknown: none of those"));
}

#[test]
fn the_agent_and_what_it_starts_are_nobody_and_the_past_is_past() {
    let own =
        Executed { parent: OWN, parent_started: 10_000, ..image(200, "/usr/sbin/nft", &["nft", "-f", "-"]) };
    let gone = |pid: u32, at: u64| witness("/etc/motd", pid, at, Caught::Gone(None));
    let agent = image(OWN, "/usr/sbin/agentd", &["agentd"]);
    let of = |notes, testimonies| told(&motd(&["content"]), &gathered(notes, testimonies));
    assert!(of(vec![agent, own], vec![gone(200, 201_000)]).contains("but the agent itself"));
    let mut in_unit = gathered(
        vec![Executed { cgroup: 9, ..image(200, "/usr/bin/dpkg", &["dpkg"]) }],
        vec![gone(200, 201_000)],
    );
    in_unit.processes.groups.insert(9, "/system.slice/agentd-apt.service".to_owned());
    assert!(told(&motd(&["content"]), &in_unit).contains("but the agent itself"));
    let early = image(50, "/bin/cp", &["cp"]);
    assert!(of(vec![early], vec![gone(50, 60_000)]).starts_with("unknown: none of those"));
    assert!(of(vec![], vec![]).starts_with("unknown: no event named a process"));
}

#[test]
fn somebody_from_outside_is_unknown_and_somebody_in_a_container_is_named_with_it() {
    let mut outside = witness("/etc/motd", 200, 201_000, Caught::Gone(None));
    outside.witness.pid = None;
    assert!(
        told(&motd(&["content"]), &gathered(vec![], vec![outside]))
            .contains("outside of the agent's process namespace")
    );
    let mut inside = gathered(
        vec![Executed {
            cgroup: 9,
            namespace: 1,
            login: None,
            session: None,
            ..image(200, "/bin/sh", &["sh"])
        }],
        vec![witness("/etc/motd", 200, 201_000, Caught::Gone(None))],
    );
    inside.processes.groups.insert(9, "/machine.slice/machine-web.scope".to_owned());
    let actor = attribute(&motd(&["content"]), &inside).actor.unwrap();
    assert_eq!(actor.container.as_deref(), Some("web"));
    assert_eq!(actor.user.unwrap().name.as_deref(), Some("root"));
}

#[test]
fn a_fork_runs_what_its_parent_runs_unless_that_has_moved_on() {
    let fork = Executed {
        is_fork: true,
        interpreter: String::new(),
        file: String::new(),
        command: Vec::new(),
        name: "python3".to_owned(),
        parent: 60,
        parent_started: 6000,
        ..image(200, "", &[])
    };
    let parent = |name: &str| ProcessFacts {
        pid: 60,
        started: 6000,
        name: name.to_owned(),
        executable: Some(format!("/usr/bin/{name}")),
        ..ProcessFacts::default()
    };
    let seen = witness("/etc/motd", 200, 201_000, Caught::Gone(None));
    let mut known = gathered(vec![fork], vec![seen]);
    known.processes.living.insert(60, parent("python3"));
    assert_eq!(told(&motd(&["content"]), &known), "certain: /usr/bin/python3 as root by alice");
    known.processes.living.insert(60, parent("sleep"));
    assert!(told(&motd(&["content"]), &known).starts_with("unknown"));
}

#[test]
fn a_package_is_asked_of_whoever_is_on_top_of_dpkg() {
    let apt = image(200, "/usr/bin/apt-get", &["apt-get", "remove", "-y", "nginx"]);
    let dpkg = Executed {
        parent: 200,
        parent_started: 20_000,
        ..image(201, "/usr/bin/dpkg", &["dpkg", "--remove", "nginx"])
    };
    let seen = |pid| {
        doing(
            Deeds { named: true, ..Deeds::default() },
            witness("/var/lib/dpkg/status", pid, 202_000, Caught::Gone(None)),
        )
    };
    let run = |command: &str, packages: &[&str], ended: i64| AptRun {
        started: Timestamp::from_second(ended - 1).unwrap(),
        ended: Timestamp::from_second(ended).unwrap(),
        command: Some(command.to_owned()),
        requested_by: Some(("alice".to_owned(), 1000)),
        packages: packages.iter().map(|name| (*name).to_owned()).collect(),
    };
    let nginx = question("package:nginx", &["ensure"]);
    let removed = run("apt-get remove -y nginx", &["nginx"], 203);
    let mut both = gathered(vec![apt.clone(), dpkg.clone()], vec![seen(201)]);
    both.apt = vec![removed.clone()];
    assert_eq!(told(&nginx, &both), "certain: /usr/bin/apt-get as root by alice");
    let attribution = attribute(&nginx, &both);
    assert_eq!(attribution.evidence, [Evidence::Fanotify, Evidence::ExecCache, Evidence::AptHistory]);

    // What sudo was told to start is not sudo.
    let sudo = image(199, "/usr/bin/sudo", &["sudo", "dpkg", "--remove", "nginx"]);
    let alone = Executed { parent: 199, parent_started: 19_900, ..dpkg.clone() };
    let elevated = gathered(vec![sudo, alone], vec![seen(201)]);
    assert_eq!(told(&nginx, &elevated), "certain: /usr/bin/dpkg as root by alice");

    // The agent's own run, by which the package came back, is not who removed it.
    let words = crate::kind::package::apt::arguments(
        crate::kind::package::apt::Verb::Install,
        crate::kind::package::apt::Allowed::default(),
        &["nginx:amd64=1".to_owned()],
    );
    let own = format!("/usr/bin/apt-get {}", words.join(" "));
    let mut back = gathered(vec![apt.clone()], vec![]);
    back.apt = vec![removed.clone(), AptRun { requested_by: None, ..run(&own, &["nginx"], 206) }];
    assert_eq!(told(&nginx, &back), "likely: /usr/bin/apt-get as root by alice");
    let mut only = gathered(vec![], vec![]);
    only.apt = back.apt.split_off(1);
    assert!(told(&nginx, &only).starts_with("unknown"));

    // Another one ran meanwhile, and did not touch this package.
    let other = image(202, "/usr/bin/apt-get", &["apt-get", "install", "curl"]);
    let mut two = gathered(vec![apt.clone(), dpkg, other], vec![seen(201), seen(202)]);
    two.apt = vec![removed.clone(), run("apt-get install curl", &["curl"], 204)];
    assert_eq!(told(&nginx, &two), "certain: /usr/bin/apt-get as root by alice");

    // Nobody was seen: apt's own word, with the kernel's note or without.
    let mut noted = gathered(vec![apt.clone()], vec![]);
    noted.apt = vec![removed.clone()];
    assert_eq!(told(&nginx, &noted), "likely: /usr/bin/apt-get as root by alice");
    let mut written = gathered(vec![], vec![]);
    written.apt = vec![removed.clone()];
    assert_eq!(told(&nginx, &written), "likely: apt-get as root by alice");
    written.apt = vec![removed.clone(), run("apt-get purge nginx", &["nginx"], 205)];
    assert!(told(&nginx, &written).starts_with("unknown: apt's history has 2 runs"));
    written.apt = vec![run("apt-get remove -y nginx", &["nginx"], 50)];
    assert!(told(&nginx, &written).starts_with("unknown"), "that was before it was right");

    let by_sudo = Executed {
        parent: 198,
        parent_started: 19_800,
        ..image(199, "/usr/bin/dpkg", &["dpkg", "-i", "x.deb"])
    };
    let sudo = image(198, "/usr/bin/sudo", &["sudo", "dpkg", "-i", "x.deb"]);
    let through_sudo = gathered(vec![sudo, by_sudo], vec![seen(199)]);
    assert_eq!(told(&nginx, &through_sudo), "certain: /usr/bin/dpkg as root by alice");
    let mut ours = gathered(vec![], vec![]);
    let options = crate::kind::package::apt::arguments(
        crate::kind::package::apt::Verb::Install,
        crate::kind::package::apt::Allowed::default(),
        &["nginx".to_owned()],
    );
    let call = format!("{} {}", crate::kind::package::apt::APT_GET, options.join(" "));
    ours.apt = vec![AptRun { requested_by: None, ..run(&call, &["nginx"], 203) }];
    assert!(told(&nginx, &ours).starts_with("unknown"), "the agent's own");

    let alone = image(203, "/usr/bin/dpkg", &["dpkg", "-r", "nginx"]);
    assert_eq!(told(&nginx, &gathered(vec![alone], vec![])), "likely: /usr/bin/dpkg as root by alice");
    assert!(told(&question("package:curl", &[]), &gathered(vec![apt], vec![])).starts_with("unknown"));
}

#[test]
fn a_unit_is_asked_of_whoever_called_it_by_its_name() {
    let nginx = question("service:nginx.service", &["state"]);
    let call = |pid, words: &[&str]| image(pid, "/usr/bin/systemctl", words);
    let at = Timestamp::from_second(200).unwrap();
    let job = UnitNote { unit: "nginx.service".into(), at, job: Some("stop".into()), exit: None };
    let of = |notes: Vec<Executed>| {
        told(&nginx, &Gathered { units: vec![job.clone()], ..gathered(notes, vec![]) })
    };
    assert_eq!(
        of(vec![call(200, &["systemctl", "stop", "nginx"])]),
        "likely: /usr/bin/systemctl as root by alice"
    );
    for words in [
        &["systemctl", "status", "nginx"][..],
        &["systemctl", "stop", "apache2"],
        &["systemctl", "enable", "nginx"],
        &["systemctl", "daemon-reload"],
    ] {
        assert!(of(vec![call(200, words)]).starts_with("unknown"), "{words:?}");
    }
    assert!(
        of(vec![call(60, &["systemctl", "stop", "nginx"])]).starts_with("unknown"),
        "before it was right"
    );
    let dbus = [
        "busctl",
        "call",
        "org.freedesktop.systemd1",
        "/x",
        "y",
        "StopUnit",
        "ss",
        "nginx.service",
        "replace",
    ];
    assert!(of(vec![image(200, "/usr/bin/busctl", &dbus)]).starts_with("likely: /usr/bin/busctl"));
    let script = image(200, "/bin/sh", &["/bin/sh", "/usr/sbin/service", "nginx", "stop"]);
    let inner =
        Executed { parent: 200, parent_started: 20_000, ..call(201, &["systemctl", "stop", "nginx"]) };
    assert!(of(vec![script, inner]).starts_with("likely: /usr/bin/systemctl"), "the innermost");
    let other = Executed { login: Some(1001), ..call(202, &["systemctl", "restart", "nginx"]) };
    let two = of(vec![call(200, &["systemctl", "stop", "nginx"]), other]);
    assert!(two.starts_with("unknown: more than one changed it"), "{two}");
    assert!(of(vec![call(200, &["systemctl", "stop", "ngin*"])]).starts_with("likely"));

    let call_of = |unit: &str| call(200, &["systemctl", "show", "-p", "MainPID", unit]);
    assert!(of(vec![call_of("nginx")]).starts_with("unknown"), "only asked");
    let kill = question("service:held-kill.service", &["state"]);
    assert!(told(&kill, &gathered(vec![call_of("held-kill.service")], vec![])).starts_with("unknown"));
    let ben = Executed { uid: 1001, euid: 1001, ..call(200, &["systemctl", "stop", "nginx"]) };
    assert!(of(vec![ben]).contains("may have been refused"), "he may have been refused");

    let at = Timestamp::from_second(200).unwrap();
    let exit = UnitNote { unit: "nginx.service".into(), at, job: None, exit: Some("killed 9".into()) };
    let again = UnitNote { job: Some("start".into()), exit: None, ..exit.clone() };
    let mut by_signal = gathered(vec![call(200, &["systemctl", "stop", "nginx"])], vec![]);
    by_signal.units = vec![exit.clone(), again.clone()];
    assert!(told(&nginx, &by_signal).starts_with("unknown"), "nobody's job ended it");
    by_signal.units.rotate_left(1);
    assert!(told(&nginx, &by_signal).starts_with("likely"), "a job was noted first");
    let mut sent = gathered(vec![call(200, &["systemctl", "kill", "nginx"])], vec![]);
    sent.units = vec![exit, again];
    assert!(told(&nginx, &sent).starts_with("likely"));

    let mut killed = gathered(vec![], vec![]);
    killed.units =
        vec![UnitNote { unit: "nginx.service".into(), at, job: None, exit: Some("killed 9".into()) }];
    assert!(told(&nginx, &killed).ends_with("its main process ended: killed 9"));
    killed.recent = None;
    assert!(told(&nginx, &killed).contains("which programs were started is not known here"));
}

#[test]
fn a_unit_that_was_disabled_by_hand_is_asked_of_who_removed_the_link() {
    let link = "/etc/systemd/system/multi-user.target.wants/nginx.service";
    let nginx = question("service:nginx.service", &["enabled"]);
    let named = Deeds { named: true, ..Deeds::default() };
    let rm = image(200, "/bin/rm", &["rm", link]);
    let by_hand = doing(named, witness(link, 200, 201_000, Caught::Gone(None)));
    assert_eq!(told(&nginx, &gathered(vec![rm], vec![by_hand])), "certain: /bin/rm as root by alice");

    let systemd = ProcessFacts {
        pid: 1,
        executable: Some("/usr/lib/systemd/systemd".into()),
        ..ProcessFacts::default()
    };
    let by_systemd = doing(named, witness(link, 1, 201_000, Caught::Alive(Box::new(systemd))));
    let call = image(200, "/usr/bin/systemctl", &["systemctl", "disable", "nginx"]);
    assert_eq!(
        told(&nginx, &gathered(vec![call], vec![by_systemd.clone()])),
        "likely: /usr/bin/systemctl as root by alice"
    );
    assert!(
        told(&nginx, &gathered(vec![], vec![by_systemd])).starts_with("unknown"),
        "systemd does it for somebody"
    );
}

#[test]
fn rules_are_asked_of_whom_the_kernel_names_with_the_generation() {
    let rules = |pid: u32, generation, caught| Testimony {
        witness: Witness {
            subject: Subject::Rules { generation },
            source: Evidence::Netfilter,
            ..witness("/", pid, u64::from(pid) * 1000 + 50, caught).witness
        },
        changed: None,
    };
    let nft = image(200, "/usr/sbin/nft", &["nft", "add", "rule", "inet", "agentd", "input", "accept"]);
    let own =
        Executed { parent: OWN, parent_started: 10_000, ..image(201, "/usr/sbin/nft", &["nft", "-f", "-"]) };
    let agent = image(OWN, "/usr/sbin/agentd", &["agentd"]);
    let gone = |name: &str| Caught::Gone(Some(name.to_owned()));
    let firewall = question("firewall:table", &["rules"]);
    let seen = vec![rules(200, 7, gone("nft")), rules(201, 8, gone("nft"))];
    let known = gathered(vec![agent, nft, own], seen);
    assert_eq!(told(&firewall, &known), "certain: /usr/sbin/nft as root by alice");
    assert_eq!(attribute(&firewall, &known).evidence, [Evidence::Netfilter, Evidence::ExecCache]);
    let blind = gathered(vec![], vec![rules(200, 7, gone("nft"))]);
    assert!(told(&firewall, &blind).contains("which called itself `nft`, had ended"));
}
