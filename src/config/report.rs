//! Issues for programs: JSON, and GitHub's workflow commands.
//!
//! In: [`Issues`]. Out: the same codes, sentences and places as a person reads,
//! in the forms that tools take. Not here: the text for a person (`issue`).

use serde_json::{Value, json};

use super::issue::{Issue, Issues, Place};

impl Place {
    /// Line and column of what comes first behind the stretch, both from 1.
    fn end(&self) -> (usize, usize) {
        let end = self.span.end.max(self.span.start);
        Place { span: end..end, ..self.clone() }.line_and_column()
    }

    fn to_json(&self) -> Value {
        let ((line, column), (end_line, end_column)) = (self.line_and_column(), self.end());
        json!({
            "file": self.listing.name, "line": line, "column": column, "end_line": end_line, "end_column": end_column,
        })
    }
}

impl Issue {
    /// One object; columns are counted in characters, and the end is what comes first behind. A problem of
    /// the whole file has the name `file`, and no place in it.
    pub fn to_json(&self, file: &str) -> Value {
        let mut value = match &self.place {
            Some(place) => place.to_json(),
            None => json!({ "file": file, "line": null, "column": null, "end_line": null, "end_column": null }),
        };
        let related = self.related.iter().map(|(place, label)| with(place.to_json(), [("label", json!(label))]));
        let related: Vec<Value> = related.collect();
        value = with(
            value,
            [
                ("code", json!(self.code.to_string())),
                ("severity", json!(self.severity().word())),
                ("title", json!(self.title)),
                ("label", json!(self.label)),
                ("help", json!(self.help)),
                ("related", json!(related)),
            ],
        );
        value
    }

    /// A workflow command, which GitHub shows beside the line; `file` is where a problem of the whole file belongs.
    pub fn to_github(&self, file: &str) -> String {
        let name = self.place.as_ref().map_or(file, |place| &place.listing.name);
        let mut properties = vec![format!("file={}", property(name))];
        if let Some(place) = &self.place {
            let ((line, column), (end_line, end_column)) = (place.line_and_column(), place.end());
            properties.push(format!("line={line}"));
            properties.push(format!("endLine={end_line}"));
            // Columns are understood within one line only.
            if line == end_line {
                properties.push(format!("col={column}"));
                properties.push(format!("endColumn={end_column}"));
            }
        }
        properties.push(format!("title={}", self.code));
        let help = self.help.iter().map(|help| format!("\nhelp: {help}"));
        let message: String = std::iter::once(self.title.clone()).chain(help).collect();
        format!("::{} {}::{}", self.severity().word(), properties.join(","), escaped(&message))
    }
}

impl Issues {
    /// All of them, as [`Issue::to_json`].
    pub fn to_json(&self, file: &str) -> Vec<Value> {
        self.iter().map(|issue| issue.to_json(file)).collect()
    }

    /// One workflow command a line.
    pub fn to_github(&self, file: &str) -> String {
        self.iter().map(|issue| issue.to_github(file) + "\n").collect()
    }
}

fn with<const N: usize>(mut value: Value, entries: [(&str, Value); N]) -> Value {
    if let Value::Object(map) = &mut value {
        map.extend(entries.map(|(key, value)| (key.to_owned(), value)));
    }
    value
}

/// What would end a command, or begin an escape, in a message.
fn escaped(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// As [`escaped`], and what would end a property.
fn property(text: &str) -> String {
    escaped(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::issue::{IssueCode, Listing};
    use super::*;

    fn issue(name: &str, span: std::ops::Range<usize>) -> Issue {
        let listing = Arc::new(Listing::new(name.to_owned(), "a: é\nb: c\n".to_owned(), 0));
        let place = Place { listing: Arc::clone(&listing), span };
        Issue::at(IssueCode::BadValue, place.clone(), "100% wrong:\nreally, yes").help("50%").related(place, "there")
    }

    #[test]
    fn github_takes_nothing_for_the_end_of_a_command() {
        assert_eq!(
            issue("a,b:c%.yaml", 3..5).to_github("x"),
            "::error file=a%2Cb%3Ac%25.yaml,line=1,endLine=1,col=4,endColumn=5,title=TG0105::100%25 wrong:%0Areally, yes%0Ahelp: 50%25"
        );
        assert!(!issue("a", 0..8).to_github("x").contains("col="), "columns are for one line");
        let whole = Issue::whole(IssueCode::Unreadable, "gone").to_github("x");
        assert_eq!(whole, "::error file=x,title=TG0001::gone");
    }

    #[test]
    fn json_counts_characters_from_1() {
        let value = issue("a.yaml", 3..8).to_json("x");
        assert_eq!(
            value,
            json!({
                "code": "TG0105", "severity": "error", "title": "100% wrong:\nreally, yes", "file": "a.yaml",
                "line": 1, "column": 4, "end_line": 2, "end_column": 3, "label": "", "help": "50%",
                "related": [{ "file": "a.yaml", "line": 1, "column": 4, "end_line": 2, "end_column": 3, "label": "there" }],
            })
        );
    }
}
