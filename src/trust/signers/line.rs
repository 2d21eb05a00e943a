//! One line of allowed signers: principals, options, key, comment.

use jiff::tz::TimeZone;

use super::{Line, Role, SignerLine, time};
use crate::model::Diagnostic;
use crate::trust::key::{KeyFault, SshKey};

/// What ends a field.
const BLANK: [char; 2] = [' ', '\t'];

/// The kinds of keys that OpenSSH names; what starts with another word is options.
const KINDS: [&str; 8] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ssh-dss",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

type Fault = Box<Diagnostic>;

#[derive(Default)]
struct Options {
    is_authority: bool,
    namespaces: Option<String>,
    valid_after: Option<i64>,
    valid_before: Option<i64>,
}

/// Reads a line that holds something and is no comment.
///
/// # Errors
/// The first fault of the line, at its place.
pub(super) fn read(line: &Line<'_>, zone: &TimeZone) -> Result<Option<SignerLine>, Fault> {
    let mut at = skip(line, 0);
    let start = at;
    let principals = principals(line, &mut at)?;
    if principals.is_empty() {
        return Err(line.fault("signers-principals", (start, at - start), "this line is for nobody"));
    }
    at = skip(line, at);
    let mut options = Options::default();
    if !KINDS.contains(&word(line, at)) {
        let from = at;
        options = read_options(line, &mut at, zone)?;
        if at == from {
            return Err(line.fault("signers-key", (from, 1), "a key is missing behind the principals"));
        }
        at = skip(line, at);
    }
    let key = read_key(line, at)?;
    let role = if options.is_authority { Role::Authority } else { Role::Signer };
    let Options { is_authority: _, namespaces, valid_after, valid_before } = options;
    let place = line.place(start, line.text.trim_end_matches(BLANK).len() - start);
    Ok(Some(SignerLine { principals, key, role, namespaces, valid_after, valid_before, place }))
}

/// A key at a byte offset: its kind and its base64; the comment behind says nothing.
pub(in crate::trust) fn read_key(line: &Line<'_>, at: usize) -> Result<SshKey, Fault> {
    let kind = word(line, at);
    let second = skip(line, at + kind.len());
    let base64 = word(line, second);
    if !KINDS.contains(&kind) {
        let text = format!("`{}` is no kind of key", kind.escape_debug());
        return Err(Box::new(
            line.fault("signers-key", (at, kind.len()), text).hint("ssh-ed25519, for one, is"),
        ));
    }
    let fault = |fault: KeyFault| {
        let (code, hint) = match fault {
            KeyFault::Malformed => ("signers-key", "take the line of the .pub file as it is"),
            KeyFault::Unsupported(_) => {
                ("signers-kind", "sign with ed25519, or with ecdsa of 256 or 384 bits")
            }
            KeyFault::Size(_) => ("signers-weak", "sign with ed25519, or with RSA of 3072 bits"),
        };
        Box::new(line.fault(code, (second, base64.len()), fault.to_string()).hint(hint))
    };
    let key = SshKey::from_base64(base64).map_err(fault)?;
    if key.algorithm() != kind {
        let text = format!("this is a key of the kind `{}`, not `{kind}`", key.algorithm());
        return Err(line.fault("signers-key", (at, kind.len()), text));
    }
    Ok(key)
}

/// The identities: up to a blank, or within quotes.
fn principals(line: &Line<'_>, at: &mut usize) -> Result<String, Fault> {
    let rest = &line.text[*at..];
    if let Some(quoted) = rest.strip_prefix('"') {
        let Some(length) = quoted.find('"') else {
            return Err(line.fault("signers-quote", (*at, 1), "this quote is never closed"));
        };
        *at += length + 2;
        return Ok(quoted[..length].to_owned());
    }
    let found = word(line, *at);
    if let Some(inside) = found.find('"') {
        return Err(line.fault("signers-quote", (*at + inside, 1), "a quote within the principals"));
    }
    *at += found.len();
    Ok(found.to_owned())
}

fn read_options(line: &Line<'_>, at: &mut usize, zone: &TimeZone) -> Result<Options, Fault> {
    let mut options = Options::default();
    loop {
        let rest = &line.text[*at..];
        let name = &rest[..rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len())];
        let named = (*at, name.len().max(1));
        *at += name.len();
        let twice = || line.fault("signers-option", named, format!("`{name}` is said twice"));
        match name.to_ascii_lowercase().as_str() {
            "cert-authority" => {
                if std::mem::replace(&mut options.is_authority, true) {
                    return Err(twice());
                }
            }
            "namespaces" => {
                let (value, _) = quoted(line, at)?;
                if options.namespaces.replace(value).is_some() {
                    return Err(twice());
                }
            }
            kind @ ("valid-after" | "valid-before") => {
                let (value, place) = quoted(line, at)?;
                let Some(seconds) = time::seconds(&value, zone) else {
                    let text = format!("`{}` is no time", value.escape_debug());
                    let hint = "write YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, with Z behind for UTC";
                    return Err(Box::new(line.fault("signers-time", place, text).hint(hint)));
                };
                let slot =
                    if kind == "valid-after" { &mut options.valid_after } else { &mut options.valid_before };
                if slot.replace(seconds).is_some() {
                    return Err(twice());
                }
            }
            _ => {
                let text = format!("`{}` is neither an option nor a kind of key", name.escape_debug());
                let hint = "options are cert-authority, namespaces, valid-after and valid-before";
                return Err(Box::new(line.fault("signers-option", named, text).hint(hint)));
            }
        }
        match line.text[*at..].chars().next() {
            Some(',') => *at += 1,
            Some(' ' | '\t') => break,
            Some(_) => {
                return Err(line.fault("signers-option", (*at, 1), "a comma or a blank is missing here"));
            }
            None => return Err(line.fault("signers-key", (*at, 1), "a key is missing behind the options")),
        }
    }
    if let (Some(after), Some(before)) = (options.valid_after, options.valid_before)
        && before <= after
    {
        let text = "`valid-before` is no later than `valid-after`: this key is never good";
        return Err(line.fault("signers-time", (0, line.text.len()), text));
    }
    Ok(options)
}

/// The value behind `=`, in quotes; `\"` within stands for a quote.
fn quoted(line: &Line<'_>, at: &mut usize) -> Result<(String, (usize, usize)), Fault> {
    let missing = |at: usize| line.fault("signers-quote", (at, 1), "a value in quotes is due here: =\"...\"");
    let inside = line.text[*at..].strip_prefix("=\"").ok_or_else(|| missing(*at))?;
    let start = *at + 2;
    let mut value = String::new();
    let mut escaped = false;
    for (offset, c) in inside.char_indices() {
        match (escaped, c) {
            (false, '"') => {
                *at = start + offset + 1;
                return Ok((value, (start, offset.max(1))));
            }
            (false, '\\') if inside[offset + 1..].starts_with('"') => escaped = true,
            (_, c) => {
                value.push(c);
                escaped = false;
            }
        }
    }
    Err(line.fault("signers-quote", (start - 1, 1), "this quote is never closed"))
}

fn skip(line: &Line<'_>, at: usize) -> usize {
    let rest = &line.text[at..];
    at + rest.len() - rest.trim_start_matches(BLANK).len()
}

fn word<'a>(line: &Line<'a>, at: usize) -> &'a str {
    let rest = &line.text[at..];
    &rest[..rest.find(BLANK).unwrap_or(rest.len())]
}
