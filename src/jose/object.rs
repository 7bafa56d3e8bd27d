//! JSON objects that can be read in one way only.
//!
//! In: bytes. Out: the object, or what is wrong with it. A name that stands
//! twice is wrong at any depth: of two readers, one takes the first value and one
//! the last, and both trust the signature. Not here: what the members mean.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Why there is no object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A name stands twice.
    Duplicate(String),
    /// It is not JSON, something else than an object, or nested too deeply (128).
    NotAnObject,
}

/// The object that these bytes are.
pub(super) fn read(bytes: &[u8]) -> Result<Map<String, Value>, Fault> {
    let duplicate = Cell::new(None);
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Strict(&duplicate).deserialize(&mut deserializer);
    match (value.and_then(|value| deserializer.end().map(|()| value)), duplicate.into_inner()) {
        (Ok(Value::Object(object)), None) => Ok(object),
        (_, Some(name)) => Err(Fault::Duplicate(name)),
        (Ok(_) | Err(_), None) => Err(Fault::NotAnObject),
    }
}

/// Reads any value, and keeps the name that stands twice, which serde's own error would only have in words.
#[derive(Clone, Copy)]
struct Strict<'a>(&'a Cell<Option<String>>);

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        // JSON has no infinity, and a number that overflows has been refused.
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number without a value"))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                self.0.set(Some(name));
                return Err(A::Error::custom("a name stands twice"));
            }
            let value = members.next_value_seed(self)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}
