//! Rules of `log`: traces that this build can send, and that nobody reads on the way.
//!
//! In: the `log` section. Out: issues. Not here: whether files can be written
//! (`app::probe`), whether the collector answers: the gateway starts without it.

use crate::config::issue::IssueCode;
use crate::config::scalar::{Scheme, is_this_machine};

use super::Checker;

impl Checker<'_> {
    pub(super) fn log(&mut self) {
        let Some(traces) = &self.config.log.traces else { return };
        if !cfg!(feature = "otel") {
            let title = "this build of tollgate cannot send traces: it was made without the feature `otel`";
            let help = "use a build that has it, as the packages and `cargo build` without `--no-default-features` do, or remove `traces`";
            self.at_key(IssueCode::BadValue, &["log", "traces"], title.to_owned(), help);
        }
        // Endpoints that could not be read stand for themselves and were reported.
        let is_elsewhere = !is_this_machine(traces.url.host()) && !traces.url.host().ends_with(".invalid");
        if traces.url.scheme() == Scheme::Http && is_elsewhere && !traces.headers.is_empty() {
            let title = "the headers for the collector travel without TLS".to_owned();
            let help = "use https:// unless every machine on the way is yours";
            self.at_value(IssueCode::PlainHttp, &["log", "traces", "url"], title, help);
        }
    }
}
