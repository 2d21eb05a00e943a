//! `make bench`: what a pass costs, how soon a change is undone and what the idle daemon costs, on a real host, with
//! the package as users get it. Prints figures beside their floors and goals; asserts none of them.

#[path = "../../benches/passes/row.rs"]
mod row;
#[path = "../../benches/passes/work.rs"]
mod work;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::harness::{Forge, Host, Lab, Suite};
use row::{Goal, Row, Table};

const LIMIT: Duration = Duration::from_secs(300);

/// How long the idle daemon is watched. The look at its pulse, each minute, falls into it twice.
const IDLE: Duration = Duration::from_secs(120);

/// How long while programs come and go.
const BUSY: Duration = Duration::from_secs(20);

#[test]
#[ignore = "a benchmark, not a test: `make bench` runs it"]
fn figures() {
    let built = |name: &str| {
        PathBuf::from(std::env::var_os(name).unwrap_or_else(|| panic!("{name} is set by `make bench`")))
    };
    let lab = Lab::new();
    let mut bench = Bench::prepare(&lab, &built("BENCH_PROGRAM"));
    let began = Instant::now();
    for work in ["W1", "W2", "W3", "growth"] {
        bench.run(&["quiet", work]);
    }
    bench.install(&built("BENCH_PACKAGE"));
    bench.typical_server();
    bench.many_files();
    println!("\n{}measured in {} s", Table(bench.rows), began.elapsed().as_secs());
}

/// How many packages are removed by hand, once each.
const PACKAGES: usize = 5;

fn held(number: usize) -> String {
    format!("bench-held-{number}")
}

fn free(number: usize) -> String {
    format!("bench-free-{number}")
}

/// A host, its forge, and what was measured on it so far.
struct Bench {
    host: Host,
    forge: Forge,
    fleet: PathBuf,
    rows: Vec<Row>,
}

impl Bench {
    fn prepare(lab: &Lab, program: &Path) -> Self {
        let (host, forge) = (lab.boot(Suite::Bookworm, "bench"), lab.forge());
        let place = host.disk().join("usr/local/bin/passes");
        std::fs::copy(program, place).expect("copy the bench into the host");
        let units = (0..work::UNITS).map(work::unit).chain(["bench-floor.service".to_owned()]);
        let units: Vec<String> = units.collect();
        let lay = |name: &str, text: &str| {
            let text = format!(
                "[Unit]\nStartLimitIntervalSec=0\n[Service]\n{text}\n[Install]\nWantedBy=multi-user.target\n"
            );
            host.write(&format!("/etc/systemd/system/{name}"), &text);
        };
        units.iter().for_each(|name| lay(name, "ExecStart=/bin/sleep infinity"));
        lay("bench-start.service", "Type=oneshot\nExecStart=/bin/true");
        host.sh(&format!("systemctl daemon-reload; systemctl enable --quiet --now {}", units.join(" "))).ok();
        Bench { host, forge, fleet: lab.folder("fleet"), rows: Vec::new() }
    }

    /// Runs the bench in the host as a unit of its own, and takes up the figures it prints.
    fn run(&mut self, arguments: &[&str]) {
        let said = self.host.unit(&[&["/usr/local/bin/passes"], arguments].concat()).ok();
        for line in said.lines() {
            match Row::parse(line) {
                Some(row) => self.say(row),
                None => println!("{line}"),
            }
        }
    }

    fn say(&mut self, row: Row) {
        println!("{}: {:.2} {}", row.figure, row.measured, row.unit);
        self.rows.push(row);
    }

    /// The package as users get it. It asks its remote and looks at everything only when told to.
    fn install(&mut self, package: &Path) {
        self.host.install_package(package);
        let size =
            self.host.sh("du --apparent-size -bDc /usr/sbin/agentd /usr/bin/agentctl | tail -n 1").ok();
        self.say(Row::new("programs, together", "MB", first_number(&size) / 1e6, Goal::most(9.0)));
        let size = std::fs::metadata(package).expect("look at the package").len();
        self.say(Row::new("package", "MB", size as f64 / 1e6, Goal::most(4.0)));
        self.host.write("/etc/agentd/agent.toml.d/bench.toml", "interval = \"1h\"\nfull_pass = \"6h\"\n");
    }

    fn typical_server(&mut self) {
        let installed = self.host.run(&["dpkg-query", "-W", "-f", "${Package}\n"]).ok();
        let mut packages: Vec<String> = installed.lines().map(str::to_owned).collect();
        self.offer_packages();
        // First, so that they are among those that are declared.
        packages.splice(0..0, (0..PACKAGES).map(held));
        self.push(&[work::W3.roles(), vec![work::server(&packages)]].concat());
        self.host.write("/etc/agentd/forge.pem", &self.forge.ca());
        let enrol = ["agentctl", "enroll", "--branch", "main", "--mode", "enabled", "--url"];
        let ca = ["--ca-file", "/etc/agentd/forge.pem"];
        self.host.run(&[&enrol[..], &[&self.forge.url_https()], &ca].concat()).ok();
        self.sync();
        self.host.copy_in(&self.fleet, "/srv/fleet");
        let plan = "agentctl plan --repo /srv/fleet --host bench";
        let figure = "W3: agentctl plan, cold, floor: agentctl --version";
        self.run(&["command", figure, plan, "agentctl --version", "100", "11"]);
        let figure = "W3: agentd started to first look done, floor: a unit that does nothing";
        self.run(&["start", figure, "agentd.service", "bench-start.service", "150", "11"]);
        self.run(&["services"]);
        self.run(&["firewall", "11"]);
        self.packages();
        self.host.run(&["systemctl", "restart", "agentd"]).ok();
        self.idle();
    }

    /// An archive with small packages: those that will be held, and others that nobody holds.
    fn offer_packages(&self) {
        let mut archive = self.host.lab().archive("bench");
        for number in 0..PACKAGES {
            archive.package(&held(number), "1.0").package(&free(number), "1.0");
        }
        archive.publish(&self.host);
        self.host.run(&["apt-get", "update"]).ok();
    }

    /// Removes one held package after another and waits until it is there again; beside it installs one by apt itself.
    fn packages(&mut self) {
        let ms = |began: Instant| began.elapsed().as_secs_f64() * 1e3;
        let (mut ours, mut floor) = (Vec::new(), Vec::new());
        for number in 0..PACKAGES {
            let name = held(number);
            self.host.run(&["apt-get", "-y", "remove", &name]).ok();
            let began = Instant::now();
            let shown = ["dpkg-query", "-W", "-f", "${Status}", &name];
            self.host.wait_until("it is installed again", LIMIT, || {
                // Of a package without leftovers dpkg knows nothing, and says so with an error.
                self.host.run(&shown).stdout.contains("ok installed")
            });
            ours.push(ms(began));
            let began = Instant::now();
            self.host.run(&["apt-get", "-y", "install", &free(number)]).ok();
            floor.push(ms(began));
        }
        let figure = "a package removed to installed again, floor: apt-get install of its like";
        self.say(Row::new(figure, "ms", median(ours), Goal::beyond(500.0)).over(median(floor)));
    }

    fn many_files(&mut self) {
        self.push(&work::W1.roles());
        self.sync();
        self.commits();
        self.push(&work::W2.roles());
        self.sync();
        self.run(&["files", "one of 10,000 files", "W2", "300"]);
        self.host.run(&["systemctl", "restart", "agentd"]).ok();
        self.host.run(&["agentctl", "sync"]).ok();
        let Sample { resident, anonymous, .. } = self.sample();
        self.say(Row::new("W2, idle: memory", "MiB", resident, Goal::most(16.0)));
        self.say(Row::new("W2, idle: of it anonymous", "MiB", anonymous, Goal::default()));
    }

    /// Puts the roles into the repository.
    fn push(&self, roles: &[String]) {
        std::fs::remove_dir_all(&self.fleet).expect("remove the fleet");
        for (path, bytes) in work::fleet(roles) {
            let path = self.fleet.join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("make a folder of the fleet");
            std::fs::write(path, bytes).expect("write the fleet");
        }
        self.forge.push_folder(&self.fleet);
    }

    fn sync(&self) {
        // What it says does not matter: the status does.
        drop(self.host.run(&["agentctl", "sync"]));
        self.host
            .wait_until("the host is in sync", LIMIT, || self.host.run(&["agentctl", "status"]).success());
    }

    /// Commits that change ten files of a thousand, each followed by a look for a commit that is not there.
    fn commits(&mut self) {
        let timed = |host: &Host| {
            let began = Instant::now();
            host.run(&["agentctl", "sync"]).ok();
            began.elapsed().as_secs_f64() * 1e3
        };
        let (mut ours, mut floor) = (Vec::new(), Vec::new());
        for version in 1..=5 {
            // Each content lies in five places.
            let texts = [1, 2].map(|number| work::content(number, version));
            self.forge.push(&[("files/1", &texts[0]), ("files/2", &texts[1])]);
            ours.push(timed(&self.host));
            assert_eq!(self.host.read(&work::W1.path(work::CONTENTS + 1)), texts[0], "it is applied");
            floor.push(timed(&self.host));
        }
        let figure = "a commit that changes 10 of 1,000 files: sync, floor: sync without news";
        let row = Row::new(figure, "ms", median(ours), Goal::beyond(500.0)).over(median(floor));
        self.say(row);
    }

    fn idle(&mut self) {
        std::thread::sleep(Duration::from_secs(5));
        let before = self.sample();
        std::thread::sleep(IDLE);
        let after = self.sample();
        self.say(Row::new("W3, idle: memory", "MiB", after.resident, Goal::most(10.0)));
        self.say(Row::new("W3, idle: of it anonymous", "MiB", after.anonymous, Goal::most(4.0)));
        let figure = "W3, idle: its share of memory (PSS)";
        self.say(Row::new(figure, "MiB", after.proportional, Goal::default()));
        let (wakes, cpu) = after.since(&before, IDLE);
        self.say(Row::new("W3, idle: wake-ups a minute", "", wakes, Goal::most(3.0)));
        self.say(Row::new("W3, idle: CPU an hour", "ms", cpu, Goal::most(20.0)));
        let before = self.sample();
        let programs = format!("for i in $(seq {}); do /bin/true; sleep 0.2; done", BUSY.as_secs() * 5);
        self.host.sh(&programs).ok();
        let (_, cpu) = self.sample().since(&before, BUSY);
        self.say(Row::new(
            "the same while 5 programs a second start: CPU an hour",
            "ms",
            cpu,
            Goal::most(20.0),
        ));
    }

    /// What the kernel says of the daemon now. CPU time is that of its control group, which forgets no thread.
    fn sample(&self) -> Sample {
        let script = "pid=$(systemctl show -p MainPID --value agentd)
            awk '/^Rss:/ { print $2 }' /proc/$pid/smaps_rollup
            awk '/^Pss:/ { print $2 }' /proc/$pid/smaps_rollup
            awk '/^Anonymous:/ { print $2 }' /proc/$pid/smaps_rollup
            awk '/^usage_usec/ { print $2 }' /sys/fs/cgroup/system.slice/agentd.service/cpu.stat
            awk '/^Pid:/ { pid = $2 } /^voluntary_ctxt/ { print pid, $2 }' /proc/$pid/task/*/status";
        let said = self.host.sh(script).ok();
        let mut lines = said.lines();
        let mut number = || first_number(lines.next().unwrap_or_else(|| panic!("{said}")));
        let (resident, proportional) = (number() / 1024.0, number() / 1024.0);
        let (anonymous, cpu) = (number() / 1024.0, number() / 1e3);
        let thread =
            |line: &str| line.split_once(' ').map(|(id, count)| (id.to_owned(), first_number(count)));
        let wakes = lines.map(|line| thread(line).unwrap_or_else(|| panic!("{said}"))).collect();
        Sample { resident, proportional, anonymous, wakes, cpu }
    }
}

/// Memory in MiB; wake-ups of each thread, and CPU time in milliseconds, so far.
struct Sample {
    resident: f64,
    proportional: f64,
    anonymous: f64,
    wakes: BTreeMap<String, f64>,
    cpu: f64,
}

impl Sample {
    /// What was spent since `before`: wake-ups a minute, CPU an hour. A thread that came since counts from its start; of
    /// one that has ended nobody knows.
    fn since(&self, before: &Sample, span: Duration) -> (f64, f64) {
        let of = |(id, count): (&String, &f64)| count - before.wakes.get(id).unwrap_or(&0.0);
        let wakes: f64 = self.wakes.iter().map(of).sum();
        (wakes * 60.0 / span.as_secs_f64(), (self.cpu - before.cpu) * 3600.0 / span.as_secs_f64())
    }
}

fn first_number(text: &str) -> f64 {
    let word = text.split_whitespace().next().expect("a word");
    word.parse().unwrap_or_else(|_| panic!("{text} begins with no number"))
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
