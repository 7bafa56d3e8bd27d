//! Parameters in a query or a form body (WHATWG URL, urlencoded parsing).
//!
//! In: raw text. Out: the pairs that go on, encoded afresh. `;` does not
//! separate; a value keeps its bytes, whatever encoding it came in.

use std::borrow::Cow;

use bytes::Bytes;
use percent_encoding::percent_decode_str;

use crate::exchange::component::encode_component;
use crate::exchange::refusal::Refusal;

use super::Binding;
use super::watch::{Spot, Watch};

/// Appends to `out` what of `text` goes on.
pub(super) fn rewrite<W: Watch>(text: &str, binding: &mut Binding<'_, W>, out: &mut String) -> Result<(), Refusal> {
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (raw_name, raw_value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decode(raw_name);
        let name =
            std::str::from_utf8(&name).map_err(|_| Refusal::bad_parameter("?", "has a name that is not UTF-8"))?;
        let value = decode(raw_value);
        if value.contains(&0) {
            let refusal = Refusal::bad_parameter(name, "has a NUL character in its value");
            return Err(binding.refuse(name, &value, refusal));
        }
        if binding.keeps(name, &value, |fixed| fixed.as_bytes() == value.as_ref())? {
            append_bytes(out, name, &value);
        }
    }
    Ok(())
}

/// The form body that goes on.
pub(super) fn rewrite_body<W: Watch>(bytes: &Bytes, binding: &mut Binding<'_, W>) -> Result<Bytes, Refusal> {
    let text = std::str::from_utf8(bytes).map_err(|_| Refusal::UnsupportedBody("The form body is not UTF-8."))?;
    let mut out = String::with_capacity(text.len());
    binding.spot = Spot::Form;
    rewrite(text, binding, &mut out)?;
    Ok(Bytes::from(out))
}

/// Appends one pair.
pub(super) fn append(out: &mut String, name: &str, value: &str) {
    append_bytes(out, name, value.as_bytes());
}

fn append_bytes(out: &mut String, name: &str, value: &[u8]) {
    if !out.is_empty() {
        out.push('&');
    }
    out.extend(encode_component(name.as_bytes()));
    out.push('=');
    out.extend(encode_component(value));
}

fn decode(raw: &str) -> Cow<'_, [u8]> {
    if !raw.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(raw.as_bytes());
    }
    let spaced = raw.replace('+', " ");
    Cow::Owned(percent_decode_str(&spaced).collect())
}
