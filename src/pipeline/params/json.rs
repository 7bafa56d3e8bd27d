//! Parameters in a flat JSON object.
//!
//! In: the bytes of the body. Out: an object of the entries that go on, each
//! value byte for byte as it came: a 64-bit integer is never rendered again.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::exchange::refusal::Refusal;

use super::Binding;
use super::watch::{Spot, Watch};

/// The JSON body that goes on.
pub(super) fn rewrite_body<W: Watch>(bytes: &Bytes, binding: &mut Binding<'_, W>) -> Result<Bytes, Refusal> {
    let text = std::str::from_utf8(bytes).map_err(|_| Refusal::UnsupportedBody("The JSON body is not UTF-8."))?;
    let entries = entries(text)?;
    let mut out = String::with_capacity(text.len());
    out.push('{');
    binding.spot = Spot::Json;
    for (name, value) in &entries {
        let raw = value.get().as_bytes();
        if let Err(refusal) = check_flat(name, value) {
            return Err(binding.refuse(name, raw, refusal));
        }
        if binding.keeps(name, raw, |fixed| is_value(value, fixed))? {
            if out.len() > 1 {
                out.push(',');
            }
            // A name that is kept is plain ASCII, so it needs no escapes.
            out.push('"');
            out.push_str(name);
            out.push_str("\":");
            out.push_str(value.get());
        }
    }
    out.push('}');
    Ok(Bytes::from(out))
}

type Entry<'a> = (Cow<'a, str>, &'a RawValue);

/// Every entry in order, duplicates included.
fn entries(text: &str) -> Result<Vec<Entry<'_>>, Refusal> {
    if !text.trim_start().starts_with('{') {
        return Err(Refusal::UnsupportedBody("The JSON body must be an object of parameters."));
    }
    let malformed = |_| Refusal::BadRequest("The JSON body is malformed.");
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let entries = deserializer.deserialize_map(Entries).map_err(malformed)?;
    deserializer.end().map_err(malformed)?;
    Ok(entries)
}

/// Scalars and lists of scalars; what is deeper has no meaning as a parameter.
fn check_flat(name: &str, value: &RawValue) -> Result<(), Refusal> {
    const NESTED: &str = "is nested; write a scalar or a list of scalars";
    let is_object = |text: &str| text.starts_with('{');
    let text = value.get();
    if is_object(text) {
        return Err(Refusal::bad_parameter(name, NESTED));
    }
    if !text.starts_with('[') {
        return Ok(());
    }
    let items: Vec<&RawValue> =
        serde_json::from_str(text).map_err(|_| Refusal::BadRequest("The JSON body is malformed."))?;
    match items.iter().any(|item| is_object(item.get()) || item.get().starts_with('[')) {
        true => Err(Refusal::bad_parameter(name, NESTED)),
        false => Ok(()),
    }
}

fn is_value(value: &RawValue, fixed: &str) -> bool {
    let text = value.get();
    match text.starts_with('"') {
        true => serde_json::from_str::<String>(text).is_ok_and(|text| text == fixed),
        false => text == fixed,
    }
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Vec<Entry<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(Name(name)) = map.next_key()? {
            entries.push((name, map.next_value()?));
        }
        Ok(entries)
    }
}

/// A key, borrowed where it has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> serde::Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}
