//! Takes one response off a buffer, whoever fills it.
//!
//! In: bytes as they arrive, and the connection's end. Out: a [`Response`], or that none came.

use bytes::BytesMut;

use super::super::wire::BodyReader;
use super::super::wire::Framing;
use super::super::wire::Head;
use super::super::wire::Part;
use super::super::wire::Violation;
use super::super::wire::head_end;
use super::Asked;
use super::Ending;
use super::Informational;
use super::NoResponse;
use super::Response;
use super::Sink;

/// The state of one response.
#[derive(Debug)]
pub(super) struct ResponseReader {
    asked: Asked,
    response: Response,
    body: Option<BodyReader>,
}

impl ResponseReader {
    pub(super) fn new(asked: Asked) -> Self {
        Self { asked, response: Response::default(), body: None }
    }

    /// Takes what it can; `None` while more has to come.
    pub(super) fn advance(
        &mut self,
        buffer: &mut BytesMut,
        ending: Option<Ending>,
        sink: Option<Sink<'_>>,
    ) -> Option<Result<Response, NoResponse>> {
        while self.body.is_none() {
            let Some(end) = head_end(buffer) else {
                return ending.map(|ending| Err(self.missing(buffer, ending)));
            };
            self.take_head(&buffer.split_to(end));
        }
        let mut reader = self.body.take()?;
        let done = reader.take(buffer, &mut store(&mut self.response, sink));
        if !done && ending.is_none() {
            self.body = Some(reader);
            return None;
        }
        Some(Ok(self.complete(reader, buffer, ending)))
    }

    /// What a wait for more bytes is waiting for.
    pub(super) fn awaits(&self) -> &'static str {
        match (&self.body, self.response.informational.is_empty()) {
            (None, true) => "a response head",
            (None, false) => "the final head after an informational one",
            (Some(_), _) => "the rest of a response body",
        }
    }

    fn take_head(&mut self, raw: &[u8]) {
        let mut head = Head::parse(raw);
        head.judge_response();
        let [version, status, reason] = head.words();
        let status = status.parse().unwrap_or(0);
        self.response.raw.extend_from_slice(raw);
        if (100..200).contains(&status) && status != 101 {
            self.response.violations.append(&mut head.violations);
            self.response.informational.push(Informational { status, headers: head.fields });
            return;
        }
        let framing = Framing::of_response(&mut head, status, self.asked == Asked::Head);
        self.body = Some(BodyReader::new(framing));
        self.response.version = version;
        self.response.status = status;
        self.response.reason = reason;
        self.response.violations.append(&mut head.violations);
        self.response.headers = head.fields;
    }

    fn complete(&mut self, mut reader: BodyReader, buffer: &mut BytesMut, ending: Option<Ending>) -> Response {
        let mut response = std::mem::take(&mut self.response);
        let reset = ending == Some(Ending::Reset) && !reader.is_whole();
        response.truncated = reset || !reader.may_end();
        if reader.is_broken() {
            response.raw.extend_from_slice(&buffer.split());
        } else if response.truncated {
            reader.violations.push(Violation::BodyCutShort);
        }
        response.closed = ending.is_some();
        response.violations.append(&mut reader.violations);
        response.trailers = reader.trailers;
        response
    }

    fn missing(&mut self, buffer: &mut BytesMut, ending: Ending) -> NoResponse {
        let mut bytes = std::mem::take(&mut self.response.raw);
        bytes.extend_from_slice(&buffer.split());
        NoResponse { ending, bytes }
    }
}

/// Keeps the body, or hands it on.
fn store(response: &mut Response, mut sink: Option<Sink<'_>>) -> impl FnMut(Part<'_>) {
    move |part| match (&mut sink, part) {
        (Some(sink), Part::Payload(bytes)) => sink(bytes),
        (Some(_), Part::Raw(_)) => {}
        (None, Part::Payload(bytes)) => response.body.extend_from_slice(bytes),
        (None, Part::Raw(bytes)) => response.raw.extend_from_slice(bytes),
    }
}
