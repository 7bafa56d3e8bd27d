//! Values with a meaning of their own: each parses from text into a type that
//! cannot hold a bad value.
//!
//! In: one YAML scalar. Out: a typed value that shows itself as it is written, or
//! a sentence that says what would be right. Not here: sections, references between sections.

pub mod api_key;

mod acme_directory;
mod address_range;
mod algorithm;
mod amount;
mod authority;
mod byte_size;
mod counters;
mod credential;
mod endpoint;
mod header;
mod host_pattern;
mod key_pair;
mod likely;
mod moment;
mod origin;
mod path_pattern;
mod pem;
mod percent;
mod period;
mod public_key;
mod quota;
mod rate;
mod store;
mod template;
mod tenant;
mod web_address;

use std::path::{Path, PathBuf};

pub use acme_directory::AcmeDirectory;
pub use address_range::AddressRange;
pub use algorithm::{Algorithm, SHORTEST_SECRET};
pub use amount::Amount;
pub use api_key::{ApiKey, KeyHash, KeyId, KeyPrefix};
pub use authority::{Bundle, may_sign};
pub use byte_size::ByteSize;
pub use counters::{Counters, RedisAddress};
pub use credential::{MASK, Secret, is_credential_name};
pub(crate) use endpoint::path_problem;
pub use endpoint::{Endpoint, Scheme};
pub use header::FieldName;
pub use host_pattern::HostPattern;
pub(crate) use host_pattern::is_address;
pub use key_pair::{Fault, KeyKind, KeyPair, Validity};
pub use moment::Moment;
pub use origin::OriginPattern;
pub use path_pattern::{PathPattern, Piece, Segment};
pub use percent::Percent;
pub use period::Period;
pub use public_key::PublicKey;
pub(crate) use public_key::{Curve, Numbers};
pub use quota::{Quota, Window};
pub use rate::Rate;
pub use store::{PostgresAddress, Store};
pub use template::{Part, Template};
pub use tenant::TenantName;
pub use web_address::WebAddress;

/// Implements `Deserialize` through `FromStr`, so that a scalar reads the same
/// whether YAML took it for a string, a number or a boolean.
macro_rules! from_text {
    ($type:ty, $expected:literal) => {
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any($crate::config::scalar::TextVisitor::<$type>::new($expected))
            }
        }
    };
}
pub(crate) use from_text;

/// Implements `Serialize` through `Display`, so that what is shown reads back.
macro_rules! as_text {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}
pub(crate) use as_text;

/// Whether a host is this machine.
pub(crate) fn is_this_machine(host: &str) -> bool {
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// A path that means the same from every folder.
pub(crate) fn absolute(path: &Path) -> String {
    std::path::absolute(path).as_deref().unwrap_or(path).to_string_lossy().into_owned()
}

/// Writes a path that means the same from every folder.
pub(crate) fn absolute_path<S: serde::Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    match path {
        None => serializer.serialize_none(),
        Some(path) => serializer.serialize_some(&absolute(path)),
    }
}

/// Reads any YAML scalar as text and parses it.
pub(crate) struct TextVisitor<T> {
    expected: &'static str,
    result: std::marker::PhantomData<T>,
}

impl<T> TextVisitor<T> {
    pub(crate) fn new(expected: &'static str) -> Self {
        TextVisitor { expected, result: std::marker::PhantomData }
    }
}

impl<T> serde::de::Visitor<'_> for TextVisitor<T>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    type Value = T;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<T, E> {
        self.visit_str(if value { "true" } else { "false" })
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<T, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<T, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<T, E> {
        self.visit_str(&value.to_string())
    }
}

#[cfg(test)]
mod key_tests;
#[cfg(test)]
mod limit_tests;
#[cfg(test)]
mod tests;
