//! Declared against observed, as data: one line each.

use super::Packages;
use super::diff::{State, difference, find, pruned};
use super::name::PackageName;
use super::reader::table;
use super::spec::{self, Spec, Wish};
use super::status::Status;
use crate::kind::parse::MaterialFault;
use crate::kind::{
    DiffCx, Kind, Levels, Materials, Observed, ParseCx, PruneDefaults, Reaction, Reading, Specs, Want,
};
use crate::model::located::Entry;
use crate::model::{Content, Faults, Key, Located, Place, ResourceId, Value};

fn at(line: u32) -> Place {
    Place { line, ..Place::file("roles/web.toml") }
}

fn located(value: &toml::Value) -> Located {
    let value = match value {
        toml::Value::String(text) => Value::String(text.clone()),
        toml::Value::Integer(number) => Value::Integer(*number),
        toml::Value::Float(number) => Value::Float(*number),
        toml::Value::Boolean(truth) => Value::Boolean(*truth),
        toml::Value::Datetime(time) => Value::Datetime(time.to_string()),
        toml::Value::Array(values) => Value::Array(values.iter().map(located).collect()),
        toml::Value::Table(table) => Value::Table(
            table
                .iter()
                .map(|(key, value)| (key.clone(), Entry { key_place: at(1), value: located(value) }))
                .collect(),
        ),
    };
    Located { value, place: at(1), below: Vec::new() }
}

fn parse(text: &str) -> (Specs<Spec>, Vec<String>) {
    let table: toml::Table = text.parse().unwrap();
    let (mut faults, defaults) = (Faults::default(), PruneDefaults::default());
    let mut cx = ParseCx { faults: &mut faults, materials: &mut NoFiles, prune: &defaults };
    let specs = spec::parse(&located(&toml::Value::Table(table)), &mut cx);
    let faults = faults.into_sorted();
    (specs, faults.into_iter().map(|fault| format!("{}: {}", fault.code, fault.message)).collect())
}

/// The kind takes no file of the repository.
struct NoFiles;

impl Materials for NoFiles {
    fn source(&mut self, path: &str) -> Result<Content, MaterialFault> {
        Err(fault(path))
    }

    fn template(&mut self, path: &str) -> Result<Content, MaterialFault> {
        Err(fault(path))
    }

    fn inline(&mut self, bytes: Vec<u8>) -> Content {
        Content::of(&bytes)
    }
}

fn fault(path: &str) -> MaterialFault {
    MaterialFault { code: "no-such-file", message: path.to_owned(), hint: None, inside: None }
}

/// The wish that one value means, or the faults.
fn wish(value: &str) -> Result<(Wish, Option<bool>), Vec<String>> {
    let (specs, faults) = parse(&format!("nginx = {value}"));
    match specs.get("nginx") {
        Some(declared) if faults.is_empty() => Ok((declared.spec.want.clone(), declared.spec.hold)),
        _ => Err(faults),
    }
}

fn exactly(version: &str) -> Wish {
    Wish::Exactly(version.parse().unwrap())
}

fn at_least(version: &str) -> Wish {
    Wish::AtLeast(version.parse().unwrap())
}

fn one(status: Status, version: &str) -> State {
    State {
        version: version.to_owned(),
        status,
        architecture: "amd64".to_owned(),
        hold: false,
        reinstall_required: false,
    }
}

fn installed(version: &str) -> State {
    one(Status::Installed, version)
}

/// The plan's lines and the fields that differ, for one package.
fn check(want: &Wish, hold: Option<bool>, state: Option<&State>) -> (Vec<String>, Vec<String>) {
    let spec = Spec { want: want.clone(), hold };
    let Some(difference) = difference(&Key::from("nginx"), &spec, state) else { return Default::default() };
    let fields = difference.fields.iter();
    let fields = fields.map(|field| format!("{} {} → {}", field.field, field.observed, field.desired));
    (difference.changes.iter().map(ToString::to_string).collect(), fields.collect())
}

#[track_caller]
fn plans(want: &Wish, state: Option<&State>, line: &str, field: &str) {
    assert_eq!(check(want, None, state), (vec![line.to_owned()], vec![field.to_owned()]));
}

#[track_caller]
fn plans_nothing(want: &Wish, state: Option<&State>) {
    assert_eq!(check(want, None, state), Default::default());
}

#[test]
fn the_shorthand_and_the_table_say_the_same() {
    assert_eq!(wish("'*'"), Ok((Wish::Any, None)));
    assert_eq!(wish("{ }"), Ok((Wish::Any, None)));
    assert_eq!(wish("'1.22.1-9+deb12u3'"), Ok((exactly("1.22.1-9+deb12u3"), None)));
    assert_eq!(wish("{ version = '1.22.1-9' }"), Ok((exactly("1.22.1-9"), None)));
    assert_eq!(wish("'>= 1.22'"), Ok((at_least("1.22"), None)));
    assert_eq!(wish("'>=1:1.22'"), Ok((at_least("1:1.22"), None)));
    assert_eq!(wish("{ version = '1.2', hold = true }"), Ok((exactly("1.2"), Some(true))));
    assert_eq!(wish("{ ensure = 'present', hold = false }"), Ok((Wish::Any, Some(false))));
    assert_eq!(wish("{ ensure = 'absent' }"), Ok((Wish::Absent, None)));
    assert_eq!(wish("{ ensure = 'absent', purge = true }"), Ok((Wish::Purged, None)));
}

#[test]
fn what_makes_no_sense_is_refused_with_its_reason() {
    for (value, begins) in [
        ("1.22", "wrong-type: a package is a version or a table, not a float"),
        ("true", "wrong-type: a package is a version or a table, not a boolean"),
        ("'latest'", "bad-version: \"latest\" is no package version"),
        ("'1.2 || reboot'", "bad-version: "),
        ("'1.2*'", "bad-version: "),
        ("'<= 2'", "bad-version: "),
        ("{ version = 2 }", "wrong-type: `version` must be a string"),
        ("{ ensure = 'gone' }", "bad-value: `ensure` is \"present\" or \"absent\""),
        (
            "{ ensure = 'absent', version = '1' }",
            "contradiction: a version of a package that is to be absent",
        ),
        ("{ ensure = 'absent', hold = true }", "contradiction: a hold on a package that is to be absent"),
        ("{ version = '1', purge = true }", "contradiction: `purge` of a package that is to be there"),
        ("{ verison = '1' }", "unknown-key: unknown key `verison` in a package"),
    ] {
        let faults = wish(value).unwrap_err();
        assert!(faults[0].starts_with(begins), "{value}: {faults:?}");
    }
    let (specs, faults) = parse("\"nginx-\" = '*'\n\"./x.deb\" = '*'\ncurl = '*'");
    assert_eq!((specs.len(), faults.len()), (1, 2), "all faults at once, and the rest is read: {faults:?}");
}

#[test]
fn names_are_checked_again_in_a_desired_state_that_was_handed_over() {
    let (mut specs, _) = parse("nginx = '*'");
    let declared = specs["nginx"].clone();
    specs.insert(Key::from("--purge"), declared);
    assert_eq!(spec::validate(&specs).len(), 1);
    assert!(serde_json::from_str::<Wish>("{\"is\":\"exactly\",\"version\":\"1 -o x\"}").is_err());
}

#[test]
fn one_package_that_is_to_be_there_and_not_is_pointed_out() {
    let (specs, _) = parse("libc6 = '*'\n\"libc6:amd64\" = { ensure = 'absent' }\n\"libc6:i386\" = '*'");
    let faults = spec::validate(&specs);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].message.contains("`libc6:amd64` and `libc6`"));
}

#[test]
fn what_is_as_declared_plans_nothing() {
    let there = installed("1.22.1-9");
    for want in
        [Wish::Any, exactly("1.22.1-9"), exactly("0:1.22.1-9"), at_least("1.22"), at_least("1.22.1-9")]
    {
        plans_nothing(&want, Some(&there));
    }
    plans_nothing(&Wish::Absent, None);
    plans_nothing(&Wish::Purged, None);
    plans_nothing(&Wish::Absent, Some(&one(Status::ConfigFiles, "1.0")));
    plans_nothing(&Wish::Purged, Some(&one(Status::NotInstalled, "")));
}

#[test]
fn each_difference_has_its_change() {
    let there = installed("1.22");
    plans(&Wish::Any, None, "install", "version absent → *");
    plans(&exactly("1.22"), None, "install version 1.22", "version absent → 1.22");
    plans(&at_least("1.22"), None, "install version 1.22 or later", "version absent → >= 1.22");
    plans(&exactly("1.23"), Some(&there), "upgrade 1.22 → 1.23", "version 1.22 → 1.23");
    plans(&at_least("1.23"), Some(&there), "upgrade 1.22 → >= 1.23", "version 1.22 → >= 1.23");
    plans(&exactly("1.21"), Some(&there), "downgrade 1.22 → 1.21", "version 1.22 → 1.21");
    let removed = one(Status::ConfigFiles, "1.22");
    plans(&Wish::Any, Some(&removed), "install", "version absent → *");
    plans(
        &Wish::Absent,
        Some(&there),
        "remove 1.22, keeping its configuration files",
        "ensure 1.22 → absent",
    );
    plans(&Wish::Purged, Some(&there), "purge 1.22 with its configuration files", "ensure 1.22 → absent");
    plans(
        &Wish::Purged,
        Some(&removed),
        "purge its configuration files",
        "ensure configuration files → absent",
    );
}

#[test]
fn what_dpkg_left_half_way_is_repaired() {
    for status in [
        Status::HalfInstalled,
        Status::Unpacked,
        Status::HalfConfigured,
        Status::TriggersAwaited,
        Status::TriggersPending,
    ] {
        let word = status.as_str();
        plans(
            &Wish::Any,
            Some(&one(status, "1.22")),
            &format!("repair: dpkg left it {word}"),
            &format!("status {word} → installed"),
        );
    }
    let broken = State { reinstall_required: true, ..installed("1.22") };
    let field = "status installed, reinstallation required → installed";
    plans(&exactly("1.22"), Some(&broken), "repair: dpkg left it installed", field);
}

#[test]
fn holds_are_managed_only_where_they_are_declared() {
    let free = installed("1.22");
    let held = State { hold: true, ..free.clone() };
    assert_eq!(check(&Wish::Any, None, Some(&held)), Default::default());
    assert_eq!(check(&Wish::Any, Some(true), Some(&held)), Default::default());
    assert_eq!(check(&Wish::Any, Some(true), Some(&free)).0, ["hold against upgrades"]);
    assert_eq!(check(&Wish::Any, Some(true), None).0, ["install", "hold against upgrades"]);
    assert_eq!(check(&exactly("1.23"), Some(false), Some(&held)).0, ["end the hold", "upgrade 1.22 → 1.23"]);
}

#[test]
fn pruning_removes_what_is_there_and_nothing_else() {
    let key = Key::from("nginx");
    let planned = pruned(&key, Some(&installed("1.22"))).unwrap();
    assert_eq!(planned.changes[0].to_string(), "remove 1.22, keeping its configuration files");
    assert_eq!(pruned(&key, None), None);
    assert_eq!(pruned(&key, Some(&one(Status::ConfigFiles, "1.22"))), None);
}

#[test]
fn the_agent_is_never_to_remove_itself() {
    let faults = |text: &str| -> Vec<String> {
        let told = spec::validate(&parse(text).0).into_iter();
        told.map(|fault| format!("{} line {}", fault.code, fault.place.line)).collect()
    };
    for name in ["agentd", "agentd:amd64"] {
        for end in ["{ ensure = 'absent' }", "{ ensure = 'absent', purge = true }"] {
            assert_eq!(faults(&format!("'{name}' = {end}")), ["own-goal line 1"], "{name} {end}");
        }
        for there in ["'*'", "'1.0'", "'>= 1.0'", "{ version = '1.0', hold = true }"] {
            assert_eq!(faults(&format!("'{name}' = {there}")), [""; 0], "{name} {there}");
        }
    }
    assert_eq!(faults("agentd-extra = { ensure = 'absent' }"), [""; 0]);
    // Nor because nobody declares it any more.
    let prune = ["agentd", "nginx"].map(Key::from).into();
    let nothing = Specs::new();
    let want = Want { specs: &nothing, prune: &prune, only: None };
    let there = Reading::Present(installed("1.22"));
    let readings = ["agentd", "nginx"].map(|name| (Key::from(name), there.clone())).into();
    let observed = Observed { readings, notes: Vec::new() };
    let planned = Packages::default().diff(&want, &observed, &DiffCx { levels: &NoLevels });
    let keys: Vec<&str> = planned.iter().map(|difference| difference.key.as_str()).collect();
    assert_eq!(keys, ["nginx"]);
}

/// Packages react to nothing.
struct NoLevels;

impl Levels for NoLevels {
    fn now(&self, _inputs: &[ResourceId]) -> Option<u64> {
        None
    }

    fn seen(&self, _service: &ResourceId, _reaction: Reaction) -> Option<u64> {
        None
    }
}

#[test]
fn an_architecture_stands_for_its_own_package_only() {
    let entry = |name: &str, arch: &str, version: &str| {
        format!(
            "Package: {name}\nStatus: install ok installed\nArchitecture: {arch}\nVersion: {version}\n\
             Multi-Arch: same\n\n"
        )
    };
    let text =
        [entry("libc6", "amd64", "1"), entry("libc6", "i386", "2"), entry("docs", "all", "3")].concat();
    let table = table(&text);
    let version = |name: &str| {
        let name: PackageName = name.parse().unwrap();
        find(&table, &name, "amd64").map(|package| package.version.to_owned())
    };
    assert_eq!(version("libc6").as_deref(), Some("1"));
    assert_eq!(version("libc6:amd64").as_deref(), Some("1"));
    assert_eq!(version("libc6:i386").as_deref(), Some("2"));
    assert_eq!(version("libc6:arm64"), None);
    assert_eq!(version("docs").as_deref(), Some("3"));
    assert_eq!(version("docs:amd64").as_deref(), Some("3"));
    assert_eq!(version("docs:i386"), None);
}

#[test]
fn what_is_declared_from_a_host_parses_back_to_what_is_there() {
    for (key, state) in [
        ("nginx", installed("1.22.1-9")),
        ("g++", State { hold: true, ..installed("4:12.2") }),
        ("libc6:i386", installed("2.36")),
        ("python3.11", one(Status::ConfigFiles, "3.11")),
    ] {
        let text = spec::declare(&Key::from(key), &state);
        let document: toml::Table = text.parse().unwrap();
        let (specs, faults) = parse(&document["packages"].as_table().unwrap().to_string());
        assert_eq!(faults, Vec::<String>::new(), "{text}");
        let declared = &specs[key];
        assert_eq!(difference(&Key::from(key), &declared.spec, Some(&state)), None, "{text}");
    }
}
