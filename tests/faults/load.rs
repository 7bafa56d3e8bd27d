//! Healthy callers beside a fault: each asks for its own number, again and again, and must get that and nothing else.
//!
//! In: where to, and a path. Out: how many answers, what was wrong with them, how long the slowest took.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::HeaderValue;
use tokio::task::JoinSet;

use crate::origin::canary_body;
use crate::support::client::{RawClient, Request};
use crate::support::h2_client::H2Client;

/// Between two requests of a caller: load, and not a benchmark.
const PAUSE: Duration = Duration::from_millis(5);

/// No two canaries are the same.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// Callers under way.
#[derive(Debug)]
pub(crate) struct Load {
    is_over: Arc<AtomicBool>,
    callers: JoinSet<Report>,
}

/// What callers say in the end.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) answers: usize,
    pub(crate) worst: Duration,
    pub(crate) wrong: Vec<String>,
}

/// How a caller goes about it.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// A connection for each request.
    Fresh,
    /// One connection of HTTP/1.1.
    Kept,
    /// One connection of HTTP/2.
    Multiplexed,
}

impl Load {
    /// Four callers of this path.
    pub(crate) fn start(addr: SocketAddr, path: &str) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let mut callers = JoinSet::new();
        for way in [Way::Fresh, Way::Kept, Way::Kept, Way::Multiplexed] {
            callers.spawn(call(way, addr, path.to_owned(), Arc::clone(&is_over)));
        }
        Self { is_over, callers }
    }

    /// Nobody.
    pub(crate) fn none() -> Self {
        Self { is_over: Arc::default(), callers: JoinSet::new() }
    }

    /// Ends it, once every caller has had an answer.
    pub(crate) async fn end(mut self) -> Report {
        self.is_over.store(true, Ordering::SeqCst);
        let mut all = Report::default();
        while let Some(ended) = self.callers.join_next().await {
            match ended {
                Ok(report) => {
                    all.answers += report.answers;
                    all.worst = all.worst.max(report.worst);
                    all.wrong.extend(report.wrong);
                }
                Err(error) => all.wrong.push(format!("a healthy caller gave up: {error}")),
            }
        }
        all
    }
}

async fn call(way: Way, addr: SocketAddr, path: String, is_over: Arc<AtomicBool>) -> Report {
    let mut report = Report::default();
    let mut kept = None;
    let shared = match way {
        Way::Fresh | Way::Kept => None,
        Way::Multiplexed => Some(H2Client::connect(addr).await),
    };
    while !is_over.load(Ordering::SeqCst) || report.answers == 0 {
        let began = Instant::now();
        let checked = match (&shared, way) {
            (Some(client), _) => canary_h2(client, &path).await,
            (None, Way::Fresh) => canary(&mut RawClient::connect(addr).await, &path).await,
            (None, Way::Kept | Way::Multiplexed) => {
                if kept.is_none() {
                    kept = Some(RawClient::connect(addr).await);
                }
                canary(kept.as_mut().expect("it was opened"), &path).await
            }
        };
        report.answers += 1;
        report.worst = report.worst.max(began.elapsed());
        if let Err(wrong) = checked {
            report.wrong.push(format!("{way:?}: {wrong}"));
            kept = None;
        }
        tokio::time::sleep(PAUSE).await;
    }
    report
}

/// One request whose answer must be its own.
pub(crate) async fn canary(client: &mut RawClient, path: &str) -> Result<(), String> {
    let id = next();
    let request = Request::get(format!("{path}?id={id}")).header("X-Request-Id", &id);
    client.try_send(request.bytes()).await.map_err(|error| format!("canary {id} could not be sent: {error}"))?;
    let response = client.try_read_response().await.map_err(|missing| format!("canary {id}: {missing:?}"))?;
    let is_own =
        response.body == canary_body(&id).as_bytes() && response.headers_all("x-request-id") == [id.as_bytes()];
    let is_right = response.status == 200 && !response.truncated && response.violations.is_empty();
    if is_own && is_right { Ok(()) } else { Err(format!("canary {id}: {response:#?}")) }
}

/// As [`canary`], over HTTP/2.
pub(crate) async fn canary_h2(client: &H2Client, path: &str) -> Result<(), String> {
    let id = next();
    let mut request = H2Client::build("GET", &format!("{path}?id={id}"));
    request.headers_mut().insert("x-request-id", HeaderValue::from_str(&id).expect("digits"));
    let response = client.try_request(request, None).await.map_err(|error| format!("canary {id}: {error}"))?;
    let is_own = response.body == canary_body(&id).as_bytes() && response.header("x-request-id") == Some(id.clone());
    let is_right = response.status == 200 && response.broken_off.is_none();
    if is_own && is_right { Ok(()) } else { Err(format!("canary {id}: {response:#?}")) }
}

fn next() -> String {
    format!("canary-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
