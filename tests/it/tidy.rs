//! The house is held to its own table: rooms import only from lower levels, kinds never each other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The table of ARCHITECTURE.md: room to level.
fn levels() -> BTreeMap<String, u32> {
    let text = std::fs::read_to_string("ARCHITECTURE.md").unwrap();
    let rows = text.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split('|');
        let room = cells.next()?.trim().strip_suffix('`')?.to_owned();
        Some((room, cells.next()?.trim().parse().ok()?))
    });
    rows.collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// The rooms that a file names: `crate::room` anywhere outside comments.
fn named_rooms(text: &str) -> Vec<(usize, String)> {
    let mut named = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or("");
        for after in code.split("crate::").skip(1) {
            let room: String = after.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            named.push((number + 1, room));
        }
    }
    named
}

#[test]
fn rooms_import_only_from_lower_levels() {
    let levels = levels();
    assert!(levels.len() > 10, "the table of ARCHITECTURE.md could not be read: {levels:?}");
    let mut found = Vec::new();
    sources(Path::new("src"), &mut found);
    let mut faults = Vec::new();
    for path in found {
        let inside: Vec<_> = path.strip_prefix("src").unwrap().iter().collect();
        let room = inside[0].to_str().unwrap().to_owned();
        if inside.len() == 1 || room == "bin" {
            continue;
        }
        let Some(level) = levels.get(&room) else {
            faults.push(format!("room `{room}` is not in the table of ARCHITECTURE.md"));
            continue;
        };
        let text = std::fs::read_to_string(&path).unwrap();
        for (line, other) in named_rooms(&text) {
            let is_lower = levels.get(&other).is_none_or(|other| other < level);
            if other != room && !is_lower {
                faults.push(format!("{}:{line}: `{room}` may not import `{other}`", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn kinds_never_import_each_other() {
    const KINDS: [&str; 4] = ["file", "package", "firewall", "service"];
    let mut faults = Vec::new();
    for kind in KINDS {
        let mut found = Vec::new();
        sources(&Path::new("src/kind").join(kind), &mut found);
        assert!(!found.is_empty(), "there is no kind {kind}");
        for path in found {
            let text = std::fs::read_to_string(&path).unwrap();
            for other in KINDS.into_iter().filter(|other| *other != kind) {
                if text.contains(&format!("kind::{other}::")) || text.contains(&format!("kind::{other};")) {
                    faults.push(format!("{} imports {other}", path.display()));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
