//! The compiler from outside: what it says of bad repositories, word for word, and what must hold for any input.

mod any_input;
mod examples;
mod golden;
mod layers;
mod limits;
pub mod schema;

use std::collections::BTreeMap;
use std::path::Path;

use agentd::declaration::{Compiled, compile};
use agentd::host::facts::Facts;

type Files = BTreeMap<String, Vec<u8>>;

/// A small Debian 12 machine.
pub fn facts() -> Facts {
    Facts {
        os: "debian".into(),
        os_version: "12".into(),
        os_codename: "bookworm".into(),
        architecture: "amd64".into(),
        cpus: 4,
        memory_bytes: 8 << 30,
        virtualisation: "kvm".into(),
        labels: BTreeMap::from([("site".to_owned(), "fra".to_owned())]),
    }
}

/// A repository from its texts; a fleet file that says nothing is added where there is none.
fn repository(texts: &[(&str, &str)]) -> Files {
    let mut files: Files =
        texts.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect();
    files.entry("fleet.toml".into()).or_insert_with(|| b"schema = 1\n".to_vec());
    files
}

fn compiled(texts: &[(&str, &str)], host: &str) -> Compiled {
    compile(&repository(texts), host, &facts()).unwrap_or_else(|faults| panic!("{}", joined(&faults)))
}

fn joined(faults: &[agentd::model::Diagnostic]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n")
}

/// The codes of the faults of a host.
fn codes(texts: &[(&str, &str)], host: &str) -> Vec<String> {
    match compile(&repository(texts), host, &facts()) {
        Ok(compiled) => panic!("no fault: {:?}", compiled.desired),
        Err(faults) => faults.into_iter().map(|fault| fault.code).collect(),
    }
}

fn files_below(root: &Path) -> Files {
    let mut files = Files::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                files.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    files
}
