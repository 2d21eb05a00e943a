//! What goes over the line to a worker and back.
//!
//! ```text
//! ──▶ agentd-worker NAME VERSION\n, the request, until this side closes
//! ◀── answer\n, the answer, until that side closes;  or  failed WHY\n;  or  version VERSION\n
//! ```
//!
//! The version is the program's own: a worker that an upgrade has replaced under an agent that still runs says so,
//! instead of misunderstanding it or being misunderstood.

use std::io::{self, BufRead, Read, Write};

use super::{Worker, WorkerError};

/// The word that a request begins with.
const GREETING: &str = "agentd-worker";

/// How long a request may be: it comes from our own agent.
const LONGEST_REQUEST: u64 = 16 << 20;

/// How long the line may be that a request or an answer begins with.
const LONGEST_LINE: u64 = 64 << 10;

/// What the two sides must agree in: the release, and the commit it was built of where that is known.
pub(super) fn version() -> String {
    match option_env!("AGENTD_COMMIT") {
        Some(commit) => format!("{}+{commit}", env!("CARGO_PKG_VERSION")),
        None => env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// A request as it goes over the line.
pub(super) fn request(worker: Worker, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{GREETING} {} {}\n", worker.name(), version()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// The worker's side: reads a request, has it answered, and says so if that did not work out. A process answers for all
/// workers that share its unit.
pub(super) fn serve(
    process: Worker,
    input: impl Read,
    output: &mut dyn Write,
    answer: impl FnOnce(Worker, &[u8], &mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut bytes = Vec::new();
    input.take(LONGEST_REQUEST).read_to_end(&mut bytes)?;
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (line, body) = (&bytes[..end], bytes.get(end + 1..).unwrap_or_default());
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "this is no request for this worker");
    let line = std::str::from_utf8(line).map_err(|_| wrong())?;
    let mut words = line.split(' ');
    let (Some(GREETING), Some(name), Some(theirs), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(wrong());
    };
    if theirs != version() {
        return writeln!(output, "version {}", version());
    }
    let asked =
        name.parse().ok().filter(|asked: &Worker| asked.unit() == process.unit()).ok_or_else(wrong)?;
    let mut answering = Answering { output, begun: false };
    match answer(asked, body, &mut answering) {
        // Told on the line, since nobody reads the journal for us.
        Err(error) if !answering.begun => {
            writeln!(answering.output, "failed {}", error.to_string().replace('\n', " "))
        }
        done => done,
    }
}

/// The agent's side: reads what an answer begins with; the rest is the answer itself.
pub(super) fn opened(worker: Worker, input: &mut dyn BufRead) -> Result<(), WorkerError> {
    let name = worker.name();
    let mut line = Vec::new();
    let read = input.take(LONGEST_LINE).read_until(b'\n', &mut line);
    read.map_err(|error| WorkerError::NoAnswer { name, complaint: error.to_string() })?;
    let line = String::from_utf8_lossy(&line);
    match line.trim_end().split_once(' ').unwrap_or((line.trim_end(), "")) {
        ("answer", "") => Ok(()),
        ("failed", why) => Err(WorkerError::NoAnswer { name, complaint: why.to_owned() }),
        ("version", theirs) => {
            Err(WorkerError::OtherVersion { name, ours: version(), theirs: theirs.to_owned() })
        }
        ("", _) => Err(WorkerError::Silent { name, unit: worker.unit() }),
        (word, _) => {
            Err(WorkerError::NoAnswer { name, complaint: format!("an answer does not begin with `{word}`") })
        }
    }
}

/// Where the answer goes: with its first byte it is said that there is one.
struct Answering<'a> {
    output: &'a mut dyn Write,
    begun: bool,
}

impl Write for Answering<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.begun {
            self.begun = true;
            self.output.write_all(b"answer\n")?;
        }
        self.output.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(sent: &[u8], answer: impl FnOnce(Worker, &[u8], &mut dyn Write) -> io::Result<()>) -> Vec<u8> {
        let mut output = Vec::new();
        serve(Worker::Compile, sent, &mut output, answer).unwrap();
        output
    }

    #[test]
    fn a_request_comes_through_and_its_answer_comes_back() {
        let output = served(&request(Worker::Survey, b"{}\nand more"), |_, body, output| {
            assert_eq!(body, b"{}\nand more");
            output.write_all(b"well")
        });
        let mut input = &output[..];
        opened(Worker::Survey, &mut input).unwrap();
        assert_eq!(input, b"well");
    }

    #[test]
    fn a_worker_of_another_version_does_nothing_and_says_which_it_is() {
        let output = served(b"agentd-worker survey 0.0.9+older\n{}", |_, _, _| panic!("it was asked"));
        let error = opened(Worker::Survey, &mut &output[..]).unwrap_err();
        assert!(
            matches!(&error, WorkerError::OtherVersion { theirs, .. } if *theirs == version()),
            "{error}"
        );
    }

    #[test]
    fn a_request_for_another_worker_or_none_at_all_is_refused() {
        for sent in [&request(Worker::Fetch, b"{}")[..], b"{}", b"", b"agentd-worker survey"] {
            let mut output = Vec::new();
            assert!(serve(Worker::Survey, sent, &mut output, |_, _, _| panic!("it was asked")).is_err());
            assert!(output.is_empty());
        }
    }

    #[test]
    fn what_fails_before_an_answer_is_told_on_the_line_and_what_says_nothing_is_no_answer() {
        let output = served(&request(Worker::Survey, b""), |_, _, _| Err(io::Error::other("no\nroom")));
        let error = opened(Worker::Survey, &mut &output[..]).unwrap_err();
        assert!(error.to_string().ends_with("no room"), "{error}");
        for (input, word) in [(&b""[..], "journalctl"), (b"{\"answer\"", "does not begin")] {
            let error = opened(Worker::Survey, &mut &input[..]).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}
