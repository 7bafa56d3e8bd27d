//! Tells HTTP/1 from HTTP/2 on a new connection, within a time.
//!
//! In: a connection. Out: its requests, handed to Pingora's proxy. Not here:
//! handshakes of TLS, in which ALPN tells; what is answered to what is no request
//! (`quiet`).
//!
//! Pingora's own look waits without an end for all 24 bytes of HTTP/2's
//! preface. A shorter request (`GET / HTTP/1.0`, as load balancers send it, or
//! one without Host) would never be answered, and a silent connection would
//! stay for ever.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, StatusCode, header};
use pingora::apps::{HttpPersistentSettings, HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::H2Options;
use pingora::protocols::{ALPN, Stream};
use pingora::server::ShutdownWatch;
use pingora_proxy::HttpProxy;
use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep, timeout};

use crate::state::load::{Full, Load};

use super::Proxy;
use super::quiet::Quiet;
use super::server::{COURTESY, Stop};
use super::tls::peer_of;

/// How HTTP/2 begins. No method of HTTP/1 is called `PRI`, and no request of it is shorter.
const START: &[u8; 4] = b"PRI ";
/// For who has as many connections as one address may have.
const TOO_MANY_REQUESTS: &[u8] =
    b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\nRetry-After: 1\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n";
/// Where there are as many connections as there may be, or no memory for more.
const SERVICE_UNAVAILABLE: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n";
/// For the whole head of a request, however it comes; or twice `server.keepalive`, if that is less.
const HEAD_TIME: Duration = Duration::from_secs(30);
/// Ticks within which a head must be there. One more is for the bytes that tell HTTP/2 from HTTP/1.
const TICKS: u32 = 5;
/// For the answer to reach who is turned away.
const LINGER: Duration = Duration::from_millis(100);
/// The length of HTTP/2's whole preface.
const PREFACE: usize = 24;

/// The proxy behind the look at a connection's first bytes.
pub struct Door {
    proxy: Arc<HttpProxy<Proxy>>,
    streams: Arc<Streams>,
    patience: Duration,
    load: Arc<Load>,
    stop: watch::Receiver<Option<Stop>>,
    /// Whether connections on which no request is under way are to end.
    closing: watch::Sender<bool>,
}

/// The proxy for requests of HTTP/2, whose heads have come already.
struct Streams(Arc<HttpProxy<Proxy>>);

#[async_trait]
impl HttpServerApp for Streams {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        if session.req_header().method != Method::CONNECT {
            return self.0.process_new_http(session, shutdown).await;
        }
        // Pingora would refuse it in its own name.
        let mut refusal = ResponseHeader::build(StatusCode::METHOD_NOT_ALLOWED, Some(2)).ok()?;
        refusal.insert_header(header::CONTENT_LENGTH, 0).ok()?;
        refusal.insert_header(header::CACHE_CONTROL, "no-store").ok()?;
        session.write_error_response(refusal, Bytes::new()).await.ok()?;
        session.shutdown().await;
        None
    }

    fn h2_options(&self) -> Option<H2Options> {
        self.0.h2_options()
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        self.0.server_options()
    }
}

impl Door {
    /// A door to `proxy` that shuts on connections which say nothing for `patience`, and on those that are too many.
    pub fn new(
        proxy: HttpProxy<Proxy>,
        patience: Duration,
        load: Arc<Load>,
        stop: watch::Receiver<Option<Stop>>,
    ) -> Self {
        let proxy = Arc::new(proxy);
        Door {
            streams: Arc::new(Streams(Arc::clone(&proxy))),
            proxy,
            patience,
            load,
            stop,
            closing: watch::Sender::new(false),
        }
    }

    /// Whether HTTP/2 begins on a connection without TLS; none if it is over before that is known.
    async fn is_http2(&self, stream: &mut Stream) -> Option<bool> {
        timeout(self.patience, stream.try_peek(&mut [0; 1])).await.ok()?.ok()?;
        // Who has begun is within a head.
        let look = async {
            let mut start = [0; START.len()];
            stream.try_peek(&mut start).await.ok()?;
            if start != *START {
                return Some(false);
            }
            // Pingora looks again, and finds all of it here.
            stream.try_peek(&mut [0; PREFACE]).await.ok()?;
            Some(true)
        };
        timeout(tick(self.patience), look).await.ok().flatten()
    }

    /// Waits until a request begins to come; none if the connection is over, or has rested too long, before that. Until then
    /// nothing is there but the connection: what an exchange needs is twice as large as that.
    async fn next(
        &self,
        stream: &mut Stream,
        patience: &mut Interval,
        mut closing: Pin<&mut impl Future<Output = ()>>,
    ) -> Option<()> {
        // Nothing is taken: what comes stays in front of whoever reads next.
        let mut begun = poll_fn(|context| Pin::new(&mut *stream).poll_read(context, &mut ReadBuf::new(&mut [])));
        let end = sleep(self.patience);
        // Most requests come before that; only who rests for longer has a timer of its own.
        tokio::select! {
            biased;
            begun = &mut begun => return begun.ok(),
            () = closing.as_mut() => return None,
            _ = patience.tick() => {}
        }
        let begun = tokio::select! {
            biased;
            begun = begun => begun.ok(),
            () = closing => None,
            () = end => None,
        };
        // Else one that is overdue by now would be the first of the head that comes.
        patience.reset();
        begun
    }

    /// What holds for the first exchange of a connection, and through it for the others.
    fn introduce(&self, session: &mut ServerSession, shutdown: &ShutdownWatch) {
        // Pingora reads zero as "for ever".
        session.set_keepalive(if *shutdown.borrow() { None } else { Some(self.patience.as_secs().max(1)) });
        let options = self.proxy.server_options();
        session.set_keepalive_reuses_remaining(options.and_then(|options| options.keepalive_request_limit));
    }

    /// One exchange of HTTP/1; none if [`TICKS`] came before its head. Pingora's time-out counts each read alone, so that a
    /// byte now and then would keep a connection for ever.
    async fn serve(
        &self,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
        (arrived, patience): (&HeadArrived, &mut Interval),
    ) -> Option<ReusedHttpStream> {
        arrived.reset();
        session.set_connection_user_context(Some(Box::new(arrived.clone())));
        let mut exchange = self.proxy.process_new_http(session, shutdown);
        let mut lapsed = 0;
        loop {
            tokio::select! {
                biased;
                served = &mut exchange => return served,
                _ = patience.tick() => lapsed += 1,
            }
            if lapsed >= TICKS && !arrived.is_set() {
                return None;
            }
        }
    }
}

/// Between two looks at whether a head has come, where `server.keepalive` is `patience`.
fn tick(patience: Duration) -> Duration {
    let all = HEAD_TIME.min(patience.saturating_mul(2));
    (all / (TICKS + 1)).max(Duration::from_millis(1))
}

/// Ends a connection that there is no room for, with as much of an answer as costs nothing.
async fn turn_away(mut stream: Stream, full: Full) -> Option<Stream> {
    let answer = match full {
        Full::Address => TOO_MANY_REQUESTS,
        Full::All | Full::Memory => SERVICE_UNAVAILABLE,
    };
    // There is always room for that in a new connection; a peer that is gone misses nothing.
    drop(stream.write_all(answer).await);
    drop(stream.shutdown().await);
    // Most have sent a request by now. Were it not read, the system would take the answer back.
    let unread = async { while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {} };
    drop(timeout(LINGER, unread).await);
    None
}

/// Whether the head of the current request of a connection has come: set by the proxy, read by the door.
#[derive(Clone, Debug, Default)]
pub(super) struct HeadArrived(Arc<AtomicBool>);

impl HeadArrived {
    /// It has.
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it has.
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The next one has not.
    fn reset(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("patience", &self.patience).finish_non_exhaustive()
    }
}

#[async_trait]
impl ServerApp for Door {
    async fn process_new(self: &Arc<Self>, mut stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let (is_http2, _entry) = match stream.get_ssl_digest() {
            // The handshake has told, and it is counted since before that.
            Some(_) => (stream.selected_alpn_proto() == Some(ALPN::H2), None),
            None => match self.load.enter(peer_of(&*stream)) {
                Ok(entry) => (self.is_http2(&mut stream).await?, Some(entry)),
                Err(full) => return turn_away(stream, full).await,
            },
        };
        if is_http2 {
            return self.streams.process_new(stream, shutdown).await;
        }
        let arrived = HeadArrived::default();
        // One timer for the whole connection, so that a request costs none.
        let mut patience = interval(tick(self.patience));
        patience.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Else its first tick would come at once.
        patience.reset();
        let (mut stream, mut settings): (Stream, _) = (Box::new(Quiet::new(stream, arrived.clone())), None);
        let mut closing = self.closing.subscribe();
        // The sender is ours, so that it ends with a yes.
        let mut closing = pin!(async { drop(closing.wait_for(|closing| *closing).await) });
        // As Pingora does it for connections that are not HTTP/2, but for the wait.
        loop {
            self.next(&mut stream, &mut patience, closing.as_mut()).await?;
            let mut session = ServerSession::new_http1(stream);
            match settings {
                None => self.introduce(&mut session, shutdown),
                Some(settings) => HttpPersistentSettings::apply_to_session(settings, &mut session),
            }
            let served = self.serve(session, shutdown, (&arrived, &mut patience)).await?;
            (stream, settings) = served.consume();
        }
    }

    async fn cleanup(&self) {
        // Pingora drops every connection on which no request is under way, also one that has just been accepted. Whoever sends
        // a request meanwhile is answered, and told that the connection ends with that.
        if *self.stop.borrow() == Some(Stop::HandOver) {
            tokio::time::sleep(COURTESY).await;
        }
        self.closing.send_replace(true);
        self.proxy.cleanup().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{HEAD_TIME, TICKS, tick};

    #[test]
    fn a_head_has_most_of_its_time_and_never_more() {
        for seconds in [1, 5, 14, 15, 16, 60, 3_600] {
            let patience = Duration::from_secs(seconds);
            let least = patience.min(Duration::from_secs(20));
            // The last of them is cut short by where the first one began.
            assert!(tick(patience) * (TICKS - 1) >= least, "{patience:?}");
            assert!(tick(patience) * (TICKS + 1) <= HEAD_TIME.min(patience * 2), "{patience:?}");
        }
    }
}
