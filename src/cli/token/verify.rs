//! `tollgate token verify FILE -c FILE --route PATH`: whether a gateway would let
//! its bearer in.
//!
//! In: a credential, a configuration, a route. Out: a verdict in words. Not here:
//! the judgement: the gateway's own code has it judged, and nothing is sent on.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::anyhow;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, HeaderValue, Method};

use crate::clock::Clock;
use crate::config::Config;
use crate::config::scalar::Template;
use crate::config::section::routes::Route as RouteSection;
use crate::exchange::caller::{CallerKind, Facts, Identity, TenantOf};
use crate::exchange::captures::Captures;
use crate::exchange::grant::Grant;
use crate::exchange::head::{CallerScheme, RequestHead};
use crate::exchange::refusal::Refusal;
use crate::jose::Compact;
use crate::outbound::{Client, wait};
use crate::pipeline::authn::{Authn, Desk, Finding, Provider, Rejection};
use crate::pipeline::params::watch::{Addition, Decision, Spot, Watch};
use crate::pipeline::{self, Case, Entrance, Turned};
use crate::snapshot::Snapshot;
use crate::snapshot::arrival::{Arrival, Opened, Turn};
use crate::snapshot::explain::{Question, method_word, url_word};
use crate::snapshot::route::Route;
use crate::state::State;
use crate::state::jwks::Keys;

use super::super::{Ending, Form, load_or_explain, print, say};
use super::advice::Refused;
use super::look::Look;
use super::read;
use super::report::{Answer, Named, Pipe, Report, Verdict};

#[derive(Debug, clap::Args)]
#[command(before_help = "\
Examples:
  tollgate token verify token.txt -c tollgate.yaml --route /top
  tollgate token verify - -c tollgate.yaml --route /top --host analytics.example.com < token.txt
  tollgate token verify token.txt -c tollgate.yaml --online   fetches the issuer's public keys")]
pub(super) struct Arguments {
    /// The file with the token or key; `-` is the standard input. It is never an argument: the list of processes shows those
    #[arg(value_name = "FILE")]
    credential: PathBuf,
    /// The configuration of the gateway
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    config: PathBuf,
    /// The path that is called; left out: every provider is asked, and no route
    #[arg(long, value_name = "PATH")]
    route: Option<String>,
    /// The host that is called [default: that of the first listener]
    #[arg(long, value_name = "HOST", requires = "route")]
    host: Option<String>,
    /// The method of the call [default: the first of the route]
    #[arg(long, value_name = "METHOD", requires = "route")]
    method: Option<String>,
    /// Fetch the issuer's public keys, once
    #[arg(long, conflicts_with = "jwks")]
    online: bool,
    /// A file with the issuer's public keys (JWKS), instead of fetching them
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,
    /// Form of the answer: text for people, json for programs
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let words = [
        arguments.route.as_deref().map(|route| url_word(route).map_err(|why| format!("--route: {why}"))),
        arguments.method.as_deref().map(|method| method_word(method).map_err(|why| format!("--method: {why}"))),
    ];
    if let Some(problem) = words.into_iter().flatten().find_map(Result::err) {
        say(&format!("tollgate: {problem}"));
        return Ok(Ending::WrongCall);
    }
    let Ok(loaded) = load_or_explain(&arguments.config) else { return Ok(Ending::Impossible) };
    let report = read(&arguments.credential, "the credential").and_then(|text| judge(arguments, &loaded.config, &text));
    let report = match report {
        Ok(report) => report,
        Err(error) => return Ok(Ending::could_not(&error)),
    };
    match arguments.format {
        Form::Json => print(&serde_json::to_string_pretty(&report)?),
        Form::Text => print(&report.text()),
    }
    Ok(match report.verdict {
        Verdict::Accepted => Ending::Success,
        Verdict::Refused => Ending::Problems,
        Verdict::Unknown => Ending::Impossible,
    })
}

fn judge(arguments: &Arguments, config: &Config, text: &str) -> anyhow::Result<Report> {
    let state = State::new(Clock::system());
    let snapshot = Snapshot::compile(config, &state);
    let everybody = Authn::of(snapshot.providers.to_vec());
    let door = match &arguments.route {
        Some(target) => Some(Door::find(&snapshot, arguments, target)?),
        None => None,
    };
    let authn = door.as_ref().map_or(&everybody, |door| door.entrance.authn);
    if authn.is_public() {
        let route = door.map(|door| door.route.label.to_string());
        let why = Some("anyone may call, and no credential is looked at".to_owned());
        return Ok(Report { verdict: Verdict::Accepted, why, route, ..Report::default() });
    }
    let judges = authn.judges_of(text);
    if let [first, second, ..] = judges.as_slice() {
        return Err(anyhow!(
            "`{}` and `{}` both take such credentials, on different routes: say which with --route",
            first.name(),
            second.name()
        ));
    }
    let judge = judges.first().copied();
    if let Some(keys) = judge.and_then(|provider| provider.keys()) {
        prepare(arguments, &state, keys)?;
    }
    let trial = Trial { text, look: Look::at(text), judge, authn, now: state.clock().wall() };
    Ok(match door {
        Some(door) => trial.at(&door),
        None => trial.anywhere(),
    })
}

/// Has the keys of the issuer here, where that was asked for.
fn prepare(arguments: &Arguments, state: &State, keys: &Arc<Keys>) -> anyhow::Result<()> {
    if let Some(path) = &arguments.jwks {
        let set = read(path, "the set of keys")?;
        return keys.bring(set.as_bytes()).map_err(|why| anyhow!("`{}`: {why}", path.display()));
    }
    if arguments.online {
        state.key_sources().keep(std::iter::once(keys.source()));
        wait(async {
            tokio::select! {
                () = state.key_sources().run(Client::direct(state.clock().clone())) => {}
                () = keys.refreshed() => {}
            }
        })?;
    }
    Ok(())
}

/// Where a call comes in.
struct Door<'a> {
    entrance: Entrance<'a>,
    route: &'a Route,
    section: Option<&'a RouteSection>,
    method: Method,
    target: &'a str,
    host: HeaderValue,
    snapshot: &'a Snapshot,
}

impl<'a> Door<'a> {
    fn find(snapshot: &'a Snapshot, arguments: &Arguments, target: &'a str) -> anyhow::Result<Self> {
        if !target.starts_with('/') {
            return Err(anyhow!("--route is a path, like /top; the host stands in --host"));
        }
        let host = arguments.host.clone().unwrap_or_else(|| Question::host(&snapshot.config));
        let host = HeaderValue::from_str(&host).map_err(|_| anyhow!("--host: this is not a host"))?;
        let headers: HeaderMap = [(HOST, host.clone())].into_iter().collect();
        let method: Method = arguments.method.as_deref().unwrap_or("GET").parse()?;
        let opened = open(snapshot, &method, target, &headers);
        let (Some(site), Some(route)) = (opened.site, opened.route) else {
            let config = arguments.config.display();
            return Err(anyhow!("no route serves this path on this host: `tollgate routes -c {config}` lists them"));
        };
        let first = route.guard.allow().split(", ").next().and_then(|first| first.parse().ok());
        let section = snapshot.config.all_routes().find(|written| {
            written.key.as_str() == &*route.key && written.host.map(|host| host.as_str()) == route.host.as_deref()
        });
        Ok(Door {
            entrance: snapshot.entrance(Some(site), route),
            route,
            section: section.map(|written| written.route),
            method: first.filter(|_| arguments.method.is_none()).unwrap_or(method),
            target,
            host,
            snapshot,
        })
    }

    /// The head of a call with the credential, and what the path's captures match.
    fn approach(&self, trial: &Trial<'_>) -> Result<(HeaderMap, RequestHead, Captures), Refusal> {
        let mut headers: HeaderMap = [(HOST, self.host.clone())].into_iter().collect();
        let (name, text) = match trial.judge.map(|judge| judge.header()) {
            Some(name) if *name != AUTHORIZATION => (name.clone(), trial.text.to_owned()),
            Some(_) | None => (AUTHORIZATION, format!("Bearer {}", trial.text)),
        };
        let value = HeaderValue::from_str(&text)
            .map_err(|_| Refusal::BadRequest("It has characters that no header can carry."))?;
        headers.insert(name, value);
        let opened = open(self.snapshot, &self.method, self.target, &headers);
        match (opened.turn, opened.head) {
            (Turn::Proceed(captures), Some(head)) => Ok((headers, head, captures)),
            (Turn::Refuse(refusal, _), _) => Err(refusal),
            (Turn::Answer(_) | Turn::Describe(..) | Turn::Proceed(_), _) => Err(Refusal::RouteNotFound),
        }
    }
}

fn open<'a>(snapshot: &'a Snapshot, method: &Method, target: &str, headers: &HeaderMap) -> Opened<'a> {
    let client = snapshot.proxies.client(Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), CallerScheme::Https, headers);
    snapshot.open(&Arrival {
        domains: None,
        method,
        target: target.as_bytes(),
        authority: None,
        headers,
        raw: &[],
        client,
        server_name: None,
    })
}

/// A credential before its judge.
struct Trial<'a> {
    text: &'a str,
    look: Look,
    judge: Option<&'a Arc<Provider>>,
    authn: &'a Authn,
    now: SystemTime,
}

impl Trial<'_> {
    fn desk(&self) -> Desk<'static> {
        Desk { now: self.now, verified: None, guessers: None, certificate: None }
    }

    /// What becomes of a call of a route.
    fn at(&self, door: &Door<'_>) -> Report {
        let report = Report { route: Some(door.route.label.to_string()), ..self.report() };
        let (headers, head, captures) = match door.approach(self) {
            Ok(approached) => approached,
            Err(refusal) => return self.turned_back(report, &refusal, door.section),
        };
        let grant = match door.entrance.enter(&headers, &head, &captures, &self.desk()) {
            Ok(grant) => grant,
            Err(Turned::Away(rejection)) => return self.turned_away(report, &rejection),
            Err(Turned::Back { refusal, caller }) => {
                let report = with_grant(report, &Grant::refused(caller));
                return self.turned_back(report, &refusal, door.section);
            }
        };
        let report = with_grant(report, &grant);
        let mut fixed = Fixed::default();
        let case = Case { params: &door.route.params, head: &head, captures, grant, body: None };
        match pipeline::admit_watched(case, &mut fixed) {
            Ok(_) => Report { verdict: Verdict::Accepted, fixed: fixed.0, help: None, ..report },
            Err(refusal) => self.turned_back(report, &refusal, door.section),
        }
    }

    /// What the provider says, whatever is called.
    fn anywhere(&self) -> Report {
        let header = self.judge.map_or(AUTHORIZATION, |judge| judge.header().clone());
        let text = if header == AUTHORIZATION { format!("Bearer {}", self.text) } else { self.text.to_owned() };
        let Ok(value) = HeaderValue::from_str(&text) else {
            return self.turned_back(
                self.report(),
                &Refusal::BadRequest("It has characters that no header can carry."),
                None,
            );
        };
        let headers: HeaderMap = [(header, value)].into_iter().collect();
        let caller = match self.authn.identify(&headers, "", &self.desk()) {
            Ok(caller) => caller,
            Err(rejection) => return self.turned_away(self.report(), &rejection),
        };
        let grant = Grant { caller, tenant: None, pipe: None };
        let mut report = with_grant(self.report(), &grant);
        if let Some(identity) = grant.identity() {
            match &identity.tenant {
                TenantOf::One(tenant) => report.tenant = Some(tenant.to_string()),
                TenantOf::Missing => report.help = Some("it names no tenant: every route refuses it".to_owned()),
                TenantOf::Foreign => {
                    report.help =
                        Some("its tenant is none of the provider's `tenants`: every route refuses it".to_owned());
                }
                TenantOf::Nobody => {}
            }
            report.pipes = pipes(identity);
        }
        Report { verdict: Verdict::Accepted, ..report }
    }

    fn report(&self) -> Report {
        let provider =
            self.judge.map(|judge| Named { name: judge.name().to_string(), kind: judge.section().kind.word() });
        Report { provider, says: self.look.facts(self.now).into_iter().collect(), ..Report::default() }
    }

    fn advice(&self) -> Refused<'_> {
        let each = self.authn.providers().iter().map(|provider| (&**provider.name(), provider.section()));
        Refused {
            look: &self.look,
            provider: self.judge.map(|judge| judge.section()),
            known: each.collect(),
            now: self.now,
        }
    }

    /// It is not known who calls.
    fn turned_away(&self, report: Report, rejection: &Rejection) -> Report {
        let keys = self.judge.and_then(|judge| judge.keys());
        let wants_keys =
            matches!(rejection, Rejection::NewerKeys { .. } | Rejection::Judged(Finding::KeysUnavailable, _));
        if let Some(keys) = keys.filter(|keys| wants_keys && !keys.is_usable()) {
            return self.without_keys(report, keys);
        }
        self.refused(report, rejection)
    }

    fn refused(&self, report: Report, rejection: &Rejection) -> Report {
        let refusal = rejection.refusal();
        Report {
            verdict: Verdict::Refused,
            why: Some(rejection.to_string()),
            answer: Some(answer(&refusal)),
            help: self.advice().on(rejection),
            ..report
        }
    }

    /// What can be told where nobody can look at the signature.
    fn without_keys(&self, report: Report, keys: &Keys) -> Report {
        let claims = self.judge.zip(Compact::parse(self.text).ok());
        if let Some(Err(rejection)) = claims.map(|(judge, token)| judge.check_unproven(&token, self.now)) {
            return self.refused(report, &rejection);
        }
        let source = keys.source();
        let numbers = keys.numbers();
        let why = match numbers.failed {
            1.. => {
                let why = numbers.error.unwrap_or_else(|| "no answer in time".into());
                format!("its signature was not looked at, for the public keys cannot be fetched: {why}")
            }
            0 => format!(
                "its signature was not looked at, for the public keys of {source} were not fetched; what it says is right"
            ),
        };
        let help =
            (numbers.failed == 0).then(|| "--online fetches them, --jwks FILE reads them from a file".to_owned());
        Report { verdict: Verdict::Unknown, why: Some(why), help, ..report }
    }

    /// It is known who calls, and that is not enough.
    fn turned_back(&self, report: Report, refusal: &Refusal, route: Option<&RouteSection>) -> Report {
        Report {
            verdict: Verdict::Refused,
            why: Some(refusal.public().into_owned()),
            answer: Some(answer(refusal)),
            help: self.advice().on_refusal(refusal, route).or(report.help),
            ..report
        }
    }
}

fn answer(refusal: &Refusal) -> Answer {
    Answer { status: refusal.status().as_u16(), code: refusal.code().as_str() }
}

fn with_grant(report: Report, grant: &Grant) -> Report {
    let Some(identity) = grant.identity() else { return report };
    let anonymous = identity.id.is_empty() && matches!(identity.facts, Facts::Claims(_));
    Report {
        caller: Some(if anonymous { "somebody without a name (`sub`)".to_owned() } else { identity.id.to_string() }),
        tenant: grant.tenant.as_ref().map(ToString::to_string),
        scopes: identity.scopes.as_ref().map(|scopes| scopes.iter().map(ToString::to_string).collect()),
        ..report
    }
}

fn pipes(identity: &Identity) -> Vec<Pipe> {
    match identity.kind {
        CallerKind::ApiKey | CallerKind::Certificate | CallerKind::Jwt => return Vec::new(),
        CallerKind::TinybirdJwt => {}
    }
    let pipe = |scope: &crate::exchange::caller::PipeScope| Pipe {
        pipe: scope.resource.to_string(),
        tenant: match &scope.tenant {
            TenantOf::One(tenant) => Some(tenant.to_string()),
            TenantOf::Foreign | TenantOf::Missing | TenantOf::Nobody => None,
        },
        fixed: scope.fixed.iter().flatten().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
    };
    identity.pipes.iter().map(pipe).collect()
}

/// Parameters that the gateway sets.
#[derive(Default)]
struct Fixed(BTreeMap<String, String>);

impl Watch for Fixed {
    fn given(&mut self, _: Spot, _: &str, _: &[u8], _: impl FnOnce() -> Decision) {}

    fn added(&mut self, addition: Addition, name: &str, value: &str, _: Option<&Template>) {
        match addition {
            Addition::Default => {}
            Addition::Fixed => _ = self.0.insert(name.to_owned(), value.to_owned()),
        }
    }
}
