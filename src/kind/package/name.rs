//! Names of packages. Typed, because apt's own grammar turns a careless name into something else: a trailing
//! `-` removes, `./x` is a local file, `a.b` may be a pattern, `a/b` names a release; and all of it survives `--`.

use std::fmt;
use std::str::FromStr;

/// A package by name, with the architecture it is wanted for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageName {
    name: Box<str>,
    architecture: Option<Box<str>>,
}

/// The longest name accepted. Debian's longest is below 100; file names end at 255.
const NAME_LIMIT: usize = 200;

impl PackageName {
    /// The name without its architecture.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The architecture it is wanted for; none means the host's own, or `all`.
    pub fn architecture(&self) -> Option<&str> {
        self.architecture.as_deref()
    }

    /// How apt and dpkg are told: always with an architecture, so that no trailing `+` or `-` stands at the end
    /// of the word and nothing is left to their grammar.
    pub fn qualified(&self, native: &str) -> String {
        format!("{}:{}", self.name, self.architecture.as_deref().unwrap_or(native))
    }
}

impl fmt::Display for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.architecture {
            Some(architecture) => write!(f, "{}:{architecture}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl FromStr for PackageName {
    type Err = String;

    /// Debian policy 5.6.1 (lower-case letters, digits and `+-.`, at least two characters, starting with a
    /// letter or digit), stricter at the end: no package of Debian ends in `-` or `.`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, architecture) = match text.split_once(':') {
            Some((name, architecture)) => (name, Some(architecture)),
            None => (text, None),
        };
        let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        if name.len() < 2 || name.len() > NAME_LIMIT {
            return Err(format!("{text:?} is no package name: it has 2 to {NAME_LIMIT} characters"));
        }
        if !name.starts_with(lower) || !name.chars().all(|c| lower(c) || "+-.".contains(c)) {
            return Err(format!(
                "{text:?} is no package name: lower-case letters, digits and + - . only, starting with a \
                 letter or digit"
            ));
        }
        if name.ends_with(['-', '.']) {
            return Err(format!(
                "{text:?} is no package name: it ends in `{}` (to take a package away, use ensure = \"absent\")",
                &name[name.len() - 1..]
            ));
        }
        let architecture = architecture.map(architecture_of).transpose()?;
        Ok(PackageName { name: name.into(), architecture })
    }
}

/// The grammar of architecture names (policy 11.1); wildcards name no single package.
fn architecture_of(text: &str) -> Result<Box<str>, String> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if matches!(text, "all" | "any" | "native" | "source") {
        return Err(format!("`:{text}` names no architecture of a host: leave it out"));
    }
    let edges = text.starts_with('-') || text.ends_with('-');
    if text.is_empty() || text.len() > 32 || edges || !text.chars().all(allowed) {
        return Err(format!("{text:?} is no architecture: write it as in `libc6:i386`"));
    }
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_names_are_accepted() {
        for text in ["nginx", "g++", "libstdc++6", "python3.11", "0ad", "libc6:i386", "g++:amd64", "a2"] {
            assert_eq!(text.parse::<PackageName>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn eighty_hostile_spellings_are_refused() {
        let hostile = [
            // apt's own grammar: removal, local file, release, version, pattern, task, purge
            "nginx-",
            "bash-",
            "g++-",
            "nginx/bookworm",
            "nginx=1.0",
            "./x.deb",
            "/tmp/x.deb",
            "../x.deb",
            "~/x.deb",
            "x.deb/",
            "nginx*",
            "*",
            "^linux-libc-d.*",
            "linux-.*",
            "lib[abc]",
            "lib?",
            "a|b",
            "a$",
            "(nginx)",
            "nginx^",
            "lamp-server^",
            "~n",
            "~nnginx",
            "?name(nginx)",
            "!nginx",
            "~ramd64",
            "nginx_",
            "+nginx",
            "-nginx",
            "nginx.",
            // options
            "-y",
            "--purge",
            "-o",
            "-oDpkg::Options::=--force-all",
            "--allow-downgrades",
            "--",
            "-",
            "-f",
            "--root=/",
            "-c/tmp/x",
            // architectures
            "nginx:",
            "nginx:any",
            "nginx:all",
            "nginx:native",
            "nginx:source",
            "nginx:amd64:i386",
            "nginx:-amd64",
            "nginx:amd64-",
            "nginx:AMD64",
            "nginx:amd 64",
            ":amd64",
            "nginx:amd64=1",
            "nginx:amd64/sid",
            "nginx:*",
            // separators and shells
            "",
            " ",
            "nginx ",
            " nginx",
            "nginx curl",
            "nginx\tcurl",
            "nginx\ncurl",
            "nginx\n",
            "\0",
            "nginx\0",
            "nginx;reboot",
            "nginx&&reboot",
            "$(reboot)",
            "`reboot`",
            "nginx|sh",
            "nginx>x",
            "nginx'",
            "nginx\"",
            "nginx\\",
            "nginx#x",
            "nginx,curl",
            "nginx@host",
            "%s",
            "nginx%",
            // letters that are not
            "Nginx",
            "NGINX",
            "nginx_core",
            "ngïnx",
            "nginx\u{200b}",
            "\u{202e}xnign",
            "ｎginx",
            "n",
            "é",
            "nginx\u{301}",
            "\u{1b}[2Jnginx",
            "..",
            ".nginx",
            "+",
            "a",
        ];
        assert!(hostile.len() >= 80, "{}", hostile.len());
        for text in hostile.iter().map(|text| (*text).to_owned()).chain(["a".repeat(201)]) {
            assert!(text.parse::<PackageName>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn what_apt_is_told_never_ends_in_an_action() {
        let name: PackageName = "g++".parse().unwrap();
        assert_eq!(name.qualified("amd64"), "g++:amd64");
        let name: PackageName = "libc6:i386".parse().unwrap();
        assert_eq!(name.qualified("amd64"), "libc6:i386");
    }
}
