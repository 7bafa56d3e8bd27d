//! From a matched route to the head that goes upstream: `pipeline::admit` and
//! the rewrite, with the parameters that callers typically send.
#![expect(clippy::expect_used, reason = "a bench that cannot be set up has nothing to measure")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use tollgate::clock::Clock;
use tollgate::config::interpolate::Environment;
use tollgate::config::load_text;
use tollgate::exchange::grant::Grant;
use tollgate::exchange::head::{CallerScheme, RequestHead};
use tollgate::pipeline::params::ParameterBody;
use tollgate::pipeline::rewrite::Trial;
use tollgate::pipeline::{Case, admit};
use tollgate::snapshot::Snapshot;
use tollgate::state::State;

use super::measure::Measure;

const CONFIG: &str = r#"
upstreams: { tinybird: { url: "https://api.tinybird.example", token: p.a-token-of-usual-length } }
routes:
  /top-10-products: { pipe: top-10-products }
  /tenants/{tenant}/trend:
    pipe: trend
    params: { allow: [date_from, date_to, limit], fixed: { tenant_id: "{path.tenant}" }, allow_public_tenant: true }
"#;

const QUERY: &str = "date_from=2026-01-01&date_to=2026-02-01&limit=50";
const JSON: &str = r#"{"date_from": "2026-01-01", "date_to": "2026-02-01", "limit": 50, "ids": [1, 2, 3]}"#;
const FORM: &str = "date_from=2026-01-01&date_to=2026-02-01&limit=50&name=caf%C3%A9+noir";

/// With several kinds of parameters.
pub(crate) fn admission(measure: &mut impl Measure) {
    let loaded = load_text("bench.yaml", CONFIG, PathBuf::new(), &Environment::of([])).expect("the file is right");
    let state = State::new(Clock::system());
    let snapshot = Snapshot::compile(&loaded.config, &state);
    let site = snapshot.site_of("data.example.com").expect("every host is served");
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_static("data.example.com"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static("curl/8.5.0"));
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    let trace = HeaderValue::from_static("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00");

    for (kind, path, query, body) in [
        ("no parameters", "/top-10-products", "", None),
        ("three parameters", "/top-10-products", QUERY, None),
        ("fixed and allow", "/tenants/acme/trend", QUERY, None),
        ("JSON body", "/top-10-products", "", Some(ParameterBody::Json(Bytes::from_static(JSON.as_bytes())))),
        ("form body", "/top-10-products", "", Some(ParameterBody::Form(Bytes::from_static(FORM.as_bytes())))),
    ] {
        let head = head(path, query);
        measure.prepared(
            kind,
            || (snapshot.find(site, path).expect("the route is configured"), body.clone(), trace.clone()),
            |((route, found), body, trace)| {
                let case =
                    Case { params: &route.params, head: &head, captures: found.captures, grant: Grant::open(), body };
                let permit = admit(case).expect("nothing to refuse");
                let trial = Trial {
                    host: HeaderValue::from_static("t.test"),
                    traceparent: trace,
                    tracestate: None,
                    now: SystemTime::UNIX_EPOCH,
                };
                let parts = route.rewrite.apply(black_box(&head), &permit, &headers, trial);
                // Returned, so that dropping them is not measured.
                (permit, parts.expect("a target that can be passed on"))
            },
        );
    }
}

fn head(path: &str, query: &str) -> RequestHead {
    RequestHead {
        method: Method::GET,
        host: "data.example.com".to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        scheme: CallerScheme::Http,
    }
}
