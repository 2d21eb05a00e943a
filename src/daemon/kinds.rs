//! The ordered list of kinds: one more kind is one more line here.

use std::sync::Arc;

use crate::guard::firewall::Window;
use crate::host::Host;
use crate::host::accounts::SystemAccounts;
use crate::host::clock::SystemClock;
use crate::host::files::Root;
use crate::host::netfilter::SystemNetfilter;
use crate::host::program::{ProgramsBeside, SystemPrograms};
use crate::host::units::SystemUnits;
use crate::kind::file::Files;
use crate::kind::firewall::Firewall;
use crate::kind::package::{Packages, Tuning};
use crate::kind::service::Services;
use crate::reconcile::Engine;
use crate::reconcile::lane::Lane;

/// All kinds of a Debian host, in the order in which a pass observes them. A new firewall must be confirmed within
/// `window`; packages are changed as `tuning` says.
pub fn kinds(window: &Arc<Window>, tuning: &Arc<Tuning>) -> Engine {
    Engine::new(vec![
        Box::new(Lane::new(Firewall::guarded(Arc::clone(window)))),
        Box::new(Lane::new(Packages::tuned_by(Arc::clone(tuning)))),
        Box::new(Lane::new(Files::default())),
        Box::new(Lane::new(Services::default())),
    ])
}

/// The host we run on, by its real doors.
pub fn this_host() -> std::io::Result<Host> {
    Ok(Host {
        root: Root::open("/")?,
        programs: Arc::new(SystemPrograms),
        units: Arc::new(SystemUnits::new()),
        netfilter: Arc::new(SystemNetfilter::open()?),
        accounts: Arc::new(SystemAccounts::new()),
        clock: Arc::new(SystemClock),
    })
}

/// The same as the loop sees it: what is done by it is no proof that the thread that touches the host goes on.
pub fn host_beside() -> std::io::Result<Host> {
    Ok(Host { programs: Arc::new(ProgramsBeside), ..this_host()? })
}
