//! Whose limits are meant: words of an operator, looked up in what runs.
//!
//! In: a query, or a JSON document. Out: a [`Question`], or a sentence about a
//! word that leads nowhere. Not here: how the limits stand.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::config::scalar::TenantName;
use crate::config::{Config, listed, nearest};
use crate::exchange::caller;
use crate::exchange::head::normalise_host;
use crate::pipeline::limits::plans::Because;
use crate::snapshot::Snapshot;
use crate::snapshot::counts::{Named, Whose};
use crate::snapshot::hosts::EVERY_HOST;

/// The words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// A tenant; empty for requests without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tenant: Option<String>,
    /// `PROVIDER:ID`; empty for requests without a credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) caller: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) route: Option<String>,
    /// The plan that the credential names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) plan: Option<String>,
    /// Only these limits; none for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) limits: Vec<String>,
}

impl Asked {
    /// Reads `tenant=acme&limit=daily`.
    pub(super) fn of_query(query: &str) -> Result<Self, String> {
        let mut asked = Asked::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let value = value.into_owned();
            let place = match &*name {
                "tenant" => &mut asked.tenant,
                "caller" => &mut asked.caller,
                "host" => &mut asked.host,
                "route" => &mut asked.route,
                "plan" => &mut asked.plan,
                "limit" => {
                    asked.limits.push(value);
                    continue;
                }
                "ip" => {
                    let address = value.parse().map_err(|_| format!("`{value}` is not an address"))?;
                    asked.ip = Some(address);
                    continue;
                }
                _ => {
                    return Err(format!("`{name}` means nothing here: tenant, caller, ip, host, route, plan, limit"));
                }
            };
            if place.replace(value).is_some() {
                return Err(format!("`{name}` stands twice"));
            }
        }
        Ok(asked)
    }
}

/// The same, looked up.
#[derive(Debug)]
pub(super) struct Question<'a> {
    pub(super) tenant: Named<TenantName>,
    /// The provider, and its word for the bearer.
    pub(super) caller: Named<(&'a str, std::sync::Arc<str>)>,
    pub(super) ip: Option<IpAddr>,
    /// As it is configured.
    pub(super) host: Option<&'a str>,
    /// A key under `routes`.
    pub(super) route: Option<&'a str>,
    pub(super) plan: Option<&'a str>,
    /// Every one of them is there.
    pub(super) limits: Vec<String>,
}

/// What is known of a tenant's plan.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bought<'a> {
    /// Its name; none where no plan holds.
    pub(super) name: Option<&'a str>,
    pub(super) because: Option<Because>,
    /// A credential that names another plan would have it.
    pub(super) may_differ: bool,
}

impl<'a> Question<'a> {
    /// Looks the words up.
    pub(super) fn of(asked: Asked, snapshot: &'a Snapshot) -> Result<Self, String> {
        let config = &*snapshot.config;
        let Asked { tenant, caller, ip, host, route, plan, limits } = asked;
        let caller = match caller.as_deref() {
            None => Named::Open,
            Some("") => Named::Nobody,
            Some(text) => Named::Is(caller_of(text, config)?),
        };
        let tenant = match tenant.as_deref() {
            None if says_nothing_of_tenants(&caller, config) => Named::Nobody,
            None => Named::Open,
            Some("") => Named::Nobody,
            Some(text) => Named::Is(text.parse::<TenantName>()?),
        };
        let host = host.map(|host| host_of(&host, snapshot)).transpose()?;
        let route = route.map(|route| route_of(&route, host, snapshot)).transpose()?;
        let plan = plan.map(|plan| known("plan", &plan, config.plans.keys())).transpose()?;
        for limit in &limits {
            known("limit", limit, config.limits.keys())?;
        }
        Ok(Question { tenant, caller, ip, host, route, plan, limits })
    }

    /// Who is meant.
    pub(super) fn whose(&'a self, snapshot: &'a Snapshot) -> Whose<'a> {
        let named = |name: Option<&'a str>| match name.and_then(|name| snapshot.plans.named(name)) {
            Some(plan) => Named::Is(&**plan),
            None => Named::Nobody,
        };
        Whose {
            plan: self.bought(snapshot).map_or(Named::Open, |bought| named(bought.name)),
            tenant: match &self.tenant {
                Named::Is(tenant) => Named::Is(tenant.as_str()),
                Named::Nobody => Named::Nobody,
                Named::Open => Named::Open,
            },
            caller: match &self.caller {
                Named::Is((provider, bearer)) => Named::Is((provider, bearer)),
                Named::Nobody => Named::Nobody,
                Named::Open => Named::Open,
            },
            client: self.ip,
            host: self.host,
            route: self.route,
        }
    }

    /// The plan; none where nobody is meant in particular, so that every plan may be.
    pub(super) fn bought(&self, snapshot: &'a Snapshot) -> Option<Bought<'a>> {
        let tenant = match &self.tenant {
            Named::Is(tenant) => Some(tenant),
            Named::Nobody => None,
            Named::Open if self.plan.is_some() => None,
            Named::Open => return None,
        };
        // A plan that was named is there.
        let bought = snapshot.plans.bought(tenant, self.plan).ok().flatten();
        let because = bought.as_ref().map(|bought| bought.because);
        let claims = snapshot.config.auth.values().any(|provider| provider.plan.is_some());
        let is_settled = self.plan.is_some() || because == Some(Because::Tenants) || self.caller == Named::Nobody;
        Some(Bought { name: bought.map(|bought| &*bought.plan.name), because, may_differ: claims && !is_settled })
    }
}

/// `PROVIDER:ID`, the id whole as in the credential.
fn caller_of<'a>(text: &str, config: &'a Config) -> Result<(&'a str, std::sync::Arc<str>), String> {
    let found = config.auth.keys().find_map(|provider| {
        let id = text.strip_prefix(provider.as_str())?.strip_prefix(':')?;
        Some((provider.as_str(), id))
    });
    match found {
        Some((_, "")) => Err("a caller is PROVIDER:ID, and this has no id".to_owned()),
        Some((provider, id)) => Ok((provider, caller::bearer(id))),
        None => {
            let provider = text.split_once(':').map_or(text, |(provider, _)| provider);
            known("provider", provider, config.auth.keys())?;
            Err("a caller is PROVIDER:ID: the name of a provider, and its word for who calls".to_owned())
        }
    }
}

/// Whether a caller has no tenant, whatever the credential says.
fn says_nothing_of_tenants<T>(caller: &Named<(&str, T)>, config: &Config) -> bool {
    match caller {
        Named::Is((provider, _)) => config.auth.get(*provider).is_some_and(|provider| !provider.speaks_of_tenants()),
        Named::Nobody | Named::Open => false,
    }
}

fn host_of<'a>(text: &str, snapshot: &'a Snapshot) -> Result<&'a str, String> {
    let sites = || snapshot.sites().iter().map(|site| &*site.label);
    // A pattern is a name of its own; without `hosts`, every host is the same.
    let host = normalise_host(text).unwrap_or_else(|_| text.to_owned());
    let found = sites().find(|label| *label == text).or_else(|| snapshot.site_of(&host).map(|site| &*site.label));
    found.ok_or_else(|| unknown("host", text, sites().filter(|label| *label != EVERY_HOST)))
}

/// A key under `routes`, or a path that the route with this key serves.
fn route_of<'a>(text: &str, host: Option<&str>, snapshot: &'a Snapshot) -> Result<&'a str, String> {
    let sites = || snapshot.sites().iter().filter(|site| host.is_none_or(|host| host == &*site.label));
    let keys = || sites().flat_map(|site| snapshot.routes_of(site)).map(|route| &*route.key);
    if let Some(key) = keys().find(|key| *key == text) {
        return Ok(key);
    }
    let served = sites().find_map(|site| snapshot.find(site, text));
    served.map(|(route, _)| &*route.key).ok_or_else(|| unknown("route", text, keys()))
}

/// The name in the configuration, if it is there.
fn known<'a>(what: &str, name: &str, mut names: impl Iterator<Item = &'a String> + Clone) -> Result<&'a str, String> {
    let all = names.clone();
    let found = names.find(|known| *known == name);
    found.map(String::as_str).ok_or_else(|| unknown(what, name, all.map(String::as_str)))
}

/// A sentence about a name that is not there, with the nearest that is.
fn unknown<'a>(what: &str, name: &str, names: impl Iterator<Item = &'a str> + Clone) -> String {
    let mut known: Vec<&str> = names.clone().collect();
    known.sort_unstable();
    known.dedup();
    let hint = match nearest(name, names) {
        Some(nearest) => format!("; did you mean `{nearest}`?"),
        None if known.is_empty() => "; there are none".to_owned(),
        None => format!("; there are: {}", listed(&known)),
    };
    format!("there is no {what} `{name}`{hint}")
}
