//! What systemd tells of units without being asked.
//!
//! A reload of all unit files is told with two signals a unit, of every unit of the host: only what concerns the units
//! asked for is let through by the bus, so that nothing else wakes us. What is about to change once more (a stop that
//! is under way, a restart between its halves) is passed over: its end is told as well. Only a unit that ended and waits
//! for its own restart is told of at once: that wait may be long.

use std::collections::HashMap;
use std::path::Path;

use zbus::message::{Message, Type};
use zbus::{MessageStream, OwnedObjectPath, OwnedVariant, Structure};

use super::bus::{
    BUS, BusError, MANAGER, MANAGER_PATH, Peer, SYSTEM_BUS, SYSTEMD, UNIT, answer, next, object_of,
};
use super::name::UnitName;
use super::types::UnitError;

/// What systemd told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnitSignal {
    /// A unit came to rest: it started, stopped, crashed, or a job on it ended.
    Settled(UnitName),
    /// A unit ended by itself, and systemd will start it again after the unit's `RestartSec=`.
    Restarting(UnitName),
    /// Unit files were read again, or turned on or off.
    Files,
}

/// Hears what systemd tells of some units. Ends with an error when the bus or PID 1 is restarted: what was told
/// meanwhile is lost, so listen anew and look at everything.
pub struct UnitSignals {
    stream: MessageStream,
    systemd: String,
    units: HashMap<String, UnitName>,
}

/// A connection may have 512 rules on Debian's system bus; with more units than this, one rule stands for all units
/// and we do the sorting.
const NAMED: usize = 200;

const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

impl UnitSignals {
    /// Begins to listen on the host whose file tree is seen at `root`, driven by the runtime we are called on.
    pub async fn listen(root: &Path, units: &[UnitName]) -> Result<Self, UnitError> {
        let socket = root.join(SYSTEM_BUS.trim_start_matches('/'));
        listen(&socket, units).await.map_err(|error| error.telling("tell of changes of", "its units"))
    }

    /// The next signal. Nothing is lost if the wait is given up.
    pub async fn next(&mut self) -> Result<UnitSignal, UnitError> {
        loop {
            let told = match next(&mut self.stream).await {
                Ok(message) => self.told(&message),
                Err(error) => Err(error),
            };
            if let Some(signal) = told.map_err(|error| error.telling("tell of changes of", "its units"))? {
                return Ok(signal);
            }
        }
    }

    fn told(&self, message: &Message) -> Result<Option<UnitSignal>, BusError> {
        let header = message.header();
        let (Some(member), Some(sender)) = (header.member(), header.sender()) else { return Ok(None) };
        if header.message_type() != Type::Signal {
            return Ok(None);
        }
        // Whatever rules there are, anyone may address a signal to us.
        match (sender.as_str(), member.as_str()) {
            (BUS, "NameOwnerChanged") => Err(BusError::Gone("PID 1 was started anew".into())),
            (sender, _) if sender != self.systemd => Ok(None),
            (_, "UnitFilesChanged") => Ok(Some(UnitSignal::Files)),
            (_, "Reloading") => Ok((!answer::<bool>(message)?).then_some(UnitSignal::Files)),
            (_, "JobRemoved") => Ok(self.job_ended(message)?.map(UnitSignal::Settled)),
            (_, "PropertiesChanged") => {
                let unit = header.path().and_then(|path| self.units.get(path.as_str()));
                Ok(unit.cloned().and_then(|unit| match phase(message) {
                    Phase::Rest => Some(UnitSignal::Settled(unit)),
                    Phase::Restart => Some(UnitSignal::Restarting(unit)),
                    Phase::Passing => None,
                }))
            }
            _ => Ok(None),
        }
    }

    fn job_ended(&self, message: &Message) -> Result<Option<UnitName>, BusError> {
        let (_, _, unit, result): (u32, OwnedObjectPath, String, String) = answer(message)?;
        // Another job took its place, and that one's end is told, too.
        let is_over = result != "canceled";
        Ok(self.units.get(&object_of(&unit)).filter(|_| is_over).cloned())
    }
}

async fn listen(socket: &Path, units: &[UnitName]) -> Result<UnitSignals, BusError> {
    let peer = Peer::connect(socket).await?;
    for rule in rules(units) {
        peer.bus::<()>("AddMatch", &(rule.as_str(),)).await?;
    }
    // From here on nothing is missed, and there are only two answers that its queue must hold.
    let stream = peer.everything();
    let systemd: String = peer.bus("GetNameOwner", &(SYSTEMD,)).await?;
    peer.manager::<()>("Subscribe", &()).await?;
    let units = units.iter().map(|unit| (object_of(unit.as_str()), unit.clone())).collect();
    Ok(UnitSignals { stream, systemd, units })
}

fn rules(units: &[UnitName]) -> Vec<String> {
    let manager = format!("type='signal',sender='{SYSTEMD}',path='{MANAGER_PATH}',interface='{MANAGER}'");
    let changed = format!(
        "type='signal',sender='{SYSTEMD}',interface='{PROPERTIES}',member='PropertiesChanged',arg0='{UNIT}'"
    );
    let mut rules = vec![
        format!("type='signal',sender='{BUS}',interface='{BUS}',member='NameOwnerChanged',arg0='{SYSTEMD}'"),
        format!("{manager},member='UnitFilesChanged'"),
        format!("{manager},member='Reloading'"),
    ];
    if units.len() > NAMED {
        rules.push(format!("{changed},path_namespace='{MANAGER_PATH}/unit'"));
        rules.push(format!("{manager},member='JobRemoved'"));
        return rules;
    }
    for unit in units {
        rules.push(format!("{changed},path='{}'", object_of(unit.as_str())));
        // The first that is told of a unit which was not loaded is not that its properties changed.
        rules.push(format!("{manager},member='JobRemoved',arg2='{unit}'"));
    }
    rules
}

/// What a unit is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It stays as it is now, as far as systemd knows.
    Rest,
    /// It waits for its own restart.
    Restart,
    /// It is about to change once more.
    Passing,
}

/// What is not understood is worth a look.
fn phase(message: &Message) -> Phase {
    let changed = answer::<(String, HashMap<String, OwnedVariant>, Vec<String>)>(message);
    let Ok((_, changed, _)) = changed else { return Phase::Rest };
    let text = |name: &str| changed.get(name).and_then(|value| <&str>::try_from(value).ok());
    let passing = matches!(text("ActiveState"), Some("activating" | "deactivating" | "reloading"));
    let job = changed.get("Job").and_then(|value| <&Structure<'_>>::try_from(value).ok());
    let job = job.and_then(|job| job.fields().first()).and_then(|id| u32::try_from(id).ok());
    match (passing, text("SubState"), job.unwrap_or(0)) {
        (true, Some("auto-restart"), 0) => Phase::Restart,
        (false, _, 0) => Phase::Rest,
        (true | false, _, _) => Phase::Passing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<UnitName> {
        (0..count).map(|number| format!("unit-{number}.service").parse().unwrap()).collect()
    }

    fn changed(active: &str, sub: &str, job: u32) -> Message {
        let body = (
            UNIT,
            HashMap::from([
                ("ActiveState", zbus::Variant::from(active)),
                ("SubState", zbus::Variant::from(sub)),
                ("Job", zbus::Variant::from((job, zbus::ObjectPath::try_from("/").unwrap()))),
            ]),
            Vec::<String>::new(),
        );
        let path = object_of("unit-0.service");
        Message::signal(path.as_str(), PROPERTIES, "PropertiesChanged").build(&body).unwrap()
    }

    #[test]
    fn the_rules_stay_below_the_limit_of_the_bus_however_many_units_there_are() {
        assert!(rules(&names(NAMED)).len() < 512);
        assert!(rules(&names(10_000)).len() < 10);
        let few = rules(&names(1)).join("\n");
        assert!(few.contains("path='/org/freedesktop/systemd1/unit/unit_2d0_2eservice'"), "{few}");
        assert!(few.contains("arg2='unit-0.service'"), "{few}");
    }

    #[test]
    fn only_what_came_to_rest_is_told() {
        let told = |active, sub, job| phase(&changed(active, sub, job));
        for (active, sub) in [("active", "running"), ("inactive", "dead"), ("failed", "failed")] {
            assert_eq!(told(active, sub, 0), Phase::Rest, "{active}");
        }
        for (active, sub, job) in [
            ("deactivating", "stop-sigterm", 0),
            // A restart between its halves; a start under way; the end of a wait for the unit's own restart.
            ("inactive", "dead", 7),
            ("activating", "start", 7),
            ("activating", "auto-restart", 7),
            ("reloading", "reload", 0),
        ] {
            assert_eq!(told(active, sub, job), Phase::Passing, "{active} {sub} {job}");
        }
        assert_eq!(told("activating", "auto-restart", 0), Phase::Restart);
    }

    #[tokio::test]
    async fn a_bus_that_is_not_there_is_said() {
        let listening = UnitSignals::listen(Path::new("/nonexistent"), &names(1)).await;
        assert!(matches!(listening.err(), Some(UnitError::Unreachable { .. })));
    }
}
