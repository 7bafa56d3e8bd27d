//! `tollgate init` from outside: what it writes, says, and never overwrites.
//!
//! Every document of `cases/` is imported; what comes out must be what the
//! `.expect` beside it says. `UPDATE_EXPECT=1 cargo test --test init` writes
//! the `.expect` files anew; read them as an operator would before you commit.
#![expect(clippy::unwrap_used, reason = "a test fails loudly; Clippy exempts only functions that are tests themselves")]

mod program;

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use program::{Running, code, err, get, out, tollgate};

const CASES: &str = "tests/init/cases";

#[test]
fn every_document_becomes_what_it_should() {
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut wrong = String::new();
    let cases = files("json");
    assert!(cases.len() >= 7, "the cases are missing");
    for case in cases {
        let found = outcome(&case);
        let expected_file = case.with_extension("expect");
        if update {
            fs::write(&expected_file, &found).unwrap();
            continue;
        }
        let expected = fs::read_to_string(&expected_file).unwrap_or_default();
        if found != expected {
            let _ = writeln!(wrong, "{}\n--- expected\n{expected}--- found\n{found}", case.display());
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}If this is better than before: UPDATE_EXPECT=1 cargo test --test init");
}

#[test]
fn every_expectation_belongs_to_a_document() {
    let orphans: Vec<_> =
        files("expect").into_iter().filter(|expected| !expected.with_extension("json").is_file()).collect();
    assert!(orphans.is_empty(), "remove {orphans:?}, or write their documents");
}

/// Exit code, talk and file of one import.
fn outcome(case: &Path) -> String {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().to_str().unwrap();
    let output = tollgate(&["init", place, "--yes", "--from-openapi", case.to_str().unwrap()]);
    assert!(!err(&output).contains('\u{1b}') && !out(&output).contains('\u{1b}'), "{}", case.display());
    let mut text = format!("exit {}\n{}", code(&output), err(&output).replace(place, "DIR"));
    let written = folder.path().join("tollgate.yaml");
    if written.is_file() {
        assert_eq!(code(&check(&written)), 0, "{}: what is written passes check", case.display());
        let _ = write!(text, "--- tollgate.yaml\n{}", fs::read_to_string(&written).unwrap());
    } else {
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "all files or none");
    }
    text
}

#[test]
fn without_a_document_a_file_comes_that_passes_check() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("new/folder");
    let arguments = ["init", place.to_str().unwrap(), "--upstream-url", "https://api.us-east.tinybird.co"];
    // Nobody sits at a terminal, so nothing is asked.
    let output = tollgate(&[&arguments[..], &["--token-env", "MY_TOKEN"]].concat());
    assert_eq!(code(&output), 0, "{}", err(&output));
    let text = fs::read_to_string(place.join("tollgate.yaml")).unwrap();
    assert!(text.contains("url: https://api.us-east.tinybird.co\n") && text.contains("token: ${MY_TOKEN}\n"), "{text}");
    let variables = fs::read_to_string(place.join(".env.example")).unwrap();
    assert!(variables.ends_with("\nMY_TOKEN=\n"), "{variables}");
    let mode = |name: &str| fs::metadata(place.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(".env.example"), 0o600, "a copy has secrets in it, and `cp` gives it this mode");
    assert_eq!(mode("tollgate.yaml") & 0o400, 0o400);
    let unset = check(&place.join("tollgate.yaml"));
    assert!(err(&unset).contains("the variable `MY_TOKEN` is not set"), "{}", err(&unset));
    let set = program::command(&["check", place.join("tollgate.yaml").to_str().unwrap()])
        .env("MY_TOKEN", "p.token")
        .output()
        .unwrap();
    assert_eq!(code(&set), 0, "{}", err(&set));
}

#[test]
fn the_next_commands_work_as_they_are_printed() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("it's mine");
    let output = tollgate(&["init", place.to_str().unwrap(), "--yes"]);
    let text = out(&output);
    let commands: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    assert_eq!(commands.len(), 3, "{text}");
    // An editor that writes the token; and `check` in the place of `run`, which would not end.
    let editor = folder.path().join("editor");
    fs::write(&editor, "#!/bin/sh\necho TINYBIRD_TOKEN=p.token > \"$1\"\n").unwrap();
    fs::set_permissions(&editor, fs::Permissions::from_mode(0o700)).unwrap();
    let script = commands[..2].join("\n");
    let binaries = Path::new(env!("CARGO_BIN_EXE_tollgate")).parent().unwrap();
    let path = format!("{}:/usr/bin:/bin", binaries.display());
    let shell = std::process::Command::new("sh")
        .args(["-euc", &script])
        .env("EDITOR", &editor)
        .env("PATH", path)
        .env_remove("TINYBIRD_TOKEN")
        .output()
        .unwrap();
    assert_eq!(code(&shell), 0, "{script}\n{}", err(&shell));
    assert!(out(&shell).contains("fine: 1 route"), "{}", out(&shell));
    assert!(commands[2].starts_with("tollgate run -c "), "{text}");
}

#[test]
fn nothing_is_overwritten_without_force() {
    for name in ["tollgate.yaml", ".env.example", "tollgate.schema.json"] {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().to_str().unwrap();
        fs::write(folder.path().join(name), "mine").unwrap();
        let output = tollgate(&["init", place, "--yes"]);
        assert_eq!(code(&output), 1);
        assert!(err(&output).contains(name) && err(&output).contains("is there already"), "{}", err(&output));
        assert!(err(&output).contains("--force replaces it"), "{}", err(&output));
        assert_eq!(fs::read_to_string(folder.path().join(name)).unwrap(), "mine");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "all files or none");
        assert_eq!(code(&tollgate(&["init", place, "--yes", "--force"])), 0);
        assert_ne!(fs::read_to_string(folder.path().join(name)).unwrap(), "mine");
        let again = tollgate(&["init", place, "--yes"]);
        assert!(err(&again).contains(" are there already") && err(&again).contains("replaces them"), "{}", err(&again));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "and nothing besides");
    }
}

#[test]
fn force_replaces_a_link_and_not_what_it_leads_to() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other");
    fs::write(&other, "somebody's").unwrap();
    std::os::unix::fs::symlink(&other, folder.path().join("tollgate.yaml")).unwrap();
    let output = tollgate(&["init", folder.path().to_str().unwrap(), "--yes", "--force"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert_eq!(fs::read_to_string(&other).unwrap(), "somebody's");
}

#[test]
fn wrong_calls_and_missing_documents_have_codes_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().to_str().unwrap();
    let token = "p.eyJ1IjoiYSJ9.secret";
    let wrong = tollgate(&["init", place, "--yes", "--token-env", token]);
    assert_eq!(code(&wrong), 64);
    assert_eq!(code(&tollgate(&["init", place, "--yes", "--upstream-url", "ftp://x"])), 64);
    let nothing = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for from in ["no/such/file.json", "tests/init", "Cargo.toml", &format!("http://{nothing}/v0/pipes/openapi.json")] {
        let output = tollgate(&["init", place, "--yes", "--from-openapi", from]);
        assert_eq!(code(&output), 2, "{from}: {}", err(&output));
        assert!(err(&output).ends_with("nothing was written\n"), "{}", err(&output));
    }
    let unset = tollgate(&["init", place, "--from-openapi", "http://127.0.0.1:1/", "--token-env", "NOT_SET_ANYWHERE"]);
    assert!(err(&unset).contains("the variable NOT_SET_ANYWHERE is not set"), "{}", err(&unset));
    assert_eq!(fs::read_dir(place).unwrap().count(), 0);
}

#[test]
fn a_place_that_cannot_be_written_ends_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let place = file.join("below");
    let output = tollgate(&["init", place.to_str().unwrap(), "--yes"]);
    assert_eq!(code(&output), 2, "{}", err(&output));
    assert!(err(&output).contains("cannot be made"), "{}", err(&output));
}

#[test]
fn from_the_bundled_upstream_to_an_answer() {
    let (_upstream, address) = Running::demo_upstream("p.mine-and-secret");
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().to_str().unwrap();
    let url = format!("http://{address}/v0/pipes/openapi.json");

    let refused = tollgate(&["init", place, "--yes", "--from-openapi", &url]);
    assert_eq!(code(&refused), 2);
    assert!(err(&refused).contains("--token-env"), "it says how to send one: {}", err(&refused));

    let import = program::command(&["init", place, "--yes", "--from-openapi", &url, "--token-env", "MY_TOKEN"])
        .env("MY_TOKEN", "p.mine-and-secret")
        .output()
        .unwrap();
    assert_eq!(code(&import), 0, "{}", err(&import));
    assert!(err(&import).contains("12 pipes converted"), "{}", err(&import));
    let file = folder.path().join("tollgate.yaml");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(&format!("url: http://{address}\n")), "{text}");
    let shown = format!("{text}{}{}", err(&import), fs::read_to_string(folder.path().join(".env.example")).unwrap());
    assert!(!shown.contains("p.mine-and-secret"), "{shown}");

    // On ports that nobody else has.
    let free = text.replace("127.0.0.1:8080", "127.0.0.1:0") + "admin: { address: 127.0.0.1:0 }\n";
    fs::write(&file, free).unwrap();
    let mut gateway = program::command(&["run", "-c", file.to_str().unwrap()]);
    let (_gateway, address) = Running::gateway(gateway.env("MY_TOKEN", "p.mine-and-secret"));
    let answer = get(address, "/top-10-products?limit=2&company_id=acme");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"rows\""), "{answer}");
    assert!(get(address, "/top-10-products.csv?limit=2").starts_with("HTTP/1.1 200 "));
    assert!(get(address, "/top-10-products?q=SELECT+1").starts_with("HTTP/1.1 400 "));
    assert!(get(address, "/v0/pipes/openapi.json").starts_with("HTTP/1.1 404 "));
}

#[test]
fn a_token_in_the_url_is_sent_and_shown_nowhere() {
    let (_upstream, address) = Running::demo_upstream("p.in-the-url");
    let folder = tempfile::tempdir().unwrap();
    let url = format!("http://{address}/v0/pipes/openapi.json?token=p.in-the-url");
    let output = tollgate(&["init", folder.path().to_str().unwrap(), "--yes", "--from-openapi", &url]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    let mut shown = out(&output) + &err(&output);
    for entry in fs::read_dir(folder.path()).unwrap() {
        shown += &fs::read_to_string(entry.unwrap().path()).unwrap();
    }
    assert!(!shown.contains("p.in-the-url"), "{shown}");
}

fn check(file: &Path) -> std::process::Output {
    tollgate(&["check", file.to_str().unwrap()])
}

fn files(extension: &str) -> Vec<PathBuf> {
    let listed = fs::read_dir(CASES).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> =
        listed.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    found.sort();
    found
}
