//! What a pass costs that finds nothing to do, and what a look at one file costs, in this process.

use std::time::Duration;

use agentd::host::memory;
use tokio::runtime::Runtime;
use zbus::Connection;

use crate::clock::{Times, cpu, forget_peak, peak};
use crate::row::{Goal, Row};
use crate::say;
use crate::site::{Names, Site};
use crate::work::{self, FEW, Files, MANY, UNITS, W1, W2, W3};

/// What a converged pass may take besides its floor, and how long it may take on a machine of today.
const RATIO: f64 = 1.5;

pub fn w1() {
    quiet("W1, 1,000 files", &W1, None, 4.0, 201);
}

pub fn w2() {
    quiet("W2, 10,000 files", &W2, None, 30.0, 81);
    first_look();
}

pub fn w3() {
    quiet("W3, a server", &W3, Some(Server::new()), 6.0, 201);
}

fn quiet(name: &str, files: &Files, server: Option<Server>, most: f64, rounds: usize) {
    let mut site = Site::lay(files, server.as_ref().map(|server| work::server(&server.packages)));
    site.settle();
    memory::give_back();
    forget_peak();
    let names = Names::of(files);
    let (mut ours, mut floor) = (Times::default(), Times::default());
    let (mut our_cpu, mut floor_cpu) = (0.0, 0.0);
    let (mut opened, mut started) = (0, 0);
    for _ in 0..rounds {
        let before = cpu();
        let report = ours.of(|| site.quiet_pass());
        let between = cpu();
        floor.of(|| {
            names.look();
            if let Some(server) = &server {
                server.look(&site);
            }
        });
        floor_cpu += cpu() - between;
        our_cpu += between - before;
        opened += report.work.files_opened;
        started += report.work.programs_started;
    }
    let each = |sum: f64| sum / rounds as f64;
    say(Row::new(&format!("{name}: pass"), "ms", ours.median(), Goal::ratio(RATIO).and_most(most))
        .over(floor.median()));
    say(Row::new(&format!("{name}: its CPU"), "ms", each(our_cpu), Goal::ratio(RATIO)).over(each(floor_cpu)));
    let none = Goal::most(0.0);
    say(Row::new(&format!("{name}: files opened for content"), "", opened as f64, none));
    say(Row::new(&format!("{name}: processes started"), "", started as f64, none));
    say(Row::new(&format!("{name}: largest while passing"), "MiB", peak(), Goal::default()));
    site.remove();
}

/// The first pass of a process, which knows no content yet.
fn first_look() {
    let names = Names::of(&W2);
    Site::lay(&W2, None);
    // What was just written may not be trusted by its times alone.
    std::thread::sleep(Duration::from_millis(50));
    let (mut ours, mut floor) = (Times::default(), Times::default());
    for _ in 0..11 {
        floor.of(|| names.hash());
        let mut site = Site::take_up(&W2, None);
        let report = ours.of(|| site.quiet_pass());
        assert!(report.work.files_opened >= W2.count as u64, "{:?}", report.work);
    }
    let goal = Goal::ratio(1.25);
    say(Row::new("W2: first look, all content read", "ms", ours.median(), goal).over(floor.median()));
    std::fs::remove_dir_all(W2.base).unwrap();
}

/// How both grow with the number of files.
pub fn growth() {
    let mut sites = [&FEW, &W2, &MANY].map(|files| {
        let mut site = Site::lay(files, None);
        site.settle();
        (site, Times::default(), Times::default())
    });
    for round in 0..9 {
        for ((site, passes, looks), files) in sites.iter_mut().zip([&FEW, &W2, &MANY]) {
            passes.of(|| site.quiet_pass());
            for step in 0..5 {
                let path = files.path((round * 5 + step) * 7919 % files.count);
                std::fs::write(&path, "somebody was here\n").unwrap();
                looks.of(|| site.put_right(&path));
            }
        }
    }
    let [(_, _, few), (_, w2, _), (_, many, of_many)] = &sites;
    say(Row::new("pass over 100,000 files, floor: ours over 10,000", "ms", many.median(), Goal::ratio(12.0))
        .over(w2.median()));
    say(Row::new("one of 100,000 put right, floor: ours of 100", "ms", of_many.median(), Goal::ratio(1.25))
        .over(few.median()));
    sites.into_iter().for_each(|(site, ..)| site.remove());
}

/// What W3 has besides files, and the least to see that it is as it was.
struct Server {
    packages: Vec<String>,
    units: Vec<String>,
    runtime: Runtime,
    bus: Connection,
}

impl Server {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let bus = runtime.block_on(Connection::system()).unwrap();
        let packages = installed();
        println!("W3 on this host: {} packages", packages.len().min(work::PACKAGES));
        Server { packages, units: (0..UNITS).map(work::unit).collect(), runtime, bus }
    }

    /// One look at the file of dpkg's database, one list of units, one generation of the packet filter.
    fn look(&self, site: &Site) {
        std::hint::black_box(std::fs::metadata("/var/lib/dpkg/status").unwrap());
        std::hint::black_box(site.host.netfilter.generation().unwrap());
        let systemd = "org.freedesktop.systemd1";
        let manager = (Some(systemd), "/org/freedesktop/systemd1", Some("org.freedesktop.systemd1.Manager"));
        let listed = self.runtime.block_on(self.bus.call_method(
            manager.0,
            manager.1,
            manager.2,
            "ListUnitsByNames",
            &(&self.units,),
        ));
        std::hint::black_box(listed.unwrap());
    }
}

pub fn installed() -> Vec<String> {
    let listed =
        std::process::Command::new("dpkg-query").args(["-W", "-f", "${Package}\n"]).output().unwrap();
    String::from_utf8(listed.stdout).unwrap().lines().map(str::to_owned).collect()
}
