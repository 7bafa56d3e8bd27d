//! Rules of backends: their URLs, when they are left out, how they are asked whether they are well.
//!
//! In: the `upstreams` section. Out: issues. Not here: what a URL is made of
//! (`scalar::Endpoint`), which backend gets a request (`upstream::balance`).

use http::uri::PathAndQuery;

use crate::config::complaint;
use crate::config::document::NodeKind;
use crate::config::issue::{Issue, IssueCode};
use crate::config::scalar::{Endpoint, Period};
use crate::config::section::upstreams::{AllOut, Eject, Health, Upstream};

use super::Checker;

/// Backends have other things to do than to answer health checks.
const SHORTEST: Period = Period::of_millis(100);

impl Checker<'_> {
    pub(super) fn backends(&mut self, name: &str, upstream: &Upstream) {
        let path = ["upstreams", name];
        let list = ["upstreams", name, "urls"];
        match (&upstream.url, &upstream.urls) {
            (Some(_), Some(_)) => {
                let title = format!("`{name}` has both `url` and `urls`");
                let keys = [&["upstreams", name, "url"][..], &list];
                self.two_keys(IssueCode::BackendRules, keys, title, "keep one of them: `urls` for several backends");
            }
            (None, None) if !self.reported(&path) && !self.is_url_reported(name) => {
                self.issues.push(complaint::missing_key(self.document, &path, "url"));
            }
            (None, Some(urls)) if urls.is_empty() && self.is_empty_list(&list) => {
                let help = "name its backends: [http://a.internal:8123, http://b.internal:8123]";
                self.at_value(IssueCode::BadValue, &list, "`urls` is empty".to_owned(), help);
            }
            (None, Some(urls)) => self.urls_agree(name, urls),
            (None, None) | (Some(_), None) => {}
        }
    }

    pub(super) fn ejection(&mut self, name: &str, upstream: &Upstream) {
        let Some(Eject { after, time, max, all_out }) = &upstream.eject else { return };
        let path = |key| ["upstreams", name, "eject", key];
        if *time == Period::of_millis(0) {
            let title = "`for` is zero: nothing would be left out".to_owned();
            self.at_value(IssueCode::BadValue, &path("for"), title, "write a time like 10s, or `after: 0`");
        } else if time > max {
            let title = format!("`for` ({time}) is longer than `max` ({max})");
            self.at_value(IssueCode::BadValue, &path("for"), title, "times grow from `for` to `max`");
        }
        let is_alone = upstream.url.is_some() && upstream.urls.is_none();
        if is_alone && *after > 0 && *all_out == AllOut::Try {
            let title = format!("the only backend of `{name}` is left out, and tried all the same");
            let help = "write `all_out: refuse` to answer 503 at once meanwhile, or `urls` with several backends";
            self.at_key(IssueCode::NoEffect, &["upstreams", name, "eject"], title, help);
        }
    }

    pub(super) fn health(&mut self, name: &str, upstream: &Upstream) {
        let Some(Health { path: asked, every, timeout, down_after, up_after, authorized: _ }) = &upstream.health else {
            return;
        };
        let path = |key| ["upstreams", name, "health", key];
        let is_path = asked.starts_with('/') && !asked.contains('#') && asked.parse::<PathAndQuery>().is_ok();
        if !is_path {
            let title = format!("`{asked}` is not a path that can be asked for");
            self.at_value(IssueCode::BadValue, &path("path"), title, "write it like /health");
        }
        for (key, period) in [("every", every), ("timeout", timeout)] {
            if *period < SHORTEST {
                let title = format!("`{key}` is {period}");
                self.at_value(IssueCode::BadValue, &path(key), title, "write at least 100ms");
            }
        }
        for (key, number) in [("down_after", down_after), ("up_after", up_after)] {
            if *number == 0 {
                let title = format!("`{key}` is zero");
                self.at_value(IssueCode::BadValue, &path(key), title, "write how many answers in a row it takes");
            }
        }
    }

    fn is_url_reported(&self, name: &str) -> bool {
        ["url", "urls"].iter().any(|key| self.document.is_reported(&["upstreams", name], key))
    }

    /// A request may go to any of them, so what is said of one has to be true of all.
    fn urls_agree(&mut self, name: &str, urls: &[Endpoint]) {
        let place = |checker: &Self, index: usize| {
            checker.document.value_place(&["upstreams", name, "urls", &index.to_string()])
        };
        // Items that were reported are not among them, and the places of the others are not known then.
        let written = self.document.node(&["upstreams", name, "urls"]).map(|node| &node.kind);
        if !matches!(written, Some(NodeKind::List(items)) if items.len() == urls.len()) {
            return;
        }
        let Some(first) = urls.first() else { return };
        for (index, url) in urls.iter().enumerate() {
            if let Some(twin) = urls.iter().take(index).position(|other| other == url) {
                let issue = Issue::at(IssueCode::Duplicate, place(self, index), format!("`{url}` is named twice"));
                let help = "each backend is named once";
                self.issues.push(issue.related(place(self, twin), "first here").help(help));
                continue;
            }
            let (title, help) = if url.scheme() != first.scheme() {
                (
                    format!("some URLs of `{name}` are https://, some are not"),
                    "write https:// everywhere: the credential would travel in the open every now and then",
                )
            } else if url.base_path() != first.base_path() {
                (
                    format!("the URLs of `{name}` end in different paths"),
                    "a request may go to any of them: write the same path everywhere, or take two upstreams",
                )
            } else {
                continue;
            };
            let issue = Issue::at(IssueCode::BackendRules, place(self, index), title);
            self.issues.push(issue.related(place(self, 0), "the first one").help(help));
        }
    }
}
