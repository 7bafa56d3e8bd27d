//! The JSON Schema of [`Config`], for editors.
//!
//! In: the section types with their comments, and the table of scalars below.
//! Out: a schema of draft 2020-12. It refuses unknown keys and values of a wrong
//! form, and lets every value be a `${VAR}` or a `file://` instead.
//! Not here: rules that no schema can state, such as names that must exist (`check`).

use std::borrow::Cow;

use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::Config;
use super::scalar::{
    AcmeDirectory, AddressRange, Algorithm, Amount, ByteSize, Counters, Endpoint, FieldName, HostPattern, KeyPrefix,
    Moment, OriginPattern, PathPattern, Percent, Period, PublicKey, Quota, Rate, Secret, Store, Template, TenantName,
    WebAddress,
};
use super::section::auth::{Audience, AuthRule};
use super::section::limits::{By, Cost, Dimension};
use super::section::log::{Access, ServiceName};
use super::section::routes::Method;
use super::section::server::Threads;
use super::section::tls::{CertificateFiles, DefaultCertificate, HostTls};
use super::section::usage::DataSource;
use super::section::white_label::{AnswerKey, ErrorCode, Sentence};

/// What stands for a value, in the form of a pattern: it is only known when the file is loaded.
const REFERENCE: &str = r"^file://|\$";

/// The schema, as the file that editors read.
pub fn text() -> String {
    let mut schema = SchemaGenerator::default().into_root_schema_for::<Config>();
    schema.insert("title".to_owned(), json!("Configuration of Tollgate"));
    References.transform(&mut schema);
    let reference = json!({
        "description": "`${VAR}`, `${VAR:-default}` or `file://PATH`.",
        "pattern": REFERENCE,
        "type": "string",
    });
    if let Some(definitions) = schema.get_mut("$defs").and_then(Value::as_object_mut) {
        definitions.insert("Reference".to_owned(), reference);
    }
    format!("{:#}\n", schema.as_value())
}

/// Numbers, booleans and words from a list may come from a variable; a key without a value is never right.
struct References;

impl Transform for References {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        without_null(schema);
        keys_as_written(schema);
        if !is_closed(schema) {
            return;
        }
        let Some(object) = schema.as_object_mut() else { return };
        let about = ["$schema", "default", "description", "examples", "title"];
        let (outer, inner) = std::mem::take(object).into_iter().partition(|(key, _)| about.contains(&key.as_str()));
        *object = outer;
        object.insert("anyOf".to_owned(), json!([Value::Object(inner), { "$ref": "#/$defs/Reference" }]));
    }
}

/// Whether no text but a few words would do.
fn is_closed(schema: &Schema) -> bool {
    let is_word = |schema: &Value| schema.get("const").is_some_and(Value::is_string) || schema.get("enum").is_some();
    let words = |schemas: &Value| schemas.as_array().is_some_and(|schemas| schemas.iter().all(is_word));
    let kind = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    ["boolean", "integer", "number"].contains(&kind)
        || schema.get("enum").is_some()
        || schema.get("oneOf").is_some_and(words)
}

/// `Option` means that a key may be left out. Written with nothing behind it, it is an error all the same.
fn without_null(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    if let Some(Value::Array(kinds)) = object.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        if let [one] = kinds.as_slice() {
            let one = one.clone();
            object.insert("type".to_owned(), one);
        }
    }
    let Some(Value::Array(choices)) = object.get_mut("anyOf") else { return };
    choices.retain(|choice| choice.get("type").is_none_or(|kind| kind != "null"));
    if let [Value::Object(one)] = choices.as_slice() {
        let one = one.clone();
        object.remove("anyOf");
        // What was said about this key says more than what is said about its type.
        one.into_iter().for_each(|(key, value)| _ = object.entry(key).or_insert(value));
    }
}

/// Only values may come from a variable or a file: keys are what they are.
fn keys_as_written(schema: &mut Schema) {
    let Some(Value::Object(keys)) = schema.get_mut("patternProperties") else { return };
    *keys = std::mem::take(keys)
        .into_iter()
        .map(|(pattern, value)| (pattern.replace(&format!("|{REFERENCE}"), ""), value))
        .collect();
}

/// A scalar with a form of its own: what to write, its pattern, and an example.
macro_rules! scalars {
    ($($type:ident, $kind:tt, $what:literal, $pattern:literal, $example:tt;)*) => {
        $(impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "description": $what,
                    "examples": [$example],
                    "pattern": concat!("^(?:", $pattern, r")$|^file://|\$"),
                    // Not in the standard; the YAML language server shows it in place of the pattern.
                    "patternErrorMessage": concat!("Expected: ", $what),
                    "type": $kind,
                })
            }
        })*
    };
}

scalars! {
    AnswerKey, "string", "The name of a member of an answer, but for `data`.", "(.|\\n){1,64}", "statistics";
    Access, "string", "`off`, `stdout` or the path of a file.", ".+", "stdout";
    AcmeDirectory, "string", "`letsencrypt`, `letsencrypt-staging`, or the URL of an ACME directory.", r"letsencrypt(-staging)?|https://\S+", "letsencrypt";
    AddressRange, "string", "An address, or a range of addresses with its length.", "[0-9A-Fa-f:.]+(/[0-9]{1,3})?", "10.0.0.0/8";
    Amount, ["integer", "string"], "How much: a number, a size with its unit, or a time with its unit.", "[0-9]+(_[0-9]+)*|[0-9]+ *(([KMGT]i?)?B|ms|[smhd])", "100MB";
    ByteSize, "string", "A size with its unit: B, KB, KiB, MB, MiB, GB, GiB, TB or TiB.", "[0-9]+ *([KMGT]i?)?B", "16KiB";
    Counters, "string", "`memory`, or the URL of a Redis.", r"memory|rediss?://\S+", "redis://counters.internal:6379/0";
    DataSource, "string", "The name of a data source, or its id.", "[A-Za-z_][A-Za-z0-9_]{0,127}", "gateway_usage";
    Endpoint, "string", "A URL with host and, if need be, port and path; without user name and query.", r"https?://[^/?#@\s]+(/[^?#\s]*)?", "https://api.tinybird.co";
    FieldName, "string", "The name of a header.", "[!#%&'*+.^_`|~0-9A-Za-z-]+", "X-Trace";
    HostPattern, "string", "A host without its port, or `*.` and a domain for every host with one more label.", r"(\*\.)?[0-9A-Za-z_-]+(\.[0-9A-Za-z_-]+)*|\[[0-9A-Fa-f:.]+\]", "analytics.example.com";
    HostTemplate, ["boolean", "number", "string"], "A tenant, with `{host.N}` for a label of the request's host.", r"([0-9A-Za-z._:@-]|\{host\.[0-9]{1,3}\})+", "{host.1}";
    ListenAddress, "string", "An IP address and a port.", r"([0-9.]+|\[[0-9A-Fa-f:.%]+\]):[0-9]{1,5}", "127.0.0.1:8080";
    OriginPattern, "string", "An origin, `https://*.` and a domain, or `*`.", r"\*|[0-9A-Za-z+.-]+://(\*\.)?[^/*\s]+", "https://app.example.com";
    PathPattern, "string", "A path: `{name}` matches inside one segment, `/*` at the end the rest.", r"/[^?#%\s]*", "/top-10-products";
    Percent, "string", "A share from 0% to 100%.", "([0-9]{1,2}|100) *%", "20%";
    Period, "string", "A time with its unit: ms, s, m, h or d.", "[0-9]+ *(ms|[smhd])", "35s";
    PublicKey, "string", "A public key or certificate in PEM form, best as `file://PATH`.", r"(.|\n)*-----BEGIN (RSA PUBLIC KEY|PUBLIC KEY|CERTIFICATE)-----(.|\n)*", "file://provider.pem";
    Moment, "string", "A day, or a day with its time.", r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9:.]+(Z|[+-][0-9]{2}:[0-9]{2}))?", "2026-01-15";
    Quota, "string", "So much in each hour, day or month.", "[0-9]+((_[0-9]+)*| *(([KMGT]i?)?B|ms|[smhd])) */ *(h|hour|d|day|month)", "100000/day";
    Rate, "string", "So many in a second, minute, hour or day.", "[0-9]+ */ *(s|sec|second|m|min|minute|h|hour|d|day)", "50/s";
    Sentence, ["boolean", "number", "string"], "A sentence in one line, at most 300 characters.", ".{1,300}", "Slow down, please.";
    Secret, ["boolean", "number", "string"], "A credential, best as `${NAME}` or `file://PATH`.", "[!-~]([ -~]*[!-~])?", "${TINYBIRD_TOKEN}";
    ServiceName, "string", "A name for a list of services.", ".{1,128}", "tollgate";
    Store, "string", "`sqlite`, or the URL of a Postgres.", r"sqlite|postgres(ql)?://\S+", "postgres://ledger.internal:5432/tollgate";
    Template, ["boolean", "number", "string"], "Text, with holes like `{path.NAME}`, `{tenant}` or `{claims.NAME}` that a request fills.", r"([^{}]|\{(tenant|key\.tenant|host\.[0-9]+|path\.[0-9A-Za-z_]+|certificate\.(subject\.(cn|ou?|l|st|c|serial_number)|san\.(dns|email|uri))|(claims|fixed_params|key\.meta)\.[^{}\s]+)\})*", "report_{path.report}";
    TenantName, ["number", "string"], "The name of a tenant: letters, digits and `.`, `_`, `:`, `@`, `-`.", "[0-9A-Za-z._:@-]{1,128}", "acme";
    WebAddress, "string", "A URL that is fetched as it is written, query included; without user name.", r"https?://[^/?#@\s]+([/?][^#\s]*)?", "https://id.example.com/keys";
    KeyPrefix, "string", "What API keys begin with: 2 to 16 small letters and digits.", "[a-z][a-z0-9]{1,15}", "tgk";
}

/// How the tenant of a host is written.
#[derive(Debug)]
pub(crate) struct HostTemplate;

/// How a `SocketAddr` is written.
#[derive(Debug)]
pub(crate) struct ListenAddress;

impl JsonSchema for Algorithm {
    fn schema_name() -> Cow<'static, str> {
        "Algorithm".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "How tokens are signed.", "enum": Algorithm::ALL.map(Algorithm::name) })
    }
}

impl JsonSchema for ErrorCode {
    fn schema_name() -> Cow<'static, str> {
        "ErrorCode".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let pattern = format!("^(?:{})$", ErrorCode::ALL.join("|"));
        json_schema!({ "description": "The code of an error.", "pattern": pattern, "type": "string" })
    }
}

impl JsonSchema for Method {
    fn schema_name() -> Cow<'static, str> {
        "Method".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "A method.", "enum": ["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"] })
    }
}

/// One word or a list of words.
fn words(what: &str) -> Schema {
    json_schema!({
        "description": what,
        "anyOf": [{ "type": "string" }, { "items": { "type": "string" }, "type": "array" }],
    })
}

impl JsonSchema for Cost {
    fn schema_name() -> Cow<'static, str> {
        "Cost".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "What a request costs of a quota.",
            "enum": [1, "1", "bytes_read", "response_bytes", "rows_read", "seconds"],
        })
    }
}

impl JsonSchema for By {
    fn schema_name() -> Cow<'static, str> {
        "By".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let words = Dimension::ALL.map(Dimension::word);
        json_schema!({
            "description": "Who is counted apart.",
            "anyOf": [{ "enum": words }, { "items": { "enum": words }, "type": "array", "minItems": 1 }],
        })
    }
}

impl JsonSchema for AuthRule {
    fn schema_name() -> Cow<'static, str> {
        "AuthRule".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        words("`public`, a provider or a list of providers.")
    }
}

impl JsonSchema for Audience {
    fn schema_name() -> Cow<'static, str> {
        "Audience".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        words("An audience, a list of audiences, or `any`.")
    }
}

impl JsonSchema for Threads {
    fn schema_name() -> Cow<'static, str> {
        "Threads".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number of threads, or `auto` for one per core.",
            "anyOf": [{ "maximum": 1024, "minimum": 1, "type": "integer" }, { "enum": ["auto"] }],
        })
    }
}

impl JsonSchema for HostTls {
    fn schema_name() -> Cow<'static, str> {
        "HostTls".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        word_or_files(
            "`auto`, `on_demand`, `internal`, or the files of a certificate and its key.",
            &["auto", "internal", "on_demand"],
            generator,
        )
    }
}

impl JsonSchema for DefaultCertificate {
    fn schema_name() -> Cow<'static, str> {
        "DefaultCertificate".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let about = "`refuse`, `internal`, or the files of a certificate and its key.";
        word_or_files(about, &["refuse", "internal"], generator)
    }
}

/// A word, or one or several pairs of files.
fn word_or_files(about: &str, words: &[&str], generator: &mut SchemaGenerator) -> Schema {
    let files = generator.subschema_for::<CertificateFiles>();
    json_schema!({
        "description": about,
        "anyOf": [{ "enum": words }, files, { "items": files, "type": "array", "minItems": 1 }],
    })
}
