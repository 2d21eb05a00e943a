//! fanotify: the kernel tells which name in which folder changed, and which process changed it.
//!
//! One mark a folder, never one a file system: what happens elsewhere costs nobody anything. Folders are recognised
//! in events by their file handles; these are compared and never opened, so that no privilege is needed for them. The
//! formats are those of fanotify(7) and `linux/fanotify.h`.
#![allow(unsafe_code)] // no crate we have reads the information records of an event

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use self::records::{FSID, Raw, raw_event};
use crate::model::Deeds;

mod records;

/// What a mark tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tell {
    /// Names that come and go in a folder.
    Names,
    /// Every change of a folder, of its names and of the files behind them.
    Changes,
    /// Every change of one file, by whatever name it is reached.
    File,
}

/// A folder or file as events name it: its file system and its handle, in the kernel's own form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(Vec<u8>);

/// Where events come from.
pub struct Group {
    handle: OwnedFd,
    tells_who: bool,
    /// Whether the next read is to fail, as it does when the system gives no more memory.
    #[cfg(test)]
    fails: std::sync::atomic::AtomicBool,
}

/// One event. Borrowed from what was read.
#[derive(Debug)]
pub struct Event<'a> {
    /// What happened: `FAN_*` bits.
    pub mask: u64,
    /// The process that did it; 0 if it is in a namespace that is not ours to see.
    pub pid: u32,
    /// A handle on that process, if it was not waited for yet.
    pub process: Option<OwnedFd>,
    /// The folder, and the name in it; the name `.` means the folder itself.
    pub place: Option<(&'a [u8], &'a OsStr)>,
    /// The file or folder itself.
    pub object: Option<&'a [u8]>,
}

impl Event<'_> {
    /// Whether it stands for events that were lost.
    pub const fn is_overflow(&self) -> bool {
        self.mask & libc::FAN_Q_OVERFLOW != 0
    }

    /// What was done.
    pub const fn deeds(&self) -> Deeds {
        const NAMED: u64 = NAMES & !libc::FAN_ONDIR | ITSELF;
        Deeds {
            wrote: self.mask & (libc::FAN_MODIFY | libc::FAN_CLOSE_WRITE) != 0,
            attributed: self.mask & libc::FAN_ATTRIB != 0,
            named: self.mask & NAMED != 0,
        }
    }
}

const NAMES: u64 =
    libc::FAN_CREATE | libc::FAN_DELETE | libc::FAN_MOVED_FROM | libc::FAN_MOVED_TO | libc::FAN_ONDIR;
/// The end of writing is told where nothing was written, too: that is how dpkg's locks are let go, and what is
/// written through a mapping shows nowhere else.
const WRITES: u64 = libc::FAN_MODIFY | libc::FAN_ATTRIB | libc::FAN_CLOSE_WRITE;
const ITSELF: u64 = libc::FAN_DELETE_SELF | libc::FAN_MOVE_SELF;
/// `FAN_REPORT_FID` beside the folder: a file that is watched itself is known by whatever name it was reached.
const REPORT: libc::c_uint = libc::FAN_CLASS_NOTIF
    | libc::FAN_CLOEXEC
    | libc::FAN_NONBLOCK
    | libc::FAN_REPORT_DFID_NAME
    | libc::FAN_REPORT_FID;
/// `MAX_HANDLE_SZ`.
const HANDLE_LIMIT: usize = 128;

impl Group {
    /// Opens a group that tells who, or, without the privilege for that, one that does not. Fails where the kernel,
    /// or a filter on system calls, allows neither.
    pub fn open() -> io::Result<Self> {
        let unlimited = libc::FAN_UNLIMITED_MARKS;
        let tries = [(libc::FAN_REPORT_PIDFD | unlimited, true), (libc::FAN_REPORT_PIDFD, true), (0, false)];
        let mut refused = None;
        for (more, tells_who) in tries {
            // SAFETY: takes two numbers and gives a new descriptor or -1.
            let fd = unsafe { libc::fanotify_init(REPORT | more, 0) };
            match owned(fd) {
                Ok(handle) => {
                    return Ok(Group {
                        handle,
                        tells_who,
                        #[cfg(test)]
                        fails: false.into(),
                    });
                }
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.unwrap_or_else(|| io::ErrorKind::Unsupported.into()))
    }

    /// Whether events name processes.
    pub const fn tells_who(&self) -> bool {
        self.tells_who
    }

    /// Begins to tell of the folder or file at `path`, links followed. Gives the handle by which events name it.
    ///
    /// # Errors
    /// As fanotify_mark(2) and name_to_handle_at(2) give them; [`is_beyond`] knows those that another way of watching
    /// may not have.
    pub fn mark(&self, path: &Path, tell: Tell) -> io::Result<Handle> {
        loop {
            let before = Handle::of(path)?;
            self.change(libc::FAN_MARK_ADD, path, tell)?;
            // Another folder may have taken its place in between: then the mark sits on that one.
            if Handle::of(path)? == before {
                return Ok(before);
            }
        }
    }

    /// Tells no more of what is at `path`. What was moved away can't be reached by its path: it keeps its mark.
    pub fn unmark(&self, path: &Path, tell: Tell) -> io::Result<()> {
        self.change(libc::FAN_MARK_REMOVE, path, tell)
    }

    /// Makes the next read fail.
    #[cfg(test)]
    pub fn fail(&self) {
        self.fails.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    /// Reads events into `buffer` and hands them on, one by one. Gives how many bytes there were: none if there is
    /// nothing more for now. Never waits.
    pub fn read(&self, buffer: &mut Buffer, mut each: impl FnMut(Event<'_>)) -> io::Result<usize> {
        #[cfg(test)]
        if self.fails.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(rustix::io::Errno::NOMEM.into());
        }
        let length = match rustix::io::read(&self.handle, &mut buffer.0[..]) {
            Ok(length) => length,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(0),
            Err(errno) => return Err(errno.into()),
        };
        let mut rest = &buffer.0[..length];
        while !rest.is_empty() {
            let (raw, next) = raw_event(rest).ok_or_else(malformed)?;
            // SAFETY: the kernel made this descriptor for us with this very event, and each event is read once.
            let process = (raw.pidfd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(raw.pidfd) });
            let Raw { mask, pid, place, object, .. } = raw;
            each(Event { mask, pid, process, place, object });
            rest = next;
        }
        Ok(length)
    }

    fn change(&self, how: libc::c_uint, path: &Path, tell: Tell) -> io::Result<()> {
        let (flags, mask) = match tell {
            Tell::Names => (libc::FAN_MARK_ONLYDIR, NAMES),
            Tell::Changes => (libc::FAN_MARK_ONLYDIR, NAMES | WRITES | ITSELF | libc::FAN_EVENT_ON_CHILD),
            Tell::File => (libc::FAN_MARK_DONT_FOLLOW, WRITES | libc::FAN_DELETE_SELF),
        };
        let path = CString::new(path.as_os_str().as_bytes())?;
        let group = self.handle.as_raw_fd();
        // SAFETY: the path ends in a NUL and outlives the call, which keeps nothing of it.
        match unsafe { libc::fanotify_mark(group, how | flags, mask, libc::AT_FDCWD, path.as_ptr()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl AsFd for Group {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

/// Whether a mark was refused because this file system, or this kernel on it, has no handles: inotify may do.
pub fn is_beyond(error: &io::Error) -> bool {
    let beyond = [libc::EOPNOTSUPP, libc::ENODEV, libc::EXDEV, libc::EINVAL, libc::EOVERFLOW];
    error.raw_os_error().is_some_and(|errno| beyond.contains(&errno))
}

/// Room for the events of one read, laid out as their metadata must be.
pub struct Buffer(Box<[u8; 32 << 10]>);

impl Default for Buffer {
    fn default() -> Self {
        Buffer(Box::new([0; 32 << 10]))
    }
}

impl Handle {
    /// The handle of what is at `path`, links followed.
    pub fn of(path: &Path) -> io::Result<Self> {
        let system = rustix::fs::statfs(path)?;
        let path = CString::new(path.as_os_str().as_bytes())?;
        // For recognising alone, not for opening: overlay file systems give no other. Kernels before 6.5 know no such
        // difference, and refuse the flag.
        let handle = match name_to_handle(&path, libc::AT_HANDLE_FID | libc::AT_SYMLINK_FOLLOW) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                name_to_handle(&path, libc::AT_SYMLINK_FOLLOW)?
            }
            other => other?,
        };
        let mut bytes = fsid(&system).to_vec();
        bytes.extend(handle);
        Ok(Handle(bytes))
    }
}

impl std::borrow::Borrow<[u8]> for Handle {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

fn owned(fd: RawFd) -> io::Result<OwnedFd> {
    match fd {
        0.. => {
            // SAFETY: a call just gave us this descriptor, and nobody else has it.
            Ok(unsafe { OwnedFd::from_raw_fd(fd) })
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// The bytes of `f_fsid`, as events carry them.
fn fsid(system: &rustix::fs::StatFs) -> [u8; FSID] {
    let mut bytes = [0; FSID];
    // SAFETY: `f_fsid` is two `int`s without padding, whose fields libc keeps private; as many bytes are copied.
    unsafe {
        let from = std::ptr::from_ref(&system.f_fsid).cast::<u8>();
        std::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), FSID);
    }
    bytes
}

/// `struct file_handle` as name_to_handle_at(2) fills it, without unused bytes.
fn name_to_handle(path: &CString, flags: libc::c_int) -> io::Result<Vec<u8>> {
    #[repr(C)]
    struct Room {
        head: [u32; 2],
        bytes: [u8; HANDLE_LIMIT],
    }
    let mut room = Room { head: [HANDLE_LIMIT as u32, 0], bytes: [0; HANDLE_LIMIT] };
    let mut mount = 0;
    // SAFETY: `room` begins like `struct file_handle`, says how many bytes follow, and has as many. All outlive the call.
    let result = unsafe {
        let handle = (&raw mut room).cast::<libc::file_handle>();
        libc::name_to_handle_at(libc::AT_FDCWD, path.as_ptr(), handle, &raw mut mount, flags)
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut handle = room.head.map(u32::to_ne_bytes).concat();
    handle.extend_from_slice(room.bytes.get(..room.head[0] as usize).ok_or_else(malformed)?);
    Ok(handle)
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the kernel's event has an unknown form")
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // tests change files the way other programs do
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

    use super::*;

    /// What happened, where, to what, and by whom, if that could be reached.
    type Told = (u64, Option<(Handle, String)>, Option<Handle>, Option<u32>);

    /// Changes files, and lives on. What this process has open for writing, the child of another test may be the one that
    /// closes.
    struct Writer {
        shell: Child,
        into: ChildStdin,
        from: BufReader<ChildStdout>,
    }

    impl Writer {
        fn start() -> Self {
            let mut shell = Command::new("/bin/sh");
            let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            let (into, from) = (shell.stdin.take().unwrap(), BufReader::new(shell.stdout.take().unwrap()));
            Writer { shell, into, from }
        }

        fn sh(&mut self, script: &str) {
            writeln!(self.into, "{script}\necho done").unwrap();
            let mut told = String::new();
            self.from.read_line(&mut told).unwrap();
            assert_eq!(told, "done\n", "{script}");
        }
    }

    impl Drop for Writer {
        fn drop(&mut self) {
            let _ = self.shell.kill();
            let _ = self.shell.wait();
        }
    }

    fn told(group: &Group) -> Vec<Told> {
        let mut buffer = Buffer::default();
        let mut events = Vec::new();
        let mut note = |event: Event<'_>| {
            let place =
                event.place.map(|(at, name)| (Handle(at.to_vec()), name.to_str().unwrap().to_owned()));
            let object = event.object.map(|at| Handle(at.to_vec()));
            events.push((event.mask, place, object, event.process.is_some().then_some(event.pid)));
        };
        while group.read(&mut buffer, &mut note).unwrap() > 0 {}
        events
    }

    #[test]
    fn a_marked_folder_tells_of_its_names_by_its_handle_and_who_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let group = Group::open().expect("fanotify needs root");
        assert!(group.tells_who());
        let handle = group.mark(dir.path(), Tell::Changes).unwrap();
        assert_eq!(handle, Handle::of(dir.path()).unwrap());
        let (mut writer, file) = (Writer::start(), dir.path().join("motd"));
        let path = file.display();
        writer.sh(&format!("echo a > {path}; read a < {path}"));
        let events = told(&group);
        let (place, by) = (Some((handle.clone(), "motd".to_owned())), Some(writer.shell.id()));
        assert!(
            !events.is_empty() && events.iter().all(|event| event.1 == place && event.3 == by),
            "{events:?}"
        );
        let mask = events.iter().fold(0, |all, event| all | event.0);
        assert_eq!(mask, libc::FAN_CREATE | libc::FAN_MODIFY | libc::FAN_CLOSE_WRITE);

        group.unmark(dir.path(), Tell::Changes).unwrap();
        group.mark(dir.path(), Tell::Names).unwrap();
        writer.sh(&format!("echo b > {path}"));
        assert_eq!(told(&group), [], "writing is not told where only names are");
        std::fs::remove_file(&file).unwrap();
        assert_eq!(told(&group).iter().map(|event| event.0).collect::<Vec<_>>(), [libc::FAN_DELETE]);
    }

    #[test]
    fn a_marked_file_tells_of_writes_through_another_name() {
        let dir = tempfile::tempdir().unwrap();
        let (file, other) = (dir.path().join("motd"), dir.path().join("other"));
        let mut writer = Writer::start();
        writer.sh(&format!("echo a > {}", file.display()));
        std::fs::hard_link(&file, &other).unwrap();
        let group = Group::open().expect("fanotify needs root");
        let handle = group.mark(&file, Tell::File).unwrap();
        writer.sh(&format!("echo b > {}", other.display()));
        let events = told(&group);
        assert!(
            !events.is_empty() && events.iter().all(|event| event.2.as_ref() == Some(&handle)),
            "{events:?}"
        );
    }

    #[test]
    fn what_is_not_read_in_time_is_told_as_lost() {
        let dir = tempfile::tempdir().unwrap();
        let group = Group::open().expect("fanotify needs root");
        group.mark(dir.path(), Tell::Names).unwrap();
        for number in 0..20_000 {
            std::os::unix::fs::symlink("nowhere", dir.path().join(number.to_string())).unwrap();
        }
        let overflows = told(&group).iter().filter(|event| event.0 & libc::FAN_Q_OVERFLOW != 0).count();
        assert_eq!(overflows, 1);
    }
}
