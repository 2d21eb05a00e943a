//! A machine on which the ways can be gone: people, material, units, packages, and the agent that holds them.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::kinds::{DECLARED, PACKAGES, UNITS};
use super::way::Way;
use crate::harness::{Archive, Deb, Inside, Lab, checkout, install_agent, run};

/// How long it may take until the machine is as declared.
const LIMIT: Duration = Duration::from_secs(400);

/// Everything is looked at once an hour only: what is seen was seen by a watch.
const SETTINGS: &str = r#"
mode = "enabled"
full_pass = "1h"
interval = "1h"
[source]
url = "/srv/fleet"
branch = "main"
[guard]
confirm = "off"
"#;

/// The tree that containers are made of, and what is handed out.
const LAY: &str = "\
echo changed > /srv/ways/changed
mkdir -p /srv/ways/changed.d
cp /srv/ways/changed /srv/ways/changed.d/file
tar -C /srv/ways/changed.d -cf /srv/ways/changed.tar file
chmod 755 /srv/ways
mkdir -p /srv/box/{bin,dev,etc,mnt,proc,root,run,sys,tmp,usr/lib,var}
if [ -e /bin/busybox ]; then cp /bin/busybox /srv/box/bin/; fi
echo 'ID=box' > /srv/box/etc/os-release
printf 'root:secret\\nben:secret\\n' | chpasswd
mkdir -p /root/.ssh
cat /home/ada/.ssh/authorized_keys >> /root/.ssh/authorized_keys
";

/// Makes the machine ready and waits until it is in sync.
pub fn prepare(lab: &Lab, machine: &dyn Inside, ways: &[Way]) {
    ["ada", "ben"].iter().for_each(|person| machine.add_person(person));
    machine.copy_in(&material(lab), "/srv/ways");
    machine.sh(LAY).ok();
    for unit in UNITS {
        let text = format!(
            "[Unit]\nDescription={unit}\n[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"
        );
        // As a package brings it: what lies in /etc cannot be masked.
        machine.write(&format!("/usr/lib/systemd/system/{unit}.service"), &text);
    }
    machine.run(&["systemctl", "daemon-reload"]).ok();
    offer_packages(lab, machine);
    machine.copy_in(&fleet(lab, ways), "/srv/fleet");
    install_agent(machine);
    machine.write("/etc/agentd/agent.toml.d/lab.toml", SETTINGS);
    machine.run(&["systemctl", "restart", "agentd"]).ok();
    machine.wait_until("in sync at first", LIMIT, &mut || in_sync(machine));
}

/// Whether there is nothing left to do.
pub fn in_sync(machine: &dyn Inside) -> bool {
    machine.run(&["agentctl", "status"]).success()
}

/// The programs and scripts that some ways need; those in C are compiled here, with everything they need in them.
fn material(lab: &Lab) -> std::path::PathBuf {
    let (from, to) = (checkout().join("tests/lab/attribution/material"), lab.folder("ways"));
    for entry in fs::read_dir(&from).expect("read the material").flatten() {
        let path = entry.path();
        let text = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
        if path.extension().is_some_and(|end| end == "c") {
            let program = to.join(path.file_stem().expect("a source has a name"));
            run(&["gcc", "-O1", "-static", "-o", &text(&program), &text(&path)]).ok();
        } else {
            run(&["cp", "--preserve=mode", &text(&path), &text(&to)]).ok();
        }
    }
    let made = Deb::new("held-unwanted", "1").file("/usr/share/held-unwanted", "1\n").build(&to);
    fs::rename(made, to.join("held-unwanted.deb")).expect("name a package");
    to
}

fn offer_packages(lab: &Lab, machine: &dyn Inside) {
    let mut archive: Archive = lab.archive("ways");
    for package in PACKAGES {
        archive.add(&Deb::new(package, "1").file(&format!("/usr/share/{package}"), "1\n"));
    }
    archive.publish_to(machine);
    machine.run(&["apt-get", "update", "--quiet"]).ok();
}

/// The repository that declares one resource a way.
fn fleet(lab: &Lab, ways: &[Way]) -> std::path::PathBuf {
    let folder = lab.folder("fleet");
    let mut role = DECLARED.to_owned();
    for way in ways.iter().filter(|way| way.has_file()) {
        let (folder, file) = (way.folder(), way.file_path());
        let (owner, above) = (way.owner, way.folder_owner);
        writeln!(
            role,
            "[files.\"{folder}\"]\nensure = \"directory\"\nowner = \"{above}\"\ngroup = \"{above}\""
        )
        .unwrap();
        match way.absent {
            true => writeln!(role, "[files.\"{file}\"]\nensure = \"absent\"").unwrap(),
            false => writeln!(
                role,
                "[files.\"{file}\"]\ncontent = \"held\\n\"\nowner = \"{owner}\"\ngroup = \"{owner}\""
            )
            .unwrap(),
        }
    }
    for (name, text) in [
        ("fleet.toml", "schema = 1\n"),
        ("hosts/all.toml", "roles = [\"all\"]\n[match]\nhostname = \"*\"\n"),
        ("roles/all.toml", &role),
    ] {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let at = folder.to_str().expect("a path in UTF-8");
    let who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"];
    for arguments in [
        &["init", "--quiet", "--initial-branch=main"][..],
        &["add", "."],
        &["commit", "--quiet", "--message=hold them all"],
    ] {
        run(&[&["git", "-C", at], &who[..], arguments].concat()).ok();
    }
    folder
}
