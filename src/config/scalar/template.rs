//! Text with holes that a request fills: `report_{path.report}`.

use std::fmt;
use std::str::FromStr;

/// Literal text and captures of the path, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

/// One piece of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text as it stands.
    Literal(String),
    /// `{path.NAME}`: what the route's `{NAME}` matched, or `rest` for `/*`.
    Path(String),
}

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

    /// The names of the captures it needs.
    pub fn captures(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Literal(_) => None,
            Part::Path(name) => Some(name.as_str()),
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
            let name = hole
                .strip_prefix("path.")
                .filter(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
                .ok_or_else(|| {
                    format!(
                        "`{text}` has `{{{hole}}}`, which is not known here: write {{path.NAME}} for what the path's {{NAME}} matched"
                    )
                })?;
            parts.push(Part::Path(name.to_owned()));
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

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Literal(text) => f.write_str(text),
            Part::Path(name) => write!(f, "{{path.{name}}}"),
        })
    }
}

super::from_text!(Template, "text, with {path.NAME} where the path fills it");
super::as_text!(Template);
