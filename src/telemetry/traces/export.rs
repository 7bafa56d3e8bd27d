//! Sends batches to the collector, one after the other.
//!
//! In: drafts. Out: `POST /v1/traces` in binary protobuf (OTLP 1.x over HTTP).
//! Not here: what stands in a span (`messages`). A collector that is away is
//! asked again, ever more rarely, and said so once.

use std::sync::atomic::Ordering;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderValue};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use prost::bytes::Bytes;

use crate::clock::Clock;
use crate::config::section::log::Traces;
use crate::outbound::{Answer, Call, Client, Target, hidden_headers};

use super::messages::Origin;
use super::{Draft, Work};

/// Where collectors take traces.
const PATH: &str = "/v1/traces";
/// Exchanges of one batch.
const BATCH: usize = 512;
/// How long others are waited for after the first.
const GATHER: Duration = Duration::from_secs(1);
/// For one call.
const TIME: Duration = Duration::from_secs(10);
/// For one call when the gateway ends.
const LAST_TIME: Duration = Duration::from_secs(2);
/// Before the first repetition, and the longest wait.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Bytes of an answer.
const ANSWER: usize = 64 << 10;
/// Characters of a collector's message that are shown.
const MESSAGE: usize = 200;

/// Owns the queue's other end.
pub(super) struct Exporter {
    work: Work,
    client: Client,
    clock: Clock,
    target: Option<Target>,
    headers: HeaderMap,
    origin: Origin,
    /// Whether it was said that something is wrong.
    has_complained: bool,
}

/// How a call went.
enum Sent {
    /// The collector took it, but for so many spans.
    But(u64, String),
    /// It has it.
    Done,
    /// It may be taken later, not before so long a wait.
    Later(String, Duration),
    /// It will never be taken.
    Never(String),
}

/// Whether the gateway goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Ending,
    Running,
}

impl Exporter {
    pub(super) fn new(section: &Traces, work: Work, clock: Clock) -> Self {
        let mut headers = hidden_headers(&section.headers);
        headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/x-protobuf"));
        Exporter {
            work,
            client: Client::direct(clock.clone()),
            clock,
            target: Target::of(&section.url, PATH),
            headers,
            origin: Origin::new(section.service.as_str()),
            has_complained: false,
        }
    }

    /// Until the gateway ends.
    pub(super) async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        while self.gather(&mut batch).await == Mood::Running {
            self.deliver(&mut batch).await;
        }
        // What came while the last one was on its way.
        loop {
            while batch.len() < BATCH
                && let Ok(draft) = self.work.drafts.try_recv()
            {
                batch.push(draft);
            }
            if batch.is_empty() {
                break;
            }
            self.deliver(&mut batch).await;
        }
        self.work.ended.store(true, Ordering::Release);
    }

    /// Waits for exchanges, and a moment longer for more of them.
    async fn gather(&mut self, batch: &mut Vec<Draft>) -> Mood {
        let Work { drafts, stop, .. } = &mut self.work;
        let first = tokio::select! {
            first = drafts.recv() => first,
            _ = stop.wait_for(|stop| *stop) => None,
        };
        let Some(first) = first else { return Mood::Ending };
        batch.push(first);
        let enough = self.clock.sleep(GATHER);
        tokio::pin!(enough);
        while batch.len() < BATCH {
            let room = BATCH - batch.len();
            tokio::select! {
                () = &mut enough => break,
                got = drafts.recv_many(batch, room) => if got == 0 { return Mood::Ending },
                _ = stop.wait_for(|stop| *stop) => return Mood::Ending,
            }
        }
        Mood::Running
    }

    /// Sends a batch until it is taken, or never will be.
    async fn deliver(&mut self, batch: &mut Vec<Draft>) {
        let spans: u64 = batch.iter().map(Draft::spans).sum();
        let body = Bytes::from(self.origin.request(batch.drain(..)).encode_to_vec());
        let mut wait = FIRST_WAIT;
        loop {
            match self.send(body.clone()).await {
                Sent::Done => {
                    self.recovered();
                    return self.count(spans, 0);
                }
                Sent::But(rejected, why) => {
                    self.complain(&format!("rejects {rejected} of {spans} spans: {why}"), "They are lost.");
                    return self.count(spans.saturating_sub(rejected), rejected);
                }
                Sent::Never(why) => {
                    self.work.failures.inc();
                    self.complain(&why, "What is sent until it does is lost.");
                    return self.count(0, spans);
                }
                Sent::Later(why, at_least) => {
                    self.work.failures.inc();
                    self.complain(&why, "It is asked again; what does not fit into the queue is lost and counted.");
                    if self.is_ending() || self.pause(wait.max(at_least)).await == Mood::Ending {
                        return self.count(0, spans);
                    }
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
        }
    }

    async fn send(&self, body: Bytes) -> Sent {
        let Some(target) = self.target.clone() else {
            return Sent::Never("has no address that can be called".to_owned());
        };
        let time = if self.is_ending() { LAST_TIME } else { TIME };
        let call = Call { headers: self.headers.clone(), size: ANSWER, ..Call::post(target, body).within(time) };
        match self.client.call(&call).await {
            Ok(answer) => judge(&answer),
            Err(failure) => Sent::Later(format!("cannot be reached: {failure}"), Duration::ZERO),
        }
    }

    async fn pause(&mut self, wait: Duration) -> Mood {
        // Gateways that lost the same collector do not all come back at once.
        let wait = wait.mul_f64(0.5 + rand::random::<f64>() / 2.0);
        tokio::select! {
            () = self.clock.sleep(wait) => Mood::Running,
            _ = self.work.stop.wait_for(|stop| *stop) => Mood::Ending,
        }
    }

    fn is_ending(&self) -> bool {
        *self.work.stop.borrow()
    }

    fn count(&self, sent: u64, dropped: u64) {
        self.work.sent.inc_by(sent);
        self.work.dropped.inc_by(dropped);
    }

    fn complain(&mut self, why: &str, what_follows: &str) {
        if !self.has_complained {
            log::warn!("the collector of traces at {} {why}. {what_follows}", self.address());
        }
        self.has_complained = true;
    }

    fn recovered(&mut self) {
        if self.has_complained {
            log::info!("the collector of traces at {} takes them again", self.address());
        }
        self.has_complained = false;
    }

    fn address(&self) -> String {
        self.target.as_ref().map(ToString::to_string).unwrap_or_default()
    }
}

/// What an answer means (OTLP specification, "OTLP/HTTP response").
fn judge(answer: &Answer) -> Sent {
    let status = answer.status.as_u16();
    match status {
        200..=299 => {
            match ExportTraceServiceResponse::decode(answer.body.clone()).ok().and_then(|said| said.partial_success) {
                Some(partial) if partial.rejected_spans > 0 => {
                    Sent::But(partial.rejected_spans.unsigned_abs(), shortened(&partial.error_message))
                }
                // Those that answer in another form took it all the same.
                Some(_) | None => Sent::Done,
            }
        }
        429 | 502..=504 => {
            Sent::Later(format!("answers {status}"), answer.retry_after().unwrap_or_default().min(LONGEST_WAIT))
        }
        401 | 403 => Sent::Never(format!("answers {status}: look at `log.traces.headers`")),
        404 | 405 => Sent::Never(format!("answers {status}: look at `log.traces.url`, to which {PATH} is added")),
        _ => Sent::Never(format!("answers {status}")),
    }
}

fn shortened(message: &str) -> String {
    message.chars().take(MESSAGE).collect()
}
