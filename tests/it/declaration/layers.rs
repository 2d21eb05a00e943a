//! Layers, variables, selection of host files, pruning.

use agentd::declaration::{ContentAt, check, compile};
use agentd::kind::package::Wish;
use agentd::model::{DriftMode, Key};

use super::{codes, compiled, facts, joined, repository};

const CURL: &str = "[packages]\ncurl = \"*\"\n";

fn wish(compiled: &agentd::declaration::Compiled, package: &str) -> String {
    compiled.desired.package[&Key::from(package)].spec.want.to_string()
}

#[test]
fn later_layers_win_key_by_key_and_the_others_are_remembered() {
    let compiled = compiled(
        &[
            ("fleet.toml", "schema = 1\n[packages]\ncurl = \"1-1\"\nvim = \"*\"\n"),
            ("roles/a.toml", "[packages]\ncurl = \"2-1\"\nhtop = \"*\"\n"),
            ("hosts/web-1.toml", "roles = [\"a\"]\n[packages]\ncurl = \"3-1\"\n"),
        ],
        "web-1",
    );
    assert_eq!(wish(&compiled, "curl"), "3-1");
    assert_eq!((wish(&compiled, "vim"), wish(&compiled, "htop")), ("*".into(), "*".into()));
    let provenance = &compiled.desired.package[&Key::from("curl")].provenance;
    assert_eq!(provenance.winner.to_string(), "hosts/web-1.toml:3");
    let below: Vec<String> = provenance.below.iter().map(ToString::to_string).collect();
    assert_eq!(below, ["fleet.toml:3", "roles/a.toml:2"]);
    assert_eq!(
        (compiled.desired.host.as_str(), compiled.desired.roles.as_slice()),
        ("web-1", &["a".to_owned()][..])
    );
}

#[test]
fn the_host_file_decides_between_roles_that_disagree() {
    let roles =
        [("roles/a.toml", "[packages]\ncurl = \"1\"\n"), ("roles/b.toml", "[packages]\ncurl = \"2\"\n")];
    let host = |text| [roles[0], roles[1], ("hosts/web-1.toml", text)];
    assert_eq!(codes(&host("roles = [\"a\", \"b\"]\n"), "web-1"), ["roles-disagree"]);
    let decided =
        compiled(&host("roles = [\"a\", \"b\"]\n[packages]\ncurl = { ensure = \"absent\" }\n"), "web-1");
    assert_eq!(decided.desired.package[&Key::from("curl")].spec.want, Wish::Absent);
    let alone = compiled(&host("roles = [\"b\"]\n"), "web-1");
    assert_eq!(wish(&alone, "curl"), "2");
}

#[test]
fn the_fleet_file_does_not_decide_between_roles() {
    let texts = [
        ("fleet.toml", "schema = 1\n[packages]\ncurl = \"0\"\n"),
        ("roles/a.toml", "[packages]\ncurl = \"1\"\n"),
        ("roles/b.toml", "[packages]\ncurl = \"2\"\n"),
        ("hosts/web-1.toml", "roles = [\"a\", \"b\"]\n"),
    ];
    assert_eq!(codes(&texts, "web-1"), ["roles-disagree"]);
}

#[test]
fn the_example_of_the_contract_is_read_as_it_stands() {
    // Written below [match], `roles` is a key of that table for TOML.
    let host = "[match]\nhostname = \"web-*\"\nroles = [\"base\"]\n\n[vars]\nlisten = 8080\n";
    let compiled = compiled(&[("hosts/web.toml", host), ("roles/base.toml", CURL)], "web-7");
    assert_eq!(compiled.desired.roles, ["base"]);
    assert_eq!(compiled.desired.host_file.unwrap().to_string(), "hosts/web.toml:1");
}

#[test]
fn a_name_beats_a_pattern_and_a_pattern_beats_facts() {
    let package = |name: &str| format!("[packages]\n{name} = \"*\"\n");
    let (facts_only, pattern, name) = (
        format!("[match]\nos_version = \"12\"\n{}", package("by-facts")),
        format!("[match]\nhostname = \"web-*\"\n{}", package("by-pattern")),
        package("by-name"),
    );
    let texts = [
        ("hosts/debian.toml", facts_only.as_str()),
        ("hosts/web.toml", pattern.as_str()),
        ("hosts/web-1.toml", name.as_str()),
    ];
    for (host, package) in
        [("web-1", "by-name"), ("WEB-1", "by-name"), ("web-2", "by-pattern"), ("db-1", "by-facts")]
    {
        let compiled = compiled(&texts, host);
        assert!(compiled.desired.package.contains_key(&Key::from(package)), "{host}");
    }
}

#[test]
fn conditions_on_facts_choose_between_files_of_the_same_pattern() {
    let of = |version: &str, package: &str| {
        format!(
            "[match]\nhostname = \"*\"\nos_version = \"{version}\"\nmemory_min = \"4GiB\"\ncpus_min = 2\n\
                 labels = {{ site = [\"ber\", \"fra\"] }}\n[packages]\n{package} = \"*\"\n"
        )
    };
    let (old, new) = (of("12", "old"), of("13", "new"));
    let files = repository(&[("hosts/old.toml", old.as_str()), ("hosts/new.toml", new.as_str())]);
    let mut facts = facts();
    assert!(compile(&files, "x", &facts).unwrap().desired.package.contains_key(&Key::from("old")));
    facts.os_version = "13".into();
    assert!(compile(&files, "x", &facts).unwrap().desired.package.contains_key(&Key::from("new")));
    facts.labels.clear();
    let faults = compile(&files, "x", &facts).unwrap_err();
    assert_eq!(faults[0].code, "no-host-file");
    assert!(joined(&faults).contains("hosts/new.toml (*)"), "{}", joined(&faults));
}

#[test]
fn an_invalid_host_name_matches_nothing() {
    let texts = [("hosts/all.toml", "[match]\nhostname = \"*\"\n[packages]\ncurl = \"*\"\n")];
    for host in ["", "../web-1", "web 1", "web\0", "wéb-1", "a/b"] {
        assert_eq!(codes(&texts, host), ["bad-host-name"], "{host:?}");
    }
}

#[test]
fn variables_are_merged_and_see_facts_and_lower_layers() {
    let compiled = compiled(
        &[
            (
                "fleet.toml",
                "schema = 1\n[vars]\nversion = \"{{ facts.cpus }}\"\n[vars.a]\nx = \"1\"\ny = \"1\"\n",
            ),
            (
                "roles/r.toml",
                "[vars]\nversion = \"{{ vars.version }}.{{ vars.a.x }}\"\n[packages]\ncurl = \"{{ vars.version }}-{{ vars.a.y }}\"\n",
            ),
            ("hosts/web-1.toml", "roles = [\"r\"]\n[vars.a]\ny = \"{{ facts.hostname | length }}\"\n"),
        ],
        "web-1",
    );
    assert_eq!(wish(&compiled, "curl"), "4.1-5");
}

#[test]
fn between_roles_the_later_variable_wins_without_a_fault() {
    let compiled = compiled(
        &[
            ("roles/a.toml", "[vars]\nv = \"1\"\n[packages]\ncurl = \"{{ vars.v }}\"\n"),
            ("roles/b.toml", "[vars]\nv = \"2\"\n"),
            ("hosts/web-1.toml", "roles = [\"a\", \"b\"]\n"),
        ],
        "web-1",
    );
    assert_eq!(wish(&compiled, "curl"), "2");
}

#[test]
fn what_a_higher_layer_replaced_is_never_rendered() {
    let compiled = compiled(
        &[
            ("roles/a.toml", "[packages]\ncurl = \"{{ vars.missing }}\"\n"),
            ("hosts/web-1.toml", "roles = [\"a\"]\n[packages]\ncurl = \"1\"\n"),
        ],
        "web-1",
    );
    assert_eq!(wish(&compiled, "curl"), "1");
}

#[test]
fn a_rendered_string_may_not_hold_what_a_written_one_may_not() {
    let host = "[packages]\ncurl = '1{{ \"\\x1b[31m\" }}'\n";
    assert_eq!(codes(&[("hosts/web-1.toml", host)], "web-1")[0], "control-character");
}

#[test]
fn policy_comes_from_the_highest_layer_that_has_it() {
    let fleet = ("fleet.toml", "schema = 1\ndrift = \"warn\"\nremoval_limit = 3\n");
    let of = |host: &str| {
        compiled(&[fleet, ("hosts/web-1.toml", &format!("{host}{CURL}"))], "web-1").desired.policy
    };
    assert_eq!((of("").drift, of("").removal_limit), (DriftMode::Warn, 3));
    assert_eq!(
        (of("drift = \"enabled\"\n").drift, of("removal_limit = 0\n").removal_limit),
        (DriftMode::Enabled, 0)
    );
}

#[test]
fn pruning_is_decided_by_resource_then_layer_then_fleet() {
    let compiled = compiled(
        &[
            ("fleet.toml", "schema = 1\nprune = true\n[packages]\nfleet = \"*\"\n"),
            (
                "roles/a.toml",
                "prune = false\n[packages]\nrole = \"*\"\nboth = \"1\"\nown = { prune = true }\n",
            ),
            ("hosts/web-1.toml", "roles = [\"a\"]\n[packages]\nhost = \"*\"\nboth = \"2\"\n"),
        ],
        "web-1",
    );
    let prune = |package: &str| compiled.desired.package[&Key::from(package)].prune;
    assert!(prune("fleet") && prune("own") && prune("host"));
    assert!(!prune("role") && !prune("both"), "the highest layer with a word of its own is the role");
}

#[test]
fn a_fault_in_any_host_file_refuses_the_commit_for_every_host() {
    let texts = [("hosts/web-1.toml", CURL), ("hosts/db-1.toml", "[packages\n")];
    assert_eq!(codes(&texts, "web-1"), ["syntax"]);
    assert_eq!(codes(&texts, "db-1"), ["syntax"], "and not that no file matches");
}

#[test]
fn the_inventory_is_not_read_for_a_host() {
    let texts = [("hosts/web-1.toml", CURL), ("inventory.toml", "not toml at all")];
    compiled(&texts, "web-1");
    assert!(check(&repository(&texts)).has_errors());
}

#[test]
fn two_hosts_of_a_class_have_one_fingerprint() {
    let host = "[match]\nhostname = \"web-*\"\n[packages]\ncurl = \"{{ vars.v }}\"\n[vars]\nv = \"1\"\n";
    let texts = [("hosts/web.toml", host)];
    let root = |name: &str| compiled(&texts, name).desired.fingerprint().root();
    assert_eq!(root("web-1"), root("web-2"));
}

#[test]
fn a_service_reacts_only_to_what_is_declared() {
    let of = |input: &str| {
        let host = format!("[packages]\nnginx = \"*\"\n[services.nginx]\nrestart_on = [\"{input}\"]\n");
        compile(&repository(&[("hosts/web-1.toml", &host)]), "web-1", &facts())
    };
    assert!(of("package:nginx").is_ok());
    let faults = of("package:ngnix").unwrap_err();
    assert_eq!(faults[0].code, "unknown-resource");
    assert_eq!(faults[0].hint.as_deref(), Some("did you mean `package:nginx`?"));
    assert_eq!((faults[0].place.line, faults[0].place.column), (4, 15));
}

#[test]
fn contents_can_be_had_by_what_the_desired_state_names() {
    let host = "[vars]\nname = \"world\"\n[files.\"/a\"]\ncontent = \"hello {{ vars.name }}\"\n\
                [files.\"/b\"]\nsource = \"files/b\"\n[files.\"/c\"]\ntemplate = \"files/c.html.j2\"\n\
                [files.\"/d\"]\nsource = \"files/b\"\n";
    let files = repository(&[
        ("hosts/web-1.toml", host),
        ("files/b", "as it is: {{ vars.name }}\n"),
        (
            "files/c.html.j2",
            "{% for i in range(2) %}\n  <{{ i }}>\n{% endfor %}\n{% include \"files/e.j2\" %}\n",
        ),
        ("files/e.j2", "{{ true }} & {{ facts.labels.site | upper }}\n"),
    ]);
    let compiled = compile(&files, "web-1", &facts()).unwrap();
    let text = |path: &str| match &compiled.desired.file[&Key::from(path)].spec {
        agentd::kind::file::Spec::File { content: Some(content), .. } => {
            String::from_utf8(compiled.bytes(content, &files).unwrap().into_owned()).unwrap()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!((text("/a"), text("/b")), ("hello world".into(), "as it is: {{ vars.name }}\n".into()));
    assert_eq!(text("/c"), "  <0>\n  <1>\ntrue & FRA\n", "nothing is escaped, block lines leave no trace");
    assert_eq!(compiled.contents.len(), 3, "equal contents are one");
    let in_tree =
        compiled.contents.values().filter(|at| matches!(at, ContentAt::Tree(path) if path == "files/b"));
    assert_eq!(in_tree.count(), 1, "what is laid down as it is stays in the tree");
}
