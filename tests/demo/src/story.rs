//! The story: what is done, in order, and what a host must say before it goes on.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Archive, Forge, Host, Lab, Suite, checkout, deb};
use crate::terminal::Terminal;

/// How long anything may take on a busy machine. Nothing waits for it unless something is wrong.
const LIMIT: Duration = Duration::from_secs(180);

/// The fleet that is shown, and what its web servers install.
const EXAMPLE: &str = "web-shop";
const PACKAGES: [&str; 3] = ["nginx", "curl", "unattended-upgrades"];

/// One web server of the example's inventory for each release.
const FIRST: &str = "shop-prod-web-1";
const SECOND: &str = "shop-prod-web-4";

/// The one line. The authority is that of the forge, which nobody outside knows.
const ENROL: &str = "agentctl enroll --url https://git.example.org/fleet.git --branch main \
                     --ca-file /etc/agentd/ca.pem --mode enabled";

/// People who watch do not want to wait for a minute.
const IMPATIENT: &str = "interval = \"5s\"\n";

const ABOUT: &str = "\
Two throwaway Debian servers and a git server, in containers on a network of their own: no service,
file or rule of this machine is touched. What is said of a host is what its own tools say
(dpkg-query, cat, stat, nft, systemctl). Ctrl-C ends it; what that leaves, the next run removes.";

const NEXT: &str = "\
Look around yourself: `LAB_KEEP=1 make demo` leaves both hosts running and says how to enter them.
Your own server: README.md, \"Install it on a server\".";

const NEXT_KEPT: &str = "\
Enter a host by its line above, change what you like, and ask: agentctl status, agentctl history,
agentctl explain file:/etc/motd. The next run of the demo removes them.";

/// How wide the pages of agentctl are made.
const PAGE: usize = 110;

/// What someone does by hand, and what the host's own tools say as long as it is right.
struct Change {
    command: &'static str,
    resource: &'static str,
    tool: &'static str,
    right: &'static str,
}

const CHANGES: [Change; 5] = [
    Change {
        command: "echo 'I was here' >> /etc/motd",
        resource: "file:/etc/motd",
        tool: "cat",
        right: "cat /etc/motd | grep -q '^production of shop' && ! cat /etc/motd | grep -q 'I was here'",
    },
    Change {
        command: "chmod 0666 /etc/nginx/sites-available/shop",
        resource: "file:/etc/nginx/sites-available/shop",
        tool: "stat",
        right: "[ \"$(stat -c %a /etc/nginx/sites-available/shop)\" = 644 ]",
    },
    Change {
        command: "nft flush ruleset",
        resource: "firewall:",
        tool: "nft list",
        right: "nft list table inet agentd | grep -q 'dport 8080'",
    },
    Change {
        command: "systemctl stop nginx",
        resource: "service:nginx.service",
        tool: "systemctl is-active",
        right: "systemctl is-active --quiet nginx",
    },
    Change {
        command: "apt-get remove --yes curl",
        resource: "package:curl",
        tool: "dpkg-query",
        right: "dpkg-query -W -f '${db:Status-Status}' curl | grep -qx installed",
    },
];

/// Makes the change, then asks until it is right again; prints the microseconds since the change was made.
const MEASURE: &str = "\
right() { eval \"$RIGHT\"; } 2>/dev/null
right || { echo 'it was not right before' >&2; exit 1; }
bash -c \"$CHANGE\" >/dev/null 2>/tmp/said || { cat /tmp/said >&2; exit 1; }
begun=${EPOCHREALTIME/./}
until right; do
    [ $(( ${EPOCHREALTIME/./} - begun )) -lt 100000000 ] || { echo 'still not right after 100 s' >&2; exit 1; }
done
echo $(( ${EPOCHREALTIME/./} - begun ))
";

/// Tells all of it, or panics with what went wrong.
pub fn tell(terminal: &Terminal) {
    let begun = Instant::now();
    terminal.heading("agentd: a Debian host held to its declaration in git");
    terminal.page(&format!("{ABOUT}\n{}", busy()));
    // What can be done beside the compiler is done beside it.
    let making = thread::spawn(deb);
    let lab = terminal.step("base trees of Debian 12 and 13, by debootstrap the first time", Lab::new);
    let forge = terminal.step("a forge with the fleet of examples/web-shop, over https", || forge(&lab));
    let archives = terminal.step("Debian's nginx, curl and unattended-upgrades, on the forge", || {
        let (lab, forge) = (&lab, &forge);
        both(Suite::ALL.map(|suite| move || archive(lab, forge, suite)))
    });
    let package = terminal.step("the package, built in the meantime: make deb", || joined(making.join()));
    terminal.page(&size(package));

    terminal.heading(&format!("A new host: {FIRST}, Debian 12"));
    let first = new_host(terminal, &lab, &forge, &archives[0], Suite::Bookworm, package);
    enrol(terminal, &first, 8080);
    by_hand(terminal, &first);
    commit(terminal, &forge, &first);
    terminal.heading("What a person on the host is told");
    for command in ["status", "history --limit 6"] {
        terminal.typed(FIRST, &format!("agentctl {command}"));
        terminal.page(&agentctl(terminal, &first, command));
    }

    terminal.heading(&format!("One more: {SECOND}, Debian 13, the same line"));
    let second = new_host(terminal, &lab, &forge, &archives[1], Suite::Trixie, package);
    enrol(terminal, &second, 9090);
    compare(terminal, [&first, &second]);
    if Lab::is_kept() {
        // How to enter them, the laboratory says.
        drop((first, second, forge, archives, lab));
    } else {
        terminal.step("all of it removed again", || {
            both([first, second].map(|host| || drop(host)));
            drop((forge, archives, lab));
        });
    }
    terminal.done("all done", begun.elapsed());
    terminal.heading("Next");
    terminal.page(if Lab::is_kept() { NEXT_KEPT } else { NEXT });
}

/// How busy this machine is, which is what the times are to be read with.
fn busy() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").expect("read the load of this machine");
    let load = load.split(' ').next().unwrap_or("unknown");
    let cores = thread::available_parallelism().map_or(1, usize::from);
    format!("All times are those of this machine: {cores} processors, load {load} at the beginning.")
}

/// Does two things at the same time.
fn both<T: Send>(work: [impl FnOnce() -> T + Send; 2]) -> [T; 2] {
    thread::scope(|scope| work.map(|work| scope.spawn(work)).map(|thread| joined(thread.join())))
}

/// What a thread gives, or its panic in this one.
fn joined<T>(result: thread::Result<T>) -> T {
    result.unwrap_or_else(|failure| resume_unwind(failure))
}

fn size(package: &Path) -> String {
    let bytes = std::fs::metadata(package).expect("the package was made").len();
    let name = package.file_name().expect("the package has a name").to_string_lossy();
    format!(
        "{name}: {:.1} MB, neither optimised at link time nor compressed, unlike a release",
        bytes as f64 / 1e6
    )
}

/// The forge with the example as its first commit.
fn forge(lab: &Lab) -> Forge {
    let forge = lab.forge();
    forge.push_folder(&checkout().join("examples").join(EXAMPLE));
    forge
}

fn archive(lab: &Lab, forge: &Forge, suite: Suite) -> Archive {
    let archive = Archive::of_debian(lab, suite, &PACKAGES);
    archive.publish_on(forge);
    archive
}

/// Boots a server that knows where packages come from, and installs the agent as an operator does.
fn new_host(
    terminal: &Terminal,
    lab: &Lab,
    forge: &Forge,
    archive: &Archive,
    suite: Suite,
    package: &Path,
) -> Host {
    let name = if suite == Suite::Bookworm { FIRST } else { SECOND };
    let host = terminal.step("booted: nothing of ours on it", || {
        let host = lab.boot(suite, name);
        archive.name_source_on(&host);
        host.write("/etc/agentd/ca.pem", &forge.ca());
        host.write("/etc/agentd/agent.toml.d/demo.toml", IMPATIENT);
        host
    });
    let file = package.file_name().expect("the package has a name").to_string_lossy();
    let command = format!("apt install ./{file}");
    let said = terminal.step(&command, || host.install_agent());
    terminal.page(said.lines().find(|line| line.starts_with("agentd: ")).unwrap_or_default());
    host
}

/// Enrols the host and waits until its own tools say that it is what the repository declares.
fn enrol(terminal: &Terminal, host: &Host, port: u16) {
    terminal.typed(host.name(), ENROL);
    let begun = Instant::now();
    let worker = thread::scope(|scope| {
        let enrolling = scope.spawn(|| host.sh(ENROL));
        let done = |what: &str, right: &str| {
            host.wait_until(what, LIMIT, || host.sh(right).success());
            terminal.done(what, begun.elapsed());
        };
        done(
            "firewall loaded: input is dropped but for what is declared (nft list)",
            "nft list table inet agentd | grep -q 'policy drop'",
        );
        done(
            "packages installed: nginx, curl, unattended-upgrades (dpkg-query)",
            "dpkg-query -W -f '${db:Status-Status}\\n' nginx curl unattended-upgrades | grep -c '^installed$' | grep -qx 3",
        );
        done(
            "files laid: the site, its configuration, ssh, apt, motd (cat)",
            "grep -q 'This is production' /srv/shop/index.html && grep -q 'production of shop' /etc/motd",
        );
        done(
            &format!("service running: nginx answers on port {port} (curl)"),
            &format!(
                "curl -sf --max-time 2 -o /dev/null http://127.0.0.1:{port}/health && systemctl is-enabled --quiet nginx"
            ),
        );
        enrolling.join().expect("the enrolment is waited for")
    });
    worker.ok();
    // A new firewall stands only once someone was reached through it; what follows would mix with that.
    host.wait_until("the firewall is confirmed", LIMIT, || {
        host.exists("/var/lib/agentd/firewall.nft") && !host.exists("/var/lib/agentd/firewall-pending.json")
    });
    host.wait_until("in sync", LIMIT, || host.run(&["agentctl", "status"]).success());
}

/// One manual change of each kind, and how long it lasted.
fn by_hand(terminal: &Terminal, host: &Host) {
    terminal
        .heading("Changes by hand, undone (time from the change until the host's own tool says it is right)");
    for change in &CHANGES {
        terminal.typed(host.name(), change.command);
        let variables = [format!("CHANGE={}", change.command), format!("RIGHT={}", change.right)];
        let script = ["env", &variables[0], &variables[1], "bash", "-c", MEASURE];
        let took = host.run(&script).ok();
        let micros = took.trim().parse().expect("the script prints microseconds");
        terminal.done(&format!("undone, says {}", change.tool), Duration::from_micros(micros));
        host.wait_until("in sync", LIMIT, || host.run(&["agentctl", "status"]).success());
    }
    let told = host.run(&["agentctl", "history", "--json", "--limit", "100"]).ok();
    for change in &CHANGES {
        assert!(told.contains(change.resource), "the history does not know of {}: {told}", change.resource);
    }
}

/// One line of a variable is another port in nginx and in the firewall.
fn commit(terminal: &Terminal, forge: &Forge, host: &Host) {
    terminal.heading("A commit, followed (asked for every 5 s here, every 60 s unless said)");
    let fleet = std::fs::read_to_string(checkout().join("examples").join(EXAMPLE).join("fleet.toml"))
        .expect("read the example")
        .replace("web_port = 8080", "web_port = 9090");
    terminal.page("fleet.toml: -web_port = 8080 +web_port = 9090");
    let commit = terminal.step("pushed", || {
        forge.write("/srv/work/fleet.toml", &fleet);
        forge.publish("web: listen on 9090")
    });
    let begun = Instant::now();
    let right = "curl -sf --max-time 2 -o /dev/null http://127.0.0.1:9090/health \
                 && nft list table inet agentd | grep -q 'dport 9090'";
    host.wait_until("the commit is followed", LIMIT, || host.sh(right).success());
    terminal.done(
        &format!("{}: nginx answers on 9090 (curl), the firewall lets it (nft list)", &commit[..7]),
        begun.elapsed(),
    );
    host.wait_until("in sync with the commit", LIMIT, || {
        let status = host.run(&["agentctl", "status", "--json"]);
        status.success() && status.stdout.contains(&commit)
    });
}

/// What both say they are held to, and what they are.
fn compare(terminal: &Terminal, hosts: [&Host; 2]) {
    terminal.heading("The same? agentctl fingerprint");
    let [one, other] = hosts.map(|host| {
        let page = agentctl(terminal, host, "fingerprint");
        terminal.page(&page);
        Roots::read(&page)
    });
    assert_eq!(one.declared, other.declared, "the declared roots differ");
    terminal.said("held to the same: the declared roots are equal, on two releases of Debian");
    let (same, differs): (Vec<_>, Vec<_>) =
        one.observed.iter().partition(|(kind, digest)| other.observed.get(*kind) == Some(digest));
    let names = |kinds: &[(&String, &String)]| match kinds {
        [] => "nothing".to_owned(),
        _ => kinds.iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>().join(", "),
    };
    terminal.said(&format!("found on them: equal: {}; different: {}", names(&same), names(&differs)));
}

/// What a page of fingerprints says: the declared root, and the digest of what was observed of each kind.
struct Roots {
    declared: String,
    observed: BTreeMap<String, String>,
}

impl Roots {
    fn read(page: &str) -> Self {
        let declared = page.lines().find_map(|line| line.strip_prefix("declared"));
        let declared = declared.unwrap_or_else(|| panic!("no declared root: {page}")).trim().to_owned();
        let lines = page.lines().skip_while(|line| !line.starts_with("observed")).skip(1);
        let observed = lines.filter_map(|line| {
            let mut words = line.strip_prefix("  ")?.split_whitespace();
            Some((words.next()?.to_owned(), words.next()?.to_owned()))
        });
        Roots { declared, observed: observed.collect() }
    }
}

/// The page that a person sees on a terminal of the host.
fn agentctl(terminal: &Terminal, host: &Host, command: &str) -> String {
    let line = format!("stty cols {PAGE}; agentctl {} {command}", terminal.colour_argument());
    let page =
        host.run(&["env", "TERM=xterm", "script", "--quiet", "--return", "--command", &line, "/dev/null"]);
    page.ok().replace('\r', "")
}
