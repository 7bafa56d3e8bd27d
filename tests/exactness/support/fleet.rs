//! Three gateways that share a Redis.

use std::net::SocketAddr;
use std::time::Duration;

use super::eventually::eventually_async;
use super::process::Process;
use super::server::Server;
use super::upstream::Upstream;
use crate::{Limit, ONE, load};

/// Gateways, and what they need.
#[derive(Debug)]
pub struct Fleet {
    gateways: Vec<Process>,
    pub redis: Server,
    pub upstream: Upstream,
}

impl Fleet {
    /// Gateways that know of each other, and of no request yet.
    pub async fn start(each: Limit, time: Duration) -> Self {
        let (redis, upstream) = (Server::start(), Upstream::start().await);
        let text = config(&redis, &upstream, each, time);
        let (first, second, third) = tokio::join!(Process::start(&text), Process::start(&text), Process::start(&text));
        let fleet = Self { gateways: vec![first, second, third], redis, upstream };
        fleet.is_up().await;
        fleet
    }

    /// Where callers connect.
    pub fn gateways(&self) -> Vec<SocketAddr> {
        self.gateways.iter().map(Process::addr).collect()
    }

    /// What the gateways say of Redis.
    pub fn said(&self) -> String {
        let lines = |gateway: &Process| -> Vec<String> {
            gateway.stderr().lines().filter(|line| line.contains("Redis")).map(str::to_owned).collect()
        };
        self.gateways.iter().map(|gateway| lines(gateway).join("\n")).collect::<Vec<_>>().join("\n--\n")
    }

    /// Waits until all count in Redis, and know that they are three.
    pub async fn is_up(&self) {
        for gateway in &self.gateways {
            let admin = gateway.admin();
            eventually_async("three gateways that count together", || async move {
                let metrics = load::get(admin, "/metrics").await;
                metrics.contains("tollgate_counters_up 1\n") && metrics.contains("tollgate_counters_gateways 3\n")
            })
            .await;
        }
    }
}

fn config(redis: &Server, upstream: &Upstream, each: Limit, time: Duration) -> String {
    // Connections of the load stay open for the whole run.
    let keepalive = time.as_secs() + 60;
    format!(
        "listeners: [{{ address: 127.0.0.1:0 }}]
admin: {{ address: 127.0.0.1:0 }}
server: {{ threads: 1, keepalive: {keepalive}s, trusted_proxies: [127.0.0.1/32] }}
upstreams: {{ tinybird: {{ url: {}, token: p.test }} }}
limits:
  one: {{ by: gateway, rate: {}/m, burst: {} }}
  each: {{ by: ip, rate: {}/m, burst: {} }}
routes:
  /one: {{ pipe: one, limits: [one] }}
  /each: {{ pipe: each, limits: [each] }}
state: {{ counters: {} }}
log: {{ access: off }}
",
        upstream.url(),
        ONE.a_minute,
        ONE.burst,
        each.a_minute,
        each.burst,
        redis.url(),
    )
}
