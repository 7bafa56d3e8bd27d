//! The operator's own address: health, readiness, metrics.
//!
//! In: requests on `admin.address`. Out: small texts. Not here: anything on the
//! listeners of callers; a path there is a route or 404.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use http::{Method, Response, StatusCode, header};
use pingora::apps::http_app::{HttpServer, ServeHttp};
use pingora::protocols::http::ServerSession;
use pingora::services::listening::Service;

use crate::config::scalar::Secret;
use crate::config::section::admin as section;
use crate::telemetry::metrics::Metrics;
use crate::upstream::Upstream;

/// Whether the gateway wants requests.
#[derive(Debug, Default)]
pub struct Readiness {
    ready: AtomicBool,
}

impl Readiness {
    /// From now on it does, or not.
    pub fn set(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }
}

/// What answers on the admin address.
#[derive(Debug)]
pub struct Admin {
    token: Option<Secret>,
    readiness: Arc<Readiness>,
    metrics: Metrics,
    upstreams: Vec<Arc<Upstream>>,
}

impl Admin {
    /// Answers for these parts.
    pub fn new(
        section: &section::Admin,
        readiness: Arc<Readiness>,
        metrics: Metrics,
        upstreams: Vec<Arc<Upstream>>,
    ) -> Self {
        Admin { token: section.token.clone(), readiness, metrics, upstreams }
    }

    /// The service that listens on `address`.
    pub fn service(self, address: SocketAddr) -> Service<HttpServer<Self>> {
        let mut service = Service::new("admin".to_owned(), HttpServer::new_app(self));
        service.threads = Some(1);
        service.add_tcp(&address.to_string());
        service
    }

    fn ready(&self) -> Response<Vec<u8>> {
        let unresolved: Vec<&str> = self
            .upstreams
            .iter()
            .filter(|upstream| !upstream.is_resolved())
            .map(|upstream| upstream.name().as_ref())
            .collect();
        let wanted = self.readiness.ready.load(Ordering::Acquire);
        let reachable = self.upstreams.is_empty() || unresolved.len() < self.upstreams.len();
        let status = match (wanted, reachable) {
            (false, _) => "stopping or not started",
            (true, false) => "no upstream has an address",
            (true, true) => "ready",
        };
        let body = serde_json::json!({ "status": status, "unresolved_upstreams": unresolved });
        let code = if wanted && reachable { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        answer(code, "application/json", format!("{body}\n").into_bytes())
    }

    fn metrics(&self, session: &ServerSession) -> Response<Vec<u8>> {
        let local = session
            .client_addr()
            .and_then(|address| address.as_inet())
            .is_some_and(|address| address.ip().is_loopback());
        if !local && !self.is_authorized(session) {
            let body = b"a token is needed: Authorization: Bearer ...\n".to_vec();
            return answer(StatusCode::UNAUTHORIZED, "text/plain; charset=utf-8", body);
        }
        match self.metrics.encode() {
            Ok(text) => answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text),
            Err(error) => {
                log::error!("metrics cannot be written: {error}");
                answer(StatusCode::INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", b"see the log\n".to_vec())
            }
        }
    }

    fn is_authorized(&self, session: &ServerSession) -> bool {
        let Some(token) = &self.token else { return false };
        let given = session.get_header_bytes(header::AUTHORIZATION);
        given.strip_prefix(b"Bearer ").is_some_and(|given| is_same(given, token.expose().as_bytes()))
    }
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let request = session.req_header();
        if !is_own_host(request.headers.get(header::HOST).and_then(|host| host.to_str().ok())) {
            // A page in an operator's browser that points its own name here.
            return answer(
                StatusCode::FORBIDDEN,
                "text/plain; charset=utf-8",
                b"this is not the name of an admin address\n".to_vec(),
            );
        }
        if !matches!(request.method, Method::GET | Method::HEAD) {
            return answer(StatusCode::METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", b"GET only\n".to_vec());
        }
        match request.uri.path() {
            "/livez" => answer(StatusCode::OK, "text/plain; charset=utf-8", b"alive\n".to_vec()),
            "/metrics" => self.metrics(session),
            "/readyz" => self.ready(),
            _ => answer(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", b"/livez /readyz /metrics\n".to_vec()),
        }
    }
}

/// Whether a Host header names an address or a plain machine name: DNS
/// rebinding needs a name with a domain.
fn is_own_host(host: Option<&str>) -> bool {
    let Some(host) = host else { return false };
    if host.parse::<SocketAddr>().is_ok() || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok() {
        return true;
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let inside = [".localhost", ".svc", ".local", ".internal", ".cluster.local"];
    !name.contains('.') || inside.iter().any(|suffix| name.ends_with(suffix))
}

/// Compares in a time that does not tell where two texts differ.
fn is_same(given: &[u8], wanted: &[u8]) -> bool {
    given.len() == wanted.len() && given.iter().zip(wanted).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a1_only_addresses_and_local_names_reach_the_admin_address() {
        for host in [
            "127.0.0.1:9901",
            "[::1]:9901",
            "[::1]",
            "localhost:9901",
            "localhost",
            "gateway:9901",
            "tollgate.ns.svc",
            "10.1.2.3:1",
        ] {
            assert!(is_own_host(Some(host)), "{host}");
        }
        for host in [Some("evil.example.com"), Some("evil.com:9901"), None] {
            assert!(!is_own_host(host), "{host:?}");
        }
    }
}
