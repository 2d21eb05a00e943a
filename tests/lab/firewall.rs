//! The firewall on real Debian hosts, judged by nft and by who gets a connection.
//!
//! The kind runs inside the host, as the agent does: this very test program is copied there and started as a unit
//! with the name of [`inside::COMMAND`], which reads a declaration and an order, and tells what came of it.

use std::time::Duration;

use serde_json::Value as Json;

use crate::harness::{Host, Lab, Output, Suite};

mod guarded;
mod inside;
mod traffic;

const SOON: Duration = Duration::from_secs(30);

/// Every word of the vocabulary once.
pub const EVERYTHING: &str = r#"
forward = { policy = "drop", accept_foreign = ["docker0", "virbr*"] }
output = "accept"

[input]
policy = "drop"
management = ["tcp/22"]

[rules.ssh]
order = -10
allow = ["tcp/22"]
limit = "100/second burst 200"
counter = true

[rules.web]
allow = ["tcp/80", "tcp/443", "udp/443", "tcp/8000-8010"]

[rules.ping]
allow = ["icmp/echo-request", "icmpv6/echo-request"]

[rules.admins]
allow = ["tcp/9100", "sctp/5", "esp", "gre"]
from = ["@admins", "192.0.2.0/24"]

[rules.ident]
reject = ["tcp/113", "udp/113"]
log = "ident: "

[rules.loud]
drop = ["udp/9"]
limit = "10/minute"

[rules.lan]
chain = "forward"
allow = ["any"]
in = ["lan0", "lan1"]
out = "wan*"

[rules.odd]
raw = '''
tcp flags & (fin|syn) == (fin|syn) drop
ct state new tcp dport 2222 update @seen { ip saddr limit rate over 5/minute } jump punish
'''

[sets.admins]
elements = ["10.0.0.0/8", "10.1.0.0/16", "203.0.113.1-203.0.113.9", "fd00::/8"]

[sets.seen]
raw = "type ipv4_addr; flags dynamic,timeout; timeout 5m; size 1000"

[chains.punish]
raw = """
log prefix "punished: " counter drop
"""

[nat.out]
masquerade = true
out = "wan*"

[nat.shop]
forward = ["tcp/8080"]
to = "10.0.0.2:80"

[nat.here]
forward = ["tcp/81"]
to = ":8001"
"#;

const OPEN: &str = "input = \"accept\"\n[rules.first]\nallow = [\"tcp/1\"]\n";
const SHUT: &str = "[input]\npolicy = \"drop\"\nmanagement = []\n[rules.second]\nallow = [\"tcp/2\"]\n";

/// What the kind found and did.
#[derive(Debug)]
struct Report(Json);

impl Report {
    fn of(output: &Output) -> Self {
        let line = output.stdout.lines().find_map(|line| line.strip_prefix("report: "));
        Report(serde_json::from_str(line.unwrap_or_else(|| panic!("no report: {output}"))).unwrap())
    }

    fn list(&self, of: &str) -> Vec<&str> {
        let lines = self.0[of].as_array().unwrap_or_else(|| panic!("no {of}: {self:#?}"));
        lines.iter().map(|line| line.as_str().unwrap()).collect()
    }

    #[track_caller]
    fn converged(&self) {
        assert!(self.list("residual").is_empty(), "{self:#?}");
        assert!(self.list("outcomes").iter().all(|line| line.ends_with(": done")), "{self:#?}");
    }
}

/// A host with the kind in it, and the unit that loads the confirmed table at boot.
struct Site {
    host: Host,
}

impl std::ops::Deref for Site {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

impl Site {
    fn boot(suite: Suite) -> Self {
        let host = Lab::new().boot(suite, "web-1");
        crate::inside::bring(&host);
        let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/agentd-firewall.service");
        std::fs::copy(unit, host.disk().join("etc/systemd/system/agentd-firewall.service")).unwrap();
        host.run(&["systemctl", "daemon-reload"]).ok();
        host.run(&["systemctl", "enable", "agentd-firewall.service"]).ok();
        Site { host }
    }

    /// One order to the kind: `pass` (unguarded), `guarded`, `confirm`, `state`.
    fn order(&self, order: &str, declaration: &str) -> Report {
        self.write("/srv/driver/declaration.toml", declaration);
        let order = format!("--setenv=ORDER={order}");
        let unit = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", &order];
        Report::of(&self.run(&[&unit[..], &inside::COMMAND].concat()))
    }

    /// One pass that must put everything right, and leave nothing for a second one.
    #[track_caller]
    fn converge(&self, declaration: &str) -> Report {
        let report = self.order("pass", declaration);
        report.converged();
        let second = self.order("pass", declaration);
        assert!(second.list("plan").is_empty(), "the second pass plans something: {second:#?}");
        report
    }

    fn table(&self) -> String {
        self.run(&["nft", "--stateless", "list", "table", "inet", "agentd"]).ok()
    }

    fn ssh_from_outside(&self) -> bool {
        self.lab().reaches(&self.ipv4(), 22)
    }
}

#[test]
fn every_word_loads_on_both_releases_and_is_no_drift_afterwards() {
    for suite in Suite::ALL {
        let site = Site::boot(suite);
        site.converge(EVERYTHING);
        assert!(site.ssh_from_outside());
        assert!(site.lab().reaches(&site.ipv6(), 22));
        // Counters moved by now.
        assert!(site.order("pass", EVERYTHING).list("plan").is_empty());
    }
}

#[test]
fn what_a_person_does_to_the_table_is_undone_on_both_releases() {
    for suite in Suite::ALL {
        let site = Site::boot(suite);
        site.converge(EVERYTHING);
        let before = site.table();
        for command in [
            "nft flush ruleset",
            "nft delete table inet agentd",
            "nft flush table inet agentd",
            "nft add rule inet agentd input tcp dport 9999 accept",
            "nft insert rule inet agentd input accept",
            "nft 'chain inet agentd input { policy accept; }'",
            "nft add element inet agentd admins.v4 '{ 198.51.100.1 }'",
            "nft delete rule inet agentd input handle $(nft -a list chain inet agentd input | \
             sed -n 's/.*agentd:ssh.*handle //p')",
        ] {
            site.sh(command).ok();
            assert_ne!(site.table_or_nothing(), before, "{command} changed nothing");
            site.converge(EVERYTHING);
            assert_eq!(site.table(), before, "after {command}");
        }
    }
}

impl Site {
    fn table_or_nothing(&self) -> String {
        self.run(&["nft", "--stateless", "list", "table", "inet", "agentd"]).stdout
    }
}

#[test]
fn packets_meet_the_declared_policy_and_other_tables_are_left_alone() {
    for suite in Suite::ALL {
        let site = Site::boot(suite);
        site.write("/root/other.nft", "table ip docker {\n\tchain forward {\n\t\ttype filter hook forward priority filter; policy accept;\n\t\tcounter packets 3 bytes 4 accept\n\t}\n}\n");
        site.run(&["nft", "-f", "/root/other.nft"]).ok();
        let other = site.run(&["nft", "-a", "list", "table", "ip", "docker"]).ok();
        let report = site.order("pass", SHUT);
        report.converged();
        assert!(!site.ssh_from_outside(), "ssh is not among what is let in");
        assert!(report.list("notes").iter().any(|note| note.contains("table ip docker")), "{report:?}");
        site.converge("input = \"drop\"\n[rules.ssh]\nallow = [\"tcp/22\"]");
        assert!(site.ssh_from_outside());
        assert_eq!(site.run(&["nft", "-a", "list", "table", "ip", "docker"]).ok(), other);
        site.converge("input = \"drop\"\n[rules.ssh]\nallow = [\"tcp/22\"]\nfrom = [\"192.0.2.1\"]");
        assert!(!site.ssh_from_outside());
    }
}

#[test]
fn the_confirmed_table_is_in_force_after_a_reboot_before_the_network_and_without_the_agent() {
    for suite in Suite::ALL {
        let site = Site::boot(suite);
        // A host that flushes everything at boot, as Debian's own file does.
        site.run(&["systemctl", "enable", "nftables.service"]).ok();
        assert!(site.read("/etc/nftables.conf").contains("flush ruleset"));
        site.converge(EVERYTHING);
        let before = site.table();
        site.sh("rm -rf /srv/driver").ok();
        site.reboot();
        assert_eq!(site.table(), before);
        assert_eq!(site.run(&["systemctl", "is-active", "agentd-firewall.service"]).ok().trim(), "active");
        let times = "systemctl show --property=ActiveEnterTimestampMonotonic --value";
        let monotonic =
            |unit: &str| -> u64 { site.sh(&format!("{times} {unit}")).ok().trim().parse().unwrap() };
        let own = monotonic("agentd-firewall.service");
        assert!(own > monotonic("nftables.service"), "after the one that flushes");
        assert!(own <= monotonic("network-pre.target"), "before anything can be reached");
        // Stopping it, or an upgrade, opens nothing.
        site.run(&["systemctl", "stop", "agentd-firewall.service"]).ok();
        assert_eq!(site.table(), before);
    }
}

#[test]
fn a_host_that_never_had_a_firewall_boots_without_one() {
    let site = Site::boot(Suite::Bookworm);
    site.reboot();
    assert_eq!(site.run(&["nft", "list", "ruleset"]).ok(), "");
    assert_eq!(site.sh("systemctl is-failed agentd-firewall.service || true").ok().trim(), "inactive");
}

#[test]
fn a_table_that_locks_everybody_out_takes_itself_back_without_the_agent() {
    for suite in Suite::ALL {
        let site = Site::boot(suite);
        site.converge(OPEN);
        let before = site.table();
        // The agent is gone as soon as it has loaded the table: only PID 1 is left to undo it.
        site.order("guarded", SHUT).converged();
        assert!(!site.ssh_from_outside(), "locked out");
        assert!(site.read("/var/lib/agentd/firewall.nft").contains("agentd:first"));
        site.wait_until("a new connection gets through again", SOON, || site.ssh_from_outside());
        assert_eq!(site.table(), before);
        site.wait_until("it is called undone", SOON, || {
            site.order("state", SHUT).0["confirmation"]["state"] == "undone"
        });
        let again = site.order("guarded", SHUT);
        assert!(again.list("outcomes").iter().all(|line| line.contains("undone")), "{again:?}");
        assert_eq!(site.table(), before, "and it is not loaded again");
    }
}

#[test]
fn a_confirmed_table_stays_now_and_after_a_reboot() {
    let site = Site::boot(Suite::Bookworm);
    site.converge(OPEN);
    let keeps_ssh = "input = \"drop\"\n[rules.ssh]\nallow = [\"tcp/22\"]";
    site.order("guarded-long", keeps_ssh).converged();
    assert_eq!(site.order("state", keeps_ssh).0["confirmation"]["state"], "awaited");
    assert_eq!(site.order("confirm", keeps_ssh).0["confirmed"], true);
    assert_eq!(site.order("state", keeps_ssh).0["confirmation"]["state"], "settled");
    let timers =
        site.run(&["systemctl", "list-units", "--all", "--no-legend", "agentd-firewall-undo-*"]).ok();
    assert_eq!(timers, "", "no timer is left");
    let table = site.table();
    site.reboot();
    assert_eq!(site.table(), table);
    assert!(site.ssh_from_outside());
}

#[test]
fn a_reboot_inside_the_window_is_an_undo() {
    let site = Site::boot(Suite::Bookworm);
    site.converge(OPEN);
    let before = site.table();
    site.order("guarded-long", SHUT).converged();
    assert!(!site.ssh_from_outside());
    site.reboot();
    assert_eq!(site.table(), before);
    assert!(site.ssh_from_outside());
    let confirmation = site.order("state", SHUT).0["confirmation"].clone();
    assert_eq!((&confirmation["state"], &confirmation["by_reboot"]), (&"undone".into(), &true.into()));
}

#[test]
fn a_host_without_nft_says_what_to_install() {
    let site = Site::boot(Suite::Bookworm);
    site.sh("mv /usr/sbin/nft /usr/sbin/nft.away").ok();
    let report = site.order("pass", OPEN);
    assert!(report.0["unknown"].as_str().unwrap().contains("apt-get install nftables"), "{report:?}");
}

#[test]
fn raw_text_is_tried_out_without_access_to_files_inside_a_unit_of_the_host() {
    for suite in Suite::ALL {
        let site = Site::boot(suite);
        site.converge("input = \"accept\"\n[rules.odd]\nraw = \"tcp dport 7 counter accept\"");
        let report = site.order("pass", "input = \"accept\"\n[chains.c]\nraw = \"flush ruleset\"");
        assert!(report.0["unknown"].as_str().unwrap().contains("firewall:chain/c"), "{report:?}");
        assert!(site.table().contains("agentd:odd"), "the old rules stay");
    }
}
