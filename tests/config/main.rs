//! What the operator reads: every file of `cases/` is loaded as the program
//! does it, and what comes out must be what the `.expect` beside it says.
//!
//! `UPDATE_EXPECT=1 cargo test --test config` writes the `.expect` files anew;
//! read them as an operator would before you commit them.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails loudly; Clippy exempts only functions that are tests themselves"
)]

mod arbitrary;
mod diff;
mod limits;
mod mutations;
mod overlaps;
mod records;
mod schema;
mod show;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use tollgate::clock::TestClock;
use tollgate::config::interpolate::Environment;
use tollgate::config::issue::IssueCode;
use tollgate::config::{Config, Loaded, load};
use tollgate::snapshot::Snapshot;
use tollgate::state::State;

/// Relative to the package, so that messages are the same on every machine.
const CASES: &str = "tests/config/cases";

/// What the cases' variables hold. Whatever a message shows of these is a leak.
const SECRETS: [&str; 3] = ["hunter2-from-a-variable", "hunter2-in-the-file", "hunter2-from-a-file"];

fn environment() -> Environment {
    Environment::of([
        ("TOKEN", "hunter2-from-a-variable"),
        // As TOKEN, and long enough to sign with.
        ("SIGNING", "hunter2-from-a-variable-that-is-long-enough"),
        ("EMPTY", ""),
        ("BLANK", " hunter2-from-a-variable "),
        ("HOST", "api.example.com"),
        ("IP", "10.0.0.1"),
        ("WORD", "hunter2-from-a-variable"),
    ])
}

#[test]
fn every_case_says_what_it_should() {
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut wrong = String::new();
    for case in cases() {
        let found = outcome(&case);
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
fn every_kind_of_issue_has_a_case() {
    let expected: String = cases().iter().map(|case| read_expected(case)).collect();
    let missing: Vec<_> = IssueCode::ALL
        .iter()
        .filter(|code| !expected.contains(&format!("[{code}]")))
        .map(ToString::to_string)
        // What only `check --online` finds depends on more than a file: tests/gateway/check_online.rs.
        .filter(|code| !code.starts_with("TG03"))
        .collect();
    assert_eq!(missing, ["TG0003"; 0], "write a case for each of these");
}

#[test]
fn no_case_shows_a_secret() {
    for case in cases() {
        let shown = outcome(&case);
        for secret in SECRETS {
            assert!(!shown.contains(secret), "{} shows {secret}:\n{shown}", case.display());
        }
    }
}

#[test]
fn every_expectation_belongs_to_a_case() {
    let orphans: Vec<_> =
        files("expect").into_iter().filter(|expected| !expected.with_extension("yaml").is_file()).collect();
    assert!(orphans.is_empty(), "remove {orphans:?}, or write their cases");
}

#[test]
fn a_file_above_the_limit_is_not_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("large.yaml");
    let file = std::fs::File::create(&path).expect("a file");
    file.set_len((8 << 20) + 1).expect("a size");
    let issues = load(&path, &environment()).expect_err("it is too large");
    let codes: Vec<IssueCode> = issues.iter().map(|issue| issue.code).collect();
    assert_eq!(codes, [IssueCode::TooLarge], "{issues}");
}

#[test]
fn a_missing_file_and_a_folder_are_unreadable() {
    for (path, wanted) in [("no/such/file.yaml", "there is no file `no/such/file.yaml`"), ("tests", "cannot be read")] {
        let issues = load(Path::new(path), &environment()).expect_err("it cannot be read");
        let text = issues.to_string();
        assert!(text.contains("TG0001") && text.contains(wanted), "{text}");
    }
}

#[test]
fn every_issue_says_what_to_do() {
    let mut wrong = String::new();
    for case in cases() {
        let issues = match load(&case, &environment()) {
            Err(issues) => issues,
            Ok(loaded) => loaded.warnings,
        };
        for issue in issues.iter().filter(|issue| issue.help.is_none()) {
            let _ = writeln!(wrong, "{}", issue.summary());
        }
    }
    assert!(wrong.is_empty(), "these have no help:\n{wrong}");
}

#[test]
fn a_secret_that_kubernetes_mounts_is_no_reason_to_warn() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    // As its volumes are laid out: every file is a link into a folder that is swapped as a whole.
    std::fs::create_dir(at("..2026_01_31_10_20_30.123")).expect("a folder");
    std::fs::write(at("..2026_01_31_10_20_30.123/token"), "p.token").expect("a file");
    symlink("..2026_01_31_10_20_30.123", at("..data")).expect("a link");
    symlink("..data/token", at("token")).expect("a link");
    std::fs::write(at("plain"), "p.token").expect("a file");
    for file in ["token", "plain"] {
        std::fs::set_permissions(at(file), std::fs::Permissions::from_mode(0o644)).expect("the mode can be set");
        let config = at("main.yaml");
        let url = "https://api.tinybird.co";
        let text =
            format!("upstreams: {{ t: {{ url: {url}, token: file://{file} }} }}\nroutes: {{ /a: {{ pipe: a }} }}\n");
        std::fs::write(&config, text).expect("a file");
        let warnings = load(&config, &environment()).expect("it can be used").warnings;
        let warned = warnings.iter().any(|issue| issue.code == IssueCode::ReadableCredential);
        assert_eq!(warned, file == "plain", "{file}: {warnings}");
    }
}

/// Files of the cases that only their owner may read, and that everybody may: a checkout does not keep the modes.
fn set_modes() {
    use std::os::unix::fs::PermissionsExt;
    for (file, mode) in [("secret.txt", 0o600), ("readable.txt", 0o644)] {
        let path = Path::new(CASES).join("files").join(file);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("the mode can be set");
    }
}

/// What a person reads after `tollgate check`.
fn outcome(case: &Path) -> String {
    set_modes();
    match load(case, &environment()) {
        Err(issues) => format!("{issues}{}\n", issues.count()),
        Ok(Loaded { config, warnings, .. }) => format!("{warnings}{}", summary(&config)),
    }
}

/// What a file means, in short.
fn summary(config: &Config) -> String {
    let snapshot = Snapshot::compile(config, &State::new(TestClock::new().clock()));
    let mut text = format!("fine: {} compiled routes\n", snapshot.routes().len());
    for listener in &config.listeners {
        let _ = writeln!(text, "listener {}", listener.address);
    }
    let _ = writeln!(text, "admin {}", config.admin.address);
    for (name, upstream) in &config.upstreams {
        let _ = writeln!(text, "upstream {name} = {}, token {:?}", upstream.places(), upstream.token);
    }
    for (pattern, host) in &config.hosts {
        let tenant = host.tenant.as_ref().map(|tenant| format!(", tenant {tenant}")).unwrap_or_default();
        let routes = if host.routes.is_some() { ", routes of its own" } else { "" };
        let _ = writeln!(text, "host {pattern}{tenant}{routes}");
    }
    for path in config.served_paths() {
        let route = path.route.route;
        if let Some(host) = path.route.host {
            let _ = write!(text, "{host}: ");
        }
        let upstream = config.upstream_of(route).unwrap_or("?");
        let target = match (&route.pipe, &route.proxy) {
            (Some(pipe), _) => format!("pipe {pipe}"),
            (None, proxy) => format!("proxy {}", proxy.as_ref().map(ToString::to_string).unwrap_or_default()),
        };
        let format = path.format.map(|format| format!(" as {}", format.extension())).unwrap_or_default();
        let _ = write!(text, "{} -> {target}{format} of {upstream}", path.pattern);
        for (name, value) in &route.params.fixed {
            let _ = write!(text, ", {name} = {value}");
        }
        text.push('\n');
    }
    text
}

fn cases() -> Vec<PathBuf> {
    let found = files("yaml");
    assert!(found.len() > 50, "the cases are missing");
    found
}

/// The files of all topics, in order.
fn files(extension: &str) -> Vec<PathBuf> {
    let entries = |folder: &Path| -> Vec<PathBuf> {
        let listed = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        listed.map(|entry| entry.expect("the cases can be read").path()).collect()
    };
    let topics = entries(Path::new(CASES)).into_iter().filter(|path| path.is_dir());
    let mut found: Vec<PathBuf> = topics
        .flat_map(|topic| entries(&topic))
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    found.sort();
    found
}

fn read_expected(case: &Path) -> String {
    let path = case.with_extension("expect");
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
