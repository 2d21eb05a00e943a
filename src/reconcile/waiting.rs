//! What differs and waits for its next attempt. While it waits, a look at it changes nothing: in a storm it would be
//! looked at all the time. Once the storm has gone quiet it need not wait any longer. Times are on the boot-time clock.

use std::collections::BTreeMap;
use std::time::Duration;

use super::scope::{KindScope, Scope};
use crate::model::{KindName, ResourceId};

/// Noticed so often while it waits, a resource is in a storm; whoever fights about it shows less often.
const STORM: u32 = 8;
/// After so long without a further notice a storm is over.
const QUIET: Duration = Duration::from_secs(3);
/// A resource is put right ahead of its time no more often than this: a storm that comes again and again is a fight,
/// and has the waits of a fight.
const RELEASED_EACH: Duration = Duration::from_secs(600);

/// What waits.
#[derive(Clone, Debug, Default)]
pub struct Waiting(BTreeMap<ResourceId, Wait>);

/// What ends a wait ahead of its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Heed {
    /// Whatever is noticed: what failed, or did not stay, may go well now.
    #[default]
    Notices,
    /// Nothing: someone changes it again and again.
    Time,
}

#[derive(Clone, Debug, Default)]
struct Wait {
    /// When its next attempt is due; none if it does not wait, and is only remembered.
    due: Option<Duration>,
    heed: Heed,
    /// How often it was noticed meanwhile, and when last.
    notices: u32,
    last: Duration,
    /// When it was last put right ahead of its time.
    released: Option<Duration>,
}

impl Waiting {
    /// A pass has looked at `scope` and found that these wait. Whatever else it looked at waits no more.
    pub fn found(&mut self, scope: &Scope, waits: Vec<(ResourceId, Duration, Heed)>, now: Duration) {
        for (resource, wait) in &mut self.0 {
            if scope.contains(resource) {
                // It waited for less than it should have: the storm was over.
                let was_early = wait.due.is_some_and(|due| due > now) && wait.is_over(now);
                wait.released = if was_early { Some(now) } else { wait.released };
                wait.due = None;
            }
        }
        for (resource, due, heed) in waits {
            let wait = self.0.entry(resource).or_default();
            (wait.due, wait.heed) = (Some(due), heed);
            (wait.notices, wait.last) = (0, now);
        }
        self.0.retain(|_, wait| wait.due.is_some() || wait.is_remembered(now));
    }

    /// What of something noticed is worth a look now: not what is known to differ and waits.
    pub fn without(&mut self, scope: Scope, now: Duration) -> Scope {
        let Scope::Some(mut kinds) = scope else { return scope };
        for (kind, within) in &mut kinds {
            let KindScope::Keys(keys) = within else { continue };
            keys.retain(|key| !self.notice(&ResourceId::new(*kind, key.clone()), now));
        }
        kinds.retain(|_, within| !matches!(within, KindScope::Keys(keys) if keys.is_empty()));
        Scope::Some(kinds)
    }

    /// Whether a resource need not wait any longer: what changed it again and again has gone quiet.
    pub fn is_calm(&self, resource: &ResourceId, now: Duration) -> bool {
        self.0.get(resource).is_some_and(|wait| wait.is_over(now))
    }

    /// When the next look is due, and at what.
    pub fn next(&self) -> Option<(Duration, Scope)> {
        let times = self.0.iter().filter_map(|(resource, wait)| Some((wait.next()?, resource)));
        let times: Vec<_> = times.collect();
        let first = times.iter().map(|(at, _)| *at).min()?;
        // What is due at almost the same time is looked at together.
        let soon = first + Duration::from_millis(200);
        let due = times.into_iter().filter(|(at, _)| *at <= soon);
        Some((first, Scope::of(due.map(|(_, resource)| resource.clone()))))
    }

    /// The longest wait of each kind that has one.
    pub fn longest(&self, now: Duration) -> BTreeMap<KindName, Duration> {
        let mut longest = BTreeMap::new();
        for (resource, wait) in &self.0 {
            if let Some(left) = wait.due.and_then(|due| due.checked_sub(now)) {
                let of_kind: &mut Duration = longest.entry(resource.kind).or_default();
                *of_kind = left.max(*of_kind);
            }
        }
        longest
    }

    fn notice(&mut self, resource: &ResourceId, now: Duration) -> bool {
        let waits = |wait: &&mut Wait| wait.heed == Heed::Time && wait.due.is_some_and(|due| due > now);
        let Some(wait) = self.0.get_mut(resource).filter(waits) else { return false };
        wait.notices = wait.notices.saturating_add(1);
        wait.last = now;
        true
    }
}

impl Wait {
    fn may_be_early(&self) -> bool {
        self.notices >= STORM && self.released.is_none_or(|at| self.last.saturating_sub(at) >= RELEASED_EACH)
    }

    fn is_over(&self, now: Duration) -> bool {
        self.may_be_early() && now.saturating_sub(self.last) >= QUIET
    }

    fn next(&self) -> Option<Duration> {
        let due = self.due?;
        Some(if self.may_be_early() { due.min(self.last + QUIET) } else { due })
    }

    fn is_remembered(&self, now: Duration) -> bool {
        self.released.is_some_and(|at| now.saturating_sub(at) < RELEASED_EACH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::LookAt;

    const NOW: Duration = Duration::from_secs(1000);

    fn id(name: &str) -> ResourceId {
        format!("file:/etc/{name}").parse().unwrap()
    }

    fn after(seconds: u64) -> Duration {
        NOW + Duration::from_secs(seconds)
    }

    fn waiting() -> Waiting {
        let mut waiting = Waiting::default();
        waiting.found(&Scope::Full, vec![(id("motd"), after(300), Heed::Time)], NOW);
        waiting
    }

    fn storm(waiting: &mut Waiting, from: u64, to: u64) {
        for second in from..=to {
            assert_eq!(waiting.without(Scope::of([id("motd")]), after(second)), Scope::nothing());
        }
    }

    #[test]
    fn what_waits_is_not_looked_at_and_what_does_not_is() {
        let mut waiting = waiting();
        assert_eq!(waiting.longest(after(60)), [(KindName::File, Duration::from_secs(240))].into());
        assert_eq!(waiting.longest(after(301)), BTreeMap::new());
        let mut noticed = Scope::of([id("motd"), id("issue")]);
        assert_eq!(waiting.without(noticed.clone(), after(1)), Scope::of([id("issue")]));
        assert_eq!(waiting.without(noticed.clone(), after(300)), noticed, "it is due");
        noticed.add(&LookAt::Kind(KindName::File));
        assert_eq!(waiting.without(noticed.clone(), after(1)), noticed, "a whole kind is looked at");
        assert_eq!(waiting.without(Scope::Full, after(1)), Scope::Full);
        assert_eq!(waiting.next(), Some((after(300), Scope::of([id("motd")]))));
        waiting.found(&Scope::of([id("motd")]), Vec::new(), after(2));
        assert_eq!(waiting.next(), None, "it was put right");
        waiting.found(&Scope::Full, vec![(id("motd"), after(300), Heed::Notices)], after(3));
        let noticed = Scope::of([id("motd")]);
        assert_eq!(waiting.without(noticed.clone(), after(4)), noticed, "it failed, and may go well now");
    }

    #[test]
    fn once_a_storm_is_quiet_it_is_put_right_at_once_but_not_again_and_again() {
        let mut waiting = waiting();
        storm(&mut waiting, 1, 4);
        assert_eq!(waiting.next().unwrap().0, after(300), "that was no storm yet");
        storm(&mut waiting, 5, 20);
        assert_eq!(waiting.next(), Some((after(23), Scope::of([id("motd")]))));
        assert!(!waiting.is_calm(&id("motd"), after(22)) && waiting.is_calm(&id("motd"), after(23)));
        // It was put right; the storm comes back at once.
        waiting.found(&Scope::of([id("motd")]), Vec::new(), after(23));
        waiting.found(&Scope::of([id("motd")]), vec![(id("motd"), after(323), Heed::Time)], after(24));
        storm(&mut waiting, 25, 60);
        assert_eq!(waiting.next().unwrap().0, after(323));
        assert!(!waiting.is_calm(&id("motd"), after(100)));
        // Ten minutes later it may be once more.
        waiting.found(&Scope::of([id("motd")]), vec![(id("motd"), after(1100), Heed::Time)], after(800));
        storm(&mut waiting, 801, 820);
        assert_eq!(waiting.next().unwrap().0, after(823));
    }

    #[test]
    fn nothing_is_remembered_for_ever() {
        let mut waiting = waiting();
        waiting.found(&Scope::Full, Vec::new(), after(1));
        assert!(waiting.0.is_empty());
    }
}
