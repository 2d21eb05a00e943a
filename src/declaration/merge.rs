//! Lays layers over each other: later wins key by key, and every value remembers whom it won over.

use crate::model::{Located, Place, Table, Value};

/// A place in a table: the keys that lead there.
pub type Path = Vec<String>;

/// Two layers of the same height that say different things of the same leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Which leaf.
    pub path: Path,
    /// What was there.
    pub lower: Place,
    /// What was laid over it.
    pub upper: Place,
}

/// Lays `upper` over `lower`. Tables are merged key by key; of everything else the upper one replaces the lower.
/// `path` is where both stand; `on_conflict` is told of every leaf that is replaced by a different one.
pub fn over(
    lower: Located,
    upper: Located,
    path: &mut Path,
    on_conflict: &mut dyn FnMut(Conflict),
) -> Located {
    let differ = !same(&lower.value, &upper.value);
    let Located { value: lower_value, place: lower_place, below: lower_below } = lower;
    let value = match (lower_value, upper.value) {
        (Value::Table(lower), Value::Table(upper)) => Value::Table(tables(lower, upper, path, on_conflict)),
        (_, value) => {
            if differ {
                let (lower, upper) = (lower_place.clone(), upper.place.clone());
                on_conflict(Conflict { path: path.clone(), lower, upper });
            }
            value
        }
    };
    let mut below = lower_below;
    below.push(lower_place);
    below.extend(upper.below);
    Located { value, place: upper.place, below }
}

fn tables(mut lower: Table, upper: Table, path: &mut Path, on_conflict: &mut dyn FnMut(Conflict)) -> Table {
    for (key, mut entry) in upper {
        if let Some(under) = lower.remove(&key) {
            path.push(key.clone());
            entry.value = over(under.value, entry.value, path, on_conflict);
            path.pop();
        }
        lower.insert(key, entry);
    }
    lower
}

/// Whether a layer's table says something of the leaf at `path`: the leaf itself, or a value in place of a table
/// on the way to it.
pub fn speaks_of(table: &Located, path: &[String]) -> bool {
    let Some((key, rest)) = path.split_first() else { return true };
    match &table.value {
        Value::Table(entries) => entries.get(key).is_some_and(|entry| speaks_of(&entry.value, rest)),
        Value::String(_)
        | Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_)
        | Value::Array(_) => true,
    }
}

/// Whether two values say the same, wherever they stand.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(&a.value, &b.value))
        }
        (Value::Table(a), Value::Table(b)) => {
            a.len() == b.len()
                && a.iter().zip(b).all(|((k, a), (l, b))| k == l && same(&a.value.value, &b.value.value))
        }
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
        _ => a == b,
    }
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

    fn merge(lower: &str, upper: &str) -> (Located, Vec<Conflict>) {
        let mut conflicts = Vec::new();
        let merged =
            over(doc("lower", lower), doc("upper", upper), &mut Vec::new(), &mut |c| conflicts.push(c));
        (merged, conflicts)
    }

    fn at<'a>(located: &'a Located, path: &[&str]) -> &'a Located {
        path.iter().fold(located, |located, key| {
            let Value::Table(table) = &located.value else { panic!("{path:?} has no tables") };
            &table[*key].value
        })
    }

    #[test]
    fn later_wins_key_by_key_and_remembers_whom_it_won_over() {
        let (merged, _) = merge("[f.x]\na = 1\nb = 1\n[f.y]\nc = 1", "[f.x]\nb = 2\n[f.z]\nd = 2");
        let value = |path: &[&str]| at(&merged, path).value.clone();
        assert_eq!(value(&["f", "x", "a"]), Value::Integer(1));
        assert_eq!(value(&["f", "x", "b"]), Value::Integer(2));
        assert_eq!(
            (value(&["f", "y", "c"]), value(&["f", "z", "d"])),
            (Value::Integer(1), Value::Integer(2))
        );
        let x = at(&merged, &["f", "x"]).provenance();
        assert_eq!((x.winner.to_string(), x.below.len()), ("upper:1".into(), 1));
        assert_eq!(x.below[0].to_string(), "lower:1");
        assert_eq!(at(&merged, &["f", "y"]).provenance().winner.to_string(), "lower:4");
    }

    #[test]
    fn arrays_and_values_of_another_type_are_replaced_whole() {
        let (merged, conflicts) =
            merge("a = [1, 2]\nb = { c = 1 }\nd = 1", "a = [3]\nb = \"x\"\nd = { e = 1 }");
        let Value::Array(elements) = &at(&merged, &["a"]).value else { panic!("an array") };
        assert_eq!(elements.len(), 1);
        assert_eq!(at(&merged, &["b"]).value, Value::String("x".into()));
        assert_eq!(at(&merged, &["d", "e"]).value, Value::Integer(1));
        assert_eq!(conflicts.iter().map(|c| c.path.join(".")).collect::<Vec<_>>(), ["a", "b", "d"]);
    }

    #[test]
    fn what_is_said_twice_alike_is_no_conflict() {
        let (_, conflicts) = merge("a = [1, {b = 2}]\nc = 1", "a = [1, { b = 2 }]\nc = 1");
        assert_eq!(conflicts, []);
        let (_, conflicts) = merge("[x]\na = 1\nb = 1", "[x]\na = 1\nb = 2");
        assert_eq!(conflicts.len(), 1);
        assert_eq!((conflicts[0].lower.line, conflicts[0].upper.line), (3, 3));
    }

    #[test]
    fn a_layer_speaks_of_a_leaf_also_by_replacing_the_table_around_it() {
        let path = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
        let host = doc("h", "[x]\na = 1\n[y]\nb = \"*\"");
        assert!(speaks_of(&host, &path("x.a")) && speaks_of(&host, &path("y.b.version")));
        assert!(!speaks_of(&host, &path("x.b")) && !speaks_of(&host, &path("z.b")));
    }
}
