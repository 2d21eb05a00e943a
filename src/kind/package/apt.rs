//! How apt is told things, and what its answers mean. Pure: command lines out, text in.

use super::version::compare;

/// apt-get, as Debian installs it.
pub const APT_GET: &str = "/usr/bin/apt-get";
/// apt-cache.
pub const APT_CACHE: &str = "/usr/bin/apt-cache";
/// dpkg.
pub const DPKG: &str = "/usr/bin/dpkg";
/// Where dpkg tells of what it knows.
pub const DPKG_QUERY: &str = "/usr/bin/dpkg-query";

/// What every run of apt and dpkg sees. `noninteractive` alone answers neither conffile prompts (see
/// [`CONFFILES`]) nor ucf, needrestart, listchanges, listbugs or a pager.
pub const ENVIRONMENT: [(&str, &str); 13] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("LC_ALL", "C.UTF-8"),
    ("HOME", "/root"),
    ("TERM", "dumb"),
    ("DEBIAN_FRONTEND", "noninteractive"),
    ("DEBIAN_PRIORITY", "critical"),
    ("UCF_FORCE_CONFFOLD", "1"),
    ("NEEDRESTART_MODE", "l"),
    ("NEEDRESTART_SUSPEND", "1"),
    ("APT_LISTCHANGES_FRONTEND", "none"),
    ("APT_LISTBUGS_FRONTEND", "none"),
    ("PAGER", "cat"),
    ("SYSTEMD_PAGER", "cat"),
];

/// The maintainer's default where there is one, else the file that is there: the declaration's files are laid
/// down later anyway, and what a person changed is not overwritten behind their back.
pub const CONFFILES: [&str; 2] = ["--force-confdef", "--force-confold"];

/// What an apt run is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Install or change versions.
    Install,
    /// Install again what is there.
    Reinstall,
    /// Mend broken dependencies.
    FixBroken,
    /// Take away, leaving configuration files.
    Remove,
    /// Take away everything.
    Purge,
}

/// Which of apt's safeguards are opened, because the declaration says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Packages with a declared version below the one that is there.
    pub downgrades: Permission,
    /// Packages whose hold is declared.
    pub held: Permission,
    /// Packages declared absent.
    pub removals: Permission,
}

/// Whether something is allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Permission {
    /// apt must refuse it.
    #[default]
    No,
    /// The simulation showed nothing that was not declared.
    Yes,
}

/// The arguments of apt-get, the same for the simulation and for the run. Whether recommended packages come
/// along is the host's own setting (`APT::Install-Recommends`), not ours: it is a file that can be declared.
pub fn arguments(verb: Verb, allowed: Allowed, words: &[String]) -> Vec<String> {
    let mut args: Vec<String> = ["--yes", "--quiet", "--no-auto-remove"].map(str::to_owned).into();
    for option in CONFFILES {
        args.extend(["-o".to_owned(), format!("Dpkg::Options::={option}")]);
    }
    for option in [
        "Dpkg::Use-Pty=0",
        "APT::Color=0",
        "DPkg::Lock::Timeout=30",
        // A version that was named is meant, on whichever part of the fleet an update is being phased in.
        "APT::Get::Always-Include-Phased-Updates=true",
    ] {
        args.extend(["-o".to_owned(), option.to_owned()]);
    }
    if allowed.downgrades == Permission::Yes {
        args.push("--allow-downgrades".to_owned());
    }
    if allowed.held == Permission::Yes {
        args.push("--allow-change-held-packages".to_owned());
    }
    if allowed.removals == Permission::No && matches!(verb, Verb::Install | Verb::Reinstall | Verb::FixBroken)
    {
        args.push("--no-remove".to_owned());
    }
    args.extend(match verb {
        Verb::Install => vec!["install".to_owned()],
        Verb::Reinstall => vec!["--reinstall".to_owned(), "install".to_owned()],
        Verb::FixBroken => vec!["--fix-broken".to_owned(), "install".to_owned()],
        Verb::Remove => vec!["remove".to_owned()],
        Verb::Purge => vec!["purge".to_owned()],
    });
    args.push("--".to_owned());
    args.extend(words.iter().cloned());
    args
}

/// Whether a command line, as apt's history has it, is one of ours: nobody else gives all of these options at once.
pub fn is_own_call(command: &str) -> bool {
    let fixed = arguments(Verb::Remove, Allowed::default(), &[]);
    let options = fixed.iter().filter(|word| word.contains("::"));
    command.starts_with(APT_GET) && options.into_iter().all(|option| command.contains(option.as_str()))
}

/// What a simulated run would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Simulated {
    /// Packages that would be unpacked.
    pub installs: Vec<Install>,
    /// Packages that would go.
    pub removals: Vec<String>,
}

/// One package that a run would unpack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Install {
    /// Its name; with architecture if that is not the host's own.
    pub name: String,
    /// The version that is there now.
    pub from: Option<String>,
    /// The version that would be there.
    pub to: String,
}

impl Install {
    /// Whether it is a step back.
    pub fn downgrades(&self) -> bool {
        self.from.as_deref().is_some_and(|from| compare(&self.to, from).is_lt())
    }
}

/// Reads `apt-get -s`: lines `Inst name [from] (to origin [arch])`, `Remv name [from]`, `Purg name [from]`.
pub fn simulated(output: &str) -> Simulated {
    let mut found = Simulated::default();
    for line in output.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(verb), Some(name)) = (words.next(), words.next()) else { continue };
        match verb {
            "Inst" => {
                let rest: Vec<&str> = words.collect();
                let bracket = |word: &&&str| word.starts_with('[');
                let from = rest.first().filter(bracket).map(|word| word.trim_matches(['[', ']']).to_owned());
                let to = rest.iter().find_map(|word| word.strip_prefix('('));
                let to = to.map(|to| to.trim_end_matches(')').to_owned());
                if let Some(to) = to {
                    found.installs.push(Install { name: name.to_owned(), from, to });
                }
            }
            "Remv" | "Purg" if !found.removals.iter().any(|removed| removed == name) => {
                found.removals.push(name.to_owned());
            }
            _ => {}
        }
    }
    found
}

/// What apt's sources have of one package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// What apt would install; none if it would install nothing.
    pub candidate: Option<String>,
    /// The versions that can be fetched, as apt orders them.
    pub versions: Vec<String>,
}

/// Reads `apt-cache policy`: a paragraph for each package it knows, by the name in its head (`libc6:i386:` for a
/// foreign architecture). A version whose only place is dpkg's own list can't be fetched.
pub fn policy(output: &str) -> Vec<(String, Offer)> {
    let mut offers: Vec<(String, Offer)> = Vec::new();
    let mut version: Option<&str> = None;
    for line in output.lines() {
        if let Some(name) = line.strip_suffix(':').filter(|name| !name.starts_with(' ')) {
            offers.push((name.to_owned(), Offer::default()));
            version = None;
            continue;
        }
        let Some((_, offer)) = offers.last_mut() else { continue };
        if let Some(candidate) = line.strip_prefix("  Candidate: ") {
            offer.candidate = (candidate != "(none)").then(|| candidate.to_owned());
        } else if let Some(entry) = line.strip_prefix("       ") {
            // A place: priority (right-aligned), then a source or dpkg's list.
            let own = entry.trim().ends_with("/var/lib/dpkg/status");
            if let Some(version) =
                version.filter(|version| !own && !offer.versions.iter().any(|v| v == version))
            {
                offer.versions.push(version.to_owned());
            }
        } else if let Some(entry) = line.strip_prefix("     ").or_else(|| line.strip_prefix(" *** ")) {
            version = entry.split_ascii_whitespace().next();
        }
    }
    offers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulation_is_read_line_by_line() {
        let found = simulated(
            "Reading package lists...\nInst nginx [1.22.1-9] (1.22.1-8 Debian:12.5/stable [amd64]) []\n\
             Inst libc6:i386 (2.36 Debian:12/stable [i386])\nConf nginx (1.22.1-8 Debian:12.5/stable [amd64])\n\
             Remv exim4 [4.96]\nPurg exim4 [4.96]\nRemv bsd-mailx [8.1] [exim4 ]\n",
        );
        assert_eq!(found.removals, ["exim4", "bsd-mailx"]);
        let shown: Vec<_> =
            found.installs.iter().map(|i| (i.name.as_str(), i.from.as_deref(), i.to.as_str())).collect();
        assert_eq!(shown, [("nginx", Some("1.22.1-9"), "1.22.1-8"), ("libc6:i386", None, "2.36")]);
        assert_eq!(found.installs.iter().map(Install::downgrades).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn a_policy_tells_what_can_be_fetched() {
        let offers = policy(
            "nginx:\n  Installed: 1.22.1-9\n  Candidate: 1.22.1-9+deb12u11\n  Version table:\n     \
             1.22.1-9+deb12u11 500\n        500 http://deb.example.org/debian bookworm/main amd64 Packages\n     \
             2.0 1001\n       1001 http://own.example.org ./ Packages\n *** 1.22.1-9 100\n        \
             100 /var/lib/dpkg/status\nmail-transport-agent:\n  Installed: (none)\n  Candidate: (none)\n  \
             Version table:\n",
        );
        let [(nginx, has), (mta, none)] = offers.as_slice() else { panic!("{offers:?}") };
        assert_eq!((nginx.as_str(), has.candidate.as_deref()), ("nginx", Some("1.22.1-9+deb12u11")));
        assert_eq!(has.versions, ["1.22.1-9+deb12u11", "2.0"]);
        assert_eq!((mta.as_str(), none), ("mail-transport-agent", &Offer::default()));
    }

    #[test]
    fn safeguards_are_opened_one_by_one() {
        let words = ["nginx:amd64=1.22".to_owned()];
        let closed = arguments(Verb::Install, Allowed::default(), &words);
        assert!(
            closed.contains(&"--no-remove".to_owned()) && !closed.iter().any(|arg| arg.contains("allow"))
        );
        assert_eq!(closed[closed.len() - 3..], ["install", "--", "nginx:amd64=1.22"]);
        let open = Allowed { downgrades: Permission::Yes, held: Permission::Yes, removals: Permission::Yes };
        let open = arguments(Verb::Install, open, &words);
        assert!(!open.contains(&"--no-remove".to_owned()));
        assert!(open.contains(&"--allow-downgrades".to_owned()));
        assert!(open.contains(&"--allow-change-held-packages".to_owned()));
    }
}
