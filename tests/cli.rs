//! The binary from outside: what it prints, where, and how it ends.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails loudly; Clippy exempts only functions that are tests themselves"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use tollgate::clock::Clock;
use tollgate::demo::{ADMIN_TOKEN, WORKSPACE_ID};

/// Far more than anything here takes, far less than a test run's patience.
const PATIENCE: Duration = Duration::from_secs(30);

const GOOD: &str = "\
upstreams:
  tinybird: { url: http://127.0.0.1:9, token: \"${TINYBIRD_TOKEN}\" }
listeners:
  - address: 127.0.0.1:0
admin: { address: 127.0.0.1:0 }
log: { access: off }
routes:
  /top: { pipe: top, formats: [json, csv] }
  /ch/*: { proxy: \"/base/{path.rest}\", methods: [GET] }
";

#[test]
fn check_ends_with_0_for_a_good_file() {
    let folder = Folder::with(GOOD);
    let output = tollgate(&["check", folder.file()]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert_eq!(
        out(&output),
        format!("{}: fine: 2 routes (4 paths), 1 upstream, 1 warning\n", folder.file()),
        "one line of data"
    );
    assert!(err(&output).contains("warning[TG0201]"), "{}", err(&output));
}

#[test]
fn check_ends_with_1_for_problems_and_shows_each() {
    let folder = Folder::with("upstreams: { a: { url: ftp://x } }\nroutes: { /x: { pipe: a/b } }\n");
    let output = tollgate(&["check", folder.file()]);
    assert_eq!(code(&output), 1);
    assert_eq!(out(&output), "", "talk goes to stderr");
    let text = err(&output);
    assert!(text.contains("main.yaml:1:24") && text.contains("main.yaml:2:23"), "{text}");
    assert!(text.ends_with(&format!("{}: 2 errors\n", folder.file())), "{text}");
}

#[test]
fn check_ends_with_2_for_a_file_that_is_not_there() {
    let output = tollgate(&["check", "no/such/file.yaml"]);
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("there is no file `no/such/file.yaml`"), "{}", err(&output));
}

#[test]
fn check_ends_with_1_for_a_secret_file_that_is_not_there() {
    let folder = Folder::with(
        "upstreams: { a: { url: https://a.example.com, token: file://gone } }\nroutes: { /x: { pipe: x } }\n",
    );
    let output = tollgate(&["check", folder.file()]);
    assert_eq!(code(&output), 1, "the configuration could be read, and names a file that cannot");
    assert!(err(&output).contains("gone` cannot be read"), "{}", err(&output));
}

/// Two warnings: one that can be mended, and the one that every file has.
const RISKY: &str = "\
upstreams: { a: { url: http://far.example.com } }
routes:
  /a: { pipe: a }
";

#[test]
fn check_takes_warnings_for_errors_when_it_is_strict() {
    let folder = Folder::with(RISKY);
    let lenient = tollgate(&["check", folder.file()]);
    assert_eq!(code(&lenient), 0, "{}", err(&lenient));
    assert!(err(&lenient).contains("warning[TG0203]"), "{}", err(&lenient));
    let strict = tollgate(&["check", "--strict", folder.file()]);
    assert_eq!((code(&strict), out(&strict)), (1, String::new()));
    assert!(err(&strict).contains("error[TG0203]") && err(&strict).ends_with("2 errors\n"), "{}", err(&strict));
    // To say nothing of who may call counts, too, until the file says that everybody may.
    let folder = Folder::with(GOOD);
    assert_eq!(code(&tollgate(&["check", "--strict", folder.file()])), 1);
    let folder = Folder::with(&format!("default_auth: public\n{GOOD}"));
    assert_eq!(code(&tollgate(&["check", "--strict", folder.file()])), 0);
}

#[test]
fn check_knows_its_other_names() {
    let folder = Folder::with(GOOD);
    let plain = out(&tollgate(&["check", folder.file()]));
    assert_eq!(out(&tollgate(&["validate", folder.file()])), plain);
    assert_eq!(out(&tollgate(&["check", "-c", folder.file()])), plain);
    assert_eq!(code(&tollgate(&["check", "-c", folder.file(), folder.file()])), 64, "one way or the other");
}

#[test]
fn check_looks_at_every_file_and_ends_with_the_worst() {
    let (good, bad) = (Folder::with(GOOD), Folder::with("routes: {}\n"));
    let output = tollgate(&["check", good.file(), bad.file()]);
    assert_eq!(code(&output), 1);
    assert!(out(&output).starts_with(good.file()) && err(&output).contains(bad.file()), "{}", err(&output));
    assert_eq!(code(&tollgate(&["check", bad.file(), "no/such/file.yaml", good.file()])), 2);
}

#[test]
fn check_says_only_what_is_wrong_when_it_is_quiet() {
    let (good, bad) = (Folder::with(GOOD), Folder::with("routes: {}\n"));
    let output = tollgate(&["check", "-q", good.file()]);
    assert_eq!((code(&output), out(&output)), (0, String::new()));
    let output = tollgate(&["check", "--quiet", bad.file()]);
    assert_eq!(code(&output), 1);
    assert!(err(&output).contains("TG0104") && !err(&output).contains("errors"), "{}", err(&output));
}

#[test]
fn check_prints_json_for_programs() {
    let (good, bad) =
        (Folder::with(GOOD), Folder::with("upstreams: { a: { url: ftp://x } }\nroutes: { /é: { pip: b } }\n"));
    let output = tollgate(&["check", "--format", "json", good.file(), bad.file()]);
    assert_eq!((code(&output), err(&output)), (1, String::new()), "one document on stdout, and nothing beside it");
    let json: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!(json["files"], serde_json::json!([good.file(), bad.file()]));
    assert_eq!((&json["errors"], &json["warnings"]), (&2.into(), &1.into()));
    assert_eq!(
        json["summary"],
        serde_json::json!([
            { "file": good.file(), "ok": true, "hosts": 0, "routes": 2, "paths": 4, "upstreams": 1, "listeners": 1 },
            { "file": bad.file(), "ok": false },
        ])
    );
    assert_eq!(
        json["issues"][2],
        serde_json::json!({
            "code": "TG0102", "severity": "error", "title": "`pip` is not a key here", "help": "did you mean `pipe`?",
            "label": "", "file": bad.file(), "line": 2, "column": 17, "end_line": 2, "end_column": 20, "related": [],
        })
    );
    let output = tollgate(&["check", "--format", "json", "no/such/file.yaml"]);
    assert_eq!(code(&output), 2);
    let json: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!((&json["issues"][0]["code"], &json["issues"][0]["line"]), (&"TG0001".into(), &serde_json::Value::Null));
}

#[test]
fn check_prints_workflow_commands_for_github() {
    let folder = Folder::with("upstreams: { a: { url: ftp://50%, tls: {} } }\nroutes: { /a: { pipe: b } }\n");
    let output = tollgate(&["check", "--format", "github", folder.file()]);
    assert_eq!(code(&output), 1);
    assert_eq!(
        out(&output),
        format!(
            "::error file={},line=1,endLine=1,col=24,endColumn=33,title=TG0105::`ftp://50%25` is not a URL%0Ahelp: write it like https://api.tinybird.co\n",
            folder.file()
        )
    );
    let output = tollgate(&["check", "--format", "github", "50%,a:b.yaml"]);
    assert_eq!(code(&output), 2);
    let text = out(&output);
    assert!(
        text.starts_with("::error file=50%25%2Ca%3Ab.yaml,title=TG0001::there is no file `50%25,a:b.yaml`%0Ahelp: "),
        "{text}"
    );
}

#[test]
fn explain_prints_the_long_text() {
    let text = out(&tollgate(&["explain", "TG0107"]));
    assert!(
        text.starts_with("TG0107 (error: the configuration cannot be used)\n\nA name that is defined nowhere.\n"),
        "{text}"
    );
    assert!(text.contains("\nWrong:\n\n    upstreams:\n") && text.contains("\nRight:\n\n    upstreams:\n"), "{text}");
    assert!(!text.contains("```"), "a terminal shows fences raw: {text}");
    for same in ["tg0107", "0107"] {
        assert_eq!(out(&tollgate(&["explain", same])), text);
    }
    let list = out(&tollgate(&["explain"]));
    assert!(list.contains("TG0107  error    A name that is defined nowhere.\n"), "{list}");
}

#[test]
fn explain_says_whether_the_file_can_be_used() {
    for (code, words) in [
        ("TG0302", "can be used, but not from here"),
        ("TG0105", "(error: the configuration cannot be used)"),
        ("TG0201", "(warning: the configuration can be used"),
    ] {
        let text = out(&tollgate(&["explain", code]));
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn explain_names_the_nearest_codes() {
    let output = tollgate(&["explain", "TG0170"]);
    assert_eq!((code(&output), out(&output)), (1, String::new()));
    assert!(err(&output).contains("there is no code `TG0170`") && err(&output).contains("TG0107"), "{}", err(&output));
    let output = tollgate(&["explain", "é"]);
    assert_eq!(code(&output), 1);
    assert!(err(&output).contains("`tollgate explain` lists all codes"), "{}", err(&output));
}

#[test]
fn check_online_shows_what_it_tried_and_ends_with_1_for_problems() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = Folder::with(&GOOD.replace("http://127.0.0.1:9", &format!("http://{nobody}")));
    assert_eq!(code(&tollgate(&["check", folder.file()])), 0, "nothing is tried unless asked");
    let output = tollgate(&["check", "--online", folder.file()]);
    assert_eq!(code(&output), 1);
    assert_eq!(
        out(&output),
        format!(
            "\
upstream tinybird     connect  failed   `tinybird` takes no connection on port {}: connection refused
listener 127.0.0.1:0  address  ok       takes a free port
admin 127.0.0.1:0     address  ok       takes a free port
state                 write    ok       {} can be written: an admin token will be made there
",
            nobody.port(),
            Path::new(folder.file()).with_file_name("data").display()
        )
    );
    let text = err(&output);
    assert!(text.contains("error[TG0302]") && text.contains("main.yaml:2:3") && text.contains("1 error"), "{text}");
    assert!(!text.contains("p.a-token-of-tests"), "{text}");
}

#[test]
fn check_online_ends_with_0_where_everything_works() {
    let mut upstream = Running(start(&["demo-upstream", "--listen", "127.0.0.1:0", "--token", "p.a-token-of-tests"]));
    let mut line = String::new();
    BufReader::new(upstream.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let text = GOOD.replace("http://127.0.0.1:9", line.trim()).replace("pipe: top,", "pipe: kpis,");
    let folder = Folder::with(&text);
    let output = tollgate(&["check", "--online", folder.file()]);
    assert_eq!(code(&output), 0, "{}{}", out(&output), err(&output));
    assert!(out(&output).ends_with("fine: 2 routes (4 paths), 1 upstream, 1 warning\n"), "{}", out(&output));
    assert!(out(&output).contains("the credential reads 12 pipes"), "{}", out(&output));
    upstream.signal("TERM");
    upstream.wait();
}

#[test]
fn a_wrong_call_ends_with_64() {
    for arguments in [
        &["chekc"][..],
        &["run"],
        &["run", "-c"],
        &["check"],
        &["routes", "--jsn"],
        &["config", "diff", "--running"],
        &["config", "show", "--running"],
        &[],
    ] {
        let output = tollgate(arguments);
        assert_eq!(code(&output), 64, "{arguments:?}: {}", err(&output));
        assert_eq!(out(&output), "", "{arguments:?}");
    }
    assert!(err(&tollgate(&["chekc"])).contains("'check'"), "the nearest command is named");
}

#[test]
fn a_wrong_call_is_explained_without_its_words() {
    let folder = Folder::with(GOOD);
    let (file, place) = (folder.file(), folder.file.with_file_name("new"));
    let place = place.to_str().unwrap();
    let test = |words: &[&'static str]| [&["routes", "test"], words, &["-c", file]].concat();
    let init = |words: &[&'static str]| [&["init", place, "--yes"], words].concat();
    for (call, expected) in [
        (test(&["GET", "/a", "-H", "Authorization Bearer hunter2"]), 64),
        (test(&["GET", "/a", "-H", "Authorization hunter2: x"]), 64),
        (test(&["GET", "/a", "-H", "Authorization:", "Bearer", "hunter2"]), 64),
        (test(&["-H", "Authorization:", "hunter2", "GET", "/a"]), 64),
        (test(&["GET", "http://u:hunter2@h/a"]), 64),
        (test(&["GET", "/a?token=hun hunter2"]), 64),
        (test(&["hunter2{", "/a"]), 64),
        (init(&["hunter2"]), 64),
        (init(&["--token-env", "p.hunter2"]), 64),
        (init(&["--upstream-url", "https://u:hunter2@h/"]), 64),
        (init(&["--upstream-url", "https://h/#hunter2"]), 64),
        (init(&["--upstream-url", "p.hunter2"]), 64),
        (init(&["--from-openapi", "ftp://u:hunter2@h/"]), 64),
        (init(&["--from-openapi", "https://u:hunter2@h/"]), 64),
        (init(&["--from-openapi", "HTTP://127.0.0.1:1/?token=hunter2"]), 2),
        (init(&["--from-openapi", "h/openapi.json?token=hunter2"]), 2),
        (init(&["--from-openapi", "u:hunter2@h/openapi.json"]), 2),
        (vec!["healthcheck", "--url", "http://127.0.0.1:1/?token=hunter2"], 1),
        (vec!["reload", "--admin-url", "http://127.0.0.1:1/?token=hunter2", "--token-file", "Cargo.toml"], 2),
    ] {
        let output = tollgate(&call);
        assert_eq!(code(&output), expected, "{call:?}: {}", err(&output));
        assert!(!err(&output).contains("hunter2") && err(&output).len() > 20, "{call:?}: {}", err(&output));
        assert_eq!(out(&output), "", "{call:?}");
    }
}

#[test]
fn help_begins_with_examples() {
    for arguments in [&["--help"][..], &["help"], &["-h"]] {
        let output = tollgate(arguments);
        assert_eq!(code(&output), 0);
        assert!(out(&output).starts_with("Examples:\n  tollgate demo "), "{}", out(&output));
    }
    for command in [
        "run",
        "check",
        "routes",
        "demo",
        "demo-upstream",
        "explain",
        "healthcheck",
        "init",
        "keys",
        "config",
        "schema",
        "token",
        "version",
    ] {
        assert!(out(&tollgate(&["--help"])).contains(&format!("  {command} ")), "{command} is not in the help");
        assert_eq!(code(&tollgate(&[command, "--help"])), 0);
    }
}

#[test]
fn every_example_of_the_help_is_understood() {
    let commands =
        ["", "check", "demo", "config diff", "config show", "explain", "healthcheck", "init", "reload", "routes"];
    let commands = commands.into_iter().chain(["token inspect", "token sign", "token verify"]);
    let commands = commands.chain(["keys create", "keys list", "keys revoke", "routes test", "run", "schema"]);
    let helps =
        commands.map(|command| out(&tollgate(&[command.split_whitespace().collect(), vec!["--help"]].concat())));
    let helps: Vec<String> = helps.collect();
    let mut examples = Vec::new();
    for help in &helps {
        assert!(help.starts_with("Examples:\n  tollgate "), "{help}");
        examples.extend(help.lines().filter_map(|line| line.strip_prefix("  tollgate ")));
    }
    for example in examples {
        let call = example.split("  ").next().unwrap().split(['>', '<']).next().unwrap();
        // What stands between quotes is one word.
        let pieces = call.split('\'').enumerate();
        let words = pieces.flat_map(|(at, piece)| match at % 2 {
            0 => piece.split_whitespace().collect(),
            _ => vec![piece],
        });
        let arguments: Vec<&str> = words.chain(["--help"]).collect();
        assert_eq!(code(&tollgate(&arguments)), 0, "tollgate {call}");
    }
}

#[test]
fn version_is_for_people_and_for_programs() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(out(&tollgate(&["version"])), format!("tollgate {version}\n"));
    assert_eq!(out(&tollgate(&["--version"])), format!("tollgate {version}\n"));
    let json: serde_json::Value = serde_json::from_str(&out(&tollgate(&["version", "--format", "json"]))).unwrap();
    assert_eq!(json, serde_json::json!({ "name": "tollgate", "version": version }));
}

#[test]
fn routes_lists_what_is_served_and_where_it_leads() {
    let folder = Folder::with(GOOD);
    let output = tollgate(&["routes", "-c", folder.file()]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert_eq!(
        out(&output),
        "\
/ch/*      GET            public  http://127.0.0.1:9/base/{path.rest}
/top       GET,HEAD,POST  public  http://127.0.0.1:9/v0/pipes/top.json
/top.json  GET,HEAD,POST  public  http://127.0.0.1:9/v0/pipes/top.json
/top.csv   GET,HEAD,POST  public  http://127.0.0.1:9/v0/pipes/top.csv
"
    );
    let lines = out(&tollgate(&["routes", "--format", "json", "-c", folder.file()]));
    let rows: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 4);
    assert_eq!(
        rows.first().unwrap(),
        &serde_json::json!({
            "host": null, "path": "/ch/*", "methods": "GET", "upstream": "tinybird",
            "target": "http://127.0.0.1:9/base/{path.rest}", "auth": { "public": true }, "tenants": {},
        })
    );
}

#[test]
fn config_show_prints_what_takes_effect() {
    let folder = Folder::with(GOOD);
    let output = tollgate(&["config", "show", folder.file()]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert_eq!(err(&output), "", "what deserves a look is for `check`");
    let text = out(&output);
    assert!(text.contains("    token: \"***\"\n") && text.contains("\n  keepalive: 1m\n"), "{text}");
    assert!(!text.contains("a-token-of-tests"), "{text}");
    assert_eq!(out(&tollgate(&["config", "show", "-c", folder.file()])), text, "as the other commands are called");
    let again = Folder::with(&text);
    assert_eq!(code(&tollgate(&["check", again.file()])), 0, "it loads again");
    let origins = out(&tollgate(&["config", "show", folder.file(), "--origin"]));
    let at = format!("# ${{TINYBIRD_TOKEN}} at {}:2", folder.file());
    assert!(origins.contains(&at) && origins.contains("# default"), "{origins}");
    let json = out(&tollgate(&["config", "show", folder.file(), "--format", "json"]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json.pointer("/upstreams/tinybird/token"), Some(&"***".into()));
    assert_eq!(json.pointer("/server/keepalive"), Some(&"1m".into()));
}

#[test]
fn config_show_ends_as_check_does() {
    let bad = Folder::with("upstreams: { a: { url: ftp://x } }\nroutes: { /x: { pipe: x } }\n");
    let output = tollgate(&["config", "show", bad.file()]);
    assert_eq!((code(&output), out(&output)), (1, String::new()));
    assert!(err(&output).contains("TG0105"), "{}", err(&output));
    assert_eq!(code(&tollgate(&["config", "show", "no/such/file.yaml"])), 2);
    for wrong in [&["config"][..], &["config", "show"], &["config", "show", "a", "-c", "b"], &["config", "diff", "a"]] {
        assert_eq!(code(&tollgate(wrong)), 64, "{wrong:?}");
    }
}

#[test]
fn config_diff_tells_by_its_exit_code() {
    let old = Folder::with(GOOD);
    let same = Folder::with(&format!("# A comment.\n{GOOD}server: {{ threads: auto }}\n"));
    let output = tollgate(&["config", "diff", old.file(), same.file()]);
    assert_eq!((code(&output), out(&output).as_str()), (0, ""), "{}", err(&output));
    assert!(err(&output).contains("no difference"), "{}", err(&output));

    let new = Folder::with(&GOOD.replace("${TINYBIRD_TOKEN}", "p.another").replace("access: off", "access: stdout"));
    let output = tollgate(&["config", "diff", old.file(), new.file()]);
    assert_eq!(code(&output), 1, "{}", err(&output));
    assert_eq!(
        out(&output),
        "~ upstreams.tinybird.token: *** (changed)\n~ log.access: \"off\" -> stdout\nneeds a restart: log.access\n"
    );
    let json = out(&tollgate(&["config", "diff", "--format", "json", old.file(), new.file()]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json.pointer("/changes/1/takes"), Some(&"restart".into()));
    assert_eq!(json.pointer("/changes/0/after"), Some(&"***".into()));

    let bad = Folder::with("routes: {}\n");
    for (first, second) in [(bad.file(), new.file()), (new.file(), bad.file()), (old.file(), "no/such/file.yaml")] {
        let output = tollgate(&["config", "diff", first, second]);
        assert_eq!((code(&output), out(&output)), (2, String::new()));
        assert!(err(&output).contains("error[TG0"), "{}", err(&output));
    }
}

#[test]
fn schema_prints_the_file_that_editors_read() {
    let output = tollgate(&["schema"]);
    assert_eq!(code(&output), 0);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/tollgate.schema.json");
    assert_eq!(out(&output), std::fs::read_to_string(file).unwrap());
}

#[test]
fn a_reader_who_has_enough_is_no_reason_to_panic() {
    let mut text = "upstreams: { a: { url: http://127.0.0.1:9 } }\nroutes:\n".to_owned();
    for number in 0..5_000 {
        text.push_str(&format!("  /route-{number}: {{ pipe: a }}\n"));
    }
    let folder = Folder::with(&text);
    let mut child = start(&["routes", "-c", folder.file()]);
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.starts_with("/route-0 "), "{first}");
    // The reader is gone by now, with most of the table unread.
    let output = finish(child);
    assert!(!err(&output).contains("panic"), "{}", err(&output));
    assert_eq!(code(&output), 0, "{}", err(&output));
}

#[test]
fn output_that_cannot_be_written_ends_with_2() {
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let good = Folder::with(GOOD);
    let bad = Folder::with(&GOOD.replace("pipe:", "pip:"));
    for arguments in [
        &["config", "show", good.file()][..],
        &["routes", "-c", good.file()],
        &["routes", "test", "GET", "/nothing", "-c", good.file()],
        &["check", good.file()],
        &["check", "--format", "json", bad.file()],
        &["schema"],
        &["explain"],
        &["version"],
        &["--help"],
    ] {
        let output = command(arguments).stdout(full()).output().unwrap();
        assert_eq!(code(&output), 2, "{arguments:?}");
        let is_said = err(&output).contains("cannot be written: No space left");
        assert!(is_said || arguments == ["--help"], "{arguments:?}: {}", err(&output));
    }
    let talk = command(&["check", bad.file()]).stderr(full()).output().unwrap();
    assert_eq!(code(&talk), 2, "the problems were not read");
    let wrong = command(&["chekc"]).stderr(full()).output().unwrap();
    assert_eq!(code(&wrong), 64);
}

#[test]
fn run_without_its_file_is_an_error() {
    let output = tollgate(&["run", "-c", "no/such/file.yaml"]);
    assert_eq!(code(&output), 1);
    let text = err(&output);
    assert!(text.contains("there is no file `no/such/file.yaml`") && text.contains("tollgate demo"), "{text}");
    assert!(!text.contains("panic"), "{text}");
}

#[test]
fn run_with_a_bad_file_says_what_is_wrong() {
    let folder = Folder::with("routes: {}\n");
    let output = tollgate(&["run", "-c", folder.file()]);
    assert_eq!(code(&output), 1);
    assert!(err(&output).contains("the file has no `upstreams`"), "{}", err(&output));
}

#[test]
fn a_port_that_is_taken_ends_the_start_at_once() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (key, text) in [
        ("listeners", GOOD.replace("- address: 127.0.0.1:0", &format!("- address: {address}"))),
        ("admin.address", GOOD.replace("admin: { address: 127.0.0.1:0", &format!("admin: {{ address: {address}"))),
    ] {
        let folder = Folder::with(&text);
        let began = Clock::system().now();
        let output = tollgate(&["run", "-c", folder.file()]);
        assert_eq!(code(&output), 1, "{}", err(&output));
        assert!(began.elapsed() < Duration::from_secs(5), "it took {:?}", began.elapsed());
        let text = err(&output);
        assert!(text.contains(&format!("cannot listen on {address}")) && text.contains(key), "{text}");
        assert!(text.contains("in use"), "the system's own words are there, too: {text}");
    }
}

#[test]
fn an_access_log_that_cannot_be_opened_is_named() {
    let folder = Folder::with(&GOOD.replace("access: off", "access: /no/such/folder/access.log"));
    let output = tollgate(&["run", "-c", folder.file()]);
    assert_eq!(code(&output), 1);
    let text = err(&output);
    assert!(text.contains("the access log `/no/such/folder/access.log` cannot be opened: "), "{text}");
}

#[test]
fn run_serves_until_sigterm() {
    let folder = Folder::with(GOOD);
    let mut child = Running(start(&["run", "-c", folder.file()]));
    let mut log = BufReader::new(child.0.stderr.take().unwrap());
    let gateway = address_after(&mut log, "listening on http://");
    let admin = address_after(&mut log, "health and metrics on http://");
    assert!(get(gateway, "/nothing", "").starts_with("HTTP/1.1 404 "));
    assert!(get(admin, "/livez", "").starts_with("HTTP/1.1 200 "));
    let asked = Clock::system().now();
    child.signal("TERM");
    assert_eq!(child.wait(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(5), "nothing is under way, and it took {:?}", asked.elapsed());
    let mut rest = String::new();
    log.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("stopped") && !rest.contains("panic"), "{rest}");
}

#[test]
fn demo_runs_without_a_file_and_its_first_url_is_the_gateways() {
    let (mut demo, mut lines) = demo();
    let (gateway, admin) = (lines.gateway, lines.admin);
    let answer = get(gateway, "/top-10-products?limit=2", "");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"rows\""), "{answer}");
    assert_eq!(code(&tollgate(&["healthcheck", "--url", &format!("http://{admin}/readyz")])), 0);
    let wrong = tollgate(&["healthcheck", "--url", &format!("http://{admin}/nothing")]);
    assert_eq!(code(&wrong), 1);
    assert!(err(&wrong).contains("404"), "{}", err(&wrong));
    let logged = lines.reader.by_ref().map_while(Result::ok).find(|line| line.contains("/top-10-products"));
    assert!(logged.is_some_and(|line| line.contains(" 200 ") && !line.contains("token")), "the request is logged");
    demo.signal("TERM");
    assert_eq!(demo.wait(), Some(0));
}

#[test]
fn every_curl_line_of_the_demo_is_answered() {
    let (mut demo, lines) = demo();
    let mut seen = 0;
    for line in lines.welcome.iter().filter_map(|line| line.trim().strip_prefix("curl ")) {
        let (before, rest) = line.split_once("http://").unwrap();
        let rest = rest.trim_end_matches('\'');
        let (address, path) = rest.split_once('/').unwrap();
        let bearer = before.split_once("Bearer ").map_or("", |(_, rest)| rest.split('\'').next().unwrap());
        let answer = get(address.parse().unwrap(), &format!("/{path}"), bearer);
        let wanted = match path {
            _ if path.contains("q=SELECT") => " 400 ",
            "v0/pipes/openapi.json" => " 404 ",
            _ if path.starts_with("my/") && bearer.is_empty() => " 401 ",
            _ => " 200 ",
        };
        assert!(answer.lines().next().unwrap().contains(wanted), "{line}: {answer}");
        if path.starts_with("my/") && !bearer.is_empty() {
            assert!(answer.contains("\"acme\"") && !answer.contains("\"beta\""), "{answer}");
        }
        seen += 1;
    }
    assert!(seen >= 10, "{:?}", lines.welcome);
    demo.signal("INT");
    assert_eq!(demo.wait(), Some(0));
}

#[test]
fn demo_with_a_port_that_is_taken_says_so() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = tollgate(&["demo", "--listen", &address]);
    assert_eq!(code(&output), 1);
    assert!(err(&output).contains(&format!("cannot listen on {address}")), "{}", err(&output));
}

#[test]
fn demo_upstream_prints_its_url_and_asks_for_its_token() {
    let mut child = Running(start(&["demo-upstream", "--listen", "127.0.0.1:0", "--token", "p.mine"]));
    let mut line = String::new();
    let mut stdout = BufReader::new(child.0.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    let address: SocketAddr = line.trim().strip_prefix("http://").unwrap().parse().unwrap();
    let path = "/v0/pipes/top-10-products.json?limit=1";
    assert!(get(address, path, "p.mine").starts_with("HTTP/1.1 200 "));
    assert!(get(address, path, "p.other").starts_with("HTTP/1.1 403 "));
    child.signal("TERM");
    assert_eq!(child.wait(), Some(0));
    let mut said = String::new();
    child.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    for value in [ADMIN_TOKEN, WORKSPACE_ID] {
        assert!(said.contains(value), "{said}");
        assert!(include_str!("../docs/commands.md").contains(value), "docs/commands.md says another one");
    }
}

#[test]
fn healthcheck_against_nothing_fails_with_a_reason() {
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = tollgate(&["healthcheck", "--url", &format!("http://{unused}/readyz")]);
    assert_eq!(code(&output), 1);
    assert!(err(&output).contains(&format!("http://{unused}/readyz does not answer")), "{}", err(&output));
    let folder = Folder::with(&GOOD.replace("admin: { address: 127.0.0.1:0", &format!("admin: {{ address: {unused}")));
    let output = tollgate(&["healthcheck", "-c", folder.file()]);
    assert_eq!(code(&output), 1);
    assert!(err(&output).contains(&unused.to_string()), "the file says where: {}", err(&output));
    let broken = Folder::with(&format!("admin: {{ address: {unused} }}\nroutes: {{ /a: {{ pip: a }} }}\n"));
    let output = tollgate(&["healthcheck", "-c", broken.file()]);
    assert_eq!(code(&output), 1);
    let said = err(&output);
    assert!(said.contains(&unused.to_string()) && !said.contains("TG0"), "an error elsewhere is no reason: {said}");
    assert_eq!(code(&tollgate(&["healthcheck", "--url", "https://example.com/"])), 1);
}

#[test]
fn healthcheck_does_not_wait_for_ever() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let began = Clock::system().now();
    let output = tollgate(&["healthcheck", "--url", &format!("http://{}/readyz", silent.local_addr().unwrap())]);
    assert_eq!(code(&output), 1);
    assert!(began.elapsed() < Duration::from_secs(10), "it took {:?}", began.elapsed());
}

#[test]
fn what_is_not_a_terminal_gets_no_escapes() {
    let folder = Folder::with("upstreams: { a: { url: ftp://x } }\n");
    for arguments in [&["check", folder.file()][..], &["run", "-c", folder.file()], &["--help"], &["chekc"]] {
        let output = tollgate(arguments);
        let shown = format!("{}{}", out(&output), err(&output));
        assert!(!shown.contains('\u{1b}'), "{arguments:?}: {shown:?}");
    }
    let forced = command(&["check", folder.file()]).env("CLICOLOR_FORCE", "1").output().unwrap();
    assert!(err(&forced).contains('\u{1b}'), "colours are there for those who want them");
    let both = command(&["check", folder.file()]).env("CLICOLOR_FORCE", "1").env("NO_COLOR", "1").output().unwrap();
    assert!(!err(&both).contains('\u{1b}'), "NO_COLOR wins: {:?}", err(&both));
}

#[test]
fn the_programs_own_log_has_no_escapes_either() {
    let folder = Folder::with(GOOD);
    let mut child = Running(start(&["run", "-c", folder.file()]));
    let mut log = BufReader::new(child.0.stderr.take().unwrap());
    address_after(&mut log, "health and metrics on http://");
    child.signal("TERM");
    child.wait();
    let mut rest = String::new();
    log.read_to_string(&mut rest).unwrap();
    assert!(!rest.contains('\u{1b}'), "{rest:?}");
}

#[test]
fn every_file_in_conf_is_fine() {
    let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf");
    let mut folders = vec![conf];
    let mut checked = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                // Parts of the files beside it.
                if path.extension().is_none_or(|extension| extension != "d") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                // The upstream of the one is another container, and the network between them is theirs alone; the
                // other is the least that does something, and asks who may call.
                let lenient = ["compose.yaml", "tollgate.yaml"].iter().any(|name| path.ends_with(name));
                let strict = if lenient { "--quiet" } else { "--strict" };
                // The admin token of the one is made in its container, where it is then.
                let text = std::fs::read_to_string(&path).unwrap();
                let folder = tempfile::tempdir().unwrap();
                let path = if text.contains("/run/tollgate/admin.token") {
                    let (copy, token) = (folder.path().join("compose.yaml"), folder.path().join("token"));
                    std::fs::write(&token, "0123456789abcdef0123456789abcdef").unwrap();
                    std::fs::write(&copy, text.replace("/run/tollgate/admin.token", token.to_str().unwrap())).unwrap();
                    copy
                } else {
                    path
                };
                let output = command(&["check", strict, path.to_str().unwrap()])
                    .env("DEMO_LISTEN", "127.0.0.1:0")
                    .env("DEMO_ADMIN", "127.0.0.1:0")
                    .env("DEMO_UPSTREAM", "http://127.0.0.1:9")
                    .env("DEMO_TOKEN", "p.demo")
                    .env("TOLLGATE_ADMIN_TOKEN", "admin")
                    .env("CH_KEY", "key")
                    .env("TINYBIRD_ADMIN_TOKEN", "p.an-admin-token-of-some-length-and-more")
                    .output()
                    .unwrap();
                assert_eq!(code(&output), 0, "{}:\n{}", path.display(), err(&output));
                checked += 1;
            }
        }
    }
    assert!(checked >= 3, "{checked} files");
}

/// A configuration in a folder of its own.
struct Folder {
    file: PathBuf,
    _folder: tempfile::TempDir,
}

impl Folder {
    fn with(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("main.yaml");
        std::fs::write(&file, text).unwrap();
        Folder { file, _folder: folder }
    }

    fn file(&self) -> &str {
        self.file.to_str().unwrap()
    }
}

/// A process that does not outlive its test.
struct Running(Child);

impl Running {
    fn signal(&mut self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.0.id().to_string()).status().unwrap();
        assert!(sent.success());
    }

    /// Its exit code.
    fn wait(&mut self) -> Option<i32> {
        wait(&mut self.0)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What `tollgate demo` said.
struct Welcome {
    gateway: SocketAddr,
    admin: SocketAddr,
    welcome: Vec<String>,
    reader: std::io::Lines<BufReader<ChildStdout>>,
}

fn demo() -> (Running, Welcome) {
    let mut child = Running(start(&["demo", "--listen", "127.0.0.1:0"]));
    let mut reader = BufReader::new(child.0.stdout.take().unwrap()).lines();
    let mut welcome = Vec::new();
    for line in reader.by_ref().map_while(Result::ok) {
        let last = line.starts_with("Requests appear here");
        welcome.push(line);
        if last {
            break;
        }
    }
    let text = welcome.join("\n");
    let url = |rest: &str| -> SocketAddr {
        rest.split(|c: char| !c.is_ascii_digit() && c != '.' && c != ':').next().unwrap().parse().unwrap()
    };
    let gateway = url(text.split_once("http://").expect("a URL").1);
    let metrics = text.lines().find(|line| line.ends_with("/metrics")).expect("metrics");
    let admin = url(metrics.split_once("http://").unwrap().1);
    (child, Welcome { gateway, admin, welcome, reader })
}

/// The address behind `words` in the next line that has them.
fn address_after(log: &mut impl BufRead, words: &str) -> SocketAddr {
    let mut line = String::new();
    let mut seen = String::new();
    while log.read_line(&mut line).unwrap() > 0 {
        assert!(!line.contains('\u{1b}'), "{line:?}");
        if let Some((_, rest)) = line.split_once(words) {
            return rest.split_whitespace().next().unwrap().parse().unwrap();
        }
        seen.push_str(&line);
        line.clear();
    }
    panic!("{words:?} is not in:\n{seen}");
}

fn get(address: SocketAddr, target: &str, bearer: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let authorization = match bearer {
        "" => String::new(),
        _ => format!("Authorization: Bearer {bearer}\r\n"),
    };
    write!(stream, "GET {target} HTTP/1.1\r\nHost: {address}\r\n{authorization}Connection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command
        .args(arguments)
        .env("TINYBIRD_TOKEN", "p.a-token-of-tests")
        .env_remove("NO_COLOR")
        .env_remove("CLICOLOR_FORCE")
        .env_remove("RUST_LOG");
    command
}

fn start(arguments: &[&str]) -> Child {
    command(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Runs to the end.
fn tollgate(arguments: &[&str]) -> Output {
    finish(start(arguments))
}

fn finish(mut child: Child) -> Output {
    // What some commands say does not fit into a pipe: the schema is larger than 64 KiB.
    let stdout = child.stdout.take().map(read_on);
    let stderr = child.stderr.take().map(read_on);
    wait(&mut child);
    let said = |reader: Option<JoinHandle<Vec<u8>>>| reader.map(|reader| reader.join().unwrap()).unwrap_or_default();
    Output { status: child.wait().unwrap(), stdout: said(stdout), stderr: said(stderr) }
}

fn read_on(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut said = Vec::new();
        pipe.read_to_end(&mut said).unwrap();
        said
    })
}

fn wait(child: &mut Child) -> Option<i32> {
    let end = Clock::system().now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if Clock::system().now() > end {
            child.kill().unwrap();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
