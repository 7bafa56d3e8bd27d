//! Certificates on demand: a caller opens a connection to a name, and only then
//! one is got for it.
//!
//! In: a name, and where the caller is. Out: the certificate is in the store, or
//! there will be none soon. A name gets one if somebody approves of it and it
//! leads here; looking costs a budget, and what is beyond it is refused without
//! a look. Not here: which names hosts have (`snapshot`), issuing (`acme`).

mod look;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::config::section::tls::OnDemand;
use crate::outbound::{Proxies, ProxyVariables, Target};
use crate::state::looks::{Looks, Rates, Turn, Verdict};

use super::acme::{self, Challenges, Engine, NameReport};
use super::certificates::Approval;
use super::store::Store;

use look::Look;

/// Connections that wait for a certificate. Those beyond are refused, and may come again.
const WAITING: usize = 256;
/// So long a connection waits for an order. Callers give up at about that time, too.
const PATIENCE: Duration = Duration::from_secs(20);

/// Sees to certificates on demand.
#[derive(Debug)]
pub struct Demand {
    clock: Clock,
    engine: Engine,
    store: Arc<Store>,
    look: Look,
    rules: ArcSwap<Rules>,
    looks: Looks,
    waiting: Semaphore,
}

/// What `tls.on_demand` says.
#[derive(Debug)]
struct Rules {
    ask: Option<Target>,
    via: Proxies,
    rates: Rates,
}

impl Rules {
    fn of(section: &OnDemand) -> Self {
        let OnDemand { ask, rate, rate_per_address, via } = section;
        let http = via.as_ref().map(|via| via.as_str().to_owned()).unwrap_or_default();
        Rules {
            // A URL that can be called, or the file could not be used.
            ask: ask.as_ref().and_then(|ask| ask.as_str().parse().ok()),
            via: Proxies::of(ProxyVariables { http, ..ProxyVariables::default() }),
            rates: Rates { all: *rate, per_address: *rate_per_address },
        }
    }
}

impl Demand {
    /// Gets certificates by `engine`; whether a name leads here is seen by `challenges`, which port 80 answers from.
    pub fn new(clock: Clock, engine: Engine, store: Arc<Store>, challenges: Arc<Challenges>) -> Self {
        let look = Look::new(clock.clone(), challenges);
        let (looks, waiting) = (Looks::new(clock.clone()), Semaphore::new(WAITING));
        let rules = ArcSwap::from_pointee(Rules::of(&OnDemand::default()));
        Demand { clock, engine, store, look, rules, looks, waiting }
    }

    /// From now on what this section says holds. Answers that were given are asked for again.
    pub fn take_over(&self, section: &OnDemand) {
        self.rules.store(Arc::new(Rules::of(section)));
        self.looks.forget();
    }

    /// Returns when this name has a certificate, or will have none soon. `from` is where the caller is, if that is known.
    pub async fn see_to(&self, name: &str, approval: Approval, from: Option<IpAddr>) {
        if self.store.get(name).is_some() || !acme::is_name(name) {
            return;
        }
        let Ok(_place) = self.waiting.try_acquire() else { return };
        // What has been approved of costs nothing again, however many come before the certificate does.
        if !self.engine.wants(name) && self.verdict(name, approval, from).await == Verdict::MayNot {
            return;
        }
        self.engine.ask(name);
        tokio::select! {
            _ = self.engine.settled(name) => {}
            () = self.clock.sleep(PATIENCE) => {}
        }
    }

    /// Whether this name leads here, whoever may have a certificate for it.
    ///
    /// # Errors
    /// What is there instead.
    pub async fn leads_here(&self, name: &str) -> Result<(), String> {
        self.look.leads_here(name, &self.rules.load_full()).await
    }

    /// Gets a certificate for a name that may have one; it is there, or not, some time after.
    pub fn obtain(&self, name: &str) {
        self.engine.ask(name);
    }

    /// Serves this name's certificate no more, and renews it no more.
    pub fn release(&self, name: &str) {
        self.engine.forget(name);
    }

    /// How every name is that an authority was asked about.
    pub fn report(&self) -> Vec<NameReport> {
        self.engine.report()
    }

    async fn verdict(&self, name: &str, approval: Approval, from: Option<IpAddr>) -> Verdict {
        let rules = self.rules.load_full();
        match self.looks.turn(name, from, rules.rates) {
            Turn::Known(verdict) => verdict,
            // Whoever looked may have been cut off: then nobody knows.
            Turn::Wait(mut told) => {
                told.wait_for(Option::is_some).await.ok().and_then(|told| *told).unwrap_or_default()
            }
            Turn::Over => Verdict::MayNot,
            Turn::Look(looking) => {
                let verdict = match self.look.at(name, approval, &rules).await {
                    Ok(()) => Verdict::May,
                    Err(why) => {
                        log::info!("no certificate on demand for {name}: {why}");
                        Verdict::MayNot
                    }
                };
                looking.tell(verdict);
                verdict
            }
        }
    }
}
