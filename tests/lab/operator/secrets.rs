//! What the agent is trusted with to fetch: a key stays in the file of whoever gave it, however a fetch ends.

use super::enrol::{KEY, KNOWN, ready};
use super::{FLEET, LIMIT};
use crate::harness::{Host, Lab, Suite};

/// A line that no other key has: the first ones of all keys of a kind are the same.
fn line_of(key: &str) -> String {
    key.lines().rev().nth(2).unwrap().to_owned()
}

/// Files of the host that hold the key, but for the one it was given in.
fn copies(host: &Host, line: &str) -> String {
    let script = format!(
        "grep -rlsF --exclude-dir=agent '{line}' /var /run /etc /dev/shm /tmp /home /srv /root | grep -vx {KEY} || true"
    );
    host.sh(&script).ok()
}

#[test]
fn a_key_is_for_the_fetch_alone_and_gone_with_it_also_when_it_is_killed() {
    let lab = Lab::new();
    let forge = lab.forge();
    forge.push(&FLEET);
    let line = line_of(&forge.ssh_key());
    for suite in Suite::ALL {
        let host = ready(&lab, &forge, suite);
        let url = forge.url_ssh();
        let enroll = ["agentctl", "enroll", "--url", &url, "--branch", "main", "--ssh-key", KEY];
        host.run(&[&enroll[..], &["--known-hosts", KNOWN]].concat()).ok();
        assert_eq!(copies(&host, &line), "", "what enrolling left");

        // A fetch that hangs, held where it hangs: nothing of it can end by itself while we look.
        forge.freeze();
        host.sh("agentctl sync >/dev/null 2>&1 &").ok();
        host.wait_until("ssh is under way, and held", LIMIT, || {
            host.sh("pgrep -u agentd-fetch -x ssh && kill -STOP $(pgrep -u agentd-fetch)").success()
        });
        let keys = "cd /proc/$(pgrep -u agentd-fetch -x ssh)/root/run/agentd-workers/keys";
        let inside = host.sh(&format!("{keys}; stat --format '%n %U %a' *")).ok();
        assert_eq!(inside, "key agentd-fetch 400\nknown_hosts agentd-fetch 400\n");
        assert_eq!(copies(&host, &line), "", "while it lasts");
        let other =
            host.run(&["runuser", "-u", "agentd-fetch", "--", "cat", "/run/agentd-workers/keys/key"]).fails();
        assert!(other.contains("Permission denied"), "{other}");

        host.sh("kill -KILL $(pgrep -u agentd-fetch)").ok();
        host.wait_until("it is gone", LIMIT, || host.run(&["pgrep", "-u", "agentd-fetch"]).code == Some(1));
        assert_eq!(copies(&host, &line), "", "what a killed fetch left");
        assert_eq!(host.sh("findmnt --noheadings --output FSTYPE /dev/shm").ok().trim(), "tmpfs");
        forge.thaw();
        host.wait_until("it is fetched again", LIMIT, || {
            host.run(&["agentctl", "sync"]).code.is_some_and(|code| code < 2)
        });
    }
}
