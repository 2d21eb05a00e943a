//! A small https server for one test: a thread a connection, answers by a closure. It counts what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

pub type Stream = StreamOwned<ServerConnection, TcpStream>;

/// What a client asked.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// A running server; ends with its owner.
pub struct Server {
    pub address: SocketAddr,
    pub asked: Arc<Mutex<Vec<Request>>>,
    over: Arc<AtomicBool>,
    dir: TempDir,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

impl Server {
    /// Serves with the closure; it writes a whole answer, or breaks the rules, and an error closes the connection.
    pub fn start<F>(answer: F) -> Server
    where
        F: Fn(&Request, &mut Stream) -> std::io::Result<()> + Send + Sync + 'static,
    {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("ca.pem"), cert.pem()).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server {
            address: listener.local_addr().unwrap(),
            asked: Arc::default(),
            over: Arc::default(),
            dir,
        };
        let (asked, over) = (server.asked.clone(), server.over.clone());
        let (config, answer) = (Arc::new(config), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let (config, answer, asked) = (config.clone(), answer.clone(), asked.clone());
                std::thread::spawn(move || serve(stream.ok()?, config, &asked, &*answer).ok());
            }
        });
        server
    }

    /// Serves the repositories below a folder through git's own CGI program, to whoever sends this `Authorization`.
    pub fn git(root: &Path, authorization: Option<&str>) -> Server {
        let (root, wanted) = (root.to_owned(), authorization.map(str::to_owned));
        Server::start(move |request, stream| {
            if wanted.is_some() && request.header("authorization") != wanted.as_deref() {
                return write_answer(
                    stream,
                    "401 Unauthorized",
                    &[("WWW-Authenticate", "Basic realm=\"git\"")],
                    b"no",
                );
            }
            let (status, headers, body) = backend(&root, request);
            let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            write_answer(stream, &status, &headers, &body)
        })
    }

    pub fn url(&self) -> String {
        format!("https://localhost:{}/fleet.git", self.address.port())
    }

    pub fn ca_file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    pub fn asked(&self) -> Vec<Request> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

type Answer<'a> = dyn Fn(&Request, &mut Stream) -> std::io::Result<()> + 'a;

fn serve(
    tcp: TcpStream,
    config: Arc<ServerConfig>,
    asked: &Mutex<Vec<Request>>,
    answer: &Answer,
) -> std::io::Result<()> {
    let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut stream = StreamOwned::new(connection, tcp);
    while let Some(request) = read_request(&mut stream)? {
        asked.lock().unwrap().push(request.clone());
        answer(&request, &mut stream)?;
        stream.flush()?;
    }
    Ok(())
}

fn read_request(stream: &mut Stream) -> std::io::Result<Option<Request>> {
    let mut reader = BufReader::with_capacity(1, stream);
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (path, query) = (path.to_owned(), query.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.push((name.to_owned(), value.trim().to_owned())),
            None => break,
        }
    }
    let mut request = Request { method, path, query, headers, body: Vec::new() };
    let length = request.header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
    request.body = vec![0; length];
    reader.read_exact(&mut request.body)?;
    Ok(Some(request))
}

/// Writes an ordinary answer.
pub fn write_answer(
    stream: &mut Stream,
    status: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)
}

type Backend = (String, Vec<(String, String)>, Vec<u8>);

/// Runs `git http-backend` for a request; gives status, headers and body.
pub fn backend(root: &Path, request: &Request) -> Backend {
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", &request.method)
        .env("PATH_INFO", &request.path)
        .env("QUERY_STRING", &request.query)
        .env("CONTENT_TYPE", request.header("content-type").unwrap_or_default())
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .env("GIT_PROTOCOL", request.header("git-protocol").unwrap_or_default())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("git is needed for these tests: apt-get install git");
    let mut stdin = child.stdin.take().unwrap();
    let body = request.body.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&body));
    let output = child.wait_with_output().unwrap().stdout;
    let _ = writer.join().unwrap();
    let split = output.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a CGI answer has headers");
    let head = String::from_utf8_lossy(&output[..split]).into_owned();
    let mut headers: Vec<(String, String)> =
        head.lines().filter_map(|l| l.split_once(": ")).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    let at = headers.iter().position(|(name, _)| name == "Status");
    let status = at.map_or("200 OK".to_owned(), |at| headers.remove(at).1);
    (status, headers, output[split + 4..].to_vec())
}
