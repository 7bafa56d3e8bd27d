//! The bundled pipes: what they are called, take, answer and read.
//!
//! Out: `PIPES`, the single table from which requests are served, documents are written and the
//! command line prints its examples.
//! The tenant filters are optional, as in every public Tinybird demo: a missing or empty tenant
//! means all tenants.
//! **Not here**: the rows (`dataset`), running a pipe (`store`).

use super::parameter::{Kind, Parameter, Presence};

mod analytics;
mod probes;
mod shop;

/// One published endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Pipe {
    /// The name in `/v0/pipes/{name}.{format}`.
    pub name: &'static str,
    /// One line for people.
    pub description: &'static str,
    /// The query; parameters are written `:name`.
    pub sql: &'static str,
    /// What it takes.
    pub parameters: &'static [Parameter],
    /// What it answers.
    pub columns: &'static [Column],
    /// The tables it reads, each in full: there are no indexes to shorten a scan.
    pub tables: &'static [&'static str],
    /// What happens besides running the query.
    pub behaviour: Behaviour,
    /// A query string that shows something, without `?` and without a token.
    pub example: &'static str,
}

/// One column of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its type, in ClickHouse's words.
    pub kind: &'static str,
}

/// What a pipe does besides running its query.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Behaviour {
    /// Binds what it received as `:received`.
    Echoing,
    /// Fails on demand first and binds `:attempts`.
    Failing,
    /// Binds its parameters, nothing else; has no `LIMIT`.
    Querying,
    /// Ends with `LIMIT :limit`, up to 20000; the answer says how many rows there were before it.
    Ranking,
}

impl Pipe {
    /// Finds a pipe by name or by [`Pipe::id`], as the vendor does.
    pub(super) fn find(name: &str) -> Option<&'static Self> {
        PIPES.iter().find(|pipe| pipe.name == name || pipe.id() == name)
    }

    /// `t_` and 32 hexadecimal digits, the same in every run (FNV-1a over the name).
    pub fn id(&self) -> String {
        let hash = self.name.bytes().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, |hash, byte| {
            (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
        });
        format!("t_{hash:032x}")
    }
}

/// Every bundled pipe.
pub const PIPES: &[Pipe] = &[
    analytics::KPIS,
    analytics::TOP_PAGES,
    analytics::TOP_SOURCES,
    analytics::TOP_LOCATIONS,
    analytics::TOP_DEVICES,
    analytics::TREND,
    analytics::EVENTS_LIST,
    shop::TOP_10_PRODUCTS,
    shop::SALES_BY_PRODUCTS,
    probes::REQUIRED_DEMO,
    probes::ECHO_PARAMS,
    probes::FLAKY,
];

/// The largest `limit` a pipe accepts; more rows than there are.
pub(super) const MOST_ROWS: i64 = 20_000;

const fn column(name: &'static str, kind: &'static str) -> Column {
    Column { name, kind }
}

const fn parameter(name: &'static str, kind: Kind, presence: Presence, description: &'static str) -> Parameter {
    Parameter { name, kind, presence, description }
}

const FIRST_DAY: &str = "2026-01-01";
const LAST_DAY: &str = "2026-03-31";
const LIMIT: Parameter = parameter("limit", Kind::Int32, Presence::Default("10"), "How many rows, at most 20000");
