//! Rules of one route: where it leads, and what its parameters may be.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::issue::{Issue, IssueCode};
use crate::config::scalar::{Part, Template, path_problem};
use crate::config::section::auth::{AuthRule, ProviderKind};
use crate::config::section::routes::Method;
use crate::config::{WrittenRoute, listed, nearest};

use super::{Checker, Outer};

impl Checker<'_> {
    pub(super) fn route(&mut self, at: WrittenRoute<'_>) {
        let route = at.route;
        self.target(at);
        self.upstream_name(at);
        self.params(at);
        if let Some(pipe) = &route.require.pipe {
            self.only_captures(&at.path(&["require", "pipe"]), at, pipe);
        }
        let outer = match at.host {
            None => self.config.cors.is_some() || self.sharing.has_cors,
            Some(host) => {
                self.config.cors.is_some() || self.config.hosts.get(host).is_some_and(|host| host.cors.is_some())
            }
        };
        self.cors(&at.path(&["cors"]), route.cors.as_ref(), if outer { Outer::Rules } else { Outer::Nothing });
        if self.is_empty_list(&at.path(&["methods"])) {
            self.at_value(
                IssueCode::BadValue,
                &at.path(&["methods"]),
                "`methods` is empty: no request could match".to_owned(),
                "leave it out for the usual ones",
            );
        }
        self.bodies_of_a_proxy(at);
    }

    /// Bodies pass as bytes there, so that nothing which is said of parameters holds for them.
    fn bodies_of_a_proxy(&mut self, at: WrittenRoute<'_>) {
        let route = at.route;
        let is_read_only = |method: &Method| matches!(method.0, http::Method::GET | http::Method::HEAD);
        if route.proxy.is_none() || route.methods.iter().flatten().all(is_read_only) {
            return;
        }
        let rules = self.rules_of(at);
        let providers =
            rules.into_iter().flatten().flat_map(AuthRule::names).filter_map(|name| self.config.auth.get(name));
        let with_tinybird = providers.into_iter().any(|provider| provider.kind == ProviderKind::TinybirdJwt);
        let help = match () {
            () if !route.params.fixed.is_empty() => {
                "keep to GET and HEAD if the upstream reads these parameters from a body too"
            }
            () if with_tinybird => "keep to GET and HEAD: a Tinybird JWT that fixes parameters opens nothing to a body",
            () if route.params.allow.is_some() => {
                "keep to GET and HEAD if the upstream reads parameters from a body too: `allow` says nothing about these"
            }
            () => return,
        };
        let place = self.document.value_place(&at.path(&["methods"]));
        let title = "parameters in a request body are not looked at on a `proxy` route";
        self.issues.push(Issue::at(IssueCode::FixedInQueryOnly, place, title).help(help));
    }

    fn target(&mut self, at: WrittenRoute<'_>) {
        let WrittenRoute { host: _, key, route } = at;
        let place = self.document.key_place(&at.path(&[]));
        match (&route.pipe, &route.proxy) {
            (Some(pipe), None) => {
                self.pipe(at, pipe);
                self.methods_of_a_pipe(at);
                if self.is_empty_list(&at.path(&["formats"])) {
                    self.at_value(
                        IssueCode::BadValue,
                        &at.path(&["formats"]),
                        "`formats` is empty".to_owned(),
                        "leave it out for json",
                    );
                } else if let Err(title) = route.paths(key) {
                    self.at_value(
                        IssueCode::BadValue,
                        &at.path(&["formats"]),
                        title,
                        "the path's own ending is its format",
                    );
                }
            }
            (None, Some(proxy)) => self.proxy(at, proxy),
            (Some(_), Some(_)) => self.issues.push(
                Issue::at(IssueCode::RouteTarget, place, format!("`{key}` has both `pipe` and `proxy`"))
                    .help("keep one of them"),
            ),
            (None, None) if ["pipe", "proxy"].iter().any(|target| self.document.is_reported(&at.path(&[]), target)) => {
            }
            (None, None) => self.issues.push(
                Issue::at(IssueCode::RouteTarget, place, format!("`{key}` leads nowhere"))
                    .help("add `pipe: NAME` for a Tinybird pipe, or `proxy: /PATH` for any HTTP API"),
            ),
        }
    }

    fn methods_of_a_pipe(&mut self, at: WrittenRoute<'_>) {
        use http::Method;
        for (index, method) in at.route.methods.iter().flatten().enumerate() {
            if !matches!(method.0, Method::GET | Method::HEAD | Method::POST) {
                self.at_value(
                    IssueCode::BadValue,
                    &at.path(&["methods", &index.to_string()]),
                    format!("a pipe does not know {}", method.0),
                    "a pipe is read by GET, HEAD and POST",
                );
            }
        }
    }

    fn pipe(&mut self, at: WrittenRoute<'_>, pipe: &Template) {
        let path = at.path(&["pipe"]);
        let text = pipe.to_string();
        let shown = self.document.shown(&path, &text);
        let literal: String = text.split(['{', '}']).step_by(2).collect();
        if let Some(wrong) = literal.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '_' && *c != '-') {
            let title = format!("`{shown}` is not the name of a pipe: it has the character {wrong:?}");
            self.at_value(
                IssueCode::BadValue,
                &path,
                title,
                "a pipe's name has letters, digits, `_` and `-`; the format goes into `formats`",
            );
        } else if text.is_empty() {
            self.at_value(
                IssueCode::BadValue,
                &path,
                "the name of the pipe is empty".to_owned(),
                "write the pipe's name",
            );
        }
        if at.key.has_tail() {
            self.at_value(
                IssueCode::BadValue,
                &path,
                "a pipe cannot answer every path under `/*`".to_owned(),
                "name the path, or use {captures}",
            );
            return;
        }
        self.only_captures(&path, at, pipe);
    }

    fn proxy(&mut self, at: WrittenRoute<'_>, proxy: &Template) {
        let path = at.path(&["proxy"]);
        let text = proxy.to_string();
        let shown = self.document.shown(&path, &text);
        if !text.starts_with('/') {
            self.at_value(
                IssueCode::BadValue,
                &path,
                format!("`{shown}` is not a path of the upstream"),
                "it begins with `/`",
            );
        }
        let odd = |c: char| c.is_control() || c.is_whitespace() || "?#\\\"<>^`|".contains(c) || !c.is_ascii();
        if let Some(problem) = path_problem(&text) {
            let title = format!("`{shown}` is not a clean path: it has {problem}");
            self.at_value(IssueCode::BadValue, &path, title, "the upstream gets the path as it is written");
        } else if text.chars().any(odd) {
            self.at_value(
                IssueCode::BadValue,
                &path,
                format!("`{shown}` is not a clean path"),
                "a path has no `?` and no `#`: parameters go into `params.fixed`, odd characters are percent-encoded",
            );
        }
        if at.route.formats.is_some() {
            self.at_value(
                IssueCode::BadValue,
                &at.path(&["formats"]),
                "`formats` belongs to pipes".to_owned(),
                "remove it from a `proxy` route",
            );
        }
        self.only_captures(&path, at, proxy);
    }

    /// A template that only the path fills: what a caller says of itself never chooses where a request goes.
    fn only_captures(&mut self, path: &[&str], at: WrittenRoute<'_>, template: &Template) {
        if let Some(hole) = template.holes().filter(|part| !matches!(part, Part::Path(_))).find_map(Part::hole) {
            let title = format!("`{{{hole}}}` has no meaning here");
            self.at_value(
                IssueCode::UnknownCapture,
                path,
                title,
                "write text and {path.NAME} only: what callers say of themselves chooses no path and no pipe",
            );
        }
        self.known_captures(path, at, template);
    }

    /// The template of a parameter's value.
    fn value(&mut self, path: &[&str], at: WrittenRoute<'_>, template: &Template) {
        self.labels(path, at.host, template);
        self.known_captures(path, at, template);
    }

    fn known_captures(&mut self, path: &[&str], at: WrittenRoute<'_>, template: &Template) {
        if template.literal().is_some() {
            return;
        }
        let pattern = at.key;
        let known: BTreeSet<&str> = pattern.captures().collect();
        for name in template.captures().filter(|name| !known.contains(name)) {
            let known: Vec<&str> = pattern.captures().collect();
            let title = format!("`{{path.{name}}}` is not in the path `{pattern}`");
            let help = match nearest(name, known.iter().copied()) {
                Some(nearest) => format!("did you mean `{{path.{nearest}}}`?"),
                None if name == "rest" => "end the path in `/*`".to_owned(),
                None if known.is_empty() => format!("write {{{name}}} into the path"),
                None => format!("the path has: {}", listed(&known)),
            };
            self.at_value(IssueCode::UnknownCapture, path, title, &help);
        }
    }

    fn upstream_name(&mut self, at: WrittenRoute<'_>) {
        let WrittenRoute { host: _, key, route } = at;
        let upstreams = &self.config.upstreams;
        let names = || -> Vec<&str> { upstreams.keys().map(String::as_str).collect() };
        match &route.upstream {
            Some(name) if upstreams.contains_key(name) || self.reported(&["upstreams", name]) => {}
            // Where there are none at all, that is reported.
            Some(_) if upstreams.is_empty() => {}
            Some(name) => self.unknown_name("upstream", (&at.path(&["upstream"]), name), upstreams.keys()),
            None if upstreams.len() > 1 && !self.document.is_reported(&at.path(&[]), "upstream") => self.issues.push(
                Issue::at(
                    IssueCode::MissingKey,
                    self.document.key_place(&at.path(&[])),
                    format!("`{key}` does not say which upstream"),
                )
                .help(format!("add `upstream:` with one of {}", listed(&names()))),
            ),
            None => {}
        }
    }

    fn params(&mut self, at: WrittenRoute<'_>) {
        let params = &at.route.params;
        let is_public = self.is_public(at);
        for (index, name) in params.allow.iter().flatten().enumerate() {
            let index = index.to_string();
            let path = at.path(&["params", "allow", &index]);
            if is_token(name) {
                let title = format!("`{name}` never reaches the upstream");
                self.at_value(
                    IssueCode::ParameterRules,
                    &path,
                    title,
                    "the upstream's own `token` is sent in a header",
                );
            } else {
                // Arrays are allowed by the name that callers write: `p[]`.
                let bare = name.split('[').next().filter(|bare| !bare.is_empty());
                self.parameter_name(&path, bare.unwrap_or(name));
            }
        }
        // As in requests, no spelling of a fixed name gets around it.
        let mut defaults: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for default in params.default.keys().filter(|_| !params.fixed.is_empty()) {
            defaults.entry(default.to_ascii_lowercase()).or_default().push(default);
        }
        for (name, template) in &params.fixed {
            let path = at.path(&["params", "fixed", name.as_str()]);
            self.parameter_name(&path, name);
            self.value(&path, at, template);
            if template.literal().is_some_and(|text| text.trim().is_empty()) {
                self.at_value(
                    IssueCode::BadValue,
                    &path,
                    format!("the fixed value of `{name}` is empty"),
                    "most pipes show every row when such a parameter is empty: write a value",
                );
            }
            for default in defaults.get(&name.to_ascii_lowercase()).into_iter().flatten() {
                self.two_keys(
                    IssueCode::ParameterRules,
                    [path.as_slice(), &at.path(&["params", "default", default])],
                    format!("`{name}` is fixed and also has a default"),
                    "a fixed value always wins: remove the default",
                );
            }
            if is_public
                && template.holes().any(|hole| is_callers_choice(at, hole))
                && !params.allow_public_tenant
                && !self.document.is_reported(&at.path(&["params"]), "allow_public_tenant")
            {
                self.at_value(
                    IssueCode::CallerChoosesTenant,
                    &path,
                    format!("anyone who calls `{}` chooses the value of `{name}`", at.key),
                    "add `auth:` and fix `{tenant}`; if this is meant, write `allow_public_tenant: true` under `params`",
                );
            }
        }
        for (name, template) in &params.default {
            let path = at.path(&["params", "default", name.as_str()]);
            self.parameter_name(&path, name);
            self.value(&path, at, template);
        }
    }

    fn parameter_name(&mut self, path: &[&str], name: &str) {
        if name.is_empty() || name.chars().any(char::is_control) || name.trim() != name || name.contains('[') {
            self.at_key(
                IssueCode::BadValue,
                path,
                format!("`{name}` is not the name of a parameter"),
                "write the name as the upstream knows it",
            );
        } else if is_token(name) {
            self.at_key(
                IssueCode::ParameterRules,
                path,
                format!("`{name}` never travels in a URL"),
                "write the credential as the upstream's `token`",
            );
        }
    }
}

/// Whether callers choose what fills a hole. A label that a host's pattern says is the same for all who get there.
fn is_callers_choice(at: WrittenRoute<'_>, hole: &Part) -> bool {
    match hole {
        Part::Host(label) => at.host.is_none_or(|host| host.is_open(*label)),
        Part::Path(_) | Part::Tenant => true,
        Part::Certificate(_)
        | Part::Claim(_)
        | Part::FixedParam(_)
        | Part::KeyMeta(_)
        | Part::KeyTenant
        | Part::Literal(_) => false,
    }
}

fn is_token(name: &str) -> bool {
    name.eq_ignore_ascii_case("token")
}
