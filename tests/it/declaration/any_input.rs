//! What must hold for any input at all.

use agentd::declaration::{check, compile};
use proptest::prelude::*;

use super::{Files, facts, repository};

/// Texts that are likely to come close to the parser's edges.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("[packages]\n".to_owned()),
        Just("[files.\"/etc/motd\"]\n".to_owned()),
        Just("[match]\nhostname = \"web-*\"\n".to_owned()),
        Just("roles = [\"a\"]\n".to_owned()),
        Just("[vars]\n".to_owned()),
        Just("[firewall.rules.x]\nallow = [\"tcp/80\"]\n".to_owned()),
        Just("[services.nginx]\n".to_owned()),
        Just("state = \"running\"\n".to_owned()),
        Just("reload_on = [\"file:/etc/motd\"]\n".to_owned()),
        Just("curl = \"{{ vars.x }}\"\n".to_owned()),
        Just("content = \"\"\"\n{% for i in range(3) %}{{ i }}{% endfor %}\"\"\"\n".to_owned()),
        Just("mode = 0644\n".to_owned()),
        Just("x = [[[{ a.b.c = [1, 2.5, 1979-05-27] }]]]\n".to_owned()),
        "[a-z]{1,4} = [\"'\\[{]{0,2}[a-z0-9{}% .|]{0,12}[\"'\\]}]{0,2}\n",
        "[\\[\\]{}\"'=#.,\\\\a-z0-9 \n\t]{0,20}",
        any::<String>(),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(piece(), 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_compiler_panic(fleet in text(), role in text(), host in text(), inventory in text(), template in text()) {
        let files = repository(&[
            ("fleet.toml", &format!("schema = 1\n{fleet}")),
            ("roles/a.toml", &role),
            ("hosts/web-1.toml", &host),
            ("inventory.toml", &inventory),
            ("files/t.j2", &template),
        ]);
        let report = check(&files);
        prop_assert!(!report.to_string().is_empty());
        let _ = compile(&files, "web-1", &facts());
    }

    #[test]
    fn no_bytes_make_the_compiler_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), path in "(fleet|hosts/a|roles/b|inventory)\\.toml") {
        let mut files = repository(&[("hosts/web-1.toml", "roles = [\"b\"]\n[packages]\ncurl = \"*\"\n")]);
        files.insert(path, bytes);
        let _ = check(&files).to_string();
    }

    #[test]
    fn the_same_input_gives_the_same_state_and_words(host in text(), role in text()) {
        let files = repository(&[("hosts/web-1.toml", &host), ("roles/a.toml", &role)]);
        let (one, two) = (compile(&files, "web-1", &facts()), compile(&files, "web-1", &facts()));
        prop_assert_eq!(&one, &two);
        if let (Ok(one), Ok(two)) = (one, two) {
            prop_assert_eq!(one.desired.fingerprint().root(), two.desired.fingerprint().root());
        }
        prop_assert_eq!(check(&files), check(&files));
    }

    #[test]
    fn neither_the_order_of_files_nor_of_lines_matters(order in Just((0..6).collect::<Vec<usize>>()).prop_shuffle()) {
        let lines = ["pa = \"1\"", "pb = \"2\"", "pc = \"*\"", "pd = { ensure = \"absent\" }", "pe = \">= 3\"", "pf = \"4\""];
        let shuffled: Vec<&str> = order.iter().map(|&index| lines[index]).collect();
        let of = |lines: &[&str]| {
            let files = repository(&[("hosts/web-1.toml", &format!("[packages]\n{}\n", lines.join("\n")))]);
            compile(&Backwards(files), "web-1", &facts()).unwrap().desired.fingerprint().root()
        };
        prop_assert_eq!(of(&lines), of(&shuffled));
    }
}

/// A tree that lists its files in another order.
struct Backwards(Files);

impl agentd::declaration::Tree for Backwards {
    fn paths(&self) -> Vec<String> {
        self.0.paths().into_iter().rev().collect()
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, agentd::declaration::Unreadable> {
        self.0.read(path)
    }
}
