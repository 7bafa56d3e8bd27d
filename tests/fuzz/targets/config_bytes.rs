//! Any bytes as a configuration: issues or a configuration, never a panic, and never long.
#![no_main]

use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use tollgate::clock::Clock;
use tollgate::config::interpolate::Environment;
use tollgate::config::load_text;
use tollgate::config::show::Origins;
use tollgate::snapshot::Snapshot;
use tollgate::state::State;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // What other files say is not what is tried, and some of them never end.
    if text.contains("file:") || text.contains("ca:") {
        return;
    }
    let environment = Environment::of([("TOKEN", "p.a-token-of-usual-length"), ("EMPTY", "")]);
    let issues = match load_text("fuzz.yaml", text, PathBuf::new(), &environment) {
        Err(issues) => issues,
        Ok(loaded) => {
            let _ = loaded.shown(Origins::Written).to_string();
            let snapshot = Snapshot::compile(&loaded.config, &State::new(Clock::system()));
            let _ = snapshot.site_of("a.example.com").map(|site| snapshot.find(site, "/top/10.json"));
            loaded.warnings
        }
    };
    let _ = (issues.to_string(), issues.to_github("fuzz.yaml"), issues.to_json("fuzz.yaml"));
});
