//! The sockets that are listened on, and services that listen on them.
//!
//! In: addresses, or sockets that another process had before. Out: services that
//! Pingora runs. Not here: how a process hands its sockets over (`app`).
//!
//! Pingora would open sockets itself, and pass them on in a way of its own, which
//! ends the old process whether the new one serves or not. Here they are open
//! before it begins, and it gets copies.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, IntoRawFd, OwnedFd};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::server::{Fds, ListenFds, ShutdownWatch};
use pingora::services;
use pingora::services::listening::Service;
use tokio::net::TcpSocket;
use tokio::sync::watch;

use super::server::Stop;

/// Connections that may wait to be accepted; the system has a bound of its own.
const BACKLOG: i32 = 65_535;
/// Between two looks at a [`Gate`].
const LOOK: Duration = Duration::from_millis(5);

/// An address that is ours until this is dropped, though nobody may be listening there yet.
#[derive(Debug)]
pub struct Claim {
    address: SocketAddr,
    socket: TcpListener,
}

impl Claim {
    /// Makes sure that `address` can be listened on, and gives port 0 a number.
    ///
    /// # Errors
    /// What the system says.
    pub fn stake(address: SocketAddr) -> io::Result<Self> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // A restart must not wait for connections that have ended.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Claim::inherit(socket.as_fd().try_clone_to_owned()?)
    }

    /// Takes over a socket that is bound already.
    ///
    /// # Errors
    /// What the system says.
    pub fn inherit(socket: OwnedFd) -> io::Result<Self> {
        let socket = TcpListener::from(socket);
        Ok(Claim { address: socket.local_addr()?, socket })
    }

    /// From now on connections wait here to be accepted.
    ///
    /// # Errors
    /// Another program listens there since a moment.
    pub fn listen(&self) -> io::Result<()> {
        Ok(rustix::net::listen(&self.socket, BACKLOG)?)
    }

    /// The address, with its port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Sockets that are listened on, for as long as they are.
#[derive(Debug, Default)]
pub struct Sockets(ArcSwapOption<Vec<Claim>>);

impl Sockets {
    /// These.
    pub fn new(claims: Vec<Claim>) -> Arc<Self> {
        Arc::new(Sockets(ArcSwapOption::from_pointee(claims)))
    }

    /// Copies of them, in their order; none once they are closed.
    ///
    /// # Errors
    /// What the system says.
    pub fn copies(&self) -> io::Result<Vec<OwnedFd>> {
        let claims = self.0.load();
        claims.iter().flat_map(|claims| claims.iter()).map(|claim| claim.socket.as_fd().try_clone_to_owned()).collect()
    }

    /// Nobody connects any more, unless another process has copies.
    pub fn close(&self) {
        self.0.store(None);
    }

    /// As Pingora wants them.
    fn table(&self) -> io::Result<ListenFds> {
        let mut table = Fds::new();
        for claim in self.0.load().iter().flat_map(|claims| claims.iter()) {
            table.add(claim.address.to_string(), claim.socket.try_clone()?.into_raw_fd());
        }
        Ok(Arc::new(table.into()))
    }
}

/// Whether a service may begin to accept connections yet.
#[derive(Clone)]
pub struct Gate(Arc<dyn Fn() -> bool + Send + Sync>);

impl Gate {
    /// As soon as this says so.
    pub fn new(is_open: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Gate(Arc::new(is_open))
    }

    /// At once.
    pub fn open() -> Self {
        Gate::new(|| true)
    }

    async fn opened(&self) {
        while !(self.0)() {
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gate").finish_non_exhaustive()
    }
}

/// A service on sockets that are open already.
pub struct OnSockets<A> {
    /// What runs there.
    pub service: Service<A>,
    /// The sockets, of which it has every address.
    pub sockets: Arc<Sockets>,
    /// How the gateway is to end: where another process goes on, nobody is let in any more.
    pub stop: watch::Receiver<Option<Stop>>,
    /// When connections may be accepted; until then they wait.
    pub gate: Gate,
    /// Set once they are.
    pub opened: watch::Sender<bool>,
}

impl<A> fmt::Debug for OnSockets<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnSockets").field("sockets", &self.sockets).finish_non_exhaustive()
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> services::Service for OnSockets<A> {
    async fn start_service(&mut self, _: Option<ListenFds>, mut shutdown: ShutdownWatch, tasks: usize) {
        tokio::select! {
            () = self.gate.opened() => {}
            _ = shutdown.wait_for(|ends| *ends) => return,
        }
        let table = match self.sockets.table() {
            Ok(table) => table,
            Err(error) => return log::error!("listeners cannot be copied: {error}"),
        };
        let (end, ends) = watch::channel(false);
        let mut listening = pin!(self.service.start_service(Some(table), ends, tasks));
        // Nothing has to be waited for until all are open.
        let first = poll_fn(|context| Poll::Ready(listening.as_mut().poll(context))).await;
        self.opened.send_replace(first.is_pending());
        if first.is_ready() {
            return;
        }
        let (stop, sockets) = (&mut self.stop, &self.sockets);
        let close = async {
            tokio::select! {
                _ = shutdown.wait_for(|ends| *ends) => {}
                _ = stop.wait_for(|stop| *stop == Some(Stop::HandOver)) => {}
            }
            sockets.close();
            end.send_replace(true);
        };
        tokio::join!(listening, close);
    }

    fn name(&self) -> &str {
        services::Service::name(&self.service)
    }

    fn threads(&self) -> Option<usize> {
        services::Service::threads(&self.service)
    }
}
