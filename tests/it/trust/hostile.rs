//! Commits and repositories made to get past the judge. Each is judged in a process of its own, in an empty folder: refused
//! for the right reason, with nothing written, in little memory and time.

use std::process::Command;
use std::time::{Duration, Instant};

use agentd::model::CommitId;
use agentd::trust::{Kind, Memory, Objects, Policy, Revoked, Signers, Strict, judge};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::bench::{ADA, Bench, NOW, armour, payload, run, string, unarmoured, with_header};
use super::succession::{at, entry, list};

/// What one judgement may take.
const PEAK_KIB: u64 = 64 << 10;
const TIME: Duration = Duration::from_secs(30);
const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
const KEYS: [&str; 7] = ["ed25519", "ecdsa256", "ecdsa384", "rsa", "rsa2048", "certified", "sk"];
const DELEGATED: &str = "trust/signers";

/// A repository as it is handed to the child, and the code it is to be refused with.
#[derive(Serialize, Deserialize)]
struct Task {
    name: String,
    wanted: String,
    signers: String,
    revoked: String,
    delegated: Option<String>,
    strict: Strict,
    memory: Memory,
    tip: CommitId,
    objects: Vec<(String, String)>,
}

/// What the child says.
#[derive(Serialize, Deserialize)]
struct Report {
    told: String,
    peak_kib: u64,
}

struct Corpus<'a> {
    bench: &'a Bench,
    tasks: Vec<Task>,
}

impl Corpus<'_> {
    fn add(
        &mut self,
        name: impl Into<String>,
        wanted: &str,
        objects: &[(Kind, Vec<u8>)],
        tip: CommitId,
    ) -> &mut Task {
        let signers = KEYS
            .iter()
            .filter(|key| **key != "certified")
            .fold(String::new(), |list, key| list + &format!("{ADA} {}\n", self.bench.public(key)));
        let objects = objects.iter().map(|(kind, bytes)| (kind.to_string(), STANDARD.encode(bytes)));
        self.tasks.push(Task {
            name: name.into(),
            wanted: wanted.into(),
            signers: signers + &format!("{ADA} cert-authority {}\n", self.bench.public("authority")),
            revoked: String::new(),
            delegated: None,
            strict: Strict::Tip,
            memory: Memory::default(),
            tip,
            objects: objects.collect(),
        });
        self.tasks.last_mut().unwrap()
    }

    /// A single commit, stored as git stores it.
    fn commit(&mut self, name: impl Into<String>, wanted: &str, bytes: &[u8]) -> &mut Task {
        let tip = self.bench.store(Kind::Commit, bytes);
        self.add(name, wanted, &[(Kind::Commit, bytes.to_vec())], tip)
    }

    /// A good commit with another signature.
    fn signed(&mut self, name: impl Into<String>, wanted: &str, signature: &str) -> &mut Task {
        self.commit(name, wanted, &with_header(&plain(), "gpgsig", signature))
    }
}

fn plain() -> Vec<u8> {
    payload(EMPTY_TREE, &[], NOW - 60, "a commit")
}

/// Changes to what was signed, made after it was.
fn tampered(corpus: &mut Corpus<'_>) {
    let changes = [
        ("tree", "tree 4b825", "tree 0b825"),
        ("author", "author Ada", "author Eve"),
        ("committer", "committer Ada", "committer Eve"),
        ("mail", "ada@example.org> 1", "eve@example.org> 1"),
        ("zone", "+0000\n\n", "+0100\n\n"),
        ("message", "a commit", "a Commit"),
        ("message's end", "a commit\n", "a commit\n\n"),
        ("encoding", "\n\na commit", "\nencoding latin1\n\na commit"),
        ("parent", "\nauthor", "\nparent 1111111111111111111111111111111111111111\nauthor"),
    ];
    for key in KEYS {
        let signature = corpus.bench.sign(key, "git", &plain());
        for (what, from, to) in changes {
            let changed = String::from_utf8(plain()).unwrap().replacen(from, to, 1);
            assert_ne!(changed.as_bytes(), plain(), "{what}");
            let bytes = with_header(changed.as_bytes(), "gpgsig", &signature);
            corpus.commit(format!("{key}: another {what}"), "signature-wrong", &bytes);
        }
    }
}

/// Signatures cut short, grown and bent.
fn bent(corpus: &mut Corpus<'_>) {
    for key in KEYS {
        let blob = unarmoured(&corpus.bench.sign(key, "git", &plain()));
        for part in 1..8 {
            let cut = &blob[..blob.len() * part / 8];
            corpus.signed(format!("{key}: {part} eighths"), "signature-malformed", &armour(cut));
        }
        let longer = [&blob[..], b"x"].concat();
        corpus.signed(format!("{key}: a byte more"), "signature-malformed", &armour(&longer));
        let mut other = blob.clone();
        other[0] ^= 1;
        corpus.signed(format!("{key}: another magic"), "signature-malformed", &armour(&other));
        let mut other = blob.clone();
        other[9] = 2;
        corpus.signed(format!("{key}: another version"), "signature-malformed", &armour(&other));
        let mut other = blob.clone();
        // The last number of a security key is its counter, which is signed as well.
        *other.last_mut().unwrap() ^= 1;
        corpus.signed(format!("{key}: a bit of the signature"), "signature-wrong", &armour(&other));
        let hash = other.windows(6).position(|part| part == b"sha512").unwrap();
        let mut other = blob.clone();
        other[hash..hash + 6].copy_from_slice(b"sha256");
        corpus.signed(format!("{key}: another hash"), "signature-wrong", &armour(&other));
        other[hash..hash + 6].copy_from_slice(b"sha1__");
        corpus.signed(format!("{key}: a hash nobody knows"), "signature-algorithm", &armour(&other));
    }
}

/// What stands where an armour is due.
fn armours(corpus: &mut Corpus<'_>) {
    let good = corpus.bench.sign("ed25519", "git", &plain());
    let good = good.trim_end();
    let body: String = good.lines().filter(|line| !line.starts_with('-')).collect();
    let begin = "-----BEGIN SSH SIGNATURE-----";
    let end = "-----END SSH SIGNATURE-----";
    let cases = [
        ("without an end", format!("{begin}\n{body}"), "signature-malformed"),
        ("without a beginning", format!("{body}\n{end}"), "signature-malformed"),
        ("text before", format!("see:\n{good}"), "signature-malformed"),
        ("text behind", format!("{good}\nsee"), "signature-malformed"),
        ("twice", format!("{good}\n{good}"), "signature-malformed"),
        ("empty", format!("{begin}\n{end}"), "signature-malformed"),
        ("no base64", format!("{begin}\n????\n{end}"), "signature-malformed"),
        ("blanks within", good.replace("\nU1NI", "\n U1NI"), "signature-malformed"),
        ("carriage returns", good.replace('\n', "\r\n"), "signature-malformed"),
        ("padding in the middle", good.replacen("U1NI", "U1NI==", 1), "signature-malformed"),
        ("another name", good.replace("SSH SIGNATURE", "SSH Signature"), "signature-malformed"),
        ("another file", good.replace("SSH SIGNATURE", "OPENSSH PRIVATE KEY"), "signature-malformed"),
        ("a word", "yes".to_owned(), "signature-malformed"),
        (
            "OpenPGP",
            "-----BEGIN PGP SIGNATURE-----\n\nwsBz\n-----END PGP SIGNATURE-----".into(),
            "signature-format",
        ),
        (
            "an OpenPGP message",
            "-----BEGIN PGP MESSAGE-----\n\nwsBz\n-----END PGP MESSAGE-----".into(),
            "signature-format",
        ),
        (
            "OpenPGP, then SSH",
            format!("-----BEGIN PGP SIGNATURE-----\n\nwsBz\n-----END PGP SIGNATURE-----\n{good}"),
            "signature-format",
        ),
        (
            "SSH, then OpenPGP",
            format!("{good}\n-----BEGIN PGP SIGNATURE-----\n\nwsBz\n-----END PGP SIGNATURE-----"),
            "signature-malformed",
        ),
        (
            "X.509",
            "-----BEGIN SIGNED MESSAGE-----\nMIIB\n-----END SIGNED MESSAGE-----".into(),
            "signature-format",
        ),
    ];
    for (name, text, wanted) in cases {
        corpus.signed(format!("armour: {name}"), wanted, &text);
    }
}

/// Headers that git would not write, around a signature that is good.
fn headers(corpus: &mut Corpus<'_>) {
    let signature = corpus.bench.sign("ed25519", "git", &plain());
    let once = with_header(&plain(), "gpgsig", &signature);
    corpus.commit("no signature", "unsigned", &plain());
    corpus.commit("two signatures", "several-signatures", &with_header(&once, "gpgsig", &signature));
    let other = corpus.bench.sign("other", "git", &plain());
    corpus.commit("two signers", "several-signatures", &with_header(&once, "gpgsig", &other));
    corpus.commit("of two hashes", "signature-sha256", &with_header(&once, "gpgsig-sha256", &signature));
    corpus.commit(
        "of the other hash",
        "signature-sha256",
        &with_header(&plain(), "gpgsig-sha256", &signature),
    );
    let in_message = [plain(), format!("gpgsig {signature}").into_bytes()].concat();
    corpus.commit("a signature in the message", "unsigned", &in_message);
    let misspelt = with_header(&plain(), "Gpgsig", &signature);
    corpus.commit("a signature by another name", "unsigned", &misspelt);
    let text = String::from_utf8(once).unwrap();
    let first = text.lines().next().unwrap();
    let changes: [(&str, &str, &str); 18] = [
        ("a tree twice", "tree ", &format!("{first}\ntree ")),
        (
            "a parent too late",
            "\n\na commit",
            "\nparent 1111111111111111111111111111111111111111\n\na commit",
        ),
        ("an author too many", "\n\na commit", "\nauthor Eve <eve@example.org> 1 +0000\n\na commit"),
        ("a committer too many", "\n\na commit", "\ncommitter Eve <eve@example.org> 1 +0000\n\na commit"),
        ("no tree", first, "free 4b825"),
        ("a tree in capitals", "tree 4b825dc", "tree 4B825DC"),
        ("a short tree", "tree 4b825dc", "tree 4b825d"),
        ("a long tree", "tree 4b825dc", "tree 4b825dcc"),
        ("no author", "author ", "writer "),
        ("no committer", "committer ", "commuter "),
        ("no time", &format!("{} +0000\ngpgsig", NOW - 60), "now\ngpgsig"),
        ("a time before all", &format!("{} +0000\ngpgsig", NOW - 60), "-5 +0000\ngpgsig"),
        ("a time beyond all", &format!("{} +0000\ngpgsig", NOW - 60), "99999999999999999999 +0000\ngpgsig"),
        ("a time of three words", &format!("{} +0000\ngpgsig", NOW - 60), "1 +0000 x\ngpgsig"),
        ("a zero byte", "author Ada", "author A\0a"),
        ("an empty header", "\ngpgsig", "\n \ngpgsig"),
        ("a header without a value", "\ngpgsig", "\nx\ngpgsig"),
        ("a parent that is none", "\nauthor", "\nparent HEAD\nauthor"),
    ];
    for (name, from, to) in changes {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{name}");
        // An empty continuation belongs to the header before it, which was signed without it.
        let wanted =
            if name == "an empty header" { "object-malformed|signature-wrong" } else { "object-malformed" };
        corpus.commit(name, wanted, changed.as_bytes());
    }
    corpus.commit("nothing", "object-malformed", b"");
    corpus.commit("one line", "object-malformed", first.as_bytes());
    corpus.commit("noise", "object-malformed", &[0xff; 300]);
    for (kind, bytes) in
        [(Kind::Tree, Vec::new()), (Kind::Blob, b"x".to_vec()), (Kind::Tag, b"object x\n".to_vec())]
    {
        let tip = corpus.bench.store(kind, &bytes);
        corpus.add(format!("a {kind} for a tip"), "object-malformed", &[(kind, bytes)], tip);
    }
    let ours: CommitId = "1".repeat(40).parse().unwrap();
    corpus.add(
        "an object under another's id",
        "object-missing",
        &[(Kind::Commit, text.clone().into_bytes())],
        ours,
    );
    let long: CommitId = "1".repeat(64).parse().unwrap();
    corpus.add("an id of SHA-256", "object-format", &[(Kind::Commit, text.into_bytes())], long);
}

/// Good signatures that count for nothing here.
fn strangers(corpus: &mut Corpus<'_>) {
    for key in KEYS {
        for namespace in ["file", "Git", "git ", "git,file", "gi", "*", "git\n"] {
            let signature = corpus.bench.sign(key, "git", &plain());
            let blob = unarmoured(&signature);
            // ssh-keygen signs for some of these names only: the name is put in its place afterwards.
            let from = string(b"git");
            let start = blob.windows(from.len()).position(|part| part == from).unwrap();
            let blob = [&blob[..start], &string(namespace.as_bytes()), &blob[start + from.len()..]].concat();
            corpus.signed(format!("{key} for {namespace:?}"), "signature-namespace", &armour(&blob));
        }
        let signature = corpus.bench.sign(key, "git", &plain());
        let revoked = format!("{}\n", corpus.bench.public(key));
        corpus.signed(format!("{key}, revoked"), "signer-revoked", &signature).revoked = revoked;
        corpus.signed(format!("{key}, nobody's"), "signer-unknown", &signature).signers =
            format!("{ADA} {}\n", corpus.bench.public("newcomer"));
        corpus.signed(format!("{key}, in the wrong role"), "signer-unknown", &signature).signers = match key {
            "certified" => format!("{ADA} {}\n", corpus.bench.public("authority")),
            key => format!("{ADA} cert-authority {}\n", corpus.bench.public(key)),
        };
    }
    for (key, wanted) in [
        ("ecdsa521", "signature-algorithm"),
        ("weak", "signature-algorithm"),
        ("sk-untouched", "signature-untouched"),
        ("other", "signer-unknown"),
    ] {
        let signature = corpus.bench.sign(key, "git", &plain());
        corpus.signed(key, wanted, &signature);
    }
    for (key, inner) in [("rsa", "rsa-sha2-512"), ("ed25519", "ssh-ed25519")] {
        let blob = unarmoured(&corpus.bench.sign(key, "git", &plain()));
        let from = string(inner.as_bytes());
        let start = blob.windows(from.len()).rposition(|part| part == from).unwrap();
        for name in ["ssh-rsa", "ssh-dss", "none"] {
            // Lengths around it are made to fit again.
            let signature = [&string(name.as_bytes()), &blob[start + from.len()..]].concat();
            let blob = [&blob[..start - 4], &string(&signature)].concat();
            corpus.signed(format!("{key} by {name}"), "signature-algorithm", &armour(&blob));
        }
    }
    let certificates: [(&str, &[&str], &str); 7] = [
        ("for a host", &["-h", "-n", ADA], "certificate"),
        ("with a forced command", &["-n", ADA, "-O", "force-command=true"], "certificate"),
        ("from one address", &["-n", ADA, "-O", "source-address=10.0.0.0/8"], "certificate"),
        ("for somebody else", &["-n", "eve@example.org"], "certificate"),
        ("for nobody", &[], "certificate"),
        ("expired", &["-n", ADA, "-V", "20200101:20210101"], "signer-expired"),
        ("not yet valid", &["-n", ADA, "-V", "20400101:20410101"], "signer-not-yet-valid"),
    ];
    for (name, options, wanted) in certificates {
        corpus.bench.certify("certified", options);
        let signature = corpus.bench.sign("certified", "git", &plain());
        corpus.signed(format!("a certificate {name}"), wanted, &signature);
    }
    corpus.bench.certify("certified", &["-n", ADA]);
}

/// Lists of signers in the repository with one fault each, and folders that lead elsewhere.
fn lists(corpus: &mut Corpus<'_>) {
    let key = corpus.bench.public("other").to_owned();
    let (kind, rest) = key.split_once(' ').unwrap();
    let base64 = rest.split(' ').next().unwrap();
    let weak = corpus.bench.public("weak").to_owned();
    let large = corpus.bench.public("ecdsa521").to_owned();
    let faulty = [
        "ada@example.org".to_owned(),
        key.clone(),
        format!("ada {kind}"),
        format!("ada {kind} {}", &base64[..base64.len() - 8]),
        format!("ada {kind} {base64}AAAA"),
        format!("ada {kind} !{base64}"),
        format!("ada ssh-rsa {base64}"),
        format!("ada ssh-dss {base64}"),
        format!("ada ssh-ed448 {base64}"),
        format!("ada {weak}"),
        format!("ada {large}"),
        format!("\"ada {key}"),
        format!("ad\"a {key}"),
        format!("\"\" {key}"),
        format!("ada namespace=\"git\" {key}"),
        format!("ada namespaces=git {key}"),
        format!("ada namespaces=\"git {key}"),
        format!("ada namespaces=\"git\"x {key}"),
        format!("ada namespaces=\"git\",namespaces=\"git\" {key}"),
        format!("ada namespaces=\"git\", {key}"),
        format!("ada cert-authority,cert-authority {key}"),
        format!("ada cert-authority=\"yes\" {key}"),
        format!("ada valid-after=\"2024\" {key}"),
        format!("ada valid-after=\"20241301\" {key}"),
        format!("ada valid-after=\"20240230Z\" {key}"),
        format!("ada valid-after=\"tomorrow\" {key}"),
        format!("ada valid-before=\"20240101\",valid-after=\"20250101\" {key}"),
        format!("ada valid-before=20240101 {key}"),
        format!("ada no-pty {key}"),
        format!("ada restrict,namespaces=\"git\" {key}"),
        format!("# version: x\nada {key}"),
        format!("# version: -1\nada {key}"),
        format!("# version:\nada {key}"),
        format!("# version: 1\n# version: 2\nada {key}"),
        format!("ada {key}\n# version: 3"),
        format!("# version: 99999999999999999999\nada {key}"),
        format!("ada {key}\nbob\n"),
        format!("ada {key}\n\u{202e}bob {kind} x\n"),
        format!("# {}\n", "x".repeat(2 << 20)),
        format!("ada {kind} {}", "A".repeat(900_000)),
    ];
    for (number, text) in faulty.into_iter().enumerate() {
        let blob = (Kind::Blob, text.into_bytes());
        with_list(
            corpus,
            &format!("faulty list {number}"),
            "signers-file",
            "100644 signers",
            blob,
            "40000 trust",
        );
    }
    let blob = (Kind::Blob, list(corpus.bench, Some(1), &["other"]).into_bytes());
    let cases = [
        ("a link for a list", "120000 signers", "40000 trust"),
        ("a submodule for a list", "160000 signers", "40000 trust"),
        ("a folder for a list", "40000 signers", "40000 trust"),
        ("a link for its folder", "100644 signers", "120000 trust"),
        ("a submodule for its folder", "100644 signers", "160000 trust"),
        ("a file for its folder", "100644 signers", "100644 trust"),
        ("a mode nobody knows", "100664 signers", "40000 trust"),
        ("a mode with a zero before", "100644 signers", "040000 trust"),
    ];
    for (name, file, folder) in cases {
        with_list(corpus, name, "object-malformed", file, blob.clone(), folder);
    }
}

/// A tip signed by a local key whose list is at the end of these entries.
fn with_list(
    corpus: &mut Corpus<'_>,
    name: &str,
    wanted: &str,
    file: &str,
    blob: (Kind, Vec<u8>),
    folder: &str,
) {
    let id = corpus.bench.store(blob.0, &blob.1);
    let inner = (Kind::Tree, entry(file, &id));
    let inner_id = corpus.bench.store(Kind::Tree, &inner.1);
    let root = (Kind::Tree, entry(folder, &inner_id));
    let root_id = corpus.bench.store(Kind::Tree, &root.1);
    let plain = payload(root_id.as_str(), &[], NOW - 60, name);
    let commit = with_header(&plain, "gpgsig", &corpus.bench.sign("ed25519", "git", &plain));
    let tip = corpus.bench.store(Kind::Commit, &commit);
    let objects = [(Kind::Commit, commit), root, inner, blob];
    corpus.add(name, wanted, &objects, tip).delegated = Some(DELEGATED.into());
    // The same with one object after the other withheld.
    if name == "faulty list 0" {
        let tip = corpus.tasks.last().unwrap().tip.clone();
        for withheld in 0..objects.len() {
            let mut part = objects.to_vec();
            part.remove(withheld);
            let task =
                corpus.add(format!("object {withheld} withheld"), "object-missing", &part, tip.clone());
            task.delegated = Some(DELEGATED.into());
        }
    }
}

/// What is large: histories, headers, merges.
fn large(corpus: &mut Corpus<'_>) {
    let bench = corpus.bench;
    let last: CommitId = "1".repeat(40).parse().unwrap();
    let mut objects = Vec::new();
    let mut parent = last.to_string();
    for number in 0..21_000 {
        let bytes = payload(EMPTY_TREE, &[&parent], NOW - 60, &number.to_string());
        parent = agentd::trust::id_of(Kind::Commit, &bytes).unwrap().to_string();
        objects.push((Kind::Commit, bytes));
    }
    let tip: CommitId = parent.parse().unwrap();
    for strict in [Strict::Tip, Strict::All] {
        let task =
            corpus.add(format!("a long history, {strict:?}"), "too-many-commits", &objects, tip.clone());
        task.strict = strict;
        task.memory.last = Some(last.clone());
    }
    let many: Vec<String> = (0..30_000).map(|number| format!("{number:040x}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let plain = payload(EMPTY_TREE, &many, NOW - 60, "a merge of everything");
    let merge = with_header(&plain, "gpgsig", &bench.sign("ed25519", "git", &plain));
    corpus.commit("a merge of 30,000", "too-many-commits", &merge).memory.last = Some(last);
    let signature = format!("{}\n", "A".repeat(70)).repeat(60_000);
    let armoured = format!("-----BEGIN SSH SIGNATURE-----\n{signature}-----END SSH SIGNATURE-----\n");
    corpus.signed("a signature of four megabytes", "signature-malformed", &armoured);
    let wide = with_header(&self::plain(), "note", &"x\n".repeat(1 << 20));
    corpus.commit("a million lines of header", "unsigned", &wide);
}

/// Judges every `step`th of the corpus; gives how many those were, and what was wrong.
pub fn sweep(step: usize) -> (usize, Vec<String>) {
    let bench = Bench::new();
    let mut corpus = Corpus { bench: &bench, tasks: Vec::new() };
    for part in [tampered, bent, armours, headers, strangers, lists, large] {
        part(&mut corpus);
    }
    let threads = std::thread::available_parallelism().map_or(4, std::num::NonZero::get);
    let tasks: Vec<Task> = corpus.tasks.into_iter().step_by(step).collect();
    let wrong = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for part in tasks.chunks(tasks.len().div_ceil(threads)) {
            let wrong = &wrong;
            scope.spawn(move || wrong.lock().unwrap().extend(part.iter().filter_map(judged_apart)));
        }
    });
    (tasks.len(), wrong.into_inner().unwrap())
}

/// Judges one in a process of its own; says what is wrong.
fn judged_apart(task: &Task) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let handed = tempfile::NamedTempFile::new().unwrap();
    serde_json::to_writer(handed.as_file(), task).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "trust::hostile::as_a_process_of_its_own", "--ignored", "--nocapture"]);
    command.env("AGENTD_TEST_JUDGE", handed.path()).current_dir(folder.path());
    command.env("HOME", folder.path()).env("TMPDIR", folder.path());
    let started = Instant::now();
    let output = run(&mut command, b"");
    let took = started.elapsed();
    let text = String::from_utf8_lossy(&output.stdout);
    let Some((_, report)) = text.lines().find_map(|line| line.split_once("REPORT ")) else {
        return Some(format!("{}: no report: {text}{}", task.name, String::from_utf8_lossy(&output.stderr)));
    };
    let report: Report = serde_json::from_str(report).unwrap();
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    let is_right = task.wanted.split('|').any(|code| code == report.told);
    let fits = report.peak_kib < PEAK_KIB && took < TIME && left == 0;
    (!is_right || !fits).then(|| {
        let Report { told, peak_kib } = report;
        format!("{}: told {told}, wanted {}; {peak_kib} KiB, {took:?}, {left} files", task.name, task.wanted)
    })
}

#[test]
#[ignore = "it is the child of other tests"]
fn as_a_process_of_its_own() {
    let file = std::fs::File::open(std::env::var("AGENTD_TEST_JUDGE").unwrap()).unwrap();
    let task: Task = serde_json::from_reader(std::io::BufReader::new(file)).unwrap();
    let policy = Policy {
        signers: Signers::parse("signers", task.signers.as_bytes(), &TimeZone::UTC).unwrap(),
        revoked: Revoked::parse("revoked", task.revoked.as_bytes()).unwrap(),
        strict: task.strict,
        identities: vec![ADA.into()],
        delegated: task.delegated,
        zone: TimeZone::UTC,
    };
    let mut objects = Objects::with_limit(32 << 20);
    for (kind, text) in &task.objects {
        let kind = Kind::from_bytes(kind.as_bytes()).unwrap();
        objects.insert(kind, &STANDARD.decode(text).unwrap()).unwrap();
    }
    let verdict = judge(&policy, &task.memory, at(NOW), at(NOW - 86_400), &task.tip, &objects);
    let told = verdict.map_or_else(|refusal| refusal.code().to_owned(), |_| "taken".into());
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let field = |name: &str| -> u64 {
        let value = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        value.split_whitespace().next().unwrap().parse().unwrap()
    };
    // Of the program file the kernel maps as much as it has at hand, and a test binary is large.
    let peak_kib = field("VmHWM:") - field("RssFile:");
    println!("REPORT {}", serde_json::to_string(&Report { told, peak_kib }).unwrap());
}

#[test]
fn hostile_commits_are_refused_for_their_reason_in_little_memory_and_nothing_is_written() {
    let (hostile, wrong) = sweep(5);
    assert!(hostile >= 60, "{hostile}");
    assert!(wrong.is_empty(), "{} of {hostile}: {wrong:#?}", wrong.len());
}
