//! Who asks systemd over the system bus to change units.
//!
//! A monitor, as the bus calls it, is told of calls that are addressed to somebody else. Its rules let through nothing
//! but calls that change units: nobody who only asks how units are wakes us. A connection that monitors may not speak,
//! so a second one asks the bus whose a call is, while the caller still waits for its answer.
//!
//! Not heard: root's `systemctl`, which talks to PID 1 over a socket of its own. Whether systemd did what it was asked
//! for is not told here either.

use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;
use zbus::message::{Message, Type};
use zbus::{MessageStream, Structure, Variant};

use super::bus::{BusError, MANAGER, MANAGER_PATH, Peer, SYSTEM_BUS, UNIT, next, unit_of};
use super::types::UnitError;

/// Somebody asked for something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitCall {
    /// The units as they were named. Untrusted text.
    pub units: Vec<String>,
    /// What for, in the words of `systemctl`.
    pub verb: &'static str,
    /// Who asked, by the name that the bus gave to its connection.
    sender: String,
}

/// Hears what systemd is asked for over the bus. Ends with an error when the bus is restarted.
pub struct UnitCalls {
    stream: MessageStream,
    asking: Peer,
}

/// A caller is known to the bus for as long as it is connected: an answer that takes longer comes too late.
const PATIENCE: Duration = Duration::from_millis(500);
/// Units of one call that are read.
const UNITS: usize = 64;

/// Methods of the manager that change units, and what they are called by `systemctl`.
const METHODS: [(&str, &str); 24] = [
    ("StartUnit", "start"),
    ("StartUnitWithFlags", "start"),
    ("StartUnitReplace", "start"),
    ("StopUnit", "stop"),
    ("RestartUnit", "restart"),
    ("TryRestartUnit", "try-restart"),
    ("ReloadOrRestartUnit", "reload-or-restart"),
    ("ReloadOrTryRestartUnit", "try-reload-or-restart"),
    ("KillUnit", "kill"),
    ("QueueSignalUnit", "kill"),
    ("FreezeUnit", "freeze"),
    ("EnableUnitFiles", "enable"),
    ("EnableUnitFilesWithFlags", "enable"),
    ("DisableUnitFiles", "disable"),
    ("DisableUnitFilesWithFlags", "disable"),
    ("DisableUnitFilesWithFlagsAndInstallInfo", "disable"),
    ("ReenableUnitFiles", "reenable"),
    ("LinkUnitFiles", "link"),
    ("PresetUnitFiles", "preset"),
    ("PresetUnitFilesWithMode", "preset"),
    ("MaskUnitFiles", "mask"),
    ("UnmaskUnitFiles", "unmask"),
    ("RevertUnitFiles", "revert"),
    ("EnqueueUnitJob", "job"),
];
/// The same of a unit's own object. Its other methods are not asked for by name: there are few.
const UNIT_METHODS: [(&str, &str); 10] = [
    ("Start", "start"),
    ("Stop", "stop"),
    ("Restart", "restart"),
    ("TryRestart", "try-restart"),
    ("ReloadOrRestart", "reload-or-restart"),
    ("ReloadOrTryRestart", "try-reload-or-restart"),
    ("Kill", "kill"),
    ("QueueSignal", "kill"),
    ("Freeze", "freeze"),
    ("EnqueueJob", "job"),
];

impl UnitCalls {
    /// Begins to listen on the host whose file tree is seen at `root`, driven by the runtime we are called on.
    pub async fn listen(root: &Path) -> Result<Self, UnitError> {
        let socket = root.join(SYSTEM_BUS.trim_start_matches('/'));
        listen(&socket).await.map_err(telling)
    }

    /// The next call.
    pub async fn next(&mut self) -> Result<UnitCall, UnitError> {
        loop {
            let message = next(&mut self.stream).await.map_err(telling)?;
            let Some((units, verb)) = asked(&message) else { continue };
            let Some(sender) = message.header().sender().map(ToString::to_string) else { continue };
            return Ok(UnitCall { units, verb, sender });
        }
    }

    /// The process that made a call, in our process namespace; none if it has gone. To be asked at once.
    pub async fn caller_of(&self, call: &UnitCall) -> Option<u32> {
        let body = (call.sender.as_str(),);
        let asking = self.asking.bus::<u32>("GetConnectionUnixProcessID", &body);
        timeout(PATIENCE, asking).await.ok()?.ok()
    }
}

async fn listen(socket: &Path) -> Result<UnitCalls, BusError> {
    let asking = Peer::connect(socket).await?;
    let monitor = Peer::connect(socket).await?;
    let stream = monitor.everything();
    monitor.become_monitor(&rules()).await?;
    Ok(UnitCalls { stream, asking })
}

fn telling(error: BusError) -> UnitError {
    error.telling("tell of who asks for changes of", "its units")
}

fn rules() -> Vec<String> {
    let call = |rest: &str| format!("type='method_call',{rest}");
    let of_manager = METHODS
        .iter()
        .map(|(method, _)| call(&format!("path='{MANAGER_PATH}',interface='{MANAGER}',member='{method}'")));
    let of_unit = call(&format!("path_namespace='{MANAGER_PATH}/unit',interface='{UNIT}'"));
    of_manager.chain([of_unit]).collect()
}

/// Of which units what is asked, if it is something that changes units.
fn asked(message: &Message) -> Option<(Vec<String>, &'static str)> {
    let header = message.header();
    if header.message_type() != Type::MethodCall {
        return None;
    }
    let (member, path) = (header.member()?, header.path()?);
    let verb_in = |methods: &[(&str, &'static str)]| {
        methods.iter().find(|(method, _)| *method == member.as_str()).map(|(_, verb)| *verb)
    };
    let body = message.body();
    // A method without arguments has no body to read.
    let body = body.deserialize::<Structure<'_>>().ok();
    let arguments = body.as_ref().map(Structure::fields).unwrap_or_default();
    let (units, verb, job) = match header.interface()?.as_str() {
        MANAGER => (names(arguments.first()?), verb_in(&METHODS)?, arguments.get(1)),
        UNIT => (vec![unit_of(path.as_str())?], verb_in(&UNIT_METHODS)?, arguments.first()),
        _ => return None,
    };
    let verb = if verb == "job" { job_of(job?)? } else { verb };
    Some((units, verb))
}

/// One name, or several; a unit file may be named by its path.
fn names(argument: &Variant<'_>) -> Vec<String> {
    let name = |text: &str| text.rsplit('/').next().unwrap_or(text).to_owned();
    match argument {
        Variant::Str(one) => vec![name(one.as_str())],
        Variant::Array(list) => {
            let texts = list.iter().take(UNITS).filter_map(|one| <&str>::try_from(one).ok());
            texts.map(name).collect()
        }
        _ => Vec::new(),
    }
}

/// The kind of a job, by the name that systemd gives it.
fn job_of(argument: &Variant<'_>) -> Option<&'static str> {
    let kind = <&str>::try_from(argument).ok()?;
    let known = ["start", "stop", "restart", "try-restart", "reload-or-start"];
    known.into_iter().find(|one| *one == kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::units::bus::object_of;

    fn call(path: &str, interface: &str, member: &str) -> zbus::message::Builder<'static> {
        Message::method_call(path.to_owned(), member.to_owned()).interface(interface.to_owned())
    }

    #[test]
    fn calls_that_change_units_are_read_in_the_words_of_systemctl_and_others_passed_over() {
        let of_manager = |member: &str| call(MANAGER_PATH, MANAGER, member);
        let one = |unit: &str| vec![unit.to_owned()];
        let stop = of_manager("StopUnit").build(&("nginx.service", "replace")).unwrap();
        assert_eq!(asked(&stop), Some((one("nginx.service"), "stop")));
        let job = of_manager("EnqueueUnitJob").build(&("nginx.service", "restart", "fail")).unwrap();
        assert_eq!(asked(&job), Some((one("nginx.service"), "restart")));
        let mask = of_manager("MaskUnitFiles")
            .build(&(vec!["a.service", "/usr/lib/systemd/system/b.service"], false, true))
            .unwrap();
        assert_eq!(asked(&mask), Some((vec!["a.service".to_owned(), "b.service".to_owned()], "mask")));
        let revert = of_manager("RevertUnitFiles").build(&(vec!["a.service"],)).unwrap();
        assert_eq!(asked(&revert), Some((one("a.service"), "revert")));
        let own = call(&object_of("nginx@1.service"), UNIT, "Stop").build(&("replace",)).unwrap();
        assert_eq!(asked(&own), Some((one("nginx@1.service"), "stop")));
        for message in [
            of_manager("GetUnit").build(&("nginx.service",)).unwrap(),
            of_manager("StopUnit").build(&()).unwrap(),
            call(&object_of("a.service"), UNIT, "Ref").build(&()).unwrap(),
            call("/x", "org.example.Other", "StopUnit").build(&("nginx.service", "replace")).unwrap(),
        ] {
            assert_eq!(asked(&message), None, "{message:?}");
        }
    }

    #[tokio::test]
    async fn a_bus_that_is_not_there_is_said() {
        let listening = UnitCalls::listen(Path::new("/nonexistent")).await;
        assert!(matches!(listening.err(), Some(UnitError::Unreachable { .. })));
    }
}
