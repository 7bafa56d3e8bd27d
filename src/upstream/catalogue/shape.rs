//! Values of a document that must be of one kind.
//!
//! In: an object and a key. Out: what stands there, or a sentence that says what
//! stands there instead, so that nothing is passed over in silence. Not here:
//! references.

use serde_json::{Map, Value};

/// The list at `key`; an empty one where there is none.
pub(super) fn list<'a>(holder: &'a Value, key: &str) -> Result<&'a [Value], String> {
    match holder.get(key) {
        None => Ok(&[]),
        Some(Value::Array(list)) => Ok(list),
        Some(other) => Err(format!("`{key}` is {} where a list is wanted", kind(other))),
    }
}

/// The object at `key`, if there is one.
pub(super) fn object<'a>(holder: &'a Value, key: &str) -> Result<Option<&'a Map<String, Value>>, String> {
    match holder.get(key) {
        None => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(other) => Err(format!("`{key}` is {} where an object is wanted", kind(other))),
    }
}

/// What a value is, for a sentence.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(object) if object.contains_key("$ref") => "a `$ref`",
        Value::Object(_) => "an object",
    }
}
