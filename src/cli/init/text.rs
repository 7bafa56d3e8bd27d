//! The text of a first configuration.
//!
//! In: facts and routes. Out: YAML that a person reads. Every text that came
//! from elsewhere stands in quotes or in a one-line comment, so that no document
//! can write YAML. Not here: where it goes (`files`).

use std::fmt::Write as _;

use crate::config::scalar::Endpoint;
use crate::config::section::routes::Format;
use crate::upstream::catalogue::Parameter;

use super::files::{CONFIG, SCHEMA, VARIABLES};
use super::import::{Import, NewRoute};

/// Longer comments are cut.
const MAX_COMMENT: usize = 100;
/// As [`MAX_COMMENT`], for a default inside one.
const MAX_DEFAULT: usize = 40;

/// What a configuration needs to know.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) url: Endpoint,
    /// The variable with the token.
    pub(super) variable: String,
}

/// The text of `tollgate.yaml`.
pub(super) fn configuration(facts: &Facts, import: Option<&Import>) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "# yaml-language-server: $schema=./{SCHEMA}");
    let _ = write!(
        text,
        "\
# Written by `tollgate init`, and yours from now on. After a change: tollgate check {CONFIG}

# Where callers connect. With 0.0.0.0:8080 other machines can, too, and may call every route below.
listeners:
  - address: 127.0.0.1:8080

upstreams:
  tinybird:
    url: {url}
    # Comes from the environment (see {VARIABLES}); callers never see it.
    token: ${{{variable}}}

",
        url = scalar(&facts.url.to_string()),
        variable = facts.variable,
    );
    text.push_str(CALLERS);
    match import {
        None => text.push_str(EXAMPLE),
        Some(import) => {
            let _ = write!(
                text,
                "\
# One route for each pipe of {}
# A parameter that does not stand under `allow` does not reach the pipe. POST is open where the document
# describes it; without `methods` a route takes GET, HEAD and POST.
routes:
",
                comment(&import.source, MAX_COMMENT),
            );
            import.routes.iter().for_each(|new| route(&mut text, new));
        }
    }
    text
}

const CALLERS: &str = "\
# Who may call. Without this, everybody may call every route below.
# auth:
#   partners: { type: api_key, keys: ./keys.yaml }     # tollgate keys create -f keys.yaml --tenant acme
#   staff:                                             # or tokens of your identity provider
#     { type: jwt, issuer: \"https://id.example.com/\", audience: analytics, tenant: \"{claims.org_id}\" }
# default_auth: [partners, staff]

";

const EXAMPLE: &str = "\
# Which paths exist. This one answers GET /top-10-products?limit=5 from the pipe `top-10-products`: put yours here.
routes:
  /top-10-products:
    pipe: top-10-products
    # formats: [json, csv]            # opens /top-10-products.json and .csv, too
    # params:
    #   allow: [limit]                # other parameters do not reach the pipe
    #   fixed: { company_id: acme }   # always wins over the caller's; with `auth`, \"{tenant}\" is each caller's own
";

/// The text of `.env.example`.
pub(super) fn variables(facts: &Facts) -> String {
    format!(
        "\
# What {CONFIG} takes from the environment. Fill in a copy, and keep that out of version control:
#   cp {VARIABLES} .env
#   set -a; . ./.env; set +a

# The token for {}: it must be able to read the pipes, and nothing else.
{}=
",
        facts.url, facts.variable
    )
}

fn route(text: &mut String, new: &NewRoute) {
    if let Some(description) = &new.description {
        let _ = writeln!(text, "  # {}", comment(description, MAX_COMMENT));
    }
    let _ = writeln!(text, "  {}:\n    pipe: {}", scalar(&format!("/{}", new.pipe)), scalar(&new.pipe));
    // Json alone is what a route without `formats` answers.
    if new.formats != [Format::Json] {
        let formats: Vec<&str> = new.formats.iter().map(|format| format.extension()).collect();
        let _ = writeln!(text, "    formats: [{}]", formats.join(", "));
    }
    let methods = match (new.get, new.post) {
        (true, true) => None,
        (false, true) => Some("[POST]"),
        (_, false) => Some("[GET, HEAD]"),
    };
    if let Some(methods) = methods {
        let _ = writeln!(text, "    methods: {methods}");
    }
    text.push_str("    params:\n");
    match new.allow.is_empty() {
        true => text.push_str("      allow: []\n"),
        false => text.push_str("      allow:\n"),
    }
    for parameter in &new.allow {
        let _ = writeln!(text, "        - {}{}", scalar(&parameter.name), remark(parameter));
    }
    if !new.left_out.is_empty() {
        let names = comment(&new.left_out.join(", "), MAX_COMMENT);
        let _ = writeln!(text, "      # Left out, because they are not the pipe's but the engine's: {names}");
    }
}

/// What is known of a parameter, as a comment behind it.
fn remark(parameter: &Parameter) -> String {
    let mut words = Vec::new();
    words.extend(parameter.description.as_ref().map(|text| comment(text, MAX_COMMENT)));
    words.extend(parameter.required.then(|| "required".to_owned()));
    words.extend(parameter.default.as_ref().map(|text| format!("default {}", comment(text, MAX_DEFAULT))));
    words.retain(|words| !words.is_empty());
    if words.is_empty() { String::new() } else { format!("  # {}", words.join("; ")) }
}

/// Words that YAML 1.1 or 1.2 tools take for something else than text.
const NO_TEXT: [&str; 9] = ["false", "n", "no", "null", "off", "on", "true", "y", "yes"];

/// A text as a YAML scalar that means nothing but itself, also to the variables of the configuration.
fn scalar(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "/_.:-".contains(c))
        && !text.ends_with(':')
        && !NO_TEXT.contains(&text.to_ascii_lowercase().as_str());
    match plain {
        true => text.to_owned(),
        // JSON's strings are YAML's double-quoted ones.
        false => serde_json::Value::from(text.replace('$', "$$")).to_string(),
    }
}

/// A text on one line, without what would end the line or show it differently, and not too long.
pub(super) fn comment(text: &str, most: usize) -> String {
    let readable = |c: char| if is_shown(c) { c } else { ' ' };
    let line: String = text.chars().take(10 * most).map(readable).collect();
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default().trim_end()),
        None => line,
    }
}

/// Not controls, line breaks of any alphabet, marks that turn the direction of text, or what YAML cannot hold.
fn is_shown(c: char) -> bool {
    let hidden = matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{e000}'..='\u{f8ff}' | '\u{feff}' | '\u{fff0}'..='\u{ffff}' | '\u{e0000}'..='\u{10ffff}');
    !c.is_control() && !hidden
}
