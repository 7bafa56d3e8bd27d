//! The certificates of a running gateway: what finds them, what signs those of development, and whether they are valid now.
//!
//! In: configurations, as they come to run. Out: listeners that can open, warnings, a reason not to take a configuration
//! over. Not here: whether files hold a certificate at all (`config`), which one answers a handshake (`tls`).

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use crate::config::Config;
use crate::config::scalar::{HostPattern, KeyPair, Validity};
use crate::config::section::auth::ProviderKind;
use crate::config::section::hosts::Host;
use crate::config::section::listeners::Listener;
use crate::config::section::tls::{Acme, DefaultCertificate, HostTls};
use crate::outbound::Client;
use crate::proxy::Running;
use crate::proxy::server::Address;
use crate::snapshot::live::Live;
use crate::state::State;
use crate::tls::acme::{self, Challenges, Engine, Hook, Issuer};
use crate::tls::asking::{Asker, Asking};
use crate::tls::certificates::Certificates;
use crate::tls::domains::Demand;
use crate::tls::internal::Authority;
use crate::tls::resolver::{Finder, Handshake, Hosts, Resolver};
use crate::tls::store::Store;
use crate::x509::Term;

/// What TLS needs for as long as the gateway runs.
pub(super) struct Tls {
    resolver: Finder,
    asker: Asker,
    authority: Arc<Authority>,
    engine: Engine,
    challenges: Arc<Challenges>,
    demand: Arc<Demand>,
    state: Arc<State>,
}

impl Tls {
    /// Certificates of whatever `live` holds.
    pub(super) fn start(config: &Config, live: &Arc<Live<Running>>, state: &Arc<State>) -> Self {
        let clock = state.clock().clone();
        let (now, folder) = (clock.wall(), config.state.folder());
        let authority = Arc::new(Authority::new(clock.clone(), &folder));
        let (store, challenges) = (Arc::new(Store::default()), Arc::new(Challenges::default()));
        let resolver =
            Resolver::new(LiveHosts(Arc::clone(live), Arc::clone(state)), Arc::clone(&authority), Arc::clone(&store));
        let (folder, client) = (folder.join("tls").join("acme"), Client::direct(clock.clone()));
        let engine = Engine::new(clock.clone(), folder, Arc::clone(&store), Arc::clone(&challenges), client);
        let demand = Arc::new(Demand::new(clock, engine.clone(), store, Arc::clone(&challenges)));
        let asker = Arc::new(Asking::new(LiveHosts(Arc::clone(live), Arc::clone(state))));
        let tls = Tls {
            resolver: Arc::new(resolver),
            asker,
            authority,
            engine,
            challenges,
            demand,
            state: Arc::clone(state),
        };
        tls.prepare(config).into_iter().for_each(|why| log::warn!("{why}"));
        if wants_internal(config) {
            let file = tls.authority.file();
            log::info!("certificates for development are signed by {}: `curl --cacert` takes it", file.display());
        }
        tls.take_over(config);
        // One that is over does not keep the others from being served.
        for sentence in all(config).filter_map(|given| given.fault(now)) {
            log::error!("{sentence}: callers will refuse the connection until another one is there");
        }
        for sentence in signers(config).filter_map(|signer| signer.fault(now)) {
            log::error!("{sentence}: certificates that only it vouches for open nothing");
        }
        tls
    }

    /// Where callers connect, and how.
    pub(super) fn listening(&self, config: &Config, addresses: &[SocketAddr]) -> Vec<Address> {
        let tls = |listener: &Listener| {
            let asker = listener.takes_certificates().then(|| Arc::clone(&self.asker));
            listener.tls.then(|| Handshake { finder: Arc::clone(&self.resolver), asker })
        };
        let listeners = config.listeners.iter().zip(addresses);
        listeners.map(|(listener, at)| Address { at: *at, tls: tls(listener) }).collect()
    }

    /// What authorities are answered on port 80.
    pub(super) fn challenges(&self) -> Arc<Challenges> {
        Arc::clone(&self.challenges)
    }

    /// What gets certificates, to be run beside requests.
    pub(super) fn engine(&self) -> Engine {
        self.engine.clone()
    }

    /// What sees to certificates on demand.
    pub(super) fn demand(&self) -> Arc<Demand> {
        Arc::clone(&self.demand)
    }

    /// From now on the certificates of this configuration are got and renewed; what is on disk for it is served.
    pub(super) fn take_over(&self, config: &Config) {
        self.engine.issuers(issuers(config));
        let is_auto = |(_, host): &(&HostPattern, &Host)| host.tls == Some(HostTls::Auto);
        let names = config.hosts.iter().filter(is_auto).map(|(pattern, _)| pattern.as_str().to_owned());
        self.engine.want(&names.collect());
        self.demand.take_over(&config.tls.on_demand);
        let on_demand: Vec<&HostPattern> = config
            .hosts
            .iter()
            .filter(|(_, host)| host.tls == Some(HostTls::OnDemand))
            .map(|(pattern, _)| pattern)
            .collect();
        let domains = self.state.domains();
        let is_domain = |name: &str| domains.host_of(name).is_some();
        self.engine.keep_asked(|name| is_domain(name) || on_demand.iter().any(|pattern| pattern.covers(name)));
        domains
            .all()
            .iter()
            .filter(|domain| is_domain(&domain.name))
            .for_each(|domain| self.demand.obtain(&domain.name));
    }

    /// Makes ready what a configuration wants, before it runs; what is wrong with that.
    pub(super) fn prepare(&self, config: &Config) -> Option<String> {
        wants_internal(config).then(|| self.authority.open().err()).flatten()
    }
}

/// Whether somebody gets a certificate of the gateway's own authority.
fn wants_internal(config: &Config) -> bool {
    let is_internal = |host: &Host| host.tls == Some(HostTls::Internal);
    config.tls.default == DefaultCertificate::Internal || config.hosts.values().any(is_internal)
}

/// The authorities of a configuration.
fn issuers(config: &Config) -> Vec<Issuer> {
    let default = [Acme::default()];
    let all = if config.tls.acme.is_empty() { &default[..] } else { &config.tls.acme };
    let issuer = |acme: &Acme| {
        let Acme { directory, email, eab, ca, dns_hook, ca_certificates } = acme;
        Some(Issuer {
            // A directory is a URL that can be called, or the file could not be used.
            directory: directory.url().parse().ok()?,
            contact: email.clone(),
            eab: eab.as_ref().map(|eab| acme::Eab { key_id: eab.key_id.clone(), hmac_key: eab.hmac_key.clone() }),
            ca: ca.as_ref().map(|_| ca_certificates.clone()),
            dns_hook: dns_hook.as_deref().and_then(Hook::parse),
        })
    };
    all.iter().filter_map(issuer).collect()
}

/// Why a configuration is not taken over: a certificate that is not valid now would stand where another one was.
pub(super) fn refusal(old: &Config, new: &Config, now: SystemTime) -> Option<String> {
    // The dates first: few are wrong, and only those are looked for among the old ones.
    let mut faults = all(new).filter_map(|given| Some((given.fault(now)?, given.pair)));
    let fault = faults.find(|(_, pair)| !all(old).any(|known| known.pair == *pair)).map(|(fault, _)| fault);
    let of_signers = || {
        let mut faults = signers(new).filter_map(|signer| Some((signer.fault(now)?, signer.certificate)));
        faults.find(|(_, der)| !signers(old).any(|known| known.certificate == *der)).map(|(fault, _)| fault)
    };
    fault.or_else(of_signers)
}

/// An authority that signs certificates of callers.
pub(super) struct Signer<'a> {
    /// The provider that believes it.
    pub(super) provider: &'a str,
    file: &'a Path,
    /// DER.
    pub(super) certificate: &'a [u8],
}

/// Every authority that signs certificates of callers.
pub(super) fn signers(config: &Config) -> impl Iterator<Item = Signer<'_>> {
    let of_callers = config.auth.iter().filter(|(_, provider)| provider.kind == ProviderKind::Mtls);
    of_callers.flat_map(|(name, provider)| {
        let file = provider.ca.as_deref().unwrap_or(Path::new(""));
        provider.ca_certificates.iter().map(move |certificate| Signer { provider: name, file, certificate })
    })
}

impl Signer<'_> {
    /// When it ends; none where it cannot be read.
    pub(super) fn term(&self) -> Option<Term> {
        Term::of(self.certificate)
    }

    /// What is wrong with its dates.
    pub(super) fn fault(&self, now: SystemTime) -> Option<String> {
        let term = self.term()?;
        let is = match () {
            () if now < term.start => "is not valid yet",
            () if now > term.end => "is over",
            () => return None,
        };
        let (file, subject) = (self.file.display(), &term.subject);
        let [start, end] = [term.start, term.end].map(httpdate::fmt_http_date);
        Some(format!("the authority in `{file}` {is}: it is `{subject}`, valid from {start} to {end}"))
    }
}

/// A certificate from files.
pub(super) struct Given<'a> {
    /// The keys that lead to it.
    pub(super) path: Vec<&'a str>,
    pub(super) file: &'a Path,
    pub(super) pair: &'a KeyPair,
}

/// Every certificate that a configuration has from files.
pub(super) fn all(config: &Config) -> impl Iterator<Item = Given<'_>> {
    let of_hosts = config.hosts.iter().flat_map(|(pattern, host)| {
        let files = host.tls.as_ref().map(HostTls::files).unwrap_or_default();
        files.iter().map(move |files| (vec!["hosts", pattern.as_str(), "tls"], files))
    });
    let default = config.tls.default.files().iter().map(|files| (vec!["tls", "default"], files));
    of_hosts
        .chain(default)
        .filter_map(|(path, files)| Some(Given { path, file: &files.cert, pair: files.pair.as_ref()? }))
}

impl Given<'_> {
    /// What is wrong with its dates.
    pub(super) fn fault(&self, now: SystemTime) -> Option<String> {
        let is = match self.pair.validity(now) {
            Validity::Now { .. } => return None,
            Validity::NotYet => "is not valid yet",
            Validity::Over => "is over",
        };
        let (file, subject, valid) = (self.file.display(), self.pair.subject(), self.pair.valid_words());
        Some(format!("the certificate in `{file}` {is}: it is of {subject}, valid {valid}"))
    }
}

/// The hosts as they are configured whenever a connection is opened.
struct LiveHosts(Arc<Live<Running>>, Arc<State>);

impl Hosts for LiveHosts {
    fn certificates(&self, name: Option<&str>) -> Arc<Certificates> {
        self.0.load().snapshot.certificates_among(name, self.1.domains())
    }

    fn ask_for_certificates(&self) -> bool {
        self.0.load().snapshot.asks_for_certificates
    }
}
