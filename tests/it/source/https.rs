use agentd::source::{Care, Credentials, Fault, Retry, Store, TreeCaps, fetch};

use super::forge::{Forge, git};
use super::server::{Server, write_answer};
use super::{poll, remote};

fn trusted(server: &Server) -> agentd::source::Remote {
    let mut remote = remote(&server.url());
    remote.ca_file = Some(server.ca_file());
    remote
}

#[test]
fn a_first_fetch_brings_the_branch_with_its_history_and_no_work_tree() {
    let forge = Forge::new();
    let tip = forge.commit(&[("roles/web.toml", "x = 1\n")], "second");
    let server = Server::git(forge.root(), None);
    let got = poll(&forge.store(), &trusted(&server), None).unwrap();
    assert_eq!((got.tip.clone(), got.new, got.history_complete), (tip.clone(), true, true));
    let store = Store::open(&forge.store()).unwrap();
    let tree = store.tree(&tip, None, &TreeCaps::default()).unwrap();
    let paths: Vec<_> = tree.entries().iter().map(|entry| entry.path.as_str()).collect();
    assert_eq!(paths, ["fleet.toml", "hosts/web.toml", "roles/web.toml"]);
    assert_eq!(tree.read("fleet.toml").unwrap(), b"schema = 1\n");
    let info = store.commit(&tip).unwrap();
    assert_eq!(
        (info.subject.as_str(), info.author.name.as_str(), info.parents.len()),
        ("second", "Ada Example", 1)
    );
    assert!(!forge.store().join("current.git/index").exists());
}

#[test]
fn a_poll_with_nothing_new_asks_for_references_only() {
    let forge = Forge::new();
    // Other branches and tags must not cost a byte.
    for name in ["a", "b", "c"] {
        git(&forge.bare(), &["branch", name, "main"]);
        git(&forge.bare(), &["tag", name, "main"]);
    }
    let server = Server::git(forge.root(), None);
    let remote = trusted(&server);
    let first = poll(&forge.store(), &remote, None).unwrap();
    let before = server.asked().len();
    let again = poll(&forge.store(), &remote, Some(&first.tip)).unwrap();
    let asked = server.asked().split_off(before);
    assert_eq!((again.requests, asked.len()), (2, 2), "{asked:?}");
    assert!(again.bytes_received < 300, "{} bytes", again.bytes_received);
    assert!(!again.new);
    assert!(asked[1].body.windows(15).any(|bytes| bytes == b"command=ls-refs"), "{asked:?}");
    let packs = std::fs::read_dir(forge.store().join("current.git/objects/pack")).unwrap().count();
    assert_eq!(packs, 2, "one pack and its index");
}

#[test]
fn later_fetches_follow_the_branch_and_keep_earlier_commits() {
    let forge = Forge::new();
    let server = Server::git(forge.root(), None);
    let remote = trusted(&server);
    let mut last = poll(&forge.store(), &remote, None).unwrap().tip;
    for round in 0..3 {
        let tip = forge.commit(&[("fleet.toml", &format!("schema = {round}\n"))], "more");
        let got = poll(&forge.store(), &remote, Some(&last)).unwrap();
        assert_eq!((&got.tip, got.new, got.cloned), (&tip, true, None));
        let store = Store::open(&forge.store()).unwrap();
        store.tree(&last, None, &TreeCaps::default()).unwrap().read("fleet.toml").unwrap();
        last = tip;
    }
}

#[test]
fn a_token_is_sent_and_a_wrong_one_waits_for_a_person() {
    let forge = Forge::new();
    let good = "Basic eC1hY2Nlc3MtdG9rZW46czNjcmV0";
    let server = Server::git(forge.root(), Some(good));
    let mut remote = trusted(&server);
    for (content, works) in [("s3cret\n", true), ("other\n", false)] {
        let file = forge.root().join("token");
        std::fs::write(&file, content).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        remote.credentials = Credentials::token_file(&file).unwrap();
        let got = poll(&forge.store(), &remote, None);
        assert_eq!(got.is_ok(), works, "{got:?}");
        if let Err(error) = got {
            assert_eq!((&error.fault, error.retry()), (&Fault::Auth, Retry::Person));
            assert!(!error.to_string().contains("other\n"), "{error}");
        }
    }
    remote.credentials = Credentials::None;
    assert_eq!(poll(&forge.store(), &remote, None).unwrap_err().fault, Fault::Auth);
}

#[test]
fn a_certificate_of_an_unknown_authority_or_for_another_name_is_refused() {
    let forge = Forge::new();
    let server = Server::git(forge.root(), None);
    let other = Server::git(forge.root(), None);
    let mut remote = trusted(&server);
    remote.ca_file = Some(other.ca_file());
    let error = poll(&forge.store(), &remote, None).unwrap_err();
    assert_eq!((&error.fault, error.retry()), (&Fault::Certificate, Retry::Person), "{error}");
    // The same server, whose certificate is trusted and names `localhost` alone.
    let mut remote = super::remote(&server.url().replace("localhost", "127.0.0.1"));
    remote.ca_file = Some(server.ca_file());
    let error = poll(&forge.store(), &remote, None).unwrap_err();
    assert_eq!((&error.fault, error.retry()), (&Fault::Certificate, Retry::Person), "{error}");
    assert!(server.asked().is_empty() && other.asked().is_empty());
    assert!(poll(&forge.store(), &trusted(&server), None).is_ok(), "by its own name it is trusted");
}

#[test]
fn a_redirect_is_not_followed_and_the_other_host_never_sees_a_secret() {
    let forge = Forge::new();
    let target = Server::git(forge.root(), None);
    let to = format!("{}?secret=1", target.url());
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] {
        let to = to.clone();
        let server = Server::start(move |_, stream| write_answer(stream, status, &[("Location", &to)], b""));
        let mut remote = trusted(&server);
        let file = forge.root().join("token");
        std::fs::write(&file, "s3cret").unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        remote.credentials = Credentials::token_file(&file).unwrap();
        let error = poll(&forge.store(), &remote, None).unwrap_err();
        assert_eq!(error.fault, Fault::Redirected { to: target.url() }, "{status}");
        assert_eq!(error.retry(), Retry::Person);
    }
    assert!(target.asked().is_empty(), "{:?}", target.asked());
}

#[test]
fn a_missing_branch_or_repository_is_named_as_such() {
    let forge = Forge::new();
    let server = Server::git(forge.root(), None);
    let mut remote = trusted(&server);
    remote.branch = "production".into();
    let error = poll(&forge.store(), &remote, None).unwrap_err();
    assert_eq!((&error.fault, error.retry()), (&Fault::BranchMissing, Retry::Person));
    assert!(error.to_string().contains("`production` of https://localhost"), "{error}");
    let mut remote = super::remote(&server.url().replace("fleet", "other"));
    remote.ca_file = Some(server.ca_file());
    assert_eq!(poll(&forge.store(), &remote, None).unwrap_err().fault, Fault::RepositoryMissing);
}

#[test]
fn a_deleted_branch_leaves_the_store_as_it_was() {
    let forge = Forge::new();
    let server = Server::git(forge.root(), None);
    let remote = trusted(&server);
    let last = poll(&forge.store(), &remote, None).unwrap().tip;
    git(&forge.bare(), &["update-ref", "-d", "refs/heads/main"]);
    assert_eq!(poll(&forge.store(), &remote, Some(&last)).unwrap_err().fault, Fault::BranchMissing);
    let store = Store::open(&forge.store()).unwrap();
    assert_eq!(store.tree(&last, None, &TreeCaps::default()).unwrap().entries().len(), 2);
}

#[test]
fn a_branch_name_that_is_a_pattern_or_an_option_is_refused_before_anything_is_sent() {
    let forge = Forge::new();
    let server = Server::git(forge.root(), None);
    let mut remote = trusted(&server);
    for name in ["*", "a b", "-x", "a..b", "", "a:b", "a^", "x.lock", "a\nb", "refs/*"] {
        remote.branch = name.into();
        let error = fetch(&forge.store(), &remote, None, Care::Quick).unwrap_err();
        assert_eq!(error.fault, Fault::Settings, "{name:?}");
    }
    assert!(server.asked().is_empty());
}

#[test]
fn a_rewritten_branch_is_its_own_error_and_the_accepted_commit_stays_readable() {
    let forge = Forge::new();
    let server = Server::git(forge.root(), None);
    let remote = trusted(&server);
    poll(&forge.store(), &remote, None).unwrap();
    let last = forge.commit(&[("fleet.toml", "schema = 2\n")], "accepted");
    poll(&forge.store(), &remote, None).unwrap();
    // Amended, rolled back, replaced by an orphan.
    let rewrites: [&[&str]; 3] = [
        &["commit", "-q", "--amend", "-m", "other words"],
        &["reset", "-q", "--hard", "HEAD~1"],
        &["checkout", "-q", "--orphan", "fresh"],
    ];
    for (number, rewrite) in rewrites.iter().enumerate() {
        git(&forge.work(), rewrite);
        if number == 2 {
            git(&forge.work(), &["commit", "-q", "-m", "orphan"]);
        }
        let tip = forge.push();
        for _ in 0..2 {
            let error = poll(&forge.store(), &remote, Some(&last)).unwrap_err();
            assert_eq!(error.fault, Fault::Rewritten { last: last.clone(), tip: tip.clone() });
            assert_eq!(error.retry(), Retry::Person);
        }
        let store = Store::open(&forge.store()).unwrap();
        let tree = store.tree(&last, None, &TreeCaps::default()).unwrap();
        assert_eq!(tree.read("fleet.toml").unwrap(), b"schema = 2\n");
    }
}

#[test]
fn a_history_beyond_the_cap_is_cut_and_later_commits_are_still_fast_forwards() {
    let forge = Forge::new();
    forge.commits(30);
    let server = Server::git(forge.root(), None);
    let mut remote = trusted(&server);
    remote.caps.commits = 10;
    let first = poll(&forge.store(), &remote, None).unwrap();
    assert!(!first.history_complete);
    let mut last = first.tip;
    for _ in 0..2 {
        forge.commits(3);
        let got = poll(&forge.store(), &remote, Some(&last)).unwrap();
        assert!(got.new && !got.history_complete && got.cloned.is_none(), "{got:?}");
        last = got.tip;
    }
    // A rewrite to before the boundary can't be told from a missing history, and is not taken for a fast-forward.
    git(&forge.work(), &["reset", "-q", "--hard", "HEAD~5"]);
    forge.push();
    let error = poll(&forge.store(), &remote, Some(&last)).unwrap_err();
    assert!(matches!(error.fault, Fault::Rewritten { .. } | Fault::HistoryTooShort { .. }), "{error}");
}

#[test]
fn a_history_within_the_cap_is_whole() {
    let forge = Forge::new();
    forge.commits(8);
    let server = Server::git(forge.root(), None);
    // Nine commits; a server that is asked for exactly nine lists the first as if something were behind it.
    for cap in [9, 10] {
        let _ = std::fs::remove_dir_all(forge.store());
        let mut remote = trusted(&server);
        remote.caps.commits = cap;
        assert!(poll(&forge.store(), &remote, None).unwrap().history_complete, "{cap}");
    }
    let mut remote = trusted(&server);
    remote.caps.commits = 8;
    let _ = std::fs::remove_dir_all(forge.store());
    assert!(!poll(&forge.store(), &remote, None).unwrap().history_complete);
}

#[test]
fn many_packs_are_folded_into_one_by_a_fresh_clone() {
    let forge = Forge::new();
    let server = Server::git(forge.root(), None);
    let mut remote = trusted(&server);
    remote.caps.packs = 4;
    let mut last = poll(&forge.store(), &remote, None).unwrap().tip;
    let mut folded = 0;
    for round in 0..6 {
        forge.commit(&[("fleet.toml", &format!("schema = {round}\n"))], "more");
        let got = poll(&forge.store(), &remote, Some(&last)).unwrap();
        folded += usize::from(got.cloned.is_some());
        let listing = std::fs::read_dir(forge.store().join("current.git/objects/pack")).unwrap();
        let packs =
            listing.filter(|e| e.as_ref().unwrap().path().extension().is_some_and(|e| e == "pack")).count();
        assert!(packs < 4, "{packs} packs");
        last = got.tip;
    }
    assert_eq!(folded, 2);
    assert!(!forge.store().join("next.git").exists());
}
