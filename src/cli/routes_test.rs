//! `tollgate routes test METHOD URL -c FILE`: what would happen to one request.
//!
//! In: a request as one would give it to curl. Out: its explanation; exit 0 if
//! it would be served, 1 if it would be refused, 2 if nothing can be said. Not
//! here: the explanation (`snapshot::explain`). Nothing is sent.

use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::config::{Config, Loaded};
use crate::snapshot::Snapshot;
use crate::snapshot::explain::{Explanation, Question, explain, header_line, method_word, url_word};
use crate::state::State;

use super::operator::{self, Whom, text_of};
use super::{Ending, Form, load_or_explain, print, say};

const FORM: &str = "application/x-www-form-urlencoded";

/// Names and values.
type Headers = Vec<(String, String)>;

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("gateway").args(["config", "admin_url"]).required(true).multiple(true)))]
#[command(before_help = "\
Examples:
  tollgate routes test GET '/top?limit=5' -c conf/tollgate.yaml
  tollgate routes test POST /top -d limit=5 -H 'Origin: https://app.example.com' -c conf/tollgate.yaml
  tollgate routes test GET /top --running -c conf/tollgate.yaml   asks the gateway that runs")]
pub(super) struct Arguments {
    /// GET, HEAD, POST, ...
    method: String,
    /// A whole URL, or a path; the host is then that of the first listener
    url: String,
    /// A header of the request; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Its body, a form unless a header says something else; one that is not UTF-8 can only be in a file
    #[arg(short = 'd', long = "data", value_name = "BODY|@FILE", allow_hyphen_values = true)]
    data: Option<OsString>,
    /// The address it comes from
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    from: IpAddr,
    /// A PEM file with the certificate that the caller shows, and those between it and the authority
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// Ask the gateway that runs, with the admin token, instead of the file
    #[arg(long)]
    running: bool,
    #[command(flatten)]
    whom: Whom,
    /// Form of the answer: text for people, json for programs
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
}

impl Arguments {
    /// The headers, once every word of the call is one that a request can carry.
    fn headers(&self) -> Result<Headers, String> {
        method_word(&self.method).map_err(|problem| format!("METHOD: {problem}"))?;
        url_word(&self.url).map_err(|problem| format!("URL: {problem}"))?;
        let read = |line: &String| header_line(line).map_err(|problem| format!("--header: {problem}"));
        self.headers.iter().map(read).collect()
    }
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    if arguments.data.as_ref().is_some_and(|data| file_of(data).is_none() && data.to_str().is_none()) {
        say("tollgate: a body that is not UTF-8 cannot stand in the call: put it into a file, and write -d @FILE");
        return Ok(Ending::WrongCall);
    }
    // Read here and not by clap, which would show what it cannot read: a credential may stand in it.
    let headers: Headers = match arguments.headers() {
        Ok(headers) => headers,
        Err(problem) => {
            say(&format!("tollgate: {problem}"));
            return Ok(Ending::WrongCall);
        }
    };
    if arguments.running {
        return ask(arguments, headers);
    }
    let Some(file) = arguments.whom.config() else {
        say("tollgate: which configuration? Give it: -c FILE");
        return Ok(Ending::WrongCall);
    };
    // Whatever is wrong with the file, the question has no answer.
    let Ok(loaded) = load_or_explain(file) else { return Ok(Ending::Impossible) };
    let question = match question(arguments, headers, &loaded.config) {
        Ok(question) => question,
        Err(error) => {
            say(&format!("tollgate: {error:#}"));
            return Ok(Ending::Impossible);
        }
    };
    let clock = Clock::system();
    let snapshot = Snapshot::compile(&loaded.config, &State::new(clock.clone()));
    let mut explanation = explain(&snapshot, &question, clock.wall());
    locate(&mut explanation, &loaded);
    match arguments.format {
        Form::Json => print(&serde_json::to_string_pretty(&explanation)?),
        Form::Text => print(explanation.to_string().trim_end()),
    }
    Ok(if explanation.verdict.is_refusal() { Ending::Problems } else { Ending::Success })
}

/// Asks the gateway that runs.
fn ask(arguments: &Arguments, headers: Headers) -> anyhow::Result<Ending> {
    let (headers, body) = match request(arguments, headers) {
        Ok(request) => request,
        Err(error) => return Ok(Ending::could_not(&error)),
    };
    let Ok(body) = String::from_utf8(body) else {
        say("tollgate: the body is not UTF-8, and a running gateway is asked in JSON, which holds text only");
        say("help: without --running the file is asked, and takes any body");
        return Ok(Ending::Impossible);
    };
    let asked = json!({
        "method": arguments.method, "url": arguments.url, "headers": headers, "body": body, "from": arguments.from,
    });
    let asked = match certificate(arguments) {
        Ok(Some(pem)) => with_certificate(asked, &pem),
        Ok(None) => asked,
        Err(error) => return Ok(Ending::could_not(&error)),
    };
    let told = match arguments.whom.ask_for("explanation", "/routes/test", operator::Question::Tell(asked)) {
        Ok(told) => told,
        Err(ending) => return Ok(ending),
    };
    let explanation = told.get("explanation").cloned().unwrap_or_default();
    match arguments.format {
        Form::Json => print(&serde_json::to_string_pretty(&explanation)?),
        Form::Text => print(text_of(&told, "text").trim_end()),
    }
    let outcome = explanation.pointer("/verdict/outcome").and_then(Value::as_str);
    Ok(if matches!(outcome, Some("upstream" | "answered")) { Ending::Success } else { Ending::Problems })
}

fn question(arguments: &Arguments, headers: Headers, config: &Config) -> anyhow::Result<Question> {
    let (headers, body) = request(arguments, headers)?;
    let question = Question::new(&arguments.method, &arguments.url, &headers, body, &Question::host(config));
    let question = question.map_err(anyhow::Error::msg)?.from_peer(arguments.from);
    match (certificate(arguments)?, &arguments.certificate) {
        (Some(pem), Some(file)) => {
            let shown = question.with_certificate(&arguments.url, &pem);
            shown.map_err(|why| anyhow!("--certificate {}: {why}", file.display()))
        }
        (Some(_) | None, _) => Ok(question),
    }
}

/// What the caller shows.
fn certificate(arguments: &Arguments) -> anyhow::Result<Option<Vec<u8>>> {
    let Some(file) = &arguments.certificate else { return Ok(None) };
    let read = std::fs::read(file).with_context(|| format!("the certificate `{}` cannot be read", file.display()))?;
    Ok(Some(read))
}

/// What is asked, with a certificate, and without anything else that stands in the same file, such as its key.
fn with_certificate(mut asked: Value, pem: &[u8]) -> Value {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let text = String::from_utf8_lossy(pem);
    let blocks = text.split(BEGIN).skip(1).filter_map(|block| block.split_once(END));
    let shown: String = blocks.map(|(body, _)| format!("{BEGIN}{body}{END}\n")).collect();
    if let Value::Object(members) = &mut asked {
        members.insert("certificate".to_owned(), shown.into());
    }
    asked
}

/// The headers and the body that are asked about.
fn request(arguments: &Arguments, mut headers: Headers) -> anyhow::Result<(Headers, Vec<u8>)> {
    let body = match arguments.data.as_deref().map(|data| (data, file_of(data))) {
        None => Vec::new(),
        Some((_, Some(file))) => {
            std::fs::read(file).with_context(|| format!("the body `{}` cannot be read", file.display()))?
        }
        Some((data, None)) => data.as_bytes().to_vec(),
    };
    let is_typed = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    if arguments.data.is_some() && !is_typed {
        say(&format!(
            "the body is taken for a form, as curl does; else say -H 'Content-Type: ...' ({FORM} is assumed)"
        ));
        headers.push(("Content-Type".to_owned(), FORM.to_owned()));
    }
    Ok((headers, body))
}

/// The file that `@FILE` names.
fn file_of(data: &OsStr) -> Option<&Path> {
    data.as_bytes().strip_prefix(b"@").map(|file| Path::new(OsStr::from_bytes(file)))
}

/// Adds file and line of the route.
fn locate(explanation: &mut Explanation, loaded: &Loaded) {
    if let Some(route) = &mut explanation.route {
        let place = match &route.host {
            None => loaded.key_place(&["routes", &route.key]),
            Some(host) => loaded.key_place(&["hosts", host, "routes", &route.key]),
        };
        route.place = Some(format!("{}:{}", place.listing.name, place.line_and_column().0));
    }
}
