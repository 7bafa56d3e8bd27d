//! Where an upstream's `Location` leads, seen from outside.
//!
//! In: the header's value. Out: a path of the gateway, a foreign URL as it is,
//! or nothing where the target cannot be reached through this route.

use http::Uri;

use crate::config::scalar::{Endpoint, Part, PathPattern, Template};

use super::Wording;

/// How paths of the upstream map back to the route.
#[derive(Clone, Debug)]
pub(super) struct Redirect {
    /// Those of all its backends.
    hosts: Box<[Box<str>]>,
    /// Upstream path prefix and public path prefix, where a tail maps one to the other.
    mapping: Option<(String, String)>,
}

impl Redirect {
    pub(super) fn compile(upstream: &[Endpoint], (pattern, proxy): (&PathPattern, Option<&Template>)) -> Self {
        let tail = proxy.and_then(|template| match template.parts() {
            [Part::Literal(prefix), Part::Path(name)] if name == "rest" => Some(prefix.as_str()),
            _ => None,
        });
        let public = pattern.as_str().strip_suffix('*').filter(|prefix| !prefix.contains('{'));
        let base = upstream.first().map_or("", Endpoint::base_path);
        let mapping = tail.zip(public).map(|(tail, public)| (format!("{base}{tail}"), public.to_owned()));
        Redirect { hosts: upstream.iter().map(|endpoint| endpoint.host().into()).collect(), mapping }
    }

    /// The location as callers may see it.
    pub(super) fn public(&self, location: &str, wording: &Wording) -> Option<String> {
        let uri: Uri = location.parse().ok()?;
        let is_own = |host: &str| self.hosts.iter().any(|own| **own == *host);
        if let Some(host) = uri.host().map(plain).filter(|host| !is_own(host)) {
            // Another site's address, such as a signed download: its own affair. A script is no site, and what
            // another door of the upstream is called concerns nobody.
            let leads_out = matches!(uri.scheme_str(), Some("http" | "https")) && !wording.is_inside(&host);
            return leads_out.then(|| location.to_owned());
        }
        let (upstream, public) = self.mapping.as_ref()?;
        let path = uri.path();
        let rest = path.strip_prefix(upstream.as_str())?;
        let clean = crate::exchange::head::normalise_path(path).is_ok();
        let query = uri.query().map(without_token).filter(|query| !query.is_empty());
        clean.then(|| match query {
            Some(query) => format!("{public}{rest}?{query}"),
            None => format!("{public}{rest}"),
        })
    }
}

/// A host as the configuration has it: lower case, no brackets, no dot at its end.
fn plain(host: &str) -> String {
    host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase()
}

fn without_token(query: &str) -> String {
    let is_token = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or_default();
        percent_encoding::percent_decode_str(name).decode_utf8_lossy().eq_ignore_ascii_case("token")
    };
    query.split('&').filter(|pair| !is_token(pair)).collect::<Vec<_>>().join("&")
}
