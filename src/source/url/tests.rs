//! What is taken and what is refused, each for the right reason.

use super::*;

fn ssh(text: &str) -> SshPlace {
    match RemoteUrl::parse(text).unwrap().place {
        Place::Ssh(place) => place,
        other => panic!("{text} is {other:?}"),
    }
}

#[test]
fn ordinary_addresses_are_read() {
    for text in [
        "https://git.example.org/ops/fleet.git",
        "https://git.example.org:8443/fleet",
        "https://[2001:db8::1]:8443/fleet",
        "https://git.example.org/~ops/fleet%20repo.git",
        "HTTPS://git.example.org/fleet",
    ] {
        assert!(RemoteUrl::parse(text).unwrap().is_https(), "{text}");
    }
    let whole = SshPlace {
        user: Some("git".into()),
        host: "git.example.org".into(),
        port: Some(2222),
        path: "/ops/fleet.git".into(),
    };
    assert_eq!(ssh("ssh://git@git.example.org:2222/ops/fleet.git"), whole);
    let short = SshPlace { port: None, path: "ops/fleet.git".into(), ..whole };
    assert_eq!(ssh("git@git.example.org:ops/fleet.git"), short);
    assert_eq!(ssh("git.example.org:ops/fleet.git"), SshPlace { user: None, ..short });
    assert_eq!(ssh("git@[2001:db8::1]:fleet").host, "2001:db8::1");
    assert_eq!(ssh("ssh://git@[2001:db8::1]:22/fleet").port, Some(22));
    assert_eq!(ssh("ssh://host/~ops/fleet").path, "~ops/fleet");
    for text in ["/srv/git/fleet.git", "file:///srv/git/fleet.git"] {
        assert_eq!(RemoteUrl::parse(text).unwrap().local_path(), Some(Path::new("/srv/git/fleet.git")));
    }
}

#[test]
fn dangerous_addresses_are_refused_for_the_right_reason() {
    use UrlError::*;
    let plain = |s: &str| Plain { scheme: s.into() };
    let scheme = |s: &str| Scheme { scheme: s.into() };
    let option = Path { why: "it starts with `-` like an option" };
    let missing = Path { why: "it is missing" };
    let dots = Path { why: "it holds `..`" };
    let query = Path { why: "a query or fragment does not belong to a repository" };
    let odd = Path { why: "write special characters percent-encoded" };
    let table: &[(&str, UrlError)] = &[
        ("", Empty),
        (" ", ControlCharacter { at: 0 }),
        ("https://host/a\nb", ControlCharacter { at: 14 }),
        ("https://host/a\rHost: b", ControlCharacter { at: 14 }),
        ("https://host/a\0b", ControlCharacter { at: 14 }),
        ("https://host/a b", ControlCharacter { at: 14 }),
        ("https://host/a\u{1b}[31m", ControlCharacter { at: 14 }),
        ("https://host/\u{202e}a", ControlCharacter { at: 13 }),
        ("https://host/a\u{85}", ControlCharacter { at: 14 }),
        ("git@host:a\tb", ControlCharacter { at: 10 }),
        ("http://host/fleet", plain("http")),
        ("HTTP://host/fleet", plain("http")),
        ("http://127.0.0.1/fleet", plain("http")),
        ("git://host/fleet", plain("git")),
        ("ftp://host/fleet", plain("ftp")),
        ("ext::sh", scheme("ext::")),
        ("ext::sh/-c/id", scheme("ext::")),
        ("fd::17/fleet", scheme("fd::")),
        ("https::https://host/fleet", scheme("httpshttps")),
        ("git+ssh://host/fleet", scheme("git+ssh")),
        ("javascript://host/fleet", scheme("javascript")),
        ("://host/fleet", scheme("")),
        ("https://user:secret@host/fleet", EmbeddedCredentials),
        ("https://token@host/fleet", EmbeddedCredentials),
        ("https://a@b@host/fleet", EmbeddedCredentials),
        ("https://host@/fleet", EmbeddedCredentials),
        ("ssh://git:secret@host/fleet", EmbeddedPassword),
        ("git:secret@host:fleet", EmbeddedPassword),
        ("https:///fleet", Host),
        ("https://-host/fleet", Host),
        ("https://host../fleet", Host),
        ("https://ho$st/fleet", Host),
        ("https://h\u{f6}st/fleet", Host),
        ("https://[::1/fleet", Host),
        ("https://[zz]/fleet", Host),
        ("https://[::1]x/fleet", Host),
        ("ssh://-oProxyCommand=id/fleet", Host),
        ("ssh://-oProxyCommand=id@host/fleet", User),
        ("-oProxyCommand=id@host:fleet", User),
        ("-oProxyCommand=id:fleet", Host),
        ("-host:fleet", Host),
        ("@host:fleet", User),
        ("us er@host:fleet", ControlCharacter { at: 2 }),
        ("us;er@host:fleet", User),
        ("$(id)@host:fleet", User),
        ("`id`@host:fleet", User),
        ("git@ho;st:fleet", Host),
        ("git@$(id):fleet", Host),
        ("https://host:/fleet", Port),
        ("https://host:0/fleet", Port),
        ("https://host:65536/fleet", Port),
        ("https://host:+80/fleet", Port),
        ("https://host:8a/fleet", Port),
        ("ssh://host:-1/fleet", Port),
        ("https://host", missing.clone()),
        ("https://host/", missing.clone()),
        ("ssh://host//", missing.clone()),
        ("git@host:", missing.clone()),
        ("file:///", missing.clone()),
        ("/", missing),
        ("git@host:-upload-pack", option.clone()),
        ("git@host:--upload-pack=id", option),
        ("https://host/a/../b", dots.clone()),
        ("/srv/../etc", dots.clone()),
        ("file:///srv/..", dots.clone()),
        ("git@host:../fleet", dots),
        ("https://host/fleet?x=1", query.clone()),
        ("https://host/fleet#main", query),
        ("https://host/fl\u{e9}et", odd.clone()),
        ("https://host/a\\b", odd.clone()),
        ("https://host/a\"b", odd),
        ("fleet.git", Relative),
        ("./fleet.git", Relative),
        ("a/b:c", Relative),
        ("file://host/fleet", Relative),
        ("file:fleet", scheme("file:")),
        ("https:/host/fleet", scheme("https:")),
    ];
    let mut wrong = Vec::new();
    for (text, why) in table {
        let got = RemoteUrl::parse(text);
        if got.as_ref().err() != Some(why) {
            wrong.push(format!("{text:?}: wanted {why:?}, got {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(RemoteUrl::parse(&"/a".repeat(2000)), Err(TooLong));
}

#[test]
fn a_refusal_never_repeats_a_secret() {
    for text in ["https://user:hunter2@host/x", "ssh://git:hunter2@host/x", "hunter2 x"] {
        assert!(!RemoteUrl::parse(text).unwrap_err().to_string().contains("hunter2"));
    }
}

#[test]
fn an_address_survives_a_process_boundary_only_if_valid() {
    let url = RemoteUrl::parse("git@git.example.org:ops/fleet.git").unwrap();
    let json = serde_json::to_string(&url).unwrap();
    assert_eq!(serde_json::from_str::<RemoteUrl>(&json).unwrap(), url);
    assert!(serde_json::from_str::<RemoteUrl>("\"ext::sh -c id\"").is_err());
}

proptest::proptest! {
    #[test]
    fn whatever_is_accepted_is_safe_as_an_argument(
        text in "((https|ssh|file|ext|http)?(://|::|:)?)?[-a-z@:/.\\[\\]~%$;' \n\\\\0-9]{0,40}",
    ) {
        if let Ok(url) = RemoteUrl::parse(&text) {
            assert!(!text.chars().any(|c| c.is_control() || c.is_whitespace()));
            match url.place() {
                Place::Ssh(place) => {
                    let user = place.user.as_deref().unwrap_or("x");
                    for part in [place.host.as_str(), user, place.path.as_str()] {
                        assert!(!part.is_empty() && !part.starts_with('-'), "{text:?}");
                    }
                    assert!(place.host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:".contains(&b)), "{text:?}");
                }
                Place::Https => assert!(!text[8..].split('/').next().unwrap().contains('@'), "{text:?}"),
                Place::Local(path) => assert!(path.is_absolute(), "{text:?}"),
            }
        }
    }
}
