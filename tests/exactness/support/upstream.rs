//! An upstream that answers at once, and counts.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper::{Response, server};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// A running upstream; it lives on the test's runtime.
#[derive(Debug)]
pub struct Upstream {
    addr: SocketAddr,
    requests: Arc<AtomicU32>,
}

impl Upstream {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let upstream = Self { addr: listener.local_addr().expect("a port"), requests: Arc::default() };
        let requests = Arc::clone(&upstream.requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let requests = Arc::clone(&requests);
                let answer = service_fn(move |_| {
                    requests.fetch_add(1, Ordering::Relaxed);
                    async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"{\"data\":[]}")))) }
                });
                tokio::spawn(server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        upstream
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// How many came.
    pub fn requests(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }
}
