//! Who is seen making a change.

use std::io::{Read, Write};
use std::process::Stdio;

use super::*;
use crate::model::{Caught, Deeds, Evidence, Subject, Witness};

const BEFORE: &str = "mkdir etc; echo a > etc/conf; echo a > etc/other";

fn of<'a>(noticed: &'a Noticed, path: &Path) -> Vec<&'a Witness> {
    noticed.witnesses.iter().filter(|one| one.subject == Subject::Path(path.to_owned())).collect()
}

#[tokio::test]
async fn who_still_lives_is_read_in_full_and_only_of_what_is_wanted() {
    let mut ground = Ground::new(Way::Best, BEFORE, &["etc/conf"]);
    let mut shell = Command::new("/bin/sh")
        .args(["-c", "echo x > etc/other; echo b > etc/conf; echo done; read word"])
        .current_dir(ground.dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    shell.stdout.as_mut().unwrap().read_exact(&mut [0; 5]).unwrap();
    let noticed = ground.noticed("etc/conf", "written by a shell").await;
    assert_eq!(noticed.witnesses.len(), 1, "{noticed:?}");
    let witness = of(&noticed, &ground.at("etc/conf"))[0];
    assert_eq!((witness.source, witness.pid), (Evidence::Fanotify, Some(shell.id())));
    assert_eq!(witness.deeds, Deeds { wrote: true, ..Deeds::default() });
    let Caught::Alive(facts) = &witness.caught else { panic!("it lives: {witness:?}") };
    assert_eq!((facts.command[0].as_str(), facts.command[1].as_str()), ("/bin/sh", "-c"));
    assert!(facts.executable.as_ref().unwrap().contains("sh") && !facts.is_deleted, "{facts:?}");
    assert_eq!(facts.ancestors[0].pid, std::process::id());
    shell.stdin.take().unwrap().write_all(b"end\n").unwrap();
    shell.wait().unwrap();
}

#[tokio::test]
async fn each_of_several_is_told_with_its_own_deeds() {
    let mut ground = Ground::new(Way::Best, BEFORE, &["etc/conf"]);
    // Nobody takes what is noticed before both are done.
    ground.sh("echo b > etc/conf");
    ground.sh("/bin/chmod 600 etc/conf; mv etc/other etc/else");
    let path = ground.at("etc/conf");
    let mut deeds = Vec::new();
    while deeds.len() < 2 {
        let noticed = ground.noticed("etc/conf", "two deeds").await;
        deeds.extend(of(&noticed, &path).iter().map(|one| (one.pid, one.deeds)));
    }
    let [(writer, wrote), (changer, changed)] = deeds[..] else { panic!("two processes: {deeds:?}") };
    assert_ne!(writer, changer);
    let all: Vec<_> =
        [wrote, changed].iter().map(|deeds| (deeds.wrote, deeds.attributed, deeds.named)).collect();
    assert!(all.contains(&(true, false, false)) && all.contains(&(false, true, false)), "{all:?}");
}

#[tokio::test]
async fn our_own_writes_wake_nobody_and_bear_no_witness() {
    let mut ground = Ground::new(Way::Best, BEFORE, &["etc/conf", "etc/other"]);
    // By name: what is open here, the child of another test inherits, and may be the one that closes it.
    nix::unistd::truncate(&ground.at("etc/conf"), 1).unwrap();
    ground.sh("echo theirs > etc/other");
    let noticed = ground.noticed("etc/other", "theirs").await;
    assert_eq!(noticed.scope, only(&[ground.at("etc/other")]));
    assert!(of(&noticed, &ground.at("etc/conf")).is_empty());
}
