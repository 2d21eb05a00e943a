//! https beneath gix: its blocking HTTP trait over `ureq` and `rustls`, in this thread, with no process.
//!
//! Our own because it must count and cap bytes, bound the whole exchange in time, refuse every redirect (credentials never
//! reach a second host), ignore the environment's proxies, and trust the system's authorities plus one file.

use std::any::Any;
use std::cell::RefCell;
use std::io::{self, BufRead, BufReader, Cursor, Read, Write};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use gix_transport::client::blocking_io::http::{GetResponse, Http, PostBodyDataKind, PostResponse};
use ureq::http::Response;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, Timeout};

use super::Remote;
use super::error::{Fault, Trouble};
use super::meter::Meter;

/// Where Debian's `ca-certificates` keeps all trusted authorities in one file.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Largest authorities file read, in bytes; Debian's has 220 KiB.
const LARGEST_AUTHORITIES: u64 = 8 << 20;

/// The client of one fetch.
pub(crate) struct HttpClient {
    agent: Agent,
    authorization: Option<String>,
    meter: Meter,
}

impl HttpClient {
    /// Reads the authorities; connects to nothing yet.
    pub fn new(remote: &Remote, meter: Meter) -> Result<HttpClient, Trouble> {
        let roots = authorities(Path::new(SYSTEM_AUTHORITIES), remote.ca_file.as_deref())?;
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::from(roots))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let deadlines = meter.deadlines();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .https_only(true)
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_connect(Some(deadlines.connect))
            .timeout_per_read(Some(deadlines.stall))
            .timeout_per_write(Some(deadlines.stall))
            .build()
            .new_agent();
        Ok(HttpClient { agent, authorization: remote.credentials.authorization(), meter })
    }

    fn headers<T>(
        &self,
        mut request: ureq::RequestBuilder<T>,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> ureq::RequestBuilder<T> {
        for header in headers {
            if let Some((name, value)) = header.as_ref().split_once(':') {
                request = request.header(name, value.trim());
            }
        }
        match &self.authorization {
            Some(value) => request.header("Authorization", value),
            None => request,
        }
    }
}

impl Http for HttpClient {
    type Headers = Part;
    type ResponseBody = Part;
    type PostBody = Outgoing;

    fn get(
        &mut self,
        url: &str,
        _base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> gix::Result<GetResponse<Part, Part>> {
        let request = self.headers(self.agent.get(url), headers);
        let call =
            Box::new(move |limit, _: &[u8]| request.config().timeout_global(Some(limit)).build().call());
        let (headers, body) = Exchange::begin(call, self.meter.clone()).parts();
        Ok(GetResponse { headers, body })
    }

    fn post(
        &mut self,
        url: &str,
        _base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        _kind: PostBodyDataKind,
    ) -> gix::Result<PostResponse<Part, Part, Outgoing>> {
        let request = self.headers(self.agent.post(url), headers);
        let call = Box::new(move |limit, body: &[u8]| {
            request.config().timeout_global(Some(limit)).build().send(body)
        });
        let exchange = Exchange::begin(call, self.meter.clone());
        let post_body = Outgoing(exchange.0.clone());
        let (headers, body) = exchange.parts();
        Ok(PostResponse { post_body, headers, body })
    }

    fn configure(&mut self, _config: &dyn Any) -> gix::Result {
        Ok(())
    }
}

type Call = Box<dyn FnOnce(std::time::Duration, &[u8]) -> Result<Response<Body>, ureq::Error>>;
type Shared = Rc<RefCell<State>>;

/// A request that runs when the first byte of its answer is read: by then gix has written its body.
struct Exchange(Shared);

struct State {
    call: Option<Call>,
    outgoing: Vec<u8>,
    headers: Option<Vec<u8>>,
    body: Option<Body>,
    meter: Meter,
}

impl Exchange {
    fn begin(call: Call, meter: Meter) -> Exchange {
        let state = State { call: Some(call), outgoing: Vec::new(), headers: None, body: None, meter };
        Exchange(Rc::new(RefCell::new(state)))
    }

    fn parts(self) -> (Part, Part) {
        let body = Part { shared: self.0.clone(), which: Which::Body, reader: None };
        (Part { shared: self.0, which: Which::Headers, reader: None }, body)
    }
}

impl State {
    fn run(&mut self) -> io::Result<()> {
        let Some(call) = self.call.take() else { return Ok(()) };
        let outgoing = std::mem::take(&mut self.outgoing);
        let limit = self.meter.request().map_err(|over| self.meter.stop(over))?;
        let answer =
            call(limit, &outgoing).map_err(|error| self.meter.stop(trouble_of(&error, &self.meter)))?;
        if let Some(trouble) = refusal(&answer) {
            return Err(self.meter.stop(trouble));
        }
        let mut headers = Vec::new();
        for (name, value) in answer.headers() {
            headers.extend_from_slice(name.as_str().as_bytes());
            headers.extend_from_slice(b": ");
            headers.extend_from_slice(value.as_bytes());
            headers.push(b'\n');
        }
        self.headers = Some(headers);
        self.body = Some(answer.into_body());
        Ok(())
    }
}

/// The body of a request on its way: kept until the answer is wanted.
pub(crate) struct Outgoing(Shared);

impl Write for Outgoing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().outgoing.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The headers or the body of an answer.
pub(crate) struct Part {
    shared: Shared,
    which: Which,
    reader: Option<Box<dyn BufRead>>,
}

enum Which {
    Headers,
    Body,
}

impl Part {
    fn reader(&mut self) -> io::Result<&mut Box<dyn BufRead>> {
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.open()?,
        };
        Ok(self.reader.insert(reader))
    }

    fn open(&self) -> io::Result<Box<dyn BufRead>> {
        let mut state = self.shared.borrow_mut();
        state.run()?;
        match self.which {
            Which::Headers => Ok(Box::new(Cursor::new(state.headers.take().unwrap_or_default()))),
            Which::Body => match state.body.take() {
                Some(body) => {
                    let inner = Box::new(body.into_reader());
                    Ok(Box::new(BufReader::with_capacity(
                        32 << 10,
                        Metered { inner, meter: state.meter.clone() },
                    )))
                }
                None => Err(io::Error::other("the answer was already given up")),
            },
        }
    }
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader()?.read(buffer)
    }
}

impl BufRead for Part {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader()?.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        if let Some(reader) = &mut self.reader {
            reader.consume(amount);
        }
    }
}

struct Metered {
    inner: Box<dyn Read>,
    meter: Meter,
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer).map_err(|error| {
            let trouble = match ureq_error(&error) {
                Some(inner) => trouble_of(inner, &self.meter),
                None => io_trouble(&error),
            };
            self.meter.stop(trouble)
        })?;
        self.meter.received(count).map_err(|over| self.meter.stop(over))?;
        Ok(count)
    }
}

fn refusal(answer: &Response<Body>) -> Option<Trouble> {
    let status = answer.status().as_u16();
    let fault = match status {
        200..=299 => return None,
        300..=399 => {
            let to =
                answer.headers().get("location").and_then(|value| value.to_str().ok()).unwrap_or("nowhere");
            Fault::Redirected { to: without_secrets(to) }
        }
        401 | 403 | 407 => Fault::Auth,
        404 | 410 => Fault::RepositoryMissing,
        429 | 500..=599 => Fault::Unavailable { status },
        _ => Fault::Protocol,
    };
    Some(Trouble::new(fault, format_args!("HTTP {status}")))
}

/// The target of a redirect for a message: no user, password, query or fragment, which may hold tokens.
fn without_secrets(target: &str) -> String {
    let bare = target.split(['?', '#']).next().unwrap_or_default();
    let shown = match bare.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{path}")
        }
        None => bare.to_owned(),
    };
    shown.chars().filter(|c| !c.is_control()).take(300).collect()
}

fn trouble_of(error: &ureq::Error, meter: &Meter) -> Trouble {
    match error {
        ureq::Error::Timeout(Timeout::PerRead | Timeout::PerWrite) => meter.impatience(),
        ureq::Error::Timeout(Timeout::Global) => {
            Trouble::bare(Fault::TimedOut { seconds: meter.deadlines().total.as_secs() })
        }
        ureq::Error::Timeout(_) | ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => {
            Trouble::new(Fault::Unreachable, error)
        }
        ureq::Error::Io(inner) => io_trouble(inner),
        ureq::Error::Rustls(inner) => tls_trouble(inner),
        ureq::Error::BodyStalled => meter.impatience(),
        _ => Trouble::new(Fault::Protocol, error),
    }
}

fn ureq_error(error: &io::Error) -> Option<&ureq::Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>())
}

fn io_trouble(error: &io::Error) -> Trouble {
    if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return tls_trouble(tls);
    }
    match error.kind() {
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => Trouble::new(Fault::Interrupted, error),
        _ => Trouble::new(Fault::Unreachable, error),
    }
}

fn tls_trouble(error: &rustls::Error) -> Trouble {
    match error {
        rustls::Error::InvalidCertificate(_)
        | rustls::Error::NoCertificatesPresented
        | rustls::Error::UnsupportedNameType => Trouble::new(Fault::Certificate, error),
        _ => Trouble::new(Fault::Protocol, error),
    }
}

fn authorities(system: &Path, extra: Option<&Path>) -> Result<Vec<Certificate<'static>>, Trouble> {
    let mut all = match read_authorities(system) {
        Ok(found) => found,
        // With a file of one's own the system's list may be missing; without, nothing could be verified.
        Err(_) if extra.is_some() => Vec::new(),
        Err(cause) => {
            let hint = format!("{cause}; install the package ca-certificates or name a CA file");
            return Err(Trouble::new(Fault::Settings, hint));
        }
    };
    if let Some(path) = extra {
        all.extend(read_authorities(path).map_err(|cause| Trouble::new(Fault::Settings, cause))?);
    }
    Ok(all)
}

fn read_authorities(path: &Path) -> Result<Vec<Certificate<'static>>, String> {
    let name = path.display();
    let file =
        std::fs::File::open(path).map_err(|error| format!("cannot read the CA file {name}: {error}"))?;
    let mut pem = Vec::new();
    file.take(LARGEST_AUTHORITIES)
        .read_to_end(&mut pem)
        .map_err(|error| format!("cannot read the CA file {name}: {error}"))?;
    let mut found = Vec::new();
    for item in parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => found.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(format!("the CA file {name} is not valid PEM: {error}")),
        }
    }
    if found.is_empty() { Err(format!("the CA file {name} holds no certificate")) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_target_is_shown_without_secrets() {
        let cases = [
            ("https://user:pw@evil.example.org/a?token=x#y", "https://evil.example.org/a"),
            ("/login?next=x", "/login"),
            ("https://evil.example.org", "https://evil.example.org"),
            ("a\r\nb", "ab"),
        ];
        for (given, shown) in cases {
            assert_eq!(without_secrets(given), shown);
        }
    }

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn a_ca_file_that_cannot_help_is_a_fault_of_the_settings() {
        let dir = tempfile::tempdir().unwrap();
        let empty = dir.path().join("empty.pem");
        std::fs::write(&empty, "no certificate\n").unwrap();
        for file in [empty, dir.path().join("missing.pem")] {
            let trouble = authorities(&dir.path().join("none"), Some(&file)).unwrap_err();
            assert_eq!(trouble.fault, Fault::Settings);
            assert!(trouble.cause.contains(file.to_str().unwrap()), "{}", trouble.cause);
        }
        let trouble = authorities(&dir.path().join("none"), None).unwrap_err();
        assert!(trouble.cause.contains("ca-certificates"), "{}", trouble.cause);
    }
}
