//! Customers' own domains: which host of the file each is served as.
//!
//! In: domains as operators add, verify and remove them. Out: the host for a
//! request's name, without a lock; every domain with how far it is. They are
//! kept in `state.dir`, so that a restart forgets none. Not here: whether a name
//! leads here, certificates (`tls`), whether the file has the host (`snapshot`).

mod sqlite;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;

use crate::clock::Clock;

use sqlite::Store;

/// A domain of a customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// Its name, in lower case.
    pub name: Box<str>,
    /// The host of the file that it is served as: requests for the domain are requests for this host.
    pub host: Box<str>,
    /// How far it is.
    pub standing: Standing,
    /// When it was added, in seconds since 1970.
    pub created: i64,
    /// When it was last looked at, if it ever was.
    pub checked: Option<i64>,
    /// What was wrong with it then, if something was.
    pub fault: Option<String>,
}

/// How far a domain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has never led here: it is not served, and gets no certificate.
    Pending,
    /// It has led here: it is served, and gets a certificate.
    Verified,
}

impl Standing {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Standing::Pending => "pending",
            Standing::Verified => "verified",
        }
    }

    fn of_word(word: &str) -> Self {
        if word == "verified" { Standing::Verified } else { Standing::Pending }
    }
}

/// All domains.
#[derive(Debug)]
pub struct Domains {
    clock: Clock,
    folder: PathBuf,
    /// Those that are served, and as which host.
    served: ArcSwap<HashMap<Box<str>, Arc<str>, ahash::RandomState>>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    all: BTreeMap<Box<str>, Domain>,
    store: Option<Store>,
}

impl Domains {
    /// Those that are kept in this folder. If they cannot be read none is served, and the log says why.
    pub fn open(clock: Clock, folder: &Path) -> Self {
        let domains = Domains { clock, folder: folder.to_owned(), served: ArcSwap::default(), kept: Mutex::default() };
        if sqlite::path(folder).exists() {
            let mut kept = domains.kept();
            match Store::open(folder).and_then(|store| Ok((store.all()?, store))) {
                Ok((all, store)) => {
                    kept.all = all.into_iter().map(|domain| (domain.name.clone(), domain)).collect();
                    kept.store = Some(store);
                    domains.publish(&kept);
                }
                Err(why) => log::error!("customers' domains cannot be read, and none is served: {why}"),
            }
        }
        domains
    }

    /// The host that this name is served as, if it is a domain that is served.
    pub fn host_of(&self, name: &str) -> Option<Arc<str>> {
        self.served.load().get(name).cloned()
    }

    /// Whether no domain is served.
    pub fn is_empty(&self) -> bool {
        self.served.load().is_empty()
    }

    /// Every domain, by name.
    pub fn all(&self) -> Vec<Domain> {
        self.kept().all.values().cloned().collect()
    }

    /// One of them.
    pub fn get(&self, name: &str) -> Option<Domain> {
        self.kept().all.get(name).cloned()
    }

    /// Adds a domain, which is not served before it is verified.
    ///
    /// # Errors
    /// It is there already, or cannot be written down.
    pub fn add(&self, name: &str, host: &str) -> Result<Domain, String> {
        let mut kept = self.kept();
        if let Some(known) = kept.all.get(name) {
            return Err(format!("`{name}` is there already, served as {}: remove it first", known.host));
        }
        let domain = Domain {
            name: name.into(),
            host: host.into(),
            standing: Standing::Pending,
            created: self.now(),
            checked: None,
            fault: None,
        };
        self.write(&mut kept, domain)
    }

    /// Notes what a look found. Who has been verified once stays so: a look that fails later takes nobody's site away.
    ///
    /// # Errors
    /// There is no such domain, or it cannot be written down.
    pub fn looked(&self, name: &str, found: &Result<(), String>) -> Result<Domain, String> {
        let mut kept = self.kept();
        let mut domain = kept.all.get(name).cloned().ok_or_else(|| unknown(name))?;
        domain.checked = Some(self.now());
        domain.fault = found.as_ref().err().cloned();
        if found.is_ok() {
            domain.standing = Standing::Verified;
        }
        self.write(&mut kept, domain)
    }

    /// Forgets a domain, which is not served from then on.
    ///
    /// # Errors
    /// There is no such domain, or that cannot be written down.
    pub fn remove(&self, name: &str) -> Result<Domain, String> {
        let mut kept = self.kept();
        if !kept.all.contains_key(name) {
            return Err(unknown(name));
        }
        self.store(&mut kept)?.remove(name)?;
        let domain = kept.all.remove(name).ok_or_else(|| unknown(name))?;
        self.publish(&kept);
        Ok(domain)
    }

    fn write(&self, kept: &mut Kept, domain: Domain) -> Result<Domain, String> {
        self.store(kept)?.put(&domain)?;
        kept.all.insert(domain.name.clone(), domain.clone());
        self.publish(kept);
        Ok(domain)
    }

    fn store<'a>(&self, kept: &'a mut Kept) -> Result<&'a Store, String> {
        if kept.store.is_none() {
            let store = Store::open(&self.folder)?;
            // One that could not be read at the start must not be written over unseen.
            if !store.all()?.is_empty() && kept.all.is_empty() {
                return Err("there are domains that could not be read when the gateway started: restart it".to_owned());
            }
            kept.store = Some(store);
        }
        kept.store.as_ref().ok_or_else(|| "there is no file".to_owned())
    }

    fn publish(&self, kept: &Kept) {
        let served = kept.all.values().filter(|domain| domain.standing == Standing::Verified);
        self.served.store(Arc::new(served.map(|domain| (domain.name.clone(), Arc::from(&*domain.host))).collect()));
    }

    fn now(&self) -> i64 {
        i64::try_from(self.clock.since_1970().as_secs()).unwrap_or(i64::MAX)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unknown(name: &str) -> String {
    format!("there is no domain `{name}`: `tollgate domains list` has all")
}

/// The time of day of so many seconds since 1970.
pub fn time(seconds: i64) -> SystemTime {
    UNIX_EPOCH + std::time::Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::TestClock;

    #[test]
    fn a_domain_is_served_once_it_is_verified_and_until_it_is_removed_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Domains::open(TestClock::new().clock(), folder.path());
        let (name, host) = ("data.acme.com", "acme.customers.example.com");
        let domains = open();
        assert!(!sqlite::path(folder.path()).exists(), "a gateway without domains has no file");
        assert_eq!(domains.add(name, host).unwrap().standing, Standing::Pending);
        assert!(domains.add(name, "other.customers.example.com").is_err());
        assert_eq!(domains.host_of(name), None);
        domains.looked(name, &Err("it leads elsewhere".to_owned())).unwrap();
        assert_eq!(open().get(name).unwrap().fault.as_deref(), Some("it leads elsewhere"));
        assert!(open().is_empty());
        domains.looked(name, &Ok(())).unwrap();
        assert_eq!(domains.host_of(name).as_deref(), Some(host));
        let again = open();
        assert_eq!(again.host_of(name).as_deref(), Some(host));
        assert_eq!(again.all(), domains.all());
        assert_eq!(again.looked(name, &Err("away".to_owned())).unwrap().standing, Standing::Verified);
        assert!(again.host_of(name).is_some());
        again.remove(name).unwrap();
        assert_eq!((again.host_of(name), again.remove(name).is_err()), (None, true));
        assert!(open().all().is_empty());
    }

    #[test]
    fn a_file_that_cannot_be_read_serves_nobody_and_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(sqlite::path(folder.path()), b"no database, but somebody's file all the same").unwrap();
        let domains = Domains::open(TestClock::new().clock(), folder.path());
        assert!(domains.is_empty());
        assert!(domains.add("data.acme.com", "a.example.com").is_err());
        assert!(std::fs::read(sqlite::path(folder.path())).unwrap().starts_with(b"no database"));
    }
}
