//! Asking a running gateway on its admin address.
//!
//! In: the file it runs, or its URL. Out: its answer, or why there is none.
//! Not here: what the answer means.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use http::{HeaderValue, StatusCode, header};
use serde_json::Value;

use crate::clock::Clock;
use crate::config::interpolate::Environment;
use crate::config::issue::Issues;
use crate::config::scalar::Secret;
use crate::config::{AdminOf, Known, admin_of};
use crate::outbound::{Answer, Call, Client, Target, wait};
use crate::state::admin_token;

use super::{Ending, say, show};

/// A reload looks up the hosts of new upstreams.
const TIMEOUT: Duration = Duration::from_secs(30);
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Which gateway is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Whom {
    /// The configuration that the gateway runs: its `admin` section says where to ask
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to ask instead, like http://127.0.0.1:9901
    #[arg(long, value_name = "URL")]
    admin_url: Option<String>,
    /// A file with the admin token; left out: `admin.token`, or the one that the gateway made
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// What is asked.
#[derive(Debug)]
pub(super) enum Question {
    /// GET.
    Read,
    /// GET of nothing but JSON.
    ReadJson,
    /// POST of a JSON document.
    Tell(Value),
    /// As [`Question::Tell`], for what may take so long.
    TellWithin(Value, Duration),
}

impl Whom {
    /// The file that was named.
    pub(super) fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// The answer of the gateway, whatever its status.
    ///
    /// # Errors
    /// Nobody answers, or the token is not to be had or not the right one.
    pub(super) fn ask(&self, path: &str, question: Question) -> anyhow::Result<Answer> {
        let file = self.config.as_deref().map(admin_of_file).transpose()?;
        let base = match (&self.admin_url, &file) {
            (Some(url), _) => url.trim_end_matches('/').to_owned(),
            (None, Some(file)) => url_of(file)?,
            (None, None) => anyhow::bail!("which gateway? Give the file that it runs: -c FILE"),
        };
        let token = self.token(file.as_ref())?;
        let target: Target = format!("{base}{path}").parse().map_err(anyhow::Error::msg)?;
        // As it may be shown: a query may have a token in it.
        let base = target.origin();
        let wants_json = matches!(question, Question::ReadJson);
        let timeout = if let Question::TellWithin(_, timeout) = question { timeout } else { TIMEOUT };
        let mut call = match question {
            Question::Read | Question::ReadJson => Call::get(target),
            Question::Tell(body) | Question::TellWithin(body, _) => Call::post(target, body.to_string()),
        };
        call.headers.insert(header::CONTENT_TYPE, JSON);
        if wants_json {
            call.headers.insert(header::ACCEPT, JSON);
        }
        let call = call.bearer(&token).within(timeout);
        let answer = wait(Client::direct(Clock::system()).call(&call))?
            .with_context(|| format!("the gateway does not answer at {base} (does it run, and with this file?)"))?;
        match answer.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS => {
                anyhow::bail!("{base} refuses: {}", String::from_utf8_lossy(&answer.body).trim_end())
            }
            // What it found may be bad, or it has no file: its own answers all the same.
            StatusCode::OK | StatusCode::BAD_REQUEST | StatusCode::CONFLICT | StatusCode::INTERNAL_SERVER_ERROR => {
                Ok(answer)
            }
            status => {
                let said = String::from_utf8_lossy(&answer.body);
                anyhow::bail!("{base} answers {status}: {}", said.lines().next().unwrap_or_default())
            }
        }
    }

    /// Whether anything says which gateway is meant.
    pub(super) fn is_given(&self) -> bool {
        self.config.is_some() || self.is_a_gateway()
    }

    /// Whether anything but a file does.
    pub(super) fn is_a_gateway(&self) -> bool {
        self.admin_url.is_some() || self.token_file.is_some()
    }

    /// A JSON answer with this member, which every answer of a gateway to such a question has.
    ///
    /// # Errors
    /// That there is none, and why was said.
    pub(super) fn ask_for(&self, member: &str, path: &str, question: Question) -> Result<Value, Ending> {
        let answer = self.ask(path, question).map_err(|error| Ending::could_not(&error))?;
        let document = serde_json::from_slice::<Value>(&answer.body).ok();
        document.filter(|document| document.get(member).is_some()).ok_or_else(|| {
            let said = String::from_utf8_lossy(&answer.body);
            let first = said.lines().next().unwrap_or_default();
            Ending::could_not(&anyhow::anyhow!("the answer ({}) is not that of a gateway: {first}", answer.status))
        })
    }

    fn token(&self, file: Option<&AdminOf>) -> anyhow::Result<Secret> {
        if let Some(path) = &self.token_file {
            let text = std::fs::read_to_string(path).with_context(|| format!("`{}`", path.display()))?;
            return text.trim_end().parse().map_err(|why: String| anyhow::anyhow!("`{}`: {why}", path.display()));
        }
        let Some(file) = file else { anyhow::bail!("the admin token is needed: --token-file FILE, or -c FILE") };
        if let Some(token) = &file.admin.token {
            return Ok(token.clone());
        }
        let dir = file.state.folder();
        let made = admin_token::read(&dir);
        if made.is_err() {
            // A token that was written and cannot be had is the better reason.
            show(&of_admin(&file.issues));
        }
        made.with_context(|| {
            let path = admin_token::path(&dir);
            format!(
                "the admin token cannot be read from {}: run this as the gateway's user and with its STATE_DIRECTORY \
                 (under systemd: systemctl reload), or give --token-file",
                path.display()
            )
        })
    }
}

/// What is wrong with the sections that say whom to ask.
fn of_admin(issues: &Issues) -> Issues {
    let mut some = Issues::default();
    issues.iter().filter(|issue| issue.place.is_some()).cloned().for_each(|issue| some.push(issue));
    some
}

/// The address that a file names, as it can be reached from this machine.
///
/// # Errors
/// It names one that cannot be had: another gateway must not be asked in its place, and be given the token.
fn url_of(file: &AdminOf) -> anyhow::Result<String> {
    let url = format!("http://{}", local(file.admin.address));
    match file.address {
        Known::Surely => {}
        Known::Assumed => say(&format!("the file is broken, and no `admin` can be found in it: asking {url}")),
        Known::Unknown => {
            show(&of_admin(&file.issues));
            anyhow::bail!("where the gateway is to be asked cannot be told from the file: give --admin-url");
        }
    }
    Ok(url)
}

/// As [`url_of`], for the file at `path`.
pub(super) fn url_of_file(path: &Path) -> anyhow::Result<String> {
    url_of(&admin_of_file(path)?)
}

/// What the file at `path` says of its gateway. A file that is not there says nothing: with the defaults in its place
/// another gateway would be asked.
fn admin_of_file(path: &Path) -> anyhow::Result<AdminOf> {
    std::fs::metadata(path).with_context(|| format!("`{}`", path.display()))?;
    Ok(admin_of(path, &Environment::of_process()))
}

/// A member of a JSON answer as text.
pub(super) fn text_of<'a>(document: &'a Value, member: &str) -> &'a str {
    document.get(member).and_then(Value::as_str).unwrap_or_default()
}

/// Where an address that is listened on can be reached from this machine.
fn local(address: SocketAddr) -> SocketAddr {
    match address.ip().is_unspecified() {
        true => SocketAddr::from(([127, 0, 0, 1], address.port())),
        false => address,
    }
}
