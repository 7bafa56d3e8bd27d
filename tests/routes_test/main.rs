//! What the operator reads: each file of `cases/` begins with a command line, and what the program then prints must be what
//! stands below it.
//!
//! `UPDATE_EXPECT=1 cargo test --test routes_test` writes what is printed now; read it as an operator would before you
//! commit it. That it is true, `tests/gateway/explain.rs` sees to.
#![expect(clippy::expect_used, reason = "a test fails loudly; Clippy exempts only functions that are tests themselves")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/routes_test");
const SECRET: &str = "a-credential-nobody-sees";

#[test]
fn every_case_says_what_it_should() {
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut wrong = String::new();
    for case in cases() {
        let written = std::fs::read_to_string(&case).expect("the case can be read");
        let found = outcome(written.lines().next().expect("a command line"));
        if update {
            std::fs::write(&case, &found).expect("the cases can be written");
        } else if found != written {
            let _ = writeln!(wrong, "{}\n--- expected\n{written}--- found\n{found}", case.display());
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}If this is better than before: UPDATE_EXPECT=1 cargo test --test routes_test");
}

#[test]
fn no_case_shows_a_credential() {
    for case in cases() {
        let written = std::fs::read_to_string(&case).expect("the case can be read");
        let (_, shown) = written.split_once('\n').expect("an answer");
        assert!(!shown.contains(SECRET) && !shown.contains("hunter2"), "{}:\n{shown}", case.display());
    }
}

#[test]
fn a_call_that_makes_no_sense_ends_with_64() {
    for (call, words) in [
        ("tollgate routes test", "<METHOD>"),
        ("tollgate routes test GET /a", "--config <FILE>"),
        ("tollgate routes test G@T /a -c gateway.yaml", "not a method"),
        ("tollgate routes test GET a -c gateway.yaml", "not a URL"),
        ("tollgate routes test GET ftp://a/b -c gateway.yaml", "not a URL"),
        ("tollgate routes test GET '/a b' -c gateway.yaml", "%20"),
        ("tollgate routes test GET http://me:hunter2@a/b -c gateway.yaml", "use a header"),
        ("tollgate routes test GET /a -H nothing -c gateway.yaml", "Name: value"),
        ("tollgate routes test GET /a --from here -c gateway.yaml", "--from"),
        ("tollgate routes test GET /a --format xml -c gateway.yaml", "possible values: json, text"),
        ("tollgate routes", "--config <FILE>"),
    ] {
        let output = run(call);
        assert_eq!(output.status.code(), Some(64), "{call}: {output:?}");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains(words), "{call}: {text}");
        assert!(output.stdout.is_empty(), "{call}");
    }
}

#[test]
fn a_question_that_cannot_be_answered_ends_with_2() {
    for (call, words) in [
        ("tollgate routes test GET /a -c nowhere.yaml", "there is no file `nowhere.yaml`"),
        ("tollgate routes test GET /a -c main.rs", "error[TG"),
        ("tollgate routes test POST /a -d @nowhere.json -c gateway.yaml", "the body `nowhere.json` cannot be read"),
    ] {
        let output = run(call);
        assert_eq!(output.status.code(), Some(2), "{call}: {output:?}");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains(words), "{call}: {text}");
        assert!(output.stdout.is_empty(), "{call}");
    }
}

#[test]
fn a_body_may_begin_with_a_dash_and_bytes_come_from_a_file() {
    use std::os::unix::ffi::OsStrExt as _;

    let dashed = run("tollgate routes test POST /writes -d --x -H 'Content-Type: text/plain' -c gateway.yaml");
    assert_eq!(dashed.status.code(), Some(0), "{dashed:?}");
    assert!(String::from_utf8_lossy(&dashed.stdout).ends_with("goes upstream\n"), "{dashed:?}");

    let bytes = std::ffi::OsStr::from_bytes(b"a=\xff");
    let mut program = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    program.args(["routes", "test", "POST", "/writes", "-c", "gateway.yaml", "-d"]).arg(bytes).current_dir(FOLDER);
    let output = program.output().expect("the program starts");
    assert_eq!(output.status.code(), Some(64), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("write -d @FILE"), "{output:?}");

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("body");
    std::fs::write(&file, b"a=\xff").expect("it is written");
    let call = format!("tollgate routes test POST /writes -d @{} -c gateway.yaml", file.display());
    assert_eq!(run(&call).status.code(), Some(0));
    let running = run(&format!("{call} --running"));
    assert_eq!(running.status.code(), Some(2), "{running:?}");
    assert!(String::from_utf8_lossy(&running.stderr).contains("without --running"), "{running:?}");
}

#[test]
fn json_has_the_same_facts() {
    let call = "tollgate routes test GET '/acme/trend?tenant_id=evil' -c gateway.yaml";
    let text = String::from_utf8(run(call).stdout).expect("text");
    let output = run(&format!("{call} --format json"));
    assert_eq!(output.status.code(), Some(0));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for pointer in [
        "/request/path",
        "/route/pattern",
        "/route/place",
        "/route/captures/0/value",
        "/route/others/0",
        "/parameters/0/before",
        "/parameters/1/after",
        "/upstream/url",
        "/upstream/headers/0/value",
    ] {
        let fact = json.pointer(pointer).and_then(|fact| fact.as_str()).unwrap_or_else(|| panic!("{pointer}: {json}"));
        assert!(text.contains(fact), "{pointer}: {fact}\n{text}");
    }
    assert_eq!(json.pointer("/verdict/outcome").and_then(|outcome| outcome.as_str()), Some("upstream"));
}

#[test]
fn what_a_caller_writes_does_not_move_the_cursor() {
    let output = run("tollgate routes test GET '/top-10-products?a=%1b[2J%0a' -c gateway.yaml");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.contains("\\u{1b}[2J\\n") && !text.contains('\u{1b}'), "{text}");
}

/// The command, what it prints, and how it ends.
fn outcome(line: &str) -> String {
    let output = run(line.strip_prefix("$ ").expect("a case begins with `$ `"));
    let printed = String::from_utf8(output.stdout).expect("text").replace(env!("CARGO_PKG_VERSION"), "VERSION");
    format!("{line}\n{printed}exit {}\n", output.status.code().expect("it ends by itself"))
}

fn run(line: &str) -> Output {
    let words = words(line);
    assert_eq!(words.first().map(String::as_str), Some("tollgate"), "{line}");
    let mut program = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    program.args(words.iter().skip(1)).current_dir(FOLDER).output().expect("the program starts")
}

/// The words of a line; single quotes keep blanks.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for (index, piece) in line.split('\'').enumerate() {
        let quoted = index % 2 == 1;
        for c in piece.chars() {
            match words.last_mut() {
                Some(word) if quoted || c != ' ' => word.push(c),
                _ => words.push(String::new()),
            }
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(FOLDER).join("cases");
    let entries = std::fs::read_dir(folder).expect("the cases are there");
    let mut cases: Vec<PathBuf> = entries.map(|entry| entry.expect("the cases can be read").path()).collect();
    cases.sort();
    assert!(cases.len() > 10, "the cases are missing");
    cases
}
