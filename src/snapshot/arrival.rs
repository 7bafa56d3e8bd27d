//! From a request's head to the site and route that may serve it: everything that can be
//! decided before a body is read, in its order.
//!
//! In: an [`Arrival`], the head as it came. Out: [`Opened`]: what is known of
//! the request by then, and its [`Turn`]. Not here: sockets (`proxy`), bodies,
//! and everything after them (`pipeline::admit`). The edge serves by this and
//! [`super::explain`] explains by it, so that neither can differ.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use crate::exchange::captures::Captures;
use crate::exchange::head::{CallerScheme, RequestHead, normalise_host, split_target};
use crate::exchange::refusal::Refusal;
use crate::exchange::reply::Reply;
use crate::pipeline::client::Client;
use crate::state::domains::Domains;

use super::Snapshot;
use super::hosts::{Plain, Site};
use super::openapi::Document;
use super::route::Route;

/// The head of a request as it came.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The method.
    pub method: &'a Method,
    /// The request target: the second word of HTTP/1, `:path` of HTTP/2.
    pub target: &'a [u8],
    /// `:authority` of HTTP/2.
    pub authority: Option<&'a str>,
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// The bytes of an HTTP/1 head; empty for HTTP/2.
    pub raw: &'a [u8],
    /// Where it comes from.
    pub client: Client,
    /// The name for which the connection was opened with TLS, spelled as hosts are.
    pub server_name: Option<&'a str>,
    /// Customers' own domains, where there can be some.
    pub domains: Option<&'a Domains>,
}

/// A request whose head has been looked at.
#[derive(Debug)]
pub struct Opened<'a> {
    /// The normalised head; none where it was refused before.
    pub head: Option<RequestHead>,
    /// The site, where the host could be read and is served.
    pub site: Option<&'a Site>,
    /// The route, where one matched.
    pub route: Option<&'a Route>,
    /// How it goes on.
    pub turn: Turn,
}

/// How a request goes on after its head.
#[derive(Debug)]
pub enum Turn {
    /// The gateway answers it: a preflight, or a redirect to TLS.
    Answer(Reply),
    /// Its caller wants to know which routes there are, at this port of the host.
    Describe(Arc<Document>, Option<u16>),
    /// Its body is looked at, then it asks for admission with these captures.
    Proceed(Captures),
    /// It is refused.
    Refuse(Refusal, Stage),
}

impl Turn {
    /// Where it was refused, if it was.
    pub fn stage(&self) -> Option<Stage> {
        match self {
            Turn::Refuse(_, stage) => Some(*stage),
            Turn::Answer(_) | Turn::Describe(..) | Turn::Proceed(_) => None,
        }
    }
}

/// Which look at a head refused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// At its sizes and framing: what follows such a head cannot be told from its body.
    Framing,
    /// At method and announced size, which the route decides.
    Guard,
    /// At host and path as text.
    Reading,
    /// At the table of routes.
    Routing,
}

impl Snapshot {
    /// Looks at a head.
    pub fn open(&self, arrival: &Arrival<'_>) -> Opened<'_> {
        // First, because what refuses a request of a known host is told in that host's terms.
        let host = arrival.host();
        let named = host.as_ref().ok().and_then(|host| self.site_of(host));
        // The file's hosts are never somebody's domain.
        let alias = host.as_ref().ok().filter(|_| named.is_none()).and_then(|host| arrival.domains?.host_of(host));
        let site = named.or_else(|| self.site_of(alias.as_deref()?));
        let refused = |head, refusal, stage| Opened { head, site, route: None, turn: Turn::Refuse(refusal, stage) };
        if let Err(refusal) = self.guard.inspect(arrival.target, arrival.headers, arrival.raw) {
            return refused(None, refusal, Stage::Framing);
        }
        if let Some(site) = site.filter(|site| site.plain == Plain::Redirect && !arrival.is_encrypted())
            && let Some(reply) = arrival.redirect(host.as_deref().unwrap_or_default(), self.https_port)
        {
            let turn = Turn::Answer(reply);
            return Opened { head: arrival.read(host).ok(), site: Some(site), route: None, turn };
        }
        let mut head = match arrival.read(host) {
            Ok(head) => head,
            Err(refusal) => return refused(None, refusal, Stage::Reading),
        };
        if arrival.server_name.is_some_and(|name| name != head.host) {
            // What a connection was opened for decides which certificate, and so which owner, its caller has seen.
            let turn = Turn::Refuse(Refusal::Misdirected, Stage::Routing);
            return Opened { head: Some(head), site: None, route: None, turn };
        }
        if let Some((site, document)) = site.and_then(|site| Some((site, site.document_at(&head.path)?))) {
            let turn = self.describe(arrival, (site, document), &head.method);
            return Opened { head: Some(head), site: Some(site), route: None, turn };
        }
        // From here on it is a request for that host: tenants, parameters and limits are those of the host.
        alias.filter(|_| site.is_some()).into_iter().for_each(|alias| alias.as_ref().clone_into(&mut head.host));
        // A host that is not served is told nothing, not even which paths there are.
        let Some((site, (route, found))) = site.and_then(|site| Some((site, self.find(site, &head.path)?))) else {
            return refused(Some(head), Refusal::RouteNotFound, Stage::Routing);
        };
        let cors = self.cors_of(Some(site), Some(route));
        // Before the method is looked at: OPTIONS is no method of any route.
        let turn = match cors.preflight(&head.method, arrival.headers, route.guard.allow()) {
            Some(reply) => Turn::Answer(reply),
            None => match route.guard.inspect(&head.method, announced_length(arrival.headers)) {
                Err(refusal) => Turn::Refuse(refusal, Stage::Guard),
                Ok(()) => Turn::Proceed(found.captures),
            },
        };
        Opened { head: Some(head), site: Some(site), route: Some(route), turn }
    }

    /// As for a route, whose path it would be.
    fn describe(&self, arrival: &Arrival<'_>, (site, document): (&Site, &Arc<Document>), method: &Method) -> Turn {
        let cors = self.cors_of(Some(site), None);
        match cors.preflight(method, arrival.headers, document.guard.allow()) {
            Some(reply) => Turn::Answer(reply),
            None => match document.guard.inspect(method, announced_length(arrival.headers)) {
                Err(refusal) => Turn::Refuse(refusal, Stage::Guard),
                Ok(()) => Turn::Describe(Arc::clone(document), arrival.port()),
            },
        }
    }
}

impl Arrival<'_> {
    /// What is known of it as text, for who needs no more; none if it cannot be read.
    pub fn head(&self) -> Option<RequestHead> {
        self.read(self.host()).ok()
    }

    fn is_encrypted(&self) -> bool {
        self.client.scheme == CallerScheme::Https
    }

    /// To the same address with TLS; none for a target that no address has. 308, so that the method stays.
    fn redirect(&self, host: &str, port: Option<u16>) -> Option<Reply> {
        let target = std::str::from_utf8(self.target).ok().filter(|target| target.starts_with('/'))?;
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let location = HeaderValue::try_from(format!("https://{host}{port}{target}")).ok()?;
        let headers = vec![(header::LOCATION, location)];
        Some(Reply { status: StatusCode::PERMANENT_REDIRECT, headers, body: Bytes::new() })
    }

    /// The host in the one spelling that hosts are compared in.
    fn host(&self) -> Result<String, Refusal> {
        let host = one_host(self.headers)?;
        // A request that was HTTP/1.1 before may have `host` alone (RFC 9113 section 8.3.1); Pingora has seen to it
        // that both say the same.
        normalise_host(self.authority.or(host).unwrap_or_default())
    }

    /// The port that stands behind the host, if one does.
    fn port(&self) -> Option<u16> {
        let authority = self.authority.or(one_host(self.headers).ok().flatten())?;
        // Behind an IPv6 literal's bracket, whose own colons are no port's.
        authority.rsplit(']').next()?.rsplit_once(':')?.1.parse().ok()
    }

    fn read(&self, host: Result<String, Refusal>) -> Result<RequestHead, Refusal> {
        let target =
            std::str::from_utf8(self.target).map_err(|_| Refusal::BadRequest("The request target is not UTF-8."))?;
        let (path, query) = split_target(target)?;
        Ok(RequestHead {
            method: self.method.clone(),
            host: host?,
            path,
            query: query.to_owned(),
            client: self.client.address,
            scheme: self.client.scheme,
        })
    }
}

/// The `Host` header, unless there are several: then nobody knows which site is meant.
fn one_host(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next();
    match hosts.next() {
        None => Ok(host.and_then(|host| host.to_str().ok())),
        Some(_) => Err(Refusal::BadRequest("The Host header is given twice.")),
    }
}

fn announced_length(headers: &HeaderMap) -> Option<u64> {
    // The guard has seen that there is one number at most.
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
