//! Of packages: dpkg's database, apt's history, the notes of programs.

use super::*;

#[test]
fn a_package_is_asked_of_whoever_is_on_top_of_dpkg() {
    let apt = image(200, "/usr/bin/apt-get", &["apt-get", "remove", "-y", "nginx"]);
    let dpkg = Executed {
        parent: 200,
        parent_started: 20_000,
        ..image(201, "/usr/bin/dpkg", &["dpkg", "--remove", "nginx"])
    };
    let seen = |pid| {
        doing(
            Deeds { named: true, ..Deeds::default() },
            witness("/var/lib/dpkg/status", pid, 202_000, Caught::Gone(None)),
        )
    };
    let run = |command: &str, packages: &[&str], ended: i64| AptRun {
        started: Timestamp::from_second(ended - 1).unwrap(),
        ended: Timestamp::from_second(ended).unwrap(),
        command: Some(command.to_owned()),
        requested_by: Some(("alice".to_owned(), 1000)),
        packages: packages.iter().map(|name| (*name).to_owned()).collect(),
    };
    let nginx = question("package:nginx", &["ensure"]);
    let removed = run("apt-get remove -y nginx", &["nginx"], 203);
    let mut both = gathered(vec![apt.clone(), dpkg.clone()], vec![seen(201)]);
    both.apt = vec![removed.clone()];
    assert_eq!(told(&nginx, &both), "certain: /usr/bin/apt-get as root by alice");
    let attribution = attribute(&nginx, &both);
    assert_eq!(attribution.evidence, [Evidence::Fanotify, Evidence::ExecCache, Evidence::AptHistory]);

    // What sudo was told to start is not sudo.
    let sudo = image(199, "/usr/bin/sudo", &["sudo", "dpkg", "--remove", "nginx"]);
    let alone = Executed { parent: 199, parent_started: 19_900, ..dpkg.clone() };
    let elevated = gathered(vec![sudo, alone], vec![seen(201)]);
    assert_eq!(told(&nginx, &elevated), "certain: /usr/bin/dpkg as root by alice");

    // The agent's own run, by which the package came back, is not who removed it.
    let words = crate::kind::package::apt::arguments(
        crate::kind::package::apt::Verb::Install,
        crate::kind::package::apt::Allowed::default(),
        &["nginx:amd64=1".to_owned()],
    );
    let own = format!("/usr/bin/apt-get {}", words.join(" "));
    let mut back = gathered(vec![apt.clone()], vec![]);
    back.apt = vec![removed.clone(), AptRun { requested_by: None, ..run(&own, &["nginx"], 206) }];
    assert_eq!(told(&nginx, &back), "likely: /usr/bin/apt-get as root by alice");
    let mut only = gathered(vec![], vec![]);
    only.apt = back.apt.split_off(1);
    assert!(told(&nginx, &only).starts_with("unknown"));

    // Another one ran meanwhile, and did not touch this package.
    let other = image(202, "/usr/bin/apt-get", &["apt-get", "install", "curl"]);
    let mut two = gathered(vec![apt.clone(), dpkg, other], vec![seen(201), seen(202)]);
    two.apt = vec![removed.clone(), run("apt-get install curl", &["curl"], 204)];
    assert_eq!(told(&nginx, &two), "certain: /usr/bin/apt-get as root by alice");

    // Nobody was seen: apt's own word, with the kernel's note or without.
    let mut noted = gathered(vec![apt.clone()], vec![]);
    noted.apt = vec![removed.clone()];
    assert_eq!(told(&nginx, &noted), "likely: /usr/bin/apt-get as root by alice");
    let mut written = gathered(vec![], vec![]);
    written.apt = vec![removed.clone()];
    assert_eq!(told(&nginx, &written), "likely: apt-get as root by alice");
    written.apt = vec![removed.clone(), run("apt-get purge nginx", &["nginx"], 205)];
    assert!(told(&nginx, &written).starts_with("unknown: apt's history has 2 runs"));
    written.apt = vec![run("apt-get remove -y nginx", &["nginx"], 50)];
    assert!(told(&nginx, &written).starts_with("unknown"), "that was before it was right");

    let by_sudo = Executed {
        parent: 198,
        parent_started: 19_800,
        ..image(199, "/usr/bin/dpkg", &["dpkg", "-i", "x.deb"])
    };
    let sudo = image(198, "/usr/bin/sudo", &["sudo", "dpkg", "-i", "x.deb"]);
    let through_sudo = gathered(vec![sudo, by_sudo], vec![seen(199)]);
    assert_eq!(told(&nginx, &through_sudo), "certain: /usr/bin/dpkg as root by alice");
    let mut ours = gathered(vec![], vec![]);
    let options = crate::kind::package::apt::arguments(
        crate::kind::package::apt::Verb::Install,
        crate::kind::package::apt::Allowed::default(),
        &["nginx".to_owned()],
    );
    let call = format!("{} {}", crate::kind::package::apt::APT_GET, options.join(" "));
    ours.apt = vec![AptRun { requested_by: None, ..run(&call, &["nginx"], 203) }];
    assert!(told(&nginx, &ours).starts_with("unknown"), "the agent's own");

    let alone = image(203, "/usr/bin/dpkg", &["dpkg", "-r", "nginx"]);
    assert_eq!(told(&nginx, &gathered(vec![alone], vec![])), "likely: /usr/bin/dpkg as root by alice");
    assert!(told(&question("package:curl", &[]), &gathered(vec![apt], vec![])).starts_with("unknown"));
}

#[test]
fn of_several_the_one_who_was_at_work_by_dpkgs_log_is_named() {
    let named = Deeds { named: true, ..Deeds::default() };
    let seen = |pid: u32, at| doing(named, witness("/var/lib/dpkg/status", pid, at, Caught::Gone(None)));
    let early = image(200, "/usr/bin/dpkg", &["dpkg", "--remove", "curl"]);
    let late = image(210, "/usr/bin/dpkg", &["dpkg", "--install", "/srv/x.deb"]);
    let mut known = gathered(vec![early.clone(), late.clone()], vec![seen(200, 203_000), seen(210, 213_000)]);
    let done = |second: i64, action: &str, package: &str| DpkgNote {
        at: Timestamp::from_second(second).unwrap(),
        action: action.to_owned(),
        package: package.to_owned(),
    };
    let nginx = question("package:nginx", &["ensure"]);
    assert!(told(&nginx, &known).starts_with("unknown"), "nobody was told to touch it");
    known.dpkg = vec![
        done(50, "install", "nginx"),
        done(202, "remove", "curl"),
        done(212, "install", "nginx"),
        done(216, "purge", "nginx"),
    ];
    assert_eq!(told(&nginx, &known), "likely: /usr/bin/dpkg as root by alice");
    let attribution = attribute(&nginx, &known);
    assert_eq!(attribution.evidence, [Evidence::Fanotify, Evidence::ExecCache, Evidence::DpkgLog]);
    assert_eq!(attribution.actor.unwrap().process.unwrap().pid, 210);
    known.dpkg = vec![done(206, "install", "nginx")];
    assert!(told(&nginx, &known).starts_with("unknown"), "neither of them was at work");

    // The log and the arguments tell of others.
    let late = Executed { command: vec!["dpkg".into(), "-i".into(), "/x/nginx_1_all.deb".into()], ..late };
    let mut known = gathered(vec![early, late], vec![seen(200, 203_000), seen(210, 213_000)]);
    assert_eq!(told(&nginx, &known), "certain: /usr/bin/dpkg as root by alice");
    known.dpkg = vec![done(202, "remove", "nginx")];
    let other = Executed { login: Some(1001), ..image(200, "/usr/bin/dpkg", &["dpkg", "--remove", "curl"]) };
    known.processes.images.insert(200, vec![other]);
    assert!(told(&nginx, &known).starts_with("unknown: more than one"), "{}", told(&nginx, &known));
}

#[test]
fn what_dpkg_has_its_helpers_do_is_its_own() {
    let dpkg = image(200, "/usr/bin/dpkg", &["dpkg", "--install", "/srv/ways/nginx.deb"]);
    let helper = Executed {
        parent: 200,
        parent_started: 20_000,
        ..image(201, "/usr/bin/dpkg-deb", &["dpkg-deb", "--control", "/srv/ways/nginx.deb"])
    };
    let nginx = question("package:nginx", &["ensure"]);
    let known = gathered(vec![dpkg, helper.clone()], vec![]);
    assert_eq!(told(&nginx, &known), "likely: /usr/bin/dpkg as root by alice");
    let stranger = Executed { parent: 30, parent_started: 3000, ..helper };
    let other = image(200, "/usr/bin/dpkg", &["dpkg", "--install", "/srv/ways/nginx.deb"]);
    assert!(told(&nginx, &gathered(vec![other, stranger], vec![])).starts_with("unknown: more than one"));
}
