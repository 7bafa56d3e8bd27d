//! Tries one upstream: its name, a connection, TLS, its credential, its pipes.
//!
//! In: its section and the pipes that routes take from it. Out: findings, in
//! the order of the stages. It is asked straight, without the proxy of the
//! environment, as requests through the gateway go. Not here: several at once.

use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderValue};

use crate::clock::Clock;
use crate::config::issue::IssueCode;
use crate::config::nearest;
use crate::config::scalar::{Endpoint, Scheme};
use crate::config::section::upstreams::{Upstream, UpstreamAuth};
use crate::outbound::{Answer, Call, CertificateFault, Client, Facts, Failure, Stage, Target, Trust, hidden_headers};
use crate::upstream::catalogue::{self, Names};

use super::super::health;
use super::{ENDS_SOON_DAYS, Grade, PipeRoute, Problem, TIME, Trial, Trials, days};

/// More names than these help nobody.
const MAX_NAMES: usize = 8;
/// A nearest name is looked for this often, and among so many: comparing all with all has no end.
const MAX_SOUGHT: usize = 20;
const MAX_COMPARED: usize = 5_000;

/// Tries one backend; `subject` says which, where there are several.
pub(super) async fn probe(
    (subject, name): (String, String),
    (section, endpoint): (Upstream, Endpoint),
    pipes: Vec<PipeRoute>,
    clock: Clock,
) -> Trials {
    let (shown, path) = called(&name, &section, &endpoint);
    let mut prober = Prober {
        name: &shown,
        path: &path.iter().map(String::as_str).collect::<Vec<_>>(),
        subject,
        section: &section,
        endpoint: &endpoint,
        pipes: &pipes,
        began: clock.now(),
        clock: &clock,
        found: Trials::default(),
        sought: 0,
    };
    let path = if pipes.is_empty() { "/" } else { catalogue::PATH };
    let Some(target) = Target::of(&endpoint, path) else {
        prober.problem(Trial::Answer, IssueCode::NoUsefulAnswer, "its URL cannot be called", "write another `url`");
        return prober.found;
    };
    let call = prober.call(target);
    match Client::direct(clock.clone()).call(&call).await {
        Ok(answer) => {
            prober.stages(&answer.facts, Stage::Answer, clock.wall());
            prober.answer(answer, path).await;
        }
        Err(failure) => {
            prober.stages(&failure.facts, failure.stage, clock.wall());
            prober.failure(&failure, path);
            if failure.facts.status.is_none() {
                // Who does not answer that does not answer this.
                return prober.found;
            }
        }
    }
    prober.health().await;
    prober.found
}

/// What a backend is called, and the keys that lead to it: an upstream with one is meant as a whole.
fn called(name: &str, section: &Upstream, endpoint: &Endpoint) -> (String, Vec<String>) {
    let path = ["upstreams", name].map(str::to_owned).to_vec();
    match section
        .urls
        .as_ref()
        .filter(|urls| urls.len() > 1)
        .and_then(|urls| urls.iter().position(|url| url == endpoint))
    {
        None => (name.to_owned(), path),
        Some(index) => {
            let item = ["urls".to_owned(), index.to_string()];
            (format!("{name} at {}", endpoint.authority()), path.into_iter().chain(item).collect())
        }
    }
}

struct Prober<'a> {
    /// What it is called in sentences.
    name: &'a str,
    /// Where it stands in the file.
    path: &'a [&'a str],
    subject: String,
    section: &'a Upstream,
    endpoint: &'a Endpoint,
    pipes: &'a [PipeRoute],
    began: Instant,
    clock: &'a Clock,
    found: Trials,
    /// How often a nearest name was looked for.
    sought: usize,
}

impl Prober<'_> {
    fn note(&mut self, trial: Trial, grade: Grade, words: impl Into<String>) {
        self.found.note(&self.subject, trial, grade, words);
    }

    /// A problem of the upstream as a whole.
    fn problem(&mut self, trial: Trial, code: IssueCode, title: impl Into<String>, help: impl Into<String>) {
        let problem = Problem::new(code, self.path, title, help);
        self.found.problem(&self.subject, trial, problem);
    }

    /// What the gateway itself would send, apart from a caller's request.
    fn call(&self, target: Target) -> Call {
        let mut call =
            Call { connect_time: self.section.timeouts.connect.duration(), ..Call::get(target).within(TIME) };
        if self.pipes.is_empty() {
            // Any answer will do: the call ends with the first byte of its body, which may have no end.
            call.size = 0;
        }
        if !self.section.tls.ca_certificates.is_empty() {
            call.trust = Trust::Given(self.section.tls.ca_certificates.clone());
        }
        if let Some(token) = &self.section.token {
            call = call.bearer(token);
        }
        call.headers.extend(hidden_headers(&self.section.headers));
        call.headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        call
    }

    /// The stages before the one that it came to.
    fn stages(&mut self, facts: &Facts, reached: Stage, now: SystemTime) {
        let host = self.endpoint.host().to_owned();
        if reached > Stage::Lookup && self.endpoint.address().is_none() {
            let addresses: Vec<String> = facts.addresses.iter().map(|address| address.ip().to_string()).collect();
            self.note(Trial::Lookup, Grade::Ok, format!("{host} is {}", some_of(addresses.iter())));
        }
        if let Some(address) = facts.connected {
            self.note(Trial::Connect, Grade::Ok, format!("{address} takes connections"));
        }
        if reached > Stage::Tls && self.endpoint.scheme() == Scheme::Https {
            self.certificate(facts.certificate_ends, now);
        }
    }

    fn certificate(&mut self, ends: Option<SystemTime>, now: SystemTime) {
        let Some(ends) = ends else { return self.note(Trial::Tls, Grade::Ok, "the certificate is verified") };
        let left = ends.duration_since(now).unwrap_or_default();
        let days = days(left);
        let date = chrono::DateTime::<chrono::Utc>::from(ends).format("%Y-%m-%d");
        let words = format!("the certificate of `{}` ends in {days} days, on {date}", self.endpoint.host());
        match days < ENDS_SOON_DAYS {
            false => self.note(Trial::Tls, Grade::Ok, words),
            true => {
                let help = "have it renewed: after that day every request to this upstream fails";
                self.problem(Trial::Tls, IssueCode::CertificateEnds, words, help);
            }
        }
    }

    fn failure(&mut self, failure: &Failure, path: &str) {
        let (name, host) = (self.name, self.endpoint.host());
        let port = self.endpoint.port();
        let why = &failure.why;
        match failure.stage {
            Stage::Lookup => self.problem(
                Trial::Lookup,
                IssueCode::UnresolvedHost,
                format!("the host `{host}` of `{name}` cannot be resolved: {why}"),
                "look for a slip in the name, and whether this machine has a resolver that knows it",
            ),
            Stage::Connect | Stage::Proxy => self.problem(
                Trial::Connect,
                IssueCode::NoConnection,
                format!("`{name}` takes no connection on port {port}: {why}"),
                "is it running, is the port right, and does a firewall stand between?",
            ),
            Stage::Tls => self.problem(
                Trial::Tls,
                IssueCode::TlsRefused,
                format!("no TLS with `{name}`: {why}"),
                tls_help(failure.certificate, self.section.tls.ca.is_some()),
            ),
            Stage::Answer => match failure.facts.status {
                // The rest of the answer is not wanted where any would do.
                Some(status) if self.pipes.is_empty() => self.status_of_any(status, path),
                Some(_) | None => self.problem(
                    Trial::Answer,
                    IssueCode::NoUsefulAnswer,
                    format!("`{name}` does not answer GET {path}: {why}"),
                    "is this the URL of an HTTP API, and `https://` where it wants TLS?",
                ),
            },
        }
    }

    async fn answer(&mut self, answer: Answer, path: &str) {
        match self.pipes.is_empty() {
            true => self.status_of_any(answer.status, path),
            false => self.catalogue(answer, path).await,
        }
    }

    /// Whether it would pass its health checks.
    async fn health(&mut self) {
        let Some(health) = &self.section.health else { return };
        let Some(call) = health::call(self.section, health, self.endpoint) else { return };
        let left = TIME.saturating_sub(self.clock.now().saturating_duration_since(self.began));
        let call = Call { time: call.time.min(left), ..call };
        let name = self.name;
        match health::ask(&Client::direct(self.clock.clone()), &call).await {
            Ok(()) => self.note(Trial::Answer, Grade::Ok, format!("is well by GET {}", call.target.path())),
            Err(why) => self.problem(
                Trial::Answer,
                IssueCode::NoUsefulAnswer,
                format!("`{name}` fails its health check: {why}"),
                "it would get no requests: is `health.path` right, and does it want the credential (`authorized: true`)?",
            ),
        }
    }

    /// For an API of which nothing is known but its URL.
    fn status_of_any(&mut self, status: StatusCode, path: &str) {
        if matches!(status.as_u16(), 401 | 403) {
            return self.refused(status, path);
        }
        if status.is_server_error() {
            return self.useless(status, path);
        }
        self.note(Trial::Answer, Grade::Ok, format!("answers {} to GET {path}", status.as_u16()));
    }

    /// For an API with pipes, which describes them to whoever may read them.
    async fn catalogue(&mut self, answer: Answer, path: &str) {
        let status = answer.status;
        match status.as_u16() {
            200 => {}
            401 | 403 => return self.refused(status, path),
            300..=399 | 500..=599 => return self.useless(status, path),
            _ => return self.unlisted(&format!("it answers {} to GET {path}", status.as_u16())),
        }
        match self.names(answer.body).await {
            Err(why) => self.unlisted(&why),
            Ok(names) if names.pipes.is_empty() && names.paths > 0 => {
                self.unlisted("its description has paths, and none of them is a pipe's");
            }
            Ok(names) => {
                let number = super::counted(names.pipes.len(), "pipe");
                let who = if self.has_credential() { "the credential reads" } else { "without a credential it shows" };
                self.note(Trial::Answer, Grade::Ok, format!("{who} {number}"));
                self.compare(&names);
            }
        }
    }

    /// What a description names, read in what is left of the time and beside the other upstreams.
    async fn names(&self, body: Bytes) -> Result<Names, String> {
        let left = TIME.saturating_sub(self.clock.now().saturating_duration_since(self.began));
        let reading = tokio::task::spawn_blocking(move || Names::read(&body));
        tokio::select! {
            read = reading => read.unwrap_or_else(|_| Err("its description cannot be read".to_owned())),
            () = self.clock.sleep(left) => Err("its description was not read in time".to_owned()),
        }
    }

    fn compare(&mut self, names: &Names) {
        let mut good = 0;
        for pipe in self.pipes {
            let Some(wanted) = &pipe.name else {
                let words = format!("`{}` takes its pipe from the path: whether each exists is not known", pipe.route);
                self.note(Trial::Pipes, Grade::Note, words);
                continue;
            };
            if is_id(wanted) {
                let words = format!("`{}` names its pipe by id, and the upstream lists names", pipe.route);
                self.note(Trial::Pipes, Grade::Note, words);
            } else if names.pipes.contains(wanted) {
                good += 1;
            } else {
                self.unknown(pipe, wanted, names);
            }
        }
        if good > 0 {
            self.note(Trial::Pipes, Grade::Ok, format!("{} of the routes can be read", super::counted(good, "pipe")));
        }
    }

    fn unknown(&mut self, pipe: &PipeRoute, wanted: &str, known: &Names) {
        let names = || known.pipes.iter().map(String::as_str);
        self.sought += 1;
        let nearest = (self.sought <= MAX_SOUGHT).then(|| nearest(wanted, names().take(MAX_COMPARED))).flatten();
        let help = match nearest {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None if known.pipes.is_empty() => {
                "the credential can read no pipe at all: give its token PIPES:READ".to_owned()
            }
            None => format!("publish it, or give the token PIPES:READ for it; it reads {}", some_of(names())),
        };
        let title = format!("`{}` shows the credential no pipe `{wanted}`", self.name);
        let path: Vec<&str> = pipe.path.iter().map(String::as_str).collect();
        let problem = Problem::new(IssueCode::UnknownPipe, &path, title, help);
        self.found.problem(&self.subject, Trial::Pipes, problem);
    }

    fn has_credential(&self) -> bool {
        self.section.token.is_some() || !self.section.headers.is_empty()
    }

    fn refused(&mut self, status: StatusCode, path: &str) {
        if self.section.auth != UpstreamAuth::Token {
            let words = format!(
                "answers {} to GET {path} without a token; those that callers bring, or that are made for them, are not tried",
                status.as_u16()
            );
            self.note(Trial::Answer, Grade::Note, words);
            return;
        }
        let (name, status) = (self.name, status.as_u16());
        let (title, help) = match self.has_credential() {
            true => (
                format!("`{name}` refuses the credential: it answers {status} to GET {path}"),
                "is it the right token, of this region and workspace, and not expired?",
            ),
            false => (
                format!("`{name}` wants a credential: it answers {status} to GET {path}"),
                "add `token: ${VARIABLE}` to the upstream",
            ),
        };
        self.problem(Trial::Answer, IssueCode::TokenRefused, title, help);
    }

    fn useless(&mut self, status: StatusCode, path: &str) {
        let title = format!("`{}` answers {} to GET {path}", self.name, status.as_u16());
        let help = match status.is_redirection() {
            true => "the gateway follows no redirect: write the URL that it leads to",
            false => "the API is not well, or this is not its URL",
        };
        self.problem(Trial::Answer, IssueCode::NoUsefulAnswer, title, help);
    }

    fn unlisted(&mut self, why: &str) {
        let title = format!("`{}` does not say which pipes it has: {why}", self.name);
        let help = "whether the token can read the pipes of the routes is not known: call one route by hand";
        self.problem(Trial::Answer, IssueCode::PipesUnlisted, title, help);
    }
}

fn tls_help(fault: Option<CertificateFault>, has_ca: bool) -> &'static str {
    match (fault, has_ca) {
        (Some(CertificateFault::Expired), _) => "have it renewed, and look at the clock of this machine",
        (Some(CertificateFault::OtherName), _) => "write the host name that the certificate is for",
        (Some(CertificateFault::Untrusted), true) => "`tls.ca` must hold the authority that signed it",
        (Some(CertificateFault::Untrusted), false) => {
            "name the file of its authority: `tls: { ca: FILE }`; if it is a public one, the server may not send the whole chain"
        }
        (None, _) => "does this port speak TLS, in version 1.2 or 1.3?",
    }
}

/// `t_` and 32 hexadecimal digits.
fn is_id(name: &str) -> bool {
    name.strip_prefix("t_").is_some_and(|id| id.len() == 32 && id.chars().all(|c| c.is_ascii_hexdigit()))
}

/// `a, b and 3 more`.
fn some_of(names: impl Iterator<Item = impl AsRef<str>> + Clone) -> String {
    let more = names.clone().count().saturating_sub(MAX_NAMES);
    let shown: Vec<String> = names.take(MAX_NAMES).map(|name| name.as_ref().to_owned()).collect();
    match more {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
