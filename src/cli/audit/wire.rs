//! Sends one request as it is written, and reads whatever comes.
//!
//! In: bytes, which need not be HTTP. Out: the answer as it came, its body
//! without chunks and coding. Not here: what is sent (`calls`).
//!
//! The client of `outbound` sends proper requests only, and hides the reason of
//! a status line.

use std::io::Read as _;
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::outbound::{Client, Dial, Failure, Target};

use super::calls::Call;

/// For one call, whatever the upstream takes.
const TIME: Duration = Duration::from_secs(90);
/// What of an answer is read. Its beginning and its errors tell more than its rows.
const MAX_ANSWER: usize = 4 << 20;

/// What came back.
#[derive(Debug)]
pub(super) enum Heard {
    Answer(Answer),
    /// Nothing that is HTTP: the connection was closed.
    Nothing,
}

/// An answer, as far as it was read.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) line: String,
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// Sends a call on a connection of its own.
///
/// # Errors
/// No connection could be opened.
pub(super) async fn send(client: &Client, target: &Target, call: &Call) -> Result<Heard, Failure> {
    let dial = Dial { scheme: target.scheme(), host: target.host().to_owned(), port: target.port(), time: TIME };
    let mut stream = client.dial(&dial).await?;
    let mut bytes = Vec::new();
    let exchange = async {
        // Who is refused early may find the connection closed, and an answer on it all the same.
        let _ = stream.write_all(&call.bytes).await;
        let _ = stream.flush().await;
        // Not every connection is closed behind an answer: what is said of its length counts, too.
        while bytes.len() < MAX_ANSWER && !is_whole(&bytes, call) {
            match stream.read_buf(&mut bytes).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
    };
    let _ = tokio::time::timeout(TIME, exchange).await;
    Ok(read(&bytes).map_or(Heard::Nothing, Heard::Answer))
}

/// Whether these bytes are a whole answer, as far as its head tells where it ends.
fn is_whole(bytes: &[u8], call: &Call) -> bool {
    let Some(Raw { answer, body }) = split(bytes) else { return false };
    let length = answer.says("content-length").and_then(|length| length.parse::<usize>().ok());
    match (answer.status, length) {
        (204 | 304, _) => true,
        _ if call.line.starts_with("HEAD ") => true,
        (_, Some(length)) => body.len() >= length,
        (_, None) => answer.is_chunked() && body.ends_with(b"0\r\n\r\n"),
    }
}

/// An answer whose body is as it came.
struct Raw<'a> {
    answer: Answer,
    body: &'a [u8],
}

/// The final answer among these bytes.
fn read(bytes: &[u8]) -> Option<Answer> {
    let Raw { mut answer, body } = split(bytes)?;
    answer.body = if answer.is_chunked() { unchunked(body) } else { body.to_vec() };
    if answer.says("content-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("gzip")) {
        let mut plain = Vec::new();
        // What could be decoded before it broke off counts.
        let _ = MultiGzDecoder::new(answer.body.as_slice()).take(MAX_ANSWER as u64).read_to_end(&mut plain);
        answer.body = plain;
    }
    Some(answer)
}

fn split(bytes: &[u8]) -> Option<Raw<'_>> {
    const END: &[u8] = b"\r\n\r\n";
    let end = bytes.windows(END.len()).position(|window| window == END)?;
    let (head, rest) = bytes.split_at_checked(end)?;
    let body = rest.get(END.len()..).unwrap_or_default();
    let head = String::from_utf8_lossy(head).into_owned();
    let mut lines = head.split("\r\n");
    let line = lines.next()?.to_owned();
    let status = line.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let field = |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
    let headers: Vec<(String, String)> = lines.filter_map(field).collect();
    if (100..200).contains(&status) {
        // Headers of an interim answer are seen by callers, too.
        let mut raw = split(body)?;
        raw.answer.headers.extend(headers);
        return Some(raw);
    }
    Some(Raw { answer: Answer { line, status, headers, body: Vec::new() }, body })
}

impl Answer {
    fn says(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    fn is_chunked(&self) -> bool {
        self.says("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
    }
}

/// A body without the sizes between its parts, which could stand in the middle of a word.
fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") {
        let size = bytes.get(..end).and_then(|size| std::str::from_utf8(size).ok());
        let size = size.and_then(|size| usize::from_str_radix(size.split(';').next()?.trim(), 16).ok());
        let Some(size) = size.filter(|size| *size > 0) else { break };
        let rest = bytes.get(end + 2..).unwrap_or_default();
        body.extend_from_slice(rest.get(..size.min(rest.len())).unwrap_or_default());
        bytes = rest.get(size.saturating_add(2)..).unwrap_or_default();
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_without_what_carries_them() {
        let chunked = b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: a:b\r\n\r\n4\r\ntiny\r\n4;x=1\r\nbird\r\n0\r\n\r\n";
        let answer = read(chunked).unwrap();
        assert_eq!(
            (answer.status, answer.body.as_slice(), answer.line.as_str()),
            (200, &b"tinybird"[..], "HTTP/1.1 200 OK")
        );
        assert_eq!(answer.headers[1], ("X".to_owned(), "a:b".to_owned()));
        assert_eq!(answer.headers[2].0, "Link");
        for nothing in [&b""[..], b"\x15\x03\x01\r\n\r\n", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 x\r\n\r\n"] {
            assert!(read(nothing).is_none(), "{nothing:?}");
        }
        for broken in ["zz\r\nx", "ffffffffffffffff\r\nabc", "5\r\nab"] {
            let bytes = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{broken}");
            assert!(read(bytes.as_bytes()).is_some());
        }
    }
}
