//! From a table to settings: every key typed, every fault at its place, unknown keys refused.

use std::path::PathBuf;
use std::time::Duration;

use super::amounts;
use super::settings::{Confirm, Followed, Login, Settings};
use crate::declaration::{bytes, host_name, reading};
use crate::keep::Limits;
use crate::kind::fields::At;
use crate::kind::package;
use crate::kind::{Fields, ParseCx};
use crate::model::{DriftMode, Faults, Located, Place, Value};
use crate::record::Retention;
use crate::source::{Caps, Deadlines, RemoteUrl};

/// The remote is not asked more often than this: five thousand hosts share it.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(5);

pub(super) fn settings(document: &Located, faults: &mut Faults) -> Option<Settings> {
    reading(faults, |cx| {
        let mut fields = Fields::of("the settings", document, cx)?;
        let default = Settings::default();
        let (readers, changers) =
            fields.get("control").and_then(|table| control(table, cx)).unwrap_or_default();
        let (window, confirm) = fields.get("guard").and_then(|table| guard(table, cx)).unwrap_or_default();
        let settings = Settings {
            mode: mode(&mut fields, cx).unwrap_or(default.mode),
            host: parsed(&mut fields, "host", cx, host_name),
            interval: span(&mut fields, "interval", SHORTEST_INTERVAL, cx).unwrap_or(default.interval),
            full_pass: span(&mut fields, "full_pass", SHORTEST_INTERVAL, cx).unwrap_or(default.full_pass),
            stale_after: span(&mut fields, "stale_after", SHORTEST_INTERVAL, cx)
                .unwrap_or(default.stale_after),
            source: fields.get("source").and_then(|table| source(table, cx)),
            labels: fields.get("labels").map(|table| labels(table, cx)).unwrap_or_default(),
            removal_limit: count(&mut fields, "removal_limit", cx).unwrap_or(default.removal_limit),
            protect: protect(&mut fields, cx),
            keep: fields.get("keep").and_then(|table| keep(table, cx)).unwrap_or(default.keep),
            history: fields.get("history").and_then(|table| history(table, cx)).unwrap_or(default.history),
            readers: readers.unwrap_or(default.readers),
            changers,
            guard_window: window.unwrap_or(default.guard_window),
            confirm: confirm.unwrap_or(default.confirm),
            packages: fields
                .get("packages")
                .and_then(|table| packages(table, cx))
                .unwrap_or(default.packages),
            textfile: fields.get("metrics").and_then(|table| metrics(table, cx)),
        };
        fields.finish(cx);
        Some(settings)
    })
}

fn source(table: &Located, cx: &mut ParseCx<'_>) -> Option<Followed> {
    let mut fields = Fields::of("the source", table, cx)?;
    let url =
        parsed(&mut fields, "url", cx, |text| RemoteUrl::parse(text).map_err(|error| error.to_string()));
    let branch = parsed(&mut fields, "branch", cx, branch).unwrap_or_else(|| "main".to_owned());
    let path = parsed(&mut fields, "path", cx, folder).flatten();
    let login = login(&mut fields, &table.place, cx);
    let ca_file = absolute(&mut fields, "ca_file", cx);
    let known_hosts = absolute(&mut fields, "known_hosts", cx);
    let caps = caps(&mut fields, cx);
    let total = span(&mut fields, "time_limit", Duration::from_secs(1), cx);
    let given = fields.get("url").is_some();
    fields.finish(cx);
    let Some(url) = url else {
        if !given {
            cx.error("missing", &table.place, "the source has no `url`", "url = \"https://…\"");
        }
        return None;
    };
    let wrong = match &login {
        Login::Key(_) if !url.is_ssh() => Some("`ssh_key` is for ssh addresses"),
        Login::Token(_) | Login::Basic(_) if !url.is_https() => {
            Some("`token_file` and `basic_file` are for https addresses")
        }
        Login::None | Login::Token(_) | Login::Basic(_) | Login::Key(_) => None,
    };
    if let Some(wrong) = wrong {
        cx.error("bad-value", &table.place, wrong, "remove it, or change the `url`");
    }
    if url.is_ssh() && known_hosts.is_none() {
        let hint = "known_hosts = \"/etc/agentd/known_hosts\", made with `ssh-keyscan` and compared by hand";
        cx.error("missing", &table.place, "an ssh address needs `known_hosts`", hint);
    }
    let default = Deadlines::default();
    let deadlines = Deadlines { total: total.unwrap_or(default.total), ..default };
    Some(Followed { url, branch, path, login, ca_file, known_hosts, caps, deadlines })
}

fn login(fields: &mut Fields<'_>, place: &Place, cx: &mut ParseCx<'_>) -> Login {
    let token = absolute(fields, "token_file", cx).map(Login::Token);
    let basic = absolute(fields, "basic_file", cx).map(Login::Basic);
    let key = absolute(fields, "ssh_key", cx).map(Login::Key);
    let mut given = [token, basic, key].into_iter().flatten();
    let access = given.next().unwrap_or_default();
    if given.next().is_some() {
        let message = "more than one of `token_file`, `basic_file` and `ssh_key` is given";
        cx.error("bad-value", place, message, "keep the one that the remote wants");
    }
    access
}

fn caps(fields: &mut Fields<'_>, cx: &mut ParseCx<'_>) -> Caps {
    let default = Caps::default();
    Caps {
        commits: count(fields, "max_commits", cx).unwrap_or(default.commits),
        bytes: parsed(fields, "max_size", cx, bytes).unwrap_or(default.bytes),
        ..default
    }
}

fn labels(table: &Located, cx: &mut ParseCx<'_>) -> std::collections::BTreeMap<String, String> {
    let mut labels = std::collections::BTreeMap::new();
    let Value::Table(entries) = &table.value else {
        let message = format!("`labels` must be a table, not {}", table.value.type_name());
        cx.error("wrong-type", &table.place, message, "[labels]\nsite = \"north\"");
        return labels;
    };
    for (name, entry) in entries {
        match (&entry.value.value, label_name(name)) {
            (Value::String(text), Ok(())) => {
                labels.insert(name.clone(), text.clone());
            }
            (_, Err(message)) => cx.error("bad-value", &entry.key_place, message, "such as `site`"),
            (other, Ok(())) => {
                let message = format!("a label is a string, not {}", other.type_name());
                cx.error("wrong-type", &entry.value.place, message, format!("{name} = \"…\""));
            }
        }
    }
    labels
}

/// The grammar of a label's name.
pub(super) fn label_name(name: &str) -> Result<(), String> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    if (1..=63).contains(&name.len()) && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(format!(
        "`{}` is no name of a label: use lower-case letters, digits, `_` and `-`",
        name.escape_debug()
    ))
}

fn keep(table: &Located, cx: &mut ParseCx<'_>) -> Option<Limits> {
    let default = Settings::default().keep;
    let mut fields = Fields::of("`keep`", table, cx)?;
    let max_age = span(&mut fields, "max_age", Duration::from_secs(3600), cx).unwrap_or(default.max_age);
    let max_bytes = parsed(&mut fields, "max_size", cx, bytes).unwrap_or(default.max_bytes);
    fields.finish(cx);
    Some(Limits { max_age, max_bytes })
}

fn history(table: &Located, cx: &mut ParseCx<'_>) -> Option<Retention> {
    let default = Retention::default();
    let mut fields = Fields::of("`history`", table, cx)?;
    let age = span(&mut fields, "max_age", Duration::from_secs(3600), cx).unwrap_or(default.age);
    let bytes = parsed(&mut fields, "max_size", cx, bytes).unwrap_or(default.bytes);
    fields.finish(cx);
    Some(Retention { age, bytes })
}

fn guard(table: &Located, cx: &mut ParseCx<'_>) -> Option<(Option<Duration>, Option<Confirm>)> {
    let mut fields = Fields::of("`guard`", table, cx)?;
    let window = span(&mut fields, "window", Duration::from_secs(3), cx);
    let confirm = parsed(&mut fields, "confirm", cx, |text| match text {
        "auto" => Ok(Confirm::Auto),
        "ask" => Ok(Confirm::Ask),
        "off" => Ok(Confirm::Off),
        _ => Err(format!("nobody is called `{}`: use \"auto\", \"ask\" or \"off\"", text.escape_debug())),
    });
    fields.finish(cx);
    Some((window, confirm))
}

fn packages(table: &Located, cx: &mut ParseCx<'_>) -> Option<package::Settings> {
    let mut settings = package::Settings::default();
    let mut fields = Fields::of("`packages`", table, cx)?;
    if let Some(age) = span(&mut fields, "index_max_age", Duration::from_secs(60), cx) {
        settings.index_age = age;
    }
    if let Some(wait) = span(&mut fields, "lock_wait", Duration::from_secs(1), cx) {
        settings = settings.waiting_for_locks(wait);
    }
    if let Some(limit) = span(&mut fields, "time_limit", Duration::from_secs(60), cx) {
        settings.time_limit = limit;
    }
    fields.finish(cx);
    Some(settings)
}

/// The file's name ends as node_exporter wants it: it reads no other.
fn metrics(table: &Located, cx: &mut ParseCx<'_>) -> Option<PathBuf> {
    let mut fields = Fields::of("`metrics`", table, cx)?;
    let textfile = parsed(&mut fields, "textfile", cx, |text| match absolute_path(text)? {
        path if path.extension().is_some_and(|end| end == "prom") => Ok(path),
        _ => Err(format!("`{}` is not read by node_exporter: let it end in .prom", text.escape_debug())),
    });
    fields.finish(cx);
    textfile
}

fn control(table: &Located, cx: &mut ParseCx<'_>) -> Option<(Option<String>, Option<String>)> {
    let mut fields = Fields::of("`control`", table, cx)?;
    let readers = parsed(&mut fields, "readers", cx, group);
    let changers = parsed(&mut fields, "changers", cx, group);
    fields.finish(cx);
    Some((readers, changers))
}

fn mode(fields: &mut Fields<'_>, cx: &mut ParseCx<'_>) -> Option<DriftMode> {
    parsed(fields, "mode", cx, |text| {
        text.parse().map_err(|_| {
            format!(
                "`{}` is no mode: use \"warn\" (report), \"enabled\" (correct) or \"disabled\" (ignore)",
                text.escape_debug()
            )
        })
    })
}

fn protect(fields: &mut Fields<'_>, cx: &mut ParseCx<'_>) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for At { value, place } in fields.strings("protect", cx).unwrap_or_default() {
        match absolute_path(value) {
            Ok(path) => paths.push(path),
            Err(message) => cx.error("bad-value", place, message, "such as \"/etc/ssh\""),
        }
    }
    paths
}

fn span(
    fields: &mut Fields<'_>,
    key: &'static str,
    shortest: Duration,
    cx: &mut ParseCx<'_>,
) -> Option<Duration> {
    parsed(fields, key, cx, |text| match amounts::duration(text)? {
        span if span < shortest => {
            Err(format!("`{key}` must be at least {}", amounts::show_duration(shortest)))
        }
        span => Ok(span),
    })
}

fn count(fields: &mut Fields<'_>, key: &'static str, cx: &mut ParseCx<'_>) -> Option<u32> {
    let At { value, place } = fields.integer(key, cx)?;
    u32::try_from(value)
        .map_err(|_| cx.error("bad-value", place, format!("`{key}` must be 0 or more"), "such as 10"))
        .ok()
}

fn absolute(fields: &mut Fields<'_>, key: &'static str, cx: &mut ParseCx<'_>) -> Option<PathBuf> {
    parsed(fields, key, cx, absolute_path)
}

fn parsed<T>(
    fields: &mut Fields<'_>,
    key: &'static str,
    cx: &mut ParseCx<'_>,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Option<T> {
    let At { value, place } = fields.string(key, cx)?;
    match parse(value) {
        Ok(value) => Some(value),
        Err(message) => {
            // The messages of these parsers end in what to write instead.
            let (message, hint) = message.split_once(": ").unwrap_or((&message, ""));
            cx.error("bad-value", place, message, hint);
            None
        }
    }
}

fn absolute_path(text: &str) -> Result<PathBuf, String> {
    let plain = !text.split('/').any(|part| part == ".." || part == ".") && !text.contains('\0');
    match text.starts_with('/') && plain {
        true => Ok(PathBuf::from(text)),
        false => Err(format!(
            "`{}` is no absolute path: begin it with / and leave out . and ..",
            text.escape_debug()
        )),
    }
}

/// A folder within the repository; empty and `.` mean its top.
fn folder(text: &str) -> Result<Option<String>, String> {
    let trimmed = text.trim_matches('/');
    if trimmed.is_empty() || trimmed == "." {
        return Ok(None);
    }
    let good = trimmed.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    match good && !trimmed.contains('\0') {
        true => Ok(Some(trimmed.to_owned())),
        false => Err(format!(
            "`{}` is no folder of the repository: write it as fleet/production",
            text.escape_debug()
        )),
    }
}

/// A branch, by the rules of `git check-ref-format` as far as they guard against mischief.
fn branch(text: &str) -> Result<String, String> {
    let odd = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c);
    let bad = text.is_empty()
        || text.starts_with(['-', '/', '.'])
        || text.ends_with(['/', '.'])
        || text.ends_with(".lock")
        || ["..", "//", "@{", "/."].iter().any(|part| text.contains(part))
        || text.chars().any(odd);
    match bad {
        false => Ok(text.to_owned()),
        true => Err(format!(
            "`{}` is no name of a branch: leave out refs/heads/ and special characters",
            text.escape_debug()
        )),
    }
}

fn group(text: &str) -> Result<String, String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-' || b == b'.';
    match (1..=32).contains(&text.len()) && text.bytes().all(allowed) {
        true => Ok(text.to_owned()),
        false => Err(format!("`{}` is no name of a group: write it as in /etc/group", text.escape_debug())),
    }
}
