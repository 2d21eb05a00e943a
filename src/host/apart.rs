//! Programs set apart from the host: in an empty network namespace, and where asked without access to files.
//!
//! Both are properties of a thread that its children inherit. So a thread of its own enters the namespaces, takes a
//! root of its own where asked, does the work and ends; the kernel takes everything away with the last process in
//! it. There is no name to clean up after a crash, and no fork hook of our own.
//!
//! The root is an empty file system in memory that shows the programs and libraries and nothing else, without
//! `/proc` (whose links lead back to the host). Landlock would say the same with less work, but is missing in
//! kernels and containers that have namespaces.

use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{Mode, mkdir, symlink};

use super::program::{Files, Finished, ProgramError, Programs, Run, Work};

/// Folders of programs and libraries. Where `/usr` is merged, all others are links into it.
const FOLDERS: [&str; 5] = ["usr", "bin", "sbin", "lib", "lib64"];

/// Tables of names that decide how a program writes numbers: without them a listing made apart would differ from
/// one made on the host. And where libraries are; and nothing.
const TABLES: [&str; 7] = [
    "etc/ld.so.cache",
    "etc/localtime",
    "etc/nsswitch.conf",
    "etc/protocols",
    "etc/services",
    "etc/iproute2",
    "dev/null",
];

/// Where the root is put together. There on every host, and hidden behind the root only from ourselves.
const SITE: &str = "/tmp";

/// What a program that opens its standard input by name finds: a file, written anew for each run.
const STDIN: &str = "dev/stdin";

/// Does `work` apart from the host, with programs that `doer` runs.
pub(super) fn apart(doer: &dyn Programs, files: Files, work: &mut Work<'_>) -> Result<(), ProgramError> {
    let in_thread = || {
        match files {
            Files::All => {
                enter(CloneFlags::CLONE_NEWNET)?;
                work(doer);
            }
            Files::Libraries => {
                enter(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)?;
                let obstacle = |error| format!("could not take a root without files: {error}");
                change_root().map_err(|error| ProgramError::Apart { obstacle: obstacle(error) })?;
                work(&WithoutFiles(doer));
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| match scope.spawn(in_thread).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

fn enter(namespaces: CloneFlags) -> Result<(), ProgramError> {
    unshare(namespaces).map_err(|errno| ProgramError::Apart {
        obstacle: format!("no namespaces of their own ({errno}); this takes root's CAP_SYS_ADMIN"),
    })
}

/// Gives this thread, alone in its mount namespace, a root with nothing but programs and libraries.
fn change_root() -> io::Result<()> {
    let nothing = None::<&str>;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("none"), SITE, Some("tmpfs"), flags, Some("mode=0755,size=96m"))?;
    for folder in ["etc", "dev"] {
        mkdir(inside(folder), Mode::from_raw_mode(0o755))?;
    }
    for path in FOLDERS.iter().chain(&TABLES) {
        show(path)?;
    }
    nix::unistd::chroot(SITE)?;
    std::env::set_current_dir("/")
}

fn inside(path: &str) -> PathBuf {
    Path::new(SITE).join(path)
}

/// Shows one path of the host at the same place in the new root, if the host has it.
fn show(path: &str) -> io::Result<()> {
    let (original, shown) = (Path::new("/").join(path), inside(path));
    let Ok(kind) = original.symlink_metadata().map(|metadata| metadata.file_type()) else { return Ok(()) };
    let folder = original.is_dir();
    if kind.is_symlink() && folder {
        return Ok(symlink(original.read_link()?, shown)?);
    }
    match folder {
        true => mkdir(&shown, Mode::from_raw_mode(0o755))?,
        false => drop(std::fs::File::create(&shown)?),
    }
    let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(&original), &shown, None::<&str>, bind, None::<&str>)?;
    Ok(())
}

/// Runs programs where there is no `/proc`, and so no `/dev/stdin` that leads to the standard input.
struct WithoutFiles<'a>(&'a dyn Programs);

impl Programs for WithoutFiles<'_> {
    #[allow(clippy::disallowed_methods)] // this is the door, and the file is in memory
    fn run(&self, run: &Run) -> Result<Finished, ProgramError> {
        std::fs::write(Path::new("/").join(STDIN), &run.stdin).map_err(|error| ProgramError::Apart {
            obstacle: format!("could not hand them their input: {error}"),
        })?;
        self.0.run(run)
    }

    fn apart(&self, _files: Files, work: &mut Work<'_>) -> Result<(), ProgramError> {
        // It is as far apart as can be.
        work(self);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::program::SystemPrograms;
    use super::*;

    fn stdout_of(programs: &dyn Programs, program: &str, args: &[&str]) -> Result<String, String> {
        let done = programs.run(&Run::new(program, args)).unwrap();
        match done.succeeded() {
            true => Ok(String::from_utf8(done.stdout).unwrap()),
            false => Err(done.complaint()),
        }
    }

    #[test]
    fn programs_set_apart_share_a_network_that_is_not_the_hosts() {
        let ours = stdout_of(&SystemPrograms, "/usr/bin/readlink", &["/proc/self/ns/net"]).unwrap();
        let mut seen = Vec::new();
        apart(&SystemPrograms, Files::All, &mut |programs| {
            for _ in 0..2 {
                seen.push(stdout_of(programs, "/usr/bin/readlink", &["/proc/self/ns/net"]).unwrap());
            }
        })
        .unwrap();
        assert_eq!(seen[0], seen[1]);
        assert_ne!(seen[0], ours);
        let after = stdout_of(&SystemPrograms, "/usr/bin/readlink", &["/proc/self/ns/net"]).unwrap();
        assert_eq!(after, ours, "the calling thread stays where it was");
    }

    #[test]
    fn programs_set_apart_with_libraries_alone_find_no_other_file() {
        let mut answers = Vec::new();
        apart(&SystemPrograms, Files::Libraries, &mut |programs| {
            for path in ["/etc/shadow", "/etc/hostname", "/proc/1/root/etc/hostname", "/tmp", "/root"] {
                answers.push(stdout_of(programs, "/bin/cat", &[path]));
            }
            answers.push(stdout_of(programs, "/usr/sbin/nft", &["--version"]));
        })
        .unwrap();
        let version = answers.pop().unwrap();
        for answer in answers {
            assert!(answer.as_ref().unwrap_err().contains("No such file"), "{answer:?}");
        }
        assert!(version.unwrap().contains("nftables"));
        assert!(stdout_of(&SystemPrograms, "/bin/cat", &["/etc/hostname"]).is_ok());
    }

    #[test]
    fn input_reaches_a_program_without_files_by_name_too() {
        let mut answers = Vec::new();
        apart(&SystemPrograms, Files::Libraries, &mut |programs| {
            for args in [&["-"][..], &["/dev/stdin"]] {
                let mut run = Run::new("/bin/cat", args);
                run.stdin = b"rules".to_vec();
                answers.push(programs.run(&run).unwrap().stdout);
            }
        })
        .unwrap();
        assert_eq!(answers, [b"rules", b"rules"]);
    }

    #[test]
    fn nothing_of_it_is_left_on_the_host() {
        let mounts = || {
            let all = stdout_of(&SystemPrograms, "/bin/cat", &["/proc/self/mountinfo"]).unwrap();
            all.lines().filter(|line| line.contains(SITE)).map(str::to_owned).collect::<Vec<_>>()
        };
        let before = mounts();
        apart(&SystemPrograms, Files::Libraries, &mut |_| {}).unwrap();
        assert_eq!(mounts(), before);
    }
}
