//! Follows `$ref` inside one document.
//!
//! In: a value that may be a reference. Out: what it leads to, or why it leads
//! nowhere. References to other files and hosts are never followed. Not here:
//! what the values mean.

use percent_encoding::percent_decode_str;
use serde_json::Value;

/// Longer chains than this are loops.
const MAX_HOPS: usize = 16;
/// Longer references than this name nothing that a person wrote.
const MAX_LENGTH: usize = 1 << 10;

/// A document whose references can be followed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Document<'a>(&'a Value);

impl<'a> Document<'a> {
    pub(super) fn new(root: &'a Value) -> Self {
        Document(root)
    }

    /// What `value` is, behind its references.
    pub(super) fn resolve(self, mut value: &'a Value) -> Result<&'a Value, &'static str> {
        for _ in 0..MAX_HOPS {
            let Some(reference) = value.get("$ref") else { return Ok(value) };
            let reference = reference.as_str().ok_or("its `$ref` is not a text")?;
            if reference.len() > MAX_LENGTH {
                return Err("its `$ref` is longer than any name in a document");
            }
            let pointer = reference.strip_prefix('#').ok_or("its `$ref` leads out of the document")?;
            let pointer = percent_decode_str(pointer).decode_utf8().map_err(|_| "its `$ref` is not UTF-8")?;
            value = self.0.pointer(&pointer).ok_or("its `$ref` leads nowhere")?;
        }
        Err("its `$ref` leads in a circle")
    }
}
