//! Serves connections: reads requests strictly, has them answered, writes down what happened.
//!
//! In: sockets, the plan. Out: the records in `seen`.
//! Not here: which answer (`plan`), what it consists of (`steps`), sending it (`player`).

use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::super::watched::Watched;
use super::super::wire;
use super::super::wire::BodyReader;
use super::super::wire::Framing;
use super::super::wire::Head;
use super::super::wire::Part;
use super::super::wire::Violation;
use super::Answer;
use super::ConnectionEnd;
use super::ConnectionLog;
use super::Received;
use super::Seen;
use super::plan::Choice;
use super::plan::Plan;

/// What all connections share with the test.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) seen: Watched<Seen>,
    pub(super) keep_body: AtomicUsize,
    pub(super) close_idle: watch::Sender<u64>,
    plan: Mutex<Plan>,
}

/// How far the origin reads ahead: larger heads are refused, and a peer that floods a paused answer has to wait.
pub(super) const READ_AHEAD: usize = 1024 * 1024;

/// The connection is over, for this reason.
pub(super) struct Over(pub(super) ConnectionEnd);

pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) buffer: BytesMut,
    pub(super) id: usize,
    served: usize,
    close_idle: watch::Receiver<u64>,
    pub(super) shared: Arc<Shared>,
}

/// Accepts for ever.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors or the like: the peer is gone, the origin stays.
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        // Before the test can know of the connection: no order to close is missed.
        let close_idle = shared.close_idle.subscribe();
        let id = shared.seen.update(|seen| {
            seen.connections.push(ConnectionLog::default());
            seen.connections.len() - 1
        });
        let shared = Arc::clone(&shared);
        let connection =
            Connection { stream, buffer: BytesMut::new(), id, served: 0, close_idle, shared: Arc::clone(&shared) };
        tokio::spawn(async move {
            let served = tokio::spawn(serve(connection)).await;
            // A panic in the test's own function ends the connection as well.
            let end = served.unwrap_or(ConnectionEnd::ClosedByOrigin);
            shared.seen.update(|seen| seen.connections[id].end = Some(end));
        });
    }
}

async fn serve(mut connection: Connection) -> ConnectionEnd {
    // An error means that the peer is gone already.
    drop(connection.stream.set_nodelay(true));
    let end = loop {
        if let Err(Over(end)) = connection.exchange().await {
            break end;
        }
    };
    if end == ConnectionEnd::ResetByOrigin {
        // An error means that the peer was faster.
        drop(connection.stream.set_zero_linger());
    }
    drop(connection);
    end
}

impl Shared {
    pub(super) fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            seen: Watched::new(Seen::default()),
            keep_body: AtomicUsize::new(8 * 1024 * 1024),
            close_idle: watch::Sender::new(0),
            plan: Mutex::new(Plan::default()),
        }
    }
}

impl Connection {
    /// One request and its answer.
    async fn exchange(&mut self) -> Result<(), Over> {
        let mut head = self.read_head().await?;
        head.judge_request();
        let framing = Framing::of_request(&mut head);
        let request = Received::new(head, self.id, self.served);
        self.served += 1;
        let choice = self.shared.plan().choose(&request.path);
        match choice {
            Choice::Answer(answer) if answer.before_body => self.answer_first(request, framing, &answer).await,
            Choice::Answer(answer) => {
                let (request, body) = self.read_whole(request, framing).await;
                self.finish(request, body, |_| *answer).await
            }
            Choice::Ask(respond) => {
                let (request, body) = self.read_whole(request, framing).await;
                self.finish(request, body, |request| respond(request)).await
            }
        }
    }

    async fn finish(
        &mut self,
        request: Received,
        body: Result<(), Over>,
        answer: impl FnOnce(&Received) -> Answer,
    ) -> Result<(), Over> {
        if let Err(over) = body {
            self.record(request);
            return Err(over);
        }
        let answer = answer(&request);
        let facts = Facts::of(&request);
        let number = self.record(request);
        self.play(&answer, &facts, number).await?;
        if facts.broken { Err(Over(ConnectionEnd::ClosedByOrigin)) } else { Ok(()) }
    }

    async fn answer_first(&mut self, request: Received, framing: Framing, answer: &Answer) -> Result<(), Over> {
        let facts = Facts::of(&request);
        let number = self.record(request.clone());
        self.play(answer, &facts, number).await?;
        let (whole, body) = self.read_whole(request, framing).await;
        let broken = Facts::of(&whole).broken;
        self.shared.seen.update(|seen| {
            if let Some(known) = seen.request_mut(number) {
                *known = Received { fate: known.fate, ..whole };
            }
        });
        body?;
        if broken { Err(Over(ConnectionEnd::ClosedByOrigin)) } else { Ok(()) }
    }

    fn record(&self, request: Received) -> usize {
        self.shared.seen.update(|seen| seen.push(request))
    }

    /// Waits for the next head; whatever ends the connection before that is left in the log.
    async fn read_head(&mut self) -> Result<Head, Over> {
        loop {
            if let Some(end) = wire::head_end(&self.buffer) {
                self.shared.seen.update(|seen| {
                    seen.heads += 1;
                    seen.connections[self.id].requests += 1;
                });
                return Ok(Head::parse(&self.buffer.split_to(end)));
            }
            if self.buffer.len() > READ_AHEAD {
                self.keep_stray();
                return Err(Over(ConnectionEnd::ClosedByOrigin));
            }
            let idle = self.buffer.is_empty();
            let end = tokio::select! {
                end = fill(&mut self.stream, &mut self.buffer) => end,
                _ = self.close_idle.changed(), if idle => Some(ConnectionEnd::ClosedByOrigin),
            };
            if let Some(end) = end {
                self.keep_stray();
                return Err(Over(end));
            }
        }
    }

    async fn read_whole(&mut self, mut request: Received, framing: Framing) -> (Received, Result<(), Over>) {
        if self.buffer.is_empty() && request.headers_all("expect").contains(&b"100-continue".as_slice()) {
            // If the peer is gone, reading says so.
            drop(self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await);
        }
        let keep = self.shared.keep_body.load(Ordering::Relaxed);
        let mut reader = BodyReader::new(framing);
        let mut result = Ok(());
        while !reader.take(&mut self.buffer, &mut |part| store(&mut request, keep, &part)) {
            if let Some(end) = fill(&mut self.stream, &mut self.buffer).await {
                request.violations.push(Violation::BodyCutShort);
                result = Err(Over(end));
                break;
            }
        }
        request.complete = result.is_ok() && !reader.is_broken();
        request.violations.append(&mut reader.violations);
        request.trailers = reader.trailers;
        (request, result)
    }
}

/// What the answer has to know about its request.
pub(super) struct Facts {
    pub(super) to_head: bool,
    pub(super) wants_close: bool,
    /// Where the next request begins cannot be known.
    broken: bool,
}

impl Facts {
    fn of(request: &Received) -> Self {
        let connection = request.headers_all("connection").join(&b", "[..]).to_ascii_lowercase();
        let says = |word: &[u8]| connection.windows(word.len()).any(|window| window == word);
        let unclear =
            |violation: &Violation| matches!(violation, Violation::BadChunk(_) | Violation::BadTransferEncoding(_));
        Self {
            to_head: request.method == "HEAD",
            wants_close: says(b"close") || (request.version == "HTTP/1.0" && !says(b"keep-alive")),
            broken: request.violations.iter().any(unclear),
        }
    }
}

/// Reads once; the end of the connection if it has come.
pub(super) async fn fill(stream: &mut TcpStream, buffer: &mut BytesMut) -> Option<ConnectionEnd> {
    buffer.reserve(16 * 1024);
    match stream.read_buf(buffer).await {
        Ok(0) => Some(ConnectionEnd::ClosedByPeer),
        Ok(_) => None,
        Err(error) => Some(ended_by_peer(&error)),
    }
}

/// A write into a connection that the peer has closed fails as "broken pipe".
pub(super) fn ended_by_peer(error: &io::Error) -> ConnectionEnd {
    let broken = error.kind() == io::ErrorKind::BrokenPipe;
    if broken { ConnectionEnd::ClosedByPeer } else { ConnectionEnd::ResetByPeer }
}

fn store(request: &mut Received, limit: usize, part: &Part<'_>) {
    match part {
        Part::Payload(bytes) => {
            request.body_length += bytes.len() as u64;
            keep(&mut request.body, limit, bytes);
        }
        Part::Raw(bytes) => keep(&mut request.raw_body, limit, bytes),
    }
}

/// Adds what fits within the limit.
pub(super) fn keep(kept: &mut Vec<u8>, limit: usize, bytes: &[u8]) {
    let room = limit.saturating_sub(kept.len()).min(bytes.len());
    kept.extend_from_slice(&bytes[..room]);
}
