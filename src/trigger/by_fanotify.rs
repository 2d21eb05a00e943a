//! The better way: fanotify, which also tells who. One thread reads; it looks at a process at once, since most are
//! gone a moment later.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use tracing::warn;

use super::by_inotify::Inotify;
use super::eyes::Refused;
use super::sight::Sight;
use super::witnesses::Witnesses;
use crate::host::fanotify::{Buffer, Event, Group, Handle, Tell, is_beyond};

/// After so many events at once the reader rests: the kernel meanwhile makes one of all that a process does to a file.
const MANY: usize = 64;
/// How long it rests. Short enough to go unnoticed, and for the kernel's queue (16,384 events) in the worst storm.
const REST: Duration = Duration::from_millis(25);

/// Watches folders by fanotify; those on file systems that it can't watch, by inotify.
pub(super) struct Fanotify {
    shared: Arc<Shared>,
    /// What each path had for a handle when its mark was set.
    marked: HashMap<PathBuf, (Handle, Tell)>,
    beside: Option<Inotify>,
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    group: Group,
    sight: Arc<Sight>,
    places: RwLock<HashMap<Handle, PathBuf>>,
}

impl Fanotify {
    /// Fails where it is not allowed.
    pub fn open(sight: &Arc<Sight>) -> io::Result<Self> {
        let group = Group::open()?;
        let shared = Arc::new(Shared { group, sight: Arc::clone(sight), places: RwLock::default() });
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let (reader, told) = (Arc::clone(&shared), Arc::clone(&stop));
        let thread = std::thread::Builder::new().name("fanotify".to_owned()).spawn(move || {
            if let Err(error) = reader.listen(&told) {
                let why = format!("fanotify tells nothing more ({error})");
                warn!("folders are not watched any more; the full pass covers them: {why}");
                reader.sight.went_blind(why);
            }
        })?;
        Ok(Fanotify { shared, marked: HashMap::new(), beside: None, stop, thread: Some(thread) })
    }

    #[cfg(test)]
    pub fn fail(&self) {
        self.shared.group.fail();
    }

    pub fn tells_who(&self) -> bool {
        self.shared.group.tells_who()
    }

    pub fn watch(&mut self, path: &Path, tell: Tell) -> Result<(), Refused> {
        // Before the mark: an event may come at once.
        let place = |handle: &Handle, shared: &Shared| {
            let mut places = shared.places.write().unwrap_or_else(PoisonError::into_inner);
            places.insert(handle.clone(), path.to_owned());
        };
        match Handle::of(path).inspect(|handle| place(handle, &self.shared)) {
            Ok(_) => {}
            Err(error) if is_beyond(&error) => return self.watch_beside(path, tell),
            Err(error) => return Err(refused(&error)),
        }
        match self.shared.group.mark(path, tell) {
            Ok(handle) => {
                place(&handle, &self.shared);
                self.marked.insert(path.to_owned(), (handle, tell));
                Ok(())
            }
            Err(error) if is_beyond(&error) => self.watch_beside(path, tell),
            Err(error) => Err(refused(&error)),
        }
    }

    pub fn unwatch(&mut self, path: &Path, tell: Tell) {
        let Some((handle, tell)) = self.marked.remove(path).filter(|(_, marked)| *marked == tell) else {
            self.beside.iter_mut().for_each(|inotify| inotify.unwatch(path, tell));
            return;
        };
        // What was moved away keeps its mark until it is gone: nobody knows its path, and its events lead nowhere.
        if Handle::of(path).is_ok_and(|now| now == handle) {
            let _ = self.shared.group.unmark(path, tell);
        }
        let mut places = self.shared.places.write().unwrap_or_else(PoisonError::into_inner);
        if places.get(&handle).is_some_and(|place| place == path) {
            places.remove(&handle);
        }
    }

    fn watch_beside(&mut self, path: &Path, tell: Tell) -> Result<(), Refused> {
        let inotify = match &mut self.beside {
            Some(inotify) => inotify,
            none => none
                .insert(Inotify::open(&self.shared.sight).map_err(|error| Refused::For(error.to_string()))?),
        };
        inotify.watch(path, tell)
    }
}

impl Drop for Fanotify {
    fn drop(&mut self) {
        let _ = rustix::io::write(&*self.stop, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Reads until it is told to stop.
    fn listen(&self, stop: &OwnedFd) -> io::Result<()> {
        let mut buffer = Buffer::default();
        let mut witnesses = Witnesses::new(Arc::clone(&self.sight.clock), self.group.tells_who());
        loop {
            let mut wait = [
                PollFd::from_borrowed_fd(stop.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(self.group.as_fd(), PollFlags::IN),
            ];
            if !is_interrupted(poll(&mut wait, None))? && !wait[0].revents().is_empty() {
                return Ok(());
            }
            let mut count = 0;
            while self.group.read(&mut buffer, |event| {
                count += 1;
                self.saw(event, &mut witnesses);
            })? > 0
            {}
            witnesses.next_batch();
            if count > MANY && rest(stop)? {
                return Ok(());
            }
        }
    }

    fn saw(&self, event: Event<'_>, witnesses: &mut Witnesses) {
        if event.is_overflow() {
            return self.sight.overflowed();
        }
        let deeds = event.deeds();
        let places = self.places.read().unwrap_or_else(PoisonError::into_inner);
        let in_folder = event.place.and_then(|(folder, name)| Some(below(places.get(folder)?, name)));
        // A file that is watched itself, reached by another name.
        let itself = event.object.and_then(|object| places.get(object)).cloned();
        drop(places);
        let itself = itself.filter(|path| in_folder.as_ref() != Some(path));
        for path in in_folder.into_iter().chain(itself) {
            // Nobody else bears our number. What we did ourselves we look at ourselves, right after.
            match event.pid == witnesses.own() {
                true => self.sight.changed_by_us(&path, deeds),
                false => self.sight.changed(&path, deeds, || Some(witnesses.call(&event, &path, deeds))),
            }
        }
    }
}

/// Rests, or is told to stop meanwhile.
fn rest(stop: &OwnedFd) -> io::Result<bool> {
    let mut wait = [PollFd::from_borrowed_fd(stop.as_fd(), PollFlags::IN)];
    let time = Timespec { tv_sec: 0, tv_nsec: i64::from(REST.subsec_nanos()) };
    Ok(!is_interrupted(poll(&mut wait, Some(&time)))? && !wait[0].revents().is_empty())
}

fn is_interrupted(polled: rustix::io::Result<usize>) -> io::Result<bool> {
    match polled {
        Ok(_) => Ok(false),
        Err(rustix::io::Errno::INTR) => Ok(true),
        Err(errno) => Err(errno.into()),
    }
}

fn below(folder: &Path, name: &OsStr) -> PathBuf {
    if name == "." { folder.to_owned() } else { folder.join(name) }
}

fn refused(error: &io::Error) -> Refused {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => Refused::Missing,
        Some(libc::ENOSPC) => Refused::For(
            "the kernel's limit is reached: raise fs.fanotify.max_user_marks, e.g. in /etc/sysctl.d"
                .to_owned(),
        ),
        Some(_) | None => Refused::For(error.to_string()),
    }
}
