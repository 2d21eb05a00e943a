//! What `agentctl history --json` prints has the published form, whatever there is to tell.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use agentd::cli::{self, Exit, Outside, Terminal};
use agentd::host::clock::FakeClock;
use agentd::host::files::Root;
use agentd::model::plan::Held;
use agentd::model::{
    CommitId, Digest, FieldDiff, LineAuthor, Place, ResourceId, Revision, Shown, Trigger, Verdict,
};
use agentd::reconcile::Engine;
use agentd::record::{
    DriftId, Effect, Head, Next, Noted, PassCounts, PassResult, PassScope, Record, Retention, Settled,
    Settlement, Sighting,
};
use agentd::worker::Means;
use jiff::Timestamp;
use serde_json::Value;

use crate::declaration::schema::{Validator, schemas};
use crate::events::culprit;

const NOW: &str = "2026-11-23T14:00:00Z";

/// How far a drift came.
enum Course {
    /// Only reported, and why nothing was done, if that is known.
    Held(Option<Held>),
    /// An attempt is under way.
    UnderWay(Effect),
    /// An attempt was made, and what came of it.
    Tried(Effect, Settlement),
}

/// Each way a drift can go.
fn courses() -> Vec<Course> {
    let text = || "text".to_owned();
    let held = [
        Held::Warn,
        Held::Suspended(text()),
        Held::Waiting(text()),
        Held::Failing(text()),
        Held::BackOff(text()),
        Held::Contested(text()),
        Held::RemovalLimit(text()),
    ];
    let settlements = [
        Settlement::Corrected,
        Settlement::Gone,
        Settlement::GivenUp,
        Settlement::Failed(text()),
        Settlement::Waiting(text()),
        Settlement::NotConverging,
        Settlement::Interrupted,
    ];
    let effects = [Effect::Creates, Effect::Changes, Effect::Removes];
    let mut courses = vec![Course::Held(None)];
    courses.extend(held.map(|held| Course::Held(Some(held))));
    courses.extend(effects.map(Course::UnderWay));
    courses.extend(settlements.map(|result| Course::Tried(Effect::Changes, result)));
    courses
}

/// Each word on who wrote a line.
fn line_authors() -> [LineAuthor; 3] {
    let revision = || Revision {
        commit: commit(),
        author: "Anna <anna@example.org>".into(),
        time: Timestamp::UNIX_EPOCH,
        subject: "web: a port".into(),
    };
    [
        LineAuthor::Written { revision: revision(), line: 3 },
        LineAuthor::Older { revision: revision() },
        LineAuthor::Unknown { why: "no such commit".into() },
    ]
}

fn commit() -> CommitId {
    "a".repeat(40).parse().unwrap()
}

fn sighting(number: usize, next: Next) -> Sighting {
    let verdicts = [Verdict::Drifted, Verdict::Behind, Verdict::NotConverging];
    let full = number.is_multiple_of(2);
    Sighting {
        resource: format!("file:/etc/{number}").parse().unwrap(),
        verdict: verdicts[number % verdicts.len()],
        fields: vec![
            FieldDiff::new("mode", "0600", "0644"),
            FieldDiff::new("content", Shown::Content { digest: Digest::of(b"x"), size: 1 }, Shown::Secret),
            FieldDiff::new("owner", Shown::Absent, "root"),
        ],
        place: full.then(|| Place::file("roles/base.toml")),
        prune: false,
        next,
    }
}

/// A host with a record that holds one of everything.
struct Bench {
    state: tempfile::TempDir,
    record: Record,
    clock: Arc<FakeClock>,
}

impl Bench {
    fn new() -> Self {
        let state = tempfile::tempdir().unwrap();
        let clock = Arc::new(FakeClock::at(NOW.parse().unwrap()));
        let (record, _) = Record::open(&Root::open(state.path()).unwrap(), clock.clone()).unwrap();
        Bench { state, record, clock }
    }

    fn begin(&mut self, scope: PassScope, commit: Option<CommitId>) {
        let triggers =
            [Trigger::Boot, Trigger::Revision, Trigger::Request, Trigger::Watch, Trigger::Interval];
        self.record.begin_pass(triggers.into(), scope, commit).unwrap();
    }

    /// One drift of each course, half of them with all that can be known of one.
    fn drifts(&mut self) {
        self.begin(PassScope::Full, Some(commit()));
        self.record.declared_by("Anna <anna@example.org>");
        for (number, course) in courses().into_iter().enumerate() {
            let change = |effect| Next::Change { action: "set mode 0644".into(), effect };
            let next = match &course {
                Course::Held(held) => Next::Held(held.clone()),
                Course::UnderWay(effect) | Course::Tried(effect, _) => change(*effect),
            };
            let drift = self.record.note(&[sighting(number, next)]).unwrap()[0];
            if let Course::Tried(_, result) = course {
                let settled = Settled { drift, result, kept: vec!["20261123-140000-1".into()] };
                self.record.settle(&[settled]).unwrap();
            }
            if number.is_multiple_of(2) {
                self.record.attribute(&[(drift, culprit())]).unwrap();
            }
        }
        let authors = line_authors().into_iter().zip(1..).map(|(author, id)| (DriftId(id), author));
        self.record.demanded(&authors.collect::<Vec<_>>()).unwrap();
        self.record.finish_pass(PassCounts::default(), PassResult::Degraded).unwrap();
    }

    /// A pass of each scope and with each result; one before there was a revision.
    fn passes(&mut self) {
        let only = || PassScope::Only(BTreeSet::from(["file:/etc/motd".parse::<ResourceId>().unwrap()]));
        let results = [PassResult::Synced, PassResult::OutOfSync, PassResult::Failed("text".into())];
        for result in results {
            self.begin(only(), None);
            let counts = PassCounts { observed: 1, ..PassCounts::default() };
            self.record.finish_pass(counts, result).unwrap();
        }
    }

    /// What a command line prints, with how it ended.
    fn ask(&self, line: &[&str], heads: fn() -> Result<Vec<Noted>, String>) -> (Exit, Value) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let path = |name: &str| self.state.path().join(name).display().to_string();
        let (socket, state) = (path("no.sock"), self.state.path().display().to_string());
        let words = ["agentctl", "history", "--json", "--socket", &socket, "--state", &state];
        let words: Vec<_> = words.into_iter().chain(line.iter().copied()).map(Into::into).collect();
        let mut outside = Outside {
            out: &mut out,
            err: &mut err,
            terminal: Terminal::PLAIN,
            clock: self.clock.clone(),
            zone: jiff::tz::TimeZone::UTC,
            here: PathBuf::from("/"),
            host: || Err(std::io::Error::other("sealed")),
            heads,
            engine: || Engine::new(Vec::new()),
            workers: &Means::Processes,
        };
        let exit = cli::run(words, &mut outside);
        let printed = serde_json::from_slice(&out);
        (exit, printed.unwrap_or_else(|_| panic!("{line:?}: {}", String::from_utf8_lossy(&err))))
    }
}

/// No head, since nobody could ask.
fn silent() -> Result<Vec<Noted>, String> {
    Err("there is no journal".into())
}

/// A head of this history that is not so, and one of another history.
fn strange() -> Result<Vec<Noted>, String> {
    let head = Head { seq: 1, digest: Digest::of(b"other") };
    Ok(vec![Noted { history: None, head }, Noted { history: Some(7), head }])
}

fn none() -> Result<Vec<Noted>, String> {
    Ok(Vec::new())
}

/// Everything that `history` may print: the lists, one story, and each end of a verification.
fn printed() -> Vec<Value> {
    let mut bench = Bench::new();
    let mut all = vec![bench.ask(&["--verify"], silent)];
    bench.drifts();
    bench.passes();
    all.extend([
        bench.ask(&["-n", "100"], none),
        bench.ask(&["--passes"], none),
        bench.ask(&["--id", "2"], none),
        bench.ask(&["--verify"], strange),
    ]);
    // Entries that went by age leave the head of the last one behind.
    bench.clock.advance(std::time::Duration::from_secs(400 * 86_400));
    bench.passes();
    bench.record.tidy(&Retention::default()).unwrap();
    all.push(bench.ask(&["--verify"], none));
    let exits: Vec<Exit> = all.iter().map(|(exit, _)| *exit).collect();
    assert_eq!(exits, [Exit::Good, Exit::Good, Exit::Good, Exit::Good, Exit::Differs, Exit::Good]);
    assert_eq!(all[1].1["drifts"].as_array().unwrap().len(), courses().len());
    all.into_iter().map(|(_, value)| value).collect()
}

#[test]
fn whatever_history_prints_has_the_published_form() {
    let validator = Validator { schemas: schemas() };
    let form = &validator.schemas["history.json"];
    let mut told = Told::default();
    for value in printed() {
        let faults = validator.faults(form, &value, "history");
        assert!(faults.is_empty(), "{value:#}: {faults:#?}");
        told.walk(&validator, form, &value, "");
    }
    let mut published = Told::default();
    published.all(&validator, form, "");
    assert_eq!(told.words, published.words, "no form without a sample");
}

#[test]
fn what_is_not_of_the_published_form_is_refused() {
    let validator = Validator { schemas: schemas() };
    let form = &validator.schemas["history.json"];
    let printed: Vec<Value> = printed().iter().flat_map(one_by_one).collect();
    // Each of the fields that are always there, at each depth, taken away once; each word, turned into another.
    let (mut taken, mut turned) = (0, 0);
    for value in &printed {
        for place in places(value, String::new()) {
            let mut without = value.clone();
            let (above, name) = place.rsplit_once('/').unwrap();
            let Some(above) = without.pointer_mut(above).and_then(Value::as_object_mut) else { continue };
            above.remove(name);
            if !OPTIONAL.contains(&name) {
                assert!(!validator.faults(form, &without, "history").is_empty(), "without {place}");
                taken += 1;
            }
            if WORDS.iter().any(|word| place.ends_with(word))
                && value.pointer(&place).is_some_and(Value::is_string)
            {
                let mut other = value.clone();
                *other.pointer_mut(&place).unwrap() = "zzz".into();
                assert!(!validator.faults(form, &other, "history").is_empty(), "{place} is zzz");
                turned += 1;
            }
        }
    }
    assert!(taken > 300 && turned > 50, "{taken} {turned}");
}

/// The same as lists of one.
fn one_by_one(value: &Value) -> Vec<Value> {
    let lists = ["drifts", "passes"].into_iter().filter(|list| value[list].is_array());
    let alone = lists.flat_map(|list| {
        let elements = value[list].as_array().unwrap().iter();
        elements.map(move |one| {
            let mut alone = value.clone();
            (alone["drifts"], alone["passes"]) = (Value::Array(Vec::new()), Value::Array(Vec::new()));
            alone[list] = Value::Array(vec![one.clone()]);
            alone
        })
    });
    let alone: Vec<Value> = alone.collect();
    if alone.is_empty() { vec![value.clone()] } else { alone }
}

/// What need not be there.
const OPTIONAL: [&str; 4] = ["author", "line_author", "column", "length"];

/// Fields that hold one of a few words.
const WORDS: [&str; 6] = ["/verdict", "/result", "held/why", "/known", "/effect", "/confidence"];

fn places(value: &Value, at: String) -> Vec<String> {
    let below: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(name, one)| (format!("{at}/{name}"), one)).collect(),
        Value::Array(list) => {
            list.iter().enumerate().map(|(index, one)| (format!("{at}/{index}"), one)).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    let deeper = below.iter().flat_map(|(at, one)| places(one, at.clone())).collect::<Vec<_>>();
    below.into_iter().map(|(at, _)| at).chain(deeper).collect()
}

/// Which words of the form (of `history.json` itself) were met, by the property that has them.
#[derive(Default)]
struct Told {
    words: BTreeMap<String, BTreeSet<String>>,
}

impl Told {
    fn of_this_file<'a>(validator: &'a Validator, rule: &str) -> Option<&'a Value> {
        let name = rule.strip_prefix("history.json#/$defs/")?;
        Some(&validator.schemas["history.json"]["$defs"][name])
    }

    /// Those that a value meets.
    fn walk(&mut self, validator: &Validator, schema: &Value, value: &Value, property: &str) {
        if let Some(inner) = schema["$ref"].as_str().and_then(|rule| Self::of_this_file(validator, rule)) {
            self.walk(validator, inner, value, property);
        }
        if schema.get("enum").is_some() || schema.get("const").is_some() {
            self.words.entry(property.to_owned()).or_default().insert(value.to_string());
        }
        for one in schema["anyOf"].as_array().into_iter().flatten() {
            if validator.faults(one, value, "").is_empty() {
                self.walk(validator, one, value, property);
            }
        }
        for one in value.as_array().into_iter().flatten() {
            if schema.get("items").is_some() {
                self.walk(validator, &schema["items"], one, property);
            }
        }
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            if let Some(value) = value.get(name) {
                self.walk(validator, inner, value, name);
            }
        }
    }

    /// All that there are.
    fn all(&mut self, validator: &Validator, schema: &Value, property: &str) {
        if let Some(inner) = schema["$ref"].as_str().and_then(|rule| Self::of_this_file(validator, rule)) {
            self.all(validator, inner, property);
        }
        let words = schema["enum"].as_array().cloned().unwrap_or_default();
        for word in words.into_iter().chain(schema.get("const").cloned()) {
            self.words.entry(property.to_owned()).or_default().insert(word.to_string());
        }
        for one in schema["anyOf"].as_array().into_iter().flatten() {
            self.all(validator, one, property);
        }
        if schema.get("items").is_some() {
            self.all(validator, &schema["items"], property);
        }
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            self.all(validator, inner, name);
        }
    }
}
