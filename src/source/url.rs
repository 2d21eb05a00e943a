//! The address of a repository: a strict grammar, so that nothing in it can become an option, a command, a second line
//! of a protocol, or a printed secret.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Longest address taken, in bytes; longer ones are mistakes or attacks.
const LONGEST: usize = 2048;

/// An address that was checked. Its text never holds a credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RemoteUrl {
    text: String,
    place: Place,
}

/// Where an address leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// `https://host[:port]/path`
    Https,
    /// `ssh://[user@]host[:port]/path` and `[user@]host:path`
    Ssh(SshPlace),
    /// `/path` and `file:///path`
    Local(PathBuf),
}

/// The parts of an ssh address, each safe to be an argument after `--`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SshPlace {
    pub user: Option<String>,
    /// Without the brackets of an IPv6 address.
    pub host: String,
    pub port: Option<u16>,
    /// As the server shall see it; quoted when sent.
    pub path: String,
}

/// Why an address was refused. The message repeats at most the scheme or the host, so that a secret in the address is not printed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Nothing was given.
    #[error("the repository address is empty: give https://, ssh://, user@host:path or an absolute path")]
    Empty,
    /// Longer than any real address.
    #[error("the repository address is longer than {LONGEST} bytes")]
    TooLong,
    /// A newline, NUL, escape or other control character, or white space.
    #[error("the repository address holds a control character or white space (byte {at}): remove it")]
    ControlCharacter {
        /// Offset of the byte.
        at: usize,
    },
    /// A transport that can be read or changed on the way.
    #[error("`{scheme}://` is neither encrypted nor authenticated: use https:// or ssh://")]
    Plain {
        /// The scheme as it was given.
        scheme: String,
    },
    /// A transport that we don't have, among them git's `ext::` that runs a command.
    #[error("`{scheme}` is no transport of agentd: use https://, ssh://, user@host:path or an absolute path")]
    Scheme {
        /// The scheme as it was given.
        scheme: String,
    },
    /// `https://user:secret@host/`: it would end up in logs and process lists.
    #[error(
        "the address carries a user name or password: put them into the credentials file and leave them out here"
    )]
    EmbeddedCredentials,
    /// A password in an ssh address.
    #[error("the ssh address carries a password: agentd uses a key file alone")]
    EmbeddedPassword,
    /// The host is missing or has characters that no host name has, or starts like an option.
    #[error("the host in the address is not a host name or IP address")]
    Host,
    /// The user is missing before the `@`, starts like an option or has odd characters.
    #[error("the user name before `@` is not valid")]
    User,
    /// Not a number between 1 and 65535.
    #[error("the port in the address is not a number between 1 and 65535")]
    Port,
    /// No path, one that starts like an option, one with `..`, a query or a fragment.
    #[error("the path in the address is not valid: {why}")]
    Path {
        /// What is wrong with it.
        why: &'static str,
    },
    /// A path such as `repo.git`.
    #[error("a local repository needs an absolute path that starts with `/`")]
    Relative,
}

impl RemoteUrl {
    /// Reads an address, or says why it is refused.
    pub fn parse(text: &str) -> Result<RemoteUrl, UrlError> {
        check_bytes(text)?;
        let place = parse_place(text)?;
        Ok(RemoteUrl { text: text.to_owned(), place })
    }

    /// The address as it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The path, for a repository on this machine.
    pub fn local_path(&self) -> Option<&Path> {
        match &self.place {
            Place::Local(path) => Some(path),
            Place::Https | Place::Ssh(_) => None,
        }
    }

    /// True for ssh, which needs a key file and pinned host keys.
    pub fn is_ssh(&self) -> bool {
        matches!(self.place, Place::Ssh(_))
    }

    /// True for https, which takes a token or a password.
    pub fn is_https(&self) -> bool {
        matches!(self.place, Place::Https)
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }
}

impl fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for RemoteUrl {
    type Error = UrlError;
    fn try_from(text: String) -> Result<RemoteUrl, UrlError> {
        RemoteUrl::parse(&text)
    }
}

impl From<RemoteUrl> for String {
    fn from(url: RemoteUrl) -> String {
        url.text
    }
}

fn check_bytes(text: &str) -> Result<(), UrlError> {
    if text.is_empty() {
        return Err(UrlError::Empty);
    }
    if text.len() > LONGEST {
        return Err(UrlError::TooLong);
    }
    match text.char_indices().find(|(_, c)| c.is_control() || c.is_whitespace() || is_invisible(*c)) {
        Some((at, _)) => Err(UrlError::ControlCharacter { at }),
        None => Ok(()),
    }
}

/// Direction overrides and zero-width characters make an address look like another one.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn parse_place(text: &str) -> Result<Place, UrlError> {
    if text.starts_with('/') {
        return local(text);
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        return match scheme.to_ascii_lowercase().as_str() {
            "https" => https(rest),
            "ssh" => ssh_url(rest),
            "file" => local(rest),
            plain @ ("http" | "git" | "ftp") => Err(UrlError::Plain { scheme: plain.to_owned() }),
            _ => Err(UrlError::Scheme { scheme: clip(scheme) }),
        };
    }
    if let Some((helper, _)) = text.split_once("::") {
        // An IPv6 host in brackets has `::` as well, but no helper name has a bracket.
        if !helper.contains('[') {
            return Err(UrlError::Scheme { scheme: format!("{}::", clip(helper)) });
        }
    }
    scp_like(text)
}

fn clip(scheme: &str) -> String {
    scheme.chars().filter(|c| c.is_ascii_alphanumeric() || "+-.".contains(*c)).take(20).collect()
}

fn local(path: &str) -> Result<Place, UrlError> {
    if !path.starts_with('/') {
        return Err(UrlError::Relative);
    }
    check_path(path)?;
    Ok(Place::Local(PathBuf::from(path)))
}

fn https(rest: &str) -> Result<Place, UrlError> {
    let (authority, path) = split_authority(rest)?;
    if authority.contains('@') {
        return Err(UrlError::EmbeddedCredentials);
    }
    split_port(authority)?;
    if path.contains(['?', '#']) {
        return Err(UrlError::Path { why: "a query or fragment does not belong to a repository" });
    }
    if !path.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&b)) {
        return Err(UrlError::Path { why: "write special characters percent-encoded" });
    }
    check_path(path)?;
    Ok(Place::Https)
}

fn ssh_url(rest: &str) -> Result<Place, UrlError> {
    let (authority, path) = split_authority(rest)?;
    let (user, host) = split_user(authority)?;
    let (host, port) = split_port(host)?;
    check_path(path)?;
    // `ssh://host/~user/repo` means the home of that user, as git has it.
    let path = if path.starts_with("/~") { &path[1..] } else { path };
    Ok(Place::Ssh(SshPlace { user, host, port, path: path.to_owned() }))
}

fn scp_like(text: &str) -> Result<Place, UrlError> {
    let after_host = text.rfind(']').unwrap_or(0);
    let Some(colon) = text[after_host..].find(':').map(|at| at + after_host) else {
        return Err(UrlError::Relative);
    };
    let (authority, path) = (&text[..colon], &text[colon + 1..]);
    if authority.contains('/') {
        return Err(UrlError::Relative);
    }
    if matches!(authority, "file" | "http" | "https" | "ssh") {
        return Err(UrlError::Scheme { scheme: format!("{authority}:") });
    }
    if path.split('/').next().is_some_and(|first| first.contains('@')) {
        return Err(UrlError::EmbeddedPassword);
    }
    let (user, host) = split_user(authority)?;
    let (host, port) = split_port(host)?;
    check_path(path)?;
    Ok(Place::Ssh(SshPlace { user, host, port, path: path.to_owned() }))
}

fn split_authority(rest: &str) -> Result<(&str, &str), UrlError> {
    let slash = rest.find('/').ok_or(UrlError::Path { why: "it is missing" })?;
    Ok(rest.split_at(slash))
}

fn split_user(authority: &str) -> Result<(Option<String>, &str), UrlError> {
    let Some((user, host)) = authority.rsplit_once('@') else { return Ok((None, authority)) };
    if user.contains(':') {
        return Err(UrlError::EmbeddedPassword);
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_.-+".contains(&b);
    if user.is_empty() || user.starts_with('-') || user.len() > 64 || !user.bytes().all(plain) {
        return Err(UrlError::User);
    }
    Ok((Some(user.to_owned()), host))
}

fn split_port(authority: &str) -> Result<(String, Option<u16>), UrlError> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, tail) = rest.split_once(']').ok_or(UrlError::Host)?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| UrlError::Host)?;
        let port = match tail.strip_prefix(':') {
            Some(port) => Some(parse_port(port)?),
            None if tail.is_empty() => None,
            None => return Err(UrlError::Host),
        };
        return Ok((host.to_owned(), port));
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(parse_port(port)?)),
        None => (authority, None),
    };
    check_host(host)?;
    Ok((host.to_owned(), port))
}

fn parse_port(text: &str) -> Result<u16, UrlError> {
    let digits = !text.is_empty() && text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<u16>() {
        Ok(port) if digits && port > 0 => Ok(port),
        _ => Err(UrlError::Port),
    }
}

fn check_host(host: &str) -> Result<(), UrlError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let edges = host.starts_with(['-', '.']) || host.ends_with('-') || host.contains("..");
    if host.is_empty() || host.len() > 253 || edges || !host.bytes().all(plain) {
        return Err(UrlError::Host);
    }
    Ok(())
}

fn check_path(path: &str) -> Result<(), UrlError> {
    let bare = path.trim_matches('/');
    if bare.is_empty() {
        return Err(UrlError::Path { why: "it is missing" });
    }
    if path.starts_with('-') {
        return Err(UrlError::Path { why: "it starts with `-` like an option" });
    }
    if path.split('/').any(|part| part == "..") {
        return Err(UrlError::Path { why: "it holds `..`" });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ssh(text: &str) -> SshPlace {
        match RemoteUrl::parse(text).unwrap().place {
            Place::Ssh(place) => place,
            other => panic!("{text} is {other:?}"),
        }
    }

    #[test]
    fn ordinary_addresses_are_read() {
        for text in [
            "https://git.example.org/ops/fleet.git",
            "https://git.example.org:8443/fleet",
            "https://[2001:db8::1]:8443/fleet",
            "https://git.example.org/~ops/fleet%20repo.git",
            "HTTPS://git.example.org/fleet",
        ] {
            assert!(RemoteUrl::parse(text).unwrap().is_https(), "{text}");
        }
        let whole = SshPlace {
            user: Some("git".into()),
            host: "git.example.org".into(),
            port: Some(2222),
            path: "/ops/fleet.git".into(),
        };
        assert_eq!(ssh("ssh://git@git.example.org:2222/ops/fleet.git"), whole);
        let short = SshPlace { port: None, path: "ops/fleet.git".into(), ..whole };
        assert_eq!(ssh("git@git.example.org:ops/fleet.git"), short);
        assert_eq!(ssh("git.example.org:ops/fleet.git"), SshPlace { user: None, ..short });
        assert_eq!(ssh("git@[2001:db8::1]:fleet").host, "2001:db8::1");
        assert_eq!(ssh("ssh://git@[2001:db8::1]:22/fleet").port, Some(22));
        assert_eq!(ssh("ssh://host/~ops/fleet").path, "~ops/fleet");
        for text in ["/srv/git/fleet.git", "file:///srv/git/fleet.git"] {
            assert_eq!(RemoteUrl::parse(text).unwrap().local_path(), Some(Path::new("/srv/git/fleet.git")));
        }
    }

    #[test]
    fn dangerous_addresses_are_refused_for_the_right_reason() {
        use UrlError::*;
        let plain = |s: &str| Plain { scheme: s.into() };
        let scheme = |s: &str| Scheme { scheme: s.into() };
        let option = Path { why: "it starts with `-` like an option" };
        let missing = Path { why: "it is missing" };
        let dots = Path { why: "it holds `..`" };
        let query = Path { why: "a query or fragment does not belong to a repository" };
        let odd = Path { why: "write special characters percent-encoded" };
        let table: &[(&str, UrlError)] = &[
            ("", Empty),
            (" ", ControlCharacter { at: 0 }),
            ("https://host/a\nb", ControlCharacter { at: 14 }),
            ("https://host/a\rHost: b", ControlCharacter { at: 14 }),
            ("https://host/a\0b", ControlCharacter { at: 14 }),
            ("https://host/a b", ControlCharacter { at: 14 }),
            ("https://host/a\u{1b}[31m", ControlCharacter { at: 14 }),
            ("https://host/\u{202e}a", ControlCharacter { at: 13 }),
            ("https://host/a\u{85}", ControlCharacter { at: 14 }),
            ("git@host:a\tb", ControlCharacter { at: 10 }),
            ("http://host/fleet", plain("http")),
            ("HTTP://host/fleet", plain("http")),
            ("http://127.0.0.1/fleet", plain("http")),
            ("git://host/fleet", plain("git")),
            ("ftp://host/fleet", plain("ftp")),
            ("ext::sh", scheme("ext::")),
            ("ext::sh/-c/id", scheme("ext::")),
            ("fd::17/fleet", scheme("fd::")),
            ("https::https://host/fleet", scheme("httpshttps")),
            ("git+ssh://host/fleet", scheme("git+ssh")),
            ("javascript://host/fleet", scheme("javascript")),
            ("://host/fleet", scheme("")),
            ("https://user:secret@host/fleet", EmbeddedCredentials),
            ("https://token@host/fleet", EmbeddedCredentials),
            ("https://a@b@host/fleet", EmbeddedCredentials),
            ("https://host@/fleet", EmbeddedCredentials),
            ("ssh://git:secret@host/fleet", EmbeddedPassword),
            ("git:secret@host:fleet", EmbeddedPassword),
            ("https:///fleet", Host),
            ("https://-host/fleet", Host),
            ("https://host../fleet", Host),
            ("https://ho$st/fleet", Host),
            ("https://h\u{f6}st/fleet", Host),
            ("https://[::1/fleet", Host),
            ("https://[zz]/fleet", Host),
            ("https://[::1]x/fleet", Host),
            ("ssh://-oProxyCommand=id/fleet", Host),
            ("ssh://-oProxyCommand=id@host/fleet", User),
            ("-oProxyCommand=id@host:fleet", User),
            ("-oProxyCommand=id:fleet", Host),
            ("-host:fleet", Host),
            ("@host:fleet", User),
            ("us er@host:fleet", ControlCharacter { at: 2 }),
            ("us;er@host:fleet", User),
            ("$(id)@host:fleet", User),
            ("`id`@host:fleet", User),
            ("git@ho;st:fleet", Host),
            ("git@$(id):fleet", Host),
            ("https://host:/fleet", Port),
            ("https://host:0/fleet", Port),
            ("https://host:65536/fleet", Port),
            ("https://host:+80/fleet", Port),
            ("https://host:8a/fleet", Port),
            ("ssh://host:-1/fleet", Port),
            ("https://host", missing.clone()),
            ("https://host/", missing.clone()),
            ("ssh://host//", missing.clone()),
            ("git@host:", missing.clone()),
            ("file:///", missing.clone()),
            ("/", missing),
            ("git@host:-upload-pack", option.clone()),
            ("git@host:--upload-pack=id", option),
            ("https://host/a/../b", dots.clone()),
            ("/srv/../etc", dots.clone()),
            ("file:///srv/..", dots.clone()),
            ("git@host:../fleet", dots),
            ("https://host/fleet?x=1", query.clone()),
            ("https://host/fleet#main", query),
            ("https://host/fl\u{e9}et", odd.clone()),
            ("https://host/a\\b", odd.clone()),
            ("https://host/a\"b", odd),
            ("fleet.git", Relative),
            ("./fleet.git", Relative),
            ("a/b:c", Relative),
            ("file://host/fleet", Relative),
            ("file:fleet", scheme("file:")),
            ("https:/host/fleet", scheme("https:")),
        ];
        let mut wrong = Vec::new();
        for (text, why) in table {
            let got = RemoteUrl::parse(text);
            if got.as_ref().err() != Some(why) {
                wrong.push(format!("{text:?}: wanted {why:?}, got {got:?}"));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert_eq!(RemoteUrl::parse(&"/a".repeat(2000)), Err(TooLong));
    }

    #[test]
    fn a_refusal_never_repeats_a_secret() {
        for text in ["https://user:hunter2@host/x", "ssh://git:hunter2@host/x", "hunter2 x"] {
            assert!(!RemoteUrl::parse(text).unwrap_err().to_string().contains("hunter2"));
        }
    }

    #[test]
    fn an_address_survives_a_process_boundary_only_if_valid() {
        let url = RemoteUrl::parse("git@git.example.org:ops/fleet.git").unwrap();
        let json = serde_json::to_string(&url).unwrap();
        assert_eq!(serde_json::from_str::<RemoteUrl>(&json).unwrap(), url);
        assert!(serde_json::from_str::<RemoteUrl>("\"ext::sh -c id\"").is_err());
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_accepted_is_safe_as_an_argument(
            text in "((https|ssh|file|ext|http)?(://|::|:)?)?[-a-z@:/.\\[\\]~%$;' \n\\\\0-9]{0,40}",
        ) {
            if let Ok(url) = RemoteUrl::parse(&text) {
                assert!(!text.chars().any(|c| c.is_control() || c.is_whitespace()));
                match url.place() {
                    Place::Ssh(place) => {
                        let user = place.user.as_deref().unwrap_or("x");
                        for part in [place.host.as_str(), user, place.path.as_str()] {
                            assert!(!part.is_empty() && !part.starts_with('-'), "{text:?}");
                        }
                        assert!(place.host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:".contains(&b)), "{text:?}");
                    }
                    Place::Https => assert!(!text[8..].split('/').next().unwrap().contains('@'), "{text:?}"),
                    Place::Local(path) => assert!(path.is_absolute(), "{text:?}"),
                }
            }
        }
    }
}
