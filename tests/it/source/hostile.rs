//! Servers that stall, drip, lie, flood and break off. The store must come out as it was.

use std::io::{Error, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use agentd::source::{Fault, FetchError, Remote, Retry, Store, TreeCaps};

use super::forge::{Forge, git};
use super::server::{Request, Server, Stream, backend, write_answer};
use super::{child, poll, remote};

/// Asks a server that misbehaves; short deadlines, no store yet.
fn ask(answer: impl Fn(&Request, &mut Stream) -> std::io::Result<()> + Send + Sync + 'static) -> FetchError {
    ask_within(3, answer)
}

fn ask_within(
    seconds: u64,
    answer: impl Fn(&Request, &mut Stream) -> std::io::Result<()> + Send + Sync + 'static,
) -> FetchError {
    let server = Server::start(answer);
    let dir = tempfile::TempDir::new().unwrap();
    let mut remote = trusted(&server);
    remote.deadlines.stall = Duration::from_secs(1);
    remote.deadlines.total = Duration::from_secs(seconds);
    let error = poll(&dir.path().join("store"), &remote, None).unwrap_err();
    assert!(!dir.path().join("store/current.git").exists() && !dir.path().join("store/next.git").exists());
    error
}

fn trusted(server: &Server) -> Remote {
    let mut remote = remote(&server.url());
    remote.ca_file = Some(server.ca_file());
    remote
}

const ADVERTISEMENT: (&str, &str) = ("Content-Type", "application/x-git-upload-pack-advertisement");

fn head(stream: &mut Stream, length: &str) -> std::io::Result<()> {
    let (name, value) = ADVERTISEMENT;
    write!(stream, "HTTP/1.1 200 OK\r\n{name}: {value}\r\n{length}\r\n\r\n")?;
    stream.flush()
}

/// Holds the connection until the client has gone: reading gives its end.
fn hold(stream: &mut Stream) -> std::io::Result<()> {
    let _ = std::io::Read::read(stream, &mut [0]);
    Err(Error::other("over"))
}

#[test]
fn a_server_that_stalls_is_given_up() {
    let silent = ask(|_, stream| hold(stream));
    let in_the_body = ask(|_, stream| {
        head(stream, "Content-Length: 1000")?;
        hold(stream)
    });
    for error in [silent, in_the_body] {
        assert_eq!(
            (&error.fault, error.retry()),
            (&Fault::Stalled { seconds: 1 }, Retry::NextInterval),
            "{error}"
        );
    }
}

#[test]
fn a_server_that_drips_is_given_up_at_the_deadline() {
    let error = ask(|_, stream| {
        head(stream, "Content-Length: 100000")?;
        for byte in b"fff0".iter().chain(std::iter::repeat(&b'x')) {
            stream.write_all(&[*byte])?;
            stream.flush()?;
            // The pace of the server, not a wait of the test.
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    });
    assert_eq!(
        (&error.fault, error.retry()),
        (&Fault::TimedOut { seconds: 3 }, Retry::NextInterval),
        "{error}"
    );
}

#[test]
fn endless_references_end_at_the_cap() {
    let error = ask_within(60, |_, stream| {
        head(stream, "Transfer-Encoding: chunked")?;
        let packet = |line: String| format!("{:04x}{line}", line.len() + 4);
        let id = "0123456789012345678901234567890123456789";
        let caps = packet(format!("{id} refs/heads/a\0multi_ack\n"));
        let first = packet("# service=git-upload-pack\n".into()) + "0000" + &caps;
        write!(stream, "{:x}\r\n{first}\r\n", first.len())?;
        for number in 0.. {
            let chunk: String =
                (0..1000).map(|n| packet(format!("{id} refs/heads/a{number}-{n}\n"))).collect();
            write!(stream, "{:x}\r\n{chunk}\r\n", chunk.len())?;
        }
        Ok(())
    });
    assert!(matches!(&error.fault, Fault::TooLarge { what } if what.contains("references")), "{error}");
    assert_eq!(error.retry(), Retry::Person);
}

#[test]
fn endless_headers_end_too() {
    let error = ask(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
        loop {
            stream.write_all(b"X-Filler: 0123456789012345678901234567890123456789\r\n")?;
        }
    });
    assert_eq!(error.fault, Fault::Protocol, "{error}");
}

#[test]
fn answers_that_are_not_gits_are_told_apart() {
    let html = ("Content-Type", "text/html");
    type Case = (&'static str, (&'static str, &'static str), &'static [u8], Fault);
    let table: [Case; 11] = [
        ("200 OK", html, b"<html>login", Fault::Protocol),
        ("200 OK", ("Content-Type", "text/plain"), b"0123 refs/heads/main\n", Fault::Protocol),
        ("200 OK", ADVERTISEMENT, b"zzzz", Fault::Protocol),
        ("200 OK", ADVERTISEMENT, b"", Fault::Protocol),
        ("204 No Content", html, b"", Fault::Protocol),
        ("401 Unauthorized", html, b"", Fault::Auth),
        ("403 Forbidden", html, b"", Fault::Auth),
        ("404 Not Found", html, b"", Fault::RepositoryMissing),
        ("418 Teapot", html, b"", Fault::Protocol),
        ("429 Too Many", html, b"", Fault::Unavailable { status: 429 }),
        ("503 Unavailable", html, b"", Fault::Unavailable { status: 503 }),
    ];
    for (status, header, body, fault) in table {
        let error = ask(move |_, stream| write_answer(stream, status, &[header], body));
        assert_eq!(error.fault, fault, "{status} {body:?}: {error}");
    }
}

#[test]
fn nothing_listening_or_no_such_name_is_unreachable() {
    let forge = Forge::new();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for host in [format!("localhost:{closed}"), "no-such-host.invalid".to_owned()] {
        let error = poll(&forge.store(), &remote(&format!("https://{host}/fleet.git")), None).unwrap_err();
        assert_eq!((&error.fault, error.retry()), (&Fault::Unreachable, Retry::Soon), "{error}");
    }
}

/// A git server that does something else with the n-th answer that carries a pack.
fn with_pack(
    root: PathBuf,
    at: usize,
    change: impl Fn(Vec<u8>, &mut Stream) -> std::io::Result<()> + Send + Sync + 'static,
) -> Server {
    let seen = AtomicUsize::new(0);
    Server::start(move |request, stream| {
        let (status, headers, body) = backend(&root, request);
        let is_pack = body.windows(4).any(|bytes| bytes == b"PACK");
        if is_pack && seen.fetch_add(1, Ordering::Relaxed) == at {
            return change(body, stream);
        }
        let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        write_answer(stream, &status, &headers, &body)
    })
}

const RESULT: (&str, &str) = ("Content-Type", "application/x-git-upload-pack-result");

#[test]
fn a_pack_that_breaks_off_leaves_the_last_revision_and_the_next_fetch_works() {
    let forge = Forge::new();
    let noise: String = (0..5000u32).map(|n| format!("{:x}\n", n.wrapping_mul(2_654_435_761))).collect();
    for at in [0, 1] {
        let _ = std::fs::remove_dir_all(forge.store());
        let server = with_pack(forge.root().to_owned(), at, |body, stream| {
            write!(
                stream,
                "HTTP/1.1 200 OK\r\n{}: {}\r\nContent-Length: {}\r\n\r\n",
                RESULT.0,
                RESULT.1,
                body.len()
            )?;
            stream.write_all(&body[..body.len() / 2])?;
            stream.flush()?;
            Err(Error::other("cut"))
        });
        let remote = trusted(&server);
        let last = (at == 1).then(|| poll(&forge.store(), &remote, None).unwrap().tip);
        let tip = forge.commit(&[("files/noise", &noise), ("fleet.toml", &format!("at = {at}\n"))], "big");
        let error = poll(&forge.store(), &remote, last.as_ref()).unwrap_err();
        assert_eq!((&error.fault, error.retry()), (&Fault::Interrupted, Retry::Soon), "{error}");
        if let Some(last) = &last {
            Store::open(&forge.store()).unwrap().tree(last, None, &TreeCaps::default()).unwrap();
        }
        assert_eq!(poll(&forge.store(), &remote, last.as_ref()).unwrap().tip, tip);
    }
}

#[test]
fn a_pack_with_a_flipped_byte_is_never_accepted() {
    let forge = Forge::new();
    // So large that each share falls into the pack and not into the progress messages around it.
    let noise: String = (0..20_000u32).map(|n| format!("{:x}\n", n.wrapping_mul(2_654_435_761))).collect();
    forge.commit(&[("files/noise", &noise)], "noise");
    for share in [1, 3, 5, 7, 9] {
        let _ = std::fs::remove_dir_all(forge.store());
        let server = with_pack(forge.root().to_owned(), 0, move |mut body, stream| {
            let start = body.windows(4).position(|bytes| bytes == b"PACK").unwrap();
            let at = start + (body.len() - start) * share / 10;
            body[at] ^= 0x40;
            write_answer(stream, "200 OK", &[RESULT], &body)
        });
        let error = poll(&forge.store(), &trusted(&server), None).unwrap_err();
        assert!(
            error.retry() == Retry::NextInterval || error.fault == Fault::Interrupted,
            "{share}: {error}"
        );
        assert!(!forge.store().join("current.git").exists());
        poll(&forge.store(), &trusted(&server), None).unwrap();
    }
}

#[test]
fn a_pack_beyond_the_cap_on_bytes_is_cut_off_and_history_is_given_up_first() {
    let forge = Forge::new();
    let noise =
        |seed: u32| -> String { (0..20_000u32).map(|n| format!("{:x}\n", n.wrapping_mul(seed))).collect() };
    for seed in [2_654_435_761, 2_246_822_519, 3_266_489_917] {
        forge.commit(&[("files/noise", &noise(seed))], "noise");
    }
    let tip = forge.commit(&[("files/noise", "quiet\n")], "small again");
    let server = Server::git(forge.root(), None);
    let mut remote = trusted(&server);
    remote.caps.bytes = 100_000;
    let got = poll(&forge.store(), &remote, None).unwrap();
    assert_eq!((got.tip, got.history_complete), (tip, false));
    let last = forge.tip();
    forge.commit(&[("files/noise", &noise(668_265_263))], "noise");
    let error = poll(&forge.store(), &remote, Some(&last)).unwrap_err();
    assert!(matches!(&error.fault, Fault::TooLarge { what } if what.contains("100000 bytes")), "{error}");
    Store::open(&forge.store()).unwrap().tree(&last, None, &TreeCaps::default()).unwrap();
    assert_eq!(std::fs::read_dir(forge.store().join("current.git/objects/pack")).unwrap().count(), 2);
}

#[test]
fn a_pack_with_more_objects_than_the_cap_is_refused() {
    let forge = Forge::new();
    let names: Vec<String> = (0..50).map(|n| format!("files/{n}")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), name.as_str())).collect();
    forge.commit(&files, "many");
    let server = Server::git(forge.root(), None);
    for mut remote in [trusted(&server), remote(forge.bare().to_str().unwrap())] {
        remote.caps.objects = 40;
        let error = poll(&forge.store(), &remote, None).unwrap_err();
        assert!(matches!(&error.fault, Fault::TooLarge { what } if what.contains("40 objects")), "{error}");
        assert!(!forge.store().join("current.git").exists());
    }
}

#[test]
fn a_bomb_in_a_pack_fails_in_little_memory() {
    let forge = Forge::new();
    let zeros = std::fs::File::create(forge.work().join("zeros")).unwrap();
    zeros.set_len(100 << 20).unwrap();
    git(&forge.work(), &["-c", "core.bigFileThreshold=1g", "add", "zeros"]);
    git(&forge.work(), &["commit", "-q", "-m", "bomb"]);
    forge.push();
    let server = Server::git(forge.root(), None);
    for mut remote in [trusted(&server), remote(forge.bare().to_str().unwrap())] {
        // git itself takes seconds to pack it, and many where the machine is busy.
        (remote.deadlines.stall, remote.deadlines.total) =
            (Duration::from_secs(90), Duration::from_secs(120));
        let report = child::run(&forge.store(), &remote, None);
        let error = report.result.unwrap_err();
        assert!(matches!(error.fault, Fault::TooLarge { .. }), "{error}");
        assert!(report.peak_kib < 16 << 10, "{} KiB", report.peak_kib);
    }
}

#[test]
fn a_branch_that_points_to_no_commit_is_refused() {
    let forge = Forge::new();
    let blob = git(&forge.bare(), &["rev-parse", "main:fleet.toml"]);
    let tree = git(&forge.bare(), &["rev-parse", "main^{tree}"]);
    git(&forge.work(), &["tag", "-a", "-m", "x", "v1"]);
    git(&forge.work(), &["push", "-q", "origin", "v1"]);
    let tag = git(&forge.bare(), &["rev-parse", "v1"]);
    let server = Server::git(forge.root(), None);
    for id in [blob, tree, tag] {
        std::fs::write(forge.bare().join("refs/heads/main"), &id).unwrap();
        for remote in [trusted(&server), remote(forge.bare().to_str().unwrap())] {
            let error = poll(&forge.store(), &remote, None).unwrap_err();
            assert_eq!(error.retry(), Retry::NextInterval, "{error}");
            assert!(!forge.store().join("current.git").exists());
        }
    }
}

#[test]
fn a_full_disk_is_named_and_nothing_is_lost() {
    let forge = Forge::new();
    let server = Server::git(forge.root(), None);
    let small = forge.root().join("small");
    std::fs::create_dir(&small).unwrap();
    let mount = |arguments: &[&str]| {
        let status = std::process::Command::new("mount").args(arguments).arg(&small).status().unwrap();
        assert!(status.success(), "mounting a small tmpfs needs root");
    };
    mount(&["-t", "tmpfs", "-o", "size=256k", "none"]);
    let check = std::panic::catch_unwind(|| {
        let store = small.join("store");
        let last = poll(&store, &trusted(&server), None).unwrap().tip;
        let noise: String =
            (0..60_000u32).map(|n| format!("{:x}\n", n.wrapping_mul(2_654_435_761))).collect();
        let tip = forge.commit(&[("files/noise", &noise)], "big");
        for remote in [trusted(&server), remote(forge.bare().to_str().unwrap())] {
            let error = poll(&store, &remote, Some(&last)).unwrap_err();
            assert!(matches!(error.fault, Fault::Disk { .. }), "{error}");
            assert_eq!(error.retry(), Retry::NextInterval);
            Store::open(&store).unwrap().tree(&last, None, &TreeCaps::default()).unwrap();
        }
        mount(&["-o", "remount,size=4m"]);
        assert_eq!(poll(&store, &trusted(&server), Some(&last)).unwrap().tip, tip);
    });
    std::process::Command::new("umount").arg(&small).status().unwrap();
    check.unwrap();
}

#[test]
fn an_ordinary_fetch_stays_small() {
    let forge = Forge::new();
    let names: Vec<String> = (0..1000).map(|n| format!("files/{}/{n}", n / 10)).collect();
    let contents: Vec<String> =
        (0..1000u32).map(|n| format!("{:x}\n", n.wrapping_mul(2_654_435_761)).repeat(400)).collect();
    let files: Vec<(&str, &str)> =
        names.iter().zip(&contents).map(|(n, c)| (n.as_str(), c.as_str())).collect();
    forge.commit(&files, "a thousand files");
    let server = Server::git(forge.root(), None);
    for remote in [trusted(&server), remote(forge.bare().to_str().unwrap())] {
        let _ = std::fs::remove_dir_all(forge.store());
        let report = child::run(&forge.store(), &remote, None);
        println!("clone: {} KiB, {} ms of CPU", report.peak_kib, report.cpu_ms);
        let last = report.result.unwrap().tip;
        assert!(report.peak_kib < 8 << 10, "{} KiB", report.peak_kib);
        let report = child::run(&forge.store(), &remote, Some(&last));
        println!("poll: {} KiB, {} ms of CPU", report.peak_kib, report.cpu_ms);
        assert!(!report.result.unwrap().new);
        assert!(report.peak_kib < 8 << 10, "{} KiB", report.peak_kib);
    }
}

#[test]
fn the_environment_of_the_process_changes_nothing() {
    let forge = Forge::new();
    let server = Server::git(forge.root(), None);
    let trap = Server::start(|_, stream| write_answer(stream, "500 No", &[], b""));
    let proxy = format!("http://127.0.0.1:{}", trap.address.port());
    std::fs::write(
        forge.root().join("poison"),
        "[url \"https://evil.invalid/\"]\n\tinsteadOf = https://\n[http]\n\tproxy = http://evil.invalid\n",
    )
    .unwrap();
    let task = serde_json::to_string(&(forge.store(), trusted(&server), None::<String>)).unwrap();
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "source::child::as_a_process_of_its_own", "--ignored", "--nocapture"])
        .env_clear()
        .envs(
            ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HTTP_PROXY", "all_proxy"].map(|name| (name, &proxy)),
        )
        .env("GIT_CONFIG_GLOBAL", forge.root().join("poison"))
        .env("GIT_SSL_NO_VERIFY", "1")
        .env("GIT_DIR", "/nonexistent")
        .env("GIT_ALTERNATE_OBJECT_DIRECTORIES", "/nonexistent")
        .env("HOME", forge.root())
        .env("AGENTD_TEST_FETCH", task)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("\"Ok\""), "{said}");
    assert!(trap.asked().is_empty());
}
