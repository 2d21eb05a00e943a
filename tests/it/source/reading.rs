//! What a store and a folder give to read: names, bounds, links, commits, the author of a line.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use agentd::model::{CommitId, LineAuthor};
use agentd::source::{Ancestry, BlameError, EntryKind, Store, Tree, TreeCaps, TreeError, TreeFault};

use super::forge::{Forge, git, git_command};
use super::{poll, remote};

fn fetched(forge: &Forge) -> (Store, CommitId) {
    let tip = poll(&forge.store(), &remote(forge.bare().to_str().unwrap()), None).unwrap().tip;
    (Store::open(&forge.store()).unwrap(), tip)
}

fn pipe(folder: &Path, arguments: &[&str], input: &[u8]) -> String {
    let mut child =
        git_command(folder).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A raw tree object in the bare repository, whatever its names: (mode, name, id).
fn raw_tree(forge: &Forge, entries: &[(&str, &[u8], &str)]) -> String {
    let mut bytes = Vec::new();
    for (mode, name, id) in entries {
        bytes.extend_from_slice(mode.as_bytes());
        bytes.push(b' ');
        bytes.extend_from_slice(name);
        bytes.push(0);
        for pair in id.as_bytes().chunks(2) {
            bytes.push(u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap());
        }
    }
    pipe(&forge.bare(), &["hash-object", "-t", "tree", "--literally", "-w", "--stdin"], &bytes)
}

fn blob(forge: &Forge, content: &[u8]) -> String {
    pipe(&forge.bare(), &["hash-object", "-w", "--stdin"], content)
}

/// Makes that tree the branch.
fn branch(forge: &Forge, tree: &str) {
    let commit = git(&forge.bare(), &["commit-tree", "-m", "raw", tree]);
    git(&forge.bare(), &["update-ref", "refs/heads/main", commit.trim()]);
}

fn faults(forge: &Forge, caps: &TreeCaps) -> Vec<TreeFault> {
    let (store, tip) = fetched(forge);
    match store.tree(&tip, None, caps).map(|tree| tree.entries().len()) {
        Err(TreeError::Refused(faults)) => faults,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn hostile_names_are_refused_all_at_once_and_by_name() {
    let forge = Forge::new();
    let id = blob(&forge, b"x");
    type Case<'a> = (&'a [u8], fn(String) -> TreeFault);
    let names: [Case; 14] = [
        (b"..", |path| TreeFault::Dangerous { path }),
        (b".", |path| TreeFault::Dangerous { path }),
        (b"", |path| TreeFault::Dangerous { path }),
        (b".git", |path| TreeFault::Dangerous { path }),
        (b".GIT", |path| TreeFault::Dangerous { path }),
        (b"git~1", |path| TreeFault::Dangerous { path }),
        (".g\u{200c}it".as_bytes(), |path| TreeFault::Dangerous { path }),
        (b"/etc/cron.d/x", |path| TreeFault::Dangerous { path }),
        (b"a/b", |path| TreeFault::Dangerous { path }),
        (b"line\nbreak", |path| TreeFault::Control { path }),
        (b"esc\x1b[31m", |path| TreeFault::Control { path }),
        ("turn\u{202e}ed".as_bytes(), |path| TreeFault::Control { path }),
        (b"latin\xe9", |path| TreeFault::NotUtf8 { path }),
        (b"\xff", |path| TreeFault::NotUtf8 { path }),
    ];
    for (name, fault) in names {
        branch(&forge, &raw_tree(&forge, &[("100644", name, &id), ("100644", b"good", &id)]));
        let shown: String = String::from_utf8_lossy(name).escape_debug().collect();
        assert_eq!(faults(&forge, &TreeCaps::default()), [fault(shown.clone())], "{shown}");
    }
    let all: Vec<_> = names.iter().map(|(name, _)| ("100644", *name, id.as_str())).collect();
    branch(&forge, &raw_tree(&forge, &all));
    assert_eq!(faults(&forge, &TreeCaps::default()).len(), names.len());
}

#[test]
fn names_that_servers_really_have_are_allowed() {
    let forge = Forge::new();
    let names = [
        "files/dev-disk-by\\x2duuid-1.swap",
        "files/getty@tty1.service.d/50 override.conf",
        "files/a:b",
        "files/com1",
        "files/trailing.",
        "files/.gitignore",
        "files/...",
        "files/-rf",
        "files/gr\u{fc}n",
    ];
    forge.commit(&names.map(|name| (name, "x")), "names");
    let (store, tip) = fetched(&forge);
    let tree = store.tree(&tip, None, &TreeCaps::default()).unwrap();
    for name in names {
        assert_eq!(tree.read(name).unwrap(), b"x", "{name}");
    }
    assert_eq!(tree.below("files").count(), names.len());
    assert_eq!(tree.below("file").count(), 0);
}

#[test]
fn paths_that_differ_only_in_case_and_doubled_names_are_refused() {
    let forge = Forge::new();
    let id = blob(&forge, b"x");
    let folder = raw_tree(&forge, &[("100644", b"a", &id)]);
    branch(&forge, &raw_tree(&forge, &[("40000", b"Hosts", &folder), ("40000", b"hosts", &folder)]));
    let fault = TreeFault::SameButCase { path: "hosts".into(), other: "Hosts".into() };
    assert_eq!(faults(&forge, &TreeCaps::default()), [fault]);
    branch(&forge, &raw_tree(&forge, &[("100644", b"a", &id), ("100755", b"a", &id)]));
    let fault = TreeFault::SameButCase { path: "a".into(), other: "a".into() };
    assert_eq!(faults(&forge, &TreeCaps::default()), [fault]);
}

#[test]
fn a_tree_beyond_its_caps_is_refused() {
    let forge = Forge::new();
    let id = blob(&forge, b"0123456789");
    let files: Vec<String> = (0..30).map(|n| format!("f{n:02}")).collect();
    let entries: Vec<_> = files.iter().map(|name| ("100644", name.as_bytes(), id.as_str())).collect();
    branch(&forge, &raw_tree(&forge, &entries));
    let caps = |change: fn(&mut TreeCaps)| {
        let mut caps = TreeCaps::default();
        change(&mut caps);
        caps
    };
    assert_eq!(faults(&forge, &caps(|c| c.entries = 29)), [TreeFault::ManyEntries { cap: 29 }]);
    assert_eq!(faults(&forge, &caps(|c| c.total_bytes = 299)), [TreeFault::ManyBytes { cap: 299 }]);
    let (store, tip) = fetched(&forge);
    let tree = store.tree(&tip, None, &caps(|c| c.file_bytes = 9)).unwrap();
    assert!(matches!(tree.read("f00"), Err(TreeError::TooLarge { size: 10, cap: 9, .. })));
}

#[test]
fn bombs_of_folders_end_at_the_caps() {
    let forge = Forge::new();
    let id = blob(&forge, b"x");
    // Deep: one folder in the other, 3,000 times. Wide: ten names for the same folder, twelve times over, 10^12 paths.
    let mut deep = raw_tree(&forge, &[("100644", b"f", &id)]);
    for _ in 0..100 {
        deep = raw_tree(&forge, &[("40000", b"d", &deep)]);
    }
    branch(&forge, &deep);
    assert!(matches!(faults(&forge, &TreeCaps::default())[..], [TreeFault::Deep { cap: 32, .. }]));
    let mut wide = raw_tree(&forge, &[("100644", b"f", &id)]);
    let names: Vec<String> = (0..10).map(|n| n.to_string()).collect();
    for _ in 0..12 {
        let entries: Vec<_> = names.iter().map(|name| ("40000", name.as_bytes(), wide.as_str())).collect();
        wide = raw_tree(&forge, &entries);
    }
    branch(&forge, &wide);
    assert_eq!(faults(&forge, &TreeCaps::default()), [TreeFault::ManyEntries { cap: 50_000 }]);
}

#[test]
fn links_and_submodules_are_listed_and_refused_only_when_read() {
    let forge = Forge::new();
    std::os::unix::fs::symlink("/etc/shadow", forge.work().join("docs")).unwrap();
    let commit = forge.tip();
    git(&forge.work(), &["update-index", "--add", "--cacheinfo", &format!("160000,{commit},module")]);
    git(&forge.work(), &["add", "docs"]);
    git(&forge.work(), &["commit", "-q", "-m", "link"]);
    forge.push();
    let (store, tip) = fetched(&forge);
    let tree = store.tree(&tip, None, &TreeCaps::default()).unwrap();
    assert_eq!(tree.find("docs").unwrap().kind, EntryKind::Symlink);
    assert_eq!(tree.find("module").unwrap().kind, EntryKind::Submodule);
    for (path, kind) in [("docs", EntryKind::Symlink), ("module", EntryKind::Submodule)] {
        let error = tree.read(path).unwrap_err();
        assert!(matches!(&error, TreeError::NotAFile { kind: k, .. } if *k == kind), "{error}");
        assert!(error.to_string().contains(path), "{error}");
    }
    assert!(matches!(tree.read("../etc/passwd"), Err(TreeError::NoFile(_))));
    assert!(matches!(tree.read("hosts"), Err(TreeError::NoFile(_))));
}

#[test]
fn a_subfolder_is_all_that_is_looked_at() {
    let forge = Forge::new();
    let id = blob(&forge, b"x");
    let inner = raw_tree(&forge, &[("100644", b"fleet.toml", &id)]);
    let infra = raw_tree(&forge, &[("40000", b"agentd", &inner)]);
    branch(
        &forge,
        &raw_tree(
            &forge,
            &[("100644", b"bad\n", &id), ("100644", b"file", &id), ("40000", b"infra", &infra)],
        ),
    );
    let (store, tip) = fetched(&forge);
    let caps = TreeCaps::default();
    for folder in ["infra/agentd", "/infra/agentd/", "infra/./agentd"] {
        let tree = store.tree(&tip, Some(folder), &caps).unwrap();
        assert_eq!(tree.entries().len(), 1);
        assert_eq!(tree.read("fleet.toml").unwrap(), b"x");
    }
    for folder in ["nowhere", "file", "infra/../infra"] {
        assert!(matches!(store.tree(&tip, Some(folder), &caps), Err(TreeError::NoSubfolder(_))), "{folder}");
    }
}

#[test]
fn a_folder_reads_like_the_commit_that_was_made_of_it() {
    let forge = Forge::new();
    std::fs::write(forge.work().join("run.sh"), "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(
        forge.work().join("run.sh"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    std::os::unix::fs::symlink("run.sh", forge.work().join("link")).unwrap();
    forge.commit(&[("files/a/b/c", "deep\n"), ("files/a-b", "x"), ("files/a.b", "y")], "more");
    let (store, tip) = fetched(&forge);
    let (caps, work) = (TreeCaps::default(), forge.work());
    let committed = store.tree(&tip, None, &caps).unwrap();
    let folder = Tree::from_directory(&work, &caps).unwrap();
    let shape =
        |tree: &Tree| tree.entries().iter().map(|e| (e.path.clone(), e.kind, e.size)).collect::<Vec<_>>();
    assert_eq!(shape(&committed), shape(&folder));
    for entry in folder.entries().iter().filter(|entry| entry.kind != EntryKind::Symlink) {
        assert_eq!(committed.read(&entry.path).unwrap(), folder.read(&entry.path).unwrap(), "{}", entry.path);
    }
    assert!(matches!(folder.read("link"), Err(TreeError::NotAFile { .. })));
    let below = Tree::from_directory(&work.join("files"), &caps).unwrap();
    assert_eq!(below.read("a/b/c").unwrap(), b"deep\n");
}

#[test]
fn a_folder_with_traps_neither_hangs_nor_leads_out() {
    let dir = tempfile::TempDir::new().unwrap();
    let at = |name: &str| -> PathBuf { dir.path().join(name) };
    assert!(std::process::Command::new("mkfifo").arg(at("fifo")).status().unwrap().success());
    std::fs::create_dir(at("sub")).unwrap();
    std::fs::write(at("sub/file"), "inside").unwrap();
    let tree = Tree::from_directory(dir.path(), &TreeCaps::default()).unwrap();
    assert!(matches!(tree.read("fifo"), Err(TreeError::NotAFile { kind: EntryKind::Special, .. })));
    // After the listing, the folder becomes a link to elsewhere, and a file a FIFO.
    std::fs::rename(at("sub"), at("moved")).unwrap();
    std::os::unix::fs::symlink("/etc", at("sub")).unwrap();
    assert!(matches!(tree.read("sub/file"), Err(TreeError::Io { .. })));
    let again = Tree::from_directory(dir.path(), &TreeCaps::default()).unwrap();
    assert_eq!(again.find("sub").unwrap().kind, EntryKind::Symlink);
    std::fs::remove_file(at("moved/file")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(at("moved/file")).status().unwrap().success());
    assert!(again.read("moved/file").is_err());
    assert!(matches!(Tree::from_directory(&at("nowhere"), &TreeCaps::default()), Err(TreeError::Io { .. })));
}

#[test]
fn a_commit_is_given_byte_by_byte_and_read_for_people() {
    let forge = Forge::new();
    let tip = forge.commit(&[("a", "b")], "Subject line\n\nBody with \u{fc}\nand two lines");
    let (store, _) = fetched(&forge);
    let raw = git(&forge.bare(), &["cat-file", "commit", tip.as_str()]);
    assert_eq!(store.raw_commit(&tip).unwrap(), raw.as_bytes());
    let info = store.commit(&tip).unwrap();
    assert_eq!(info.subject, "Subject line");
    assert_eq!(info.message, "Subject line\n\nBody with \u{fc}\nand two lines\n");
    assert_eq!(
        (info.committer.name.as_str(), info.author.email.as_str()),
        ("Bob Example", "ada@example.org")
    );
    let seconds = git(&forge.bare(), &["log", "-1", "--format=%at"]);
    assert_eq!(info.authored.as_second().to_string(), seconds.trim());
    assert_eq!(info.revision().author, "Ada Example <ada@example.org>");
    let unknown: CommitId = "0123456789012345678901234567890123456789".parse().unwrap();
    assert!(store.commit(&unknown).is_err() && store.raw_commit(&unknown).is_err());
    let tree: CommitId = git(&forge.bare(), &["rev-parse", "main^{tree}"]).trim().parse().unwrap();
    assert!(store.raw_commit(&tree).is_err(), "a tree is no commit");
}

#[test]
fn ancestry_is_that_of_git() {
    let forge = Forge::new();
    let root = forge.tip();
    git(&forge.work(), &["checkout", "-q", "-b", "side"]);
    git(&forge.work(), &["commit", "-q", "--allow-empty", "-m", "side"]);
    let side: CommitId = git(&forge.work(), &["rev-parse", "HEAD"]).trim().parse().unwrap();
    git(&forge.work(), &["checkout", "-q", "main"]);
    let main = forge.commits(3);
    git(&forge.work(), &["merge", "-q", "--no-ff", "-m", "merge", "side"]);
    let merge = forge.push();
    let (store, _) = fetched(&forge);
    for (old, new, expected) in [
        (&root, &merge, Ancestry::Descends),
        (&side, &merge, Ancestry::Descends),
        (&main, &merge, Ancestry::Descends),
        (&merge, &merge, Ancestry::Descends),
        (&side, &main, Ancestry::Diverged),
        (&main, &side, Ancestry::Diverged),
        (&merge, &root, Ancestry::Diverged),
    ] {
        assert_eq!(store.ancestry(old, new).unwrap(), expected, "{old} {new}");
    }
}

/// The oracle: `git blame` as (commit, line there) a line.
fn git_blame(forge: &Forge, path: &str) -> Vec<(String, u32)> {
    let text = git(&forge.bare(), &["blame", "--porcelain", "main", "--", path]);
    let heads = text.lines().filter(|line| !line.starts_with('\t'));
    heads
        .filter_map(|line| {
            let words: Vec<_> = line.split(' ').collect();
            let is_head =
                words.len() >= 3 && words[0].len() == 40 && words[0].bytes().all(|b| b.is_ascii_hexdigit());
            is_head.then(|| (words[0].to_owned(), words[1].parse().unwrap()))
        })
        .collect()
}

#[test]
fn the_author_of_each_line_is_the_one_git_names() {
    let forge = Forge::new();
    let mut lines: Vec<String> = (0..40).map(|n| format!("key{n} = {n}")).collect();
    let mut state = 12345u32;
    let mut random = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % below
    };
    for round in 0..25 {
        match random(3) {
            0 => lines.insert(random(lines.len()), format!("new{round} = {round}")),
            1 => drop(lines.remove(random(lines.len()))),
            _ => {
                let at = random(lines.len());
                lines[at] = format!("changed{round} = {round}");
            }
        }
        forge.commit(&[("roles/base.toml", &(lines.join("\n") + "\n"))], &format!("round {round}"));
        if round % 5 == 0 {
            forge.commit(&[("fleet.toml", &format!("schema = {round}\n"))], "elsewhere");
        }
        if round == 12 {
            // A branch that changes the first line while main goes on, and a merge of both.
            git(&forge.work(), &["checkout", "-q", "-b", "side"]);
            let side = [vec!["first = \"side\"".to_owned()], lines[1..].to_vec()].concat();
            std::fs::write(forge.work().join("roles/base.toml"), side.join("\n") + "\n").unwrap();
            git(&forge.work(), &["commit", "-q", "-am", "side"]);
            git(&forge.work(), &["checkout", "-q", "main"]);
            lines.push("last = \"main\"".to_owned());
            forge.commit(&[("roles/base.toml", &(lines.join("\n") + "\n"))], "main");
            git(&forge.work(), &["merge", "-q", "--no-ff", "-m", "merge", "side"]);
            forge.push();
            lines[0] = "first = \"side\"".to_owned();
        }
    }
    let (store, tip) = fetched(&forge);
    let expected = git_blame(&forge, "roles/base.toml");
    assert_eq!(expected.len(), lines.len());
    for (number, (commit, line)) in expected.iter().enumerate() {
        let number = u32::try_from(number + 1).unwrap();
        let got = store.blame(&tip, "roles/base.toml", number).unwrap();
        assert_eq!(
            (got.commit.id.as_str(), got.line, got.at_or_before),
            (commit.as_str(), *line, false),
            "line {number}"
        );
    }
    for line in [0, u32::try_from(lines.len()).unwrap() + 1] {
        assert!(matches!(store.blame(&tip, "roles/base.toml", line), Err(BlameError::NoLine { .. })));
    }
    for path in ["", "/", "roles", "nowhere", "roles/base.toml/x"] {
        assert!(matches!(store.blame(&tip, path, 1), Err(BlameError::NoFile(_))), "{path}");
    }
}

#[test]
fn a_line_older_than_the_history_that_was_kept_says_at_or_before() {
    let forge = Forge::new();
    forge.commits(5);
    let recent = forge.commit(&[("roles/new.toml", "x = 1\n")], "recent");
    let mut remote = remote(forge.bare().to_str().unwrap());
    remote.caps.commits = 3;
    let tip = poll(&forge.store(), &remote, None).unwrap().tip;
    let store = Store::open(&forge.store()).unwrap();
    assert!(!store.history_complete());
    assert!(store.blame(&tip, "fleet.toml", 1).unwrap().at_or_before);
    let new = store.blame(&tip, "roles/new.toml", 1).unwrap();
    assert_eq!((new.commit.id, new.at_or_before), (recent, false));
}

#[test]
fn the_blame_worker_answers_for_each_line_and_says_where_the_history_is_too_short() {
    use agentd::worker::blame::{Request, answer};
    let forge = Forge::new();
    forge.commits(5);
    let recent = forge.commit(&[("fleet/roles/new.toml", "x = 1\n")], "recent");
    let mut remote = remote(forge.bare().to_str().unwrap());
    remote.caps.commits = 3;
    let tip = poll(&forge.store(), &remote, None).unwrap().tip;
    let lines =
        |lines: &[(&str, u32)]| lines.iter().map(|(file, line)| ((*file).to_owned(), *line)).collect();
    let request = |subfolder: Option<&str>, asked: &[(&str, u32)]| Request {
        store: forge.store(),
        commit: tip.clone(),
        subfolder: subfolder.map(str::to_owned),
        lines: lines(asked),
    };
    let told =
        answer(&request(Some("fleet/"), &[("roles/new.toml", 1), ("roles/new.toml", 2), ("none.toml", 1)]));
    let [
        LineAuthor::Written { revision, line: 1 },
        LineAuthor::Unknown { why },
        LineAuthor::Unknown { why: none },
    ] = &told[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!((&revision.commit, revision.subject.as_str()), (&recent, "recent"));
    assert!(why.contains("has 1 lines") && none.contains("no file"), "{why}; {none}");
    let old = answer(&request(None, &[("fleet.toml", 1)]));
    assert!(matches!(&old[..], [LineAuthor::Older { .. }]), "{old:?}");
    let nowhere = Request { store: forge.store().join("none"), ..request(None, &[("a", 1), ("b", 1)]) };
    assert!(matches!(&answer(&nowhere)[..], [LineAuthor::Unknown { .. }, LineAuthor::Unknown { .. }]));
}
