//! Packages on real Debian hosts: one transaction for everything declared, judged by dpkg's own tools.
//!
//! The kind runs inside the host, as the agent does: this very test program is copied there and started as a unit
//! with the name of [`in_the_host`], which reads a declaration and works on it until told what came of it.

use std::time::Duration;

use serde_json::Value as Json;

use crate::harness::{Deb, Host, Lab, Output, Suite};

mod inside;

const SOON: Duration = Duration::from_secs(60);

/// What the kind found and did.
#[derive(Debug)]
struct Report(Json);

impl Report {
    fn of(output: &Output) -> Self {
        let line = output.stdout.lines().find_map(|line| line.strip_prefix("report: "));
        Report(serde_json::from_str(line.unwrap_or_else(|| panic!("no report: {output}"))).unwrap())
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
        let program = std::env::current_exe().unwrap();
        let folder = host.disk().join("srv/driver");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::copy(program, folder.join("driver")).unwrap();
        Site { host }
    }

    /// One look and one round of changes.
    fn pass(&self, declaration: &str) -> Report {
        self.pass_holding(declaration, "")
    }

    /// The same, with declared units that must not start yet.
    fn pass_holding(&self, declaration: &str, units: &str) -> Report {
        self.write("/srv/driver/declaration.toml", declaration);
        let hold = format!("--setenv=HOLD_UNITS={units}");
        let unit = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", &hold];
        Report::of(&self.run(&[&unit[..], &inside::COMMAND].concat()))
    }

    /// One that must put everything right, and leave nothing for a second one.
    #[track_caller]
    fn converge(&self, declaration: &str) -> Report {
        let report = self.pass(declaration);
        report.converged();
        let second = self.pass(declaration);
        assert!(second.plan().is_empty(), "the second pass plans something: {second:#?}");
        report
    }

    /// What dpkg says: `ii  1.0`, or `un` for what it does not know.
    fn dpkg(&self, package: &str) -> String {
        let asked = ["dpkg-query", "--show", "--showformat", "${db:Status-Abbrev} ${Version}", package];
        let said = self.run(&asked);
        if said.success() { said.stdout.trim().to_owned() } else { "un".to_owned() }
    }

    fn refresh(&self) {
        self.run(&["apt-get", "update"]).ok();
    }
}

/// An archive with two versions of a small shop and what it needs.
fn shop(lab: &Lab, host: &Host) -> crate::harness::Archive {
    let mut archive = lab.archive("shop");
    for version in ["1.0", "1.1", "1:0.9"] {
        archive.add(&Deb::new("shopd", version).field("Depends", "shop-data (>= 1)"));
    }
    archive.package("shop-data", "1.5").package("shop-extra", "1.0").publish(host);
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
        let declaration = "shopd = '1.0'\nshop-data = '>= 1.2'\nshop-extra = { ensure = 'absent' }\n";
        let report = site.converge(declaration);
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
