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
#[ignore = "a minute: every neighbouring pair of the whole index (cargo test --test it -- --ignored)"]
fn every_neighbouring_pair_of_the_index_is_ordered_as_dpkg_orders_it() {
    let versions = versions_of_the_index();
    let pairs: Vec<_> = versions.windows(2).map(|pair| (&*pair[0], &*pair[1])).collect();
    let wrong = disagreements(&pairs);
    println!("{} versions, {} pairs", versions.len(), pairs.len());
    assert!(wrong.is_empty(), "dpkg disagrees: {wrong:?}");
}
