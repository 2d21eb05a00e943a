//! What a pass costs, against floors measured in the same run. Runs on a real Debian host as root (`make bench`
//! boots one): it lays files below /srv/bench, and uses systemd, dpkg and nftables as they are there.
//!
//! Times are medians of many rounds; read the ratios, since machines are shared. Counts are exact.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench measures the machine by the machine's own means and prints what it saw"
)]

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use agentd::declaration::{self, Compiled};
use agentd::host::Host;
use agentd::host::counters::Counts;
use agentd::host::facts::Facts;
use agentd::host::files::Root;
use agentd::keep::{Contents, Keep, Limits};
use agentd::model::DriftMode;
use agentd::reconcile::gate::Patience;
use agentd::reconcile::pass::Removals;
use agentd::reconcile::{Engine, Order, PassReport, Purpose, Scope, World, pass};
use agentd::record::Record;

const BASE: &str = "/srv/bench";

/// A file tree of a declaration.
type Tree = BTreeMap<String, Vec<u8>>;

struct Work {
    name: &'static str,
    files: usize,
    folders: usize,
    extra: String,
}

fn main() {
    if std::env::args().any(|argument| argument == "restore") {
        return restore();
    }
    let quick = std::env::args().any(|argument| argument == "--quick");
    let rounds = if quick { 5 } else { 41 };
    println!(
        "{:<28} {:>9} {:>9} {:>7} {:>7} {:>7} {:>6} {:>9}",
        "", "pass ms", "floor ms", "ratio", "opened", "started", "calls", "peak MiB"
    );
    for work in [
        Work { name: "W1: 1,000 files", files: 1_000, folders: 100, extra: String::new() },
        Work { name: "W2: 10,000 files", files: 10_000, folders: 1_000, extra: String::new() },
        Work { name: "W3: a typical server", files: 200, folders: 20, extra: typical_server() },
    ] {
        measure(&work, rounds);
    }
    println!(
        "\nfloors: one folder handle and one statx a file; for W3 also one read of the dpkg database, one list of units, one generation id"
    );
}

/// Changes files that the running agent holds, one after another, and takes the time until each is right again;
/// then the same steps with nobody in between: a record on disk, the new file on disk, the old one put aside.
fn restore() {
    let folder = std::env::args().nth(2).expect("restore FOLDER COUNT");
    let count: usize =
        std::env::args().nth(3).and_then(|count| count.parse().ok()).expect("restore FOLDER COUNT");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .flat_map(|entry| std::fs::read_dir(entry.unwrap().path()).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let total = paths.len();
    let mut times = Vec::new();
    for path in paths.iter().step_by((total / count).max(1)).take(count) {
        let before = std::fs::read(path).unwrap();
        let began = Instant::now();
        std::fs::write(path, b"somebody was here\n").unwrap();
        while std::fs::read(path).ok().as_ref() != Some(&before) {
            assert!(began.elapsed() < Duration::from_secs(10), "{} is not put right", path.display());
        }
        times.push(began.elapsed());
    }
    let floors: Vec<Duration> = (0..count).map(|_| same_steps(Path::new(&folder))).collect();
    println!("changed and put right, {} of {total} files: {}", times.len(), spread(times));
    println!("the same steps alone:                    {}", spread(floors));
}

fn same_steps(folder: &Path) -> Duration {
    use std::io::Write;
    let (log, old, new, aside) =
        (folder.join(".log"), folder.join(".old"), folder.join(".new"), folder.join(".aside"));
    std::fs::write(&old, [b'x'; 2048]).unwrap();
    let directory = std::fs::File::open(folder).unwrap();
    let began = Instant::now();
    let mut intent = std::fs::File::options().create(true).append(true).open(&log).unwrap();
    intent.write_all(&[b'i'; 4096]).unwrap();
    intent.sync_data().unwrap();
    let mut file = std::fs::File::create(&new).unwrap();
    file.write_all(&[b'y'; 2048]).unwrap();
    file.sync_data().unwrap();
    std::fs::rename(&old, &aside).unwrap();
    std::fs::rename(&new, &old).unwrap();
    directory.sync_all().unwrap();
    let took = began.elapsed();
    for path in [log, old, aside] {
        std::fs::remove_file(path).unwrap();
    }
    took
}

fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |share: f64| millis(times[((times.len() - 1) as f64 * share) as usize]);
    format!("p50 {:.2} ms, p99 {:.2} ms, worst {:.2} ms", at(0.5), at(0.99), at(1.0))
}

/// 200 packages, 30 services, one table of 200 rules: whatever this host has, declared as it is.
fn typical_server() -> String {
    let installed = output("dpkg-query", &["-W", "-f", "${Package}\n"]);
    let packages: Vec<&str> = installed.lines().take(200).collect();
    let mut text = String::from("[packages]\n");
    packages.iter().for_each(|name| text.push_str(&format!("\"{name}\" = \"*\"\n")));
    let listed =
        output("systemctl", &["list-units", "--type=service", "--state=running", "--plain", "--no-legend"]);
    let services: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let services: Vec<&str> = services.into_iter().filter(|name| !name.contains('@')).take(30).collect();
    services.iter().for_each(|name| text.push_str(&format!("[services.\"{name}\"]\nstate = \"running\"\n")));
    text.push_str("[firewall]\ninput = \"accept\"\n");
    for port in 0..200 {
        text.push_str(&format!("[firewall.rules.r{port}]\nallow = [\"tcp/{}\"]\n", 20_000 + port));
    }
    println!(
        "(W3 on this host: {} packages, {} running services, 200 rules)",
        packages.len(),
        services.len()
    );
    text
}

fn measure(work: &Work, rounds: usize) {
    let base = PathBuf::from(BASE);
    if base.exists() {
        std::fs::remove_dir_all(&base).unwrap();
    }
    std::fs::create_dir_all(base.join("state/kept")).unwrap();
    let tree = fleet(work);
    let facts = Facts::read(Path::new("/"), BTreeMap::new()).unwrap();
    let compiled = match declaration::compile(&tree, "bench", &facts) {
        Ok(compiled) => compiled,
        Err(faults) => panic!("{}", faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
    };
    let mut site = Site::new(&base, &tree, &compiled);
    // Until nothing is left to do; then what was written is old enough to be trusted without being read.
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let report = site.pass();
        if report.findings.is_empty() && report.work.files_opened == 0 && report.work.programs_started == 0 {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "does not become quiet: {:?} {:?} {:?}",
            report.findings,
            report.blind,
            report.work
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut times = Vec::new();
    let mut floors = Vec::new();
    let mut counts = Counts::default();
    for _ in 0..rounds {
        let began = Instant::now();
        let report = site.pass();
        times.push(began.elapsed());
        assert!(report.findings.is_empty(), "{:?}", report.findings);
        counts = report.work;
        floors.push(site.floor(work));
    }
    let (time, floor) = (median(times), median(floors));
    println!(
        "{:<28} {:>9.2} {:>9.2} {:>7.2} {:>7} {:>7} {:>6} {:>9.1}",
        work.name,
        millis(time),
        millis(floor),
        time.as_secs_f64() / floor.as_secs_f64(),
        counts.files_opened,
        counts.programs_started,
        counts.bus_calls,
        peak_mib(),
    );
    drop(site);
    output("nft", &["delete", "table", "inet", "agentd"]);
    std::fs::remove_dir_all(&base).unwrap();
}

fn fleet(work: &Work) -> Tree {
    let mut text = String::from("[vars]\n");
    text.push_str(&work.extra);
    for number in 0..work.files {
        let path = file_path(work, number);
        text.push_str(&format!("[files.\"{path}\"]\nsource = \"files/{}\"\n", number % 200));
    }
    let mut tree = Tree::new();
    tree.insert("fleet.toml".into(), b"schema = 1\n".to_vec());
    tree.insert("hosts/bench.toml".into(), text.into_bytes());
    for number in 0..200 {
        // A mean of 4 KiB, and a few of 100 KiB.
        let size = if number % 50 == 0 { 100 << 10 } else { 2 << 10 };
        let line = format!("{number} and so on\n");
        tree.insert(format!("files/{number}"), line.repeat(size / line.len()).into_bytes());
    }
    tree
}

fn file_path(work: &Work, number: usize) -> String {
    format!("{BASE}/files/d{}/f{number}", number % work.folders)
}

struct Site {
    host: Host,
    engine: Engine,
    record: Record,
    contents: Contents,
    keep: Keep,
    stopping: AtomicBool,
}

impl Site {
    fn new(base: &Path, tree: &Tree, compiled: &Compiled) -> Self {
        let host = agentd::daemon::this_host().unwrap();
        let contents = Contents::in_memory();
        for digest in compiled.contents.keys() {
            contents.put(&compiled.bytes(digest, tree).unwrap()).unwrap();
        }
        let state = Root::open(base.join("state")).unwrap();
        let keep = Keep::open(&Root::open(base.join("state/kept")).unwrap(), Limits::default()).unwrap();
        let (mut record, _) = Record::open(&state, Arc::clone(&host.clock)).unwrap();
        let mut engine = agentd::daemon::kinds(&Arc::default());
        engine.adopt(Arc::new(compiled.desired.clone()), &mut record).unwrap();
        Site { host, engine, record, contents, keep, stopping: AtomicBool::new(false) }
    }

    fn pass(&mut self) -> PassReport {
        let world = World {
            host: &self.host,
            contents: &self.contents,
            keep: &self.keep,
            stopping: &self.stopping,
            progress: &|_| (),
        };
        let order = Order {
            scope: Scope::Full,
            purpose: Purpose::Apply,
            mode: DriftMode::Enabled,
            patience: Patience::Impatient,
            removals: Removals { limit: u32::MAX, ..Removals::default() },
        };
        pass(&mut self.engine, &world, &order, &mut self.record)
    }

    /// The least any agent must do: look at each file once by its folder's handle; ask for the other kinds once.
    fn floor(&self, work: &Work) -> Duration {
        let names: Vec<Vec<CString>> = (0..work.folders)
            .map(|folder| {
                let of_folder = (folder..work.files).step_by(work.folders);
                of_folder.map(|number| CString::new(format!("f{number}")).unwrap()).collect()
            })
            .collect();
        let paths: Vec<String> = (0..work.folders).map(|folder| format!("{BASE}/files/d{folder}")).collect();
        let began = Instant::now();
        for (path, names) in paths.iter().zip(&names) {
            let handle = std::fs::File::open(path).unwrap();
            for name in names {
                let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
                let wanted = rustix::fs::StatxFlags::BASIC_STATS;
                std::hint::black_box(rustix::fs::statx(&handle, name, flags, wanted).unwrap());
            }
            std::hint::black_box(handle.as_raw_fd());
        }
        if !work.extra.is_empty() {
            std::hint::black_box(std::fs::metadata("/var/lib/dpkg/status").unwrap());
            std::hint::black_box(self.host.netfilter.generation().unwrap());
            let units = ["dbus.service".parse().unwrap()];
            std::hint::black_box(self.host.units.status(&units).unwrap());
        }
        began.elapsed()
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The largest this process ever was.
fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

fn output(program: &str, arguments: &[&str]) -> String {
    let done = std::process::Command::new(program).args(arguments).output();
    done.map(|done| String::from_utf8_lossy(&done.stdout).into_owned()).unwrap_or_default()
}
