//! Pages, or parts of them, that are written from tables in the code; and the explanations of codes, whose files must be
//! wrong and right as they say.

use std::fmt::Write as _;
use std::path::Path;

use tollgate::config::issue::{IssueCode, Issues, Severity};
use tollgate::exchange::refusal::RefusalCode;
use tollgate::telemetry::names;

use crate::{completed, load_with_a_token, markdown, project, read};

const REFUSALS: &str =
    "<!-- The table is written by a test, from src/exchange/refusal.rs: UPDATE_EXPECT=1 cargo test --test docs -->\n\n";
const METRICS: &str =
    "<!-- The table is written by a test, from src/telemetry/names.rs: UPDATE_EXPECT=1 cargo test --test docs -->\n\n";
const ISSUES: &str = "<!-- From here on written by a test, from src/config/issue/codes.rs and src/config/explanations: \
                      UPDATE_EXPECT=1 cargo test --test docs -->\n";

/// Codes that a block cannot show, or not mend, each with what stands in for it.
const BLOCKS_MISSING: [(&str, &str); 2] = [
    ("TG0003", "tests/config: `a_file_above_the_limit_is_not_read`, and the cases under limits/"),
    ("TG0208", "tests/config: the case lints/credential_file_for_everybody, because modes are not in a file"),
];

#[test]
fn refusals_are_all_explained() {
    let mut table = "| Code | Status | When | What to do |\n| --- | --- | --- | --- |\n".to_owned();
    for code in RefusalCode::ALL {
        let (name, status) = (code.as_str(), code.status().as_u16());
        let _ = writeln!(table, "| `{name}` | {status} | {} | {} |", code.when(), code.remedy());
    }
    assert_generated("docs/refusals.md", REFUSALS, &table, "\n<!-- End of the table. -->\n");
}

#[test]
fn metrics_are_all_explained() {
    let mut table = "| Name | Type | Labels | Meaning |\n| --- | --- | --- | --- |\n".to_owned();
    for names::Family { name, kind, labels, help, meaning } in names::ALL {
        assert!(!help.ends_with('.') && meaning.ends_with('.'), "{name}: no period in a scrape, sentences on the page");
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        let labels = labels.join(", ");
        let labels = if labels.is_empty() { String::new() } else { format!("{labels} ") };
        let _ = writeln!(table, "| `{name}` | {} | {labels}| {meaning} |", kind.word());
    }
    for (name, kind, meaning) in names::PROCESS {
        let _ = writeln!(table, "| `{name}` | {} | | {meaning} |", kind.word());
    }
    assert_generated("docs/metrics.md", METRICS, &table, "\n<!-- End of the table. -->\n");
}

#[test]
fn configuration_errors_are_all_explained() {
    let mut text = String::new();
    for code in IssueCode::ALL {
        let severity = code.severity().word();
        let _ = write!(text, "\n### {code} ({severity})\n\n{}\n\n{}\n", code.meaning(), code.explanation().trim_end());
    }
    assert_generated("docs/config-errors.md", ISSUES, &text, "");
}

/// What stands between the marks is `wanted`.
fn assert_generated(page: &str, start: &str, wanted: &str, end: &str) {
    let path = project(page);
    let text = read(&path);
    let (before, rest) = text.split_once(start).unwrap_or_else(|| panic!("{page} has lost its mark: {start}"));
    let at = if end.is_empty() { rest.len() } else { rest.find(end).unwrap_or_else(|| panic!("{page}: no {end:?}")) };
    let (found, behind) = rest.split_at(at);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, format!("{before}{start}{wanted}{behind}")).unwrap();
        return;
    }
    assert!(found == wanted, "{page} is not what the code says: UPDATE_EXPECT=1 cargo test --test docs");
}

#[test]
fn explanations_show_what_is_wrong_and_what_is_right() {
    for code in IssueCode::ALL {
        let name = code.to_string();
        let blocks: Vec<_> = markdown::blocks(code.explanation()).filter(|block| block.language == "yaml").collect();
        let wrong: Vec<_> = blocks.iter().filter(|block| block.flags == format!("error={name}")).collect();
        let right: Vec<_> = blocks.iter().filter(|block| ["", "fragment"].contains(&block.flags)).collect();
        assert_eq!(wrong.len() + right.len(), blocks.len(), "{name}: a fence that means nothing");
        // What can only be found by asking the network is told in words.
        let in_words = name.starts_with("TG03") || BLOCKS_MISSING.iter().any(|(missing, _)| *missing == name);
        assert!(in_words || (wrong.len() == 1 && right.len() == 1), "{name} shows one wrong and one right file");
        for block in wrong {
            let issues = issues_of(&name, &completed(&block.text));
            let codes: Vec<IssueCode> = issues.iter().map(|issue| issue.code).collect();
            assert!(codes.contains(code), "{name}, wrong:\n{issues}");
            let only = codes.iter().all(|found| found == code || *found == IssueCode::EveryRoutePublic);
            assert!(only, "{name} is not the only thing that is wrong:\n{issues}");
        }
        for block in right {
            let issues = issues_of(&name, &completed(&block.text));
            let clean = issues.iter().all(|issue| issue.code == IssueCode::EveryRoutePublic);
            assert!(clean, "{name}, right:\n{issues}");
        }
    }
}

#[test]
fn explanations_read_well_on_a_terminal() {
    for code in IssueCode::ALL {
        let text = code.explanation();
        assert!(text.len() > 200, "{code} says too little to be worth a call");
        assert!(
            !text.contains("](") && !text.contains("\n#"),
            "{code}: no links and no headings, a terminal shows them raw"
        );
        assert!(code.meaning().ends_with('.') && text.ends_with('\n'), "{code}: sentences end");
    }
}

#[test]
fn every_explanation_belongs_to_a_code() {
    let folder = project("src/config/explanations");
    let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let known = |file: &Path| IssueCode::ALL.iter().any(|code| file.file_stem().unwrap() == code.to_string().as_str());
    let orphans: Vec<_> = files.filter(|file| !known(file)).collect();
    assert!(orphans.is_empty(), "remove {orphans:?}, or write their codes into the table of src/config/issue/codes.rs");
}

#[test]
fn codes_say_how_bad_they_are() {
    for code in IssueCode::ALL {
        let is_warning = code.severity() == Severity::Warning;
        let name = code.to_string();
        assert!(name.starts_with("TG03") || name.starts_with("TG02") == is_warning, "{name}: TG02xx are the warnings");
    }
}

fn issues_of(name: &str, text: &str) -> Issues {
    match load_with_a_token(name, text) {
        Ok(loaded) => loaded.warnings,
        Err(issues) => issues,
    }
}
