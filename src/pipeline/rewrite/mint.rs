//! Tinybird JWTs of our own: one for each tenant, so that Tinybird's statistics
//! and limits see tenants and not one gateway.
//!
//! In: a permit, the workspace. Out: the value of `Authorization`: a token for
//! this one pipe with the parameters that are fixed in this request. Not here:
//! keeping tokens (`state`).

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use serde_json::{Map, Value, json};

use crate::config::scalar::{Secret, Template};
use crate::config::section::upstreams::Mint as Section;
use crate::jose::sign::hs256;
use crate::pipeline::permit::Permit;
use crate::state::minted::{Coin, Minted};

/// What callers are called who have no tenant and no provider. No tenant can have such a name.
const PUBLIC: &str = "public/";

/// Makes tokens for one pipe.
#[derive(Clone, Debug)]
pub(super) struct Mint {
    secret: Secret,
    workspace: Arc<str>,
    ttl: Duration,
    pipe: Template,
    minted: Arc<Minted>,
}

impl Mint {
    pub(super) fn compile(section: &Section, pipe: &Template, minted: Arc<Minted>) -> Self {
        Mint {
            secret: section.secret.clone(),
            workspace: section.workspace_id.as_str().into(),
            ttl: section.ttl.duration(),
            pipe: pipe.clone(),
            minted,
        }
    }

    /// A token for who has this permit; none where its text is no header's.
    pub(super) fn token(&self, permit: &Permit, now: SystemTime) -> Option<HeaderValue> {
        let pipe = permit.captures().fill(&self.pipe);
        let grant = permit.grant();
        // Who has no tenant shares a name with nobody who has one.
        let provider = || grant.identity().map(|identity| format!("provider/{}", identity.provider));
        let name = match &grant.tenant {
            Some(tenant) => tenant.to_string(),
            None => provider().unwrap_or_else(|| PUBLIC.to_owned()),
        };
        let name = &*name;
        let mut words = vec![self.secret.expose(), &*self.workspace, &*pipe, name];
        // Another life is another token, so that a shorter one takes effect at once.
        let ttl = self.ttl.as_millis().to_string();
        words.push(&ttl);
        words.extend(permit.fixed().iter().flat_map(|(name, value)| [&**name, &**value]));
        self.minted.get(&words, now, || {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", self.sign(&pipe, name, permit, now))).ok()?;
            value.set_sensitive(true);
            // The rest of its life is for clocks that differ and for answers that take long to begin.
            Some(Coin { value, until: now + self.ttl.mul_f64(0.8) })
        })
    }

    fn sign(&self, pipe: &str, name: &str, permit: &Permit, now: SystemTime) -> String {
        let fixed: Map<String, Value> =
            permit.fixed().iter().map(|(name, value)| (name.to_string(), Value::from(&**value))).collect();
        let expires = (now + self.ttl).duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let claims = json!({
            "workspace_id": &*self.workspace,
            "name": name,
            "exp": expires,
            "scopes": [{ "type": "PIPES:READ", "resource": pipe, "fixed_params": fixed }],
        });
        hs256(&json!({ "alg": "HS256", "typ": "JWT" }), &claims, self.secret.expose().as_bytes())
    }
}
