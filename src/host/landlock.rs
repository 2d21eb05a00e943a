//! A fence around this thread and whatever it starts: what of the file system it may still reach, and whether it may
//! connect. Of the kernel's own (`landlock(7)`), needs no privileges, and can't be taken down again. An older kernel
//! holds to the part that it knows, and one without Landlock to none: this is never the only fence around what we
//! do not trust.

use std::io;
use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, Scope,
};

/// The newest of the kernel's rules that we speak of.
const RULES: ABI = ABI::V6;

/// What is inside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fence {
    /// Files and folders that may be read. What is not there is left out.
    pub reads: Vec<PathBuf>,
    /// Files and folders that may be read and changed.
    pub writes: Vec<PathBuf>,
    /// Programs and libraries that may be run.
    pub runs: Vec<PathBuf>,
    /// Whether it may connect.
    pub network: Network,
}

/// What is left of the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// All of it.
    Kept,
    /// No TCP port can be bound or connected to.
    #[default]
    None,
}

/// Restricts this thread and its children to that, for good.
pub fn restrict(fence: &Fence) -> io::Result<()> {
    let refused =
        |error: landlock::RulesetError| io::Error::other(format!("Landlock refused a rule: {error}"));
    let mut rules = Ruleset::default().handle_access(AccessFs::from_all(RULES)).map_err(refused)?;
    if fence.network == Network::None {
        rules = rules.handle_access(AccessNet::from_all(RULES)).map_err(refused)?;
    }
    // Signals and abstract sockets of others are outside in any case.
    let mut rules = rules.scope(Scope::from_all(RULES)).map_err(refused)?.create().map_err(refused)?;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = AccessFs::from_all(RULES) & !BitFlags::from(AccessFs::Execute);
    let run = read | AccessFs::Execute;
    for (paths, access) in [(&fence.reads, read), (&fence.writes, write), (&fence.runs, run)] {
        for path in paths {
            // Not every host has every place.
            let Ok(handle) = PathFd::new(path) else { continue };
            let access = if path.is_dir() { access } else { access & AccessFs::from_file(RULES) };
            rules = rules.add_rule(PathBeneath::new(handle, access)).map_err(refused)?;
        }
    }
    rules.restrict_self().map_err(refused)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// In a thread of its own, which alone is behind the fence.
    fn behind<T: Send>(fence: &Fence, work: impl FnOnce() -> T + Send) -> T {
        let thread = || {
            restrict(fence).unwrap();
            work()
        };
        std::thread::scope(|scope| scope.spawn(thread).join().unwrap())
    }

    #[test]
    #[allow(clippy::disallowed_methods)] // what is tried is what is forbidden
    fn what_is_outside_the_fence_can_be_neither_read_nor_written_nor_run() {
        let folder = tempfile::tempdir().unwrap();
        let [inside, beside] = ["inside", "beside"].map(|name| folder.path().join(name));
        for place in [&inside, &beside] {
            std::fs::create_dir(place).unwrap();
            std::fs::write(place.join("file"), "text").unwrap();
        }
        let writing = |path: PathBuf| std::fs::File::create(path).and_then(|mut file| file.write_all(b"x"));
        let running = || std::process::Command::new("/bin/true").status();
        assert!(running().unwrap().success());
        behind(&Fence { reads: vec![inside.clone()], ..Fence::default() }, || {
            assert_eq!(std::fs::read(inside.join("file")).unwrap(), b"text");
            assert!(std::fs::read(beside.join("file")).is_err());
            assert!(std::fs::read("/etc/hostname").is_err() && std::fs::read_dir("/").is_err());
            assert!(writing(inside.join("file")).is_err() && writing(inside.join("new")).is_err());
            assert!(running().is_err());
        });
        behind(&Fence { writes: vec![inside.clone()], ..Fence::default() }, || {
            writing(inside.join("new")).unwrap();
            assert!(writing(beside.join("new")).is_err());
        });
        assert!(!beside.join("new").exists());
    }

    #[test]
    fn a_fence_without_the_network_lets_nobody_connect() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let refused = behind(&Fence::default(), || TcpStream::connect(address).unwrap_err().kind());
        assert_eq!(refused, io::ErrorKind::PermissionDenied);
        let kept = Fence { network: Network::Kept, ..Fence::default() };
        behind(&kept, || TcpStream::connect(address).unwrap());
    }
}
