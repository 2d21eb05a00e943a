use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use agentd::source::{Fault, Fetched, Store, TreeCaps};

use super::forge::{Forge, git};
use super::{poll, remote};

fn fetch_from(forge: &Forge, path: &Path) -> Fetched {
    let _ = std::fs::remove_dir_all(forge.store());
    let got = poll(&forge.store(), &remote(path.to_str().unwrap()), None).unwrap();
    let store = Store::open(&forge.store()).unwrap();
    let tree = store.tree(&got.tip, None, &TreeCaps::default()).unwrap();
    assert_eq!(tree.read("fleet.toml").unwrap(), b"schema = 1\n");
    git(&forge.store().join("current.git"), &["fsck", "--full", "--strict"]);
    got
}

#[test]
fn any_shape_of_local_repository_is_read_without_git() {
    let forge = Forge::new();
    let tip = forge.commits(3);
    let bare = forge.bare();
    assert_eq!(fetch_from(&forge, &bare).tip, tip, "bare, loose");
    assert_eq!(fetch_from(&forge, &forge.work()).tip, tip, "with a work tree");
    git(&forge.work(), &["worktree", "add", "-q", "../linked", "-b", "side"]);
    assert_eq!(fetch_from(&forge, &forge.root().join("linked")).tip, tip, "a linked work tree");
    git(&bare, &["gc", "-q", "--prune=now"]);
    assert!(bare.join("packed-refs").exists());
    assert_eq!(fetch_from(&forge, &bare).tip, tip, "packed objects and references");
    git(forge.root(), &["clone", "-q", "--bare", "--shared", "fleet.git", "shared.git"]);
    assert_eq!(
        fetch_from(&forge, &forge.root().join("shared.git")).tip,
        tip,
        "objects borrowed from another"
    );
    git(
        forge.root(),
        &["clone", "-q", "--bare", "--depth=2", &format!("file://{}", bare.display()), "cut.git"],
    );
    let cut = fetch_from(&forge, &forge.root().join("cut.git"));
    assert_eq!((cut.tip, cut.history_complete), (tip, false), "itself shallow");
}

#[test]
fn a_repository_of_another_owner_is_read_and_its_configuration_ignored() {
    let forge = Forge::new();
    let marker = forge.root().join("ran");
    let hook = format!("#!/bin/sh\ntouch {}\n", marker.display());
    for name in ["hooks/post-checkout", "hooks/reference-transaction"] {
        let path = forge.bare().join(name);
        std::fs::write(&path, &hook).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let mut config = std::fs::read_to_string(forge.bare().join("config")).unwrap();
    config.push_str("[core]\n\tfsmonitor = /bin/false\n[uploadpack]\n\tpackObjectsHook = /bin/false\n[include]\n\tpath = /etc/shadow\n");
    std::fs::write(forge.bare().join("config"), config).unwrap();
    let status =
        std::process::Command::new("chown").args(["-R", "65534:65534"]).arg(forge.bare()).status().unwrap();
    assert!(status.success(), "chown needs root");
    let got = poll(&forge.store(), &remote(&format!("file://{}", forge.bare().display())), None).unwrap();
    assert!(got.new && !marker.exists());
}

#[test]
fn later_fetches_copy_only_what_is_new() {
    let forge = Forge::new();
    let big: String = (0..20_000).map(|n| format!("{n} {}\n", n * 7919)).collect();
    forge.commit(&[("files/big", &big)], "big");
    let remote = remote(forge.bare().to_str().unwrap());
    let first = poll(&forge.store(), &remote, None).unwrap();
    let tip = forge.commit(&[("fleet.toml", "schema = 2\n")], "small");
    let second = poll(&forge.store(), &remote, Some(&first.tip)).unwrap();
    assert_eq!((&second.tip, second.new), (&tip, true));
    assert!(second.bytes_received * 20 < first.bytes_received, "{second:?} {first:?}");
    let third = poll(&forge.store(), &remote, Some(&tip)).unwrap();
    assert_eq!((third.new, third.bytes_received), (false, 0));
    git(&forge.store().join("current.git"), &["fsck", "--full", "--strict"]);
}

#[test]
fn a_local_history_beyond_the_cap_is_cut_where_git_would() {
    let forge = Forge::new();
    forge.commits(30);
    let mut remote = remote(forge.bare().to_str().unwrap());
    remote.caps.commits = 10;
    let first = poll(&forge.store(), &remote, None).unwrap();
    assert!(!first.history_complete);
    let current = forge.store().join("current.git");
    assert_eq!(git(&current, &["rev-list", "--count", "refs/agentd/tip"]).trim(), "10");
    forge.commits(2);
    assert!(poll(&forge.store(), &remote, Some(&first.tip)).unwrap().new);
    git(&current, &["fsck", "--full", "--strict"]);
}

#[test]
fn a_rewritten_local_branch_is_noticed() {
    let forge = Forge::new();
    let last = forge.commits(2);
    let remote = remote(forge.bare().to_str().unwrap());
    poll(&forge.store(), &remote, None).unwrap();
    git(&forge.work(), &["commit", "-q", "--amend", "--allow-empty", "-m", "other"]);
    let tip = forge.push();
    assert_eq!(poll(&forge.store(), &remote, Some(&last)).unwrap_err().fault, Fault::Rewritten { last, tip });
}

#[test]
fn what_is_no_repository_or_of_an_unknown_format_says_so() {
    let forge = Forge::new();
    let empty = forge.root().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let file = forge.root().join("work/fleet.toml");
    for path in [empty, file, forge.root().join("nowhere")] {
        let error = poll(&forge.store(), &remote(path.to_str().unwrap()), None).unwrap_err();
        assert_eq!(error.fault, Fault::RepositoryMissing, "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
    git(forge.root(), &["init", "-q", "--bare", "--object-format=sha256", "new.git"]);
    let error =
        poll(&forge.store(), &remote(forge.root().join("new.git").to_str().unwrap()), None).unwrap_err();
    assert!(error.fault == Fault::Settings && error.cause.contains("sha256"), "{error}");
    git(forge.root(), &["init", "-q", "--bare", "-b", "main", "hollow.git"]);
    let error =
        poll(&forge.store(), &remote(forge.root().join("hollow.git").to_str().unwrap()), None).unwrap_err();
    assert_eq!(error.fault, Fault::BranchMissing, "{error}");
}
