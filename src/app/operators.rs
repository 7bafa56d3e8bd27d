//! The admin address, on a server of its own: it answers, with readiness off,
//! while the listeners of callers are closed and requests drain.
//!
//! In: what answers, and its socket. Out: a thread. Not here: answers (`admin`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use pingora::server::{RunArgs, Server};
use tokio::sync::watch;

use crate::admin::Admin;
use crate::proxy::server::{Stop, StopWatch, settings};
use crate::proxy::sockets::{Gate, OnSockets, Sockets};

/// The server. Dropping it ends it at once.
#[derive(Debug)]
pub(super) struct Operators {
    stop: watch::Sender<Option<Stop>>,
    server: Option<JoinHandle<()>>,
    sockets: Arc<Sockets>,
    /// Set once connections are accepted.
    pub(super) opened: watch::Receiver<bool>,
}

impl Operators {
    pub(super) fn start(
        admin: Admin,
        address: SocketAddr,
        sockets: Arc<Sockets>,
        gateway: watch::Receiver<Option<Stop>>,
        gate: Gate,
    ) -> anyhow::Result<Self> {
        let (stop, _) = watch::channel(None);
        let asked = StopWatch::new(stop.clone(), Box::new(|| {}));
        let (open, opened) = watch::channel(false);
        let service = admin.service(address);
        // What the gateway's own end means for it: another process answers here, while this one still drains.
        let service = OnSockets { service, sockets: Arc::clone(&sockets), stop: gateway, gate, opened: open };
        let run = move || {
            let mut server = Server::new_with_opt_and_conf(None, settings(1, Duration::ZERO));
            server.bootstrap();
            server.add_service(service);
            server.run(RunArgs { shutdown_signal: Box::new(asked) });
        };
        let server = std::thread::Builder::new().name("admin".to_owned()).spawn(run)?;
        Ok(Operators { stop, server: Some(server), sockets, opened })
    }
}

impl Drop for Operators {
    fn drop(&mut self) {
        self.stop.send_replace(Some(Stop::Now));
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
        self.sockets.close();
    }
}
