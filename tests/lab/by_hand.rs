//! What people do by hand on a host that is held, one deed after the other, and whether it is undone: files,
//! services, rules and packages. The agent looks at everything once an hour only, so every deed must be noticed; and
//! what was done and undone is asked of the host's own tools.
//!
//! Almost every deed has a resource of its own: one that is changed again and again is left for longer and longer.

use crate::harness::{Archive, Host, Lab, Suite};
use crate::signals::{LIMIT, hold, ship};

/// A file that is managed, and a deed with it, which finds its name as `$F`.
struct Deed {
    what: &'static str,
    file: &'static str,
    script: &'static str,
}

const FILES: [Deed; 15] = [
    Deed { what: "redirect", file: "redirect", script: "echo by hand > $F" },
    Deed { what: "append", file: "append", script: "echo by hand >> $F" },
    Deed {
        what: "editor that writes in place",
        file: "in-place",
        script: "vim.tiny -u NONE -es -c 'set nowritebackup backupcopy=yes' -c '%s/held/by hand/' -c wq $F",
    },
    Deed {
        what: "editor that renames",
        file: "renamed",
        script: "vim.tiny -u NONE -es -c 'set writebackup backupcopy=no' -c '%s/held/by hand/' -c wq $F",
    },
    Deed { what: "sed -i", file: "sed", script: "sed -i 's/held/by hand/' $F" },
    Deed { what: "truncate", file: "truncated", script: "truncate -s 0 $F" },
    Deed { what: "chmod", file: "chmod", script: "chmod 666 $F" },
    Deed { what: "chown", file: "chown", script: "chown nobody:nogroup $F" },
    Deed { what: "rm", file: "rm", script: "rm $F" },
    Deed { what: "mv away", file: "mv-away", script: "mv $F /srv/aside" },
    Deed { what: "mv over it", file: "mv-over", script: "echo by hand > /srv/new; mv /srv/new $F" },
    Deed { what: "mv of its folder", file: "folder/of/it", script: "mv /srv/shop/folder /srv/shop/gone" },
    Deed { what: "rm -r of its folder", file: "other/of/it", script: "rm -r /srv/shop/other || true" },
    Deed {
        what: "a directory in its place",
        file: "directory",
        // Between two steps the file may be there again.
        script: "mkdir /srv/new-folder; echo by hand > /srv/new-folder/inside; \
                 perl -e 'do { unlink $ARGV[0] } until rename $ARGV[1], $ARGV[0]' $F /srv/new-folder",
    },
    Deed { what: "a symlink in its place", file: "symlink", script: "ln -sf /etc/shadow $F" },
];

/// A deed, the question to the host, and its answer when all is as declared.
type Asked = (&'static str, &'static str, &'static str);

const SERVICES: [Asked; 10] = [
    ("systemctl stop stopped", "systemctl is-active stopped", "active"),
    ("systemctl kill --signal=KILL killed", "systemctl is-active killed", "active"),
    ("systemctl disable disabled", "systemctl is-enabled disabled", "enabled"),
    (
        "systemctl disable --now halted",
        "systemctl is-enabled halted; systemctl is-active halted",
        "enabled active",
    ),
    ("systemctl mask masked", "systemctl is-enabled masked; systemctl is-active masked", "enabled active"),
    (
        "systemctl mask --now banned",
        "systemctl is-enabled banned; systemctl is-active banned",
        "enabled active",
    ),
    ("systemctl start resting", "systemctl is-active resting || true", "inactive"),
    ("systemctl enable resting-too", "systemctl is-enabled resting-too || true", "disabled"),
    (
        "mkdir /etc/systemd/system/open.service.d; \
         printf '[Service]\\nNice=5\\n' > /etc/systemd/system/open.service.d/by-hand.conf",
        "systemctl show --value -p NeedDaemonReload open; systemctl show --value -p Nice open",
        "no 5",
    ),
    (
        "printf '[Service]\\nNice=5\\n' > /etc/systemd/system/closed.service.d/by-hand.conf; systemctl daemon-reload",
        "systemctl show --value -p NeedDaemonReload closed; systemctl show --value -p DropInPaths closed; ls /etc/systemd/system/closed.service.d",
        "no",
    ),
];

/// Each meets rules and chains of its own, but for the two that take everything.
const RULES: [&str; 6] = [
    "nft flush ruleset",
    "nft delete table inet agentd",
    "nft add rule inet agentd input tcp dport 6666 accept",
    "nft insert rule inet agentd forward accept",
    "nft add element inet agentd admins.v4 '{ 198.51.100.1 }'",
    "nft delete rule inet agentd output handle $(nft -a list chain inet agentd output | \
     sed -n 's/.*agentd:mail.*handle //p')",
];

const FIREWALL: &str = "\
[firewall]
input = 'drop'
forward = 'drop'
output = 'accept'
[firewall.sets.admins]
elements = ['192.0.2.0/24', '2001:db8::/32']
[firewall.rules.ssh]
allow = ['tcp/22']
[firewall.rules.admins]
allow = ['tcp/8443']
from = ['@admins']
[firewall.rules.mail]
chain = 'output'
reject = ['tcp/25']
";

const PACKAGES: &str = "\
[packages]
removed = '*'
purged = '*'
by-dpkg = '*'
upgraded = '1.0'
downgraded = '1.0'
unwanted = { ensure = 'absent' }
";

const DEBS: &str = "/srv/apt/shop";

fn path(file: &str) -> String {
    format!("/srv/shop/{file}")
}

fn declared(file: &str) -> String {
    format!("held {file}\n")
}

fn role() -> String {
    let files = FILES.iter().map(|deed| {
        let (path, content) = (path(deed.file), declared(deed.file));
        format!("[files.'{path}']\ncontent = {content:?}\nmode = '0640'\nowner = 'daemon'\ngroup = 'adm'\n")
    });
    let more = "[files.'/etc/systemd/system/closed.service.d']\nensure = 'directory'\nexclusive = true\n\
                [files.'/srv/link']\nlink = '/srv/shop'\n";
    let on = ["stopped", "killed", "disabled", "halted", "masked", "banned", "open", "closed"];
    let on = on.map(|unit| format!("{unit} = {{ enabled = true, state = 'running' }}\n"));
    let off =
        ["resting", "resting-too"].map(|unit| format!("{unit} = {{ enabled = false, state = 'stopped' }}\n"));
    let services = format!("[services]\n{}{}", on.concat(), off.concat());
    [&files.collect::<String>(), more, &services, FIREWALL, PACKAGES].concat()
}

/// A host with everything on it that people then get their hands on.
fn site(lab: &Lab, suite: Suite) -> (Host, Archive) {
    let host = lab.boot(suite, "web-1");
    for unit in [
        "stopped",
        "killed",
        "disabled",
        "halted",
        "masked",
        "banned",
        "open",
        "closed",
        "resting",
        "resting-too",
    ] {
        ship(&host, unit, "");
        // Only where packages lay them can they be masked.
        let (from, to) = (format!("/etc/systemd/system/{unit}.service"), "/usr/lib/systemd/system/");
        host.run(&["mv", &from, to]).ok();
    }
    let mut archive = lab.archive("shop");
    for name in ["removed", "purged", "by-dpkg", "upgraded", "downgraded", "unwanted"] {
        archive.package(name, "1.0");
    }
    archive.package("upgraded", "2.0").package("downgraded", "0.9").publish(&host);
    host.run(&["apt-get", "update"]).ok();
    hold(lab, &host, &role());
    (host, archive)
}

/// What the host says of a file: its sort, rights, owner and content. And when its inode was last changed.
fn seen(host: &Host, file: &str) -> (String, String) {
    let script = format!("stat -c '%F %a %U:%G' {file}; cat {file}; stat -c %z {file}");
    let said = host.sh(&script).stdout;
    let (shape, changed) = said.trim_end().rsplit_once('\n').unwrap_or((&said, ""));
    (format!("{shape}\n"), changed.to_owned())
}

fn files(host: &Host) {
    let shadow = || host.sh("stat -c '%a %U:%G %i %Y' /etc/shadow; sha256sum /etc/shadow").ok();
    let before_all = shadow();
    for Deed { what, file, script } in FILES {
        let file = path(file);
        let right = format!("regular file 640 daemon:adm\n{}", host.read(&file));
        let before = seen(host, &file);
        assert_eq!(before.0, right, "before `{what}`");
        assert!(right.ends_with(&declared(&file["/srv/shop/".len()..])), "{right}");
        host.sh(&format!("F={file}; {script}")).ok();
        host.wait_until(&format!("`{what}` is undone"), LIMIT, || {
            // Something must have been done, or there was nothing to undo.
            let now = seen(host, &file);
            now.0 == right && now.1 != before.1
        });
    }
    assert_eq!(shadow(), before_all, "what a link led to is not written through");
    assert_eq!(host.read("/srv/shop/gone/of/it"), declared("folder/of/it"), "a moved folder is its mover's");
    assert_eq!(host.read("/srv/aside"), declared("mv-away"));

    let link = || host.run(&["readlink", "/srv/link"]).stdout;
    assert_eq!(link(), "/srv/shop\n");
    host.sh("ln -sfn /etc /srv/link").ok();
    host.wait_until("a link that was led elsewhere leads back", LIMIT, || link() == "/srv/shop\n");
}

fn services(host: &Host) {
    for (deed, question, right) in SERVICES {
        let answer = || host.sh(question).stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        let before = host.run(&["systemctl", "show", "--value", "-p", "MainPID", "stopped"]).ok();
        host.sh(deed).ok();
        host.wait_until(&format!("`{deed}` is undone"), LIMIT, || answer() == right);
        if deed == "systemctl stop stopped" {
            let after = host.run(&["systemctl", "show", "--value", "-p", "MainPID", "stopped"]).ok();
            assert_ne!(before, after, "it was stopped");
        }
    }
}

fn rules(host: &Host) {
    let table = || host.run(&["nft", "--stateless", "list", "table", "inet", "agentd"]).stdout;
    let handles = || host.run(&["nft", "--stateless", "--handle", "list", "table", "inet", "agentd"]).stdout;
    let right = table();
    for word in ["dport 22", "dport 8443", "dport 25", "192.0.2.0/24", "2001:db8::/32"] {
        assert!(right.contains(word), "{word}: {right}");
    }
    for deed in RULES {
        let before = handles();
        host.sh(deed).ok();
        host.wait_until(&format!("`{deed}` is undone"), LIMIT, || table() == right && handles() != before);
    }
}

fn packages(host: &Host) {
    let state = |name: &str| {
        let said = host.run(&["dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", name]).stdout;
        said.trim().to_owned()
    };
    let deeds = [
        ("removed", "apt-get remove --yes removed".to_owned(), " remove removed"),
        ("purged", "apt-get purge --yes purged".to_owned(), " remove purged"),
        ("by-dpkg", "dpkg --remove by-dpkg".to_owned(), " remove by-dpkg"),
        ("upgraded", format!("dpkg -i {DEBS}/upgraded_2.0_all.deb"), " installed upgraded:all 2.0"),
        ("downgraded", format!("dpkg -i {DEBS}/downgraded_0.9_all.deb"), " installed downgraded:all 0.9"),
    ];
    for (name, deed, log) in deeds {
        assert_eq!(state(name), "installed 1.0", "before `{deed}`");
        // dpkg has its locks to itself: the agent's last run is over.
        let idle = || host.run(&["systemctl", "is-active", "agentd-apt.service"]).stdout.trim() != "active";
        host.wait_until("the agent's apt has ended", LIMIT, idle);
        host.sh(&deed).ok();
        assert!(host.read("/var/log/dpkg.log").contains(log), "`{deed}` was done");
        host.wait_until(&format!("`{deed}` is undone"), LIMIT, || state(name) == "installed 1.0");
        host.wait_until("the agent's apt has ended", LIMIT, idle);
    }
    host.run(&["dpkg", "-i", &format!("{DEBS}/unwanted_1.0_all.deb")]).ok();
    host.wait_until("what is to be absent is gone again", LIMIT, || {
        !state("unwanted").starts_with("installed")
    });
}

fn by_hand(suite: Suite) {
    let lab = Lab::new();
    let (host, _archive) = site(&lab, suite);
    files(&host);
    services(&host);
    rules(&host);
    packages(&host);
    host.wait_until("nothing is left to do", LIMIT, || host.run(&["agentctl", "status"]).success());
}

#[test]
fn whatever_a_person_does_by_hand_is_undone_on_debian_12() {
    by_hand(Suite::Bookworm);
}

#[test]
fn whatever_a_person_does_by_hand_is_undone_on_debian_13() {
    by_hand(Suite::Trixie);
}
