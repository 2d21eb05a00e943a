//! What a virtual machine boots from: Debian's own kernel for clouds, its initramfs, and a disk made of the base tree
//! of a server. Made once, kept beside the base trees under a key of its recipe, and never written again.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::super::exec::{run, run_with};
use super::super::tree::{Suite, Tree, grow, key, lock, say};

/// What a virtual machine has beyond a server of the laboratory: a kernel, and the tools that people change hosts
/// with. busybox is what the containers in it consist of.
const PACKAGES: &str = "linux-image-cloud-amd64 initramfs-tools \
at busybox-static ed git iptables python3 rsync systemd-container vim-tiny";

/// Its only card is on qemu's own network, where the address is always the same.
const NETWORK: &str = "[Match]\nType=ether\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n";

/// Turns a server's tree into a machine's. Package scripts must not start servers in a folder of this machine.
const MAKE: &str = "\
printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
apt-get update -q
apt-get install -q -y --no-install-recommends $PACKAGES
systemctl --quiet enable systemd-networkd.service serial-getty@ttyS0.service
rm -f /usr/lib/systemd/system-generators/systemd-gpt-auto-generator
";

/// In the tree, while it becomes a disk. The name of the machine is that of the image: it boots many times.
const PERSONALISE: &str = "\
set -eu
tree=$1 key=$2 network=$3
ssh-keygen -q -t ed25519 -N '' -C lab -f \"$key\"
install -d -m 700 \"$tree/root/.ssh\"
install -m 600 \"$key.pub\" \"$tree/root/.ssh/authorized_keys\"
ssh-keygen -q -t ed25519 -N '' -C host -f \"$tree/etc/ssh/ssh_host_ed25519_key\"
echo 'HostKey /etc/ssh/ssh_host_ed25519_key' > \"$tree/etc/ssh/sshd_config.d/lab.conf\"
echo machine > \"$tree/etc/hostname\"
printf '127.0.0.1 localhost\\n127.0.1.1 machine.example.org machine\\n::1 localhost\\n' > \"$tree/etc/hosts\"
echo '/dev/vda / ext4 defaults 0 1' > \"$tree/etc/fstab\"
printf '%s' \"$network\" > \"$tree/etc/systemd/network/lab.network\"
tr -d - < /proc/sys/kernel/random/uuid > \"$tree/etc/machine-id\"
mkdir -p \"$tree/var/log/journal\"
";

/// Room for what a run writes; the file is sparse.
const DISK: u64 = 3 << 30;

/// A kernel, an initramfs and a disk, and the key that root of the disk lets in.
pub struct Image {
    folder: PathBuf,
}

impl Image {
    /// The image of a release, built unless it is there. Several processes may ask at once: one builds.
    pub fn ensure(cache: &Path, suite: Suite) -> Self {
        let server = Tree::Server(suite).path(cache);
        let recipe = format!("{}\n{PACKAGES}\n{MAKE}\n{NETWORK}\n{PERSONALISE}", server.display());
        let image = Image { folder: cache.join(format!("machine-{}-{}", suite.name(), key(&recipe))) };
        let _lock = lock(&cache.join(format!("machine-{}.lock", suite.name())));
        if image.folder.exists() {
            return image;
        }
        let begun = Instant::now();
        say(&format!("building the disk of a virtual machine of {} (a minute or two, once)", suite.name()));
        let unfinished = cache.join(format!("machine-{}.unfinished", suite.name()));
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).expect("remove an unfinished machine");
        }
        build(&server, &unfinished, suite);
        fs::rename(&unfinished, &image.folder).expect("put the finished machine in its place");
        say(&format!("built the machine of {} in {} s", suite.name(), begun.elapsed().as_secs()));
        image
    }

    pub fn kernel(&self) -> PathBuf {
        self.folder.join("vmlinuz")
    }

    pub fn initrd(&self) -> PathBuf {
        self.folder.join("initrd.img")
    }

    pub fn disk(&self) -> PathBuf {
        self.folder.join("disk.img")
    }

    pub fn key(&self) -> PathBuf {
        self.folder.join("key")
    }
}

fn build(server: &Path, folder: &Path, suite: Suite) {
    let tree = folder.join("tree");
    fs::create_dir(folder).expect("make a folder for a machine");
    grow(server, &tree, suite, MAKE, PACKAGES);
    let text = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
    let (tree_text, key) = (text(&tree), text(&folder.join("key")));
    run(&["sh", "-c", PERSONALISE, "sh", &tree_text, &key, NETWORK]).ok();
    for name in ["vmlinuz", "initrd.img"] {
        // Links of the tree lead to the newest; they are relative, to boot/.
        fs::copy(tree.join(name), folder.join(name))
            .unwrap_or_else(|error| panic!("the tree of a machine has no {name}: {error}"));
    }
    let disk = folder.join("disk.img");
    let file = fs::File::create(&disk).expect("create a disk");
    file.set_len(DISK).expect("size a disk");
    // No journal: a machine that is switched off never boots from what it wrote.
    let make = ["mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-d", &tree_text, &text(&disk)];
    run_with(&make, b"", std::time::Duration::from_secs(600)).ok();
    fs::remove_dir_all(&tree).expect("remove the tree of a machine");
}
