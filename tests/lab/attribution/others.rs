//! Files changed in ways that hide who does it: as somebody else, by a job, from a container, under a false name.

use super::way::Way;

pub fn ways() -> Vec<Way> {
    [elevated(), hidden(), jobs(), containers(), crowds(), blind()].concat()
}

/// Somebody else than who logged in.
fn elevated() -> Vec<Way> {
    let root = |name, script: &str| Way::file(name, script).runs_as("root").owned_by("root");
    vec![
        root("tee by sudo", "echo changed | sudo tee $F > /dev/null").by("/usr/bin/tee"),
        root("chown by sudo", "sudo chown ben $F").by("/usr/bin/chown"),
        root(
            "root shell by sudo, stays",
            "sudo F=$F bash -c 'echo changed > $F; /srv/ways/until_undone $F; true'",
        )
        .by("/usr/bin/bash")
        .alive(),
        root("mv of the folder", "sudo mv $D $D.away").by("/usr/bin/mv").after("rm -rf $D.away"),
        root("su to root", "echo secret | su -c \"/usr/bin/sed -i s/held/changed/ $F\" root")
            .by("/usr/bin/sed"),
        Way::file("su to ben", "echo secret | su -c \"/usr/bin/cp /srv/ways/changed $F\" ben")
            .runs_as("ben")
            .owned_by("ben")
            .by("/usr/bin/cp"),
        Way::file("sudo -u ben", "sudo -u ben sed -i s/held/changed/ $F")
            .runs_as("ben")
            .owned_by("ben")
            .by("/usr/bin/sed"),
        root(
            "through a bind mount",
            "sudo unshare -m sh -c \"mount --bind $D /mnt; echo changed > /mnt/file\"",
        )
        .by("/usr/bin/dash"),
    ]
}

/// Programs that say they are others, or are gone.
fn hidden() -> Vec<Way> {
    vec![
        Way::file("renamed process", "/srv/ways/renamed.pl $F").by("/usr/bin/perl"),
        Way::file("renamed process that stays", "/srv/ways/renamed.pl $F stay").by("/usr/bin/perl").alive(),
        Way::file("deleted program", "cp /srv/ways/deleted ~/gone && ~/gone $F").by("/home/ada/gone"),
        Way::file("deleted program that stays", "cp /srv/ways/deleted ~/stays && ~/stays $F stay")
            .by("/home/ada/stays")
            .alive(),
        Way::file("forked twice", "/srv/ways/forks.py $F").by("/usr/bin/python3"),
    ]
}

/// Nobody is logged in.
fn jobs() -> Vec<Way> {
    vec![
        Way::file("cron", "echo \"* * * * * cp /srv/ways/changed $F\" | crontab -u ben -")
            .by_machine("ben")
            .counts_as_login("ben")
            .owned_by("ben")
            .by("/usr/bin/cp")
            .after("crontab -u ben -r"),
        Way::file("at", "echo \"sed -i s/held/changed/ $F\" | at now 2> /dev/null").by("/usr/bin/sed"),
        Way::file("unit", "systemd-run --quiet --collect --unit=way cp /srv/ways/changed $F")
            .by_machine("root")
            .owned_by("root")
            .by("/usr/bin/cp"),
        Way::file("timer", "systemd-run --quiet --collect --on-active=1s --unit=timed /srv/ways/script $F")
            .by_machine("root")
            .owned_by("root")
            .by("/usr/bin/dash"),
        Way::file(
            "daemon of another user",
            "systemd-run --quiet --collect --uid=ben -E F=$F bash -c 'echo changed > $F; /srv/ways/until_undone $F; true'",
        )
        .by_machine("ben")
        .owned_by("ben")
        .by("/usr/bin/bash")
        .alive(),
        Way::file("unit started by sudo", "sudo systemd-run --quiet --collect sed -i s/held/changed/ $F")
            .by_machine("root")
            .asked_by("ada")
            .owned_by("root")
            .by("/usr/bin/sed"),
    ]
}

/// A second tree under nspawn, which sees the folder at another place.
fn containers() -> Vec<Way> {
    let nspawn = "systemd-nspawn --quiet --register=no --keep-unit --directory=/srv/box --bind=$D:/mnt";
    let boxed = |name, script: &str| {
        Way::file(name, script).runs_as("root").owned_by("root").by("/bin/busybox").machine_only()
    };
    vec![
        boxed("container of a unit", &format!("systemd-run --quiet --collect -p Delegate=yes {nspawn} /bin/busybox sh -c 'echo changed > /mnt/file'"))
            .by_machine("root"),
        boxed("container that stays", &format!("systemd-run --quiet --collect -p Delegate=yes {nspawn} /bin/busybox sh -c 'echo changed > /mnt/file; until grep -qx held /mnt/file; do sleep 0.1; done'"))
            .by_machine("root")
            .alive(),
        boxed("nsenter into a container", "sudo nsenter --mount --root --wd -t $(pgrep -f '^/bin/busybox sleep 600') /bin/busybox sed -i s/held/changed/ /mnt/file")
            .before(&format!("systemd-run --quiet --collect --unit=entered -p Delegate=yes {nspawn} --as-pid2 /bin/busybox sleep 600; until pgrep -f '^/bin/busybox sleep 600'; do sleep 0.1; done"))
            .after("systemctl stop entered"),
    ]
}

/// Ways that leave little or no evidence: `unknown` is the honest answer where there is none.
fn blind() -> Vec<Way> {
    vec![
        Way::file("through a hard link", "ln $F ~/link && echo changed > ~/link").by("/usr/bin/bash"),
        Way::file(
            "while the agent was down",
            "sudo systemctl stop agentd; sed -i s/held/changed/ $F; sudo systemctl start agentd",
        )
        .by("/usr/bin/sed"),
    ]
}

/// Somebody else is busy at the same place at the same time.
fn crowds() -> Vec<Way> {
    let busy = |what: &str| {
        format!(
            "systemd-run --quiet --unit=busy --uid=ben -E D=$D bash -c 'while :; do {what}; sleep 0.02; done'"
        )
    };
    let crowd = |name, script: &str| {
        Way::file(name, script)
            .owned_by("root")
            .in_folder_of("ben")
            .runs_as("root")
            .after("systemctl stop busy; rm -f $D/other")
    };
    vec![
        crowd("beside a writer in the folder", "sudo sed -i s/held/changed/ $F")
            .by("/usr/bin/sed")
            .before(&busy("echo x > $D/other")),
        crowd("beside readers of the file", "echo changed | sudo tee $F > /dev/null")
            .by("/usr/bin/tee")
            .before(&busy("cat $D/file > /dev/null")),
        crowd("beside one that fails to write", "sudo cp /srv/ways/changed $F")
            .by("/usr/bin/cp")
            .before(&busy("echo x 2> /dev/null > $D/file")),
    ]
}
