//! The ground that all other laboratory tests stand on: what a host, the network, the forge and the archives of
//! the laboratory do, and that they do it like the real ones.

use std::time::Duration;

use crate::harness::{Deb, Host, Lab, Suite, wait_until};

const SOON: Duration = Duration::from_secs(20);

/// Asks for file events in /root and makes one; prints how long the answer was. perl is on every Debian host.
const WATCH_BY_FANOTIFY: &str = r#"
my $folder = "/root";
my $group = syscall(300, 0x600 | 0x800, 0);
die "fanotify_init: $!\n" if $group < 0;
syscall(301, $group, 1, 0x2 | 0x100 | 0x08000000, -100, $folder) == 0 or die "fanotify_mark: $!\n";
open(my $file, ">", "$folder/seen") or die; print $file "x"; close $file;
open(my $events, "<&=", $group) or die "events: $!\n";
my $length = sysread($events, my $event, 4096);
print "event of $length bytes\n";
"#;

const TABLE: &str = "table inet lab {\n\tchain input {\n\t\ttype filter hook input priority filter; policy accept;\n\
                     \t\ttcp dport 81 drop\n\t}\n}\n";

#[test]
fn both_releases_boot_to_running() {
    for (suite, version) in [(Suite::Bookworm, "12"), (Suite::Trixie, "13")] {
        let host = Host::boot(suite, "web-1");
        assert_eq!(host.run(&["systemctl", "is-system-running"]).ok().trim(), "running");
        let release = host.read("/etc/os-release");
        assert!(release.contains(&format!("VERSION_ID=\"{version}\"")), "{release}");
        assert_eq!(host.run(&["hostname"]).ok().trim(), "web-1");
        assert_eq!(host.run(&["stat", "-fc", "%T", "/sys/fs/cgroup"]).ok().trim(), "cgroup2fs");
    }
}

#[test]
fn hosts_of_one_lab_reach_each_other_and_nobody_else() {
    let lab = Lab::new();
    let (one, two) = (lab.boot(Suite::Bookworm, "one"), lab.boot(Suite::Trixie, "two"));
    assert!(one.reaches(&two.ipv4(), 22) && two.reaches(&one.ipv4(), 22));
    assert!(one.reaches(&two.ipv6(), 22) && two.reaches(&one.ipv6(), 22));
    assert!(lab.reaches(&one.ipv4(), 22), "an outsider on the same network reaches a host");
    let other = Host::boot(Suite::Bookworm, "other");
    assert_ne!(other.ipv4(), two.ipv4(), "or the next line would ask `other` about itself");
    assert!(!other.reaches(&two.ipv4(), 22), "laboratories are apart");
    two.unplug();
    assert!(!one.reaches(&two.ipv4(), 22), "a pulled cable cuts");
    two.plug();
    wait_until("the cable works again", SOON, || one.reaches(&two.ipv4(), 22));
}

#[test]
fn units_of_a_host_use_nftables_and_fanotify() {
    for suite in Suite::ALL {
        let host = Host::boot(suite, "web-1");
        host.write("/root/rules.nft", TABLE);
        host.unit(&["nft", "-f", "/root/rules.nft"]).ok();
        assert_eq!(host.run(&["nft", "list", "ruleset"]).ok(), TABLE);
        host.write("/root/watch.pl", WATCH_BY_FANOTIFY);
        assert!(host.unit(&["perl", "/root/watch.pl"]).ok().starts_with("event of "));
    }
}

#[test]
fn a_rule_of_a_host_drops_what_comes_from_outside() {
    let host = Host::boot(Suite::Bookworm, "web-1");
    assert!(host.lab().reaches(&host.ipv4(), 22));
    host.write("/root/rules.nft", &TABLE.replace("81", "22"));
    host.run(&["nft", "-f", "/root/rules.nft"]).ok();
    assert!(!host.lab().reaches(&host.ipv4(), 22));
}

#[test]
fn a_person_who_logs_in_has_a_session_of_their_own() {
    for suite in Suite::ALL {
        let host = Host::boot(suite, "web-1");
        host.add_person("ada");
        let id = host.run(&["id", "-u", "ada"]).ok();
        assert_eq!(host.login("ada", "cat /proc/self/loginuid").ok().trim(), id.trim());
        assert_eq!(
            host.login("ada", "sudo cat /proc/self/loginuid; sudo id -u").ok(),
            format!("{}0\n", id.trim())
        );
        assert!(host.login("ada", "cat /proc/self/cgroup").ok().contains("/session-"));
        host.login("ada", "cat /etc/shadow").fails();
    }
}

#[test]
fn a_reboot_keeps_the_disk_and_loses_the_rules() {
    for suite in Suite::ALL {
        let host = Host::boot(suite, "web-1");
        let boot = host.read("/proc/1/stat");
        host.write("/etc/motd", "kept\n");
        host.write("/root/rules.nft", TABLE);
        host.run(&["nft", "-f", "/root/rules.nft"]).ok();
        host.reboot();
        assert_ne!(host.read("/proc/1/stat"), boot, "process 1 is another one");
        assert_eq!(host.read("/etc/motd"), "kept\n");
        assert_eq!(host.run(&["nft", "list", "ruleset"]).ok(), "");
        assert!(host.reaches(&host.ipv4(), 22), "the network is there again");
    }
}

#[test]
fn a_host_that_is_killed_or_switched_off_boots_again() {
    let host = Host::boot(Suite::Bookworm, "web-1");
    host.write("/root/note", "written\n");
    host.kill();
    assert!(!host.lab().reaches(&host.ipv4(), 22));
    host.start();
    assert_eq!(host.read("/root/note"), "written\n");
    host.power_off();
    host.start();
    assert_eq!(host.read("/root/note"), "written\n");
}

#[test]
fn packages_of_our_own_archive_install_upgrade_and_vanish() {
    for suite in Suite::ALL {
        let lab = Lab::new();
        let host = lab.boot(suite, "web-1");
        let shopd = |version| {
            Deb::new("shopd", version)
                .field("Depends", "shop-data (>= 1)")
                .program("/usr/sbin/shopd", "#!/bin/sh\nexec sleep infinity\n")
                .conffile("/etc/shopd.conf", "port = 80\n")
                .service("shopd.service", "/usr/sbin/shopd")
                .postinst("touch /var/lib/shopd-configured\n")
        };
        let mut archive = lab.archive("shop");
        archive.add(&shopd("1.0")).package("shop-data", "1:2.0-1").publish(&host);
        host.run(&["apt-get", "update"]).ok();
        host.run(&["apt-get", "install", "--yes", "shopd"]).ok();
        let versions = ["dpkg-query", "--show", "--showformat", "${Version} ", "shopd", "shop-data"];
        assert_eq!(host.run(&versions).ok(), "1:2.0-1 1.0 ");
        assert_eq!(host.run(&["systemctl", "is-active", "shopd"]).ok().trim(), "active");
        assert_eq!(host.run(&["systemctl", "is-enabled", "shopd"]).ok().trim(), "enabled");
        assert!(host.exists("/var/lib/shopd-configured"));

        archive.add(&shopd("1.1")).withdraw("shopd", "1.0").publish(&host);
        host.run(&["apt-get", "update"]).ok();
        host.run(&["apt-get", "install", "--yes", "shopd"]).ok();
        assert_eq!(host.run(&versions).ok(), "1:2.0-1 1.1 ");
        let refusal = host.run(&["apt-get", "install", "--yes", "--allow-downgrades", "shopd=1.0"]).fails();
        assert!(refusal.contains("Version '1.0' for 'shopd' was not found"), "{refusal}");
    }
}

#[test]
fn a_package_that_breaks_is_broken_as_dpkg_says() {
    let lab = Lab::new();
    let host = lab.boot(Suite::Bookworm, "web-1");
    let mut archive = lab.archive("broken");
    archive.add(&Deb::new("brokend", "1.0").postinst("exit 3\n")).publish(&host);
    host.run(&["apt-get", "update"]).ok();
    host.run(&["apt-get", "install", "--yes", "brokend"]).fails();
    let state = host.run(&["dpkg-query", "--show", "--showformat", "${db:Status-Status}", "brokend"]).ok();
    assert_eq!(state, "half-configured");
}

#[test]
fn an_archive_on_the_forge_serves_hosts_over_the_network() {
    let lab = Lab::new();
    let forge = lab.forge();
    let host = lab.boot(Suite::Trixie, "web-1");
    let mut archive = lab.archive("shop");
    archive.package("shop-data", "1.0").publish_on(&forge);
    archive.name_source_on(&host);
    host.run(&["apt-get", "update"]).ok();
    host.run(&["apt-get", "install", "--yes", "shop-data"]).ok();
    // An archive whose index was changed after it was signed is not believed.
    forge.sh("sed -i s/1.0/6.6/ /srv/apt/shop/Packages").ok();
    host.sh("rm -rf /var/lib/apt/lists/*; ! apt-get update -o APT::Update::Error-Mode=any").ok();
}

mod forge {
    //! A client on this machine's side of the network: its git, the laboratory's names and keys.

    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use crate::harness::{Forge, Lab, Output, Suite};

    struct Client {
        lab: Lab,
        keys: PathBuf,
    }

    impl Client {
        fn of(lab: &Lab, forge: &Forge) -> Self {
            let keys = lab.folder("client");
            fs::write(keys.join("ca.pem"), forge.ca()).unwrap();
            fs::write(keys.join("known_hosts"), forge.known_hosts()).unwrap();
            fs::write(keys.join("key"), forge.ssh_key()).unwrap();
            fs::set_permissions(keys.join("key"), fs::Permissions::from_mode(0o600)).unwrap();
            Client { lab: lab.clone(), keys }
        }

        fn git(&self, forge: &Forge, arguments: &[&str]) -> Output {
            self.git_within("30", forge, arguments)
        }

        fn git_within(&self, seconds: &str, forge: &Forge, arguments: &[&str]) -> Output {
            let (address, keys) = (forge.ipv4(), self.keys.display());
            let ssh = format!(
                "core.sshCommand=ssh -F none -i {keys}/key -o UserKnownHostsFile={keys}/known_hosts \
                 -o StrictHostKeyChecking=yes -o HostKeyAlias=git.example.org -o HostName={address} \
                 -o BatchMode=yes -o ConnectTimeout=5"
            );
            let name = format!("http.curloptResolve=git.example.org:443:{address}");
            let other = format!("http.curloptResolve=elsewhere.example.org:443:{address}");
            let settings = ["-c", &ssh, "-c", &name, "-c", &other];
            // Nothing of this machine's own git settings; they may name another authority.
            let (home, authority) = (format!("HOME={keys}"), format!("GIT_SSL_CAINFO={keys}/ca.pem"));
            let program = ["env", "-i", "PATH=/usr/bin:/bin", "GIT_TERMINAL_PROMPT=0", &home, &authority];
            self.lab.outside(&[&program[..], &["timeout", seconds, "git"], &settings, arguments].concat())
        }

        fn head(&self, forge: &Forge, url: &str) -> Output {
            self.git(forge, &["ls-remote", url, "refs/heads/main"])
        }
    }

    #[test]
    fn it_serves_what_was_pushed_over_https_and_ssh() {
        let lab = Lab::new();
        let forge = lab.forge();
        let client = Client::of(&lab, &forge);
        let first = forge.push(&[("fleet.toml", "schema = 1\n"), ("roles/base.toml", "[packages]\n")]);
        for (name, url) in [("https", forge.url_https()), ("ssh", forge.url_ssh())] {
            let copy = lab.folder("copies").join(name);
            client.git(&forge, &["clone", "--quiet", &url, copy.to_str().unwrap()]).ok();
            assert_eq!(fs::read_to_string(copy.join("fleet.toml")).unwrap(), "schema = 1\n");
            assert!(client.head(&forge, &url).ok().starts_with(&first));
        }
        let second = forge.push_removal(&["roles/base.toml"]);
        let rewritten = forge.rewrite_history();
        assert_ne!(second, rewritten);
        let parent = forge.git(&["rev-parse", "HEAD^"]).ok();
        assert_eq!(parent.trim(), first, "a sibling of the commit it replaces");
        assert!(client.head(&forge, &forge.url_https()).ok().starts_with(&rewritten));
        assert!(
            forge
                .requests()
                .iter()
                .any(|line| line.contains("/fleet.git/info/refs") && line.contains(" 200 "))
        );
    }

    #[test]
    fn it_asks_for_credentials_and_for_trust() {
        let lab = Lab::new();
        let forge = lab.forge();
        let client = Client::of(&lab, &forge);
        forge.push(&[("fleet.toml", "schema = 1\n")]);
        let private = forge.url_https_private();
        client.head(&forge, &private).fails();
        let with =
            |user: &str| client.head(&forge, &private.replace("https://", &format!("https://{user}@")));
        with("fleet:a%20password%3A%20with%2C%20signs").ok();
        with("fleet:wrong").fails();
        for user in ["x", "xy", "xyz", "token"] {
            with(&format!("{user}:lab-token-5f1c")).ok();
        }
        with("x:lab-token-5f1cc").fails();
        let bearer = ["-c", "http.extraHeader=Authorization: Bearer lab-token-5f1c", "ls-remote", &private];
        client.git(&forge, &bearer).ok();
        client
            .git(&forge, &["-c", "http.followRedirects=false", "ls-remote", &forge.url_https_moved()])
            .fails();
        let authority = client.keys.join("ca.pem");
        fs::write(&authority, fs::read("/etc/ssl/certs/ca-certificates.crt").unwrap()).unwrap();
        let complaint = client.head(&forge, &forge.url_https()).fails();
        assert!(complaint.contains("certificate"), "{complaint}");
        // An ssh key that nobody let in, and a host key that nobody knows.
        let stranger = client.keys.join("key");
        fs::write(client.keys.join("known_hosts"), "").unwrap();
        let complaint = client.head(&forge, &forge.url_ssh()).fails();
        assert!(complaint.contains("Host key verification failed"), "{complaint}");
        fs::write(client.keys.join("known_hosts"), forge.known_hosts()).unwrap();
        fs::remove_file(&stranger).unwrap();
        let made = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", stranger.to_str().unwrap()];
        lab.outside(&made).ok();
        let complaint = client.head(&forge, &forge.url_ssh()).fails();
        assert!(complaint.contains("Permission denied"), "{complaint}");
    }

    #[test]
    fn it_can_be_taken_away_frozen_and_slowed() {
        let lab = Lab::new();
        let forge = lab.forge();
        let host = lab.boot(Suite::Bookworm, "web-1");
        let client = Client::of(&lab, &forge);
        forge.push(&[("fleet.toml", "schema = 1\n")]);
        let (https, ssh) = (forge.url_https(), forge.url_ssh());
        assert!(host.reaches("git.example.org", 443) && host.reaches("git.example.org", 22));
        forge.stop();
        assert!(!host.reaches("git.example.org", 443) && !host.reaches("git.example.org", 22));
        client.head(&forge, &https).fails();
        client.head(&forge, &ssh).fails();
        forge.start();
        client.head(&forge, &https).ok();
        client.head(&forge, &ssh).ok();
        forge.freeze();
        assert!(host.reaches("git.example.org", 443), "the kernel still takes connections");
        client.git_within("2", &forge, &["ls-remote", &https]).fails();
        forge.thaw();
        client.head(&forge, &https).ok();
        // A megabyte that does not compress takes a quarter of an hour.
        forge.sh("head -c 1000000 /dev/urandom > /srv/work/noise").ok();
        forge.publish("noise");
        let copy = lab.folder("copies").join("slow");
        let clone = ["clone", "--quiet", &https, copy.to_str().unwrap()];
        forge.slow_down(9_000);
        client.git_within("3", &forge, &clone).fails();
        forge.speed_up();
        fs::remove_dir_all(&copy).ok();
        client.git(&forge, &clone).ok();
    }
}
