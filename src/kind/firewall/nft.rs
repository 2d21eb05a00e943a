//! The program nft: how it is called, and what its answers mean.

use std::time::Duration;

use serde_json::Value;

use super::listing::{Listing, ListingFault, items, word};
use super::spec::HookName;
use crate::host::program::{Finished, Programs, Run};

/// Where Debian has it.
pub const NFT: &str = "/usr/sbin/nft";

/// A rule set of ten thousand rules takes about a second.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// A table that is not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// Its family.
    pub family: String,
    /// Its name.
    pub name: String,
    /// Its chains that hang on a hook.
    pub chains: Vec<ForeignChain>,
}

/// A chain of another table on a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignChain {
    /// Its name.
    pub name: String,
    /// `filter`, `nat`, `route`.
    pub kind: String,
    /// `input`, `forward`, …
    pub hook: String,
    /// `accept`, `drop`; empty where there is none.
    pub policy: String,
}

impl ForeignChain {
    /// Whether it decides about what one of our hooks decides about.
    pub fn filters_at(&self, hook: HookName) -> bool {
        self.kind == "filter" && self.hook == hook.as_str()
    }
}

/// A run of nft. Times of day are read and written in UTC wherever the host is, and here as at boot.
pub fn nft(args: &[&str], stdin: &str) -> Run {
    let mut run = Run::new(NFT, args);
    run.stdin = stdin.as_bytes().to_vec();
    run.env = vec![("TZ".to_owned(), "UTC".to_owned())];
    run.time_limit = TIME_LIMIT;
    run
}

/// Runs it; anything but success is a message for a person.
pub fn call(programs: &dyn Programs, run: &Run) -> Result<Finished, String> {
    succeeded((run, start(programs, run)?))
}

fn succeeded((run, done): (&Run, Finished)) -> Result<Finished, String> {
    match done.succeeded() {
        true => Ok(done),
        false => Err(format!("nft {} failed: {}", run.args.join(" "), done.complaint())),
    }
}

/// Runs that change nothing, all at the same time.
fn at_once<'a, const N: usize>(
    programs: &dyn Programs,
    runs: [&'a Run; N],
) -> [Result<(&'a Run, Finished), String>; N] {
    std::thread::scope(|scope| {
        let started = runs.map(|run| (run, scope.spawn(move || start(programs, run))));
        started.map(|(run, thread)| match thread.join() {
            Ok(done) => Ok((run, done?)),
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

fn start(programs: &dyn Programs, run: &Run) -> Result<Finished, String> {
    programs.run(run).map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        format!("{error}{cause}; is the package nftables installed? (apt-get install nftables)")
    })
}

/// Lists our table, if it is there, and all others with their chains but without rules: cheap however large docker's
/// rule set is. Three runs at the same time, none of which waits for another: the two for our table are done anew if a
/// change between them shows, and whoever needs all three to be of one moment asks the kernel for its generation. The
/// others need a run of their own: nft 1.0.6, once told of one table, has no other in whatever else the same run lists.
pub fn list(programs: &dyn Programs) -> Result<(Option<Listing>, Vec<Foreign>), String> {
    const ATTEMPTS: usize = 10;
    // Protocols by number (-p): their names are those of /etc/protocols, which is not on every host.
    let all = nft(&["-j", "list tables; list chains"], "");
    let ours = nft(&["-j", "-p", "list", "table", "inet", "agentd"], "");
    let ours_in_words = nft(&["-a", "-s", "-p", "list", "table", "inet", "agentd"], "");
    let mut why = String::new();
    for _ in 0..ATTEMPTS {
        let [all, json, text] = at_once(programs, [&all, &ours, &ours_in_words]);
        let all = succeeded(all?)?;
        let (exists, foreign) = tables(&documents(&all.stdout))?;
        if !exists {
            return Ok((None, foreign));
        }
        let listed = succeeded(json?).and_then(|json| Ok((json, succeeded(text?)?)));
        let (json, text) = match listed {
            Ok(listed) => listed,
            // It went just now.
            Err(message) => {
                why = message;
                continue;
            }
        };
        match Listing::parse(&json.stdout, &text.stdout) {
            Ok(listing) => return Ok((Some(listing), foreign)),
            Err(ListingFault::Malformed(what)) => return Err(what),
            Err(ListingFault::Torn) => "it changed meanwhile".clone_into(&mut why),
        }
    }
    Err(format!("table inet agentd could not be listed in {ATTEMPTS} attempts: {why}"))
}

/// One JSON document a command, a line each.
fn documents(stdout: &[u8]) -> Vec<&[u8]> {
    stdout.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).collect()
}

/// All tables with the chains they have on hooks; ours is left out and comes back as a plain yes or no.
fn tables(documents: &[&[u8]]) -> Result<(bool, Vec<Foreign>), String> {
    let mut tables: Vec<Foreign> = Vec::new();
    for document in documents {
        let items = items(document).map_err(|fault| match fault {
            ListingFault::Malformed(what) => what,
            ListingFault::Torn => "nft's list of tables is torn".to_owned(),
        })?;
        for (kind, value) in &items {
            match kind.as_str() {
                "table" => drop(table(&mut tables, word(value, "family"), word(value, "name"))),
                "chain" => add_chain(&mut tables, value),
                _ => {}
            }
        }
    }
    let ours = |table: &Foreign| table.family == "inet" && table.name == "agentd";
    let exists = tables.iter().any(ours);
    tables.retain(|table| !ours(table));
    Ok((exists, tables))
}

fn table<'a>(tables: &'a mut Vec<Foreign>, family: &str, name: &str) -> &'a mut Foreign {
    let known = tables.iter().position(|table| table.family == family && table.name == name);
    let at = known.unwrap_or_else(|| {
        tables.push(Foreign { family: family.to_owned(), name: name.to_owned(), chains: Vec::new() });
        tables.len() - 1
    });
    &mut tables[at]
}

fn add_chain(tables: &mut Vec<Foreign>, value: &Value) {
    let of = table(tables, word(value, "family"), word(value, "table"));
    if !word(value, "hook").is_empty() {
        of.chains.push(ForeignChain {
            name: word(value, "name").to_owned(),
            kind: word(value, "type").to_owned(),
            hook: word(value, "hook").to_owned(),
            policy: word(value, "policy").to_owned(),
        });
    }
}
