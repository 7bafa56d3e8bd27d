//! Whose count it is: the name of a limit and the values that tell apart.
//!
//! In: an [`Ask`]. Out: a [`Bucket`], a short key for this process, and its
//! name in text for what is kept elsewhere.

use std::fmt::Write as _;
use std::hash::{BuildHasher as _, Hasher as _};
use std::net::IpAddr;

use crate::config::scalar::Window;
use crate::config::section::limits::Cost;
use crate::state::network::network;

use super::{Ask, Values};

/// Something in which requests differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// The request does not have it: all of these are counted together.
    Missing,
    /// A name, or several words that are one name together.
    Text([&'a str; 3]),
    /// An IPv4 address, or the /64 of an IPv6 address.
    Network(IpAddr),
}

impl<'a> Value<'a> {
    /// A name of one word.
    pub fn word(word: &'a str) -> Self {
        Value::Text([word, "", ""])
    }

    /// Where a request comes from; one caller has a whole /64 of IPv6.
    pub fn network(address: IpAddr) -> Self {
        Value::Network(network(address))
    }
}

/// A short key: two that meet would be counted together, which nobody can bring about who does not know the seeds. The lowest
/// bit of its second half says whether an address is among what it tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bucket(pub(super) u64, pub(super) u64);

/// Those that tell addresses apart, which anybody can have many of, and those that do not: neither takes room from the other.
pub(super) const PARTS: usize = 2;

/// Makes buckets of this process.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    seeds: [ahash::RandomState; 2],
}

impl Buckets {
    /// The bucket of a rate.
    pub(super) fn of_rate(&self, name: &str, values: &Values<'_>) -> Bucket {
        let mut digest = self.digest(name);
        digest.values(values);
        digest.bucket()
    }

    /// The bucket of a quota. What is counted, and in which stretch, belongs to it, too: a limit that counts something else
    /// after a reload does not take rows for bytes.
    pub(super) fn of_quota(&self, name: &str, values: &Values<'_>, what: (Cost, Window, u64)) -> Bucket {
        let mut digest = self.digest(name);
        digest.values(values);
        digest.what(what);
        digest.bucket()
    }

    /// The bucket that newcomers share where there is no room.
    pub(super) fn shared(&self, name: &str) -> Bucket {
        self.digest(name).bucket()
    }

    /// As [`Buckets::shared`], of a quota.
    pub(super) fn shared_quota(&self, name: &str, what: (Cost, Window, u64)) -> Bucket {
        let mut digest = self.digest(name);
        digest.what(what);
        digest.bucket()
    }

    fn digest(&self, name: &str) -> Digest {
        let [first, second] = &self.seeds;
        let mut digest = Digest { halves: [first.build_hasher(), second.build_hasher()], is_by_address: false };
        digest.word(NAME, name);
        digest
    }
}

/// Both halves of a bucket, in one go. Every word is followed by its length and by what it is, so that words are not run
/// together.
struct Digest {
    halves: [ahash::AHasher; 2],
    is_by_address: bool,
}

const NAME: u64 = 0;
const MISSING_VALUE: u64 = 1;
const V4: u64 = 2;
const V6: u64 = 3;
const WHAT: u64 = 4;
/// And the two after it: which word of a value it is.
const WORD: u64 = 5;

impl Digest {
    fn values(&mut self, values: &Values<'_>) {
        for value in values {
            self.is_by_address |= matches!(value, Value::Network(_));
            match value {
                Value::Missing => self.number(MISSING_VALUE, 0),
                Value::Network(IpAddr::V4(address)) => self.number(V4, address.to_bits().into()),
                Value::Network(IpAddr::V6(address)) => {
                    self.halves.iter_mut().for_each(|half| half.write_u128(address.to_bits()));
                    self.number(V6, 0);
                }
                Value::Text([first, rest @ ..]) => {
                    self.word(WORD, first);
                    for (index, word) in (1..).zip(rest).filter(|(_, word)| !word.is_empty()) {
                        self.word(WORD + index, word);
                    }
                }
            }
        }
    }

    fn what(&mut self, (cost, window, began): (Cost, Window, u64)) {
        self.number(WHAT, began << 8 | (cost as u64) << 4 | window as u64);
    }

    fn word(&mut self, what: u64, word: &str) {
        self.halves.iter_mut().for_each(|half| half.write(word.as_bytes()));
        self.number(what, word.len() as u64);
    }

    fn number(&mut self, what: u64, number: u64) {
        self.halves.iter_mut().for_each(|half| half.write_u64(number << 4 | what));
    }

    fn bucket(self) -> Bucket {
        let [first, second] = self.halves;
        Bucket(first.finish(), second.finish() & !1 | u64::from(self.is_by_address))
    }
}

/// The name of a bucket that every process gives it: `per_tenant/acme`, `flood/[10.0.0.1]`; what is not a letter, a digit or
/// one of `._:@-` is written as in a URL, and a value that is missing is `~`. Different buckets have different names.
pub fn text(ask: &Ask<'_>) -> String {
    let mut text = String::with_capacity(64);
    text.extend(percent_encoding::utf8_percent_encode(ask.name, SAFE));
    for value in &ask.values {
        text.push('/');
        match value {
            Value::Missing => text.push_str(MISSING),
            // Without the brackets, a tenant could be called like an address.
            Value::Network(address) => _ = write!(text, "[{address}]"),
            Value::Text(words) => {
                let used = 1 + words.iter().rposition(|word| !word.is_empty()).unwrap_or_default();
                for (index, word) in words.iter().take(used).enumerate() {
                    if index > 0 {
                        text.push('+');
                    }
                    text.extend(percent_encoding::utf8_percent_encode(word, SAFE));
                }
            }
        }
    }
    text
}

const SAFE: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'.').remove(b'_').remove(b':').remove(b'@').remove(b'-');
const MISSING: &str = "~";

/// A bucket whose name was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Named {
    name: String,
    values: Vec<OwnValue>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum OwnValue {
    Missing,
    Network(IpAddr),
    Text([String; 3]),
}

impl Named {
    /// What [`text`] made a name of; none if it did not.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let name = decode(parts.next()?)?;
        let values = parts.map(OwnValue::read).collect::<Option<_>>()?;
        Some(Named { name, values })
    }

    /// The name of the limit.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What tells it apart.
    pub(super) fn values(&self) -> Values<'_> {
        self.values.iter().map(OwnValue::value).collect()
    }
}

impl OwnValue {
    fn read(text: &str) -> Option<Self> {
        if text == MISSING {
            return Some(OwnValue::Missing);
        }
        if let Some(address) = text.strip_prefix('[') {
            return Some(OwnValue::Network(address.strip_suffix(']')?.parse().ok()?));
        }
        let mut words: [String; 3] = Default::default();
        let mut written = text.split('+');
        for (word, written) in words.iter_mut().zip(written.by_ref()) {
            *word = decode(written)?;
        }
        written.next().is_none().then_some(OwnValue::Text(words))
    }

    fn value(&self) -> Value<'_> {
        match self {
            OwnValue::Missing => Value::Missing,
            OwnValue::Network(address) => Value::Network(*address),
            OwnValue::Text([first, second, third]) => Value::Text([first, second, third]),
        }
    }
}

fn decode(text: &str) -> Option<String> {
    percent_encoding::percent_decode_str(text).decode_utf8().ok().map(Into::into)
}

#[cfg(test)]
#[path = "bucket_tests.rs"]
mod tests;
