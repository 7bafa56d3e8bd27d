//! Rules about providers: each has the keys of its kind, with values that can be used.
//!
//! In: the `auth` section. Out: issues. Not here: who may call what (`auth`),
//! the files that providers name (`files`).

use std::collections::BTreeSet;

use crate::config::issue::{Issue, IssueCode};
use crate::config::scalar::{Algorithm, Part, Period, SHORTEST_SECRET, Scheme, Template, WebAddress};
use crate::config::section::auth::{Audience, Provider, ProviderKind};

use super::Checker;

const KINDS: [ProviderKind; 4] =
    [ProviderKind::ApiKey, ProviderKind::Jwt, ProviderKind::Mtls, ProviderKind::TinybirdJwt];
/// RFC 8725 leaves it open; more would make `exp` mean little.
const MAX_LEEWAY: Period = Period::of_millis(60_000);

/// Headers that the gateway itself, browsers or machines on the way read, write or pass on.
const TAKEN_HEADERS: [&str; 38] = [
    "age",
    "allow",
    "alt-svc",
    "cache-control",
    "cookie",
    "cookie2",
    "date",
    "dnt",
    "etag",
    "expect",
    "expires",
    "forwarded",
    "from",
    "last-modified",
    "link",
    "location",
    "max-forwards",
    "origin",
    "pragma",
    "priority",
    "range",
    "referer",
    "referrer-policy",
    "retry-after",
    "server",
    "set-cookie",
    "strict-transport-security",
    "te",
    "traceparent",
    "tracestate",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "x-real-ip",
    "x-request-id",
    "x-requested-with",
];
/// What all headers of a family begin with.
const TAKEN_PREFIXES: [&str; 6] = ["accept", "access-control-", "content-", "if-", "sec-", "x-forwarded-"];

impl Checker<'_> {
    pub(super) fn auth(&mut self) {
        if self.is_empty_list(&["auth"]) {
            let title = "`auth` is empty: nobody could have a credential".to_owned();
            let help = "define a provider under `auth`; without the section every route is public";
            self.at_key(IssueCode::BadValue, &["auth"], title, help);
        }
        for (name, provider) in &self.config.auth {
            self.keys_of_its_kind(name, provider);
            self.wanted_keys(name, provider);
            self.values_of_a_provider(name, provider);
            self.holes_of_a_provider(name, provider);
            self.header_of_a_provider(name, provider);
            self.confined_to_tenants(name, provider);
            self.any_audience(name, provider);
            self.reached_over_tls(name, provider);
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
            // What is a key nowhere was reported before, and may hold anything.
            .filter(|key| {
                !known.contains(&key.as_str()) && KINDS.iter().any(|kind| provider_keys(*kind).contains(&key.as_str()))
            })
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
                &[("keys", provider.keys.is_some(), "`keys: ./keys.yaml`, a file that `tollgate keys create` writes")]
            }
            ProviderKind::Jwt => &[
                (
                    "issuer",
                    provider.issuer.is_some(),
                    "`issuer:` with what tokens have in `iss`, like https://id.example.com/",
                ),
                (
                    "audience",
                    provider.audience.is_some(),
                    "`audience:` with what tokens have in `aud`; `any` if it is not to be looked at",
                ),
            ],
            ProviderKind::Mtls => {
                &[("ca", provider.ca.is_some(), "`ca: ./authority.pem`, the certificate of who signs those of callers")]
            }
            ProviderKind::TinybirdJwt => &[
                ("secret", provider.secret.is_some(), "`secret: ${TINYBIRD_ADMIN_TOKEN}`, the workspace's admin token"),
                ("workspace_id", provider.workspace_id.is_some(), "`workspace_id:` with the workspace's id, a UUID"),
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
        if provider.secret.as_ref().is_some_and(|secret| secret.expose().len() < SHORTEST_SECRET) {
            let title = format!("`secret` has fewer than {SHORTEST_SECRET} characters, so that it could be guessed");
            let help = match provider.kind {
                ProviderKind::TinybirdJwt => "write the workspace's admin token, the whole of it",
                ProviderKind::ApiKey | ProviderKind::Jwt | ProviderKind::Mtls => "make one with `openssl rand -hex 32`",
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
        if ["jwks", "key", "secret"].iter().any(|key| self.document.is_reported(&["auth", name], key)) {
            return;
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
            (None, true) => match issuer.parse::<WebAddress>().ok().filter(|address| !address.has_query()) {
                Some(address) => Some(("issuer", address)),
                None => {
                    // It may be a URL with a password in it, so it is not quoted.
                    let title = match issuer.contains('?') {
                        true => "this issuer has a `?`, so that its keys cannot be found from it".to_owned(),
                        false => "this issuer is not a URL that keys could be found at".to_owned(),
                    };
                    self.at_value(IssueCode::BadValue, &path, title, "add `jwks:` with the URL of the keys, or `key:`");
                    None
                }
            },
            (None, false) => None,
        };
        if provider.ca.is_some()
            && provider.kind == ProviderKind::Jwt
            && (provider.secret.is_some() || provider.key.is_some())
        {
            let title = "`ca` has nothing to do: the provider's key is written here, and not fetched".to_owned();
            self.at_key(IssueCode::CallerRules, &["auth", name, "ca"], title, "remove `ca`");
        }
        if let Some((key, address)) = fetched
            && address.scheme() == Scheme::Http
            && !is_local(address.host())
        {
            let title = "public keys travel without TLS: who changes them on the way can sign tokens".to_owned();
            let help = "use https:// unless every machine on the way is yours";
            self.at_value(IssueCode::PlainHttp, &["auth", name, key], title, help);
        }
    }

    fn holes_of_a_provider(&mut self, name: &str, provider: &Provider) {
        for (key, template) in [("tenant", &provider.tenant), ("plan", &provider.plan), ("scopes", &provider.scopes)] {
            let path = ["auth", name, key];
            for part in template.iter().flat_map(Template::holes).filter(|part| !is_of_kind(part, provider.kind)) {
                let hole = part.hole().unwrap_or_default();
                let title = format!("`{{{hole}}}` has no value in `type: {}`", provider.kind.word());
                self.at_value(IssueCode::UnknownCapture, &path, title, holes_of(provider.kind));
            }
        }
        if provider.scopes.as_ref().is_some_and(|template| template.literal() == Some("")) {
            let title = "`scopes` is empty: nobody would have any".to_owned();
            let help = "write {claims.NAME}, or leave it out";
            self.at_value(IssueCode::BadValue, &["auth", name, "scopes"], title, help);
        }
        if provider.tenant.as_ref().is_some_and(|template| template.literal() == Some("")) {
            let title = "`tenant` is empty: every credential would be refused".to_owned();
            self.at_value(IssueCode::BadValue, &["auth", name, "tenant"], title, holes_of(provider.kind));
        }
    }

    /// A header that others write, read or pass would be taken for a key, or a key for what belongs there.
    fn header_of_a_provider(&mut self, name: &str, provider: &Provider) {
        let Some(header) = provider.header.as_ref().filter(|_| provider.kind == ProviderKind::ApiKey) else { return };
        let header = header.as_str();
        if !TAKEN_HEADERS.contains(&header) && !TAKEN_PREFIXES.iter().any(|prefix| header.starts_with(prefix)) {
            return;
        }
        let title = format!("`{header}` has another meaning in HTTP, so that no key can stand there");
        let help = "write `X-API-Key`, or leave `header` out for `Authorization`";
        self.at_value(IssueCode::BadValue, &["auth", name, "header"], title, help);
    }

    fn confined_to_tenants(&mut self, name: &str, provider: &Provider) {
        let is_confined = provider.tenants.as_ref().is_some_and(|tenants| !tenants.is_empty());
        // Without `tenant` a key has that of its record.
        let names_none = provider.tenant.is_none() && provider.kind != ProviderKind::ApiKey;
        if is_confined && names_none && !self.document.is_reported(&["auth", name], "tenant") {
            let title = format!("`tenants` confines nothing: no credential of `{name}` names a tenant");
            let hole = match provider.kind {
                ProviderKind::TinybirdJwt => "{fixed_params.NAME}",
                ProviderKind::Mtls => "{certificate.subject.o}",
                ProviderKind::ApiKey | ProviderKind::Jwt => "{claims.NAME}",
            };
            let help = format!("add `tenant: \"{hole}\"`, or remove `tenants`");
            self.at_key(IssueCode::CallerRules, &["auth", name, "tenants"], title, &help);
        }
    }

    /// Who fetches an issuer's keys shares them with everything else that trusts this issuer.
    fn any_audience(&mut self, name: &str, provider: &Provider) {
        let is_written = |key: &&str| self.document.is_reported(&["auth", name], key);
        let is_fetched =
            provider.secret.is_none() && provider.key.is_none() && !["key", "secret"].iter().any(is_written);
        if provider.kind == ProviderKind::Jwt && provider.audience == Some(Audience::Any) && is_fetched {
            let title = format!("tokens for every application of this issuer are accepted by `{name}`");
            let help = "write what tokens for this gateway have in `aud`";
            self.at_value(IssueCode::AnyAudience, &["auth", name, "audience"], title, help);
        }
    }

    /// Certificates are shown in handshakes, and nowhere else.
    fn reached_over_tls(&mut self, name: &str, provider: &Provider) {
        let listeners = &self.config.listeners;
        let is_unclear = |index: usize| {
            let index = index.to_string();
            let item = ["listeners", index.as_str()];
            let keys = ["tls", "client_certificates"];
            self.reported(&item)
                || keys
                    .iter()
                    .any(|key| self.reported(&["listeners", &index, key]) || self.document.is_reported(&item, key))
        };
        // One that is not there because it is wrong may have been meant.
        if self.document.is_reported(&[], "listeners") || (0..=listeners.len()).any(is_unclear) {
            return;
        }
        let takes = listeners.iter().any(|listener| listener.takes_certificates());
        if provider.kind != ProviderKind::Mtls || takes || listeners.is_empty() {
            return;
        }
        let (title, help) = match listeners.iter().any(|listener| listener.tls) {
            true => (
                format!("nobody can show a certificate to `{name}`: no listener asks for one"),
                "remove `client_certificates: false` from a listener with `tls: true`",
            ),
            false => (
                format!("nobody can show a certificate to `{name}`: no listener has `tls: true`"),
                "add a listener with `tls: true`; what a proxy in front says about certificates is not believed",
            ),
        };
        self.at_value(IssueCode::TlsRules, &["auth", name, "type"], title, help);
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
}

fn provider_keys(kind: ProviderKind) -> &'static [&'static str] {
    match kind {
        ProviderKind::ApiKey => &["keys", "header", "prefix", "tenant", "tenants", "plan", "refused_status"],
        ProviderKind::Jwt => &[
            "issuer",
            "audience",
            "jwks",
            "ca",
            "key",
            "secret",
            "algorithms",
            "leeway",
            "tenant",
            "tenants",
            "plan",
            "scopes",
            "refused_status",
            "revoked",
        ],
        ProviderKind::Mtls => &["ca", "tenant", "tenants", "plan", "scopes", "refused_status", "revoked"],
        ProviderKind::TinybirdJwt => {
            &["secret", "workspace_id", "tenant", "tenants", "plan", "scopes", "refused_status", "revoked"]
        }
    }
}

/// Whether credentials of a kind can fill a hole by themselves.
pub(super) fn is_of_kind(part: &Part, kind: ProviderKind) -> bool {
    match part {
        Part::Literal(_) => true,
        Part::Certificate(_) => kind == ProviderKind::Mtls,
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
        ProviderKind::Mtls => "write {certificate.NAME}, like {certificate.subject.o} or {certificate.san.dns}",
        ProviderKind::TinybirdJwt => "write {fixed_params.NAME} or {claims.NAME}",
    }
}
