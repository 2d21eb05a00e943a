//! Packages against the real dpkg of the machine.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use agentd::kind::package::version::compare;

/// How many comparisons the ordinary test makes: dpkg takes one process each, a millisecond or more.
const ADJACENT: usize = 1_500;
const FAR_APART: usize = 500;

/// Every version in the package indices of this machine, without repetition, in our order.
fn versions_of_the_index() -> Vec<String> {
    let lists = std::fs::read_dir("/var/lib/apt/lists").expect("apt's lists: run `apt-get update`");
    let indices: Vec<PathBuf> = lists
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().contains("_Packages"))
        .collect();
    assert!(!indices.is_empty(), "no package index in /var/lib/apt/lists: run `apt-get update`");
    let text = Command::new("/usr/lib/apt/apt-helper").arg("cat-file").args(&indices).output().unwrap();
    assert!(text.status.success(), "{}", String::from_utf8_lossy(&text.stderr));
    let text = String::from_utf8_lossy(&text.stdout);
    let versions: BTreeSet<&str> = text.lines().filter_map(|line| line.strip_prefix("Version: ")).collect();
    let mut versions: Vec<String> = versions.into_iter().map(str::to_owned).collect();
    versions.sort_by(|a, b| compare(a, b));
    versions
}

fn dpkg_agrees(a: &str, b: &str) -> bool {
    let relation = match compare(a, b) {
        Ordering::Less => "lt",
        Ordering::Equal => "eq",
        Ordering::Greater => "gt",
    };
    let status = Command::new("/usr/bin/dpkg").args(["--compare-versions", a, relation, b]).status();
    status.unwrap().success()
}

/// On all cores; gives the pairs on which dpkg says otherwise.
fn disagreements(pairs: &[(&str, &str)]) -> Vec<String> {
    let share = pairs.len().div_ceil(std::thread::available_parallelism().unwrap().get()).max(1);
    std::thread::scope(|scope| {
        let workers: Vec<_> = pairs
            .chunks(share)
            .map(|pairs| {
                let wrong = pairs.iter().filter(|(a, b)| !dpkg_agrees(a, b));
                scope.spawn(move || wrong.map(|(a, b)| format!("{a} {b}")).collect::<Vec<_>>())
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    })
}

/// The same choice each time, spread over everything.
fn spread(count: usize, of: usize) -> impl Iterator<Item = usize> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % of
    })
    .take(count)
}

#[test]
fn versions_are_ordered_as_dpkg_orders_them() {
    let versions = versions_of_the_index();
    assert!(versions.len() > 10_000, "only {} versions in the index", versions.len());
    let step = versions.len() / ADJACENT;
    let neighbours = (0..ADJACENT).map(|i| (&*versions[i * step], &*versions[i * step + 1]));
    let far = spread(FAR_APART * 2, versions.len()).collect::<Vec<_>>();
    let far = far.chunks(2).map(|pair| (&*versions[pair[0]], &*versions[pair[1]]));
    let pairs: Vec<_> = neighbours.chain(far).collect();
    let wrong = disagreements(&pairs);
    println!("{} of {} versions compared in {} pairs", ADJACENT * 2, versions.len(), pairs.len());
    assert!(wrong.is_empty(), "dpkg disagrees: {wrong:?}");
}

#[test]
#[ignore = "up to a minute: every neighbouring pair of the whole index; `make unit` runs it by itself"]
fn every_neighbouring_pair_of_the_index_is_ordered_as_dpkg_orders_it() {
    let versions = versions_of_the_index();
    let pairs: Vec<_> = versions.windows(2).map(|pair| (&*pair[0], &*pair[1])).collect();
    let wrong = disagreements(&pairs);
    println!("{} versions, {} pairs", versions.len(), pairs.len());
    assert!(wrong.is_empty(), "dpkg disagrees: {wrong:?}");
}

mod observation {
    //! What the kind reads against what dpkg-query says of this very machine.

    use std::process::Command;
    use std::sync::Arc;

    use agentd::host::Host;
    use agentd::host::accounts::SystemAccounts;
    use agentd::host::clock::SystemClock;
    use agentd::host::files::Root;
    use agentd::host::netfilter::FakeNetfilter;
    use agentd::host::program::SystemPrograms;
    use agentd::host::units::FakeUnits;
    use agentd::kind::package::database::Database;
    use agentd::kind::package::{Packages, transaction_running};

    fn host(root: &str) -> Host {
        Host {
            root: Root::open(root).unwrap(),
            programs: Arc::new(SystemPrograms),
            units: Arc::new(FakeUnits::new()),
            netfilter: Arc::new(FakeNetfilter::default()),
            accounts: Arc::new(SystemAccounts::new()),
            clock: Arc::new(SystemClock),
        }
    }

    #[test]
    fn every_package_of_this_machine_is_read_as_dpkg_query_shows_it() {
        let format = "${Package} ${Architecture} ${Version} ${db:Status-Want} ${db:Status-Status} ${Essential} ${Protected}\n";
        let said = Command::new("/usr/bin/dpkg-query").args(["-W", "-f", format]).output().unwrap();
        let mut said: Vec<String> =
            String::from_utf8(said.stdout).unwrap().lines().map(|line| line.trim_end().to_owned()).collect();
        let database = Database::read(&Root::open("/").unwrap(), None).unwrap();
        let mut read: Vec<String> = database
            .table()
            .iter()
            .filter(|package| package.status.as_str() != "not-installed")
            .map(|package| {
                let want = if package.held { "hold" } else { "install" };
                let essential = if package.essential { " yes" } else { "" };
                format!(
                    "{} {} {} {want} {}{essential}",
                    package.name,
                    package.architecture,
                    package.version,
                    package.status.as_str()
                )
            })
            .collect();
        for line in &mut said {
            // What is wanted of a removed package is no part of what we read; `no` is the same as nothing.
            *line = line.replace(" deinstall ", " install ").replace(" purge ", " install ");
            let kept =
                line.trim_end_matches(" no").trim_end_matches(" yes").trim_end_matches(" no").trim_end();
            *line = if line.contains(" yes") { format!("{kept} yes") } else { kept.to_owned() };
        }
        said.sort_unstable();
        read.sort_unstable();
        assert!(read.len() > 100, "only {} packages", read.len());
        let differ: Vec<_> = read.iter().zip(&said).filter(|(a, b)| a != b).take(5).collect();
        assert!(differ.is_empty() && read.len() == said.len(), "read and said: {differ:?}");
        let mut kind = Packages::default();
        let installed = kind.all(&host("/")).unwrap().count();
        assert_eq!(installed, said.iter().filter(|line| !line.contains(" config-files")).count());
    }

    /// dpkg itself writes the database, in a folder of ours.
    #[test]
    fn what_a_real_dpkg_writes_is_seen_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir_all(root.join("var/lib/dpkg/updates")).unwrap();
        std::fs::create_dir_all(root.join("var/lib/dpkg/info")).unwrap();
        std::fs::write(root.join("var/lib/dpkg/status"), "").unwrap();
        std::fs::write(root.join("var/lib/dpkg/available"), "").unwrap();
        let tree = root.join("tree");
        std::fs::create_dir_all(tree.join("DEBIAN")).unwrap();
        let control = "Package: shopd\nVersion: 1:1.0-1\nArchitecture: all\nMaintainer: Lab <lab@example.org>\n\
                       Description: a package of the tests\n";
        std::fs::write(tree.join("DEBIAN/control"), control).unwrap();
        let deb = root.join("shopd.deb");
        let dpkg = |args: &[&str]| {
            let root = format!("--root={}", root.display());
            let status = Command::new("/usr/bin/dpkg").arg(root).args(args).status();
            assert!(status.unwrap().success(), "dpkg {args:?}");
        };
        let built = Command::new("/usr/bin/dpkg-deb").arg("--build").args([&tree, &deb]).output().unwrap();
        assert!(built.status.success(), "{built:?}");
        dpkg(&["--unpack", deb.to_str().unwrap()]);
        let host = host(root.to_str().unwrap());
        let state = |kind: &mut Packages| {
            let all: Vec<_> = kind
                .all(&host)
                .unwrap()
                .map(|p| format!("{} {} {} {}", p.name, p.version, p.status.as_str(), p.held))
                .collect();
            all.join(", ")
        };
        let mut kind = Packages::default();
        assert_eq!(state(&mut kind), "shopd 1:1.0-1 unpacked false");
        dpkg(&["--configure", "shopd"]);
        assert_eq!(state(&mut kind), "shopd 1:1.0-1 installed false");
        let hold = format!("echo shopd hold | dpkg --root={} --set-selections", root.display());
        assert!(Command::new("/bin/sh").args(["-c", &hold]).status().unwrap().success());
        assert_eq!(state(&mut kind), "shopd 1:1.0-1 installed true");
        assert_eq!(transaction_running(&host), None);
        dpkg(&["--remove", "shopd"]);
        assert_eq!(kind.all(&host).map(Iterator::count).ok(), None, "an empty database is no answer");
    }
}
