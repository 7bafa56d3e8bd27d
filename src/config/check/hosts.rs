//! Rules of hosts: whose each is, and that its routes can be reached.
//!
//! In: the decoded configuration. Out: issues. Not here: what a host may be
//! called (`scalar`), a host's own routes (`routes`, as those of the top level).

use crate::config::document::{Node, NodeKind};
use crate::config::issue::{Issue, IssueCode};
use crate::config::scalar::{HostPattern, Part, Template, TenantName};
use crate::config::section::hosts::Host;

use super::{Checker, Outer};

impl Checker<'_> {
    pub(super) fn hosts(&mut self) {
        if self.is_empty_list(&["hosts"]) {
            let help =
                "name the hosts, each with {} if nothing differs there, or leave `hosts` out to serve every host";
            self.at_key(IssueCode::BadValue, &["hosts"], "`hosts` is empty: no request could match".to_owned(), help);
        }
        if !self.config.serves_top_level() && !self.config.routes.is_empty() && !self.is_a_host_reported() {
            let title = "every host has routes of its own: nobody ever gets to these".to_owned();
            let help = "leave `routes` out of a host that should serve these, or remove them";
            self.at_key(IssueCode::ShadowedRoute, &["routes"], title, help);
        }
        let outer = if self.config.cors.is_some() { Outer::Rules } else { Outer::Nothing };
        for (pattern, host) in &self.config.hosts {
            let Host { tenant, tls: _, redirect_http: _, hsts: _, auth: _, limits: _, cors, errors: _, routes: _ } =
                host;
            let name = pattern.as_str();
            if let Some(tenant) = tenant {
                self.tenant(pattern, tenant);
            }
            self.cors(&["hosts", name, "cors"], cors.as_ref(), outer);
            if self.is_empty_list(&["hosts", name, "routes"]) {
                let title = format!("`routes` is empty: `{pattern}` would answer 404 to everything");
                let help = "leave it out for the routes of the top level";
                self.at_value(IssueCode::BadValue, &["hosts", name, "routes"], title, help);
            }
        }
    }

    /// Whether of some host it is not known what it serves, because that was reported.
    pub(super) fn is_a_host_reported(&self) -> bool {
        let is_broken = |node: &Node| matches!(node.kind, NodeKind::Broken);
        let is_unclear = |host: &Node| is_broken(host) || host.child("routes").is_some_and(is_broken);
        self.document.root.child("hosts").is_some_and(|hosts| is_broken(hosts) || hosts.children().any(is_unclear))
    }

    fn tenant(&mut self, pattern: &HostPattern, tenant: &Template) {
        let path = ["hosts", pattern.as_str(), "tenant"];
        if let Some(hole) = tenant.holes().filter(|part| !matches!(part, Part::Host(_))).find_map(Part::hole) {
            let title = format!("`{{{hole}}}` has no meaning here");
            let help = "the tenant of a host is made of text and {host.N}: what is known before anybody says who calls";
            self.at_value(IssueCode::UnknownCapture, &path, title, help);
        }
        self.labels(&path, Some(pattern), tenant);
        if tenant.parts().is_empty() {
            let help = "write whose host it is, or leave `tenant` out";
            self.at_value(IssueCode::BadValue, &path, "the tenant is empty".to_owned(), help);
        }
        let text: String = tenant.parts().iter().filter_map(literal).collect();
        let wrong = match text.chars().find(|c| !TenantName::may_have(*c)) {
            Some(c) => format!("it has the character {c:?}"),
            None if text.len() > TenantName::MAX => format!("it is longer than {} characters", TenantName::MAX),
            None => return,
        };
        let shown = self.document.shown(&path, &tenant.to_string());
        let title = format!("`{shown}` is not a tenant: {wrong}");
        let help = "a tenant is 1 to 128 letters, digits and . _ : @ -, as credentials name it";
        self.at_value(IssueCode::BadValue, &path, title, help);
    }

    /// Labels of the host that no request has.
    pub(super) fn labels(&mut self, path: &[&str], host: Option<&HostPattern>, template: &Template) {
        let highest =
            template.holes().filter_map(|part| if let Part::Host(label) = part { Some(*label) } else { None });
        let Some(highest) = highest.max() else { return };
        let title = match host {
            Some(host) if highest > host.labels() => match host.labels() {
                0 => format!("`{{host.{highest}}}` has no value: `{host}` is an address, and has no labels"),
                1 => format!("`{{host.{highest}}}` has no value: `{host}` has one label"),
                labels => format!("`{{host.{highest}}}` has no value: `{host}` has {labels} labels"),
            },
            None if self.sharing.labels.is_some_and(|labels| highest > labels) && !self.is_a_host_reported() => {
                format!("`{{host.{highest}}}` has no value: no host that serves this route has so many labels")
            }
            Some(_) | None => return,
        };
        let place = self.document.value_place(path);
        let help = "labels are counted from the left: of a.example.com {host.1} is `a`, {host.3} is `com`";
        self.issues.push(Issue::at(IssueCode::UnknownCapture, place, title).help(help));
    }
}

fn literal(part: &Part) -> Option<&str> {
    match part {
        Part::Literal(text) => Some(text),
        Part::Certificate(_)
        | Part::Claim(_)
        | Part::FixedParam(_)
        | Part::Host(_)
        | Part::KeyMeta(_)
        | Part::KeyTenant
        | Part::Path(_)
        | Part::Tenant => None,
    }
}
