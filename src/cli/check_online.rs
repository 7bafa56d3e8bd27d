//! `tollgate check --online FILE`: what a file names, tried from here.
//!
//! In: a configuration without errors. Out: a table, or the same for programs.
//! Not here: the trials (`app::probe`), the issues that come with them.

use serde_json::{Value, json};

use crate::app::probe::{Finding, Grade, Probed, Trial, probe};
use crate::clock::Clock;
use crate::config::Loaded;
use crate::outbound::wait;

/// Tries everything that the file names.
///
/// # Errors
/// Where nothing could be tried at all.
pub(super) fn run(loaded: &Loaded) -> std::io::Result<Probed> {
    wait(probe(loaded, &Clock::system()))
}

/// One line for each trial.
pub(super) fn table(findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.subject.chars().count()).max().unwrap_or_default();
    let lines = findings.iter().map(|Finding { subject, trial, grade, words }| {
        format!("{subject:width$}  {:7}  {:7}  {words}", trial_name(*trial), grade_name(*grade))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The same for programs.
pub(super) fn to_json(findings: &[Finding]) -> Value {
    let one = |finding: &Finding| {
        json!({
            "subject": finding.subject,
            "trial": trial_name(finding.trial),
            "result": grade_name(finding.grade),
            "detail": finding.words,
        })
    };
    findings.iter().map(one).collect()
}

fn trial_name(trial: Trial) -> &'static str {
    match trial {
        Trial::Address => "address",
        Trial::Answer => "answer",
        Trial::Connect => "connect",
        Trial::Keys => "keys",
        Trial::Lookup => "name",
        Trial::Pipes => "pipes",
        Trial::Tls => "tls",
        Trial::Write => "write",
    }
}

fn grade_name(grade: Grade) -> &'static str {
    match grade {
        Grade::Failed => "failed",
        Grade::Note => "note",
        Grade::Ok => "ok",
        Grade::Warning => "warning",
    }
}
