//! What the state folder adds to the story of a drift, for whoever may read it, which is root: the contents of before and
//! after, and who wrote the revision. Nothing is shown of a secret. What can't be read is left out: the story stands
//! without it.

use std::path::Path;

use crate::cli::render::history::More;
use crate::control::wire::{ContentPair, ContentText, SHOWN};
use crate::host::files::Root;
use crate::keep::{Keep, Limits, What};
use crate::model::{Digest, Revision, Shown};
use crate::record::{Applied, DriftRecord, load_applied, load_previous};

/// What the state folder at `state` adds to a story.
pub fn more(state: &Path, drift: &DriftRecord) -> More {
    match Root::open(state) {
        Ok(state) => More { contents: contents(&state, drift), revision: revision(&state, drift) },
        Err(_) => More::default(),
    }
}

fn contents(state: &Root, drift: &DriftRecord) -> Option<ContentPair> {
    let field = drift.fields.iter().find(|field| field.field == "content")?;
    if field.observed == Shown::Secret || field.desired == Shown::Secret {
        return None;
    }
    // Without the right to read what is kept there is nothing to show, and nothing to say.
    let kept = Root::open(state.absolute("kept")).ok()?;
    let keep = Keep::open(&kept, Limits::default()).ok()?;
    let text = |shown: &Shown, bytes: &dyn Fn(&Digest) -> Option<Vec<u8>>| match shown {
        Shown::Content { size, .. } if *size > SHOWN => ContentText::TooLarge,
        Shown::Content { digest, .. } => match bytes(digest) {
            Some(bytes) => ContentText::of(&bytes),
            None => ContentText::Gone,
        },
        Shown::Secret => ContentText::Secret,
        Shown::Absent | Shown::Value(_) => ContentText::Absent,
    };
    let before = |digest: &Digest| kept_bytes(&keep, drift.resource.key.as_str(), digest);
    let laid = |digest: &Digest| {
        let bytes = state.read(format!("contents/{digest}"), SHOWN + 1).ok()??;
        (Digest::of(&bytes) == *digest).then_some(bytes)
    };
    Some(ContentPair { observed: text(&field.observed, &before), desired: text(&field.desired, &laid) })
}

/// What was kept of a path with this content.
fn kept_bytes(keep: &Keep, path: &str, digest: &Digest) -> Option<Vec<u8>> {
    let items = keep.of_path(path).ok()?;
    let is_it =
        |what: &What| matches!(what, What::File { content: Some(content), .. } if content.digest == *digest);
    keep.bytes(&items.iter().find(|item| is_it(&item.what))?.id).ok()
}

/// The revision that demanded otherwise, if it is the one in force or the one before it.
fn revision(state: &Root, drift: &DriftRecord) -> Option<Revision> {
    let current = match load_applied(state).ok()? {
        Applied::Current(desired) | Applied::Previous { desired, .. } => desired.revision,
        Applied::Never => None,
    };
    let previous = load_previous(state).ok().flatten().and_then(|desired| desired.revision);
    let is_it = |revision: &Revision| Some(&revision.commit) == drift.commit.as_ref();
    [current, previous].into_iter().flatten().find(is_it)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::files::{Attributes, Xattrs};
    use crate::keep::{Contents, Durable, Occasion, Purpose};
    use crate::model::{Content, FieldDiff};

    fn drift(observed: Shown, desired: Shown) -> DriftRecord {
        let value = serde_json::json!({
            "id": 1, "resource": "file:/etc/motd", "verdict": "drifted", "place": null, "commit": null, "held": null,
            "fields": [FieldDiff::new("content", observed, desired)], "pass": 1, "seen": "2026-11-23T12:00:00Z",
            "attempts": [], "resolved": null, "result": null,
        });
        serde_json::from_value(value).unwrap()
    }

    fn shown(bytes: &[u8]) -> Shown {
        let Content { digest, size } = Content::of(bytes);
        Shown::Content { digest, size }
    }

    #[test]
    fn contents_come_from_what_was_kept_and_nothing_comes_of_a_secret() {
        let folder = tempfile::tempdir().unwrap();
        let state = Root::open(folder.path()).unwrap();
        let ours = |mode| {
            let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
            Attributes { uid, gid, mode }
        };
        for name in ["host/etc", "kept", "contents"] {
            state.create_dirs(name, ours(0o700)).unwrap();
        }
        let open = |name: &str| Root::open(state.absolute(name)).unwrap();
        let host = open("host");
        host.write("etc/motd", b"foreign\n", ours(0o644)).unwrap();
        Contents::in_folder(open("contents")).put(b"declared\n").unwrap();
        let keep = Keep::open(&open("kept"), Limits::default()).unwrap();
        let (resource, now) = ("file:/etc/motd".parse().unwrap(), "2026-11-23T12:00:00Z".parse().unwrap());
        let (etc, name) = host.parent(Path::new("/etc/motd")).unwrap();
        let staged = etc.stage_file(name, b"declared\n", ours(0o644), &Xattrs::default()).unwrap();
        let on = Occasion { resource: &resource, why: "a test", now };
        keep.replacing(on, "/etc/motd", staged, None, Purpose::Stay, Durable::Each)
            .unwrap()
            .commit()
            .unwrap();

        let pair = more(folder.path(), &drift(shown(b"foreign\n"), shown(b"declared\n"))).contents.unwrap();
        let text = |text: &str| ContentText::Text(text.to_owned());
        assert_eq!((pair.observed, pair.desired), (text("foreign\n"), text("declared\n")));
        let pair = more(folder.path(), &drift(shown(b"other\n"), shown(b"older\n"))).contents.unwrap();
        assert_eq!((pair.observed, pair.desired), (ContentText::Gone, ContentText::Gone));
        for (observed, desired) in
            [(Shown::Secret, shown(b"declared\n")), (shown(b"foreign\n"), Shown::Secret)]
        {
            assert_eq!(more(folder.path(), &drift(observed, desired)), More::default());
        }
        assert_eq!(more(&folder.path().join("none"), &drift(shown(b"a"), shown(b"b"))), More::default());
    }
}
