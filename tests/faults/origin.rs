//! An upstream that says what it is told to, byte by byte, and keeps book on what reaches it.
//!
//! In: scripts by name; a request asks for one with `row=NAME`. Without that it is a canary's: its `id` comes back.
//! Out: what arrived that a strict reader refuses, which targets were asked for, how many scripts are held open.
//! Not here: addresses where nobody accepts (`support::unreachable`), TLS (`support::tls_origin`).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::wire::{BodyReader, Framing, Head, Part, head_end};

/// One thing that the upstream does. After the last one it reads the next request.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Ends the connection with FIN.
    Close,
    /// These bytes one by one, with this time before each.
    Drip(Bytes, Duration),
    /// These bytes again and again, until the peer is gone.
    Flood(Bytes),
    /// Nothing, until the peer is gone.
    Hold,
    /// Nothing, for this time.
    Pause(Duration),
    /// Ends the connection with RST.
    Reset,
    /// These bytes.
    Say(Bytes),
}

/// These bytes.
pub(crate) fn say(bytes: impl AsRef<[u8]>) -> Step {
    Step::Say(Bytes::copy_from_slice(bytes.as_ref()))
}

/// A request that was no canary's.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) target: String,
    pub(crate) raw_head: Vec<u8>,
    pub(crate) body: Vec<u8>,
    /// Whether its body came to its end.
    pub(crate) is_whole: bool,
}

/// What reached the upstream.
#[derive(Debug, Default)]
struct Book {
    requests: Mutex<Vec<Request>>,
    violations: Mutex<Vec<String>>,
    /// How often each script has come to its end.
    played: Mutex<BTreeMap<String, usize>>,
    /// Scripts under way.
    playing: Mutex<Vec<String>>,
    /// The most bytes that one flood brought in.
    flooded: AtomicU64,
}

/// An upstream that listens, on the test's runtime.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) url: String,
    scripts: BTreeMap<String, Vec<Step>>,
    book: Book,
}

impl Origin {
    /// With these scripts.
    pub(crate) async fn start(scripts: impl IntoIterator<Item = (String, Vec<Step>)>) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let origin = Arc::new(Self { url, scripts: scripts.into_iter().collect(), book: Book::default() });
        let serving = Arc::clone(&origin);
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    continue;
                };
                let origin = Arc::clone(&serving);
                tokio::spawn(async move { origin.serve(stream).await });
            }
        });
        origin
    }

    /// What arrived that is no valid HTTP/1.1.
    pub(crate) fn violations(&self) -> Vec<String> {
        lock(&self.book.violations).clone()
    }

    /// Takes the requests out that were no canaries'.
    pub(crate) fn take_requests(&self) -> Vec<Request> {
        std::mem::take(&mut lock(&self.book.requests))
    }

    /// How often this script has come to its end.
    pub(crate) fn played(&self, row: impl ToString) -> usize {
        lock(&self.book.played).get(&row.to_string()).copied().unwrap_or(0)
    }

    /// Scripts under way: requests that the gateway has not given up.
    pub(crate) fn playing(&self) -> Vec<String> {
        lock(&self.book.playing).clone()
    }

    /// The most bytes that one flood brought into the gateway or its socket.
    pub(crate) fn flooded(&self) -> u64 {
        self.book.flooded.load(Ordering::SeqCst)
    }

    async fn serve(&self, mut stream: TcpStream) {
        // An error means that the peer is gone already.
        drop(stream.set_nodelay(true));
        let mut buffer = BytesMut::new();
        while let Some(request) = self.read(&mut stream, &mut buffer).await {
            let row = parameter(&request.target, "row").map(str::to_owned);
            let script = row.as_ref().map(|row| self.scripts.get(row).expect("a script of this name").clone());
            let canary = parameter(&request.target, "id").map(str::to_owned);
            if canary.is_none() {
                lock(&self.book.requests).push(request.clone());
            }
            if !request.is_whole {
                return;
            }
            let steps = script.unwrap_or_else(|| vec![Step::Say(echo(canary.as_deref().unwrap_or("none")))]);
            let row = row.unwrap_or_default();
            lock(&self.book.playing).push(row.clone());
            let played = self.play(&mut stream, steps).await;
            let mut playing = lock(&self.book.playing);
            let at = playing.iter().position(|playing| *playing == row).expect("it was put there");
            playing.swap_remove(at);
            drop(playing);
            *lock(&self.book.played).entry(row).or_default() += 1;
            if played.is_none() {
                return;
            }
        }
    }

    /// None where the connection ends.
    async fn play(&self, stream: &mut TcpStream, steps: Vec<Step>) -> Option<()> {
        for step in steps {
            match step {
                Step::Close => return None,
                Step::Drip(bytes, every) => {
                    for byte in bytes {
                        tokio::time::sleep(every).await;
                        stream.write_all(&[byte]).await.ok()?;
                    }
                }
                Step::Flood(bytes) => {
                    // Many at once, or the test's own machine would be the bottleneck.
                    let many = bytes.repeat(64 * 1024 / bytes.len() + 1);
                    let (mut hear, mut say) = stream.split();
                    let mut heard = [0; 1024];
                    let mut said = 0;
                    let saying = async {
                        while say.write_all(&many).await.is_ok() {
                            said += many.len() as u64;
                        }
                    };
                    // A peer that shuts the connection down before it closes it is gone, too; the system may hold what is
                    // left of it for a minute.
                    tokio::select! {
                        () = saying => {}
                        _ = hear.read(&mut heard) => {}
                    }
                    self.book.flooded.fetch_max(said, Ordering::SeqCst);
                    return None;
                }
                Step::Hold => {
                    while stream.read(&mut [0; 1024]).await.ok()? > 0 {}
                    return None;
                }
                Step::Pause(time) => tokio::time::sleep(time).await,
                Step::Reset => {
                    // An error means that the peer was faster.
                    drop(stream.set_zero_linger());
                    return None;
                }
                Step::Say(bytes) => stream.write_all(&bytes).await.ok()?,
            }
        }
        Some(())
    }

    /// The next request, as strictly as can be; none where the connection ends before one.
    async fn read(&self, stream: &mut TcpStream, buffer: &mut BytesMut) -> Option<Request> {
        let end = loop {
            if let Some(end) = head_end(buffer) {
                break end;
            }
            if stream.read_buf(buffer).await.unwrap_or(0) == 0 {
                if !buffer.is_empty() {
                    self.object(format!("a head that does not end: {}", buffer.escape_ascii()));
                }
                return None;
            }
        };
        let raw_head = buffer.split_to(end).to_vec();
        let mut head = Head::parse(&raw_head);
        head.judge_request();
        let mut reader = BodyReader::new(Framing::of_request(&mut head));
        let [_, target, _] = head.words();
        let mut body = Vec::new();
        let mut is_whole = true;
        let mut keep = |part: Part<'_>| {
            if let Part::Payload(bytes) = part {
                body.extend_from_slice(bytes);
            }
        };
        while !reader.take(buffer, &mut keep) {
            if stream.read_buf(buffer).await.unwrap_or(0) == 0 {
                is_whole = false;
                break;
            }
        }
        for violation in head.violations.iter().chain(&reader.violations) {
            self.object(format!("{violation:?} in {}", raw_head.escape_ascii()));
        }
        Some(Request { target, raw_head, body, is_whole })
    }

    fn object(&self, what: String) {
        lock(&self.book.violations).push(what);
    }
}

/// A right answer that says whose it is.
fn echo(id: &str) -> Bytes {
    let body = canary_body(id);
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    // Both ways to frame it, as the number has it.
    let is_chunked = id.bytes().last().is_some_and(|last| last % 2 == 1);
    let whole = match is_chunked {
        true => format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
        false => format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()),
    };
    Bytes::from(whole)
}

/// The body of the answer to the canary with this id.
pub(crate) fn canary_body(id: &str) -> String {
    format!(r#"{{"data":[{{"id":"{id}"}}],"rows":1}}"#)
}

/// The value of a parameter of a target, as it stands there.
fn parameter<'a>(target: &'a str, name: &str) -> Option<&'a str> {
    let (_, query) = target.split_once('?')?;
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics with it")
}
