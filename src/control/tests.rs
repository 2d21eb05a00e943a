//! The socket, over real sockets and with real user ids.
#![allow(clippy::disallowed_methods)] // sets modes and looks at files as a stranger would

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use super::wire::{DoneReply, Progress, ProgressReply, ResumeOrder, SuspendOrder};
use super::*;

const READERS: u32 = 60_001;
const CHANGERS: u32 = 60_002;
const NOBODY: u32 = 65_534;

/// Answers everything with `Done`; `Sync` with two reports of progress; drops `Reload`.
#[derive(Default)]
struct Fake {
    asked: Mutex<Vec<(u32, Request)>>,
}

impl Agent for Fake {
    fn ask(&self, asked: Asked) {
        let Asked { request, peer, replies } = asked;
        let verb = request.verb();
        self.asked.lock().unwrap().push((peer.uid, request));
        if verb == Verb::Sync {
            replies.more(Reply::Progress(ProgressReply { progress: Progress::Fetching }));
            replies.more(Reply::Progress(ProgressReply { progress: Progress::Applying { changes: 3 } }));
        }
        match verb {
            Verb::Reload => drop(replies),
            Verb::Resume => replies.finish(Err(Refusal::NotFound { what: "nothing is suspended".into() })),
            // As large as the plan of a big host.
            Verb::Plan => replies.finish(Ok(Reply::Done(DoneReply { message: "x".repeat(8 << 20) }))),
            _ => replies.finish(Ok(Reply::Done(DoneReply { message: verb.method().to_owned() }))),
        }
    }

    fn access(&self) -> Access {
        Access { readers: Some(READERS), changers: Some(CHANGERS) }
    }
}

/// A server on a thread of its own; ends with it.
struct Bench {
    dir: TempDir,
    fake: Arc<Fake>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Bench {
    fn with(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let fake = Arc::new(Fake::default());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (path, agent) = (dir.path().join("control.sock"), fake.clone());
        let thread = std::thread::spawn(move || {
            runtime().block_on(async move {
                let listener = bind(&path, Some(READERS)).unwrap();
                // Whom the file's mode would keep out is let in here: the table must hold by itself.
                std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
                ready.send(()).unwrap();
                tokio::select! {
                    () = serve(listener, agent, limits) => {}
                    _ = stopped => {}
                }
            });
        });
        is_ready.recv().unwrap();
        Bench { dir, fake, stop: Some(stop), thread: Some(thread) }
    }

    fn new() -> Self {
        Bench::with(Limits::default())
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("control.sock")
    }

    fn raw(&self) -> BlockingStream {
        let stream = BlockingStream::connect(self.path()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    fn ask(&self, request: &Request) -> Result<DoneReply, ClientError> {
        let path = self.path();
        runtime().block_on(async { Client::connect(&path).await?.ask(request).await })
    }

    fn assert_alive(&self) {
        assert_eq!(self.ask(&Request::Status).unwrap().message, "Status");
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn call(method: &str, parameters: &str) -> Vec<u8> {
    format!("{{\"method\":\"{method}\",\"parameters\":{parameters}}}\0").into_bytes()
}

/// Everything up to the next NUL; empty at the end of the connection.
fn frame(stream: &mut BlockingStream) -> String {
    let mut bytes = Vec::new();
    let mut one = [0];
    while stream.read(&mut one).unwrap_or(0) == 1 && one != [0] {
        bytes.push(one[0]);
    }
    String::from_utf8(bytes).unwrap()
}

/// A request of every verb, with parameters that make sense.
fn sample(verb: Verb) -> Request {
    let target = "file:/etc/motd";
    let parameters = match verb {
        Verb::Suspend => serde_json::json!({"target": target, "seconds": 60, "reason": "x"}),
        Verb::Resume => serde_json::json!({"target": target}),
        Verb::Approve => serde_json::json!({"what": "abcdef0"}),
        Verb::Explain => serde_json::json!({"resource": target}),
        Verb::Restore => serde_json::json!({"what": {"path": "/etc/motd"}, "seconds": 60}),
        Verb::Status
        | Verb::Diff
        | Verb::Plan
        | Verb::Sync
        | Verb::Confirm
        | Verb::History
        | Verb::Verify
        | Verb::Fingerprint
        | Verb::Reload => serde_json::json!({}),
    };
    Request::decode(verb, Some(parameters)).unwrap()
}

/// Runs `work` on a thread that is another user to the kernel.
fn as_user<T: Send>(uid: u32, groups: &[u32], work: impl FnOnce() -> T + Send) -> T {
    use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
    std::thread::scope(|scope| {
        let become_and_work = || {
            let gid = rustix::fs::Gid::from_raw(if uid == 0 { 0 } else { NOBODY });
            let groups: Vec<_> = groups.iter().map(|group| rustix::fs::Gid::from_raw(*group)).collect();
            let uid = rustix::fs::Uid::from_raw(uid);
            set_thread_groups(&groups).expect("this test needs root");
            set_thread_res_gid(gid, gid, gid).expect("this test needs root");
            set_thread_res_uid(uid, uid, uid).expect("this test needs root");
            work()
        };
        scope.spawn(become_and_work).join().unwrap()
    })
}

#[test]
fn every_cell_of_the_table_of_rights_holds_for_real_users() {
    // (who, user, groups): may read, may change.
    let people: [(&str, u32, &[u32], bool, bool); 6] = [
        ("root", 0, &[], true, true),
        ("nobody", NOBODY, &[], false, false),
        ("reader", 1001, &[READERS], true, false),
        ("changer", 1002, &[CHANGERS], true, true),
        ("both", 1003, &[READERS, CHANGERS], true, true),
        ("stranger", 1004, &[60_003, 60_004], false, false),
    ];
    let reading = [Verb::Status, Verb::Plan, Verb::History, Verb::Verify, Verb::Explain, Verb::Fingerprint];
    let bench = Bench::new();
    let mut cells = 0;
    for (who, uid, groups, may_read, may_change) in people {
        for verb in Verb::ALL {
            let allowed = if reading.contains(&verb) { may_read } else { may_change };
            let before = bench.fake.asked.lock().unwrap().len();
            let answer = as_user(uid, groups, || bench.ask(&sample(verb)));
            let refused = matches!(answer, Err(ClientError::Refused(Refusal::NotAllowed { .. })));
            assert_eq!(!refused, allowed, "{who} {verb:?}: {answer:?}");
            let asked = bench.fake.asked.lock().unwrap()[before..].to_vec();
            let expected = if allowed { vec![(uid, sample(verb))] } else { Vec::new() };
            assert_eq!(asked, expected, "{who} {verb:?}");
            cells += 1;
        }
    }
    assert_eq!(cells, 6 * 14);
}

#[test]
fn the_socket_is_for_root_and_its_group_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let mode_and_group = |path: &Path| {
        use std::os::unix::fs::MetadataExt;
        let metadata = path.metadata().unwrap();
        (metadata.mode() & 0o7777, metadata.gid())
    };
    let _inside = runtime();
    let _inside = _inside.enter();
    drop(bind(&path, None).unwrap());
    assert_eq!(mode_and_group(&path).0, 0o600);
    let _listener = bind(&path, Some(READERS)).unwrap();
    assert_eq!(mode_and_group(&path), (0o660, READERS), "in place of what an earlier agent left");
    assert_eq!(dir.path().read_dir().unwrap().count(), 1);
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let error = as_user(NOBODY, &[], || runtime().block_on(Client::connect(&path))).unwrap_err();
    assert!(matches!(error, ClientError::NotAllowed { .. }), "{error}");
}

#[test]
fn progress_comes_only_when_asked_for() {
    let bench = Bench::new();
    let sync = Request::Sync(Default::default());
    let mut told = Vec::new();
    let path = bench.path();
    let done: DoneReply = runtime().block_on(async {
        let mut client = Client::connect(&path).await.unwrap();
        client.ask_with_progress(&sync, &mut |progress| told.push(progress)).await.unwrap()
    });
    assert_eq!(told, [Progress::Fetching, Progress::Applying { changes: 3 }]);
    assert_eq!(done.message, "Sync");
    assert_eq!(bench.ask(&sync).unwrap().message, "Sync");
}

#[test]
fn refusals_and_a_dropped_request_are_told_as_such() {
    let bench = Bench::new();
    let resume = Request::Resume(ResumeOrder { target: crate::record::SuspendTarget::All });
    match bench.ask(&resume).unwrap_err() {
        ClientError::Refused(Refusal::NotFound { what }) => assert_eq!(what, "nothing is suspended"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(bench.ask(&Request::Reload), Err(ClientError::Refused(Refusal::Busy))));
}

#[test]
fn no_agent_is_told_from_no_right() {
    let error = runtime().block_on(Client::connect(Path::new("/nonexistent/control.sock"))).unwrap_err();
    assert!(matches!(error, ClientError::NotRunning { .. }));
}

#[test]
fn a_request_survives_the_wire() {
    let bench = Bench::new();
    let order = SuspendOrder {
        target: "file:/etc/a b".parse().unwrap(),
        seconds: 7200,
        reason: "night fix \u{1b}[31m; \"quoted\"\n".into(),
    };
    let request = Request::Suspend(order);
    bench.ask(&request).unwrap();
    assert_eq!(bench.fake.asked.lock().unwrap().last().unwrap().1, request);
}

#[test]
fn unknown_methods_and_parameters_are_named() {
    let bench = Bench::new();
    let mut stream = bench.raw();
    let cases = [
        ("org.agentd.Agent.Destroy", "{}", "org.varlink.service.MethodNotFound"),
        ("org.agentd.AgentStatus", "{}", "org.varlink.service.MethodNotFound"),
        ("Status", "{}", "org.varlink.service.MethodNotFound"),
        ("org.agentd.Agent.Status", r#"{"force":true}"#, "org.varlink.service.InvalidParameter"),
        ("org.agentd.Agent.Sync", r#"{"plan":"zz"}"#, "org.varlink.service.InvalidParameter"),
        ("org.agentd.Agent.Suspend", r#"{"target":"file:/x"}"#, "org.varlink.service.InvalidParameter"),
        ("org.agentd.Agent.History", r#"{"drifts":{"user":"x"}}"#, "org.varlink.service.InvalidParameter"),
        ("org.varlink.service.Nothing", "{}", "org.varlink.service.MethodNotFound"),
    ];
    for (method, parameters, error) in cases {
        stream.write_all(&call(method, parameters)).unwrap();
        let answer = frame(&mut stream);
        assert!(answer.contains(error), "{method} {parameters}: {answer}");
    }
    assert!(bench.fake.asked.lock().unwrap().is_empty());
}

#[test]
fn the_interface_is_served_and_describes_every_verb() {
    let bench = Bench::new();
    let mut stream = bench.raw();
    stream.write_all(&call("org.varlink.service.GetInfo", "{}")).unwrap();
    assert!(frame(&mut stream).contains(INTERFACE_NAME));
    for name in [INTERFACE_NAME, "org.varlink.service"] {
        let parameters = format!("{{\"interface\":\"{name}\"}}");
        stream.write_all(&call("org.varlink.service.GetInterfaceDescription", &parameters)).unwrap();
        let answer: serde_json::Value = serde_json::from_str(&frame(&mut stream)).unwrap();
        let text = answer["parameters"]["description"].as_str().unwrap().to_owned();
        let interface = zlink::idl::Interface::try_from(text.as_str()).unwrap();
        assert_eq!(interface.name().as_str(), name);
    }
    let interface = zlink::idl::Interface::try_from(INTERFACE).unwrap();
    let mut described: Vec<&str> = interface.methods().map(|method| method.name().as_str()).collect();
    let mut verbs: Vec<&str> = Verb::ALL.iter().map(|verb| verb.method()).collect();
    described.sort_unstable();
    verbs.sort_unstable();
    assert_eq!(described, verbs);
}

#[test]
fn a_frame_that_never_ends_costs_its_sender_the_connection() {
    let limits = Limits { frame: 4096, ..Limits::default() };
    let bench = Bench::with(limits);
    let mut stream = bench.raw();
    // May fail half way: that is the point.
    let _ = stream.write_all(&vec![b' '; 1 << 20]);
    assert_eq!(frame(&mut stream), "");
    bench.assert_alive();
}

#[test]
fn many_small_requests_on_one_connection_are_all_answered() {
    let limits = Limits { frame: 4096, ..Limits::default() };
    let bench = Bench::with(limits);
    let mut stream = bench.raw();
    let one = call("org.agentd.Agent.Status", "{}");
    let mut writer = stream.try_clone().unwrap();
    let sent = std::thread::spawn(move || (0..500).for_each(|_| writer.write_all(&one).unwrap()));
    for _ in 0..500 {
        assert!(frame(&mut stream).contains("Status"));
    }
    sent.join().unwrap();
}

#[test]
fn an_idle_client_loses_its_connection() {
    let bench = Bench::with(Limits { idle: Duration::from_millis(50), ..Limits::default() });
    let mut silent = bench.raw();
    let mut halting = bench.raw();
    halting.write_all(b"{\"method\":").unwrap();
    assert_eq!(frame(&mut silent), "");
    assert_eq!(frame(&mut halting), "");
    bench.assert_alive();
}

#[test]
fn a_client_that_does_not_read_costs_nobody_else_anything() {
    let bench = Bench::with(Limits { write: Duration::from_millis(50), ..Limits::default() });
    let mut deaf = bench.raw();
    deaf.write_all(&call("org.agentd.Agent.Plan", "{}")).unwrap();
    bench.assert_alive();
    // The end of the connection shows although nothing was read.
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let patience = Timespec { tv_sec: 20, tv_nsec: 0 };
    assert_eq!(poll(&mut [PollFd::new(&deaf, PollFlags::RDHUP)], Some(&patience)), Ok(1));
    let mut taken = Vec::new();
    deaf.read_to_end(&mut taken).unwrap();
    assert!(taken.len() < 8 << 20);
    bench.assert_alive();
}

#[test]
fn one_user_can_not_take_all_connections_from_root() {
    let bench = Bench::with(Limits { connections: 6, connections_of_a_user: 2, ..Limits::default() });
    let path = bench.path();
    let greedy: Vec<BlockingStream> =
        as_user(1001, &[READERS], || (0..40).filter_map(|_| BlockingStream::connect(&path).ok()).collect());
    bench.assert_alive();
    // Connections beyond the cap were closed at once; two are held.
    let mut held = 0;
    for mut stream in greedy {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let asked = stream.write_all(&call("org.agentd.Agent.Status", "{}")).is_ok();
        held += usize::from(asked && !frame(&mut stream).is_empty());
    }
    assert!(held <= 2, "{held}");
    bench.assert_alive();
}

#[test]
fn hostile_frames_are_survived() {
    let bench = Bench::new();
    let deep = "[".repeat(60_000);
    let frames: Vec<Vec<u8>> = vec![
        b"\0".to_vec(),
        vec![0; 4096],
        b"null\0".to_vec(),
        b"[]\0".to_vec(),
        b"{}\0".to_vec(),
        b"{\"method\":5}\0".to_vec(),
        b"{\"method\":\"org.agentd.Agent.Status\",\"method\":\"org.agentd.Agent.Reload\"}\0".to_vec(),
        b"{\"method\":\"\xff\xfe\"}\0".to_vec(),
        format!("{{\"method\":\"org.agentd.Agent.Status\",\"parameters\":{deep}}}\0").into_bytes(),
        call("org.agentd.Agent.Explain", r#"{"resource":"file:"}"#),
        call("org.agentd.Agent.Suspend", r#"{"target":"all","seconds":-1,"reason":""}"#),
        call("org.agentd.Agent.Suspend", r#"{"target":"all","seconds":1e400,"reason":""}"#),
        call("org.agentd.Agent.History", r#"{"id":99999999999999999999999}"#),
    ];
    for bytes in frames {
        let mut stream = bench.raw();
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
    }
    bench.assert_alive();
    let changed = bench.fake.asked.lock().unwrap().iter().any(|(_, request)| request.verb() != Verb::Status);
    assert!(!changed, "nothing of it was taken for an order");
}

proptest! {
    #[test]
    fn decoding_never_panics_and_never_guesses(text in "\\PC{0,200}", verb in 0..Verb::ALL.len()) {
        let verb = Verb::ALL[verb];
        if let Ok(value) = serde_json::from_str::<serde_json::Value>(&text)
            && let Ok(request) = Request::decode(verb, Some(value))
        {
            prop_assert_eq!(request.verb(), verb);
        }
    }
}

#[test]
fn every_request_reads_back_from_its_parameters() {
    for verb in Verb::ALL {
        let request = sample(verb);
        let again = Request::decode(verb, Some(request.parameters().unwrap())).unwrap();
        assert_eq!(again, request);
        assert_eq!(again.verb(), verb);
    }
}

#[test]
fn the_reference_implementation_understands_us() {
    #[derive(Debug, serde::Serialize)]
    #[serde(tag = "method", content = "parameters")]
    enum Methods {
        #[serde(rename = "org.agentd.Agent.Approve")]
        Approve { what: &'static str },
        #[serde(rename = "org.agentd.Agent.Resume")]
        Resume { target: &'static str },
        #[serde(rename = "org.agentd.Agent.Sync")]
        Sync {},
    }
    let bench = Bench::new();
    let path = bench.path();
    runtime().block_on(async {
        let mut wire = zlink::tokio::unix::connect(&path).await.unwrap();
        let approve = zlink::Call::new(Methods::Approve { what: "abcdef0" });
        let (reply, _) = wire.call_method::<_, DoneReply, Refusal>(&approve, Vec::new()).await.unwrap();
        assert_eq!(reply.unwrap().into_parameters().unwrap().message, "Approve");
        let resume = zlink::Call::new(Methods::Resume { target: "all" });
        wire.send_call(&resume, Vec::new()).await.unwrap();
        let (reply, _) = wire.receive_reply::<DoneReply, Refusal>().await.unwrap();
        assert!(matches!(reply, Err(Refusal::NotFound { .. })), "{reply:?}");
        wire.send_call(&zlink::Call::new(Methods::Sync {}).set_more(true), Vec::new()).await.unwrap();
        let mut continues = Vec::new();
        for _ in 0..3 {
            let (reply, _) = wire.receive_reply::<serde_json::Value, Refusal>().await.unwrap();
            continues.push(reply.unwrap().continues().unwrap_or(false));
        }
        assert_eq!(continues, [true, true, false]);
        let mut proxy = wire;
        let info = zlink::varlink_service::Proxy::get_info(&mut proxy).await.unwrap().unwrap();
        assert_eq!(info.interfaces.len(), 2);
        let description = zlink::varlink_service::Proxy::get_interface_description(
            &mut proxy,
            INTERFACE_NAME.try_into().unwrap(),
        )
        .await
        .unwrap()
        .unwrap();
        assert!(description.parse().is_ok());
    });
}
