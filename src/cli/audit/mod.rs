//! `tollgate audit --brand -c FILE`: whether any answer betrays what runs behind it.
//!
//! In: a configuration. Out: every answer that names a vendor, the gateway
//! itself, an upstream's host or a word that was given; exit 0 if there is none,
//! 1 if there is, 2 if nothing could be asked. Not here: what is called
//! (`calls`), sending it (`wire`), what betrays (`brand`).
//!
//! The gateway is started here, in front of the upstreams of the file, unless one
//! that runs is named. It has no limits then and tries nothing twice: an audit
//! makes many calls in a short time.

mod brand;
mod calls;
mod wire;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::app::App;
use crate::clock::Clock;
use crate::config::Config;
use crate::config::scalar::Counters;
use crate::config::section::listeners::default_listeners;
use crate::config::section::log::Access;
use crate::config::section::tls::Tls;
use crate::outbound::{Client, Target, wait};
use crate::proxy::server::Signals;
use crate::snapshot::explain::header_line;

use super::{Ending, Form, count, load_or_explain, print, say};

use brand::{Brand, Finding};
use calls::{Call, Kind};
use wire::Heard;

#[derive(Debug, clap::Args)]
#[command(before_help = "\
Examples:
  tollgate audit --brand -c conf/tollgate.yaml
  tollgate audit --brand --words 'acme-internal,warehouse' -c conf/tollgate.yaml
  tollgate audit --brand -c conf/tollgate.yaml --url https://analytics.acme.com   one that runs")]
pub(super) struct Arguments {
    /// Look for what names the upstream, its vendor, or the gateway
    #[arg(long, required = true)]
    brand: bool,
    /// Further words that must not be in any answer
    #[arg(long, value_name = "WORD,WORD", value_delimiter = ',')]
    words: Vec<String>,
    /// The configuration whose routes are called
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    config: PathBuf,
    /// Call a gateway that runs with this configuration, instead of one that is started for it
    #[arg(long, value_name = "URL", value_parser = url)]
    url: Option<Target>,
    /// A header of calls that are to succeed, such as a credential; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Form of the answer: text for people, json for programs
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
}

/// What was found, and how far one could look.
#[derive(Debug, Default)]
struct Report {
    calls: usize,
    /// Calls that were not answered with anything that looks like HTTP.
    silent: usize,
    statuses: BTreeMap<u16, usize>,
    /// Calls that were meant well, and how many of them succeeded.
    meant: usize,
    succeeded: usize,
    found: Vec<Found>,
}

/// One thing that betrays, and where it was first.
#[derive(Debug)]
struct Found {
    call: Call,
    status: u16,
    finding: Finding,
    /// Further calls of the same path in which it is, too.
    more: usize,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    // Read here and not by clap, which would show what it cannot read: a credential may stand in it.
    let headers = arguments.headers.iter().map(|line| header_line(line)).collect::<Result<Vec<_>, _>>();
    let headers = match headers {
        Ok(headers) => headers,
        Err(problem) => {
            say(&format!("tollgate: --header: {problem}"));
            return Ok(Ending::WrongCall);
        }
    };
    // Whatever is wrong with the file, the question has no answer.
    let Ok(loaded) = load_or_explain(&arguments.config) else { return Ok(Ending::Impossible) };
    let config = loaded.config;
    let brand = Brand::of(&config, &arguments.words);
    let calls = calls::plan(&config, &headers, arguments.url.as_ref());
    let app = match arguments.url {
        Some(_) => None,
        None => Some(App::start(&alone(config), Clock::system(), Signals::Ignore)?),
    };
    let own = app.as_ref().and_then(|app| app.addresses().first()).map(|address| format!("http://{address}").parse());
    let Some(target) = arguments.url.clone().or_else(|| own.and_then(Result::ok)) else {
        anyhow::bail!("the gateway that was started for the audit has no address");
    };
    let report = wait(ask(&target, calls, &brand))??;
    drop(app);
    match arguments.format {
        Form::Json => print(&serde_json::to_string_pretty(&report.json())?),
        Form::Text => report.found.iter().for_each(|found| print(&text(found))),
    }
    report.talk();
    Ok(match report.found.is_empty() {
        _ if report.calls == report.silent => Ending::Impossible,
        false => Ending::Problems,
        true => Ending::Success,
    })
}

/// Makes every call, one after the other.
async fn ask(target: &Target, calls: Vec<Call>, brand: &Brand) -> anyhow::Result<Report> {
    let client = Client::direct(Clock::system());
    let mut report = Report::default();
    for call in calls {
        report.calls += 1;
        let heard = wire::send(&client, target, &call).await;
        let answer = match heard {
            Ok(Heard::Answer(answer)) => answer,
            Ok(Heard::Nothing) => {
                report.silent += 1;
                continue;
            }
            Err(failure) => anyhow::bail!("{} cannot be called: {failure}", target.origin()),
        };
        *report.statuses.entry(answer.status).or_default() += 1;
        if call.kind == Kind::Meant {
            report.meant += 1;
            report.succeeded += usize::from((200..400).contains(&answer.status));
        }
        for finding in brand.find(&answer) {
            report.add(Found { call: call.clone(), status: answer.status, finding, more: 0 });
        }
    }
    Ok(report)
}

/// The same configuration, for a gateway that nobody else calls and that remembers nothing.
fn alone(mut config: Config) -> Config {
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    config.listeners = default_listeners();
    config.listeners.truncate(1);
    config.listeners.iter_mut().for_each(|listener| listener.address = anywhere);
    config.admin.address = anywhere;
    config.log.access = Access::Off;
    config.state.counters = Counters::Memory;
    config.usage.ledger = false;
    config.limits.clear();
    config.server.limits.clear();
    config.plans.values_mut().for_each(|plan| plan.limits.clear());
    let own = config.hosts.values_mut().filter_map(|host| host.routes.as_mut()).flat_map(BTreeMap::values_mut);
    config.routes.values_mut().chain(own).for_each(|route| route.limits.clear());
    // What answers is looked at, and no authority is asked for certificates.
    config.tls = Tls::default();
    for host in config.hosts.values_mut() {
        host.limits.clear();
        (host.tls, host.redirect_http) = (None, false);
    }
    for upstream in config.upstreams.values_mut() {
        upstream.retry.attempts = 1;
        upstream.rate = None;
    }
    config
}

impl Report {
    /// One answer that betrays is enough to find where it comes from.
    fn add(&mut self, found: Found) {
        let is_it = |known: &&mut Found| {
            known.call.host == found.call.host
                && known.call.path() == found.call.path()
                && known.finding.place == found.finding.place
                && known.finding.word == found.finding.word
        };
        match self.found.iter_mut().find(is_it) {
            Some(known) => known.more += 1,
            None => self.found.push(found),
        }
    }

    /// What a person should know beside what was found.
    fn talk(&self) {
        let (calls, found) = (count(self.calls, "call"), count(self.found.len(), "finding"));
        match self.found.is_empty() {
            true => say(&format!("{calls}: nothing betrays what runs behind them")),
            false => say(&format!("{calls}, {found}")),
        }
        if self.meant > 0 && self.succeeded == 0 {
            say(
                "No call of a route succeeded, so that no answer of an upstream but errors was seen. Where a credential is wanted, give one: -H 'Authorization: Bearer ...'",
            );
        }
        let unheard: usize = [502, 503, 504].iter().filter_map(|status| self.statuses.get(status)).sum();
        if unheard > 0 {
            say(&format!(
                "{} failed at an upstream (502, 503, 504): what it says there was not seen",
                count(unheard, "call")
            ));
        }
        if let Some(limited) = self.statuses.get(&429) {
            say(&format!("{} met a limit (429): what is answered behind it was not seen", count(*limited, "call")));
        }
    }

    fn json(&self) -> Value {
        let found = self.found.iter().map(|Found { call, status, finding, more }| {
            json!({
                "request": { "host": call.host, "line": call.line, "about": call.about },
                "status": status, "place": finding.place, "word": finding.word, "context": finding.context,
                "more": more,
            })
        });
        json!({
            "calls": self.calls, "unanswered": self.silent, "statuses": self.statuses,
            "findings": found.collect::<Vec<_>>(),
        })
    }
}

fn text(Found { call, status, finding: Finding { place, word, context }, more }: &Found) -> String {
    let also = match more {
        0 => String::new(),
        more => format!("\n  and in   {} of that path", count(*more, "further call")),
    };
    format!(
        "{place}: {word}\n  request  {} (host {}; {})\n  answer   {status}\n  there    {context}{also}",
        call.line, call.host, call.about
    )
}

fn url(text: &str) -> Result<Target, String> {
    let target: Target = text.parse()?;
    match (target.path(), target.query()) {
        ("" | "/", None) => Ok(target),
        _ => Err("write scheme, host and port only: the paths are those of the configuration".to_owned()),
    }
}
