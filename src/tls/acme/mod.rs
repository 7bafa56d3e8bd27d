//! Gets certificates from authorities that speak ACME (RFC 8555), and renews
//! them in time.
//!
//! In: authorities, names. Out: certificates in a [`Store`], answers for port 80
//! in [`Challenges`], a report. Not here: whether somebody may have a
//! certificate for a name, who serves it. Whatever fails, what is served stays;
//! whatever is on disk is served at once, and nobody is asked about it.

mod book;
mod certificate;
mod challenges;
mod files;
mod hook;
mod issuer;
mod job;
mod name;
mod order;
mod schedule;
mod session;
mod trouble;
mod wire;

pub use book::{NameReport, State};
pub use challenges::{Challenges, PATH, Posted};
pub use issuer::{Eab, Hook, Issuer};

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::{Id, JoinSet};

use crate::clock::Clock;
use crate::outbound::Client;
use crate::tls::store::{Issued, Store};

use book::{Book, Current, Ending, Entry, Job, News, Now, Wish};
use files::Files;
use name::Name;
use session::Desk;
use trouble::{Kind, Trouble};

/// Whether an authority could issue a certificate for this name.
pub fn is_name(text: &str) -> bool {
    Name::parse(text).is_some_and(|name| !name.is_wildcard())
}

/// The wall clock may be set, so it is looked at again after this time at the latest.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// Keeps certificates for the names that are wanted. Copies are the same engine.
#[derive(Clone, Debug)]
pub struct Engine(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    desk: Desk,
    store: Arc<Store>,
    book: watch::Sender<Book>,
    failures: AtomicU64,
}

impl Engine {
    /// An engine that keeps its files in `folder`, and does nothing yet: it has no authorities and no names.
    pub fn new(clock: Clock, folder: PathBuf, store: Arc<Store>, challenges: Arc<Challenges>, client: Client) -> Self {
        let files = Files::new(folder);
        files.tidy(clock.wall());
        let desk = Desk { clock, files, challenges, client, door: Semaphore::new(1) };
        Engine(Arc::new(Shared { desk, store, book: watch::Sender::new(Book::new()), failures: AtomicU64::new(0) }))
    }

    /// Takes these authorities, tried in this order, instead of those before. A certificate of an authority that is not among
    /// them is served until one of these has issued another.
    pub fn issuers(&self, issuers: Vec<Issuer>) {
        let issuers: Arc<[Arc<Issuer>]> = issuers.into_iter().map(Arc::new).collect();
        let names: Vec<Name> = {
            let book = self.0.book.borrow();
            if book.issuers == issuers {
                return;
            }
            let is_kept = |current: &Current| issuers.iter().any(|issuer| issuer.slug() == current.issuer);
            let lacks = |entry: &Entry| !entry.current.as_ref().is_some_and(is_kept);
            book.entries.iter().filter(|(_, entry)| lacks(entry)).map(|(name, _)| name.clone()).collect()
        };
        let found = self.serve_kept(names, &issuers);
        let now = self.0.desk.now();
        self.0.book.send_modify(|book| {
            book.turn_to(issuers, now);
            for (name, current) in found {
                let Some(entry) = book.entries.get_mut(&name) else { continue };
                match (current, &mut entry.current) {
                    (Some(current), _) => entry.adopt(current),
                    (None, Some(others)) => others.renew_now(),
                    (None, None) => {}
                }
            }
        });
    }

    /// Takes these names instead of those before: `a.example.com`, `*.example.com`. What is on disk for them is served when
    /// this returns. For the others, except those that were asked for, nothing is served or renewed any more; files stay.
    pub fn want(&self, names: &BTreeSet<String>) {
        let mut wanted = BTreeSet::new();
        for text in names {
            match Name::parse(text) {
                Some(name) => _ = wanted.insert(name),
                None => log::warn!("no authority issues a certificate for `{}`", trouble::line(text)),
            }
        }
        let (new, issuers) = {
            let book = self.0.book.borrow();
            let new: Vec<Name> = wanted.iter().filter(|name| !book.entries.contains_key(*name)).cloned().collect();
            (new, Arc::clone(&book.issuers))
        };
        let found = self.serve_kept(new, &issuers);
        let now = self.0.desk.now();
        let mut gone = Vec::new();
        self.0.book.send_modify(|book| {
            for (name, current) in found {
                book.entries.entry(name).or_insert_with(|| Entry::new(Wish::Listed, current, now));
            }
            book.entries.retain(|name, entry| {
                if wanted.contains(name) {
                    entry.wish = Wish::Listed;
                }
                let stays = entry.wish == Wish::Asked || wanted.contains(name);
                if !stays {
                    gone.push(name.shared());
                }
                stays
            });
        });
        self.0.store.remove(&gone);
    }

    /// Wants a certificate for this name, too, before all others; false if it is no name that could have one. Cheap if it is
    /// known already. Who may ask has been decided before.
    pub fn ask(&self, name: &str) -> bool {
        let Some(name) = Name::parse(name) else { return false };
        // Nobody is woken, and nobody held up, for what is known.
        if self.0.book.borrow().entries.contains_key(&name) {
            return true;
        }
        let now = self.0.desk.now();
        self.0.book.send_if_modified(|book| {
            let is_new = !book.entries.contains_key(&name);
            if is_new {
                book.entries.insert(name, Entry::new(Wish::Asked, None, now));
            }
            is_new
        });
        true
    }

    /// Does not want this name any more that was asked for; files stay.
    pub fn forget(&self, name: &str) {
        let Some(name) = Name::parse(name) else { return };
        let mut gone = Vec::new();
        self.0.book.send_if_modified(|book| {
            let is_asked = book.entries.get(&name).is_some_and(|entry| entry.wish == Wish::Asked);
            if is_asked {
                book.entries.remove(&name);
                gone.push(name.shared());
            }
            is_asked
        });
        self.0.store.remove(&gone);
    }

    /// Whether this name is wanted already, by whomever.
    pub fn wants(&self, name: &str) -> bool {
        Name::parse(name).is_some_and(|name| self.0.book.borrow().entries.contains_key(&name))
    }

    /// Keeps of the names that were asked for those that are still `ours`, and takes back those that were asked for before
    /// this process began: they have a valid certificate on disk, which is served when this returns.
    pub fn keep_asked(&self, ours: impl Fn(&str) -> bool) {
        let now = self.0.desk.now();
        let issuers = Arc::clone(&self.0.book.borrow().issuers);
        let names: BTreeSet<Name> = issuers.iter().flat_map(|issuer| self.0.desk.files.names(&issuer.slug())).collect();
        let known: BTreeSet<Name> = self.0.book.borrow().entries.keys().cloned().collect();
        let new = names.into_iter().filter(|name| !name.is_wildcard() && ours(name.as_str()) && !known.contains(name));
        let found: Vec<(Name, Option<Current>)> = new
            .filter_map(|name| {
                let current = self.0.desk.load(&name, &issuers)?;
                (current.certificate.issued.not_after > now.wall).then_some((name, Some(current)))
            })
            .collect();
        self.serve(&found);
        let mut gone = Vec::new();
        self.0.book.send_modify(|book| {
            for (name, current) in found {
                book.entries.entry(name).or_insert_with(|| Entry::new(Wish::Asked, current, now));
            }
            book.entries.retain(|name, entry| {
                let stays = entry.wish == Wish::Listed || ours(name.as_str());
                if !stays {
                    gone.push(name.shared());
                }
                stays
            });
        });
        self.0.store.remove(&gone);
    }

    /// Waits until a name that was asked for has a certificate, or its order has failed. The caller bounds the time.
    pub async fn settled(&self, name: &str) -> Option<Arc<Issued>> {
        let name = Name::parse(name)?;
        let mut changes = self.0.book.subscribe();
        let settled = changes.wait_for(|book| book.is_settled(&name, self.0.desk.now()));
        // The sender lives in `self`, so the wait cannot fail.
        drop(settled.await);
        self.0.store.get(name.as_str())
    }

    /// How many orders have failed.
    pub fn failures(&self) -> u64 {
        self.0.failures.load(Ordering::Relaxed)
    }

    /// What an operator is told of each name.
    pub fn report(&self) -> Vec<NameReport> {
        self.0.book.borrow().report(self.0.desk.now())
    }

    /// Orders and renews, a few at a time. Never ends; dropping it ends what is under way, which is gone on with by the next
    /// one.
    pub async fn run(&self) {
        self.0.book.send_modify(Book::reset);
        let mut changes = self.0.book.subscribe();
        let mut tasks = JoinSet::new();
        let mut names: HashMap<Id, Name> = HashMap::new();
        loop {
            for job in self.due() {
                let (engine, name) = (self.clone(), job.name().clone());
                let task = tasks.spawn(async move {
                    let ending = job.run(&engine.0.desk).await;
                    engine.end(job.name(), ending);
                });
                names.insert(task.id(), name);
            }
            let sleep = async {
                let idle = {
                    let book = self.0.book.borrow();
                    (!book.entries.is_empty()).then(|| book.idle_for(self.0.desk.now()).min(LONGEST_SLEEP))
                };
                match idle {
                    Some(idle) => self.0.desk.clock.sleep(idle).await,
                    // Without names nothing ever comes due.
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = changes.changed() => {}
                () = sleep => {}
                Some(ended) = tasks.join_next_with_id() => {
                    let (id, is_broken) = match ended {
                        Ok((id, ())) => (id, false),
                        Err(error) => (error.id(), true),
                    };
                    if let (Some(name), true) = (names.remove(&id), is_broken) {
                        let trouble = Trouble::new(Kind::Other, "the order broke off by a fault of this program");
                        self.end(&name, Ending::Failed(trouble, Vec::new()));
                    }
                }
            }
        }
    }

    fn due(&self) -> Vec<Job> {
        let now = self.0.desk.now();
        let mut jobs = Vec::new();
        self.0.book.send_if_modified(|book| {
            jobs = book.due(now);
            !jobs.is_empty()
        });
        jobs
    }

    fn end(&self, name: &Name, ending: Ending) {
        let issued = match &ending {
            Ending::Got(certificate, _, _) => Some(Arc::clone(&certificate.issued)),
            Ending::Checked(..) | Ending::Failed(..) => None,
        };
        let now = self.0.desk.now();
        let mut news = None;
        self.0.book.send_modify(|book| {
            // Before anybody who waits for the name is woken.
            if let (Some(issued), true) = (issued, book.entries.contains_key(name)) {
                self.0.store.put(name.as_str(), issued);
            }
            news = book.end(name, ending, now);
        });
        match news {
            Some(News::Failed(trouble, pause)) => {
                self.0.failures.fetch_add(1, Ordering::Relaxed);
                let what = match self.0.store.get(name.as_str()) {
                    Some(old) => format!(
                        "the certificate for {name}, which ends at {}, cannot be renewed yet",
                        httpdate::fmt_http_date(old.not_after)
                    ),
                    None => format!("no certificate for {name} yet"),
                };
                let minutes = pause.as_secs().div_ceil(60);
                log::warn!("{what}: {}. The next try is in {minutes} min", trouble.sentence);
            }
            Some(News::Issued(not_after)) => {
                log::info!("{name} has a new certificate, valid until {}", httpdate::fmt_http_date(not_after));
            }
            Some(News::Nothing) | None => {}
        }
    }

    /// Serves what is on disk for these names; each with that.
    fn serve_kept(&self, names: Vec<Name>, issuers: &[Arc<Issuer>]) -> Vec<(Name, Option<Current>)> {
        let load = |name: Name| {
            let current = self.0.desk.load(&name, issuers);
            (name, current)
        };
        let found: Vec<_> = names.into_iter().map(load).collect();
        self.serve(&found);
        found
    }

    fn serve(&self, found: &[(Name, Option<Current>)]) {
        let served = found.iter().filter_map(|(name, current)| {
            let issued = Arc::clone(&current.as_ref()?.certificate.issued);
            Some((name.shared(), issued))
        });
        self.0.store.put_all(served.collect());
    }
}

impl Desk {
    fn now(&self) -> Now {
        Now { passed: self.clock.now(), wall: self.clock.wall() }
    }
}

#[cfg(test)]
mod book_tests;
