//! The history, asked over the socket and without an agent.

use super::*;

#[test]
fn history_lists_tells_stories_and_filters() {
    let bench = Bench::with(|_| Ok(Reply::History(samples::history())));
    insta::assert_snapshot!("history_drifts", plain(&bench.run(&["history"])));
    insta::assert_snapshot!("history_passes", plain(&bench.run(&["history", "--passes"])));
    insta::assert_snapshot!("history_story", plain(&bench.run(&["history", "--id", "17"])));
    let line =
        ["history", "file:/etc/motd", "--verdict", "drifted", "--user", "anna", "--since", "2h", "-n", "3"];
    bench.run(&line);
    let Request::History(query) = bench.asked().pop().unwrap() else { panic!() };
    let expected = json!({
        "resource": "file:/etc/motd", "kind": null, "verdict": "drifted", "user": "anna",
        "since": "2026-11-23T12:00:00Z", "until": null, "limit": 3,
    });
    assert_eq!(serde_json::to_value(query.drifts.unwrap()).unwrap(), expected);
    assert_eq!(query.passes, None);
}

#[test]
fn history_as_it_happens_is_a_line_each_and_tells_of_gaps() {
    let bench = Bench::with(|_| Ok(Reply::Events(samples::events())));
    insta::assert_snapshot!("history_events", plain(&bench.run(&["events", "--follow"])));
    let Request::Events(query) = bench.asked().pop().unwrap() else { panic!() };
    assert_eq!(query, EventsQuery { last: 10, follow: Follow::Yes });
    let one = bench.run(&["events", "file:/etc/motd", "-n", "3"]).out;
    assert_eq!(one.lines().count(), 4, "three of them, and the gap: {one}");
    let json = bench.run(&["events", "--json"]).out;
    let lines: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 7);
    assert_eq!(lines[3], json!({ "schema": 1, "event": "missed", "count": 2 }));
    assert_eq!(lines[2]["attribution"]["actor"]["login"]["name"], "anna");
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
        let reply = Reply::Verified(VerifyReply { verification, others: Vec::new() });
        let bench = Bench::with(move |_| Ok(reply.clone()));
        let head = format!("12:{}", "ab".repeat(32));
        let done = bench.run(&["history", "--verify", "--head", &head]);
        assert_eq!(done.exit, exit);
        insta::assert_snapshot!(name, plain(&done));
        let Request::Verify(query) = bench.asked().pop().unwrap() else { panic!() };
        assert_eq!(query.heads[0].head.seq, 12);
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
