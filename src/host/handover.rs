//! Files handed to a process that gives up its privileges: for it and those it starts, and findable by nobody else.
//!
//! `ssh` takes a key by the name of a file alone. An inherited descriptor is of no use to it: it closes all but the
//! first three when it starts, so `/proc/self/fd/9` is not there any more (tried with OpenSSH 9.2). Neither may the
//! file lie in any folder of the host: whoever is killed leaves it there. So it lies in a file system in memory that is
//! mounted in a mount namespace of the process's own. The kernel takes both away with the last process in it, however
//! that ends; there is nothing to clean up, neither at the end nor after a crash.
//!
//! A unit of the service manager has both already, without swap, and lays them down itself.

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::files::{Attributes, Root};

/// Where the files lie: there on every host under systemd, root's own, and needed by none of those processes.
const SITE: &str = "/dev/shm";

/// Where a unit has a file system in memory of its own. On the host nobody but root can write there, so that nothing is
/// ever laid there by mistake.
const SITE_OF_UNIT: &str = "/run/agentd-workers/keys";

/// Lays these files where this unit alone finds them, to be read only. Gives the folder they lie in.
#[allow(clippy::disallowed_methods)] // this is the door, and the file system is our own and in memory
pub fn lay(files: &[(&str, &[u8])]) -> io::Result<PathBuf> {
    let folder = PathBuf::from(SITE_OF_UNIT);
    for (name, bytes) in files {
        let mut options = std::fs::File::options();
        let mut file = options.write(true).create_new(true).mode(0o400).open(folder.join(name))?;
        file.write_all(bytes)?;
    }
    Ok(folder)
}

/// Puts this process into a mount namespace of its own and lays these files there, each the user's alone and to be
/// read only. Gives the folder they lie in. For a process of its own, while it is root.
pub fn hand_over(files: &[(&str, &[u8])], uid: u32, gid: u32) -> io::Result<PathBuf> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let nothing = None::<&str>;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)?;
    // Not tmpfs: that may be swapped out, and a key would lie on a disk after all.
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("none"), SITE, Some("ramfs"), flags, Some("mode=0711"))?;
    let folder = Root::open(SITE)?;
    for (name, bytes) in files {
        folder.write(name, bytes, Attributes { uid, gid, mode: 0o400 }).map_err(io::Error::other)?;
    }
    Ok(PathBuf::from(SITE))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn what_is_handed_over_is_there_for_whoever_took_it_and_gone_with_its_end() {
        let name = format!("handed-over-{}", std::process::id());
        let taken = std::thread::scope(|scope| {
            let take = || {
                let folder = hand_over(&[(&name, b"a key")], 65_534, 65_534).unwrap();
                let path = folder.join(&name);
                let seen = std::fs::metadata(&path).unwrap();
                assert_eq!((seen.uid(), seen.gid(), seen.mode() & 0o7777), (65_534, 65_534, 0o400));
                assert_eq!(std::fs::read(&path).unwrap(), b"a key");
                path
            };
            scope.spawn(take).join().unwrap()
        });
        assert!(!taken.exists(), "it is nowhere on the host");
    }
}
