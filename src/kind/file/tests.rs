//! Declarations, comparison and plan lines, as data.

use std::collections::BTreeSet;

use super::*;
use crate::host::files::FileType;
use crate::kind::parse::MaterialFault;
use crate::kind::{Change as _, Materials, PruneDefaults, Reading, Want};
use crate::model::located::Entry;
use crate::model::{Content, Faults, Place, Step, Value};

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

/// A repository of two files.
struct Repository;

impl Materials for Repository {
    fn source(&mut self, path: &str) -> Result<Content, MaterialFault> {
        match path {
            "files/motd" => Ok(Content::of(b"motd")),
            _ => Err(MaterialFault {
                code: "no-such-file",
                message: path.to_owned(),
                hint: None,
                inside: None,
            }),
        }
    }

    fn template(&mut self, path: &str) -> Result<Content, MaterialFault> {
        self.source(path)
    }

    fn inline(&mut self, bytes: Vec<u8>) -> Content {
        Content::of(&bytes)
    }
}

fn parse(text: &str) -> (Specs<Spec>, Vec<String>) {
    let table: toml::Table = text.parse().unwrap();
    let (mut faults, defaults) = (Faults::default(), PruneDefaults::default());
    let mut cx = ParseCx { faults: &mut faults, materials: &mut Repository, prune: &defaults };
    let specs = Files::parse(&located(&toml::Value::Table(table)), &mut cx);
    let told = faults.into_sorted().into_iter().map(|fault| {
        let hint = fault.hint.unwrap_or_default();
        format!("{}: {} [{hint}]", fault.code, fault.message)
    });
    (specs, told.collect())
}

fn specs(text: &str) -> Specs<Spec> {
    let (specs, faults) = parse(text);
    assert_eq!(faults, Vec::<String>::new(), "{text}");
    specs
}

/// The one fault of a file that is declared so.
fn fault(fields: &str) -> String {
    let (_, faults) = parse(&format!("[\"/etc/x\"]\n{fields}"));
    assert_eq!(faults.len(), 1, "{fields}: {faults:?}");
    faults.into_iter().next().unwrap()
}

fn root_owned(mode: u32) -> Ownership {
    Ownership { owner: "root".into(), group: "root".into(), mode: Mode::from_bits(mode) }
}

#[test]
fn every_shape_of_a_file_is_read_with_its_defaults() {
    let specs = specs(
        r#"
        "/a/content" = { content = "x" }
        "/a/source" = { source = "files/motd", mode = "4750", owner = "shop", group = "www-data" }
        "/a/template" = { template = "files/motd", check = ["/usr/sbin/visudo", "-cf", "{new}"] }
        "/a/kept" = { ensure = "file", mode = "640" }
        "/a/dir" = { ensure = "directory" }
        "/a/own" = { ensure = "directory", exclusive = true, ignore = ["*.local", "sub/*"], mode = "0700" }
        "/a/link" = { link = "../b" }
        "/a/gone" = { ensure = "absent" }
        "#,
    );
    let of = |path: &str| specs[path].spec.clone();
    let file = |content: Option<&[u8]>, ownership, check: &[&str]| Spec::File {
        content: content.map(Content::of),
        ownership,
        check: check.iter().map(|word| (*word).to_owned()).collect(),
    };
    assert_eq!(of("/a/content"), file(Some(b"x"), root_owned(0o644), &[]));
    let shop = Ownership { owner: "shop".into(), group: "www-data".into(), mode: Mode::from_bits(0o4750) };
    assert_eq!(of("/a/source"), file(Some(b"motd"), shop, &[]));
    let check = ["/usr/sbin/visudo", "-cf", "{new}"];
    assert_eq!(of("/a/template"), file(Some(b"motd"), root_owned(0o644), &check));
    assert_eq!(of("/a/kept"), file(None, root_owned(0o640), &[]));
    let directory = |ownership, exclusive, ignore: &[&str]| Spec::Directory {
        ownership,
        exclusive,
        ignore: ignore.iter().map(|glob| (*glob).to_owned()).collect(),
    };
    assert_eq!(of("/a/dir"), directory(root_owned(0o755), false, &[]));
    assert_eq!(of("/a/own"), directory(root_owned(0o700), true, &["*.local", "sub/*"]));
    assert_eq!(of("/a/link"), Spec::Link { target: "../b".into() });
    assert_eq!(of("/a/gone"), Spec::Absent);
    assert_eq!(Files::validate(&specs), []);
}

#[test]
fn a_mode_as_a_number_is_refused_with_the_string_that_was_meant() {
    for (number, meant) in [
        ("644", "0644"),
        ("0o644", "0644"),
        ("755", "0755"),
        ("0o640", "0640"),
        ("493", "0755"),
        ("1777", "1777"),
        ("7", "0007"),
    ] {
        let fault = fault(&format!("content = \"\"\nmode = {number}"));
        assert_eq!(
            fault,
            format!(
                "mode-as-number: `mode` must be a string: as a number it would mean something else \
                 [mode = \"{meant}\"]"
            )
        );
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (fields, code) in [
        ("", "no-content"),
        ("mode = \"0644\"", "no-content"),
        ("content = \"\"\nsource = \"files/motd\"", "conflicting-keys"),
        ("content = \"\"\nlink = \"x\"", "conflicting-keys"),
        ("content = \"\"\nensure = \"directory\"", "conflicting-keys"),
        ("content = \"\"\nensure = \"absent\"", "conflicting-keys"),
        ("link = \"x\"\nensure = \"absent\"", "conflicting-keys"),
        ("ensure = \"present\"", "bad-value"),
        ("ensure = true", "wrong-type"),
        ("content = 3", "wrong-type"),
        ("source = \"files/no-such\"", "no-such-file"),
        ("content = \"\"\nmoed = \"0644\"", "unknown-key"),
        ("content = \"\"\nmode = \"0844\"", "bad-value"),
        ("content = \"\"\nmode = \"u+x\"", "bad-value"),
        ("content = \"\"\nmode = true", "wrong-type"),
        ("content = \"\"\nowner = \"a:b\"", "bad-value"),
        ("content = \"\"\nowner = 33", "wrong-type"),
        ("content = \"\"\ncheck = \"nginx -t\"", "wrong-type"),
        ("content = \"\"\ncheck = []", "bad-value"),
        ("content = \"\"\ncheck = [\"nginx\", \"-t\"]", "bad-value"),
        ("content = \"\"\ncheck = [\"/usr/sbin/nginx\", 1]", "wrong-type"),
        ("content = \"\"\nexclusive = true", "unfit-key"),
        ("ensure = \"file\"\ncheck = [\"/bin/true\"]", "unfit-key"),
        ("ensure = \"directory\"\ncheck = [\"/bin/true\"]", "unfit-key"),
        ("ensure = \"directory\"\nignore = [\"x\"]", "unfit-key"),
        ("ensure = \"directory\"\nexclusive = true\nignore = [\"../x\"]", "bad-value"),
        ("link = \"\"", "bad-value"),
        ("link = \"x\"\nmode = \"0777\"", "unfit-key"),
        ("ensure = \"absent\"\nowner = \"root\"", "unfit-key"),
    ] {
        let fault = fault(fields);
        assert!(fault.starts_with(&format!("{code}: ")), "{fields}: {fault}");
        assert!(!fault.contains("``"), "{fault}");
    }
}

#[test]
fn all_faults_are_told_at_once_and_the_nearest_key_is_named() {
    let (_, faults) = parse(
        r#"
        "etc/motd" = { content = "" }
        "/proc/x" = { content = "" }
        "/etc/x" = { content = "", moed = "0644", owner = "", mode = 644 }
        "#,
    );
    assert_eq!(faults.len(), 5, "{faults:?}");
    assert!(faults.iter().any(|fault| fault.contains("did you mean `mode`?")), "{faults:?}");
}

#[test]
fn a_file_inside_something_that_is_no_directory_is_refused() {
    let messages = |text: &str| -> Vec<String> {
        Files::validate(&specs(text)).into_iter().map(|fault| fault.message).collect()
    };
    assert_eq!(
        messages("\"/a\" = { content = \"\" }\n\"/a/b/c\" = { content = \"\" }"),
        ["`/a/b/c` cannot be there: `/a` is declared as a regular file"]
    );
    assert_eq!(
        messages("\"/a\" = { link = \"/b\" }\n\"/a/b\" = { content = \"\" }"),
        ["`/a/b` cannot be there: `/a` is declared as a symbolic link"]
    );
    assert_eq!(messages("\"/a\" = { ensure = \"absent\" }\n\"/a/b\" = { ensure = \"absent\" }"), [""; 0]);
    assert_eq!(messages("\"/a\" = { ensure = \"directory\" }\n\"/a/b\" = { content = \"\" }"), [""; 0]);
    assert_eq!(
        messages("\"/bin/x\" = { content = \"\" }\n\"/usr/bin/x\" = { content = \"\" }"),
        ["`/usr/bin/x` and `/bin/x` are the same file"]
    );
}

#[test]
fn the_root_agent_refuses_what_the_compiler_should_have_refused() {
    let mut handed = specs("\"/etc/x\" = { content = \"\", check = [\"/bin/true\"] }");
    let declared = handed.remove("/etc/x").unwrap();
    for path in ["/etc/../proc/x", "/etc/agentd/agent.toml", "relative", "/etc/shadow"] {
        let specs = Specs::from([(Key::from(path), declared.clone())]);
        assert!(!Files::validate(&specs).is_empty(), "{path}");
    }
    for change in [
        |spec: &mut Spec| {
            let Spec::File { check, .. } = spec else { unreachable!() };
            *check = vec!["true".into()];
        },
        |spec: &mut Spec| {
            let Spec::File { ownership, .. } = spec else { unreachable!() };
            ownership.owner = "a\nb".into();
        },
        |spec: &mut Spec| *spec = Spec::Link { target: String::new() },
    ] {
        let mut declared = declared.clone();
        change(&mut declared.spec);
        assert!(!Files::validate(&Specs::from([(Key::from("/etc/x"), declared)])).is_empty());
    }
}

#[test]
fn a_spec_survives_the_way_to_the_root_agent() {
    let specs = specs(
        "\"/a\" = { source = \"files/motd\", check = [\"/bin/true\"] }\n\"/b\" = { ensure = \"directory\", \
         exclusive = true }\n\"/c\" = { link = \"x\" }\n\"/d\" = { ensure = \"absent\" }",
    );
    let text = serde_json::to_string(&specs).unwrap();
    assert_eq!(serde_json::from_str::<Specs<Spec>>(&text).unwrap(), specs);
    assert!(serde_json::from_str::<Mode>("\"99\"").is_err());
}

// Comparison.

struct NoLevels;

impl crate::kind::Levels for NoLevels {
    fn now(&self, _: &[crate::model::ResourceId]) -> Option<u64> {
        None
    }

    fn seen(&self, _: &crate::model::ResourceId, _: crate::kind::Reaction) -> Option<u64> {
        None
    }
}

fn state(kind: FileType, owner: &str, mode: u32, body: Body) -> Reading<State> {
    let mode = Mode::from_bits(mode);
    Reading::Present(State { kind, owner: owner.into(), group: "root".into(), mode, body })
}

/// What a comparison says of one resource: fields, plan line, step.
fn check(declared: &str, observed: &[(&str, Reading<State>)], prune: &[&str]) -> Vec<String> {
    let specs = specs(declared);
    let prune: BTreeSet<Key> = prune.iter().map(|path| Key::from(*path)).collect();
    let want = Want { specs: &specs, prune: &prune, only: None };
    let readings = observed.iter().map(|(path, reading)| (Key::from(*path), reading.clone())).collect();
    let observed = Observed { readings, notes: Vec::new() };
    let differences = Files::new().diff(&want, &observed, &DiffCx { levels: &NoLevels });
    differences
        .into_iter()
        .map(|difference| {
            let fields: Vec<&str> = difference.fields.iter().map(|field| field.field.as_str()).collect();
            let [change] = difference.changes.as_slice() else { panic!("{difference:?}") };
            format!("{} | {change} | {:?} {}", fields.join(","), change.step(), change.removes())
        })
        .collect()
}

#[test]
fn what_is_as_declared_does_not_differ() {
    let same = state(FileType::File, "root", 0o644, Body::Content(Content::of(b"x")));
    assert_eq!(check("\"/a\" = { content = \"x\" }", &[("/a", same)], &[]), [""; 0]);
    let link = state(FileType::Link, "nobody", 0o777, Body::Target("b".into()));
    assert_eq!(check("\"/a\" = { link = \"b\" }", &[("/a", link)], &[]), [""; 0]);
    assert_eq!(check("\"/a\" = { ensure = \"absent\" }", &[("/a", Reading::Absent)], &[]), [""; 0]);
}

#[test]
fn what_is_unknown_is_neither_missing_nor_different() {
    let unknown = Reading::Unknown("permission denied".into());
    assert_eq!(check("\"/a\" = { content = \"x\" }", &[("/a", unknown.clone())], &[]), [""; 0]);
    assert_eq!(check("\"/a\" = { ensure = \"absent\" }", &[("/a", unknown.clone())], &[]), [""; 0]);
    assert_eq!(check("", &[("/a", unknown.clone())], &["/a"]), [""; 0]);
    let extra = state(FileType::File, "root", 0o644, Body::Unread);
    let own = "\"/a\" = { ensure = \"directory\", exclusive = true }";
    assert_eq!(check(own, &[("/a", unknown), ("/a/x", extra)], &[]), [""; 0]);
}

#[test]
fn a_drifted_mode_is_corrected_and_content_left_alone() {
    let found = state(FileType::File, "shop", 0o666, Body::Content(Content::of(b"x")));
    assert_eq!(
        check("\"/a\" = { content = \"x\" }", &[("/a", found)], &[]),
        ["owner,mode | correct /a: owner shop → root, mode 0666 → 0644 | Files false"]
    );
}

#[test]
fn every_other_difference_lays_the_file_down() {
    let declared = "\"/a\" = { content = \"x\" }";
    let found = state(FileType::File, "root", 0o600, Body::Content(Content::of(b"y")));
    let laid = "(1 bytes, 0644 root:root) | Files false";
    assert_eq!(check(declared, &[("/a", found)], &[]), [format!("content,mode | write /a {laid}")]);
    assert_eq!(
        check(declared, &[("/a", Reading::Absent)], &[]),
        [format!("ensure,content | create /a {laid}")]
    );
    let found = state(FileType::Directory, "root", 0o755, Body::Unread);
    assert_eq!(
        check(declared, &[("/a", found)], &[]),
        [format!("ensure,content | replace a directory at /a by /a {laid}")]
    );
    let found = state(FileType::Link, "root", 0o777, Body::Target("c".into()));
    assert_eq!(
        check("\"/a\" = { link = \"b\" }", &[("/a", found)], &[]),
        ["link | point the link /a to b | Files false"]
    );
}

#[test]
fn removals_go_backwards_and_come_after_what_is_laid_down() {
    let file = || state(FileType::File, "root", 0o644, Body::Unread);
    let directory = || state(FileType::Directory, "root", 0o755, Body::Unread);
    let observed = [("/a", directory()), ("/a/b", file()), ("/n", Reading::Absent), ("/x", file())];
    assert_eq!(
        check("\"/n\" = { link = \"x\" }\n\"/x\" = { ensure = \"absent\" }", &observed, &["/a", "/a/b"]),
        [
            "ensure | create the link /n → x | Files false",
            "ensure | remove /x (a regular file) | RemoveFiles true",
            "ensure | remove /a/b (a regular file) | RemoveFiles true",
            "ensure | remove /a (a directory) | RemoveFiles true",
        ]
    );
}

#[test]
fn files_that_decide_about_packages_come_before_packages() {
    let declared = "\"/etc/apt/sources.list\" = { content = \"\" }\n\"/etc/apt.conf\" = { content = \"\" }\n\
                    \"/usr/share/keyrings/shop.gpg\" = { ensure = \"absent\" }";
    let observed = [
        ("/etc/apt.conf", Reading::Absent),
        ("/etc/apt/sources.list", Reading::Absent),
        ("/usr/share/keyrings/shop.gpg", state(FileType::File, "root", 0o644, Body::Unread)),
    ];
    let steps: Vec<String> = check(declared, &observed, &[])
        .into_iter()
        .map(|line| line.rsplit_once("| ").unwrap().1.to_owned())
        .collect();
    assert_eq!(steps, ["Files false", "AptSources false", "RemoveAptSources true"]);
    assert!(Step::AptSources < Step::Packages);
}

#[test]
fn only_the_nearest_declared_directory_decides_about_what_lies_in_it() {
    let extra = || state(FileType::File, "root", 0o644, Body::Unread);
    let directory = || state(FileType::Directory, "root", 0o755, Body::Unread);
    let declared =
        "\"/a\" = { ensure = \"directory\", exclusive = true }\n\"/a/b\" = { ensure = \"directory\" }";
    let observed =
        [("/a", directory()), ("/a/b", directory()), ("/a/b/x", extra()), ("/a/x", extra()), ("/z", extra())];
    assert_eq!(check(declared, &observed, &[]), ["ensure | remove /a/x (a regular file) | RemoveFiles true"]);
}

#[test]
fn what_is_there_can_be_declared_as_it_is() {
    let declare = |path: &str, reading: Reading<State>| {
        let Reading::Present(state) = reading else { panic!() };
        Files::declare(&Key::from(path), &state)
    };
    let file = state(FileType::File, "shop", 0o600, Body::Content(Content::of(b"x")));
    assert_eq!(
        declare("/etc/a b", file),
        "[files.\"/etc/a b\"]\nsource = \"files/etc/a b\"\nowner = \"shop\"\nmode = \"0600\"\n"
    );
    let directory = state(FileType::Directory, "root", 0o755, Body::Unread);
    assert_eq!(declare("/etc/a", directory), "[files.\"/etc/a\"]\nensure = \"directory\"\n");
    let link = state(FileType::Link, "root", 0o777, Body::Target("b".into()));
    let text = declare("/etc/a", link);
    assert_eq!(text, "[files.\"/etc/a\"]\nlink = \"b\"\n");
    let tables: toml::Table = text.parse().unwrap();
    let files = toml::to_string(&tables["files"]).unwrap();
    assert_eq!(parse(&files).1, [""; 0]);
}

#[test]
fn files_are_watched_by_their_folders_and_exclusive_directories_as_a_whole() {
    let specs =
        specs("\"/motd\" = { content = \"\" }\n\"/a/b\" = { ensure = \"directory\", exclusive = true }");
    let watches: Vec<String> = Files::watches(&specs)
        .into_iter()
        .map(|watch| format!("{} {:?} {:?}", watch.folder.display(), watch.name, watch.look_at))
        .collect();
    assert_eq!(watches.len(), 3);
    assert!(watches[0].starts_with("/a/b None "), "{watches:?}");
    assert!(watches[1].starts_with("/a Some(\"b\") "), "{watches:?}");
    assert!(watches[2].starts_with("/ Some(\"motd\") "), "{watches:?}");
}
