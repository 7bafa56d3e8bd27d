//! How often a request asks for memory: through a gateway in this process, and through a bare Pingora proxy beside it.
//!
//! Counted of all threads; origin and caller ask for none. `cargo test --test allocations`.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails loudly; Clippy exempts only functions that are tests themselves"
)]

mod bare;
mod ends;

use std::alloc::System;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::json;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tollgate::app::App;
use tollgate::clock::Clock;
use tollgate::config::interpolate::Environment;
use tollgate::config::load_text;
use tollgate::config::scalar::Algorithm;
use tollgate::jose::SigningKey;
use tollgate::proxy::server::Signals;

use self::ends::Caller;

#[global_allocator]
static COUNTING: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What one request may take, and a block that is made larger counts once more. These are the counts of the day on which they were written:
/// who needs one more says here what for, and who needs fewer writes that down. Pingora's own change with its version only.
const BARE: usize = 90;
/// More than bare: the route, the head that goes upstream, the answer's head, what is counted.
const OPEN: usize = 14;
/// More than open: the token's claims, the tenant's parameter, the limit and its headers.
const TOKEN: usize = 11;

const WARM_UP: usize = 300;
/// Pingora's timers and other threads ask now and then, by the clock: the batch in which they asked least counts.
const BATCHES: usize = 10;
const COUNTED: usize = 200;

const SECRET: &str = "an admin token of a workspace has more bytes than this";
const WORKSPACE: &str = "9c2a0c2e-0000-4000-8000-000000000001";

// One test: what others do at the same time would be counted.
#[test]
fn a_request_asks_for_memory_no_more_often_than_before() {
    let origin = ends::origin();
    let folder = tempfile::tempdir().expect("a folder for the test");
    let gateway = gateway(origin, folder.path());
    let token = token();
    let bare = per_request(&mut Caller::of(bare::proxy(origin), "/open", None));
    let open = per_request(&mut Caller::of(gateway.addresses()[0], "/open", None));
    let known = per_request(&mut Caller::of(gateway.addresses()[0], "/token", Some(&token)));
    let found = [bare, open.saturating_sub(bare), known.saturating_sub(open)];
    let said = format!(
        "bare Pingora {} (it may be {BARE}), an open route {} more ({OPEN}), a token with a limit {} more ({TOKEN}); {bare}, {open}, {known} in all",
        found[0], found[1], found[2]
    );
    println!("allocations of a request: {said}");
    assert!(found[0] <= BARE && found[1] <= OPEN && found[2] <= TOKEN, "more allocations than before: {said}");
    // Else the next one to take some would have them for nothing.
    let less = |found: usize, bound: usize| found + 2 < bound;
    assert!(
        !less(found[0], BARE) && !less(found[1], OPEN) && !less(found[2], TOKEN),
        "fewer allocations, well done. Write them down in tests/allocations/main.rs: {said}"
    );
}

fn per_request(caller: &mut Caller) -> usize {
    caller.ask(WARM_UP);
    let batch = |_| {
        let before = taken();
        caller.ask(COUNTED);
        (taken() - before) / COUNTED
    };
    (0..BATCHES).map(batch).min().unwrap_or_default()
}

fn taken() -> usize {
    let stats = COUNTING.stats();
    stats.allocations + stats.reallocations
}

fn gateway(origin: SocketAddr, folder: &Path) -> App {
    let text = format!(
        "listeners: [{{ address: 127.0.0.1:0 }}]
admin: {{ address: 127.0.0.1:0 }}
log: {{ access: 'off' }}
upstreams: {{ t: {{ url: 'http://{origin}', token: p.a-token-of-usual-length }} }}
auth:
  dashboards: {{ type: tinybird_jwt, secret: {SECRET}, workspace_id: {WORKSPACE}, tenant: '{{fixed_params.company_id}}' }}
limits: {{ each: {{ by: tenant, rate: 1000000/s }} }}
routes:
  /open: {{ pipe: top, auth: public }}
  /token: {{ pipe: top, auth: dashboards, limits: [each], params: {{ fixed: {{ company_id: '{{tenant}}' }} }} }}
"
    );
    let loaded = load_text("test.yaml", &text, folder.to_path_buf(), &Environment::of([]));
    let loaded = loaded.unwrap_or_else(|issues| panic!("{issues}"));
    App::start(&loaded.config, Clock::system(), Signals::Ignore).unwrap_or_else(|error| panic!("{error:#}"))
}

fn token() -> String {
    let claims = json!({
        "workspace_id": WORKSPACE,
        "name": "dashboard of acme",
        "exp": 4_000_000_000_u64,
        "scopes": [{ "type": "PIPES:READ", "resource": "top", "fixed_params": { "company_id": "acme" } }],
    });
    let signer = SigningKey::secret(SECRET.as_bytes()).expect("a secret");
    signer.sign(Algorithm::Hs256, &json!({ "typ": "JWT" }), &claims).expect("its own algorithm")
}
