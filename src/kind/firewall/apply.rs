//! Makes changes: what is about to be lost is kept, a new table is put under confirm-or-undo, everything goes in one
//! transaction, and what is confirmed becomes what is loaded at boot.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Spec;
use super::boot;
use super::change::{Change, LoadPlan, undo_text};
use super::nft::{call, nft};
use super::remembered;
use super::undo::{self, Confirmation, Window};
use crate::host::Host;
use crate::keep::Occasion;
use crate::kind::{ApplyCx, Planned};
use crate::model::{Digest, Key, KindName, ResourceId};

/// Makes all changes of one step.
pub fn apply(cx: &ApplyCx<'_>, window: &Window, changes: &[Planned<Spec, Change>]) -> Result<(), String> {
    let mut cleared = BTreeSet::new();
    let mut plan = None;
    let mut restored = None;
    let mut tables: Vec<(&str, &str)> = Vec::new();
    for Planned { key, change, .. } in changes {
        match change {
            Change::Load { plan: of, .. } => {
                cleared.insert(key.clone());
                plan = Some(of);
            }
            Change::Restore { text, instead } => restored = Some((key, text, instead)),
            Change::Boot { desired } => {
                boot::write(cx.host, &desired.listing.loadable()).map_err(chain)?;
            }
            Change::RemoveOwn => tables.push(("inet", "agentd")),
            Change::RemoveForeign { family, name } => tables.push((family, name)),
        }
    }
    tables.dedup();
    if let Some(plan) = plan {
        load(cx, window, plan, &cleared)?;
        // The table is in force, whether that could be remembered or not.
        if let Err(error) = remembered::write(cx.host, &plan.desired) {
            tracing::warn!("the next start of the agent takes longer: {}", chain(error));
        }
    }
    if !tables.is_empty() {
        remove(cx, &tables)?;
    }
    match restored {
        None => Ok(()),
        Some((key, text, instead)) => {
            if let Some(instead) = instead {
                keep(cx, key.as_str(), "table inet agentd", instead.as_bytes())?;
            }
            call(&*cx.host.programs, &nft(&["-f", "-"], text))?;
            // The host is as safe as it was; it is not as declared.
            Err(UNDONE.to_owned())
        }
    }
}

/// What is said of a declared table that was undone.
/// On the line of each resource; that the one confirmed before is held to is told once, by the guard.
pub const UNDONE: &str =
    "this firewall was loaded before, not confirmed in time, and undone: push a revision with another one";

/// Whether this very table was undone for want of confirmation, or should have been.
pub fn undone(host: &Host, text: impl FnOnce() -> String) -> Result<bool, String> {
    match undo::confirmation(host).map_err(chain)? {
        Confirmation::Undone { table, .. } => Ok(table == Digest::of(text().as_bytes())),
        Confirmation::Settled | Confirmation::Awaited { .. } => Ok(false),
    }
}

fn load(cx: &ApplyCx<'_>, window: &Window, plan: &LoadPlan, cleared: &BTreeSet<Key>) -> Result<(), String> {
    let host = cx.host;
    let text = plan.text(cleared);
    let undo = undo_text(&plan.observed);
    if plan.observed.own.is_some() {
        let first = cleared.iter().next().map_or("input", Key::as_str);
        keep(cx, first, "table inet agentd", undo.as_bytes())?;
    }
    let wait = window.get();
    let standing = standing(host, wait, &text)?;
    // Tried before anything is armed: a table that cannot be loaded is no change. One that was loaded before was tried then.
    match standing {
        Standing::AtBoot => {}
        Standing::Confirmed | Standing::Awaited | Standing::New => {
            call(&*host.programs, &nft(&["-c", "-f", "-"], &text))?;
        }
    }
    match (&standing, wait) {
        (Standing::New, Some(wait)) => undo::arm(host, wait, &undo, &text).map_err(chain)?,
        (Standing::New | Standing::Confirmed | Standing::AtBoot | Standing::Awaited, _) => {}
    }
    match (call(&*host.programs, &nft(&["-f", "-"], &text)), standing) {
        (Ok(_), Standing::New) => {
            let noted = undo::in_force(host).map_err(chain);
            window.loaded();
            noted
        }
        (Ok(_), Standing::Awaited | Standing::AtBoot) => Ok(()),
        (Ok(_), Standing::Confirmed) => boot::write(host, &text).map_err(chain),
        (Err(message), Standing::Confirmed | Standing::AtBoot | Standing::Awaited) => Err(message),
        (Err(message), Standing::New) => {
            undo::disarm(host).map_err(chain)?;
            Err(message)
        }
    }
}

/// How a table stands with its confirmation.
enum Standing {
    /// It was confirmed, and is what is loaded at boot: drift is put right, and stays right.
    AtBoot,
    /// It needs no confirmation.
    Confirmed,
    /// It was loaded before and waits for its confirmation; the clock runs on.
    Awaited,
    /// It must be confirmed.
    New,
}

/// A table that was undone for want of confirmation would be undone again: that is refused.
fn standing(host: &Host, window: Option<Duration>, text: &str) -> Result<Standing, String> {
    if boot::read(host).map_err(chain)?.as_deref() == Some(text) {
        return Ok(Standing::AtBoot);
    }
    if window.is_none() {
        return Ok(Standing::Confirmed);
    }
    let same = |table: Digest| table == Digest::of(text.as_bytes());
    match undo::confirmation(host).map_err(chain)? {
        Confirmation::Undone { table, .. } if same(table) => Err(UNDONE.to_owned()),
        Confirmation::Awaited { table, .. } if same(table) => Ok(Standing::Awaited),
        Confirmation::Undone { .. } | Confirmation::Settled | Confirmation::Awaited { .. } => {
            Ok(Standing::New)
        }
    }
}

/// Takes tables away, in one transaction. As JSON: the name of a foreign table is anybody's text.
fn remove(cx: &ApplyCx<'_>, tables: &[(&str, &str)]) -> Result<(), String> {
    let programs = &*cx.host.programs;
    let command = |verb: &str, (family, name): &(&str, &str)| serde_json::json!({verb: {"table": {"family": family, "name": name}}});
    let document = |commands: Vec<_>| serde_json::json!({ "nftables": commands }).to_string();
    for table in tables {
        let listed = call(programs, &nft(&["-j", "-f", "-"], &document(vec![command("list", table)])))?;
        let (family, name) = table;
        keep(
            cx,
            &format!("table/{family} {name}"),
            &format!("table {family} {name}, as JSON"),
            &listed.stdout,
        )?;
    }
    let deletes = tables.iter().map(|table| command("delete", table)).collect();
    call(programs, &nft(&["-j", "-f", "-"], &document(deletes)))?;
    match tables.contains(&("inet", "agentd")) {
        true => {
            undo::disarm(cx.host).map_err(chain)?;
            remembered::remove(cx.host).map_err(chain)?;
            boot::remove(cx.host).map_err(chain)
        }
        false => Ok(()),
    }
}

fn keep(cx: &ApplyCx<'_>, key: &str, name: &str, bytes: &[u8]) -> Result<(), String> {
    let resource = ResourceId::new(KindName::Firewall, key);
    let occasion =
        Occasion { resource: &resource, why: "replaced by the declared table", now: cx.host.clock.now() };
    cx.keep.put_text(occasion, name, bytes).map(drop).map_err(chain)
}

/// An error with its causes, in one line.
fn chain(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(&format!(": {next}"));
        cause = next.source();
    }
    text
}
