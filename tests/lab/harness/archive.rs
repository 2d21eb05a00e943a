//! An apt archive of our own: small packages made on the spot, signed by a key of its own. Versions that vanish,
//! packages that break, indexes that change are ours to set. Or one with Debian's own packages, for hosts that
//! reach no other.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use super::debian;
use super::exec::{quoted, run};
use super::forge::Forge;
use super::host::Host;
use super::inside::Inside;
use super::lab::Lab;
use super::ledger::Entry;
use super::tree::Suite;

/// A package to be made: nothing in it but what is said.
#[derive(Clone)]
pub struct Deb {
    name: String,
    version: String,
    architecture: &'static str,
    fields: Vec<(String, String)>,
    files: Vec<(String, u32, String)>,
    conffiles: Vec<String>,
    scripts: BTreeMap<&'static str, String>,
}

impl Deb {
    pub fn new(name: &str, version: &str) -> Self {
        Deb {
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: "all",
            fields: Vec::new(),
            files: Vec::new(),
            conffiles: Vec::new(),
            scripts: BTreeMap::new(),
        }
    }

    /// For one architecture alone; for all unless said.
    #[must_use]
    pub fn architecture(mut self, name: &'static str) -> Self {
        self.architecture = name;
        self
    }

    /// A field of the control file: `Depends`, `Conflicts`, `Essential`...
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub fn file(mut self, path: &str, content: &str) -> Self {
        self.files.push((path.to_owned(), 0o644, content.to_owned()));
        self
    }

    /// A file that can be run.
    #[must_use]
    pub fn program(mut self, path: &str, content: &str) -> Self {
        self.files.push((path.to_owned(), 0o755, content.to_owned()));
        self
    }

    /// A configuration file, which dpkg asks about when both sides changed it.
    #[must_use]
    pub fn conffile(mut self, path: &str, content: &str) -> Self {
        self.conffiles.push(path.to_owned());
        self.file(path, content)
    }

    /// A unit that runs `command`, enabled and started at installation and stopped before removal by the helpers
    /// that Debian's packages use.
    #[must_use]
    pub fn service(self, unit: &str, command: &str) -> Self {
        let text = format!(
            "[Unit]\nDescription={unit} of the lab\n[Service]\nExecStart={command}\nExecReload=/bin/true\n\
             [Install]\nWantedBy=multi-user.target\n"
        );
        self.file(&format!("/lib/systemd/system/{unit}"), &text)
            .script(
                "postinst",
                &format!(
                    "if [ \"$1\" = configure ]; then\n    deb-systemd-helper unmask {unit} >/dev/null || true\n    \
                     deb-systemd-helper enable {unit} >/dev/null || true\n    \
                     if [ -d /run/systemd/system ]; then\n        systemctl --system daemon-reload >/dev/null || true\n        \
                     deb-systemd-invoke restart {unit} >/dev/null || true\n    fi\nfi\n"
                ),
            )
            .script(
                "prerm",
                &format!(
                    "if [ \"$1\" = remove ] && [ -d /run/systemd/system ]; then\n    \
                     deb-systemd-invoke stop {unit} >/dev/null || true\nfi\n"
                ),
            )
    }

    /// Adds to a maintainer script: `preinst`, `postinst`, `prerm` or `postrm`. It stops at the first failure.
    #[must_use]
    pub fn script(mut self, name: &'static str, body: &str) -> Self {
        self.scripts.entry(name).or_insert_with(|| "#!/bin/sh\nset -e\n".to_owned()).push_str(body);
        self
    }

    pub fn postinst(self, body: &str) -> Self {
        self.script("postinst", body)
    }

    /// Makes the `.deb` in a folder of this machine.
    pub fn build(&self, folder: &Path) -> PathBuf {
        let tree = folder.join("tree");
        for (path, mode, content) in &self.files {
            put(&tree.join(path.trim_start_matches('/')), *mode, content);
        }
        put(&tree.join("DEBIAN/control"), 0o644, &self.control());
        if !self.conffiles.is_empty() {
            put(&tree.join("DEBIAN/conffiles"), 0o644, &format!("{}\n", self.conffiles.join("\n")));
        }
        for (name, body) in &self.scripts {
            put(&tree.join("DEBIAN").join(name), 0o755, body);
        }
        let deb = folder.join(format!(
            "{}_{}_{}.deb",
            self.name,
            self.version.replace(':', "%3a"),
            self.architecture
        ));
        let (from, to) = (tree.to_str().expect("a path in UTF-8"), deb.to_str().expect("a path in UTF-8"));
        run(&["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", from, to]).ok();
        fs::remove_dir_all(&tree).expect("remove the tree of a package");
        deb
    }

    fn control(&self) -> String {
        let mut text = format!(
            "Package: {}\nVersion: {}\nArchitecture: {}\nMaintainer: Lab <lab@example.org>\n",
            self.name, self.version, self.architecture
        );
        for (name, value) in &self.fields {
            writeln!(text, "{name}: {value}").expect("a string takes what is written");
        }
        text.push_str("Description: a package of the laboratory\n");
        text
    }
}

/// An archive with what it offers now. Nobody sees a change before the next `publish`.
pub struct Archive {
    name: String,
    folder: PathBuf,
    home: PathBuf,
    /// The stanza of each offered package in the index, by name and version.
    stanzas: BTreeMap<(String, String), String>,
    /// How long ago it was signed; it holds for a day.
    age: Duration,
}

impl Archive {
    pub(super) fn create(lab: &Lab, name: &str) -> Self {
        let folder = lab.folder(&format!("archive-{name}"));
        // A short path: gpg's agent listens on a socket in there.
        let home = PathBuf::from(format!("/tmp/agl-{}-{name}", lab.id()));
        lab.ledger().write(&Entry::Folder(&home));
        fs::create_dir(&home).expect("make a home for gpg");
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).expect("close the home of gpg");
        let archive =
            Archive { name: name.to_owned(), folder, home, stanzas: BTreeMap::new(), age: Duration::ZERO };
        archive.gpg("--quick-generate-key --passphrase '' 'Lab archive <lab@example.org>' ed25519 sign 7d");
        archive.gpg(&format!("--armor --output {} --export", quoted(&archive.path("key.asc"))));
        archive
    }

    /// Debian's own packages of a release, with whatever they need beyond a server of the laboratory.
    pub fn of_debian(lab: &Lab, suite: Suite, packages: &[&str]) -> Self {
        let mut archive = Archive::create(lab, &format!("debian-{}", suite.name()));
        let debs = debian::ensure(&lab.cache(), suite, packages);
        for entry in fs::read_dir(&debs).expect("read the folder of packages").flatten() {
            archive.add_built(&entry.path());
        }
        archive
    }

    /// Offers a package that somebody else built.
    pub fn add_built(&mut self, deb: &Path) -> &mut Self {
        let copy = self.folder.join(deb.file_name().expect("a package has a name"));
        fs::copy(deb, &copy).expect("copy a package");
        let text = run(&["dpkg-deb", "--field", copy.to_str().expect("a path in UTF-8")]).ok();
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.unwrap_or_else(|| panic!("{} has no {name}", copy.display())).to_owned()
        };
        let key = (field("Package"), field("Version"));
        self.stanzas.insert(key, stanza(&text, &copy));
        self
    }

    /// Offers a package.
    pub fn add(&mut self, package: &Deb) -> &mut Self {
        let deb = package.build(&self.folder);
        let name = match package.architecture {
            "all" => package.name.clone(),
            architecture => format!("{}:{architecture}", package.name),
        };
        let key = (name, package.version.clone());
        self.stanzas.insert(key, stanza(&package.control(), &deb));
        self
    }

    /// Offers a package with nothing in it.
    pub fn package(&mut self, name: &str, version: &str) -> &mut Self {
        self.add(&Deb::new(name, version))
    }

    /// Signed so long ago from now on. What it says holds for a day, as with archives that guard against being served
    /// old ones.
    pub fn signed_ago(&mut self, age: Duration) -> &mut Self {
        self.age = age;
        self
    }

    /// No longer offers a version, as archives do when a newer one comes.
    pub fn withdraw(&mut self, name: &str, version: &str) -> &mut Self {
        let key = (name.to_owned(), version.to_owned());
        assert!(self.stanzas.remove(&key).is_some(), "{name} {version} was not offered");
        fs::remove_file(self.folder.join(format!("{name}_{}_all.deb", version.replace(':', "%3a"))))
            .expect("remove a package");
        self
    }

    /// Puts the archive on a host's own disk and among its sources. The index is not refreshed: that is `apt-get
    /// update`, by whoever the test wants to do it.
    pub fn publish(&self, host: &Host) {
        self.publish_to(host);
    }

    /// The same for a machine of any sort.
    pub fn publish_to(&self, host: &dyn Inside) {
        self.sign();
        let place = format!("/srv/apt/{}", self.name);
        host.run(&["rm", "-rf", "--", &place]).ok();
        host.copy_in(&self.folder, &place);
        self.name_source(host, &format!("file:{place}"));
    }

    /// Serves the archive from the forge, where hosts reach it by [`Archive::name_source_on`].
    pub fn publish_on(&self, forge: &Forge) {
        self.sign();
        let place = format!("/srv/apt/{}", self.name);
        forge.run(&["rm", "-rf", "--", &place]).ok();
        forge.copy_in(&self.folder, &place);
    }

    /// Adds the archive on the forge to the sources of a host.
    pub fn name_source_on(&self, host: &Host) {
        self.name_source(host, &format!("http://apt.example.org/{}", self.name));
    }

    fn name_source(&self, host: &dyn Inside, address: &str) {
        let key = format!("/etc/apt/keyrings/{}.asc", self.name);
        host.write(&key, &fs::read_to_string(self.path("key.asc")).expect("read the archive's key"));
        let source = format!("deb [signed-by={key}] {address} ./\n");
        host.write(&format!("/etc/apt/sources.list.d/{}.list", self.name), &source);
    }

    /// Writes the index and signs it.
    fn sign(&self) {
        let index = self.stanzas.values().map(|stanza| format!("{stanza}\n")).collect::<String>();
        fs::write(self.folder.join("Packages"), &index).expect("write the index");
        let signed = (UNIX_EPOCH.elapsed().expect("the clock is past 1970") - self.age).as_secs();
        let at = |seconds: u64| run(&["date", "--utc", "-R", "-d", &format!("@{seconds}")]).ok();
        let (date, end) = (at(signed), at(signed + 24 * 3600));
        let release = format!(
            "Origin: Lab\nLabel: Lab\nSuite: lab\nCodename: lab\nDate: {date}Valid-Until: {end}SHA256:\n {} {} Packages\n",
            hex(index.as_bytes()),
            index.len()
        );
        fs::write(self.folder.join("Release"), release).expect("write the release");
        let (from, to) = (quoted(&self.path("Release")), quoted(&self.path("InRelease")));
        self.gpg(&format!("--yes --output {to} --clearsign {from}"));
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).to_str().expect("a path in UTF-8").to_owned()
    }

    /// Runs gpg, and ends the agent that it starts.
    fn gpg(&self, arguments: &str) {
        let home = quoted(self.home.to_str().expect("a path in UTF-8"));
        let script = format!(
            "export GNUPGHOME={home}; gpg --batch --quiet --pinentry-mode loopback {arguments}; code=$?
             gpgconf --kill gpg-agent; exit $code"
        );
        run(&["sh", "-c", &script]).ok();
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.home).ok();
    }
}

/// What the index says of a package: its control fields, and where it is.
fn stanza(control: &str, deb: &Path) -> String {
    let bytes = fs::read(deb).expect("read a package");
    let name = deb.file_name().expect("a package has a name").to_string_lossy();
    format!("{control}Filename: ./{name}\nSize: {}\nSHA256: {}\n", bytes.len(), hex(&bytes))
}

fn put(path: &Path, mode: u32, content: &str) {
    fs::create_dir_all(path.parent().expect("a file has a folder")).expect("make the folders of a package");
    fs::write(path, content).expect("write a file of a package");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set a mode in a package");
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes what is written");
        text
    })
}
