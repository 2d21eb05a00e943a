//! Ways of saying one thing that exclude each other. A higher layer that uses one of them takes the others back;
//! without this a layer could never change how a lower one had said it.

use super::merge::{Conflict, Path, speaks_of};
use crate::model::{Located, Table, Value};

/// Keys of which a resource has one at most.
struct Alternatives {
    /// The kind's table.
    table: &'static str,
    /// The table within it in which the resources stand, if they do not stand in it directly.
    inside: Option<&'static str>,
    /// The keys.
    keys: &'static [&'static str],
}

const ALTERNATIVES: [Alternatives; 4] = [
    Alternatives { table: "files", inside: None, keys: &["content", "source", "template", "link"] },
    Alternatives { table: "firewall", inside: Some("rules"), keys: &["allow", "drop", "reject", "raw"] },
    Alternatives { table: "firewall", inside: Some("sets"), keys: &["elements", "raw"] },
    Alternatives { table: "firewall", inside: Some("nat"), keys: &["masquerade", "forward"] },
];

/// What a layer may say of a resource without saying what it should be.
const ABOUT: [&str; 2] = ["drift", "prune"];

/// Takes back of `lower` what `upper` says in another way. Both are the table of one kind. To take back is to
/// replace: `on_conflict` is told.
pub fn take_back(table: &str, lower: &mut Located, upper: &Located, on_conflict: &mut dyn FnMut(Conflict)) {
    resources(lower, upper, None, &mut |under, over, path| absent(under, over, path, on_conflict));
    for Alternatives { table: _, inside, keys } in ALTERNATIVES.iter().filter(|group| group.table == table) {
        resources(lower, upper, *inside, &mut |under, over, path| {
            one_of(under, over, keys, path, on_conflict)
        });
    }
}

/// Whether the host file has the last word on a leaf: by saying it, or an alternative to it.
pub fn decides(host: &Located, table: &str, path: &[String]) -> bool {
    let Some((leaf, parent)) = path.split_last() else { return true };
    let says = |leaf: &str| {
        let path: Path = parent.iter().cloned().chain([leaf.to_owned()]).collect();
        speaks_of(host, &path)
    };
    let groups =
        ALTERNATIVES.iter().filter(|group| group.table == table && group.keys.contains(&leaf.as_str()));
    says(leaf)
        || groups.flat_map(|group| group.keys).any(|key| says(key))
        || (leaf == "ensure" && wants(host, parent))
}

/// Whether a layer says what the resource at `path` should be.
fn wants(table: &Located, path: &[String]) -> bool {
    let Value::Table(entries) = &table.value else { return true };
    match path.split_first() {
        Some((key, rest)) => entries.get(key).is_some_and(|entry| wants(&entry.value, rest)),
        None => entries.keys().any(|key| !ABOUT.contains(&key.as_str())),
    }
}

/// Calls `each` for every resource that both speak of in a table of its own.
fn resources(
    lower: &mut Located,
    upper: &Located,
    inside: Option<&str>,
    each: &mut dyn FnMut(&mut Table, &Located, Path),
) {
    let (Value::Table(lower), Value::Table(upper)) = (&mut lower.value, &upper.value) else { return };
    if let Some(name) = inside {
        if let (Some(lower), Some(upper)) = (lower.get_mut(name), upper.get(name)) {
            let mut each_inside = |under: &mut Table, over: &Located, mut path: Path| {
                path.insert(0, name.to_owned());
                each(under, over, path);
            };
            resources(&mut lower.value, &upper.value, None, &mut each_inside);
        }
        return;
    }
    for (key, entry) in upper {
        let Some(under) = lower.get_mut(key) else { continue };
        if let (Value::Table(under), Value::Table(_)) = (&mut under.value.value, &entry.value.value) {
            each(under, &entry.value, vec![key.clone()]);
        }
    }
}

/// What is to be absent has no content, version or mode; and what is to be there is not absent.
fn absent(under: &mut Table, over: &Located, mut path: Path, on_conflict: &mut dyn FnMut(Conflict)) {
    let Value::Table(fields) = &over.value else { return };
    let is_absent = |table: &Table| {
        table
            .get("ensure")
            .is_some_and(|entry| matches!(&entry.value.value, Value::String(text) if text == "absent"))
    };
    let wanted = |table: &Table| table.keys().any(|key| !ABOUT.contains(&key.as_str()));
    let turned = match (is_absent(under), is_absent(fields)) {
        (false, true) => wanted(under),
        (true, false) => wanted(fields),
        (true, true) | (false, false) => false,
    };
    if !turned {
        return;
    }
    let place = |table: &Table| table.values().map(|entry| entry.value.place.clone()).min();
    if let (Some(lower), Some(upper)) = (place(under), place(fields)) {
        path.push("ensure".to_owned());
        on_conflict(Conflict { path, lower, upper });
    }
    under.retain(|key, _| ABOUT.contains(&key.as_str()));
}

fn one_of(
    under: &mut Table,
    over: &Located,
    keys: &[&str],
    path: Path,
    on_conflict: &mut dyn FnMut(Conflict),
) {
    let Value::Table(fields) = &over.value else { return };
    let Some((said, by)) = keys.iter().find_map(|field| fields.get_key_value(*field)) else { return };
    under.retain(|field, old| {
        let stays = !keys.contains(&field.as_str()) || fields.contains_key(field);
        if !stays {
            let (lower, upper) = (old.value.place.clone(), by.value.place.clone());
            let path = path.iter().chain([said]).cloned().collect();
            on_conflict(Conflict { path, lower, upper });
        }
        stays
    });
}

#[cfg(test)]
mod tests {
    use super::super::syntax;
    use super::super::text::Text;
    use super::*;
    use crate::model::Faults;

    fn doc(file: &str, source: &str) -> Located {
        syntax::parse(&Text::new(file, source.into()), &mut Faults::default()).unwrap()
    }

    /// What is left of the resource `x` of the lower layer, and the paths of conflicts.
    fn left(table: &str, lower: &str, upper: &str) -> (String, Vec<String>) {
        let (mut lower, upper) = (doc("lower", lower), doc("upper", upper));
        let mut conflicts = Vec::new();
        take_back(table, &mut lower, &upper, &mut |conflict| conflicts.push(conflict.path.join(".")));
        let Value::Table(table) = lower.value else { panic!("a table") };
        let mut resource = table.get("x").or_else(|| table.get("rules")).unwrap().value.value.clone();
        if let Value::Table(inner) = &resource
            && let Some(x) = inner.get("x")
        {
            resource = x.value.value.clone();
        }
        let Value::Table(fields) = resource else { panic!("a table") };
        (fields.into_keys().collect::<Vec<_>>().join(" "), conflicts)
    }

    #[test]
    fn another_way_of_saying_a_content_takes_the_first_back() {
        let lower = "[x]\ncontent = \"a\"\nmode = \"0600\"";
        assert_eq!(left("files", lower, "[x]\nsource = \"f\""), ("mode".into(), vec!["x.source".into()]));
        assert_eq!(left("files", lower, "[x]\nmode = \"0644\""), ("content mode".into(), vec![]));
        assert_eq!(left("packages", lower, "[x]\nsource = \"f\""), ("content mode".into(), vec![]));
    }

    #[test]
    fn alternatives_of_rules_stand_one_table_deeper() {
        let lower = "input = \"drop\"\n[rules.x]\nallow = [\"tcp/22\"]\norder = 1";
        let upper = "[rules.x]\ndrop = [\"tcp/22\"]";
        assert_eq!(left("firewall", lower, upper), ("order".into(), vec!["rules.x.drop".into()]));
    }

    #[test]
    fn absent_takes_everything_back_and_is_taken_back_by_anything() {
        let there = "[x]\ncontent = \"a\"\nmode = \"0600\"\nprune = true";
        let gone = "[x]\nensure = \"absent\"";
        assert_eq!(left("files", there, gone), ("prune".into(), vec!["x.ensure".into()]));
        assert_eq!(left("files", gone, "[x]\ncontent = \"b\""), (String::new(), vec!["x.ensure".into()]));
        assert_eq!(left("files", gone, "[x]\ndrift = \"warn\""), ("ensure".into(), vec![]));
        assert_eq!(left("files", gone, gone), ("ensure".into(), vec![]));
    }

    #[test]
    fn a_host_decides_by_any_alternative() {
        let path = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
        let host = doc("h", "[x]\ntemplate = \"t\"\n[y]\ndrift = \"warn\"");
        assert!(decides(&host, "files", &path("x.content")) && decides(&host, "files", &path("x.ensure")));
        assert!(!decides(&host, "files", &path("x.mode")) && !decides(&host, "files", &path("y.ensure")));
    }
}
