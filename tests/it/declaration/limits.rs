//! The bounds of a declaration: what is exactly at one is taken, what is one above it is refused by name.

use super::{Files, codes, facts, repository};
use agentd::declaration::compile;

const HOST: (&str, &str) = ("hosts/web-1.toml", "[files.\"/srv/f\"]\ncontent = \"x\"\n");

fn codes_of(files: &Files) -> Vec<String> {
    match compile(files, "web-1", &facts()) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.into_iter().map(|fault| fault.code).collect(),
    }
}

#[test]
fn ten_thousand_files_of_toml_and_not_one_more() {
    let mut files = repository(&[HOST]);
    let mut number = 0;
    while files.len() < 10_000 {
        files.insert(format!("roles/r{number}.toml"), Vec::new());
        number += 1;
    }
    assert_eq!(codes_of(&files), [""; 0]);
    files.insert("roles/one-more.toml".into(), Vec::new());
    assert_eq!(codes_of(&files), ["too-many-files"]);
}

#[test]
fn four_mebibytes_in_one_file_and_sixteen_in_all() {
    let of = |bytes: usize| format!("{}#{}", HOST.1, "x".repeat(bytes - HOST.1.len() - 1));
    let mut files = repository(&[(HOST.0, &of(4 << 20))]);
    assert_eq!(codes_of(&files), [""; 0]);
    for number in 0..2 {
        files.insert(format!("roles/r{number}.toml"), vec![b'#'; 4 << 20]);
    }
    let fleet = files["fleet.toml"].len();
    files.insert("roles/r2.toml".into(), vec![b'#'; (4 << 20) - fleet]);
    assert_eq!(codes_of(&files), [""; 0]);
    files.insert("roles/r3.toml".into(), vec![b'#'; 1]);
    assert_eq!(codes_of(&files), ["too-large"]);
    assert!(codes(&[(HOST.0, &of((4 << 20) + 1))], "web-1").contains(&"too-large".to_owned()));
}

#[test]
fn sixteen_mebibytes_of_a_source_and_not_one_byte_more() {
    let host = "[files.\"/srv/f\"]\nsource = \"files/large\"\n";
    let mut files = repository(&[("hosts/web-1.toml", host)]);
    files.insert("files/large".into(), vec![b'x'; 16 << 20]);
    assert_eq!(codes_of(&files), [""; 0]);
    files.insert("files/large".into(), vec![b'x'; (16 << 20) + 1]);
    assert_eq!(codes_of(&files), ["too-large"]);
}

#[test]
fn a_string_that_grows_beyond_a_mebibyte_by_rendering_is_refused() {
    let host = |count: usize| {
        format!(
            "[files.\"/srv/f\"]\ncontent = \"{{{{ vars.long }}}}\"\n[vars]\nlong = \"{}\"\n",
            "x".repeat(count)
        )
    };
    assert_eq!(codes_of(&repository(&[("hosts/web-1.toml", &host(1 << 20))])), [""; 0]);
    assert_eq!(codes_of(&repository(&[("hosts/web-1.toml", &host((1 << 20) + 1))])), ["too-large"]);
}
