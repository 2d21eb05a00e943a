//! Real keys made by `ssh-keygen`, commits signed by it and stored by git, in a folder that goes away.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use agentd::model::CommitId;
use agentd::trust::{Kind, id_of};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, SHA512, digest};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use tempfile::TempDir;

/// 2026-01-15 12:00 UTC: the time of receipt in all cells.
pub const NOW: i64 = 1_768_478_400;

/// Whom the keys stand for.
pub const ADA: &str = "ada@example.org";

/// Keys and a repository.
pub struct Bench {
    dir: TempDir,
    public: BTreeMap<String, String>,
}

impl Bench {
    /// Keys of every kind that is verified, some that are not, and a certificate under `authority`.
    pub fn new() -> Bench {
        let mut bench = Bench { dir: TempDir::new().unwrap(), public: BTreeMap::new() };
        run(bench.git(&["init", "-q", "--bare", "fleet.git"]).current_dir(bench.path("")), b"");
        let kinds = [
            ("ed25519", "ed25519", "256"),
            ("ecdsa256", "ecdsa", "256"),
            ("ecdsa384", "ecdsa", "384"),
            ("ecdsa521", "ecdsa", "521"),
            ("rsa", "rsa", "3072"),
            ("rsa2048", "rsa", "2048"),
            ("weak", "rsa", "1024"),
            ("authority", "ed25519", "256"),
            ("certified", "ed25519", "256"),
            ("other", "ed25519", "256"),
            ("newcomer", "ed25519", "256"),
        ];
        for (name, kind, bits) in kinds {
            let file = bench.path(name);
            let file = file.to_str().unwrap();
            bench.keygen(&["-q", "-t", kind, "-b", bits, "-N", "", "-C", name, "-f", file], b"");
            let public = std::fs::read_to_string(format!("{file}.pub")).unwrap();
            bench.public.insert(name.into(), public.trim().into());
        }
        bench.certify("certified", &["-n", ADA]);
        bench
            .public
            .insert("sk".into(), format!("sk-ssh-ed25519@openssh.com {}", STANDARD.encode(sk_blob())));
        bench
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The line of a key's `.pub` file.
    pub fn public(&self, name: &str) -> &str {
        &self.public[name]
    }

    /// Issues the certificate of a key under `authority`.
    pub fn certify(&self, name: &str, options: &[&str]) {
        let (authority, public) = (self.path("authority"), self.path(&format!("{name}.pub")));
        let mut arguments = vec!["-q", "-s", authority.to_str().unwrap(), "-I", "test"];
        arguments.extend(options);
        arguments.push(public.to_str().unwrap());
        self.keygen(&arguments, b"");
    }

    /// Signs bytes; `sk` and `sk-untouched` play a security key, everything else is `ssh-keygen -Y sign`.
    pub fn sign(&self, name: &str, namespace: &str, payload: &[u8]) -> String {
        match name {
            "sk" => return sk_sign(namespace, payload, 0x01),
            "sk-untouched" => return sk_sign(namespace, payload, 0x00),
            _ => {}
        }
        let certificate = self.path(&format!("{name}-cert.pub"));
        let file = if certificate.exists() { certificate } else { self.path(name) };
        let out = self.keygen(&["-Y", "sign", "-q", "-n", namespace, "-f", file.to_str().unwrap()], payload);
        String::from_utf8(out.stdout).unwrap()
    }

    /// What `ssh-keygen -l` says of a key.
    pub fn listing(&self, name: &str) -> String {
        let file = self.path(&format!("{name}.pub"));
        String::from_utf8(self.keygen(&["-l", "-f", file.to_str().unwrap()], b"").stdout).unwrap()
    }

    /// A binary revocation list (KRL) with a key in it.
    pub fn binary_list(&self, name: &str) -> Vec<u8> {
        let (list, key) = (self.path("list.krl"), self.path(&format!("{name}.pub")));
        self.keygen(&["-k", "-q", "-f", list.to_str().unwrap(), key.to_str().unwrap()], b"");
        std::fs::read(list).unwrap()
    }

    /// Whether `ssh-keygen -Y verify` takes a signature over a payload.
    pub fn keygen_verifies(&self, signers: &Path, revoked: &Path, signature: &str, payload: &[u8]) -> bool {
        let at = tempfile::NamedTempFile::new_in(self.dir.path()).unwrap();
        std::fs::write(at.path(), signature).unwrap();
        let time = format!("-Overify-time={}", stamp(NOW));
        let mut command = self.command("ssh-keygen");
        command.args(["-Y", "verify", "-n", "git", "-I", ADA, &time, "-f"]).arg(signers);
        command.arg("-s").arg(at.path()).arg("-r").arg(revoked);
        run(&mut command, payload).status.success()
    }

    /// Whether `git verify-commit` takes a commit.
    pub fn git_verifies(&self, signers: &Path, revoked: &Path, id: &CommitId) -> bool {
        let signers = format!("gpg.ssh.allowedSignersFile={}", signers.display());
        let revoked = format!("gpg.ssh.revocationFile={}", revoked.display());
        let mut command =
            self.git(&["-c", "gpg.format=ssh", "-c", &signers, "-c", &revoked, "verify-commit", id.as_str()]);
        run(&mut command, b"").status.success()
    }

    /// Puts an object into the repository as git does, and checks that git computes the id that the agent does.
    pub fn store(&self, kind: Kind, bytes: &[u8]) -> CommitId {
        let name = kind.to_string();
        let out = run(&mut self.git(&["hash-object", "-w", "--literally", "-t", &name, "--stdin"]), bytes);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let id = String::from_utf8(out.stdout).unwrap().trim().to_owned();
        assert_eq!(id_of(kind, bytes).unwrap().to_string(), id);
        id.parse().unwrap()
    }

    /// What git answers; `None` if it says no.
    pub fn ask_git(&self, arguments: &[&str]) -> Option<String> {
        let out = run(&mut self.git(arguments), b"");
        out.status.success().then(|| String::from_utf8(out.stdout).unwrap())
    }

    /// The bytes of a commit.
    pub fn raw(&self, id: &CommitId) -> Vec<u8> {
        run(&mut self.git(&["cat-file", "commit", id.as_str()]), b"").stdout
    }

    fn keygen(&self, arguments: &[&str], input: &[u8]) -> Output {
        let out = run(self.command("ssh-keygen").args(arguments), input);
        assert!(out.status.success(), "ssh-keygen {arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
        out
    }

    fn git(&self, arguments: &[&str]) -> Command {
        let mut command = self.command("git");
        if arguments.first() != Some(&"init") {
            command.current_dir(self.path("fleet.git"));
        }
        command.args(arguments);
        command
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.dir.path()).env("TZ", "UTC");
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("LC_ALL", "C");
        command
    }
}

/// A commit before it is signed.
pub fn payload(tree: &str, parents: &[&str], seconds: i64, message: &str) -> Vec<u8> {
    let parents: String = parents.iter().map(|parent| format!("parent {parent}\n")).collect();
    let person = format!("Ada Example <{ADA}> {seconds} +0000");
    format!("tree {tree}\n{parents}author {person}\ncommitter {person}\n\n{message}\n").into_bytes()
}

/// A commit with a header of several lines before its message.
pub fn with_header(payload: &[u8], name: &str, value: &str) -> Vec<u8> {
    let text = std::str::from_utf8(payload).unwrap();
    let (head, message) = text.split_once("\n\n").unwrap();
    let folded = value.trim_end_matches('\n').replace('\n', "\n ");
    format!("{head}\n{name} {folded}\n\n{message}").into_bytes()
}

/// `YYYYMMDDHHMMSSZ`.
pub fn stamp(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).unwrap().strftime("%Y%m%d%H%M%SZ").to_string()
}

/// Runs a program to its end.
pub fn run(command: &mut Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child =
        command.spawn().expect("git and ssh-keygen are needed: apt-get install git openssh-client");
    // A program that refuses before it has read everything closes its end.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// A string of SSH's wire format.
pub fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

/// Lines of 70 characters in SSH's armour.
pub fn armour(blob: &[u8]) -> String {
    let text = STANDARD.encode(blob);
    let lines: Vec<&str> =
        text.as_bytes().chunks(70).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n", lines.join("\n"))
}

/// What is inside an armour.
pub fn unarmoured(text: &str) -> Vec<u8> {
    let inside: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    STANDARD.decode(inside).unwrap()
}

fn sk_pair() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

fn sk_blob() -> Vec<u8> {
    let key = sk_pair();
    [string(b"sk-ssh-ed25519@openssh.com"), string(key.public_key().as_ref()), string(b"ssh:")].concat()
}

/// What a security key does with the message that `ssh-keygen` hands it.
fn sk_sign(namespace: &str, payload: &[u8], flags: u8) -> String {
    let hashed = digest(&SHA512, payload);
    let namespaced = [string(namespace.as_bytes()), string(b""), string(b"sha512")].concat();
    let message = [b"SSHSIG".as_slice(), &namespaced, &string(hashed.as_ref())].concat();
    let tail = [&[flags][..], &9u32.to_be_bytes()].concat();
    let signed = [digest(&SHA256, b"ssh:").as_ref(), &tail, digest(&SHA256, &message).as_ref()].concat();
    let signature =
        [string(b"sk-ssh-ed25519@openssh.com"), string(sk_pair().sign(&signed).as_ref()), tail].concat();
    let blob =
        [b"SSHSIG".as_slice(), &1u32.to_be_bytes(), &string(&sk_blob()), &namespaced, &string(&signature)];
    armour(&blob.concat())
}
