//! The last bytes of a streamed document, and what stands there.
//!
//! In: a body in pieces. Out: its top-level `statistics`. What is kept is at
//! most twice [`KEPT`] bytes, however long the body is.

use std::fmt;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use memchr::memmem::{Finder, FinderRev};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use crate::exchange::statistics::Statistics;

/// Bytes at the end of a body that are looked at. ClickHouse writes `statistics` last, in about 150.
pub(super) const KEPT: usize = 4096;

/// How many names within the document may look like the key of the document itself. Each costs a parse.
pub(super) const MAX_TRIES: usize = 32;

/// Made once: to make one costs more than to look through most answers.
static KEY: LazyLock<FinderRev<'static>> = LazyLock::new(|| FinderRev::new(b"\"statistics\""));
/// Where a line begins with a document.
static NEXT_DOCUMENT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\n{"));

/// The end of a body.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    /// The first piece, until a second one comes. Many bodies are one, which need not be copied.
    only: Option<Bytes>,
    /// The last bytes of several pieces: all of the body, or at least [`KEPT`] of them.
    kept: Vec<u8>,
    /// Whether bytes before these are gone.
    cut: Cut,
    /// The first byte that is not white space.
    first: Option<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Cut {
    #[default]
    No,
    Yes,
}

impl Tail {
    /// Takes the next piece, which may be all there is.
    pub fn push_piece(&mut self, piece: &Bytes) {
        if piece.is_empty() {
            return;
        }
        let is_first = self.only.is_none() && self.first.is_none() && self.kept.is_empty();
        if is_first && piece.len() <= 2 * KEPT {
            self.only = Some(piece.clone());
            return;
        }
        self.push(piece);
    }

    /// Takes the next bytes.
    pub fn push(&mut self, piece: &[u8]) {
        if let Some(only) = self.only.take() {
            self.push(&only);
        }
        if self.first.is_none() {
            self.first = first_of(piece);
        }
        if let Some(last) = piece.len().checked_sub(KEPT).and_then(|start| piece.get(start..)) {
            if piece.len() > KEPT || !self.kept.is_empty() {
                self.cut = Cut::Yes;
            }
            self.kept.clear();
            self.kept.extend_from_slice(last);
            return;
        }
        if self.kept.len() + piece.len() > 2 * KEPT {
            // Once for every `KEPT` bytes of small pieces.
            self.cut = Cut::Yes;
            self.kept.drain(..self.kept.len().saturating_sub(KEPT));
        }
        self.kept.extend_from_slice(piece);
    }

    /// What the document says, which is whole now.
    pub fn read(&self) -> Statistics {
        let (first, text, cut) = match self.only.as_deref() {
            None => (self.first, &*self.kept, self.cut),
            Some(only) => match only.len().checked_sub(KEPT).and_then(|start| only.get(start..)) {
                Some(last) if only.len() > KEPT => (first_of(only), last, Cut::Yes),
                Some(_) | None => (first_of(only), only, Cut::No),
            },
        };
        let document = match (first, cut) {
            // As a rule it stands last, and the rest need not be read.
            (Some(b'{'), Cut::No) => last_members(text).or_else(|| serde_json::from_slice(text).ok()),
            (Some(b'{'), Cut::Yes) => last_members(text),
            (_, _) => None,
        };
        document.map(|Document(statistics)| statistics).unwrap_or_default()
    }
}

/// The first byte that is not white space.
fn first_of(text: &[u8]) -> Option<u8> {
    text.iter().find(|byte| !byte.is_ascii_whitespace()).copied()
}

/// The members of the document from its last `statistics` on.
///
/// A key that stands in the document itself is behind a comma, and what follows it ends one object: no more, or it
/// stands deeper. In a string its quotes would be behind backslashes.
fn last_members(text: &[u8]) -> Option<Document> {
    if has_several_documents(text) {
        return None;
    }
    let (mut end, mut tries) = (text.len(), 0);
    while tries < MAX_TRIES {
        end = KEY.rfind(text.get(..end)?)?;
        let (before, members) = text.split_at_checked(end)?;
        if before.trim_ascii_end().last() == Some(&b',') {
            match serde_json::from_slice(&[b"{", members].concat()) {
                Ok(document) => return Some(document),
                Err(_) => tries += 1,
            }
        }
    }
    None
}

/// An object, of which only one member is kept. Of two with its name the last counts, as everywhere.
#[derive(Debug)]
struct Document(Statistics);

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Member {
    Statistics,
    #[serde(other)]
    Other,
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Document, A::Error> {
        let mut statistics = Statistics::default();
        while let Some(member) = members.next_key()? {
            match member {
                Member::Statistics => Said(statistics) = members.next_value()?,
                Member::Other => _ = members.next_value::<IgnoredAny>()?,
            }
        }
        Ok(Document(statistics))
    }
}

/// The object `statistics` itself; anything else makes the document one that says nothing.
#[derive(Debug)]
struct Said(Statistics);

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Figure {
    BytesRead,
    Elapsed,
    RowsRead,
    #[serde(other)]
    Other,
}

impl<'de> Deserialize<'de> for Said {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Figures)
    }
}

struct Figures;

impl<'de> Visitor<'de> for Figures {
    type Value = Said;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what a query cost")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut figures: A) -> Result<Said, A::Error> {
        let mut said = Statistics::default();
        while let Some(figure) = figures.next_key()? {
            match figure {
                Figure::BytesRead => said.bytes_read = count(&figures.next_value()?),
                Figure::Elapsed => said.elapsed = seconds(&figures.next_value()?),
                Figure::RowsRead => said.rows_read = count(&figures.next_value()?),
                Figure::Other => _ = figures.next_value::<IgnoredAny>()?,
            }
        }
        Ok(Said(said))
    }
}

/// Whether the text is lines of documents instead of one: within a string a line end cannot stand as such.
fn has_several_documents(text: &[u8]) -> bool {
    NEXT_DOCUMENT.find_iter(text).any(|at| {
        let before = text.get(..at).unwrap_or_default();
        before.strip_suffix(b"\r").unwrap_or(before).ends_with(b"}")
    })
}

/// A number of things. ClickHouse puts integers of 64 bits in quotes where it is told to.
fn count(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64().or_else(|| number.as_f64().and_then(whole)),
        Value::String(text) => text.parse().ok(),
        Value::Array(_) | Value::Bool(_) | Value::Null | Value::Object(_) => None,
    }
}

/// What is above the largest integer is that one.
fn whole(number: f64) -> Option<u64> {
    (number.is_finite() && number >= 0.0).then_some(number.ceil() as u64)
}

fn seconds(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        Value::Array(_) | Value::Bool(_) | Value::Null | Value::Object(_) => None,
    };
    Duration::try_from_secs_f64(seconds?).ok()
}
