//! Tells operators how the keys of identity providers are.
//!
//! In: the keys of each provider, again and again. Out: metrics, and a line in
//! the log where something changed for the better or the worse. An outage is
//! one line and not one a second. Not here: fetching (`state::jwks`).

use std::collections::BTreeMap;
use std::sync::Arc;

use log::Level;

use crate::state::jwks::{Keys, Numbers};
use crate::telemetry::metrics::Metrics;

/// What was told so far.
#[derive(Debug)]
pub(super) struct KeyReport {
    metrics: Metrics,
    told: BTreeMap<Arc<str>, (Arc<Keys>, Numbers)>,
}

/// What requests notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Fetching fails, and the last keys are good enough.
    Kept,
    /// Fetching fails, and there are no keys that can be believed.
    Missing,
    Well,
}

impl KeyReport {
    pub(super) fn new(metrics: Metrics) -> Self {
        KeyReport { metrics, told: BTreeMap::new() }
    }

    /// Tells what is new about these providers, and forgets all others.
    pub(super) fn tell(&mut self, providers: &[(Arc<str>, Arc<Keys>)]) {
        self.told.retain(|name, _| providers.iter().any(|(provider, _)| provider == name));
        for (provider, keys) in providers {
            let numbers = keys.numbers();
            // With another source, what is told begins anew.
            let before = self.told.get(provider).filter(|(told, _)| Arc::ptr_eq(told, keys));
            let before = before.map(|(_, numbers)| numbers.clone()).unwrap_or_default();
            self.metrics.set_keys(provider, numbers.keys, numbers.age);
            let (ok, failed) = (numbers.fetched - before.fetched, numbers.failed - before.failed);
            self.metrics.count_key_fetches(provider, ok, failed);
            if let Some((level, line)) = news(provider, &before, &numbers) {
                log::log!(level, "{line}");
            }
            self.told.insert(Arc::clone(provider), (Arc::clone(keys), numbers));
        }
    }
}

/// A line for the log, if a provider's standing changed.
fn news(provider: &str, before: &Numbers, now: &Numbers) -> Option<(Level, String)> {
    let standing = Standing::of(now);
    if standing == Standing::of(before) {
        return None;
    }
    let why = now.error.as_deref().unwrap_or_default();
    Some(match standing {
        Standing::Kept => (
            Level::Warn,
            format!("the keys of provider {provider} cannot be fetched again, its last ones are kept for a day: {why}"),
        ),
        Standing::Missing => (
            Level::Error,
            format!("the keys of provider {provider} cannot be fetched, requests with its tokens answer 503: {why}"),
        ),
        Standing::Well => (Level::Info, format!("the keys of provider {provider} can be fetched again")),
    })
}

impl Standing {
    fn of(numbers: &Numbers) -> Self {
        match (&numbers.error, numbers.is_usable) {
            (None, _) => Standing::Well,
            (Some(_), false) => Standing::Missing,
            (Some(_), true) => Standing::Kept,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::telemetry::usage::Exposition;
    use std::time::Duration;

    use super::*;
    use crate::clock::TestClock;
    use crate::state::State;
    use crate::state::jwks::Source;
    use crate::telemetry::metrics::Kept;

    #[test]
    fn g2_an_outage_is_told_when_it_begins_when_it_hurts_and_when_it_ends() {
        let well = Numbers { is_usable: true, fetched: 1, keys: 2, age: Some(Duration::ZERO), ..Numbers::default() };
        let kept = Numbers { failed: 1, error: Some("no connection".into()), ..well.clone() };
        let missing = Numbers { failed: 9, is_usable: false, ..kept.clone() };
        let told = |before: &Numbers, now: &Numbers| news("acme", before, now);
        assert_eq!(told(&Numbers::default(), &well), None, "that all is well is no news");
        let (level, line) = told(&well, &kept).unwrap();
        assert_eq!(level, Level::Warn);
        assert!(line.contains("acme") && line.ends_with(": no connection"), "{line}");
        assert_eq!(told(&kept, &Numbers { failed: 2, error: Some("no TLS".into()), ..kept.clone() }), None);
        assert_eq!(told(&kept, &missing).unwrap().0, Level::Error);
        assert_eq!(told(&Numbers::default(), &missing).unwrap().0, Level::Error);
        assert_eq!(told(&missing, &well).unwrap().0, Level::Info);
        assert_eq!(told(&kept, &well).unwrap().1, "the keys of provider acme can be fetched again");
    }

    #[test]
    fn each_provider_has_its_series_and_what_is_gone_is_forgotten() {
        let state = State::new(TestClock::new().clock());
        let metrics = Metrics::new().unwrap();
        let mut report = KeyReport::new(metrics.clone());
        let keys = state.keys(&Source::jwks("http://127.0.0.1:1/"));
        report.tell(&[("one".into(), Arc::clone(&keys)), ("two".into(), keys)]);
        let text = || String::from_utf8(metrics.encode(Exposition::Text).unwrap()).unwrap();
        for provider in ["one", "two"] {
            for series in
                ["tollgate_jwks_keys{provider=\"P\"} 0", "tollgate_jwks_fetches_total{provider=\"P\",result=\"ok\"} 0"]
            {
                let series = series.replace('P', provider);
                assert!(text().contains(&series), "{series} in\n{}", text());
            }
        }
        assert!(!text().contains("tollgate_jwks_age_seconds{"), "they never came");
        metrics.set_keys("one", 2, Some(Duration::from_secs(5)));
        metrics.count_key_fetches("one", 1, 2);
        assert!(text().contains("tollgate_jwks_age_seconds{provider=\"one\"} 5\n"), "{}", text());
        assert!(text().contains("tollgate_jwks_fetches_total{provider=\"one\",result=\"failed\"} 2\n"), "{}", text());
        report.tell(&[]);
        metrics.keep(&Kept { providers: ["two".into()].into(), ..Kept::default() });
        assert!(!text().contains("provider=\"one\"") && text().contains("provider=\"two\""), "{}", text());
    }
}
