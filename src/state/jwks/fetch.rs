//! Asks a source for its keys, once.
//!
//! In: a [`Source`]. Out: its keys, or why there are none, in words for the
//! log. Not here: when (`keys`). What an identity provider says is not
//! believed further than needed: nothing is followed, and everything is bounded.

use std::time::{Duration, Instant};

use http::StatusCode;
use http::header::{ACCEPT, HeaderValue};
use serde::Deserialize;
use serde_json::Value;

use crate::clock::Clock;
use crate::config::scalar::Scheme;
use crate::jose::keys::KeySet;
use crate::outbound::{Answer, Call, Client, Target};

use super::Source;
use super::freshness::lifetime;
use super::source::Place;

/// For everything, discovery included.
pub(super) const TIME: Duration = Duration::from_secs(3);
/// The largest answer that is read.
const SIZE: usize = 256 << 10;
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// What a source had.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) set: KeySet,
    /// What tells sets apart, whatever the order in which they are written.
    pub(super) content: Content,
    /// How long it is fresh.
    pub(super) lifetime: Duration,
}

/// A digest of a set's content.
pub(super) type Content = [u8; 32];

/// The part of a discovery document that is used.
#[derive(Deserialize)]
struct Document {
    issuer: String,
    jwks_uri: String,
}

/// Fetches the keys of `source` now.
///
/// # Errors
/// In words that stand behind a colon, why there are none.
pub(super) async fn fetch(client: &Client, clock: &Clock, source: &Source) -> Result<Fetched, String> {
    let end = clock.now() + TIME;
    let caller = Caller { client, clock, source, end };
    let target = match &source.place {
        Place::Discovery(issuer) => caller.discover(issuer).await?,
        Place::Jwks(url) => url.parse()?,
    };
    let answer = caller.get(&target).await?;
    let lifetime = lifetime(&answer.headers, clock.wall());
    read(&answer.body, lifetime).map_err(|why| format!("{target}: {why}"))
}

/// A set as it was published.
///
/// # Errors
/// There is no key in it that can be used.
pub(super) fn read(body: &[u8], lifetime: Duration) -> Result<Fetched, String> {
    let set = KeySet::parse(body)?;
    if set.is_empty() {
        let why = set.left_out().first().map(|why| format!(", {why}")).unwrap_or_default();
        return Err(format!("no key in the set can be used{why}"));
    }
    Ok(Fetched { set, content: content(body), lifetime })
}

struct Caller<'a> {
    client: &'a Client,
    clock: &'a Clock,
    source: &'a Source,
    /// When it is too late.
    end: Instant,
}

impl Caller<'_> {
    /// Where the issuer says that its keys are.
    async fn discover(&self, issuer: &str) -> Result<Target, String> {
        let base = issuer.strip_suffix('/').unwrap_or(issuer);
        if base.contains(['?', '#']) {
            return Err("an issuer has no `?` and no `#`".to_owned());
        }
        let target: Target = format!("{base}{DISCOVERY}").parse()?;
        let answer = self.get(&target).await?;
        keys_of(issuer, &target, &answer.body)
    }

    async fn get(&self, target: &Target) -> Result<Answer, String> {
        let left = self.end.saturating_duration_since(self.clock.now());
        let mut call = Call {
            size: SIZE,
            connect_time: left,
            trust: self.source.trust(),
            ..Call::get(target.clone()).within(left)
        };
        call.headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let answer = self.client.call(&call).await.map_err(|failure| format!("{target}: {failure}"))?;
        match answer.status {
            StatusCode::OK => Ok(answer),
            status if status.is_redirection() => {
                Err(format!("{target} answers {}, and redirects are not followed", status.as_u16()))
            }
            status => Err(format!("{target} answers {}", status.as_u16())),
        }
    }
}

/// Where the keys of `issuer` are, by the document at `target`.
fn keys_of(issuer: &str, target: &Target, document: &[u8]) -> Result<Target, String> {
    let document: Document =
        serde_json::from_slice(document).map_err(|error| format!("{target} is no discovery document: {error}"))?;
    // Exactly, as OpenID Connect wants it: else one tenant of a provider could speak for another.
    if document.issuer != issuer {
        return Err(format!("{target} is about another issuer, {:?}; the two must be the same", document.issuer));
    }
    let found: Target = document.jwks_uri.parse().map_err(|_| format!("{target} has a `jwks_uri` that is no URL"))?;
    if found.scheme() == Scheme::Http && target.scheme() == Scheme::Https {
        return Err(format!("{target} has a `jwks_uri` without TLS"));
    }
    Ok(found)
}

/// Some providers write the same keys in another order each time.
fn content(body: &[u8]) -> Content {
    let set: Value = serde_json::from_slice(body).unwrap_or_default();
    let keys = set.get("keys").and_then(Value::as_array);
    let mut keys: Vec<String> = keys.into_iter().flatten().map(Value::to_string).collect();
    keys.sort_unstable();
    let digest = ring::digest::digest(&ring::digest::SHA256, keys.join("\n").as_bytes());
    digest.as_ref().try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_keys_in_another_order_are_the_same() {
        let one = content(br#"{"keys":[{"kid":"a","n":"1"},{"kid":"b"}]}"#);
        assert_eq!(one, content(br#"{ "keys": [ {"kid":"b"}, {"n":"1", "kid":"a"} ], "more": 1 }"#));
        assert_ne!(one, content(br#"{"keys":[{"kid":"a","n":"2"},{"kid":"b"}]}"#));
    }

    #[test]
    fn s1_a_discovery_document_leads_to_keys_of_the_issuer_over_tls() {
        let found = |issuer: &str, uri: &str| {
            let target = format!("{issuer}{DISCOVERY}").parse().unwrap();
            let document = serde_json::json!({ "issuer": issuer, "jwks_uri": uri, "more": [] }).to_string();
            keys_of(issuer, &target, document.as_bytes()).map(|target| target.to_string())
        };
        let (tls, plain) = ("https://id.example", "http://127.0.0.1:1");
        assert_eq!(found(tls, "https://keys.example/a?b=c").unwrap(), "https://keys.example/a");
        assert_eq!(found(plain, "http://127.0.0.1:1/keys").unwrap(), "http://127.0.0.1:1/keys");
        for wrong in
            ["http://id.example/keys", "file:///etc/passwd", "ftp://id.example/", "/keys", "", "https://u:p@h/"]
        {
            assert!(found(tls, wrong).unwrap_err().contains("`jwks_uri`"), "{wrong}");
        }
        let target = format!("{tls}{DISCOVERY}").parse().unwrap();
        let twice =
            br#"{"issuer":"https://id.example","issuer":"https://id.example","jwks_uri":"https://id.example/"}"#;
        assert!(keys_of(tls, &target, twice).unwrap_err().contains("duplicate field"));
    }
}
