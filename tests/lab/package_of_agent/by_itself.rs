//! The agent's own package among those it is told to bring: the apt run that it started itself replaces it in the middle
//! of a pass.

use serde_json::Value as Json;

use super::{LIMIT, another, held, main_pid, rules, state};
use crate::harness::{Forge, Host, Suite};

/// A host on which nothing else is to be done than what follows from these lines.
fn declare(forge: &Forge, packages: &str, motd: &str) -> String {
    forge.push(&[
        ("fleet.toml", "schema = 1\n"),
        (
            "hosts/all.toml",
            &format!(
                "[match]\nhostname = \"*\"\n[packages]\n{packages}[files.\"/etc/motd\"]\ncontent = \"{motd}\\n\"\n\
                 [firewall]\ninput = \"drop\"\n[firewall.rules.ssh]\nallow = [\"tcp/22\"]\n"
            ),
        ),
    ])
}

fn version(host: &Host, package: &str) -> String {
    host.run(&["dpkg-query", "-W", "-f", "${Version} ${db:Status-Abbrev}", package]).stdout.trim().to_owned()
}

fn status(host: &Host) -> Json {
    serde_json::from_str(&host.run(&["agentctl", "status", "--json"]).stdout).unwrap_or_default()
}

fn sync(host: &Host) {
    // The answer may be lost with the agent that was asked.
    let _ = host.run(&["agentctl", "sync"]);
}

/// Which program the running agent is: a file that was replaced is another one.
fn runs_what_is_installed(host: &Host) -> bool {
    host.sh("pid=$(systemctl show --value -p MainPID agentd) && test /proc/$pid/exe -ef /usr/sbin/agentd")
        .success()
}

fn upgrades_itself(suite: Suite, packages: &str) {
    let (lab, forge, host) = held(suite);
    let mut archive = lab.archive("agents");
    archive.add_built(&another(&lab, "999")).package("before", "1.0").package("other", "1.0");
    archive.publish(&host);
    host.run(&["apt-get", "update"]).ok();
    let (rules_before, pid) = (rules(&host), main_pid(&host));
    let tip = declare(&forge, packages, "after the upgrade");
    sync(&host);
    host.wait_until("the new version is installed", LIMIT, || version(&host, "agentd") == "999 ii");
    host.wait_until("the new version runs", LIMIT, || {
        state(&host, "is-active", "agentd.service") == "active" && runs_what_is_installed(&host)
    });
    assert_ne!(main_pid(&host), pid);
    host.wait_until("the pass was finished", LIMIT, || {
        host.read("/etc/motd") == "after the upgrade\n" && version(&host, "other") == "1.0 ii"
    });
    host.wait_until("in sync", LIMIT, || {
        host.run(&["agentctl", "status"]).success() && status(&host)["applied"]["commit"] == tip.as_str()
    });
    assert_eq!(rules(&host), rules_before, "the rules were not touched");
    assert_eq!(host.run(&["dpkg", "--audit"]).ok(), "");
    assert_eq!(state(&host, "is-active", "agentd-apt.service"), "inactive", "nothing of the run is left");
    assert_eq!(host.sh("systemctl --failed --no-legend --plain").ok(), "");
    // Nothing is left to do, and nothing is done twice.
    let before = host.sh("grep -c 'status installed agentd' /var/log/dpkg.log").ok();
    sync(&host);
    assert_eq!(host.sh("grep -c 'status installed agentd' /var/log/dpkg.log").ok(), before);
    assert!(host.run(&["agentctl", "status"]).success());
    let died = host.run(&["journalctl", "--no-pager", "-u", "agentd", "--grep", "died while it was at work"]);
    assert!(!died.success(), "to be replaced is no crash: {died}");
}

#[test]
fn an_agent_that_is_told_its_own_next_version_brings_it_and_the_pass_is_finished_on_debian_12() {
    upgrades_itself(Suite::Bookworm, "agentd = \"999\"\nother = \"*\"\n");
}

#[test]
fn an_agent_that_is_told_its_own_next_version_brings_it_and_the_pass_is_finished_on_debian_13() {
    upgrades_itself(Suite::Trixie, "agentd = \">= 999\"\nother = \"*\"\n");
}

#[test]
fn a_declaration_that_removes_the_agent_is_refused_where_it_is_written() {
    let (_lab, forge, host) = held(Suite::Bookworm);
    let before = status(&host)["applied"]["commit"].clone();
    for gone in
        ["agentd = { ensure = \"absent\" }\n", "\"agentd:amd64\" = { ensure = \"absent\", purge = true }\n"]
    {
        let tip = declare(&forge, gone, "never");
        // On a machine that is not yet the host, before anybody merges it.
        host.write("/srv/clone/fleet.toml", "schema = 1\n");
        host.write("/srv/clone/hosts/all.toml", &format!("[match]\nhostname = \"*\"\n[packages]\n{gone}"));
        let said = host.run(&["agentctl", "check", "/srv/clone"]);
        assert_eq!(said.code, Some(1), "{said}");
        assert!(said.stdout.contains("hosts/all.toml:4:") && said.stdout.contains("own-goal"), "{said}");
        // And on the host itself.
        sync(&host);
        host.wait_until("it is refused", LIMIT, || status(&host)["rejected"]["commit"] == tip.as_str());
        let told = status(&host);
        let place = &told["rejected"]["diagnostics"][0]["place"];
        assert_eq!((&place["file"], &place["line"]), (&"hosts/all.toml".into(), &4.into()), "{told}");
        assert_eq!(told["applied"]["commit"], before);
        assert!(version(&host, "agentd").ends_with(" ii"));
        assert_eq!(host.read("/etc/motd"), "held\n");
    }
}
