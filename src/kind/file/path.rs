//! Which paths may be declared, and for what. Pure.

use std::borrow::Cow;

use super::spec::Spec;

/// The longest path the kernel takes, less the zero byte.
const PATH_LIMIT: usize = 4095;

/// The longest name the common file systems take.
const NAME_LIMIT: usize = 255;

/// What lies below these is not to be declared at all, and why.
const FOLLY: [(&str, &str); 10] = [
    ("/proc", "it is the kernel's, not a place for files"),
    ("/sys", "it is the kernel's, not a place for files"),
    ("/dev", "it is made anew at every boot"),
    ("/run/agentd", "it is the agent's own"),
    ("/var/lib/agentd", "it is the agent's own"),
    ("/var/log/agentd", "it is the agent's own"),
    ("/etc/agentd", "the agent's settings protect the host from the repository"),
    ("/usr/lib/agentd", "it is the agent's own; it comes with the package agentd"),
    ("/var/lib/dpkg", "it is dpkg's own; declare packages instead"),
    ("/etc/ld.so.preload", "every program would load what it names, the agent too"),
];

/// Programs and units of the agent: a declaration that could replace them could free itself of every limit.
/// So could one that takes away what starts the agent, or what makes its user and its folders.
const OURSELVES: [&str; 12] = [
    "/usr/bin/agentd",
    "/usr/bin/agentctl",
    "/usr/sbin/agentd",
    "/usr/libexec/agentd",
    "/usr/lib/sysusers.d/agentd.conf",
    "/etc/sysusers.d/agentd.conf",
    "/run/sysusers.d/agentd.conf",
    "/usr/lib/tmpfiles.d/agentd.conf",
    "/etc/tmpfiles.d/agentd.conf",
    "/run/tmpfiles.d/agentd.conf",
    "/etc/systemd/system/multi-user.target.wants/agentd.service",
    "/etc/systemd/system/sysinit.target.wants/agentd-firewall.service",
];

/// Folders of units, in which the agent's own are not to be declared.
const UNITS: [&str; 4] = [
    "/usr/lib/systemd/system/",
    "/etc/systemd/system/",
    "/run/systemd/system/",
    "/usr/local/lib/systemd/system/",
];

/// Files that programs of the system keep entries in. Laying one down whole would take away every account that
/// a package brought; owner and mode may be declared.
const SHARED: [&str; 8] = [
    "/etc/passwd",
    "/etc/group",
    "/etc/shadow",
    "/etc/gshadow",
    "/etc/subuid",
    "/etc/subgid",
    "/etc/machine-id",
    "/etc/mtab",
];

/// Where Debian has links that lead elsewhere: the same file under two names is one file.
const ALIASES: [(&str, &str); 8] = [
    ("/bin/", "/usr/bin/"),
    ("/sbin/", "/usr/sbin/"),
    ("/lib/", "/usr/lib/"),
    ("/lib32/", "/usr/lib32/"),
    ("/lib64/", "/usr/lib64/"),
    ("/libx32/", "/usr/libx32/"),
    ("/var/run/", "/run/"),
    ("/var/lock/", "/run/lock/"),
];

/// What is wrong with a path, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub code: &'static str,
    pub message: String,
    pub hint: &'static str,
}

/// Whether a path is written as paths are: absolute, and in only one way.
pub(super) fn well_formed(path: &str) -> Result<(), Wrong> {
    let wrong = |message: String, hint| Err(Wrong { code: "bad-path", message, hint });
    if !path.starts_with('/') {
        return wrong(
            format!("`{path}` is no absolute path"),
            "write it from the root, such as \"/etc/motd\"",
        );
    }
    if path == "/" {
        return wrong("`/` cannot be declared".to_owned(), "declare what lies in it");
    }
    if path.chars().any(char::is_control) {
        return wrong("a path with control characters".to_owned(), "write it without them");
    }
    if path.len() > PATH_LIMIT || path.split('/').any(|name| name.len() > NAME_LIMIT) {
        return wrong(format!("`{path}` is longer than file systems take"), "use a shorter path");
    }
    if path[1..].split('/').any(|name| matches!(name, "" | "." | "..")) {
        let message = format!("`{path}` can be written shorter");
        return wrong(message, "write it without `//`, `.`, `..` and without a `/` at its end");
    }
    Ok(())
}

/// Whether it would be folly to manage this path in this way.
pub(super) fn folly(path: &str, spec: &Spec) -> Result<(), Wrong> {
    let path = real(path);
    let path = path.as_ref();
    let refuse = |why: &str| {
        let message = format!("`{path}` cannot be declared: {why}");
        Err(Wrong { code: "protected-path", message, hint: "take it out of the declaration" })
    };
    if let Some((_, why)) = FOLLY.iter().find(|(top, _)| path == *top || is_below(path, top)) {
        return refuse(why);
    }
    if is_ourselves(path) {
        return refuse("it is the agent's own");
    }
    if path
        .rsplit('/')
        .next()
        .is_some_and(|name| name.starts_with(".agentd.") || name.starts_with(".agentd-old."))
    {
        return refuse("the agent stages files under such names");
    }
    let keeps_content = match spec {
        Spec::File { content, .. } => content.is_none(),
        Spec::Directory { .. } | Spec::Link { .. } | Spec::Absent => false,
    };
    if SHARED.contains(&path) && !keeps_content {
        let message = format!("the content of `{path}` cannot be declared: programs of the system write it");
        let hint = "declare its owner and mode with `ensure = \"file\"`, and leave its content alone";
        return Err(Wrong { code: "protected-path", message, hint });
    }
    match spec {
        Spec::Directory { exclusive: false, .. } => Ok(()),
        Spec::File { .. } | Spec::Link { .. } | Spec::Absent | Spec::Directory { .. } => {
            match holds_what_is_protected(path) {
                Some(inside) => refuse(&format!("{inside} lies in it, and would be taken away")),
                None => Ok(()),
            }
        }
    }
}

/// The path by which a file is known where Debian's own links lead to it.
pub(crate) fn real(path: &str) -> Cow<'_, str> {
    let alias = ALIASES.iter().find_map(|(from, to)| path.strip_prefix(from).map(|rest| (to, rest)));
    match alias {
        Some((to, rest)) => Cow::Owned(format!("{to}{rest}")),
        None => Cow::Borrowed(path),
    }
}

/// Whether `path` lies below the folder `top`.
pub(super) fn is_below(path: &str, top: &str) -> bool {
    path.strip_prefix(top).is_some_and(|rest| rest.starts_with('/'))
}

/// Whether apt reads this file to know where packages come from and whom to trust for them.
pub(super) fn decides_about_packages(path: &str) -> bool {
    ["/etc/apt", "/usr/share/keyrings"].iter().any(|top| path == *top || is_below(path, top))
}

/// The folders on the way to a path, topmost first, without the root.
pub(super) fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').skip(1).map(|(at, _)| &path[..at])
}

fn is_ourselves(path: &str) -> bool {
    let is_own = |name: &str| {
        name.strip_prefix("agentd").is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-', '@']))
    };
    // Whether the unit itself, a drop-in of it, or the link by which something wants it.
    let unit = UNITS.iter().find_map(|folder| path.strip_prefix(folder));
    unit.is_some_and(|unit| unit.split('/').any(is_own)) || OURSELVES.contains(&path)
}

/// What would go with this folder, were it taken away or swept.
fn holds_what_is_protected(path: &str) -> Option<&'static str> {
    let folly = FOLLY.iter().map(|(top, _)| *top);
    let unit_folders = UNITS.iter().map(|folder| folder.trim_end_matches('/'));
    let mut all = folly.chain(OURSELVES).chain(SHARED);
    all.find(|inside| is_below(inside, path))
        .or_else(|| unit_folders.into_iter().find(|folder| path == *folder || is_below(folder, path)))
}

#[cfg(test)]
mod tests {
    use super::super::spec::{Mode, Ownership};
    use super::*;

    fn ownership() -> Ownership {
        Ownership { owner: "root".into(), group: "root".into(), mode: Mode::from_bits(0o644) }
    }

    fn file() -> Spec {
        let content = Some(crate::model::Content::of(b""));
        Spec::File { content, ownership: ownership(), check: Vec::new() }
    }

    #[test]
    fn a_path_is_written_in_one_way_only() {
        for path in ["/etc/motd", "/a", "/etc/a b/ü", "/etc/..data", "/etc/.hidden"] {
            assert_eq!(well_formed(path), Ok(()), "{path}");
        }
        for path in [
            "",
            "/",
            "etc/motd",
            "./a",
            "//etc",
            "/etc//motd",
            "/etc/",
            "/etc/.",
            "/etc/./motd",
            "/etc/../motd",
            "/..",
            "/etc/mo\ntd",
            "/etc/\u{1b}[2J",
            "/a\0b",
        ] {
            assert!(well_formed(path).is_err(), "{path:?}");
        }
        assert!(well_formed(&format!("/{}", "n".repeat(256))).is_err());
        assert!(well_formed(&"/n".repeat(2100)).is_err());
    }

    #[test]
    fn folly_is_refused_also_by_another_name() {
        for path in [
            "/proc/sys/vm/swappiness",
            "/proc",
            "/sys/x",
            "/dev/null",
            "/run/agentd/socket",
            "/var/run/agentd/socket",
            "/var/lib/agentd/record.db",
            "/etc/agentd/agent.toml",
            "/etc/agentd",
            "/usr/bin/agentd",
            "/bin/agentctl",
            "/lib/systemd/system/agentd.service",
            "/etc/systemd/system/agentd.service.d/x.conf",
            "/etc/systemd/system/agentd-firewall.service",
            "/etc/systemd/system/multi-user.target.wants/agentd.service",
            "/etc/systemd/system/sysinit.target.wants/agentd-firewall.service",
            "/etc/systemd/system/shop.target.requires/agentd.service",
            "/run/systemd/system/agentd.service.d/50-x.conf",
            "/usr/lib/sysusers.d/agentd.conf",
            "/lib/sysusers.d/agentd.conf",
            "/etc/sysusers.d/agentd.conf",
            "/usr/lib/tmpfiles.d/agentd.conf",
            "/etc/tmpfiles.d/agentd.conf",
            "/var/log/agentd/agentd.log",
            "/var/lib/dpkg/status",
            "/etc/ld.so.preload",
            "/etc/shadow",
            "/etc/.agentd.motd.12345678",
        ] {
            let wrong = folly(path, &file()).unwrap_err();
            assert_eq!(wrong.code, "protected-path", "{path}");
        }
        for path in [
            "/etc/motd",
            "/devices/x",
            "/etc/agentd-exporter.conf",
            "/usr/bin/agentd-exporter",
            "/etc/systemd/system/shop.service",
            "/etc/systemd/system/agentdx.service",
            "/etc/systemd/system/multi-user.target.wants/shop.service",
            "/etc/sysusers.d/shop.conf",
            "/run/x",
        ] {
            assert_eq!(folly(path, &file()), Ok(()), "{path}");
        }
    }

    #[test]
    fn the_account_files_may_have_an_owner_and_a_mode_but_no_content() {
        let kept = Spec::File { content: None, ownership: ownership(), check: Vec::new() };
        assert_eq!(folly("/etc/shadow", &kept), Ok(()));
        assert!(folly("/etc/shadow", &Spec::Absent).is_err());
    }

    #[test]
    fn a_folder_that_holds_something_protected_is_neither_removed_nor_swept() {
        let directory = |exclusive| Spec::Directory { ownership: ownership(), exclusive, ignore: Vec::new() };
        for path in [
            "/etc",
            "/var",
            "/var/lib",
            "/usr",
            "/usr/bin",
            "/run",
            "/etc/systemd/system",
            "/etc/systemd",
            "/etc/systemd/system/multi-user.target.wants",
            "/etc/systemd/system/sysinit.target.wants",
            "/usr/lib/tmpfiles.d",
        ] {
            assert!(folly(path, &Spec::Absent).is_err(), "{path}");
            assert!(folly(path, &directory(true)).is_err(), "{path}");
            assert_eq!(folly(path, &directory(false)), Ok(()), "{path}");
            assert!(folly(path, &Spec::Link { target: "/x".into() }).is_err(), "{path}");
        }
        assert_eq!(folly("/etc/nginx", &directory(true)), Ok(()));
        assert_eq!(folly("/etc/nginx", &Spec::Absent), Ok(()));
    }

    #[test]
    fn ancestors_come_topmost_first() {
        assert_eq!(
            ancestors("/etc/nginx/conf.d/x").collect::<Vec<_>>(),
            ["/etc", "/etc/nginx", "/etc/nginx/conf.d"]
        );
        assert_eq!(ancestors("/motd").count(), 0);
    }
}
