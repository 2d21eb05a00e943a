//! The published words: data-only cases in `tests/golden/declaration`, one folder each.

use std::path::{Path, PathBuf};

use agentd::declaration::check;

use super::{Files, files_below};

fn golden_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/declaration")
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

/// After a wanted change of words: `UPDATE_GOLDEN=1 cargo test`, and read the difference.
#[test]
fn bad_repositories_are_refused_in_the_published_words() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(golden_folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|folder| folder.is_dir() && !folder.ends_with("_base"));
    folders.sort();
    for folder in &folders {
        let said = format!("{}\n", check(&case(folder)));
        let expected = folder.join("faults.txt");
        if update {
            std::fs::write(&expected, &said).unwrap();
        } else if std::fs::read_to_string(&expected).unwrap_or_default() != said {
            wrong.push(format!("=== {}\n{said}", folder.display()));
        }
    }
    let (wrong_count, count) = (wrong.len(), folders.len());
    assert!(
        wrong.is_empty(),
        "{wrong_count} of {count} say something else than published:\n{}",
        wrong.join("\n")
    );
    assert!(count >= 60, "only {count} cases were found");
}

/// Each case is there for a fault: a report without one has lost it.
#[test]
fn every_golden_case_finds_something() {
    for entry in std::fs::read_dir(golden_folder()).unwrap() {
        let folder = entry.unwrap().path();
        if folder.is_dir() && !folder.ends_with("_base") {
            assert!(!check(&case(&folder)).findings.is_empty(), "{}", folder.display());
        }
    }
}

/// What a terminal would obey must not reach it by way of a fault.
#[test]
fn no_published_text_holds_a_control_character() {
    for entry in std::fs::read_dir(golden_folder()).unwrap() {
        let folder = entry.unwrap().path();
        if folder.is_dir() && !folder.ends_with("_base") {
            let said = check(&case(&folder)).to_string();
            let hidden = ['\u{200B}', '\u{200E}', '\u{202A}', '\u{202E}', '\u{2066}', '\u{FEFF}'];
            let bad = said.chars().find(|c| (c.is_control() && *c != '\n') || hidden.contains(c));
            assert_eq!(bad, None, "{}", folder.display());
        }
    }
}

#[test]
fn every_code_that_a_case_shows_is_documented() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/declaration.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    for entry in std::fs::read_dir(golden_folder()).unwrap() {
        let folder = entry.unwrap().path();
        if folder.is_dir() && !folder.ends_with("_base") {
            for finding in check(&case(&folder)).findings {
                let code = format!("`{}`", finding.diagnostic.code);
                assert!(docs.contains(&code), "{code} of {}", folder.display());
            }
        }
    }
}
