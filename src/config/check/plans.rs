//! Names of limits and plans: that they lead somewhere, that somebody uses them, and that they can tell callers apart there.
//!
//! In: the decoded configuration. Out: issues. Not here: what a limit says (`limits`).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::config::document::{Node, NodeKind};
use crate::config::issue::{Issue, IssueCode, Place};
use crate::config::scalar::{HostPattern, Template};
use crate::config::section::auth::AuthRule;
use crate::config::section::limits::{By, Dimension};
use crate::config::{WrittenRoute, listed, nearest};

use super::Checker;
use super::auth::has_tenant;

impl Checker<'_> {
    pub(super) fn plans(&mut self) {
        let config = self.config;
        let anywhere = self.known_anywhere();
        self.limits_of(&["server", "limits"], &config.server.limits, anywhere);
        for (host, section) in &config.hosts {
            self.limits_of(&["hosts", host.as_str(), "limits"], &section.limits, anywhere);
        }
        for (name, plan) in &config.plans {
            self.name_for_headers("plan", &["plans", name]);
            self.limits_of(&["plans", name, "limits"], &plan.limits, anywhere);
            self.by_address_in_a_plan(name, &plan.limits);
        }
        if let Some(plan) = &config.default_plan {
            self.plan(&["default_plan"], plan);
        }
        for (tenant, section) in &config.tenants {
            if let Some(plan) = &section.plan {
                self.plan(&["tenants", tenant.as_str(), "plan"], plan);
            }
        }
        for (name, provider) in &config.auth {
            if let Some(template) = &provider.plan {
                self.plan_of_a_provider(name, template);
            }
        }
    }

    pub(super) fn limits_of_a_route(&mut self, at: WrittenRoute<'_>) {
        let limits = &at.route.limits;
        if limits.is_empty() {
            return;
        }
        // Who calls is looked for among all hosts, so it is asked only where that counts.
        let tells_callers = |name: &String| self.config.limits.get(name).is_some_and(|limit| is_of_callers(&limit.by));
        let known = match limits.iter().any(tells_callers) && !self.is_unclear_who_calls(at) {
            true => self.known_on(at),
            false => Known::Callers,
        };
        self.limits_of(&at.path(&["limits"]), limits, known);
    }

    /// A list of limits, and how much is known of callers where it holds.
    fn limits_of(&mut self, path: &[&str], names: &[String], known: Known) {
        let mut seen = BTreeSet::new();
        let mut found = |name: &String| {
            let limit = self.config.limits.get(name);
            match limit.map(|limit| known.lacks(&limit.by)) {
                _ if !seen.insert(name.clone()) => Some(Finding::Twice),
                Some(lacking) => lacking.map(Finding::Lacking),
                None if self.reported(&["limits", name]) || self.document.is_reported(&[], "limits") => None,
                None => Some(Finding::Unknown),
            }
        };
        let found: Vec<(&String, Finding)> = names.iter().filter_map(|name| Some((name, found(name)?))).collect();
        if found.is_empty() {
            return;
        }
        // Looked for once: a list may be long.
        let spans = spans_in_list(self.document.node(path));
        for (name, finding) in found {
            if self.issues.is_enough() {
                return;
            }
            let Some((first, last)) = spans.get(name.as_str()) else { continue };
            let (first, last) = (self.document.place(first), self.document.place(last));
            match finding {
                Finding::Lacking(dimension) => self.shared_count(name, first, dimension),
                Finding::Twice => self.issues.push(
                    Issue::at(IssueCode::Duplicate, last, format!("`{name}` stands twice in this list"))
                        .related(first, "first here")
                        .help("remove one of them: a limit counts a request once, wherever it is named"),
                ),
                Finding::Unknown => self.unknown_name("limit", (path, name), self.config.limits.keys()),
            }
        }
    }

    /// Limits by address are asked before it is known whose plan holds.
    fn by_address_in_a_plan(&mut self, plan: &str, names: &[String]) {
        let is_by_address =
            |name: &&String| self.config.limits.get(*name).is_some_and(|limit| limit.by.is_by_address());
        let wrong: BTreeSet<&String> = names.iter().filter(is_by_address).collect();
        if wrong.is_empty() {
            return;
        }
        let spans = spans_in_list(self.document.node(&["plans", plan, "limits"]));
        for name in wrong {
            let Some((first, _)) = spans.get(name.as_str()) else { continue };
            let title =
                format!("`{name}` counts by address, before it is known whose plan holds: it would never be asked");
            let issue = Issue::at(IssueCode::LimitRules, self.document.place(first), title);
            let by = self.document.value_place(&["limits", name, "by"]);
            let help = "name it in `limits` of a route, a host or `server`, or count by `[tenant, ip]`";
            self.issues.push(issue.related(by, "who is counted apart").help(help));
        }
    }

    /// Everybody there is one and the same to a limit.
    fn shared_count(&mut self, name: &str, place: Place, lacking: Dimension) {
        let (what, help) = match lacking {
            Dimension::Tenant => (
                "has a tenant",
                "add `auth:` with a provider whose credentials name a tenant, or count by `ip` or `gateway`",
            ),
            Dimension::Caller | Dimension::Gateway | Dimension::Host | Dimension::Ip | Dimension::Route => {
                ("needs a credential", "add `auth:` with a provider, or count by `ip` or `gateway`")
            }
        };
        let title = format!("nobody {what} here, so that all callers share one count of `{name}`");
        let by = self.document.value_place(&["limits", name, "by"]);
        self.issues
            .push(Issue::at(IssueCode::SharedCount, place, title).related(by, "who is counted apart").help(help));
    }

    fn plan(&mut self, path: &[&str], name: &str) {
        let is_known = self.config.plans.contains_key(name) || self.reported(&["plans", name]);
        if !is_known && !self.document.is_reported(&[], "plans") && !self.issues.is_enough() {
            self.unknown_name("plan", (path, name), self.config.plans.keys());
        }
    }

    fn plan_of_a_provider(&mut self, provider: &str, template: &Template) {
        let path = ["auth", provider, "plan"];
        match template.literal() {
            Some("") => {
                let help = "write where the credential has it, like {claims.plan}, or leave it out";
                self.at_value(IssueCode::BadValue, &path, "`plan` is empty".to_owned(), help);
            }
            Some(name) => self.plan(&path, name),
            None if self.config.plans.is_empty() && !self.document.is_reported(&[], "plans") => {
                let title = format!("credentials of `{provider}` name plans, and there are none");
                self.at_key(IssueCode::CallerRules, &path, title, "define them under `plans`, or remove `plan`");
            }
            None => {}
        }
    }

    /// A name that leads nowhere, with those that would.
    pub(super) fn unknown_name<'b>(
        &mut self,
        what: &str,
        (path, name): (&[&str], &str),
        known: impl Iterator<Item = &'b String> + Clone,
    ) {
        let help = match nearest(name, known.clone().map(String::as_str)) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => match known.map(String::as_str).collect::<Vec<_>>().as_slice() {
                [] => format!("define it under `{what}s`"),
                known => format!("defined under `{what}s`: {}", listed(known)),
            },
        };
        let index = self.index_of(path, name);
        let item: Vec<&str> = path.iter().copied().chain(index.as_deref()).collect();
        let shown = self.document.shown(&item, name);
        self.at_value(IssueCode::UnknownName, &item, format!("there is no {what} `{shown}`"), &help);
    }

    /// Limits and plans that nothing names.
    pub(super) fn unused_limits(&mut self) {
        // Where something was reported, it may be what names them.
        if has_broken(&self.document.root) {
            return;
        }
        let config = self.config;
        let of_routes = config.all_routes().flat_map(|at| &at.route.limits);
        let of_hosts = config.hosts.values().flat_map(|host| &host.limits);
        let of_plans = config.plans.values().flat_map(|plan| &plan.limits);
        let used: BTreeSet<&String> = of_routes.chain(of_hosts).chain(of_plans).chain(&config.server.limits).collect();
        for name in config.limits.keys().filter(|name| !used.contains(name)) {
            let help = "name it in `limits` of a route, a host, a plan or `server`, or remove it";
            self.at_key(IssueCode::UnusedLimit, &["limits", name], format!("nothing uses the limit `{name}`"), help);
        }
        let said = || config.auth.values().filter_map(|provider| provider.plan.as_ref());
        // What credentials say is only known when they come.
        if said().any(|template| template.literal().is_none()) {
            return;
        }
        let of_tenants = config.tenants.values().filter_map(|tenant| tenant.plan.as_deref());
        let of_all = of_tenants.chain(config.default_plan.as_deref()).chain(said().filter_map(Template::literal));
        let bought: BTreeSet<&str> = of_all.collect();
        for name in config.plans.keys().filter(|name| !bought.contains(name.as_str())) {
            let help =
                "give it to one under `tenants`, write it as `default_plan` or into `plan` of a provider, or remove it";
            self.at_key(IssueCode::UnusedLimit, &["plans", name], format!("nobody has the plan `{name}`"), help);
        }
    }

    /// What is known of callers who come to a route; on some host is enough.
    fn known_on(&self, at: WrittenRoute<'_>) -> Known {
        let of_public = |host: Option<&HostPattern>| {
            let tenant = host.and_then(|host| self.config.hosts.get(host)?.tenant.as_ref());
            match at.route.params.allow_public_tenant && tenant.is_some() {
                true => Known::Tenants,
                false => Known::Nobody,
            }
        };
        let known = self.config.callers_of(at).into_iter().map(|(host, rule)| match rule {
            Some(rule @ AuthRule::Providers(_)) => self.known_by(rule),
            Some(AuthRule::Public) | None => of_public(host),
        });
        known.fold(Known::Nobody, Known::or)
    }

    fn known_by(&self, rule: &AuthRule) -> Known {
        let providers = || rule.names().iter().filter_map(|name| self.config.auth.get(name));
        match providers().any(has_tenant) {
            true => Known::Callers,
            // Of a provider that was reported nobody knows.
            false if providers().count() == rule.names().len() => Known::Credentials,
            false => Known::Callers,
        }
    }

    /// The most that is known of callers anywhere: to ask each route on each host would take too long.
    fn known_anywhere(&self) -> Known {
        let config = self.config;
        let is_public_tenant = |at: WrittenRoute<'_>| at.route.params.allow_public_tenant;
        let with_host = config.hosts.values().any(|host| host.tenant.is_some());
        let of_hosts = match with_host && config.all_routes().any(is_public_tenant) {
            true => Known::Tenants,
            false => Known::Nobody,
        };
        let unclear = ["auth", "hosts", "routes"].iter().any(|key| self.document.is_reported(&[], key));
        let of_providers = match () {
            () if unclear || config.auth.values().any(has_tenant) => Known::Callers,
            () if config.auth.is_empty() => Known::Nobody,
            () => Known::Credentials,
        };
        of_providers.or(of_hosts)
    }
}

/// What is wrong with a name in a list of limits.
enum Finding {
    Lacking(Dimension),
    Twice,
    Unknown,
}

/// Where each text of a list stands first and last.
fn spans_in_list(list: Option<&Node>) -> BTreeMap<&str, (Range<usize>, Range<usize>)> {
    let mut spans = BTreeMap::new();
    let Some(NodeKind::List(items)) = list.map(|list| &list.kind) else { return spans };
    for item in items {
        let NodeKind::Scalar(scalar) = &item.kind else { continue };
        let span = || item.span.clone();
        spans.entry(scalar.text.as_str()).and_modify(|(_, last)| *last = span()).or_insert_with(|| (span(), span()));
    }
    spans
}

/// What is known of those who call, so that they can be told apart.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Whose credential it is, and whose rows.
    Callers,
    /// Whose credential it is.
    Credentials,
    Nobody,
    /// Whose rows, by the host.
    Tenants,
}

impl Known {
    /// What is known where both come.
    fn or(self, other: Known) -> Known {
        match (self, other) {
            (Known::Nobody, known) | (known, Known::Nobody) => known,
            (one, other) if one == other => one,
            (_, _) => Known::Callers,
        }
    }

    /// What a limit counts apart that is not there, if nothing else tells callers apart.
    fn lacks(self, by: &By) -> Option<Dimension> {
        let lacking = by.dimensions().iter().copied().find(|dimension| !self.has(*dimension));
        lacking.filter(|_| !by.dimensions().iter().any(|dimension| self.tells_apart(*dimension)))
    }

    fn has(self, dimension: Dimension) -> bool {
        match dimension {
            Dimension::Caller => matches!(self, Known::Callers | Known::Credentials),
            Dimension::Tenant => matches!(self, Known::Callers | Known::Tenants),
            Dimension::Gateway | Dimension::Host | Dimension::Ip | Dimension::Route => true,
        }
    }

    /// Whether it is something of the caller, and there.
    fn tells_apart(self, dimension: Dimension) -> bool {
        match dimension {
            Dimension::Caller | Dimension::Ip | Dimension::Tenant => self.has(dimension),
            Dimension::Gateway | Dimension::Host | Dimension::Route => false,
        }
    }
}

fn is_of_callers(by: &By) -> bool {
    by.dimensions().iter().any(|dimension| matches!(dimension, Dimension::Caller | Dimension::Tenant))
}

fn has_broken(node: &Node) -> bool {
    match &node.kind {
        NodeKind::Broken => true,
        NodeKind::List(items) => items.iter().any(has_broken),
        NodeKind::Map(entries) => entries.iter().any(|(_, node)| has_broken(node)),
        NodeKind::Null | NodeKind::Scalar(_) => false,
    }
}
