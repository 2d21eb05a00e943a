//! What the process connector told, put together with what /proc showed then: notes of what each process ran. Events
//! come in and notes go out; it has no socket and no lock of its own.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::{Executed, FIRST_NAMESPACE_NUMBER, PROCESSES};
use crate::model::{Evidence, ProcessFacts};

/// As much of a command line is kept as the notes of the kernel's own programs hold.
const COMMAND: usize = 256;
/// So many programs may be read at once, and so many a second after that: a tenth of a millisecond each.
const BURST: u32 = 1000;
const A_SECOND: u32 = 200;

/// What the connector tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A process was forked.
    Fork { at: Duration, parent: u32, child: u32 },
    /// It runs another program.
    Exec { at: Duration, pid: u32 },
}

/// Notes by process, newest first: at most two of one process.
#[derive(Default)]
pub(super) struct Notes {
    by_pid: HashMap<u32, Vec<Note>>,
    /// In the order in which processes came up first.
    order: VecDeque<u32>,
    groups: HashMap<String, u64>,
    left: u32,
    refilled: Duration,
}

#[derive(Clone)]
struct Note {
    image: Executed,
    /// When /proc was read for it, on the monotonic clock.
    read: Duration,
}

/// Reads what a process shows now.
pub(super) type Look<'a> = &'a dyn Fn(u32) -> Option<ProcessFacts>;

impl Notes {
    /// Takes in what was told.
    pub fn hear(&mut self, event: Event, look: Look<'_>) {
        match event {
            Event::Fork { at, parent, child } => self.forked(at, parent, child, look),
            Event::Exec { at, pid } => self.executed(at, pid, look),
        }
    }

    /// What a process ran, newest first.
    pub fn images(&self, pid: u32) -> Vec<Executed> {
        self.by_pid.get(&pid).into_iter().flatten().map(|note| note.image.clone()).collect()
    }

    /// What all of them ran.
    pub fn all(&self) -> Vec<Executed> {
        self.by_pid.values().flatten().map(|note| note.image.clone()).collect()
    }

    /// Who was forked from whom is not known any more.
    pub fn forget(&mut self) {
        *self = Notes::default();
    }

    fn forked(&mut self, at: Duration, parent: u32, child: u32, look: Look<'_>) {
        let since = since_boot(at);
        let known = self.by_pid.get(&parent).and_then(|notes| notes.first());
        let image = match known {
            Some(known) => Executed {
                pid: child,
                started: ticks(since),
                since,
                is_fork: true,
                parent,
                parent_started: known.image.started,
                ..known.image.clone()
            },
            // The parent was there before we were: what the child is called tells whether it runs the same.
            None => {
                let facts = self.look(child, at, look);
                let name = facts.as_ref().map(|facts| facts.name.clone()).unwrap_or_default();
                let mut image = self.image(child, since, facts);
                (image.is_fork, image.parent, image.name) = (true, parent, name);
                (image.file, image.interpreter, image.command) = Default::default();
                image
            }
        };
        self.by_pid.insert(child, Vec::new());
        self.put(child, Note { image, read: at });
    }

    fn executed(&mut self, at: Duration, pid: u32, look: Look<'_>) {
        // What was read for the program before may have been this one already: then nobody knows what that was.
        if let Some(before) = self.by_pid.get(&pid).and_then(|notes| notes.first())
            && !before.image.is_fork
            && before.read >= at
        {
            let from = before.image.since;
            self.doubt(pid, from..since_boot(at));
        }
        let since = since_boot(at);
        let facts = self.look(pid, at, look);
        let read = monotonic();
        let mut image = self.image(pid, since, facts);
        if let Some(before) = self.by_pid.get(&pid).and_then(|notes| notes.first()) {
            // One process: its start is told the same in all of its notes.
            match image.started {
                0 => image = Executed { is_fork: false, ..blank(&before.image, since) },
                started => self
                    .by_pid
                    .entry(pid)
                    .or_default()
                    .iter_mut()
                    .for_each(|note| note.image.started = started),
            }
        }
        self.put(pid, Note { image, read });
    }

    /// Takes the program out of what is noted of a process in this time, and of those that were forked from it then.
    fn doubt(&mut self, pid: u32, time: std::ops::Range<Duration>) {
        let mut doubtful = vec![pid];
        while let Some(one) = doubtful.pop() {
            let forked = self.by_pid.values_mut().flatten().map(|note| &mut note.image);
            let forked = forked.filter(|image| {
                let is_copy = image.is_fork && image.parent == one && !image.interpreter.is_empty();
                time.contains(&image.since) && (is_copy || image.pid == pid && one == pid && !image.is_fork)
            });
            for image in forked {
                (image.file, image.interpreter, image.command) = Default::default();
                image.name.clear();
                doubtful.extend((image.pid != pid).then_some(image.pid));
            }
        }
    }

    /// What the process shows, if it is still that of the event and there is time for it.
    fn look(&mut self, pid: u32, at: Duration, look: Look<'_>) -> Option<ProcessFacts> {
        let earned = at.saturating_sub(self.refilled).as_millis() * u128::from(A_SECOND) / 1000;
        if let Ok(earned @ 1..) = u32::try_from(earned.min(BURST.into())) {
            self.left = self.left.saturating_add(earned).min(BURST);
            self.refilled = at;
        }
        self.left = self.left.checked_sub(1)?;
        look(pid).filter(|facts| facts.started <= ticks(since_boot(at)))
    }

    fn image(&mut self, pid: u32, since: Duration, facts: Option<ProcessFacts>) -> Executed {
        let facts = facts.unwrap_or_default();
        let parent_started = self
            .by_pid
            .get(&facts.parent)
            .and_then(|notes| notes.first())
            .map_or(0, |parent| parent.image.started);
        let program = facts.executable.unwrap_or_default();
        Executed {
            pid,
            started: facts.started,
            since,
            is_fork: false,
            parent: facts.parent,
            parent_started,
            uid: facts.uid.unwrap_or(u32::MAX),
            euid: facts.euid.unwrap_or(u32::MAX),
            login: facts.login,
            session: facts.session,
            cgroup: facts.cgroup.map_or(0, |group| self.group(group)),
            namespace: if facts.is_contained { 1 } else { FIRST_NAMESPACE_NUMBER },
            name: facts.name,
            file: program.clone(),
            interpreter: program,
            command: cut(facts.command),
            source: Evidence::ExecConnector,
        }
    }

    /// The number of a control group, by which its path is found again for as long as it is there.
    fn group(&mut self, path: String) -> u64 {
        if self.groups.len() >= PROCESSES as usize {
            self.groups.clear();
        }
        *self.groups.entry(path).or_insert_with_key(|path| super::number_of_group(path).unwrap_or(0))
    }

    fn put(&mut self, pid: u32, note: Note) {
        let notes = self.by_pid.entry(pid).or_default();
        if notes.is_empty() {
            self.order.push_back(pid);
        }
        notes.insert(0, note);
        notes.truncate(2);
        while self.order.len() > PROCESSES as usize {
            let Some(oldest) = self.order.pop_front() else { break };
            // One that came up again is in the line twice.
            if !self.order.contains(&oldest) {
                self.by_pid.remove(&oldest);
            }
        }
    }
}

/// A note of the same process without a program.
fn blank(of: &Executed, since: Duration) -> Executed {
    let (name, file, interpreter, command) = Default::default();
    Executed { since, name, file, interpreter, command, ..of.clone() }
}

fn cut(command: Vec<String>) -> Vec<String> {
    let mut left = COMMAND;
    let fits = |argument: &String| {
        let fits = argument.len() < left;
        left = left.saturating_sub(argument.len() + 1);
        fits
    };
    command.into_iter().take_while(fits).collect()
}

/// A hundredth of a second each.
fn ticks(since_boot: Duration) -> u64 {
    u64::try_from(since_boot.as_millis() / 10).unwrap_or(u64::MAX)
}

fn monotonic() -> Duration {
    duration(ClockId::Monotonic)
}

/// A moment of the monotonic clock on the one that also counts while the host sleeps.
fn since_boot(at: Duration) -> Duration {
    at + duration(ClockId::Boottime).saturating_sub(monotonic())
}

fn duration(clock: ClockId) -> Duration {
    let now = clock_gettime(clock);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// A world in which each process shows what it is told to.
    #[derive(Default)]
    struct World(RefCell<HashMap<u32, ProcessFacts>>);

    impl World {
        fn runs(&self, pid: u32, program: Option<&str>) {
            let facts = program.map(|program| ProcessFacts {
                pid,
                executable: Some(program.to_owned()),
                name: "x".to_owned(),
                started: 1,
                ..ProcessFacts::default()
            });
            match facts {
                Some(facts) => drop(self.0.borrow_mut().insert(pid, facts)),
                None => drop(self.0.borrow_mut().remove(&pid)),
            }
        }

        fn hear(&self, notes: &mut Notes, event: Event) {
            notes.hear(event, &|pid| self.0.borrow().get(&pid).cloned());
        }
    }

    fn programs(notes: &Notes, pid: u32) -> Vec<String> {
        notes.images(pid).into_iter().map(|image| image.interpreter).collect()
    }

    /// Long before now, so that everything that is read is read after it.
    fn at(ms: u64) -> Duration {
        Duration::from_secs(60) + Duration::from_millis(ms)
    }

    #[test]
    fn a_program_that_ran_something_else_before_it_was_read_has_no_name_nor_have_its_children() {
        let (world, mut notes) = (World::default(), Notes::default());
        world.runs(7, Some("/bin/second"));
        world.hear(&mut notes, Event::Exec { at: at(0), pid: 7 });
        world.hear(&mut notes, Event::Fork { at: at(1), parent: 7, child: 8 });
        world.hear(&mut notes, Event::Fork { at: at(2), parent: 8, child: 9 });
        assert_eq!(programs(&notes, 9), ["/bin/second"], "so it seems");
        world.hear(&mut notes, Event::Exec { at: at(3), pid: 7 });
        assert_eq!(programs(&notes, 7), ["/bin/second", ""]);
        assert_eq!((programs(&notes, 8), programs(&notes, 9)), (vec![String::new()], vec![String::new()]));
        world.hear(&mut notes, Event::Fork { at: at(4), parent: 7, child: 10 });
        assert_eq!(programs(&notes, 10), ["/bin/second"]);
    }

    #[test]
    fn what_is_gone_or_was_handed_on_or_came_too_fast_has_no_name() {
        let (world, mut notes) = (World::default(), Notes::default());
        world.runs(7, Some("/bin/shell"));
        world.hear(&mut notes, Event::Exec { at: at(0), pid: 7 });
        world.hear(&mut notes, Event::Fork { at: at(1), parent: 7, child: 8 });
        world.hear(&mut notes, Event::Exec { at: at(2), pid: 8 });
        assert_eq!(programs(&notes, 8), ["", "/bin/shell"], "it ended before it was read");
        assert_eq!(notes.images(8)[0].parent, 7, "whose child it is is known");
        let mut later = ProcessFacts { started: 100_000_000_000, ..world.0.borrow()[&7].clone() };
        later.pid = 9;
        world.0.borrow_mut().insert(9, later);
        world.hear(&mut notes, Event::Exec { at: at(3), pid: 9 });
        assert_eq!(programs(&notes, 9), [""], "another process bears the number by now");
        notes.left = 0;
        world.hear(&mut notes, Event::Exec { at: at(3), pid: 7 });
        assert_eq!(programs(&notes, 7)[0], "", "so many at once are not read");
    }

    #[test]
    fn memory_is_bounded_and_what_was_lost_is_not_made_up() {
        let (world, mut notes) = (World::default(), Notes::default());
        for pid in 1..10_000 {
            world.hear(&mut notes, Event::Fork { at: at(pid.into()), parent: 1, child: pid });
        }
        assert_eq!(notes.by_pid.len(), PROCESSES as usize);
        assert!(notes.images(1).is_empty() && !notes.images(9_999).is_empty());
        notes.forget();
        assert!(notes.all().is_empty());
    }
}
