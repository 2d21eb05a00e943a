//! From TOML to specs. Pure; what it needs of the repository it asks `cx.materials` for.

use super::path;
use super::spec::{Mode, Ownership, Spec};
use crate::kind::fields::At;
use crate::kind::{Declared, Fields, ParseCx, Specs};
use crate::model::{Content, Key, Located, Place, Value, word};

const WHAT: &str = "a file";

/// What a key may be about, from the other keys it stands with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    File,
    Directory,
    Link,
    Absent,
}

pub(super) fn parse(table: &Located, cx: &mut ParseCx<'_>) -> Specs<Spec> {
    let mut specs = Specs::new();
    let Value::Table(entries) = &table.value else {
        let message = format!("`files` must be a table, not {}", table.value.type_name());
        cx.error("wrong-type", &table.place, message, "write [files.\"/etc/motd\"]");
        return specs;
    };
    for (path, entry) in entries {
        if let Err(wrong) = path::well_formed(path) {
            cx.error(wrong.code, &entry.key_place, wrong.message, wrong.hint);
            continue;
        }
        let Some(mut fields) = Fields::of(WHAT, &entry.value, cx) else { continue };
        let spec = spec(&entry.value, &mut fields, cx);
        // Also of a file with a fault: what every resource may say of itself is not unknown because of it.
        let Declared { spec: (), provenance, drift, prune } = cx.declared((), &entry.value, &mut fields);
        fields.finish(cx);
        let Some(spec) = spec else { continue };
        let declared = Declared { spec, provenance, drift, prune };
        match path::folly(path, &declared.spec) {
            Ok(()) => {
                specs.insert(Key::from(path.as_str()), declared);
            }
            Err(wrong) => cx.error(wrong.code, &entry.key_place, wrong.message, wrong.hint),
        }
    }
    specs
}

/// Reads every field, so that all faults are told at once; none if one of them leaves the spec unclear.
fn spec(located: &Located, fields: &mut Fields<'_>, cx: &mut ParseCx<'_>) -> Option<Spec> {
    let ensure = ensure(fields, cx);
    let content = content(fields, cx);
    let link = fields.string("link", cx);
    let given = Given {
        owner: name("owner", fields, cx),
        group: name("group", fields, cx),
        mode: mode(fields, cx),
        check: check(fields, cx),
        exclusive: fields.get("exclusive").map(|located| &located.place).zip(fields.boolean("exclusive", cx)),
        ignore: ignore(fields, cx),
    };
    let shape = shape(located, ensure?, &content, link, cx)?;
    given.refuse_what_does_not_fit(shape, content.as_ref().ok()?.as_ref(), cx)?;
    let ownership = |mode| given.ownership(mode);
    match shape {
        Shape::File => {
            let content = content.ok()?.map(|(content, _)| content);
            let check = given.check.as_ref().ok()?.as_ref().map(|(check, _)| check.clone());
            Some(Spec::File { content, ownership: ownership(0o644)?, check: check.unwrap_or_default() })
        }
        Shape::Directory => {
            let exclusive = given.exclusive.is_some_and(|(_, exclusive)| exclusive);
            let ignore = given.ignore.as_ref().ok()?.as_ref().map(|(ignore, _)| ignore.clone());
            Some(Spec::Directory {
                ownership: ownership(0o755)?,
                exclusive,
                ignore: ignore.unwrap_or_default(),
            })
        }
        Shape::Link => link.and_then(|target| link_target(target, cx)),
        Shape::Absent => Some(Spec::Absent),
    }
}

/// A field that may be missing (`Ok(None)`), there, or wrong (`Err`, and told).
type Field<'a, T> = Result<Option<(T, &'a Place)>, ()>;

struct Given<'a> {
    owner: Field<'a, String>,
    group: Field<'a, String>,
    mode: Field<'a, Mode>,
    check: Field<'a, Vec<String>>,
    exclusive: Option<(&'a Place, bool)>,
    ignore: Field<'a, Vec<String>>,
}

impl Given<'_> {
    fn ownership(&self, default: u32) -> Option<Ownership> {
        let name = |field: &Field<'_, String>| match field {
            Ok(Some((name, _))) => Some(word::shared(name)),
            Ok(None) => Some(word::shared("root")),
            Err(()) => None,
        };
        let mode = match &self.mode {
            Ok(Some((mode, _))) => *mode,
            Ok(None) => Mode::from_bits(default),
            Err(()) => return None,
        };
        Some(Ownership { owner: name(&self.owner)?, group: name(&self.group)?, mode })
    }

    fn refuse_what_does_not_fit(
        &self,
        shape: Shape,
        content: Option<&(Content, &Place)>,
        cx: &mut ParseCx<'_>,
    ) -> Option<()> {
        fn at<'a, T>(field: &Field<'a, T>) -> Option<&'a Place> {
            field.as_ref().ok().and_then(Option::as_ref).map(|(_, place)| *place)
        }
        let owning = [("owner", at(&self.owner)), ("group", at(&self.group)), ("mode", at(&self.mode))];
        let check = ("check", at(&self.check));
        let inside = [("exclusive", self.exclusive.map(|(place, _)| place)), ("ignore", at(&self.ignore))];
        let unfit: Vec<(&str, Option<&Place>)> = match shape {
            Shape::File if content.is_some() => inside.into_iter().collect(),
            Shape::File => inside.into_iter().chain([check]).collect(),
            Shape::Directory if self.exclusive.is_some_and(|(_, exclusive)| exclusive) => vec![check],
            Shape::Directory => vec![check, inside[1]],
            Shape::Link | Shape::Absent => inside.into_iter().chain(owning).chain([check]).collect(),
        };
        let mut fits = Some(());
        for (key, place) in unfit {
            let Some(place) = place else { continue };
            let (why, hint) = match (shape, key) {
                (Shape::File, "check") => ("needs a content", "add content, source or template"),
                (Shape::Directory, "ignore") => ("needs `exclusive = true`", "add it, or take this out"),
                (Shape::Link, _) => ("means nothing for a link", "take it out"),
                (Shape::Absent, _) => ("means nothing for what is absent", "take it out"),
                (Shape::File, _) => ("is for directories only", "take it out"),
                (Shape::Directory, _) => ("is for files only", "take it out"),
            };
            cx.error("unfit-key", place, format!("`{key}` {why}"), hint);
            fits = None;
        }
        fits
    }
}

/// `ensure`, if it is there; `Err` becomes `None` of the outer option.
fn ensure<'a>(fields: &mut Fields<'a>, cx: &mut ParseCx<'_>) -> Option<Option<(Shape, &'a Place)>> {
    let there = fields.get("ensure").is_some();
    let Some(At { value, place }) = fields.string("ensure", cx) else {
        return (!there).then_some(None);
    };
    let shape = match value {
        "file" => Shape::File,
        "directory" => Shape::Directory,
        "absent" => Shape::Absent,
        _ => {
            let message = format!("`ensure` cannot be \"{value}\"");
            let hint = "use \"file\", \"directory\" or \"absent\"; for a link write link = \"target\"";
            cx.error("bad-value", place, message, hint);
            return None;
        }
    };
    Some(Some((shape, place)))
}

fn shape(
    located: &Located,
    ensure: Option<(Shape, &Place)>,
    content: &Field<'_, Content>,
    link: Option<At<'_, &str>>,
    cx: &mut ParseCx<'_>,
) -> Option<Shape> {
    let content = content.as_ref().ok()?.as_ref().map(|(_, place)| *place);
    let shape = match (ensure, content, &link) {
        (None | Some((Shape::File, _)), Some(_), None) => Shape::File,
        (None, None, Some(_)) => Shape::Link,
        (Some((shape, _)), None, None) => shape,
        (None, None, None) => {
            let message = "this file has neither a content nor an `ensure`";
            let hint = "add one of content, source, template, link; or ensure = \"directory\" or \"absent\"";
            cx.error("no-content", &located.place, message, hint);
            return None;
        }
        (_, Some(place), _) | (Some((_, place)), None, Some(_)) => {
            let message = "this says two different things at once";
            let hint =
                "use one of: content, source or template; link; ensure = \"directory\"; ensure = \"absent\"";
            cx.error("conflicting-keys", place, message, hint);
            return None;
        }
    };
    Some(shape)
}

fn content<'a>(fields: &mut Fields<'a>, cx: &mut ParseCx<'_>) -> Field<'a, Content> {
    const KEYS: [&str; 3] = ["content", "source", "template"];
    let mut found: Field<'a, Content> = Ok(None);
    let mut first = None;
    for key in KEYS {
        let there = fields.get(key).is_some();
        let Some(At { value, place }) = fields.string(key, cx) else {
            if there {
                found = Err(());
            }
            continue;
        };
        if let Some(first) = first {
            let message = format!("`{key}` and `{first}` both give a content");
            cx.error("conflicting-keys", place, message, "keep one of them");
            found = Err(());
            continue;
        }
        first = Some(key);
        let content = match key {
            "content" => Some(cx.materials.inline(value.as_bytes().to_vec())),
            "source" => {
                let got = cx.materials.source(value);
                cx.material(place, got)
            }
            _ => {
                let got = cx.materials.template(value);
                cx.material(place, got)
            }
        };
        found = match (content, found) {
            (Some(content), Ok(_)) => Ok(Some((content, place))),
            _ => Err(()),
        };
    }
    found
}

fn name<'a>(key: &'static str, fields: &mut Fields<'a>, cx: &mut ParseCx<'_>) -> Field<'a, String> {
    let there = fields.get(key).is_some();
    match fields.string(key, cx) {
        Some(At { value, place }) => match account_name(value) {
            Ok(()) => Ok(Some((value.to_owned(), place))),
            Err(message) => {
                cx.error(
                    "bad-value",
                    place,
                    format!("`{key}`: {message}"),
                    "use a name, such as \"www-data\"",
                );
                Err(())
            }
        },
        None if there => Err(()),
        None => Ok(None),
    }
}

/// Whether a text can name a user or group (`useradd(8)` is stricter; LDAP is not).
pub(super) fn account_name(name: &str) -> Result<(), String> {
    let odd = |c: char| c.is_whitespace() || c.is_control() || ":/,".contains(c);
    if name.is_empty() || name.len() > 255 || name.starts_with('-') || name.contains(odd) {
        return Err(format!("`{name}` is no name of a user or group"));
    }
    Ok(())
}

fn mode<'a>(fields: &mut Fields<'a>, cx: &mut ParseCx<'_>) -> Field<'a, Mode> {
    let Some(located) = fields.get("mode") else { return Ok(None) };
    let place = &located.place;
    match &located.value {
        Value::String(text) => match text.parse() {
            Ok(mode) => Ok(Some((mode, place))),
            Err(message) => {
                cx.error("bad-value", place, message, "mode = \"0644\"");
                Err(())
            }
        },
        Value::Integer(number) => {
            let message = "`mode` must be a string: as a number it would mean something else";
            cx.error("mode-as-number", place, message, format!("mode = \"{}\"", meant(*number)));
            Err(())
        }
        other => {
            let message = format!("`mode` must be a string, not {}", other.type_name());
            cx.error("wrong-type", place, message, "mode = \"0644\"");
            Err(())
        }
    }
}

/// The mode that was probably meant by a number: its digits, if they are octal (`644`); its value where that
/// is what an octal literal (`0o644`) gave.
fn meant(number: i64) -> Mode {
    // Octal literals of common modes whose decimal digits look octal too: 0o644, 0o640, 0o400.
    const LITERALS: [i64; 3] = [0o644, 0o640, 0o400];
    let digits = u32::from_str_radix(&number.to_string(), 8).ok().filter(|bits| *bits <= 0o7777);
    match (digits, u32::try_from(number)) {
        (Some(bits), _) if !LITERALS.contains(&number) => Mode::from_bits(bits),
        (_, Ok(bits)) if bits <= 0o7777 => Mode::from_bits(bits),
        _ => Mode::from_bits(0o644),
    }
}

fn check<'a>(fields: &mut Fields<'a>, cx: &mut ParseCx<'_>) -> Field<'a, Vec<String>> {
    let Some(located) = fields.get("check") else { return Ok(None) };
    let place = &located.place;
    if let Value::String(_) = &located.value {
        let hint = "check = [\"/usr/sbin/visudo\", \"-cf\", \"{new}\"]";
        cx.error("wrong-type", place, "`check` is a program and its arguments, there is no shell", hint);
        return Err(());
    }
    let before = cx.faults.as_slice().len();
    let words = fields.strings("check", cx).unwrap_or_default();
    let words: Vec<String> = words.into_iter().map(|word| word.value.to_owned()).collect();
    if cx.faults.as_slice().len() > before {
        return Err(());
    }
    match check_program(&words) {
        Ok(()) => Ok(Some((words, place))),
        Err(message) => {
            cx.error("bad-value", place, message, "check = [\"/usr/sbin/visudo\", \"-cf\", \"{new}\"]");
            Err(())
        }
    }
}

/// Whether a check can be run: an absolute program, and no text a program cannot take.
pub(super) fn check_program(words: &[String]) -> Result<(), String> {
    match words.first() {
        None => Err("`check` needs a program".to_owned()),
        Some(program) if path::well_formed(program).is_err() => {
            Err(format!("`{program}` is no absolute path of a program"))
        }
        Some(_) if words.iter().any(|word| word.contains('\0')) => {
            Err("`check` has an argument with a zero byte".to_owned())
        }
        Some(_) => Ok(()),
    }
}

fn ignore<'a>(fields: &mut Fields<'a>, cx: &mut ParseCx<'_>) -> Field<'a, Vec<String>> {
    let Some(located) = fields.get("ignore") else { return Ok(None) };
    let before = cx.faults.as_slice().len();
    let globs = fields.strings("ignore", cx).unwrap_or_default();
    for glob in &globs {
        if glob.value.is_empty() || glob.value.starts_with('/') || glob.value.contains("..") {
            let message = format!("`{}` is no name or path within the directory", glob.value);
            cx.error(
                "bad-value",
                glob.place,
                message,
                "use a name such as \"*.local\", or \"conf.d/*.local\"",
            );
        }
    }
    if cx.faults.as_slice().len() > before {
        return Err(());
    }
    Ok(Some((globs.into_iter().map(|glob| glob.value.to_owned()).collect(), &located.place)))
}

fn link_target(target: At<'_, &str>, cx: &mut ParseCx<'_>) -> Option<Spec> {
    let At { value, place } = target;
    if value.is_empty() || value.len() > 4095 || value.chars().any(char::is_control) {
        cx.error(
            "bad-value",
            place,
            "this cannot be the target of a link",
            "link = \"../sites-available/shop\"",
        );
        return None;
    }
    Some(Spec::Link { target: value.to_owned() })
}
