//! A plan for this host from a folder with a fleet repository: no agent, no record, nothing written.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::cli::args::Arguments;
use crate::cli::folder::FolderTree;
use crate::cli::scratch::Scratch;
use crate::cli::{CliError, Outside};
use crate::config;
use crate::control::wire::{PlanReply, Unread};
use crate::declaration::{self, Compiled};
use crate::host::facts::Facts;
use crate::host::files::Root;
use crate::keep::{Contents, Keep, Limits};
use crate::model::escape;
use crate::model::{Diagnostic, DriftMode, ResourceId, Severity};
use crate::reconcile::gate::Patience;
use crate::reconcile::memory::Forgetful;
use crate::reconcile::pass::Removals;
use crate::reconcile::{Order, PassReport, Purpose, Scope, World, pass};

/// Plans as if the folder were the revision in force, in the mode `enabled`.
pub fn plan(
    common: &Arguments,
    repo: &Path,
    host_name: &str,
    outside: &mut Outside<'_>,
) -> Result<PlanReply, CliError> {
    let tree = FolderTree::open(&outside.here.join(repo))?;
    let labels = config::load(&common.config).map(|settings| settings.labels)?;
    let facts = Facts::read(Path::new("/"), labels)?;
    let compiled = match declaration::compile(&tree, host_name, &facts) {
        Ok(compiled) => compiled,
        Err(faults) => return Err(refused(&faults, outside)),
    };
    let contents = contents(&compiled, &tree, repo)?;
    let host = (outside.host)().map_err(CliError::Host)?;
    let mut engine = (outside.engine)();
    let mut memory = Forgetful::default();
    let mut notes: Vec<String> = compiled.warnings.iter().map(ToString::to_string).collect();
    if let Err(fault) = engine.adopt(Arc::new(compiled.desired), &mut memory) {
        notes.push(fault.to_string());
    }
    // A plan keeps nothing; a pass must have a place to keep things all the same.
    let scratch = Scratch::make()?;
    let place = Root::open(scratch.path()).map_err(CliError::Host)?;
    let keep = Keep::open(&place, Limits::default())
        .map_err(|error| CliError::Folder { path: scratch.path(), source: error.into() })?;
    let world = World {
        host: &host,
        contents: &contents,
        keep: &keep,
        stopping: &AtomicBool::new(false),
        progress: &|_| {},
    };
    let order = Order {
        scope: Scope::Full,
        purpose: Purpose::Plan,
        mode: DriftMode::Enabled,
        patience: Patience::Impatient,
        removals: Removals { limit: u32::MAX, ..Removals::default() },
    };
    let report = pass(&mut engine, &world, &order, &mut memory);
    notes.extend(report.notes.iter().cloned());
    Ok(PlanReply { unknown: unread(&report), notes, plan: report.plan })
}

fn contents(compiled: &Compiled, tree: &FolderTree, repo: &Path) -> Result<Contents, CliError> {
    let failed =
        |source: Box<dyn std::error::Error + Send + Sync>| CliError::Folder { path: repo.to_owned(), source };
    let contents = Contents::in_memory();
    for content in compiled.contents.keys() {
        let bytes = compiled.bytes(content, tree).map_err(|error| failed(error.into()))?;
        contents.put(&bytes).map_err(|error| failed(error.into()))?;
    }
    Ok(contents)
}

fn unread(report: &PassReport) -> Vec<Unread> {
    let blind = report.blind.iter().map(|(kind, why)| Unread { what: kind.to_string(), why: why.clone() });
    let single = report.unknown.iter().map(|(kind, key, why)| Unread {
        what: ResourceId::new(*kind, key.clone()).to_string(),
        why: why.clone(),
    });
    blind.chain(single).collect()
}

/// Shows every fault.
fn refused(faults: &[Diagnostic], outside: &mut Outside<'_>) -> CliError {
    let mut count = 0;
    for fault in faults {
        count += usize::from(fault.severity == Severity::Error);
        let text = format!("{}\n\n", escape::lines(&fault.to_string()));
        if let Err(error) = outside.err.write_all(text.as_bytes()) {
            return CliError::Output(error);
        }
    }
    CliError::Refused { count }
}
