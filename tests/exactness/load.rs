//! Load on several gateways: every key at its own pace, each request to any of them.
//!
//! In: gateways, loads. Out: for every key how many were let in, and when its first and last request was sent. The load
//! is open: it comes when it is due, however long answers take.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rand::Rng as _;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Connections to each gateway.
const CONNECTIONS: usize = 12;

/// Requests of one kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) path: &'static str,
    /// Addresses that they come from.
    pub(crate) keys: u32,
    /// Between two of one address.
    pub(crate) every: Duration,
}

/// What became of one request.
#[derive(Clone, Copy, Debug)]
struct Seen {
    path: &'static str,
    key: u32,
    sent: Instant,
    took: Duration,
    status: u16,
}

/// A request that is due.
#[derive(Clone, Copy, Debug)]
struct Due {
    path: &'static str,
    key: u32,
}

/// What became of all requests.
#[derive(Debug)]
pub(crate) struct Outcome(Vec<Seen>);

/// What became of those of one address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    pub(crate) let_in: u32,
    pub(crate) first: Instant,
    pub(crate) last: Instant,
}

/// Makes all loads at once, for so long.
pub(crate) async fn run(gateways: &[SocketAddr], loads: &[Load], time: Duration) -> Outcome {
    let mut connections = JoinSet::new();
    let mut queues = Vec::new();
    for gateway in gateways.iter().flat_map(|gateway| [*gateway; CONNECTIONS]) {
        let (queue, due) = mpsc::channel(4_096);
        queues.push(queue);
        connections.spawn(serve(gateway, due));
    }
    let began = Instant::now();
    for (moment, due) in schedule(loads, time) {
        tokio::time::sleep_until((began + moment).into()).await;
        let queue = rand::thread_rng().gen_range(0..queues.len());
        queues[queue].send(due).await.expect("a connection that works");
    }
    drop(queues);
    Outcome(connections.join_all().await.into_iter().flatten().collect())
}

/// When what is due: addresses begin one after the other, and none comes quite evenly.
fn schedule(loads: &[Load], time: Duration) -> Vec<(Duration, Due)> {
    let mut all = Vec::new();
    let mut random = rand::thread_rng();
    for Load { path, keys, every } in loads {
        for key in 0..*keys {
            let mut moment = every.mul_f64(random.gen_range(0.0..1.0));
            while moment < time {
                all.push((moment, Due { path, key }));
                moment += every.mul_f64(random.gen_range(0.7..1.3));
            }
        }
    }
    all.sort_unstable_by_key(|(moment, _)| *moment);
    all
}

/// Sends what is due over one connection.
async fn serve(gateway: SocketAddr, mut due: mpsc::Receiver<Due>) -> Vec<Seen> {
    let mut sender = connect(gateway).await;
    let mut seen = Vec::new();
    while let Some(Due { path, key }) = due.recv().await {
        let address = format!("10.{}.{}.{}", key >> 16 & 255, key >> 8 & 255, key & 255);
        let request = Request::get(path).header("host", "gateway").header("x-forwarded-for", address);
        let request = request.body(Empty::<Bytes>::new()).expect("a request");
        let sent = Instant::now();
        let answer = sender.send_request(request).await.expect("an answer");
        let status = answer.status().as_u16();
        answer.into_body().collect().await.expect("a whole answer");
        seen.push(Seen { path, key, sent, took: sent.elapsed(), status });
    }
    seen
}

async fn connect(address: SocketAddr) -> SendRequest<Empty<Bytes>> {
    let stream = TcpStream::connect(address).await.expect("a connection");
    stream.set_nodelay(true).expect("an option of the connection");
    let (sender, connection) = handshake(TokioIo::new(stream)).await.expect("HTTP");
    tokio::spawn(connection);
    sender
}

/// A body, for looking at metrics.
pub(crate) async fn get(address: SocketAddr, path: &str) -> String {
    let request = Request::get(path).header("host", "gateway").body(Empty::<Bytes>::new()).expect("a request");
    let answer = connect(address).await.send_request(request).await.expect("an answer");
    let body = answer.into_body().collect().await.expect("a whole answer").to_bytes();
    String::from_utf8_lossy(&body).into_owned()
}

impl Outcome {
    /// The addresses that sent requests to this path.
    pub(crate) fn keys(&self, path: &'static str) -> Vec<Key> {
        let mut keys: BTreeMap<u32, Key> = BTreeMap::new();
        for seen in self.0.iter().filter(|seen| seen.path == path) {
            let key = keys.entry(seen.key).or_insert(Key { let_in: 0, first: seen.sent, last: seen.sent });
            key.let_in += u32::from(seen.status == 200);
            key.first = key.first.min(seen.sent);
            key.last = key.last.max(seen.sent);
        }
        keys.into_values().collect()
    }

    /// How many were let in.
    pub(crate) fn let_in(&self) -> u32 {
        self.0.iter().map(|seen| u32::from(seen.status == 200)).sum()
    }

    /// Answers that say neither that a request was let in nor that it was refused.
    pub(crate) fn strange(&self) -> Vec<u16> {
        self.0.iter().map(|seen| seen.status).filter(|status| ![200, 429].contains(status)).collect()
    }

    /// How many came, and how long answers took.
    pub(crate) fn summary(&self) -> String {
        let mut times: Vec<Duration> = self.0.iter().map(|seen| seen.took).collect();
        times.sort_unstable();
        let at = |share: usize| times.get(times.len() * share / 1_000).copied().unwrap_or_default();
        format!("{} requests; p50 {:?}, p99 {:?}, p99.9 {:?}", times.len(), at(500), at(990), at(999))
    }
}
