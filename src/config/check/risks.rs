//! Values that can be used and hardly do what was meant.
//!
//! In: the decoded configuration. Out: warnings. Not here: what cannot be used
//! at all (the other files of `check`), credentials in the file (`secrets`).

use std::collections::BTreeMap;

use crate::config::WrittenRoute;
use crate::config::issue::{Issue, IssueCode};
use crate::config::scalar::{Period, Scheme, Template};
use crate::config::section::retry::Retry;
use crate::config::section::upstreams::Upstream;

use super::{Checker, is_loopback};

impl Checker<'_> {
    pub(super) fn risks_of_an_upstream(&mut self, name: &str, upstream: &Upstream) {
        self.plain_http(name, upstream);
        self.doubled_version(name, upstream);
        self.attempt_beyond_total(name, upstream);
        self.waits_beyond_total(name, upstream);
        self.queue_beyond_total(name, upstream);
    }

    pub(super) fn risks_of_a_route(&mut self, at: WrittenRoute<'_>) {
        self.fixed_and_allowed(at);
        self.refused_pipe(at);
    }

    fn plain_http(&mut self, name: &str, upstream: &Upstream) {
        if upstream.scheme() != Some(Scheme::Http) || is_loopback(upstream) {
            return;
        }
        let title = match upstream.token.is_some() || !upstream.headers.is_empty() {
            true => format!("the credential of `{name}` travels without TLS"),
            false => format!("requests to `{name}` and its answers travel without TLS"),
        };
        let help = "use https:// unless every machine on the way is yours";
        self.at_value(IssueCode::PlainHttp, &["upstreams", name, upstream.url_key()], title, help);
    }

    /// `/v0/pipes/…` is added behind the URL, so what ends in `/v0` leads to `/v0/v0/pipes/…`.
    fn doubled_version(&mut self, name: &str, upstream: &Upstream) {
        let Some(before) = upstream.base_path().strip_suffix("/v0") else { return };
        if self.with_pipes.contains(name) {
            let title = format!("the pipes of `{name}` would be asked for at `{before}/v0/v0/pipes/`");
            let help = "leave `/v0` out of the URL: the gateway adds it for pipes";
            self.at_value(IssueCode::DoubledVersion, &["upstreams", name, upstream.url_key()], title, help);
        }
    }

    fn attempt_beyond_total(&mut self, name: &str, upstream: &Upstream) {
        let path = ["upstreams", name, "timeouts", "attempt"];
        let (attempt, total) = (upstream.timeouts.attempt, upstream.timeouts.total);
        // Who writes only a shorter `total` has said all that is needed.
        let written = self.document.node(&path).is_some() && !self.reported(&path);
        if written && attempt > total && total > Period::of_millis(0) {
            let title = format!("`attempt` ({attempt}) is longer than `total` ({total}): no try ever takes that long");
            let help = format!("make `attempt` shorter than {total}, or `total` longer");
            self.beside_total(name, &path, title, help);
        }
    }

    /// Waits are random up to a bound. Where the bounds add up to more than `total`, the later tries may never begin.
    fn waits_beyond_total(&mut self, name: &str, upstream: &Upstream) {
        let total = upstream.timeouts.total;
        let path = ["upstreams", name, "retry"];
        let waits = longest_waits(&upstream.retry);
        if waits > total && total > Period::of_millis(0) && !self.reported(&["upstreams", name, "timeouts", "total"]) {
            let title = format!(
                "the waits between {} tries may add up to {waits}, and `total` ends everything after {total}",
                upstream.retry.attempts
            );
            let help = "take fewer `attempts`, a shorter `base` or `max`, or a longer `total`".to_owned();
            self.beside_total(name, &path, title, help);
        }
    }

    fn queue_beyond_total(&mut self, name: &str, upstream: &Upstream) {
        let path = ["upstreams", name, "concurrency", "wait"];
        let Some(wait) = upstream.concurrency.as_ref().map(|concurrency| concurrency.wait) else { return };
        let total = upstream.timeouts.total;
        let written = self.document.node(&path).is_some() && !self.reported(&path);
        if written && wait > total && total > Period::of_millis(0) {
            let title = format!("`wait` ({wait}) is longer than `total` ({total}): nobody waits that long");
            let help = format!("make `wait` shorter than {total}, or `total` longer");
            self.beside_total(name, &path, title, help);
        }
    }

    fn beside_total(&mut self, name: &str, path: &[&str], title: String, help: String) {
        let total = ["upstreams", name, "timeouts", "total"];
        let issue = Issue::at(IssueCode::RetryBeyondTimeout, self.document.key_place(path), title).help(help);
        self.issues.push(match self.document.node(&total) {
            Some(_) => issue.related(self.document.value_place(&total), "`total`"),
            None => issue,
        });
    }

    fn fixed_and_allowed(&mut self, at: WrittenRoute<'_>) {
        let route = at.route;
        if route.params.fixed.is_empty() {
            return;
        }
        // As in requests, no spelling of a fixed name gets around it.
        let fixed: BTreeMap<String, &str> =
            route.params.fixed.keys().rev().map(|name| (name.to_ascii_lowercase(), name.as_str())).collect();
        for (index, allowed) in route.params.allow.iter().flatten().enumerate() {
            let Some(fixed) = fixed.get(&allowed.to_ascii_lowercase()) else { continue };
            let item = index.to_string();
            let place = self.document.value_place(&at.path(&["params", "allow", &item]));
            let fixed_at = self.document.key_place(&at.path(&["params", "fixed", fixed]));
            let title = format!("`{fixed}` is fixed: that `allow` names it changes nothing");
            self.issues.push(
                Issue::at(IssueCode::FixedAndAllowed, place, title)
                    .related(fixed_at, "fixed here")
                    .help("remove it from `allow`, or from `fixed` if callers may choose it"),
            );
        }
    }

    /// A path under `/v0/pipes/` has no captures, so a value that comes from one is missing there.
    fn refused_pipe(&mut self, at: WrittenRoute<'_>) {
        let route = at.route;
        let Some(pipe) = route.pipe.as_ref().and_then(Template::literal).filter(|_| self.config.tinybird_api) else {
            return;
        };
        let Some(name) = route.params.fixed.iter().find(|(_, value)| value.captures().next().is_some()) else { return };
        let title = format!("every request for `/v0/pipes/{pipe}.json` is refused: `{}` has no value there", name.0);
        let place = self.document.value_place(&at.path(&["params", "fixed", name.0]));
        let made_by = self.document.key_place(&["tinybird_api"]);
        self.issues.push(Issue::at(IssueCode::RefusedPipe, place, title).related(made_by, "opens that path").help(
            "fix a value that needs no path, lead there by `proxy` instead of `pipe`, or turn `tinybird_api` off",
        ));
    }
}

/// The sum of the bounds of all waits: each is twice the one before, up to `max`.
fn longest_waits(retry: &Retry) -> Period {
    let millis = |period: Period| u64::try_from(period.duration().as_millis()).unwrap_or(u64::MAX);
    let (base, max) = (millis(retry.base), millis(retry.max));
    let bounds = (0..retry.attempts.saturating_sub(1).min(64))
        .map(|wait| base.saturating_mul(1_u64.checked_shl(wait).unwrap_or(u64::MAX)).min(max));
    Period::of_millis(bounds.fold(0, u64::saturating_add))
}
