//! An answer as it passes: weighed, read for its cost, compressed.
//!
//! In: the cleaned head of an answer, its body in pieces. Out: the same, shorter
//! where the caller likes it; and how it ended. Not here: whether to compress
//! and what an end costs (`pipeline`); bodies of errors (`answer`).

use bytes::Bytes;
use http::response::Parts;
use http::{HeaderValue, Method, StatusCode, header};
use pingora::{ErrorType, OrErr, Result};
use pingora_proxy::Session;

use crate::exchange::statistics::Statistics;
use crate::pipeline::compress::{Asked, Gzip, Packing, vary, weakened};
use crate::pipeline::statistics::{Body, End, Meter, Tail};

use super::ctx::Ctx;

/// What is known of the answer of the current try.
#[derive(Debug, Default)]
pub(super) struct Measured {
    /// The upstream's status, once its answer is the caller's.
    pub(super) answered: Option<StatusCode>,
    /// Bytes of the body as the upstream sent it.
    pub(super) bytes: u64,
    /// How far it came.
    pub(super) body: Body,
    /// What it said about its cost.
    pub(super) statistics: Statistics,
    packing: Packing,
    tail: Option<Tail>,
    gzip: Option<Gzip>,
}

impl Measured {
    /// Bytes of the body before it was compressed, where it was.
    pub(super) fn unpacked_bytes(&self) -> Option<u64> {
        match self.packing {
            Packing::AsItIs | Packing::Plain => None,
            Packing::Gzip => Some(self.bytes),
        }
    }

    /// A piece of the body, or its end.
    pub(super) fn pass(&mut self, piece: &mut Option<Bytes>, end: bool) -> Result<()> {
        let plain = piece.as_deref().unwrap_or_default();
        self.bytes += plain.len() as u64;
        if let Some(tail) = &mut self.tail {
            tail.push(plain);
        }
        if end {
            self.finish();
        }
        let packed = match (&mut self.gzip, end) {
            (None, _) => return Ok(()),
            (Some(_), false) if plain.is_empty() => return Ok(()),
            (Some(gzip), false) => gzip.piece(plain),
            (gzip @ Some(_), true) => gzip.take().unwrap_or_default().last(plain),
        };
        *piece = Some(packed.or_err(ErrorType::InternalError, "compressing a body")?);
        Ok(())
    }

    fn finish(&mut self) {
        self.body = Body::Whole;
        if let Some(tail) = self.tail.take() {
            self.statistics = tail.read();
        }
    }
}

/// Takes note of a head that is on its way to the caller, and says there how the body is packed.
pub(super) fn begin(session: &Session, response: &mut Parts, ctx: &mut Ctx) {
    let request = session.req_header();
    let meter = ctx.route().map_or(Meter::Off, |route| route.meter);
    ctx.measured.answered = Some(response.status);
    ctx.measured.tail = meter.tail(response.status, &response.headers);
    if has_no_body(&request.method, response) {
        // Pingora passes what is not there through no filter.
        ctx.measured.body = Body::Whole;
    }
    if meter == Meter::Off {
        return;
    }
    let asked = Asked { version: request.version, headers: &request.headers };
    let packing = Packing::judge(response.status, &response.headers, asked);
    if packing == Packing::AsItIs {
        return;
    }
    response.headers.insert(header::VARY, vary(&response.headers));
    if packing == Packing::Plain {
        return;
    }
    if let Some(tag) = weakened(&response.headers) {
        response.headers.insert(header::ETAG, tag);
    }
    if response.status == StatusCode::NOT_MODIFIED {
        return;
    }
    response.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    // Neither lengths nor places within the upstream's body say anything about this one.
    response.headers.remove(header::CONTENT_LENGTH);
    response.headers.remove(header::ACCEPT_RANGES);
    if request.method != Method::HEAD {
        response.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        ctx.measured.packing = packing;
        ctx.measured.gzip = Some(Gzip::new());
    }
}

/// How an exchange ended, as far as its cost goes.
pub(super) fn end(ctx: &Ctx) -> End {
    let measured = &ctx.measured;
    End {
        reach: ctx.attempt.reach,
        answered: measured.answered,
        body: measured.body,
        statistics: measured.statistics,
        response_bytes: measured.bytes,
        waited: ctx.attempt.spent,
    }
}

fn has_no_body(method: &Method, response: &Parts) -> bool {
    *method == Method::HEAD
        || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&response.status)
        || response.headers.get(header::CONTENT_LENGTH).is_some_and(|length| length == "0")
}
