//! A dpkg that was killed, an agent that was killed: the next pass ends with everything installed and dpkg content.

use super::{Report, SOON, Site, inside, shop};
use crate::harness::{Deb, Lab, Suite};

/// Kills the dpkg that runs this script, once.
const KILL_ONCE: &str = "if [ -e /root/kill ]; then rm /root/kill; kill -9 $PPID; sleep 60; fi\n";

/// Waits in the script until it is let go.
const WAIT: &str = "touch /run/reached\nwhile [ ! -e /run/go-on ]; do sleep 0.1; done\n";

#[test]
fn a_dpkg_killed_in_any_script_is_repaired_by_the_next_pass() {
    for suite in Suite::ALL {
        let lab = Lab::new();
        let site = Site::boot(&lab, suite);
        let mut archive = lab.archive("shop");
        let plain = |version: &str| {
            Deb::new("shopd", version)
                .file("/usr/share/shopd/data", version)
                .conffile("/etc/shopd.conf", &format!("version = {version}\n"))
        };
        archive.add(&plain("1.0"));
        let scripts = ["preinst", "postinst", "prerm", "postrm"];
        let versions = ["2.0", "3.0", "4.0", "5.0", "6.0"];
        // Each version kills dpkg in one of its scripts; those of removal run when the next one comes.
        for (version, script) in versions.iter().zip(scripts) {
            archive.add(&plain(version).script(script, KILL_ONCE));
        }
        archive.add(&plain("6.0")).publish(&site);
        site.refresh();
        site.converge("shopd = '1.0'");
        let mut seen = Vec::new();
        for (version, killed) in [("2.0", true), ("3.0", true), ("4.0", false), ("5.0", true), ("6.0", true)]
        {
            let declaration = format!("shopd = '{version}'");
            if killed {
                site.write("/root/kill", "");
            }
            let report = site.pass(&declaration);
            if killed {
                assert!(!site.exists("/root/kill"), "dpkg was killed: {report:#?}");
                assert!(!report.residual().is_empty(), "{version}: {report:#?}");
                seen.push(site.dpkg("shopd").split(' ').next().unwrap().to_owned());
                let report = site.pass(&declaration);
                report.converged();
            } else {
                report.converged();
            }
            assert_eq!(site.dpkg("shopd"), format!("ii  {version}"));
            assert_eq!(site.run(&["dpkg", "--audit"]).ok(), "");
            assert_eq!(site.read("/usr/share/shopd/data"), version);
            assert!(site.exists("/etc/shopd.conf"));
        }
        assert!(
            seen.contains(&"iHR".to_owned()) && seen.contains(&"iF".to_owned()),
            "the hard cases: {seen:?}"
        );
    }
}

#[test]
fn what_dpkg_left_half_way_in_a_first_installation_is_repaired() {
    let lab = Lab::new();
    let site = Site::boot(&lab, Suite::Bookworm);
    let mut archive = lab.archive("shop");
    archive.add(&Deb::new("shopd", "1.0").script("preinst", KILL_ONCE)).publish(&site);
    site.write("/root/kill", "");
    assert!(!site.pass("shopd = '*'").residual().is_empty());
    site.pass("shopd = '*'").converged();
    assert_eq!(site.dpkg("shopd"), "ii  1.0");
    assert_eq!(site.run(&["dpkg", "--audit"]).ok(), "");
}

#[test]
fn a_broken_package_that_nobody_declared_is_told_and_put_right_on_the_way() {
    let lab = Lab::new();
    let site = Site::boot(&lab, Suite::Bookworm);
    let mut archive = shop(&lab, &site);
    archive.add(&Deb::new("other", "1.0").script("preinst", KILL_ONCE)).publish(&site);
    site.refresh();
    site.write("/root/kill", "");
    site.run(&["apt-get", "install", "--yes", "other"]).fails();
    let report = site.pass("shop-extra = '*'");
    assert!(report.notes()[0].contains("other"), "{report:#?}");
    report.converged();
    assert_eq!((site.dpkg("other"), site.dpkg("shop-extra")), ("ii  1.0".into(), "ii  1.0".into()));
}

#[test]
fn an_agent_killed_in_the_middle_leaves_dpkg_alone_and_adopts_it_when_it_is_back() {
    for suite in Suite::ALL {
        let lab = Lab::new();
        let site = Site::boot(&lab, suite);
        let mut archive = lab.archive("shop");
        archive.add(&Deb::new("slowd", "1.0").postinst(WAIT)).publish(&site);
        site.refresh();
        site.write("/srv/driver/declaration.toml", "slowd = '*'\n");
        let start = ["systemd-run", "--quiet", "--collect", "--unit=agent"];
        site.run(&[&start[..], &inside::COMMAND].concat()).ok();
        site.wait_until("dpkg is in the middle", SOON, || site.exists("/run/reached"));
        site.run(&["systemctl", "kill", "--signal=KILL", "agent"]).ok();
        site.wait_until("the agent is gone", SOON, || {
            !site.run(&["systemctl", "is-active", "agent"]).success()
        });
        assert_eq!(site.run(&["pgrep", "-xc", "dpkg"]).ok().trim(), "1", "dpkg goes on");

        let output = std::fs::File::create(site.disk().join("srv/driver/second")).unwrap();
        drop(output);
        let second =
            ["systemd-run", "--quiet", "--unit=agent-2", "-p", "StandardOutput=file:/srv/driver/second"];
        site.run(&[&second[..], &inside::COMMAND].concat()).ok();
        // It waits for the running transaction and begins none of its own.
        site.wait_until("the second one waits", SOON, || {
            site.run(&[
                "busctl",
                "get-property",
                "org.freedesktop.systemd1",
                "/org/freedesktop/systemd1/unit/agentd_2dapt_2eservice",
                "org.freedesktop.systemd1.Unit",
                "Refs",
            ])
            .ok()
            .contains("1")
        });
        site.sh("touch /run/go-on").ok();
        site.wait_until("the second one is done", SOON, || {
            !site.run(&["systemctl", "is-active", "agent-2"]).success()
        });
        let report = Report::of_text(&site.read("/srv/driver/second"));
        report.converged();
        assert_eq!(site.dpkg("slowd"), "ii  1.0");
        let starts = site.sh("grep -c 'Setting up slowd' /var/log/agentd/apt.log").ok();
        assert_eq!(starts.trim(), "1", "installed once");
    }
}

#[test]
fn a_package_put_in_by_hand_without_its_dependencies_is_completed() {
    for suite in Suite::ALL {
        let lab = Lab::new();
        let site = Site::boot(&lab, suite);
        let _archive = shop(&lab, &site);
        site.refresh();
        site.run(&["dpkg", "--install", "/srv/apt/shop/shopd_1.0_all.deb"]).fails();
        assert_eq!(site.dpkg("shopd"), "iU  1.0");
        // Nobody declared it, and apt refuses everything else until it is mended.
        site.pass("shop-extra = '*'").converged();
        assert_eq!((site.dpkg("shopd"), site.dpkg("shop-data")), ("ii  1.0".into(), "ii  1.5".into()));
    }
}

/// apt believes its cache if dpkg's database has the same size and is of the same second.
#[test]
fn a_version_changed_by_hand_in_the_second_of_an_apt_run_is_seen() {
    for suite in Suite::ALL {
        let lab = Lab::new();
        let site = Site::boot(&lab, suite);
        let _archive = shop(&lab, &site);
        site.converge("shopd = '1.0'");
        let by_hand = "apt-cache policy shopd >/dev/null\n\
                       dpkg --install /srv/apt/shop/shopd_1.1_all.deb\n\
                       touch -r /var/cache/apt/pkgcache.bin /root/second\n\
                       touch -d @$(stat -c %Y /root/second) /var/lib/dpkg/status /var/cache/apt/pkgcache.bin\n";
        site.sh(by_hand).ok();
        site.converge("shopd = '1.0'");
        assert_eq!(site.dpkg("shopd"), "ii  1.0");
    }
}
