//! The gate for instructions: what it lets in, what it refuses, and what it writes down. Nothing is counted here.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails loudly; Clippy exempts only functions that are tests themselves"
)]

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

const FEW: &str = "request/10 routes on 1 host";
const MANY: &str = "request/10 000 routes on 1 000 hosts";

/// A baseline of another project, with a compiler of its own.
struct Gate {
    folder: tempfile::TempDir,
}

/// What the gate said.
struct Verdict {
    code: Option<i32>,
    text: String,
}

impl Gate {
    /// With this baseline, of the compiler that counts.
    fn with(instructions: &Value) -> Self {
        Gate::of("1.95.0", instructions)
    }

    /// With this baseline, of the compiler with this version.
    fn of(rustc: &str, instructions: &Value) -> Self {
        let gate = Gate::empty();
        let why = json!([{ "date": "2026-01-02", "grown": { "a": 4.0 }, "why": "a reason" }]);
        let baseline = json!({ "rustc": rustc, "target": "x86_64-test", "machine": "m", "why": why, "instructions": instructions });
        std::fs::write(gate.baseline(), baseline.to_string()).expect("a file");
        gate
    }

    fn empty() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let compiler = folder.path().join("rustc");
        std::fs::write(&compiler, "#!/bin/sh\necho rustc\necho host: x86_64-test\necho release: 1.95.0\n")
            .expect("a stub");
        std::fs::set_permissions(&compiler, std::fs::Permissions::from_mode(0o755)).expect("a stub");
        Gate { folder }
    }

    fn baseline(&self) -> PathBuf {
        self.folder.path().join("instructions.json")
    }

    fn kept(&self) -> Value {
        serde_json::from_str(&std::fs::read_to_string(self.baseline()).expect("a baseline")).expect("JSON")
    }

    fn check(&self, counts: &Value) -> Verdict {
        self.judge("check", counts, "")
    }

    fn record(&self, counts: &Value, why: &str) -> Verdict {
        self.judge("record", counts, why)
    }

    fn judge(&self, task: &str, counts: &Value, why: &str) -> Verdict {
        let file = self.folder.path().join("counts.json");
        std::fs::write(&file, counts.to_string()).expect("a file");
        let mut command = Command::new("python3");
        command.args(["benches/judge.py", task]).arg(self.baseline()).arg(&file);
        command
            .env("RUSTC", self.folder.path().join("rustc"))
            .env("MACHINE", "m")
            .env("WHY", why)
            .env("PYTHONIOENCODING", "utf-8");
        let output = command.output().unwrap_or_else(|error| panic!("python3: {error}: run .ci/setup instructions"));
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        Verdict { code: output.status.code(), text }
    }
}

impl Verdict {
    fn lets_in(&self) -> &Self {
        assert_eq!(self.code, Some(0), "{}", self.text);
        self
    }

    fn refuses(&self) -> &Self {
        assert_eq!(self.code, Some(1), "{}", self.text);
        self
    }

    fn says(&self, words: &str) -> &Self {
        assert!(self.text.contains(words), "{words:?} is not in:\n{}", self.text);
        self
    }
}

#[test]
fn what_stays_what_it_was_is_let_in_and_shown() {
    let gate = Gate::with(&json!({ "a": 100_000, "b": 50 }));
    let verdict = gate.check(&json!({ "a": 102_900, "b": 50 }));
    verdict.lets_in().says("100 000").says("102 900").says("+2.90 %");
    assert!(!verdict.text.contains("WRONG"), "{}", verdict.text);
}

#[test]
fn what_has_grown_by_four_per_cent_is_refused() {
    let gate = Gate::with(&json!({ "a": 100_000, "b": 50 }));
    let verdict = gate.check(&json!({ "a": 104_000, "b": 50 }));
    verdict.refuses().says("WRONG: a has grown by 4.0 %").says("make instructions RECORD=1 WHY=");
}

#[test]
fn what_has_shrunk_is_let_in_and_asks_to_be_recorded() {
    let gate = Gate::with(&json!({ "a": 100_000 }));
    gate.check(&json!({ "a": 90_000 })).lets_in().says("Less than before: a.").says("make instructions RECORD=1");
}

#[test]
fn a_scenario_that_only_one_side_knows_is_refused() {
    let gate = Gate::with(&json!({ "a": 100, "gone": 100 }));
    let verdict = gate.check(&json!({ "a": 100, "new": 100 }));
    verdict.refuses().says("WRONG: new is not in").says("WRONG: gone is in").says("was not counted");
}

#[test]
fn without_a_baseline_or_counts_nothing_is_let_in() {
    Gate::empty().check(&json!({ "a": 100 })).refuses().says("WRONG: a is not in");
    Gate::with(&json!({})).check(&json!({})).refuses().says("nothing was counted");
    // As when what is counted has another name now.
    let gate = Gate::with(&json!({ "a": 100, "b": 100 }));
    gate.check(&json!({ "a": 0, "b": 100 })).refuses().says("nothing was counted in a");
    gate.record(&json!({ "a": 0, "b": 100 }), "").refuses().says("nothing was counted in a");
}

#[test]
fn counts_of_another_compiler_are_shown_and_loudly_not_judged() {
    let gate = Gate::of("1.94.0", &json!({ "a": 100 }));
    gate.check(&json!({ "a": 200 })).lets_in().says("NOT JUDGED").says("1.94.0").says("1.95.0").says("+100.00 %");
    // What is missing is missing with every compiler.
    gate.check(&json!({ "b": 200 })).refuses();
    let gate = Gate::with(&json!({ "a": 100 }));
    let kept = std::fs::read_to_string(gate.baseline()).expect("a baseline");
    std::fs::write(gate.baseline(), kept.replace("\"machine\":\"m\"", "\"machine\":\"another one\"")).expect("a file");
    gate.check(&json!({ "a": 200 })).lets_in().says("NOT JUDGED").says("another one");
}

#[test]
fn many_routes_must_not_cost_more_than_few() {
    let gate = Gate::with(&json!({ FEW: 100_000, MANY: 106_000 }));
    gate.check(&json!({ FEW: 100_000, MANY: 106_000 })).refuses().says("+6.0 %");
    gate.check(&json!({ FEW: 102_000, MANY: 106_000 })).lets_in();
}

#[test]
fn a_growth_is_recorded_with_its_reason_only() {
    let gate = Gate::with(&json!({ "a": 100_000, "b": 1_000 }));
    let before = gate.kept();
    gate.record(&json!({ "a": 104_000, "b": 1_000 }), " ").refuses().says("Not recorded: a would be more");
    assert_eq!(gate.kept(), before);
    gate.record(&json!({ "a": 104_000, "b": 1_010 }), "a header more").lets_in();
    let kept = gate.kept();
    assert_eq!(kept["instructions"], json!({ "a": 104_000, "b": 1_010 }));
    assert_eq!(kept["why"][0], before["why"][0], "earlier reasons stay");
    assert_eq!(kept["why"][1]["why"], "a header more");
    assert_eq!(kept["why"][1]["grown"], json!({ "a": 4.0 }));
    gate.check(&json!({ "a": 104_000, "b": 1_010 })).lets_in();
}

#[test]
fn without_a_reason_counts_only_fall() {
    let gate = Gate::with(&json!({ "a": 1_000, "b": 1_000, "gone": 1_000 }));
    gate.record(&json!({ "a": 1_020, "b": 500, "new": 7 }), "").lets_in();
    // Else thirty times two per cent would be nobody's.
    assert_eq!(gate.kept()["instructions"], json!({ "a": 1_000, "b": 500, "new": 7 }));
    assert_eq!(gate.kept()["why"].as_array().map(Vec::len), Some(1));
}

#[test]
fn another_compiler_is_recorded_with_a_reason_only() {
    let gate = Gate::of("1.94.0", &json!({ "a": 1_000 }));
    gate.record(&json!({ "a": 900 }), "").refuses().says("another compiler");
    gate.record(&json!({ "a": 2_000 }), "Rust 1.95").lets_in();
    assert_eq!(gate.kept()["rustc"], "1.95.0");
    assert_eq!(gate.kept()["why"][1]["grown"], "everything");
}

#[test]
fn what_gungraun_prints_is_understood() {
    let gate = Gate::with(&json!({ "admission/form_body": 100 }));
    let metrics = json!({ "Ir": { "values": { "new": 104 } } });
    let line = json!({
        "function_name": "admission",
        "id": "form_body",
        "profiles": [{ "data": { "total": { "metrics": metrics } } }],
    });
    let file = gate.folder.path().join("steps.jsonl");
    std::fs::write(&file, format!("{line}\n")).expect("a file");
    let mut command = Command::new("python3");
    command.args(["benches/judge.py", "check"]).arg(gate.baseline()).arg(file);
    command.env("RUSTC", gate.folder.path().join("rustc")).env("MACHINE", "m");
    let output = command.output().expect("python3 runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("admission/form_body has grown by 4.0 %"));
}

#[test]
fn the_baseline_of_this_project_is_in_its_form() {
    let kept: Value = serde_json::from_str(include_str!("../benches/instructions.json")).expect("JSON");
    let counts = kept["instructions"].as_object().expect("counts");
    assert!(counts.values().all(|count| count.as_u64().is_some_and(|count| count > 0)), "{counts:?}");
    assert!(counts.contains_key(FEW) && counts.contains_key(MANY));
    assert!(["rustc", "target", "machine"].iter().all(|key| kept[key].as_str().is_some_and(|text| !text.is_empty())));
    for entry in kept["why"].as_array().expect("reasons") {
        assert!(entry["why"].as_str().is_some_and(|why| !why.trim().is_empty()), "{entry}");
    }
}
