//! `hosts`: under which names callers reach the gateway, and what differs between them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::auth::AuthRule;
use super::cors::Cors;
use super::routes::Route;
use super::tls::HostTls;
use super::white_label::Errors;
use crate::config::scalar::{PathPattern, Period, Template};

/// One host, or all hosts below a domain; a host that is not listed is answered with 404.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Host {
    /// Whose host it is: text, with `{host.N}` for a label of the request's host. Left out: nobody's in particular.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<crate::config::schema::HostTemplate>")]
    pub tenant: Option<Template>,
    /// Where its certificate comes from: `auto`, `on_demand`, `internal`, or files. Left out: the one of `*.` and its domain, if that has one, else that of `tls.default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<HostTls>,
    /// Sends who comes without TLS to the same address with it, status 308.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub redirect_http: bool,
    /// For how long browsers are to come with TLS only, as they are told in answers over TLS (`Strict-Transport-Security`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hsts: Option<Period>,
    /// Who may call routes that say nothing: names from `auth`, or `public`; left out: as `default_auth` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<AuthRule>,
    /// Names from `limits` that hold on this host, whatever the route.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<String>,
    /// Cross-origin rules of this host; left out: those of the top level.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// Sentences of this host's own in place of the gateway's, by the code of the refusal; they win over those of `white_label`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub errors: Errors,
    /// Routes of this host alone, instead of the top level's; left out: the top level's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routes: Option<BTreeMap<PathPattern, Route>>,
}
