//! The agent's package, built from this checkout and installed as an operator installs it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use super::exec::complete;
use super::host::Host;
use super::inside::Inside;
use super::lab::{checkout, target};
use super::tree::{lock, say};

/// A build of everything from nothing on a slow machine.
const BUILD_LIMIT: Duration = Duration::from_secs(3000);

impl Host {
    /// Installs the agent with apt and gives what that said. The package is built first, once a process, so that it
    /// is never an old one.
    pub fn install_agent(&self) -> String {
        install(self)
    }

    /// Installs a package of the agent, which lies alone in its folder, and gives what apt said.
    pub fn install_package(&self, deb: &Path) -> String {
        install_package(self, deb)
    }
}

/// Installs the agent on a machine of any sort, as [`Host::install_agent`] does.
pub fn install(machine: &dyn Inside) -> String {
    install_package(machine, deb())
}

fn install_package(machine: &dyn Inside, deb: &Path) -> String {
    let folder = deb.parent().expect("the package lies in a folder");
    let name = deb.file_name().expect("the package has a name").to_string_lossy();
    machine.copy_in(folder, "/srv/agent");
    let place = format!("/srv/agent/{name}");
    machine.run(&["apt-get", "install", "--yes", "--no-install-recommends", &place]).ok()
}

/// The package as `make deb` left it, alone in its folder; or the one that `LAB_DEB` names, such as what a release is
/// to be made of.
pub fn deb() -> &'static Path {
    static DEB: OnceLock<PathBuf> = OnceLock::new();
    DEB.get_or_init(|| {
        if let Some(deb) = std::env::var_os("LAB_DEB") {
            return PathBuf::from(deb);
        }
        let folder = target().join("deb");
        fs::create_dir_all(&folder).expect("make the folder of packages");
        let _lock = lock(&target().join("deb.lock"));
        say("building the agent's package");
        let source = checkout().to_str().expect("a path in UTF-8");
        let mut make = Command::new("make");
        make.args(["--directory", source, "deb", "PROFILE=lab"]);
        // What cargo told this program of itself would make the cargo below believe that crates have changed.
        let told = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
        let names = std::env::vars_os().map(|(name, _)| name);
        for name in names.filter(|name| told.iter().any(|start| name.to_string_lossy().starts_with(start))) {
            make.env_remove(name);
        }
        let made = complete(make, b"", BUILD_LIMIT);
        assert!(made.success(), "the package cannot be built: {made}");
        let found =
            fs::read_dir(&folder).expect("read the folder of packages").flatten().map(|entry| entry.path());
        let debs: Vec<PathBuf> =
            found.filter(|path| path.extension().is_some_and(|end| end == "deb")).collect();
        let [deb] = &debs[..] else {
            panic!("`make deb` should leave one package in {}: {debs:?}", folder.display())
        };
        deb.clone()
    })
}
