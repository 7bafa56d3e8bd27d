//! What a certificate says of its bearer, in the form in which templates look claims up.
//!
//! In: a certificate. Out: `subject`, `san` and `serial`; what stands there
//! twice is a list, which names nobody. Not here: whether it is true
//! (`authorities`).

use std::fmt::Write as _;

use serde_json::{Map, Value};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::x509::X509Name;

/// Attributes of a subject (X.520), by the names that templates have for them.
const ATTRIBUTES: [(&str, &str); 7] = [
    ("2.5.4.3", "cn"),
    ("2.5.4.5", "serial_number"),
    ("2.5.4.6", "c"),
    ("2.5.4.7", "l"),
    ("2.5.4.8", "st"),
    ("2.5.4.10", "o"),
    ("2.5.4.11", "ou"),
];

/// All of it.
pub(super) fn of(certificate: &X509Certificate<'_>) -> Map<String, Value> {
    let mut facts = Map::new();
    facts.insert("subject".to_owned(), Value::Object(subject(certificate.subject())));
    facts.insert("san".to_owned(), Value::Object(names(certificate)));
    facts.insert("serial".to_owned(), serial(certificate.raw_serial()).into());
    facts
}

fn subject(name: &X509Name<'_>) -> Map<String, Value> {
    let mut found = Map::new();
    for attribute in name.iter_attributes() {
        let oid = attribute.attr_type().to_id_string();
        let Some((_, known)) = ATTRIBUTES.iter().find(|(known, _)| *known == oid) else { continue };
        // What cannot be read counts, too: beside it, what can be is not the only one.
        add(&mut found, known, attribute.as_str().map_or(Value::Null, Value::from));
    }
    found
}

fn names(certificate: &X509Certificate<'_>) -> Map<String, Value> {
    let mut found = Map::new();
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return found };
    for name in &names.value.general_names {
        match name {
            GeneralName::DNSName(name) => add(&mut found, "dns", Value::from(*name)),
            GeneralName::RFC822Name(name) => add(&mut found, "email", Value::from(*name)),
            GeneralName::URI(name) => add(&mut found, "uri", Value::from(*name)),
            GeneralName::DirectoryName(_)
            | GeneralName::EDIPartyName(_)
            | GeneralName::IPAddress(_)
            | GeneralName::OtherName(..)
            | GeneralName::RegisteredID(_)
            | GeneralName::X400Address(_) => {}
        }
    }
    found
}

/// The second of its kind makes a list of them.
fn add(found: &mut Map<String, Value>, name: &str, value: Value) {
    match found.get_mut(name) {
        None => _ = found.insert(name.to_owned(), value),
        Some(Value::Array(all)) => all.push(value),
        Some(first) => *first = Value::Array(vec![first.take(), value]),
    }
}

/// A serial number as people write it: without the zeros before it.
fn serial(bytes: &[u8]) -> String {
    let digits = hex(bytes);
    match digits.trim_start_matches('0') {
        "" => "0".to_owned(),
        trimmed => trimmed.to_owned(),
    }
}

/// Small hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
