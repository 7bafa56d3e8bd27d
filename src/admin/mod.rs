//! The operator's own address: health, readiness, metrics, reload, limits.
//!
//! In: requests on `admin.address`. Out: small texts. Not here: anything on the
//! listeners of callers; a path there is a route or 404.

mod access;
mod domains;
pub mod health;
mod limits;
mod metrics;
pub mod reload;
mod routes_test;
pub mod upgrade;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use pingora::apps::http_app::{HttpServer, ServeHttp};
use pingora::protocols::http::ServerSession;
use pingora::services::listening::Service;
use serde_json::Value;

use crate::clock::Clock;
use crate::config::scalar::Secret;
use crate::config::show::Shown;
use crate::snapshot::Snapshot;
use crate::state::State;
use crate::state::throttle::{self, Throttle};
use crate::telemetry::metrics::Metrics;
use crate::tls::domains::Demand;

use access::{Access, Asker, Need, Refused};
use health::Readiness;
use reload::{Finding, Reloads, Wish};
use upgrade::Upgrades;

/// Who did what here, or tried to: in the log unless only errors are.
const AUDIT: &str = "audit";
/// Largest body that is read.
const MAX_BODY: usize = 1 << 20;
/// Refusals that the log tells of in a minute.
const MAX_NOISE: u32 = 10;
const JSON: &str = "application/json";
const YAML: &str = "application/yaml; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// An answer that is not the one that was asked for.
type Refusal = Box<Response<Vec<u8>>>;

/// What is running now.
pub type Current = Box<dyn Fn() -> Arc<Snapshot> + Send + Sync>;

/// What the answers are made from.
#[expect(missing_debug_implementations, reason = "it is taken apart at once")]
pub struct Parts {
    /// Whether requests are wanted.
    pub readiness: Arc<Readiness>,
    /// What is counted.
    pub metrics: Metrics,
    /// What is running now.
    pub current: Current,
    /// What outlives a configuration: what was counted is in it.
    pub state: Arc<State>,
    /// What sees to certificates on demand.
    pub demand: Arc<Demand>,
    /// Where reloads are asked for.
    pub reloads: Reloads,
    /// Where upgrades are asked for.
    pub upgrades: Upgrades,
    /// The admin token; who changes it, changes it for the next request.
    pub token: Arc<ArcSwapOption<Secret>>,
}

/// What answers on the admin address.
pub struct Admin {
    readiness: Arc<Readiness>,
    metrics: Metrics,
    current: Current,
    state: Arc<State>,
    demand: Arc<Demand>,
    reloads: Reloads,
    upgrades: Upgrades,
    access: Access,
    /// Refusals that are logged.
    noise: Throttle,
    clock: Clock,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("access", &self.access).finish_non_exhaustive()
    }
}

/// What a request brings beside its head.
#[derive(Clone, Copy, Debug)]
struct Sent<'a> {
    /// Without `?`.
    query: &'a str,
    body: &'a [u8],
}

/// What can be asked for.
#[derive(Clone, Copy, Debug)]
enum Resource {
    Config,
    ConfigDiff,
    Domains,
    DomainsAdd,
    DomainsRemove,
    DomainsVerify,
    Limits,
    LimitsReset,
    Livez,
    Metrics,
    MetricsUsage,
    Readyz,
    Reload,
    RoutesTest,
    Upgrade,
}

impl Resource {
    fn at(path: &str) -> Option<Self> {
        match path {
            "/config" => Some(Resource::Config),
            "/config/diff" => Some(Resource::ConfigDiff),
            "/domains" => Some(Resource::Domains),
            "/domains/add" => Some(Resource::DomainsAdd),
            "/domains/remove" => Some(Resource::DomainsRemove),
            "/domains/verify" => Some(Resource::DomainsVerify),
            "/limits" => Some(Resource::Limits),
            "/limits/reset" => Some(Resource::LimitsReset),
            "/livez" => Some(Resource::Livez),
            "/metrics" => Some(Resource::Metrics),
            "/metrics/usage" => Some(Resource::MetricsUsage),
            "/readyz" => Some(Resource::Readyz),
            "/reload" => Some(Resource::Reload),
            "/routes/test" => Some(Resource::RoutesTest),
            "/upgrade" => Some(Resource::Upgrade),
            _ => None,
        }
    }

    fn method(self) -> Method {
        match self {
            Resource::Config
            | Resource::ConfigDiff
            | Resource::Domains
            | Resource::Limits
            | Resource::Livez
            | Resource::Metrics
            | Resource::MetricsUsage
            | Resource::Readyz => Method::GET,
            Resource::DomainsAdd
            | Resource::DomainsRemove
            | Resource::DomainsVerify
            | Resource::LimitsReset
            | Resource::Reload
            | Resource::RoutesTest
            | Resource::Upgrade => Method::POST,
        }
    }

    fn need(self) -> Need {
        match self {
            Resource::Livez | Resource::Readyz => Need::Nothing,
            Resource::Metrics | Resource::MetricsUsage => Need::TokenFromElsewhere,
            // They show how the gateway is set up, read files, or change what runs.
            Resource::Config
            | Resource::ConfigDiff
            | Resource::Domains
            | Resource::DomainsAdd
            | Resource::DomainsRemove
            | Resource::DomainsVerify
            | Resource::Limits
            | Resource::LimitsReset
            | Resource::Reload
            | Resource::RoutesTest
            | Resource::Upgrade => Need::TokenAndProgram,
        }
    }

    /// Whether it changes what another process may have read already that is about to go on.
    fn is_kept(self) -> bool {
        match self {
            Resource::DomainsAdd | Resource::DomainsRemove | Resource::DomainsVerify | Resource::LimitsReset => true,
            Resource::Config
            | Resource::ConfigDiff
            | Resource::Domains
            | Resource::Limits
            | Resource::Livez
            | Resource::Metrics
            | Resource::MetricsUsage
            | Resource::Readyz
            | Resource::Reload
            | Resource::RoutesTest
            | Resource::Upgrade => false,
        }
    }
}

impl Admin {
    /// Answers from these parts.
    pub fn new(parts: Parts) -> Self {
        let Parts { readiness, metrics, current, state, demand, reloads, upgrades, token } = parts;
        let clock = state.clock().clone();
        let noise = Throttle::new(clock.clone(), MAX_NOISE, throttle::FEW);
        let access = Access::new(token, clock.clone());
        Admin { readiness, metrics, current, state, demand, reloads, upgrades, access, noise, clock }
    }

    /// The service that listens on `address`.
    pub fn service(self, address: SocketAddr) -> Service<HttpServer<Self>> {
        let mut service = Service::new("admin".to_owned(), HttpServer::new_app(self));
        service.threads = Some(1);
        service.add_tcp(&address.to_string());
        service
    }

    /// What is asked for, if this one may ask for it.
    fn admit(&self, asker: &Asker<'_>, path: &str) -> Result<Resource, Refusal> {
        let resource = Resource::at(path);
        if let Err(refused) = self.access.check(asker, resource.map_or(Need::Nothing, Resource::need)) {
            self.note_refusal(asker, resource, &refused);
            return Err(Box::new(refuse(refused)));
        }
        let known = "/livez /readyz /metrics /metrics/usage, and with the token: /config /config/diff /domains /limits, POST \
                     /domains/add /domains/remove /domains/verify /limits/reset /reload /routes/test /upgrade\n";
        let resource = resource.ok_or_else(|| Box::new(text(StatusCode::NOT_FOUND, known)))?;
        let allowed = resource.method();
        if *asker.method == allowed || (allowed == Method::GET && *asker.method == Method::HEAD) {
            return Ok(resource);
        }
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, &format!("{allowed} only\n"));
        let allow = if allowed == Method::GET { "GET, HEAD" } else { "POST" };
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
        Err(Box::new(response))
    }

    /// Tells the operator who was refused what; not more often than can be read.
    fn note_refusal(&self, asker: &Asker<'_>, resource: Option<Resource>, refused: &Refused) {
        let Some(resource) = resource.filter(|resource| resource.need() == Need::TokenAndProgram) else { return };
        if self.noise.must_wait(None).is_none() {
            self.noise.count(None);
            let why = refused.text.trim_end();
            log::warn!(target: AUDIT, "refused {} to {resource:?}: {why}", asker.name());
        }
    }

    async fn answer(&self, resource: Resource, asker: &Asker<'_>, sent: Sent<'_>) -> Response<Vec<u8>> {
        let Sent { query, body } = sent;
        match resource {
            _ if resource.is_kept() && self.upgrades.is_under_way() => {
                text(StatusCode::SERVICE_UNAVAILABLE, "an upgrade is under way: ask again in a moment\n")
            }
            Resource::Config => self.config(asker),
            Resource::ConfigDiff => self.load_again(Wish::Compare, asker).await,
            Resource::Domains => self.domains().list(),
            Resource::DomainsAdd => self.domains().add(body, &asker.name()).await,
            Resource::DomainsRemove => self.domains().remove(body, &asker.name()),
            Resource::DomainsVerify => self.domains().verify(body, &asker.name()).await,
            Resource::Limits => limits::show(&(self.current)(), self.state.counters(), query).await,
            Resource::LimitsReset => self.reset_limits(asker, body).await,
            Resource::Livez => text(StatusCode::OK, "alive\n"),
            Resource::Metrics => self.metrics(asker),
            Resource::MetricsUsage => metrics::of_usage(&self.state, metrics::wanted(asker)),
            Resource::Readyz => self.ready(asker),
            Resource::Reload if body.is_empty() || body == b"{}" => self.load_again(Wish::Apply, asker).await,
            Resource::Reload => {
                let told = "nothing is taken over from here: the gateway loads its own file again. Send no body\n";
                text(StatusCode::BAD_REQUEST, told)
            }
            Resource::RoutesTest => routes_test::answer(&(self.current)(), body, self.clock.wall()),
            Resource::Upgrade => self.upgrade(asker, body).await,
        }
    }

    /// What runs, credentials hidden: YAML, or JSON for who accepts nothing else.
    fn config(&self, asker: &Asker<'_>) -> Response<Vec<u8>> {
        let shown = Shown::of(&(self.current)().config);
        let wants_json = asker.headers.get(header::ACCEPT).is_some_and(|accepted| accepted == JSON);
        if wants_json && let Ok(value) = serde_json::to_value(&shown) {
            return json(StatusCode::OK, &value);
        }
        answer(StatusCode::OK, YAML, shown.to_string().into_bytes())
    }

    fn ready(&self, asker: &Asker<'_>) -> Response<Vec<u8>> {
        let last = self.reloads.last().map(|report| health::of_reload(&report, self.access.is_trusted(asker)));
        let (status, body) = health::ready(&self.readiness, &(self.current)(), last);
        json(status, &body)
    }

    fn metrics(&self, asker: &Asker<'_>) -> Response<Vec<u8>> {
        metrics::all(&self.metrics, &(self.current)(), &self.state, metrics::wanted(asker))
    }

    fn domains(&self) -> domains::Desk<'_> {
        domains::Desk { snapshot: (self.current)(), domains: self.state.domains(), demand: &self.demand }
    }

    async fn reset_limits(&self, asker: &Asker<'_>, body: &[u8]) -> Response<Vec<u8>> {
        let (answer, done) = limits::reset(&(self.current)(), self.state.counters(), body).await;
        if let Some(done) = done {
            log::warn!(target: AUDIT, "limits reset by {}: {done}", asker.name());
        }
        answer
    }

    async fn upgrade(&self, asker: &Asker<'_>, body: &[u8]) -> Response<Vec<u8>> {
        let wish: upgrade::Wish =
            match if body.is_empty() { Ok(upgrade::Wish::default()) } else { serde_json::from_slice(body) } {
                Ok(wish) => wish,
                Err(_) => {
                    return text(StatusCode::BAD_REQUEST, "send nothing, {}, or {\"binary\": \"/path/of/tollgate\"}\n");
                }
            };
        log::warn!(target: AUDIT, "upgrade asked for by {}", asker.name());
        let outcome = self.upgrades.ask(wish).await;
        json(outcome.status(), &outcome.to_json())
    }

    async fn load_again(&self, wish: Wish, asker: &Asker<'_>) -> Response<Vec<u8>> {
        let Some(report) = self.reloads.ask(wish).await else {
            return text(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many reloads wait already, or the gateway is stopping\n",
            );
        };
        if wish == Wish::Apply {
            log::warn!(target: AUDIT, "reload asked for by {}: {}", asker.name(), report.finding.word());
        }
        let status = match report.finding {
            Finding::Applied(..) | Finding::Compared(..) | Finding::Unchanged => StatusCode::OK,
            Finding::Rejected(_) => StatusCode::BAD_REQUEST,
            Finding::Blocked(_) => StatusCode::SERVICE_UNAVAILABLE,
            Finding::Failed => StatusCode::INTERNAL_SERVER_ERROR,
            Finding::WithoutFile => StatusCode::CONFLICT,
        };
        json(status, &report.to_json())
    }
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let address = session.client_addr().and_then(|address| address.as_inet()).map(|address| address.ip());
        let request = session.req_header();
        let (method, headers): (Method, HeaderMap) = (request.method.clone(), request.headers.clone());
        let (path, query) = (request.uri.path().to_owned(), request.uri.query().unwrap_or_default().to_owned());
        let asker = Asker { address, method: &method, headers: &headers };
        let resource = match self.admit(&asker, &path) {
            Ok(resource) => resource,
            Err(refusal) => return *refusal,
        };
        if resource.method() == Method::GET {
            return self.answer(resource, &asker, Sent { query: &query, body: &[] }).await;
        }
        match body_of(session).await {
            Ok(body) => self.answer(resource, &asker, Sent { query: &query, body: &body }).await,
            Err(refusal) => *refusal,
        }
    }
}

/// The body of a request that may be asked; nobody who may not makes the gateway read one.
async fn body_of(session: &mut ServerSession) -> Result<Vec<u8>, Refusal> {
    let mut body = Vec::new();
    loop {
        match session.read_request_body().await {
            Ok(Some(piece)) if body.len() + piece.len() <= MAX_BODY => body.extend_from_slice(&piece),
            Ok(Some(_)) => return Err(Box::new(text(StatusCode::PAYLOAD_TOO_LARGE, "at most 1 MiB\n"))),
            Ok(None) => return Ok(body),
            Err(_) => return Err(Box::new(text(StatusCode::BAD_REQUEST, "the body broke off\n"))),
        }
    }
}

fn refuse(refused: Refused) -> Response<Vec<u8>> {
    let mut response = text(refused.status, refused.text);
    if refused.status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(seconds) = refused.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn json(status: StatusCode, body: &Value) -> Response<Vec<u8>> {
    answer(status, JSON, format!("{body}\n").into_bytes())
}

fn text(status: StatusCode, body: &str) -> Response<Vec<u8>> {
    answer(status, TEXT, body.as_bytes().to_vec())
}

fn answer(status: StatusCode, content_type: &str, body: Vec<u8>) -> Response<Vec<u8>> {
    let response = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, content_type)
        .header(header::CONTENT_LENGTH, body.len())
        .header(header::CACHE_CONTROL, "no-store")
        .body(body);
    response.unwrap_or_else(|_| Response::new(Vec::new()))
}
