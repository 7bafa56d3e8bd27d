//! What would happen to one request, and why.
//!
//! In: a snapshot and a [`Question`]. Out: an [`Explanation`], for people
//! (`Display`) and for programs (`Serialize`); credentials are `***` in both.
//! Not here: decisions. Each comes from the code that serves, by way of
//! [`Snapshot::open`] and `pipeline::admit_watched`. Nothing is sent, no name
//! is looked up, nothing is counted.

mod callers;
mod facts;
mod hosted;
mod limits;
mod masked;
mod nearby;
mod parameters;
mod question;
mod text;
mod wire;

use std::net::{IpAddr, Ipv4Addr};
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use serde::Serialize;

use crate::exchange::captures::Captures;
use crate::exchange::grant::Grant;
use crate::exchange::head::RequestHead;
use crate::exchange::refusal::Refusal;
use crate::pipeline::authn::Desk;
use crate::pipeline::limits::plans::UnknownPlan;
use crate::pipeline::params::{MAX_PARAMETER_BODY, ParameterBody};
use crate::pipeline::permit::Permit;
use crate::pipeline::rewrite::Trial;
use crate::pipeline::{self, Case, Entrance, Turned};

use super::Snapshot;
use super::arrival::{Arrival, Opened, Turn};
use super::route::{BodyRule, Route};

use limits::Spot;
use parameters::Trail;
use wire::{Body, Parsed, Unparsed};

pub use callers::{Callers, Known, Providers};
pub use facts::{Field, Matched, Page, Read, Repeats, Retries, Sent, SentBody, Verdict};
pub use hosted::Hosted;
pub use limits::{Asking, Plan};
pub use nearby::Nearby;
pub use parameters::{Parameter, ParameterFate, Place};
pub use question::{Question, header_line, method_word, url_word};

/// Stands for the `traceparent` of a try.
const TRACEPARENT: HeaderValue = HeaderValue::from_static("(one for each try)");

/// Everything that is known of a request before it is sent, in the order of the pipeline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// The request as the gateway reads it.
    pub request: Read,
    /// What the host is, where the configuration lists hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Hosted>,
    /// The route that matched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<Matched>,
    /// Where no route matched: what may have been meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nearby: Option<Nearby>,
    /// Who may call the route, and as whom this request comes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callers: Option<Callers>,
    /// What a browser makes of the answer.
    pub cors: Page,
    /// What becomes of each parameter.
    pub parameters: Vec<Parameter>,
    /// What the caller's tenant bought, where there are plans.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// The limits that would ask, as far as the request comes: those by address first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Asking>,
    /// What the upstream would get. Its key in the cache stands beside this once there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<Sent>,
    /// When it would be sent again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
    /// How it ends.
    pub verdict: Verdict,
}

/// Explains what `snapshot` would do with a request.
pub fn explain(snapshot: &Snapshot, question: &Question, now: SystemTime) -> Explanation {
    let peer = question.peer.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let client = snapshot.proxies.client(Some(peer), question.scheme, &question.headers);
    let mut explanation = Explanation::of(Read::new(question, client));
    let parsed = match wire::parse(question) {
        Ok(parsed) => parsed,
        Err(Unparsed { status, why }) => {
            explanation.verdict = Verdict::Unparsed { status, why };
            return explanation;
        }
    };
    let Opened { head, site, route, turn } = snapshot.open(&Arrival {
        domains: None,
        method: &question.method,
        target: question.target.as_bytes(),
        authority: None,
        headers: &parsed.headers,
        raw: parsed.raw,
        client,
        server_name: None,
    });
    let spot = Spot { snapshot, site, route };
    explanation.limits = spot.on_arrival(client.address);
    let cors = snapshot.cors_of(site, route);
    explanation.cors = Page::new(&parsed.headers, cors.decorate(&parsed.headers));
    if let Some(head) = &head {
        explanation.request.take(head);
        explanation.host = snapshot.lists_hosts().then(|| Hosted::new(snapshot, site, &head.host));
        let matched = site.zip(route);
        explanation.route = matched.map(|(site, route)| Matched::new(snapshot, (site, route), head));
        let unmatched = site.filter(|_| route.is_none());
        explanation.nearby = unmatched.map(|site| Nearby::find(snapshot, site, &head.path));
    }
    explanation.callers = route.map(|route| Callers::new(snapshot.entrance(site, route).authn, None));
    explanation.verdict = match (turn, head.as_ref().zip(route)) {
        (Turn::Answer(reply), _) => {
            explanation.cors.add(&reply.headers);
            Verdict::Answered { status: reply.status.as_u16() }
        }
        (Turn::Describe(document, _), _) => {
            let entrance = snapshot.entrance_to(site, &document);
            let desk = Desk { now, verified: None, guessers: None, certificate: question.certificate.as_ref() };
            explanation.read_document(entrance, (&parsed.headers, head.as_ref()), &desk)
        }
        (Turn::Refuse(Refusal::RouteNotFound, _), _) if site.is_none() => Verdict::unknown_host(),
        (Turn::Refuse(refusal, _), _) => Verdict::refused(&refusal, route),
        (Turn::Proceed(captures), Some((head, route))) => explanation.follow(
            &Journey {
                entrance: snapshot.entrance(site, route),
                spot,
                route,
                head,
                parsed: &parsed,
                desk: Desk { now, verified: None, guessers: None, certificate: question.certificate.as_ref() },
            },
            captures,
        ),
        (Turn::Proceed(_), None) => Verdict::refused(&Refusal::RouteNotFound, None),
    };
    explanation.verdict.speak(snapshot.phrases_of(site));
    explanation
}

impl Explanation {
    /// Nothing is known yet but what was asked.
    fn of(request: Read) -> Self {
        Explanation {
            request,
            host: None,
            route: None,
            nearby: None,
            callers: None,
            cors: Page::default(),
            parameters: Vec::new(),
            plan: None,
            limits: Vec::new(),
            upstream: None,
            retries: None,
            verdict: Verdict::Upstream,
        }
    }

    /// What comes of asking which routes there are.
    fn read_document(
        &mut self,
        at: Entrance<'_>,
        asked: (&HeaderMap, Option<&RequestHead>),
        desk: &Desk<'_>,
    ) -> Verdict {
        let (headers, Some(head)) = asked else { return Verdict::refused(&Refusal::RouteNotFound, None) };
        let entered = at.enter(headers, head, &Captures::default(), desk);
        self.callers = Some(Callers::new(at.authn, Some(&entered)));
        self.nearby = None;
        match entered {
            Ok(_) => Verdict::Answered { status: 200 },
            Err(Turned::Away(rejection)) => Verdict::refused(&rejection.refusal(), None),
            Err(Turned::Back { refusal, .. }) => Verdict::refused(&refusal, None),
        }
    }

    fn follow(&mut self, journey: &Journey<'_>, captures: Captures) -> Verdict {
        let entered = journey.enter(&captures);
        self.callers = Some(Callers::new(journey.entrance.authn, Some(&entered)));
        let grant = match entered {
            Ok(grant) => grant,
            Err(Turned::Away(rejection)) => return Verdict::refused(&rejection.refusal(), Some(journey.route)),
            Err(Turned::Back { refusal, .. }) => return Verdict::refused(&refusal, Some(journey.route)),
        };
        let mut trail = Trail::default();
        let admitted = journey.admit((captures, grant), &mut trail);
        self.parameters = trail.finish();
        let Journey { route, head, .. } = journey;
        let permit = match admitted {
            Ok(permit) => permit,
            Err(refusal) => return Verdict::refused(&refusal, Some(route)),
        };
        match journey.spot.on_admission(head.client, permit.grant()) {
            Ok((plan, limits)) => {
                self.plan = plan;
                self.limits.extend(limits);
            }
            Err(UnknownPlan(name)) => return Verdict::unknown_plan(&name, route),
        }
        match journey.send(&permit) {
            Err(refusal) => Verdict::refused(&refusal, Some(route)),
            Ok((sent, None)) => {
                self.upstream = Some(sent);
                self.retries = Some(Retries::new(route, &head.method));
                Verdict::Upstream
            }
            Ok((sent, Some(refusal))) => {
                self.upstream = Some(sent);
                Verdict::refused_on_the_way(&refusal, route)
            }
        }
    }
}

/// From the matched route to the request that would be sent.
struct Journey<'a> {
    entrance: Entrance<'a>,
    /// Nothing is remembered of what is judged on it.
    desk: Desk<'a>,
    spot: Spot<'a>,
    route: &'a Route,
    head: &'a RequestHead,
    parsed: &'a Parsed,
}

impl Journey<'_> {
    /// What its caller may do.
    fn enter(&self, captures: &Captures) -> Result<Grant, Turned> {
        self.entrance.enter(&self.parsed.headers, self.head, captures, &self.desk)
    }

    /// The right to go upstream, but for limits.
    fn admit(&self, (captures, grant): (Captures, Grant), trail: &mut Trail) -> Result<Permit, Refusal> {
        let parameters = match self.route.body {
            BodyRule::Parameters => self.read_parameters()?,
            BodyRule::PassThrough => {
                if !matches!(self.parsed.body, Body::None) {
                    self.route.params.let_body_pass(&self.head.method, &grant)?;
                }
                None
            }
        };
        let case = Case { params: &self.route.params, head: self.head, captures, grant, body: parameters };
        pipeline::admit_watched(case, trail)
    }

    /// What would be sent, and why it is refused though it began to pass.
    fn send(&self, permit: &Permit) -> Result<(Sent, Option<Refusal>), Refusal> {
        let inbound = wire::onward(&self.parsed.headers)?;
        let host =
            self.route.upstream.backend(0).map_or(HeaderValue::from_static(""), |backend| backend.host().clone());
        let trial = Trial { host, traceparent: TRACEPARENT, tracestate: None, now: self.desk.now };
        let mut parts = self.route.rewrite.apply(self.head, permit, &inbound, trial)?;
        if self.route.body == BodyRule::PassThrough {
            wire::frame(&mut parts, &self.parsed.body);
        }
        let (body, refusal) = match permit.body() {
            Some(body) => (body.bytes().clone(), None),
            None => self.passed_body(),
        };
        Ok((Sent::new(self.route, &parts, &body), refusal))
    }

    fn read_parameters(&self) -> Result<Option<ParameterBody>, Refusal> {
        let (method, headers) = (&self.head.method, &self.parsed.headers);
        if matches!(self.parsed.body, Body::None) {
            return Ok(None);
        }
        ParameterBody::expect(method, headers)?;
        let bytes = match &self.parsed.body {
            Body::CutShort(_) => return Err(Refusal::RequestTimeout),
            Body::None => Bytes::new(),
            Body::Whole(bytes) => bytes.clone(),
        };
        if bytes.len() as u64 > MAX_PARAMETER_BODY {
            return Err(Refusal::BodyTooLarge { limit: MAX_PARAMETER_BODY });
        }
        ParameterBody::read(method, headers, bytes)
    }

    /// What passes of a body that nobody reads first: its head is sent before it has come.
    fn passed_body(&self) -> (Bytes, Option<Refusal>) {
        let limit = self.route.guard.max_body();
        match &self.parsed.body {
            Body::CutShort(bytes) => (bytes.clone(), Some(Refusal::RequestTimeout)),
            Body::None => (Bytes::new(), None),
            // How much of it passes depends on the pieces in which it comes.
            Body::Whole(bytes) if bytes.len() as u64 > limit => (Bytes::new(), Some(Refusal::BodyTooLarge { limit })),
            Body::Whole(bytes) => (bytes.clone(), None),
        }
    }
}
