//! Tinybird's SDK with JWTs of its own (`jwt.mjs`), and what the upstream received of them: with the gateway's static
//! token, with the caller's, with a minted one.
#![expect(clippy::panic, reason = "a test fails loudly; Clippy exempts only functions that are tests themselves")]

use std::borrow::Cow;

use serde_json::json;
use tollgate::demo::{ADMIN_TOKEN, Claims, Credential, Visit, WORKSPACE_ID};

use crate::guarded::{Guarded, PIPE, STATIC_TOKEN};
use crate::{beside_the_packages, clients, pass};

#[test]
fn sdk_with_its_own_tokens_in_front_of_a_static_token() {
    let upstream = format!("token: {STATIC_TOKEN}");
    for visit in drive(&upstream, 10_000) {
        assert_eq!(visit.credential, Credential::Static, "{visit:?}");
        // The token opens every tenant's rows: this one value is all that keeps them apart.
        assert_eq!(companies(&visit).len(), 1, "{visit:?}");
    }
}

#[test]
fn sdk_with_its_own_tokens_passed_through() {
    for visit in drive("auth: passthrough", 500) {
        let claims = claims(&visit);
        let tenant = claims.payload["scopes"][0]["fixed_params"]["company_id"].as_str().unwrap_or_default();
        assert_eq!(claims.name.split('-').next(), Some(tenant), "{visit:?}");
        assert!(companies(&visit).iter().all(|company| company == tenant), "{visit:?}");
    }
}

#[test]
fn sdk_with_its_own_tokens_in_front_of_minted_ones() {
    let upstream = format!("auth: mint, mint: {{ secret: {ADMIN_TOKEN}, workspace_id: {WORKSPACE_ID}, ttl: 10m }}");
    for visit in drive(&upstream, 500) {
        let claims = claims(&visit);
        assert!(["acme", "beta", "gamma"].contains(&claims.name.as_str()), "{visit:?}");
        let scope = json!([{ "type": "PIPES:READ", "resource": PIPE, "fixed_params": { "company_id": claims.name } }]);
        assert_eq!(claims.payload["scopes"], scope, "one pipe, one tenant");
        assert!(companies(&visit).iter().all(|company| *company == claims.name), "{visit:?}");
    }
}

/// Runs the driver, and gives what arrived last: the calls of two tenants, mixed.
fn drive(upstream: &str, requests: usize) -> Vec<Visit> {
    let outcome = beside_the_packages("jwt.mjs").and_then(|driver| {
        let guarded = Guarded::start(upstream, "")?;
        let (gateway, upstream) = (guarded.gateway(), guarded.upstream());
        let requests = requests.to_string();
        pass(&clients("node"), &driver, &[&gateway, &upstream, ADMIN_TOKEN, WORKSPACE_ID, &requests])?;
        Ok(guarded.visits())
    });
    let visits = outcome.unwrap_or_else(|problem| panic!("{problem}"));
    assert!(visits.len() > 100, "only {} calls arrived", visits.len());
    let tokens = visits.iter().filter(|visit| visit.query.contains("token="));
    assert_eq!(tokens.count(), 0, "a token was put into a URL");
    visits
}

fn claims(visit: &Visit) -> &Claims {
    match &visit.credential {
        Credential::Jwt(claims) => claims,
        Credential::Absent | Credential::Admin | Credential::Refused(_) | Credential::Static => {
            panic!("no JWT arrived: {visit:?}")
        }
    }
}

/// Every value that arrived for the tenant's parameter, in the query and in a form.
fn companies(visit: &Visit) -> Vec<String> {
    let pairs = [visit.query.as_bytes(), &visit.body].into_iter().flat_map(form_urlencoded::parse);
    pairs.filter(|(name, _)| name == "company_id").map(|(_, value)| Cow::into_owned(value)).collect()
}
