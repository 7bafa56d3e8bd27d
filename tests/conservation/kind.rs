//! What the load is made of: for each number one request, always the same.
//!
//! In: a number. Out: the bytes to send, what the caller does with them, and where they are to be counted. Not here:
//! sending (`caller`), what the upstream makes of it (`origin`).

use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::book::Key;
use crate::support::credentials::{claims_with, jwt};

/// Tenants that call.
pub(crate) const TENANTS: [&str; 5] = ["acme", "beta", "corp", "dune", "east"];
/// Of an upload.
const UPLOAD: usize = 3_000;
/// For reading by POST.
const PARAMETERS: &str = r#"{"limit":5,"from":"2026-11-01","to":"2026-11-30"}"#;

/// What somebody asks for, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The upstream closes in the middle of its answer.
    Cut,
    /// The upstream closes instead of an answer, each time.
    Dropped,
    /// The upstream says 500, each time.
    Failing,
    /// A token of somebody without a tenant, where rows are somebody's.
    Forbidden,
    /// An upstream that is not there.
    Gone,
    /// The caller leaves in the middle of the answer.
    LeftInAnswer,
    /// The caller leaves before there is an answer.
    LeftWaiting,
    /// The caller leaves in the middle of the parameters.
    LeftInParameters,
    /// The caller leaves in the middle of an upload.
    LeftInUpload,
    /// More than a limit allows.
    Limited,
    /// By a method that there is not.
    Method,
    /// No credential.
    Missing,
    /// No such path.
    Nowhere,
    /// Everybody may.
    Open,
    /// The upstream says 429 or 500 at first.
    Shaky,
    /// Of a tenant.
    Top,
    /// Of a tenant, in gzip.
    TopGzip,
    /// Of a tenant, the head alone.
    TopHead,
    /// Of a tenant, with its parameters in a body.
    TopPost,
    /// Of a tenant, with bytes for the upstream.
    Upload,
    /// A token with the wrong signature.
    Wrong,
}

use Kind::{
    Cut, Dropped, Failing, Forbidden, Gone, LeftInAnswer, LeftInParameters, LeftInUpload, LeftWaiting, Limited, Method,
    Missing, Nowhere, Open, Shaky, Top, TopGzip, TopHead, TopPost, Upload, Wrong,
};

/// How many of a thousand.
const MIX: [(Kind, u64); 21] = [
    (Open, 150),
    (Top, 250),
    (TopGzip, 120),
    (TopPost, 90),
    (TopHead, 20),
    (Upload, 50),
    (Missing, 50),
    (Wrong, 20),
    (Forbidden, 20),
    (Nowhere, 50),
    (Method, 20),
    (Limited, 60),
    (Shaky, 25),
    (Failing, 5),
    (Gone, 10),
    (Dropped, 10),
    (Cut, 15),
    (LeftWaiting, 10),
    (LeftInAnswer, 10),
    (LeftInUpload, 8),
    (LeftInParameters, 7),
];

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) kind: Kind,
    pub(crate) number: usize,
    /// Whose credential it has, if that is good.
    pub(crate) tenant: &'static str,
    /// All that is sent, or what is sent before the caller leaves.
    pub(crate) bytes: Vec<u8>,
    /// Of the body.
    pub(crate) body: usize,
}

/// Tokens, so that none has to be signed for each request.
#[derive(Debug)]
pub(crate) struct Tokens {
    of_tenants: Vec<String>,
    without_tenant: String,
    wrong: String,
}

impl Tokens {
    pub(crate) fn new() -> Self {
        let hours = SystemTime::now() + Duration::from_secs(8 * 3_600);
        let exp = hours.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
        let token = |tenant| jwt(&claims_with(&json!({ "org_id": tenant, "exp": exp })));
        let good = token(json!("acme"));
        Tokens {
            of_tenants: TENANTS.map(|tenant| token(json!(tenant))).to_vec(),
            without_tenant: token(json!(null)),
            wrong: format!("{}{}", &good[..good.len() - 43], "A".repeat(43)),
        }
    }
}

impl Request {
    /// The request with this number.
    pub(crate) fn of(number: usize, tokens: &Tokens) -> Self {
        let dice = scattered(number as u64);
        let kind = kind(dice % 1_000);
        let at = (dice >> 32) as usize % TENANTS.len();
        let token = match kind {
            Missing | Nowhere | Open | Method => None,
            Forbidden => Some(&tokens.without_tenant),
            Wrong => Some(&tokens.wrong),
            _ => Some(&tokens.of_tenants[at]),
        };
        let tenant =
            if matches!(kind, Missing | Nowhere | Open | Method | Forbidden | Wrong) { "" } else { TENANTS[at] };
        let (method, path) = kind.target();
        let mut head = format!("{method} {path}?n={number} HTTP/1.1\r\nHost: gateway\r\n");
        if let Some(token) = token {
            head += &format!("Authorization: Bearer {token}\r\n");
        }
        if kind == TopGzip {
            head += "Accept-Encoding: gzip\r\n";
        }
        let body = kind.body(number);
        if !body.is_empty() {
            let content =
                if matches!(kind, Upload | LeftInUpload) { "application/x-ndjson" } else { "application/json" };
            head += &format!("Content-Type: {content}\r\nContent-Length: {}\r\n", body.len());
        }
        if kind == LeftInParameters {
            // The answer to it says that the gateway has the head.
            head += "Expect: 100-continue\r\n";
        }
        let sent = if matches!(kind, LeftInParameters | LeftInUpload) { body.len() / 2 } else { body.len() };
        let bytes = [head.as_bytes(), b"\r\n", &body.as_bytes()[..sent]].concat();
        Request { kind, number, tenant, bytes, body: sent }
    }

    /// Where it is counted when it is answered like this.
    pub(crate) fn key(&self, status: u16) -> Key {
        let route = match self.kind {
            Nowhere => "",
            _ => self.kind.target().1,
        };
        Key { tenant: self.tenant, route, class: u8::try_from(status / 100).expect("a digit") }
    }

    /// Statuses that may become of it.
    pub(crate) fn statuses(&self) -> &'static [u16] {
        match self.kind {
            Cut | LeftInAnswer | Open | Top | TopGzip | TopHead | TopPost => &[200],
            Dropped | Gone => &[502],
            Failing => &[500],
            Forbidden => &[403],
            LeftInParameters | LeftInUpload | LeftWaiting => &[499],
            Limited => &[200, 429],
            Method => &[405],
            Missing => &[401],
            Nowhere => &[404],
            // Where retries are spent, the upstream's own answer passes.
            Shaky => &[200, 429, 500],
            Upload => &[202],
            // Who sends many is told to wait.
            Wrong => &[401, 429],
        }
    }

    /// Whether the upstream says what the answer cost, where it answers.
    pub(crate) fn cost(&self) -> Option<(u64, u64)> {
        matches!(self.kind, Limited | Shaky | Top | TopGzip | TopPost).then(|| cost(self.number))
    }

    /// Whether such an answer is the gateway's own, or one that the upstream broke off.
    pub(crate) fn is_refused(&self, status: u16) -> bool {
        match self.kind {
            Cut | Dropped | Forbidden | Gone | Method | Missing | Nowhere | Wrong => true,
            Limited => status == 429,
            Failing | LeftInAnswer | LeftInParameters | LeftInUpload | LeftWaiting | Open | Shaky | Top | TopGzip
            | TopHead | TopPost | Upload => false,
        }
    }

    /// Bytes of the body that the gateway takes, whatever it answers.
    pub(crate) fn taken(&self, status: u16) -> u64 {
        match status {
            401 | 403 | 404 | 405 | 429 => 0,
            _ => self.body as u64,
        }
    }
}

/// Rows and bytes that a query reads.
pub(crate) fn cost(number: usize) -> (u64, u64) {
    let rows = number as u64 % 97 + 1;
    (rows, rows * 24)
}

impl Kind {
    fn target(self) -> (&'static str, &'static str) {
        match self {
            Cut => ("GET", "/cut"),
            Dropped => ("GET", "/dropped"),
            Failing => ("GET", "/failing"),
            Forbidden | Missing | Top | TopGzip | Wrong => ("GET", "/top"),
            Gone => ("GET", "/gone"),
            LeftInAnswer => ("GET", "/half"),
            LeftInParameters => ("POST", "/parameters"),
            LeftInUpload => ("POST", "/broken"),
            LeftWaiting => ("GET", "/left"),
            Limited => ("GET", "/limited"),
            Method => ("PUT", "/open"),
            Nowhere => ("GET", "/nowhere"),
            Open => ("GET", "/open"),
            Shaky => ("GET", "/shaky"),
            TopHead => ("HEAD", "/top"),
            TopPost => ("POST", "/top"),
            Upload => ("POST", "/upload"),
        }
    }

    fn body(self, number: usize) -> String {
        match self {
            LeftInParameters | TopPost => PARAMETERS.to_owned(),
            LeftInUpload | Upload => "x".repeat(UPLOAD + number % 100),
            _ => String::new(),
        }
    }
}

fn kind(mut at: u64) -> Kind {
    for (kind, share) in MIX {
        if at < share {
            return kind;
        }
        at -= share;
    }
    panic!("shares make a thousand");
}

/// SplitMix64: neighbours have nothing in common.
fn scattered(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
