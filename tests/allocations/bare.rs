//! What Pingora alone asks for: a proxy with nothing of ours, which does the job of the open route.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderValue, Uri, header};
use pingora::Result;
use pingora::apps::ServerApp;
use pingora::http::RequestHeader;
use pingora::protocols::Stream;
use pingora::protocols::l4::stream::Stream as Connection;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use pingora_proxy::{ProxyHttp, Session, http_proxy};
use tokio::sync::watch;

struct Bare(SocketAddr);

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _session: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.0, false, String::new())))
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        request: &mut RequestHeader,
        (): &mut (),
    ) -> Result<()> {
        request.set_uri(Uri::from_static("/v0/pipes/top.json?limit=5"));
        request.insert_header(header::HOST, HeaderValue::from_static("t.test"))?;
        request.insert_header(header::AUTHORIZATION, HeaderValue::from_static("Bearer p.a-token-of-usual-length"))?;
        Ok(())
    }
}

/// A proxy on a thread of its own, which ends with the process.
pub(super) fn proxy(origin: SocketAddr) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a listener");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(serve(listener, Bare(origin)));
    });
    address
}

async fn serve(listener: std::net::TcpListener, bare: Bare) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    let proxy = Arc::new(http_proxy(&Arc::new(ServerConf::default()), bare));
    let (_stop, shutdown) = watch::channel(false);
    while let Ok((connection, _)) = listener.accept().await {
        // Else every answer waits for an acknowledgement.
        connection.set_nodelay(true).expect("a connection");
        let mut next: Option<Stream> = Some(Box::new(Connection::from(connection)));
        while let Some(stream) = next {
            next = proxy.process_new(stream, &shutdown).await;
        }
    }
}
