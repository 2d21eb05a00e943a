//! Programs set apart from the host: in an empty network namespace, and where asked without access to files.
//!
//! Both are properties of a thread that its children inherit. So a thread of its own enters the namespace, gives
//! up the files, does the work and ends; the kernel takes the namespace away with the last process in it. No
//! mount, no name to clean up after a crash, and no fork hook of our own.

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr,
    path_beneath_rules,
};

use super::program::{Files, ProgramError, SystemPrograms, Work};

/// Programs and libraries.
const READ_AND_EXECUTE: [&str; 5] = ["/usr", "/bin", "/sbin", "/lib", "/lib64"];

/// Tables of names that decide how a program writes numbers: without them a listing made apart would differ
/// from one made on the host.
const READ: [&str; 7] = [
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/protocols",
    "/etc/services",
    "/etc/iproute2",
    "/dev/null",
];

pub(super) fn apart(files: Files, work: &mut Work<'_>) -> Result<(), ProgramError> {
    let in_thread = || {
        enter_empty_network()?;
        match files {
            Files::All => {}
            Files::Libraries => give_up_files()?,
        }
        work(&SystemPrograms);
        Ok(())
    };
    std::thread::scope(|scope| match scope.spawn(in_thread).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

fn enter_empty_network() -> Result<(), ProgramError> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).map_err(|errno| ProgramError::Apart {
        obstacle: format!("no network namespace of their own ({errno}); this takes root's CAP_SYS_ADMIN"),
    })
}

fn give_up_files() -> Result<(), ProgramError> {
    let restrict = || {
        // The first version of the interface covers every way to open a file; a kernel without it is refused.
        let abi = ABI::V1;
        let read = AccessFs::ReadFile | AccessFs::ReadDir;
        Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(abi))?
            .create()?
            .add_rules(path_beneath_rules(READ_AND_EXECUTE, read | AccessFs::Execute))?
            .add_rules(path_beneath_rules(READ, read))?
            .add_rules(path_beneath_rules(["/dev/null"], AccessFs::ReadFile | AccessFs::WriteFile))?
            .restrict_self()
    };
    match restrict() {
        Ok(_) => Ok(()),
        Err(error) => Err(ProgramError::Apart {
            obstacle: format!("file access could not be given up ({error}); the kernel needs Landlock"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::program::{Programs, Run};
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
        apart(Files::All, &mut |programs| {
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
    fn programs_set_apart_with_libraries_alone_can_read_no_other_file() {
        let mut answers = Vec::new();
        apart(Files::Libraries, &mut |programs| {
            answers.push(stdout_of(programs, "/bin/cat", &["/etc/shadow"]));
            answers.push(stdout_of(programs, "/bin/cat", &["/etc/hostname"]));
            answers.push(stdout_of(programs, "/usr/sbin/nft", &["--version"]));
        })
        .unwrap();
        assert!(answers[0].as_ref().unwrap_err().contains("Permission denied"), "{answers:?}");
        assert!(answers[1].as_ref().unwrap_err().contains("Permission denied"), "{answers:?}");
        assert!(answers[2].as_ref().unwrap().contains("nftables"), "{answers:?}");
        assert!(stdout_of(&SystemPrograms, "/bin/cat", &["/etc/hostname"]).is_ok());
    }
}
