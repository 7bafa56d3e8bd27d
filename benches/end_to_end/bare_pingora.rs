//! The floor: what Pingora alone costs for the job that `run.sh` gives to all.
//!
//! In: the address to listen on, the upstream's, and the token. Out: a proxy
//! with one route that is not looked up, a target that is not built, and none
//! of what makes a gateway. Same package, profile and allocator as `tollgate`,
//! so that the difference between the two is Tollgate's own work.
//! `PINGORA_WORK_STEALING=0` gives each thread a scheduler of its own;
//! `PINGORA_TIMEOUTS=1` sets the time-outs that any proxy in production has and
//! that Pingora leaves out.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderValue, Uri, header};
use pingora::Result;
use pingora::http::RequestHeader;
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server};
use pingora::upstreams::peer::HttpPeer;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Bare {
    upstream: SocketAddr,
    host: HeaderValue,
    authorization: HeaderValue,
    timeouts: bool,
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _session: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        let mut peer = Box::new(HttpPeer::new(self.upstream, false, String::new()));
        if self.timeouts {
            peer.options.connection_timeout = Some(Duration::from_secs(2));
            peer.options.total_connection_timeout = Some(Duration::from_secs(2));
            peer.options.read_timeout = Some(Duration::from_secs(60));
            peer.options.write_timeout = Some(Duration::from_secs(60));
            peer.options.idle_timeout = Some(Duration::from_secs(30));
        }
        Ok(peer)
    }

    async fn early_request_filter(&self, session: &mut Session, (): &mut ()) -> Result<()> {
        if self.timeouts {
            session.set_keepalive(Some(60));
            session.set_read_timeout(Some(Duration::from_secs(30)));
            session.set_write_timeout(Some(Duration::from_secs(60)));
        }
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        request: &mut RequestHeader,
        (): &mut (),
    ) -> Result<()> {
        request.set_uri(Uri::from_static("/v0/pipes/top-10-products.json?limit=5"));
        request.insert_header(header::HOST, self.host.clone())?;
        request.insert_header(header::AUTHORIZATION, self.authorization.clone())?;
        Ok(())
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(listen), Some(upstream), Some(token)) = (arguments.next(), arguments.next(), arguments.next()) else {
        return ExitCode::from(2);
    };
    let (Ok(upstream), Ok(host), Ok(authorization)) = (
        upstream.parse::<SocketAddr>(),
        HeaderValue::from_str(&upstream),
        HeaderValue::from_str(&format!("Bearer {token}")),
    ) else {
        return ExitCode::from(2);
    };
    let conf = ServerConf {
        threads: 1,
        work_stealing: std::env::var_os("PINGORA_WORK_STEALING").is_none_or(|value| value != "0"),
        upstream_keepalive_pool_size: 512,
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    };
    let timeouts = std::env::var_os("PINGORA_TIMEOUTS").is_some();
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Bare { upstream, host, authorization, timeouts });
    service.add_tcp(&listen);
    server.add_service(service);
    server.run(RunArgs::default());
    ExitCode::SUCCESS
}
