//! The forge: a host that serves one git repository over https and ssh, and apt archives over http, from the
//! servers that people really run: nginx with git-http-backend, and sshd.

use std::fs;
use std::ops::Deref;
use std::path::PathBuf;

use super::exec::{Output, run};
use super::host::Host;
use super::lab::{FORGE, Lab};
use super::network;
use super::tree::Tree;

/// The credentials of the private address of the repository.
pub const USER: &str = "fleet";
pub const PASSWORD: &str = "a password: with, signs";
pub const TOKEN: &str = "lab-token-5f1c";

/// The bare repository and the working copy that pushes come from.
const REPOSITORY: &str = "/srv/git/fleet.git";
const WORK: &str = "/srv/work";

const SERVICES: [&str; 4] = ["nginx.service", "fcgiwrap.socket", "fcgiwrap.service", "ssh.service"];

/// The forge is a host, too: `forge.sh(..)` works.
pub struct Forge {
    host: Host,
    /// Key material of this forge, on this machine.
    keys: PathBuf,
}

impl Forge {
    /// Boots the forge with an empty repository whose branch is `main`.
    pub(super) fn boot(lab: &Lab) -> Self {
        let keys = lab.folder("forge-keys");
        let host = Host::install(lab.clone(), Tree::Forge, "git", FORGE);
        let forge = Forge { host, keys };
        forge.make_certificates();
        forge.configure();
        forge.host.start();
        forge
            .sh(&format!(
                "install -d -o git -g git /srv/git
                 runuser -u git -- git init --quiet --bare --initial-branch=main {REPOSITORY}
                 git clone --quiet {REPOSITORY} {WORK} 2>/dev/null
                 git -C {WORK} config user.name 'Ada Example'
                 git -C {WORK} config user.email ada@example.org
                 mkdir -p /srv/apt"
            ))
            .ok();
        forge
    }

    /// Adds or replaces files, commits and pushes; gives the commit id.
    pub fn push(&self, files: &[(&str, &str)]) -> String {
        for (path, content) in files {
            self.write(&format!("{WORK}/{path}"), content);
        }
        self.publish("a change")
    }

    /// Makes the repository equal to a folder of this machine, commits and pushes; gives the commit id.
    pub fn push_folder(&self, folder: &std::path::Path) -> String {
        self.git(&["rm", "-r", "--quiet", "--ignore-unmatch", "."]).ok();
        self.copy_in(folder, WORK);
        self.publish(&format!("the state of {}", folder.display()))
    }

    /// Removes files, commits and pushes; gives the commit id.
    pub fn push_removal(&self, paths: &[&str]) -> String {
        self.git(&[&["rm", "-r", "--quiet", "--"], paths].concat()).ok();
        self.publish("a removal")
    }

    /// Commits whatever lies in the working copy and pushes; gives the commit id.
    pub fn publish(&self, message: &str) -> String {
        self.git(&["add", "--all"]).ok();
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]).ok();
        self.force_push()
    }

    /// Replaces the last commit by another one with the same parent, so that the branch no longer descends from what
    /// others have seen; gives the new commit id.
    pub fn rewrite_history(&self) -> String {
        self.git(&["commit", "--quiet", "--amend", "--allow-empty", "--message", "history rewritten"]).ok();
        self.force_push()
    }

    /// Runs git in the working copy, for whatever else a test does to a repository.
    pub fn git(&self, arguments: &[&str]) -> Output {
        self.run(&[&["git", "-C", WORK], arguments].concat())
    }

    /// The repository, open to everyone who trusts the certificate authority.
    pub fn url_https(&self) -> String {
        "https://git.example.org/fleet.git".to_owned()
    }

    /// The same repository behind credentials: basic with [`USER`] and [`PASSWORD`], basic with any user and the
    /// token as its password, or the token as a bearer.
    pub fn url_https_private(&self) -> String {
        "https://git.example.org/private/fleet.git".to_owned()
    }

    /// An address that redirects to the same repository under another host name.
    pub fn url_https_moved(&self) -> String {
        "https://git.example.org/moved/fleet.git".to_owned()
    }

    pub fn url_ssh(&self) -> String {
        format!("ssh://git@git.example.org{REPOSITORY}")
    }

    /// The certificate authority that signed the forge's certificate, in PEM.
    pub fn ca(&self) -> String {
        self.key("ca.pem")
    }

    /// The private key that may read over ssh.
    pub fn ssh_key(&self) -> String {
        self.key("deploy")
    }

    /// The line of known_hosts that pins the forge's ssh host key.
    pub fn known_hosts(&self) -> String {
        let key = self.host.disk().join("etc/ssh/ssh_host_ed25519_key.pub");
        let key = fs::read_to_string(key).expect("read the forge's host key");
        format!("git.example.org {key}")
    }

    /// Stops all servers: connections are refused.
    pub fn stop(&self) {
        self.systemctl(&["stop"]);
    }

    pub fn start(&self) {
        self.systemctl(&["start"]);
    }

    /// Freezes all servers: connections are taken by the kernel and never answered.
    pub fn freeze(&self) {
        self.systemctl(&["kill", "--signal=STOP"]);
    }

    pub fn thaw(&self) {
        self.systemctl(&["kill", "--signal=CONT"]);
    }

    /// Limits what the forge sends, in bits a second.
    pub fn slow_down(&self, bits: u32) {
        network::set_rate(&self.host.namespace(), Some(bits));
    }

    pub fn speed_up(&self) {
        network::set_rate(&self.host.namespace(), None);
    }

    /// The requests that the web server answered so far, each as `METHOD TARGET STATUS BYTES`.
    pub fn requests(&self) -> Vec<String> {
        self.read("/var/log/nginx/requests.log").lines().map(str::to_owned).collect()
    }

    fn force_push(&self) -> String {
        // As the owner of the repository, so that what is served belongs to the one who serves it.
        self.git(&["push", "--quiet", "--force", "origin", "HEAD:main"]).ok();
        self.run(&["chown", "--recursive", "git:git", REPOSITORY]).ok();
        self.git(&["rev-parse", "HEAD"]).ok().trim().to_owned()
    }

    fn systemctl(&self, verb: &[&str]) {
        // The service behind fcgiwrap's socket may not run yet; a signal for it is then for nobody.
        let services: Vec<&str> = match verb[0] {
            "kill" => SERVICES.iter().filter(|unit| self.is_running_service(unit)).copied().collect(),
            _ => SERVICES.to_vec(),
        };
        self.run(&[&["systemctl"], verb, &services].concat()).ok();
    }

    fn is_running_service(&self, unit: &str) -> bool {
        unit.ends_with(".service") && self.run(&["systemctl", "is-active", "--quiet", unit]).success()
    }

    fn key(&self, name: &str) -> String {
        fs::read_to_string(self.keys.join(name)).unwrap_or_else(|error| panic!("read {name}: {error}"))
    }

    /// An authority of our own, and a certificate for the names of the forge; never seen outside of this run.
    fn make_certificates(&self) {
        let script = "\
cd \"$1\"
curve='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
openssl req -x509 $curve -keyout ca.key -out ca.pem -days 7 -subj '/CN=lab authority' \\
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign
printf 'subjectAltName=DNS:git.example.org,DNS:elsewhere.example.org\\nextendedKeyUsage=serverAuth\\n' > extensions
openssl req $curve -keyout server.key -out server.csr -subj '/CN=git.example.org'
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -days 7 -extfile extensions -out server.pem
ssh-keygen -q -t ed25519 -N '' -C deploy -f deploy
";
        run(&["sh", "-eu", "-c", script, "sh", self.keys.to_str().expect("a path in UTF-8")]).ok();
    }

    fn configure(&self) {
        self.host.lay("/etc/ssl/lab/server.pem", 0o644, &self.key("server.pem"));
        self.host.lay("/etc/ssl/lab/server.key", 0o600, &self.key("server.key"));
        self.host.lay("/etc/default/fcgiwrap", 0o644, "DAEMON_OPTS=-c 8\n");
        self.host.lay("/etc/nginx/git-backend", 0o644, BACKEND);
        self.host.lay("/etc/nginx/sites-enabled/forge", 0o644, &site());
        self.host.lay("/etc/ssh/lab-keys/git", 0o644, &self.key("deploy.pub"));
        // The last lets the newer protocol of git through, as forges do.
        let ssh = "HostKey /etc/ssh/ssh_host_ed25519_key\nAuthorizedKeysFile /etc/ssh/lab-keys/%u\n\
                   AcceptEnv GIT_PROTOCOL\n";
        self.host.lay("/etc/ssh/sshd_config.d/lab.conf", 0o644, ssh);
    }
}

impl Deref for Forge {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

const BACKEND: &str = "\
include fastcgi_params;
fastcgi_param SCRIPT_FILENAME /usr/lib/git-core/git-http-backend;
fastcgi_param GIT_PROJECT_ROOT /srv/git;
fastcgi_param GIT_HTTP_EXPORT_ALL '';
fastcgi_param GIT_PROTOCOL $http_git_protocol;
fastcgi_param PATH_INFO $repository;
fastcgi_pass unix:/run/fcgiwrap.socket;
";

/// The web server's configuration. A token as the password of any user is what the large forges take.
fn site() -> String {
    let basic = base64(&format!("{USER}:{PASSWORD}"));
    let token_ends = base64_ends(&format!(":{TOKEN}"));
    format!(
        "\
log_format requests '$request_method $request_uri $status $body_bytes_sent';
access_log /var/log/nginx/requests.log requests;
map $http_authorization $is_allowed {{
    default 0;
    'Basic {basic}' 1;
    'Bearer {TOKEN}' 1;
    '~^Basic [A-Za-z0-9+/]*({token_ends})$' 1;
}}
server {{
    listen 443 ssl;
    listen [::]:443 ssl;
    server_name git.example.org elsewhere.example.org;
    ssl_certificate /etc/ssl/lab/server.pem;
    ssl_certificate_key /etc/ssl/lab/server.key;
    location ~ ^/private(?<repository>/.+)$ {{
        if ($is_allowed = 0) {{
            add_header WWW-Authenticate 'Basic realm=\"forge\"' always;
            return 401;
        }}
        include git-backend;
    }}
    location ~ ^/moved(?<rest>/.+)$ {{
        return 302 https://elsewhere.example.org$rest$is_args$args;
    }}
    location ~ ^(?<repository>/.+)$ {{
        include git-backend;
    }}
}}
server {{
    listen 80;
    listen [::]:80;
    server_name apt.example.org;
    root /srv/apt;
}}
"
    )
}

/// The three ways in which base64 of `anything + text` can end, as alternatives of a regular expression: the bytes
/// before shift the text by none, one or two places. The first character that mixes both is left open.
fn base64_ends(text: &str) -> String {
    let ends = (0..3).map(|shift| {
        let encoded = base64(&format!("{}{text}", "x".repeat(shift)));
        let mixed = [0, 2, 3][shift];
        encoded[mixed..].replace('+', r"\+")
    });
    ends.collect::<Vec<_>>().join("|")
}

fn base64(text: &str) -> String {
    super::exec::run_with(&["base64", "-w0"], text.as_bytes(), super::exec::LIMIT).ok()
}
