//! What the unprivileged processes and the agent itself can't do, tried from inside their units; and that nothing of the
//! agent's confinement reaches what others start through it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::harness::{Deb, Host, Lab, Suite, checkout, run};
use crate::lifecycle::{MOTD, SETTINGS, declare, property};

const LIMIT: Duration = Duration::from_secs(120);

/// `systemd-analyze security` at most, in tenths: the agent, what fetches, what compiles.
const EXPOSURE: [(&str, u32); 3] =
    [("agentd.service", 42), ("agentd-fetch@lab.service", 13), ("agentd-compile@lab.service", 5)];

/// What is worth having outside of a unit: files that their modes let anybody read, another user's process, a socket
/// without a name, shared memory. The listener stays as long as the host.
const PLANT: &str = r#"
for place in /home /tmp /var/tmp /dev/shm /run; do echo open > $place/open; chmod 644 $place/open; done
for file in /var/lib/agentd/secret /root/secret; do echo secret > $file; chmod 644 $file; done
echo secret > /etc/private; chmod 600 /etc/private
touch /var/lib/removable
echo key > /run/agentd-workers/keys/planted
systemd-run --quiet --unit=other --uid=nobody sleep infinity
systemd-run --quiet --unit=planted --service-type=exec perl -e '
use Socket;
socket(my $s, PF_UNIX, SOCK_STREAM, 0) or die; bind($s, pack("S a*", AF_UNIX, "\0agentd-lab")) or die; listen($s, 9) or die;
shmget(0x61676c62, 4096, 0666 | 01000) // die; msgget(0x61676c62, 0666 | 01000) // die;
semget(0x61676c62, 1, 0666 | 01000) // die;
open(my $done, ">", "/run/planted") or die; close $done; sleep 3600 while 1'
"#;

/// Connects to a socket, asks nothing, prints the answer.
const ASK: &str = r#"use Socket; socket(my $s, PF_UNIX, SOCK_STREAM, 0) or die;
connect($s, pack_sockaddr_un($ARGV[0])) or die "connect: $!"; shutdown($s, 1); local $/; print <$s>;"#;

/// What a process shows of its confinement, as its own first lines.
const SHOW: &str = "#!/bin/sh
{ grep -E '^(NoNewPrivs|Seccomp|Seccomp_filters|CapBnd|CapEff):' /proc/self/status; readlink /proc/self/ns/mnt \
/proc/self/ns/net; ulimit -c; umask; } >";

fn probes(lab: &Lab) -> PathBuf {
    let program = lab.folder("probes").join("probes");
    let source = checkout().join("tests/lab/sandbox/probes.c");
    run(&["gcc", "-O1", "-static", "-o", program.to_str().unwrap(), source.to_str().unwrap()]).ok();
    program
}

#[test]
fn no_unit_is_more_exposed_than_it_must_be() {
    for suite in Suite::ALL {
        let host = Host::boot(suite, "web-1");
        host.install_agent();
        for (unit, most) in EXPOSURE {
            let said = host.run(&["systemd-analyze", "security", "--no-pager", unit]).ok();
            let last = said.lines().rev().find(|line| line.contains("Overall exposure level")).unwrap();
            let score = last.rsplit(": ").next().and_then(|rest| rest.split(' ').next()).unwrap();
            println!("{suite:?}: {unit}: {score}");
            let tenths: u32 = score.replace('.', "").parse().unwrap();
            assert!(tenths <= most, "{suite:?}: {last}");
        }
    }
}

/// What each unit is there to do.
const ALLOWED: [(&str, &[&str]); 2] =
    [("fetch", &["write_store", "connect_tcp", "socket_inet", "socket_inet6"]), ("compile", &[])];

/// What the agent itself has no use for: no network, no other users, no other processes but to look at them, no code that
/// was not in its program, no devices, no clocks, no names. (A container has it do without some more.)
const NOT_FOR_THE_AGENT: [&str; 27] = [
    "be_first",
    "change_group",
    "change_groups",
    "change_user",
    "connect_tcp",
    "count_events",
    "kernel_log",
    "lock_memory",
    "make_code",
    "make_device",
    "map_writable_code",
    "name_host",
    "new_name_namespace",
    "new_process_namespace",
    "new_user_namespace",
    "personality_change",
    "priority_of_other",
    "raise_limit",
    "real_time",
    "signal_other",
    "socket_inet",
    "socket_inet6",
    "socket_packet",
    "socket_raw",
    "socket_raw6",
    "take_descriptor",
    "trace_other",
];

/// An installed agent, with all that is worth having planted; gives how the probes are called there, and their names. Who
/// may do everything does all of it: no probe fails for a reason of its own.
fn staged(lab: &Lab, program: &Path, suite: Suite) -> (Host, String, Vec<String>) {
    let host = lab.boot(suite, "web-1");
    host.install_agent();
    host.copy_in(program.parent().unwrap(), "/usr/local/lib/lab");
    host.write("/root/ask.pl", ASK);
    host.sh(PLANT).ok();
    host.wait_until("all is planted", LIMIT, || host.exists("/run/planted"));
    host.wait_until("the agent listens", LIMIT, || host.exists("/run/agentd/control.sock"));
    let other = property(&host, "other", "MainPID");
    let call = format!("/usr/local/lib/lab/probes /var/lib/agentd/source {other}");
    let control = host.sh(&call).ok();
    let tried: Vec<String> =
        control.lines().filter_map(|line| line.strip_suffix(" DONE")).map(str::to_owned).collect();
    assert_eq!(control.lines().count(), tried.len(), "{suite:?}: not possible at all:\n{control}");
    (host, call, tried)
}

#[test]
fn whoever_breaks_into_the_agent_has_no_network_no_other_user_and_no_code_but_its_own() {
    let lab = Lab::new();
    let program = probes(&lab);
    for suite in Suite::ALL {
        let (host, call, _) = staged(&lab, &program, suite);
        host.write(
            "/etc/systemd/system/agentd.service.d/probes.conf",
            &format!(
                "[Service]\nType=oneshot\nRestart=no\nExecStart=\nExecStart={call}\nStandardOutput=file:/root/said\n"
            ),
        );
        host.sh("systemctl daemon-reload; systemctl restart agentd").ok();
        let said = host.read("/root/said");
        for probe in NOT_FOR_THE_AGENT {
            assert!(
                said.lines().any(|line| line.starts_with(&format!("{probe} refused "))),
                "{probe}:\n{said}"
            );
        }
        let refused = said.lines().filter(|line| line.contains(" refused ")).count();
        println!("{suite:?}: agent: {} probes, {refused} refused", said.lines().count());
    }
}

#[test]
fn whoever_breaks_into_a_worker_gets_nowhere() {
    let lab = Lab::new();
    let program = probes(&lab);
    for suite in Suite::ALL {
        let (host, call, tried) = staged(&lab, &program, suite);
        for (unit, allowed) in ALLOWED {
            // The unit as it is, but for the program that it runs.
            host.write(
                &format!("/etc/systemd/system/agentd-{unit}@.service.d/probes.conf"),
                &format!(
                    "[Service]\nExecStart=\nExecStart={call}\nBindReadOnlyPaths=/usr/local/lib/lab\n\
                     ExecPaths=/usr/local/lib/lab\n"
                ),
            );
            host.sh("systemctl daemon-reload; touch /var/lib/removable").ok();
            let said = host.run(&["perl", "/root/ask.pl", &format!("/run/agentd-workers/{unit}")]).ok();
            let refused: Vec<&str> = said.lines().filter(|line| line.contains(" refused ")).collect();
            let done: Vec<&str> = said.lines().filter_map(|line| line.strip_suffix(" DONE")).collect();
            println!(
                "{suite:?}: {unit}: {} probes, {} refused, {} allowed",
                tried.len(),
                refused.len(),
                done.len()
            );
            assert_eq!(refused.len() + done.len(), tried.len(), "{suite:?} {unit}: it did not end:\n{said}");
            assert_eq!(done, allowed, "{suite:?} {unit}:\n{said}");
            assert!(refused.len() >= 60);
        }
        host.sh("rm -r /etc/systemd/system/agentd-*.service.d; systemctl daemon-reload").ok();
    }
}

#[test]
fn what_packages_start_and_what_checks_files_inherits_nothing_of_the_agents_confinement() {
    for suite in Suite::ALL {
        let lab = Lab::new();
        let host = lab.boot(suite, "web-1");
        let mut archive = lab.archive("shop");
        let daemon = format!("{SHOW} /run/daemon.new\nmv /run/daemon.new /run/daemon\nexec sleep infinity\n");
        let script = "/usr/libexec/shopd-show /run/script.new\nmv /run/script.new /run/script\n";
        archive
            .add(
                &Deb::new("shopd", "1.0")
                    .program("/usr/libexec/shopd-show", &format!("{SHOW} \"$1\"\n"))
                    .program("/usr/sbin/shopd", &daemon)
                    .postinst(script)
                    .service("shopd.service", "/usr/sbin/shopd"),
            )
            .publish(&host);
        host.run(&["apt-get", "update"]).ok();
        host.write("/usr/local/sbin/checks", &format!("{SHOW} /run/check\n[ \"$1\" = '$HOME %n' ]\n"));
        host.run(&["chmod", "755", "/usr/local/sbin/checks"]).ok();
        host.install_agent();
        let role = format!(
            "{}check = [\"/usr/local/sbin/checks\", \"$HOME %n\", \"{{new}}\"]\n[packages]\nshopd = \"*\"\n",
            MOTD[1].1
        );
        declare(&lab, &host, &[MOTD[0], (MOTD[1].0, &role)]);
        host.write("/etc/agentd/agent.toml.d/lab.toml", SETTINGS);
        host.run(&["systemctl", "restart", "agentd"]).ok();
        host.wait_until("all is as declared", LIMIT, || host.run(&["agentctl", "status"]).success());
        host.wait_until("the daemon has shown itself", LIMIT, || host.exists("/run/daemon"));
        // What any unit has by itself.
        host.sh(&format!(
            "printf '%s' '{}' > /root/show",
            format!("{SHOW} /run/plain\n").replace('\'', "'\\''")
        ))
        .ok();
        host.run(&["systemd-run", "--quiet", "--wait", "sh", "/root/show"]).ok();
        let plain = host.read("/run/plain");
        for seen in ["daemon", "script", "check"] {
            assert_eq!(host.read(&format!("/run/{seen}")), plain, "{suite:?}: {seen}");
        }
        let pid = property(&host, "agentd", "MainPID");
        assert_ne!(
            host.sh(&format!("readlink /proc/{pid}/ns/mnt")).ok(),
            host.sh("readlink /proc/1/ns/mnt").ok()
        );
        assert!(host.sh(&format!("grep '^NoNewPrivs:.1' /proc/{pid}/status")).success());
    }
}

#[test]
fn a_worker_that_cannot_be_reached_or_is_of_another_version_is_said_to_be() {
    let lab = Lab::new();
    let host = lab.boot(Suite::Bookworm, "web-1");
    host.install_agent();
    declare(&lab, &host, &MOTD);
    let enroll = ["agentctl", "enroll", "--url", "/srv/fleet", "--branch", "main", "--mode", "enabled"];
    host.run(&["systemctl", "stop", "agentd-fetch.socket"]).ok();
    let said = host.run(&enroll).fails();
    assert!(said.contains("systemctl status agentd-fetch.socket"), "{said}");
    host.run(&["systemctl", "start", "agentd-fetch.socket"]).ok();
    host.run(&enroll).ok();
    host.wait_until("it is held", LIMIT, || host.read("/etc/motd") == "held\n");
    // Another program under the same name, as in the moment between an upgrade's files and its restart.
    let other = "[Service]\nExecStart=\nExecStart=/bin/sh -c 'cat >/dev/null; echo version 0.0.1'\n\
                 ExecPaths=/bin /usr/bin\n";
    host.write("/etc/systemd/system/agentd-fetch@.service.d/other.conf", other);
    host.run(&["systemctl", "daemon-reload"]).ok();
    let said = host.run(&["agentctl", "sync"]).to_string();
    assert!(said.contains("version 0.0.1") && said.contains("systemctl restart agentd"), "{said}");
    assert_eq!(host.read("/etc/motd"), "held\n");
    assert_eq!(host.sh("systemctl --failed --no-legend --plain").ok(), "");
}
