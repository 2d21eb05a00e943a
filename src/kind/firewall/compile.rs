//! The declared table in nft's own form: loaded where it can reach nothing, and listed back.
//!
//! What the host will be compared with, and what it will load, is this listing, never the text we or a raw
//! declaration wrote. So equality is between two listings of one program, and raw text cannot do anything its
//! listing does not show.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::listing::Listing;
use super::nft::{call, list, nft};
use super::render::Source;
use super::spec::{RuleBody, SetBody, Spec};
use super::state::{State, states};
use crate::host::program::{Files, Programs};
use crate::kind::Specs;
use crate::model::{Digest, Key};

/// The declared table in nft's own form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// Of the text that was compiled.
    pub source: Digest,
    /// What nft lists of it.
    pub listing: Listing,
    /// The same, by resource.
    pub states: BTreeMap<Key, State>,
}

/// Why the declared table cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileFault {
    /// nft, or what it made of the rules, speaks against them: trying again is of no use.
    #[error("{message}")]
    Refused {
        /// Whose words they are, if that can be told.
        owner: Option<Key>,
        /// What is wrong, with which resource, and what to do.
        message: String,
    },
    /// They could not be tried out.
    #[error("{0}")]
    Untried(String),
}

impl From<String> for CompileFault {
    fn from(message: String) -> Self {
        CompileFault::Untried(message)
    }
}

/// Loads the declared table into an empty network and lists it back.
pub fn compile(
    programs: &dyn Programs,
    source: &Source,
    specs: &Specs<Spec>,
) -> Result<Arc<Compiled>, CompileFault> {
    // Only raw text could name a file.
    let files =
        if specs.values().any(|declared| is_raw(&declared.spec)) { Files::Libraries } else { Files::All };
    let mut listing = Err(CompileFault::from("the rules were not tried out".to_owned()));
    let tried = programs.apart(files, &mut |programs| listing = try_out(programs, source));
    tried.map_err(|error| error.to_string())?;
    let listing = listing?;
    let states = states(&listing);
    // A state for what nobody declared: raw text reached out of its place.
    if let Some(stray) = states.keys().find(|key| !specs.contains_key(*key)) {
        let message =
            format!("the declared rules make `{stray}`, which nobody declared: look at the raw ones");
        return Err(CompileFault::Refused { owner: None, message });
    }
    Ok(Arc::new(Compiled { source: Digest::of(source.text().as_bytes()), listing, states }))
}

/// Whether nft makes of this text what it makes of the declared table, and nothing else. Whose text it is is not known:
/// it is tried where it can reach nothing.
pub fn is_read_as(programs: &dyn Programs, text: &str, compiled: &Compiled) -> Result<bool, String> {
    let mut same = Ok(false);
    let tried = programs.apart(Files::Libraries, &mut |programs| {
        same = match call(programs, &nft(&["-f", "-"], text)) {
            Ok(_) => list(programs).map(|(own, others)| {
                others.is_empty() && own.is_some_and(|own| states(&own) == compiled.states)
            }),
            // What nft refuses is not the same.
            Err(_) => Ok(false),
        };
    });
    tried.map_err(|error| error.to_string())?;
    same
}

fn try_out(programs: &dyn Programs, source: &Source) -> Result<Listing, CompileFault> {
    let load = |text: &str| call(programs, &nft(&["-f", "-"], text));
    load(source.text()).map_err(|complaint| blame(&complaint, source))?;
    let (own, others) = list(programs)?;
    if let Some(other) = others.first() {
        let message = format!(
            "the declared rules make a table `{} {}`: only ours is allowed",
            other.family, other.name
        );
        return Err(CompileFault::Refused { owner: None, message });
    }
    let listing = own.ok_or_else(|| "nft took the rules and made no table of them".to_owned())?;
    // What will be loaded on the host and at boot is the listing: prove here that it loads, and as the same.
    load(&listing.loadable())?;
    let again = call(programs, &nft(&["-j", "-p", "list", "table", "inet", "agentd"], ""))?;
    match listing.differs_from(&again.stdout).map_err(|fault| format!("{fault:?}"))? {
        None => Ok(listing),
        Some(key) => Err(CompileFault::Refused {
            message: format!(
                "nft {} does not read back its own listing of `firewall:{key}`: say it in other words",
                listing.version
            ),
            owner: Some(key),
        }),
    }
}

/// nft names the line it stumbled over; we know whose line that is.
fn blame(complaint: &str, source: &Source) -> CompileFault {
    let line = complaint.split("/dev/stdin:").nth(1).and_then(|rest| rest.split(':').next()?.parse().ok());
    let Some(line) = line else { return CompileFault::Untried(complaint.to_owned()) };
    let owner = source.owner(line).cloned();
    let what = owner.as_ref().map_or_else(|| "the firewall".to_owned(), |key| format!("`firewall:{key}`"));
    CompileFault::Refused { owner, message: format!("nft refuses {what}: {complaint}") }
}

fn is_raw(spec: &Spec) -> bool {
    match spec {
        Spec::Chain(_) => true,
        Spec::Rule(rule) => match rule.body {
            RuleBody::Raw { .. } => true,
            RuleBody::Words(_) => false,
        },
        Spec::Set(set) => match set.body {
            SetBody::Raw { .. } => true,
            SetBody::Elements { .. } => false,
        },
        Spec::Hook(_) | Spec::Nat(_) | Spec::NatHook(_) | Spec::Exclusive(_) => false,
    }
}
