//! The TOML that would declare what is there, and what is worth waking up for. Pure.

use std::path::PathBuf;

use super::spec::Spec;
use super::state::{Body, State};
use crate::host::files::FileType;
use crate::kind::{LookAt, Specs, Watch};
use crate::model::{Key, KindName, ResourceId};

/// A `[files."…"]` table. The content of a regular file goes into the repository as `files` and its path.
pub(super) fn declare(key: &Key, state: &State) -> String {
    let mut lines = vec![format!("[files.{}]", quoted(key.as_str()))];
    let default_mode = match (state.kind, &state.body) {
        (FileType::Directory, _) => {
            lines.push("ensure = \"directory\"".to_owned());
            Some(0o755)
        }
        (FileType::Link, Body::Target(target)) => {
            lines.push(format!("link = {}", quoted(target)));
            None
        }
        (FileType::File, _) => {
            lines.push(format!("source = {}", quoted(&format!("files{key}"))));
            Some(0o644)
        }
        (FileType::Link | FileType::Pipe | FileType::Socket | FileType::Device, _) => {
            lines.push(format!("# {} cannot be declared", state.kind));
            None
        }
    };
    if let Some(default_mode) = default_mode {
        let mut unless = |key: &str, value: &str, default: &str| {
            if value != default {
                lines.push(format!("{key} = {}", quoted(value)));
            }
        };
        unless("owner", &state.owner, "root");
        unless("group", &state.group, "root");
        unless("mode", &state.mode.to_string(), &format!("{default_mode:04o}"));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// The folder of each file, by name; an exclusive directory as a whole.
pub(super) fn watches(specs: &Specs<Spec>) -> Vec<Watch> {
    let mut watches = Vec::with_capacity(specs.len());
    for (key, declared) in specs {
        let look_at = LookAt::Resource(ResourceId::new(KindName::File, key.clone()));
        if let Spec::Directory { exclusive: true, .. } = &declared.spec {
            watches.push(Watch { folder: PathBuf::from(key.as_str()), name: None, look_at: look_at.clone() });
        }
        let (folder, name) = key.as_str().rsplit_once('/').unwrap_or(("", key.as_str()));
        let folder = PathBuf::from(if folder.is_empty() { "/" } else { folder });
        watches.push(Watch { folder, name: Some(name.to_owned()), look_at });
    }
    watches
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
