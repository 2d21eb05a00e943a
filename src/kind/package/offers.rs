//! What the host's apt sources have, and how old that knowledge is.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::host::Host;

use super::apt::{APT_CACHE, APT_GET, Offer, policy};
use super::diff::suits;
use super::reason::{self, Reason};
use super::spec::Wish;
use super::transaction::{self, Ran, RunError};
use super::version::compare;

/// apt's folder of fetched indices, and where they are fetched to.
const LISTS: [&str; 2] = ["/var/lib/apt/lists", "/var/lib/apt/lists/partial"];

/// What the sources have of the packages that were asked for.
#[derive(Clone, Debug, Default)]
pub struct Offers(BTreeMap<String, Offer>);

impl Offers {
    /// Asks for packages by name and architecture (`nginx:amd64`), in one run.
    pub fn ask(host: &Host, names: &[String], native: &str) -> Result<Offers, RunError> {
        let mut args = transaction::cache_options(host);
        args.extend(["policy", "--"].map(str::to_owned));
        args.extend(names.iter().cloned());
        let done = transaction::ask(host, APT_CACHE, args)?;
        let offers = policy(&String::from_utf8_lossy(&done.stdout)).into_iter();
        let qualified = |name: String| if name.contains(':') { name } else { format!("{name}:{native}") };
        Ok(Offers(offers.map(|(name, offer)| (qualified(name), offer)).collect()))
    }

    /// The version to install of a package, by its qualified name; `shown` is how it is declared.
    pub fn choose(&self, shown: &str, name: &str, wish: &Wish) -> Result<String, Reason> {
        let Some(offer) = self.0.get(name) else {
            return Err(Reason::NoSuchPackage { name: shown.to_owned() });
        };
        let suiting = offer.versions.iter().filter(|version| suits(wish, version));
        let candidate = offer.candidate.as_ref().filter(|version| suits(wish, version));
        let best = match wish {
            Wish::Exactly(_) => suiting.max_by(|a, b| compare(a, b)),
            Wish::AtLeast(_) => candidate.or_else(|| suiting.max_by(|a, b| compare(a, b))),
            Wish::Any | Wish::Absent | Wish::Purged => candidate,
        };
        match best {
            Some(version) => Ok(version.clone()),
            None if *wish == Wish::Any => Err(Reason::NoCandidate { name: shown.to_owned() }),
            None if offer.versions.is_empty() && offer.candidate.is_none() => {
                Err(Reason::NoCandidate { name: shown.to_owned() })
            }
            None => Err(Reason::VersionNotInArchive {
                name: shown.to_owned(),
                wanted: wish.to_string(),
                available: available(&offer.versions),
            }),
        }
    }

    /// Whether this very version can be fetched.
    pub fn has(&self, name: &str, version: &str) -> bool {
        self.0.get(name).is_some_and(|offer| offer.versions.iter().any(|other| other == version))
    }
}

fn available(versions: &[String]) -> String {
    match versions {
        [] => "none".to_owned(),
        few if few.len() <= 5 => few.join(", "),
        many => format!("{} and {} more", many[..5].join(", "), many.len() - 5),
    }
}

/// Whether the index was fetched longer ago than `age`, never, or in the future (a clock that was wrong).
pub fn index_is_old(host: &Host, age: Duration) -> bool {
    let times = LISTS.iter().filter_map(|path| host.root.stat(path).ok().flatten());
    let Some(fetched) = times.map(|stat| stat.identity.mtime).max() else { return true };
    let now = i64::try_from(host.clock.now().as_nanosecond()).unwrap_or(i64::MAX);
    let limit = i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
    fetched > now || now.saturating_sub(fetched) > limit
}

/// How the index is fetched. Any source that fails is an error, so that it is told.
pub fn refresh() -> Vec<String> {
    [APT_GET, "--quiet", "-o", "APT::Update::Error-Mode=any", "-o", "APT::Color=0", "update"]
        .map(str::to_owned)
        .into()
}

/// Whether every source answered.
pub fn refreshed(ran: &Ran) -> Result<(), Reason> {
    if ran.timed_out {
        return Err(Reason::TimedOut { complaint: reason::last_words(&ran.output) });
    }
    let told = |line: &str| line.starts_with("E: ") || line.starts_with("Err:") || line.starts_with("W: ");
    if !ran.output.lines().any(told) {
        return Ok(());
    }
    let words: Vec<&str> = ran.output.lines().filter(|line| told(line) || line.starts_with("  ")).collect();
    reason::of_output(&words.join("\n")).map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(wish: &Wish) -> Result<String, &'static str> {
        let offer = Offer { candidate: Some("1.1".into()), versions: vec!["1.1".into(), "2.0".into()] };
        let none = Offer::default();
        let offers = Offers([("a:amd64".into(), offer), ("virtual:amd64".into(), none)].into());
        assert_eq!(offers.choose("b", "b:amd64", wish).unwrap_err().code(), "no-such-package");
        assert_eq!(offers.choose("virtual", "virtual:amd64", wish).unwrap_err().code(), "no-candidate");
        offers.choose("a", "a:amd64", wish).map_err(|reason| reason.code())
    }

    #[test]
    fn the_version_follows_the_wish_and_then_the_pins() {
        let (exactly, least) =
            (|v: &str| Wish::Exactly(v.parse().unwrap()), |v: &str| Wish::AtLeast(v.parse().unwrap()));
        assert_eq!(chosen(&Wish::Any), Ok("1.1".into()));
        assert_eq!(chosen(&exactly("2.0-0")), Ok("2.0".into()));
        assert_eq!(chosen(&exactly("1.0")), Err("version-not-in-archive"));
        assert_eq!(chosen(&least("1.0")), Ok("1.1".into()), "the candidate, which is what pins prefer");
        assert_eq!(chosen(&least("1.5")), Ok("2.0".into()));
        assert_eq!(chosen(&least("3")), Err("version-not-in-archive"));
    }
}
