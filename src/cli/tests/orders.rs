//! Orders, refusals, and what is never asked at all.

use super::*;

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
