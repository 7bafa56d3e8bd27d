//! The credentials that examples and pages are called with: tokens that are really signed, keys that the program makes.
//!
//! In: claims as they are shown (`NAME = { .. }`), or a command that prints a key (`NAME=$(tollgate ..)`). Out: lines with
//! `$NAME` filled in. Claims with a `workspace_id` are signed as a backend with the bundled API's admin token would, all
//! others by an identity provider of our own.

use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

use serde_json::Value;
use tollgate::clock::Clock;
use tollgate::demo;

use crate::support::identity_provider::IdentityProvider;

/// Seconds that tokens are good for.
const LIFE: u64 = 600;

pub(crate) struct Credentials {
    provider: IdentityProvider,
    named: BTreeMap<String, String>,
}

impl Credentials {
    pub(crate) fn new() -> Self {
        Self { provider: IdentityProvider::start(), named: BTreeMap::new() }
    }

    /// Who signs what has no `workspace_id`.
    pub(crate) fn issuer(&self) -> String {
        self.provider.issuer()
    }

    pub(crate) fn keep(&mut self, name: &str, text: &str) {
        self.named.insert(name.to_owned(), text.trim().to_owned());
    }

    /// Signs claims, good from now on.
    pub(crate) fn sign(&mut self, name: &str, claims: &str) {
        let mut claims: Value =
            serde_json::from_str(claims).unwrap_or_else(|error| panic!("{name}: {error} in {claims}"));
        let now = Clock::system().wall().duration_since(UNIX_EPOCH).unwrap().as_secs();
        claims["exp"] = Value::from(now + LIFE);
        let token = match claims.get("workspace_id") {
            Some(_) => demo::sign(&claims),
            None => {
                claims["iss"] = Value::from(self.issuer());
                self.provider.sign(&claims, "es-1")
            }
        };
        self.keep(name, &token);
    }

    /// The line with every `$NAME` filled in.
    pub(crate) fn fill(&self, line: &str) -> String {
        // The longest first: one name may begin another.
        let mut named: Vec<_> = self.named.iter().collect();
        named.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        named.into_iter().fold(line.to_owned(), |line, (name, text)| line.replace(&format!("${name}"), text))
    }
}
