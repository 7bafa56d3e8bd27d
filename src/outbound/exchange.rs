//! Speaks HTTP/1.1 over a connection: one request, one answer.
//!
//! In: a stream and a [`Call`]. Out: the answer's head and whole body, or a
//! way through a proxy. Not here: opening connections (`connect`).

use std::pin::pin;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, StatusCode, Uri, response};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::client::proxy::matcher::Intercept;
use hyper_util::rt::TokioIo;

use crate::config::scalar::Scheme;

use super::connect::Stream;
use super::failure::Trouble;
use super::{Call, Target};

const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("tollgate/", env!("CARGO_PKG_VERSION")));

/// Sends the call and reads the whole answer.
pub(super) async fn send(
    stream: Stream,
    call: &Call,
    proxy: Option<&Intercept>,
    status: &mut Option<StatusCode>,
) -> Result<(response::Parts, Bytes), Trouble> {
    let request = request(call, proxy)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| Trouble::http(&error))?;
    let mut answer = pin!(receive(sender, request, call.size, status));
    let mut connection = pin!(connection);
    let mut open = true;
    // The connection moves the bytes; a task of its own for it would outlive the call.
    loop {
        tokio::select! {
            answer = &mut answer => return answer,
            _ = &mut connection, if open => open = false,
        }
    }
}

async fn receive(
    mut sender: SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
    size: usize,
    status: &mut Option<StatusCode>,
) -> Result<(response::Parts, Bytes), Trouble> {
    let answer = sender.send_request(request).await.map_err(|error| Trouble::http(&error))?;
    let (head, body) = answer.into_parts();
    *status = Some(head.status);
    let body = Limited::new(body, size).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            return Trouble::new(format!("the answer is larger than {size} bytes"));
        }
        Trouble::http(error.as_ref())
    })?;
    Ok((head, body.to_bytes()))
}

fn request(call: &Call, proxy: Option<&Intercept>) -> Result<Request<Full<Bytes>>, Trouble> {
    let mut request = Request::new(Full::new(call.body.clone()));
    *request.method_mut() = call.method.clone();
    *request.uri_mut() = match (proxy, call.target.scheme()) {
        // A proxy that is not tunnelled through is told the whole URL.
        (Some(_), Scheme::Http) => call.target.uri().clone(),
        (None, _) | (_, Scheme::Https) => {
            let target = call.target.uri().path_and_query().cloned();
            target.map(Uri::from).ok_or_else(|| Trouble::new("the URL has no path"))?
        }
    };
    let headers = request.headers_mut();
    headers.extend(call.headers.clone());
    headers.insert(header::HOST, host(&call.target)?);
    headers.insert(header::USER_AGENT, USER_AGENT);
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    if let (Some(credential), Scheme::Http) = (proxy.and_then(Intercept::basic_auth), call.target.scheme()) {
        headers.insert(header::PROXY_AUTHORIZATION, credential.clone());
    }
    Ok(request)
}

/// A way through `proxy` to the host itself.
pub(super) async fn tunnel(stream: Stream, target: &Target, proxy: &Intercept) -> Result<Stream, Trouble> {
    let way = format!("{}:{}", target.uri().host().unwrap_or_default(), target.port());
    let mut request = Request::new(Full::<Bytes>::default());
    *request.method_mut() = Method::CONNECT;
    *request.uri_mut() = way.parse().map_err(|_| Trouble::new("the URL has no host"))?;
    let value = HeaderValue::from_str(&way).map_err(|_| Trouble::new("the URL has no host"))?;
    request.headers_mut().insert(header::HOST, value);
    request.headers_mut().insert(header::USER_AGENT, USER_AGENT);
    if let Some(credential) = proxy.basic_auth() {
        request.headers_mut().insert(header::PROXY_AUTHORIZATION, credential.clone());
    }
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| Trouble::http(&error))?;
    let mut opened = pin!(async {
        let answer = sender.send_request(request).await.map_err(|error| Trouble::http(&error))?;
        if !answer.status().is_success() {
            return Err(Trouble::new(format!("it answers {}", answer.status())));
        }
        hyper::upgrade::on(answer).await.map_err(|error| Trouble::http(&error))
    });
    let mut connection = pin!(connection.with_upgrades());
    let mut open = true;
    let through = loop {
        tokio::select! {
            through = &mut opened => break through?,
            _ = &mut connection, if open => open = false,
        }
    };
    Ok(Box::new(TokioIo::new(through)))
}

fn host(target: &Target) -> Result<HeaderValue, Trouble> {
    HeaderValue::from_str(target.authority()).map_err(|_| Trouble::new("the URL has no host"))
}
