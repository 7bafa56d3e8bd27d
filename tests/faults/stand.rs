//! A gateway as a process, in front of an upstream that misbehaves, with healthy callers beside.
//!
//! In: a configuration, scripts of the upstream. Out: a place to call at, and in the end the verdict that holds for every
//! fault: no panic, nothing held for anybody, every healthy answer right, the next request served.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::load::{Load, canary, canary_h2};
use crate::origin::{Origin, Step};
use crate::support::client::{self, RawClient, Response};
use crate::support::eventually::{eventually, eventually_async};
use crate::support::h2_client::H2Client;
use crate::support::process::Process;

/// The path of healthy callers; every configuration has it.
pub(crate) const CANARY: &str = "/canary";
/// The credential that only the upstream may see.
pub(crate) const TOKEN: &str = "p.eyJ1IjoidGVzdCJ9.a-secret-that-must-never-leave";

/// What no answer names: the credential, the vendors, ourselves, the upstream's address.
pub(crate) const BETRAYING: [&str; 5] = [TOKEN, "ingora", "inybird", "ollgate", "127.0.0.1"];

/// All of it.
#[derive(Debug)]
pub(crate) struct Stand {
    pub(crate) gateway: Process,
    pub(crate) origin: Arc<Origin>,
    pub(crate) addr: SocketAddr,
    load: Load,
}

impl Stand {
    /// `sections` without `listeners` and `admin`; `{origin}` in it is the upstream's URL.
    pub(crate) async fn start(sections: &str, scripts: impl IntoIterator<Item = (String, Vec<Step>)>) -> Self {
        Self::start_under(&[], sections, scripts).await
    }

    /// As [`Stand::start`], the gateway run by this command.
    pub(crate) async fn start_under(
        wrapper: &[&str],
        sections: &str,
        scripts: impl IntoIterator<Item = (String, Vec<Step>)>,
    ) -> Self {
        let origin = Origin::start(scripts).await;
        let sections = sections.replace("{origin}", &origin.url);
        let log = if sections.contains("log:") { "" } else { "log: { access: off }\n" };
        let text =
            format!("listeners: [{{ address: 127.0.0.1:0 }}]\nadmin: {{ address: 127.0.0.1:0 }}\n{log}{sections}\n");
        let gateway = Process::run_under(wrapper, &text).listening().await;
        let addr = gateway.addr();
        let load = Load::start(addr, CANARY);
        Self { gateway, origin, addr, load }
    }

    /// The value of one line of `/metrics`, written with its labels; 0 if it is not there.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let text = client::get(self.gateway.admin(), "/metrics").await.body_text();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().expect("a number"))
    }

    /// Waits until the gateway holds so many of something.
    pub(crate) async fn until(&self, series: &str, value: f64) {
        eventually_async(&format!("{series} to be {value}"), || async { self.metric(series).await == value }).await;
    }

    /// A healthy request on a new connection, over HTTP/1.1 and over HTTP/2.
    pub(crate) async fn assert_serves(&self, path: &str) -> Result<(), String> {
        canary(&mut RawClient::connect(self.addr).await, path).await?;
        canary_h2(&H2Client::connect(self.addr).await, path).await
    }

    /// Ends the healthy callers before the end, and says what they saw.
    pub(crate) async fn settle(&mut self) {
        let load = std::mem::replace(&mut self.load, Load::none()).end().await;
        println!("{} healthy answers, the slowest after {:.1?}", load.answers, load.worst);
        assert!(load.wrong.is_empty(), "healthy callers saw {:#?}", load.wrong);
    }

    /// The verdict, whatever the fault was.
    pub(crate) async fn end(mut self, what: &str) {
        let recovered = self.assert_serves(CANARY).await;
        let load = std::mem::replace(&mut self.load, Load::none()).end().await;
        println!("{what}: {} healthy answers beside it, the slowest after {:.1?}", load.answers, load.worst);
        assert!(load.wrong.is_empty(), "{what}: healthy callers saw {:#?}", load.wrong);
        recovered.unwrap_or_else(|wrong| panic!("{what}: the next request: {wrong}"));
        self.until("tollgate_in_flight", 0.0).await;
        let over = || self.origin.playing().is_empty();
        eventually(&format!("the upstream to work for nobody after {what}"), over).await;
        assert_eq!(self.origin.violations(), Vec::<String>::new(), "{what}: the upstream got what is no HTTP/1.1");
        let stderr = self.gateway.stderr();
        assert!(!stderr.contains("panicked"), "{what}: {stderr}");
        assert!(!stderr.contains(TOKEN), "{what}: the credential is in the log");
        assert!(self.gateway.is_running(), "{what}: {stderr}");
    }
}

/// How long a process has worked, in its threads and for it in the system, in steps of a hundredth of a second.
pub(crate) fn processor_time(id: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).expect("a running process");
    let fields = stat.rsplit_once(") ").expect("a name in parentheses").1;
    let ticks: u64 = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(ticks * 10)
}

/// A table of faults, when all of its rows have been tried: what went wrong, all at once.
#[track_caller]
pub(crate) fn assert_none_wrong(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} rows are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Whether an answer is a sentence of the gateway's own with this status and code, in the form that is promised.
pub(crate) fn refusal(response: &Response, status: u16, code: &str) -> Result<(), String> {
    let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let has_sentence = body["error"].as_str().is_some_and(|sentence| !sentence.is_empty());
    let id = body["request_id"].as_str();
    let is_named = id.is_some() && id == response.header("x-request-id").as_deref();
    let is_json = response.header("content-type").as_deref() == Some("application/json");
    let is_valid = response.violations.is_empty() && !response.truncated;
    let is_right = response.status == status && body["code"] == code;
    let is_silent = !BETRAYING.iter().any(|word| response.contains(word));
    match is_right && has_sentence && is_named && is_json && is_valid && is_silent {
        true => Ok(()),
        false => Err(format!("{status} {code} was expected: {response:?}")),
    }
}
