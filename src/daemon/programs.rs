//! Which way there is to know what program a process ran that has ended: probed once, at start, and told.

use std::sync::Arc;

use jiff::Timestamp;
use tracing::{info, warn};

use super::chain;
use crate::host::exec_cache::{Connector, ExecCache, KernelCache, OpenError};
use crate::status::WatchHealth;

/// Opens the best way there is. None if there is none: the health says why.
pub fn open(now: Timestamp) -> (Option<Arc<dyn ExecCache>>, WatchHealth) {
    choose(now, KernelCache::open().map(shared), || Connector::open().map(shared))
}

fn shared(cache: impl ExecCache + 'static) -> Arc<dyn ExecCache> {
    Arc::new(cache)
}

type Opened = Result<Arc<dyn ExecCache>, OpenError>;

/// The process connector only where the kernel takes no programs: it wakes the agent with every process on the host.
fn choose(
    now: Timestamp,
    bpf: Opened,
    connector: impl FnOnce() -> Opened,
) -> (Option<Arc<dyn ExecCache>>, WatchHealth) {
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
    let refused = match bpf {
        Ok(cache) => {
            info!("programs that are started are noted by bpf");
            return (Some(cache), health("bpf", 2, None));
        }
        Err(error) => chain(&error),
    };
    match connector() {
        Ok(cache) => {
            let why = format!(
                "not by bpf: {refused}; the process connector wakes the agent with every process, and one that ends at \
                 once may have no name"
            );
            warn!("programs that are started are noted by the process connector: {why}");
            (Some(cache), health("connector", 1, Some(why)))
        }
        Err(error) => {
            let connector = chain(&error);
            let neither = match connector == refused {
                true => format!("neither bpf nor the process connector tells: {refused}"),
                false => format!("{refused}; nor does the process connector tell: {connector}"),
            };
            let why = format!(
                "a program that ended before it could be looked at has no name: {neither}; changes by such are told as \
                 `unknown`"
            );
            info!("programs that are started are not noted: {why}");
            (None, health("proc", 0, Some(why)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::exec_cache::FakeExecCache;

    #[test]
    fn the_second_choice_and_none_are_told_with_the_reason_and_the_first_is_taken_alone() {
        let works = || -> Opened { Ok(shared(FakeExecCache::default())) };
        let refuses = || -> Opened { Err(OpenError::Namespace) };
        let now = Timestamp::UNIX_EPOCH;
        let never = || -> Opened { panic!("it costs a wake-up for each process") };
        let (cache, health) = choose(now, works(), never);
        assert_eq!((cache.is_some(), health.method.as_str(), health.message), (true, "bpf", None));
        let (cache, health) = choose(now, refuses(), works);
        assert_eq!((cache.is_some(), health.method.as_str()), (true, "connector"));
        assert!(health.message.unwrap().starts_with("not by bpf: the agent runs in a process namespace"));
        let (cache, health) = choose(now, refuses(), refuses);
        assert_eq!((cache.is_some(), health.method.as_str()), (false, "proc"));
        let message = health.message.unwrap();
        assert_eq!(message.matches("a process namespace of its own").count(), 1, "said twice: {message}");
        let other = || -> Opened { Err(OpenError::Structures("none".to_owned())) };
        let (_, health) = choose(now, refuses(), other);
        assert!(
            health.message.unwrap().contains("nor does the process connector tell: the kernel's structures")
        );
    }
}
