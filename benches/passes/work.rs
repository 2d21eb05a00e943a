//! The work that figures are measured on, as a fleet repository.

use std::collections::BTreeMap;

/// A file tree of a declaration.
pub type Tree = BTreeMap<String, Vec<u8>>;

/// Different contents. Each is laid down many times where there are more files.
pub const CONTENTS: usize = 200;

/// One TOML file is bounded: more files than this are spread over several roles.
const FILES_IN_A_ROLE: usize = 25_000;

/// Files, and where they lie.
#[derive(Clone, Copy, Debug)]
pub struct Files {
    pub base: &'static str,
    pub count: usize,
    pub folders: usize,
}

/// 1,000 files in 100 folders.
pub const W1: Files = Files { base: "/srv/w1", count: 1_000, folders: 100 };
/// 10,000 files in 1,000 folders.
pub const W2: Files = Files { base: "/srv/w2", count: 10_000, folders: 1_000 };
/// The files of a typical server; with [`server`] it is W3.
pub const W3: Files = Files { base: "/srv/w3", count: 200, folders: 20 };
/// What growth is measured on, besides W2.
pub const FEW: Files = Files { base: "/srv/few", count: 100, folders: 10 };
pub const MANY: Files = Files { base: "/srv/many", count: 100_000, folders: 10_000 };

/// How many units and rules W3 has, and packages, if the host has as many.
pub const UNITS: usize = 30;
pub const RULES: usize = 200;
/// What the first of the rules lets in; each further one the next.
pub const FIRST_PORT: usize = 20_000;
pub const PACKAGES: usize = 200;

impl Files {
    pub fn folder(&self, number: usize) -> String {
        format!("{}/d{}", self.base, number % self.folders)
    }

    pub fn path(&self, number: usize) -> String {
        format!("{}/f{number}", self.folder(number))
    }

    /// What declares them, in as many roles as it takes.
    pub fn roles(&self) -> Vec<String> {
        let table = |number| {
            let (path, source) = (self.path(number), number % CONTENTS);
            format!("[files.\"{path}\"]\nsource = \"files/{source}\"\nmode = \"0640\"\n")
        };
        let numbers: Vec<usize> = (0..self.count).collect();
        numbers.chunks(FILES_IN_A_ROLE).map(|some| some.iter().copied().map(table).collect()).collect()
    }
}

/// The name of one of W3's units.
pub fn unit(number: usize) -> String {
    format!("bench-{number}.service")
}

/// The rest of W3: packages as they are on the host, units, one firewall table.
pub fn server(packages: &[String]) -> String {
    let mut text = String::from("[packages]\n");
    packages.iter().take(PACKAGES).for_each(|name| text.push_str(&format!("\"{name}\" = \"*\"\n")));
    for number in 0..UNITS {
        text.push_str(&format!("[services.\"{}\"]\nstate = \"running\"\nenabled = true\n", unit(number)));
    }
    text.push_str("[firewall]\ninput = \"accept\"\n");
    for number in 0..RULES {
        text.push_str(&format!("[firewall.rules.r{number}]\nallow = [\"tcp/{}\"]\n", FIRST_PORT + number));
    }
    text
}

/// A fleet of the one host `bench` with these roles.
pub fn fleet(roles: &[String]) -> Tree {
    let mut tree = Tree::new();
    tree.insert("fleet.toml".into(), b"schema = 1\n".to_vec());
    let names: Vec<String> = (0..roles.len()).map(|number| format!("\"part{number}\"")).collect();
    tree.insert("hosts/bench.toml".into(), format!("roles = [{}]\n", names.join(", ")).into_bytes());
    for (number, role) in roles.iter().enumerate() {
        tree.insert(format!("roles/part{number}.toml"), role.clone().into_bytes());
    }
    for number in 0..CONTENTS {
        tree.insert(format!("files/{number}"), content(number, 0).into_bytes());
    }
    tree
}

/// A mean of 4 KiB, and a few of 100 KiB.
pub fn content(number: usize, version: usize) -> String {
    let size = if number.is_multiple_of(50) { 100 << 10 } else { 2 << 10 };
    let line = format!("{number}.{version} and so on\n");
    line.repeat(size / line.len())
}
