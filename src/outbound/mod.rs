//! The one HTTP client of our own calls: one request, one connection, one answer.
//!
//! In: a [`Call`]. Out: an [`Answer`], or a [`Failure`] that says how far it
//! came. Nothing is followed, kept or tried again, and every call ends in time.
//! A [`Dial`] opens the same kind of connection for what is not HTTP. Not here:
//! the request path, whose connections are Pingora's; what an answer means.

mod connect;
mod exchange;
mod failure;
mod target;

pub use connect::{Stream, Wire};
pub use failure::{CertificateFault, Failure, Stage};
pub use target::Target;

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

use crate::clock::Clock;
use crate::config::scalar::{FieldName, Scheme, Secret};

use failure::Trouble;

/// For a call that says nothing else.
const TIME: Duration = Duration::from_secs(10);
/// As [`TIME`].
const SIZE: usize = 10 << 20;

/// Makes calls.
#[derive(Clone, Debug)]
pub struct Client {
    clock: Clock,
    proxies: Proxies,
}

/// One request and its limits.
#[derive(Clone, Debug)]
pub struct Call {
    /// Where to.
    pub target: Target,
    /// How.
    pub method: Method,
    /// Further headers; `Host` and `User-Agent` are added.
    pub headers: HeaderMap,
    /// What is sent.
    pub body: Bytes,
    /// For everything, from the look-up to the last byte.
    pub time: Duration,
    /// For the connection alone; it is shared by all addresses of the host.
    pub connect_time: Duration,
    /// The largest body that is read.
    pub size: usize,
    /// Whose certificates are believed.
    pub trust: Trust,
}

/// A connection on which something other than HTTP is spoken; with TLS, the system's authorities are believed.
#[derive(Clone, Debug)]
pub struct Dial {
    /// Plain or TLS.
    pub scheme: Scheme,
    /// Host name or address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// For everything, the handshake included.
    pub time: Duration,
}

/// Whose certificates are believed.
#[derive(Clone, Debug)]
pub enum Trust {
    /// These authorities only, DER.
    Given(Vec<Vec<u8>>),
    /// The system's authorities.
    System,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status; every status is an answer.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its whole body.
    pub body: Bytes,
    /// What was learned on the way.
    pub facts: Facts,
}

/// What was learned on the way, as far as it went.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The addresses of the host, or of the proxy in front of it.
    pub addresses: Vec<SocketAddr>,
    /// The one that took the connection.
    pub connected: Option<SocketAddr>,
    /// When the certificate ends, where there was one.
    pub certificate_ends: Option<SystemTime>,
    /// The status, which may come without the rest of the answer.
    pub status: Option<StatusCode>,
}

/// Which proxy stands before which host.
#[derive(Clone, Debug, Default)]
pub struct Proxies(Option<std::sync::Arc<Matcher>>);

/// What the usual variables say about proxies; empty for those that are not set.
#[derive(Clone, Debug, Default)]
pub struct ProxyVariables {
    /// `ALL_PROXY`.
    pub all: String,
    /// `HTTP_PROXY`.
    pub http: String,
    /// `HTTPS_PROXY`.
    pub https: String,
    /// `NO_PROXY`.
    pub no: String,
}

impl Client {
    /// Goes straight to every host, as requests through the gateway do.
    pub fn direct(clock: Clock) -> Self {
        Client { clock, proxies: Proxies::default() }
    }

    /// Goes through `proxies`, where they say so.
    pub fn through(proxies: Proxies, clock: Clock) -> Self {
        Client { clock, proxies }
    }

    /// Makes one call.
    ///
    /// # Errors
    /// Where no whole answer came; a status, whichever, is none.
    pub async fn call(&self, call: &Call) -> Result<Answer, Failure> {
        let mut progress = Progress::default();
        let outcome = tokio::select! {
            outcome = self.attempt(call, &mut progress) => outcome,
            () = self.clock.sleep(call.time) => Err(Trouble::timed_out(call.time)),
        };
        let Progress { stage, facts } = progress;
        match outcome {
            Ok((head, body)) => Ok(Answer { status: head.status, headers: head.headers, body, facts }),
            Err(trouble) => Err(Failure::new(stage, trouble, facts)),
        }
    }

    /// Opens a connection, straight to its host: proxies are for HTTP.
    ///
    /// # Errors
    /// Where there is none in time.
    pub async fn dial(&self, dial: &Dial) -> Result<Stream, Failure> {
        let mut progress = Progress::default();
        let outcome = tokio::select! {
            outcome = connect::dial(dial, &self.clock, &mut progress) => outcome,
            () = self.clock.sleep(dial.time) => Err(Trouble::timed_out(dial.time)),
        };
        let Progress { stage, facts } = progress;
        outcome.map_err(|trouble| Failure::new(stage, trouble, facts))
    }

    /// Goes on with TLS on a connection that was opened plain, where both sides have agreed to; `time` is for the handshake.
    ///
    /// # Errors
    /// Where the certificate is not one of that host, or nothing comes in time.
    pub async fn secure(&self, stream: Stream, host: &str, time: Duration) -> Result<Stream, Failure> {
        let mut progress = Progress { stage: Stage::Tls, facts: Facts::default() };
        let outcome = tokio::select! {
            outcome = connect::secure(stream, host, &Trust::System, &self.clock, &mut progress) => outcome,
            () = self.clock.sleep(time) => Err(Trouble::timed_out(time)),
        };
        let Progress { stage, facts } = progress;
        outcome.map_err(|trouble| Failure::new(stage, trouble, facts))
    }

    async fn attempt(&self, call: &Call, progress: &mut Progress) -> Result<(http::response::Parts, Bytes), Trouble> {
        let proxy = self.proxies.before(&call.target);
        let stream = connect::open(call, proxy.as_ref(), &self.clock, progress).await?;
        progress.stage = Stage::Answer;
        exchange::send(stream, call, proxy.as_ref(), &mut progress.facts.status).await
    }
}

impl Call {
    /// A GET with the usual limits: 10 s, 10 MiB.
    pub fn get(target: Target) -> Self {
        Call {
            target,
            method: Method::GET,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            time: TIME,
            connect_time: TIME,
            size: SIZE,
            trust: Trust::System,
        }
    }

    /// A POST with the usual limits.
    pub fn post(target: Target, body: impl Into<Bytes>) -> Self {
        Call { method: Method::POST, body: body.into(), ..Call::get(target) }
    }

    /// Sends a credential as `Authorization: Bearer`.
    #[must_use]
    pub fn bearer(mut self, token: &Secret) -> Self {
        if let Some(value) = hidden(&format!("Bearer {}", token.expose())) {
            self.headers.insert(header::AUTHORIZATION, value);
        }
        self
    }

    /// Gives it less, or more, than the usual time in all.
    #[must_use]
    pub fn within(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }
}

impl Answer {
    /// How long it asks to be left alone, where that is said in seconds.
    pub fn retry_after(&self) -> Option<Duration> {
        let seconds = self.headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
        Some(Duration::from_secs(seconds))
    }
}

/// Headers whose values are credentials.
pub fn hidden_headers(headers: &BTreeMap<FieldName, Secret>) -> HeaderMap {
    headers.iter().filter_map(|(name, value)| Some((name.name().clone(), hidden(value.expose())?))).collect()
}

/// A value that shows nowhere. A `Secret` is ASCII without control characters, which is what a header may hold.
fn hidden(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl Proxies {
    /// As the variables say.
    pub fn of(variables: ProxyVariables) -> Self {
        let ProxyVariables { all, http, https, no } = variables;
        if all.is_empty() && http.is_empty() && https.is_empty() {
            return Proxies::default();
        }
        Proxies(Some(Matcher::builder().all(all).http(http).https(https).no(no).build().into()))
    }

    fn before(&self, target: &Target) -> Option<Intercept> {
        // No proxy can reach what only this machine can.
        let local = |host: &str| host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
        if target.host() == "localhost" || local(target.host()) {
            return None;
        }
        self.0.as_ref()?.intercept(target.uri())
    }
}

/// How far a call has come.
#[derive(Debug, Default)]
struct Progress {
    stage: Stage,
    facts: Facts,
}

/// Runs our own calls to their end, for commands, which have no runtime.
///
/// # Errors
/// Where the system gives no runtime.
pub fn wait<T>(work: impl Future<Output = T>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(work);
    // The system's resolver cannot be interrupted: one that hangs would hold the program beyond the call's time.
    runtime.shutdown_background();
    Ok(result)
}

#[cfg(test)]
mod tests;
