//! What proves us to a remote: read from files that root alone can read, never printed.

use std::fmt;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Longest credentials file read, in bytes. Tokens are below 2 KiB everywhere.
const LONGEST: u64 = 16 * 1024;

/// The user name that goes with a bare token. GitHub wants exactly this one for its app tokens; GitLab, Gitea and Azure take any.
const TOKEN_USER: &str = "x-access-token";

/// How to authenticate. It is serialised for one purpose: to be handed to the fetching process over a pipe.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credentials {
    /// A public repository, or a local one.
    #[default]
    None,
    /// https: a user name and a password or token.
    Basic {
        /// Sent as it is.
        user: String,
        /// The password or token.
        password: Secret,
    },
    /// ssh: a private key that the fetching process can read (mode 0600, its own).
    SshKey(PathBuf),
}

/// Text that has no `Display` and whose `Debug` says nothing.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

/// Why credentials could not be taken from a file.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// It could not be opened or read.
    #[error("cannot read the credentials file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Other users can read or change it.
    #[error("the credentials file {} has mode {mode:04o}, so others can read it: chmod 600 it, then replace the token", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It belongs to neither root nor us, so that someone else could swap it.
    #[error("the credentials file {} belongs to user {owner}: chown it to root", path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// The user id of its owner.
        owner: u32,
    },
    /// Not a regular file, empty, too long, not text, or more than one line.
    #[error("the credentials file {} holds no usable line: {why}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, without the content.
        why: &'static str,
    },
}

impl Credentials {
    /// A file with one line: a token. It is sent as the password of a user name that the known forges accept.
    pub fn token_file(path: &Path) -> Result<Credentials, CredentialsError> {
        let password = Secret(one_line(path)?);
        Ok(Credentials::Basic { user: TOKEN_USER.to_owned(), password })
    }

    /// A file with one line: `user:password`.
    pub fn basic_file(path: &Path) -> Result<Credentials, CredentialsError> {
        let line = one_line(path)?;
        match line.split_once(':') {
            Some((user, password)) if !user.is_empty() && !password.is_empty() => {
                Ok(Credentials::Basic { user: user.to_owned(), password: Secret(password.to_owned()) })
            }
            Some(_) | None => {
                Err(CredentialsError::Content { path: path.to_owned(), why: "write it as user:password" })
            }
        }
    }

    /// The value of an `Authorization` header, for https.
    pub(crate) fn authorization(&self) -> Option<String> {
        match self {
            Credentials::Basic { user, password } => {
                Some(format!("Basic {}", base64(format!("{user}:{}", password.0).as_bytes())))
            }
            Credentials::None | Credentials::SshKey(_) => None,
        }
    }
}

impl Secret {
    /// Wraps a text that must not be printed.
    pub fn new(text: String) -> Secret {
        Secret(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

fn one_line(path: &Path) -> Result<String, CredentialsError> {
    let read = |source| CredentialsError::Read { path: path.to_owned(), source };
    let content = |why| CredentialsError::Content { path: path.to_owned(), why };
    // NONBLOCK so that a FIFO in its place does not hang us; permissions are those of what was opened, not of the name.
    let flags = (rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOFOLLOW).bits() as i32;
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(read)?;
    let meta = file.metadata().map_err(read)?;
    if !meta.is_file() {
        return Err(content("it is no regular file"));
    }
    if meta.mode() & 0o077 != 0 {
        return Err(CredentialsError::Open { path: path.to_owned(), mode: meta.mode() & 0o7777 });
    }
    if meta.uid() != 0 && meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(CredentialsError::Owner { path: path.to_owned(), owner: meta.uid() });
    }
    let mut text = String::new();
    file.take(LONGEST + 1).read_to_string(&mut text).map_err(read)?;
    if text.len() as u64 > LONGEST {
        return Err(content("it is longer than 16 KiB"));
    }
    let line = text.trim();
    if line.is_empty() {
        return Err(content("it is empty"));
    }
    // A line break would start a header of its own.
    if line.chars().any(char::is_control) {
        return Err(content("it has more than one line or a control character"));
    }
    Ok(line.to_owned())
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let six = (bits >> (18 - 6 * place)) & 63;
            out.push(if place <= chunk.len() { char::from(ALPHABET[six as usize]) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn file(content: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    #[test]
    fn a_token_becomes_basic_authentication() {
        let (_dir, path) = file(b"s3cret\n", 0o600);
        let token = Credentials::token_file(&path).unwrap();
        assert_eq!(token.authorization().unwrap(), "Basic eC1hY2Nlc3MtdG9rZW46czNjcmV0");
        assert!(!format!("{token:?}").contains("s3cret"));
    }

    #[test]
    fn user_and_password_are_split_at_the_first_colon() {
        let (_dir, path) = file(b"deploy:a:b", 0o400);
        assert_eq!(
            Credentials::basic_file(&path).unwrap().authorization().unwrap(),
            "Basic ZGVwbG95OmE6Yg=="
        );
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        for mode in [0o640, 0o604, 0o660, 0o601] {
            let (_dir, path) = file(b"s3cret", mode);
            let err = Credentials::token_file(&path).unwrap_err();
            assert!(matches!(err, CredentialsError::Open { .. }), "{mode:o} {err}");
        }
    }

    #[test]
    fn unusable_content_is_refused_without_repeating_it() {
        for content in [&b""[..], b"\n", b"two\nlines", b"a\rHost: evil", b"a\0b", &[b'x'; 20_000]] {
            let (_dir, path) = file(content, 0o600);
            let err = Credentials::token_file(&path).unwrap_err();
            assert!(matches!(err, CredentialsError::Content { .. }), "{err}");
        }
        let (_dir, path) = file(b"no-colon", 0o600);
        assert!(!Credentials::basic_file(&path).unwrap_err().to_string().contains("no-colon"));
    }

    #[test]
    fn base64_pads_as_the_standard_says() {
        let cases = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (plain, coded) in cases {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }
}
