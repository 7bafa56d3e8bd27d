//! The thread that serves callers.
//!
//! In: what was made ready. Out: a Pingora server that runs. Not here: what it
//! does with requests (`proxy`).

use std::num::NonZero;
use std::sync::Arc;

use pingora::server::{RunArgs, Server};
use pingora::services::background::background_service;
use tokio::sync::watch;

use crate::admin::health::Readiness;
use crate::config::section::server::{self as section, Threads};
use crate::proxy::Proxy;
use crate::proxy::server::{Address, Stop, StopWatch, service, settings};
use crate::proxy::sockets::{Gate, OnSockets, Sockets};

use super::upkeep::Upkeep;

/// Says that the gateway is not ready any more while its listeners are still open.
pub(super) fn watch_of(stop: &watch::Sender<Option<Stop>>, readiness: &Arc<Readiness>) -> StopWatch {
    let (unready, asked) = (Arc::clone(readiness), stop.subscribe());
    let before = move || {
        // Where another process goes on, whoever still asks this one is not to send its callers elsewhere.
        if *asked.borrow() != Some(Stop::HandOver) {
            unready.set(false);
        }
    };
    StopWatch::new(stop.clone(), Box::new(before))
}

/// What the server's thread owns.
pub(super) struct Parts {
    pub(super) proxy: Proxy,
    pub(super) upkeep: Upkeep,
    pub(super) watch: StopWatch,
    pub(super) server: section::Server,
    pub(super) addresses: Vec<Address>,
    pub(super) sockets: Arc<Sockets>,
    pub(super) stop: watch::Receiver<Option<Stop>>,
    pub(super) gate: Gate,
    pub(super) opened: watch::Sender<bool>,
}

impl Parts {
    pub(super) fn run(mut self) {
        self.upkeep.look_up_first();
        let section = &self.server;
        let conf = settings(threads(section.threads), section.drain.duration());
        let mut server = Server::new_with_opt_and_conf(None, conf);
        server.bootstrap();
        let keepalive = section.keepalive.duration();
        match service(self.proxy, &server.configuration, keepalive, &self.addresses, self.stop.clone()) {
            Ok(service) => {
                let Parts { sockets, stop, gate, opened, .. } = self;
                server.add_service(OnSockets { service, sockets, stop, gate, opened });
            }
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
