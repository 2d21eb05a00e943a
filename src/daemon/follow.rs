//! What is known of the branch that is followed: how asking it goes, what was accepted of it, how soon and how closely
//! to look again. Pure bookkeeping; what to do next is `errand`'s to say.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{CommitId, Diagnostic};
use crate::source::{Care, Fetched, Remote};
use crate::status::{Rejection, SourceStatus};
use crate::trigger::schedule::Spread;

/// The store is looked at from end to end this often: damage in what is rarely read shows while the remote still has
/// it.
const THOROUGH_EVERY: Duration = Duration::from_secs(24 * 3600);

/// Which declaration: what was accepted of one says nothing of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Branch {
    /// Address of the repository.
    pub url: String,
    /// Name of the branch.
    pub branch: String,
    /// Where in the tree the declaration lives.
    pub path: Option<String>,
}

/// The last commit that was put in force, and of which branch: only its descendants there are followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Of which branch.
    pub of: Branch,
    /// The commit.
    pub commit: CommitId,
}

/// The state of following one branch.
#[derive(Debug)]
pub struct Follow {
    /// What is followed.
    pub remote: Remote,
    /// What the status shows.
    pub status: SourceStatus,
    /// The last commit that was accepted of this branch.
    pub accepted: Option<CommitId>,
    /// What the branch points to, as far as is known.
    pub tip: Option<CommitId>,
    /// The newest commit seen that is not in force, and why.
    pub rejected: Option<Rejection>,
    /// What the last try came to grief over, if it did.
    pub trouble: Option<String>,
    interval: Duration,
    spread: Spread,
    failures: u32,
    damage: bool,
    /// When the store was last looked at from end to end, on the clock that counts from boot.
    thorough: Option<Duration>,
}

impl Branch {
    /// The branch of a remote.
    pub fn of(remote: &Remote) -> Self {
        let Remote { url, branch, subfolder, .. } = remote;
        Branch { url: url.to_string(), branch: branch.clone(), path: subfolder.clone() }
    }
}

impl Follow {
    /// Begins to follow `remote`.
    pub fn new(remote: Remote, interval: Duration, spread: Spread, accepted: Option<CommitId>) -> Self {
        let Branch { url, branch, path } = Branch::of(&remote);
        let path = path.unwrap_or_default();
        Follow {
            remote,
            status: SourceStatus { url, branch, path, ..SourceStatus::default() },
            accepted,
            tip: None,
            rejected: None,
            trouble: None,
            interval,
            spread,
            failures: 0,
            damage: false,
            thorough: None,
        }
    }

    /// The same branch by other settings: another key, another interval.
    pub fn anew(self, remote: Remote, interval: Duration, spread: Spread) -> Self {
        Follow { remote, interval, spread, ..self }
    }

    /// Which branch.
    pub fn branch(&self) -> Branch {
        Branch::of(&self.remote)
    }

    /// What is to be in force: the tip; what was accepted last for as long as that is not known.
    pub fn goal(&self) -> Option<&CommitId> {
        self.tip.as_ref().or(self.accepted.as_ref())
    }

    /// How closely the next fetch looks at the store. `now` is on the clock that counts from boot.
    pub fn care(&self, now: Duration) -> Care {
        let is_due = self.thorough.is_none_or(|last| now.saturating_sub(last) >= THOROUGH_EVERY);
        if self.damage || is_due { Care::Thorough } else { Care::Quick }
    }

    /// How long to wait before the next fetch.
    pub fn wait(&self) -> Duration {
        match self.failures {
            0 => self.spread.interval(self.interval),
            failures => self.spread.back_off(self.interval, failures),
        }
    }

    /// A fetch that began with this care, at `begun` on the clock that counts from boot, ended well.
    pub fn fetched(&mut self, fetched: &Fetched, care: Care, begun: Duration, now: Timestamp) {
        if care == Care::Thorough {
            (self.thorough, self.damage) = (Some(begun), false);
        }
        self.trouble = None;
        self.status.last_success = Some(now);
        self.status.shallow = !fetched.history_complete;
        self.rejected.take_if(|rejected| rejected.commit != fetched.tip);
        self.tip = Some(fetched.tip.clone());
    }

    /// Damage was met in the store: the next fetch looks closely.
    pub fn damaged(&mut self) {
        self.damage = true;
    }

    /// A step failed, and not because of what is declared: it is tried again.
    pub fn failed(&mut self, message: String, now: Timestamp) {
        self.failures = self.failures.saturating_add(1);
        self.status.failing_since.get_or_insert(now);
        self.status.error = Some(message.clone());
        self.trouble = Some(message);
    }

    /// All that can be done is done. Whether that ends a time of failures.
    pub fn rest(&mut self) -> bool {
        let is_over = self.trouble.is_none() && self.failures > 0;
        if is_over {
            self.failures = 0;
            (self.status.failing_since, self.status.error) = (None, None);
        }
        is_over
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::RemoteUrl;

    const MINUTE: Duration = Duration::from_secs(60);

    fn commit(digit: char) -> CommitId {
        digit.to_string().repeat(40).parse().unwrap()
    }

    fn follow() -> Follow {
        let remote = Remote::new(RemoteUrl::parse("https://git.example.org/fleet.git").unwrap(), "main");
        Follow::new(remote, MINUTE, Spread::of("web-1"), None)
    }

    fn fetched(tip: CommitId) -> Fetched {
        Fetched { tip, new: true, requests: 2, bytes_received: 0, history_complete: true, cloned: None }
    }

    #[test]
    fn a_refusal_is_shown_for_as_long_as_the_branch_points_there() {
        let (now, care) = (Timestamp::UNIX_EPOCH, Care::Quick);
        let mut follow = follow();
        follow.fetched(&fetched(commit('b')), care, MINUTE, now);
        follow.reject(commit('b'), "RevisionRejected", "bad".into(), Vec::new(), now);
        follow.fetched(&fetched(commit('b')), care, MINUTE, now);
        assert!(follow.rejected.is_some());
        follow.fetched(&fetched(commit('c')), care, MINUTE, now);
        assert_eq!(follow.rejected, None);
    }

    #[test]
    fn failures_keep_their_beginning_and_wait_longer_until_something_ends_well() {
        let mut follow = follow();
        let first = Timestamp::UNIX_EPOCH;
        follow.failed("down".into(), first);
        let short = follow.wait();
        follow.failed("still down".into(), first + MINUTE);
        assert!(follow.wait() > short);
        assert_eq!(follow.status.failing_since, Some(first));
        assert!(!follow.rest(), "nothing ended well");
        // The remote answers, but what it has can't be compiled for want of space: it goes on failing.
        follow.fetched(&fetched(commit('a')), Care::Quick, MINUTE, first);
        follow.failed("no space".into(), first);
        assert!(!follow.rest() && follow.wait() > short);
        follow.fetched(&fetched(commit('a')), Care::Quick, MINUTE, first);
        assert!(follow.rest());
        assert_eq!((follow.status.failing_since, follow.wait() <= MINUTE.mul_f64(1.1)), (None, true));
    }

    #[test]
    fn the_store_is_looked_at_closely_at_first_once_a_day_and_after_damage() {
        let (now, at) = (Timestamp::UNIX_EPOCH, MINUTE);
        let mut follow = follow();
        assert_eq!(follow.care(at), Care::Thorough, "the first time");
        follow.failed("down".into(), now);
        assert_eq!(follow.care(at), Care::Thorough, "it did not come to that");
        follow.fetched(&fetched(commit('a')), Care::Thorough, at, now);
        follow.failed("down".into(), now);
        assert_eq!(follow.care(at + MINUTE), Care::Quick, "a remote that is down damages nothing");
        assert_eq!(follow.care(at + THOROUGH_EVERY), Care::Thorough, "a day later");
        follow.damaged();
        assert_eq!(follow.care(at + MINUTE), Care::Thorough, "a reader met damage");
        follow.fetched(&fetched(commit('a')), Care::Thorough, at + MINUTE, now);
        assert_eq!(follow.care(at + 2 * MINUTE), Care::Quick);
    }
}
