//! The TOML that would declare what a listing shows.

use super::spec::{HookName, NatHook};
use super::state::State;
use crate::model::Key;

/// The TOML for one resource. Rules come as raw text: exactly what is there, for a person to put into our words.
pub fn declare(key: &Key, state: &State) -> String {
    let texts = |field: &str| -> Vec<&str> {
        state.fields.get(field).into_iter().flatten().map(|piece| piece.text.as_str()).collect()
    };
    let (sort, name) = key.as_str().split_once('/').unwrap_or(("", key.as_str()));
    match sort {
        "" if HookName::ALL.iter().any(|hook| hook.as_str() == name) => {
            let drops = texts("policy").iter().any(|text| text.contains("policy drop"));
            format!(
                "[firewall]\n{name} = \"{}\"\n{}",
                if drops { "drop" } else { "accept" },
                extra(name, state)
            )
        }
        "set" => declare_set(name, state),
        "chain" => {
            let lines: Vec<&str> = texts("rules");
            format!("[firewall.chains.{name}]\nraw = {}\n", quoted(&lines.join("\n")))
        }
        "nat" | "table" => format!("# firewall:{key}: {}\n", texts("rule").join("; ")),
        hook if HookName::ALL.iter().any(|known| known.as_str() == hook) => {
            let raw = quoted(&texts("rule").join("\n"));
            format!("[firewall.rules.{name}]\nchain = \"{hook}\"\nraw = {raw}\n")
        }
        _ if NatHook::ALL.iter().any(|hook| hook.as_str() == name) => String::new(),
        _ => format!(
            "# firewall:{key} cannot be declared: the agent's table holds rules, sets, chains and NAT\n"
        ),
    }
}

/// Rules without a name that stand in a hook: each would be a rule of its own.
fn extra(hook: &str, state: &State) -> String {
    let pieces = state.fields.get("extra rules").into_iter().flatten().enumerate();
    let rule = |(number, text): (usize, &str)| {
        format!("\n[firewall.rules.{hook}-{}]\nchain = \"{hook}\"\nraw = {}\n", number + 1, quoted(text))
    };
    pieces.map(|(number, piece)| rule((number, &piece.text))).collect()
}

fn declare_set(name: &str, state: &State) -> String {
    let pieces = state.fields.get("elements").into_iter().flatten();
    let elements: Vec<String> = pieces.flat_map(|piece| piece.text.split(", ")).map(quoted).collect();
    format!("[firewall.sets.{name}]\nelements = [{}]\n", elements.join(", "))
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
