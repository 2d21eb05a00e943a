//! The files of signers and of revoked keys: what they say, and where a fault is told.

use agentd::model::Diagnostic;
use agentd::trust::{Revoked, Role, Signers};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::tz::TimeZone;

use super::bench::{Bench, string};

fn key() -> String {
    format!("ssh-ed25519 {}", STANDARD.encode([string(b"ssh-ed25519"), string(&[1; 32])].concat()))
}

fn read(text: &str) -> Result<Signers, Vec<Diagnostic>> {
    Signers::parse("signers", text.as_bytes(), &TimeZone::UTC)
}

#[test]
fn a_line_may_hold_everything_that_ssh_keygen_knows() {
    let key = key();
    let text = format!(
        "# people\n# version: 12\n\n\"ada@example.org,bob s\" {key} a comment\r\n\
         \t*@example.org CERT-AUTHORITY,namespaces=\"git,a\\\"b\",valid-after=\"20240101Z\" {key}\n"
    );
    let signers = read(&text).unwrap();
    assert_eq!(signers.version, Some(12));
    let [ada, team] = signers.lines.as_slice() else { panic!("{signers:?}") };
    assert_eq!((ada.principals.as_str(), ada.role), ("ada@example.org,bob s", Role::Signer));
    assert_eq!((team.principals.as_str(), team.role), ("*@example.org", Role::Authority));
    assert_eq!(team.namespaces.as_deref(), Some("git,a\"b"));
    assert_eq!((team.valid_after, team.valid_before), (Some(1_704_067_200), None));
    assert_eq!((ada.place.line, team.place.line, team.place.column), (4, 5, 2));
}

#[test]
fn every_fault_is_told_at_its_line_and_column_and_none_is_passed_over() {
    let key = key();
    let text = format!(
        "ada {key}\nbob\nädä namespace=\"git\" {key}\ncy valid-after=\"2024\" {key}\nda ssh-ed25519 AAAA\n\
         eva namespaces=\"git {key}\n"
    );
    let faults = read(&text).unwrap_err();
    let told: Vec<(u32, u32, &str)> =
        faults.iter().map(|fault| (fault.place.line, fault.place.column, fault.code.as_str())).collect();
    let wanted = [
        (2, 4, "signers-option"),
        (3, 5, "signers-option"),
        (4, 17, "signers-time"),
        (5, 16, "signers-key"),
        (6, 16, "signers-quote"),
    ];
    assert_eq!(told, wanted, "{faults:#?}");
}

#[test]
fn keys_that_are_not_verified_are_faults_and_not_lines_that_never_fit() {
    let bench = Bench::new();
    let codes = ["ecdsa521", "weak", "ecdsa384", "sk"].map(|name| {
        read(&format!("ada {}\n", bench.public(name)))
            .map_or_else(|faults| faults[0].code.clone(), |_| "read".into())
    });
    assert_eq!(codes, ["signers-kind", "signers-weak", "read", "read"]);
}

#[test]
fn fingerprints_are_those_of_ssh_keygen() {
    let bench = Bench::new();
    for name in ["ed25519", "ecdsa256", "ecdsa384", "rsa"] {
        let signers = read(&format!("ada {}\n", bench.public(name))).unwrap();
        assert!(bench.listing(name).contains(&signers.lines[0].key.fingerprint()), "{name}");
    }
}

#[test]
fn revoked_are_keys_and_fingerprints_and_a_binary_list_is_refused_as_such() {
    let bench = Bench::new();
    let fingerprint = read(&format!("ada {}\n", key())).unwrap().lines[0].key.fingerprint();
    let revoked = Revoked::parse("revoked", format!("# gone\n{fingerprint}\n").as_bytes()).unwrap();
    assert!(revoked.holds(&fingerprint));
    let revoked = Revoked::parse("revoked", format!("{}\n", key()).as_bytes()).unwrap();
    assert!(revoked.holds(&fingerprint));
    let code = |bytes: &[u8]| Revoked::parse("revoked", bytes).unwrap_err()[0].code.clone();
    assert_eq!(code(&bench.binary_list("ed25519")), "revoked-krl");
    assert_eq!(code(b"SHA256:short\n"), "revoked-fingerprint");
    assert_eq!(code(b"serial: 5\n"), "signers-key");
}
