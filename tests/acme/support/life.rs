//! An engine as the gateway runs it, by a clock that goes as the system's does until the test turns it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tollgate::clock::{Clock, TestClock};
use tollgate::outbound::Client;
use tollgate::tls::acme::{Challenges, Engine, Issuer, NameReport, State};
use tollgate::tls::store::{Issued, Store};

use super::front::{self, Front};

/// What goes wrong here has gone wrong after so long.
const BOUND: Duration = Duration::from_secs(90);
const TICK: Duration = Duration::from_millis(10);

pub struct Life {
    pub engine: Engine,
    pub store: Arc<Store>,
    pub time: TestClock,
    #[expect(dead_code, reason = "it ends them when it is dropped")]
    tasks: Tasks,
    #[expect(dead_code, reason = "it listens until it is dropped")]
    front: Option<Front>,
}

struct Tasks([JoinHandle<()>; 2]);

impl Life {
    /// An engine that runs, keeps its files in `folder`, and answers on `http_port`.
    pub fn begin(folder: &Path, http_port: u16, issuers: Vec<Issuer>, names: &[&str]) -> Self {
        Life::at_speed(1, folder, http_port, issuers, names)
    }

    /// The same, for which time goes by faster.
    pub fn at_speed(speed: u32, folder: &Path, http_port: u16, issuers: Vec<Issuer>, names: &[&str]) -> Self {
        let challenges = Arc::new(Challenges::default());
        let front = front::answer_challenges(http_port, Arc::clone(&challenges));
        Life { front: Some(front), ..Life::silent_at_speed(speed, folder, challenges, issuers, names) }
    }

    /// The same, with nobody who answers on port 80 but whom the test may have there.
    pub fn silent(folder: &Path, issuers: Vec<Issuer>, names: &[&str]) -> Self {
        Life::silent_at_speed(1, folder, Arc::default(), issuers, names)
    }

    fn silent_at_speed(
        speed: u32,
        folder: &Path,
        challenges: Arc<Challenges>,
        issuers: Vec<Issuer>,
        names: &[&str],
    ) -> Self {
        let time = TestClock::at(Clock::system().wall());
        let clock = time.clock();
        let store = Arc::new(Store::default());
        let client = Client::direct(clock.clone());
        let engine = Engine::new(clock, folder.to_owned(), Arc::clone(&store), challenges, client);
        engine.issuers(issuers);
        engine.want(&set(names));
        let (running, ticking) = (engine.clone(), time.clone());
        let tasks = [
            tokio::spawn(async move { running.run().await }),
            tokio::spawn(async move {
                let mut ticks = tokio::time::interval(TICK);
                loop {
                    ticks.tick().await;
                    ticking.advance(TICK * speed);
                }
            }),
        ];
        Life { engine, store, time, tasks: Tasks(tasks), front: None }
    }

    pub fn report(&self, name: &str) -> NameReport {
        let found = self.engine.report().into_iter().find(|report| &*report.name == name);
        found.unwrap_or_else(|| panic!("{name} is not in the report"))
    }

    pub fn error(&self, name: &str) -> String {
        self.report(name).last_error.map(|error| error.to_string()).unwrap_or_default()
    }

    /// Waits until a name has a certificate that is valid.
    pub async fn active(&self, name: &str) -> Arc<Issued> {
        let is_active = || self.report(name).state == State::Active;
        eventually(is_active, || format!("{:?}", self.report(name))).await;
        self.store.get(name).expect("what is active is served")
    }

    /// Waits until it failed to get one; why.
    pub async fn failed(&self, name: &str) -> String {
        let has_failed = || self.report(name).state == State::Failed;
        eventually(has_failed, || format!("{:?}", self.report(name))).await;
        self.error(name)
    }

    /// Waits until another certificate than this one is served.
    pub async fn renewed(&self, name: &str, old: &Arc<Issued>) -> Arc<Issued> {
        let is_new = || self.store.get(name).is_some_and(|new| !Arc::ptr_eq(&new, old));
        eventually(is_new, || format!("{:?}", self.report(name))).await;
        self.store.get(name).expect("just seen")
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

/// Waits until something is so.
pub async fn eventually(is_so: impl Fn() -> bool, otherwise: impl Fn() -> String) {
    let clock = Clock::system();
    let end = clock.now() + BOUND;
    while !is_so() {
        assert!(clock.now() < end, "it never was so: {}", otherwise());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// All files below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            match entry.file_type().expect("a kind").is_dir() {
                true => folders.push(entry.path()),
                false => found.push(entry.path()),
            }
        }
    }
    found.sort();
    found
}
