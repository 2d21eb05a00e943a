//! Base trees: what a host is before anything happened to it. Built once by debootstrap from this machine's
//! own apt sources, kept below the target folder under a key of their recipe, never written again: a host is an
//! overlay on one.

use std::fmt::Write as _;
use std::fs;
use std::io::{IsTerminal, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};

use super::exec::{complete, run};

/// A Debian release that agentd supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    Bookworm,
    Trixie,
}

impl Suite {
    pub const ALL: [Suite; 2] = [Suite::Bookworm, Suite::Trixie];

    pub fn name(self) -> &'static str {
        match self {
            Suite::Bookworm => "bookworm",
            Suite::Trixie => "trixie",
        }
    }
}

/// What a host may be made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tree {
    /// A plain server, as an operator has it: no git, no compiler.
    Server(Suite),
    /// A machine that serves git and packages.
    Forge,
}

/// What every server has. strace, acl, attr and e2fsprogs are for the tests; the rest is ordinary.
const SERVER: &str = "acl,attr,ca-certificates,cron,dbus,e2fsprogs,iproute2,iputils-ping,libpam-systemd,nano,\
nftables,openssh-client,openssh-server,procps,sed,strace,sudo,systemd,systemd-sysv,vim-tiny";

/// What the forge has beyond a server.
const FORGE: &str = "fcgiwrap git nginx-light";

/// Run in a fresh tree, in namespaces of its own. What debootstrap copied from this machine goes, and what must
/// differ from host to host.
const TIDY: &str = "\
rm -f /etc/apt/sources.list /etc/apt/sources.list.d/* /etc/ssh/ssh_host_* /usr/sbin/policy-rc.d
apt-get clean
find /var/lib/apt/lists -type f -delete
: > /etc/resolv.conf
: > /etc/machine-id
rm -f /var/lib/dbus/machine-id
echo unnamed > /etc/hostname
";

/// Turns a server's tree into the forge's. Package scripts must not start servers in a folder of this machine.
const MAKE_FORGE: &str = "\
printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
apt-get update -q
apt-get install -q -y --no-install-recommends $PACKAGES
useradd --create-home --shell /usr/bin/git-shell git
usermod --password '*' git
rm -f /etc/nginx/sites-enabled/default
printf '[safe]\\n\\tdirectory = *\\n' > /etc/gitconfig
";

const BUILD_LIMIT: Duration = Duration::from_secs(1200);

impl Tree {
    pub const ALL: [Tree; 3] = [Tree::Server(Suite::Bookworm), Tree::Server(Suite::Trixie), Tree::Forge];

    fn name(self) -> &'static str {
        match self {
            Tree::Server(suite) => suite.name(),
            Tree::Forge => "forge",
        }
    }

    /// Where the finished tree lies; every change of a recipe is another folder.
    pub fn path(self, cache: &Path) -> PathBuf {
        let server = format!("{SERVER}\n{TIDY}");
        let recipe = match self {
            Tree::Server(suite) => format!("{}\n{server}", suite.name()),
            Tree::Forge => format!("{}\n{server}\n{FORGE}\n{MAKE_FORGE}", Suite::Bookworm.name()),
        };
        cache.join(format!("base-{}-{}", self.name(), key(&recipe)))
    }

    /// Builds the tree unless it is there. Several processes may ask at once: one builds, the others wait.
    fn ensure(self, cache: &Path) {
        let path = self.path(cache);
        if path.exists() {
            return;
        }
        let _lock = lock(&cache.join(format!("{}.lock", self.name())));
        if path.exists() {
            return;
        }
        let begun = Instant::now();
        say(&format!("building the base tree of {} (a minute or two, once)", self.name()));
        let unfinished = cache.join(format!("{}.unfinished", self.name()));
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).expect("remove an unfinished tree");
        }
        match self {
            Tree::Server(suite) => build_server(suite, &unfinished),
            Tree::Forge => build_forge(&Tree::Server(Suite::Bookworm).path(cache), &unfinished),
        }
        fs::rename(&unfinished, &path).expect("put the finished tree in its place");
        say(&format!("built the base tree of {} in {} s", self.name(), begun.elapsed().as_secs()));
    }
}

/// Builds whatever trees are missing, the releases at the same time.
pub fn ensure_all(cache: &Path) {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        fs::create_dir_all(cache).expect("make the folder of base trees");
        thread::scope(|scope| {
            let built: Vec<_> = Suite::ALL
                .map(|suite| scope.spawn(move || Tree::Server(suite).ensure(cache)))
                .into_iter()
                .map(thread::ScopedJoinHandle::join)
                .collect();
            assert!(built.iter().all(Result::is_ok), "a base tree could not be built (see above)");
        });
        Tree::Forge.ensure(cache);
    });
}

/// A short name for what a recipe makes.
pub fn key(recipe: &str) -> String {
    Sha256::digest(recipe).iter().take(4).fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes what is written");
        text
    })
}

/// Holds the file locked until the value is dropped; a process that dies lets go of it.
pub fn lock(path: &Path) -> Flock<fs::File> {
    let file = fs::File::create(path).unwrap_or_else(|error| panic!("create {}: {error}", path.display()));
    Flock::lock(file, FlockArg::LockExclusive)
        .unwrap_or_else(|(_, error)| panic!("lock {}: {error}", path.display()))
}

/// A line for the person who waits; written to the stream itself, since the test runner hides what is printed.
pub fn say(line: &str) {
    let mut stream = std::io::stderr();
    // Whoever shows progress on a terminal leaves its line unfinished.
    let clear = if stream.is_terminal() { "\r\x1b[K" } else { "" };
    writeln!(stream, "{clear}lab: {line}").ok();
}

fn build_server(suite: Suite, tree: &Path) {
    let mirror = mirror();
    let include = format!("--include={SERVER}");
    let tree = tree.to_str().expect("a path in UTF-8");
    sealed(&["debootstrap", "--variant=minbase", &include, suite.name(), tree, &mirror], suite.name());
    inside(tree, TIDY, &[]);
}

fn build_forge(server: &Path, tree: &Path) {
    grow(server, tree, Suite::Bookworm, MAKE_FORGE, FORGE);
}

/// Makes a tree of a server's by a script, which finds `PACKAGES` to install.
pub fn grow(server: &Path, tree: &Path, suite: Suite, script: &str, packages: &str) {
    let tree_text = tree.to_str().expect("a path in UTF-8");
    run(&["cp", "--archive", "--reflink=auto", server.to_str().expect("a path in UTF-8"), tree_text]).ok();
    let source = format!("deb {} {} main\n", mirror(), suite.name());
    fs::write(tree.join("etc/apt/sources.list"), source).expect("write the sources of a tree");
    fs::copy("/etc/resolv.conf", tree.join("etc/resolv.conf")).expect("copy resolv.conf");
    inside(tree_text, script, &[("PACKAGES", packages)]);
    inside(tree_text, TIDY, &[]);
}

/// Runs a shell script with the tree as its root.
fn inside(tree: &str, script: &str, variables: &[(&str, &str)]) {
    let set: String = variables.iter().map(|(name, value)| format!("{name}='{value}'\n")).collect();
    let script = format!(
        "set -eu\nexport PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive\n{set}{script}"
    );
    let proc = format!("{tree}/proc");
    let mounted = format!("mount -t proc proc {proc} && exec chroot {tree} /bin/sh -c \"$1\"");
    sealed(&["sh", "-c", &mounted, "sh", &script], "the script of a base tree");
}

/// Runs a builder in mount and process namespaces of its own: whatever it mounts and starts ends with it, also
/// when this process is killed in the middle.
pub fn sealed(command: &[&str], what: &str) {
    let mut program = Command::new("setpriv");
    program.args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child"]);
    program.args(command).env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C.UTF-8");
    if let Some(proxy) = proxy() {
        program.env("http_proxy", &proxy).env("https_proxy", &proxy);
    }
    let output = complete(program, b"", BUILD_LIMIT);
    if !output.success() {
        say(&format!("building failed: {what}\n{output}"));
        panic!("cannot build: {what}");
    }
}

/// Where this machine gets Debian from, by its own apt sources: the archive, not its updates or security.
pub fn mirror() -> String {
    let format = "$(REPO_URI) $(CODENAME) $(COMPONENT)";
    let targets =
        run(&["apt-get", "indextargets", "--format", format, "Created-By: Packages", "Origin: Debian"]).ok();
    let found = targets.lines().find_map(|line| {
        let [uri, codename, component] = line.split(' ').collect::<Vec<_>>()[..] else { return None };
        let archive = component == "main" && !codename.contains('-');
        archive.then(|| uri.to_owned())
    });
    found.unwrap_or_else(|| {
        panic!("no source of this machine's apt is a Debian archive (run apt-get update): `{targets}`")
    })
}

/// The proxy that this machine's apt uses, if any, for debootstrap, which does not read apt's settings.
fn proxy() -> Option<String> {
    let setting = run(&["apt-config", "shell", "PROXY", "Acquire::http::Proxy"]).ok();
    let value = setting.trim().strip_prefix("PROXY=")?.trim_matches('\'').to_owned();
    (!value.is_empty() && value != "DIRECT").then_some(value)
}
