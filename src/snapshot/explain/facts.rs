//! The parts of an explanation.
//!
//! In: what the steps decided. Out: plain facts, credentials already masked.
//! Not here: how they are laid out for people (`text`).

use std::net::IpAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header, request};
use serde::Serialize;

use crate::config::scalar::{Endpoint, MASK, Scheme, is_credential_name};
use crate::exchange::head::RequestHead;
use crate::exchange::refusal::{Refusal, RefusalCode};
use crate::pipeline::client::Client;
use crate::pipeline::scrub::Phrases;
use crate::snapshot::Snapshot;
use crate::snapshot::hosts::Site;
use crate::snapshot::route::{BodyRule, Route};

use super::masked::{masked_body, masked_query, masked_target, masked_text};
use super::question::Question;

/// A request as the gateway reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Read {
    /// The method.
    pub method: String,
    /// Host name in lower case, without port; as written where it could not be read.
    pub host: String,
    /// The path, decoded once; as written where it could not be read.
    pub path: String,
    /// The query as it came, without `?`.
    pub query: String,
    /// The caller's address, that behind trusted proxies included.
    pub client: IpAddr,
    /// How the caller reached the gateway.
    pub scheme: &'static str,
    /// Bytes of the body.
    pub body_bytes: u64,
}

impl Read {
    pub(super) fn new(question: &Question, client: Client) -> Self {
        let (path, query) = question.target.split_once('?').unwrap_or((&question.target, ""));
        let host = question.headers.get(header::HOST).map(|host| String::from_utf8_lossy(host.as_bytes()));
        Read {
            method: question.method.to_string(),
            host: host.map(|host| masked_text(&format!("//{host}")).replacen("//", "", 1)).unwrap_or_default(),
            path: masked_text(path).into_owned(),
            query: masked_query(query),
            client: client.address,
            scheme: client.scheme.as_str(),
            body_bytes: question.body.len() as u64,
        }
    }

    pub(super) fn take(&mut self, head: &RequestHead) {
        self.host.clone_from(&head.host);
        self.path = masked_text(&head.path).into_owned();
    }
}

/// The route that serves a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Matched {
    /// The pattern that matched.
    pub pattern: String,
    /// The key under `routes` that it comes from.
    pub key: String,
    /// The host under whose own `routes` that key stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// File and line of that key, where they are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// What its captures matched.
    pub captures: Vec<Field>,
    /// Less specific patterns that match as well, in the order in which they would win.
    pub others: Vec<String>,
}

impl Matched {
    pub(super) fn new(snapshot: &Snapshot, (site, route): (&Site, &Route), head: &RequestHead) -> Self {
        let mut matches = snapshot.find_all(site, &head.path).into_iter();
        let captures = matches.next().map(|(_, found)| found.captures.0).unwrap_or_default();
        Matched {
            pattern: route.label.to_string(),
            key: route.key.to_string(),
            host: route.host.as_ref().map(ToString::to_string),
            place: None,
            captures: captures
                .into_iter()
                .map(|(name, value)| Field { name: name.into(), value: masked_text(&value).into_owned() })
                .collect(),
            others: matches.map(|(other, _)| other.label.to_string()).collect(),
        }
    }
}

/// A name and its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Field {
    /// The name.
    pub name: String,
    /// The value, `***` for a credential.
    pub value: String,
}

impl Field {
    fn shown(name: &HeaderName, value: &HeaderValue) -> Self {
        // Whether pages may send credentials is none.
        let is_cors = name.as_str().starts_with("access-control-");
        let hidden = value.is_sensitive() || (!is_cors && is_credential_name(name.as_str()));
        let value = match hidden {
            true => MASK.into(),
            false => masked_text(&String::from_utf8_lossy(value.as_bytes())).into_owned(),
        };
        Field { name: name.to_string(), value }
    }
}

/// What the answer says to a browser.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Page {
    /// The page's `Origin`; none where the request has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Whether the page may read the answer.
    pub readable: bool,
    /// Headers of the answer that say so.
    pub headers: Vec<Field>,
}

impl Page {
    pub(super) fn new(request: &HeaderMap, answer: Vec<(HeaderName, HeaderValue)>) -> Self {
        let origin = request.get(header::ORIGIN).map(|origin| String::from_utf8_lossy(origin.as_bytes()));
        let origin = origin.map(|origin| masked_text(&origin).into_owned());
        let readable = answer.iter().any(|(name, _)| name == header::ACCESS_CONTROL_ALLOW_ORIGIN);
        Page { origin, readable, headers: answer.iter().map(|(name, value)| Field::shown(name, value)).collect() }
    }

    /// Adds the headers of an answer to a preflight.
    pub(super) fn add(&mut self, answer: &[(HeaderName, HeaderValue)]) {
        self.headers.extend(answer.iter().map(|(name, value)| Field::shown(name, value)));
    }
}

/// A request as the upstream would get it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sent {
    /// The upstream's name.
    pub name: String,
    /// The method.
    pub method: String,
    /// The whole URL; of several backends, at the first.
    pub url: String,
    /// The other backends that it may go to, with their own host in `Host`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub or_at: Vec<String>,
    /// Every header.
    pub headers: Vec<Field>,
    /// The body, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<SentBody>,
}

/// A body as the upstream would get it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SentBody {
    /// Its length.
    pub bytes: u64,
    /// Its text, where it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl Sent {
    pub(super) fn new(route: &Route, parts: &request::Parts, body: &Bytes) -> Self {
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
        let mut backends = route.upstream.backends().iter().map(|backend| origin(backend.endpoint()));
        Sent {
            name: route.upstream.name().to_string(),
            method: parts.method.to_string(),
            url: format!("{}{}", backends.next().unwrap_or_default(), masked_target(target)),
            or_at: backends.collect(),
            headers: parts.headers.iter().map(|(name, value)| Field::shown(name, value)).collect(),
            body: (!body.is_empty())
                .then(|| SentBody { bytes: body.len() as u64, text: std::str::from_utf8(body).ok().map(masked_body) }),
        }
    }
}

/// Scheme and authority; the base path stands in every target.
fn origin(endpoint: &Endpoint) -> String {
    let scheme = match endpoint.scheme() {
        Scheme::Http => "http",
        Scheme::Https => "https",
    };
    format!("{scheme}://{}", endpoint.authority())
}

/// When a request would be sent again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Retries {
    /// Which failures are tried again.
    pub repeats: Repeats,
    /// Tries in all.
    pub attempts: u32,
    /// Statuses that are tried again.
    pub statuses: Vec<u16>,
    /// The longest wait before the second try, the third, and so on, in milliseconds; each is a random part of it.
    pub waits_ms: Vec<u64>,
    /// The time for one try, until response headers.
    pub attempt_ms: u64,
    /// The time for all tries and the waits between them.
    pub total_ms: u64,
    /// Retries may be this share of the upstream's requests, in per cent.
    pub budget_percent: f64,
}

/// Which failures of a request are tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Repeats {
    /// Statuses, and connections that fail: doing it twice is as good as once.
    Anything,
    /// Only a connection that could not be opened: nothing was sent yet.
    Connecting,
}

impl Retries {
    pub(super) fn new(route: &Route, method: &Method) -> Self {
        let schedule = route.retry.schedule();
        let timeouts = route.upstream.timeouts();
        let millis = |span: std::time::Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Retries {
            repeats: match route.repeats(method) {
                true => Repeats::Anything,
                false => Repeats::Connecting,
            },
            attempts: schedule.attempts,
            statuses: schedule.statuses,
            waits_ms: schedule.waits.into_iter().map(millis).collect(),
            attempt_ms: millis(timeouts.attempt),
            total_ms: millis(timeouts.total),
            budget_percent: schedule.share * 100.0,
        }
    }
}

/// How a request ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Verdict {
    /// The gateway answers it itself: a preflight.
    Answered {
        /// The status of the answer.
        status: u16,
    },
    /// The gateway refuses it.
    Refused {
        /// The status of the answer.
        status: u16,
        /// The stable code, as docs/refusals.md lists it.
        code: &'static str,
        /// What the caller reads.
        error: String,
        /// Which rule refuses it, for the operator.
        rule: String,
    },
    /// The HTTP parser refuses it before any rule is asked: a bare status, and the connection ends.
    Unparsed {
        /// The status of the answer.
        status: u16,
        /// What is wrong with it, for the operator.
        why: &'static str,
    },
    /// It goes upstream.
    Upstream,
}

impl Verdict {
    pub(super) fn refused(refusal: &Refusal, route: Option<&Route>) -> Self {
        Verdict::Refused {
            status: refusal.status().as_u16(),
            code: refusal.code().as_str(),
            error: refusal.public().into_owned(),
            rule: rule(refusal, route),
        }
    }

    /// Says it as the host does.
    pub(super) fn speak(&mut self, phrases: &Phrases) {
        let Verdict::Refused { code, error, .. } = self else { return };
        let known = RefusalCode::ALL.iter().find(|known| known.as_str() == *code);
        if let Some(own) = known.and_then(|code| phrases.of(*code)) {
            own.clone_into(error);
        }
    }

    /// As [`Verdict::refused`], for a host that is not served.
    pub(super) fn unknown_host() -> Self {
        let mut verdict = Verdict::refused(&Refusal::RouteNotFound, None);
        if let Verdict::Refused { rule, .. } = &mut verdict {
            "no host under `hosts` matches, so that nothing is said of any path".clone_into(rule);
        }
        verdict
    }

    /// As [`Verdict::refused`], for a credential with a plan that there is not.
    pub(super) fn unknown_plan(name: &str, route: &Route) -> Self {
        let mut verdict = Verdict::refused(&Refusal::Forbidden, Some(route));
        if let Verdict::Refused { rule, .. } = &mut verdict {
            let name = masked_text(name);
            *rule = format!("the credential's plan `{name}` is not under `plans`, and there is no `default_plan`");
        }
        verdict
    }

    /// As [`Verdict::refused`], where the request has begun to pass by then.
    pub(super) fn refused_on_the_way(refusal: &Refusal, route: &Route) -> Self {
        let mut verdict = Verdict::refused(refusal, Some(route));
        if let Verdict::Refused { rule, .. } = &mut verdict {
            rule.push_str("; the upstream has the head by then, and what came of the body");
        }
        verdict
    }

    /// Whether the caller gets what was asked for.
    pub fn is_refusal(&self) -> bool {
        match self {
            Verdict::Answered { .. } | Verdict::Upstream => false,
            Verdict::Refused { .. } | Verdict::Unparsed { .. } => true,
        }
    }
}

/// Which rule refuses, and where it is changed.
fn rule(refusal: &Refusal, route: Option<&Route>) -> String {
    let rule = match refusal {
        Refusal::BadParameter { .. } => "what can be a parameter, and `params.conflict` of the route",
        Refusal::BadRequest(_) => "what two programs could read differently is refused, on every route",
        Refusal::BodyTooLarge { .. } => match route.map(|route| route.body) {
            Some(BodyRule::Parameters) => "the body of a pipe's call holds parameters: its limit is fixed",
            Some(BodyRule::PassThrough) | None => "`server.max_body`",
        },
        Refusal::ControlParameter { .. } => "callers may use it only where `params.allow` of the route names it",
        Refusal::CredentialExpired { .. } | Refusal::CredentialInvalid { .. } => {
            "`auth` of the route; `tollgate token verify` says the same of a token alone"
        }
        Refusal::CredentialMissing { .. } => "`auth` of the route",
        Refusal::Forbidden => "`require` of the route, the scopes of a Tinybird JWT, or `tenants`",
        Refusal::HeadersTooLarge { .. } => "`server.max_headers`, and at most 100 fields",
        Refusal::KeysUnavailable => "the provider's public keys; a running gateway fetches them, a file alone has none",
        Refusal::MethodNotAllowed { .. } => "`methods` of the route",
        Refusal::Misdirected => "the name for which the connection was opened",
        Refusal::Overloaded { .. } => "`concurrency` and `rate` of the upstream, and `server.overload`",
        Refusal::QuotaExhausted { .. } | Refusal::RateLimited { .. } => "`limits`",
        Refusal::RequestTimeout => "the body is shorter than its Content-Length, and the rest is waited for in vain",
        Refusal::RouteNotFound => "no path under `routes` matches",
        Refusal::TenantMismatch => {
            "the host's `tenant`, `tenants` of the provider, or `params.fixed` against the token's own `fixed_params`"
        }
        Refusal::TenantMissing => {
            "a parameter in `params.fixed`, or `tenant` of the provider or host, needs a value that this request does not have"
        }
        Refusal::UnsupportedBody(_) => match route.map(|route| route.body) {
            Some(BodyRule::PassThrough) => "`params` of the route confine callers, and a body could say more",
            Some(BodyRule::Parameters) | None => "the body of a pipe's call holds parameters and nothing else",
        },
        Refusal::UpstreamFailed | Refusal::UpstreamTimeout | Refusal::UpstreamUnavailable { .. } => "the upstream",
        Refusal::UriTooLong { .. } => "`server.max_uri`",
    };
    rule.to_owned()
}
