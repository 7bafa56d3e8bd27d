//! Who calls: finds the credential, chooses who judges it, and has it judged.
//!
//! In: the headers and the query of a request, the providers of its route. Out:
//! a [`Caller`], or why there is none ([`Rejection`]). Not here: what the caller
//! may do (`authz`), fetching keys (`state`).
//!
//! Which provider judges a credential follows from its shape alone (a key's
//! prefix, then `iss`, then `workspace_id`; of a certificate who is named as
//! signer), and its judgement is final: a
//! credential that one provider refuses is not shown to another.

mod api_key;
mod certificate;
mod credential;
mod jwt;
mod numeric_date;
mod provider;
mod rejection;
mod tinybird_jwt;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, header};
use serde_json::{Map, Value};

use crate::exchange::caller::{Caller, Identity};
use crate::jose::compact::Compact;
use crate::state::throttle::Throttle;
use crate::state::verified::{Entry, Verified};
use crate::x509::Chain;

use credential::Credential;

pub use provider::{Material, Provider};
pub use rejection::{Finding, Rejection, UnbelievedCertificate, WrongCertificate};

/// Who may call a route.
#[derive(Clone, Debug)]
pub struct Authn(Rule);

#[derive(Clone, Debug)]
enum Rule {
    Providers { each: Arc<[Arc<Provider>]>, headers: Arc<[HeaderName]>, means: Accepted },
    Public,
}

/// How credentials of a route can be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepted {
    Both,
    CertificateOnly,
    TextOnly,
}

/// What credentials are judged with, beside keys.
#[derive(Clone, Copy, Debug)]
pub struct Desk<'a> {
    /// The time of day.
    pub now: SystemTime,
    /// What was verified before; none where nothing is to be remembered.
    pub verified: Option<&'a Verified>,
    /// Who sends wrong credentials, and where this one comes from; none where nobody has to wait.
    pub guessers: Option<(&'a Throttle, IpAddr)>,
    /// What the caller showed in the handshake of its connection, and holds the key of.
    pub certificate: Option<&'a Chain>,
}

impl Desk<'_> {
    /// How long nothing is looked at for this caller that costs time.
    fn must_wait(&self) -> Option<Duration> {
        let (guessers, address) = self.guessers?;
        guessers.must_wait(Some(address))
    }
}

impl Authn {
    /// Open to everybody.
    pub fn public() -> Self {
        Authn(Rule::Public)
    }

    /// For who has a credential of one of these providers.
    pub fn of(providers: Vec<Arc<Provider>>) -> Self {
        let of_text = || providers.iter().filter(|provider| provider.authorities().is_none());
        let mut headers: Vec<HeaderName> = of_text().map(|provider| provider.header().clone()).collect();
        let means = match of_text().count() {
            0 if !providers.is_empty() => Accepted::CertificateOnly,
            some if some < providers.len() => Accepted::Both,
            _ => Accepted::TextOnly,
        };
        headers.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        headers.dedup();
        Authn(Rule::Providers { each: providers.into(), headers: headers.into(), means })
    }

    /// The providers; none where it is public.
    pub fn providers(&self) -> &[Arc<Provider>] {
        match &self.0 {
            Rule::Providers { each, .. } => each,
            Rule::Public => &[],
        }
    }

    /// Whether everybody may call.
    pub fn is_public(&self) -> bool {
        matches!(self.0, Rule::Public)
    }

    /// Those whose credentials look like this one, by its shape alone: on a route, one at most.
    pub fn judges_of(&self, text: &str) -> Vec<&Arc<Provider>> {
        let each = self.providers();
        let by_prefix: Vec<_> = each.iter().filter(|provider| provider.has_prefix_of(text)).collect();
        if !by_prefix.is_empty() {
            return by_prefix;
        }
        let Ok(token) = Compact::parse(text) else { return Vec::new() };
        // As `choose` has it: who signs comes before whose workspace it is.
        let by_issuer: Vec<_> = each.iter().filter(|provider| provider.is_issuer_of(token.claims())).collect();
        match by_issuer.is_empty() {
            true => each.iter().filter(|provider| provider.is_workspace_of(token.claims())).collect(),
            false => by_issuer,
        }
    }

    /// Who calls.
    ///
    /// # Errors
    /// Why it is not known. [`Rejection::NewerKeys`] may be otherwise once
    /// these keys were fetched again.
    pub fn identify(&self, headers: &HeaderMap, query: &str, desk: &Desk<'_>) -> Result<Caller, Rejection> {
        let Rule::Providers { each, headers: accepted, means } = &self.0 else { return Ok(Caller::Anonymous) };
        let text = match means {
            Accepted::CertificateOnly => None,
            Accepted::Both | Accepted::TextOnly => credential::find(headers, query, accepted)?,
        };
        // Where no provider wants one, a certificate says nothing.
        let shown = desk.certificate.filter(|_| *means != Accepted::TextOnly);
        match (text, shown) {
            (Some(credential), None) => judge(each, &credential, desk),
            (None, Some(chain)) => certificate::judge(each, chain, desk),
            (Some(_), Some(_)) => Err(Rejection::Ambiguous("A client certificate and another credential are given.")),
            (None, None) => Err(Rejection::Missing(match means {
                Accepted::CertificateOnly => None,
                Accepted::Both | Accepted::TextOnly => Some(accepted.first().cloned().unwrap_or(header::AUTHORIZATION)),
            })),
        }
        .map(Caller::Known)
    }
}

/// The verdict on one credential.
///
/// # Errors
/// Why it is refused.
fn judge(
    providers: &[Arc<Provider>],
    credential: &Credential<'_>,
    desk: &Desk<'_>,
) -> Result<Arc<Identity>, Rejection> {
    let accepting = || providers.iter().filter(|provider| credential.is_for(provider.header()));
    let text = credential.text();
    if let Some(provider) = accepting().find(|provider| provider.has_prefix_of(text)) {
        return provider.judge_key(text, desk.now);
    }
    let entry = Entry::of(text);
    let known = accepting().find_map(|provider| {
        let identity = desk.verified?.find(provider.cached_under(&entry)?)?;
        // Another route may have another judge for it, whose word counts here.
        let judge = choose(accepting(), identity.facts.claims()?)?;
        Arc::ptr_eq(judge, provider).then_some(identity)
    });
    if let Some(identity) = known.filter(|identity| identity.until.is_none_or(|until| desk.now < until)) {
        return Ok(identity);
    }
    if !accepting().any(|provider| provider.is_for_tokens()) {
        return Err(Rejection::Unrecognised);
    }
    let token = Compact::parse(text).map_err(Rejection::Malformed)?;
    let provider = choose(accepting(), token.claims()).ok_or(Rejection::Unrecognised)?;
    // Before it is judged: keys that change meanwhile must not find it under their own version.
    let key = provider.cached_under(&entry);
    let identity = Arc::new(provider.judge_token(text, token, desk)?);
    if let (Some(verified), Some(key)) = (desk.verified, key) {
        verified.keep(key, Arc::clone(&identity));
    }
    Ok(identity)
}

/// Whose token it says to be; nothing of it is believed yet.
fn choose<'a>(
    providers: impl Iterator<Item = &'a Arc<Provider>> + Clone,
    claims: &Map<String, Value>,
) -> Option<&'a Arc<Provider>> {
    let by_issuer = providers.clone().find(|provider| provider.is_issuer_of(claims));
    by_issuer.or_else(|| providers.clone().find(|provider| provider.is_workspace_of(claims)))
}
