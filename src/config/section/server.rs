//! `server`: threads, limits and time-outs of the gateway itself.

use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::scalar::{AddressRange, ByteSize, Period};

/// How the gateway treats connections and what it accepts on them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Worker threads, or `auto` for one per core.
    pub threads: Threads,
    /// How long requests in flight may go on after SIGTERM.
    pub drain: Period,
    /// Longest request target.
    pub max_uri: ByteSize,
    /// Largest header block: names and values together.
    pub max_headers: ByteSize,
    /// Largest request body of `proxy` routes. Parameter bodies of pipes are at most 60 KiB.
    pub max_body: ByteSize,
    /// How long an idle connection of a caller stays open.
    pub keepalive: Period,
    /// Proxies in front of the gateway whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<AddressRange>,
    /// Names from `limits` that hold for every request.
    pub limits: Vec<String>,
    /// When the gateway takes no more, so that what it has taken is served.
    pub overload: Overload,
}

/// How much the gateway takes at once, from all callers together. The admin address is always there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Overload {
    /// Connections of callers; one more is closed. Left out: three eighths of the open files that the system allows, 49152 at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub connections: Option<NonZeroU32>,
    /// Connections from one address, or from one /64 of IPv6; one more is closed. Trusted proxies may have any number. Left out: a quarter of `connections`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub connections_per_address: Option<NonZeroU32>,
    /// Requests on their way; one more is refused with 429. Left out: half of what `connections` is when it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub in_flight: Option<NonZeroU32>,
    /// Memory of the whole process; while it has more, requests are refused with 429 and new connections with 503. Left out: as much as there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
}

impl Default for Server {
    fn default() -> Self {
        Server {
            threads: Threads::Auto,
            drain: Period::of_millis(20_000),
            max_uri: ByteSize::of(16 << 10),
            max_headers: ByteSize::of(32 << 10),
            max_body: ByteSize::of(10 << 20),
            keepalive: Period::of_millis(60_000),
            trusted_proxies: Vec::new(),
            limits: Vec::new(),
            overload: Overload::default(),
        }
    }
}

/// A number of worker threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// One per core.
    Auto,
    /// This many.
    Count(NonZeroUsize),
}

impl FromStr for Threads {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Threads::Auto);
        }
        text.parse::<NonZeroUsize>()
            .ok()
            .filter(|count| count.get() <= 1024)
            .map(Threads::Count)
            .ok_or_else(|| format!("`{text}` is not a number of threads: write `auto` or 1 to 1024"))
    }
}

impl fmt::Display for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Threads::Auto => f.write_str("auto"),
            Threads::Count(count) => count.fmt(f),
        }
    }
}

impl Serialize for Threads {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Threads::Auto => serializer.serialize_str("auto"),
            Threads::Count(count) => count.serialize(serializer),
        }
    }
}

crate::config::scalar::from_text!(Threads, "`auto` or a number of threads");
