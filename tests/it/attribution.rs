//! Who changed a file, by the real kernel: fanotify, the exec cache, /proc. The writers are real programs.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agentd::attribution::gather::Inquiry;
use agentd::host::Host;
use agentd::host::accounts::SystemAccounts;
use agentd::host::clock::{Clock, SystemClock};
use agentd::host::exec_cache::{ExecCache, Executed, KernelCache};
use agentd::host::files::Root;
use agentd::host::netfilter::FakeNetfilter;
use agentd::host::program::{Files, Finished, ProgramError, Programs, Run, Work};
use agentd::host::units::FakeUnits;
use agentd::kind::{LookAt, Watch};
use agentd::model::{
    Attribution, Caught, Confidence, Deeds, Evidence, FieldDiff, KindName, ResourceId, ResourceStatus, Shown,
    Subject, Verdict, Witness,
};
use agentd::reconcile::report::Seen;
use agentd::reconcile::{PassReport, Scope};
use agentd::trigger::watcher::Watcher;
use agentd::trigger::{Inbox, Way};

const LIMIT: Duration = Duration::from_secs(60);

/// Counts what is started and starts nothing.
#[derive(Default)]
struct Counted(AtomicU32);

impl Programs for Counted {
    fn run(&self, _run: &Run) -> Result<Finished, ProgramError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(Finished { code: Some(0), stdout: Vec::new(), stderr: Vec::new() })
    }

    fn apart(&self, _files: Files, _work: &mut Work<'_>) -> Result<(), ProgramError> {
        Ok(())
    }
}

/// Plays the agent that puts things right: a shell, which starts nothing. The test itself opens nothing for writing: a
/// child that any other test starts at that moment inherits it until its exec, may be the one that closes it, and would
/// rightly be named. An agent's own children are its own.
struct Agent {
    shell: Child,
    into: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Agent {
    fn start() -> Self {
        let mut shell = Command::new("/bin/sh");
        let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (into, from) = (shell.stdin.take().unwrap(), BufReader::new(shell.stdout.take().unwrap()));
        Agent { shell, into, from }
    }

    fn pid(&self) -> u32 {
        self.shell.id()
    }

    fn puts_right(&mut self, file: &Path) {
        writeln!(self.into, "echo held > {} && echo done", file.display()).unwrap();
        let mut told = String::new();
        self.from.read_line(&mut told).unwrap();
        assert_eq!(told, "done\n");
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// Watches one folder, and asks who changed what in it.
struct Scene {
    folder: tempfile::TempDir,
    host: Host,
    inbox: Arc<Inbox>,
    inquiry: Inquiry,
    agent: Agent,
    _watcher: Watcher,
}

impl Scene {
    fn new(cache: Option<Arc<dyn ExecCache>>) -> Self {
        assert!(rustix::process::geteuid().is_root(), "these tests must run as root");
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        let (inbox, clock): (_, Arc<dyn Clock>) = (Arc::new(Inbox::default()), Arc::new(SystemClock));
        let mut watcher = Watcher::new(Way::Best, Arc::clone(&inbox), Arc::clone(&clock)).unwrap();
        assert_eq!(watcher.method().0, "fanotify", "{:?}", watcher.method());
        let look_at = LookAt::Kind(KindName::File);
        watcher.want(vec![Watch { folder: folder.path().to_owned(), name: None, look_at }]);
        let host = Host {
            root: Root::open("/").unwrap(),
            programs: Arc::new(Counted::default()),
            units: Arc::new(FakeUnits::new()),
            netfilter: Arc::new(FakeNetfilter::default()),
            accounts: Arc::new(SystemAccounts::new()),
            clock,
        };
        let agent = Agent::start();
        let inquiry = Inquiry::beside(agent.pid(), cache);
        Scene { folder, host, inbox, inquiry, agent, _watcher: watcher }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("held")
    }

    fn id(&self) -> ResourceId {
        ResourceId::new(KindName::File, self.file().to_str().unwrap())
    }

    /// Who changed the file, and that it is right again.
    fn who(&mut self, fields: &[&str]) -> Attribution {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut seen = seen(self.id(), fields);
        // Events come in their order: once this one is there, all that came before it are.
        let last = self.folder.path().join("last");
        runs("/bin/sh", &["-c", &format!("rm -f {0}; : > {0}", last.display())]);
        let (inbox, inquiry, host) = (&self.inbox, &mut self.inquiry, &self.host);
        runtime.block_on(async {
            let all = async {
                loop {
                    let noticed = inbox.take().await;
                    let is_last =
                        |one: &Witness| one.subject == Subject::Path(last.clone()) && one.deeds.wrote;
                    let is_over = noticed.witnesses.iter().any(is_last);
                    inquiry.hear(host, noticed.witnesses);
                    if is_over {
                        return;
                    }
                }
            };
            tokio::time::timeout(LIMIT, all).await.unwrap();
        });
        let attribution = self.inquiry.answer(&self.host, &[&mut seen]).remove(0);
        let began = self.host.clock.since_boot();
        let report = PassReport { findings: vec![seen], ..PassReport::default() };
        self.inquiry.saw(&Scope::of([self.id()]), &report, began);
        attribution
    }
}

fn seen(resource: ResourceId, fields: &[&str]) -> Seen {
    Seen {
        missing: false,
        contested: false,
        resource,
        status: ResourceStatus::Corrected,
        verdict: Verdict::Drifted,
        fields: fields.iter().map(|field| FieldDiff::new(field, Shown::Absent, "x")).collect(),
        action: String::new(),
        message: None,
        tried: true,
        declared: None,
        took: None,
        drift: Some(1),
        attribution: None,
    }
}

/// A static program that makes one system call on a file and ends: nothing is left of it when its event is read.
fn short_lived(folder: &Path) -> PathBuf {
    let (source, program) = (folder.join("writer.c"), folder.join("writer"));
    let text = "#include <unistd.h>\nint main(int n, char **w) { return n == 2 ? truncate(w[1], 0) : 1; }\n";
    std::fs::write(&source, text).unwrap();
    let made = Command::new("cc").args(["-O1", "-static", "-o"]).arg(&program).arg(&source).status();
    assert!(made.expect("this test needs a C compiler").success());
    program
}

fn runs(program: &str, arguments: &[&str]) -> u32 {
    let mut child = Command::new(program).args(arguments).stdout(Stdio::null()).spawn().unwrap();
    let pid = child.id();
    child.wait().unwrap();
    pid
}

fn program_of(attribution: &Attribution) -> String {
    let actor = attribution.actor.as_ref().unwrap_or_else(|| panic!("{attribution}"));
    actor.process.as_ref().unwrap().executable.clone()
}

/// After so many the watcher is a new one: a storm of events is looked into less closely, and this is none.
const ROUNDS: u32 = 10;

#[test]
fn a_writer_that_has_ended_is_named_every_time() {
    let cache: Arc<dyn ExecCache> = Arc::new(KernelCache::open().expect("a kernel that takes BPF programs"));
    let tools = tempfile::tempdir_in("/tmp").unwrap();
    let writer = short_lived(tools.path());
    let writer = writer.to_str().unwrap();
    let mut evidence: BTreeMap<Vec<Evidence>, u32> = BTreeMap::new();
    let mut scene = None;
    for round in 0..100 {
        if round % ROUNDS == 0 {
            drop(scene.take());
        }
        let scene = scene.get_or_insert_with(|| Scene::new(Some(Arc::clone(&cache))));
        let file = scene.file();
        if round % ROUNDS == 0 {
            scene.agent.puts_right(&file);
        }
        let pid = runs(writer, &[file.to_str().unwrap()]);
        let attribution = scene.who(&["content"]);
        assert_eq!(program_of(&attribution), writer, "round {round}");
        let actor = attribution.actor.unwrap();
        assert_eq!(actor.process.unwrap().pid, pid);
        assert_eq!(actor.user.unwrap().uid, 0);
        assert_eq!(actor.ancestors[0].pid, std::process::id());
        assert_eq!(attribution.confidence, Confidence::Certain, "{}", attribution.reason);
        *evidence.entry(attribution.evidence).or_default() += 1;
    }
    let noted: u32 =
        evidence.iter().filter(|(kinds, _)| kinds.contains(&Evidence::ExecCache)).map(|one| one.1).sum();
    assert!(noted > 0, "the exec cache was never needed: {evidence:?}");
}

#[test]
fn without_an_exec_cache_a_wrong_name_is_never_given() {
    let mut scene = Scene::new(None);
    let tools = tempfile::tempdir_in("/tmp").unwrap();
    let writer = short_lived(tools.path());
    let file = scene.file();
    scene.agent.puts_right(&file);
    for _ in 0..50 {
        runs(writer.to_str().unwrap(), &[file.to_str().unwrap()]);
        let attribution = scene.who(&["content"]);
        match &attribution.actor {
            Some(_) => assert_eq!(program_of(&attribution), writer.to_str().unwrap()),
            None => assert_eq!(attribution.confidence, Confidence::Unknown),
        }
    }
}

#[test]
fn everyday_ways_of_changing_a_file_name_the_right_program() {
    let cache = KernelCache::open().expect("a kernel that takes BPF programs");
    let mut scene = Scene::new(Some(Arc::new(cache)));
    let file = scene.file();
    let path = file.to_str().unwrap().to_owned();
    let real = |name: &str| std::fs::canonicalize(name).unwrap().to_str().unwrap().to_owned();
    let ways: [(&str, Vec<&str>, &str); 8] = [
        ("echo x > $F", vec!["content"], "/bin/sh"),
        ("sed -i s/held/x/ $F", vec!["content"], "/bin/sed"),
        ("exec cp /etc/hostname $F", vec!["content"], "/bin/cp"),
        ("chmod 600 $F; true", vec!["mode"], "/bin/chmod"),
        ("rm $F", vec!["ensure"], "/bin/rm"),
        ("(echo x > $F) & wait", vec!["content"], "/bin/sh"),
        ("install -m 600 /etc/hostname $F; true", vec!["content", "mode"], "/usr/bin/install"),
        // What a child inherits is closed for good by the child: the kernel tells of both.
        ("exec 3> $F; echo x >&3; sleep 0.02 & exec 3>&-; wait", vec!["content"], "/bin/sh"),
    ];
    for (script, fields, program) in ways {
        for _ in 0..10 {
            scene.agent.puts_right(&file);
            runs("/bin/sh", &["-c", &format!("F={path}; {script}")]);
            let attribution = scene.who(&fields);
            assert_eq!(program_of(&attribution), real(program), "{script}: {attribution}");
        }
    }
}

/// Counts how often it is asked.
#[derive(Default)]
struct CountedCache(Mutex<(u32, u32)>);

impl ExecCache for CountedCache {
    fn images(&self, _pid: u32) -> std::io::Result<Vec<Executed>> {
        self.0.lock().unwrap().0 += 1;
        Ok(Vec::new())
    }

    fn recent(&self, _since: Duration) -> std::io::Result<Vec<Executed>> {
        self.0.lock().unwrap().1 += 1;
        Ok(Vec::new())
    }
}

#[test]
fn before_a_correction_each_witness_costs_one_look_and_no_program_is_started() {
    let cache = Arc::new(CountedCache::default());
    let mut scene = Scene::new(Some(cache.clone()));
    let witness = |pid: u32| Witness {
        subject: Subject::Path(scene.file()),
        at: scene.host.clock.now(),
        since_boot: scene.host.clock.since_boot(),
        source: Evidence::Fanotify,
        pid: Some(pid),
        caught: Caught::Gone(None),
        deeds: Deeds { wrote: true, ..Deeds::default() },
    };
    let witnesses = (0..40).map(|n| witness(4_000_000 + n)).chain([witness(scene.agent.pid())]).collect();
    scene.inquiry.hear(&scene.host, witnesses);
    assert_eq!(*cache.0.lock().unwrap(), (40, 0), "our own doings are not asked after");
    // Two drifts that ask the logs are answered by one reading of each.
    let mut unit = seen("service:nginx.service".parse().unwrap(), &["state"]);
    let mut other = seen("service:cron.service".parse().unwrap(), &["state"]);
    unit.status = ResourceStatus::Drifted;
    other.status = ResourceStatus::Drifted;
    let programs = Arc::new(Counted::default());
    scene.host.programs = programs.clone();
    scene.inquiry.answer(&scene.host, &[&mut unit, &mut other]);
    assert_eq!((programs.0.load(Ordering::SeqCst), cache.0.lock().unwrap().1), (1, 1));
    // As long as the same stays wrong nothing is asked again.
    let began = scene.host.clock.since_boot();
    let report = PassReport { findings: vec![unit, other], ..PassReport::default() };
    scene.inquiry.saw(&Scope::Full, &report, began);
    let mut again = seen("service:nginx.service".parse().unwrap(), &["state"]);
    scene.inquiry.answer(&scene.host, &[&mut again]);
    assert_eq!(programs.0.load(Ordering::SeqCst), 1);
}
