//! `tollgate explain TG0107`.

use crate::config::issue::{IssueCode, Severity};

use super::{Ending, print, say};

#[derive(Debug, clap::Args)]
#[command(before_help = "\
Examples:
  tollgate explain TG0107   what it means, a wrong and a right file
  tollgate explain          all codes")]
pub(super) struct Arguments {
    /// The code, as `check` prints it; TG may be left out. Without one, all are listed
    code: Option<String>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let Some(text) = &arguments.code else {
        for code in IssueCode::ALL {
            print(&format!("{code}  {:7}  {}", code.severity().word(), code.meaning()));
        }
        return Ok(Ending::Success);
    };
    match IssueCode::find(text) {
        Some(code) => {
            print(&explained(code));
            Ok(Ending::Success)
        }
        None => {
            say(&format!("tollgate: there is no code `{text}`"));
            let nearest = nearest(text);
            if !nearest.is_empty() {
                say(&format!("help: did you mean {}?", nearest.join(" or ")));
            }
            say("help: `tollgate explain` lists all codes");
            Ok(Ending::Problems)
        }
    }
}

/// The long text of a code for a terminal.
fn explained(code: IssueCode) -> String {
    let consequence = match code.severity() {
        Severity::Error if code.is_of_surroundings() => "error: the configuration can be used, but not from here",
        Severity::Error => "error: the configuration cannot be used",
        Severity::Warning => "warning: the configuration can be used, and this deserves a look",
    };
    format!("{code} ({consequence})\n\n{}\n\n{}", code.meaning(), without_fences(code.explanation().trim_end()))
}

/// Markdown as a terminal shows it best: blocks are indented, and the fences are gone.
fn without_fences(text: &str) -> String {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            inside = !inside;
        } else if inside && !line.is_empty() {
            lines.push(format!("    {line}"));
        } else {
            lines.push(line.to_owned());
        }
    }
    lines.join("\n")
}

/// The codes that differ least from what was written, the same group first.
fn nearest(text: &str) -> Vec<String> {
    let wanted = text.to_ascii_uppercase();
    let distance = |code: &IssueCode| {
        let code = code.to_string();
        strsim::damerau_levenshtein(&wanted, &code)
            .min(strsim::damerau_levenshtein(&wanted, code.trim_start_matches("TG")))
    };
    let least = IssueCode::ALL.iter().map(distance).min().filter(|least| *least <= 2);
    let near = IssueCode::ALL.iter().filter(|code| Some(distance(code)) == least).take(3);
    near.map(ToString::to_string).collect()
}
