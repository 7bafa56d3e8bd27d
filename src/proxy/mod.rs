//! The edge: the only code that knows Pingora's hooks.
//!
//! In: HTTP from callers. Out: calls of the pipeline, in hook order, and its
//! answers as bytes. Not here: decisions (`pipeline`), what is running
//! (`snapshot`). Each hook has one short body here and its work in a file of
//! its own.

mod account;
mod answer;
mod at_once;
mod attempt;
mod backend;
mod body;
mod caller;
mod ctx;
mod door;
mod failure;
mod joined;
mod limits;
mod measure;
mod queue;
mod quiet;
mod request;
mod respond;
pub mod server;
pub mod sockets;
pub mod tls;

use std::any::Any;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};

use crate::snapshot::Snapshot;
use crate::snapshot::live::Live;
use crate::state::State;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::meters::{HostLabels, RouteMeters};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::traces::Traces;
use crate::tls::acme::Challenges;
use crate::tls::domains::Demand;

use at_once::{Hook, at_once, goes_on};
use ctx::Ctx;
use door::HeadArrived;
use request::Next;
use respond::Connection;

/// What is current: a configuration, and the meters of its routes.
#[derive(Debug)]
pub struct Running {
    /// The compiled configuration.
    pub snapshot: Arc<Snapshot>,
    /// Its routes' children of metric families.
    pub meters: RouteMeters,
}

impl Running {
    /// A configuration with the meters of its routes.
    pub fn new(snapshot: Snapshot, metrics: &Metrics) -> Self {
        let routes = snapshot.routes().iter().map(|route| (&route.label, route.upstream.name()));
        let meters = RouteMeters::of(metrics, host_labels(&snapshot), routes);
        Running { snapshot: Arc::new(snapshot), meters }
    }
}

/// Pairs of host and route that are counted apart. Whoever calls every path of every host makes a series of each.
const MAX_PAIRS: usize = 20_000;

fn host_labels(snapshot: &Snapshot) -> HostLabels {
    let pairs: usize = snapshot.sites().iter().map(|site| 1 + snapshot.routes_of(site).len()).sum();
    match snapshot.lists_hosts() {
        false => HostLabels::Any,
        true if pairs > MAX_PAIRS => HostLabels::TooMany,
        true => HostLabels::Listed(snapshot.sites().iter().map(|site| Arc::clone(&site.label)).collect()),
    }
}

/// The gateway as Pingora sees it.
#[derive(Debug)]
pub struct Proxy {
    live: Arc<Live<Running>>,
    state: Arc<State>,
    metrics: Metrics,
    access_log: Arc<AccessLog>,
    traces: Traces,
    challenges: Arc<Challenges>,
    demand: Arc<Demand>,
}

/// What a gateway works with.
#[derive(Debug)]
pub struct Parts {
    /// What it serves, whenever a request begins.
    pub live: Arc<Live<Running>>,
    /// What outlives a configuration.
    pub state: Arc<State>,
    /// What it counts in.
    pub metrics: Metrics,
    /// Where it writes requests down.
    pub access_log: Arc<AccessLog>,
    /// What takes spans.
    pub traces: Traces,
    /// What authorities are answered who ask whose host this is.
    pub challenges: Arc<Challenges>,
    /// What sees to certificates on demand.
    pub demand: Arc<Demand>,
}

impl Proxy {
    /// A gateway of these parts.
    pub fn new(parts: Parts) -> Self {
        let Parts { live, state, metrics, access_log, traces, challenges, demand } = parts;
        Proxy { live, state, metrics, access_log, traces, challenges, demand }
    }
}

#[async_trait]
impl ProxyHttp for Proxy {
    // Boxed: Pingora's future of a whole exchange holds it, and that future is moved twice per request.
    type CTX = Box<Ctx>;

    fn new_ctx(&self) -> Box<Ctx> {
        let clock = self.state.clock();
        let mut ctx = Box::new(Ctx::new(self.live.load(), (clock.now(), clock.wall()), self.metrics.begin_exchange()));
        ctx.sampling = self.traces.sampling();
        ctx
    }

    fn on_connection_reuse(&self, _session: &mut Session, _ctx: &mut Self::CTX, context: Box<dyn Any + Send + Sync>) {
        // Called as soon as the head is there; the door waits for it.
        if let Some(arrived) = context.downcast_ref::<HeadArrived>() {
            arrived.set();
        }
    }

    fn init_downstream_modules(&self, _modules: &mut HttpModules) {
        // Pingora's default adds a compression module that is switched off.
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Box<Ctx>) -> Result<bool> {
        if request::answer_authority(session, ctx, &self.challenges).await? {
            return Ok(true);
        }
        match request::open(session, ctx, &self.state).await? {
            Next::Answered => Ok(true),
            Next::Refuse(refusal, connection) => {
                Box::pin(respond::refuse(session, ctx, refusal, connection)).await?;
                Ok(true)
            }
            Next::Upstream => Ok(false),
        }
    }

    fn proxy_upstream_filter<'this, 's, 'c, 'hook>(
        &'this self,
        session: &'s mut Session,
        ctx: &'c mut Box<Ctx>,
    ) -> Hook<'hook, Result<bool>>
    where
        'this: 'hook,
        's: 'hook,
        'c: 'hook,
    {
        match queue::is_open(ctx) {
            true => goes_on(),
            false => Box::pin(async move {
                match self.take_place(session, ctx).await? {
                    Ok(()) => Ok(true),
                    Err(refusal) => {
                        respond::refuse(session, ctx, refusal, Connection::Keep).await?;
                        Ok(false)
                    }
                }
            }),
        }
    }

    async fn upstream_peer(&self, session: &mut Session, ctx: &mut Box<Ctx>) -> Result<Box<HttpPeer>> {
        self.begin_attempt(session, ctx).await
    }

    at_once! {
        fn early_request_filter<'s, 'c>(&self, session: &'s mut Session, ctx: &'c mut Box<Ctx>) -> Result<()> {
            request::set_timeouts(session, ctx);
            Ok(())
        }

        fn connected_to_upstream<'s, 'p, 'd, 'c>(
            &self,
            _session: &'s mut Session,
            _reused: bool,
            _peer: &'p HttpPeer,
            _fd: RawFd,
            digest: Option<&'d Digest>,
            ctx: &'c mut Box<Ctx>,
        ) -> Result<()> {
            self.arm(digest, ctx);
            Ok(())
        }

        fn upstream_request_filter<'s, 'r, 'c>(
            &self,
            _session: &'s mut Session,
            request: &'r mut RequestHeader,
            ctx: &'c mut Box<Ctx>,
        ) -> Result<()> {
            request::rewrite(request, ctx, self.state.clock().wall())
        }

        fn request_body_filter<'s, 'b, 'c>(
            &self,
            _session: &'s mut Session,
            piece: &'b mut Option<Bytes>,
            _end: bool,
            ctx: &'c mut Box<Ctx>,
        ) -> Result<()> {
            body::pass_on(piece, ctx).map(|()| {
                if piece.as_ref().is_some_and(|piece| !piece.is_empty()) {
                    self.upload_goes_on(ctx);
                }
            })
        }

        fn upstream_response_filter<'s, 'r, 'c>(
            &self,
            session: &'s mut Session,
            response: &'r mut ResponseHeader,
            ctx: &'c mut Box<Ctx>,
        ) -> Result<()> {
            self.judge_answer(session, response, ctx)
        }

        fn response_filter<'s, 'r, 'c>(
            &self,
            session: &'s mut Session,
            response: &'r mut ResponseHeader,
            ctx: &'c mut Box<Ctx>,
        ) -> Result<()> {
            self.clean_head(session, response, ctx)
        }

        fn logging<'s, 'e, 'c>(&self, session: &'s mut Session, _e: Option<&'e Error>, ctx: &'c mut Box<Ctx>) -> () {
            self.account(session, ctx);
        }
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        piece: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Box<Ctx>,
    ) -> Result<Option<Duration>> {
        self.clean_body(piece, end, ctx)?;
        Ok(None)
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Box<Ctx>,
        e: Box<Error>,
    ) -> Box<Error> {
        self.judge_connect(ctx, e)
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        e: Box<Error>,
        ctx: &mut Box<Ctx>,
        reused: bool,
    ) -> Box<Error> {
        self.judge_failure(session, ctx, e, reused)
    }

    async fn fail_to_proxy(&self, session: &mut Session, e: &Error, ctx: &mut Box<Ctx>) -> FailToProxy {
        self.answer_failure(session, e, ctx).await
    }

    // Pingora's own messages quote the request line, and with it a caller's `token=`.
    fn suppress_error_log(&self, _session: &Session, _ctx: &Box<Ctx>, _error: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _ctx: &Box<Ctx>,
        _error: &Error,
        _context: ProxyWarnLogContext,
    ) -> bool {
        true
    }

    fn request_summary(&self, _session: &Session, ctx: &Box<Ctx>) -> String {
        format!("request {}", ctx.request_id)
    }
}

/// An error whose answer is already decided in the context.
pub(crate) const DECIDED: ErrorType = ErrorType::new("Decided");
