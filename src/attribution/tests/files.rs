//! Of files: whom the events at a path name, and what of that carries.

use super::*;

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
        ..witness("/etc/motd", 200, 203_300, Caught::Gone(None))
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
            vec![shell("echo x > $f; sleep 3; sleep 9"), Executed { since: at(203_000), ..sleep.clone() }],
            Some(200_100),
            "certain: /bin/bash",
        ),
        // The stamp may lag behind.
        (
            vec![shell("echo x > $f; sleep 9"), Executed { since: at(200_200), ..sleep.clone() }],
            Some(200_100),
            "unknown",
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
    let one = |testimony| super::gathered(vec![chmod.clone()], vec![testimony]);
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
