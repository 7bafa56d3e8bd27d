//! `keys.yaml` and `revoked.yaml`, as [`super`] does it for configurations.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use tollgate::config::keys::{KeyFile, revoked_of};

const RECORDS: &str = "tests/config/records";
/// A part of the keys and the other secrets that stand in the cases.
const SECRETS: [&str; 2] = ["hunter2InTheFile", "hunter2-in-the-file"];

#[test]
fn every_file_of_records_says_what_it_should() {
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut wrong = String::new();
    for (case, found) in outcomes() {
        let expected_file = case.with_extension("expect");
        if update {
            std::fs::write(&expected_file, &found).expect("the cases can be written");
            continue;
        }
        let expected = std::fs::read_to_string(&expected_file).unwrap_or_default();
        if found != expected {
            let _ = writeln!(wrong, "{}\n--- expected\n{expected}--- found\n{found}", case.display());
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}If this is better than before: UPDATE_EXPECT=1 cargo test --test config");
}

#[test]
fn no_file_of_records_shows_a_secret() {
    for (case, shown) in outcomes() {
        for secret in SECRETS {
            assert!(!shown.contains(secret), "{} shows {secret}:\n{shown}", case.display());
        }
    }
}

/// Each case with what a person reads of it.
fn outcomes() -> Vec<(PathBuf, String)> {
    let keys = cases("keys").into_iter().map(|case| (case.clone(), keys(&case)));
    let revoked = cases("revoked").into_iter().map(|case| (case.clone(), revoked(&case)));
    keys.chain(revoked).collect()
}

fn keys(case: &Path) -> String {
    match KeyFile::read(case) {
        Err(issues) => format!("{issues}{}\n", issues.count()),
        Ok(file) => file.records().iter().fold("fine\n".to_owned(), |text, record| format!("{text}{record:?}\n")),
    }
}

fn revoked(case: &Path) -> String {
    let text = std::fs::read_to_string(case).expect("a case");
    let (records, issues) = revoked_of(&case.display().to_string(), 0, &text);
    match issues.is_empty() {
        false => format!("{issues}{}\n", issues.count()),
        true => records.iter().fold("fine\n".to_owned(), |text, record| format!("{text}{record:?}\n")),
    }
}

fn cases(kind: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(Path::new(RECORDS).join(kind)).expect("a folder of cases");
    let mut cases: Vec<PathBuf> = entries.map(|entry| entry.expect("a case").path()).collect();
    cases.retain(|case| case.extension().is_some_and(|extension| extension == "yaml"));
    cases.sort();
    assert!(cases.len() > 3, "only {} cases of {kind}", cases.len());
    cases
}
