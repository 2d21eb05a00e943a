//! Debian's own packages for hosts that reach nothing but the forge: downloaded once by apt inside a base tree,
//! with whatever they need there, and kept beside the trees.

use std::fs;
use std::path::{Path, PathBuf};

use super::tree::{Suite, Tree, key, lock, mirror, say, sealed};

/// Run as `sh -c DOWNLOAD sh TREE DEBS SOURCE PACKAGE...`. The tree itself is never written: apt works in an overlay
/// whose upper layer is memory and ends with the mount namespace. Only the packages leave it.
const DOWNLOAD: &str = "\
set -eu
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
tree=$1 debs=$2 source=$3; shift 3
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay overlay -o \"lowerdir=$tree,upperdir=/mnt/upper,workdir=/mnt/work\" /mnt/root
cp /etc/resolv.conf /mnt/root/etc/resolv.conf
echo \"$source\" > /mnt/root/etc/apt/sources.list
mount -t proc proc /mnt/root/proc
mount --bind \"$debs\" /mnt/root/var/cache/apt/archives
chroot /mnt/root apt-get update --quiet
chroot /mnt/root apt-get install --quiet --yes --no-install-recommends --download-only \"$@\"
# What the tree has already is taken as well: a test may purge it first.
for package in \"$@\"; do
    ls \"$debs/${package}\"_* >/dev/null 2>&1 ||
        chroot /mnt/root sh -c 'cd /var/cache/apt/archives && apt-get download --quiet \"$1\"' sh \"$package\"
done
rm -rf \"$debs/partial\" \"$debs/lock\"
";

/// The folder with the packages and everything they need beyond a server of this release.
pub fn ensure(cache: &Path, suite: Suite, packages: &[&str]) -> PathBuf {
    let tree = Tree::Server(suite).path(cache);
    let recipe = format!("{}\n{}\n{DOWNLOAD}", tree.display(), packages.join(" "));
    let debs = cache.join(format!("debs-{}-{}", suite.name(), key(&recipe)));
    let _lock = lock(&cache.join(format!("debs-{}.lock", suite.name())));
    if debs.exists() {
        return debs;
    }
    say(&format!("downloading {} for {} (once)", packages.join(", "), suite.name()));
    let unfinished = cache.join(format!("debs-{}.unfinished", suite.name()));
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).expect("remove an unfinished download");
    }
    fs::create_dir(&unfinished).expect("make a folder for packages");
    let source = format!("deb {} {} main", mirror(), suite.name());
    let places = [&tree, &unfinished].map(|path| path.to_str().expect("a path in UTF-8").to_owned());
    let fixed = ["sh", "-c", DOWNLOAD, "sh", &places[0], &places[1], &source];
    sealed(&[&fixed[..], packages].concat(), "downloading Debian packages");
    fs::rename(&unfinished, &debs).expect("put the packages in their place");
    debs
}
