//! API keys from a file of hashes.
//!
//! In: a key's text, the records of the file. Out: whose it is. A record is
//! found by the id in the key and believed by its hash, compared in a time that
//! says nothing. Not here: the file (`config`), making keys (`cli`).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use subtle::ConstantTimeEq;

use crate::config::scalar::api_key;
use crate::config::section::keys::KeyRecord;
use crate::exchange::caller::Identity;

use super::rejection::Finding;

/// The records of one provider.
#[derive(Debug)]
pub(super) struct ApiKeys {
    prefix: Box<str>,
    records: HashMap<Box<str>, Record, ahash::RandomState>,
}

#[derive(Debug)]
struct Record {
    hash: [u8; 32],
    enabled: bool,
    expires: Option<SystemTime>,
    identity: Arc<Identity>,
}

impl ApiKeys {
    pub(super) fn compile(prefix: &str, records: &[KeyRecord], identity: impl Fn(&KeyRecord) -> Identity) -> Self {
        let compiled = |record: &KeyRecord| Record {
            hash: *record.sha256.bytes(),
            enabled: record.enabled,
            expires: record.expires.as_ref().map(|expires| expires.time()),
            identity: Arc::new(identity(record)),
        };
        let records = records.iter().map(|record| (record.id.as_str().into(), compiled(record))).collect();
        ApiKeys { prefix: prefix.into(), records }
    }

    /// Whether a text begins as the keys of this provider do.
    pub(super) fn has_prefix_of(&self, text: &str) -> bool {
        text.strip_prefix(&*self.prefix).is_some_and(|rest| rest.starts_with('_'))
    }

    pub(super) fn verify(&self, text: &str, now: SystemTime) -> Result<&Arc<Identity>, Finding> {
        let parts = api_key::parse(text).ok_or(Finding::KeyCut)?;
        // The same work for a key that exists and for one that does not.
        let given = api_key::hash(text);
        let record = self.records.get(parts.id);
        let is_it: bool = record.map_or([0; 32], |record| record.hash).ct_eq(&given).into();
        let record = record.filter(|_| is_it).ok_or(Finding::KeyUnknown)?;
        if !record.enabled {
            return Err(Finding::KeyRevoked(parts.id.into()));
        }
        match record.expires.is_some_and(|expires| now >= expires) {
            true => Err(Finding::KeyExpired(parts.id.into())),
            false => Ok(&record.identity),
        }
    }
}
