//! `usage plan` from outside: what it prints, how it ends, what it makes of logs and files that are wrong.
//!
//! That it refuses what a gateway refuses, `tests/gateway/usage.rs` sees to.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails loudly; Clippy exempts only functions that are tests themselves"
)]

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

const PLANS: &str = "\
limits:
  daily: { by: tenant, quota: 4/day }
  scan: { by: tenant, quota: 1GB/day, cost: bytes_read, assume: 300MB }
  trial: { by: tenant, rate: 1/h, dry_run: true }
plans: { free: { limits: [daily, trial] }, pro: { limits: [scan] } }
default_plan: free
tenants: { acme: { plan: pro } }
";

const GATEWAY: &str = "\
upstreams: { t: { url: 'http://127.0.0.1:9' } }
default_auth: public
limits:
  old: { by: tenant, rate: 1/day }
  flood: { by: ip, rate: 2/h }
routes:
  /top: { pipe: top, formats: [json, csv], limits: [old] }
";

/// A folder with files.
struct Folder(tempfile::TempDir);

impl Folder {
    fn with(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("a file");
        }
        Folder(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.path().to_path_buf()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the program starts")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        command.args(["usage", "plan"]).args(arguments).current_dir(self.path()).stdin(Stdio::null());
        command
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--format", "json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

/// A line of the log of 1 November 2026; `more` changes or adds fields.
fn line(time: &str, tenant: Option<&str>, more: &Value) -> String {
    let mut line = json!({
        "time": format!("2026-11-01T{time}Z"), "client": "192.0.2.1", "tenant": tenant, "method": "GET",
        "provider": tenant.map(|_| "keys"), "caller": tenant.map(|_| "k1"), "host": "localhost", "path": "/top",
        "route": "/top", "upstream": "t", "status": 200, "refusal": null, "limit": null, "fault": null,
        "bytes_out": 100, "ms": 10.0, "upstream_ms": 8.0,
    });
    for (name, value) in more.as_object().expect("an object") {
        line[name] = value.clone();
    }
    format!("{line}\n")
}

fn log() -> String {
    let mut log = String::new();
    for minute in 0..6 {
        let _ = write!(log, "{}", line(&format!("10:{minute:02}:00"), Some("beta"), &json!({})));
    }
    for (minute, bytes) in [(10, Some(600_000_000_u64)), (11, None), (12, Some(100_000_000)), (13, Some(1)), (14, None)]
    {
        let _ = write!(log, "{}", line(&format!("10:{minute}:00"), Some("acme"), &json!({ "bytes_read": bytes })));
    }
    log + &line("23:59:59", None, &json!({ "upstream": null, "refusal": "route_not_found", "status": 404 }))
}

#[test]
fn who_would_have_been_refused_is_told_by_tenant_and_limit() {
    let folder = Folder::with(&[("access.jsonl", &log()), ("plans.yaml", PLANS)]);
    let output = folder.run(&["--replay", "access.jsonl", "--with", "plans.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(
        out(&output),
        "\
TENANT  PLAN  LIMIT            ALLOWS                REQUESTS  REFUSED  SHARE  FIRST                 WORST HOUR             USED AT MOST
beta    free  trial (dry run)  1/h, 1 at once        6         5        83.3%  2026-11-01T10:01:00Z  2026-11-01T10:00Z (5)  100%
acme    pro   scan             1GB/day (bytes_read)  5         2        40.0%  2026-11-01T10:13:00Z  2026-11-01T10:00Z (2)  100%
beta    free  daily            4/day                 6         2        33.3%  2026-11-01T10:04:00Z  2026-11-01T10:00Z (2)  100%
4 of 11 requests (36.4%) would have been refused: acme (2 of 5, 40.0%), beta (2 of 6, 33.3%).
"
    );
    assert_eq!(
        err(&output),
        "\
12 requests of access.jsonl, from 2026-11-01T10:00:00Z to 2026-11-01T23:59:59Z
note: requests left out, because no limit was asked about them: 1
"
    );
    let told = folder.json(&["--replay", "access.jsonl", "--with", "plans.yaml"]);
    assert_eq!((&told["requests"], &told["refused"], &told["passed_over"]), (&11.into(), &4.into(), &1.into()));
    assert_eq!(
        told["tenants"][0],
        json!({
            "tenant": "acme", "plan": { "name": "pro", "because": "tenants" }, "requests": 5, "refused": 2,
            "limits": [{
                "limit": "scan", "allows": "1GB/day (bytes_read)", "dry_run": false, "requests": 5, "refused": 2,
                "first": "2026-11-01T10:13:00Z", "worst_hour": { "hour": "2026-11-01T10:00Z", "refused": 2 },
                "used_at_most": 1.0,
            }],
        })
    );
}

#[test]
fn nobody_refused_is_said_and_an_empty_log_has_nobody() {
    let generous = PLANS.replace("4/day", "400/day").replace("1GB", "100GB").replace("1/h", "1000/s");
    let folder = Folder::with(&[("access.jsonl", &log()), ("plans.yaml", &generous), ("empty.jsonl", "\n\n")]);
    let output = folder.run(&["--replay", "access.jsonl", "--with", "plans.yaml"]);
    assert!(out(&output).ends_with("\nNobody would have been refused, in 11 requests.\n"), "{}", out(&output));
    let output = folder.run(&["--replay", "empty.jsonl", "--with", "plans.yaml"]);
    assert_eq!((output.status.code(), out(&output).as_str()), (Some(0), ""));
    assert_eq!(err(&output), "`empty.jsonl` has no requests\n");
}

#[test]
fn a_log_comes_from_standard_input_too() {
    let folder = Folder::with(&[("plans.yaml", PLANS)]);
    let mut command = folder.command(&["--replay", "-", "--with", "plans.yaml"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    child.stdin.take().expect("a pipe").write_all(log().as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0));
    assert!(out(&output).contains("4 of 11 requests"), "{}", out(&output));
}

#[test]
fn lines_that_cannot_be_read_are_counted_and_named() {
    let log = log();
    let (first, rest) = log.split_once('\n').expect("lines");
    let long = "x".repeat(1 << 21);
    let text = format!("{first}\nnot a line\n\n{{\"time\":1}}\n{long}\n{{\"status\":200}}\n{rest}{{\"cut\":");
    let folder = Folder::with(&[("access.jsonl", &text), ("plans.yaml", PLANS)]);
    let output = folder.run(&["--replay", "access.jsonl", "--with", "plans.yaml"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(out(&output).contains("4 of 11 requests"), "the others count: {}", out(&output));
    let said = err(&output);
    for words in [
        "line 2 is not a JSON object\n",
        "line 4 is not a line of an access log\n",
        "line 5 is longer than 1 MiB\n",
        "line 6 has no `time`\n",
        "line 18 is not a JSON object\n",
        "note: lines that could not be read: 5\n",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn what_is_no_access_log_or_not_there_ends_with_2() {
    let text = "2026-11-22T17:06:18.123Z 192.0.2.1 GET /top 200 1.0ms\n";
    let folder = Folder::with(&[("access.log", text), ("plans.yaml", PLANS)]);
    for (log, words) in [
        ("access.log", "`access.log` is no access log in JSON: line 1 is not a JSON object; `log: { format: json }`"),
        ("gone.jsonl", "the log `gone.jsonl` cannot be read"),
        (".", "the log `.` cannot be read"),
    ] {
        let output = folder.run(&["--replay", log, "--with", "plans.yaml"]);
        assert_eq!((output.status.code(), out(&output).as_str()), (Some(2), ""), "{log}");
        assert!(err(&output).contains(words), "{log}: {}", err(&output));
    }
    let output = folder.run(&["--replay", "access.log", "--with", "gone.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("there is no file `gone.yaml`"), "{}", err(&output));
    assert_eq!(folder.run(&["--replay", "access.log"]).status.code(), Some(64));
}

#[test]
fn plans_with_problems_end_with_1_and_show_them() {
    let wrong = [
        ("limits: { daily: { by: tenant, quota: 4/dya } }\n", "`4/dya` is not a quota"),
        (
            "limits: { daily: { by: tenant, quota: 4/day } }\nplans: { free: { limits: [dayly] } }\n",
            "did you mean `daily`?",
        ),
        ("plan: {}\n", "did you mean `plans`?"),
        ("limits: { daily: { by: tenant } }\n", "limits nothing"),
        ("# nothing\n", "the file `plans.yaml` is empty"),
        ("[]\n", "error["),
        ("limits: {\n", "error["),
        ("limits: { a: { by: tenant, quota: '${NO_SUCH_VARIABLE}' } }\n", "NO_SUCH_VARIABLE"),
    ];
    for (text, words) in wrong {
        let folder = Folder::with(&[("access.jsonl", &log()), ("plans.yaml", text), ("gateway.yaml", GATEWAY)]);
        for base in [&[][..], &["-c", "gateway.yaml"]] {
            if text.starts_with('#') && !base.is_empty() {
                continue;
            }
            let call = [&["--replay", "access.jsonl", "--with", "plans.yaml"], base].concat();
            let output = folder.run(&call);
            assert_eq!((output.status.code(), out(&output).as_str()), (Some(1), ""), "{text} {}", err(&output));
            assert!(err(&output).contains(words) || !base.is_empty(), "{text}: {}", err(&output));
        }
    }
    let folder =
        Folder::with(&[("access.jsonl", &log()), ("plans.yaml", "limits: { l: { by: tenant, rate: 1/s } }\n")]);
    let output = folder.run(&["--replay", "access.jsonl", "--with", "plans.yaml"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(err(&output).contains("nothing uses the limit `l`"), "it counts nothing: {}", err(&output));
}

#[test]
fn a_whole_configuration_says_where_limits_are_attached() {
    let gateway = GATEWAY.replace("routes:", "server: { limits: [flood] }\nroutes:");
    let mut log = log();
    log += &line("23:59:59.500", Some("beta"), &json!({ "path": "/gone", "route": "/gone" }));
    let folder = Folder::with(&[("access.jsonl", &log), ("gateway.yaml", &gateway)]);
    let told = folder.json(&["--replay", "access.jsonl", "--with", "gateway.yaml"]);
    let limit = |tenant: &str, limit: &str| {
        let tenants = told["tenants"].as_array().expect("tenants");
        let tenant = tenants.iter().find(|found| found["tenant"].as_str().unwrap_or("") == tenant).expect("a tenant");
        let limits = tenant["limits"].as_array().expect("limits");
        limits
            .iter()
            .find(|found| found["limit"] == limit)
            .map(|found| (found["requests"].clone(), found["refused"].clone()))
    };
    // One address for all: two an hour.
    assert_eq!(limit("beta", "flood"), Some((7.into(), 4.into())));
    assert_eq!(limit("beta", "old"), Some((2.into(), 1.into())), "what flood refuses comes no further");
    assert_eq!(limit("", "flood"), Some((1.into(), 0.into())), "a path that is not served counts by address");
    assert_eq!(told["unknown_routes"], 1);
}

#[test]
fn plans_take_the_place_of_those_of_a_configuration() {
    let folder = Folder::with(&[
        ("access.jsonl", &log()),
        ("gateway.yaml", GATEWAY),
        ("plans.yaml", "limits: { old: { by: tenant, quota: 5/day } }\n"),
        ("other.yaml", "limits: { another: { by: tenant, quota: 5/day } }\n"),
        ("whole.yaml", GATEWAY),
    ]);
    let told = folder.json(&["--replay", "access.jsonl", "--with", "plans.yaml", "-c", "gateway.yaml"]);
    assert_eq!(told["tenants"][0]["limits"][0]["allows"], "5/day");
    assert_eq!((&told["tenants"][1]["tenant"], &told["tenants"][1]["refused"]), (&"beta".into(), &1.into()));
    // What the configuration names must be there, and its place is shown.
    let output = folder.run(&["--replay", "access.jsonl", "--with", "other.yaml", "-c", "gateway.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        err(&output).contains("there is no limit `old`") && err(&output).contains("gateway.yaml:7:"),
        "{}",
        err(&output)
    );
    let output = folder.run(&["--replay", "access.jsonl", "--with", "whole.yaml", "-c", "gateway.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("`routes` does not stand beside another configuration"), "{}", err(&output));
}

#[test]
fn requests_that_the_old_limits_refused_are_tries() {
    let refused = |time: &str, tenant: Option<&str>, limit: Value| {
        line(time, tenant, &json!({ "upstream": null, "status": 429, "refusal": "rate_limited", "limit": limit }))
    };
    let log = line("10:00:00", Some("beta"), &json!({}))
        + &refused("10:01:00", Some("beta"), "old".into())
        + &refused("10:02:00", Some("beta"), "daily".into())
        // By address, before it was known who called; and somebody who guesses at credentials.
        + &refused("10:03:00", None, "flood".into())
        + &refused("10:04:00", None, Value::Null);
    let folder = Folder::with(&[("access.jsonl", &log), ("plans.yaml", PLANS)]);
    let told = folder.json(&["--replay", "access.jsonl", "--with", "plans.yaml"]);
    assert_eq!((&told["requests"], &told["passed_over"], &told["unidentified"]), (&3.into(), &2.into(), &1.into()));
    assert_eq!(told["tenants"][0]["limits"][0]["requests"], 3);
}

#[test]
fn requests_are_counted_when_they_came_and_late_ones_are_told() {
    let slow = |time: &str, ms: u64| line(time, Some("beta"), &json!({ "ms": ms }));
    // The slow one came first, and is written last.
    let log = slow("10:00:05", 1)
        + &slow("10:00:06", 1)
        + &slow("10:00:07", 1)
        + &slow("10:00:08", 1)
        + &slow("10:00:00", 9000);
    let folder = Folder::with(&[("access.jsonl", &log), ("plans.yaml", PLANS)]);
    let told = folder.json(&["--replay", "access.jsonl", "--with", "plans.yaml"]);
    assert_eq!((&told["late"], &told["from"]), (&0.into(), &"2026-11-01T10:00:00Z".into()));
    let daily = &told["tenants"][0]["limits"][0];
    assert_eq!((&daily["refused"], &daily["first"]), (&1.into(), &"2026-11-01T10:00:08Z".into()));
    let log =
        slow("10:00:00", 1) + &slow("11:00:00", 1) + &slow("11:30:00", 1) + &slow("10:10:00", 1) + &slow("12:00:00", 1);
    let folder = Folder::with(&[("access.jsonl", &log), ("plans.yaml", PLANS)]);
    let told = folder.json(&["--replay", "access.jsonl", "--with", "plans.yaml"]);
    assert_eq!(told["late"], 1);
    assert!(told["notes"][0].as_str().expect("a note").contains("is the log sorted?"), "{told}");
}
