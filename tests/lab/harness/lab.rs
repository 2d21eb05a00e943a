//! One laboratory: a network with the hosts, the forge and the archives on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::archive::Archive;
use super::exec::Output;
use super::forge::Forge;
use super::host::Host;
use super::ledger::{self, Entry, Ledger};
use super::network;
use super::tree::{self, Suite, Tree};

/// The forge's place on the network; hosts are numbered from [`FIRST_HOST`].
pub const FORGE: u8 = 2;
const FIRST_HOST: u8 = 11;

/// A network of its own. Clones are the same laboratory; it is taken down with the last of them and of its hosts.
#[derive(Clone)]
pub struct Lab {
    inner: Arc<Inner>,
}

struct Inner {
    id: String,
    cache: PathBuf,
    run: PathBuf,
    ledger: Ledger,
    next_host: AtomicU8,
}

impl Lab {
    /// Makes an empty network. The first of a process cleans up after interrupted runs and builds missing trees.
    pub fn new() -> Self {
        assert!(nix::unistd::geteuid().is_root(), "the lab needs root: it mounts and makes namespaces");
        let (folder, cache) = (folder(), cache());
        let runs = folder.join("run");
        fs::create_dir_all(&runs).expect("make the folder of runs");
        tree::ensure_all(&cache);
        let lock = tree::lock(&folder.join("lock"));
        ledger::sweep(&runs);
        let random = fs::read_to_string("/proc/sys/kernel/random/uuid").expect("read a random uuid");
        let id = random[..6].to_owned();
        let run = runs.join(&id);
        fs::create_dir(&run).expect("make the folder of this run");
        let ledger = Ledger::create(&run);
        drop(lock);
        let lab =
            Lab { inner: Arc::new(Inner { id, cache, run, ledger, next_host: AtomicU8::new(FIRST_HOST) }) };
        lab.room_for_overlays();
        lab.ledger().write(&Entry::Namespace(&lab.bridge()));
        network::make_bridge(&lab.bridge());
        lab
    }

    /// Boots a server and waits until it runs.
    pub fn boot(&self, suite: Suite, name: &str) -> Host {
        let number = self.inner.next_host.fetch_add(1, Ordering::Relaxed);
        let host = Host::install(self.clone(), Tree::Server(suite), name, number);
        host.start();
        host
    }

    /// Boots the machine that serves git and packages; one a laboratory.
    pub fn forge(&self) -> Forge {
        Forge::boot(self)
    }

    /// An empty apt archive with a key of its own.
    pub fn archive(&self, name: &str) -> Archive {
        Archive::create(self, name)
    }

    /// Where base trees and downloaded packages lie.
    pub(super) fn cache(&self) -> PathBuf {
        self.inner.cache.clone()
    }

    /// Runs a program of this machine on the network, but on none of its hosts: the place of an outsider.
    pub fn outside(&self, command: &[&str]) -> Output {
        network::run_in(&self.bridge(), command)
    }

    /// Whether an outsider gets a connection to this TCP port within two seconds.
    pub fn reaches(&self, address: &str, port: u16) -> bool {
        let attempt = format!("exec 3<>/dev/tcp/{address}/{port}");
        self.outside(&["timeout", "2", "bash", "-c", &attempt]).success()
    }

    /// The private key that people of this laboratory log in with; its public half is beside it.
    pub(super) fn people_key(&self) -> PathBuf {
        let key = self.folder("people").join("key");
        let _lock = tree::lock(&self.folder("people").join("lock"));
        if !key.exists() {
            let path = key.to_str().expect("a path in UTF-8");
            super::exec::run(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "people", "-f", path])
                .ok();
        }
        key
    }

    /// A folder of this laboratory on this machine, for a test's own material; gone with the laboratory.
    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.inner.run.join(name);
        fs::create_dir_all(&path).expect("make a folder of the lab");
        path
    }

    pub(super) fn id(&self) -> &str {
        &self.inner.id
    }

    pub(super) fn ledger(&self) -> &Ledger {
        &self.inner.ledger
    }

    pub(super) fn bridge(&self) -> String {
        format!("agl-{}", self.inner.id)
    }

    pub(super) fn tree(&self, tree: Tree) -> PathBuf {
        tree.path(&self.inner.cache)
    }

    /// An overlay's upper layer may not lie on another overlay: in a container it goes to memory.
    fn room_for_overlays(&self) {
        const OVERLAYFS_MAGIC: i64 = 0x794c_7630;
        let run = &self.inner.run;
        let here = nix::sys::statfs::statfs(run).expect("statfs of the folder of this run");
        if here.filesystem_type().0 != OVERLAYFS_MAGIC {
            return;
        }
        // The ledger stays on the disk, below, where the next run looks for it.
        let memory = self.layers();
        self.ledger().write(&Entry::Mount(&memory));
        let path = memory.to_str().expect("a path in UTF-8");
        super::exec::run(&["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", path]).ok();
    }

    /// Whether hosts outlive their test, so that a person can look: `LAB_KEEP=1`. The next run removes them.
    pub fn is_kept() -> bool {
        std::env::var_os("LAB_KEEP").is_some()
    }

    /// Where the hosts have their disks.
    pub(super) fn layers(&self) -> PathBuf {
        self.folder("hosts")
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !Lab::is_kept() {
            super::exec::clean_up(|| self.ledger.undo());
        }
    }
}

/// The target folder that this program was built into.
pub fn target() -> PathBuf {
    if let Some(scratch) = option_env!("CARGO_TARGET_TMPDIR") {
        return Path::new(scratch).parent().expect("the target folder is above its tmp").to_owned();
    }
    // Not a test: TARGET/PROFILE/NAME.
    let program = std::env::current_exe().expect("this program has a path");
    program.ancestors().nth(2).expect("cargo builds two folders deep").to_owned()
}

/// The checkout that this program was built from.
pub fn checkout() -> &'static Path {
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let found = packages.filter(|folder| folder.join("packaging/build-deb").exists()).last();
    found.expect("the harness is built inside a checkout")
}

fn folder() -> PathBuf {
    target().join("lab-hosts")
}

/// Base trees can be shared between checkouts: `LAB_TREES` names the folder.
fn cache() -> PathBuf {
    std::env::var_os("LAB_TREES").map_or_else(folder, PathBuf::from)
}
