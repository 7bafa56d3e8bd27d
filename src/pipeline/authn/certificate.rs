//! Certificates that callers show when they open a connection (`type: mtls`).
//!
//! In: a chain, the providers of a route. Out: whose caller it is. A provider is
//! asked if the chain names one of its authorities; one and only one must
//! believe it. It is asked anew for each request, so that a connection outlives
//! no change of the configuration. Not here: whether the caller holds the key,
//! which the handshake has proven (`tls`).

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::config::section::revoked::{Revoked, RevokedCredentials};
use crate::exchange::caller::{self, Identity, look_up};
use crate::state::verified::Entry;
use crate::x509::{Authorities, Chain, Fault};

use super::Desk;
use super::provider::Provider;
use super::rejection::{Finding, Rejection, WrongCertificate};

/// What a caller is called after: what names one best comes first. A workload's identity is a URI (SPIFFE).
const NAMES: [&str; 4] = ["san.uri", "san.dns", "san.email", "subject.cn"];

/// Whose caller shows this chain.
///
/// # Errors
/// Why nobody's.
pub(super) fn judge(providers: &[Arc<Provider>], chain: &Chain, desk: &Desk<'_>) -> Result<Arc<Identity>, Rejection> {
    let entry = Entry::of_hash(chain.digest());
    let asking = providers.iter().filter_map(|provider| Some((provider, provider.authorities()?)));
    let (mut found, mut refused): (Option<Arc<Identity>>, Option<Rejection>) = (None, None);
    for (provider, authorities) in asking.clone().filter(|(_, authorities)| authorities.are_named_in(chain)) {
        match one(provider, authorities, (chain, &entry), desk) {
            Ok(identity) if found.is_none() => found = Some(identity),
            Ok(_) => return Err(provider.unbelieved(chain, WrongCertificate::OfSeveral)),
            // That it was good in its time says more than that somebody else did not sign it.
            Err(rejection) if refused.is_none() || is_of_another_time(&rejection) => refused = Some(rejection),
            Err(_) => {}
        }
    }
    match (found, refused) {
        (Some(identity), _) => Ok(identity),
        (None, Some(rejection)) => Err(rejection),
        (None, None) => Err(foreign(asking.map(|(provider, _)| provider), chain)),
    }
}

/// What one provider makes of it.
fn one(
    provider: &Arc<Provider>,
    authorities: &Authorities,
    (chain, entry): (&Chain, &Entry),
    desk: &Desk<'_>,
) -> Result<Arc<Identity>, Rejection> {
    let key = provider.cached_under(entry);
    let known = desk.verified.zip(key).and_then(|(verified, key)| verified.find(key));
    if let Some(identity) = known.filter(|identity| identity.until.is_none_or(|until| desk.now < until)) {
        return Ok(identity);
    }
    if let Some(wait) = desk.must_wait() {
        return Err(Rejection::MustWait(wait));
    }
    let until = authorities.judge(chain, desk.now);
    let until = until.map_err(|fault| provider.unbelieved(chain, WrongCertificate::Judged(fault)))?;
    let identity = Arc::new(provider.take_certificate(chain, until)?);
    if let Some((verified, key)) = desk.verified.zip(key) {
        verified.keep(key, Arc::clone(&identity));
    }
    Ok(identity)
}

fn is_of_another_time(rejection: &Rejection) -> bool {
    matches!(
        rejection,
        Rejection::Judged(Finding::Certificate(wrong), _)
            if matches!(wrong.why, WrongCertificate::Judged(Fault::Expired(_) | Fault::NotYet(_)))
    )
}

/// For a chain that names none of the authorities: the first provider answers for all of them.
fn foreign<'a>(mut asking: impl Iterator<Item = &'a Arc<Provider>>, chain: &Chain) -> Rejection {
    let Some(first) = asking.next() else { return Rejection::Unrecognised };
    let mut rejection = first.unbelieved(chain, WrongCertificate::Foreign);
    if let Rejection::Judged(Finding::Certificate(wrong), _) = &mut rejection {
        for other in asking.filter_map(|provider| provider.authorities()) {
            wrong.authorities = format!("{}, {}", wrong.authorities, other.names());
        }
    }
    rejection
}

/// What its bearer is called: a name that stands in it once, else its serial number.
pub(super) fn name(says: &Map<String, Value>) -> Cow<'_, str> {
    let is_one = |name: &Cow<'_, str>| !name.is_empty() && !name.chars().any(char::is_control);
    let mut named = NAMES.iter().filter_map(|name| look_up(says, name).and_then(caller::name)).filter(is_one);
    named.next().or_else(|| says.get("serial").and_then(caller::name)).unwrap_or_default()
}

/// Whether an entry of the list means this certificate, or one above it.
pub(super) fn is_revoked(entry: &Revoked, chain: &Chain, says: &Map<String, Value>) -> bool {
    match &entry.what {
        RevokedCredentials::Fingerprint { sha256 } => chain.fingerprints().any(|own| own == *sha256),
        RevokedCredentials::One { .. } | RevokedCredentials::OfSubject { .. } => false,
        RevokedCredentials::Serial { serial } => says.get("serial").and_then(Value::as_str) == Some(serial),
    }
}
