//! What the installed daemon does about a change by hand, from the change until it is undone.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use agentd::host::netfilter::{Netfilter, SystemNetfilter};
use rustix::thread::UnshareFlags;
use tokio::runtime::Runtime;
use zbus::Connection;

use crate::clock::Times;
use crate::row::{Goal, Row};
use crate::say;
use crate::work::{self, CONTENTS, Files, RULES, UNITS};

/// Nothing that is measured here takes so long unless something is wrong.
const LIMIT: Duration = Duration::from_secs(30);

/// How long the agent is left alone between two changes, so that each finds it at rest: it takes what comes faster than
/// ten a second for a storm, and looks ten times a second from the twentieth on (`daemon::pace`).
const REST: Duration = Duration::from_millis(125);

/// How long between two peeks at what is to be restored: whoever looks without a pause keeps the folder's lock and a
/// processor from the one who is to restore it.
const PEEK: Duration = Duration::from_micros(50);

/// Changes files that the agent holds, one after another, and each time does the same steps itself.
pub fn files(name: &str, files: &Files, rounds: usize) {
    let (mut ours, mut floor, mut floor_synced) = (Times::default(), Times::default(), Times::default());
    let by_hand = Path::new("/srv/by-hand");
    std::fs::create_dir_all(by_hand).unwrap();
    for round in 0..rounds {
        let number = (round * 7919 + 1) % files.count;
        let path = files.path(number);
        let wanted = work::content(number % CONTENTS, 0);
        // A person's editor writes in place.
        let mut opened = std::fs::File::options().write(true).open(&path).unwrap();
        let inode = opened.metadata().unwrap().ino();
        let began = Instant::now();
        opened.write_all(b"somebody was here\n").unwrap();
        drop(opened);
        wait(&path, began, || std::fs::symlink_metadata(&path).is_ok_and(|now| now.ino() != inode));
        ours.push(began.elapsed());
        assert_eq!(std::fs::read(&path).unwrap(), wanted.as_bytes(), "{path}");
        std::thread::sleep(REST);
        same_steps(by_hand, wanted.as_bytes(), &mut floor, &mut floor_synced);
    }
    std::fs::remove_dir_all(by_hand).unwrap();
    let goal = Goal::ratio(1.5).and_most(2.5);
    say(Row::new(&format!("{name}: changed to restored, p50"), "ms", ours.median(), goal)
        .over(floor.median()));
    say(Row::new(&format!("{name}: changed to restored, p99"), "ms", ours.p99(), Goal::most(10.0))
        .over(floor.p99()));
    println!("the same steps up to the last sync: {:.2} ms", floor_synced.median());
}

/// An intent on disk, the new content on disk, a note of the old one on disk, both exchanged, the folders on disk.
/// `visible` ends where somebody who looks sees the right content.
fn same_steps(folder: &Path, bytes: &[u8], visible: &mut Times, synced: &mut Times) {
    let at = |name: &str| folder.join(name);
    std::fs::create_dir_all(at("store")).unwrap();
    let (home, store) = (std::fs::File::open(folder).unwrap(), std::fs::File::open(at("store")).unwrap());
    let mut log = std::fs::File::options().create(true).append(true).open(at("log")).unwrap();
    std::fs::write(at("file"), bytes).unwrap();
    home.sync_all().unwrap();
    let began = Instant::now();
    log.write_all(&[b'i'; 4096]).unwrap();
    log.sync_data().unwrap();
    let mut new = std::fs::File::create(at("new")).unwrap();
    new.write_all(bytes).unwrap();
    new.sync_data().unwrap();
    let mut note = std::fs::File::create(at("store/note.new")).unwrap();
    note.write_all(&[b'n'; 400]).unwrap();
    note.sync_data().unwrap();
    std::fs::rename(at("store/note.new"), at("store/note")).unwrap();
    store.sync_all().unwrap();
    let (here, there) = (at("file"), at("new"));
    let exchange = rustix::fs::RenameFlags::EXCHANGE;
    rustix::fs::renameat_with(rustix::fs::CWD, &there, rustix::fs::CWD, &here, exchange).unwrap();
    visible.push(began.elapsed());
    std::fs::rename(at("new"), at("store/old")).unwrap();
    home.sync_all().unwrap();
    store.sync_all().unwrap();
    synced.push(began.elapsed());
}

/// Deletes one rule after another by hand, never the same twice, and waits until each is there again.
pub fn firewall(rounds: usize) {
    let netfilter = SystemNetfilter::open().unwrap();
    let rules = said(&mut nft(&["list", "table", "inet", "agentd"]));
    assert!(rules.lines().count() > RULES, "{rules}");
    let file = Path::new("/run/bench.nft");
    std::fs::write(file, &rules).unwrap();
    let (mut ours, mut floor) = (Times::default(), Times::default());
    for round in 0..rounds {
        let port = (work::FIRST_PORT + round).to_string();
        said(nft(&["delete", "rule", "inet", "agentd", "input", "handle"]).arg(handle_of_rule(&port)));
        let (began, deleted) = (Instant::now(), netfilter.generation().unwrap());
        wait("the firewall", began, || netfilter.generation().unwrap() != deleted);
        ours.push(began.elapsed());
        assert_eq!(
            said(&mut nft(&["list", "table", "inet", "agentd"])).lines().count(),
            rules.lines().count()
        );
        std::thread::sleep(REST);
        // In an empty network of its own, where nobody watches.
        let apart = std::thread::spawn(move || {
            #[allow(unsafe_code)]
            // SAFETY: this thread alone moves to another network namespace, and ends right after.
            unsafe {
                rustix::thread::unshare_unsafe(UnshareFlags::NEWNET).unwrap();
            }
            let mut time = Times::default();
            time.of(|| said(&mut nft(&["-f", "/run/bench.nft"])));
            time.median()
        });
        floor.push(Duration::from_secs_f64(apart.join().unwrap() / 1e3));
    }
    let goal = Goal::most(30.0);
    let figure = "one of 200 firewall rules deleted to restored, floor: nft -f, p50";
    say(Row::new(figure, "ms", ours.median(), goal).over(floor.median()));
}

/// The number by which the kernel knows the rule of a port.
fn handle_of_rule(port: &str) -> String {
    let listed = said(&mut nft(&["-a", "list", "table", "inet", "agentd"]));
    let rule = listed.lines().find(|line| line.contains(&format!("dport {port} "))).unwrap();
    rule.rsplit(' ').next().unwrap().to_owned()
}

/// Stops each of W3's units once and waits until it runs again; between them restarts one that nobody holds.
pub fn services() {
    let systemd = Systemd::new();
    let (mut ours, mut floor) = (Times::default(), Times::default());
    for number in 0..UNITS {
        for (verb, unit, times) in [
            ("StopUnit", work::unit(number), &mut ours),
            ("RestartUnit", "bench-floor.service".to_owned(), &mut floor),
        ] {
            let before = systemd.process(&unit);
            times.of(|| {
                systemd.job(verb, &unit);
                wait(&unit, Instant::now(), || ![0, before].contains(&systemd.process(&unit)));
            });
            std::thread::sleep(REST);
        }
    }
    let goal = Goal::beyond(30.0);
    say(Row::new("service stopped to running, floor: its restart, p50", "ms", ours.median(), goal)
        .over(floor.median()));
}

/// Starts two units over and over, each from rest.
pub fn start(figure: &str, unit: &str, floor_unit: &str, beyond: f64, rounds: usize) {
    let (mut ours, mut floor) = (Times::default(), Times::default());
    for _ in 0..rounds {
        for (unit, times) in [(unit, &mut ours), (floor_unit, &mut floor)] {
            said(Command::new("systemctl").args(["stop", unit]));
            times.of(|| said(Command::new("systemctl").args(["start", unit])));
        }
    }
    say(Row::new(figure, "ms", ours.median(), Goal::beyond(beyond)).over(floor.median()));
}

/// Runs a command over and over, and beside it one that is its floor.
pub fn command(figure: &str, command: &str, floor_command: &str, beyond: f64, rounds: usize) {
    let (mut ours, mut floor) = (Times::default(), Times::default());
    let shell = |text: &str| said(Command::new("sh").args(["-c", text]));
    for _ in 0..rounds {
        ours.of(|| shell(command));
        floor.of(|| shell(floor_command));
    }
    say(Row::new(figure, "ms", ours.median(), Goal::beyond(beyond)).over(floor.median()));
}

/// The systemd of this host, asked without a detour.
struct Systemd {
    runtime: Runtime,
    bus: Connection,
}

impl Systemd {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let bus = runtime.block_on(Connection::system()).unwrap();
        Systemd { runtime, bus }
    }

    fn job(&self, verb: &str, unit: &str) {
        let (path, manager) = ("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager");
        let body = (unit, "replace");
        let called = self.bus.call_method(Some("org.freedesktop.systemd1"), path, Some(manager), verb, &body);
        self.runtime.block_on(called).unwrap();
    }

    /// The main process of a service; 0 while it has none.
    fn process(&self, unit: &str) -> u32 {
        let name = unit.replace('-', "_2d").replace('.', "_2e");
        let path = format!("/org/freedesktop/systemd1/unit/{name}");
        let properties = Some("org.freedesktop.DBus.Properties");
        let body = ("org.freedesktop.systemd1.Service", "MainPID");
        let systemd = Some("org.freedesktop.systemd1");
        let asked = self.bus.call_method(systemd, path.as_str(), properties, "Get", &body);
        let reply = self.runtime.block_on(asked).unwrap();
        let value: zbus::OwnedVariant = reply.body().deserialize().unwrap();
        u32::try_from(&*value).unwrap()
    }
}

fn nft(arguments: &[&str]) -> Command {
    let mut nft = Command::new("/usr/sbin/nft");
    nft.args(arguments);
    nft
}

fn said(command: &mut Command) -> String {
    let done = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(
        done.status.success(),
        "{command:?}: {} {text} {}",
        done.status,
        String::from_utf8_lossy(&done.stderr)
    );
    text
}

fn wait(what: &str, since: Instant, mut condition: impl FnMut() -> bool) {
    while !condition() {
        assert!(since.elapsed() < LIMIT, "{what} is not as declared again");
        std::thread::sleep(PEEK);
    }
}
