//! What lies in a folder and is not declared.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::ops::Bound;
use std::path::Path;

use super::observe::Look;
use super::path::ancestors;
use super::spec::Spec;
use super::state::{Body, State};
use crate::host::files::{Entry, FileType, FilesError, Folder, Root};
use crate::kind::{Declared, Reading, Specs, Want};
use crate::model::Key;

/// Names that are never taken for something undeclared: what dpkg has under way, what the file system keeps.
const NEVER: [&str; 3] = ["*.dpkg-new", "*.dpkg-tmp", "lost+found"];

/// How deep folders are looked through that are there only because something declared lies in them.
const DEPTH_LIMIT: usize = 32;

/// Finds what is not declared in the exclusive directories in scope.
pub(super) fn find(
    look: &mut Look<'_>,
    want: &Want<'_, Spec>,
    readings: &mut Vec<(Key, Reading<State>)>,
    notes: &mut Vec<String>,
) {
    for (key, ignore) in directories(want) {
        let mut sweep = Sweep { look, want, top: key.as_str(), ignore, found: Vec::new(), notes };
        let swept = itself(sweep.look.root, key).and_then(|folder| match folder {
            Some(folder) => sweep.folder(&folder, key.as_str(), DEPTH_LIMIT),
            None => Ok(()),
        });
        match swept {
            Ok(()) => {
                let found = sweep.found;
                readings.extend(found);
            }
            // Half a listing is no listing: nothing of this directory is known.
            Err(error) => {
                readings.retain(|(known, _)| known != key);
                readings.push((key.clone(), Reading::Unknown(error.chain())));
            }
        }
    }
}

/// The folder of this very path: what a link in its place leads to is nobody's to sweep.
fn itself(root: &Root, key: &Key) -> Result<Option<Folder>, FilesError> {
    let path = Path::new(key.as_str());
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
    match root.folder(parent)? {
        Some(parent) => parent.subfolder(name),
        None => Ok(None),
    }
}

/// The exclusive directories in scope, with what is ignored in them: those asked for, and those in which
/// something lies that is asked for.
fn directories<'a>(want: &Want<'a, Spec>) -> Vec<(&'a Key, &'a [String])> {
    let exclusive = |(key, declared): (&'a Key, &'a Declared<Spec>)| match &declared.spec {
        Spec::Directory { exclusive: true, ignore, .. } => Some((key, ignore.as_slice())),
        Spec::Directory { .. } | Spec::File { .. } | Spec::Link { .. } | Spec::Absent => None,
    };
    let specs = want.specs;
    let Some(only) = want.only else { return specs.iter().filter_map(exclusive).collect() };
    let concerned = |key: &'a Key| ancestors(key.as_str()).chain([key.as_str()]);
    let found: BTreeMap<_, _> = only
        .iter()
        .flat_map(concerned)
        .filter_map(|path| specs.get_key_value(path))
        .filter_map(exclusive)
        .collect();
    found.into_iter().collect()
}

/// Something in the folder `key`, which is to be pruned, that is not to be pruned with it.
pub(super) fn inhabitant(root: &Root, key: &Key, want: &Want<'_, Spec>) -> Option<String> {
    let folder = root.folder(key.as_str()).ok()??;
    let entries = folder.list().ok()?;
    let foreign = entries.into_iter().find(|entry| {
        let path = entry.name.to_str().map(|name| format!("{key}/{name}"));
        !path.is_some_and(|path| want.prune.contains(path.as_str()))
    });
    foreign.map(|entry| entry.name.to_string_lossy().into_owned())
}

struct Sweep<'s, 'l, 'w> {
    look: &'s mut Look<'l>,
    want: &'s Want<'w, Spec>,
    top: &'s str,
    ignore: &'s [String],
    found: Vec<(Key, Reading<State>)>,
    notes: &'s mut Vec<String>,
}

impl Sweep<'_, '_, '_> {
    fn folder(&mut self, folder: &Folder, path: &str, depth: usize) -> Result<(), FilesError> {
        for Entry { name, kind } in folder.list()? {
            let Some(text) = name.to_str().filter(|name| !name.contains(char::is_control)) else {
                let shown = name.to_string_lossy().escape_debug().to_string();
                self.notes.push(format!("{path}: `{shown}` is left alone: its name cannot be declared"));
                continue;
            };
            let child = format!("{path}/{text}");
            let below = child[self.top.len() + 1..].to_owned();
            if self.is_ignored(text, &below) || self.is_declared(&child) {
                continue;
            }
            if holds_declared(self.want.specs, &child) {
                if kind == FileType::Directory
                    && let Some(depth) = depth.checked_sub(1)
                    && let Some(inner) = folder.subfolder(&name)?
                {
                    self.folder(&inner, &child, depth)?;
                }
                continue;
            }
            self.extra(folder, &name, &child)?;
        }
        Ok(())
    }

    fn extra(&mut self, folder: &Folder, name: &OsStr, path: &str) -> Result<(), FilesError> {
        let Some(stat) = folder.stat(name)? else { return Ok(()) };
        if stat.mounted {
            self.notes.push(format!("{path} is left alone: something is mounted on it"));
            return Ok(());
        }
        let key = Key::from(path);
        if self.want.in_scope(&key) || self.want.only.is_some_and(|only| only.contains(self.top)) {
            let state = self.look.bare(&stat, None, Body::Unread);
            self.found.push((key, Reading::Present(state)));
        }
        Ok(())
    }

    fn is_ignored(&self, name: &str, below: &str) -> bool {
        let ours = name.starts_with(".agentd.") || name.starts_with(".agentd-old.");
        let given = |glob: &String| matches(glob, if glob.contains('/') { below } else { name });
        ours || NEVER.iter().any(|glob| matches(glob, name)) || self.ignore.iter().any(given)
    }

    fn is_declared(&self, path: &str) -> bool {
        // What is to be pruned is taken away as such.
        self.want.specs.contains_key(path) || self.want.prune.contains(path)
    }
}

/// Whether something declared lies below this path.
fn holds_declared(specs: &Specs<Spec>, path: &str) -> bool {
    let from = format!("{path}/");
    let mut after = specs.range::<str, _>((Bound::Excluded(from.as_str()), Bound::Unbounded));
    after.next().is_some_and(|(key, _)| key.as_str().starts_with(&from))
}

/// Whether a text matches a glob: `*` any characters but `/`, `?` one of them.
pub(super) fn matches(glob: &str, text: &str) -> bool {
    let (glob, text): (Vec<char>, Vec<char>) = (glob.chars().collect(), text.chars().collect());
    let (mut g, mut t) = (0, 0);
    // Where the last star stands, and how much of the text it has taken.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match glob.get(g) {
            Some('*') => {
                star = Some((g, t));
                g += 1;
            }
            Some('?') if text[t] != '/' => (g, t) = (g + 1, t + 1),
            Some(c) if *c == text[t] => (g, t) = (g + 1, t + 1),
            Some(_) | None => match star {
                Some((at, taken)) if text[taken] != '/' => {
                    star = Some((at, taken + 1));
                    (g, t) = (at + 1, taken + 1);
                }
                Some(_) | None => return false,
            },
        }
    }
    glob[g..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_within_a_name() {
        for (glob, text) in [
            ("*", "abc"),
            ("*.local", "x.local"),
            ("a?c", "abc"),
            ("*a*b*", "xaxxbx"),
            ("a/*", "a/b"),
            ("", ""),
            ("ü?", "üx"),
            ("*.*", "a.b.c"),
        ] {
            assert!(matches(glob, text), "{glob} {text}");
        }
        for (glob, text) in [
            ("*", "a/b"),
            ("a?c", "a/c"),
            ("*.local", "x.locale"),
            ("a", "ab"),
            ("ab", "a"),
            ("*/x", "a/b/x"),
        ] {
            assert!(!matches(glob, text), "{glob} {text}");
        }
    }
}
