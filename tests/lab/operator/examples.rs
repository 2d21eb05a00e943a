//! An example that is more than read: the hardened base on hosts as Debian installs them.

use crate::harness::{Archive, Lab, Suite, checkout};

use super::LIMIT;

/// What the roles name, beyond a server of the laboratory, and what must be there for real.
const PACKAGES: [&str; 5] = ["openssh-server", "sudo", "unattended-upgrades", "needrestart", "chrony"];

#[test]
fn the_hardened_base_converges_with_an_ssh_server_that_never_ran() {
    let lab = Lab::new();
    let forge = lab.forge();
    for suite in Suite::ALL {
        let archive = Archive::of_debian(&lab, suite, &PACKAGES);
        archive.publish_on(&forge);
        let commit = forge.push_folder(&checkout().join("examples/hardened-base"));
        let host = lab.boot(suite, suite.name());
        archive.name_source_on(&host);
        // As on a host whose image came without: the agent installs it, and it is not started before its files are there.
        host.sh("systemctl stop ssh.socket ssh.service || true; apt-get purge --yes openssh-server; rm -rf /run/sshd").ok();
        host.run(&["apt-get", "update"]).ok();
        host.install_agent();
        host.write("/etc/agentd/forge.pem", &forge.ca());
        let url = forge.url_https();
        let line = ["agentctl", "enroll", "--url", &url, "--branch", "main", "--mode", "enabled"];
        host.run(&[&line[..], &["--ca-file", "/etc/agentd/forge.pem"]].concat()).ok();
        host.wait_until("in sync", LIMIT, || {
            let status = super::status(&host);
            status["applied"]["commit"] == commit.as_str() && host.run(&["agentctl", "status"]).success()
        });
        let files = "/etc/ssh/sshd_config.d/10-hardened.conf";
        let declared = host.run(&["sshd", "-T"]).ok();
        assert!(declared.contains("\npasswordauthentication no\n"), "{declared}");
        assert_eq!(host.run(&["stat", "-c", "%a %U", files]).ok().trim(), "600 root");
        assert_eq!(host.run(&["systemctl", "is-active", "ssh"]).ok().trim(), "active");
        for package in PACKAGES {
            let state = host.run(&["dpkg-query", "-W", "-f", "${db:Status-Status}", package]).stdout;
            assert_eq!(state, "installed", "{package}");
        }
        // A second pass has nothing to do.
        assert_eq!(host.run(&["agentctl", "plan"]).code, Some(0));
    }
}
