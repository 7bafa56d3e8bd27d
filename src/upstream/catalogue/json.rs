//! Reads JSON and notices keys that stand twice in one object.
//!
//! In: bytes. Out: a value in which the first of two equal keys counts, and
//! where all others stand. `serde_json` lets the last one win without a word,
//! and caps the depth at 128. The time grows with the bytes and with nothing
//! else. Not here: what the keys mean.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::cut;

/// More keys than these that stand twice are counted only.
const MAX_TWICE: usize = 1_000;
/// Characters of one step of a pointer that are kept.
const MAX_STEP: usize = 80;

/// How much of a document is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// Its keys, and theirs; what is deeper is null.
    Outline,
    /// All of it.
    Whole,
}

/// A parsed document.
pub(super) struct Parsed {
    pub(super) value: Value,
    pub(super) twice: Twice,
}

/// Keys that stand twice.
#[derive(Default)]
pub(super) struct Twice {
    /// Those right below `paths`, all of them.
    pub(super) paths: BTreeSet<String>,
    /// Pointers to the others (RFC 6901), with steps that are not too long.
    pub(super) others: BTreeSet<String>,
    /// How many there are beside these.
    pub(super) more: usize,
}

pub(super) fn parse(bytes: &[u8], depth: Depth) -> Result<Parsed, String> {
    if bytes.len() > super::MAX_SIZE {
        return Err(format!("the document is larger than {} MiB", super::MAX_SIZE >> 20));
    }
    let levels = match depth {
        Depth::Outline => 2,
        Depth::Whole => usize::MAX,
    };
    let reader = RefCell::new(Reader::default());
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Seed { reader: &reader, levels }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| format!("the document is not JSON: {error}"))?;
    Ok(Parsed { value, twice: reader.into_inner().twice })
}

/// Where the reader is, and what it noticed. A pointer is made only where one is told: a key of a megabyte above a
/// million values is no pointer a million times.
#[derive(Default)]
struct Reader {
    steps: Vec<Step>,
    twice: Twice,
}

enum Step {
    Index(usize),
    Key(String),
}

impl Reader {
    fn note(&mut self, key: String) {
        if matches!(self.steps.as_slice(), [Step::Key(above)] if above == "paths") {
            self.twice.paths.insert(key);
        } else if self.twice.others.len() < MAX_TWICE {
            let pointer = self.pointer(&key);
            self.twice.others.insert(pointer);
        } else {
            self.twice.more += 1;
        }
    }

    fn pointer(&self, key: &str) -> String {
        let mut pointer = String::new();
        for step in &self.steps {
            match step {
                Step::Index(index) => {
                    let _ = write!(pointer, "/{index}");
                }
                Step::Key(key) => add_step(&mut pointer, key),
            }
        }
        add_step(&mut pointer, key);
        pointer
    }
}

fn add_step(pointer: &mut String, key: &str) {
    pointer.push('/');
    pointer.push_str(&cut(key, MAX_STEP).replace('~', "~0").replace('/', "~1"));
}

struct Seed<'a> {
    reader: &'a RefCell<Reader>,
    /// How many more levels are read.
    levels: usize,
}

impl Seed<'_> {
    fn below(&self) -> Self {
        Seed { reader: self.reader, levels: self.levels.saturating_sub(1) }
    }

    fn enter(&self, step: Step) {
        self.reader.borrow_mut().steps.push(step);
    }

    fn leave(&self) -> Option<Step> {
        self.reader.borrow_mut().steps.pop()
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        match self.levels {
            0 => deserializer.deserialize_ignored_any(IgnoredAny).map(|_| Value::Null),
            _ => deserializer.deserialize_any(self),
        }
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
            self.enter(Step::Index(list.len()));
            let item = items.next_element_seed(self.below())?;
            self.leave();
            match item {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if map.contains_key(&key) {
                entries.next_value::<IgnoredAny>()?;
                self.reader.borrow_mut().note(key);
                continue;
            }
            self.enter(Step::Key(key));
            let value = entries.next_value_seed(self.below())?;
            if let Some(Step::Key(key)) = self.leave() {
                map.insert(key, value);
            }
        }
        Ok(Value::Object(map))
    }
}
