//! Following the branch: when to ask, what was answered, what to do about it. Pure bookkeeping; the loop does
//! the asking.

use std::time::Duration;

use jiff::Timestamp;

use crate::model::{CommitId, Diagnostic};
use crate::source::{Care, Fetched, Remote};
use crate::status::{Rejection, SourceStatus};
use crate::trigger::schedule::Spread;

/// The state of following one branch.
#[derive(Debug)]
pub struct Follow {
    /// What is followed.
    pub remote: Remote,
    /// What the status shows.
    pub status: SourceStatus,
    /// The last commit that was accepted: only its descendants are followed.
    pub accepted: Option<CommitId>,
    /// The newest commit seen that is not in force, and why.
    pub rejected: Option<Rejection>,
    interval: Duration,
    spread: Spread,
    failures: u32,
    care: Care,
}

/// What to do after a fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing is new.
    Stay,
    /// This commit is to be compiled.
    Compile(CommitId),
}

impl Follow {
    /// Begins to follow `remote`.
    pub fn new(remote: Remote, interval: Duration, spread: Spread, accepted: Option<CommitId>) -> Self {
        let status = SourceStatus {
            url: remote.url.to_string(),
            branch: remote.branch.clone(),
            path: remote.subfolder.clone().unwrap_or_default(),
            ..SourceStatus::default()
        };
        Follow {
            remote,
            status,
            accepted,
            rejected: None,
            interval,
            spread,
            failures: 0,
            care: Care::Thorough,
        }
    }

    /// How closely the next fetch looks at the store.
    pub const fn care(&self) -> Care {
        self.care
    }

    /// How long to wait before the next fetch.
    pub fn wait(&self) -> Duration {
        match self.failures {
            0 => self.spread.interval(self.interval),
            failures => self.spread.back_off(self.interval, failures),
        }
    }

    /// A fetch ended well. `in_force` is the commit in force, if any.
    pub fn fetched(&mut self, fetched: &Fetched, in_force: Option<&CommitId>, now: Timestamp) -> Next {
        self.failures = 0;
        self.care = Care::Quick;
        self.status.last_success = Some(now);
        self.status.failing_since = None;
        self.status.error = None;
        self.status.shallow = !fetched.history_complete;
        if in_force == Some(&fetched.tip) {
            self.rejected = None;
            return Next::Stay;
        }
        match &self.rejected {
            Some(rejection) if rejection.commit == fetched.tip => Next::Stay,
            Some(_) | None => Next::Compile(fetched.tip.clone()),
        }
    }

    /// A fetch failed: the last good revision stays in force.
    pub fn failed(&mut self, message: String, now: Timestamp) {
        self.failures = self.failures.saturating_add(1);
        self.care = Care::Thorough;
        self.status.failing_since.get_or_insert(now);
        self.status.error = Some(message);
    }

    /// A commit is in force.
    pub fn accept(&mut self, commit: CommitId) {
        self.accepted = Some(commit);
        self.rejected = None;
    }

    /// A commit is refused; the last good one stays in force until a newer commit comes.
    pub fn reject(
        &mut self,
        commit: CommitId,
        reason: &str,
        message: String,
        diagnostics: Vec<Diagnostic>,
        now: Timestamp,
    ) {
        self.rejected =
            Some(Rejection { commit, reason: reason.to_owned(), message, diagnostics, since: now });
    }

    /// Forgets a refusal, so that the commit is looked at once more: a person asked.
    pub fn reconsider(&mut self) {
        self.rejected = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::RemoteUrl;

    fn commit(digit: char) -> CommitId {
        digit.to_string().repeat(40).parse().unwrap()
    }

    fn follow() -> Follow {
        let remote = Remote::new(RemoteUrl::parse("https://git.example.org/fleet.git").unwrap(), "main");
        Follow::new(remote, Duration::from_secs(60), Spread::of("web-1"), None)
    }

    fn fetched(tip: CommitId) -> Fetched {
        Fetched { tip, new: true, requests: 2, bytes_received: 0, history_complete: true, cloned: None }
    }

    #[test]
    fn a_refused_commit_is_not_compiled_again_until_a_newer_one_comes() {
        let now = Timestamp::UNIX_EPOCH;
        let mut follow = follow();
        let in_force = commit('a');
        assert_eq!(follow.fetched(&fetched(commit('b')), Some(&in_force), now), Next::Compile(commit('b')));
        follow.reject(commit('b'), "RevisionRejected", "bad".into(), Vec::new(), now);
        assert_eq!(follow.fetched(&fetched(commit('b')), Some(&in_force), now), Next::Stay);
        assert_eq!(follow.fetched(&fetched(commit('c')), Some(&in_force), now), Next::Compile(commit('c')));
        follow.accept(commit('c'));
        assert_eq!(follow.fetched(&fetched(commit('c')), Some(&commit('c')), now), Next::Stay);
        assert_eq!(follow.rejected, None);
    }

    #[test]
    fn failures_keep_their_beginning_and_wait_longer() {
        let mut follow = follow();
        let first = Timestamp::UNIX_EPOCH;
        follow.failed("down".into(), first);
        let short = follow.wait();
        follow.failed("still down".into(), first + Duration::from_secs(60));
        assert!(follow.wait() > short);
        assert_eq!(follow.status.failing_since, Some(first));
        follow.fetched(&fetched(commit('a')), None, first);
        assert_eq!((follow.status.failing_since, follow.wait() <= Duration::from_secs(66)), (None, true));
    }
}
