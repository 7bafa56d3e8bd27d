//! What the edge knows of one exchange while it lasts.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::StatusCode;
use pingora::http::ResponseHeader;

use crate::exchange::grant::Grant;
use crate::exchange::head::{CallerScheme, RequestHead};
use crate::exchange::refusal::Refusal;
use crate::pipeline::permit::Permit;
use crate::pipeline::scrub::{ErrorBody, Told};
use crate::pipeline::statistics::Reach;
use crate::snapshot::hosts::Site;
use crate::snapshot::route::Route;
use crate::state::deadlines::Armed;
use crate::state::load::Underway;
use crate::state::queue::Place;
use crate::telemetry::metrics::InFlight;
use crate::telemetry::trace::{Sampling, Trace};
use crate::upstream::{Tried, Visit};

use super::Running;
use super::limits::Limited;
use super::measure::Measured;

/// The state of one exchange.
#[derive(Debug)]
pub struct Ctx {
    /// The configuration it began with and ends with.
    pub(super) running: Arc<Running>,
    pub(super) started: Instant,
    pub(super) started_wall: SystemTime,
    pub(super) request_id: Arc<str>,
    /// Which exchanges have spans.
    pub(super) sampling: Sampling,
    /// None until the head has been looked at.
    pub(super) trace: Option<Trace>,
    pub(super) client: IpAddr,
    /// How the caller reached the gateway, as far as that is known.
    pub(super) scheme: CallerScheme,
    pub(super) head: Option<RequestHead>,
    /// Index of the site that serves the host.
    pub(super) site: Option<usize>,
    /// Index of the matched route.
    pub(super) route: Option<usize>,
    /// What the caller may do, once that is known.
    pub(super) grant: Option<Grant>,
    pub(super) permit: Option<Permit>,
    pub(super) limited: Limited,
    pub(super) attempt: Attempt,
    pub(super) body: BodyProgress,
    pub(super) measured: Measured,
    /// Set where an upstream's error body is replaced.
    pub(super) error_body: Option<ErrorBody>,
    /// The status of the answer that goes to the caller.
    pub(super) status: StatusCode,
    /// The cleaned head of an error without a body, which gets one.
    pub(super) replaced: Option<Box<ResponseHeader>>,
    pub(super) refusal: Option<Refusal>,
    pub(super) fault: Option<String>,
    /// Its place among the requests that the gateway takes at once.
    pub(super) underway: Option<Underway>,
    /// Counts the exchange until it ends, even by a panic.
    _in_flight: InFlight,
}

/// Where the tries towards the upstream stand.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    /// Tries so far.
    pub(super) number: u32,
    /// The place of the current try, where the upstream has a queue.
    pub(super) place: Option<Place>,
    /// Where in the list of backends and addresses this request began.
    pub(super) first: usize,
    /// The backend of the current try.
    pub(super) backend: usize,
    /// The backends of all tries.
    pub(super) tried: Tried,
    /// Where the backend of the current try is told how it went.
    pub(super) visit: Option<Visit>,
    /// Whether any try got as far as the upstream.
    pub(super) reach: Reach,
    /// The wait before the next try.
    pub(super) wait: Option<Duration>,
    /// When the current try began.
    pub(super) began: Option<Instant>,
    /// Waiting for response headers, all tries added up.
    pub(super) spent: Duration,
    /// The deadline of the current try.
    pub(super) deadline: Option<Armed>,
    /// Response headers of the current try have come.
    pub(super) answered: bool,
    /// The end of the connection is the end of the current answer.
    pub(super) until_close: bool,
}

/// How far a request body has come in the current try.
#[derive(Debug, Default)]
pub(super) struct BodyProgress {
    /// Bytes the caller sent.
    pub(super) received: u64,
    /// The bound parameter body has been handed over.
    pub(super) handed_over: bool,
}

impl Attempt {
    /// Leaves the upstream, and its backend, to others.
    pub(super) fn leave(&mut self) {
        self.place = None;
        self.visit = None;
    }
}

impl Ctx {
    pub(super) fn new(running: Arc<Running>, now: (Instant, SystemTime), in_flight: InFlight) -> Self {
        Ctx {
            running,
            started: now.0,
            started_wall: now.1,
            request_id: Arc::default(),
            sampling: Sampling::Off,
            trace: None,
            client: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            scheme: CallerScheme::Http,
            head: None,
            site: None,
            route: None,
            grant: None,
            permit: None,
            limited: Limited::default(),
            attempt: Attempt::default(),
            body: BodyProgress::default(),
            measured: Measured::default(),
            error_body: None,
            status: StatusCode::OK,
            replaced: None,
            refusal: None,
            fault: None,
            underway: None,
            _in_flight: in_flight,
        }
    }

    /// The site that serves the host.
    pub(super) fn site(&self) -> Option<&Site> {
        self.running.snapshot.site(self.site?)
    }

    /// What an error body says of our own.
    pub(super) fn told(&self) -> Told<'_> {
        Told { request_id: &self.request_id, phrases: self.running.snapshot.phrases_of(self.site()) }
    }

    /// The matched route.
    pub(super) fn route(&self) -> Option<&Route> {
        self.running.snapshot.route(self.route?)
    }
}
