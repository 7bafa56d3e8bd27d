//! Customers' own domains: added, looked at, listed, removed.
//!
//! In: a name, and the host of the file that it is to be served as. Out: what
//! there is to set in DNS, what was found there, and how certificates are. Not
//! here: keeping them (`state::domains`), looking and issuing (`tls`).

use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::snapshot::Snapshot;
use crate::state::domains::{Domain, Domains, Standing, time};
use crate::tls::acme::{self, NameReport};
use crate::tls::domains::Demand;

use std::sync::Arc;

use super::AUDIT;

type Answer = Response<Vec<u8>>;

/// What domains are answered from.
pub(super) struct Desk<'a> {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) domains: &'a Domains,
    pub(super) demand: &'a Demand,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Added {
    name: String,
    host: String,
    tenant: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
}

impl Desk<'_> {
    /// Every domain, and every name that authorities were asked about.
    pub(super) fn list(&self) -> Answer {
        let reports = self.demand.report();
        let domains: Vec<Value> = self.domains.all().iter().map(|domain| self.domain(domain, &reports)).collect();
        let is_domain = |report: &&NameReport| self.domains.get(&report.name).is_none();
        let others: Vec<Value> = reports.iter().filter(is_domain).map(certificate).collect();
        let mut text = String::new();
        for domain in &domains {
            text.push_str(&line(domain, domain.get("certificate")));
        }
        for other in &others {
            text.push_str(&line(other, Some(other)));
        }
        if text.is_empty() {
            text.push_str("No domains, and no host with `tls: auto`. Add one: tollgate domains add NAME --host HOST\n");
        }
        super::json(StatusCode::OK, &json!({ "domains": domains, "certificates": others, "text": text }))
    }

    /// Adds a domain, and looks at once.
    pub(super) async fn add(&self, body: &[u8], who: &str) -> Answer {
        let added = serde_json::from_slice::<Added>(body).map_err(|error| {
            format!(
                "{error}\nsend {{\"name\": \"data.acme.com\", \"host\": \"acme.customers.example.com\"}}; also tenant"
            )
        });
        let (name, host) = match added.and_then(|added| self.judge(&added)) {
            Ok(judged) => judged,
            Err(why) => return refuse(&why),
        };
        if let Err(why) = self.domains.add(&name, &host) {
            return refuse(&why);
        }
        log::warn!(target: AUDIT, "domain {name} added by {who}: it is served as {host} when it is verified");
        let mut record = format!("Set this record in DNS:\n\n  {name}. CNAME {host}.\n\n");
        // There are longer ones (`acme.co.uk`), which only a list of all countries' rules would tell.
        if name.split('.').count() == 2 {
            record.push_str("Where DNS takes no CNAME for a name without a label in front, as most do not,\n");
            record.push_str(&format!("set A and AAAA records with the addresses of {host}.\n\n"));
        }
        self.look(&name, record).await
    }

    /// Looks whether a domain leads here; from then on it is served.
    pub(super) async fn verify(&self, body: &[u8], who: &str) -> Answer {
        let name = match self.known(body) {
            Ok(name) => name,
            Err(why) => return refuse(&why),
        };
        log::warn!(target: AUDIT, "domain {name} looked at for {who}");
        self.look(&name, String::new()).await
    }

    /// Serves a domain no more: its requests, and its certificate.
    pub(super) fn remove(&self, body: &[u8], who: &str) -> Answer {
        let removed = self.known(body).and_then(|name| self.domains.remove(&name));
        let domain = match removed {
            Ok(domain) => domain,
            Err(why) => return refuse(&why),
        };
        self.demand.release(&domain.name);
        log::warn!(target: AUDIT, "domain {} removed by {who}", domain.name);
        let text = format!("removed {}: it is not served any more\n", domain.name);
        super::json(StatusCode::OK, &json!({ "domain": self.domain(&domain, &[]), "text": text }))
    }

    async fn look(&self, name: &str, mut text: String) -> Answer {
        let found = self.demand.leads_here(name).await;
        let domain = match self.domains.looked(name, &found) {
            Ok(domain) => domain,
            Err(why) => return refuse(&why),
        };
        match (&found, domain.standing) {
            (Ok(()), _) => {
                self.demand.obtain(name);
                text.push_str(&format!(
                    "verified {name}: it leads here, is served as {}, and gets a certificate\n",
                    domain.host
                ));
            }
            (Err(why), Standing::Pending) => {
                text.push_str(&format!("pending {name}: {why}\n"));
                text.push_str(&format!("When the record is there: tollgate domains verify {name}\n"));
            }
            (Err(why), Standing::Verified) => {
                text.push_str(&format!("{name} is still served, but its certificate cannot be renewed: {why}\n"));
            }
        }
        let shown = self.domain(&domain, &self.demand.report());
        super::json(StatusCode::OK, &json!({ "domain": shown, "leads_here": found.is_ok(), "text": text }))
    }

    /// The name and the one host that it is served as.
    fn judge(&self, Added { name, host, tenant }: &Added) -> Result<(String, String), String> {
        let (name, host) = (name.trim_end_matches('.').to_ascii_lowercase(), host.to_ascii_lowercase());
        if !name.is_ascii() {
            return Err(format!(
                "`{name}` is not how DNS spells it: write it with `xn--`, as whoever runs DNS for it shows it"
            ));
        }
        if !acme::is_name(&name) || !name.contains('.') {
            return Err(format!(
                "`{name}` is no name that a certificate can be issued for: write it like data.acme.com"
            ));
        }
        if !self.snapshot.lists_hosts() {
            return Err("the file has no `hosts`, so that every host is served already".to_owned());
        }
        if self.snapshot.site_of(&name).is_some() {
            return Err(format!("`{name}` is a host of the file already"));
        }
        let host = match (host.strip_prefix("*."), tenant) {
            (Some(domain), Some(tenant)) => format!("{}.{domain}", tenant.to_ascii_lowercase()),
            (Some(_), None) => {
                return Err(format!("`{host}` is many hosts: say which one, or --tenant for its first label"));
            }
            (None, Some(_)) => return Err(format!("--tenant stands for the `*` of a pattern, and `{host}` has none")),
            (None, None) => host,
        };
        match acme::is_name(&host) && self.snapshot.site_of(&host).is_some() {
            true => Ok((name, host)),
            false => Err(format!("`{host}` is no host of the file: a domain is served as one of those")),
        }
    }

    fn known(&self, body: &[u8]) -> Result<String, String> {
        let named: Named =
            serde_json::from_slice(body).map_err(|error| format!("{error}\nsend {{\"name\": \"data.acme.com\"}}"))?;
        let name = named.name.trim_end_matches('.').to_ascii_lowercase();
        match self.domains.get(&name) {
            Some(_) => Ok(name),
            None => Err(format!("there is no domain `{name}`: `tollgate domains list` has all")),
        }
    }

    fn domain(&self, domain: &Domain, reports: &[NameReport]) -> Value {
        let Domain { name, host, standing, created, checked, fault } = domain;
        let report = reports.iter().find(|report| *report.name == **name);
        let is_active = report.is_some_and(|report| report.state == acme::State::Active);
        let state = match standing {
            Standing::Verified if is_active => "active",
            standing @ (Standing::Verified | Standing::Pending) => standing.word(),
        };
        let is_served = self.snapshot.site_of(host).is_some();
        let fault = fault.clone().or_else(|| (!is_served).then(|| format!("`{host}` is no host of the file any more")));
        let date = |seconds: i64| httpdate::fmt_http_date(time(seconds));
        json!({
            "name": name, "host": host, "state": state, "created": date(*created),
            "checked": checked.map(date), "error": fault, "certificate": report.map(certificate),
        })
    }
}

fn certificate(report: &NameReport) -> Value {
    let NameReport { name, state, not_after, days_left, last_error, next_try, issuer } = report;
    let state = match state {
        acme::State::Active => "active",
        acme::State::Failed => "failed",
        acme::State::Ordering => "ordering",
        acme::State::Waiting => "waiting",
    };
    json!({
        "name": name, "state": state, "not_after": not_after.map(httpdate::fmt_http_date), "days_left": days_left,
        "last_error": last_error, "next_try": next_try.map(httpdate::fmt_http_date), "issuer": issuer,
    })
}

/// `data.acme.com  active  as acme.customers.example.com, certificate for 89 days`.
fn line(subject: &Value, certificate: Option<&Value>) -> String {
    let word = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let (name, state) = (word(subject, "name").unwrap_or_default(), word(subject, "state").unwrap_or_default());
    let mut told: Vec<String> = word(subject, "host").map(|host| format!("as {host}")).into_iter().collect();
    told.extend(word(subject, "error"));
    if let Some(certificate) = certificate {
        let days = certificate.get("days_left").and_then(Value::as_i64);
        told.extend(days.map(|days| format!("certificate for {days} days")));
        if let Some(error) = word(certificate, "last_error") {
            told.push(error);
            told.extend(word(certificate, "next_try").map(|next| format!("next try {next}")));
        }
    }
    format!("{name}  {state}  {}\n", told.join(", ")).replace("  \n", "\n")
}

fn refuse(why: &str) -> Answer {
    super::text(StatusCode::BAD_REQUEST, &format!("{why}\n"))
}
