//! How often services were reloaded or restarted lately because of what they react to. A limit of its own: however many
//! inputs are edited however often, a service is not restarted more than so often. Reactions are levels, so one that
//! has to wait is owed, not lost. Times are on the boot-time clock.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::model::ResourceId;

/// So many reactions of one service within the window are made at once: a handful of commits in a row.
const AT_ONCE: usize = 5;
/// The window: as long as it takes a correction to be forgiven.
const WINDOW: Duration = super::attempts::FORGIVEN_AFTER;

/// The reactions made lately, by service.
#[derive(Clone, Debug, Default)]
pub struct Reactions(BTreeMap<ResourceId, VecDeque<Duration>>);

impl Reactions {
    /// When the next reaction of a service is due, if not now.
    pub fn due(&self, service: &ResourceId, now: Duration) -> Option<Duration> {
        let made = self.0.get(service)?;
        let at = made.get(made.len().checked_sub(AT_ONCE)?)?;
        Some(*at + WINDOW).filter(|due| *due > now)
    }

    /// A reaction was made.
    pub fn made(&mut self, service: &ResourceId, now: Duration) {
        let made = self.0.entry(service.clone()).or_default();
        made.push_back(now);
        if made.len() > AT_ONCE {
            made.pop_front();
        }
    }

    /// Forgets what is too long ago to count.
    pub fn forgive(&mut self, now: Duration) {
        self.0.retain(|_, made| made.back().is_some_and(|last| now.saturating_sub(*last) < WINDOW));
    }

    /// Another declaration is in force: following it is nobody's fight.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handful_is_made_at_once_and_then_one_as_each_leaves_the_window() {
        let nginx: ResourceId = "service:nginx.service".parse().unwrap();
        let other: ResourceId = "service:other.service".parse().unwrap();
        let at = |seconds: u64| Duration::from_secs(1000 + seconds);
        let mut reactions = Reactions::default();
        for second in 0..5 {
            assert_eq!(reactions.due(&nginx, at(second)), None);
            reactions.made(&nginx, at(second));
        }
        assert_eq!(reactions.due(&nginx, at(5)), Some(at(600)));
        assert_eq!(reactions.due(&other, at(5)), None);
        assert_eq!(reactions.due(&nginx, at(600)), None);
        reactions.made(&nginx, at(600));
        assert_eq!(reactions.due(&nginx, at(600)), Some(at(601)));
        reactions.forgive(at(1200));
        assert!(reactions.0.is_empty());
    }
}
