//! Reads JSON and notices keys that stand twice in one object.
//!
//! In: bytes. Out: a value in which the first of two equal keys counts, and
//! pointers to all others. `serde_json` lets the last one win without a word,
//! and caps the depth at 128. Not here: what the keys mean.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// A parsed document.
pub(super) struct Parsed {
    pub(super) value: Value,
    /// Pointers to keys that stand twice.
    pub(super) twice: BTreeSet<String>,
}

pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, String> {
    if bytes.len() > super::MAX_SIZE {
        return Err(format!("the document is larger than {} MiB", super::MAX_SIZE >> 20));
    }
    let (twice, path) = (RefCell::new(BTreeSet::new()), RefCell::new(Vec::new()));
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Seed { twice: &twice, path: &path }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| format!("the document is not JSON: {error}"))?;
    Ok(Parsed { value, twice: twice.into_inner() })
}

/// The pointer of a key in the object at `above` (RFC 6901).
pub(super) fn pointer(above: &str, key: &str) -> String {
    format!("{above}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// More than this said twice is no slip.
const MAX_TWICE: usize = 1_000;
/// Longer pointers than this lead to nothing that a pipe is described by.
const MAX_POINTER: usize = 4 << 10;

#[derive(Clone, Copy)]
struct Seed<'a> {
    twice: &'a RefCell<BTreeSet<String>>,
    /// The keys and positions above. A pointer is made of them only where it is
    /// needed: a long key with many values below would be copied for each.
    path: &'a RefCell<Vec<String>>,
}

impl Seed<'_> {
    fn note(self) -> Result<(), &'static str> {
        let path = self.path.borrow();
        let length: usize = path.iter().map(String::len).sum();
        let mut twice = self.twice.borrow_mut();
        if length > MAX_POINTER || twice.len() >= MAX_TWICE {
            return Err("too much in it stands twice");
        }
        twice.insert(path.iter().fold(String::new(), |above, key| pointer(&above, key)));
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            self.path.borrow_mut().push(list.len().to_string());
            let item = items.next_element_seed(self)?;
            self.path.borrow_mut().pop();
            match item {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            self.path.borrow_mut().push(key.clone());
            let value = entries.next_value_seed(self)?;
            if map.contains_key(&key) {
                self.note().map_err(A::Error::custom)?;
            } else {
                map.insert(key, value);
            }
            self.path.borrow_mut().pop();
        }
        Ok(Value::Object(map))
    }
}
