//! The published schemas say what the compiler takes: the same keys, and every example is valid.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use agentd::declaration::check;
use serde_json::Value;

use super::{files_below, repository};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// The schemas by file name.
pub fn schemas() -> BTreeMap<String, Value> {
    let files = files_below(&root().join("schema"));
    let json = files.into_iter().filter(|(name, _)| name.ends_with(".json"));
    json.map(|(name, bytes)| (name, serde_json::from_slice(&bytes).unwrap())).collect()
}

/// As much of JSON Schema as ours use; a keyword that is not known here fails the test.
pub struct Validator {
    pub schemas: BTreeMap<String, Value>,
}

impl Validator {
    pub fn faults(&self, schema: &Value, value: &Value, at: &str) -> Vec<String> {
        let mut faults = Vec::new();
        for (keyword, rule) in schema.as_object().unwrap() {
            match keyword.as_str() {
                "$schema" | "$defs" | "title" | "description" | "properties" => {}
                "$ref" => {
                    let (file, name) = rule.as_str().unwrap().split_once("#/$defs/").unwrap();
                    faults.extend(self.faults(&self.schemas[file]["$defs"][name], value, at));
                }
                "type" => {
                    let kind = match value {
                        Value::String(_) => "string",
                        Value::Bool(_) => "boolean",
                        Value::Number(number) if number.is_i64() => "integer",
                        Value::Number(_) => "number",
                        Value::Array(_) => "array",
                        Value::Object(_) => "object",
                        Value::Null => "null",
                    };
                    if kind != rule {
                        faults.push(format!("{at}: {kind} is not {rule}"));
                    }
                }
                "enum" if !rule.as_array().unwrap().contains(value) => faults.push(format!("{at}: {value}")),
                "const" if rule != value => faults.push(format!("{at}: {value}")),
                "minimum" if value.as_i64() < rule.as_i64() => faults.push(format!("{at}: {value}")),
                "minItems" if value.as_array().is_some_and(|array| array.is_empty()) => {
                    faults.push(at.to_owned())
                }
                "enum" | "const" | "minimum" | "minItems" => {}
                "anyOf" => {
                    let all = rule.as_array().unwrap().iter().map(|one| self.faults(one, value, at));
                    if all.clone().all(|faults| !faults.is_empty()) {
                        faults.extend(all.flatten());
                    }
                }
                "items" => {
                    for (index, element) in value.as_array().into_iter().flatten().enumerate() {
                        faults.extend(self.faults(rule, element, &format!("{at}[{index}]")));
                    }
                }
                "required" => {
                    for key in rule.as_array().unwrap() {
                        if value.get(key.as_str().unwrap()).is_none() {
                            faults.push(format!("{at}: no {key}"));
                        }
                    }
                }
                "propertyNames" => {
                    assert_eq!(rule["pattern"], "^[A-Za-z_][A-Za-z0-9_]*$");
                }
                "additionalProperties" => {
                    for (key, inner) in value.as_object().into_iter().flatten() {
                        let at = format!("{at}.{key}");
                        match (schema["properties"].get(key), rule) {
                            (Some(property), _) => faults.extend(self.faults(property, inner, &at)),
                            (None, Value::Bool(true)) => {}
                            (None, Value::Bool(false)) => faults.push(format!("{at}: unknown")),
                            (None, other) => faults.extend(self.faults(other, inner, &at)),
                        }
                    }
                }
                other => panic!("{at}: keyword {other}"),
            }
        }
        faults
    }

    fn of(&self, path: &str, text: &[u8]) -> Vec<String> {
        let name = match path.split('/').next().unwrap() {
            "hosts" => "host.json",
            "roles" => "role.json",
            "fleet.toml" => "fleet.json",
            "inventory.toml" => "inventory.json",
            _ => return Vec::new(),
        };
        let document: toml::Table = std::str::from_utf8(text).unwrap().parse().unwrap();
        self.faults(&self.schemas[name], &serde_json::to_value(document).unwrap(), path)
    }
}

#[test]
fn every_example_is_valid_by_the_schemas() {
    let validator = Validator { schemas: schemas() };
    let mut seen = 0;
    for (path, text) in files_below(&root().join("examples")) {
        let (_, path) = path.split_once('/').unwrap();
        assert_eq!(validator.of(path, &text), [""; 0], "{path}");
        seen += usize::from(path.ends_with(".toml"));
    }
    assert!(seen >= 20, "{seen}");
}

#[test]
fn the_schemas_refuse_what_the_compiler_refuses() {
    let validator = Validator { schemas: schemas() };
    for text in [
        "[files.\"/etc/motd\"]\nmode = 644\n",
        "[files.\"/etc/motd\"]\nmoed = \"0644\"\n",
        "[packages]\nnginx = 1.22\n",
        "[services.nginx]\nstate = \"started\"\n",
        "[firewall]\ninput = \"deny\"\n",
        "[pakcages]\n",
        "drift = \"on\"\n",
        "removal_limit = -1\n",
        "[match]\nos_version = 12\n",
    ] {
        assert!(!validator.of("hosts/web-1.toml", text.as_bytes()).is_empty(), "{text}");
    }
    assert!(!validator.of("fleet.toml", b"prune = true\n").is_empty());
}

/// The keys that the compiler names when it is asked for one that is far from all of them.
fn known(path: &str, text: &str) -> BTreeSet<String> {
    let mut texts = vec![(path, text)];
    if path.starts_with("roles/") {
        texts.push(("hosts/web-1.toml", "roles = [\"a\"]\n"));
    }
    let report = check(&repository(&texts));
    let hints = report.findings.iter().filter(|finding| finding.diagnostic.message.contains("zzzzzzzzzz"));
    let hint = hints.filter_map(|finding| finding.diagnostic.hint.as_deref()).next();
    let list = hint.and_then(|hint| hint.strip_prefix("known keys: ")).unwrap_or_else(|| panic!("{report}"));
    list.split(", ").map(str::to_owned).collect()
}

#[test]
fn the_schemas_name_the_keys_that_the_compiler_takes() {
    const UNKNOWN: &str = "zzzzzzzzzz = 1\n";
    let schemas = schemas();
    let keys = |schema: &Value| -> BTreeSet<String> {
        schema["properties"].as_object().unwrap().keys().cloned().collect()
    };
    let shared = |name: &str| &schemas["common.json"]["$defs"][name];
    let cases: [(&str, &str, &Value); 15] = [
        ("fleet.toml", "schema = 1\n", &schemas["fleet.json"]),
        ("roles/a.toml", "", &schemas["role.json"]),
        ("hosts/web-1.toml", "", &schemas["host.json"]),
        ("hosts/web-1.toml", "[match]\n", &schemas["host.json"]["properties"]["match"]),
        ("inventory.toml", "", &schemas["inventory.json"]),
        ("inventory.toml", "[defaults]\n", &schemas["inventory.json"]["properties"]["defaults"]),
        ("hosts/web-1.toml", "[packages.nginx]\n", &shared("package")["anyOf"][1]),
        ("hosts/web-1.toml", "[files.\"/etc/motd\"]\n", shared("file")),
        ("hosts/web-1.toml", "[services.nginx]\n", shared("service")),
        ("hosts/web-1.toml", "[firewall]\n", shared("firewall")),
        ("hosts/web-1.toml", "[firewall.input]\n", &shared("firewall")["properties"]["input"]["anyOf"][1]),
        ("hosts/web-1.toml", "[firewall.rules.x]\n", shared("rule")),
        ("hosts/web-1.toml", "[firewall.sets.x]\n", shared("set")),
        ("hosts/web-1.toml", "[firewall.nat.x]\n", shared("nat")),
        ("hosts/web-1.toml", "[firewall.chains.x]\n", shared("chain")),
    ];
    for (path, text, schema) in cases {
        assert_eq!(known(path, &format!("{text}{UNKNOWN}")), keys(schema), "{path}: {text}");
    }
}
