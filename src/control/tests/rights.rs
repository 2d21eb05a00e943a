//! Who may ask what, as real users.

use super::*;

#[test]
fn every_cell_of_the_table_of_rights_holds_for_real_users() {
    // (who, user, groups): may read, may change.
    let people: [(&str, u32, &[u32], bool, bool); 6] = [
        ("root", 0, &[], true, true),
        ("nobody", NOBODY, &[], false, false),
        ("reader", 1001, &[READERS], true, false),
        ("changer", 1002, &[CHANGERS], true, true),
        ("both", 1003, &[READERS, CHANGERS], true, true),
        ("stranger", 1004, &[60_003, 60_004], false, false),
    ];
    let reading = [
        Verb::Status,
        Verb::Plan,
        Verb::History,
        Verb::Events,
        Verb::Verify,
        Verb::Explain,
        Verb::Fingerprint,
    ];
    let bench = Bench::new();
    let mut cells = 0;
    for (who, uid, groups, may_read, may_change) in people {
        for verb in Verb::ALL {
            let allowed = if reading.contains(&verb) { may_read } else { may_change };
            let before = bench.fake.asked.lock().unwrap().len();
            let answer = as_user(uid, groups, || bench.ask(&sample(verb)));
            let refused = matches!(answer, Err(ClientError::Refused(Refusal::NotAllowed { .. })));
            assert_eq!(!refused, allowed, "{who} {verb:?}: {answer:?}");
            let asked = bench.fake.asked.lock().unwrap()[before..].to_vec();
            let expected = if allowed { vec![(uid, sample(verb))] } else { Vec::new() };
            assert_eq!(asked, expected, "{who} {verb:?}");
            cells += 1;
        }
    }
    assert_eq!(cells, 6 * 15);
}

#[test]
fn the_socket_is_for_root_and_its_group_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let mode_and_group = |path: &Path| {
        use std::os::unix::fs::MetadataExt;
        let metadata = path.metadata().unwrap();
        (metadata.mode() & 0o7777, metadata.gid())
    };
    let _inside = runtime();
    let _inside = _inside.enter();
    drop(bind(&path, None).unwrap());
    assert_eq!(mode_and_group(&path).0, 0o600);
    let _listener = bind(&path, Some(READERS)).unwrap();
    assert_eq!(mode_and_group(&path), (0o660, READERS), "in place of what an earlier agent left");
    hand_over(&path, Some(CHANGERS)).unwrap();
    assert_eq!(mode_and_group(&path), (0o660, CHANGERS), "for others, after the settings were read again");
    hand_over(&path, None).unwrap();
    assert_eq!(mode_and_group(&path).0, 0o600);
    assert_ne!(mode_and_group(&path).1, CHANGERS);
    hand_over(&path, Some(READERS)).unwrap();
    assert_eq!(dir.path().read_dir().unwrap().count(), 1);
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let error = as_user(NOBODY, &[], || runtime().block_on(Client::connect(&path))).unwrap_err();
    assert!(matches!(error, ClientError::NotAllowed { .. }), "{error}");
}
