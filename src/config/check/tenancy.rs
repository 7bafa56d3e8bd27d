//! Risks of routes whose callers have tenants: rows that nothing keeps apart, and values that callers choose.
//!
//! In: the decoded configuration. Out: warnings, one for each route. Not here:
//! routes that everybody may call (`routes`), who may call what (`auth`).

use std::collections::BTreeSet;

use crate::config::WrittenRoute;
use crate::config::document::{Node, NodeKind};
use crate::config::issue::IssueCode;
use crate::config::scalar::{Part, Template};
use crate::config::section::auth::{AuthRule, Provider, ProviderKind};
use crate::config::section::hosts::Host;

use super::Checker;

impl Checker<'_> {
    pub(super) fn tenancy_of_a_route(&mut self, at: WrittenRoute<'_>) {
        // Each question goes through all hosts, so it is asked only where there is something to ask about.
        if self.config.auth.is_empty() {
            return;
        }
        let is_default = self.credential_in_defaults(at);
        let params = &at.route.params;
        let mut holes = params.fixed.values().flat_map(Template::holes);
        let is_bound = holes.any(|hole| is_of_credential(hole) || self.is_of_tenants_hosts(at, hole));
        // The operator says that it is meant, or what he says is not known.
        if is_bound || params.allow_public_tenant || self.is_unclear(at) {
            return;
        }
        if let Some(name) = self.chosen_by_callers(at) {
            let title = format!("callers of every tenant choose the value of `{name}`, whatever their credential says");
            let help = "fix {tenant}, which the credential says; if every caller may choose, write `allow_public_tenant: true` under `params`";
            self.at_value(IssueCode::CallerChoosesValue, &at.path(&["params", "fixed", &name]), title, help);
        } else if is_default == Defaults::OfText && self.has_many_tenants(at) {
            let title = format!("callers of every tenant see the same rows at `{}`", at.key);
            let help = "add `fixed: { NAME: \"{tenant}\" }` under `params`; if the rows are everybody's, write `allow_public_tenant: true` there";
            self.at_key(IssueCode::SharedRows, &at.path(&[]), title, help);
        }
    }

    /// Whether something was reported that decides who calls, or what is fixed.
    fn is_unclear(&self, at: WrittenRoute<'_>) -> bool {
        let is_broken = |node: &Node| matches!(node.kind, NodeKind::Broken);
        let params = at.path(&["params"]);
        let fixed = self.document.node(&at.path(&["params", "fixed"]));
        self.reported(&params)
            || fixed.is_some_and(|fixed| fixed.children().any(is_broken))
            || ["fixed", "allow_public_tenant"].iter().any(|key| self.document.is_reported(&params, key))
            || ["auth", "params"].iter().any(|key| self.document.is_reported(&at.path(&[]), key))
            || ["auth", "default_auth", "hosts"].iter().any(|key| self.document.is_reported(&[], key))
    }

    /// A default is what a caller gets who says nothing: who wants another tenant's rows says something.
    fn credential_in_defaults(&mut self, at: WrittenRoute<'_>) -> Defaults {
        let mut found = Defaults::OfText;
        let mut taken = at.route.params.default.values().flat_map(Template::holes);
        // Where nobody has a credential, such a hole is an error, or it is the host's.
        let is_asked = |rule: &Option<&AuthRule>| matches!(rule, Some(AuthRule::Providers(_)));
        if !taken.any(is_of_credential) || !self.rules_of(at).iter().any(is_asked) {
            return found;
        }
        for (name, template) in &at.route.params.default {
            let hole = template.holes().find(|part| is_of_credential(part)).and_then(Part::hole);
            let Some(hole) = hole else { continue };
            found = Defaults::OfTheCredential;
            let title = format!("`{{{hole}}}` is only the default of `{name}`: callers can write another value");
            let help = "move it to `fixed`, which callers cannot change";
            self.at_value(IssueCode::CredentialAsDefault, &at.path(&["params", "default", name]), title, help);
        }
        found
    }

    /// The first fixed value that is made only of what callers choose, on a route that asks for credentials.
    fn chosen_by_callers(&self, at: WrittenRoute<'_>) -> Option<String> {
        if at.route.params.fixed.values().all(|template| template.holes().next().is_none()) {
            return None;
        }
        let rules = self.rules_of(at);
        // What is wrong with values that the public chooses is an error.
        if rules.is_empty() || !rules.iter().all(|rule| matches!(rule, Some(AuthRule::Providers(_)))) {
            return None;
        }
        let is_chosen = |template: &Template| {
            template.holes().next().is_some() && template.holes().all(|hole| self.is_chosen(at, hole))
        };
        at.route.params.fixed.iter().find(|(_, template)| is_chosen(template)).map(|(name, _)| name.clone())
    }

    fn is_chosen(&self, at: WrittenRoute<'_>, hole: &Part) -> bool {
        let label = match hole {
            Part::Path(_) => return true,
            Part::Host(label) => *label,
            Part::Certificate(_)
            | Part::Claim(_)
            | Part::FixedParam(_)
            | Part::KeyMeta(_)
            | Part::KeyTenant
            | Part::Literal(_)
            | Part::Tenant => return false,
        };
        let hosts: Vec<_> = self.config.callers_of(at).into_iter().map(|(host, _)| host).collect();
        let sections = hosts.iter().flatten().filter_map(|host| Some((*host, self.config.hosts.get(*host)?)));
        let is_open = sections.clone().any(|(host, section)| host.is_open(label) && !names(section, label));
        // Of several hosts that are nobody's, callers choose one.
        is_open || hosts.contains(&None) || sections.filter(|(_, section)| section.tenant.is_none()).count() > 1
    }

    /// Whether a hole is a label by which the route's hosts tell tenants apart: only callers of that tenant are let in there.
    fn is_of_tenants_hosts(&self, at: WrittenRoute<'_>, hole: &Part) -> bool {
        let Part::Host(label) = hole else { return false };
        self.config.callers_of(at).into_iter().all(|(host, _)| {
            let section = host.and_then(|host| Some((host, self.config.hosts.get(host)?)));
            section.is_some_and(|(host, section)| {
                names(section, *label) || (host.suffix().is_none() && section.tenant.is_some())
            })
        })
    }

    /// Whether callers of more than one tenant get to the route.
    fn has_many_tenants(&mut self, at: WrittenRoute<'_>) -> bool {
        if at.host.is_some() {
            return self.counts_many_tenants(at);
        }
        if let Some(known) = self.many_tenants.get(&at.route.auth) {
            return *known;
        }
        let has_many = self.counts_many_tenants(at);
        self.many_tenants.insert(at.route.auth.clone(), has_many);
        has_many
    }

    /// As above, by a look at each host. Those with Tinybird JWTs have their own parameters fixed.
    fn counts_many_tenants(&self, at: WrittenRoute<'_>) -> bool {
        let mut tenants = BTreeSet::new();
        for (host, rule) in self.config.callers_of(at) {
            let names = rule.map(AuthRule::names).unwrap_or_default();
            let providers = names.iter().filter_map(|name| self.config.auth.get(name));
            let of_host = host.and_then(|host| self.config.hosts.get(host)?.tenant.as_ref());
            for provider in providers.filter(|provider| provider.kind != ProviderKind::TinybirdJwt) {
                match (tenants_of(provider), of_host.map(Template::literal)) {
                    // Who has no tenant is refused on a tenant's host.
                    (Tenants::Few(few), _) if few.is_empty() => {}
                    (Tenants::Any | Tenants::Few(_), Some(Some(only))) => tenants.extend([only.to_owned()]),
                    (Tenants::Any, None | Some(None)) => return true,
                    (Tenants::Few(few), None | Some(None)) => tenants.extend(few),
                }
            }
        }
        tenants.len() > 1
    }
}

/// What stands in `default`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Defaults {
    OfTheCredential,
    OfText,
}

/// For whom the credentials of a provider can be.
enum Tenants {
    Any,
    Few(Vec<String>),
}

fn tenants_of(provider: &Provider) -> Tenants {
    let confined = || provider.tenants.as_ref().map(|few| few.iter().map(ToString::to_string).collect());
    match provider.tenant.as_ref().map(Template::literal) {
        Some(Some(only)) => Tenants::Few(vec![only.to_owned()]),
        Some(None) => confined().map_or(Tenants::Any, Tenants::Few),
        // Then a key has the tenant of its record.
        None => {
            Tenants::Few(provider.key_records.iter().filter_map(|key| Some(key.tenant.as_ref()?.to_string())).collect())
        }
    }
}

/// Whether a label of the host is in the name of its tenant, so that who wants another label is another tenant's caller.
fn names(host: &Host, label: usize) -> bool {
    host.tenant.iter().flat_map(Template::holes).any(|hole| *hole == Part::Host(label))
}

/// Whether the credential decides what fills a hole.
fn is_of_credential(hole: &Part) -> bool {
    match hole {
        Part::Certificate(_)
        | Part::Claim(_)
        | Part::FixedParam(_)
        | Part::KeyMeta(_)
        | Part::KeyTenant
        | Part::Tenant => true,
        Part::Host(_) | Part::Literal(_) | Part::Path(_) => false,
    }
}
