//! Whose count it is: the name of a limit and the values that tell apart.
//!
//! In: an [`Ask`]. Out: a [`Bucket`], a short key for this process, and its
//! name in text for what is kept elsewhere.

use std::fmt::Write as _;
use std::hash::{BuildHasher, Hash, Hasher};
use std::net::IpAddr;

use super::Ask;

/// Something in which requests differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
        match address.to_canonical() {
            IpAddr::V6(address) => Value::Network(IpAddr::V6((u128::from(address) >> 64 << 64).into())),
            address @ IpAddr::V4(_) => Value::Network(address),
        }
    }
}

/// A short key: two that meet would be counted together, which nobody can bring about who does not know the seeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bucket(pub(super) u64, pub(super) u64);

/// Makes buckets of this process.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    seeds: [ahash::RandomState; 2],
}

impl Buckets {
    pub(super) fn of(&self, ask: &Ask<'_>) -> Bucket {
        let [first, second] = &self.seeds;
        let hash = |seed: &ahash::RandomState| {
            let mut hasher = seed.build_hasher();
            ask.name.hash(&mut hasher);
            ask.values.hash(&mut hasher);
            hasher.finish()
        };
        Bucket(hash(first), hash(second))
    }
}

/// The name of a bucket that every process gives it: `per_tenant/acme`; what is not a letter, a digit or one of `._:@-` is
/// written as in a URL.
pub fn text(ask: &Ask<'_>) -> String {
    let mut text = String::with_capacity(64);
    text.push_str(ask.name);
    for value in &ask.values {
        text.push('/');
        match value {
            Value::Missing => text.push('~'),
            Value::Network(address) => _ = write!(text, "{address}"),
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
