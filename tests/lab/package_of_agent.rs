//! The agent's own package on real hosts: installed, upgraded, removed, purged; judged by dpkg, systemd and nft.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

mod by_itself;

use crate::harness::{Forge, Host, Lab, Suite, deb, run};

const LIMIT: Duration = Duration::from_secs(120);

const NEXT: &str = "agentd: nothing is managed yet; next: agentctl enroll --url URL --branch NAME";

/// Needs no package, so that no archive is needed.
const FLEET: [(&str, &str); 2] = [
    ("fleet.toml", "schema = 1\n"),
    (
        "hosts/all.toml",
        "[match]\nhostname = \"*\"\n[files.\"/etc/motd\"]\ncontent = \"held\\n\"\n[firewall]\ninput = \"drop\"\n\
         [firewall.rules.ssh]\nallow = [\"tcp/22\"]\n",
    ),
];

#[test]
fn installed_it_changes_nothing_and_says_what_to_do_next() {
    for suite in Suite::ALL {
        let host = Host::boot(suite, "web-1");
        let motd = host.sh("stat -c '%i %Y' /etc/motd").ok();
        let said = host.install_agent();
        assert_eq!(said.lines().filter(|line| line.starts_with("agentd: ")).collect::<Vec<_>>(), [NEXT]);
        assert_eq!(state(&host, "is-enabled", "agentd-firewall.service"), "enabled");
        assert_eq!(state(&host, "is-active", "agentd-firewall.service"), "inactive");
        assert_eq!(state(&host, "is-enabled", "agentd.service"), "enabled");
        assert_eq!(state(&host, "is-active", "agentd.service"), "active");
        assert_eq!(host.sh("nft list ruleset").ok(), "");
        assert_eq!(host.sh("stat -c '%i %Y' /etc/motd").ok(), motd);
        assert_eq!(
            host.sh("stat -c '%a %U' /var/lib/agentd /var/lib/agentd/source").ok(),
            "711 root\n750 agentd-fetch\n"
        );
        assert_eq!(host.run(&["systemctl", "is-system-running"]).ok().trim(), "running");
        assert!(host.run(&["agentctl", "status"]).fails().contains("agentctl enroll"));
    }
}

#[test]
fn everything_that_belongs_to_it_is_in_it() {
    for suite in Suite::ALL {
        let host = Host::boot(suite, "web-1");
        host.install_agent();
        let conffiles = host.run(&["dpkg-query", "-W", "-f", "${Conffiles}", "agentd"]).ok();
        assert_eq!(conffiles.lines().filter(|line| line.contains("/etc/")).count(), 1, "{conffiles}");
        assert!(conffiles.contains("/etc/agentd/agent.toml "), "{conffiles}");
        // A page for the daemon, one for the command line, one for each of its commands.
        let help = host.run(&["agentctl", "--help"]).ok();
        let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
        let commands = lines.map_while(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' '));
        let pages =
            commands.filter_map(|line| line.split(' ').next()).map(|name| format!("man1/agentctl-{name}.1"));
        let pages: Vec<String> =
            ["man8/agentd.8".into(), "man1/agentctl.1".into()].into_iter().chain(pages).collect();
        assert!(pages.len() > 10, "{pages:?}");
        for page in pages {
            host.run(&["gzip", "--test", &format!("/usr/share/man/{page}.gz")]).ok();
        }
        let docs = host.run(&["ls", "/usr/share/doc/agentd", "/usr/share/agentd/schema"]).ok();
        let expected = [
            "README",
            "declaration",
            "fingerprint",
            "history.md",
            "performance",
            "schema.md",
            "SECURITY",
            "examples",
        ];
        for name in expected.into_iter().chain([
            "common.json",
            "event.json",
            "history.json",
            "host.json",
            "role.json",
        ]) {
            assert!(docs.contains(name), "{name} is missing: {docs}");
        }
        host.run(&["agentctl", "check", "/usr/share/doc/agentd/examples/single-host"]).ok();
        host.run(&["bash", "-n", "/usr/share/bash-completion/completions/agentctl"]).ok();
        for file in ["zsh/vendor-completions/_agentctl", "fish/vendor_completions.d/agentctl.fish"] {
            assert!(host.read(&format!("/usr/share/{file}")).contains("enroll"), "{file}");
        }
        let depends = host.run(&["dpkg-query", "-W", "-f", "${Depends}", "agentd"]).ok();
        let names: Vec<&str> = depends.split(", ").map(|one| one.split(' ').next().unwrap_or(one)).collect();
        let expected = ["libc6", "libgcc-s1", "nftables", "systemd"];
        assert!(names.iter().all(|name| expected.contains(name)), "{depends}");
        // One program under two names.
        assert_eq!(host.run(&["readlink", "-f", "/usr/bin/agentctl"]).ok(), "/usr/sbin/agentd\n");
        assert_eq!(
            host.run(&["agentd", "--version"]).ok().replace("agentd", "agentctl"),
            host.run(&["agentctl", "--version"]).ok()
        );
    }
}

#[test]
fn an_upgrade_takes_nothing_down() {
    for suite in Suite::ALL {
        let (lab, _forge, host) = held(suite);
        host.sh("echo '# mine' >> /etc/agentd/agent.toml").ok();
        let pid = main_pid(&host);
        let (rules, motd) = (rules(&host), host.sh("stat -c %i /etc/motd").ok());
        let said = upgrade(&lab, &host);
        assert!(!said.contains(NEXT), "{said}");
        host.wait_until("the new agent runs", LIMIT, || {
            state(&host, "is-active", "agentd.service") == "active"
        });
        assert_ne!(main_pid(&host), pid, "the new version runs");
        assert_eq!(host.run(&["dpkg-query", "-W", "-f", "${Version}", "agentd"]).ok(), "999");
        host.wait_until("in sync", LIMIT, || host.run(&["agentctl", "status"]).success());
        // The same handles: the rules were neither flushed nor loaded again, and the file was not written again.
        assert_eq!(self::rules(&host), rules);
        assert_eq!(host.sh("stat -c %i /etc/motd").ok(), motd);
        assert!(host.read("/etc/agentd/agent.toml").ends_with("# mine\n"));
        host.sh("echo vandal > /etc/motd").ok();
        host.wait_until("the file is put right", LIMIT, || host.read("/etc/motd") == "held\n");
    }
}

#[test]
fn removed_and_purged_it_leaves_the_host_as_it_is() {
    for suite in Suite::ALL {
        let (_lab, _forge, host) = held(suite);
        let rules = rules(&host);
        host.run(&["apt-get", "remove", "--yes", "agentd"]).ok();
        assert_ne!(state(&host, "is-active", "agentd.service"), "active");
        assert!(!host.exists("/usr/sbin/agentd"));
        assert!(
            host.exists("/etc/agentd/agent.toml.d/enroll.toml")
                && host.exists("/var/lib/agentd/firewall.nft")
        );
        assert_eq!((self::rules(&host), host.read("/etc/motd")), (rules.clone(), "held\n".to_owned()));

        // Installed again it goes on where it was.
        let said = host.install_agent();
        assert!(!said.contains(NEXT), "{said}");
        host.wait_until("in sync", LIMIT, || host.run(&["agentctl", "status"]).success());

        host.write("/etc/agentd/agent.toml.d/10-mine.toml", "interval = \"2m\"\n");
        host.run(&["apt-get", "purge", "--yes", "agentd"]).ok();
        assert_eq!((self::rules(&host), host.read("/etc/motd")), (rules, "held\n".to_owned()));
        assert!(!host.exists("/var/lib/agentd"));
        assert_eq!(
            host.sh("cd /etc/agentd && find . -type f | sort").ok(),
            "./agent.toml.d/10-mine.toml\n./forge.pem\n",
            "what a person put there is theirs"
        );
        host.run(&["getent", "passwd", "agentd-fetch"]).ok();
        assert_eq!(host.sh("systemctl --failed --no-legend --plain").ok(), "");
    }
}

#[test]
fn packed_twice_it_is_the_same_bytes() {
    let lab = Lab::new();
    let made = deb();
    let first = fs::read(made).unwrap();
    let [again, elsewhere] = ["again", "elsewhere"].map(|name| lab.folder(name));
    let build = PathBuf::from(crate::harness::checkout()).join("packaging/build-deb");
    // As somebody else would, who closes files to others, lives elsewhere, and has another folder for his scratch.
    let script = "umask 077; TZ=Pacific/Auckland LC_ALL=C TMPDIR=\"$3\" exec \"$1\" lab \"$2\"";
    let arguments = [&build, &again, &elsewhere].map(|path| path.to_str().unwrap());
    run(&[&["bash", "-c", script, "bash"][..], &arguments].concat()).ok();
    let second = fs::read(again.join(made.file_name().unwrap())).unwrap();
    assert!(first == second, "two builds differ");
}

/// What two builds in two folders would differ by; `make reproduce` makes both.
#[test]
fn no_path_of_the_machine_that_built_it_is_in_the_program() {
    let lab = Lab::new();
    let folder = lab.folder("unpacked");
    run(&["dpkg-deb", "--extract", deb().to_str().unwrap(), folder.to_str().unwrap()]).ok();
    let program = fs::read(folder.join("usr/sbin/agentd")).unwrap();
    let holds = |text: &str| program.windows(text.len()).any(|window| window == text.as_bytes());
    let cargo =
        std::env::var("CARGO_HOME").or_else(|_| std::env::var("HOME").map(|home| home + "/.cargo")).unwrap();
    let rustc = run(&["rustc", "--print", "sysroot"]).ok();
    let checkout = crate::harness::checkout().to_str().unwrap();
    for path in [&cargo, rustc.trim(), checkout] {
        assert!(!holds(path), "{path} is in the program");
    }
    assert!(holds("/crates/"), "the crates' own names, for those who read a panic");
}

/// An enrolled host in sync, whose firewall is confirmed.
fn held(suite: Suite) -> (Lab, Forge, Host) {
    let lab = Lab::new();
    let forge = lab.forge();
    forge.push(&FLEET);
    let host = lab.boot(suite, "web-1");
    host.install_agent();
    host.write("/etc/agentd/forge.pem", &forge.ca());
    let line = ["agentctl", "enroll", "--url", &forge.url_https(), "--branch", "main", "--mode", "enabled"];
    host.run(&[&line[..], &["--ca-file", "/etc/agentd/forge.pem"]].concat()).ok();
    host.wait_until("in sync", LIMIT, || host.run(&["agentctl", "status"]).success());
    host.wait_until("the firewall is confirmed", LIMIT, || host.exists("/var/lib/agentd/firewall.nft"));
    assert_eq!(host.read("/etc/motd"), "held\n");
    (lab, forge, host)
}

/// Installs the same package under a higher version; gives what apt said.
fn upgrade(lab: &Lab, host: &Host) -> String {
    let deb = another(lab, "999");
    host.copy_in(deb.parent().unwrap(), "/srv/upgrade");
    host.run(&["apt-get", "install", "--yes", "/srv/upgrade/agentd.deb"]).ok()
}

/// The same package under another version, alone in its folder.
fn another(lab: &Lab, version: &str) -> PathBuf {
    let folder = lab.folder(&format!("upgrade-{version}"));
    let script = "\
dpkg-deb --raw-extract \"$1\" \"$2/tree\"
sed -i \"s/^Version: .*/Version: $3/\" \"$2/tree/DEBIAN/control\"
dpkg-deb --root-owner-group -Zgzip -z1 --build \"$2/tree\" \"$2/agentd.deb\"
rm -r \"$2/tree\"
";
    run(&["sh", "-eu", "-c", script, "sh", deb().to_str().unwrap(), folder.to_str().unwrap(), version]).ok();
    folder.join("agentd.deb")
}

fn state(host: &Host, verb: &str, unit: &str) -> String {
    host.run(&["systemctl", verb, unit]).stdout.trim().to_owned()
}

fn main_pid(host: &Host) -> String {
    host.run(&["systemctl", "show", "--property=MainPID", "agentd.service"]).ok()
}

fn rules(host: &Host) -> String {
    host.run(&["nft", "--handle", "list", "table", "inet", "agentd"]).ok()
}
