//! Any query and body of parameters: a fixed parameter goes upstream exactly once, with its own value.
#![no_main]

use std::path::PathBuf;
use std::sync::OnceLock;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tollgate::clock::Clock;
use tollgate::config::interpolate::Environment;
use tollgate::config::load_text;
use tollgate::pipeline::params::ParameterBody;
use tollgate::snapshot::Snapshot;
use tollgate::state::State;

const FILE: &str = "
upstreams: { t: { url: 'http://127.0.0.1:1' } }
routes: { /fixed: { pipe: p, params: { fixed: { company: acme } } } }
";

fuzz_target!(|input: (&str, &[u8], bool)| {
    static SNAPSHOT: OnceLock<Snapshot> = OnceLock::new();
    let snapshot = SNAPSHOT.get_or_init(|| {
        let loaded = load_text("fuzz.yaml", FILE, PathBuf::new(), &Environment::of([])).expect("the file is right");
        Snapshot::compile(&loaded.config, &State::new(Clock::system()))
    });
    let (query, body, json) = input;
    let body = Bytes::copy_from_slice(body);
    let body = if json { ParameterBody::Json(body) } else { ParameterBody::Form(body) };
    let site = snapshot.site_of("localhost").expect("every host is served");
    let (route, found) = snapshot.find(site, "/fixed").expect("the route is configured");
    if let Ok(bound) = route.params.bind(query, &found.captures, Some(body)) {
        let named = bound.query.split('&').filter(|pair| pair.starts_with("company=")).collect::<Vec<_>>();
        assert_eq!(named, ["company=acme"], "{query:?}");
    }
});
