//! Clients that talk too much, too slowly, too often, or nonsense.

use super::*;

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
fn followers_that_went_away_hold_no_connection() {
    let bench = Bench::with(Limits { connections: 4, ..Limits::default() });
    let mut follow = call("org.agentd.Agent.Events", r#"{"follow":"yes"}"#);
    let end = follow.len() - 2;
    follow.splice(end..end, br#","more":true"#.iter().copied());
    for _ in 0..20 {
        let mut follower = bench.raw();
        follower.write_all(&follow).unwrap();
        assert!(frame(&mut follower).contains("first"));
        // Nothing happens on the host: only the end of the connection tells.
        drop(follower);
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while !bench.fake.followers.lock().unwrap().iter().all(Replies::is_gone) {
            assert!(std::time::Instant::now() < deadline, "a follower that went away is still there");
            std::thread::yield_now();
        }
    }
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
