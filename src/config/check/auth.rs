//! Rules about who may call: hosts and routes that name providers, and what follows for what they fix.
//!
//! In: the decoded configuration. Out: issues. Not here: the providers
//! themselves (`providers`), what a credential must be (`pipeline::authn`).

use std::collections::{BTreeMap, BTreeSet};

use crate::config::document::{Node, NodeKind};
use crate::config::issue::{Issue, IssueCode};
use crate::config::scalar::{FieldName, HostPattern, Part, Period, SHORTEST_SECRET};
use crate::config::section::auth::{AuthRule, Provider, ProviderKind};
use crate::config::section::keys::Scope;
use crate::config::section::upstreams::{Upstream, UpstreamAuth};
use crate::config::{WrittenRoute, listed, nearest};

use super::Checker;
use super::providers::is_of_kind;

/// Where credentials are, unless a provider names another header.
const AUTHORIZATION: &str = "authorization";
/// Tokens that live shorter would be made for almost every request.
const MIN_TTL: Period = Period::of_millis(10_000);
const MAX_TTL: Period = Period::of_millis(24 * 3_600_000);

impl Checker<'_> {
    /// Names that must be there, and providers that can be told apart.
    pub(super) fn auth_rule(&mut self, path: &[&str], rule: &AuthRule) {
        let AuthRule::Providers(names) = rule else { return };
        if self.document.is_reported(&[], "auth") {
            return;
        }
        if names.is_empty() {
            let title = "nobody could call: the list of providers is empty".to_owned();
            self.at_value(IssueCode::BadValue, path, title, "name a provider of `auth`, or write `public`");
        }
        for name in names.iter().filter(|name| !self.config.auth.contains_key(*name)) {
            if self.reported(&["auth", name]) {
                continue;
            }
            let known: Vec<&str> = self.config.auth.keys().map(String::as_str).collect();
            let help = match nearest(name, known.iter().copied().chain(["public"])) {
                Some(nearest) => format!("did you mean `{nearest}`?"),
                None if known.is_empty() => "define it under `auth`, or write `public`".to_owned(),
                None => format!("defined under `auth`: {}", listed(&known)),
            };
            let index = self.index_of(path, name);
            let item: Vec<&str> = path.iter().copied().chain(index.as_deref()).collect();
            let shown = self.document.shown(&item, name).to_string();
            self.at_value(IssueCode::UnknownName, &item, format!("there is no provider `{shown}`"), &help);
        }
        self.alike(path, names);
    }

    /// Where a name stands in the list at `path`, if there is one.
    pub(super) fn index_of(&self, path: &[&str], name: &str) -> Option<String> {
        let NodeKind::List(items) = &self.document.node(path)?.kind else { return None };
        let is_it = |item: &Node| matches!(&item.kind, NodeKind::Scalar(scalar) if scalar.text == name);
        items.iter().position(is_it).map(|index| index.to_string())
    }

    /// A credential goes to one provider, by what it looks like.
    fn alike(&mut self, path: &[&str], names: &[String]) {
        let mut seen: Vec<(&str, String)> = Vec::new();
        for name in names {
            let Some(provider) = self.config.auth.get(name) else { continue };
            let mark = match provider.kind {
                ProviderKind::ApiKey => format!("keys with the prefix `{}`", provider.key_prefix()),
                ProviderKind::Jwt => format!("tokens of the issuer `{}`", provider.issuer.clone().unwrap_or_default()),
                // Which of them judges follows from who signed: see `authorities`.
                ProviderKind::Mtls => continue,
                ProviderKind::TinybirdJwt => {
                    "Tinybird JWTs of one workspace".to_owned()
                        + &provider.workspace_id.as_ref().map(|id| format!(" (`{id}`)")).unwrap_or_default()
                }
            };
            if let Some((other, _)) = seen.iter().find(|(_, other)| *other == mark) {
                let title = format!("`{other}` and `{name}` both take {mark}: which one judges cannot be told");
                let help = match provider.kind {
                    ProviderKind::ApiKey => "give one of them another `prefix`, or name only one here",
                    ProviderKind::Jwt => "name only one here; one provider can have several audiences",
                    ProviderKind::Mtls | ProviderKind::TinybirdJwt => "name only one here",
                };
                self.at_value(IssueCode::CallerRules, path, title, help);
                continue;
            }
            seen.push((name, mark));
        }
        self.shared_authority(path, names);
    }

    /// A certificate goes to the provider whose authority signed it.
    fn shared_authority(&mut self, path: &[&str], names: &[String]) {
        let mut seen: BTreeMap<&[u8], &str> = BTreeMap::new();
        let of_certificates = names.iter().filter_map(|name| {
            let provider = self.config.auth.get(name).filter(|provider| provider.kind == ProviderKind::Mtls)?;
            Some((name.as_str(), provider))
        });
        let mut shared = BTreeSet::new();
        for (name, provider) in of_certificates {
            for authority in &provider.ca_certificates {
                if let Some(other) = seen.insert(authority, name).filter(|other| *other != name) {
                    shared.insert((other, name));
                }
            }
        }
        for (other, name) in shared {
            let title = format!("`{other}` and `{name}` believe the same authority: which one judges cannot be told");
            self.at_value(
                IssueCode::CallerRules,
                path,
                title,
                "name only one here, or take the authority out of one `ca`",
            );
        }
    }

    /// What a route and the hosts that serve it say about who may call it; none where nobody says anything.
    pub(super) fn rules_of<'b>(&'b self, at: WrittenRoute<'b>) -> Vec<Option<&'b AuthRule>> {
        match (&at.route.auth, at.host) {
            // Also of a route that no host serves.
            (Some(rule), _) => vec![Some(rule)],
            (None, Some(_)) => self.config.callers_of(at).into_iter().map(|(_, rule)| rule).collect(),
            (None, None) => self.sharing.rules.clone(),
        }
    }

    /// Whether everybody may call a route, as far as that is known.
    pub(super) fn is_public(&self, at: WrittenRoute<'_>) -> bool {
        let is_open = |rule: &Option<&AuthRule>| !matches!(rule, Some(AuthRule::Providers(_)));
        !self.is_unclear_who_calls(at) && self.rules_of(at).iter().any(is_open)
    }

    /// Whether it was reported what says who may call a route.
    pub(super) fn is_unclear_who_calls(&self, at: WrittenRoute<'_>) -> bool {
        let outer = ["auth", "default_auth"].iter().any(|key| self.document.is_reported(&[], key));
        outer || self.document.is_reported(&at.path(&[]), "auth")
    }

    /// Who may call one route, and what follows for what it fixes.
    pub(super) fn callers_of_a_route(&mut self, at: WrittenRoute<'_>) {
        if let Some(rule) = &at.route.auth {
            self.auth_rule(&at.path(&["auth"]), rule);
        }
        self.credentials_passed_on(at);
        let rules: Vec<Option<AuthRule>> = self.rules_of(at).into_iter().map(Option::<&AuthRule>::cloned).collect();
        let base = at.path(&[]);
        if self.is_unclear_who_calls(at) {
            return;
        }
        if rules.contains(&None) && !self.config.auth.is_empty() {
            let title = format!("`{}` does not say who may call it", at.key);
            let help =
                "add `auth:` with a provider, or `auth: public`; `default_auth` speaks for routes that say nothing";
            self.at_key(IssueCode::NoCallers, &base, title, help);
        }
        self.refused_on_a_host(at);
        self.pipe_id(at);
        for rule in &rules {
            let rule = rule.as_ref().unwrap_or(&AuthRule::Public);
            self.requirements(at, rule);
            self.holes_of_fixed(at, rule);
            self.credential_towards(at, rule);
        }
    }

    /// Who has no credential has no tenant, and is let in at no tenant's host.
    fn refused_on_a_host(&mut self, at: WrittenRoute<'_>) {
        if at.route.params.allow_public_tenant || !self.sharing.has_tenant {
            return;
        }
        if matches!(at.route.auth, Some(AuthRule::Providers(_))) {
            return;
        }
        let config = self.config;
        let is_public = |rule: Option<&AuthRule>| match rule {
            Some(AuthRule::Providers(_)) => false,
            Some(AuthRule::Public) => true,
            None => config.auth.is_empty(),
        };
        let has_tenant = |host: &HostPattern| config.hosts.get(host).is_some_and(|section| section.tenant.is_some());
        let open = config.callers_of(at).into_iter().filter(|(_, rule)| is_public(*rule)).filter_map(|(host, _)| host);
        let Some(host) = open.into_iter().find(|host| has_tenant(host)) else { return };
        let title = format!("`{}` is public, and `{host}` has a tenant: every request for it there is refused", at.key);
        let tenant = self.document.key_place(&["hosts", host.as_str(), "tenant"]);
        let issue = Issue::at(IssueCode::RefusedOnHost, self.document.key_place(&at.path(&[])), title);
        self.issues.push(issue.related(tenant, "whose host it is").help(
            "add `auth:` with a provider that says whose rows a caller may see; if everybody may see them, write `allow_public_tenant: true` under `params`",
        ));
    }

    fn requirements(&mut self, at: WrittenRoute<'_>, rule: &AuthRule) {
        let route = at.route;
        let base = at.path(&[]);
        if *rule == AuthRule::Public && (!route.require.scopes.is_empty() || route.require.pipe.is_some()) {
            let title = "`require` means nothing on a public route: nobody has a credential there".to_owned();
            self.at_key(
                IssueCode::CallerRules,
                &at.path(&["require"]),
                title,
                "add `auth:` with a provider, or remove `require`",
            );
        }
        if route.pipe.is_some() && route.require.pipe.is_some() {
            let title = "a route with `pipe` requires that pipe already".to_owned();
            self.at_key(IssueCode::CallerRules, &at.path(&["require"]), title, "remove `pipe` from `require`");
        }
        if route.require.pipe.as_ref().is_some_and(|pipe| pipe.literal() == Some("")) {
            let title = "`pipe` is empty: every Tinybird JWT would be refused".to_owned();
            self.at_value(IssueCode::BadValue, &at.path(&["require", "pipe"]), title, "write the pipe's name");
        }
        for (index, scope) in route.require.scopes.iter().enumerate() {
            if let Err(sentence) = scope.parse::<Scope>() {
                let (title, help) = sentence.split_once(": ").unwrap_or((&sentence, "write a word like reports.read"));
                let path = at.path(&["require", "scopes"]);
                let index = index.to_string();
                let item: Vec<&str> = path.iter().copied().chain([index.as_str()]).collect();
                self.at_value(IssueCode::BadValue, &item, title.to_owned(), help);
            }
        }
        let tinybird = self.first_of(rule, |provider| provider.kind == ProviderKind::TinybirdJwt);
        let reported =
            self.document.is_reported(&base, "require") || self.document.is_reported(&at.path(&["require"]), "pipe");
        if let Some(name) = tinybird.filter(|_| route.proxy.is_some() && route.require.pipe.is_none() && !reported) {
            let title = format!("nothing says which pipe a Tinybird JWT of `{name}` must be for");
            let help = "add `require: { pipe: NAME }`: such a token opens only what it names";
            self.at_key(IssueCode::CallerRules, &base, title, help);
        }
    }

    /// The one pipe that a token may name by its id.
    fn pipe_id(&mut self, at: WrittenRoute<'_>) {
        let route = at.route;
        let Some(id) = &route.pipe_id else { return };
        let path = at.path(&["pipe_id"]);
        if id.trim().is_empty() {
            let title = "`pipe_id` is empty".to_owned();
            self.at_value(IssueCode::BadValue, &path, title, "write the pipe's id, or leave it out");
        }
        match &route.pipe {
            None if self.document.is_reported(&at.path(&[]), "pipe") => {}
            None => {
                let title = "`pipe_id` belongs to routes with `pipe`".to_owned();
                self.at_key(IssueCode::CallerRules, &path, title, "remove it from a `proxy` route");
            }
            Some(pipe) if pipe.literal().is_none() => {
                let title =
                    "`pipe_id` is the id of one pipe, and this route has many: a token for one would open them all";
                let help =
                    "give that pipe a route of its own, or remove `pipe_id`: tokens can name pipes by their names";
                self.at_key(IssueCode::CallerRules, &path, title.to_owned(), help);
            }
            Some(_) => {}
        }
    }

    /// Headers with credentials. A page may send its own wherever it asks, also to routes that take none or another.
    fn credentials_passed_on(&mut self, at: WrittenRoute<'_>) {
        if self.config.auth.is_empty() {
            return;
        }
        let of_providers = self.config.auth.iter().map(|(name, provider)| {
            (provider.header.as_ref().map_or(AUTHORIZATION, FieldName::as_str), Some(name.as_str()))
        });
        let credentials: Vec<(&str, Option<&str>)> = of_providers.chain([(AUTHORIZATION, None)]).collect();
        for (index, header) in at.route.pass_headers.iter().enumerate() {
            let Some((header, provider)) = credentials.iter().find(|(name, _)| *name == header.as_str()) else {
                continue;
            };
            let title = match provider {
                Some(name) => {
                    format!("`{header}` carries the credential for `{name}`, which never reaches an upstream")
                }
                None => format!("`{header}` carries credentials, which never reach an upstream where there is `auth`"),
            };
            let index = index.to_string();
            self.at_value(
                IssueCode::CallerRules,
                &at.path(&["pass_headers", &index]),
                title,
                "remove it from `pass_headers`",
            );
        }
    }

    /// Whether every caller has what the route fixes; who has not is refused, so that it is not a hole but a dead end.
    fn holes_of_fixed(&mut self, at: WrittenRoute<'_>, rule: &AuthRule) {
        let params = &at.route.params;
        let lists = [("fixed", &params.fixed), ("default", &params.default)];
        for (list, (name, template)) in lists.iter().flat_map(|(list, map)| map.iter().map(move |entry| (*list, entry)))
        {
            let path = at.path(&["params", list, name]);
            for part in template.holes() {
                let hole = part.hole().unwrap_or_default();
                let is_public = *rule == AuthRule::Public;
                match part {
                    Part::Path(_) | Part::Literal(_) | Part::Host(_) => {}
                    Part::Tenant if is_public => {}
                    Part::Certificate(_)
                    | Part::Claim(_)
                    | Part::FixedParam(_)
                    | Part::KeyMeta(_)
                    | Part::KeyTenant
                        if is_public =>
                    {
                        let title = format!("`{{{hole}}}` has no value on a public route");
                        let help = "add `auth:` with a provider whose credentials say it";
                        self.at_value(IssueCode::UnknownCapture, &path, title, help);
                    }
                    Part::Certificate(_)
                    | Part::Claim(_)
                    | Part::FixedParam(_)
                    | Part::KeyMeta(_)
                    | Part::KeyTenant
                    | Part::Tenant => {
                        // Of a provider whose own tenant was reported, nobody knows.
                        let lacks = |provider: &Provider| !gives(provider, part);
                        let Some(lacking) = self
                            .first_of(rule, lacks)
                            .filter(|name| list == "fixed" && !self.document.is_reported(&["auth", name], "tenant"))
                        else {
                            continue;
                        };
                        let title =
                            format!("`{{{hole}}}` has no value for callers of `{lacking}`: all would be refused");
                        let help = match *part == Part::Tenant {
                            true => format!("add `tenant:` to `{lacking}`"),
                            false => {
                                "use {tenant}, which every provider can say, or name other providers here".to_owned()
                            }
                        };
                        self.at_value(IssueCode::UnknownCapture, &path, title, &help);
                    }
                }
            }
        }
    }

    /// The first provider of a rule for which something is so.
    fn first_of(&self, rule: &AuthRule, is_so: impl Fn(&Provider) -> bool) -> Option<String> {
        let known = |name: &&String| self.config.auth.get(*name).is_some_and(&is_so);
        rule.names().iter().find(known).cloned()
    }

    /// Whose credential an upstream gets.
    pub(super) fn upstream_auth(&mut self, name: &str, upstream: &Upstream) {
        let path = |key| ["upstreams", name, key];
        let word = match upstream.auth {
            UpstreamAuth::Token => None,
            UpstreamAuth::Passthrough => Some("passthrough"),
            UpstreamAuth::Mint => Some("mint"),
        };
        if let Some(word) = word.filter(|_| upstream.token.is_some()) {
            let title = format!("`token` is not sent with `auth: {word}`");
            self.at_key(IssueCode::CallerRules, &path("token"), title, "remove one of them");
        }
        let sets_authorization = upstream.headers.keys().any(|header| header.as_str() == "authorization");
        if let Some(word) = word.filter(|_| sets_authorization) {
            let title = format!("`Authorization` is set twice: by `headers` and by `auth: {word}`");
            self.at_key(IssueCode::CallerRules, &path("headers"), title, "keep one of them");
        }
        match (&upstream.mint, upstream.auth == UpstreamAuth::Mint) {
            (None, true) if !self.document.is_reported(&["upstreams", name], "mint") => {
                let help = "add `mint: { secret: ${TINYBIRD_ADMIN_TOKEN}, workspace_id: ... }`";
                self.at_key(IssueCode::MissingKey, &path("auth"), "`auth: mint` needs `mint`".to_owned(), help);
            }
            (Some(_), false) if !self.document.is_reported(&["upstreams", name], "auth") => {
                let title = "`mint` has no effect without `auth: mint`".to_owned();
                self.at_key(IssueCode::CallerRules, &path("mint"), title, "add `auth: mint`, or remove it");
            }
            (None | Some(_), _) => {}
        }
        let Some(mint) = &upstream.mint else { return };
        if mint.workspace_id.trim().is_empty() {
            let path = ["upstreams", name, "mint", "workspace_id"];
            self.at_value(IssueCode::BadValue, &path, "`workspace_id` is empty".to_owned(), "write the workspace's id");
        }
        if mint.secret.expose().len() < SHORTEST_SECRET {
            let title = format!("`secret` has fewer than {SHORTEST_SECRET} characters, so that it could be guessed");
            let help = "write the workspace's admin token, the whole of it";
            self.at_value(IssueCode::WeakKey, &["upstreams", name, "mint", "secret"], title, help);
        }
        if !(MIN_TTL..=MAX_TTL).contains(&mint.ttl) {
            let title = format!("`ttl` is {}", mint.ttl);
            self.at_value(
                IssueCode::BadValue,
                &["upstreams", name, "mint", "ttl"],
                title,
                "write a time from 10s to 24h",
            );
        }
    }

    /// Whose credential a route can pass on.
    fn credential_towards(&mut self, at: WrittenRoute<'_>, rule: &AuthRule) {
        let route = at.route;
        let base = at.path(&[]);
        let Some(upstream) = self.config.upstream_of(route).and_then(|name| self.config.upstreams.get(name)) else {
            return;
        };
        match upstream.auth {
            UpstreamAuth::Token => {}
            UpstreamAuth::Passthrough => {
                let other = self.first_of(rule, |provider| provider.kind != ProviderKind::TinybirdJwt);
                if *rule == AuthRule::Public {
                    let title = "callers of a public route have no token that could be passed on".to_owned();
                    let help = "add `auth:` with a `tinybird_jwt` provider, or take an upstream with `auth: token`";
                    self.at_key(IssueCode::CallerRules, &base, title, help);
                } else if let Some(other) = other {
                    let title =
                        format!("credentials of `{other}` are no Tinybird JWTs, so that they cannot be passed on");
                    let help = "take an upstream with `auth: mint` or `auth: token`, or other providers";
                    self.at_key(IssueCode::CallerRules, &base, title, help);
                }
            }
            UpstreamAuth::Mint if route.proxy.is_some() => {
                let title = "`auth: mint` makes tokens for pipes, and this route is a `proxy`".to_owned();
                self.at_key(IssueCode::CallerRules, &base, title, "lead it to an upstream with `auth: token`");
            }
            UpstreamAuth::Mint => {}
        }
    }
}

/// Whether credentials of a provider can name a tenant: without `tenant`, a key has that of its record.
pub(super) fn has_tenant(provider: &Provider) -> bool {
    provider.speaks_of_tenants()
}

/// Whether callers of a provider can have a value for a hole.
fn gives(provider: &Provider, part: &Part) -> bool {
    match part {
        Part::Tenant => has_tenant(provider),
        Part::Certificate(_) | Part::Claim(_) | Part::FixedParam(_) | Part::KeyMeta(_) | Part::KeyTenant => {
            is_of_kind(part, provider.kind)
        }
        Part::Host(_) | Part::Literal(_) | Part::Path(_) => true,
    }
}
