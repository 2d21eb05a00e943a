//! The main path, as an operator walks it: install the package, enrol, converge, tamper, follow a commit, compare.

use std::time::Duration;

use crate::harness::{Forge, Host, Lab, Suite};

/// How long anything may take on a busy machine. Nothing waits for it unless something is wrong.
const LIMIT: Duration = Duration::from_secs(120);

/// A small fleet of one class that has every kind in it.
pub fn fleet(port: u16) -> Vec<(&'static str, String)> {
    vec![
        ("fleet.toml", "schema = 1\n".to_owned()),
        (
            "hosts/web.toml",
            format!("roles = [\"web\"]\n[match]\nhostname = \"web-*\"\n[vars]\nport = {port}\n"),
        ),
        (
            "roles/web.toml",
            r#"
[packages]
nginx-light = "*"

[files."/etc/nginx/sites-enabled/default"]
ensure = "absent"

[files."/etc/nginx/sites-enabled/shop"]
template = "files/shop.conf.j2"
check = ["/usr/sbin/nginx", "-t"]

[files."/srv/shop"]
ensure = "directory"

[files."/srv/shop/index.html"]
content = "hello from the shop\n"

[files."/etc/motd"]
content = "managed\n"
mode = "0640"

[services.nginx]
enabled = true
state = "running"
reload_on = ["file:/etc/nginx/sites-enabled/shop"]

[firewall]
input = "drop"

[firewall.rules.web]
allow = ["tcp/{{ vars.port }}"]

[firewall.rules.ssh]
allow = ["tcp/22"]
"#
            .to_owned(),
        ),
        (
            "files/shop.conf.j2",
            "server { listen {{ vars.port }} default_server; root /srv/shop; }\n".to_owned(),
        ),
    ]
}

fn push(forge: &Forge, port: u16) -> String {
    let files = fleet(port);
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    forge.push(&files)
}

fn enrolled(lab: &Lab, suite: Suite, name: &str) -> Host {
    let host = lab.boot(suite, name);
    host.install_agent();
    let forge = lab.forge();
    host.write("/etc/agentd/forge.pem", &forge.ca());
    let enrol = ["agentctl", "enroll", "--url", &forge.url_https(), "--branch", "main", "--mode", "enabled"];
    host.run(&[&enrol[..], &["--ca-file", "/etc/agentd/forge.pem"]].concat()).ok();
    host
}

/// What a visitor, the kernel, dpkg and systemd say of the host.
fn serves(host: &Host, port: u16) -> bool {
    let page = host.sh(&format!("curl -sf --max-time 2 http://127.0.0.1:{port}/ || true"));
    page.stdout.contains("hello from the shop")
}

#[test]
fn a_host_is_installed_enrolled_and_held() {
    let lab = Lab::new();
    let forge = lab.forge();
    push(&forge, 8080);
    let host = enrolled(&lab, Suite::Bookworm, "web-1");

    host.wait_until("the page is served", LIMIT, || serves(&host, 8080));
    assert!(host.sh("dpkg-query -W -f '${db:Status-Status}' nginx-light").ok().contains("installed"));
    assert_eq!(host.sh("stat -c '%a %U %G' /etc/motd").ok().trim(), "640 root root");
    assert!(host.sh("nft list table inet agentd").ok().contains("dport 8080"));
    assert!(host.sh("systemctl is-enabled nginx").ok().contains("enabled"));

    // A person changes one of each kind.
    host.sh("echo vandal > /etc/motd").ok();
    host.wait_until("the file is put right", LIMIT, || host.read("/etc/motd") == "managed\n");
    host.sh("nft flush ruleset").ok();
    host.wait_until("the rules are back", LIMIT, || {
        host.sh("nft list ruleset").stdout.contains("dport 8080")
    });
    host.sh("systemctl stop nginx").ok();
    host.wait_until("the service runs again", LIMIT, || host.sh("systemctl is-active nginx").success());
    host.sh("DEBIAN_FRONTEND=noninteractive apt-get remove --yes nginx-light").ok();
    host.wait_until("the package is back", LIMIT, || {
        host.sh("dpkg-query -W -f '${db:Status-Status}' nginx-light").stdout.contains("installed")
            && serves(&host, 8080)
    });

    // A commit is followed.
    let commit = push(&forge, 9090);
    host.run(&["agentctl", "sync"]).ok();
    host.wait_until("the new port is served", LIMIT, || serves(&host, 9090));
    assert!(host.sh("nft list table inet agentd").ok().contains("dport 9090"));
    let status = host.run(&["agentctl", "status", "--json"]).ok();
    assert!(status.contains(&commit), "{status}");
    host.run(&["agentctl", "status"]).ok();
    host.run(&["agentctl", "diff"]).ok();
    host.run(&["agentctl", "history"]).ok();

    // The forge goes away: the host is held all the same, also after a reboot.
    forge.stop();
    host.reboot();
    host.wait_until("the page is served after a reboot", LIMIT, || serves(&host, 9090));
    host.sh("echo vandal > /etc/motd").ok();
    host.wait_until("the file is put right without a forge", LIMIT, || host.read("/etc/motd") == "managed\n");
}
