//! Answers in which every text that others write tries something.

use super::{diff, events, from, history, plan, troubled};
use crate::control::Reply;
use crate::control::wire::*;

/// Keys whose text others write.
const FREE: [&str; 26] = [
    "author",
    "subject",
    "message",
    "file",
    "reason",
    "owner",
    "what",
    "host",
    "text",
    "action",
    "detail",
    "notes",
    "error",
    "hint",
    "excerpt",
    "value",
    "kept",
    "field",
    "executable",
    "name",
    "command",
    "unit",
    "container",
    "terminal",
    "sshFrom",
    "sudo",
];

pub fn hostile() -> Vec<(Vec<&'static str>, Reply)> {
    let mut snapshot = poisoned(&troubled());
    snapshot.resources[0].resource = "file:/etc/\u{1b}[31m".parse().unwrap();
    vec![
        (vec!["status"], Reply::Status(Box::new(StatusReply { status: snapshot.clone() }))),
        (vec!["diff"], Reply::Diff(poisoned(&diff()))),
        (vec!["plan"], Reply::Plan(poisoned(&plan()))),
        (vec!["history"], Reply::History(poisoned(&history()))),
        (vec!["history", "--id", "17"], Reply::History(poisoned(&history()))),
        (vec!["events"], Reply::Events(poisoned(&events()))),
        (
            vec!["sync"],
            Reply::Sync(Box::new(SyncReply {
                resources: snapshot.resources.clone(),
                status: snapshot,
                fetch_error: Some("\u{1b}[31mno".into()),
            })),
        ),
        (vec!["approve", "abcdef0"], Reply::Done(DoneReply { message: "\u{1b}[31mred".into() })),
        (vec!["confirm"], Reply::Confirmed(ConfirmedReply { what: Some("\u{1b}[31mred".into()) })),
    ]
}

fn poisoned<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
    let mut json = serde_json::to_value(value).unwrap();
    poison(&mut json);
    from(json)
}

fn poison(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                match value {
                    serde_json::Value::String(text) if FREE.contains(&key.as_str()) => {
                        text.push_str("\u{1b}[2J\u{202e}\u{9b}1m\r");
                    }
                    serde_json::Value::Array(list) if FREE.contains(&key.as_str()) => {
                        for one in list {
                            if let serde_json::Value::String(text) = one {
                                text.push_str("\u{1b}]0;x\u{7}");
                            }
                        }
                    }
                    other => poison(other),
                }
            }
        }
        serde_json::Value::Array(list) => list.iter_mut().for_each(poison),
        _ => {}
    }
}
