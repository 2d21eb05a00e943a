//! Keeps what a purge takes away: the configuration files that dpkg and ucf know of a package, with what they put beside
//! them. What a package's own scripts delete is known to nobody before.

use std::collections::BTreeSet;
use std::path::Path;

use crate::host::Host;
use crate::keep::{Keep, Occasion};
use crate::model::ResourceId;

use super::apt::DPKG_QUERY;
use super::transaction;

/// What dpkg and ucf put beside a configuration file, and a purge removes with it.
const BESIDE: [&str; 6] = ["", ".dpkg-old", ".dpkg-dist", ".dpkg-bak", ".ucf-old", ".ucf-dist"];

/// Whose configuration files ucf looks after: a line each, package and path.
const UCF: &str = "/var/lib/ucf/registry";

/// No list of configuration files is longer.
const LIST_LIMIT: u64 = 16 << 20;

/// Keeps the configuration files of a package, named as dpkg names it. The error is told as it is.
pub(super) fn keep(host: &Host, keep: &Keep, resource: &ResourceId, package: &str) -> Result<(), String> {
    for path in paths(host, package)? {
        for ending in BESIDE {
            let path = format!("{path}{ending}");
            keep_one(host, keep, resource, &path)?;
        }
    }
    Ok(())
}

fn keep_one(host: &Host, keep: &Keep, resource: &ResourceId, path: &str) -> Result<(), String> {
    let why = "purged with its package";
    // What is not there, or lies in a folder that is not, can't be lost.
    let Ok((folder, name)) = host.root.parent(Path::new(path)) else { return Ok(()) };
    let occasion = Occasion { resource, why, now: host.clock.now() };
    keep.copying(occasion, path, &folder, name).map(drop).map_err(|error| error.chain())
}

fn paths(host: &Host, package: &str) -> Result<BTreeSet<String>, String> {
    let args = ["--show", "--showformat", "${Conffiles}\\n", package].map(str::to_owned).into();
    let listed = transaction::ask(host, DPKG_QUERY, args).map_err(|error| super::chain(&error))?;
    if !listed.succeeded() {
        return Err(listed.complaint());
    }
    let registry = host.root.read(UCF, LIST_LIMIT).map_err(|error| error.chain())?.unwrap_or_default();
    let name = package.split(':').next().unwrap_or(package);
    let mut paths = of_dpkg(&String::from_utf8_lossy(&listed.stdout));
    paths.extend(of_ucf(&String::from_utf8_lossy(&registry), name));
    Ok(paths)
}

/// dpkg's list: ` /etc/nginx/nginx.conf 9e1d…`, with a word at the end of what is out of the ordinary.
fn of_dpkg(text: &str) -> BTreeSet<String> {
    let path = |line: &str| {
        let words = line.trim();
        let words = words.strip_suffix(" remove-on-upgrade").unwrap_or(words);
        let words = words.strip_suffix(" obsolete").unwrap_or(words);
        let (path, _digest) = words.rsplit_once(' ')?;
        path.starts_with('/').then(|| path.to_owned())
    };
    text.lines().filter_map(path).collect()
}

fn of_ucf<'a>(text: &'a str, package: &'a str) -> impl Iterator<Item = String> + 'a {
    let of_package = move |line: &str| {
        let (owner, path) = line.split_once(char::is_whitespace)?;
        let path = path.trim();
        (owner == package && path.starts_with('/')).then(|| path.to_owned())
    };
    text.lines().filter_map(of_package)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_dpkg_and_ucf_are_read() {
        let listed =
            " /etc/shop.conf 0123\n /etc/a b.conf 4567 obsolete\n /etc/new 89ab remove-on-upgrade\n\n odd\n";
        let paths: Vec<String> = of_dpkg(listed).into_iter().collect();
        assert_eq!(paths, ["/etc/a b.conf", "/etc/new", "/etc/shop.conf"]);
        let registry = "shopd /etc/default/shop\nshopd2 /etc/default/other\nshopd relative\n";
        assert_eq!(of_ucf(registry, "shopd").collect::<Vec<_>>(), ["/etc/default/shop"]);
    }
}
