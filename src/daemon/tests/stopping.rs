//! Long passes, stops in the middle of everything, and the death of the other thread.

use super::forge::Step;
use super::*;
use crate::control::wire::HistoryQuery;
use crate::control::wire::HistoryReply;
use crate::control::wire::Progress;
use crate::host::program::{FakePrograms, Finished};
use crate::record::{AtWork, DriftFilter, History, PassFilter, Record, Settlement};

/// A pass that takes until this file is there: the check of what it lays down waits for it.
fn hold_passes(site: &Site) -> PathBuf {
    let gate = site.path("gate");
    let wait = until_there(&gate);
    site.forge.check_by(&["/bin/sh", "-c", &wait]);
    gate
}

/// A script that waits for a file, as long as there is a folder for it: it must not outlive its test.
fn until_there(gate: &Path) -> String {
    let folder = gate.parent().unwrap();
    format!("until [ -e {} ] || ! [ -d {} ]; do sleep 0.01; done", gate.display(), folder.display())
}

fn is_passing(site: &Site) -> bool {
    site.status().conditions.iter().any(|one| one.kind == "Reconciling" && one.status == Some(true))
}

#[test]
fn two_commits_during_one_long_pass_become_one_and_lose_no_content() {
    let mut site = Site::new();
    let gate = hold_passes(&site);
    site.forge.push("main", 'a', &[(MOTD, "a")]);
    site.start();
    site.is_at('a');
    until("the pass is at work", || is_passing(&site));
    site.forge.push("main", 'b', &[(MOTD, "b")]);
    until("b is compiled", || site.forge.compiles().contains(&'b'));
    site.forge.push("main", 'c', &[(MOTD, "c")]);
    until("c is compiled", || site.forge.compiles().contains(&'c'));
    assert_eq!(site.in_force(), Some('a'));
    std::fs::write(gate, "").unwrap();
    site.shows(MOTD, "c");
    let passes = Some(PassFilter::default());
    let history: HistoryReply =
        site.ask(&Request::History(HistoryQuery { id: None, drifts: None, passes })).unwrap();
    let commits: Vec<_> = history.passes.iter().filter_map(|pass| pass.commit.clone()).collect();
    assert!(!commits.contains(&forge::id('b')), "b was never in force: {commits:?}");
    assert_eq!(site.status().applied.unwrap().commit, forge::id('c'));
}

#[test]
fn the_remote_is_asked_also_while_a_new_revision_waits_for_a_long_pass() {
    let mut site = Site::new();
    hold_passes(&site);
    site.forge.push("main", 'a', &[(MOTD, "a")]);
    site.start();
    site.is_at('a');
    until("the pass is at work", || is_passing(&site));
    site.forge.push("main", 'b', &[(MOTD, "b")]);
    until("b is compiled", || site.forge.compiles().contains(&'b'));
    let before = site.forge.fetches().len();
    until("it is asked on", || site.forge.fetches().len() > before + 3);
}

#[test]
fn a_sync_is_not_answered_by_a_fetch_that_was_begun_before_it() {
    let site = Site::following(&[(MOTD, "a")]);
    site.forge.hold(Step::Fetch);
    until("a fetch is under way", || site.forge.holds());
    site.forge.push("main", 'b', &[(MOTD, "b")]);
    let (socket, (took, taken)) = (site.path("socket"), mpsc::channel());
    let sync = std::thread::spawn(move || sync_telling(socket, took));
    taken.recv_timeout(LIMIT).unwrap();
    site.forge.let_go();
    let reply = sync.join().unwrap();
    assert_eq!(reply.status.applied.unwrap().commit, forge::id('b'));
    assert_eq!(std::fs::read_to_string(site.file(MOTD)).unwrap(), "b");
}

/// Asks for a sync, and tells how far it is.
fn sync_telling(socket: PathBuf, took: mpsc::Sender<Progress>) -> SyncReply {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let order = Request::Sync(SyncOrder { fetch: FetchFirst::Yes });
    runtime.block_on(async {
        let mut client = Client::connect(&socket).await.unwrap();
        client.ask_with_progress(&order, &mut |stage| took.send(stage).unwrap_or_default()).await.unwrap()
    })
}

#[test]
fn a_sync_tells_that_it_asks_looks_changes_and_looks_once_more() {
    let site = Site::following(&[(MOTD, "a")]);
    // What is new is found by the sync alone.
    site.reload(|setup| setup.interval = Duration::from_secs(3600));
    site.sync();
    site.forge.push("main", 'b', &[(MOTD, "b")]);
    let (took, taken) = mpsc::channel();
    sync_telling(site.path("socket"), took);
    let told: Vec<Progress> = taken.iter().collect();
    let at = |stage: &Progress| told.iter().position(|one| one == stage);
    let stages =
        [Progress::Fetching, Progress::Observing, Progress::Applying { changes: 1 }, Progress::Verifying];
    let order: Vec<_> = stages.iter().map(at).collect();
    assert!(order.iter().all(Option::is_some) && order.is_sorted(), "{told:?}");
}

#[test]
fn it_stops_at_once_while_a_fetch_or_a_compile_is_under_way() {
    for step in [Step::Fetch, Step::Compile] {
        let mut site = Site::following(&[(MOTD, "a")]);
        site.forge.hold(step);
        site.forge.push("main", 'b', &[(MOTD, "b")]);
        until("it is under way", || site.forge.holds());
        site.stop().unwrap_or_else(|error| panic!("{step:?}: {error}"));
        site.forge.let_go();
    }
}

#[test]
fn it_stops_in_the_middle_of_a_pass_and_the_next_start_finishes_the_work() {
    let mut site = Site::new();
    let gate = hold_passes(&site);
    site.forge.push("main", 'a', &[(MOTD, "a")]);
    site.start();
    until("the pass is at work", || is_passing(&site));
    // A question that waits behind the pass does not hold it up either.
    let socket = site.path("socket");
    let plan = std::thread::spawn(move || ask::<serde_json::Value>(socket, &Request::Plan));
    site.stop().unwrap();
    assert!(plan.join().unwrap().is_err());
    std::fs::write(gate, "").unwrap();
    // In life the process ends here; in this test the step at hand ends and lets go of the record.
    let state = Root::open(site.path("state")).unwrap();
    until("the record is let go", || Record::open(&state, Arc::new(SystemClock)).is_ok());
    site.start();
    site.shows(MOTD, "a");
}

/// Files of apt's sources are one step, and come before all other files.
#[test]
fn told_to_stop_it_finishes_the_step_at_hand_and_begins_no_other() {
    const SOURCES: [&str; 2] = ["/etc/apt/sources.list.d/a.list", "/etc/apt/sources.list.d/b.list"];
    let mut site = Site::new();
    let (gate, begun) = (site.path("gate"), site.path("begun"));
    let wait = format!("touch {}; {}", begun.display(), until_there(&gate));
    site.forge.check_by(&["/bin/sh", "-c", &wait]);
    site.forge.push("main", 'a', &[(SOURCES[0], "a"), (SOURCES[1], "b"), (MOTD, "a")]);
    site.start();
    until("the first of them is being checked", || begun.exists());
    site.stop().unwrap();
    assert!(!site.file(SOURCES[1]).exists(), "the first of them is being checked");
    std::fs::write(gate, "").unwrap();
    // In life the process may end before; in this test the step at hand ends and lets go of the record.
    let state = Root::open(site.path("state")).unwrap();
    until("the record is let go", || Record::open(&state, Arc::new(SystemClock)).is_ok());
    for path in SOURCES {
        assert!(site.file(path).exists(), "{path} belongs to the step at hand");
    }
    assert!(!site.file(MOTD).exists(), "the next step is not begun");
    let history = History::open(&state).unwrap().unwrap();
    for path in SOURCES {
        let filter =
            DriftFilter { resource: Some(format!("file:{path}").parse().unwrap()), ..DriftFilter::default() };
        let drifts = history.drifts(&filter).unwrap();
        assert_eq!(
            drifts.iter().map(|one| one.result.clone()).collect::<Vec<_>>(),
            [Some(Settlement::Corrected)],
            "{path}"
        );
    }
    site.start();
    site.shows(MOTD, "a");
}

#[test]
fn a_panic_in_a_pass_or_in_a_question_is_the_end_of_the_agent_and_its_next_start_goes_on() {
    let mut site = Site::new();
    site.programs = Arc::new(FakePrograms::answering(|_| panic!("a check that was not foreseen")));
    site.forge.check_by(&["/bin/true"]);
    site.forge.push("main", 'a', &[(MOTD, "a")]);
    site.start();
    assert!(matches!(site.end(), Err(DaemonError::Died)), "it must not go on without anyone to pass");
    let done = |_: &_| Ok(Finished { code: Some(0), stdout: Vec::new(), stderr: Vec::new() });
    site.programs = Arc::new(FakePrograms::answering(done));
    site.start();
    site.shows(MOTD, "a");
}

/// Each start meets the same again. The one before it in the order of a pass, the one after it.
#[test]
fn what_the_agent_dies_of_each_time_is_left_alone_and_starves_nothing_else() {
    let file = |name: &str| format!("/srv/agentd-test/{name}");
    let (before, poison, after) = (file("a"), file("poison"), file("z"));
    let fine = |_: &_| Ok(Finished { code: Some(0), stdout: Vec::new(), stderr: Vec::new() });
    let mut site = Site::new();
    site.programs = Arc::new(FakePrograms::answering(move |run| {
        match run.args.iter().any(|one| one.contains("poison")) {
            true => panic!("a content that was not foreseen"),
            false => fine(run),
        }
    }));
    site.forge.check_by(&["/bin/true", "{new}"]);
    site.forge.push("main", 'a', &[(&before, "before"), (&poison, "poison"), (&after, "after")]);
    let line = |site: &Site| {
        let reply: Option<StatusReply> = site.ask(&Request::Status).ok();
        let lines = reply.into_iter().flat_map(|reply| reply.status.resources);
        lines.into_iter().find(|line| line.resource.key.as_str() == poison)
    };
    let is_shunned = |site: &Site| {
        line(site).is_some_and(|line| line.message.unwrap_or_default().contains("died 3 times"))
    };
    let mut deaths = 0;
    loop {
        site.start();
        let has_died = || site.running.as_ref().unwrap().thread.is_finished();
        until("it dies, or leaves alone what it dies of", || has_died() || is_shunned(&site));
        if !has_died() {
            break;
        }
        assert!(matches!(site.end(), Err(DaemonError::Died)));
        deaths += 1;
        assert!(deaths < 6, "it dies on and on");
    }
    assert_eq!(deaths, 4, "once of it does not know what, thrice of that");
    site.shows(&before, "before");
    site.shows(&after, "after");
    assert!(!site.file(&poison).exists());
    let status = site.status();
    assert_eq!(status.health, crate::model::Health::Degraded);
    assert!(
        status.notes.iter().any(|note| note.contains("died while it was at work on file:")),
        "{:?}",
        status.notes
    );
    // It goes on holding the host, and a restart does not make it forget.
    std::fs::write(site.file(&after), "vandal").unwrap();
    site.programs = Arc::new(FakePrograms::answering(fine));
    site.restart();
    site.shows(&after, "after");
    until("it is still left alone", || is_shunned(&site));
    // A person says that it is to be tried.
    site.sync();
    site.shows(&poison, "poison");
    site.restart();
    until("all is well", || site.status().health == crate::model::Health::Healthy);
    assert_eq!(line(&site), None);
}

/// A hang that the watchdog ends, or a crash while the host is read: then it is a whole kind.
#[test]
fn a_kind_that_the_agent_dies_of_is_not_looked_at_and_told_as_unknown() {
    let mut site = Site::following(&[(MOTD, "a")]);
    site.stop().unwrap();
    for _ in 0..3 {
        let state = Root::open(site.path("state")).unwrap();
        let (at_work, _) = AtWork::open(&state, env!("CARGO_PKG_VERSION"), jiff::Timestamp::now()).unwrap();
        at_work.begin("file".to_owned());
    }
    std::fs::write(site.file(MOTD), "vandal").unwrap();
    site.start();
    until("it is told", || {
        let lines = site.status().resources;
        lines.iter().any(|line| line.message.as_ref().is_some_and(|why| why.contains("died 3 times")))
    });
    assert_eq!(site.status().sync, crate::model::Sync::Unknown);
    assert_eq!(std::fs::read_to_string(site.file(MOTD)).unwrap(), "vandal");
    site.sync();
    site.shows(MOTD, "a");
}

#[test]
fn a_worker_that_panics_is_a_failure_that_is_tried_again() {
    let site = Site::following(&[(MOTD, "a")]);
    // A commit that the forge does not know makes its compiler panic.
    site.forge.push_unknown("main", 'f');
    until("it failed", || site.status().source.error.is_some());
    assert_eq!((site.status().rejected, site.in_force()), (None, Some('a')));
    site.forge.push("main", 'b', &[(MOTD, "b")]);
    site.shows(MOTD, "b");
}
