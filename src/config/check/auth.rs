//! Rules about who may call: providers, and the routes that name them.
//!
//! In: the decoded configuration. Out: issues. Not here: the files that
//! providers name (`files`), what a credential must be (`pipeline::authn`).

use std::collections::BTreeSet;

use crate::config::issue::{Issue, IssueCode};
use crate::config::scalar::{Algorithm, HostPattern, Part, Period, Scheme, Template};
use crate::config::section::auth::{AuthRule, Provider, ProviderKind};
use crate::config::section::hosts::Host;
use crate::config::section::routes::Route;
use crate::config::section::upstreams::{Upstream, UpstreamAuth};
use crate::config::{WrittenRoute, listed, nearest};

use super::Checker;

/// RFC 7518 section 3.2: as long as what SHA-256 makes.
const MIN_SECRET: usize = 32;
/// RFC 8725 leaves it open; more would make `exp` mean little.
const MAX_LEEWAY: Period = Period::of_millis(60_000);
/// Tokens that live shorter would be made for almost every request.
const MIN_TTL: Period = Period::of_millis(10_000);
const MAX_TTL: Period = Period::of_millis(24 * 3_600_000);

impl Checker<'_> {
    pub(super) fn auth(&mut self) {
        for (name, provider) in &self.config.auth {
            self.keys_of_its_kind(name, provider);
            self.wanted_keys(name, provider);
            self.values_of_a_provider(name, provider);
            self.holes_of_a_provider(name, provider);
        }
        if let Some(rule) = &self.config.default_auth {
            self.auth_rule(&["default_auth"], rule);
        }
        for (host, section) in &self.config.hosts {
            if let Some(rule) = &section.auth {
                self.auth_rule(&["hosts", host.as_str(), "auth"], rule);
            }
        }
        self.unused_providers();
    }

    /// A key that another kind of provider has.
    fn keys_of_its_kind(&mut self, name: &str, provider: &Provider) {
        let known = provider_keys(provider.kind);
        let Some(node) = self.document.node(&["auth", name]) else { return };
        let foreign: Vec<String> = node
            .keys()
            .map(|key| key.text.clone())
            .filter(|key| key != "type" && !known.contains(&key.as_str()))
            .collect();
        for key in foreign {
            let title = format!("`{key}` does not belong to `type: {}`", provider.kind.word());
            let help = format!("remove it; possible here: {}", known.join(", "));
            self.at_key(IssueCode::CallerRules, &["auth", name, &key], title, &help);
        }
    }

    fn wanted_keys(&mut self, name: &str, provider: &Provider) {
        let kind = provider.kind;
        let wanted: &[(&str, bool, &str)] = match kind {
            ProviderKind::ApiKey => {
                &[("keys", provider.keys.is_some(), "a file that `tollgate keys create` writes: `keys: ./keys.yaml`")]
            }
            ProviderKind::Jwt => &[
                ("issuer", provider.issuer.is_some(), "what tokens have in `iss`: `issuer: https://id.example.com/`"),
                (
                    "audience",
                    provider.audience.is_some(),
                    "what tokens have in `aud`; `any` if it is not to be looked at",
                ),
            ],
            ProviderKind::TinybirdJwt => &[
                ("secret", provider.secret.is_some(), "the workspace's admin token: `secret: ${TINYBIRD_ADMIN_TOKEN}`"),
                ("workspace_id", provider.workspace_id.is_some(), "the workspace's id, a UUID"),
            ],
        };
        for (key, is_there, what) in wanted {
            if !is_there && !self.document.is_reported(&["auth", name], key) {
                let place = self.document.key_place(&["auth", name]);
                let title = format!("`{name}` has no `{key}`");
                self.issues.push(Issue::at(IssueCode::MissingKey, place, title).help(format!("add {what}")));
            }
        }
        let sources =
            [("secret", provider.secret.is_some()), ("key", provider.key.is_some()), ("jwks", provider.jwks.is_some())];
        let written: Vec<&str> = sources.iter().filter(|(_, is_there)| *is_there).map(|(key, _)| *key).collect();
        if let (ProviderKind::Jwt, [first, second, ..]) = (kind, written.as_slice()) {
            let title = format!("`{first}` and `{second}` both say which keys are right");
            let help = "keep one of `jwks`, `key` and `secret`; without any, keys are found by OIDC discovery";
            self.two_keys(IssueCode::CallerRules, [&["auth", name, first], &["auth", name, second]], title, help);
        }
    }

    fn values_of_a_provider(&mut self, name: &str, provider: &Provider) {
        if provider.secret.as_ref().is_some_and(|secret| secret.expose().len() < MIN_SECRET) {
            let title = format!("`secret` has fewer than {MIN_SECRET} characters, so that it could be guessed");
            let help = match provider.kind {
                ProviderKind::TinybirdJwt => "write the workspace's admin token, the whole of it",
                ProviderKind::ApiKey | ProviderKind::Jwt => "make one with `openssl rand -hex 32`",
            };
            self.at_value(IssueCode::WeakKey, &["auth", name, "secret"], title, help);
        }
        if let Some(leeway) = provider.leeway.filter(|leeway| *leeway > MAX_LEEWAY) {
            let title = format!("`leeway` is {leeway}: expired tokens would be good for so long");
            self.at_value(IssueCode::BadValue, &["auth", name, "leeway"], title, "write 60s or less");
        }
        if let Some(status) = provider.refused_status.filter(|status| ![401, 403].contains(status)) {
            let title = format!("`{status}` is not a status for a refused credential");
            self.at_value(IssueCode::BadValue, &["auth", name, "refused_status"], title, "write 401 or 403");
        }
        if provider.workspace_id.as_ref().is_some_and(|id| id.trim().is_empty()) {
            let path = ["auth", name, "workspace_id"];
            self.at_value(IssueCode::BadValue, &path, "`workspace_id` is empty".to_owned(), "write the workspace's id");
        }
        if self.is_empty_list(&["auth", name, "tenants"]) {
            let title = "`tenants` is empty: every credential would be refused".to_owned();
            self.at_value(IssueCode::BadValue, &["auth", name, "tenants"], title, "leave it out for any tenant");
        }
        self.algorithms(name, provider);
        self.issuer(name, provider);
    }

    fn algorithms(&mut self, name: &str, provider: &Provider) {
        if self.is_empty_list(&["auth", name, "algorithms"]) {
            let title = "`algorithms` is empty: every token would be refused".to_owned();
            let help = "leave it out for those that the keys are made for";
            self.at_value(IssueCode::BadValue, &["auth", name, "algorithms"], title, help);
        }
        for (index, algorithm) in provider.algorithms.iter().flatten().enumerate() {
            let path = ["auth", name, "algorithms", &index.to_string()];
            let why = match (&provider.secret, &provider.key) {
                (Some(_), _) if !algorithm.is_symmetric() => "a `secret` is for HS256, HS384 and HS512".to_owned(),
                (None, Some(key)) if !key.algorithms().contains(algorithm) => {
                    let possible: Vec<String> = key.algorithms().iter().map(Algorithm::to_string).collect();
                    format!("this `key` is for {}", possible.join(", "))
                }
                // RFC 8725 section 3.1: or whoever has the public key could sign.
                (None, None) if algorithm.is_symmetric() => "public keys are for RS, PS, ES and EdDSA".to_owned(),
                (Some(_) | None, _) => continue,
            };
            let title = format!("`{algorithm}` cannot be used with the provider's keys");
            self.at_value(IssueCode::CallerRules, &path, title, &why);
        }
    }

    fn issuer(&mut self, name: &str, provider: &Provider) {
        let Some(issuer) = &provider.issuer else { return };
        let path = ["auth", name, "issuer"];
        if issuer.trim().is_empty() {
            self.at_value(
                IssueCode::BadValue,
                &path,
                "`issuer` is empty".to_owned(),
                "write what tokens have in `iss`",
            );
            return;
        }
        let discovers = provider.secret.is_none() && provider.key.is_none() && provider.jwks.is_none();
        let discovers =
            discovers && !["jwks", "key", "secret"].iter().any(|key| self.document.is_reported(&["auth", name], key));
        let is_local =
            |host: &str| host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        let fetched = match (&provider.jwks, discovers) {
            (Some(jwks), _) => Some(("jwks", jwks.clone())),
            (None, true) => match issuer.parse() {
                Ok(endpoint) => Some(("issuer", endpoint)),
                Err(_) => {
                    let title =
                        format!("`{}` is not a URL, so its keys cannot be found", self.document.shown(&path, issuer));
                    self.at_value(IssueCode::BadValue, &path, title, "add `jwks:` with the URL of the keys, or `key:`");
                    None
                }
            },
            (None, false) => None,
        };
        if let Some((key, endpoint)) = fetched
            && endpoint.scheme() == Scheme::Http
            && !is_local(endpoint.host())
        {
            let title = "public keys travel without TLS: who changes them on the way can sign tokens".to_owned();
            let help = "use https:// unless every machine on the way is yours";
            self.at_value(IssueCode::PlainHttp, &["auth", name, key], title, help);
        }
    }

    fn holes_of_a_provider(&mut self, name: &str, provider: &Provider) {
        for (key, template) in [("tenant", &provider.tenant), ("scopes", &provider.scopes)] {
            let path = ["auth", name, key];
            for part in template.iter().flat_map(Template::holes).filter(|part| !is_of_kind(part, provider.kind)) {
                let hole = part.hole().unwrap_or_default();
                let title = format!("`{{{hole}}}` has no value in `type: {}`", provider.kind.word());
                self.at_value(IssueCode::UnknownCapture, &path, title, holes_of(provider.kind));
            }
        }
        if let Some(template) = provider.tenant.as_ref().filter(|template| template.literal() == Some("")) {
            let title = format!("`tenant` is `{template}`: every credential would be refused");
            self.at_value(IssueCode::BadValue, &["auth", name, "tenant"], title, holes_of(provider.kind));
        }
    }

    /// Names that must be there, and providers that can be told apart.
    pub(super) fn auth_rule(&mut self, path: &[&str], rule: &AuthRule) {
        let AuthRule::Providers(names) = rule else { return };
        if names.is_empty() {
            let title = "nobody could call: the list of providers is empty".to_owned();
            self.at_value(IssueCode::BadValue, path, title, "name a provider of `auth`, or write `public`");
        }
        for name in names.iter().filter(|name| !self.config.auth.contains_key(*name)) {
            if self.reported(&["auth", name]) {
                continue;
            }
            let known: Vec<&str> = self.config.auth.keys().map(String::as_str).collect();
            let help = match nearest(name, known.iter().copied()) {
                Some(nearest) => format!("did you mean `{nearest}`?"),
                None if known.is_empty() => "define it under `auth`, or write `public`".to_owned(),
                None => format!("defined under `auth`: {}", listed(&known)),
            };
            let shown = self.document.shown(path, name).to_string();
            self.at_value(IssueCode::UnknownName, path, format!("there is no provider `{shown}`"), &help);
        }
        self.alike(path, names);
    }

    /// A credential goes to one provider, by what it looks like.
    fn alike(&mut self, path: &[&str], names: &[String]) {
        let mut seen: Vec<(&str, String)> = Vec::new();
        for name in names {
            let Some(provider) = self.config.auth.get(name) else { continue };
            let mark = match provider.kind {
                ProviderKind::ApiKey => format!("keys with the prefix `{}`", provider.key_prefix()),
                ProviderKind::Jwt => format!("tokens of the issuer `{}`", provider.issuer.clone().unwrap_or_default()),
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
                    ProviderKind::TinybirdJwt => "name only one here",
                };
                self.at_value(IssueCode::CallerRules, path, title, help);
                continue;
            }
            seen.push((name, mark));
        }
    }

    /// What a route and the hosts that serve it say about who may call it; none where nobody says anything.
    pub(super) fn rules_of<'b>(&'b self, at: WrittenRoute<'b>) -> Vec<Option<&'b AuthRule>> {
        let default = self.config.default_auth.as_ref();
        match (&at.route.auth, at.host) {
            (Some(rule), _) => vec![Some(rule)],
            (None, Some(host)) => {
                vec![self.config.hosts.get(host).and_then(|host| host.auth.as_ref()).or(default)]
            }
            (None, None) if self.config.hosts.is_empty() => vec![default],
            (None, None) => {
                let sharing = self.config.hosts.values().filter(|host| host.routes.is_none());
                let mut rules: Vec<Option<&AuthRule>> = Vec::new();
                for rule in sharing.map(|host| host.auth.as_ref().or(default)) {
                    if !rules.contains(&rule) {
                        rules.push(rule);
                    }
                }
                rules
            }
        }
    }

    /// Who may call one route, and what follows for what it fixes.
    pub(super) fn callers_of_a_route(&mut self, at: WrittenRoute<'_>) {
        if let Some(rule) = &at.route.auth {
            self.auth_rule(&at.path(&["auth"]), rule);
        }
        let rules: Vec<Option<AuthRule>> = self.rules_of(at).into_iter().map(Option::<&AuthRule>::cloned).collect();
        let base = at.path(&[]);
        if rules.contains(&None) && !self.config.auth.is_empty() && !self.document.is_reported(&base, "auth") {
            let title = format!("`{}` does not say who may call it", at.key);
            let help =
                "add `auth:` with a provider, or `auth: public`; `default_auth` speaks for routes that say nothing";
            self.at_key(IssueCode::NoCallers, &base, title, help);
        }
        self.refused_on_a_host(at);
        for rule in &rules {
            let rule = rule.as_ref().unwrap_or(&AuthRule::Public);
            self.requirements(at, rule);
            self.holes_of_fixed(at, rule);
            self.credential_towards(at, rule);
        }
    }

    /// Who has no credential has no tenant, and is let in at no tenant's host.
    fn refused_on_a_host(&mut self, at: WrittenRoute<'_>) {
        if at.route.params.allow_public_tenant {
            return;
        }
        let config = self.config;
        let serves = |host: &HostPattern, section: &Host| match at.host {
            None => section.routes.is_none(),
            Some(own) => own == host,
        };
        let is_public = |section: &Host| {
            let rule = at.route.auth.as_ref().or(section.auth.as_ref()).or(config.default_auth.as_ref());
            !matches!(rule, Some(AuthRule::Providers(_))) && (rule.is_some() || config.auth.is_empty())
        };
        let refused = config.hosts.iter().filter(|(host, section)| serves(host, section) && section.tenant.is_some());
        let Some((host, _)) = refused.into_iter().find(|(_, section)| is_public(section)) else { return };
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
        if route.pipe.is_none() && route.pipe_id.is_some() {
            let title = "`pipe_id` belongs to routes with `pipe`".to_owned();
            self.at_key(IssueCode::CallerRules, &at.path(&["pipe_id"]), title, "remove it from a `proxy` route");
        }
        let tinybird = self.first_of(rule, |provider| provider.kind == ProviderKind::TinybirdJwt);
        if let Some(name) = tinybird.filter(|_| route.proxy.is_some() && route.require.pipe.is_none()) {
            let title = format!("nothing says which pipe a Tinybird JWT of `{name}` must be for");
            let help = "add `require: { pipe: NAME }`: such a token opens only what it names";
            self.at_key(IssueCode::CallerRules, &base, title, help);
        }
        let sent = |route: &Route| route.pass_headers.iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>();
        let taken = |header: &str| {
            self.first_of(rule, |provider| {
                provider.header.as_ref().map_or("authorization", |own| own.as_str()) == header
            })
        };
        if let Some((header, name)) =
            sent(route).into_iter().find_map(|header| taken(&header).map(|name| (header, name)))
        {
            let title = format!("`{header}` carries the credential for `{name}`, which never reaches an upstream");
            self.at_key(IssueCode::CallerRules, &at.path(&["pass_headers"]), title, "remove it from `pass_headers`");
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
                    Part::Claim(_) | Part::FixedParam(_) | Part::KeyMeta(_) | Part::KeyTenant if is_public => {
                        let title = format!("`{{{hole}}}` has no value on a public route");
                        let help = "add `auth:` with a provider whose credentials say it";
                        self.at_value(IssueCode::UnknownCapture, &path, title, help);
                    }
                    Part::Claim(_) | Part::FixedParam(_) | Part::KeyMeta(_) | Part::KeyTenant | Part::Tenant => {
                        let lacks = |provider: &Provider| !gives(provider, part);
                        let Some(lacking) = self.first_of(rule, lacks).filter(|_| list == "fixed") else { continue };
                        let title =
                            format!("`{{{hole}}}` has no value for callers of `{lacking}`: all would be refused");
                        let help = match part {
                            Part::Tenant => format!("add `tenant:` to `{lacking}`"),
                            Part::Claim(_)
                            | Part::FixedParam(_)
                            | Part::Host(_)
                            | Part::KeyMeta(_)
                            | Part::KeyTenant
                            | Part::Literal(_)
                            | Part::Path(_) => {
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

    fn unused_providers(&mut self) {
        let rules = self.config.every_auth_rule();
        let used: BTreeSet<&str> = rules.iter().flat_map(|rule| rule.names()).map(String::as_str).collect();
        for name in self.config.auth.keys().filter(|name| !used.contains(name.as_str())) {
            let place = self.document.key_place(&["auth", name]);
            let title = format!("nothing uses the provider `{name}`");
            let help = "name it in `auth` of a route or in `default_auth`, or remove it";
            self.issues.push(Issue::at(IssueCode::UnusedProvider, place, title).help(help));
        }
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
        if mint.secret.expose().len() < MIN_SECRET {
            let title = format!("`secret` has fewer than {MIN_SECRET} characters, so that it could be guessed");
            let help = "write the workspace's admin token, the whole of it";
            self.at_value(IssueCode::WeakKey, &["upstreams", name, "mint", "secret"], title, help);
        }
        if !(MIN_TTL..=MAX_TTL).contains(&mint.ttl) {
            let title = format!("`ttl` is {}", mint.ttl);
            let help = format!("write a time from {MIN_TTL} to {MAX_TTL}");
            self.at_value(IssueCode::BadValue, &["upstreams", name, "mint", "ttl"], title, &help);
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

fn provider_keys(kind: ProviderKind) -> &'static [&'static str] {
    match kind {
        ProviderKind::ApiKey => &["keys", "header", "prefix", "tenant", "tenants", "refused_status"],
        ProviderKind::Jwt => &[
            "issuer",
            "audience",
            "jwks",
            "key",
            "secret",
            "algorithms",
            "leeway",
            "tenant",
            "tenants",
            "scopes",
            "refused_status",
            "revoked",
        ],
        ProviderKind::TinybirdJwt => {
            &["secret", "workspace_id", "tenant", "tenants", "scopes", "refused_status", "revoked"]
        }
    }
}

/// Whether credentials of a kind can fill a hole by themselves.
fn is_of_kind(part: &Part, kind: ProviderKind) -> bool {
    match part {
        Part::Literal(_) => true,
        Part::Claim(_) => matches!(kind, ProviderKind::Jwt | ProviderKind::TinybirdJwt),
        Part::FixedParam(_) => kind == ProviderKind::TinybirdJwt,
        Part::KeyMeta(_) | Part::KeyTenant => kind == ProviderKind::ApiKey,
        Part::Host(_) | Part::Path(_) | Part::Tenant => false,
    }
}

fn holes_of(kind: ProviderKind) -> &'static str {
    match kind {
        ProviderKind::ApiKey => "write {key.tenant} or {key.meta.NAME}",
        ProviderKind::Jwt => "write {claims.NAME}",
        ProviderKind::TinybirdJwt => "write {fixed_params.NAME} or {claims.NAME}",
    }
}

/// Whether callers of a provider can have a value for a hole.
fn gives(provider: &Provider, part: &Part) -> bool {
    match part {
        Part::Tenant => provider.tenant.is_some() || provider.kind == ProviderKind::ApiKey,
        Part::Claim(_) | Part::FixedParam(_) | Part::KeyMeta(_) | Part::KeyTenant => is_of_kind(part, provider.kind),
        Part::Host(_) | Part::Literal(_) | Part::Path(_) => true,
    }
}
