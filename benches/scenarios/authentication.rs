//! What it costs to know who calls: signatures alone, then everything from a
//! matched route to what its caller may do (`Entrance::enter`), and what a known
//! caller adds to the request that goes upstream.
//!
//! "Fresh" tokens were never seen before; "cached" ones were. Tokens are about
//! 600 bytes long and stand in `Authorization` among the headers that a browser sends.
#![expect(clippy::expect_used, reason = "a bench that cannot be set up has nothing to measure")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use serde_json::{Value, json};
use tollgate::clock::Clock;
use tollgate::config::interpolate::Environment;
use tollgate::config::load_text;
use tollgate::config::scalar::{Algorithm, ApiKey, PublicKey};
use tollgate::exchange::captures::Captures;
use tollgate::exchange::grant::Grant;
use tollgate::exchange::head::{CallerScheme, RequestHead};
use tollgate::jose::{Compact, Key, SigningKey};
use tollgate::pipeline::authn::Desk;
use tollgate::pipeline::rewrite::Trial;
use tollgate::pipeline::{Case, Turned, admit};
use tollgate::snapshot::Snapshot;
use tollgate::snapshot::route::Route;
use tollgate::state::State;
use tollgate::state::verified::Verified;

use super::measure::Measure;

const SECRET: &str = "an admin token of a workspace has more bytes than this";
const WORKSPACE: &str = "9c2a0c2e-0000-4000-8000-000000000001";
const HOST: &str = "data.example.com";

macro_rules! sample {
    ($name:literal) => {
        include_str!(concat!("../../tests/jose/", $name, ".pem"))
    };
}

// --- Signatures alone ---

/// Taking a token apart, and verifying it.
pub(crate) fn signatures(measure: &mut impl Measure) {
    let public = |pem: &str| Key::public(&pem.parse::<PublicKey>().expect("a public key"));
    for (algorithm, signer, key) in [
        (Algorithm::Hs256, shared(), Key::hmac(SECRET.as_bytes(), &[Algorithm::Hs256])),
        (Algorithm::Rs256, private(sample!("rsa")), public(sample!("rsa.public"))),
        (Algorithm::Es256, private(sample!("p256")), public(sample!("p256.public"))),
        (Algorithm::EdDsa, private(sample!("ed25519")), public(sample!("ed25519.public"))),
    ] {
        let text = token(&signer, algorithm, &of_dashboard("acme"));
        measure.bytes(text.len());
        if algorithm == Algorithm::Hs256 {
            measure.each("parse", || Compact::parse(black_box(&text)).expect("a token"));
        }
        measure.each(algorithm.name(), || {
            let token = Compact::parse(black_box(&text)).expect("a token");
            assert!(key.verify(algorithm, &token));
            token
        });
    }
}

// --- Coming in ---

/// From a matched route to what its caller may do.
pub(crate) fn entrance(measure: &mut impl Measure) {
    let gate = Gate::open();
    let dashboard = token(&shared(), Algorithm::Hs256, &of_dashboard("acme"));
    let hs256 = token(&shared(), Algorithm::Hs256, &of_employee("hs256"));
    let rs256 = token(&private(sample!("rsa")), Algorithm::Rs256, &of_employee("rs256"));
    let es256 = token(&private(sample!("p256")), Algorithm::Es256, &of_employee("es256"));
    let key = gate.key.expose().to_owned();
    let unknown = tollgate::config::scalar::api_key::generate(&"tgk".parse().expect("a prefix")).expect("randomness");
    for (kind, path, text) in [
        ("public", "/public", &dashboard),
        ("tinybird_jwt, cached", "/dashboards", &dashboard),
        ("jwt HS256, cached", "/hs256", &hs256),
        ("jwt RS256, cached", "/rs256", &rs256),
        ("one of four providers, cached", "/any", &rs256),
        ("api_key", "/partners", &key),
        ("api_key that is unknown", "/partners", &unknown.expose().to_owned()),
    ] {
        let visit = Visit::new(&gate, path, text);
        let verified = Verified::default();
        measure.each(kind, || visit.enter(Some(&verified)));
    }
    for (kind, path, text) in [("jwt RS256, fresh", "/rs256", &rs256), ("jwt ES256, fresh", "/es256", &es256)] {
        let visit = Visit::new(&gate, path, text);
        measure.each(kind, || visit.enter(None));
    }
    for (kind, path, claims) in [
        ("tinybird_jwt HS256, fresh", "/dashboards", of_dashboard as fn(&str) -> Value),
        ("jwt HS256, fresh", "/hs256", |turn| with(of_employee("hs256"), "jti", turn)),
    ] {
        // As fresh as can be: another token each time, and each is kept where room for it must be made first.
        let verified = Verified::default();
        let mut turn = 0_u64;
        measure.prepared(
            kind,
            || {
                turn += 1;
                let text = token(&shared(), Algorithm::Hs256, &claims(&format!("acme-{turn:012}")));
                Visit::new(&gate, path, &text)
            },
            |visit| (visit.enter(Some(&verified)).is_ok(), visit),
        );
    }
}

// --- From there to the head that goes upstream ---

/// What a known caller adds to the request that goes upstream.
pub(crate) fn known_callers(measure: &mut impl Measure) {
    let gate = Gate::open();
    let text = token(&shared(), Algorithm::Hs256, &of_dashboard("acme"));
    let trace = HeaderValue::from_static("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00");
    for (kind, path) in
        [("public", "/public"), ("tenant fixed", "/dashboards"), ("tenant fixed, minted token, cached", "/minted")]
    {
        let visit = Visit::new(&gate, path, &text);
        let verified = Verified::default();
        let grant = visit.enter(Some(&verified)).expect("a good token");
        measure.prepared(
            kind,
            || (grant.clone(), trace.clone()),
            |(grant, traceparent)| {
                let Visit { route, head, captures, .. } = &visit;
                let case = Case { params: &route.params, head, captures: captures.clone(), grant, body: None };
                let permit = admit(case).expect("nothing to refuse");
                let trial = Trial {
                    host: HeaderValue::from_static("t.test"),
                    traceparent,
                    tracestate: None,
                    now: gate.state.clock().wall(),
                };
                let parts = route.rewrite.apply(head, &permit, &visit.headers, trial);
                // Returned, so that dropping them is not measured.
                (permit, parts.expect("a target that can be passed on"))
            },
        );
    }
}

// --- Set-up ---

/// A gateway without sockets.
struct Gate {
    snapshot: Snapshot,
    state: State,
    key: ApiKey,
}

impl Gate {
    fn open() -> Self {
        let key = tollgate::config::scalar::api_key::generate(&"tgk".parse().expect("a prefix")).expect("randomness");
        let folder = tempfile::tempdir().expect("a folder");
        let record = format!("- {{ id: {}, sha256: {}, tenant: acme }}\n", key.id().as_str(), key.hash());
        std::fs::write(folder.path().join("keys.yaml"), record).expect("a file");
        let config = CONFIG
            .replace("SECRET", SECRET)
            .replace("WORKSPACE", WORKSPACE)
            .replace("RSA", &Value::from(sample!("rsa.public")).to_string())
            .replace("P256", &Value::from(sample!("p256.public")).to_string());
        let loaded = load_text("bench.yaml", &config, folder.path().to_owned(), &Environment::of([]));
        let loaded = loaded.expect("the file is right");
        let state = State::new(Clock::system());
        Gate { snapshot: Snapshot::compile(&loaded.config, &state), state, key }
    }
}

const CONFIG: &str = r#"
auth:
  dashboards: { type: tinybird_jwt, secret: SECRET, workspace_id: WORKSPACE, tenant: "{fixed_params.company_id}" }
  hs256: { type: jwt, issuer: https://hs256.example/, audience: analytics, secret: SECRET, tenant: "{claims.org_id}" }
  rs256: { type: jwt, issuer: https://rs256.example/, audience: analytics, key: RSA, tenant: "{claims.org_id}" }
  es256: { type: jwt, issuer: https://es256.example/, audience: analytics, key: P256, tenant: "{claims.org_id}" }
  partners: { type: api_key, keys: ./keys.yaml }
default_auth: public
upstreams:
  tinybird: { url: "https://api.tinybird.example", token: p.a-token-of-usual-length }
  minting: { url: "https://api.tinybird.example", auth: mint, mint: { secret: SECRET, workspace_id: WORKSPACE } }
routes:
  /public: { pipe: top, upstream: tinybird, auth: public }
  /dashboards: { pipe: top, upstream: tinybird, auth: dashboards, params: { fixed: { company_id: "{tenant}" } } }
  /minted: { pipe: top, upstream: minting, auth: dashboards, params: { fixed: { company_id: "{tenant}" } } }
  /hs256: { pipe: top, upstream: tinybird, auth: hs256 }
  /rs256: { pipe: top, upstream: tinybird, auth: rs256 }
  /es256: { pipe: top, upstream: tinybird, auth: es256 }
  /any: { pipe: top, upstream: tinybird, auth: [dashboards, hs256, es256, rs256, partners] }
  /partners: { pipe: top, upstream: tinybird, auth: partners }
"#;

/// A request whose route is known.
struct Visit<'g> {
    gate: &'g Gate,
    route: &'g Route,
    captures: Captures,
    head: RequestHead,
    headers: HeaderMap,
}

impl<'g> Visit<'g> {
    fn new(gate: &'g Gate, path: &str, credential: &str) -> Self {
        let site = gate.snapshot.site_of(HOST).expect("every host is served");
        let (route, found) = gate.snapshot.find(site, path).expect("the route is configured");
        let head = RequestHead {
            method: Method::GET,
            host: HOST.to_owned(),
            path: path.to_owned(),
            query: "date_from=2026-01-01&date_to=2026-02-01&limit=50".to_owned(),
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            scheme: CallerScheme::Http,
        };
        Visit { gate, route, captures: found.captures, head, headers: headers(credential) }
    }

    fn enter(&self, verified: Option<&Verified>) -> Result<Grant, Turned> {
        let desk = Desk { now: self.gate.state.clock().wall(), verified, guessers: None, certificate: None };
        let entrance = self.gate.snapshot.entrance(self.gate.snapshot.site_of(&self.head.host), self.route);
        entrance.enter(black_box(&self.headers), &self.head, &self.captures, &desk)
    }
}

fn headers(credential: &str) -> HeaderMap {
    let fixed = [
        (header::HOST, HOST),
        (header::USER_AGENT, "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36"),
        (header::ACCEPT, "application/json"),
        (header::ACCEPT_LANGUAGE, "en-GB,en;q=0.9"),
        (header::ACCEPT_ENCODING, "gzip, deflate, br, zstd"),
        (header::ORIGIN, "https://app.example.com"),
        (header::REFERER, "https://app.example.com/"),
        (HeaderName::from_static("sec-fetch-mode"), "cors"),
    ];
    let mut headers: HeaderMap =
        fixed.map(|(name, value)| (name, HeaderValue::from_static(value))).into_iter().collect();
    let bearer = HeaderValue::from_str(&format!("Bearer {credential}")).expect("visible characters");
    headers.insert(header::AUTHORIZATION, bearer);
    headers
}

/// As a dashboard sends it.
fn of_dashboard(tenant: &str) -> Value {
    json!({
        "workspace_id": WORKSPACE,
        "name": "dashboard of acme",
        "exp": 4_000_000_000_u64,
        "scopes": [
            { "type": "PIPES:READ", "resource": "top", "fixed_params": { "company_id": tenant } },
            { "type": "PIPES:READ", "resource": "t_abcdef1234567890", "fixed_params": { "company_id": tenant } },
        ],
        // More than a bench can spend.
        "limits": { "rps": 1_000_000_000 },
    })
}

/// As an identity provider makes it.
fn of_employee(provider: &str) -> Value {
    json!({
        "iss": format!("https://{provider}.example/"),
        "aud": ["analytics", "https://api.example.com/userinfo"],
        "sub": "auth0|6501f0c3a1b2c3d4e5f60718",
        "org_id": "acme",
        "iat": 1_700_000_000_u64,
        "exp": 4_000_000_000_u64,
        "scope": "openid profile email reports.read",
        "azp": "dS8kP2mQxY7vN4wL1tRzB6hJ3cF9gK5a",
        "email": "somebody@acme.example",
    })
}

fn with(mut claims: Value, name: &str, value: &str) -> Value {
    claims.as_object_mut().expect("an object").insert(name.to_owned(), Value::from(value));
    claims
}

fn token(signer: &SigningKey, algorithm: Algorithm, claims: &Value) -> String {
    signer.sign(algorithm, &json!({ "typ": "JWT", "kid": "2026-01" }), claims).expect("its own algorithm")
}

fn shared() -> SigningKey {
    SigningKey::secret(SECRET.as_bytes()).expect("a secret")
}

fn private(pem: &str) -> SigningKey {
    SigningKey::from_pem(pem).expect("a private key")
}
