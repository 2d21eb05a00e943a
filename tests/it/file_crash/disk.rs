//! A disk whose power can be cut: an ext4 file system in an image, shut down without writing its journal.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// A disk of its own, whose power can be cut.
pub struct Disk {
    folder: TempDir,
}

impl Disk {
    pub fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "this test must run as root");
        // The mount is this thread's alone: a copy of it in a namespace that somebody else makes meanwhile would keep
        // the file system that was shut down alive, and the next mount of the image would be that one again.
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
        run("/usr/bin/mount", &["--make-rprivate", "/"]);
        let disk = Disk { folder: tempfile::tempdir_in("/tmp").unwrap() };
        std::fs::File::create(disk.image()).unwrap().set_len(16 << 20).unwrap();
        run("/usr/sbin/mkfs.ext4", &["-q", disk.image().to_str().unwrap()]);
        std::fs::create_dir(disk.top()).unwrap();
        disk.mount();
        disk
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    pub fn top(&self) -> PathBuf {
        self.folder.path().join("top")
    }

    fn mount(&self) {
        run("/usr/bin/mount", &["-o", "loop", self.image().to_str().unwrap(), self.top().to_str().unwrap()]);
    }

    /// What was not on the disk is gone: the file system is shut down without writing its journal.
    pub fn cut_power(&self) {
        // FS_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH (linux/fs.h, fs/ext4/ext4.h).
        let script =
            "open(F, '<', $ARGV[0]) or die $!; my $how = pack('L', 2); ioctl(F, 0x8004587d, $how) or die $!;";
        run("/usr/bin/perl", &["-e", script, self.top().to_str().unwrap()]);
        nix::mount::umount(&self.top()).unwrap();
        self.mount();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = nix::mount::umount(&self.top());
    }
}

fn run(program: &str, args: &[&str]) {
    let output =
        Command::new(program).args(args).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}
