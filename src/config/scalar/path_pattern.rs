//! Paths of routes: `/top`, `/reports/{report}.csv`, `/ch/*`.

use std::fmt;
use std::str::FromStr;

/// Paths with more segments are none that anyone calls, and they are matched segment by segment.
const MAX_SEGMENTS: usize = 100;

/// A route's path: exact segments, captures inside one segment, a tail.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PathPattern {
    text: String,
    segments: Vec<Segment>,
    tail: bool,
}

/// What stands between two slashes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Segment {
    /// `prefix{name}suffix`: the capture is `[A-Za-z0-9_-]+`.
    Capture(Piece),
    /// Exactly this text.
    Literal(String),
}

/// A capture with the text around it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Piece {
    /// Text before the capture.
    pub prefix: String,
    /// The capture's name.
    pub name: String,
    /// Text behind the capture.
    pub suffix: String,
}

impl PathPattern {
    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The segments before any tail.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Whether `/*` stands at the end.
    pub fn has_tail(&self) -> bool {
        self.tail
    }

    /// The names a template may use: the captures, and `rest` for a tail.
    pub fn captures(&self) -> impl Iterator<Item = &str> {
        let named = self.segments.iter().filter_map(|segment| match segment {
            Segment::Capture(piece) => Some(piece.name.as_str()),
            Segment::Literal(_) => None,
        });
        named.chain(self.tail.then_some("rest"))
    }

    /// The same pattern with `.extension` behind its last segment.
    pub fn with_extension(&self, extension: &str) -> Result<PathPattern, String> {
        format!("{}.{extension}", self.text).parse()
    }
}

impl FromStr for PathPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let body = text.strip_prefix('/').ok_or_else(|| format!("a path begins with `/`: write `/{text}`"))?;
        let (body, tail) = match body.strip_suffix('*') {
            Some("") => ("", true),
            Some(rest) => match rest.strip_suffix('/') {
                Some(rest) => (rest, true),
                None => return Err(format!("in `{text}` the `*` does not stand alone at the end: write `/{rest}/*`")),
            },
            None => (body, false),
        };
        let segments: Vec<Segment> = if body.is_empty() && tail {
            Vec::new()
        } else {
            body.split('/').map(|segment| parse_segment(text, segment)).collect::<Result<_, _>>()?
        };
        let inner = segments.len().saturating_sub(1);
        if segments.iter().take(inner).any(|segment| matches!(segment, Segment::Literal(text) if text.is_empty())) {
            return Err(format!("`{text}` has an empty segment (`//`), which no request can match: write one `/`"));
        }
        if segments.len() > MAX_SEGMENTS {
            return Err(format!("a path here has at most {MAX_SEGMENTS} segments: leave some out"));
        }
        let pattern = PathPattern { text: text.to_owned(), segments, tail };
        let names: Vec<&str> = pattern.captures().collect();
        for (index, name) in names.iter().enumerate() {
            if names.iter().take(index).any(|earlier| earlier == name) {
                return Err(format!("`{text}` uses the capture name `{name}` twice: write two names"));
            }
        }
        Ok(pattern)
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn parse_segment(path: &str, segment: &str) -> Result<Segment, String> {
    if segment == "." || segment == ".." {
        return Err(format!("`{path}` has a `{segment}` segment, which the gateway refuses in requests: leave it out"));
    }
    let Some((prefix, rest)) = segment.split_once('{') else {
        check_literal(path, segment)?;
        return Ok(Segment::Literal(segment.to_owned()));
    };
    let (name, suffix) =
        rest.split_once('}').ok_or_else(|| format!("`{path}` has a `{{` without its `}}`: write {{name}}"))?;
    if suffix.contains('{') {
        return Err(format!("`{path}` has two captures in one segment: write one, or put a `/` between them"));
    }
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(format!("`{{{name}}}` is not a capture: write a name of letters, digits and `_`"));
    }
    check_literal(path, prefix)?;
    check_literal(path, suffix)?;
    Ok(Segment::Capture(Piece { prefix: prefix.to_owned(), name: name.to_owned(), suffix: suffix.to_owned() }))
}

fn check_literal(path: &str, text: &str) -> Result<(), String> {
    match text.chars().find(|c| c.is_control() || c.is_whitespace() || "?#%\\*{}\"<>^`|".contains(*c)) {
        Some('%') => Err(format!("`{path}` is percent-encoded: write the decoded path")),
        Some(c) => Err(format!("`{path}` has the character {c:?}, which a path here cannot have: leave it out")),
        None => Ok(()),
    }
}

super::from_text!(PathPattern, "a path like /top-10-products");
super::as_text!(PathPattern);
