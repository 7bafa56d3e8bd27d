//! The text of a file that has no tree, without what may be a credential.
//!
//! In: a text that is not YAML. Out: the same with stars. Nothing is known of
//! what the lines mean, so only values of well-known keys are shown, and
//! variables. Not here: files that parse (`mask`).

use super::{WORDS_OF_AUTH, stars};

/// Keys whose values are no credentials; of what is written behind any other nothing is shown.
const PLAIN: [&str; 62] = [
    "access",
    "address",
    "allow",
    "allow_public_tenant",
    "anchor",
    "assume",
    "attempt",
    "attempts",
    "base",
    "budget",
    "burst",
    "by",
    "ca",
    "concurrency",
    "conflict",
    "connect",
    "cost",
    "credentials",
    "default_plan",
    "dir",
    "drain",
    "dry_run",
    "error_text",
    "format",
    "formats",
    "hosts",
    "idle",
    "include",
    "keepalive",
    "level",
    "limits",
    "listeners",
    "max",
    "max_age",
    "max_body",
    "max_counters",
    "max_headers",
    "max_uri",
    "methods",
    "on",
    "on_counter_failure",
    "origins",
    "pass_headers",
    "pipe",
    "plan",
    "plans",
    "proxy",
    "queue",
    "quota",
    "rate",
    "routes",
    "sample",
    "strip",
    "tenant",
    "threads",
    "tinybird_api",
    "total",
    "trusted_proxies",
    "upstream",
    "url",
    "urls",
    "wait",
];

/// Keys whose values are credentials, though they begin on the next line.
const CREDENTIALS: [&str; 3] = ["key", "secret", "token"];

/// The text with stars for what stands behind any colon, but for what is well known.
pub(in crate::config) fn mask_lines(text: &str) -> String {
    let mut spans = Vec::new();
    let mut start = 0;
    let mut around = Around::default();
    for line in text.split_inclusive('\n') {
        if let Some(at) = around.hidden_from(line) {
            spans.push(start + at..start + line.len());
        }
        start += line.len();
    }
    stars(text, &spans)
}

/// What the lines above say of a line.
#[derive(Default)]
struct Around {
    /// The indentation of a key whose value is hidden: deeper lines go on with it.
    hidden: Option<usize>,
    /// The indentation of `headers:`, whose keys may have any name.
    headers: Option<usize>,
    /// Whether the last key has a value that is well known.
    is_plain: bool,
}

impl Around {
    /// Where in a line begins what must not be shown.
    fn hidden_from(&mut self, line: &str) -> Option<usize> {
        let content = line.trim_start();
        let indentation = line.len() - content.len();
        if content.is_empty() {
            return None;
        }
        if self.hidden.is_some_and(|key| indentation > key) {
            return Some(indentation);
        }
        self.hidden = None;
        if self.headers.is_some_and(|key| indentation <= key) {
            self.headers = None;
        }
        let remark = remark(line);
        let code = line.get(..remark.unwrap_or(line.len())).unwrap_or_default().trim_end();
        let hidden = if code.trim().is_empty() { None } else { self.hidden_in(code, indentation) };
        hidden.or(remark)
    }

    fn hidden_in(&mut self, code: &str, indentation: usize) -> Option<usize> {
        let mut keys = Keys { code, from: 0, within: Within::Nothing };
        let mut found = false;
        let mut in_headers = self.headers.is_some();
        while let Some((key, behind)) = keys.next_key() {
            found = true;
            let value = code.get(behind..).unwrap_or_default();
            let begins = behind + value.len() - value.trim_start().len();
            let value = value.trim_start();
            let is_plain = !in_headers && (PLAIN.contains(&key) || key.starts_with('/'));
            self.is_plain = is_plain;
            if key == "headers" {
                self.headers = Some(indentation);
                in_headers = true;
            }
            let is_plain = is_plain || (key == "auth" && WORDS_OF_AUTH.contains(&first(value)));
            let is_named = CREDENTIALS.contains(&key) || (in_headers && key != "headers");
            match value {
                "" if is_named => self.hidden = Some(indentation),
                "" => {}
                // Other keys, which are looked at in turn.
                _ if value.starts_with('{') && !is_named && (value == "{" || value.contains([':', '}'])) => {
                    if !value.contains(':') && value.contains(char::is_alphanumeric) {
                        return Some(begins + 1);
                    }
                }
                // A password may stand before it, with any characters.
                _ if is_plain && value.contains('@') => return Some(begins),
                _ if is_plain => match value.find(['?', '#']) {
                    Some(at) => return Some(begins + at + 1),
                    None => keys.within = if value.starts_with('[') { Within::List } else { Within::Text },
                },
                _ => match behind_variable(value) {
                    Shown::All => return None,
                    Shown::Until(end) => keys.from = begins + end,
                    Shown::Default(at) => {
                        self.hidden = Some(indentation);
                        return Some(begins + at);
                    }
                    Shown::Nothing => {
                        self.hidden = Some(indentation);
                        return Some(behind);
                    }
                },
            }
        }
        // An item of a list, or what closes a bracket, says what its key says; anything else may be anything.
        let item = code.trim_start();
        let is_harmless = (item.starts_with("- ") && self.is_plain && !item.contains(['@', '?']))
            || item.chars().all(|c| "[]{},-.".contains(c));
        (!found && !is_harmless).then_some(indentation)
    }
}

/// A value up to what ends it between brackets.
fn first(value: &str) -> &str {
    value.split([',', '}', ']']).next().unwrap_or_default().trim()
}

/// How much of a value is no more than a variable or the name of a file.
enum Shown {
    All,
    /// A variable up to here, and its default behind that.
    Default(usize),
    Nothing,
    /// A variable up to here, and other keys behind that.
    Until(usize),
}

fn behind_variable(value: &str) -> Shown {
    let unquoted = value.trim_start_matches(['"', '\'']);
    let quotes = value.len() - unquoted.len();
    if unquoted.starts_with("file://") {
        return if unquoted.contains([' ', ',']) { Shown::Nothing } else { Shown::All };
    }
    let Some(inside) = unquoted.strip_prefix("${") else { return Shown::Nothing };
    let name = inside.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inside.len());
    let behind = inside.get(name..).unwrap_or_default();
    if behind.starts_with(":-") {
        return Shown::Default(quotes + "${".len() + name + ":-".len());
    }
    let Some(behind) = behind.strip_prefix('}').filter(|_| name > 0) else { return Shown::Nothing };
    match behind.trim_start_matches(['"', '\'']).trim_start() {
        "" => Shown::All,
        rest if rest.starts_with([',', '}', ']']) => Shown::Until(value.len() - rest.len()),
        _ => Shown::Nothing,
    }
}

/// The keys of a line, and where each one's value begins.
struct Keys<'a> {
    code: &'a str,
    from: usize,
    within: Within,
}

/// What comes first behind a key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    /// The value of a well-known key: a list of texts, in which colons may stand.
    List,
    Nothing,
    /// The value of a well-known key, in which a colon may stand.
    Text,
}

impl<'a> Keys<'a> {
    fn next_key(&mut self) -> Option<(&'a str, usize)> {
        let rest = self.code.get(self.from..)?;
        let begins = rest.len() - rest.trim_start().len();
        let mut word = 0;
        for (at, c) in rest.char_indices() {
            let behind = rest.get(at + c.len_utf8()..).unwrap_or_default();
            match c {
                '{' if behind.starts_with("path.") => {}
                '{' | '}' | '[' | ']' | ',' => {
                    word = at + 1;
                    let ends = match c {
                        ']' => !behind.starts_with(':'),
                        ',' => self.within == Within::Text,
                        _ => c == '{',
                    };
                    self.within = if ends { Within::Nothing } else { self.within };
                }
                ' ' | '\t' if at >= begins && self.within != Within::Nothing => {
                    word = at;
                    self.within = if self.within == Within::List { Within::List } else { Within::Nothing };
                }
                ':' => {
                    let key = rest.get(word..at).unwrap_or_default().trim();
                    let key = key.trim_start_matches(['-', '?', ' ']).trim_matches(['"', '\'']);
                    let joins = !behind.is_empty() && !behind.starts_with([' ', '\t']);
                    if self.within != Within::Nothing && joins && !CREDENTIALS.contains(&key) {
                        continue;
                    }
                    self.from += at + 1;
                    self.within = Within::Nothing;
                    return Some((key, self.from));
                }
                _ => {}
            }
        }
        None
    }
}

/// Where the remark of a line begins, behind its `#`.
fn remark(line: &str) -> Option<usize> {
    let marks = line.match_indices('#').map(|(at, _)| at);
    let mut begins =
        marks.filter(|at| line.get(..*at).is_some_and(|before| before.trim_end() != before || before.is_empty()));
    begins.next().map(|at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MISWRITTEN: &[&str] = &[
        "\"token\":SECRET",
        "token : SECRET",
        "token:SECRET",
        "token: SECRET",
        "token: # SECRET",
        "token: ${X} # SECRET",
        "token: ${X}SECRET",
        "token: ${X:-SECRET}",
        "token: ${p.SECRET",
        "token: ${p.SECRET}",
        "token: \"SECRET",
        "token: {SECRET}",
        "token: { SECRET",
        "token: [SECRET, x]",
        "token: | SECRET",
        "token: file://x SECRET",
        "token: file://x, tokn: SECRET",
        "token:\n      SECRET",
        "token:\n    - SECRET",
        "token: |\n      a: SECRET",
        "token: a\n      url: SECRET",
        "tokn: SECRET",
        "tokn:\n      SECRET",
        "tokn: { SECRET }",
        "tokn: { a: SECRET }",
        "? token\n    : SECRET",
        "token = SECRET",
        "token SECRET",
        "- SECRET",
        "# token: SECRET",
        "#SECRET",
        "auth: Bearer SECRET",
        "auth: token SECRET",
        "url: x # SECRET",
        "url: https://x token: SECRET",
        "url: https://x, token:SECRET",
        "url: https://x, tokn: SECRET",
        "url:token:SECRET",
        "url: token:SECRET",
        "url: https://u:SECRET@h",
        "url: https://u:SEC SECRET@h",
        "url: h?SECRET",
        "url: \"https://h/#SECRET",
        "url: x\n      SECRET",
        "{ url: https://x:80, token: SECRET",
        "{ token: ${X}, tokn: SECRET }",
        "{ token: \"${X}\" , \"tokn\": SECRET }",
        "origins: [a, token: SECRET",
        "headers: SECRET",
        "headers: { A: SECRET }",
        "headers: [A: SECRET]",
        "headers:\n      A: SECRET",
        "headers:\n      url: SECRET",
        "headers:\n      A:\n        SECRET",
        "headers:\n    - A: SECRET",
        "Authorization: Bearer SECRET",
        "counters: redis://:SECRET@h",
        "counters: \"rediss://u:SECRET@h:1/0",
        "counters: redis://:SECRET",
        "counters: SECRET",
        "store: postgres://u:SECRET@h/d",
        "{ dir: x, counters: redis://:SECRET@h",
        "counters: ${X:-redis://:SECRET@h}",
    ];

    #[test]
    fn no_way_to_miswrite_a_credential_shows_it() {
        for line in MISWRITTEN {
            for text in [format!("    {line}"), format!("upstreams:\n  a:\n    {line}\nroutes:\n")] {
                let shown = mask_lines(&text);
                assert!(!shown.contains("SECRET"), "{text}\nis shown as\n{shown}");
                assert_eq!(shown.len(), text.len(), "{text}");
            }
        }
    }

    #[test]
    fn what_is_no_credential_stays_to_be_read() {
        for text in [
            "upstreams:\n  a:\n    url: https://a.example.com:8080/base\n    token: ${TOKEN}\n    token: \"${TOKEN}\"\n",
            "    token: file:///run/secrets/a\n",
            "  a: { url: \"https://a.example.com\", token: ${T}, auth: token ]\n",
            "listeners:\n  - address: 0.0.0.0:8080\n  - address: [::]:8080\n",
            "  /a/{b}.csv: { pipe: \"x_{path.b}\", methods: [GET, POST]\n  /b: *b\n  /api/*: { proxy: /v1/{path.rest} }\n",
            "cors: { origins: [https://*.acme.com, *.acme.com, http://b] }\n",
            "    allow:\n      - limit\n      - page\n    }\n",
            "    timeouts: { connect: 2s, total: 5s\n    retry: {\n      attempts: 3 }\n",
        ] {
            assert_eq!(mask_lines(text), text);
        }
    }
}
