//! Packages on real Debian hosts: one transaction for everything declared, judged by dpkg's own tools.
//!
//! The kind runs inside the host, as the agent does: this very test program is copied there and started as a unit
//! with the name of [`in_the_host`], which reads a declaration and works on it until told what came of it.

use std::time::Duration;

use serde_json::Value as Json;

use crate::harness::{Archive, Deb, Host, Lab, Output, Suite};

mod asking;
mod beside;
mod inside;
mod locks;
mod repair;
mod services;

const SOON: Duration = Duration::from_secs(60);

/// What the kind found and did.
#[derive(Debug)]
struct Report(Json);

impl Report {
    fn of(output: &Output) -> Self {
        assert!(output.success(), "{output}");
        Report::of_text(&output.stdout)
    }

    fn of_text(text: &str) -> Self {
        let line = text.lines().find_map(|line| line.strip_prefix("report: "));
        Report(serde_json::from_str(line.unwrap_or_else(|| panic!("no report: {text}"))).unwrap())
    }

    /// The planned changes, as `name: line`.
    fn plan(&self) -> Vec<&str> {
        strings(&self.0["plan"])
    }

    /// What still differs afterwards.
    fn residual(&self) -> Vec<&str> {
        strings(&self.0["residual"])
    }

    fn notes(&self) -> Vec<&str> {
        strings(&self.0["notes"])
    }

    /// What came of each change: `name: done`, `name: failed …`, `name: waiting …`.
    fn outcomes(&self) -> Vec<&str> {
        strings(&self.0["outcomes"])
    }

    #[track_caller]
    fn converged(&self) {
        assert!(self.residual().is_empty(), "{self:#?}");
        assert!(self.outcomes().iter().all(|line| line.contains(": done")), "{self:#?}");
    }

    /// Exactly one outcome, and it has this code.
    #[track_caller]
    fn only(&self, verdict: &str, code: &str) {
        let outcomes = self.outcomes();
        let right = outcomes.len() == 1
            && outcomes[0].contains(&format!(": {verdict} "))
            && outcomes[0].contains(&format!("[{code}]"));
        assert!(right, "not {verdict} [{code}]: {self:#?}");
    }
}

fn strings(json: &Json) -> Vec<&str> {
    json.as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect()
}

/// A host with the kind in it.
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
    fn boot(lab: &Lab, suite: Suite) -> Self {
        let host = lab.boot(suite, "web-1");
        crate::inside::bring(&host);
        Site { host }
    }

    /// One look and one round of changes.
    fn pass(&self, declaration: &str) -> Report {
        self.pass_with(declaration, "HOLD_UNITS=")
    }

    /// The same, with declared units that must not start yet.
    fn pass_holding(&self, declaration: &str, units: &str) -> Report {
        self.pass_with(declaration, &format!("HOLD_UNITS={units}"))
    }

    /// The same, with a setting.
    fn pass_with(&self, declaration: &str, setting: &str) -> Report {
        self.write("/srv/driver/declaration.toml", declaration);
        let setting = format!("--setenv={setting}");
        let unit = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", &setting];
        Report::of(&self.run(&[&unit[..], &inside::COMMAND].concat()))
    }

    /// One that must put everything right, and leave nothing for a second one.
    #[track_caller]
    fn converge(&self, declaration: &str) -> Report {
        let report = self.pass(declaration);
        report.converged();
        let second = self.pass(declaration);
        assert!(second.plan().is_empty(), "the second pass plans something: {second:#?}");
        assert_eq!(second.0["quiet"], true, "a second look opens no file and starts no program");
        report
    }

    /// What dpkg says: `ii  1.0`, or `un` for what it does not know.
    fn dpkg(&self, package: &str) -> String {
        let asked = ["dpkg-query", "--show", "--showformat", "${db:Status-Abbrev} ${Version}", package];
        let said = self.run(&asked);
        if said.success() { said.stdout.trim().to_owned() } else { "un".to_owned() }
    }

    /// Publishes an archive that the host must fetch: a `file:` source is read in place.
    fn publish(&self, archive: &Archive) {
        archive.publish(&self.host);
        self.sh("sed -i s/file:/copy:/ /etc/apt/sources.list.d/*.list").ok();
    }

    fn refresh(&self) {
        self.run(&["apt-get", "update"]).ok();
    }
}

/// An archive with two versions of a small shop and what it needs.
fn shop(lab: &Lab, host: &Site) -> Archive {
    let mut archive = lab.archive("shop");
    for version in ["1.0", "1.1", "1:0.9"] {
        archive.add(&Deb::new("shopd", version).field("Depends", "shop-data (>= 1)"));
    }
    host.publish(archive.package("shop-data", "1.5").package("shop-extra", "1.0"));
    archive
}

#[test]
fn present_exact_minimum_and_absent_are_reached_in_one_pass() {
    for suite in Suite::ALL {
        let lab = Lab::new();
        let site = Site::boot(&lab, suite);
        let _archive = shop(&lab, &site);
        site.refresh();
        site.run(&["apt-get", "install", "--yes", "shop-extra"]).ok();
        let runs = || {
            let history = site.read("/var/log/apt/history.log");
            history.lines().filter(|line| line.starts_with("Commandline:")).count()
        };
        let before = runs();
        let declaration = "shopd = '1.0'\nshop-data = '>= 1.2'\nshop-extra = { ensure = 'absent' }\n";
        let report = site.converge(declaration);
        assert_eq!(runs() - before, 2, "one run for all that comes, one for what goes: {suite:?}");
        assert_eq!(report.plan().len(), 3, "{report:#?}");
        let noted: Vec<_> = report.outcomes();
        assert!(noted.contains(&"shopd: done (shopd absent → 1.0)"), "{noted:?}");
        assert!(noted.contains(&"shop-extra: done (shop-extra 1.0 → absent)"), "{noted:?}");
        assert_eq!((site.dpkg("shopd"), site.dpkg("shop-data")), ("ii  1.0".into(), "ii  1.5".into()));
        assert_eq!(site.dpkg("shop-extra"), "un");
        site.converge("shopd = '*'");
        assert_eq!(site.dpkg("shopd"), "ii  1.0", "any version is right, also an old one");
        site.converge("shopd = '>= 1.1'");
        assert_eq!(site.dpkg("shopd"), "ii  1:0.9", "the candidate");
        let log = site.run(&["stat", "-c", "%a %U", "/var/log/agentd/apt.log", "/var/log/agentd"]).ok();
        assert_eq!(log, "600 root\n700 root\n");
    }
}

#[test]
fn a_downgrade_is_made_if_its_version_is_declared_and_never_otherwise() {
    for suite in Suite::ALL {
        let lab = Lab::new();
        let site = Site::boot(&lab, suite);
        let mut archive = shop(&lab, &site);
        site.refresh();
        site.run(&["apt-get", "install", "--yes", "shopd=1:0.9"]).ok();
        let report = site.converge("shopd = '1.0'");
        assert_eq!(report.plan(), ["shopd: downgrade 1:0.9 → 1.0"]);
        assert_eq!(site.dpkg("shopd"), "ii  1.0");
        // What comes along may not be taken back.
        archive.add(&Deb::new("shop-front", "1.0").field("Depends", "shop-data (<< 1.5)"));
        site.publish(archive.package("shop-data", "1.2"));
        site.refresh();
        site.pass("shop-front = '*'").only("failed", "unsatisfiable");
        assert_eq!((site.dpkg("shop-data"), site.dpkg("shop-front")), ("ii  1.5".into(), "un".into()));
        site.converge("shop-front = '*'\nshop-data = '1.2'");
        assert_eq!((site.dpkg("shop-data"), site.dpkg("shop-front")), ("ii  1.2".into(), "ii  1.0".into()));
    }
}

#[test]
fn holds_are_set_ended_and_respected() {
    for suite in Suite::ALL {
        let lab = Lab::new();
        let site = Site::boot(&lab, suite);
        let _archive = shop(&lab, &site);
        site.refresh();
        site.converge("shopd = { version = '1.0', hold = true }");
        assert_eq!(site.dpkg("shopd"), "hi  1.0");
        assert_eq!(site.run(&["apt-mark", "showhold"]).ok(), "shopd\n");
        site.run(&["apt-get", "upgrade", "--yes"]).ok();
        assert_eq!(site.dpkg("shopd"), "hi  1.0", "it holds against an upgrade");
        site.converge("shopd = { version = '1.1', hold = true }");
        assert_eq!(site.dpkg("shopd"), "hi  1.1", "a declared version is installed and held again");
        site.pass("shopd = '1:0.9'").only("failed", "held");
        site.pass("shopd = { ensure = 'absent' }").only("failed", "held");
        assert_eq!(site.dpkg("shopd"), "hi  1.1", "a hold that nobody declared is someone's wish");
        site.converge("shopd = { version = '1:0.9', hold = false }");
        assert_eq!(site.dpkg("shopd"), "ii  1:0.9");
    }
}

#[test]
fn what_is_not_in_the_archive_is_told_and_the_others_go_on() {
    for suite in Suite::ALL {
        let lab = Lab::new();
        let site = Site::boot(&lab, suite);
        let mut archive = shop(&lab, &site);
        site.publish(archive.add(&Deb::new("shop-mta", "1.0").field("Provides", "shop-transport")));
        // No index at all yet: it is fetched because the packages aren't known.
        site.sh("rm -rf /var/lib/apt/lists/*").ok();
        let report = site.pass("shopd = '7.0'\nshop-extra = '*'\nnosuch = '*'\n'shop.data' = '*'\nshop-transport = '*'\n'shop-data' = '>= 9'");
        let outcomes = report.outcomes();
        let told = |name: &str, part: &str| {
            assert!(
                outcomes.iter().any(|line| line.starts_with(name) && line.contains(part)),
                "{name}: {outcomes:#?}"
            );
        };
        told("shop-extra:", "done (shop-extra absent → 1.0)");
        told("shopd:", "shopd 7.0 is in no apt source of this host, which has 1:0.9, 1.1, 1.0");
        told("shopd:", "[version-not-in-archive]");
        told("shop-data:", "[version-not-in-archive]");
        told("nosuch:", "[no-such-package]");
        told("shop.data:", "[no-such-package]");
        told("shop-transport:", "[no-candidate]");
        assert_eq!((site.dpkg("shop-extra"), site.dpkg("shop-data")), ("ii  1.0".into(), "un".into()));

        // A version that is withdrawn and one that comes, with an index that knows neither.
        site.converge("shopd = '1.0'");
        archive.withdraw("shopd", "1.1");
        site.publish(archive.package("shopd", "1.2"));
        let report = site.pass("shopd = '1.1'");
        report.only("failed", "version-not-in-archive");
        assert_eq!(site.dpkg("shopd"), "ii  1.0");
        site.converge("shopd = '1.2'");
    }
}

#[test]
fn an_index_that_is_old_is_fetched_before_a_change_and_only_then() {
    for suite in Suite::ALL {
        let lab = Lab::new();
        let site = Site::boot(&lab, suite);
        let mut archive = shop(&lab, &site);
        site.refresh();
        site.publish(archive.package("shop-extra", "2.0"));
        site.converge("shop-extra = '*'");
        assert_eq!(site.dpkg("shop-extra"), "ii  1.0", "the index is fresh enough");
        site.run(&["apt-get", "remove", "--yes", "shop-extra"]).ok();
        site.sh("touch -d '2 days ago' /var/lib/apt/lists /var/lib/apt/lists/partial").ok();
        site.converge("shop-extra = '*'");
        assert_eq!(site.dpkg("shop-extra"), "ii  2.0", "a day is the limit");
        // An index that was asked for and had not changed is as good as a new one.
        site.sh("touch -d '2 days ago' /var/lib/apt/lists /var/lib/apt/lists/partial").ok();
        site.run(&["apt-get", "remove", "--yes", "shop-extra"]).ok();
        site.converge("shop-extra = '*'");
        let fresh = "find /var/lib/apt/lists /var/lib/apt/lists/partial -maxdepth 0 -mmin -60";
        assert_ne!(site.sh(fresh).ok(), "");
    }
}

#[test]
fn a_changed_conffile_is_kept_and_nobody_is_asked() {
    for suite in Suite::ALL {
        let lab = Lab::new();
        let site = Site::boot(&lab, suite);
        let shopd = |version: &str, port: &str| {
            Deb::new("shopd", version).conffile("/etc/shopd.conf", &format!("port = {port}\n"))
        };
        let mut archive = lab.archive("shop");
        site.publish(archive.add(&shopd("1.0", "80")));
        site.converge("shopd = '1.0'");
        site.write("/etc/shopd.conf", "port = 8080\n");
        site.publish(archive.add(&shopd("1.1", "443")));
        site.converge("shopd = '1.1'");
        assert_eq!(site.read("/etc/shopd.conf"), "port = 8080\n");
        assert_eq!(site.dpkg("shopd"), "ii  1.1");
        site.converge("shopd = { ensure = 'absent' }");
        assert_eq!(site.dpkg("shopd"), "rc  1.1", "removed, not purged");
        site.converge("shopd = { ensure = 'absent', purge = true }");
        assert_eq!(site.dpkg("shopd"), "un");
        assert!(!site.exists("/etc/shopd.conf"));
    }
}

#[test]
fn a_package_that_asks_gets_no_answer_and_does_not_hang() {
    let lab = Lab::new();
    let site = Site::boot(&lab, Suite::Bookworm);
    let mut archive = lab.archive("shop");
    let asks =
        "if read -r answer; then exit 9; fi\ntty && exit 8\n[ \"$DEBIAN_FRONTEND\" = noninteractive ]\n";
    site.publish(archive.add(&Deb::new("askd", "1.0").postinst(asks)));
    site.converge("askd = '*'");
}

#[test]
fn a_script_that_fails_fails_its_package_and_no_other() {
    for suite in Suite::ALL {
        let lab = Lab::new();
        let site = Site::boot(&lab, suite);
        let mut archive = shop(&lab, &site);
        site.publish(archive.add(&Deb::new("brokend", "1.0").postinst("echo the sky fell >&2\nexit 3\n")));
        let report = site.pass("brokend = '*'\nshopd = '1.0'");
        let outcomes = report.outcomes();
        assert!(
            outcomes[0].starts_with("brokend: failed the post-installation script of brokend failed"),
            "{outcomes:#?}"
        );
        assert!(
            outcomes[0].contains("the sky fell") && outcomes[0].contains("[script-failed]"),
            "{outcomes:#?}"
        );
        assert_eq!(outcomes[1], "shopd: done (shopd absent → 1.0)");
        assert_eq!(site.dpkg("brokend"), "iF  1.0");
        // Still broken at the next pass, and still told by its cause; what else is declared goes on.
        let report = site.pass("brokend = '*'\nshopd = '1.1'");
        assert_eq!(report.plan()[0], "brokend: repair: dpkg left it half-configured");
        assert!(report.outcomes()[0].contains("[script-failed]"), "{report:#?}");
        assert_eq!(site.dpkg("shopd"), "ii  1.1");
        // A version that works puts it right.
        site.publish(archive.add(&Deb::new("brokend", "1.1")));
        site.refresh();
        site.converge("brokend = '*'\nshopd = '1.1'");
        assert_eq!(site.dpkg("brokend"), "ii  1.1");
    }
}

#[test]
fn a_solution_that_removes_what_nobody_declared_absent_is_refused() {
    for suite in Suite::ALL {
        let lab = Lab::new();
        let site = Site::boot(&lab, suite);
        let mut archive = shop(&lab, &site);
        site.publish(archive.add(&Deb::new("shop-light", "1.0").field("Conflicts", "shopd")));
        site.converge("shopd = '1.0'");
        let report = site.pass("shop-light = '*'\nshop-extra = '*'");
        let outcomes = report.outcomes();
        assert!(
            outcomes[1].contains("apt would remove shopd") && outcomes[1].contains("[would-remove]"),
            "{outcomes:#?}"
        );
        assert_eq!(outcomes[0], "shop-extra: done (shop-extra absent → 1.0)");
        assert_eq!(site.dpkg("shopd"), "ii  1.0");
        // Nor does a removal take along what depends on it.
        site.pass("shop-data = { ensure = 'absent' }").only("failed", "would-remove");
        assert_eq!((site.dpkg("shopd"), site.dpkg("shop-data")), ("ii  1.0".into(), "ii  1.5".into()));
        // Declared, it is one transaction.
        site.converge("shop-light = '*'\nshopd = { ensure = 'absent' }");
        assert_eq!((site.dpkg("shopd"), site.dpkg("shop-light")), ("un".into(), "ii  1.0".into()));
        site.pass("dpkg = { ensure = 'absent' }").only("failed", "essential");
    }
}

#[test]
fn pruning_removes_what_the_declaration_dropped() {
    for suite in Suite::ALL {
        let lab = Lab::new();
        let site = Site::boot(&lab, suite);
        let _archive = shop(&lab, &site);
        site.converge("shopd = '1.0'\nshop-extra = '*'");
        site.write("/srv/driver/prune", "shopd\n");
        let report = site.converge("shop-extra = '*'");
        assert_eq!(report.plan(), ["shopd: remove 1.0, keeping its configuration files"]);
        assert_eq!((site.dpkg("shopd"), site.dpkg("shop-data")), ("un".into(), "ii  1.5".into()));
    }
}

#[test]
fn a_source_that_is_not_trusted_is_named() {
    for suite in Suite::ALL {
        let lab = Lab::new();
        let site = Site::boot(&lab, suite);
        let _archive = shop(&lab, &site);
        site.sh("echo broken > /etc/apt/keyrings/shop.asc; rm -rf /var/lib/apt/lists/*").ok();
        site.pass("shopd = '1.0'").only("failed", "signature");
        assert_eq!(site.dpkg("shopd"), "un");
    }
}

#[test]
fn a_script_that_hangs_is_ended_and_its_package_repaired_by_a_better_version() {
    let lab = Lab::new();
    let site = Site::boot(&lab, Suite::Bookworm);
    let mut archive = lab.archive("shop");
    site.publish(archive.add(&Deb::new("hangd", "1.0").postinst("exec sleep 1000000\n")));
    site.refresh();
    site.pass_with("hangd = '*'", "TIME_LIMIT=3").only("failed", "timed-out");
    assert!(!site.run(&["pgrep", "-x", "dpkg"]).success(), "nothing is left running");
    assert_eq!(site.dpkg("hangd"), "iF  1.0");
    site.publish(archive.package("hangd", "1.1"));
    site.refresh();
    // The old script hangs once more in the ladder, and the version that does not is not reached behind it.
    let report = site.pass_with("hangd = '1.1'", "TIME_LIMIT=3");
    assert!(report.residual().is_empty(), "{report:#?}");
    assert_eq!(site.dpkg("hangd"), "ii  1.1");
}

#[test]
fn a_full_disk_is_told_and_the_work_is_done_when_there_is_room() {
    for suite in Suite::ALL {
        let lab = Lab::new();
        let site = Site::boot(&lab, suite);
        let mut archive = lab.archive("shop");
        let noise: String = (0..200_000u32).map(|n| format!("{:x}", n.wrapping_mul(2_654_435_761))).collect();
        site.publish(archive.add(&Deb::new("bigd", "1.0").file("/usr/share/bigd/noise", &noise)));
        site.refresh();
        site.sh(
            "mount -t tmpfs -o size=256k tmpfs /var/cache/apt/archives && mkdir /var/cache/apt/archives/partial",
        )
        .ok();
        site.pass("bigd = '*'").only("failed", "disk-full");
        assert_eq!(site.dpkg("bigd"), "un");
        site.run(&["umount", "/var/cache/apt/archives"]).ok();
        site.converge("bigd = '*'");
    }
}
