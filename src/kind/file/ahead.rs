//! The first look of a process knows no content: all are read before anything else, by all processors. Later looks
//! read next to nothing and keep to one.

use std::ffi::OsStr;
use std::thread::{Builder, available_parallelism, scope};

use super::observe::Way;
use super::spec::Spec;
use crate::host::files::{Hashed, Root};
use crate::host::pulse::PULSE;
use crate::model::Key;

/// With fewer files than this, starting threads is not worth while.
const MANY: usize = 256;

/// What the first look found at each of these places, in their order. None wherever it is not a regular file whose
/// content is declared, or could not be read: there the ordinary look says what there is.
pub(super) fn read(root: &Root, files: &[(&Key, &Spec)]) -> Vec<Option<Hashed>> {
    if files.len() < MANY {
        return Vec::new();
    }
    let workers = available_parallelism().map_or(1, usize::from);
    let shares = files.chunks(files.len().div_ceil(workers));
    scope(|scope| {
        let started: Vec<_> = shares
            .map(|share| (share, Builder::new().spawn_scoped(scope, move || read_share(root, share))))
            .collect();
        let results = started.into_iter().flat_map(|(share, started)| match started {
            Ok(worker) => worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            // No more threads to be had: then by this one.
            Err(_) => read_share(root, share),
        });
        results.collect()
    })
}

fn read_share(root: &Root, files: &[(&Key, &Spec)]) -> Vec<Option<Hashed>> {
    let mut way = Way::new(root);
    let read = files.iter().enumerate().map(|(at, (key, spec))| {
        // A slow disk is no hang.
        if at % MANY == 0 {
            PULSE.beat();
        }
        read_one(&mut way, key, spec)
    });
    read.collect()
}

fn read_one<'k>(way: &mut Way<'k>, key: &'k Key, spec: &Spec) -> Option<Hashed> {
    match spec {
        Spec::File { content: Some(_), .. } => {
            let (folder, name): (_, &OsStr) = way.to(key.as_str()).ok()??;
            // Behind a link it is looked at closely.
            if folder.led_to().is_some() {
                return None;
            }
            folder.content(name).ok()?
        }
        Spec::File { content: None, .. } | Spec::Directory { .. } | Spec::Link { .. } | Spec::Absent => None,
    }
}
