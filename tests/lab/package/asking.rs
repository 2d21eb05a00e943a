//! Packages that ask a person: by debconf, by a pager, by the terminal. Nobody is there, and nobody is waited for.

use super::Site;
use crate::harness::{Deb, Lab, Suite};

const TEMPLATES: &str = "\
Template: askd/port
Type: string
Default: 8080
Description: The port to listen on
 A question of the highest priority, which has an answer that holds unless somebody gives another.

Template: askd/sure
Type: boolean
Description: Is that what you want?
 A question without any answer.
";

/// Asks in its config script and once more while it is configured, as careless packages do.
fn asks(version: &str) -> Deb {
    let config = "\
. /usr/share/debconf/confmodule
db_version 2.0
db_input critical askd/port || true
db_input critical askd/sure || true
db_go || true
echo config >> /var/log/askd
";
    let postinst = "\
. /usr/share/debconf/confmodule
db_version 2.0
db_fset askd/sure seen false
db_input critical askd/sure || true
db_go || true
db_get askd/port
echo \"port $RET\" >> /var/log/askd
db_stop
";
    Deb::new("askd", version)
        .field("Depends", "debconf")
        .file("/DEBIAN/templates", TEMPLATES)
        .conffile("/etc/askd.conf", &format!("version = {version}\n"))
        .script("config", config)
        .postinst(postinst)
}

/// Shows a long text by whatever shows such, and looks for somebody at the terminal.
fn shows(version: &str) -> Deb {
    let postinst = "\
seq 1 5000 > /usr/lib/long
for show in pager more \"${PAGER:-cat}\"; do
    if command -v $show > /dev/null; then $show /usr/lib/long > /dev/null; echo \"$show\" >> /var/log/showd; fi
done
if (exec 3<> /dev/tty) 2> /dev/null; then echo 'there is a terminal' >&2; exit 7; fi
if read -r answer; then echo 'somebody answered' >&2; exit 8; fi
if test -t 0 || test -t 1 || test -t 2; then echo 'a terminal' >&2; exit 9; fi
";
    Deb::new("showd", version).postinst(postinst)
}

#[test]
fn questions_of_debconf_and_pagers_and_changed_conffiles_never_wait_for_a_person() {
    for suite in Suite::ALL {
        let lab = Lab::new();
        let site = Site::boot(&lab, suite);
        // As somebody set it up who sits before it.
        site.sh("echo 'debconf debconf/frontend select Readline' | debconf-set-selections").ok();
        site.sh("echo 'debconf debconf/priority select low' | debconf-set-selections").ok();
        let mut archive = lab.archive("shop");
        site.publish(archive.add(&asks("1.0")).add(&shows("1.0")));
        site.converge("askd = '1.0'\nshowd = '1.0'");
        assert_eq!([site.dpkg("askd"), site.dpkg("showd")], ["ii  1.0", "ii  1.0"]);
        let told = site.read("/var/log/askd");
        assert!(told.contains("config\n") && told.ends_with("port 8080\n"), "{told}");
        assert!(site.read("/var/log/showd").contains("more\n"), "the pager ran to its end");
        // What somebody answered by hand, and wrote into the configuration, stays; nobody is asked about it.
        site.sh("echo 'askd askd/port string 9090' | debconf-set-selections").ok();
        site.write("/etc/askd.conf", "by hand\n");
        site.publish(archive.add(&asks("1.1")).add(&shows("1.1")));
        site.converge("askd = '1.1'\nshowd = '>= 1.1'");
        assert_eq!([site.dpkg("askd"), site.dpkg("showd")], ["ii  1.1", "ii  1.1"]);
        assert!(site.read("/var/log/askd").ends_with("port 9090\n"), "{}", site.read("/var/log/askd"));
        assert_eq!(site.read("/etc/askd.conf"), "by hand\n");
        site.converge("askd = { ensure = 'absent', purge = true }\nshowd = { ensure = 'absent' }");
        assert_eq!(site.run(&["dpkg", "--audit"]).ok(), "");
    }
}
