//! Hands lines to a data source, and says what became of them.
//!
//! In: NDJSON. Out: `POST /v0/events?wait=true`, compressed (Tinybird, Events
//! API). Not here: which lines, and when again (`export`).

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{self, HeaderMap, HeaderValue};
use serde::Deserialize;

use crate::clock::Clock;
use crate::config::Config;
use crate::config::scalar::{Endpoint, FieldName, Secret};
use crate::config::section::usage::DataSource;
use crate::outbound::{Answer, Call, Client, Target, Trust, hidden_headers};

/// For one call; an answer comes when the lines are written.
const TIME: Duration = Duration::from_secs(30);
/// Bytes of an answer.
const ANSWER: usize = 64 << 10;
/// Characters of a receiver's message that are shown.
const MESSAGE: usize = 200;
/// Who asks for a longer pause is asked again sooner.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::state::usage) struct Destination {
    urls: Vec<Endpoint>,
    events: DataSource,
    token: Secret,
    headers: BTreeMap<FieldName, Secret>,
    ca: Option<Vec<Vec<u8>>>,
}

/// What became of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// It may be taken later, not before so long a wait.
    Later(String, Duration),
    /// The receiver has it, but for so many lines, which it keeps elsewhere.
    Taken(u64),
    /// It is too large for one call.
    TooLarge,
}

/// Makes the calls.
pub(super) struct Delivery {
    destination: Destination,
    /// One for each backend; the first is asked until it cannot be reached, then the next.
    targets: Vec<Target>,
    turn: AtomicUsize,
    headers: HeaderMap,
    client: Client,
}

impl Destination {
    /// Where a configuration wants lines to go, if anywhere.
    pub(in crate::state::usage) fn of(config: &Config) -> Option<Self> {
        let export = config.usage.export.as_ref()?;
        let upstream = config.upstreams.get(&export.upstream)?;
        Some(Destination {
            urls: upstream.endpoints().cloned().collect(),
            events: export.events.clone(),
            token: export.token.clone().or_else(|| upstream.token.clone())?,
            headers: upstream.headers.clone(),
            ca: upstream.tls.ca.is_some().then(|| upstream.tls.ca_certificates.clone()),
        })
    }
}

impl Destination {
    fn places(&self) -> String {
        self.urls.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the data source {} at {}", self.events, self.places())
    }
}

impl Delivery {
    pub(super) fn new(destination: Destination, clock: Clock) -> Self {
        let targets = destination.urls.iter().filter_map(|url| Target::of(url, "/v0/events"));
        let query = format!("name={}&wait=true", destination.events);
        let mut headers = hidden_headers(&destination.headers);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        Delivery {
            targets: targets.map(|target| target.with_query(Some(&query))).collect(),
            turn: AtomicUsize::new(0),
            client: Client::direct(clock),
            headers,
            destination,
        }
    }

    pub(super) fn destination(&self) -> &Destination {
        &self.destination
    }

    /// Sends one batch of so many lines, once.
    pub(super) async fn send(&self, lines: &str, count: u64) -> Sent {
        let turn = self.turn.load(Ordering::Relaxed);
        let Some(target) = turn.checked_rem(self.targets.len()).and_then(|index| self.targets.get(index)).cloned()
        else {
            return Sent::Later("has no address that can be called".to_owned(), Duration::ZERO);
        };
        let call = Call {
            headers: self.headers.clone(),
            size: ANSWER,
            trust: self.trust(),
            ..Call::post(target, packed(lines))
        };
        match self.client.call(&call.bearer(&self.destination.token).within(TIME)).await {
            Ok(answer) => self.judge(&answer, count),
            Err(failure) => {
                self.turn.store(turn.wrapping_add(1), Ordering::Relaxed);
                Sent::Later(format!("cannot be reached: {failure}"), Duration::ZERO)
            }
        }
    }

    fn trust(&self) -> Trust {
        self.destination.ca.clone().map_or(Trust::System, Trust::Given)
    }

    /// What an answer of the Events API means. Whatever is refused is tried again: most of it an operator can mend, and
    /// nothing is lost by waiting.
    fn judge(&self, answer: &Answer, count: u64) -> Sent {
        let status = answer.status.as_u16();
        let events = &self.destination.events;
        let help = match status {
            200..=299 => return written(status, &answer.body, count),
            413 => return Sent::TooLarge,
            401 | 403 => {
                format!(": look at `usage.export.token`, which needs the scope DATASOURCES:APPEND for {events}")
            }
            404 => format!(
                ": is there a data source {events}, and is the URL that of the workspace's region? \
                 `tollgate usage export --ddl` prints the data source"
            ),
            _ => self.message(&answer.body),
        };
        Sent::Later(format!("answers {status}{help}"), answer.retry_after().unwrap_or_default().min(LONGEST_PAUSE))
    }

    /// What the receiver says is wrong.
    fn message(&self, body: &[u8]) -> String {
        #[derive(Deserialize)]
        struct Failure {
            error: String,
        }
        let Ok(Failure { error }) = serde_json::from_slice(body) else { return String::new() };
        // Some quote what they were sent.
        let Destination { token, headers, .. } = &self.destination;
        match headers.values().chain([token]).any(|secret| error.contains(secret.expose())) {
            true => String::new(),
            false => format!(": {}", error.chars().take(MESSAGE).collect::<String>()),
        }
    }
}

/// What became of so many lines, as an answer of success says. Who answers in another way, a proxy or a page, has none.
fn written(status: u16, body: &[u8], count: u64) -> Sent {
    #[derive(Deserialize)]
    struct Written {
        successful_rows: u64,
        #[serde(default)]
        quarantined_rows: u64,
    }
    match serde_json::from_slice(body) {
        Ok(Written { successful_rows, quarantined_rows })
            if successful_rows.checked_add(quarantined_rows) == Some(count) =>
        {
            Sent::Taken(quarantined_rows)
        }
        Ok(Written { successful_rows, quarantined_rows }) => {
            let taken = successful_rows.saturating_add(quarantined_rows);
            Sent::Later(format!("answers {status}, and that it took {taken} of {count} lines"), Duration::ZERO)
        }
        Err(_) => Sent::Later(
            format!("answers {status}, but not as the Events API does: look at the URL of the upstream"),
            Duration::ZERO,
        ),
    }
}

fn packed(lines: &str) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    // Memory takes all that is written to it.
    let _ = packer.write_all(lines.as_bytes());
    packer.finish().unwrap_or_default()
}
