//! A repository that is damaged where it is served from: whoever is told must not look for the fault in the network.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use agentd::model::CommitId;
use agentd::source::{Fault, Remote, Retry, Store, TreeCaps};

use super::forge::{Forge, git};
use super::server::Server;
use super::ssh::Sshd;
use super::{poll, remote};

type Harm = (&'static str, fn(&Path));

const HARMS: [Harm; 4] = [
    ("a byte is another one", |object| {
        let mut bytes = std::fs::read(object).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x55;
        write(object, &bytes);
    }),
    ("half of it is gone", |object| {
        let bytes = std::fs::read(object).unwrap();
        write(object, &bytes[..bytes.len() / 2]);
    }),
    ("it is empty", |object| write(object, b"")),
    ("it is gone", |object| std::fs::remove_file(object).unwrap()),
];

fn write(path: &Path, bytes: &[u8]) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// Where the server keeps an object of the tip.
fn loose(forge: &Forge, name: &str) -> PathBuf {
    let id = git(&forge.bare(), &["rev-parse", name]);
    let (folder, file) = id.trim().split_at(2);
    forge.bare().join("objects").join(folder).join(file)
}

/// Each way to fetch, against each damage to each sort of object of a new commit.
fn told(forge: &Forge, remote: &Remote) {
    let noise: String = (0..2_000u32).map(|n| format!("{:x}\n", n.wrapping_mul(2_654_435_761))).collect();
    for (number, (what, harm)) in HARMS.into_iter().enumerate() {
        for name in ["main:files/noise", "main:files", "main"] {
            git(&forge.bare(), &["config", "transfer.unpackLimit", "100000"]);
            let last = poll(&forge.store(), remote, None).unwrap().tip;
            forge.commit(&[("files/noise", &format!("{name} {number}\n{noise}"))], what);
            let object = loose(forge, name);
            let whole = std::fs::read(&object).unwrap();
            harm(&object);
            damaged(forge, remote, Some(&last), &format!("{what}, {name}"));
            if number == 0 {
                std::fs::rename(forge.store(), forge.root().join("aside")).unwrap();
                damaged(forge, remote, None, &format!("{what}, {name}, anew"));
                let _ = std::fs::remove_dir_all(forge.store());
                std::fs::rename(forge.root().join("aside"), forge.store()).unwrap();
            }
            is_whole(forge, &last);
            std::fs::create_dir_all(object.parent().unwrap()).unwrap();
            write_new(&object, &whole);
            assert_eq!(poll(&forge.store(), remote, Some(&last)).unwrap().tip, forge.tip(), "{what}, {name}");
        }
    }
}

fn damaged(forge: &Forge, remote: &Remote, last: Option<&CommitId>, place: &str) {
    let error = poll(&forge.store(), remote, last).unwrap_err();
    assert_eq!((&error.fault, error.retry()), (&Fault::Corrupt, Retry::NextInterval), "{place}: {error}");
    let words = error.to_string();
    assert!(words.contains("is damaged") && words.contains("last good revision"), "{place}: {words}");
}

fn write_new(path: &Path, bytes: &[u8]) {
    let _ = std::fs::remove_file(path);
    std::fs::write(path, bytes).unwrap();
}

fn is_whole(forge: &Forge, commit: &CommitId) {
    let store = Store::open(&forge.store()).unwrap();
    let tree = store.tree(commit, None, &TreeCaps::default()).unwrap();
    tree.entries().iter().for_each(|entry| drop(tree.read(&entry.path).unwrap()));
}

#[test]
fn a_damaged_object_at_the_remote_is_told_as_such_over_https() {
    let forge = Forge::new();
    let server = Server::git(forge.root(), None);
    let mut remote = remote(&server.url());
    remote.ca_file = Some(server.ca_file());
    told(&forge, &remote);
}

#[test]
fn a_damaged_object_at_the_remote_is_told_as_such_over_ssh() {
    let forge = Forge::new();
    let sshd = Sshd::start("AcceptEnv GIT_PROTOCOL");
    told(&forge, &sshd.remote(&forge.bare()));
}

#[test]
fn a_damaged_object_at_the_remote_is_told_as_such_on_the_host_itself() {
    let forge = Forge::new();
    told(&forge, &remote(&format!("file://{}", forge.bare().display())));
}
