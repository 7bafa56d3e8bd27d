//! What a strict HTTP/1.1 reader objects to.

/// One breach of RFC 9112 (or of RFC 9110's field syntax) in a message that was read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Violation {
    /// A chunk size line, or the end of a chunk's data, that is not as section 7.1 has it.
    BadChunk(String),
    /// `Content-Length` is not a plain number.
    BadContentLength(String),
    /// A field name that is no token; a blank before the colon counts.
    BadFieldName(String),
    /// A field value with NUL or another control byte; holds the field's name.
    BadFieldValue(String),
    /// The request line or status line has another form than it should.
    BadStartLine(String),
    /// `Transfer-Encoding` is something else than `chunked`.
    BadTransferEncoding(String),
    /// A CR that no LF follows.
    BareCr,
    /// A line of the head or of the chunked framing that ends with LF alone.
    BareLf,
    /// The connection ended before the body did.
    BodyCutShort,
    /// Both length headers in one message.
    ContentLengthAndTransferEncoding,
    /// More than one `Content-Length`, alike or not.
    DuplicateContentLength,
    /// More than one `Host`.
    DuplicateHost,
    /// Empty lines before the start line.
    LeadingEmptyLine,
    /// A field line without a colon.
    MissingColon(String),
    /// An HTTP/1.1 request without `Host`.
    MissingHost,
    /// A field line that begins with a blank.
    ObsFold,
    /// `Transfer-Encoding` in an HTTP/1.0 message.
    TransferEncodingInHttp10,
}
