//! The flat stream of a commit's objects: what root takes, and what a process that was taken over can't make it take.

use std::path::Path;

use agentd::model::CommitId;
use agentd::source::{Ask, FlatError, History, Receiver, Store, Tree, TreeCaps, TreeError, VerifiedTree};

use super::forge::{Forge, git};
use super::{poll, remote};

fn ask(tip: &CommitId, last: Option<&CommitId>) -> Ask {
    Ask { tip: tip.clone(), last: last.cloned(), subfolder: None, signers: None }
}

fn fetched(forge: &Forge) -> (Store, CommitId) {
    let tip = poll(&forge.store(), &remote(forge.bare().to_str().unwrap()), None).unwrap().tip;
    (Store::open(&forge.store()).unwrap(), tip)
}

fn stream(store: &Store, ask: &Ask) -> Vec<u8> {
    let mut bytes = Vec::new();
    store.hand_over(ask, &mut bytes).unwrap();
    bytes
}

/// As root does: the history, then the files, laid down at `file`.
fn receive(bytes: &[u8], ask: &Ask, file: &Path) -> Result<History, TreeError> {
    let mut receiver = Receiver::new(bytes);
    let history = receiver.history(ask)?;
    receiver.tree(ask, &history, &mut std::fs::File::create(file).unwrap())?;
    Ok(history)
}

/// The pieces of a stream: letter and bytes.
fn pieces(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut pieces = Vec::new();
    while let [letter, rest @ ..] = bytes {
        let (length, rest) = rest.split_at(8);
        let length = u64::from_be_bytes(length.try_into().unwrap()) as usize;
        let (piece, rest) = rest.split_at(if *letter == b'l' { 0 } else { length });
        pieces.push((*letter, piece.to_vec()));
        bytes = rest;
    }
    pieces
}

fn joined(pieces: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let one = |(letter, bytes): &(u8, Vec<u8>)| {
        [&[*letter][..], &(bytes.len() as u64).to_be_bytes(), bytes].concat()
    };
    pieces.iter().flat_map(one).collect()
}

/// Path, sort and size of an entry, and what reading it gives.
type Listed = (String, String, u64, Result<Vec<u8>, String>);

fn listed(tree: &Tree) -> Vec<Listed> {
    let entry = |entry: &agentd::source::Entry| {
        let bytes = tree.read(&entry.path).map_err(|error| error.to_string());
        (entry.path.clone(), entry.kind.to_string(), entry.size, bytes)
    };
    tree.entries().iter().map(entry).collect()
}

#[test]
fn what_was_verified_reads_as_the_store_does_links_large_files_and_all() {
    let forge = Forge::new();
    std::os::unix::fs::symlink("fleet.toml", forge.work().join("link")).unwrap();
    std::fs::write(forge.work().join("large"), vec![b'x'; (8 << 20) + 1]).unwrap();
    forge.commit(&[("files/a", "the same"), ("files/b", "the same"), ("files/empty", "")], "more");
    let (store, tip) = fetched(&forge);
    for subfolder in [None, Some("files".to_owned())] {
        let ask = Ask { subfolder: subfolder.clone(), ..ask(&tip, None) };
        let file = forge.root().join("verified");
        receive(&stream(&store, &ask), &ask, &file).unwrap();
        let verified = VerifiedTree::open(&file).unwrap();
        let stored = store.tree(&tip, subfolder.as_deref(), &TreeCaps::default()).unwrap();
        assert_eq!(listed(&verified.tree), listed(&stored));
        assert_eq!(verified.revision, store.commit(&tip).unwrap().revision());
    }
}

#[test]
fn a_folder_that_is_not_there_and_names_that_are_refused_are_told_as_ever() {
    let forge = Forge::new();
    forge.commit(&[("A", "1"), ("a", "2")], "two names that differ in case");
    let (store, tip) = fetched(&forge);
    for subfolder in [None, Some("nowhere".to_owned())] {
        let ask = Ask { subfolder: subfolder.clone(), ..ask(&tip, None) };
        let said = receive(&stream(&store, &ask), &ask, &forge.root().join("verified")).unwrap_err();
        let stored = store.tree(&tip, subfolder.as_deref(), &TreeCaps::default()).map(drop).unwrap_err();
        assert_eq!(said.to_string(), stored.to_string());
    }
}

#[test]
fn the_commits_since_the_last_accepted_one_come_along_through_merges_and_no_others() {
    let forge = Forge::new();
    let first = forge.tip();
    let last = forge.commits(3);
    git(&forge.work(), &["checkout", "-q", "-b", "side", first.as_str()]);
    git(&forge.work(), &["commit", "-q", "--allow-empty", "-m", "on the side"]);
    let side: CommitId = git(&forge.work(), &["rev-parse", "HEAD"]).trim().parse().unwrap();
    git(&forge.work(), &["checkout", "-q", "main"]);
    git(&forge.work(), &["merge", "-q", "--no-ff", "-m", "merge", "side"]);
    forge.push();
    let (store, tip) = fetched(&forge);
    let taken = |last| {
        let ask = ask(&tip, last);
        receive(&stream(&store, &ask), &ask, &forge.root().join("verified")).unwrap()
    };
    let history = taken(Some(&last));
    assert!(history.descends(&tip, &last) && !history.descends(&last, &tip));
    assert!(history.commits.contains_key(&side), "what a merge brings is new, too");
    assert_eq!(taken(None).commits.len(), 1, "at the first contact, the tip alone");
    assert_eq!(taken(Some(&tip)).commits.len(), 1);
    for (id, bytes) in &history.commits {
        assert_eq!(*bytes, store.raw_commit(id).unwrap());
    }
    let other: CommitId = "1".repeat(40).parse().unwrap();
    assert!(!taken(Some(&other)).descends(&tip, &other));
}

#[test]
fn the_files_of_signers_are_those_of_the_tip_and_of_its_parents() {
    let forge = Forge::new();
    let before = forge.commit(&[("trust/signers", "ada\n")], "Ada");
    forge.commit(&[("trust/signers", "ada\nbob\n")], "Bob");
    let (store, tip) = fetched(&forge);
    for last in [None, Some(&before)] {
        let ask = Ask { signers: Some("trust/signers".to_owned()), ..ask(&tip, last) };
        let history = receive(&stream(&store, &ask), &ask, &forge.root().join("verified")).unwrap();
        assert_eq!(history.signers[&tip], b"ada\nbob\n");
        assert_eq!(history.signers[&before], b"ada\n");
    }
    let ask = Ask { signers: Some("nowhere/signers".to_owned()), ..ask(&tip, None) };
    let history = receive(&stream(&store, &ask), &ask, &forge.root().join("verified")).unwrap();
    assert!(history.signers.is_empty());
}

#[test]
fn whatever_is_left_out_doubled_added_swapped_or_changed_is_refused() {
    let forge = Forge::new();
    let last = forge.tip();
    forge.commit(&[("files/a", "one"), ("files/b", "two"), ("trust/signers", "ada\n")], "more");
    forge.commits(2);
    let (store, tip) = fetched(&forge);
    let ask = Ask { signers: Some("trust/signers".to_owned()), ..ask(&tip, Some(&last)) };
    let honest = pieces(&stream(&store, &ask));
    let file = forge.root().join("verified");
    receive(&joined(&honest), &ask, &file).unwrap();
    let whole = std::fs::read(&file).unwrap();
    let mut tried = 0;
    let mut refuse = |what: &str, at: usize, pieces: &[(u8, Vec<u8>)]| {
        tried += 1;
        match receive(&joined(pieces), &ask, &file) {
            Err(_) => {}
            // Leaving out commits only ever takes away what speaks for the tip; its files are the same.
            Ok(history) => {
                let says_less = !history.descends(&tip, &last) || history.signers.len() < 4;
                assert!(says_less && std::fs::read(&file).unwrap() == whole, "{what} {at}");
            }
        }
    };
    for at in 0..honest.len() {
        let mut without = honest.clone();
        without.remove(at);
        refuse("without", at, &without);
        let mut doubled = honest.clone();
        doubled.insert(at, honest[at].clone());
        refuse("doubled", at, &doubled);
        let mut changed = honest.clone();
        changed[at].1.push(b'\n');
        refuse("longer", at, &changed);
        if !honest[at].1.is_empty() {
            changed[at].1 = honest[at].1.clone();
            changed[at].1[0] ^= 1;
            refuse("changed", at, &changed);
        }
        for letter in b"ctbe?" {
            if *letter != honest[at].0 {
                let mut renamed = honest.clone();
                renamed[at].0 = *letter;
                refuse("renamed", at, &renamed);
            }
        }
        for other in at + 1..honest.len() {
            if honest[at] != honest[other] && (honest[at].0, honest[other].0) != (b'c', b'c') {
                let mut swapped = honest.clone();
                swapped.swap(at, other);
                refuse("swapped", at, &swapped);
            }
        }
        let cut = joined(&honest[..at]);
        assert!(receive(&cut, &ask, &file).is_err(), "cut off at {at}");
    }
    assert!(tried > 150, "{tried}");
    let mut more = joined(&honest);
    more.push(0);
    assert!(matches!(receive(&more, &ask, &file), Err(TreeError::Stream(FlatError::Unexpected { .. }))));
}

#[test]
fn another_commit_another_tree_and_endless_data_are_refused() {
    let forge = Forge::new();
    let old = forge.tip();
    forge.commit(&[("fleet.toml", "schema = 1\n# new\n")], "new");
    let (store, tip) = fetched(&forge);
    let file = forge.root().join("verified");
    let wanted = ask(&tip, None);
    // An older commit in the place of the tip.
    let older = stream(&store, &ask(&old, None));
    assert!(receive(&older, &wanted, &file).is_err());
    // The tip, with the folders and files of the older commit.
    let (new, older) = (pieces(&stream(&store, &wanted)), pieces(&older));
    let mixed = [&new[..3], &older[3..]].concat();
    let error = receive(&joined(&mixed), &wanted, &file).unwrap_err();
    assert!(matches!(error, TreeError::Stream(FlatError::OtherObject { .. })), "{error}");
    // A length beyond all bounds costs nothing.
    let mut endless = vec![b'c'];
    endless.extend_from_slice(&u64::MAX.to_be_bytes());
    let error = receive(&endless, &wanted, &file).unwrap_err();
    assert!(matches!(error, TreeError::Stream(FlatError::TooMuch { .. })), "{error}");
}
