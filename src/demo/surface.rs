//! Which path answers what: the table of the demo upstream's URLs.
//!
//! In: a read request. Out: an `Answer`, or a `Failure` that becomes one.
//! Open like the vendor: metadata, documents and ad-hoc SQL live next to the data, and only the
//! token guards them. A JWT opens the data of the pipes that it names, and nothing else.
//! **Not here**: sockets and sizes (`server`), who asks (`keyring`), documents (`describe`), queries
//! (`store`).

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode};
use rusqlite::types::Value;
use serde_json::json;
use tokio::sync::Mutex;

use crate::clock::Clock;

use super::answer::{Answer, Failure};
use super::flaky::Attempts;
use super::journal::Journal;
use super::jwt::{self, Claims};
use super::keyring::{Credential, Keyring};
use super::parameter::{Bound, Kind, bind};
use super::pipes::{Behaviour, Pipe};
use super::rates::Rates;
use super::received::Received;
use super::render::{Format, render};
use super::store::Store;
use super::{adhoc, describe, events};

/// Everything a request can reach.
#[derive(Debug)]
pub(super) struct Surface {
    origin: SocketAddr,
    keyring: Keyring,
    clock: Clock,
    store: Arc<Store>,
    attempts: Mutex<Attempts>,
    rates: Mutex<Rates>,
    journal: Arc<Journal>,
}

/// A request whose body has been read.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: String,
    /// The token of an `Authorization: Bearer` header.
    pub(super) bearer: Option<String>,
    /// The media type of the body.
    pub(super) media: Option<String>,
    pub(super) body: Bytes,
    /// Whether the body is packed with gzip.
    pub(super) is_gzip: bool,
}

impl Surface {
    /// The surface at an address, opened by one static token besides the workspace's own.
    pub(super) fn new(origin: SocketAddr, token: String, clock: Clock, store: Arc<Store>) -> Arc<Self> {
        Arc::new(Self {
            origin,
            keyring: Keyring::new(token, clock.clone()),
            clock,
            store,
            attempts: Mutex::default(),
            rates: Mutex::default(),
            journal: Arc::default(),
        })
    }

    /// The address that absolute links point to.
    pub(super) fn origin(&self) -> SocketAddr {
        self.origin
    }

    /// Where requests are written down.
    pub(super) fn journal(&self) -> Arc<Journal> {
        Arc::clone(&self.journal)
    }

    /// Answers one request.
    pub(super) async fn answer(&self, request: &Request) -> Result<Answer, Failure> {
        let credential = self.keyring.identify(request);
        self.journal.write(request, &credential);
        let Some(rest) = request.path.strip_prefix("/v0/") else {
            return Err(nothing());
        };
        if rest == "regions" {
            readable(request)?;
            return Ok(Answer::json(&describe::regions(self.origin)));
        }
        credential.check()?;
        if let Credential::Jwt(claims) = &credential {
            return self.scoped(request, rest, claims).await;
        }
        match rest {
            "pipes" => self.document(request, describe::list),
            "pipes/openapi.json" => self.document(request, describe::openapi),
            "events" => events::take(request),
            "sql" => self.sql(request).await,
            "tokens" | "tokens/" => sign(request, &credential),
            _ => self.pipe(request, rest.strip_prefix("pipes/").ok_or_else(nothing)?).await,
        }
    }

    async fn pipe(&self, request: &Request, resource: &str) -> Result<Answer, Failure> {
        let Some((name, extension)) = resource.rsplit_once('.') else {
            let pipe = Pipe::find(resource).ok_or_else(nothing)?;
            return self.document(request, |origin| describe::definition(pipe, origin));
        };
        let pipe = Pipe::find(name).ok_or_else(nothing)?;
        self.data(request, pipe, extension, &[]).await
    }

    /// What a JWT opens: the data of its pipes. Anything else is refused alike, whether it exists
    /// or not.
    async fn scoped(&self, request: &Request, rest: &str, claims: &Claims) -> Result<Answer, Failure> {
        let resource = rest.strip_prefix("pipes/").and_then(|resource| resource.rsplit_once('.'));
        let (name, extension) = resource.ok_or_else(jwt::forbidden)?;
        let pipe = Pipe::find(name).ok_or_else(jwt::forbidden)?;
        let fixed = claims.fixed_for(pipe).ok_or_else(jwt::forbidden)?;
        if let Some(most) = claims.most_per_second() {
            self.rates.lock().await.judge(&claims.name, most, self.clock.now())?;
        }
        self.data(request, pipe, extension, fixed).await
    }

    /// The rows of a pipe; what is fixed beats what the caller sent, silently.
    async fn data(
        &self,
        request: &Request,
        pipe: &'static Pipe,
        extension: &str,
        fixed: &[(String, String)],
    ) -> Result<Answer, Failure> {
        let format = Format::from_extension(extension).ok_or_else(|| {
            Failure::bad_request(format!("The format '{extension}' is not one of: csv, csvwithnames, json, ndjson"))
        })?;
        let began = self.clock.now();
        let mut received = receive(request)?;
        for (name, value) in fixed {
            received.fix(name, value);
        }
        let values = self.values(pipe, &received).await?;
        let table = self.store.pipe(pipe, values, received.sql()).await?;
        Ok(render(&table, format, self.clock.now().saturating_duration_since(began)))
    }

    /// The declared parameters, and what the pipe's behaviour adds.
    async fn values(&self, pipe: &Pipe, received: &Received) -> Result<Bound, Failure> {
        let mut values = bind(pipe.parameters, received)?;
        match pipe.behaviour {
            Behaviour::Echoing => values.push(("received", echo(pipe, received))),
            Behaviour::Failing => {
                let attempt = self.attempts.lock().await.judge(&values)?;
                values.push(("attempts", Value::Integer(attempt)));
            }
            Behaviour::Querying | Behaviour::Ranking => {}
        }
        Ok(values)
    }

    async fn sql(&self, request: &Request) -> Result<Answer, Failure> {
        let began = self.clock.now();
        let sql = receive(request)?
            .sql()
            .ok_or_else(|| Failure::bad_request("[Error] Missing required parameter 'q' (String)"))?;
        // The vendor answers in tab-separated text unless told otherwise; the demo has no such
        // format and answers in JSON.
        let format = adhoc::split_format(&sql).1.unwrap_or(Format::Json);
        let table = self.store.sql(sql).await?;
        Ok(render(&table, format, self.clock.now().saturating_duration_since(began)))
    }

    fn document(
        &self,
        request: &Request,
        write: impl FnOnce(SocketAddr) -> serde_json::Value,
    ) -> Result<Answer, Failure> {
        readable(request)?;
        Ok(Answer::json(&write(self.origin)))
    }
}

/// `POST /v0/tokens/`: the admin token has a JWT signed.
fn sign(request: &Request, credential: &Credential) -> Result<Answer, Failure> {
    if *credential != Credential::Admin {
        return Err(Failure::new(StatusCode::FORBIDDEN, "The token lacks the scope this needs: ADMIN or TOKENS"));
    }
    if request.method != Method::POST {
        return Err(Failure::method("POST"));
    }
    Ok(Answer::json(&jwt::issue(&request.query, &request.body)?))
}

fn receive(request: &Request) -> Result<Received, Failure> {
    if request.method == Method::POST {
        return Received::collect(&request.query, request.media.as_deref(), &request.body);
    }
    if request.method == Method::GET || request.method == Method::HEAD {
        return Received::collect(&request.query, None, &[]);
    }
    Err(Failure::method("GET, HEAD, POST"))
}

fn readable(request: &Request) -> Result<(), Failure> {
    if request.method == Method::GET || request.method == Method::HEAD {
        Ok(())
    } else {
        Err(Failure::method("GET, HEAD"))
    }
}

/// Every parameter with the type it is declared with; one that is not declared counts as text.
fn echo(pipe: &Pipe, received: &Received) -> Value {
    let rows: Vec<serde_json::Value> = received
        .names()
        .into_iter()
        .map(|name| {
            let declared =
                pipe.parameters.iter().find(|parameter| parameter.name == name).map(|parameter| parameter.kind);
            let text = received.text(name).unwrap_or_default();
            let (kind, elements, value) = match declared {
                Some(kind @ (Kind::ArrayInt32 | Kind::ArrayString)) => {
                    let list = received.list(name).unwrap_or_default();
                    (kind.label(), list.len(), list.join(","))
                }
                Some(kind @ (Kind::Boolean | Kind::Date | Kind::DateTime | Kind::Int32 | Kind::String)) => {
                    (kind.label(), 1, text)
                }
                None => ("undeclared", 1, text),
            };
            json!({ "name": name, "type": kind, "value": value, "elements": elements, "length": value.len() })
        })
        .collect();
    Value::Text(serde_json::Value::from(rows).to_string())
}

fn nothing() -> Failure {
    Failure::new(StatusCode::NOT_FOUND, "There is nothing here, or it is not published")
}
