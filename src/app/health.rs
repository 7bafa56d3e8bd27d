//! Asks backends now and then whether they are well.
//!
//! In: the upstreams of the configuration that runs. Out: backends that get no
//! requests, and get them again; a line in the log for each such change, and
//! counts. A check is a call of our own, on a connection of its own. Not here:
//! what failures of requests do (`upstream::condition`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};

use crate::clock::Clock;
use crate::config::scalar::Endpoint;
use crate::config::section::upstreams::{Health, Upstream as Section};
use crate::outbound::{Call, Client, Target, Trust, hidden_headers};
use crate::proxy::Running;
use crate::snapshot::live::Live;
use crate::telemetry::metrics::Metrics;
use crate::upstream::{Backend, Upstream};

/// How often it is looked whether other backends are to be asked.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Nobody reads what stands in an answer; a server that sends more than this sends something else.
const SIZE: usize = 1 << 20;

/// Asks them all.
#[derive(Debug)]
pub(super) struct HealthChecks {
    live: Arc<Live<Running>>,
    metrics: Metrics,
    clock: Clock,
}

/// The rounds that go on, by upstream and backend.
type Rounds = BTreeMap<(Arc<str>, Arc<str>), (Arc<Upstream>, AbortHandle)>;

impl HealthChecks {
    pub(super) fn new(live: Arc<Live<Running>>, metrics: Metrics, clock: Clock) -> Self {
        HealthChecks { live, metrics, clock }
    }

    /// Goes on for ever. A configuration that leaves an upstream as it is does not disturb its rounds.
    pub(super) async fn run(&self) {
        let mut tasks = JoinSet::new();
        let mut rounds = Rounds::new();
        let mut tick = tokio::time::interval(LOOK_EVERY);
        loop {
            tick.tick().await;
            self.follow(&mut tasks, &mut rounds);
            while tasks.try_join_next().is_some() {}
        }
    }

    fn follow(&self, tasks: &mut JoinSet<()>, rounds: &mut Rounds) {
        let running = self.live.load();
        let checked = running.snapshot.upstreams.iter().filter(|upstream| upstream.section().health.is_some());
        let mut wanted = Rounds::new();
        for upstream in checked {
            for (index, backend) in upstream.backends().iter().enumerate() {
                let key = (Arc::clone(upstream.name()), Arc::clone(backend.label()));
                let known = rounds.remove(&key).filter(|(known, task)| {
                    let goes_on = Arc::ptr_eq(known, upstream) && !task.is_finished();
                    if !goes_on {
                        task.abort();
                    }
                    goes_on
                });
                let round = known.unwrap_or_else(|| {
                    let round = Round { upstream: Arc::clone(upstream), index, series: Series::default() };
                    let task = tasks.spawn(round.go(self.metrics.clone(), self.clock.clone()));
                    (Arc::clone(upstream), task)
                });
                wanted.insert(key, round);
            }
        }
        for (_, task) in std::mem::replace(rounds, wanted).into_values() {
            task.abort();
        }
    }
}

/// The checks of one backend.
struct Round {
    upstream: Arc<Upstream>,
    index: usize,
    series: Series,
}

impl Round {
    async fn go(mut self, metrics: Metrics, clock: Clock) {
        let upstream = Arc::clone(&self.upstream);
        let (Some(health), Some(backend)) = (&upstream.section().health, upstream.backend(self.index)) else { return };
        let Some(call) = call(upstream.section(), health, backend.endpoint()) else { return };
        let client = Client::direct(clock.clone());
        loop {
            let found = ask(&client, &call).await;
            let result = if found.is_ok() { "ok" } else { "failed" };
            metrics.count_health_check(upstream.name(), backend.label(), result);
            if let Some(standing) = self.series.add(&found, health) {
                let changed = upstream.set_down(backend, standing == Standing::Down);
                if changed {
                    tell(&upstream, backend, found.as_ref().err(), &clock);
                    let up = i64::from(upstream.gets_requests(backend, clock.now()));
                    metrics.set_backend_up(upstream.name(), backend.label(), up);
                }
            }
            clock.sleep(health.every.duration()).await;
        }
    }
}

fn tell(upstream: &Upstream, backend: &Backend, why: Option<&String>, clock: &Clock) {
    let (name, label) = (upstream.name(), backend.label());
    match why {
        None => log::info!("backend {label} of upstream {name} passes its health checks again and gets requests"),
        Some(why) => {
            let then = upstream.who_is_left(clock.now());
            log::warn!("backend {label} of upstream {name} fails its health checks and is left out: {why}; {then}");
        }
    }
}

/// How many results in a row were the same.
#[derive(Debug, Default)]
struct Series {
    good: u32,
    bad: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Down,
    Up,
}

impl Series {
    /// What is to be believed now; none while that is not clear.
    fn add(&mut self, found: &Result<(), String>, health: &Health) -> Option<Standing> {
        match found {
            Ok(()) => *self = Series { good: self.good.saturating_add(1), bad: 0 },
            Err(_) => *self = Series { good: 0, bad: self.bad.saturating_add(1) },
        }
        if self.bad >= health.down_after {
            Some(Standing::Down)
        } else {
            (self.good >= health.up_after).then_some(Standing::Up)
        }
    }
}

/// The question to one backend; none where its URL cannot be called.
pub(super) fn call(section: &Section, health: &Health, endpoint: &Endpoint) -> Option<Call> {
    let time = health.timeout.duration();
    let mut call = Call::get(Target::of(endpoint, &health.path)?).within(time);
    call.connect_time = section.timeouts.connect.duration().min(time);
    call.size = SIZE;
    if section.tls.ca.is_some() {
        call.trust = Trust::Given(section.tls.ca_certificates.clone());
    }
    if health.authorized {
        if let Some(token) = &section.token {
            call = call.bearer(token);
        }
        call.headers.extend(hidden_headers(&section.headers));
    }
    Some(call)
}

/// Asks once; the sentence goes on behind the backend's name.
pub(super) async fn ask(client: &Client, call: &Call) -> Result<(), String> {
    let path = call.target.path();
    match client.call(call).await {
        Ok(answer) if answer.status.is_success() => Ok(()),
        Ok(answer) => Err(format!("it answers {} to GET {path}", answer.status.as_u16())),
        Err(failure) => Err(format!("no answer to GET {path}: {failure}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_result_changes_nothing() {
        let health: Health = Health {
            path: "/".to_owned(),
            every: crate::config::scalar::Period::of_millis(1_000),
            timeout: crate::config::scalar::Period::of_millis(1_000),
            down_after: 3,
            up_after: 2,
            authorized: false,
        };
        let (good, bad) = (Ok(()), Err("no".to_owned()));
        let mut series = Series::default();
        let told: Vec<_> = [&bad, &bad, &good, &bad, &bad, &bad, &good, &bad, &good, &good]
            .map(|found| series.add(found, &health))
            .into();
        let (down, up) = (Some(Standing::Down), Some(Standing::Up));
        assert_eq!(told, [None, None, None, None, None, down, None, None, None, up]);
    }
}
