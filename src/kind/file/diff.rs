//! Observed against declared. Pure.

use super::Aside;
use super::change::{Act, Change};
use super::names::missing_name;
use super::path::{ancestors, is_below};
use super::spec::{Ownership, Spec};
use super::state::{Body, State};
use crate::host::files::FileType;
use crate::kind::{Difference, Observed, Reading, Want};
use crate::model::{Content, FieldDiff, Key, Shown};

pub(super) fn diff(
    aside: &Aside,
    want: &Want<'_, Spec>,
    observed: &Observed<State>,
) -> Vec<Difference<Change>> {
    let (mut lay, mut remove) = (Vec::new(), Vec::new());
    // Both are sorted by key: one walk over the two, without a search for each. Except for a few of many.
    let few = observed.readings.len() < want.specs.len() / 16;
    let mut specs = want.specs.iter().peekable();
    for (key, reading) in &observed.readings {
        let declared = if few {
            want.specs.get(key)
        } else {
            // Equal keys mostly are one and the same: found by address, before any text is compared.
            if specs.peek().is_some_and(|(declared, _)| *declared != key) {
                while specs.next_if(|(declared, _)| *declared < key).is_some() {}
            }
            specs.next_if(|(declared, _)| *declared == key).map(|(_, declared)| declared)
        };
        let difference = match (declared, reading) {
            (_, Reading::Unknown(_)) => continue,
            (Some(declared), reading) => compare(aside, key, &declared.spec, reading),
            (None, Reading::Absent) => None,
            (None, Reading::Present(state)) => undeclared(aside, want, observed, key, state),
        };
        let Some(difference) = difference else { continue };
        match difference.changes.first().map(|change| change.act) {
            Some(Act::Remove | Act::Prune) | None => remove.push(difference),
            Some(Act::Lay | Act::Own) => lay.push(difference),
        }
    }
    // What lies in a folder is taken away before the folder.
    lay.extend(remove.into_iter().rev());
    lay
}

fn compare(aside: &Aside, key: &Key, spec: &Spec, reading: &Reading<State>) -> Option<Difference<Change>> {
    let state = match reading {
        Reading::Present(state) => Some(state),
        Reading::Absent => None,
        Reading::Unknown(_) => return None,
    };
    let difference = match (spec, state) {
        (Spec::Absent, None) => return None,
        (Spec::Absent, Some(state)) => removal(key, Act::Remove, state),
        (_, None) => creation(aside, key, spec),
        (_, Some(state)) if state.kind != kind(spec) => replacement(key, spec, state),
        (Spec::Link { target }, Some(state)) => retarget(key, target, state)?,
        (Spec::File { .. } | Spec::Directory { .. }, Some(state)) => correction(key, spec, state)?,
    };
    let waiting = spec.ownership().and_then(|ownership| waiting(aside, ownership));
    Some(Difference { waiting: waiting.or(difference.waiting.clone()), ..difference })
}

fn creation(aside: &Aside, key: &Key, spec: &Spec) -> Difference<Change> {
    let mut fields = vec![FieldDiff::new("ensure", Shown::Absent, spec.word())];
    if let Some(content) = content(spec) {
        fields.push(FieldDiff::new("content", Shown::Absent, shown(content)));
    }
    let mut text = format!("create {}", laid(key, spec));
    let folders: Vec<&str> =
        ancestors(key.as_str()).filter(|folder| aside.missing_folders.contains(*folder)).collect();
    if !folders.is_empty() {
        text.push_str(&format!(", and on the way to it {} (0755 root:root)", folders.join(", ")));
    }
    difference(key, fields, Act::Lay, text)
}

fn replacement(key: &Key, spec: &Spec, state: &State) -> Difference<Change> {
    let mut fields = vec![FieldDiff::new("ensure", word(state.kind), spec.word())];
    if let Some(content) = content(spec) {
        fields.push(FieldDiff::new("content", Shown::Absent, shown(content)));
    }
    let text = format!("replace {} at {key} by {}", state.kind, laid(key, spec));
    difference(key, fields, Act::Lay, text)
}

fn retarget(key: &Key, target: &str, state: &State) -> Option<Difference<Change>> {
    let found = match &state.body {
        Body::Target(found) => found.as_str(),
        Body::Content(_) | Body::Unread => return None,
    };
    if found == target {
        return None;
    }
    let fields = vec![FieldDiff::new("link", found, target)];
    Some(difference(key, fields, Act::Lay, format!("point the link {key} to {target}")))
}

fn correction(key: &Key, spec: &Spec, state: &State) -> Option<Difference<Change>> {
    let ownership = spec.ownership()?;
    let mut fields = Vec::new();
    let rewritten = match (content(spec), &state.body) {
        (Some(wanted), Body::Content(found)) if wanted != found => {
            fields.push(FieldDiff::new("content", shown(found), shown(wanted)));
            true
        }
        (Some(_) | None, Body::Content(_) | Body::Target(_) | Body::Unread) => false,
    };
    if state.owner != ownership.owner {
        fields.push(FieldDiff::new("owner", &*state.owner, &*ownership.owner));
    }
    if state.group != ownership.group {
        fields.push(FieldDiff::new("group", &*state.group, &*ownership.group));
    }
    if state.mode != ownership.mode {
        fields.push(FieldDiff::new("mode", state.mode.to_string(), ownership.mode.to_string()));
    }
    if fields.is_empty() {
        return None;
    }
    let (act, text) = if rewritten {
        (Act::Lay, format!("write {}", laid(key, spec)))
    } else {
        let parts: Vec<String> = fields
            .iter()
            .map(|field| format!("{} {} → {}", field.field, field.observed, field.desired))
            .collect();
        (Act::Own, format!("correct {key}: {}", parts.join(", ")))
    };
    Some(difference(key, fields, act, text))
}

/// Something that is there and not declared: to be pruned, or inside something exclusive.
fn undeclared(
    aside: &Aside,
    want: &Want<'_, Spec>,
    observed: &Observed<State>,
    key: &Key,
    state: &State,
) -> Option<Difference<Change>> {
    if want.prune.contains(key) {
        let difference = removal(key, Act::Prune, state);
        return Some(Difference { waiting: aside.unpruned.get(key).cloned(), ..difference });
    }
    let owner = exclusive_above(want, observed, key)?;
    Some(Difference { owner: Some(owner.clone()), ..removal(key, Act::Remove, state) })
}

/// What demands the removal of an undeclared file: the nearest declared directory above it, if that one is exclusive
/// and was read whole.
fn exclusive_above<'a>(want: &Want<'a, Spec>, observed: &Observed<State>, key: &Key) -> Option<&'a Key> {
    let above: Vec<&str> = ancestors(key.as_str()).collect();
    let nearest = above.into_iter().rev().find_map(|above| want.specs.get_key_value(above));
    let (top, declared) = nearest?;
    let exclusive = match &declared.spec {
        Spec::Directory { exclusive, .. } => *exclusive,
        Spec::File { .. } | Spec::Link { .. } | Spec::Absent => false,
    };
    let blind = matches!(observed.readings.get(top), Some(Reading::Unknown(_)));
    (exclusive && !blind && is_below(key.as_str(), top.as_str())).then_some(top)
}

fn removal(key: &Key, act: Act, state: &State) -> Difference<Change> {
    let fields = vec![FieldDiff::new("ensure", word(state.kind), Shown::Absent)];
    let text = match (act, state.kind) {
        (Act::Remove, FileType::Directory) => format!("remove the directory {key} with everything in it"),
        (Act::Remove | Act::Prune | Act::Lay | Act::Own, kind) => format!("remove {key} ({kind})"),
    };
    difference(key, fields, act, text)
}

fn difference(key: &Key, fields: Vec<FieldDiff>, act: Act, text: String) -> Difference<Change> {
    let changes = vec![Change { key: key.clone(), act, text }];
    Difference { key: key.clone(), fields, changes, waiting: None, failing: None, owner: None }
}

fn waiting(aside: &Aside, ownership: &Ownership) -> Option<String> {
    let named = [("user", &ownership.owner), ("group", &ownership.group)];
    let mut missing = named.into_iter().map(|(word, name)| missing_name(word, name));
    missing
        .find(|name| aside.missing_names.contains(name))
        .map(|name| format!("{name}, which does not exist yet"))
}

/// What will lie there, in words.
fn laid(key: &Key, spec: &Spec) -> String {
    match spec {
        Spec::File { content: Some(content), ownership, .. } => {
            format!("{key} ({} bytes, {ownership})", content.size)
        }
        Spec::File { content: None, ownership, .. } => format!("{key} (empty, {ownership})"),
        Spec::Directory { ownership, .. } => format!("the directory {key} ({ownership})"),
        Spec::Link { target } => format!("the link {key} → {target}"),
        Spec::Absent => key.to_string(),
    }
}

fn content(spec: &Spec) -> Option<&Content> {
    match spec {
        Spec::File { content, .. } => content.as_ref(),
        Spec::Directory { .. } | Spec::Link { .. } | Spec::Absent => None,
    }
}

fn shown(content: &Content) -> Shown {
    Shown::Content { digest: content.digest, size: content.size }
}

fn kind(spec: &Spec) -> FileType {
    match spec {
        Spec::Directory { .. } => FileType::Directory,
        Spec::Link { .. } => FileType::Link,
        Spec::File { .. } | Spec::Absent => FileType::File,
    }
}

/// The word for what is there, as `ensure` would say it.
fn word(kind: FileType) -> &'static str {
    match kind {
        FileType::File => "file",
        FileType::Directory => "directory",
        FileType::Link => "link",
        FileType::Pipe => "pipe",
        FileType::Socket => "socket",
        FileType::Device => "device",
    }
}
