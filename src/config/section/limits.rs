//! `limits`: how often, or how much, somebody may ask; routes, hosts, plans and `server` use the names.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::scalar::{Amount, Moment, Quota, Rate};

/// One limit: exactly one of `rate` and `quota`, counted apart for everyone whom `by` tells apart.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// Who is counted apart: `gateway`, `route`, `host`, `tenant`, `caller`, `ip`, or a list of them. Requests without one of these share one count.
    pub by: By,
    /// How many requests in a second, minute, hour or day, coming evenly: `50/s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// With `rate`: how many may come at once. Left out: the number in the rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub burst: Option<u32>,
    /// How much in each hour, day or month: `100000/day`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
    /// With `quota`: when its hours, days or months begin. Left out: with the calendar's, in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor: Option<Moment>,
    /// With `quota`: what a request costs: `1`, `rows_read`, `bytes_read`, `response_bytes` or `seconds`. Left out: 1.
    #[serde(default, skip_serializing_if = "Cost::is_one")]
    pub cost: Cost,
    /// With `cost: rows_read` or `bytes_read`, and, if you like, `seconds`: what an answer costs that has no statistics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assume: Option<Amount>,
    /// Counts and reports, and refuses nobody.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// What a request costs of a quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cost {
    /// The bytes that the query read, as `statistics` in the answer says.
    BytesRead,
    /// One, whatever it does.
    #[default]
    One,
    /// The bytes of the answer's body, before it is compressed for the caller.
    ResponseBytes,
    /// The rows that the query read, as `statistics` in the answer says.
    RowsRead,
    /// The seconds that the query took, as `statistics` in the answer says; without them, the time until the answer began.
    Seconds,
}

impl Cost {
    const WORDS: [(Cost, &'static str); 5] = [
        (Cost::One, "1"),
        (Cost::BytesRead, "bytes_read"),
        (Cost::ResponseBytes, "response_bytes"),
        (Cost::RowsRead, "rows_read"),
        (Cost::Seconds, "seconds"),
    ];

    /// Whether every request costs the same.
    pub fn is_one(&self) -> bool {
        *self == Cost::One
    }

    /// Whether what an answer costs has to be assumed where it has no statistics: time is measured then.
    pub fn needs_assume(self) -> bool {
        matches!(self, Cost::BytesRead | Cost::RowsRead)
    }

    /// As it is written.
    pub fn word(self) -> &'static str {
        Cost::WORDS.iter().find(|(cost, _)| *cost == self).map_or("1", |(_, word)| word)
    }
}

impl FromStr for Cost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Cost::WORDS.iter().find(|(_, word)| *word == text);
        found
            .map(|(cost, _)| *cost)
            .ok_or_else(|| format!("`{text}` is not a cost: write 1, rows_read, bytes_read, response_bytes or seconds"))
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

crate::config::scalar::from_text!(Cost, "1, rows_read, bytes_read, response_bytes or seconds");
crate::config::scalar::as_text!(Cost);

/// Who is counted apart: everyone who differs in one of these. In the order of [`Dimension`], each once, never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By(Vec<Dimension>);

/// Something in which requests differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    /// Nothing: all requests are counted together.
    Gateway,
    /// The route, as it is written.
    Route,
    /// The host, as it is written under `hosts`.
    Host,
    /// Whose rows are asked for.
    Tenant,
    /// Whose credential it is.
    Caller,
    /// Where the request comes from: an IPv4 address, or the /64 of an IPv6 address.
    Ip,
}

impl Dimension {
    /// Every dimension.
    pub const ALL: [Dimension; 6] =
        [Dimension::Gateway, Dimension::Route, Dimension::Host, Dimension::Tenant, Dimension::Caller, Dimension::Ip];

    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Dimension::Gateway => "gateway",
            Dimension::Route => "route",
            Dimension::Host => "host",
            Dimension::Tenant => "tenant",
            Dimension::Caller => "caller",
            Dimension::Ip => "ip",
        }
    }
}

impl FromStr for Dimension {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Dimension::ALL.into_iter().find(|dimension| dimension.word() == text).ok_or_else(|| {
            format!("`{text}` tells nobody apart: write gateway, route, host, tenant, caller or ip, or a list of them")
        })
    }
}

crate::config::scalar::from_text!(Dimension, "gateway, route, host, tenant, caller or ip");

impl By {
    /// What is told apart.
    pub fn dimensions(&self) -> &[Dimension] {
        &self.0
    }

    /// Whether it can be counted before it is known who calls: by address, and by nothing that a credential says.
    pub fn is_by_address(&self) -> bool {
        self.0.contains(&Dimension::Ip) && !self.0.contains(&Dimension::Tenant) && !self.0.contains(&Dimension::Caller)
    }
}

impl<'de> Deserialize<'de> for By {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut dimensions = deserializer.deserialize_any(Dimensions)?;
        dimensions.sort_unstable();
        dimensions.dedup();
        match dimensions.as_slice() {
            [] => Err(D::Error::custom("`by` names nothing: write `gateway` to count all requests together")),
            [Dimension::Gateway, _, ..] => Err(D::Error::custom(
                "`gateway` counts all requests together: leave it out beside what tells them apart",
            )),
            _ => Ok(By(dimensions)),
        }
    }
}

/// One dimension, or a list of them: an item that is none is a mistake of its own.
struct Dimensions;

impl<'de> Visitor<'de> for Dimensions {
    type Value = Vec<Dimension>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("gateway, route, host, tenant, caller, ip, or a list of them")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        text.parse().map(|dimension| vec![dimension]).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut dimensions = Vec::new();
        while let Some(dimension) = items.next_element()? {
            dimensions.push(dimension);
        }
        Ok(dimensions)
    }
}

impl Serialize for By {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => serializer.serialize_str(one.word()),
            several => serializer.collect_seq(several.iter().map(|dimension| dimension.word())),
        }
    }
}
