//! Rules of `state`: room for counts, and counters and a ledger that are reached safely.
//!
//! In: the `state` section. Out: issues. Not here: what a URL may be (`scalar`),
//! a password in the file (`secrets`), whether Redis and Postgres answer.

use crate::config::issue::IssueCode;
use crate::config::scalar::{Counters, Store, is_this_machine};
use crate::config::section::state::OnCounterFailure;

use super::Checker;

/// With fewer, callers of a small gateway would share counts.
const MIN_COUNTERS: u32 = 1_000;

impl Checker<'_> {
    pub(super) fn state(&mut self) {
        self.store();
        let state = &self.config.state;
        if state.max_counters < MIN_COUNTERS {
            let title = format!("`max_counters` is {}: callers would share counts", state.max_counters);
            let help = format!("write {MIN_COUNTERS} or more; left out, it is 1000000, which takes some 100 MB");
            self.at_value(IssueCode::BadValue, &["state", "max_counters"], title, &help);
        }
        match &state.counters {
            Counters::Memory if self.document.is_reported(&["state"], "counters") => {}
            Counters::Memory if state.on_counter_failure != OnCounterFailure::Local => {
                let title = "`on_counter_failure` has no effect: limits are counted in this process".to_owned();
                let help = "add `counters: redis://...` for several gateways that share limits, or remove it";
                self.at_key(IssueCode::NoEffect, &["state", "on_counter_failure"], title, help);
            }
            Counters::Redis(address)
                if !address.tls && address.password.is_some() && !is_this_machine(&address.host) =>
            {
                let title = "the password of the counters travels without TLS".to_owned();
                let help = "use rediss:// unless every machine on the way is yours";
                self.at_value(IssueCode::PlainHttp, &["state", "counters"], title, help);
            }
            Counters::Memory | Counters::Redis(_) => {}
        }
    }

    fn store(&mut self) {
        let Store::Postgres(address) = &self.config.state.store else { return };
        if !cfg!(feature = "postgres") {
            let title = "this gateway was built without Postgres".to_owned();
            let help =
                "build it with the feature `postgres`, which is on unless somebody switched it off, or write `sqlite`";
            self.at_value(IssueCode::BadValue, &["state", "store"], title, help);
            return;
        }
        if !self.config.usage.ledger {
            let title = "`store` has no effect: usage is not written down".to_owned();
            self.at_key(
                IssueCode::NoEffect,
                &["state", "store"],
                title,
                "remove it, or write `usage: { ledger: true }`",
            );
        }
        if !address.tls && address.password.is_some() && !is_this_machine(&address.host) {
            let title = "the password of the ledger travels without TLS".to_owned();
            let help = "write `?sslmode=verify-full` unless every machine on the way is yours";
            self.at_value(IssueCode::PlainHttp, &["state", "store"], title, help);
        }
    }
}
