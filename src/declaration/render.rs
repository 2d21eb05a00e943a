//! Templates: strict, bounded, and with every fault at its place.
//!
//! They see `vars` and `facts` and files of the same repository that they include; no clock, no randomness, no
//! environment. The text of a template is kept as it is: no escaping, the last line break stays. A line that
//! holds nothing but a `{% … %}` block leaves no empty line behind.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value as Jinja, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior};

use super::limits;
use crate::host::facts::Facts;
use crate::kind::fields::nearest_hint;
use crate::model::{Located, Value};

/// Renders templates. One for a whole fleet: what was read for one host serves the next.
pub struct Renderer {
    environment: Environment<'static>,
    shelf: Arc<Mutex<Shelf>>,
}

/// Files that templates may include. The engine asks for them while it renders; what is asked for and not there
/// is fetched from the tree, and the rendering begins again.
#[derive(Default)]
struct Shelf {
    texts: BTreeMap<String, String>,
    missing: Vec<String>,
}

/// What templates see.
#[derive(Clone, Debug)]
pub struct Context(Jinja);

/// How much work is left for a host.
#[derive(Clone, Copy, Debug)]
pub struct Fuel(pub u64);

/// Why something could not be rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderFault {
    /// Stable code.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// The template in which it is wrong: the one that was rendered, or one that it includes.
    pub template: String,
    /// The line in it, from 1.
    pub line: u32,
    /// The bytes in it, where they are known.
    pub range: Option<Range<usize>>,
}

/// How a template gets at the files that it includes.
pub type Include<'a> = &'a mut dyn FnMut(&str) -> Result<String, String>;

impl Context {
    /// The context of one host. `vars` is a table of values that are rendered already.
    pub fn new(host: &str, facts: &Facts, vars: Option<&Located>) -> Self {
        let facts = minijinja::context! { hostname => host, ..Jinja::from(Serde(facts)) };
        let vars = vars.map_or_else(|| plain(&Value::Table(BTreeMap::new())), |vars| plain(&vars.value));
        Context(minijinja::context! { vars, facts })
    }
}

impl Renderer {
    /// A renderer that knows no file yet.
    pub fn new() -> Self {
        let shelf = Arc::new(Mutex::new(Shelf::default()));
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_formatter(plain_formatter);
        environment.set_recursion_limit(50);
        environment.remove_global("debug");
        if let Ok(syntax) =
            SyntaxConfig::builder().keep_trailing_newline(true).trim_blocks(true).lstrip_blocks(true).build()
        {
            environment.set_syntax(syntax);
        }
        let asked = Arc::clone(&shelf);
        environment.set_loader(move |name| {
            let mut shelf = lock(&asked);
            let text = shelf.texts.get(name).cloned();
            if text.is_none() {
                shelf.missing.push(name.to_owned());
            }
            Ok(text)
        });
        Renderer { environment, shelf }
    }

    /// Renders a text; `name` is what its faults call it.
    pub fn render(
        &mut self,
        name: &str,
        text: &str,
        context: &Context,
        fuel: &mut Fuel,
        include: Include<'_>,
    ) -> Result<String, RenderFault> {
        loop {
            let budget = fuel.0.min(limits::RENDER_FUEL);
            self.environment.set_fuel(Some(budget));
            let rendered = self
                .environment
                .template_from_named_str(name, text)
                .and_then(|template| template.render_captured(context.0.clone()))
                .map(|captured| {
                    let used = captured.state().fuel_levels().map_or(0, |(used, _)| used);
                    (captured.into_output(), used)
                });
            let missing = std::mem::take(&mut lock(&self.shelf).missing);
            let error = match rendered {
                Ok((output, used)) => {
                    fuel.0 = fuel.0.saturating_sub(used);
                    return Ok(output);
                }
                Err(error) => error,
            };
            // What a failed attempt used is not told. How often an include can be missing is bounded by itself;
            // every other failure may have used all there was.
            let fetched = self.fetch(missing, include);
            let used = if fetched == Ok(true) { budget / 100 } else { budget };
            fuel.0 = fuel.0.saturating_sub(used);
            match fetched {
                Ok(true) => {}
                Ok(false) => return Err(explain(&error, name, context, None)),
                Err(reason) => return Err(explain(&error, name, context, Some(reason))),
            }
        }
    }

    /// Fetches what was asked for. Says whether anything new came, so that another attempt is worth it.
    fn fetch(&mut self, missing: Vec<String>, include: Include<'_>) -> Result<bool, String> {
        let mut shelf = lock(&self.shelf);
        let mut any = false;
        for name in missing {
            if shelf.texts.len() >= limits::INCLUDES {
                return Err(format!("templates may include {} files at most", limits::INCLUDES));
            }
            let text = include(&name)?;
            any |= shelf.texts.insert(name, text).is_none();
        }
        Ok(any)
    }
}

fn lock(shelf: &Mutex<Shelf>) -> MutexGuard<'_, Shelf> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes what a configuration file can take: `true` and not `True`; and nothing that would only look like
/// a value.
fn plain_formatter(
    out: &mut minijinja::Output<'_>,
    state: &mut minijinja::State<'_, '_>,
    value: &Jinja,
) -> Result<(), Error> {
    let refuse = |what: &str, how: &str| {
        Err(Error::new(ErrorKind::InvalidOperation, format!("{what} can't be written as it is: {how}")))
    };
    match value.kind() {
        ValueKind::Bool => Ok(out.write_str(if value.is_true() { "true" } else { "false" })?),
        ValueKind::None => refuse("none", "give it a value, or ask `if … is none`"),
        ValueKind::Seq | ValueKind::Iterable => {
            refuse("a list", "use `| join(\", \")`, or `| tojson`, or a `for`")
        }
        ValueKind::Map => refuse("a table", "name one of its keys, or use `| tojson`"),
        _ => minijinja::escape_formatter(out, state, value),
    }
}

/// The innermost fault is the one that a person can mend; the outer ones only say who included it.
fn explain(error: &Error, name: &str, context: &Context, not_included: Option<String>) -> RenderFault {
    let chain = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    let inner = chain.filter_map(|error| error.downcast_ref::<Error>()).last().unwrap_or(error);
    let detail = inner.detail().unwrap_or_default();
    let (code, message, hint) = match inner.kind() {
        ErrorKind::UndefinedError => undefined(detail, context),
        ErrorKind::SyntaxError => ("template-syntax", sentence("", detail), None),
        ErrorKind::OutOfFuel => (
            "template-too-large",
            "the template makes too much text, or takes too many steps".to_owned(),
            Some("make it smaller, or name a plain file with `source`".to_owned()),
        ),
        ErrorKind::TemplateNotFound => (
            "no-such-file",
            not_included.unwrap_or_else(|| detail.replace('\'', "`")),
            Some("name a file of this repository by its whole path, such as \"files/common.j2\"".to_owned()),
        ),
        ErrorKind::UnknownFilter => ("template", sentence("there is no ", detail), None),
        ErrorKind::UnknownFunction => ("template", sentence("there is no function ", detail), None),
        ErrorKind::UnknownTest => ("template", sentence("there is no ", detail), None),
        kind => ("template", sentence(&format!("{kind}: "), detail), None),
    };
    RenderFault {
        code,
        message,
        hint,
        template: inner.name().unwrap_or(name).to_owned(),
        line: inner.line().and_then(|line| u32::try_from(line).ok()).unwrap_or(1),
        range: inner.range(),
    }
}

/// "filter foo is unknown" → "there is no filter foo"; and nothing hanging in the air where there is no detail.
fn sentence(lead: &str, detail: &str) -> String {
    let detail = detail.strip_suffix(" is unknown").unwrap_or(detail);
    format!("{lead}{detail}").trim_end_matches([':', ' ']).to_owned()
}

fn undefined(detail: &str, context: &Context) -> (&'static str, String, Option<String>) {
    let expression = detail.strip_prefix('`').and_then(|rest| rest.split('`').next()).unwrap_or_default();
    let hint = match expression.rsplit_once('.') {
        Some((parent, name)) => siblings(parent, context).map(|known| {
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            match (parent, known.is_empty()) {
                ("vars", true) => "define it below [vars] in the host file, a role or fleet.toml".to_owned(),
                (_, true) => format!("`{parent}` is empty"),
                (_, false) => nearest_hint(name, &known).replace("known keys", "defined here"),
            }
        }),
        None => Some("templates see `vars` and `facts`, as in {{ vars.NAME }}".to_owned()),
    };
    let message = if expression.is_empty() {
        "an undefined value is used".into()
    } else {
        format!("`{expression}` is not defined")
    };
    ("undefined-variable", message, hint)
}

/// The names beside the one that is missing, if its parent is a table.
fn siblings(parent: &str, context: &Context) -> Option<Vec<String>> {
    let mut value = context.0.clone();
    for key in parent.split('.') {
        value = value.get_attr(key).ok().filter(|value| !value.is_undefined())?;
    }
    (value.kind() == ValueKind::Map)
        .then(|| value.try_iter().ok())?
        .map(|keys| keys.map(|key| key.to_string()).collect())
}

/// A located value without its places, as templates see it.
fn plain(value: &Value) -> Jinja {
    match value {
        Value::String(text) | Value::Datetime(text) => Jinja::from(text.as_str()),
        Value::Integer(number) => Jinja::from(*number),
        Value::Float(number) => Jinja::from(*number),
        Value::Boolean(value) => Jinja::from(*value),
        Value::Array(elements) => elements.iter().map(|element| plain(&element.value)).collect(),
        Value::Table(table) => {
            Jinja::from_pairs(table.iter().map(|(key, entry)| (key.as_str(), plain(&entry.value.value))))
        }
    }
}
