//! Answers, as people and as programs see them.

use super::*;

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
fn status_fits_the_terminal_and_leaves_the_reasons_for_naming_nobody_to_explain() {
    let reason =
        "process 2397 had ended before it could be looked at, and the kernel holds no note of what it ran";
    let who = json!({ "confidence": "unknown", "reason": reason, "at": samples::NOW, "evidence": [], "actor": null });
    let mut snapshot = samples::synced();
    snapshot.resources[0].attribution = Some(serde_json::from_value(who).unwrap());
    snapshot.watches[0].message = Some(format!("nobody is told of: {reason}"));
    let mut bench = status_of(snapshot);
    bench.terminal = Terminal { colour: false, interactive: true, width: Some(80) };
    let out = bench.run(&["status"]).out;
    let longest = out.lines().map(|line| line.chars().count()).max();
    assert!(longest <= Some(80), "{out}");
    let words = out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("unknown by whom [roles/base.toml:31]"), "{out}");
    assert!(words.contains("why nobody is named: `agentctl explain RESOURCE`"), "{out}");
    assert!(words.contains(&format!("nobody is told of: {reason}")), "{out}");
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
