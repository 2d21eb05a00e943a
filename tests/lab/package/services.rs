//! Declared units are not started by a package's own scripts before their files are there.

use super::Site;
use crate::harness::{Deb, Lab, Suite};

fn active(site: &Site, unit: &str) -> String {
    site.run(&["systemctl", "is-active", unit]).stdout.trim().to_owned()
}

#[test]
fn a_held_unit_is_not_started_by_any_means_and_starts_when_it_is_free() {
    for suite in Suite::ALL {
        let lab = Lab::new();
        let site = Site::boot(&lab, suite);
        let mut archive = lab.archive("shop");
        // By Debian's helper, and by a plain systemctl whose failure would break the package.
        archive
            .add(&Deb::new("shopd", "1.0").service("shopd.service", "/bin/sleep infinity"))
            .add(
                &Deb::new("vendord", "1.0")
                    .service("vendord.service", "/bin/sleep infinity")
                    .postinst("systemctl restart vendord.service\nsystemctl start vendord\n"),
            )
            .add(&Deb::new("freed", "1.0").service("freed.service", "/bin/sleep infinity"))
            .publish(&site);
        let declaration = "shopd = '*'\nvendord = '*'\nfreed = '*'";
        let report = site.pass_holding(declaration, "shopd.service vendord.service");
        report.converged();
        assert_eq!([active(&site, "shopd"), active(&site, "vendord")], ["inactive", "inactive"]);
        assert_eq!(active(&site, "freed"), "active", "nobody declared it");
        let enabled = site.run(&["systemctl", "is-enabled", "shopd", "vendord"]).ok();
        assert_eq!(enabled, "enabled\nenabled\n", "it is held from starting and from nothing else");
        assert!(!site.exists("/run/systemd/system/shopd.service.d"), "nothing stays behind");
        let reload = ["systemctl", "show", "--property=NeedDaemonReload", "--value", "shopd"];
        assert_eq!(site.run(&reload).ok().trim(), "no");
        site.run(&["systemctl", "start", "shopd"]).ok();
        assert_eq!(active(&site, "shopd"), "active");

        // One that runs is restarted by its upgrade, held or not; one that does not run stays so.
        let pid = site.run(&["systemctl", "show", "--property=MainPID", "--value", "shopd"]).ok();
        archive
            .add(&Deb::new("shopd", "1.1").service("shopd.service", "/bin/sleep infinity"))
            .add(&Deb::new("vendord", "1.1").service("vendord.service", "/bin/sleep infinity"))
            .publish(&site);
        site.refresh();
        let report = site.pass_holding("shopd = '1.1'\nvendord = '1.1'", "shopd.service vendord.service");
        report.converged();
        let now = site.run(&["systemctl", "show", "--property=MainPID", "--value", "shopd"]).ok();
        assert_ne!(now, pid, "restarted");
        assert_eq!([active(&site, "shopd"), active(&site, "vendord")], ["active", "inactive"]);
    }
}

#[test]
fn a_hold_ends_with_the_transaction_even_if_the_agent_is_gone() {
    let lab = Lab::new();
    let site = Site::boot(&lab, Suite::Bookworm);
    let mut archive = lab.archive("shop");
    let wait = "touch /run/reached\nwhile [ ! -e /run/go-on ]; do sleep 0.1; done\n";
    archive
        .add(&Deb::new("shopd", "1.0").service("shopd.service", "/bin/sleep infinity").postinst(wait))
        .publish(&site);
    site.refresh();
    site.write("/srv/driver/declaration.toml", "shopd = '*'\n");
    let start = ["systemd-run", "--quiet", "--collect", "--unit=agent", "--setenv=HOLD_UNITS=shopd.service"];
    site.run(&[&start[..], &super::inside::COMMAND].concat()).ok();
    site.wait_until("dpkg is in the middle", super::SOON, || site.exists("/run/reached"));
    site.run(&["systemctl", "kill", "--signal=KILL", "agent"]).ok();
    site.run(&["systemctl", "start", "shopd"]).ok();
    assert_eq!(active(&site, "shopd"), "inactive", "still held");
    site.sh("touch /run/go-on").ok();
    site.wait_until("the transaction ends", super::SOON, || active(&site, "agentd-apt") == "inactive");
    site.run(&["systemctl", "start", "shopd"]).ok();
    assert_eq!(active(&site, "shopd"), "active", "free, with the drop-in still there");
}
