//! Changes of packages, services and the firewall.

use super::way::Way;

pub fn ways() -> Vec<Way> {
    [packages(), services(), firewall()].concat()
}

/// What is declared of them, for the fleet.
pub const DECLARED: &str = r#"
[packages]
held-apt = "*"
held-purge = "*"
held-dpkg = "*"
held-unit = "*"
held-unwanted = { ensure = "absent" }

[services]
held-stop = { state = "running", enabled = true }
held-disable = { state = "running", enabled = true }
held-mask = { state = "running", enabled = true }
held-bus = { state = "running" }
held-object = { state = "running" }
held-tool = { state = "running" }
held-kill = { state = "running" }
held-unit = { state = "running" }
held-denied = { state = "running" }
held-stopped = { state = "stopped" }

[firewall]
input = "accept"
forward = "accept"
output = "accept"
exclusive = true
ignore = []

[firewall.rules.ssh]
allow = ["tcp/22"]
[firewall.rules.deleted]
allow = ["tcp/8001"]
[firewall.rules.replaced]
allow = ["tcp/8002"]
[firewall.rules.flushed]
allow = ["tcp/8003"]
"#;

/// The packages that the archive of the machine offers. One more is a file: what nobody wants.
pub const PACKAGES: [&str; 4] = ["held-apt", "held-purge", "held-dpkg", "held-unit"];

/// The units that are laid on the machine.
pub const UNITS: [&str; 10] = [
    "held-stop",
    "held-disable",
    "held-mask",
    "held-bus",
    "held-object",
    "held-tool",
    "held-kill",
    "held-denied",
    "held-unit",
    "held-stopped",
];

fn by_sudo(name: &'static str, resource: &str, script: &str) -> Way {
    Way::resource(name, resource, script).runs_as("root")
}

fn packages() -> Vec<Way> {
    let apt = |way: Way| way.by("/usr/bin/apt-get").by("/usr/bin/dpkg");
    vec![
        apt(by_sudo("apt-get remove", "package:held-apt", "sudo apt-get -qq remove held-apt > /dev/null")),
        apt(Way::resource(
            "apt-get purge by root",
            "package:held-purge",
            "apt-get -qq purge held-purge > /dev/null",
        ))
        .by_root(),
        by_sudo("dpkg --remove", "package:held-dpkg", "sudo dpkg --remove held-dpkg > /dev/null")
            .by("/usr/bin/dpkg"),
        by_sudo(
            "dpkg --install",
            "package:held-unwanted",
            "sudo dpkg --install /srv/ways/held-unwanted.deb > /dev/null",
        )
        .by("/usr/bin/dpkg"),
        apt(Way::resource(
            "apt of a unit",
            "package:held-unit",
            "systemd-run --quiet --collect --unit=apt-way apt-get -qq remove held-unit",
        ))
        .by_machine("root"),
    ]
}

fn services() -> Vec<Way> {
    let call =
        "busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager";
    let systemctl = |name, unit: &str, verb: &str| {
        by_sudo(name, &format!("service:{unit}.service"), &format!("sudo systemctl {verb} {unit}"))
            .by("/usr/bin/systemctl")
    };
    vec![
        systemctl("systemctl stop", "held-stop", "--quiet stop"),
        systemctl("systemctl disable", "held-disable", "--quiet disable"),
        systemctl("systemctl mask", "held-mask", "--quiet mask"),
        systemctl("systemctl start", "held-stopped", "start"),
        by_sudo(
            "busctl call",
            "service:held-bus.service",
            &format!("sudo {call} StopUnit ss held-bus.service replace > /dev/null"),
        )
        .by("/usr/bin/busctl"),
        by_sudo(
            "dbus-send to the unit's own object",
            "service:held-object.service",
            "sudo dbus-send --system --print-reply --dest=org.freedesktop.systemd1 \
             /org/freedesktop/systemd1/unit/held_2dobject_2eservice org.freedesktop.systemd1.Unit.Stop string:replace > /dev/null",
        )
        .by("/usr/bin/dbus-send"),
        // Nobody knows its name: the bus alone tells what it asked for.
        by_sudo(
            "a tool of one's own on the bus",
            "service:held-tool.service",
            "sudo /usr/local/bin/orchestrate",
        )
        .by("/usr/bin/python3")
        .before("install -m 755 /srv/ways/orchestrate.py /usr/local/bin/orchestrate"),
        by_sudo(
            "kill of the main process",
            "service:held-kill.service",
            "sudo kill -KILL $(systemctl show -p MainPID --value held-kill)",
        )
        .by("/usr/bin/kill"),
        // Who asked and was refused did not do it.
        by_sudo(
            "kill after one who was refused",
            "service:held-denied.service",
            "sudo kill -KILL $(systemctl show -p MainPID --value held-denied)",
        )
        .by("/usr/bin/kill")
        .before("! runuser -u ben -- systemctl --no-ask-password stop held-denied 2> /dev/null"),
        Way::resource(
            "systemctl of a unit",
            "service:held-unit.service",
            "systemd-run --quiet --collect --unit=stopper systemctl stop held-unit",
        )
        .by_machine("root")
        .by("/usr/bin/systemctl"),
    ]
}

fn firewall() -> Vec<Way> {
    let handle = "$(sudo nft -a list chain inet agentd input | sed -n 's/.*RULE.* handle //p')";
    let nft = |name, resource: &str, script: &str| by_sudo(name, resource, script).by("/usr/sbin/nft");
    vec![
        nft("nft add rule", "firewall:forward", "sudo nft add rule inet agentd forward tcp dport 666 drop"),
        nft("nft delete rule", "firewall:input/deleted", &format!("sudo nft delete rule inet agentd input handle {}", handle.replace("RULE", "8001"))),
        nft("nft that stays", "firewall:input/replaced", &format!("(echo replace rule inet agentd input handle {} tcp dport 8002 drop; for _ in $(seq 600); do sudo nft list chain inet agentd input | grep -q '8002.*accept' && break; sleep 0.1; done) | sudo nft -i > /dev/null", handle.replace("RULE", "8002")))
            .alive(),
        by_sudo("iptables-nft", "firewall:table/ip filter", "sudo iptables-nft -A INPUT -p tcp --dport 667 -j DROP").by("/usr/sbin/xtables-nft-multi"),
        nft("nft flush ruleset", "firewall:input/flushed", "sudo nft flush ruleset"),
        nft("nft -f of a unit", "firewall:output", "echo 'add rule inet agentd output tcp dport 668 drop' > /run/way.nft; systemd-run --quiet --collect nft -f /run/way.nft")
            .by_machine("root"),
    ]
}
