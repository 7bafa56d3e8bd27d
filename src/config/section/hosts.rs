//! `hosts`: under which names callers reach the gateway, and what differs between them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::auth::AuthRule;
use super::cors::Cors;
use super::routes::Route;
use crate::config::scalar::{PathPattern, Template};

/// One host, or all hosts below a domain; a host that is not listed is answered with 404.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Host {
    /// Whose host it is: text, with `{host.N}` for a label of the request's host. Left out: nobody's in particular.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<crate::config::schema::HostTemplate>")]
    pub tenant: Option<Template>,
    /// Who may call routes that say nothing: names from `auth`, or `public`; left out: as `default_auth` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<AuthRule>,
    /// Names from `limits` that hold on this host, whatever the route.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<String>,
    /// Cross-origin rules of this host; left out: those of the top level.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// Routes of this host alone, instead of the top level's; left out: the top level's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routes: Option<BTreeMap<PathPattern, Route>>,
}
