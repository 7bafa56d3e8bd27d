//! Listeners, threads, the end of the process.
//!
//! In: the `listeners` and `server` sections. Out: a Pingora server that is set
//! up in code. Not here: Pingora's own configuration file, whose parser ignores
//! unknown keys and prints the whole file when it fails.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::HttpServerOptions;
use pingora::listeners::{ListenerConfig, Listeners};
use pingora::protocols::l4::stream::L4BufferSettings;
use pingora::server::configuration::ServerConf;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use pingora::services::listening::Service;
use pingora_proxy::http_proxy;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, watch};

use crate::telemetry::access_log::AccessLog;
use crate::tls::resolver::Handshake;

use super::door::Door;
use super::{Proxy, tls};

/// Connections to upstreams that are kept, per worker thread and upstream in all.
const POOL: usize = 512;
/// Requests on one connection before it is closed, so that its memory is returned.
const REQUESTS_PER_CONNECTION: u32 = 10_000;
/// What a connection of a caller reads ahead; Pingora's 64 KiB are most of what an idle one holds. Most heads
/// fit; bodies are read into 64 KiB of their own, while there is one.
const READ_BUFFER: L4BufferSettings = L4BufferSettings { read: Some(4 << 10), write: None };
/// As [`READ_BUFFER`]: a record of TLS has 16 KiB.
const READ_BUFFER_OF_TLS: L4BufferSettings = L4BufferSettings { read: Some(16 << 10), write: None };
/// What Pingora's runtimes get to end after the drain.
const RUNTIME_STOP_SECONDS: u64 = 1;

/// Once another process accepts connections, those who are connected here have so long to send their next request.
pub const COURTESY: Duration = Duration::from_millis(750);

/// How a gateway is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Requests under way may finish.
    Drain,
    /// As [`Stop::Drain`], but that another process goes on: who is connected already is given a moment.
    HandOver,
    /// At once.
    Now,
}

/// Whether the signals of the process mean this gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signals {
    /// SIGTERM drains, SIGINT ends at once.
    Heed,
    /// The process has others to listen to, as in tests.
    Ignore,
}

/// Pingora's settings for so many worker threads and so long a drain.
pub fn settings(threads: usize, drain: Duration) -> ServerConf {
    ServerConf {
        threads,
        work_stealing: true,
        upstream_keepalive_pool_size: POOL,
        max_retries: 16,
        // Rounded up: the process ends earlier by itself, never later.
        grace_period_seconds: Some(drain.as_secs_f64().ceil() as u64),
        graceful_shutdown_timeout_seconds: Some(RUNTIME_STOP_SECONDS),
        ..ServerConf::default()
    }
}

/// The service that callers connect to.
///
/// # Errors
/// What Pingora says of settings for TLS.
pub fn service(
    proxy: Proxy,
    settings: &Arc<ServerConf>,
    keepalive: Duration,
    addresses: &[Address],
    stop: watch::Receiver<Option<Stop>>,
) -> pingora::Result<Service<Door>> {
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    options.keepalive_request_limit = Some(REQUESTS_PER_CONNECTION);
    options.h2_idle_timeout = Some(keepalive);
    let waiting = tls::Waiting {
        live: Arc::clone(&proxy.live),
        demand: Arc::clone(&proxy.demand),
        state: Arc::clone(&proxy.state),
    };
    let mut listeners = Listeners::new();
    listeners.set_pre_tls_callback(Arc::new(waiting));
    for Address { at, tls } in addresses {
        let listener = ListenerConfig::tcp(at.to_string());
        listeners.add_listener(match tls {
            Some(handshake) => listener.tls(tls::settings(handshake)?).l4_buffer(READ_BUFFER_OF_TLS),
            None => listener.l4_buffer(READ_BUFFER),
        });
    }
    let load = Arc::clone(proxy.state.load());
    let mut proxy = http_proxy(settings, proxy);
    proxy.server_options = Some(options);
    let door = Door::new(proxy, keepalive, load, stop);
    Ok(Service::with_listeners("gateway".to_owned(), listeners, door))
}

/// Where callers connect.
#[derive(Clone, Debug)]
pub struct Address {
    /// Address and port.
    pub at: SocketAddr,
    /// What a handshake needs, if they speak TLS there.
    pub tls: Option<Handshake>,
}

/// Tells Pingora when to end.
pub struct StopWatch {
    stop: watch::Sender<Option<Stop>>,
    before: Box<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for StopWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StopWatch").field("stop", &self.stop).finish_non_exhaustive()
    }
}

impl StopWatch {
    /// Ends when `stop` says so. `before` is called while the listeners are still open.
    pub fn new(stop: watch::Sender<Option<Stop>>, before: Box<dyn Fn() + Send + Sync>) -> Self {
        StopWatch { stop, before }
    }

    async fn asked(&self) -> Stop {
        let mut asked = self.stop.subscribe();
        // The sender is ours, so the wait cannot fail.
        asked.wait_for(Option::is_some).await.ok().and_then(|stop| *stop).unwrap_or(Stop::Now)
    }
}

/// Who is woken by signals that ask for something else than the end.
#[derive(Clone, Debug)]
pub struct Wakes {
    /// By SIGHUP.
    pub reload: Arc<Notify>,
    /// By SIGUSR2.
    pub upgrade: Arc<Notify>,
}

/// From when this returns, SIGTERM asks through `stop` to drain and SIGINT to end at once, SIGHUP and SIGUSR2 wake those
/// who wait for them, if there are any, and SIGUSR1 has the file of the access log opened again. Called before anybody can
/// connect: Pingora looks at signals only after its services have started, and until then they would end the process.
///
/// # Errors
/// What the system says.
pub fn hear_signals(
    stop: watch::Sender<Option<Stop>>,
    wakes: Option<Wakes>,
    access_log: &Arc<AccessLog>,
) -> io::Result<()> {
    let access_log = Arc::clone(access_log);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut terminate, mut interrupt, mut rotated, mut hung_up, mut replaced) = {
        let _context = runtime.enter();
        let asked = |kind| wakes.as_ref().map(|_| signal(kind)).transpose();
        (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::user_defined1())?,
            asked(SignalKind::hangup())?,
            asked(SignalKind::user_defined2())?,
        )
    };
    let hear = async move {
        let mut stopping = stop.subscribe();
        loop {
            let asked = tokio::select! {
                _ = terminate.recv() => Stop::Drain,
                _ = interrupt.recv() => Stop::Now,
                () = heard(&mut hung_up) => {
                    wakes.iter().for_each(|wakes| wakes.reload.notify_one());
                    continue;
                }
                () = heard(&mut replaced) => {
                    wakes.iter().for_each(|wakes| wakes.upgrade.notify_one());
                    continue;
                }
                _ = rotated.recv() => {
                    access_log.reopen();
                    continue;
                }
                _ = stopping.wait_for(Option::is_some) => return,
            };
            stop.send_replace(Some(asked));
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(hear))?;
    Ok(())
}

/// From when this returns, SIGHUP, SIGUSR1 and SIGUSR2 do not end the process: while it loads its file, it need not be told
/// to, its log is not open yet, and there is nothing to hand over.
///
/// # Errors
/// What the system says.
pub fn survive_early_signals() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _context = runtime.enter();
    // Once it has been listened to, it never has its own effect again.
    signal(SignalKind::hangup()).map(drop)?;
    signal(SignalKind::user_defined1()).map(drop)?;
    signal(SignalKind::user_defined2()).map(drop)
}

async fn heard(signal: &mut Option<Signal>) {
    let heard = match signal {
        Some(signal) => signal.recv().await,
        None => None,
    };
    if heard.is_none() {
        std::future::pending().await
    }
}

#[async_trait]
impl ShutdownSignalWatch for StopWatch {
    async fn recv(&self) -> ShutdownSignal {
        let stop = self.asked().await;
        (self.before)();
        match stop {
            Stop::Drain | Stop::HandOver => ShutdownSignal::GracefulTerminate,
            Stop::Now => ShutdownSignal::FastShutdown,
        }
    }
}
