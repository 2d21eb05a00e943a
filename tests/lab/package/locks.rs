//! Someone else's locks: waited for, told by their holder, never broken.

use super::{SOON, Site, shop};
use crate::harness::{Lab, Suite};

/// Holds a record lock until it is told to end.
const HOLD: &str = r#"
use Fcntl;
my ($path) = @ARGV;
open(my $file, "+>>", $path) or die "$path: $!";
my $lock = pack("s s x4 q q l x4", F_WRLCK, 0, 0, 0, 0);
fcntl($file, F_SETLK, $lock) or die "lock: $!";
open(my $said, ">", "/run/locked"); close $said;
sleep 1 until -e "/run/let-go";
"#;

#[test]
fn each_of_the_four_locks_is_waited_for_and_its_holder_named() {
    for suite in Suite::ALL {
        let lab = Lab::new();
        let site = Site::boot(&lab, suite);
        let _archive = shop(&lab, &site);
        site.refresh();
        site.write("/root/hold.pl", HOLD);
        for (path, lock) in [
            ("/var/lib/dpkg/lock-frontend", "the dpkg frontend lock"),
            ("/var/lib/dpkg/lock", "the dpkg lock"),
            ("/var/lib/apt/lists/lock", "the apt lists lock"),
            ("/var/cache/apt/archives/lock", "the apt archives lock"),
        ] {
            site.run(&["systemd-run", "--quiet", "--unit=rival", "--collect", "perl", "/root/hold.pl", path])
                .ok();
            site.wait_until("the rival has the lock", SOON, || site.exists("/run/locked"));
            let report = site.pass("shopd = '1.0'");
            let told = [report.plan(), report.outcomes()].concat().join("\n");
            assert!(told.contains(&format!("{lock} is held by perl (process ")), "{path}: {report:#?}");
            assert!(told.contains(", rival.service)"), "{path}: {report:#?}");
            assert!(told.contains("waiting for"), "{path}: {report:#?}");
            assert_eq!(site.dpkg("shopd"), "un");
            assert!(site.run(&["systemctl", "is-active", "rival"]).success(), "the holder lives");
            site.sh("touch /run/let-go").ok();
            site.wait_until("the rival is gone", SOON, || {
                !site.run(&["systemctl", "is-active", "rival"]).success()
            });
            site.sh("rm /run/let-go /run/locked").ok();
        }
        site.converge("shopd = '1.0'");
    }
}
