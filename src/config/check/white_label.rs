//! Rules of `white_label`: where the OpenAPI document is, and who may read it.
//!
//! In: the decoded configuration. Out: issues. Not here: what may be stripped
//! (`section`), which says so itself.

use crate::config::issue::{Issue, IssueCode};
use crate::config::scalar::{PathPattern, Segment};
use crate::config::{RouteSet, ServedPath, nearest};

use super::Checker;

/// What pipes answer, beside `data`.
const MEMBERS: [&str; 4] = ["meta", "rows", "rows_before_limit_at_least", "statistics"];
const PATH: [&str; 2] = ["white_label", "openapi"];
const AUTH: [&str; 2] = ["white_label", "openapi_auth"];

impl Checker<'_> {
    pub(super) fn white_label(&mut self) {
        let section = &self.config.white_label;
        if let Some(rule) = &section.openapi_auth {
            self.auth_rule(&AUTH, rule);
        }
        self.stripped();
        let Some(path) = &section.openapi else {
            if section.openapi_auth.is_some() && !self.document.is_reported(&["white_label"], "openapi") {
                let title = "`openapi_auth` means nothing: there is no document to read".to_owned();
                self.at_key(IssueCode::NoEffect, &AUTH, title, "add `openapi: /openapi.json`, or remove it");
            }
            return;
        };
        let is_capture = |segment: &Segment| matches!(segment, Segment::Capture(_));
        if path.has_tail() || path.segments().iter().any(is_capture) {
            let title = format!("`{path}` is not one path, and there is one document");
            self.at_value(IssueCode::DocumentPath, &PATH, title, "write a path without `{...}` and `*`");
        }
        self.readers();
    }

    /// A slip would leave in what was to go.
    fn stripped(&mut self) {
        for (index, name) in self.config.white_label.strip.iter().enumerate() {
            let likely = nearest(&name.as_str().to_ascii_lowercase(), MEMBERS.into_iter());
            let Some(likely) = likely.filter(|likely| *likely != name.as_str()) else { continue };
            let title = format!("`{name}` takes nothing out: no pipe answers with it");
            let path = ["white_label", "strip", &index.to_string()];
            self.at_value(IssueCode::NoEffect, &path, title, &format!("did you mean `{likely}`?"));
        }
    }

    /// Somebody must say who may read it, as of a route.
    fn readers(&mut self) {
        let config = self.config;
        let unclear = ["auth", "default_auth", "hosts"].iter().any(|key| self.document.is_reported(&[], key));
        let own =
            config.white_label.openapi_auth.is_some() || self.document.is_reported(&["white_label"], "openapi_auth");
        if config.auth.is_empty() || config.default_auth.is_some() || own || unclear {
            return;
        }
        if config.hosts.is_empty() || config.hosts.values().any(|host| host.auth.is_none()) {
            let title = "nothing says who may read the OpenAPI document".to_owned();
            let help = "add `openapi_auth:` with a provider, or `openapi_auth: public`: it shows the names of paths and parameters, and nobody's rows";
            self.at_key(IssueCode::NoCallers, &PATH, title, help);
        }
    }

    /// A route that nobody would get to, because the document is there.
    pub(super) fn hidden_by_document(&mut self, set: RouteSet<'_>, served: &[ServedPath<'_>]) {
        let Some(path) = &self.config.white_label.openapi else { return };
        let is_it = |other: &PathPattern| other.as_str() == path.as_str();
        let Some(route) = served.iter().find(|served| is_it(&served.pattern)) else { return };
        let title = format!("`{path}` is the path of a route, too");
        let place = self.document.value_place(&PATH);
        let other = self.document.key_place(&set.path(&[route.route.key.as_str()]));
        let issue = Issue::at(IssueCode::DocumentPath, place, title);
        self.issues.push(issue.related(other, "the route").help("give one of them another path"));
    }
}
