//! The command line in a sealed world: a fake agent on a real socket, a clock that stands, buffers for the output.

use std::sync::{Arc, Mutex};

use jiff::tz::TimeZone;
use serde_json::json;
use tempfile::TempDir;

use super::outside::{Outside, Terminal};
use super::{Exit, run};
use crate::control::wire::*;
use crate::control::{Access, Agent, Asked, Limits, Refusal, Reply, Request, bind, serve};
use crate::host::Host;
use crate::host::clock::FakeClock;
use crate::reconcile::Engine;

mod samples;

/// What the fake agent answers: a reply, or a refusal.
type Answers = Box<dyn Fn(&Request) -> Result<Reply, Refusal> + Send + Sync>;

struct Fake {
    answers: Answers,
    asked: Mutex<Vec<Request>>,
}

impl Agent for Fake {
    fn ask(&self, asked: Asked) {
        let Asked { request, replies, .. } = asked;
        if matches!(request, Request::Sync(_)) {
            replies.more(Reply::Progress(ProgressReply { progress: Progress::Fetching }));
        }
        let answer = (self.answers)(&request);
        self.asked.lock().unwrap().push(request);
        replies.finish(answer);
    }

    fn access(&self) -> Access {
        Access::default()
    }
}

/// What came of one command line.
#[derive(Debug)]
struct Done {
    exit: Exit,
    out: String,
    err: String,
}

struct Bench {
    dir: TempDir,
    terminal: Terminal,
    fake: Option<Arc<Fake>>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Bench {
    /// Without an agent.
    fn alone() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Bench { dir, terminal: Terminal::PLAIN, fake: None, stop: None, thread: None }
    }

    /// With an agent that gives these answers.
    fn with(answers: impl Fn(&Request) -> Result<Reply, Refusal> + Send + Sync + 'static) -> Self {
        let mut bench = Bench::alone();
        let fake = Arc::new(Fake { answers: Box::new(answers), asked: Mutex::default() });
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (path, agent) = (bench.dir.path().join("control.sock"), fake.clone());
        bench.thread = Some(std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = bind(&path, None).unwrap();
                ready.send(()).unwrap();
                tokio::select! {
                    () = serve(listener, agent, Limits::default()) => {}
                    _ = stopped => {}
                }
            });
        }));
        is_ready.recv().unwrap();
        (bench.fake, bench.stop) = (Some(fake), Some(stop));
        bench
    }

    fn run(&self, line: &[&str]) -> Done {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        let (socket, config, state) = (path("control.sock"), path("config"), path("state"));
        let sealed = ["--socket", &socket, "--config", &config, "--state", &state];
        let words = ["agentctl"].iter().chain(line).chain(&sealed).map(Into::into);
        let exit = run(words.collect::<Vec<_>>(), &mut self.outside(&mut out, &mut err));
        let text =
            |bytes| String::from_utf8(bytes).unwrap().replace(&self.dir.path().display().to_string(), "DIR");
        Done { exit, out: text(out), err: text(err) }
    }

    fn outside<'a>(&self, out: &'a mut Vec<u8>, err: &'a mut Vec<u8>) -> Outside<'a> {
        let refuse: fn() -> std::io::Result<Host> = || Err(std::io::Error::other("sealed"));
        Outside {
            out,
            err,
            terminal: self.terminal,
            clock: Arc::new(FakeClock::at(samples::NOW.parse().unwrap())),
            zone: TimeZone::UTC,
            here: self.dir.path().to_owned(),
            host: refuse,
            engine: || Engine::new(Vec::new()),
        }
    }

    fn asked(&self) -> Vec<Request> {
        self.fake.as_ref().unwrap().asked.lock().unwrap().clone()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn status_of(snapshot: crate::status::Snapshot) -> Bench {
    Bench::with(move |_| Ok(Reply::Status(Box::new(StatusReply { status: snapshot.clone() }))))
}

fn plain(done: &Done) -> &str {
    assert!(!done.out.contains('\u{1b}'), "an escape without a terminal: {}", done.out);
    assert_eq!(done.err, "");
    &done.out
}

#[test]
fn status_of_a_host_in_sync() {
    let done = status_of(samples::synced()).run(&["status"]);
    assert_eq!(done.exit, Exit::Good);
    insta::assert_snapshot!(plain(&done));
}

#[test]
fn status_of_a_host_where_everything_happens() {
    let done = status_of(samples::troubled()).run(&["status"]);
    assert_eq!(done.exit, Exit::Differs);
    insta::assert_snapshot!(plain(&done));
}

#[test]
fn status_on_a_narrow_terminal_with_colours() {
    let mut bench = status_of(samples::troubled());
    bench.terminal = Terminal { colour: true, interactive: true, width: Some(80) };
    let done = bench.run(&["status"]);
    insta::assert_snapshot!(done.out.replace('\u{1b}', "^"));
    let done = bench.run(&["status", "--color", "never"]);
    assert!(!done.out.contains('\u{1b}'));
}

#[test]
fn status_before_the_first_revision_could_not_tell() {
    let done = status_of(samples::fresh()).run(&["status"]);
    assert_eq!(done.exit, Exit::Failed);
    insta::assert_snapshot!(plain(&done));
}

#[test]
fn status_in_json_is_the_snapshot() {
    let done = status_of(samples::troubled()).run(&["status", "--json"]);
    assert_eq!(done.exit, Exit::Differs);
    let read: crate::status::Snapshot = serde_json::from_str(&done.out).unwrap();
    assert_eq!(read, samples::troubled());
}

#[test]
fn text_of_others_never_reaches_the_terminal_as_it_is() {
    for (line, reply) in samples::hostile() {
        let mut bench = Bench::with(move |_| Ok(reply.clone()));
        for terminal in [Terminal::PLAIN, Terminal { colour: true, interactive: true, width: Some(60) }] {
            bench.terminal = terminal;
            let done = bench.run(&line);
            let own = ["0", "1", "2", "32", "33", "1;31", "36"].map(|code| format!("\u{1b}[{code}m"));
            let rest = own.iter().fold(done.out.clone(), |text, code| text.replace(code, ""));
            let bad = rest.chars().find(|c| (c.is_control() && !"\n\t".contains(*c)) || *c == '\u{202e}');
            assert_eq!(bad, None, "{line:?}: {rest:?}");
            assert!(rest.contains("\\u{1b}"), "{line:?} shows nothing of it: {rest}");
        }
    }
}

#[test]
fn diff_shows_fields_and_contents_and_no_secret() {
    let bench = Bench::with(|_| Ok(Reply::Diff(samples::diff())));
    let done = bench.run(&["diff", "file:/etc/motd", "package:curl"]);
    assert_eq!(done.exit, Exit::Differs);
    insta::assert_snapshot!(plain(&done));
    let resources = vec!["file:/etc/motd".parse().unwrap(), "package:curl".parse().unwrap()];
    assert_eq!(bench.asked(), [Request::Diff(DiffQuery { resources })]);
    let read: DiffReply = serde_json::from_str(&bench.run(&["diff", "--json"]).out).unwrap();
    assert_eq!(read, samples::diff());
}

#[test]
fn diff_tells_in_sync_from_unread() {
    let done = Bench::with(|_| Ok(Reply::Diff(DiffReply::default()))).run(&["diff"]);
    assert_eq!((done.exit, plain(&done)), (Exit::Good, "nothing differs\n"));
    let unread = Unread { what: "firewall".into(), why: "nft is missing: install nftables".into() };
    let reply = DiffReply { unknown: vec![unread], ..DiffReply::default() };
    let done = Bench::with(move |_| Ok(Reply::Diff(reply.clone()))).run(&["diff"]);
    assert_eq!(done.exit, Exit::Failed);
    assert_eq!(plain(&done), "could not read firewall: nft is missing: install nftables\n");
}

#[test]
fn plan_shows_what_would_be_done_in_order_and_what_holds_it() {
    let bench = Bench::with(|_| Ok(Reply::Plan(samples::plan())));
    let done = bench.run(&["plan"]);
    assert_eq!(done.exit, Exit::Differs);
    insta::assert_snapshot!(plain(&done));
    let read: PlanReply = serde_json::from_str(&bench.run(&["plan", "--json"]).out).unwrap();
    assert_eq!(read, samples::plan());
    let unread = Unread { what: "file:/etc/broken".into(), why: "input/output error".into() };
    let blind = PlanReply { unknown: vec![unread], ..samples::plan() };
    let done = Bench::with(move |_| Ok(Reply::Plan(blind.clone()))).run(&["plan"]);
    assert_eq!(done.exit, Exit::Failed);
    assert!(done.out.contains("could not read file:/etc/broken: input/output error\n"), "{}", done.out);
    let done = Bench::with(|_| Ok(Reply::Plan(PlanReply::default()))).run(&["plan"]);
    assert_eq!((done.exit, plain(&done)), (Exit::Good, "nothing to do: the host is as declared\n"));
}

#[test]
fn sync_shows_what_it_did() {
    let bench = Bench::with(|_| Ok(Reply::Sync(Box::new(samples::sync()))));
    let done = bench.run(&["sync"]);
    assert_eq!(done.exit, Exit::Differs);
    insta::assert_snapshot!(plain(&done));
    bench.run(&["sync", "--no-fetch"]);
    let fetches: Vec<FetchFirst> = bench
        .asked()
        .into_iter()
        .map(|request| match request {
            Request::Sync(order) => order.fetch,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(fetches, [FetchFirst::Yes, FetchFirst::No]);
}

#[test]
fn progress_is_for_terminals_alone_and_cleans_up_after_itself() {
    let mut bench = Bench::with(|_| Ok(Reply::Sync(Box::new(samples::sync()))));
    bench.terminal.interactive = true;
    let done = bench.run(&["sync"]);
    assert_eq!(done.err, "\r\u{1b}[Kasking the remote ...\r\u{1b}[K");
}

#[test]
fn sync_fails_when_the_remote_could_not_be_asked() {
    let reply = SyncReply { fetch_error: Some("no route to host".into()), ..samples::sync() };
    let done = Bench::with(move |_| Ok(Reply::Sync(Box::new(reply.clone())))).run(&["sync"]);
    assert_eq!(done.exit, Exit::Failed);
    assert!(done.out.starts_with("the remote could not be asked: no route to host\n"), "{}", done.out);
}

#[test]
fn history_lists_tells_stories_and_filters() {
    let bench = Bench::with(|_| Ok(Reply::History(samples::history())));
    insta::assert_snapshot!("history_drifts", plain(&bench.run(&["history"])));
    insta::assert_snapshot!("history_passes", plain(&bench.run(&["history", "--passes"])));
    insta::assert_snapshot!("history_story", plain(&bench.run(&["history", "--id", "17"])));
    let line = ["history", "file:/etc/motd", "--verdict", "drifted", "--since", "2h", "-n", "3"];
    bench.run(&line);
    let Request::History(query) = bench.asked().pop().unwrap() else { panic!() };
    let expected = json!({
        "resource": "file:/etc/motd", "kind": null, "verdict": "drifted",
        "since": "2026-11-23T12:00:00Z", "until": null, "limit": 3,
    });
    assert_eq!(serde_json::to_value(query.drifts.unwrap()).unwrap(), expected);
    assert_eq!(query.passes, None);
}

#[test]
fn history_of_a_drift_that_is_not_there_fails() {
    let done = Bench::with(|_| Ok(Reply::History(HistoryReply::default()))).run(&["history", "--id", "9"]);
    assert_eq!(done.exit, Exit::Failed);
    assert_eq!(done.err, "agentctl: there is no drift 9: `agentctl history` lists them\n");
}

#[test]
fn verify_says_whole_or_where_it_breaks() {
    for (verification, exit, name) in samples::verifications() {
        let reply = Reply::Verified(VerifyReply { verification });
        let bench = Bench::with(move |_| Ok(reply.clone()));
        let head = format!("12:{}", "ab".repeat(32));
        let done = bench.run(&["history", "--verify", "--head", &head]);
        assert_eq!(done.exit, exit);
        insta::assert_snapshot!(name, plain(&done));
        let Request::Verify(query) = bench.asked().pop().unwrap() else { panic!() };
        assert_eq!(query.head.unwrap().seq, 12);
    }
}

#[test]
fn history_is_read_from_the_record_when_no_agent_runs() {
    let bench = Bench::alone();
    let state = bench.dir.path().join("state");
    std::fs::DirBuilder::new().create(&state).unwrap();
    samples::record(&state);
    let done = bench.run(&["history"]);
    assert_eq!(done.exit, Exit::Good, "{}", done.err);
    assert!(done.out.contains("file:/etc/motd"), "{}", done.out);
    assert_eq!(bench.run(&["history", "--verify"]).exit, Exit::Good);
    assert_eq!(bench.run(&["history", "--passes"]).exit, Exit::Good);
}

#[test]
fn explain_tells_everything() {
    let done = Bench::with(|_| Ok(Reply::Explain(Box::new(samples::explanation()))))
        .run(&["explain", "file:/etc/motd"]);
    assert_eq!(done.exit, Exit::Good);
    insta::assert_snapshot!(plain(&done));
}

#[test]
fn fingerprint_prints_the_tree() {
    let bench = Bench::with(|_| Ok(Reply::Fingerprint(samples::fingerprint())));
    insta::assert_snapshot!("fingerprint_kinds", plain(&bench.run(&["fingerprint"])));
    insta::assert_snapshot!("fingerprint_all", plain(&bench.run(&["fingerprint", "--all"])));
}

#[test]
fn suspend_resume_restore_confirm_and_approve_say_what_they_did() {
    let bench = Bench::with(samples::answer_to_orders);
    let mut told = String::new();
    for line in [
        &["suspend", "file:/etc/motd", "--for", "2h", "--reason", "night fix"][..],
        &["suspend", "--all", "--for", "1h30m", "--reason", "x"],
        &["resume", "file:/etc/motd"],
        &["resume", "--all"],
        &["restore", "/etc/motd"],
        &["restore", "17", "--for", "1h"],
        &["confirm"],
        &["approve", "4f0c1d2"],
    ] {
        let done = bench.run(line);
        told.push_str(&format!("$ agentctl {}\n{}[{}]\n", line.join(" "), plain(&done), done.exit.code()));
    }
    insta::assert_snapshot!(told);
    let asked = bench.asked();
    let Request::Suspend(order) = &asked[1] else { panic!() };
    assert_eq!((order.target.to_string().as_str(), order.seconds), ("all", 5400));
    assert!(
        matches!(&asked[4], Request::Restore(RestoreOrder { what: RestoreWhat::Path(path), seconds: 7200 }) if path == "/etc/motd")
    );
    assert!(
        matches!(&asked[5], Request::Restore(RestoreOrder { what: RestoreWhat::Drift(id), .. }) if id.0 == 17)
    );
}

#[test]
fn what_makes_no_sense_is_refused_before_anybody_is_asked() {
    let bench = Bench::with(samples::answer_to_orders);
    for line in [
        &["suspend", "file:/etc/motd", "--reason", "x"][..],
        &["suspend", "file:/etc/motd", "--for", "2 hours", "--reason", "x"],
        &["suspend", "file:/etc/motd", "--for", "2h"],
        &["suspend", "--for", "2h", "--reason", "x"],
        &["suspend", "file", "--all", "--for", "2h", "--reason", "x"],
        &["suspend", "fiel", "--for", "2h", "--reason", "x"],
        &["resume"],
        &["explain", "/etc/motd"],
        &["restore", "motd"],
        &["history", "--since", "yesterday"],
        &["history", "--id", "1", "--kind", "file"],
        &["history", "--head", "1:ff"],
        &["plan", "--repo", "."],
        &["plan", "--host", "x"],
        &["enroll", "--url", "https://git.example.org/f.git"],
        &["enroll", "--url", "/x", "--branch", "main", "--mode", "disabled"],
        &["enroll", "--url", "/x", "--branch", "main", "--label", "site"],
        &["enroll", "--url", "/x", "--branch", "main", "--token-file", "a", "--ssh-key", "b"],
        &["destroy"],
        &[],
    ] {
        let done = bench.run(line);
        assert_eq!(done.exit, Exit::Failed, "{line:?}");
        assert!(done.out.is_empty() && !done.err.is_empty(), "{line:?}");
    }
    assert!(bench.asked().is_empty());
}

#[test]
fn without_an_agent_every_question_says_so_and_fails() {
    let bench = Bench::alone();
    for line in [
        &["status"][..],
        &["diff"],
        &["plan"],
        &["sync"],
        &["fingerprint"],
        &["explain", "file:/x"],
        &["history"],
    ] {
        let done = bench.run(line);
        assert_eq!((done.exit, done.out.as_str()), (Exit::Failed, ""), "{line:?}");
        assert!(
            done.err.starts_with("agentctl: agentd is not running (nothing answers at DIR/control.sock)"),
            "{}",
            done.err
        );
    }
}

#[test]
fn a_refusal_is_told_in_the_agents_words() {
    let what = "file:/etc/x is not declared\u{1b}]0;title\u{7}".to_owned();
    let bench = Bench::with(move |_| Err(Refusal::NotFound { what: what.clone() }));
    let done = bench.run(&["explain", "file:/etc/x"]);
    assert_eq!(done.exit, Exit::Failed);
    insta::assert_snapshot!(done.err);
}

const FLEET: [(&str, &str); 3] = [
    ("fleet.toml", "schema = 1\n"),
    ("hosts/web.toml", "[files.\"/etc/motd\"]\ncontent = \"hello\\n\"\n"),
    ("README.md", "# not TOML"),
];

fn lay(folder: &std::path::Path, files: &[(&str, &str)]) {
    let root = crate::host::files::Root::open(folder).unwrap();
    let ours = |mode| crate::host::files::Attributes {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        mode,
    };
    for (path, text) in files {
        root.create_dirs(std::path::Path::new(path).parent().unwrap(), ours(0o755)).unwrap();
        root.write(path, text.as_bytes(), ours(0o644)).unwrap();
    }
}

#[test]
fn check_finds_all_faults_of_a_folder() {
    let bench = Bench::alone();
    lay(bench.dir.path(), &FLEET);
    let done = bench.run(&["check", "."]);
    assert_eq!((done.exit, plain(&done)), (Exit::Good, "checked 1 host: 0 errors, 0 warnings\n"));
    lay(bench.dir.path(), &[("hosts/db.toml", "[files.\"/etc/motd\"]\nmoed = \"0644\"\n[packges]\n")]);
    let done = bench.run(&["check"]);
    assert_eq!(done.exit, Exit::Differs);
    insta::assert_snapshot!(plain(&done));
    let report: crate::declaration::CheckReport =
        serde_json::from_str(&bench.run(&["check", "--json"]).out).unwrap();
    assert!(report.has_errors());
    let done = bench.run(&["check", "nowhere"]);
    assert_eq!(done.exit, Exit::Failed);
    assert!(done.err.contains("could not read DIR/nowhere"), "{}", done.err);
}

#[test]
fn a_plan_from_a_folder_tells_faults_of_the_declaration_first() {
    let bench = Bench::alone();
    lay(bench.dir.path(), &[("fleet.toml", "schema = 1\n"), ("hosts/db.toml", "[packges]\n")]);
    let done = bench.run(&["plan", "--repo", ".", "--host", "db"]);
    assert_eq!(done.exit, Exit::Failed);
    assert!(
        done.err.contains("hosts/db.toml:1") && done.err.contains("the declaration is refused"),
        "{}",
        done.err
    );
}

#[test]
fn enrolling_offline_writes_the_settings_and_asks_nobody() {
    let bench = Bench::alone();
    let line = [
        "enroll",
        "--url",
        "https://git.example.org/f.git",
        "--branch",
        "main",
        "--offline",
        "--label",
        "site=north",
    ];
    let done = bench.run(&line);
    assert_eq!(done.exit, Exit::Good, "{}", done.err);
    insta::assert_snapshot!(plain(&done));
    let settings = crate::config::load(&bench.dir.path().join("config")).unwrap();
    assert_eq!(settings.mode, crate::model::DriftMode::Warn);
    assert_eq!(settings.labels["site"], "north");
}

#[test]
fn enrolling_with_settings_that_make_no_sense_writes_nothing() {
    let bench = Bench::alone();
    for url in ["http://git.example.org/f.git", "ssh://git@git.example.org/f.git", "/nowhere/at/all"] {
        let done = bench.run(&["enroll", "--url", url, "--branch", "main"]);
        assert_eq!(done.exit, Exit::Failed, "{url}");
        assert_eq!(crate::config::load(&bench.dir.path().join("config")).unwrap().source, None, "{url}");
    }
}

#[test]
fn help_of_every_command_fits_and_has_an_example_of_nothing_internal() {
    let bench = Bench::alone();
    let mut all = bench.run(&["--help"]).out;
    for name in [
        "enroll",
        "status",
        "diff",
        "plan",
        "sync",
        "suspend",
        "resume",
        "confirm",
        "approve",
        "history",
        "explain",
        "check",
        "fingerprint",
        "restore",
    ] {
        let done = bench.run(&[name, "--help"]);
        assert_eq!(done.exit, Exit::Good, "{name}");
        all.push_str(&format!("\n$ agentctl {name} --help\n{}", done.out));
    }
    assert!(all.lines().all(|line| line.chars().count() <= 100));
    assert!(!all.contains("--socket") && !all.contains("generate"));
    insta::assert_snapshot!(all);
}

#[test]
fn man_pages_and_completions_are_made_for_every_command() {
    let bench = Bench::alone();
    let folder = bench.dir.path().join("made");
    let name = folder.display().to_string();
    assert_eq!(bench.run(&["generate", "man", &name]).exit, Exit::Good);
    assert_eq!(bench.run(&["generate", "completions", &name]).exit, Exit::Good);
    let root = crate::host::files::Root::open(&folder).unwrap();
    let names: Vec<String> =
        root.list("").unwrap().unwrap().into_iter().map(|entry| entry.name.into_string().unwrap()).collect();
    assert_eq!(names.len(), 15 + 3, "{names:?}");
    assert!(
        ["agentctl", "_agentctl", "agentctl.fish", "agentctl.1", "agentctl-status.1"]
            .iter()
            .all(|name| names.iter().any(|known| known == name))
    );
}
