//! Any bytes as a configuration: issues or a configuration, never a panic, and never long; what is shown of one loads again.

use std::path::PathBuf;

use tollgate::clock::Clock;
use tollgate::config::interpolate::Environment;
use tollgate::config::load_text;
use tollgate::config::show::Origins;
use tollgate::snapshot::Snapshot;
use tollgate::state::State;

/// What other files say is not what is tried, and some of them never end.
const OF_FILES: [&str; 4] = ["file:", "ca:", "/dev/", "/proc/"];

/// Tries these bytes.
pub fn holds(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if OF_FILES.iter().any(|word| text.contains(word)) {
        return;
    }
    let environment = Environment::of([("TOKEN", "p.a-token-of-usual-length"), ("EMPTY", "")]);
    let issues = match load_text("fuzz.yaml", text, PathBuf::new(), &environment) {
        Err(issues) => {
            assert!(issues.has_errors(), "{text:?} is refused for nothing");
            issues
        }
        Ok(loaded) => {
            let _ = loaded.shown(Origins::Written).to_string();
            let snapshot = Snapshot::compile(&loaded.config, &State::new(Clock::system()));
            let _ = snapshot.site_of("a.example.com").map(|site| snapshot.find(site, "/top/10.json"));
            loaded.warnings
        }
    };
    let _ = (issues.to_string(), issues.to_github("fuzz.yaml"), issues.to_json("fuzz.yaml"));
}
