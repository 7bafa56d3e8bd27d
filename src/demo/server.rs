//! Sockets: accepting, reading a request within its limits, writing the answer.
//!
//! In: a bound listener, the surface, a signal to stop. Out: HTTP/1.1 with keep-alive.
//! **Not here**: what is answered (`surface`), how answers look (`answer`).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request as Head, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::clock::Clock;

use super::answer::{Answer, Content, Failure};
use super::surface::{Request, Surface};

/// Accepts until told to stop.
pub(super) async fn accept(
    listener: TcpListener,
    surface: Arc<Surface>,
    clock: Clock,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = told(&mut stopped) => return,
        };
        match accepted {
            Ok((stream, _)) => {
                tokio::spawn(serve(stream, Arc::clone(&surface), stopped.clone()));
            }
            Err(error) => {
                // Out of descriptors, most likely: trying again at once would only spin.
                log::warn!("the demo upstream cannot accept: {error}");
                clock.sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, surface: Arc<Surface>, mut stopped: watch::Receiver<bool>) {
    // Without this, small answers wait for the caller's delayed acknowledgements.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |head| respond(Arc::clone(&surface), head));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = told(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        log::debug!("a connection to the demo upstream broke: {error}");
    }
}

/// Waits for the signal; a vanished sender is one too.
async fn told(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

async fn respond(surface: Arc<Surface>, head: Head<Incoming>) -> Result<Response<Content>, Infallible> {
    let answer = match read(head).await {
        Ok(request) => surface.answer(&request).await,
        Err(failure) => Err(failure),
    };
    Ok(answer.unwrap_or_else(Answer::from).into_response(surface.origin()))
}

async fn read(head: Head<Incoming>) -> Result<Request, Failure> {
    let (parts, body) = head.into_parts();
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target > LONGEST_TARGET {
        return Err(Failure::new(StatusCode::URI_TOO_LONG, "The URL is longer than 16 KiB"));
    }
    let path = percent_decode_str(parts.uri.path())
        .decode_utf8()
        .map_err(|_| Failure::bad_request("The path is not UTF-8"))?;
    let coding = header_text(&parts.headers, header::CONTENT_ENCODING).unwrap_or("identity");
    let is_gzip = path == EVENTS && coding.eq_ignore_ascii_case("gzip");
    if !is_gzip && !coding.eq_ignore_ascii_case("identity") {
        return Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Encoded bodies are not understood"));
    }
    Ok(Request {
        path: path.into_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        bearer: header_text(&parts.headers, header::AUTHORIZATION).and_then(bearer),
        media: header_text(&parts.headers, header::CONTENT_TYPE).map(str::to_owned),
        method: parts.method,
        body: read_body(body).await?,
        is_gzip,
    })
}

/// Reads the whole body. What is too much is read a while longer and dropped: a caller that is
/// still sending would see a reset connection instead of the 413.
async fn read_body(mut body: Incoming) -> Result<Bytes, Failure> {
    let mut kept = BytesMut::new();
    let mut arrived = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::bad_request(format!("The body broke off: {error}")))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        arrived += data.len();
        if arrived <= LARGEST_BODY {
            kept.extend_from_slice(&data);
        }
        if arrived > LARGEST_DROPPED {
            break;
        }
    }
    if arrived > LARGEST_BODY {
        return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "The body is larger than 1 MiB"));
    }
    Ok(kept.freeze())
}

fn header_text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn bearer(value: &str) -> Option<String> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

/// Where bodies may be packed.
const EVENTS: &str = "/v0/events";
const LONGEST_TARGET: usize = 16 * 1024;
const LARGEST_BODY: usize = 1024 * 1024;
const LARGEST_DROPPED: usize = 16 * 1024 * 1024;
