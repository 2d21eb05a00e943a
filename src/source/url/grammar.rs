//! The grammar of addresses: each part is taken only in a form that is safe wherever it is used later. Pure.

use std::path::PathBuf;

use super::{LONGEST, Place, SshPlace, UrlError};

/// Where an address leads, or why it is refused.
pub(super) fn place(text: &str) -> Result<Place, UrlError> {
    check_bytes(text)?;
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
