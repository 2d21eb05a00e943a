//! The system call bpf(2): maps, programs, and where programs are attached. The structures are those of
//! `linux/bpf.h`; what is left out of their end the kernel takes for zero.

#![allow(unsafe_code)] // no crate we have speaks bpf(2) without a compiler for its programs

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

const MAP_CREATE: libc::c_int = 0;
const MAP_LOOKUP: libc::c_int = 1;
const PROGRAM_LOAD: libc::c_int = 5;
const RAW_TRACEPOINT_OPEN: libc::c_int = 17;
const MAP_LOOKUP_BATCH: libc::c_int = 24;
const PROGRAM_OF_RAW_TRACEPOINT: u32 = 17;

/// What a map is.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(super) enum MapKind {
    /// One array a processor: room to work in.
    PerProcessorArray = 6,
    /// What is full drops what was used least lately.
    LeastRecentlyUsed = 9,
}

#[repr(C)]
struct CreateMap {
    kind: u32,
    key_size: u32,
    value_size: u32,
    entries: u32,
    flags: u32,
}

#[repr(C)]
struct Element {
    map: u32,
    _padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
struct Batch {
    from: u64,
    to: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

#[repr(C)]
struct LoadProgram {
    kind: u32,
    instructions: u32,
    code: u64,
    licence: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

#[repr(C)]
struct OpenTracepoint {
    name: u64,
    program: u32,
    _padding: u32,
}

/// A map.
pub(super) struct Map {
    handle: OwnedFd,
    value_size: usize,
}

/// A program that is attached for as long as this lives.
pub(super) struct Attached {
    _program: OwnedFd,
    _link: OwnedFd,
}

impl Map {
    /// A new map.
    pub(super) fn create(kind: MapKind, key_size: u32, value_size: u32, entries: u32) -> io::Result<Self> {
        let mut create = CreateMap { kind: kind as u32, key_size, value_size, entries, flags: 0 };
        // SAFETY: the kernel reads `create`, which holds no pointers, and gives a new descriptor.
        let handle = unsafe { descriptor(call(MAP_CREATE, &mut create)?) };
        Ok(Map { handle, value_size: value_size as usize })
    }

    /// Its descriptor, as programs name it.
    pub(super) fn number(&self) -> RawFd {
        self.handle.as_raw_fd()
    }

    /// The value under a key; none if there is none.
    pub(super) fn get(&self, key: u64) -> io::Result<Option<Vec<u8>>> {
        let mut value = vec![0u8; self.value_size];
        let mut element = Element {
            map: self.number().cast_unsigned(),
            _padding: 0,
            key: (&raw const key).addr() as u64,
            value: value.as_mut_ptr().expose_provenance() as u64,
            flags: 0,
        };
        // SAFETY: `key` has the map's key size, `value` its value size; both outlive the call.
        match unsafe { call(MAP_LOOKUP, &mut element) } {
            Ok(_) => Ok(Some(value)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every value, handed over in turn. What comes or goes meanwhile may be missed.
    pub(super) fn each(&self, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        let mut room = 256usize;
        let mut from = None;
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        loop {
            keys.resize(room, 0u64);
            values.resize(room * self.value_size, 0u8);
            let mut next = 0u64;
            let begin = from;
            let mut batch = Batch {
                from: begin.as_ref().map_or(0, |from: &u64| std::ptr::from_ref(from).addr() as u64),
                to: (&raw mut next).expose_provenance() as u64,
                keys: keys.as_mut_ptr().expose_provenance() as u64,
                values: values.as_mut_ptr().expose_provenance() as u64,
                count: u32::try_from(room).unwrap_or(u32::MAX),
                map: self.number().cast_unsigned(),
                element_flags: 0,
                flags: 0,
            };
            // SAFETY: `keys` and `values` have room for `count` of each; `begin` and `next` hold what a hash map
            // uses as its place (four bytes); all of them outlive the call.
            let result = unsafe { call(MAP_LOOKUP_BATCH, &mut batch) };
            let is_last = match result {
                Ok(_) => false,
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
                // One bucket holds more than there was room for.
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) && room < 1 << 16 => {
                    room *= 2;
                    continue;
                }
                Err(error) => return Err(error),
            };
            values.chunks_exact(self.value_size).take(batch.count as usize).for_each(&mut take);
            if is_last {
                return Ok(());
            }
            from = Some(next);
        }
    }
}

/// The kernel gives up the check of a program when a signal is pending, whose handler runs before the next attempt: so
/// often a program is handed in again, as libbpf does it.
const ATTEMPTS: usize = 5;

/// Loads a program and attaches it to a raw tracepoint. If the kernel's verifier refuses it, the error says why.
pub(super) fn attach(tracepoint: &'static std::ffi::CStr, code: &[u64]) -> io::Result<Attached> {
    let is_final = |loaded: &io::Result<OwnedFd>| {
        !loaded.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    };
    let loaded = (1..ATTEMPTS).map(|_| load(code, &mut [])).find(is_final);
    let program = match loaded.unwrap_or_else(|| load(code, &mut [])) {
        Ok(program) => program,
        Err(error)
            if error.raw_os_error() == Some(libc::EACCES) || error.raw_os_error() == Some(libc::EINVAL) =>
        {
            let mut log = vec![0u8; 1 << 20];
            let _ = load(code, &mut log);
            let end = log.iter().position(|byte| *byte == 0).unwrap_or(0);
            let text = String::from_utf8_lossy(&log[..end]);
            // The last line counts processed instructions; the complaint stands before it.
            let complaint = text.lines().rev().nth(1).unwrap_or("no reason given").to_owned();
            return Err(io::Error::new(error.kind(), format!("{error}: {complaint}")));
        }
        Err(error) => return Err(error),
    };
    let mut open = OpenTracepoint {
        name: tracepoint.as_ptr().addr() as u64,
        program: program.as_raw_fd().cast_unsigned(),
        _padding: 0,
    };
    // SAFETY: the name is a C string that lives for ever; the kernel gives a new descriptor.
    let link = unsafe { descriptor(call(RAW_TRACEPOINT_OPEN, &mut open)?) };
    Ok(Attached { _program: program, _link: link })
}

/// `FILEID_KERNFS`: what a control group is opened by is its number alone.
const HANDLE_OF_GROUP: libc::c_int = 0xfe;

#[repr(C)]
struct GroupHandle {
    bytes: u32,
    kind: libc::c_int,
    number: u64,
}

/// Where in the file tree the control group of this number is. `root` is where its hierarchy is mounted.
pub(super) fn path_of_group(root: &str, number: u64) -> io::Result<PathBuf> {
    let root = File::open(root)?;
    let mut handle = GroupHandle { bytes: 8, kind: HANDLE_OF_GROUP, number };
    // SAFETY: the handle is a `struct file_handle` with its eight bytes behind it and outlives the call, which gives
    // a new descriptor or -1.
    let opened = unsafe {
        libc::open_by_handle_at(root.as_raw_fd(), (&raw mut handle).cast(), libc::O_PATH | libc::O_CLOEXEC)
    };
    if opened < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was just made for us.
    let opened = unsafe { OwnedFd::from_raw_fd(opened) };
    std::fs::read_link(format!("/proc/self/fd/{}", opened.as_raw_fd()))
}

fn load(code: &[u64], log: &mut [u8]) -> io::Result<OwnedFd> {
    let mut name = [0u8; 16];
    name[..6].copy_from_slice(b"agentd");
    let mut load = LoadProgram {
        kind: PROGRAM_OF_RAW_TRACEPOINT,
        instructions: u32::try_from(code.len()).unwrap_or(u32::MAX),
        code: code.as_ptr().expose_provenance() as u64,
        // The functions that read memory are for programs under this licence alone.
        licence: c"GPL".as_ptr().addr() as u64,
        log_level: u32::from(!log.is_empty()),
        log_size: u32::try_from(log.len()).unwrap_or(u32::MAX),
        log: if log.is_empty() { 0 } else { log.as_mut_ptr().expose_provenance() as u64 },
        kernel_version: 0,
        flags: 0,
        name,
    };
    // SAFETY: `code` holds as many instructions as said, `log` as many bytes; the licence is a C string. All outlive
    // the call, which gives a new descriptor.
    unsafe { Ok(descriptor(call(PROGRAM_LOAD, &mut load)?)) }
}

/// # Safety
/// Every pointer in `attributes` must be good for what the command does with it.
unsafe fn call<T>(command: libc::c_int, attributes: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: `attributes` is a plain structure of the size that is told; the caller vouches for what it points to.
    match unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) } {
        -1 => Err(io::Error::last_os_error()),
        value => Ok(value),
    }
}

/// # Safety
/// `value` must be a descriptor that was just made for us and that nobody else owns.
unsafe fn descriptor(value: libc::c_long) -> OwnedFd {
    // SAFETY: as the caller vouches. Descriptors are small numbers.
    #[allow(clippy::cast_possible_truncation)]
    unsafe {
        OwnedFd::from_raw_fd(value as RawFd)
    }
}
