//! The composition root: the only file that knows everybody.
//!
//! In: a checked configuration. Out: a running gateway. Not here: reading the
//! file and telling the operator (`cli`).

pub mod probe;

mod backend_report;
mod certificate_report;
mod health;
mod key_report;
mod reload;
mod supervisor;
mod tls;
mod upkeep;

pub use reload::Origin;
pub use supervisor::Supervisor;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::num::NonZero;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use arc_swap::ArcSwapOption;
use pingora::server::{RunArgs, Server};
use pingora::services::background::background_service;
use tokio::sync::{Notify, mpsc, watch};

use crate::admin::health::Readiness;
use crate::admin::reload::{Ask, Reloads};
use crate::admin::{self, Admin};
use crate::clock::Clock;
use crate::config::Config;
use crate::config::scalar::{self, Secret};
use crate::config::section::server::{self as section, Threads};
use crate::proxy::server::{Address, Claim, Signals, Stop, StopWatch, hear_signals, service, settings};
use crate::proxy::{self, Proxy, Running};
use crate::snapshot::Snapshot;
use crate::snapshot::live::Live;
use crate::state::State;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::traces::Traces;

use reload::Reloader;
use tls::Tls;
use upkeep::Upkeep;

/// How long listeners may take to open.
const START: Duration = Duration::from_secs(10);
/// How long the end waits for what is left to be written.
const LAST_WRITE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(5);

/// A running gateway. Dropping it ends it at once.
#[derive(Debug)]
pub struct App {
    addresses: Vec<SocketAddr>,
    admin_address: SocketAddr,
    stop: watch::Sender<Option<Stop>>,
    server: Option<JoinHandle<()>>,
    _operators: Operators,
    readiness: Arc<Readiness>,
    metrics: Metrics,
    live: Arc<Live<Running>>,
    records: Records,
    state: Arc<State>,
    drain: Duration,
    clock: Clock,
    told: Supervisor,
}

impl App {
    /// Starts a gateway and returns when it accepts connections.
    ///
    /// # Errors
    /// A port that is taken, a log file that cannot be opened, and the like.
    pub fn start(config: &Config, clock: Clock, signals: Signals) -> anyhow::Result<App> {
        App::start_from(None, config, clock, signals, Supervisor::none())
    }

    /// As [`App::start`]; what `origin` is loaded from is watched, and loaded again when it changes, and the supervisor
    /// is told what becomes of the gateway.
    ///
    /// # Errors
    /// As for [`App::start`].
    pub fn start_from(
        mut origin: Option<Origin>,
        config: &Config,
        clock: Clock,
        signals: Signals,
        told: Supervisor,
    ) -> anyhow::Result<App> {
        let claims = Claims::stake(config)?;
        let (addresses, admin_address) = claims.addresses();
        let metrics = Metrics::new().context("metrics")?;
        let records = Records::start(config, &metrics, &clock)?;
        let state = Arc::new(State::open(clock.clone(), &config.state));
        let snapshot = first(config, &state)?;
        let live = Arc::new(Live::new(Running::new(snapshot, &metrics)));
        let (readiness, (stop, _)) = (Arc::new(Readiness::default()), watch::channel(None));
        let (hangup, replaced) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        if signals == Signals::Heed {
            // SIGHUP means a reload only where there is something to load: elsewhere it is a terminal that closes.
            let hangup = origin.as_ref().map(|_| Arc::clone(&hangup));
            hear_signals(stop.clone(), hangup, &records.access_log).context("signals cannot be heard")?;
        }
        let token = Arc::new(ArcSwapOption::new(admin_token(origin.as_ref(), config).map(Arc::new)));
        origin.iter_mut().for_each(|origin| origin.watch_token(config));
        let (reloads, asks) = Reloads::channel();
        let tls = Tls::start(config, &live, &state);
        let admin = Admin::new(admin::Parts {
            demand: tls.demand(),
            readiness: Arc::clone(&readiness),
            metrics: metrics.clone(),
            current: current(&live),
            state: Arc::clone(&state),
            reloads: reloads.clone(),
            token: Arc::clone(&token),
        });
        let operators = Operators::start(admin, admin_address)?;
        let shared = Shared { live: &live, state: &state, metrics: &metrics, records: &records, tls: &tls };
        let parts = Parts {
            proxy: shared.proxy(),
            upkeep: shared.upkeep(&replaced),
            watch: watch_of(&stop, &readiness),
            server: config.server.clone(),
            addresses: tls.listening(config, &addresses),
        };
        let server = std::thread::Builder::new().name("server".to_owned()).spawn(move || parts.run())?;
        let mut app = App {
            addresses,
            admin_address,
            stop: stop.clone(),
            server: Some(server),
            _operators: operators,
            readiness,
            metrics: metrics.clone(),
            live: Arc::clone(&live),
            records,
            state: Arc::clone(&state),
            drain: config.server.drain.duration(),
            clock: clock.clone(),
            told: told.clone(),
        };
        app.wait_until_open()?;
        drop(claims);
        let (retired, next_look) = (Vec::new(), clock.now());
        let reloader =
            Reloader { origin, live, state, tls, metrics, token, reloads, retired, replaced, next_look, clock, told };
        start_reloader(reloader, asks, hangup, stop)?;
        app.readiness.set(true);
        app.told.ready("Serving");
        Ok(app)
    }

    /// Where callers connect, port 0 replaced by the real one.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where the operator connects.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What outlives a configuration.
    pub fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// What is running now.
    pub fn running(&self) -> Arc<Running> {
        self.live.load()
    }

    /// Asks the gateway to end.
    pub fn stop(&self, how: Stop) {
        self.stop.send_replace(Some(how));
    }

    /// Waits until someone asks the gateway to end, then until nothing is
    /// under way, at most for `server.drain`.
    pub fn wait(self) -> Stop {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let how = runtime.map_or(Stop::Now, |runtime| runtime.block_on(self.end()));
        // What is queued is written before the process ends; the server, which may sleep on, holds log and counters open.
        self.records.access_log.flush();
        self.records.traces.flush();
        how
    }

    async fn end(&self) -> Stop {
        let mut asked = self.stop.subscribe();
        // The sender is ours, so the wait cannot fail.
        let how = asked.wait_for(Option::is_some).await.ok().and_then(|stop| *stop).unwrap_or(Stop::Now);
        self.told.stopping();
        if how == Stop::Drain {
            self.readiness.set(false);
            self.drained().await;
        }
        // What the last requests spent is kept before the process ends; a disk that hangs does not hold it.
        let counters = tokio::time::timeout(LAST_WRITE, self.state.counters().flush());
        let usage = tokio::time::timeout(LAST_WRITE, self.state.usage().flush());
        let (counters, usage) = tokio::join!(counters, usage);
        for (written, what) in [(counters, "what the last requests spent of their quotas"), (usage, "the last usage")] {
            if written.is_err() {
                log::warn!("{what} is not written after {LAST_WRITE:?}");
            }
        }
        how
    }

    /// Pingora would sleep the whole grace period; this ends with the last request.
    async fn drained(&self) {
        let end = self.clock.now() + self.drain;
        // Requests whose head has just arrived become visible within a moment.
        let mut quiet = 0;
        while quiet < 4 && self.clock.now() < end {
            quiet = if self.metrics.in_flight() == 0 { quiet + 1 } else { 0 };
            tokio::time::sleep(POLL).await;
        }
        let left = self.metrics.in_flight();
        if left > 0 {
            log::warn!("{left} requests were still under way after {:?} and are cut", self.drain);
        }
    }

    fn wait_until_open(&mut self) -> anyhow::Result<()> {
        let end = self.clock.now() + START;
        for address in self.addresses.iter().chain([&self.admin_address]) {
            while TcpStream::connect(reachable(*address)).is_err() {
                // Asked to end already: it need not open any more.
                if self.stop.borrow().is_some() {
                    return Ok(());
                }
                if self.server.as_ref().is_some_and(JoinHandle::is_finished) || self.clock.now() > end {
                    bail!("the gateway does not listen on {address}: see the messages above");
                }
                std::thread::sleep(POLL);
            }
        }
        Ok(())
    }
}

impl Drop for App {
    fn drop(&mut self) {
        // A server that drains sleeps its whole grace period; the end of the process is the end of it.
        if *self.stop.borrow() == Some(Stop::Drain) {
            return;
        }
        self.stop.send_replace(Some(Stop::Now));
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

/// Does work that takes much memory for a moment on a thread of its own: what a thread that goes on has freed
/// stays with it, and what it left behind for others is given back only when it allocates again.
///
/// # Errors
/// The work panicked, and nothing else did.
pub(crate) fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
    std::thread::scope(|scope| scope.spawn(work).join())
        .map_err(|_| anyhow!("a fault in the gateway itself, see above"))
}

/// The addresses of a gateway, held until Pingora listens, so that nobody comes between.
struct Claims {
    listeners: Vec<Claim>,
    admin: Claim,
}

impl Claims {
    fn stake(config: &Config) -> anyhow::Result<Self> {
        let stake = |address, key| Claim::stake(address).with_context(|| busy(address, key));
        let listeners = config.listeners.iter().map(|listener| stake(listener.address, "listeners"));
        Ok(Claims {
            listeners: listeners.collect::<anyhow::Result<_>>()?,
            admin: stake(config.admin.address, "admin.address")?,
        })
    }

    fn addresses(&self) -> (Vec<SocketAddr>, SocketAddr) {
        (self.listeners.iter().map(Claim::address).collect(), self.admin.address())
    }
}

/// Where requests are written down.
#[derive(Debug)]
struct Records {
    access_log: Arc<AccessLog>,
    traces: Traces,
}

impl Records {
    fn start(config: &Config, metrics: &Metrics, clock: &Clock) -> anyhow::Result<Self> {
        let access_log = AccessLog::start(&config.log, metrics)
            .with_context(|| format!("the access log `{}` cannot be opened", config.log.access))?;
        let traces = Traces::start(&config.log, metrics, clock.clone()).context("traces cannot be sent")?;
        Ok(Records { access_log: Arc::new(access_log), traces })
    }
}

/// The snapshot that a gateway begins with, and what it wants of state.
fn first(config: &Config, state: &State) -> anyhow::Result<Snapshot> {
    keep_quotas(config, state).map_err(anyhow::Error::msg)?;
    let snapshot = apart(|| Snapshot::compile(config, state))?;
    snapshot.take_effect(state);
    state.usage().follow(config);
    Ok(snapshot)
}

/// Has quotas kept where there are any; shared counters keep them elsewhere.
///
/// # Errors
/// In a sentence, why that cannot be.
fn keep_quotas(config: &Config, state: &State) -> Result<(), String> {
    let has_quota = config.limits.values().any(|limit| limit.quota.is_some());
    if has_quota && config.state.counters == scalar::Counters::Memory {
        state.counters().keep_in(&config.state.folder())?;
    }
    Ok(())
}

/// What runs whenever it is asked.
fn current(live: &Arc<Live<Running>>) -> admin::Current {
    let live = Arc::clone(live);
    Box::new(move || Arc::clone(&live.load().snapshot))
}

/// The token that the admin address wants, if there is one.
fn admin_token(origin: Option<&Origin>, config: &Config) -> Option<Secret> {
    if origin.is_none() {
        // Nobody could reload, so none is made.
        return config.admin.token.clone();
    }
    match reload::token(config) {
        Ok(token) => Some(token),
        Err(why) => {
            log::warn!("{why}. Until then `tollgate reload` is refused; SIGHUP and changed files still reload");
            None
        }
    }
}

/// Starts the thread that reloads. Nobody waits for its end: it may be reading from a disk that hangs.
fn start_reloader(
    reloader: Reloader,
    asks: mpsc::Receiver<Ask>,
    hangup: Arc<Notify>,
    stop: watch::Sender<Option<Stop>>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let run = move || {
        runtime.block_on(reloader.run(asks, hangup, stop));
        // A name that is being looked up must not hold the end.
        runtime.shutdown_background();
    };
    std::thread::Builder::new().name("reload".to_owned()).spawn(run)?;
    Ok(())
}

/// The admin address, on a server of its own: it answers, with readiness off,
/// while the listeners of callers are closed and requests drain.
#[derive(Debug)]
struct Operators {
    stop: watch::Sender<Option<Stop>>,
    server: Option<JoinHandle<()>>,
}

impl Operators {
    fn start(admin: Admin, address: SocketAddr) -> anyhow::Result<Self> {
        let (stop, _) = watch::channel(None);
        let asked = StopWatch::new(stop.clone(), Box::new(|| {}));
        let run = move || {
            let mut server = Server::new_with_opt_and_conf(None, settings(1, Duration::ZERO));
            server.bootstrap();
            server.add_service(admin.service(address));
            server.run(RunArgs { shutdown_signal: Box::new(asked) });
        };
        let server = std::thread::Builder::new().name("admin".to_owned()).spawn(run)?;
        Ok(Operators { stop, server: Some(server) })
    }
}

impl Drop for Operators {
    fn drop(&mut self) {
        self.stop.send_replace(Some(Stop::Now));
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

/// Says that the gateway is not ready any more while its listeners are still open.
fn watch_of(stop: &watch::Sender<Option<Stop>>, readiness: &Arc<Readiness>) -> StopWatch {
    let unready = Arc::clone(readiness);
    StopWatch::new(stop.clone(), Box::new(move || unready.set(false)))
}

/// What requests, and the work beside them, have in common.
struct Shared<'a> {
    live: &'a Arc<Live<Running>>,
    state: &'a Arc<State>,
    metrics: &'a Metrics,
    records: &'a Records,
    tls: &'a Tls,
}

impl Shared<'_> {
    fn proxy(&self) -> Proxy {
        Proxy::new(proxy::Parts {
            live: Arc::clone(self.live),
            state: Arc::clone(self.state),
            metrics: self.metrics.clone(),
            access_log: Arc::clone(&self.records.access_log),
            traces: self.records.traces.clone(),
            challenges: self.tls.challenges(),
            demand: self.tls.demand(),
        })
    }

    fn upkeep(&self, replaced: &Arc<Notify>) -> Upkeep {
        Upkeep::new(upkeep::Parts {
            live: Arc::clone(self.live),
            state: Arc::clone(self.state),
            metrics: self.metrics.clone(),
            replaced: Arc::clone(replaced),
            engine: self.tls.engine(),
        })
    }
}

/// What the server's thread owns.
struct Parts {
    proxy: Proxy,
    upkeep: Upkeep,
    watch: StopWatch,
    server: section::Server,
    addresses: Vec<Address>,
}

impl Parts {
    fn run(mut self) {
        self.upkeep.look_up_first();
        let section = &self.server;
        let conf = settings(threads(section.threads), section.drain.duration());
        let mut server = Server::new_with_opt_and_conf(None, conf);
        server.bootstrap();
        let keepalive = section.keepalive.duration();
        match service(self.proxy, &server.configuration, keepalive, &self.addresses) {
            Ok(service) => _ = server.add_service(service),
            Err(error) => return log::error!("listeners cannot be made: {error}"),
        }
        let mut upkeep = background_service("upkeep", self.upkeep);
        upkeep.threads = Some(1);
        server.add_service(upkeep);
        server.run(RunArgs { shutdown_signal: Box::new(self.watch) });
    }
}

fn threads(threads: Threads) -> usize {
    match threads {
        Threads::Auto => std::thread::available_parallelism().map_or(1, NonZero::get),
        Threads::Count(count) => count.get(),
    }
}

/// Where a listener can be reached from this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn busy(address: SocketAddr, key: &str) -> String {
    format!("cannot listen on {address}; stop the program that uses it, or change `{key}`")
}
