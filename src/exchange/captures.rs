//! What the captures of a path matched.
//!
//! In: names and values from the table of routes. Out: templates filled with
//! them. Not here: holes that something else than the path fills.

use std::borrow::Cow;

use crate::config::scalar::{Part, Template};

/// What the path's captures matched, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captures(pub Vec<(Box<str>, String)>);

impl Captures {
    /// The template with its holes filled; a hole that the path does not fill stays empty.
    pub fn fill<'a>(&'a self, template: &'a Template) -> Cow<'a, str> {
        match template.parts() {
            [Part::Literal(text)] => Cow::Borrowed(text),
            parts => parts.iter().map(|part| self.part(part)).collect::<String>().into(),
        }
    }

    /// What stood for `/*`.
    pub fn tail(&self) -> &str {
        self.value("rest")
    }

    /// Whether a hole of the template stays empty.
    pub fn misses_any(&self, template: &Template) -> bool {
        template.holes().any(|part| self.part(part).is_empty())
    }

    /// What the capture with this name matched; empty where there is none.
    pub fn value(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key.as_ref() == name).map_or("", |(_, value)| value)
    }

    fn part<'a>(&'a self, part: &'a Part) -> &'a str {
        match part {
            Part::Literal(text) => text,
            Part::Path(name) => self.value(name),
            Part::Certificate(_)
            | Part::Claim(_)
            | Part::FixedParam(_)
            | Part::Host(_)
            | Part::KeyMeta(_)
            | Part::KeyTenant
            | Part::Tenant => "",
        }
    }
}
