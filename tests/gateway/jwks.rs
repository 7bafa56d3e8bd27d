//! Keys of identity providers: fetched in the background from a provider that rotates, dies, stalls and lies.
//!
//! The clock stands still until a test turns it; the calls go over real sockets.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use tollgate::clock::TestClock;
use tollgate::outbound::Client;
use tollgate::state::State;
use tollgate::state::jwks::{Keys, Source};

use crate::support::eventually::{asleep, eventually};
use crate::support::identity_provider::{IdentityProvider, Lie};
use crate::support::tls_origin::Authority;

const SECOND: Duration = Duration::from_secs(1);
/// Between fetches that callers can cause.
const COOL_DOWN: Duration = Duration::from_secs(30);
/// No pause after a failure is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// A gateway's state, whose keys are tended to.
struct Tended {
    time: TestClock,
    state: Arc<State>,
    task: JoinHandle<()>,
}

impl Tended {
    fn start() -> Self {
        let time = TestClock::new();
        let state = Arc::new(State::new(time.clock()));
        let (running, client) = (Arc::clone(&state), Client::direct(time.clock()));
        let task = tokio::spawn(async move { running.key_sources().run(client).await });
        Tended { time, state, task }
    }

    /// The keys of a source after their first fetch, however it ended.
    async fn keys(&self, source: &Source) -> Arc<Keys> {
        let keys = self.state.keys(source);
        eventually("the first fetch", || ended(&keys) == 1).await;
        keys
    }

    /// Turns the clock, so that one more fetch begins by itself, and waits for its end.
    async fn next(&self, keys: &Keys, after: Duration) {
        let before = ended(keys);
        self.time.advance(after);
        eventually("the next fetch", || ended(keys) == before + 1).await;
    }
}

impl Drop for Tended {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn ended(keys: &Keys) -> u64 {
    let numbers = keys.numbers();
    numbers.fetched + numbers.failed
}

fn error(keys: &Keys) -> String {
    keys.numbers().error.map(|error| error.to_string()).unwrap_or_default()
}

#[tokio::test]
async fn keys_are_fetched_at_once_and_again_before_they_expire() {
    let provider = IdentityProvider::start();
    provider.cache_control("public, max-age=600");
    provider.rotate(["rs-1", "es-1", "ed-1"]);
    let tended = Tended::start();
    let keys = tended.keys(&Source::jwks(provider.jwks_url())).await;
    assert!(["rs-1", "es-1", "ed-1"].iter().all(|id| keys.current().knows(id)), "{keys:?}");
    assert_eq!((keys.numbers().keys, keys.version(), keys.is_usable()), (3, 1, true));
    tended.time.advance(479 * SECOND);
    asleep(&tended.time, 1).await;
    assert_eq!(provider.fetches(), 1);
    assert_eq!(keys.age(tended.time.clock().now()), Some(479 * SECOND));
    tended.next(&keys, SECOND).await;
    assert_eq!(provider.fetches(), 2);
    assert_eq!(keys.age(tended.time.clock().now()), Some(Duration::ZERO));
    assert_eq!(keys.version(), 1, "the same keys are no reason to verify anything again");
    provider.rotate(["es-2"]);
    tended.next(&keys, 480 * SECOND).await;
    assert_eq!((keys.version(), keys.current().knows("es-2"), keys.current().knows("es-1")), (2, true, false));
}

#[tokio::test]
async fn a_new_key_is_found_after_one_refresh() {
    let provider = IdentityProvider::start();
    let tended = Tended::start();
    let keys = tended.keys(&Source::jwks(provider.jwks_url())).await;
    provider.rotate(["es-1", "es-2"]);
    assert!(!keys.may_be_newer("es-2"), "they were fetched just now");
    keys.refreshed().await;
    assert_eq!(provider.fetches(), 1, "nor is there a fetch for those who ask all the same");

    tended.time.advance(COOL_DOWN);
    assert!(keys.may_be_newer("es-2"));
    let waiting: Vec<_> = (0..100)
        .map(|_| {
            let keys = Arc::clone(&keys);
            tokio::spawn(async move {
                assert!(keys.may_be_newer("es-2"), "also while somebody waits already, and when it has come");
                keys.refreshed().await;
                keys.current().knows("es-2")
            })
        })
        .collect();
    for waiter in waiting {
        assert!(waiter.await.unwrap());
    }
    assert_eq!((provider.fetches(), keys.version()), (2, 2));
    assert!(!keys.may_be_newer("es-3"));
}

#[tokio::test]
async fn keys_outlive_their_provider_for_a_day() {
    let provider = IdentityProvider::start();
    let tended = Tended::start();
    let keys = tended.keys(&Source::jwks(provider.jwks_url())).await;
    provider.die();
    tended.next(&keys, HOUR).await;
    assert!(keys.is_usable() && keys.current().knows("es-1"));
    assert!(error(&keys).contains("/jwks: no answer"), "{}", error(&keys));
    tended.next(&keys, 23 * HOUR).await;
    assert!(keys.is_usable(), "a day is not over");
    tended.next(&keys, LONGEST_PAUSE).await;
    assert!(!keys.is_usable(), "a day is over");
    provider.recover();
    tended.next(&keys, LONGEST_PAUSE).await;
    assert!(keys.is_usable());
    assert_eq!((keys.numbers().error, keys.version()), (None, 1));
}

#[tokio::test]
async fn failures_are_tried_again_after_longer_and_longer_pauses() {
    let provider = IdentityProvider::start();
    provider.die();
    let tended = Tended::start();
    let keys = tended.keys(&Source::jwks(provider.jwks_url())).await;
    assert!(!keys.is_usable() && keys.current().is_empty());
    for longest in [1, 2, 4, 8, 16, 32, 60, 60] {
        // Half of the pause is jitter at most.
        tended.time.advance(SECOND * longest / 2 - Duration::from_millis(1));
        asleep(&tended.time, 1).await;
        let before = ended(&keys);
        assert_eq!(provider.fetches() as u64, before, "{longest}");
        tended.time.advance(SECOND * longest / 2 + Duration::from_millis(1));
        eventually("another try", || ended(&keys) == before + 1).await;
    }
    assert_eq!((keys.numbers().fetched, keys.numbers().failed, keys.age(tended.time.clock().now())), (0, 9, None));
    provider.recover();
    tended.next(&keys, LONGEST_PAUSE).await;
    assert!(keys.is_usable() && keys.current().knows("es-1"), "it picks up when the provider comes");
}

#[tokio::test]
async fn nobody_waits_longer_than_three_seconds_for_a_provider_that_stalls() {
    let provider = IdentityProvider::start();
    let tended = Tended::start();
    let keys = tended.keys(&Source::jwks(provider.jwks_url())).await;
    provider.stall();
    tended.time.advance(COOL_DOWN);
    let wait = || {
        let keys = Arc::clone(&keys);
        tokio::spawn(async move { keys.refreshed().await })
    };
    let first: Vec<_> = (0..50).map(|_| wait()).collect();
    eventually("the request", || provider.fetches() == 2).await;
    tended.time.advance(2 * SECOND);
    assert!(keys.may_be_newer("es-2"), "a fetch is under way");
    let late: Vec<_> = (0..50).map(|_| wait()).collect();
    tended.time.advance(SECOND);
    for waiter in first.into_iter().chain(late) {
        waiter.await.unwrap();
    }
    eventually("the end of the fetch", || keys.numbers().failed == 1).await;
    assert!(error(&keys).contains("nothing came within 3s"), "{}", error(&keys));
    assert_eq!(provider.fetches(), 2);
    assert!(keys.is_usable() && keys.current().knows("es-1") && !keys.may_be_newer("es-2"));
}

#[tokio::test]
async fn nobody_waits_for_ever_where_nothing_is_fetched() {
    let time = TestClock::new();
    let keys = Arc::new(State::new(time.clock())).keys(&Source::jwks("http://127.0.0.1:1/"));
    assert!(keys.may_be_newer("a"));
    let waiter = tokio::spawn({
        let keys = Arc::clone(&keys);
        async move { keys.refreshed().await }
    });
    asleep(&time, 1).await;
    time.advance(3 * SECOND);
    waiter.await.unwrap();
    assert!(!keys.may_be_newer("a"), "nor does the next one wait");
}

#[tokio::test]
async fn s1_a_provider_that_lies_takes_no_keys_away() {
    let provider = IdentityProvider::start();
    let tended = Tended::start();
    let keys = tended.keys(&Source::jwks(provider.jwks_url())).await;
    // What it would say if it were believed.
    provider.rotate(["es-2"]);
    let secrets = r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#;
    let lies = [
        (Lie::Empty, "no key in the set can be used"),
        (Lie::Garbage, "no set of keys"),
        (Lie::Html, "no set of keys"),
        (Lie::Says("null".to_owned()), "no set of keys"),
        (Lie::Says("[".repeat(100_000)), "no set of keys"),
        (Lie::Says(secrets.to_owned()), "symmetric key"),
        (Lie::Says(String::new()), "no set of keys"),
        (Lie::Huge, "larger than 262144 bytes"),
        (Lie::Status(500), "answers 500"),
        (Lie::Status(204), "answers 204"),
        (Lie::Redirect("http://169.254.169.254/latest/meta-data/".to_owned()), "redirects are not followed"),
        (Lie::Redirect(provider.elsewhere()), "answers 302"),
    ];
    let mut wait = HOUR;
    for (lie, expected) in lies {
        provider.lie(lie.clone());
        tended.next(&keys, wait).await;
        assert!(error(&keys).contains(expected), "{lie:?}: {}", error(&keys));
        assert!(keys.current().knows("es-1") && keys.is_usable(), "{lie:?}");
        wait = LONGEST_PAUSE;
    }
    assert_eq!(keys.version(), 1);
    assert!(provider.paths().iter().all(|path| path == "/jwks"), "{:?}", provider.paths());
    provider.recover();
    tended.next(&keys, wait).await;
    assert!(keys.current().knows("es-2"));
}

#[tokio::test]
async fn discovery_finds_the_keys_of_the_issuer_that_was_meant() {
    let provider = IdentityProvider::start();
    let issuer = format!("{}/", provider.url());
    provider.call_itself(&issuer);
    let tended = Tended::start();
    let keys = tended.keys(&Source::discovery(&issuer)).await;
    assert!(keys.current().knows("es-1"), "{}", error(&keys));
    assert_eq!(provider.paths(), ["/.well-known/openid-configuration", "/jwks"]);

    provider.rotate(["es-2"]);
    let mut wait = HOUR;
    // Exactly the one: another tenant of the same provider, or a slash more or less, is another issuer.
    for other in [provider.url(), format!("{issuer}other"), issuer.to_uppercase(), "a\nb".to_owned()] {
        provider.call_itself(&other);
        tended.next(&keys, wait).await;
        assert!(error(&keys).contains("another issuer") && !error(&keys).contains('\n'), "{}", error(&keys));
        wait = LONGEST_PAUSE;
    }
    for lie in [Lie::Redirect(provider.elsewhere()), Lie::Html, Lie::Says(format!(r#"{{"issuer":"{issuer}"}}"#))] {
        provider.lie(lie.clone());
        tended.next(&keys, wait).await;
        assert!(error(&keys).contains("openid-configuration"), "{lie:?}: {}", error(&keys));
    }
    assert_eq!((provider.fetches(), keys.version(), keys.current().knows("es-1")), (1, 1, true));
}

#[tokio::test]
async fn d5_a_flood_of_made_up_ids_causes_one_fetch_in_half_a_minute() {
    let provider = IdentityProvider::start();
    let tended = Tended::start();
    let keys = tended.keys(&Source::jwks(provider.jwks_url())).await;
    let flood = async |name: &str| {
        let mut waits = 0;
        for index in 0..10_000 {
            let id = format!("{name}-{index}");
            if keys.may_be_newer(&id) {
                waits += 1;
                keys.refreshed().await;
            }
            keys.reject(&id);
        }
        waits
    };
    assert_eq!((flood("a").await, provider.fetches()), (0, 1));
    tended.time.advance(COOL_DOWN - SECOND);
    assert_eq!((flood("b").await, provider.fetches()), (0, 1));
    tended.time.advance(SECOND);
    assert_eq!((flood("c").await, provider.fetches()), (1, 2));
    tended.time.advance(COOL_DOWN);
    assert!(!keys.may_be_newer("c-9999"), "it was not there half a minute ago");
    assert_eq!((flood("d").await, provider.fetches()), (1, 3));
    // Once the keys change, what was not there may be there.
    tended.time.advance(COOL_DOWN);
    provider.rotate(["es-2"]);
    keys.refreshed().await;
    tended.time.advance(COOL_DOWN);
    assert!(keys.may_be_newer("d-9999"));
}

#[tokio::test]
async fn an_id_is_unknown_only_to_a_provider_that_answered() {
    let provider = IdentityProvider::start();
    let tended = Tended::start();
    let keys = tended.keys(&Source::jwks(provider.jwks_url())).await;
    let look = async |id: &str| {
        tended.time.advance(COOL_DOWN);
        assert!(keys.may_be_newer(id), "{id}");
        keys.refreshed().await;
        keys.reject(id);
        tended.time.advance(COOL_DOWN);
        keys.may_be_newer(id)
    };
    provider.die();
    assert!(look("es-2").await, "the fetch failed");
    provider.recover();
    assert!(!look("es-2").await, "it was not there");
    tended.time.advance(COOL_DOWN);
    assert!(keys.may_be_newer("es-2"), "a minute later it may be");
    provider.stall();
    let (before, asking) = (provider.fetches(), Arc::clone(&keys));
    let waiting = tokio::spawn(async move { asking.refreshed().await });
    eventually("a fetch", || provider.fetches() == before + 1).await;
    keys.reject("es-3");
    provider.recover();
    waiting.await.unwrap();
    tended.time.advance(COOL_DOWN);
    assert!(keys.may_be_newer("es-3"), "the fetch had not ended");
}

#[tokio::test]
async fn a_key_that_is_there_is_never_remembered_as_unknown() {
    let provider = IdentityProvider::start();
    let tended = Tended::start();
    let keys = tended.keys(&Source::jwks(provider.jwks_url())).await;
    keys.reject("es-1");
    assert!(keys.may_be_newer("es-1"), "whoever looked at older keys is to look again");
}

#[tokio::test]
async fn the_same_source_has_the_same_keys_after_a_reload() {
    let (kept, gone) = (IdentityProvider::start(), IdentityProvider::start());
    let (kept_source, gone_source) = (Source::jwks(kept.jwks_url()), Source::jwks(gone.jwks_url()));
    let tended = Tended::start();
    let keys = tended.keys(&kept_source).await;
    let old = tended.keys(&gone_source).await;
    let after = tended.state.keys(&Source::jwks(kept.jwks_url()));
    tended.state.key_sources().keep([&kept_source].into_iter());
    assert!(Arc::ptr_eq(&keys, &after) && after.is_usable());
    tended.next(&keys, HOUR).await;
    assert_eq!((kept.fetches(), gone.fetches()), (2, 1), "what no configuration names is not fetched");
    assert!(old.current().knows("es-1"), "who still holds them can use them");

    let again = tended.keys(&gone_source).await;
    assert!(!Arc::ptr_eq(&old, &again) && again.is_usable(), "a source that comes back begins anew");
}

#[test]
fn sources_are_the_same_only_in_every_respect() {
    let state = State::new(TestClock::new().clock());
    let source = Source::jwks("https://id.example/keys");
    let keys = state.keys(&source);
    assert!(Arc::ptr_eq(&keys, &state.keys(&source.clone().trusting(Vec::new()))));
    let others = [
        source.clone().trusting(vec![vec![1]]),
        Source::discovery("https://id.example/keys"),
        Source::jwks("https://id.example/keys?p=other"),
        Source::jwks("https://id.example/keys/"),
    ];
    for other in others {
        assert!(!Arc::ptr_eq(&keys, &state.keys(&other)), "{other}");
    }
}

#[tokio::test]
async fn a_provider_that_stalls_holds_up_no_other() {
    let (stalling, well) = (IdentityProvider::start(), IdentityProvider::start());
    stalling.stall();
    let tended = Tended::start();
    let waits = tended.state.keys(&Source::jwks(stalling.jwks_url()));
    eventually("a request that hangs", || stalling.fetches() == 1).await;
    let keys = tended.keys(&Source::jwks(well.jwks_url())).await;
    assert!(keys.is_usable() && !waits.is_usable());
}

#[tokio::test]
async fn certificates_are_verified_with_the_authorities_of_the_source() {
    let authority = Authority::new();
    let origin = authority.origin("localhost").await;
    let url = origin.url("localhost");
    let tended = Tended::start();
    let other = tended.keys(&Source::jwks(&url).trusting(vec![Authority::new().der()])).await;
    assert!(error(&other).contains("not signed by an authority"), "{}", error(&other));
    assert_eq!(origin.requests(), 0);
    let keys = tended.keys(&Source::jwks(&url).trusting(vec![authority.der()])).await;
    assert!(error(&keys).contains("no set of keys"), "it was reached: {}", error(&keys));
}

#[test]
fn a_source_is_shown_without_its_query() {
    let source = Source::jwks("https://id.example/keys?token=secret");
    assert_eq!(format!("{source} {source:?}"), "https://id.example/keys https://id.example/keys");
}

#[test]
fn tokens_of_the_kit_hold_what_they_should() {
    let provider = IdentityProvider::start();
    for id in ["rs-1", "rs-2", "es-1", "ed-1"] {
        let token = provider.sign(&serde_json::json!({ "sub": "ada", "exp": 4_000_000_000_u64 }), id);
        let key: jsonwebtoken::jwk::Jwk = serde_json::from_value(provider.public_key(id)).unwrap();
        let header = jsonwebtoken::decode_header(&token).unwrap();
        assert_eq!(header.kid.as_deref(), Some(id));
        let key = jsonwebtoken::DecodingKey::from_jwk(&key).unwrap();
        let rules = jsonwebtoken::Validation::new(header.alg);
        let read = jsonwebtoken::decode::<serde_json::Value>(&token, &key, &rules).unwrap();
        assert_eq!(read.claims["sub"], "ada", "{id}");
    }
}
