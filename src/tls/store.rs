//! Issued certificates by name, for handshakes to look up.
//!
//! In: certificates as they are issued, renewed and loaded. Out: the one for a
//! name, without a lock. Not here: getting them (`acme`), files, which name a
//! handshake may ask for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use tokio_rustls::rustls::sign::CertifiedKey;

/// The certificates that are served. One for each name; who is served an older one keeps it until the end of the handshake.
#[derive(Debug, Default)]
pub struct Store {
    issued: ArcSwap<Table>,
}

type Table = HashMap<Arc<str>, Arc<Issued>>;

/// A certificate with its key.
#[derive(Debug)]
pub struct Issued {
    /// What a handshake needs.
    pub key: Arc<CertifiedKey>,
    /// From when on it is valid.
    pub not_before: SystemTime,
    /// Until when it is valid.
    pub not_after: SystemTime,
}

impl Store {
    /// The certificate that was issued for exactly this name: `a.example.com`, `*.example.com`.
    pub fn get(&self, name: &str) -> Option<Arc<Issued>> {
        self.issued.load().get(name).cloned()
    }

    /// The certificate that covers this host: its own, or that of the wildcard above it.
    pub fn find(&self, host: &str) -> Option<Arc<Issued>> {
        let issued = self.issued.load();
        let wildcard = || issued.get(format!("*.{}", host.split_once('.')?.1).as_str());
        issued.get(host).or_else(wildcard).cloned()
    }

    /// Serves this certificate from now on.
    pub fn put(&self, name: &str, issued: Arc<Issued>) {
        self.put_all(vec![(Arc::from(name), issued)]);
    }

    /// Serves these certificates from now on: in one step, however many they are.
    pub fn put_all(&self, new: Vec<(Arc<str>, Arc<Issued>)>) {
        if new.is_empty() {
            return;
        }
        self.issued.rcu(|issued| {
            let mut issued = Table::clone(issued);
            issued.extend(new.iter().cloned());
            issued
        });
    }

    /// Serves no certificates for these names any more.
    pub fn remove(&self, names: &[Arc<str>]) {
        if names.is_empty() {
            return;
        }
        self.issued.rcu(|issued| {
            let mut issued = Table::clone(issued);
            for name in names {
                issued.remove(name);
            }
            issued
        });
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.issued.load().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::KeyPair;
    use tokio_rustls::rustls::crypto::ring;
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;

    fn issued(name: &str) -> Arc<Issued> {
        let key = KeyPair::generate().unwrap();
        let leaf = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
        let der = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let key = CertifiedKey::from_der(vec![leaf.der().clone()], der, &ring::default_provider()).unwrap();
        Arc::new(Issued { key: Arc::new(key), not_before: SystemTime::UNIX_EPOCH, not_after: SystemTime::UNIX_EPOCH })
    }

    #[test]
    fn a_host_gets_its_own_certificate_or_that_of_the_wildcard_right_above_it() {
        let store = Store::default();
        let (own, wildcard) = (issued("a.example.com"), issued("*.example.com"));
        store.put("*.example.com", Arc::clone(&wildcard));
        assert!(Arc::ptr_eq(&store.find("a.example.com").unwrap(), &wildcard));
        store.put("a.example.com", Arc::clone(&own));
        assert!(Arc::ptr_eq(&store.find("a.example.com").unwrap(), &own));
        assert!(Arc::ptr_eq(&store.find("b.example.com").unwrap(), &wildcard));
        for other in ["example.com", "a.b.example.com", "com", "", "b.example.org"] {
            assert!(store.find(other).is_none(), "{other}");
        }
        assert!(store.get("b.example.com").is_none());
        store.remove(&["a.example.com".into(), "never.example.com".into()]);
        assert!(Arc::ptr_eq(&store.find("a.example.com").unwrap(), &wildcard));
        assert_eq!(store.len(), 1);
    }
}
