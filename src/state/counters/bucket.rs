//! Whose count it is: the name of a limit and the values that tell apart.
//!
//! In: an [`Ask`]. Out: a [`Bucket`], a short key for this process, and its
//! name in text for what is kept elsewhere.

use std::fmt::Write as _;
use std::hash::Hash;
use std::net::IpAddr;

use super::{Allowance, Ask};

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
    /// The bucket of a rate.
    pub(super) fn of_rate(&self, ask: &Ask<'_>) -> Bucket {
        self.hash(&(ask.name, &ask.values))
    }

    /// The bucket of a quota, in the stretch that began then. What is counted belongs to it, too: a limit that counts
    /// something else after a reload does not take rows for bytes.
    pub(super) fn of_quota(&self, ask: &Ask<'_>, allowance: Allowance, began: u64) -> Bucket {
        self.hash(&(ask.name, &ask.values, allowance.cost, allowance.window, began))
    }

    /// The bucket that newcomers share where there is no room.
    pub(super) fn shared(&self, name: &str) -> Bucket {
        self.hash(&name)
    }

    /// As [`Buckets::shared`], of a quota.
    pub(super) fn shared_quota(&self, name: &str, allowance: Allowance, began: u64) -> Bucket {
        self.hash(&(name, allowance.cost, allowance.window, began))
    }

    fn hash(&self, what: &impl Hash) -> Bucket {
        let [first, second] = &self.seeds;
        Bucket(first.hash_one(what), second.hash_one(what))
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
