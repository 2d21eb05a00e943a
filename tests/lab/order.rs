//! What comes before what on a host that is held: the firewall is in force before any package is unpacked, the source
//! of packages is there before them, a package brings the account that a file belongs to, and no service starts before
//! its files are there, however its package goes about it.

use crate::harness::{Deb, Host, Lab, Suite};
use crate::signals::{LIMIT, hold, status};

/// A service that writes down what it finds in its settings at every start. Its package has settings of its own, makes
/// an account, and starts it.
fn daemon(name: &str) -> Deb {
    let script = format!("#!/bin/sh\ncat /etc/{name}.conf >> /var/log/{name} 2>&1\nexec sleep infinity\n");
    Deb::new(name, "1.0")
        .program(&format!("/usr/sbin/{name}"), &script)
        .conffile(&format!("/etc/{name}.conf"), "of the package\n")
        .postinst(&format!(
            "id -u {name} > /dev/null 2>&1 || useradd --system {name}\n\
             nft list table inet agentd > /var/log/{name}.rules 2>&1 || :\n"
        ))
        .service(&format!("{name}.service"), &format!("/usr/sbin/{name}"))
}

/// A declared state; the package's own word; that, too, with something to react to; and one that is to rest.
const SERVICES: [(&str, &str); 4] = [
    ("stated", "enabled = true, state = 'running'"),
    ("wanted", "enabled = true"),
    ("reacts", "reload_on = ['file:/etc/reacts.conf']"),
    ("rests", "enabled = false, state = 'stopped'"),
];

/// Where the packages come from, as a declared file.
const SOURCE: &str = "/etc/apt/sources.list.d/shop.list";

fn role(source: &str) -> String {
    let names = SERVICES.map(|(name, _)| name);
    let packages = names.map(|name| format!("{name} = '*'\n")).concat();
    let services = SERVICES.map(|(name, words)| format!("{name} = {{ {words} }}\n")).concat();
    let file = |name: &str| {
        format!(
            "[files.'/etc/{name}.conf']\ncontent = \"declared\\n\"\nowner = '{name}'\ngroup = '{name}'\nmode = '0640'\n"
        )
    };
    format!(
        "[packages]\n{packages}[services]\n{services}{}[files.'{SOURCE}']\ncontent = '''{source}'''\n\
         [firewall]\ninput = 'drop'\n[firewall.rules.ssh]\nallow = ['tcp/22']\n",
        names.map(file).concat()
    )
}

fn is_active(host: &Host, unit: &str) -> bool {
    host.run(&["systemctl", "is-active", unit]).success()
}

/// What a service found at its starts.
fn found(host: &Host, name: &str) -> String {
    host.run(&["cat", &format!("/var/log/{name}")]).stdout
}

fn rests_well(host: &Host) {
    host.wait_until("nothing is left to do", LIMIT, || host.run(&["agentctl", "status"]).success());
    assert_eq!(host.sh("find /run/systemd/system -name '*agentd-hold*'").stdout, "");
    let names = SERVICES.map(|(name, _)| name);
    let stale = ["systemctl", "show", "--value", "--property=NeedDaemonReload"];
    let stale = host.run(&[&stale[..], &names].concat()).ok();
    assert!(!stale.contains("yes"), "{stale}");
}

#[test]
fn no_service_starts_before_its_files_and_no_file_before_its_owner_is_there() {
    for suite in Suite::ALL {
        let lab = Lab::new();
        let host = lab.boot(suite, "web-1");
        let mut archive = lab.archive("shop");
        for (name, _) in SERVICES {
            archive.add(&daemon(name));
        }
        archive.publish(&host);
        let source = host.read(SOURCE);
        host.run(&["rm", SOURCE]).ok();
        hold(&lab, &host, &role(&source));
        for name in ["stated", "wanted", "reacts"] {
            host.wait_until(&format!("{name} runs"), LIMIT, || is_active(&host, name));
            assert_eq!(found(&host, name), "declared\n", "{name} was started once, with its declared file");
        }
        rests_well(&host);
        assert!(!is_active(&host, "rests"));
        assert_eq!(found(&host, "rests"), "", "it never ran");
        for (name, _) in SERVICES {
            let rules = host.read(&format!("/var/log/{name}.rules"));
            assert!(rules.contains("dport 22"), "in force when {name} was configured: {rules}");
            let file = host.run(&["stat", "-c", "%U:%G %a", &format!("/etc/{name}.conf")]).ok();
            assert_eq!(file.trim(), format!("{name}:{name} 640"));
        }
        // Nobody asked, and the next full pass is an hour away.
        let passes = status(&host)["last_pass"]["id"].as_u64().unwrap();
        assert!(passes <= 5, "{passes} passes");

        // Taken away by hand, settings and all: they come back in the same order.
        host.run(&["systemctl", "stop", "wanted"]).ok();
        for name in ["stated", "reacts"] {
            host.run(&["apt-get", "purge", "--yes", "-o", "DPkg::Lock::Timeout=60", name]).ok();
            host.wait_until(&format!("{name} runs again"), LIMIT, || is_active(&host, name));
            assert_eq!(found(&host, name), "declared\ndeclared\n", "{name}");
        }
        rests_well(&host);
        assert!(
            !is_active(&host, "wanted"),
            "nobody declared that it runs, and its package did not ask again"
        );
        assert_eq!(found(&host, "rests"), "");
    }
}
