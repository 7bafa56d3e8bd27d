//! The upstream: it answers, and misbehaves as the path says. It counts how often it saw each request.
//!
//! Not here: who asks for what (`kind`).

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::kind::cost;

/// What an answer has at least, so that it comes in several pieces now and then.
const PADDING: &str = "the quick brown fox jumps over the lazy dog, again and again; ";

/// An upstream that listens.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) url: String,
    seen: Seen,
}

/// What it saw.
#[derive(Debug)]
struct Seen {
    /// How often, by number.
    times: Box<[AtomicU8]>,
    /// Who waits until it has seen a request, or the part of it that comes.
    awaited: Mutex<HashMap<usize, oneshot::Sender<()>>>,
}

/// A request as it came.
#[derive(Debug)]
struct Head {
    number: usize,
    pipe: String,
    is_head: bool,
    likes_gzip: bool,
    length: usize,
}

impl Origin {
    /// For requests with numbers below this.
    pub(crate) async fn start(numbers: usize) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let times = (0..numbers).map(|_| AtomicU8::new(0)).collect();
        let origin = Arc::new(Self { url, seen: Seen { times, awaited: Mutex::default() } });
        let serving = Arc::clone(&origin);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let origin = Arc::clone(&serving);
                tokio::spawn(async move { origin.serve(stream).await });
            }
        });
        origin
    }

    /// How often it saw the request with this number.
    pub(crate) fn times(&self, number: usize) -> u64 {
        self.seen.times[number].load(Ordering::SeqCst).into()
    }

    /// Tells when it has seen the request with this number.
    pub(crate) fn watch(&self, number: usize) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.seen.awaited.lock().expect("nobody panics").insert(number, sender);
        receiver
    }

    async fn serve(&self, mut stream: TcpStream) -> Option<()> {
        stream.set_nodelay(true).ok()?;
        let mut buffer = Vec::with_capacity(4_096);
        loop {
            let end = read_until(&mut stream, &mut buffer, |bytes| find(bytes, b"\r\n\r\n").map(|at| at + 4)).await?;
            let head = Head::read(&buffer[..end]);
            buffer.drain(..end);
            let before = self.seen.times[head.number].fetch_add(1, Ordering::SeqCst);
            let expected = if head.pipe == "broken" { head.length / 2 } else { head.length };
            read_until(&mut stream, &mut buffer, |bytes| (bytes.len() >= expected).then_some(expected)).await?;
            buffer.drain(..expected);
            if let Some(waiting) = self.seen.awaited.lock().expect("nobody panics").remove(&head.number) {
                // Who asked may have gone.
                let _ = waiting.send(());
            }
            self.answer(&mut stream, &head, before).await?;
        }
    }

    /// None where the connection ends.
    async fn answer(&self, stream: &mut TcpStream, head: &Head, before: u8) -> Option<()> {
        match head.pipe.as_str() {
            "broken" | "left" => until_closed(stream).await,
            "dropped" => None,
            "cut" => {
                send_half(
                    stream,
                    head.number,
                    if head.number.is_multiple_of(3) { Framing::Chunks } else { Framing::Length },
                )
                .await?;
                if head.number.is_multiple_of(2) {
                    stream.set_zero_linger().ok()?;
                }
                None
            }
            "half" => {
                // In a chunk: of a body with a length, the gateway may wait for more before it passes anything on.
                send_half(stream, head.number, Framing::Chunks).await?;
                until_closed(stream).await
            }
            "failing" => send(stream, head, (500, r#"{"error":"out of memory"}"#.into())).await,
            "shaky" if before == 0 => {
                let status = if head.number.is_multiple_of(2) { 500 } else { 429 };
                send(stream, head, (status, r#"{"error":"not now"}"#.into())).await
            }
            "open" => send(stream, head, (200, format!(r#"{{"data":["{PADDING}"]}}"#))).await,
            "upload" => send(stream, head, (202, r#"{"successful_rows":1}"#.into())).await,
            "limited" | "shaky" | "top" => send(stream, head, (200, document(head.number))).await,
            other => panic!("nobody asks for {other}"),
        }
    }
}

impl Head {
    fn read(bytes: &[u8]) -> Self {
        let text = std::str::from_utf8(bytes).expect("a head in ASCII").to_ascii_lowercase();
        let line = text.lines().next().expect("a request line");
        let header = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let number = line.split_once("n=").and_then(|(_, rest)| rest.split(['&', ' ']).next());
        let path = line.split(' ').nth(1).and_then(|target| target.split('?').next()).expect("a path");
        let pipe = path.rsplit('/').next().expect("a name").trim_end_matches(".json");
        assert_eq!(header("transfer-encoding:"), None, "bodies have lengths: {text}");
        Head {
            number: number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no number: {text}")),
            pipe: pipe.to_owned(),
            is_head: line.starts_with("head "),
            likes_gzip: header("accept-encoding:").is_some_and(|codings| codings.contains("gzip")),
            length: header("content-length:").map_or(0, |length| length.parse().expect("a length")),
        }
    }
}

/// An answer of a pipe that says what it cost; its length differs.
fn document(number: usize) -> String {
    let (rows, bytes) = cost(number);
    let data = PADDING.repeat(number % 40);
    format!(
        r#"{{"data":["{data}"],"rows":1,"statistics":{{"elapsed":0.001,"rows_read":{rows},"bytes_read":{bytes}}}}}"#
    )
}

/// With a length, or, for every third, in chunks.
async fn send(stream: &mut TcpStream, head: &Head, (status, body): (u16, String)) -> Option<()> {
    let mut answer = format!("HTTP/1.1 {status} Whatever\r\nContent-Type: application/json\r\n").into_bytes();
    let mut body = body.into_bytes();
    if status == 200 && head.likes_gzip {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&body).ok()?;
        body = gzip.finish().ok()?;
        answer.extend_from_slice(b"Content-Encoding: gzip\r\n");
    }
    let is_chunked = head.number.is_multiple_of(3);
    match is_chunked {
        true => answer.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n"),
        false => answer.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes()),
    }
    match (head.is_head, is_chunked) {
        (true, _) => {}
        (false, false) => answer.extend_from_slice(&body),
        (false, true) => {
            for chunk in body.chunks(700) {
                answer.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                answer.extend_from_slice(chunk);
                answer.extend_from_slice(b"\r\n");
            }
            answer.extend_from_slice(b"0\r\n\r\n");
        }
    }
    stream.write_all(&answer).await.ok()
}

/// Bytes of a body that is said to be twice as long.
pub(crate) fn half(number: usize) -> usize {
    500 + number % 500
}

/// How an answer says where it ends.
#[derive(Clone, Copy, Debug)]
enum Framing {
    Chunks,
    Length,
}

async fn send_half(stream: &mut TcpStream, number: usize, framing: Framing) -> Option<()> {
    let half = half(number);
    let body = "x".repeat(half);
    let rest = match framing {
        Framing::Chunks => format!("Transfer-Encoding: chunked\r\n\r\n{half:x}\r\n{body}\r\n"),
        Framing::Length => format!("Content-Length: {}\r\n\r\n{body}", half * 2),
    };
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{rest}");
    stream.write_all(answer.as_bytes()).await.ok()
}

async fn until_closed(stream: &mut TcpStream) -> Option<()> {
    let mut rest = [0; 512];
    while stream.read(&mut rest).await.ok()? > 0 {}
    None
}

/// Reads on until `end` finds what it looks for.
pub(crate) async fn read_until(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    mut end: impl FnMut(&[u8]) -> Option<usize>,
) -> Option<usize> {
    loop {
        if let Some(end) = end(buffer) {
            return Some(end);
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

/// Where this stands.
pub(crate) fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
