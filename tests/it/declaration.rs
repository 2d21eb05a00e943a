//! The compiler from outside: what it says of bad repositories, word for word, and what must hold for any input.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use agentd::declaration::check;

type Files = BTreeMap<String, Vec<u8>>;

fn golden_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/declaration")
}

fn files_below(root: &Path) -> Files {
    let mut files = Files::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                files.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// A case is a fleet repository. What it does not have of the base it gets from there, unless it is `bare`.
fn case(folder: &Path) -> Files {
    let mut files = files_below(folder);
    files.remove("faults.txt");
    if files.remove("bare").is_none() {
        let has_hosts = files.keys().any(|path| path.starts_with("hosts/"));
        for (path, bytes) in files_below(&golden_folder().join("_base")) {
            if !(has_hosts && path.starts_with("hosts/")) {
                files.entry(path).or_insert(bytes);
            }
        }
    }
    files
}

/// The published words of the compiler. After a wanted change of words: `UPDATE_GOLDEN=1 cargo test`, and read
/// the difference.
#[test]
fn bad_repositories_are_refused_in_the_published_words() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    let mut count = 0;
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(golden_folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    for folder in folders.iter().filter(|folder| folder.is_dir() && !folder.ends_with("_base")) {
        count += 1;
        let said = format!("{}\n", check(&case(folder)));
        let expected = folder.join("faults.txt");
        if update {
            std::fs::write(&expected, &said).unwrap();
        } else if std::fs::read_to_string(&expected).unwrap_or_default() != said {
            wrong.push(format!("=== {}\n{said}", folder.display()));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {count} cases say something else than published:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(count >= 60, "only {count} cases were found");
}
