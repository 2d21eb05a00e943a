//! The tree of digests.

use std::fmt::Write;

use super::Look;
use super::style::Tone;
use crate::control::wire::{FingerprintReply, FingerprintView};
use crate::model::escape;

/// How deep the tree is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The root and the kinds.
    Kinds,
    /// Every resource.
    Resources,
}

/// Both trees.
pub fn page(reply: &FingerprintReply, depth: Depth, look: &Look) -> String {
    let mut text = format!("{}\n", look.painter.paint(Tone::Strong, &escape::line(&reply.host)));
    tree(&mut text, "declared", &reply.declared, depth, look);
    match &reply.observed {
        Some(observed) => tree(&mut text, "observed", observed, depth, look),
        None => text.push_str("observed  not known: something could not be read\n"),
    }
    text
}

fn tree(text: &mut String, name: &str, view: &FingerprintView, depth: Depth, look: &Look) {
    let root = look.painter.paint(Tone::Strong, &view.root.to_string());
    let _ = writeln!(text, "{name}  {root}");
    for kind in &view.kinds {
        let count = kind.resources.len();
        let resources = if count == 1 { "resource" } else { "resources" };
        let _ = writeln!(text, "  {:<9} {} {count} {resources}", kind.kind.to_string(), kind.digest);
        if depth == Depth::Resources {
            for (key, digest) in &kind.resources {
                let _ = writeln!(text, "    {digest} {}", escape::line(key.as_str()));
            }
        }
    }
}
