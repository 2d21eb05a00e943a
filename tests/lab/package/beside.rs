//! What real hosts have beside the agent: archives that went stale, needrestart, unattended-upgrades, a second
//! architecture, configuration files that somebody wrote.

use std::time::Duration;

use super::{SOON, Site};
use crate::harness::{Archive, Deb, Lab, Suite};

/// Debian's own, with what they need; the list that other tests download, too.
const DEBIAN: [&str; 5] = ["openssh-server", "sudo", "unattended-upgrades", "needrestart", "chrony"];

#[test]
fn an_archive_whose_release_file_expired_is_named_and_nothing_is_installed_from_it() {
    let lab = Lab::new();
    for suite in Suite::ALL {
        let site = Site::boot(&lab, suite);
        let mut archive = lab.archive(&format!("old-{}", suite.name()));
        archive.package("shopd", "1.0").signed_ago(Duration::from_secs(30 * 24 * 3600));
        site.publish(&archive);
        let report = site.pass("shopd = '*'");
        report.only("failed", "expired");
        assert!(report.outcomes()[0].contains("expired"), "{report:?}");
        assert_eq!(site.dpkg("shopd"), "un");
        // Signed anew, it is taken at the next look.
        site.publish(archive.signed_ago(Duration::ZERO));
        site.converge("shopd = '*'");
        assert_eq!(site.dpkg("shopd"), "ii  1.0");
        // Old again: what is there stays there, and is as declared.
        site.publish(archive.signed_ago(Duration::from_secs(30 * 24 * 3600)));
        site.converge("shopd = '*'");
        assert_eq!(site.dpkg("shopd"), "ii  1.0");
    }
}

#[test]
fn a_package_of_a_foreign_architecture_is_one_of_its_own() {
    let lab = Lab::new();
    for suite in Suite::ALL {
        let site = Site::boot(&lab, suite);
        let mut archive = lab.archive(&format!("two-{}", suite.name()));
        for architecture in ["amd64", "i386"] {
            let file = format!("/usr/lib/shop/{architecture}");
            let deb = Deb::new("shop-lib", "1.0").architecture(architecture).field("Multi-Arch", "same");
            archive.add(&deb.file(&file, "a library\n"));
        }
        site.publish(&archive);
        let both = "shop-lib = '*'\n'shop-lib:i386' = '1.0'";
        let report = site.pass("'shop-lib:i386' = '1.0'");
        report.only("failed", "foreign-architecture");
        assert!(report.outcomes()[0].contains("dpkg --add-architecture i386"), "{report:?}");
        site.run(&["dpkg", "--add-architecture", "i386"]).ok();
        site.refresh();
        site.converge(both);
        assert_eq!(
            (site.dpkg("shop-lib:amd64"), site.dpkg("shop-lib:i386")),
            ("ii  1.0".into(), "ii  1.0".into())
        );
        site.run(&["apt-get", "remove", "--yes", "shop-lib:i386"]).ok();
        let report = site.converge(both);
        assert_eq!(report.plan().len(), 1, "{report:?}");
        assert!(site.exists("/usr/lib/shop/i386"));
        site.converge("shop-lib = '*'\n'shop-lib:i386' = { ensure = 'absent', purge = true }");
        assert_eq!(
            (site.dpkg("shop-lib:amd64"), site.exists("/usr/lib/shop/i386")),
            ("ii  1.0".into(), false)
        );
    }
}

/// A service whose program is replaced under it by every version: what needrestart looks for.
fn shop(version: &str) -> Deb {
    Deb::new("shopd", version)
        .file("/lib/systemd/system/shopd.service", "[Service]\nExecStart=/usr/lib/shop/run infinity\n")
        .postinst(
            "mkdir -p /usr/lib/shop; cp /bin/sleep /usr/lib/shop/new; mv -f /usr/lib/shop/new /usr/lib/shop/run\n\
             systemctl daemon-reload\n",
        )
}

#[test]
fn needrestart_restarts_nothing_after_the_agents_runs() {
    let lab = Lab::new();
    let forge = lab.forge();
    for suite in Suite::ALL {
        let site = Site::boot(&lab, suite);
        let debian = Archive::of_debian(&lab, suite, &DEBIAN);
        debian.publish_on(&forge);
        debian.name_source_on(&site.host);
        let mut archive = lab.archive(&format!("shop-{}", suite.name()));
        archive.add(&shop("1.0")).add(&shop("1.1")).add(&shop("1.2"));
        site.publish(&archive);
        site.refresh();
        site.run(&["apt-get", "install", "--yes", "needrestart", "shopd=1.0"]).ok();
        // As operators have it who want no questions.
        site.write(
            "/etc/needrestart/conf.d/lab.conf",
            "$nrconf{restart} = 'a';\n$nrconf{kernelhints} = 0;\n",
        );
        site.run(&["systemctl", "start", "shopd"]).ok();
        let pid = || site.run(&["systemctl", "show", "--property=MainPID", "--value", "shopd"]).ok();
        let first = pid();
        site.converge("shopd = '1.1'");
        assert_eq!(site.dpkg("shopd"), "ii  1.1");
        assert_eq!(pid(), first, "{}: restarts are the declaration's business", suite.name());
        // It does restart after a run of a person's, or the above would prove nothing.
        site.run(&["apt-get", "install", "--yes", "shopd=1.2"]).ok();
        assert_ne!(pid(), first, "{}: needrestart is at work", suite.name());
    }
}

#[test]
fn unattended_upgrades_is_waited_for_and_named() {
    let lab = Lab::new();
    let forge = lab.forge();
    for suite in Suite::ALL {
        let site = Site::boot(&lab, suite);
        let debian = Archive::of_debian(&lab, suite, &DEBIAN);
        debian.publish_on(&forge);
        debian.name_source_on(&site.host);
        let mut archive = lab.archive(&format!("slow-{}", suite.name()));
        let wait = "touch /srv/begun; while ! test -e /srv/go; do sleep 0.1; done\n";
        archive.package("shop-slow", "1.0").package("shopd", "1.0");
        site.publish(&archive);
        site.refresh();
        site.run(&["apt-get", "install", "--yes", "unattended-upgrades", "shop-slow"]).ok();
        archive.add(&Deb::new("shop-slow", "2.0").postinst(wait));
        site.publish(&archive);
        site.refresh();
        site.write("/etc/apt/apt.conf.d/60lab", "Unattended-Upgrade::Origins-Pattern { \"origin=Lab\"; };\n");
        site.run(&["systemd-run", "--quiet", "--unit=upgrades", "--", "unattended-upgrade"]).ok();
        site.wait_until("it is in the middle of an upgrade", SOON, || site.exists("/srv/begun"));
        let report = site.pass("shopd = '*'");
        assert_eq!((report.plan().len(), report.outcomes().len()), (1, 0), "it is waited for: {report:?}");
        assert!(report.plan()[0].contains("waiting for the end of a running transaction"), "{report:?}");
        assert!(report.plan()[0].contains("unattended-upgr"), "{report:?}");
        assert_eq!(site.dpkg("shopd"), "un");
        site.write("/srv/go", "");
        site.wait_until("it has ended", SOON, || {
            !site.run(&["systemctl", "is-active", "upgrades"]).success()
        });
        assert_eq!(site.dpkg("shop-slow"), "ii  2.0", "it was not disturbed");
        site.converge("shopd = '*'");
        assert_eq!(site.dpkg("shopd"), "ii  1.0");
    }
}

#[test]
fn what_a_purge_takes_away_is_kept_first() {
    let lab = Lab::new();
    for suite in Suite::ALL {
        let site = Site::boot(&lab, suite);
        let mut archive = lab.archive(&format!("conf-{}", suite.name()));
        let deb = Deb::new("shopd", "1.0").conffile("/etc/shop/shop.conf", "as shipped\n");
        archive.add(&deb.conffile("/etc/shop/other.conf", "as shipped, too\n"));
        site.publish(&archive);
        site.converge("shopd = '*'");
        site.write("/etc/shop/shop.conf", "a night's work\n");
        site.sh("chmod 640 /etc/shop/shop.conf; rm /etc/shop/other.conf; echo before > /etc/shop/shop.conf.dpkg-old").ok();
        // With its folder in the way it can't be kept: then it isn't purged.
        let report = site.pass_with("shopd = { ensure = 'absent', purge = true }", "KEEP_BYTES=4");
        report.only("failed", "not-kept");
        assert_eq!(
            (site.dpkg("shopd"), site.read("/etc/shop/shop.conf")),
            ("ii  1.0".into(), "a night's work\n".into())
        );
        let report = site.converge("shopd = { ensure = 'absent', purge = true }");
        assert_eq!(site.dpkg("shopd"), "un");
        assert!(!site.exists("/etc/shop/shop.conf"));
        let kept: Vec<&str> =
            report.0["kept"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
        assert_eq!(
            kept,
            ["/etc/shop/shop.conf 0640 a night's work", "/etc/shop/shop.conf.dpkg-old 0644 before"]
        );
    }
}
