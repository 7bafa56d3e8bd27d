//! Tries to fetch the public keys of identity providers, as a gateway would.
//!
//! In: a configuration. Out: findings. Not here: whether tokens are good
//! (`tollgate token verify`).

use std::sync::Arc;

use crate::clock::Clock;
use crate::config::Config;
use crate::config::issue::IssueCode;
use crate::outbound::Client;
use crate::snapshot::Snapshot;
use crate::state::State;
use crate::state::jwks::Keys;

use super::{Grade, Problem, Trial, Trials, counted};

pub(super) async fn probe(config: &Config, clock: &Clock) -> Trials {
    let state = State::new(clock.clone());
    let snapshot = Snapshot::compile(config, &state);
    let mut found = Trials::default();
    let client = Client::direct(clock.clone());
    let all = async {
        for (provider, keys) in &snapshot.provider_keys {
            keys.refreshed().await;
            tell(&mut found, config, provider, keys);
        }
    };
    tokio::select! {
        () = all => {}
        // Never ends by itself.
        () = state.key_sources().run(client) => {}
    }
    found
}

fn tell(found: &mut Trials, config: &Config, provider: &str, keys: &Arc<Keys>) {
    let subject = format!("provider {provider}");
    let numbers = keys.numbers();
    if numbers.is_usable {
        let words = format!("{} of {}", counted(numbers.keys, "public key"), keys.source());
        found.note(&subject, Trial::Keys, Grade::Ok, words);
        return;
    }
    let why = numbers.error.as_deref().unwrap_or("no answer in time").to_owned();
    let jwks = config.auth.get(provider).is_some_and(|section| section.jwks.is_some());
    let key = if jwks { "jwks" } else { "issuer" };
    let title = format!("the public keys of `{provider}` cannot be fetched: {why}");
    let help = "until they can, its callers get 503; look whether the URL is right and can be reached from here";
    found.problem(&subject, Trial::Keys, Problem::new(IssueCode::KeysUnfetched, &["auth", provider, key], title, help));
}
