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
const MAX_ANSWER: u64 = 4 << 20;

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
        let _ = stream.take(MAX_ANSWER).read_to_end(&mut bytes).await;
    };
    let _ = tokio::time::timeout(TIME, exchange).await;
    Ok(read(&bytes).map_or(Heard::Nothing, Heard::Answer))
}

/// The final answer among these bytes.
fn read(bytes: &[u8]) -> Option<Answer> {
    const END: &[u8] = b"\r\n\r\n";
    let end = bytes.windows(END.len()).position(|window| window == END)?;
    let (head, rest) = bytes.split_at_checked(end)?;
    let body = rest.get(END.len()..).unwrap_or_default();
    let head = String::from_utf8_lossy(head).into_owned();
    let mut lines = head.split("\r\n");
    let line = lines.next()?.to_owned();
    let status = line.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let split = |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
    let headers: Vec<(String, String)> = lines.filter_map(split).collect();
    if (100..200).contains(&status) {
        // Headers of an interim answer are seen by callers, too.
        let mut answer = read(body)?;
        answer.headers.extend(headers);
        return Some(answer);
    }
    let says = |name: &str, word: &str| {
        headers.iter().any(|(own, value)| own.eq_ignore_ascii_case(name) && value.eq_ignore_ascii_case(word))
    };
    let mut body = if says("transfer-encoding", "chunked") { unchunked(body) } else { body.to_vec() };
    if says("content-encoding", "gzip") {
        let mut plain = Vec::new();
        // What could be decoded before it broke off counts.
        let _ = MultiGzDecoder::new(body.as_slice()).take(MAX_ANSWER).read_to_end(&mut plain);
        body = plain;
    }
    Some(Answer { line, status, headers, body })
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
