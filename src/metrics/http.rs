//! What a scraper is answered: as much of HTTP/1.1 as it takes to give one page to curl, Prometheus or a proxy. One
//! answer a connection.

/// So long may the head of a request be.
pub const HEAD_LIMIT: usize = 8 << 10;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The page.
    Page,
    /// Only what would be said of it.
    Head,
    /// Something that is not there.
    Missing,
    /// To do something with it: it can only be read.
    Refused,
    /// It is no request.
    Nonsense,
}

/// Whether the whole head of a request is there.
pub fn is_whole(read: &[u8]) -> bool {
    read.windows(4).any(|end| end == b"\r\n\r\n")
}

/// What a head asks for. Its fields are nobody's concern.
pub fn wanted(head: &[u8]) -> Wanted {
    let first = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let words: Vec<&[u8]> = first.split(|byte| *byte == b' ').collect();
    let [method, target, version] = words[..] else { return Wanted::Nonsense };
    if !version.starts_with(b"HTTP/1.") || method.is_empty() {
        return Wanted::Nonsense;
    }
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    match (method, path) {
        (b"GET", b"/metrics" | b"/") => Wanted::Page,
        (b"HEAD", b"/metrics" | b"/") => Wanted::Head,
        (b"GET" | b"HEAD", _) => Wanted::Missing,
        (_, _) => Wanted::Refused,
    }
}

/// The whole answer; `page` is asked for if it is wanted.
pub fn answer(wanted: Wanted, page: &str) -> String {
    let (status, body) = match wanted {
        Wanted::Page | Wanted::Head => ("200 OK", page),
        Wanted::Missing => ("404 Not Found", "only /metrics is here\n"),
        Wanted::Refused => ("405 Method Not Allowed\r\nAllow: GET, HEAD", "it can only be read\n"),
        Wanted::Nonsense => ("400 Bad Request", "that is no request\n"),
    };
    let shown = if wanted == Wanted::Head { "" } else { body };
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{shown}",
        body.len(),
    )
}
