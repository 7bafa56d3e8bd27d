//! `tollgate token`, `keys -c` and `routes` from outside: who may call, what a credential says, why it is refused.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails loudly; Clippy exempts only functions that are tests themselves"
)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// The admin token of a workspace.
const SECRET: &str = "p.eyJ1IjoiZGVtbyIsImlkIjoiYWRtaW4iLCJob3N0IjoibG9jYWwifQ.hunter2-hunter2-hunter2";

const GATEWAY: &str = r#"
listeners: [{ address: 127.0.0.1:0 }]
upstreams: { tinybird: { url: http://127.0.0.1:9, token: "${TINYBIRD_TOKEN}" } }
auth:
  dashboards: { type: tinybird_jwt, secret: "${SECRET}", workspace_id: w-1, tenant: "{fixed_params.company_id}" }
  employees: { type: jwt, issuer: https://id.example.com/, audience: analytics, key: file://PEMS/rsa.public.pem, tenant: "{claims.org_id}", tenants: [acme] }
  remote: { type: jwt, issuer: http://127.0.0.1:1/, audience: [a, b], jwks: "http://127.0.0.1:1/keys/?p=x", tenant: "{claims.org_id}" }
  partners: { type: api_key, keys: ./keys.yaml, header: X-API-Key, prefix: acme }
routes:
  /top: { pipe: top, auth: [dashboards, employees, remote, partners], params: { fixed: { company_id: "{tenant}" } } }
  /scoped: { pipe: top, auth: [employees, remote], require: { scopes: [reports.read] }, params: { allow_public_tenant: true } }
  /post: { proxy: /post, methods: [POST], auth: employees }
  /open: { pipe: open, auth: public }
"#;

#[test]
fn a_tinybird_jwt_is_signed_and_found_good() {
    let folder = Folder::new();
    let signed = folder.run(&[
        "token",
        "sign",
        "-c",
        "gw.yaml",
        "--provider",
        "dashboards",
        "--name",
        "try",
        "--pipe",
        "top",
        "--fixed",
        "company_id=acme",
        "--rps",
        "10",
        "--ttl",
        "1h",
    ]);
    assert_eq!(code(&signed), 0, "{}", err(&signed));
    assert_eq!(out(&signed).trim().matches('.').count(), 2, "the token and nothing else");
    assert!(err(&signed).contains("good for 60 min") && !err(&signed).contains("hunter2"), "{}", err(&signed));
    folder.write("token", &out(&signed));

    let verified = folder.run(&["token", "verify", "token", "-c", "gw.yaml", "--route", "/top", "--format", "json"]);
    assert_eq!(code(&verified), 0, "{}", err(&verified));
    let report = json_of(&verified);
    assert_eq!(report["verdict"], "accepted");
    assert_eq!(report["provider"], json!({ "name": "dashboards", "type": "tinybird_jwt" }));
    assert_eq!((&report["caller"], &report["tenant"]), (&json!("try"), &json!("acme")));
    assert_eq!(report["fixed"], json!({ "company_id": "acme" }));

    let anywhere = json_of(&folder.run(&["token", "verify", "token", "-c", "gw.yaml", "--format", "json"]));
    assert_eq!(anywhere["pipes"], json!([{ "pipe": "top", "tenant": "acme", "fixed": { "company_id": "acme" } }]));

    let elsewhere = folder.run(&["token", "verify", "token", "-c", "gw.yaml", "--route", "/scoped"]);
    assert_eq!(code(&elsewhere), 1);
    assert!(out(&elsewhere).contains("401 credential_invalid"), "{}", out(&elsewhere));
    assert!(out(&elsewhere).contains("employees: `iss` https://id.example.com/"), "{}", out(&elsewhere));
}

#[test]
fn a_refused_token_is_explained() {
    let folder = Folder::new();
    let key = pem("rsa.pem");
    for (claims, code_of_answer, words) in [
        (vec!["--claim", "org_id=acme", "--claim", "exp=1000"], "401 credential_expired", "sign a new one"),
        (
            vec!["--claim", "org_id=acme", "--audience", "x"],
            "401 credential_invalid",
            "its `aud` is `x`; the provider wants `analytics`",
        ),
        (
            vec!["--claim", "org_id=acme", "--alg", "PS256", "--claim", "nbf=33000000000"],
            "401 credential_invalid",
            "it begins in",
        ),
        (vec!["--claim", "org_id=beta"], "403 tenant_mismatch", "`tenants` of the provider"),
        (vec!["--claim", "org_id=[\"acme\"]"], "403 tenant_missing", "`tenant` is `{claims.org_id}`"),
        (
            vec!["--claim", "iss=https://else.example/"],
            "401 credential_invalid",
            "a JWT of the issuer `https://else.example/`",
        ),
    ] {
        let call =
            [vec!["token", "sign", "-c", "gw.yaml", "--provider", "employees", "--key-file", &key], claims.clone()]
                .concat();
        let signed = folder.run(&call);
        assert_eq!(code(&signed), 0, "{}", err(&signed));
        folder.write("token", &out(&signed));
        let verified = folder.run(&["token", "verify", "token", "-c", "gw.yaml", "--route", "/top"]);
        let text = out(&verified);
        assert_eq!(code(&verified), 1, "{claims:?}: {text}{}", err(&verified));
        assert!(
            text.starts_with("refused") && text.contains(code_of_answer) && text.contains(words),
            "{claims:?}:\n{text}"
        );
        assert!(!text.contains(out(&signed).trim()), "the token itself is not shown");
    }
}

#[test]
fn scopes_and_methods_are_looked_at_as_the_gateway_does() {
    let folder = Folder::new();
    let key = pem("rsa.pem");
    let sign = |claim: &str| {
        let signed = folder.run(&[
            "token",
            "sign",
            "-c",
            "gw.yaml",
            "--provider",
            "employees",
            "--key-file",
            &key,
            "--claim",
            "org_id=acme",
            "--subject",
            "ann",
            "--claim",
            claim,
        ]);
        folder.write("token", &out(&signed));
    };
    let verify = |route: &str, more: &[&str]| {
        folder.run(&[&["token", "verify", "token", "-c", "gw.yaml", "--route", route], more].concat())
    };
    sign("scope=reports.write");
    let without = verify("/scoped", &[]);
    assert_eq!(code(&without), 1);
    let text = out(&without);
    assert!(text.contains("403 forbidden") && text.contains("the scopes `reports.read`"), "{text}");
    assert!(text.contains("caller    ann\n") && text.contains("scopes    reports.write\n"), "{text}");
    sign("scope=reports.read more");
    assert_eq!(code(&verify("/scoped", &[])), 0, "{}", out(&verify("/scoped", &[])));
    assert_eq!(code(&verify("/post", &[])), 0, "{}", out(&verify("/post", &[])));
    let wrong = verify("/post", &["--method", "GET"]);
    assert!(code(&wrong) == 1 && out(&wrong).contains("405 method_not_allowed"), "{}", out(&wrong));
    assert_eq!(code(&verify("/open", &[])), 0, "anyone may call");
    let nowhere = verify("/nowhere", &[]);
    assert!(code(&nowhere) == 2 && err(&nowhere).contains("no route serves"), "{}", err(&nowhere));
}

#[test]
fn keys_that_are_fetched_can_come_from_a_file() {
    let folder = Folder::new();
    let key = pem("ed25519.pem");
    let signed = folder.run(&[
        "token",
        "sign",
        "-c",
        "gw.yaml",
        "--provider",
        "remote",
        "--key-file",
        &key,
        "--kid",
        "k1",
        "--claim",
        "org_id=acme",
    ]);
    assert!(err(&signed).starts_with("Signed with EdDSA"), "{}", err(&signed));
    folder.write("token", &out(&signed));
    let verify =
        |more: &[&str]| folder.run(&[&["token", "verify", "token", "-c", "gw.yaml", "--route", "/top"], more].concat());
    let offline = verify(&[]);
    assert_eq!(code(&offline), 2);
    assert!(out(&offline).starts_with("unknown") && out(&offline).contains("--online"), "{}", out(&offline));
    let online = verify(&["--online"]);
    assert_eq!(code(&online), 2);
    assert!(out(&online).contains("cannot be fetched: http://127.0.0.1:1/keys/: "), "{}", out(&online));

    let public = std::fs::read_to_string(pem("ed25519.public.pem")).unwrap();
    let der = STANDARD.decode(public.lines().filter(|line| !line.starts_with('-')).collect::<String>()).unwrap();
    let x = URL_SAFE_NO_PAD.encode(der.rchunks(32).next().unwrap());
    let set = |kid: &str| json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid }] }).to_string();
    folder.write("jwks.json", &set("k1"));
    let verified = verify(&["--jwks", "jwks.json"]);
    assert_eq!(code(&verified), 0, "{}{}", out(&verified), err(&verified));
    folder.write("jwks.json", &set("k2"));
    let other = verify(&["--jwks", "jwks.json"]);
    assert!(code(&other) == 1 && out(&other).contains("no key with the id"), "{}", out(&other));

    // What it says is enough to refuse it.
    let signed = folder.run(&[
        "token",
        "sign",
        "-c",
        "gw.yaml",
        "--provider",
        "remote",
        "--key-file",
        &key,
        "--claim",
        "exp=1000",
    ]);
    folder.write("token", &out(&signed));
    let expired = verify(&[]);
    assert!(code(&expired) == 1 && out(&expired).contains("credential_expired"), "{}", out(&expired));
}

#[test]
fn keys_are_found_by_the_configuration() {
    let folder = Folder::new();
    let created = folder.run(&["keys", "create", "-c", "gw.yaml", "--tenant", "acme"]);
    assert_eq!(code(&created), 0, "{}", err(&created));
    assert!(out(&created).starts_with("acme_") && folder.path("keys.yaml").exists(), "{}", out(&created));
    folder.write("token", &out(&created));
    let listed = folder.run(&["keys", "list", "-c", "gw.yaml", "--provider", "partners"]);
    assert!(out(&listed).contains("active"), "{}", out(&listed));
    let verified = folder.run(&["token", "verify", "token", "-c", "gw.yaml", "--route", "/top"]);
    assert_eq!(code(&verified), 0, "{}{}", out(&verified), err(&verified));
    assert!(out(&verified).contains("fixed     company_id=acme"), "{}", out(&verified));
    let id = out(&created).split('_').nth(1).unwrap().to_owned();
    assert_eq!(code(&folder.run(&["keys", "revoke", "-c", "gw.yaml", &id])), 0);
    let revoked = folder.run(&["token", "verify", "token", "-c", "gw.yaml", "--route", "/top"]);
    assert!(code(&revoked) == 1 && out(&revoked).contains("is revoked (`enabled: false`"), "{}", out(&revoked));

    let wrong = folder.run(&["keys", "list", "-c", "gw.yaml", "--provider", "employees"]);
    assert!(code(&wrong) == 64 && err(&wrong).contains("there are: partners"), "{}", err(&wrong));
    assert_eq!(code(&folder.run(&["keys", "list"])), 64, "one of the two");
    assert_eq!(code(&folder.run(&["keys", "list", "-c", "gw.yaml", "-f", "keys.yaml"])), 64, "and not both");
}

#[test]
fn inspect_shows_everything_but_what_is_secret() {
    let folder = Folder::new();
    let b64 = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let none = format!(
        "{}.{}.",
        b64(json!({ "alg": "none" })),
        b64(json!({ "exp": 1_795_341_600_000_u64, "a": "\u{1b}[2J" }))
    );
    let endless =
        format!("{}.{}.c2ln", b64(json!({ "alg": "HS256" })), b64(json!({ "workspace_id": "w", "scopes": [] })));
    let long = format!(
        "{}.{}.c2ln",
        b64(json!({ "alg": "RS256" })),
        b64(json!({ "iss": "i", "iat": 1_000_000, "exp": 2_000_000 }))
    );
    for (text, ending, talk) in [
        (none.as_str(), 0, &["`alg` is `none`", "looks like milliseconds", "the token is not signed"][..]),
        (&endless, 0, &["a Tinybird JWT for the workspace `w`", "it has no `exp`"]),
        (&long, 0, &["the issuer `i`", "it is good for 11 days", "expired "]),
        (SECRET, 0, &["a static token of Tinybird"]),
        ("acme_k7GqPz3mXw9A_hunter2hunter2HUNTER2hunter2hunter2hunter2h000000", 0, &["the id `k7GqPz3mXw9A`", "wrong"]),
        ("hunter2", 1, &["nothing that is known here"]),
        ("a.b.c.d.e", 1, &["encrypted"]),
    ] {
        folder.write("token", text);
        let output = folder.run(&["token", "inspect", "token"]);
        assert_eq!(code(&output), ending, "{}", err(&output));
        assert!(talk.iter().all(|words| err(&output).contains(words)), "{talk:?} in\n{}", err(&output));
        let all = out(&output) + &err(&output);
        assert!(!all.contains("hunter2") && !all.contains('\u{1b}') && !all.contains("c2ln"), "{all}");
    }
    folder.write("token", SECRET);
    assert_eq!(
        json_of(&folder.run(&["token", "inspect", "token"])),
        json!({ "u": "demo", "id": "admin", "host": "local" })
    );
    let piped = folder.run_with(&["token", "inspect", "-"], &long);
    assert_eq!(json_of(&piped)["claims"]["iss"], "i");
}

#[test]
fn no_secret_stands_in_arguments_and_none_is_repeated() {
    let folder = Folder::new();
    let token = out(&folder.run(&[
        "token",
        "sign",
        "-c",
        "gw.yaml",
        "--provider",
        "dashboards",
        "--name",
        "n",
        "--pipe",
        "top",
    ]));
    for (call, ending) in [
        (vec!["token", "verify", token.trim(), "-c", "gw.yaml"], 2),
        (vec!["token", "inspect", "p.hunter2"], 2),
        (vec!["token", "sign", "--secret=hunter2", "--issuer", "a"], 64),
        (vec!["token", "sign", "--secret-file", "p.hunter2"], 2),
        (vec!["token", "sign", "--issuer", "a"], 2),
        (vec!["token", "sign", "--tinybird"], 64),
        (vec!["token", "sign", "--pipe", "top", "--secret-file", "short"], 64),
        (vec!["token", "sign", "--issuer", "a", "--secret-file", "short"], 2),
        (vec!["token", "sign", "-c", "gw.yaml", "--provider", "partners"], 64),
        (vec!["token", "sign", "-c", "gw.yaml", "--provider", "nobody"], 64),
        (vec!["token", "sign", "-c", "gw.yaml", "--provider", "employees"], 2),
        (vec!["token", "sign", "--claims", "-", "--secret-file", "-"], 64),
        (vec!["token", "verify", "gone", "-c", "gw.yaml"], 2),
    ] {
        folder.write("short", "hunter2");
        let output = folder.run(&call);
        let said = err(&output);
        assert_eq!(code(&output), ending, "{call:?}: {said}");
        assert!(!said.contains("hunter2") && !said.contains(token.trim()) && said.len() > 20, "{call:?}: {said}");
        assert_eq!(out(&output), "", "{call:?}");
    }
    let by_variable =
        folder.command(&["token", "sign", "--issuer", "a"]).env("TOLLGATE_TOKEN_SECRET", SECRET).output().unwrap();
    assert!(
        code(&by_variable) == 0 && err(&by_variable).starts_with("Signed with HS256: iss a; good for 10 min"),
        "{}",
        err(&by_variable)
    );
}

#[test]
fn routes_says_who_may_call() {
    let folder = Folder::new();
    folder.write("keys.yaml", "[]\n");
    let listed = out(&folder.run(&["routes", "-c", "gw.yaml"]));
    assert!(listed.contains("/open    GET,HEAD,POST  public  "), "{listed}");
    assert!(listed.contains("/top     GET,HEAD,POST  dashboards,employees,remote,partners  http://"), "{listed}");
    folder.write(
        "hosts.yaml",
        "\
upstreams: { tinybird: { url: http://127.0.0.1:9, token: \"${TINYBIRD_TOKEN}\" } }
auth: { one: { type: tinybird_jwt, secret: \"${SECRET}\", workspace_id: w, tenant: \"{claims.t}\" } }
default_auth: one
routes: { /a: { pipe: a }, /b: { pipe: b, auth: one } }
hosts:
  acme.example.com: { tenant: acme }
  open.example.com: { auth: public }
  own.example.com: { tenant: own, routes: { /c: { pipe: c } } }
",
    );
    let output = folder.run(&["routes", "-c", "hosts.yaml"]);
    assert_eq!(
        out(&output),
        "\
other hosts      /a  GET,HEAD,POST  as the host says  http://127.0.0.1:9/v0/pipes/a.json
other hosts      /b  GET,HEAD,POST  one               http://127.0.0.1:9/v0/pipes/b.json
own.example.com  /c  GET,HEAD,POST  one               http://127.0.0.1:9/v0/pipes/c.json
acme.example.com  tenant acme, auth one
open.example.com  auth public
own.example.com   tenant own, auth one
",
        "{}",
        err(&output)
    );
    let lines: Vec<Value> = out(&folder.run(&["routes", "-c", "hosts.yaml", "--format", "json"]))
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let find = |path: &str| lines.iter().find(|line| line["path"] == path).unwrap();
    assert_eq!(
        find("/a")["auth"],
        json!({ "hosts": { "acme.example.com": { "providers": ["one"] }, "open.example.com": { "public": true } } })
    );
    assert_eq!(find("/b")["auth"], json!({ "providers": ["one"] }));
    assert_eq!(find("/b")["tenants"], json!({ "acme.example.com": "acme" }));
    assert_eq!(find("/c")["tenants"], json!({ "own.example.com": "own" }));
}

fn pem(name: &str) -> String {
    format!("{}/tests/jose/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A folder with a gateway's file in it.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Folder(tempfile::tempdir().unwrap());
        let pems = format!("{}/tests/jose", env!("CARGO_MANIFEST_DIR"));
        folder.write("gw.yaml", &GATEWAY.replace("PEMS", &pems));
        folder.write("keys.yaml", "[]\n");
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(Path::new(env!("CARGO_BIN_EXE_tollgate")));
        command
            .args(arguments)
            .current_dir(self.0.path())
            .env("SECRET", SECRET)
            .env("TINYBIRD_TOKEN", "p.a-token-of-tests")
            .env_remove("TOLLGATE_TOKEN_SECRET")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn run_with(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
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

fn json_of(output: &Output) -> Value {
    serde_json::from_str(&out(output)).unwrap_or_else(|error| panic!("{error}: {}{}", out(output), err(output)))
}
