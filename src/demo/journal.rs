//! The last requests, for tests that ask what came out of a gateway.
//!
//! In: requests with their judged credentials. Out: `Visit`s, oldest first. Kept in memory, never
//! logged; no token is in it.
//! **Not here**: judging a credential (`keyring`).

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::Method;

use super::keyring::Credential;
use super::surface::Request;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Its method.
    pub method: Method,
    /// Its path, decoded.
    pub path: String,
    /// Its query as it was written, but with `***` for a token.
    pub query: String,
    /// The first 4 KiB of its body.
    pub body: Bytes,
    /// Who asked.
    pub credential: Credential,
}

/// Writes visits down.
#[derive(Debug, Default)]
pub(super) struct Journal {
    visits: Mutex<VecDeque<Visit>>,
}

impl Journal {
    /// Adds one, and forgets the oldest if there are many.
    pub(super) fn write(&self, request: &Request, credential: &Credential) {
        let kept = request.body.get(..LONGEST_BODY).unwrap_or(&request.body);
        let visit = Visit {
            method: request.method.clone(),
            path: request.path.clone(),
            query: masked(&request.query),
            // A copy: a part of the received buffer would keep all of it.
            body: Bytes::copy_from_slice(kept),
            credential: credential.clone(),
        };
        let mut visits = self.visits.lock().unwrap_or_else(PoisonError::into_inner);
        if visits.len() >= MOST_VISITS {
            visits.pop_front();
        }
        visits.push_back(visit);
    }

    /// What has been written down.
    pub(super) fn read(&self) -> Vec<Visit> {
        self.visits.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

fn masked(query: &str) -> String {
    let names = |pair: &str| form_urlencoded::parse(pair.as_bytes()).next().is_some_and(|(name, _)| name == "token");
    let pairs = query.split('&').map(|pair| if names(pair) { "token=***" } else { pair });
    pairs.collect::<Vec<_>>().join("&")
}

const MOST_VISITS: usize = 256;
const LONGEST_BODY: usize = 4 * 1024;
