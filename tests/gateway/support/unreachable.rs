//! Upstream addresses at which nobody answers: one refuses, one is silent.
//!
//! Not here: an origin that accepts and then misbehaves (`origin`).

use std::net::SocketAddr;
use std::net::TcpStream;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::net::TcpSocket;
use tokio::runtime::Builder;
use tokio::runtime::Runtime;

/// A port that is taken but not listened on: each connection is refused, and nobody else can take it meanwhile.
#[derive(Debug)]
pub struct RefusedPort {
    socket: TcpSocket,
}

impl RefusedPort {
    /// Takes a free port of 127.0.0.1.
    pub fn reserve() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        Self { socket }
    }

    /// The address that refuses.
    pub fn addr(&self) -> SocketAddr {
        self.socket.local_addr().expect("the socket is bound")
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }
}

/// A port whose accept queue is full: the kernel drops further SYNs, so connecting neither succeeds nor fails.
#[derive(Debug)]
pub struct SilentPort {
    addr: SocketAddr,
    _fillers: Vec<TcpStream>,
    _listener: TcpListener,
    runtime: Option<Runtime>,
}

impl SilentPort {
    /// Listens on a free port of 127.0.0.1 and fills its queue.
    pub fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_io().build().expect("a runtime");
        let guard = runtime.enter();
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let listener = socket.listen(1).expect("listening");
        drop(guard);
        let addr = listener.local_addr().expect("the listener is bound");
        let mut fillers = Vec::new();
        while let Ok(filler) = TcpStream::connect_timeout(&addr, Duration::from_millis(100)) {
            fillers.push(filler);
            assert!(fillers.len() < 64, "the accept queue does not fill");
        }
        Self { addr, _fillers: fillers, _listener: listener, runtime: Some(runtime) }
    }

    /// The address that stays silent.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }
}

impl Drop for SilentPort {
    /// A plain drop of a runtime panics inside an async test.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
