//! The store is a cache: whatever happens to its files, the next fetch makes it good again.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use agentd::model::CommitId;
use agentd::source::{Care, Fault, Remote, Store, StoreError, TreeCaps, TreeError, discard, fetch};

use super::forge::{Forge, git};
use super::server::{Server, backend, write_answer};
use super::{child, poll, remote};

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn read_all(store: &Path, commit: &CommitId) -> Result<(), TreeError> {
    let store = Store::open(store)?;
    let tree = store.tree(commit, None, &TreeCaps::default())?;
    tree.entries().iter().try_for_each(|entry| tree.read(&entry.path).map(drop))
}

type Harm = (&'static str, fn(&mut Vec<u8>));

const HARMS: [Harm; 6] = [
    ("first byte flipped", |content| content[0] ^= 0x11),
    ("middle byte flipped", |content| {
        let middle = content.len() / 2;
        content[middle] ^= 0x11;
    }),
    ("last byte flipped", |content| *content.last_mut().unwrap() ^= 0x11),
    ("cut in half", |content| content.truncate(content.len() / 2)),
    ("emptied", Vec::clear),
    ("zeroed", |content| content.fill(0)),
];

fn damage(path: &Path, harm: fn(&mut Vec<u8>)) {
    let mut content = std::fs::read(path).unwrap();
    harm(&mut content);
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    std::fs::write(path, content).unwrap();
}

fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    assert!(std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

#[test]
fn any_damaged_file_of_the_store_is_found_and_the_store_made_anew() {
    let forge = Forge::new();
    forge.commits(12);
    let server = Server::git(forge.root(), None);
    let mut remote = remote(&server.url());
    remote.ca_file = Some(server.ca_file());
    remote.caps.commits = 8;
    let last = poll(&forge.store(), &remote, None).unwrap().tip;
    let current = forge.store().join("current.git");
    // Two packs and a shallow file.
    let last = {
        forge.commit(&[("fleet.toml", "schema = 2\n")], "more");
        poll(&forge.store(), &remote, Some(&last)).unwrap().tip
    };
    let pristine = forge.root().join("pristine");
    copy(&current, &pristine);
    let all = files(&current);
    assert!(all.len() >= 8, "{all:?}");
    let mut cells = 0;
    for path in &all {
        for (name, harm) in HARMS {
            copy(&pristine, &current);
            damage(path, harm);
            let what = format!("{} {name}", path.display());
            let got = fetch(&forge.store(), &remote, Some(&last), Care::Thorough)
                .unwrap_or_else(|e| panic!("{what}: {e}"));
            assert!(!got.new && got.tip == last, "{what}");
            assert!(got.cloned.is_some(), "{what}: not noticed");
            read_all(&forge.store(), &last).unwrap_or_else(|error| panic!("{what}: {error}"));
            cells += 1;
        }
        copy(&pristine, &current);
        std::fs::remove_file(path).unwrap();
        fetch(&forge.store(), &remote, Some(&last), Care::Thorough)
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        read_all(&forge.store(), &last).unwrap();
    }
    assert_eq!(cells, all.len() * HARMS.len());
}

#[test]
fn a_quick_poll_of_a_damaged_store_ends_well_or_its_reader_is_told() {
    let forge = Forge::new();
    let server = Server::git(forge.root(), None);
    let mut remote = remote(&server.url());
    remote.ca_file = Some(server.ca_file());
    let first = poll(&forge.store(), &remote, None).unwrap().tip;
    forge.commit(&[("fleet.toml", "schema = 2\n")], "second");
    let last = poll(&forge.store(), &remote, Some(&first)).unwrap().tip;
    let (current, pristine) = (forge.store().join("current.git"), forge.root().join("pristine"));
    copy(&current, &pristine);
    for path in &files(&current) {
        for (name, harm) in [HARMS[1], HARMS[4], HARMS[5]] {
            let what = format!("{} {name}", path.display());
            copy(&pristine, &current);
            damage(path, harm);
            let unchanged =
                poll(&forge.store(), &remote, Some(&last)).unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_eq!(unchanged.tip, last, "{what}");
            if let Err(error) = read_all(&forge.store(), &last) {
                assert!(matches!(error, TreeError::Store(_)), "{what}: {error}");
                fetch(&forge.store(), &remote, Some(&last), Care::Thorough).unwrap();
                read_all(&forge.store(), &last).unwrap();
            }
        }
    }
    let tip = forge.commit(&[("roles/new.toml", "x = 1\n")], "third");
    for path in &files(&pristine) {
        for (name, harm) in [HARMS[1], HARMS[4], HARMS[5]] {
            let what = format!("{} {name}", path.display());
            copy(&pristine, &current);
            damage(&current.join(path.strip_prefix(&pristine).unwrap()), harm);
            let moved = poll(&forge.store(), &remote, Some(&last)).unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_eq!(moved.tip, tip, "{what}");
            read_all(&forge.store(), &tip).unwrap_or_else(|error| panic!("{what}: {error}"));
        }
    }
}

#[test]
fn a_reader_never_sees_wrong_content_and_a_new_commit_on_a_damaged_store_is_not_accepted_unseen() {
    let forge = Forge::new();
    let server = Server::git(forge.root(), None);
    let mut remote = remote(&server.url());
    remote.ca_file = Some(server.ca_file());
    let last = poll(&forge.store(), &remote, None).unwrap().tip;
    let pack = files(&forge.store().join("current.git/objects/pack"))
        .into_iter()
        .find(|p| p.extension().unwrap() == "pack")
        .unwrap();
    let whole = std::fs::read(&pack).unwrap();
    std::fs::set_permissions(&pack, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    for at in 12..whole.len() - 20 {
        let mut content = whole.clone();
        content[at] ^= 0x01;
        std::fs::write(&pack, &content).unwrap();
        match read_all(&forge.store(), &last) {
            // Some bits of a compressed stream mean nothing; then what was read has the right id all the same.
            Ok(()) => {}
            Err(TreeError::Store(_)) => {}
            Err(other) => panic!("byte {at}: {other}"),
        }
    }
    std::fs::write(&pack, &whole[..whole.len() / 2]).unwrap();
    let tip = forge.commit(&[("roles/new.toml", "x = 1\n")], "on top");
    let got = poll(&forge.store(), &remote, Some(&last)).unwrap();
    assert_eq!((got.tip.clone(), got.cloned.is_some()), (tip.clone(), true));
    read_all(&forge.store(), &tip).unwrap();
}

#[test]
fn leftovers_of_a_killed_fetch_are_swept() {
    let forge = Forge::new();
    forge.commits(6);
    let mut remote = remote(forge.bare().to_str().unwrap());
    remote.caps.commits = 3;
    let last = poll(&forge.store(), &remote, None).unwrap().tip;
    let current = forge.store().join("current.git");
    for name in [
        "shallow.lock",
        "refs/agentd/tip.lock",
        "config.lock",
        "objects/pack/.tmpAbC123",
        "objects/pack/pack-1.keep",
    ] {
        std::fs::write(current.join(name), "").unwrap();
    }
    std::fs::create_dir_all(forge.store().join("next.git/objects")).unwrap();
    let tip = forge.commit(&[("fleet.toml", "schema = 2\n")], "more");
    assert_eq!(poll(&forge.store(), &remote, Some(&last)).unwrap().tip, tip);
    let left: Vec<_> = files(&forge.store())
        .into_iter()
        .map(|p| p.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert!(
        !left.iter().any(|n| n.ends_with(".lock") || n.starts_with(".tmp") || n.ends_with(".keep")),
        "{left:?}"
    );
    assert!(!forge.store().join("next.git").exists());
}

/// A git server that sends the beginning of each pack and then nothing.
fn half_a_pack(root: PathBuf) -> Server {
    Server::start(move |request, stream| {
        let (status, headers, body) = backend(&root, request);
        if body.windows(4).any(|bytes| bytes == b"PACK") {
            let start = body.windows(4).position(|bytes| bytes == b"PACK").unwrap();
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-result\r\n")?;
            write!(stream, "Content-Length: {}\r\n\r\n", body.len())?;
            stream.write_all(&body[..(start + body.len()) / 2])?;
            stream.flush()?;
            let _ = std::io::Read::read(stream, &mut [0]);
            return Err(std::io::Error::other("over"));
        }
        let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        write_answer(stream, &status, &headers, &body)
    })
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::yield_now();
    }
}

#[test]
fn a_fetch_that_is_killed_in_the_middle_of_a_pack_costs_nothing_but_the_fetch() {
    let forge = Forge::new();
    let noise: String = (0..50_000u32).map(|n| format!("{:x}\n", n.wrapping_mul(2_654_435_761))).collect();
    forge.commit(&[("files/noise", &noise)], "big");
    let good = Server::git(forge.root(), None);
    let bad = half_a_pack(forge.root().to_owned());
    let via = |server: &Server| -> Remote {
        let mut remote = remote(&server.url());
        remote.ca_file = Some(server.ca_file());
        remote.caps.commits = 100;
        remote
    };
    for round in ["first clone", "later fetch"] {
        let last = (round == "later fetch").then(|| poll(&forge.store(), &via(&good), None).unwrap().tip);
        let tip = forge.commit(&[("files/more", &noise.replace('1', round))], round);
        let folder =
            forge.store().join(if last.is_some() { "current.git" } else { "next.git" }).join("objects/pack");
        let mut process = child::start(&forge.store(), &via(&bad), last.as_ref());
        let begun = || {
            let list =
                std::fs::read_dir(&folder).map(|list| list.flatten().collect::<Vec<_>>()).unwrap_or_default();
            list.iter().any(|e| e.file_name().to_string_lossy().starts_with(".tmp"))
        };
        wait_for("a pack under way", begun);
        assert_eq!(poll(&forge.store(), &via(&good), last.as_ref()).unwrap_err().fault, Fault::Busy);
        process.kill().unwrap();
        process.wait().unwrap();
        assert!(begun(), "the killed fetch leaves its temporary file");
        if let Some(last) = &last {
            read_all(&forge.store(), last).unwrap();
        }
        assert_eq!(poll(&forge.store(), &via(&good), last.as_ref()).unwrap().tip, tip);
        read_all(&forge.store(), &tip).unwrap();
        assert!(!begun());
        git(&forge.store().join("current.git"), &["fsck", "--full", "--strict"]);
    }
}

#[test]
fn a_damaged_store_stays_for_its_readers_while_the_remote_is_down() {
    let forge = Forge::new();
    let last = forge.commits(1);
    let mut remote = remote(forge.bare().to_str().unwrap());
    poll(&forge.store(), &remote, None).unwrap();
    std::fs::write(forge.store().join("current.git/HEAD"), "ref: refs/heads/x\n").unwrap();
    remote.url = agentd::source::RemoteUrl::parse(forge.root().join("gone").to_str().unwrap()).unwrap();
    assert!(poll(&forge.store(), &remote, Some(&last)).is_err());
    assert!(forge.store().join("current.git/HEAD").exists());
}

#[test]
fn a_store_that_was_bent_is_not_read() {
    let forge = Forge::new();
    let remote = remote(forge.bare().to_str().unwrap());
    poll(&forge.store(), &remote, None).unwrap();
    let current = forge.store().join("current.git");
    for name in ["objects/info/alternates", "refs/replace/0123", "info/grafts", "commondir", "packed-refs"] {
        let path = current.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "/elsewhere\n").unwrap();
        assert!(matches!(Store::open(&forge.store()), Err(StoreError::Open { .. })), "{name}");
        assert!(poll(&forge.store(), &remote, None).unwrap().cloned.is_some(), "{name}");
        Store::open(&forge.store()).unwrap();
    }
}

#[test]
fn a_discarded_store_is_cloned_anew_and_the_accepted_commit_still_counts() {
    let forge = Forge::new();
    let last = forge.commits(2);
    let remote = remote(forge.bare().to_str().unwrap());
    poll(&forge.store(), &remote, None).unwrap();
    discard(&forge.store(), &remote).unwrap();
    assert!(matches!(Store::open(&forge.store()), Err(StoreError::Open { .. })));
    git(&forge.work(), &["commit", "-q", "--amend", "--allow-empty", "-m", "other"]);
    let tip = forge.push();
    assert_eq!(poll(&forge.store(), &remote, Some(&last)).unwrap_err().fault, Fault::Rewritten { last, tip });
}
