//! Callers: each sends one request after the other, and says what became of it.
//!
//! In: requests, gateways that come and go. Out: a book for each gateway. Who leaves early waits for a sign that the gateway
//! has begun with the request, never for a time: so of each request it is known whether it must be counted. Not here: what
//! is sent (`kind`), sums (`book`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::book::{Book, Broken, Key, Sums};
use crate::kind::{Kind, Request, Tokens};
use crate::origin::{Origin, find, half, read_until};

/// For one request.
const PATIENCE: Duration = Duration::from_secs(30);
/// More than any answer has.
const LONGEST: u64 = 10_000;
/// Tries, with the default of `retry`.
const TRIES: u64 = 3;

/// What callers share.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) origin: Arc<Origin>,
    tokens: Tokens,
    next: AtomicUsize,
    total: usize,
    /// Where gateways listen, the last one being there.
    gateways: watch::Sender<Vec<SocketAddr>>,
    books: Mutex<Vec<Book>>,
    /// Changes with each request.
    pub(crate) ended: watch::Sender<()>,
}

/// A connection to one of the gateways.
struct Line {
    gateway: usize,
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What a caller saw of an answer.
struct Seen {
    status: u16,
    bytes: u64,
    /// Whether another request may follow.
    is_kept: bool,
}

/// The connection ended before there was an answer.
struct NoAnswer;

impl Load {
    pub(crate) fn new(origin: Arc<Origin>, total: usize) -> Arc<Self> {
        let (gateways, ended) = (watch::Sender::default(), watch::Sender::default());
        let (next, books) = (AtomicUsize::new(0), Mutex::default());
        Arc::new(Load { origin, tokens: Tokens::new(), next, total, gateways, books, ended })
    }

    /// There is a new gateway; the one before has gone, or is about to.
    pub(crate) fn open(&self, gateway: SocketAddr) {
        self.books.lock().expect("nobody panics").push(Book::default());
        self.gateways.send_modify(|gateways| gateways.push(gateway));
    }

    /// Looks into the book of a gateway.
    pub(crate) fn book<T>(&self, gateway: usize, look: impl FnOnce(&mut Book) -> T) -> T {
        look(self.books.lock().expect("nobody panics").get_mut(gateway).expect("a book"))
    }

    /// Whether something became of every request.
    pub(crate) fn is_over(&self) -> bool {
        let books = self.books.lock().expect("nobody panics");
        books.iter().map(|book| book.count() + book.broken.len()).sum::<usize>() == self.total
    }

    fn next(&self) -> Option<Request> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (number < self.total).then(|| Request::of(number, &self.tokens))
    }
}

/// Sends requests until there are no more.
pub(crate) async fn call(load: Arc<Load>) {
    let mut line: Option<Line> = None;
    while let Some(request) = load.next() {
        let mut current = match line.take() {
            Some(line) if line.gateway + 1 == load.gateways.borrow().len() => line,
            Some(_) | None => Line::to(&load).await,
        };
        let gateway = current.gateway;
        let sent = tokio::time::timeout(PATIENCE, current.send(&request, &load.origin)).await;
        match sent.unwrap_or_else(|_| panic!("no answer to {:?} {}", request.kind, request.number)) {
            Ok(seen) => {
                let (key, sums) = counted(&request, &seen, &load.origin);
                load.book(gateway, |book| book.end(key, sums));
                line = seen.is_kept.then_some(current);
            }
            Err(NoAnswer) => {
                let broken = Broken { number: request.number, possible: possible(&request) };
                load.book(gateway, |book| book.broken.push(broken));
            }
        }
        load.ended.send_replace(());
    }
}

impl Line {
    /// To the gateway that is there, or to the next that will be.
    async fn to(load: &Load) -> Self {
        let mut gateways = load.gateways.subscribe();
        let mut refused = 0;
        loop {
            let last = |gateways: &Vec<SocketAddr>| gateways.len() > refused;
            let (gateway, address) = {
                let gateways = gateways.wait_for(last).await.expect("the load is there");
                (gateways.len() - 1, *gateways.last().expect("a gateway"))
            };
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    stream.set_nodelay(true).expect("an option of the connection");
                    return Line { gateway, stream, buffer: Vec::with_capacity(4_096) };
                }
                Err(_) => refused = gateway + 1,
            }
        }
    }

    async fn send(&mut self, request: &Request, origin: &Origin) -> Result<Seen, NoAnswer> {
        let begun = origin_has(request).then(|| origin.watch(request.number));
        self.stream.write_all(&request.bytes).await.map_err(|_| NoAnswer)?;
        if let Some(begun) = begun {
            return tokio::select! {
                begun = begun => begun.map(|()| Seen::left()).map_err(|_| NoAnswer),
                answer = self.head() => match answer {
                    Some(head) => panic!("{:?} is answered: {head}", request.kind),
                    None => Err(NoAnswer),
                },
            };
        }
        let head = self.head().await.ok_or(NoAnswer)?;
        let seen = match request.kind {
            Kind::LeftInParameters => {
                assert!(head.starts_with("http/1.1 100 "), "{head}");
                Some(Seen::left())
            }
            Kind::Cut => {
                // The connection ends there, or else more would be counted than this.
                let bytes = match head.contains("chunked") {
                    true => self.chunks(half(request.number)).await,
                    false => self.take(half(request.number)).await.map(|()| half(request.number) as u64),
                };
                assert_eq!(read_until(&mut self.stream, &mut self.buffer, |_| None).await, None);
                assert!(self.buffer.is_empty(), "more than the upstream sent: {:?}", self.buffer);
                bytes.map(|bytes| Seen { status: status(&head), bytes, is_kept: false })
            }
            Kind::LeftInAnswer => {
                let bytes = self.chunks(half(request.number)).await;
                bytes.map(|bytes| Seen { status: status(&head), bytes, is_kept: false })
            }
            _ => self.whole(request, &head).await,
        };
        seen.ok_or(NoAnswer)
    }

    /// The head of an answer, in small letters; none where the connection ends before.
    async fn head(&mut self) -> Option<String> {
        let end = |bytes: &[u8]| find(bytes, b"\r\n\r\n").map(|at| at + 4);
        let end = read_until(&mut self.stream, &mut self.buffer, end).await?;
        let head = self.buffer.drain(..end).collect();
        Some(String::from_utf8(head).expect("a head in ASCII").to_ascii_lowercase())
    }

    /// The rest of an answer that has an end.
    async fn whole(&mut self, request: &Request, head: &str) -> Option<Seen> {
        let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let bytes = match (header("transfer-encoding:"), header("content-length:")) {
            _ if request.kind == Kind::TopHead => 0,
            (Some("chunked"), _) => self.chunks(usize::MAX).await?,
            (_, length) => {
                let length =
                    length.and_then(|length| length.parse().ok()).unwrap_or_else(|| panic!("no length: {head}"));
                self.take(length).await?;
                length as u64
            }
        };
        assert!(self.buffer.is_empty(), "nothing comes behind an answer to {request:?}: {head} {:?}", self.buffer);
        Some(Seen { status: status(head), bytes, is_kept: header("connection:") != Some("close") })
    }

    /// Reads to the end, or to where there are so many bytes; how many there were.
    async fn chunks(&mut self, enough: usize) -> Option<u64> {
        let mut bytes = 0;
        loop {
            let line = |bytes: &[u8]| find(bytes, b"\r\n").map(|at| at + 2);
            let end = read_until(&mut self.stream, &mut self.buffer, line).await?;
            let size = std::str::from_utf8(&self.buffer[..end]).expect("ASCII").trim();
            let size = usize::from_str_radix(size, 16).expect("a hexadecimal number");
            self.take(end).await?;
            self.take(size + 2).await?;
            bytes += size;
            if size == 0 || bytes >= enough {
                return Some(bytes as u64);
            }
        }
    }

    async fn take(&mut self, length: usize) -> Option<()> {
        let is_there = |bytes: &[u8]| (bytes.len() >= length).then_some(length);
        read_until(&mut self.stream, &mut self.buffer, is_there).await?;
        self.buffer.drain(..length);
        Some(())
    }
}

impl Seen {
    /// The caller left, and will never know more.
    fn left() -> Self {
        Seen { status: 499, bytes: 0, is_kept: false }
    }
}

/// Whether the upstream tells that it has the request, which its caller waits for.
fn origin_has(request: &Request) -> bool {
    matches!(request.kind, Kind::LeftInUpload | Kind::LeftWaiting)
}

fn status(head: &str) -> u16 {
    head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no status: {head}"))
}

/// As what it must be counted.
fn counted(request: &Request, seen: &Seen, origin: &Origin) -> (Key, Sums) {
    let Seen { status, bytes, .. } = *seen;
    assert!(request.statuses().contains(&status), "{status} for {:?} {}", request.kind, request.number);
    let tries = origin.times(request.number);
    let is_refused = request.is_refused(status);
    let (rows, read) = request.cost().filter(|_| status == 200).unwrap_or_default();
    let is_unmeasured = (200..300).contains(&status) && !is_refused && rows == 0;
    let sums =
        [1, is_refused.into(), tries.saturating_sub(1), request.taken(status), bytes, rows, read, is_unmeasured.into()];
    (request.key(status), Sums(sums))
}

/// As what it may be counted whose connection ended: anything at most.
fn possible(request: &Request) -> Vec<(Key, Sums)> {
    let (rows, read) = request.cost().unwrap_or_default();
    let most = Sums([1, 1, TRIES - 1, request.body as u64, LONGEST, rows, read, 1]);
    // Whatever it would have become: its connection to the gateway has also gone, and that may be noticed first.
    let statuses = request.statuses().iter().copied().chain([499]);
    statuses.map(|status| (request.key(status), most)).collect()
}
