//! An upstream on 127.0.0.1 that answers as it is told, or misbehaves as it is told.
//!
//! In: [`Answer`]s, per request, per path or from a function. Out: what arrived, byte for byte ([`Received`]), and
//! what became of each connection ([`ConnectionLog`]).
//! HTTP/1.1 is written by hand, since a library would refuse to send most of this. The origin runs on a thread of its
//! own, so it serves blocking and async tests alike, and ends when it is dropped.
//! Not here: addresses where nobody accepts (`super::unreachable`).

mod answer;
mod body;
mod connection;
mod faults;
mod framing;
mod gate;
mod plan;
mod player;
mod seen;
mod steps;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;
use std::thread::JoinHandle;

use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

pub use answer::Answer;
pub use answer::At;
pub use answer::Then;
pub use body::Piece;
pub use faults::ChunkFault;
pub use faults::GzipFault;
pub use gate::Gate;
pub use seen::ConnectionEnd;
pub use seen::ConnectionLog;
pub use seen::Fate;
pub use seen::Received;
pub use seen::Seen;

use connection::Shared;

/// A running origin.
#[derive(Debug)]
pub struct MockOrigin {
    addr: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl MockOrigin {
    /// Starts on a free port; answers everything with [`Answer::ok`] until told otherwise.
    pub fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// Starts on this address; for an origin that comes back where another one ended.
    pub fn start_at(addr: SocketAddr) -> Self {
        let shared = Arc::new(Shared::default());
        let (stop, stopped) = oneshot::channel();
        let (bound, address) = mpsc::sync_channel(1);
        let serving = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::bind(addr).await.expect("the origin's address is free");
                bound.send(listener.local_addr().expect("the listener is bound")).expect("start waits");
                tokio::select! {
                    () = connection::accept(listener, serving) => {}
                    _ = stopped => {}
                }
            });
        });
        let addr = address.recv().expect("the origin starts");
        Self { addr, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// Answers each request that no path and no script claims with `answer`; replaces `respond_with`.
    pub fn always(&self, answer: Answer) {
        self.shared.plan().always(answer);
    }

    /// Answers the next requests one by one with `answers`, after those of earlier scripts; then as before.
    /// Requests that a path claims do not use the script up.
    pub fn script(&self, answers: impl IntoIterator<Item = Answer>) {
        self.shared.plan().script(answers);
    }

    /// Answers requests whose path (without query) starts with `prefix`; the longest prefix wins.
    pub fn on_path(&self, prefix: &str, answer: Answer) {
        self.shared.plan().on_path(prefix, answer);
    }

    /// Like `script`, for paths that start with `prefix`; afterwards what `on_path` or the others say.
    pub fn script_on_path(&self, prefix: &str, answers: impl IntoIterator<Item = Answer>) {
        self.shared.plan().script_on_path(prefix, answers);
    }

    /// Asks `respond` for the answer of each request that no path and no script claims; replaces `always`.
    /// It is asked once the body is there, so [`Answer::before_body`] has no effect in its answers.
    pub fn respond_with(&self, respond: impl Fn(&Received) -> Answer + Send + Sync + 'static) {
        self.shared.plan().respond_with(respond);
    }

    /// How many bytes of a request body are kept in `body` and `raw_body`, 8 MiB unless told; `body_length` counts on.
    pub fn keep_body_bytes(&self, limit: usize) {
        self.shared.keep_body.store(limit, Ordering::Relaxed);
    }

    /// Closes all connections accepted so far: idle ones now, busy ones once their answer is through.
    pub fn close_idle_connections(&self) {
        self.shared.close_idle.send_modify(|epoch| *epoch += 1);
    }

    /// Forgets the requests received so far; connections stay known.
    pub fn forget_requests(&self) {
        self.shared.seen.update(Seen::forget_requests);
    }

    /// The address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The requests received so far, in order of arrival.
    pub fn received(&self) -> Vec<Received> {
        self.shared.seen.read(|seen| seen.requests.clone())
    }

    /// How many requests were received.
    pub fn received_count(&self) -> usize {
        self.shared.seen.read(|seen| seen.requests.len())
    }

    /// The only request received; panics if there were none or several.
    #[track_caller]
    pub fn only_request(&self) -> Received {
        let mut requests = self.received();
        assert_eq!(requests.len(), 1, "the origin should have received one request: {requests:#?}");
        requests.remove(0)
    }

    /// Panics if a request, or any byte that is part of none, has arrived.
    #[track_caller]
    pub fn assert_untouched(&self) {
        let seen = self.seen();
        let stray = seen.connections.iter().any(|connection| !connection.stray.is_empty());
        assert!(seen.requests.is_empty() && !stray, "the origin should have received nothing: {seen:#?}");
    }

    /// Panics if any request, or any connection's rest, was not strictly valid HTTP/1.1.
    #[track_caller]
    pub fn assert_strictly_valid(&self) {
        let seen = self.seen();
        seen.requests.iter().for_each(Received::assert_strictly_valid);
        let stray = seen.connections.iter().find(|connection| !connection.stray.is_empty());
        assert!(stray.is_none(), "bytes that are part of no request: {stray:#?}");
    }

    /// Everything seen so far.
    pub fn seen(&self) -> Seen {
        self.shared.seen.read(Seen::clone)
    }

    /// How many connections were accepted.
    pub fn connections(&self) -> usize {
        self.shared.seen.read(|seen| seen.connections.len())
    }

    /// How many connections are open now.
    pub fn open_connections(&self) -> usize {
        self.shared.seen.read(Seen::open_connections)
    }

    /// How many requests were given up by the peer before their answer was complete.
    pub fn hang_ups(&self) -> usize {
        self.shared.seen.read(Seen::hang_ups)
    }

    /// Blocks until `count` requests have arrived whole; returns all. Panics after 10 s.
    #[track_caller]
    pub fn wait_for_requests(&self, count: usize) -> Vec<Received> {
        let probe = |seen: &Seen| seen.whole_requests(count);
        self.shared.seen.wait(&format!("{count} requests at the origin"), probe)
    }

    /// Blocks until `count` requests were given up by the peer. Panics after 10 s.
    #[track_caller]
    pub fn wait_for_hang_ups(&self, count: usize) {
        self.wait_until(&format!("{count} hang-ups at the origin"), |seen| seen.hang_ups() >= count);
    }

    /// Blocks until `condition` holds; panics after 10 s with `what` and all that was seen.
    #[track_caller]
    pub fn wait_until(&self, what: &str, condition: impl Fn(&Seen) -> bool) {
        self.shared.seen.wait(what, |seen| condition(seen).then_some(()));
    }

    /// `wait_for_requests` for async tests whose runtime must not be blocked.
    pub async fn requests(&self, count: usize) -> Vec<Received> {
        let probe = |seen: &Seen| seen.whole_requests(count);
        self.shared.seen.until(&format!("{count} requests at the origin"), probe).await
    }

    /// `wait_until` for async tests whose runtime must not be blocked.
    pub async fn until(&self, what: &str, condition: impl Fn(&Seen) -> bool) {
        self.shared.seen.until(what, |seen| condition(seen).then_some(())).await;
    }
}

impl Drop for MockOrigin {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the origin's thread was reported when it happened.
            drop(thread.join());
        }
    }
}
