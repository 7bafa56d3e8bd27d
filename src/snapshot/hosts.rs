//! Finds the site for a host.
//!
//! In: the hosts of a configuration. Out: the [`Site`] that serves a request's
//! host: one hash look-up for hosts that are named, a second for those below a
//! domain, however many there are. Without `hosts` there is one site for every
//! host. Not here: normalising hosts (`exchange::head`), paths (`table`).

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use http::HeaderValue;

use crate::config::scalar::{HostPattern, PathPattern, Period, Template};
use crate::config::section::hosts::Host;
use crate::config::section::tls::Tls;
use crate::pipeline::authn::Authn;
use crate::pipeline::cors::Cors;
use crate::pipeline::limits::Attached;
use crate::pipeline::scrub::Phrases;
use crate::tls::certificates::Certificates;

use super::openapi::Document;
use super::table::PathTable;

/// The pattern of the one site there is without `hosts`.
pub const EVERY_HOST: &str = "*";

/// What happens to requests for one host, or for all hosts that one pattern names.
#[derive(Debug)]
pub struct Site {
    /// Position among all sites: the key of per-host metrics.
    pub index: usize,
    /// The configured pattern: the label in metrics.
    pub label: Arc<str>,
    /// Whose host it is.
    pub tenant: Option<Template>,
    /// Who may call, where the route does not say.
    pub authn: Option<Authn>,
    /// What its requests must keep: the limits of the host and of the server.
    pub limits: Attached,
    /// Pages that may call, where the route does not say.
    pub cors: Option<Cors>,
    /// Whether callers without TLS are sent to the same address with it.
    pub plain: Plain,
    /// For how long browsers are to use TLS only: `Strict-Transport-Security` (RFC 6797 section 6.1).
    pub hsts: Option<HeaderValue>,
    /// What says which routes it has, where that can be asked for.
    pub document: Option<Arc<Document>>,
    /// How its errors speak.
    pub phrases: Arc<Phrases>,
    certificates: Arc<Certificates>,
    /// Its routes, which it may share with other sites.
    pub(super) routes: Arc<Routes>,
}

impl Site {
    /// The document that is at a normalised path.
    pub(super) fn document_at(&self, path: &str) -> Option<&Arc<Document>> {
        self.document.as_ref().filter(|document| *document.path == *path)
    }
}

/// What becomes of requests without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plain {
    /// They are sent to the same address with TLS.
    Redirect,
    /// They are served.
    Serve,
}

/// Routes among which the most specific wins.
#[derive(Debug, Default)]
pub(super) struct Routes {
    pub(super) table: PathTable,
    /// Their indexes among all routes.
    pub(super) indexes: Range<usize>,
}

/// What a host serves, and to whom.
#[derive(Debug, Default)]
pub(super) struct Served {
    pub(super) routes: Arc<Routes>,
    /// None where the host does not say.
    pub(super) authn: Option<Authn>,
    /// Those of the server among them.
    pub(super) limits: Attached,
    pub(super) document: Option<Arc<Document>>,
    pub(super) phrases: Arc<Phrases>,
}

impl Routes {
    /// A table of patterns with indexes, which stand together.
    pub(super) fn compile(patterns: &[(PathPattern, usize)], indexes: Range<usize>) -> Arc<Self> {
        let table = PathTable::compile(patterns.iter().map(|(pattern, index)| (pattern, *index)));
        Arc::new(Routes { table, indexes })
    }
}

/// The compiled hosts.
#[derive(Debug)]
pub(super) struct HostTable {
    sites: Box<[Site]>,
    names: Names,
    /// For whose name there are none.
    certificates: Arc<Certificates>,
    has_on_demand: bool,
}

/// How a site is found.
#[derive(Debug)]
enum Names {
    /// Every host is served alike.
    Any,
    /// The named ones are.
    Listed { exact: Positions, suffixes: Positions },
}

type Positions = HashMap<Box<str>, usize, ahash::RandomState>;

impl HostTable {
    /// One site for every host.
    pub(super) fn any(Served { routes, authn, limits, document, phrases }: Served, tls: &Tls) -> Self {
        let certificates = Arc::new(Certificates::by_default(&tls.default));
        let site = Site {
            index: 0,
            label: EVERY_HOST.into(),
            tenant: None,
            authn,
            limits,
            cors: None,
            plain: Plain::Serve,
            hsts: None,
            document,
            phrases,
            certificates: Arc::clone(&certificates),
            routes,
        };
        HostTable { sites: Box::new([site]), names: Names::Any, certificates, has_on_demand: false }
    }

    /// A site for each pattern, with its routes. Who says nothing about certificates has those of `*.` and its domain, if that
    /// says something.
    pub(super) fn listed<'a>(hosts: impl Iterator<Item = (&'a HostPattern, &'a Host, Served)>, tls: &Tls) -> Self {
        let certificates = Arc::new(Certificates::by_default(&tls.default));
        let (mut exact, mut suffixes) = (Positions::default(), Positions::default());
        let (mut sites, mut own) = (Vec::<Site>::new(), HashMap::new());
        for (index, (pattern, host, served)) in hosts.enumerate() {
            let Served { routes, authn, limits, document, phrases } = served;
            let Host { tenant, tls, redirect_http, hsts, auth: _, limits: _, cors, errors: _, routes: _ } = host;
            match pattern.suffix() {
                None => exact.insert(pattern.as_str().into(), index),
                Some(suffix) => suffixes.insert(suffix.into(), index),
            };
            if let Some(tls) = tls {
                own.insert(pattern.as_str(), Arc::new(Certificates::of_host(pattern.as_str(), tls)));
            }
            sites.push(Site {
                index,
                label: pattern.as_str().into(),
                tenant: tenant.clone(),
                authn,
                limits,
                cors: cors.as_ref().map(|cors| Cors::compile(Some(cors))),
                plain: if *redirect_http { Plain::Redirect } else { Plain::Serve },
                hsts: hsts.and_then(strict_transport),
                document,
                phrases,
                certificates: Arc::clone(&certificates),
                routes,
            });
        }
        for site in &mut sites {
            let above = site.label.split_once('.').map(|(_, domain)| format!("*.{domain}"));
            let found = own.get(&*site.label).or_else(|| own.get(above.as_deref()?));
            found.into_iter().for_each(|found| site.certificates = Arc::clone(found));
        }
        let has_on_demand = own.values().any(|own| matches!(**own, Certificates::OnDemand(_)));
        HostTable { sites: sites.into(), names: Names::Listed { exact, suffixes }, certificates, has_on_demand }
    }

    /// The certificates for who opens a connection to a name, spelled as hosts are, or to none.
    pub(super) fn certificates(&self, name: Option<&str>) -> &Arc<Certificates> {
        let site = name.and_then(|name| self.find(name));
        site.map_or(&self.certificates, |site| &site.certificates)
    }

    /// The site for a normalised host. A `*` is one label, so that no more than one pattern can match beside the exact
    /// one: the longest.
    pub(super) fn find(&self, host: &str) -> Option<&Site> {
        let index = match &self.names {
            Names::Any => 0,
            Names::Listed { exact, suffixes } => match exact.get(host) {
                Some(index) => *index,
                None => *suffixes.get(host.split_once('.').filter(|(label, _)| !label.is_empty())?.1)?,
            },
        };
        self.sites.get(index)
    }

    /// Whether some site gets certificates when callers ask for them.
    pub(super) fn has_on_demand(&self) -> bool {
        self.has_on_demand
    }

    /// Whether hosts are listed, so that others are not served.
    pub(super) fn is_listed(&self) -> bool {
        matches!(self.names, Names::Listed { .. })
    }

    /// Every site, in the order of their indexes.
    pub(super) fn sites(&self) -> &[Site] {
        &self.sites
    }
}

/// Browsers remember it for the host that says so, and not for those below it.
fn strict_transport(age: Period) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("max-age={}", age.duration().as_secs())).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(patterns: &[&str]) -> (HostTable, Vec<HostPattern>) {
        let parsed: Vec<HostPattern> = patterns.iter().map(|pattern| pattern.parse().unwrap()).collect();
        let host = Host::default();
        (HostTable::listed(parsed.iter().map(|pattern| (pattern, &host, Served::default())), &Tls::default()), parsed)
    }

    fn find(patterns: &[&str], host: &str) -> Option<String> {
        table(patterns).0.find(host).map(|site| site.label.to_string())
    }

    #[test]
    fn exact_before_wildcard_and_a_star_is_one_label() {
        let patterns = ["a.example.com", "*.example.com", "*.b.example.com", "localhost", "127.0.0.1", "[::1]"];
        for (host, expected) in [
            ("a.example.com", Some("a.example.com")),
            ("b.example.com", Some("*.example.com")),
            ("x.b.example.com", Some("*.b.example.com")),
            ("x.y.example.com", None),
            ("x.a.example.com", None),
            ("example.com", None),
            (".example.com", None),
            ("aexample.com", None),
            ("a.example.com.evil.com", None),
            ("localhost", Some("localhost")),
            ("127.0.0.1", Some("127.0.0.1")),
            ("127.0.0.2", None),
            ("[::1]", Some("[::1]")),
            ("[::2]", None),
            ("", None),
            ("*.example.com", Some("*.example.com")),
        ] {
            assert_eq!(find(&patterns, host).as_deref(), expected, "{host}");
        }
    }

    #[test]
    fn without_hosts_every_host_is_served() {
        let table = HostTable::any(Served::default(), &Tls::default());
        assert_eq!(table.find("anything").map(|site| &*site.label), Some(EVERY_HOST));
        assert!(!table.is_listed());
    }

    /// The slow and obvious reading of a pattern.
    fn naive(pattern: &HostPattern, host: &str) -> bool {
        let (wanted, given): (Vec<&str>, Vec<&str>) =
            (pattern.as_str().split('.').collect(), host.split('.').collect());
        wanted.len() == given.len()
            && wanted
                .iter()
                .zip(&given)
                .enumerate()
                .all(|(at, (wanted, given))| wanted == given || (at == 0 && *wanted == "*" && !given.is_empty()))
    }

    proptest! {
        #[test]
        fn a_host_is_found_exactly_when_some_pattern_matches(
            patterns in proptest::collection::vec("(\\*\\.)?(a|b|c)(\\.(a|b|c)){0,2}", 1..8),
            host in "(a|b|c|)(\\.(a|b|c|)){0,3}",
        ) {
            let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
            let (table, parsed) = table(&patterns);
            let found = table.find(&host).map(|site| site.label.to_string());
            let exact = parsed.iter().any(|pattern| pattern.as_str() == host);
            prop_assert_eq!(found.is_some(), parsed.iter().any(|pattern| naive(pattern, &host)));
            if let Some(found) = found {
                prop_assert!(naive(&found.parse().unwrap(), &host));
                prop_assert_eq!(found == host, exact);
            }
        }
    }
}
