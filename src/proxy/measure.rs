//! An answer as it passes: weighed, read for its cost, stripped, compressed.
//!
//! In: the cleaned head of an answer, its body in pieces. Out: the same, without
//! what callers do not get, and shorter where the caller likes it; and how it
//! ended. Not here: what callers get, whether to compress and what an end costs
//! (`pipeline`); bodies of errors (`answer`).

use bytes::Bytes;
use http::response::Parts;
use http::{HeaderValue, Method, StatusCode, header};
use pingora::{Error, ErrorType, OrErr, Result};
use pingora_proxy::Session;

use crate::exchange::refusal::Refusal;
use crate::exchange::statistics::Statistics;
use crate::pipeline::compress::{Asked, Gzip, Packing, vary, weakened};
use crate::pipeline::scrub::{BodyFate, Strip};
use crate::pipeline::statistics::{Body, End, Meter, Reading};

use super::DECIDED;
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
    reading: Option<Reading>,
    sieve: Sieve,
    gzip: Option<Gzip>,
}

/// What is taken out of a body.
#[derive(Debug, Default)]
enum Sieve {
    /// Everything.
    Everything,
    /// Some members.
    Members(Box<Strip>),
    /// Nothing.
    #[default]
    Nothing,
}

impl Sieve {
    /// What of a piece is left, and of what was held before it.
    fn piece(&mut self, piece: Option<Bytes>, end: bool) -> Option<Bytes> {
        match self {
            Sieve::Everything => Some(Bytes::new()),
            Sieve::Members(strip) => {
                let left = strip.piece(&piece.unwrap_or_default());
                let held = if end { strip.end() } else { Bytes::new() };
                Some(if held.is_empty() { left } else { [left, held].concat().into() })
            }
            Sieve::Nothing => piece,
        }
    }
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
        if let Some(plain) = piece {
            self.bytes += plain.len() as u64;
            if let Some(reading) = &mut self.reading {
                reading.push(plain);
            }
        }
        if end {
            self.finish();
        }
        *piece = self.sieve.piece(piece.take(), end);
        let plain = piece.as_deref().unwrap_or_default();
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
        if let Some(reading) = self.reading.take() {
            self.statistics = reading.read();
        }
    }
}

/// Takes note of a head that is on its way to the caller, and says there what becomes of the body.
pub(super) fn begin(session: &Session, response: &mut Parts, ctx: &mut Ctx) -> Result<()> {
    let request = session.req_header();
    let Some(route) = ctx.route() else { return Err(Error::new_in(DECIDED)) };
    let (meter, strips) = (route.meter, route.scrub.strips());
    let fate = route.scrub.body(&request.method, response.status, &response.headers);
    ctx.measured.answered = Some(response.status);
    ctx.measured.reading = meter.reading(response.status, &response.headers);
    if has_no_body(&request.method, response) {
        // Pingora passes what is not there through no filter.
        ctx.measured.body = Body::Whole;
    }
    if meter == Meter::Statistics
        && response.status.is_success()
        && ctx.measured.reading.is_none()
        && response.headers.contains_key(header::CONTENT_ENCODING)
    {
        // Else nobody would ever know why the same `assume` is booked for each request.
        ctx.fault =
            Some("the upstream compressed its answer though it was asked not to: what it cost is unknown".to_owned());
    }
    // Judged by the head as it came: what is taken out is not much.
    let asked = Asked { version: request.version, headers: &request.headers };
    let packing = match meter != Meter::Statistics && !strips {
        true => Packing::AsItIs,
        false => Packing::judge(response.status, &response.headers, asked),
    };
    if sift(fate, response, ctx)? == Framing::Changed && request.method != Method::HEAD {
        response.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    pack(packing, &request.method, response, ctx);
    Ok(())
}

/// Whether the length of a body is another one than the upstream said.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    AsItWas,
    Changed,
}

/// Takes out of the body what callers do not get, and out of the head what was true of the rest only.
fn sift(fate: BodyFate, response: &mut Parts, ctx: &mut Ctx) -> Result<Framing> {
    match fate {
        BodyFate::Keep => return Ok(Framing::AsItWas),
        BodyFate::Nothing => {
            for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::TRANSFER_ENCODING, header::ETAG] {
                response.headers.remove(name);
            }
            response.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
            ctx.measured.sieve = Sieve::Everything;
            return Ok(Framing::AsItWas);
        }
        BodyFate::Strip(strip) => ctx.measured.sieve = Sieve::Members(Box::new(strip)),
        BodyFate::Unreadable => {
            ctx.fault = Some(
                "the upstream compressed an answer, or sent a part of one, though it was asked for all of it as it is: nothing can be stripped from that".to_owned(),
            );
            ctx.refusal = Some(Refusal::UpstreamFailed);
            return Err(Error::new_up(DECIDED));
        }
        BodyFate::WouldStrip => {}
    }
    Ok(reframe(response))
}

/// Takes out of the head of another body what was true of the upstream's only.
fn reframe(response: &mut Parts) -> Framing {
    if let Some(tag) = weakened(&response.headers) {
        response.headers.insert(header::ETAG, tag);
    }
    if response.status == StatusCode::NOT_MODIFIED {
        return Framing::AsItWas;
    }
    // Neither lengths nor places within the upstream's body say anything about this one.
    response.headers.remove(header::CONTENT_LENGTH);
    response.headers.remove(header::ACCEPT_RANGES);
    Framing::Changed
}

/// Says how the body is packed.
fn pack(packing: Packing, method: &Method, response: &mut Parts, ctx: &mut Ctx) {
    if packing == Packing::AsItIs {
        return;
    }
    response.headers.insert(header::VARY, vary(&response.headers));
    if packing == Packing::Plain {
        return;
    }
    if reframe(response) == Framing::AsItWas {
        return;
    }
    response.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    if *method != Method::HEAD {
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
