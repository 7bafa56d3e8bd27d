//! What betrays an upstream or the gateway, and where it stands in an answer.
//!
//! In: a configuration and words of the operator; answers. Out: findings, each
//! with the text around it, in which configured credentials are `***`. Not here:
//! which answers there are (`calls`).

use std::collections::BTreeSet;
use std::net::IpAddr;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder};

use crate::config::Config;
use crate::config::scalar::{Endpoint, Secret};

use super::wire::Answer;

/// Names that are in no answer of a white label.
const NAMES: [&str; 4] = ["clickhouse", "pingora", "tinybird", "tollgate"];

/// Headers by which servers and what stands before them are known.
const HEADERS: [&str; 18] = [
    "alt-svc",
    "cf-cache-status",
    "cf-ray",
    "nel",
    "report-to",
    "server",
    "server-timing",
    "set-cookie",
    "via",
    "x-aspnet-version",
    "x-backend-server",
    "x-cache",
    "x-generator",
    "x-powered-by",
    "x-runtime",
    "x-served-by",
    "x-tb-request-id",
    "x-varnish",
];

/// How such headers begin.
const PREFIXES: [&str; 7] = ["x-amz-", "x-amzn-", "x-clickhouse-", "x-db-", "x-envoy-", "x-tb-", "x-goog-"];

/// Shorter credentials would be found by chance.
const MIN_SECRET: usize = 16;
/// Bytes of an answer that are shown on each side of what was found.
const AROUND: usize = 40;
/// Findings in one body: more of the same say nothing more.
const MAX_IN_BODY: usize = 5;

/// Everything that is looked for.
#[derive(Debug)]
pub(super) struct Brand {
    needles: Option<AhoCorasick>,
    words: Vec<Word>,
    secrets: Vec<String>,
}

#[derive(Debug)]
struct Word {
    text: String,
    bounds: Bounds,
    /// How it is called in a finding.
    shown: String,
}

/// What may stand around a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bounds {
    /// Anything: `MyTinybird` names it, too.
    None,
    /// Nothing that a host name goes on with: `db` is no part of `dbms`.
    Whole,
}

/// Something that betrays.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    /// The part of the answer.
    pub(super) place: String,
    /// What stands there.
    pub(super) word: String,
    /// The text around it.
    pub(super) context: String,
}

impl Brand {
    pub(super) fn of(config: &Config, given: &[String]) -> Self {
        let named = |text: &str, what: &str| Word {
            text: text.to_ascii_lowercase(),
            bounds: Bounds::None,
            shown: format!("{what} `{text}`"),
        };
        let mut words: Vec<Word> = NAMES.iter().map(|name| named(name, "the name")).collect();
        words.extend(given.iter().filter(|word| !word.trim().is_empty()).map(|word| named(word.trim(), "the word")));
        let secrets: Vec<String> =
            secrets(config).map(|secret| secret.expose().to_owned()).filter(|text| text.len() >= MIN_SECRET).collect();
        words.extend(secrets.iter().map(|text| Word {
            text: text.to_ascii_lowercase(),
            bounds: Bounds::None,
            shown: "a configured credential".to_owned(),
        }));
        words.extend(hosts(config).into_iter().map(|host| Word {
            shown: format!("the upstream's host `{host}`"),
            text: host,
            bounds: Bounds::Whole,
        }));
        // Constants and words: they make an automaton.
        let mut needles = AhoCorasickBuilder::new();
        let needles = needles.ascii_case_insensitive(true).build(words.iter().map(|word| &word.text)).ok();
        Brand { needles, words, secrets }
    }

    /// Everything that betrays in an answer.
    pub(super) fn find(&self, answer: &Answer) -> Vec<Finding> {
        let mut found = self.find_in("the status line", answer.line.as_bytes());
        for (name, value) in &answer.headers {
            let lower = name.to_ascii_lowercase();
            let is_telling = HEADERS.contains(&lower.as_str()) || PREFIXES.iter().any(|start| lower.starts_with(start));
            let place = format!("the header `{}`", printable(name.as_bytes()));
            if is_telling {
                let word = "a header by which servers are known".to_owned();
                found.push(Finding { place, word, context: self.shown(format!("{name}: {value}").as_bytes()) });
            } else {
                found.extend(self.find_in(&place, format!("{name}: {value}").as_bytes()));
            }
        }
        found.extend(self.find_in("the body", &answer.body).into_iter().take(MAX_IN_BODY));
        found
    }

    fn find_in(&self, place: &str, text: &[u8]) -> Vec<Finding> {
        let matches = self.needles.iter().flat_map(|needles| needles.find_overlapping_iter(text));
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        for hit in matches {
            let Some(word) = self.words.get(hit.pattern().as_usize()) else { continue };
            let inside = word.bounds == Bounds::Whole && !is_whole(text, hit.start(), hit.end());
            if inside || !seen.insert(hit.pattern()) {
                continue;
            }
            let around = hit.start().saturating_sub(AROUND)..hit.end().saturating_add(AROUND).min(text.len());
            let context = self.shown(text.get(around).unwrap_or_default());
            found.push(Finding { place: place.to_owned(), word: word.shown.clone(), context });
        }
        found
    }

    /// In one line, without control characters and without credentials.
    fn shown(&self, text: &[u8]) -> String {
        let text = printable(text);
        self.secrets.iter().fold(text, |text, secret| match hides(&text, secret) {
            true => "***".to_owned(),
            false => text,
        })
    }
}

/// Whether a text that was cut holds a part of a credential that says much of it.
fn hides(text: &str, secret: &str) -> bool {
    let bytes = secret.as_bytes();
    let lower = text.to_ascii_lowercase();
    bytes
        .windows(MIN_SECRET / 2)
        .any(|part| std::str::from_utf8(part).is_ok_and(|part| lower.contains(&part.to_ascii_lowercase())))
}

fn printable(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn is_whole(text: &[u8], start: usize, end: usize) -> bool {
    let goes_on = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let before = start.checked_sub(1).and_then(|at| text.get(at));
    !before.is_some_and(goes_on) && !text.get(end).is_some_and(goes_on)
}

/// The upstreams' hosts. An address, and a name that every machine has, says nothing without its port.
fn hosts(config: &Config) -> BTreeSet<String> {
    let host = |endpoint: &Endpoint| {
        let host = endpoint.host();
        let is_common = host == "localhost" || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        if is_common { endpoint.authority() } else { host.to_owned() }.to_ascii_lowercase()
    };
    // What callers know already.
    let own: BTreeSet<&str> = config.hosts.keys().map(|pattern| pattern.as_str()).collect();
    config
        .upstreams
        .values()
        .flat_map(|upstream| upstream.endpoints())
        .map(host)
        .filter(|host| !own.contains(host.as_str()))
        .collect()
}

fn secrets(config: &Config) -> impl Iterator<Item = &Secret> {
    let upstreams = config.upstreams.values();
    let own = upstreams.clone().flat_map(|upstream| upstream.token.iter().chain(upstream.headers.values()));
    let mints = upstreams.filter_map(|upstream| upstream.mint.as_ref()).map(|mint| &mint.secret);
    own.chain(mints).chain(config.auth.values().filter_map(|provider| provider.secret.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brand(words: &[&str]) -> Brand {
        let text = "upstreams: { t: { url: 'https://warehouse.acme.internal/api', token: a-token-of-the-upstream-01 } }
routes: { /a: { pipe: a } }";
        let environment = crate::config::interpolate::Environment::of([]);
        let loaded = crate::config::load_text("test.yaml", text, std::path::PathBuf::new(), &environment).unwrap();
        Brand::of(&loaded.config, &words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    fn answer(headers: &[(&str, &str)], body: &str) -> Answer {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Answer { line: "HTTP/1.1 200 OK".to_owned(), status: 200, headers, body: body.as_bytes().to_vec() }
    }

    fn places(brand: &Brand, answer: &Answer) -> Vec<(String, String)> {
        brand.find(answer).into_iter().map(|finding| (finding.place, finding.word)).collect()
    }

    #[test]
    fn names_hosts_words_and_headers_are_found_wherever_they_stand() {
        let brand = brand(&["secret-sauce", " "]);
        let clean = answer(&[("Content-Type", "application/json"), ("X-Request-Id", "1")], r#"{"data":[]}"#);
        assert_eq!(places(&brand, &clean), []);
        for (headers, body, place) in [
            (&[][..], "see TinyBird docs", "the body"),
            (&[][..], "powered by Tollgate", "the body"),
            (&[][..], "no route to warehouse.acme.internal:443", "the body"),
            (&[][..], "the Secret-Sauce", "the body"),
            (&[("Server", "nginx")][..], "", "the header `Server`"),
            (&[("X-DB-Exception-Code", "62")][..], "", "the header `X-DB-Exception-Code`"),
            (&[("Location", "https://WAREHOUSE.acme.internal/x")][..], "", "the header `Location`"),
            (&[("X-ClickHouse-Format", "JSON")][..], "", "the header `X-ClickHouse-Format`"),
            (&[("Access-Control-Expose-Headers", "X-Tinybird")][..], "", "the header `Access-Control-Expose-Headers`"),
        ] {
            let found = places(&brand, &answer(headers, body));
            assert_eq!(found.first().map(|(place, _)| place.as_str()), Some(place), "{headers:?} {body}: {found:?}");
        }
        assert_eq!(places(&brand, &answer(&[], "data-warehouse.acme.internals")), [], "another host");
        let mut reason = clean;
        reason.line = "HTTP/1.1 200 Pingora says".to_owned();
        assert_eq!(places(&brand, &reason).len(), 1);
    }

    #[test]
    fn a_credential_is_found_and_not_shown() {
        let brand = brand(&[]);
        let found = brand.find(&answer(&[], "it is a-token-of-the-upstream-01 and \u{1b}[31m tinybird"));
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|finding| !finding.context.contains("of-the-upstream")), "{found:?}");
        let near = format!("a-token-of-the-upstream-01{}tinybird", "x".repeat(AROUND - 10));
        for finding in brand.find(&answer(&[], &near)) {
            assert!(!finding.context.contains("upstream-01"), "{finding:?}");
        }
        assert!(brand.find(&answer(&[], "tinybird\u{1b}[31m"))[0].context.chars().all(|c| !c.is_control()));
    }
}
