//! Text with holes that a request fills: `report_{path.report}`.

use std::fmt;
use std::str::FromStr;

/// Literal text and holes, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

/// One piece of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// `{certificate.NAME}`: what the certificate says that the caller shows, like `subject.o`.
    Certificate(String),
    /// `{claims.NAME}`: a claim of the caller's token; dots lead into objects.
    Claim(String),
    /// `{fixed_params.NAME}`: of the scope for this pipe in a Tinybird JWT.
    FixedParam(String),
    /// `{host.N}`: a label of the host, the leftmost is 1.
    Host(usize),
    /// `{key.meta.NAME}`: what the file of keys says about the caller's key.
    KeyMeta(String),
    /// `{key.tenant}`: whose key it is.
    KeyTenant,
    /// Text as it stands.
    Literal(String),
    /// `{path.NAME}`: what the route's `{NAME}` matched, or `rest` for `/*`.
    Path(String),
    /// `{tenant}`: whose rows the caller may see.
    Tenant,
}

/// The holes that exist, as sentences list them.
const HOLES: &str = "{tenant}, {path.NAME}, {claims.NAME}, {fixed_params.NAME}, {key.tenant}, {key.meta.NAME}, {certificate.NAME} or {host.N}";

/// What of a certificate a hole can name.
const CERTIFICATE_FIELDS: [&str; 10] = [
    "subject.cn",
    "subject.o",
    "subject.ou",
    "subject.l",
    "subject.st",
    "subject.c",
    "subject.serial_number",
    "san.dns",
    "san.email",
    "san.uri",
];

impl Part {
    /// The hole as it is written, without braces; none for text.
    pub fn hole(&self) -> Option<String> {
        Some(match self {
            Part::Certificate(name) => format!("certificate.{name}"),
            Part::Claim(name) => format!("claims.{name}"),
            Part::FixedParam(name) => format!("fixed_params.{name}"),
            Part::Host(label) => format!("host.{label}"),
            Part::KeyMeta(name) => format!("key.meta.{name}"),
            Part::KeyTenant => "key.tenant".to_owned(),
            Part::Literal(_) => return None,
            Part::Path(name) => format!("path.{name}"),
            Part::Tenant => "tenant".to_owned(),
        })
    }

    fn of_hole(hole: &str) -> Option<Part> {
        let is_word = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        // Parameters and metadata are named by others; identity providers even name claims by URLs.
        let is_name = |name: &str| {
            !name.is_empty() && name.len() <= MAX_NAME && !name.chars().any(|c| c.is_control() || c.is_whitespace())
        };
        let (kind, name) = hole.split_once('.').unwrap_or((hole, ""));
        match (kind, name) {
            ("tenant", "") if !hole.ends_with('.') => Some(Part::Tenant),
            ("key", "tenant") => Some(Part::KeyTenant),
            ("key", _) => {
                name.strip_prefix("meta.").filter(|name| is_name(name)).map(|name| Part::KeyMeta(name.to_owned()))
            }
            ("certificate", name) if CERTIFICATE_FIELDS.contains(&name) => Some(Part::Certificate(name.to_owned())),
            ("path", name) if is_word(name) => Some(Part::Path(name.to_owned())),
            ("claims", name) if is_name(name) => Some(Part::Claim(name.to_owned())),
            ("fixed_params", name) if is_name(name) => Some(Part::FixedParam(name.to_owned())),
            ("host", number) => number.parse().ok().filter(|number| (1..=MAX_LABELS).contains(number)).map(Part::Host),
            _ => None,
        }
    }
}

/// Characters of a name in a hole.
const MAX_NAME: usize = 200;
/// Labels of a host name (RFC 1035 section 2.3.4 leaves room for no more).
const MAX_LABELS: usize = 127;

impl Template {
    /// The pieces in order.
    pub fn parts(&self) -> &[Part] {
        &self.0
    }

    /// The text, where the template has no holes.
    pub fn literal(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// The pieces that a request fills.
    pub fn holes(&self) -> impl Iterator<Item = &Part> {
        self.0.iter().filter(|part| !matches!(part, Part::Literal(_)))
    }

    /// The names of the captures it needs.
    pub fn captures(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Path(name) => Some(name.as_str()),
            Part::Certificate(_)
            | Part::Claim(_)
            | Part::FixedParam(_)
            | Part::Host(_)
            | Part::KeyMeta(_)
            | Part::KeyTenant
            | Part::Literal(_)
            | Part::Tenant => None,
        })
    }
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            if before.contains('}') {
                return Err(format!("`{text}` has a `}}` without its `{{`: write {{path.NAME}}"));
            }
            let (hole, behind) = after
                .split_once('}')
                .ok_or_else(|| format!("`{text}` has a `{{` without its `}}`: write {{path.NAME}}"))?;
            if !before.is_empty() {
                parts.push(Part::Literal(before.to_owned()));
            }
            let part = Part::of_hole(hole).ok_or_else(|| unknown(text, hole))?;
            parts.push(part);
            rest = behind;
        }
        if rest.contains('}') {
            return Err(format!("`{text}` has a `}}` without its `{{`: write {{path.NAME}}"));
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(Template(parts))
    }
}

/// What to write instead of a hole that does not exist.
fn unknown(text: &str, hole: &str) -> String {
    let Some(field) = hole.strip_prefix("certificate.") else {
        return format!("`{text}` has `{{{hole}}}`, which is not known here: write {HOLES}");
    };
    let help = match crate::config::nearest(&field.to_ascii_lowercase(), CERTIFICATE_FIELDS.into_iter()) {
        Some(nearest) => format!("write {{certificate.{nearest}}}"),
        None => format!("write {{certificate.NAME}} with one of {}", CERTIFICATE_FIELDS.join(", ")),
    };
    format!("`{{{hole}}}` is nothing that a certificate has: {help}")
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match (part, part.hole()) {
            (Part::Literal(text), _) => f.write_str(text),
            (_, hole) => write!(f, "{{{}}}", hole.unwrap_or_default()),
        })
    }
}

super::from_text!(Template, "text, with holes like {path.NAME} or {tenant} for what a request says");
super::as_text!(Template);
