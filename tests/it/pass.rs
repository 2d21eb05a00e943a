//! The whole pass over real files on a root of its own: what is undeclared and unwanted, and how much may be taken
//! away.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use agentd::declaration::{ContentAt, compile};
use agentd::host::Host;
use agentd::host::accounts::ListedAccounts;
use agentd::host::clock::FakeClock;
use agentd::host::files::Root;
use agentd::host::netfilter::FakeNetfilter;
use agentd::host::program::SystemPrograms;
use agentd::host::units::FakeUnits;
use agentd::keep::{Contents, Keep, Limits};
use agentd::kind::file::Files;
use agentd::model::{DriftMode, ResourceId, ResourceStatus, Verdict};
use agentd::reconcile::gate::Patience;
use agentd::reconcile::lane::Lane;
use agentd::reconcile::memory::Forgetful;
use agentd::reconcile::pass::Removals;
use agentd::reconcile::{Engine, Order, PassReport, Purpose, Scope, World, pass};
use tempfile::TempDir;

/// An agent that looks after files alone.
struct Agent {
    host: Host,
    clock: Arc<FakeClock>,
    engine: Engine,
    memory: Forgetful,
    keep: Keep,
    contents: Contents,
    removals: Removals,
    /// The local settings'.
    mode: DriftMode,
    top: TempDir,
    _store: TempDir,
}

impl Agent {
    fn new() -> Self {
        assert!(nix::unistd::geteuid().is_root(), "this test must run as root");
        let (top, store) = (tempfile::tempdir_in("/tmp").unwrap(), tempfile::tempdir_in("/tmp").unwrap());
        let clock = Arc::new(FakeClock::at("2026-11-23T12:00:00Z".parse().unwrap()));
        let host = Host {
            root: Root::open(top.path()).unwrap(),
            programs: Arc::new(SystemPrograms),
            units: Arc::new(FakeUnits::new()),
            netfilter: Arc::new(FakeNetfilter::default()),
            accounts: Arc::new(ListedAccounts::new(&[("root", 0)], &[("root", 0)])),
            clock: Arc::clone(&clock) as _,
        };
        Agent {
            host,
            clock,
            engine: Engine::new(vec![Box::new(Lane::new(Files::default()))]),
            memory: Forgetful::default(),
            keep: Keep::open(&Root::open(store.path()).unwrap(), Limits::default()).unwrap(),
            contents: Contents::in_memory(),
            removals: Removals { limit: u32::MAX, ..Removals::default() },
            mode: DriftMode::Enabled,
            top,
            _store: store,
        }
    }

    fn declare(&mut self, text: &str) {
        let files = [("fleet.toml", "schema = 1\n"), ("hosts/web-1.toml", text)];
        let files: BTreeMap<String, Vec<u8>> =
            files.map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec())).into();
        let compiled = compile(&files, "web-1", &crate::declaration::facts())
            .unwrap_or_else(|faults| panic!("{faults:?}"));
        for at in compiled.contents.values() {
            let ContentAt::Here(bytes) = at else { panic!("not of this test: {at:?}") };
            self.contents.put(bytes).unwrap();
        }
        self.engine.adopt(Arc::new(compiled.desired), &mut self.memory).unwrap();
    }

    fn pass(&mut self) -> PassReport {
        self.pass_over(Scope::Full)
    }

    fn pass_over(&mut self, scope: Scope) -> PassReport {
        let world = World {
            host: &self.host,
            contents: &self.contents,
            keep: &self.keep,
            stopping: &AtomicBool::new(false),
            progress: &|_| {},
        };
        let order = Order {
            scope,
            purpose: Purpose::Apply,
            mode: self.mode,
            patience: Patience::Patient,
            removals: self.removals.clone(),
        };
        let report = pass(&mut self.engine, &world, &order, &mut self.memory);
        assert_eq!(report.record_fault, None);
        report
    }

    fn path(&self, path: &str) -> PathBuf {
        self.top.path().join(path.trim_start_matches('/'))
    }

    fn put(&self, path: &str) {
        std::fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        std::fs::write(self.path(path), "by hand").unwrap();
    }

    fn is_there(&self, path: &str) -> bool {
        self.path(path).exists()
    }
}

fn id(text: &str) -> ResourceId {
    text.parse().unwrap()
}

fn one(report: &PassReport) -> (&str, Verdict, ResourceStatus) {
    let [seen] = report.findings.as_slice() else { panic!("{:#?}", report.findings) };
    (seen.resource.key.as_str(), seen.verdict, seen.status)
}

/// Said of the one resource, of the host, or by the local settings, which nothing loosens.
#[test]
fn what_is_to_be_ignored_is_neither_told_nor_touched_in_a_whole_pass() {
    let file = |name: &str, more: &str| format!("[files.\"/srv/{name}\"]\ncontent = \"declared\\n\"\n{more}");
    let others = format!("[files.\"/srv/d\"]\nensure = \"directory\"\nexclusive = true\n{}", file("e", ""));
    let ignored = "drift = \"disabled\"\n";
    let everywhere = [
        (format!("{}{}{others}", file("a", ignored), file("b", "")), DriftMode::Enabled),
        (
            format!("{ignored}{}{}{others}", file("a", ""), file("b", "drift = \"enabled\"\n")),
            DriftMode::Enabled,
        ),
        (format!("{}{}{others}", file("a", ""), file("b", "drift = \"enabled\"\n")), DriftMode::Disabled),
    ];
    for (number, (text, mode)) in everywhere.into_iter().enumerate() {
        let mut agent = Agent::new();
        agent.mode = mode;
        agent.put("/srv/d/note");
        agent.declare(&text);
        // Also what was never right, and what is changed again.
        for round in 0..3 {
            ["a", "b", "e"].iter().for_each(|name| agent.put(&format!("/srv/{name}")));
            let report = agent.pass();
            let told: BTreeSet<&str> =
                report.findings.iter().map(|seen| seen.resource.key.as_str()).collect();
            let read = |name: &str| std::fs::read_to_string(agent.path(&format!("/srv/{name}"))).unwrap();
            assert_eq!(read("a"), "by hand", "{number}");
            let expected: &[&str] = match (number, round) {
                (0, 0) => &["/srv/b", "/srv/d/note", "/srv/e"],
                (0, _) => &["/srv/b", "/srv/e"],
                (1, _) => &["/srv/b"],
                (_, _) => &[],
            };
            assert_eq!(told, expected.iter().copied().collect(), "{number}, {round}");
            assert_eq!(report.outcomes.len(), expected.len(), "{number}, {round}: {:?}", report.outcomes);
            assert_eq!(read("b") == "declared\n", number < 2, "{number}, {round}");
            assert_eq!(
                (read("e") == "declared\n", agent.is_there("/srv/d/note")),
                (number == 0, number != 0)
            );
            assert!(!report.again, "{number}, {round}: nothing else is to be done");
            agent.clock.advance(Duration::from_secs(600));
        }
    }
}

const EXCLUSIVE: &str = "[files.\"/srv/d\"]\nensure = \"directory\"\nexclusive = true\n";

#[test]
fn what_is_undeclared_in_an_exclusive_directory_goes_by_the_mode_of_the_directory() {
    let mut agent = Agent::new();
    agent.declare(&format!("{EXCLUSIVE}drift = \"warn\"\n"));
    std::fs::create_dir_all(agent.path("/srv/d")).unwrap();
    agent.pass();
    agent.put("/srv/d/note");
    let report = agent.pass();
    assert_eq!(one(&report), ("/srv/d/note", Verdict::Drifted, ResourceStatus::Drifted));
    assert!(report.findings[0].declared.as_ref().unwrap().to_string().starts_with("hosts/web-1.toml"));
    assert!(agent.is_there("/srv/d/note"), "reported and left alone");
}

#[test]
fn a_suspension_of_the_directory_holds_for_what_is_in_it() {
    let mut agent = Agent::new();
    agent.declare(EXCLUSIVE);
    agent.pass();
    agent.memory.suspend(id("file:/srv/d"), "debugging");
    agent.put("/srv/d/note");
    let report = agent.pass();
    assert_eq!(one(&report), ("/srv/d/note", Verdict::Drifted, ResourceStatus::Suspended));
    assert!(agent.is_there("/srv/d/note"));
}

#[test]
fn what_was_there_before_the_directory_became_exclusive_is_the_doing_of_the_declaration() {
    let mut agent = Agent::new();
    agent.put("/srv/d/old");
    agent.declare(EXCLUSIVE);
    assert_eq!(one(&agent.pass()), ("/srv/d/old", Verdict::Behind, ResourceStatus::Synced));
    assert!(!agent.is_there("/srv/d/old"));
    agent.put("/srv/d/old");
    assert_eq!(one(&agent.pass()), ("/srv/d/old", Verdict::Drifted, ResourceStatus::Corrected));
}

#[test]
fn what_somebody_brings_back_again_and_again_is_removed_with_a_growing_wait() {
    let mut agent = Agent::new();
    agent.declare(EXCLUSIVE);
    agent.pass();
    let mut removed = 0;
    for _ in 0..60 {
        agent.put("/srv/d/cache");
        agent.pass();
        removed += usize::from(!agent.is_there("/srv/d/cache"));
        agent.clock.advance(Duration::from_secs(1));
    }
    // At 0, 2, 8 and 26 s.
    assert_eq!(removed, 4);
}

#[test]
fn a_link_in_the_place_of_an_exclusive_directory_takes_nothing_with_it_that_it_leads_to() {
    let mut agent = Agent::new();
    agent.declare(EXCLUSIVE);
    agent.pass();
    agent.put("/srv/elsewhere/treasure");
    std::fs::remove_dir(agent.path("/srv/d")).unwrap();
    std::os::unix::fs::symlink(agent.path("/srv/elsewhere"), agent.path("/srv/d")).unwrap();
    agent.memory.suspend(id("file:/srv/d"), "moving it");
    agent.pass();
    assert!(agent.is_there("/srv/elsewhere/treasure"));
}

/// Whoever reacts to our write at once is in a fight with us; our write is not one that will not stay.
#[test]
fn what_somebody_changes_in_the_very_pass_that_put_it_right_is_their_drift_and_the_next_pass_has_it() {
    let mut agent = Agent::new();
    let vandal = format!("echo by hand > {}", agent.path("/srv/a").display());
    let file = |name: &str, more: &str| format!("[files.\"/srv/{name}\"]\ncontent = \"{name}\\n\"\n{more}");
    let check = format!("check = [\"/bin/sh\", \"-c\", \"{vandal}\", \"{{new}}\"]\n");
    // What is checked is written after what is not: between the write of one and the look at both.
    agent.declare(&format!("{}{}", file("a", ""), file("b", &check)));
    let report = agent.pass();
    let told: Vec<_> = report.findings.iter().map(|seen| (seen.resource.key.as_str(), seen.status)).collect();
    assert_eq!(told, [("/srv/a", ResourceStatus::Synced), ("/srv/b", ResourceStatus::Synced)]);
    assert!(report.again, "nothing else may tell of it");
    assert_eq!(std::fs::read_to_string(agent.path("/srv/a")).unwrap(), "by hand\n");
    let report = agent.pass();
    assert_eq!(one(&report), ("/srv/a", Verdict::Drifted, ResourceStatus::Corrected));
    assert_eq!(std::fs::read_to_string(agent.path("/srv/a")).unwrap(), "a\n");
    assert!(!report.again);
}

/// A person asks for the fingerprint between a change and the news of it.
#[test]
fn what_was_read_for_somebody_to_see_is_no_echo_when_its_event_comes() {
    let mut agent = Agent::new();
    agent.declare("[files.\"/srv/a\"]\ncontent = \"a\\n\"\n");
    agent.pass();
    let event = || Scope::of([id("file:/srv/a")]);
    assert_eq!(agent.engine.without_echoes(&agent.host, event()), None, "what the pass itself wrote");
    agent.put("/srv/a");
    agent.engine.fingerprint(&agent.host);
    assert_eq!(agent.engine.without_echoes(&agent.host, event()), Some(event()));
    agent.pass();
    assert_eq!(agent.engine.without_echoes(&agent.host, event()), None);
    assert_eq!(std::fs::read_to_string(agent.path("/srv/a")).unwrap(), "a\n");
}

/// Two exclusive directories with eight files of others in each.
fn crowded() -> Agent {
    let mut agent = Agent::new();
    let other = EXCLUSIVE.replace("/srv/d", "/srv/e");
    agent.declare(&format!("{EXCLUSIVE}{other}"));
    agent.pass();
    for number in 0..8 {
        agent.put(&format!("/srv/d/{number}"));
        agent.put(&format!("/srv/e/{number}"));
    }
    agent.removals.limit = 10;
    agent
}

#[test]
fn what_a_full_pass_holds_back_no_narrower_pass_lets_go() {
    let mut agent = crowded();
    let report = agent.pass();
    assert_eq!(report.findings.len(), 16);
    assert!(report.findings.iter().all(|seen| seen.message.as_ref().unwrap().contains("16 resources")));
    for directory in ["file:/srv/d", "file:/srv/e"] {
        agent.pass_over(Scope::of([id(directory)]));
    }
    assert!((0..8).all(|n| agent.is_there(&format!("/srv/d/{n}")) && agent.is_there(&format!("/srv/e/{n}"))));
}

#[test]
fn an_approval_is_for_what_waited_when_it_was_given() {
    let mut agent = crowded();
    agent.pass();
    agent.removals.approved = agent.engine.held_removals().clone();
    agent.pass();
    assert!(!agent.is_there("/srv/d/0") && !agent.is_there("/srv/e/7"));
    for number in 0..11 {
        agent.put(&format!("/srv/d/new-{number}"));
    }
    agent.pass();
    assert!((0..11).all(|n| agent.is_there(&format!("/srv/d/new-{n}"))), "nobody approved of these");
    assert_eq!(agent.engine.held_removals().iter().cloned().collect::<BTreeSet<_>>().len(), 11);
}
