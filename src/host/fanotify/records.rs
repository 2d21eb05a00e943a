//! The bytes of events, as fanotify(7) and `linux/fanotify.h` lay them out: pure reading, of whatever is there.

use std::ffi::OsStr;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;

/// `struct fanotify_event_metadata`.
const METADATA: usize = 24;
/// `struct fanotify_event_info_header`, then the id of the file system.
const INFO: usize = 4;
pub(super) const FSID: usize = 8;
/// `struct file_handle` without the handle itself.
const HANDLE_HEAD: usize = 8;

/// An event before its descriptor has an owner.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Raw<'a> {
    pub mask: u64,
    pub pid: u32,
    pub pidfd: RawFd,
    pub place: Option<(&'a [u8], &'a OsStr)>,
    pub object: Option<&'a [u8]>,
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// The first event of what was read, and the rest.
pub(super) fn raw_event(bytes: &[u8]) -> Option<(Raw<'_>, &[u8])> {
    let length = u32::from_ne_bytes(array(bytes, 0)?) as usize;
    let infos = usize::from(u16::from_ne_bytes(array(bytes, 6)?));
    // An event shorter than its own head would keep us here for ever.
    if bytes.get(4) != Some(&libc::FANOTIFY_METADATA_VERSION) || infos < METADATA || length < infos {
        return None;
    }
    let event = bytes.get(..length)?;
    let mut raw = Raw {
        mask: u64::from_ne_bytes(array(event, 8)?),
        pid: u32::try_from(i32::from_ne_bytes(array(event, 20)?)).unwrap_or(0),
        pidfd: libc::FAN_NOPIDFD,
        place: None,
        object: None,
    };
    let mut rest = event.get(infos..)?;
    while !rest.is_empty() {
        let length = usize::from(u16::from_ne_bytes(array(rest, 2)?));
        let info = rest.get(..length).filter(|info| info.len() >= INFO)?;
        match info[0] {
            libc::FAN_EVENT_INFO_TYPE_PIDFD => raw.pidfd = i32::from_ne_bytes(array(info, INFO)?),
            libc::FAN_EVENT_INFO_TYPE_FID => raw.object = Some(handle(info)?.0),
            libc::FAN_EVENT_INFO_TYPE_DFID => raw.place = Some((handle(info)?.0, OsStr::new("."))),
            libc::FAN_EVENT_INFO_TYPE_DFID_NAME => {
                let (folder, name) = handle(info)?;
                let name = name.split(|byte| *byte == 0).next()?;
                raw.place = Some((folder, OsStr::from_bytes(name)));
            }
            _ => {} // a later kernel tells more than we asked for
        }
        rest = rest.get(length..)?;
    }
    Some((raw, bytes.get(length..)?))
}

/// The file system and handle of an information record, and what follows it.
fn handle(info: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = u32::from_ne_bytes(array(info, INFO + FSID)?) as usize;
    let end = (INFO + FSID + HANDLE_HEAD).checked_add(length)?;
    Some((info.get(INFO..end)?, info.get(end..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = (INFO + body.len()).next_multiple_of(4);
        let mut bytes = vec![kind, 0];
        bytes.extend((length as u16).to_ne_bytes());
        bytes.extend(body);
        bytes.resize(length, 0);
        bytes
    }

    fn fid(handle: &[u8], name: &[u8]) -> Vec<u8> {
        [&[9; 8][..], &(handle.len() as u32).to_ne_bytes(), &[1, 0, 0, 0], handle, name].concat()
    }

    fn event(mask: u64, pid: i32, infos: &[Vec<u8>]) -> Vec<u8> {
        let infos = infos.concat();
        let mut bytes = ((METADATA + infos.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend([libc::FANOTIFY_METADATA_VERSION, 0]);
        bytes.extend((METADATA as u16).to_ne_bytes());
        bytes.extend(mask.to_ne_bytes());
        bytes.extend((-1i32).to_ne_bytes());
        bytes.extend(pid.to_ne_bytes());
        bytes.extend(infos);
        bytes
    }

    #[test]
    fn every_record_of_an_event_is_read() {
        let folder = fid(&[1, 2, 3, 4, 5], b"motd\0");
        let pidfd = 77i32.to_ne_bytes();
        let later = info(99, &[1, 2, 3]);
        let records = [
            info(libc::FAN_EVENT_INFO_TYPE_DFID_NAME, &folder),
            later,
            info(libc::FAN_EVENT_INFO_TYPE_FID, &fid(&[6], b"")),
            info(libc::FAN_EVENT_INFO_TYPE_PIDFD, &pidfd),
        ];
        let bytes = [event(libc::FAN_MODIFY, 42, &records), event(libc::FAN_Q_OVERFLOW, 0, &[])].concat();
        let (raw, rest) = raw_event(&bytes).unwrap();
        assert_eq!((raw.mask, raw.pid, raw.pidfd), (libc::FAN_MODIFY, 42, 77));
        assert_eq!(raw.place, Some((&folder[..21], OsStr::new("motd"))));
        assert_eq!(raw.object, Some(&fid(&[6], b"")[..]));
        let (raw, rest) = raw_event(rest).unwrap();
        assert_eq!((raw.mask, raw.pidfd, raw.place, rest.len()), (libc::FAN_Q_OVERFLOW, -1, None, 0));
    }

    #[test]
    fn no_bytes_make_the_reader_panic_or_loop() {
        let whole = event(
            libc::FAN_CREATE,
            1,
            &[info(libc::FAN_EVENT_INFO_TYPE_DFID_NAME, &fid(&[1; 8], b"name\0"))],
        );
        for length in 0..whole.len() {
            assert!(raw_event(&whole[..length]).is_none(), "cut off at {length}");
        }
        proptest::proptest!(|(at in 0usize..64, byte in proptest::num::u8::ANY)| {
            let mut bytes = whole.clone();
            let at = at % bytes.len();
            bytes[at] = byte;
            let mut rest = &bytes[..];
            while let Some((_, next)) = raw_event(rest) {
                assert!(next.len() < rest.len());
                rest = next;
            }
        });
    }
}
