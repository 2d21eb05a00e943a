//! Which way there is to know what program a process ran that has ended: probed once, at start, and told.

use std::sync::Arc;

use jiff::Timestamp;
use tracing::info;

use super::chain;
use crate::host::exec_cache::{ExecCache, KernelCache};
use crate::status::WatchHealth;

/// Opens the best way there is. None if there is none: the health says why.
pub fn open(now: Timestamp) -> (Option<Arc<dyn ExecCache>>, WatchHealth) {
    let health = |method: &str, watches, message| WatchHealth {
        name: "programs".to_owned(),
        method: method.to_owned(),
        live_since: Some(now),
        blind_since: None,
        watches,
        events: 0,
        overflows: 0,
        message,
    };
    match KernelCache::open() {
        Ok(cache) => {
            info!("programs that are started are noted by bpf");
            (Some(Arc::new(cache)), health("bpf", 2, None))
        }
        Err(error) => {
            let why = format!(
                "a program that ended before it could be looked at has no name: {}; changes by such are told as \
                 `unknown`",
                chain(&error)
            );
            info!("programs that are started are not noted: {why}");
            (None, health("proc", 0, Some(why)))
        }
    }
}
