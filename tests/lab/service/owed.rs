//! Starts that packages ask for while their units are held back: each is made up for once the files are there, whatever
//! systemd remembers of it, after a first try that failed, and after the package was taken away and came again.

use crate::harness::{Archive, Deb, Host, Lab, Suite};
use crate::signals::{LIMIT, hold};

/// A unit that writes down what it finds in its settings at every start. Nothing refers to it: its package starts it with
/// a plain systemctl, says nothing to systemd when it goes, and has settings of its own.
fn vendor(name: &str, before: &str) -> Deb {
    let script = format!("#!/bin/sh\ncat /etc/{name}.conf >> /var/log/{name} 2>&1\nexec sleep infinity\n");
    let unit = format!("[Unit]\nDescription={name} of the lab\n[Service]\nExecStart=/usr/sbin/{name}\n");
    Deb::new(name, "1.0")
        .program(&format!("/usr/sbin/{name}"), &script)
        .conffile(&format!("/etc/{name}.conf"), "of the package\n")
        .file(&format!("/lib/systemd/system/{name}.service"), &unit)
        .postinst(before)
        .postinst(&format!("systemctl daemon-reload\nsystemctl start {name}.service\n"))
        .script("prerm", &format!("systemctl stop {name}.service || true\n"))
}

/// The same, by what Debian's packages do: enabled, and started by their helper.
fn debian(name: &str, before: &str) -> Deb {
    let script = format!("#!/bin/sh\ncat /etc/{name}.conf >> /var/log/{name} 2>&1\nexec sleep infinity\n");
    Deb::new(name, "1.0")
        .program(&format!("/usr/sbin/{name}"), &script)
        .conffile(&format!("/etc/{name}.conf"), "of the package\n")
        .postinst(before)
        .service(&format!("{name}.service"), &format!("/usr/sbin/{name}"))
}

/// Nobody says whether they run: their packages do.
fn role(names: &[&str]) -> String {
    let packages = names.iter().map(|name| format!("{name} = '*'\n")).collect::<String>();
    let services = names
        .iter()
        .map(|name| format!("{name} = {{ reload_on = ['file:/etc/{name}.conf'] }}\n"))
        .collect::<String>();
    let file = |name: &&str| format!("[files.'/etc/{name}.conf']\ncontent = \"declared\\n\"\n");
    format!("[packages]\n{packages}[services]\n{services}{}", names.iter().map(file).collect::<String>())
}

fn publish(archive: &mut Archive, host: &Host, debs: &[Deb]) {
    for deb in debs {
        archive.add(deb);
    }
    archive.publish(host);
}

fn is_active(host: &Host, unit: &str) -> bool {
    host.run(&["systemctl", "is-active", unit]).success()
}

/// What a service found at its starts.
fn found(host: &Host, name: &str) -> String {
    host.run(&["cat", &format!("/var/log/{name}")]).stdout
}

/// The lines that it found, each of which is the declared one.
#[track_caller]
fn runs_after_starts(host: &Host, name: &str, starts: usize) {
    host.wait_until(&format!("{name} runs"), LIMIT, || is_active(host, name));
    host.wait_until(&format!("{name} has written"), LIMIT, || found(host, name).lines().count() >= starts);
    assert_eq!(found(host, name), "declared\n".repeat(starts), "{name}");
}

#[track_caller]
fn rests_well(host: &Host) {
    host.wait_until("nothing is left to do", LIMIT, || host.run(&["agentctl", "sync"]).success());
    assert_eq!(host.sh("find /run/systemd/system -name '*agentd-hold*'").stdout, "");
}

fn a_package_that_comes_again(suite: Suite) {
    let lab = Lab::new();
    let host = lab.boot(suite, "web-1");
    let mut archive = lab.archive("shop");
    publish(&mut archive, &host, &[vendor("vendord", ""), debian("debiand", "")]);
    host.run(&["apt-get", "update"]).ok();
    let names = ["vendord", "debiand"];
    hold(&lab, &host, &role(&names));
    names.iter().for_each(|name| runs_after_starts(&host, name, 1));
    rests_well(&host);
    for (round, verb) in ["purge", "remove", "purge"].into_iter().enumerate() {
        for name in names {
            host.run(&["apt-get", verb, "--yes", "-o", "DPkg::Lock::Timeout=90", name]).ok();
            runs_after_starts(&host, name, round + 2);
        }
        rests_well(&host);
    }
}

#[test]
fn a_start_that_is_owed_survives_a_package_that_goes_and_comes_again_on_debian_12() {
    a_package_that_comes_again(Suite::Bookworm);
}

#[test]
fn a_start_that_is_owed_survives_a_package_that_goes_and_comes_again_on_debian_13() {
    a_package_that_comes_again(Suite::Trixie);
}

/// The first try ends before the scripts ask for the start; the unit is there by then, and at rest.
#[test]
fn a_start_that_is_asked_for_in_a_second_try_waits_for_the_files_as_well() {
    for suite in Suite::ALL {
        let lab = Lab::new();
        let host = lab.boot(suite, "web-1");
        let mut archive = lab.archive("shop");
        let fails = "if ! test -e /srv/go-on; then echo tried >> /srv/tries; exit 1; fi\n";
        publish(&mut archive, &host, &[vendor("vendord", fails), debian("debiand", fails)]);
        host.run(&["apt-get", "update"]).ok();
        host.sh("echo stop > /srv/tries").ok();
        let names = ["vendord", "debiand"];
        // It can't be held yet: the agent is told so, and tries again.
        crate::signals::declare(&lab, &host, &role(&names));
        host.wait_until("both failed", LIMIT, || host.read("/srv/tries").lines().count() > names.len());
        names.iter().for_each(|name| assert_eq!(found(&host, name), "", "{name}"));
        host.sh("touch /srv/go-on").ok();
        host.run(&["agentctl", "sync"]).code.expect("it answers");
        names.iter().for_each(|name| runs_after_starts(&host, name, 1));
        rests_well(&host);
    }
}
