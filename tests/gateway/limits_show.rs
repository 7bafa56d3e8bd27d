//! `limits show`, `limits reset` and what stands behind them on the admin address.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use tollgate::clock::TestClock;

use crate::support::client::{Request, Response};
use crate::support::credentials::{PROVIDERS, api_key, record};
use crate::support::gateway::TestGateway;
use crate::support::unreachable::RefusedPort;

const LIMITS: &str = r#"limits:
  all: { by: gateway, rate: 500/s }
  daily: { by: tenant, quota: 4/day }
  each: { by: [tenant, route], rate: 10/m }
  flood: { by: ip, rate: 1000/s }
  person: { by: caller, rate: 5/s }
  trial: { by: tenant, rate: 1/h, dry_run: true }
plans: { free: { limits: [daily] }, pro: { limits: [] } }
default_plan: free
tenants: { beta: { plan: pro } }
default_auth: partners
server: { limits: [all, flood] }
routes:
  /top: { pipe: top, limits: [each, trial], formats: [json, csv] }
  /other: { pipe: other, limits: [each, person] }
"#;

fn gateway(sections: &str) -> (TestGateway, TestClock) {
    let time = TestClock::new();
    let folder = tempfile::tempdir().expect("a folder for the test");
    let keys = record(&api_key("Acme00000001", "acme"), ", tenant: acme")
        + &record(&api_key("Beta00000001", "beta"), ", tenant: beta");
    std::fs::write(folder.path().join("keys.yaml"), keys).expect("a file");
    (TestGateway::from_folder(folder, &format!("{PROVIDERS}{sections}"), time.clock()), time)
}

async fn call(gw: &TestGateway, path: &str, id: &str, seed: &str) -> u16 {
    Request::get(path).bearer(&api_key(id, seed)).send(gw.addr()).await.status
}

async fn acme(gw: &TestGateway, path: &str) -> u16 {
    call(gw, path, "Acme00000001", "acme").await
}

async fn show(gw: &TestGateway, query: &str) -> Response {
    Request::get(format!("/limits?{query}")).bearer(&gw.admin_token()).send(gw.admin()).await
}

async fn reset(gw: &TestGateway, whose: &Value) -> Response {
    let request = Request::post("/limits/reset").bearer(&gw.admin_token()).header("Content-Type", "application/json");
    request.body(whose.to_string()).send(gw.admin()).await
}

/// The command, asked of this gateway: its exit code, what it prints, and what it says.
async fn tollgate(gw: &TestGateway, arguments: &[&str]) -> (i32, String, String) {
    let (url, token) = (format!("http://{}", gw.admin()), gw.folder().join("data/admin.token"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(arguments).arg("--admin-url").arg(url).arg("--token-file").arg(token);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("it runs").expect("it starts");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    (output.status.code().expect("a code"), text(&output.stdout), text(&output.stderr))
}

#[tokio::test]
async fn a_tenant_sees_every_limit_that_counts_it() {
    let (gw, time) = gateway(LIMITS);
    for _ in 0..3 {
        assert_eq!(acme(&gw, "/top").await, 200);
    }
    assert_eq!(acme(&gw, "/top.csv").await, 200, "counted with the route that it is a form of");
    assert_eq!(acme(&gw, "/top").await, 429, "the day's quota is used up");
    time.advance(Duration::from_millis(500));
    let (code, table, said) = tollgate(&gw, &["limits", "show", "--tenant", "acme"]).await;
    assert_eq!((code, said.as_str()), (0, ""));
    assert_eq!(
        table,
        "\
tenant  acme
plan    free, the `default_plan`

LIMIT            WHOSE                      ALLOWS                LEFT  OF   NEXT       WHOLE      ATTACHED TO
all              everybody together         500/s, 500 at once    500   500  now        is whole   server
daily            tenant acme                4/day                 0     4    in 9h 46m  in 9h 46m  plan free
each             route /other, tenant acme  10/m, 10 at once      10    10   now        is whole   route /other, route /top
each             route /top, tenant acme    10/m, 10 at once      6     10   now        in 24s     route /other, route /top
flood            give --ip ADDRESS          1000/s, 1000 at once  ?     ?    ?          ?          server
person           give --caller PROVIDER:ID  5/s, 5 at once        ?     ?    ?          ?          route /other
trial (dry run)  tenant acme                1/h, 1 at once        0     1    in 1h      in 1h      route /top
"
    );
}

#[tokio::test]
async fn looking_spends_nothing_and_programs_get_numbers() {
    let (gw, _) = gateway(LIMITS);
    assert_eq!(acme(&gw, "/other").await, 200);
    for _ in 0..20 {
        assert_eq!(show(&gw, "tenant=acme&limit=daily").await.status, 200);
    }
    let told = show(&gw, "tenant=acme&limit=daily&limit=person&caller=partners:Acme00000001").await.json();
    assert_eq!(told["plan"], json!({ "name": "free", "because": "default_plan", "may_differ": false }));
    let whole_ms = 35_200_000;
    assert_eq!(
        told["limits"],
        json!([
            {
                "limit": "daily", "allows": "4/day", "attached": ["plan free"], "by": ["tenant"], "dry_run": false,
                "unit": "requests", "counted": { "tenant": "acme" }, "remaining": 3, "total": 4, "wait_ms": 0,
                "whole_ms": whole_ms,
            },
            {
                "limit": "person", "allows": "5/s, 5 at once", "attached": ["route /other"], "by": ["caller"],
                "dry_run": false, "unit": "requests", "counted": { "caller": "partners:Acme00000001" },
                "remaining": 4, "total": 5, "wait_ms": 0, "whole_ms": 200,
            },
        ])
    );
    let (code, text, _) =
        tollgate(&gw, &["limits", "show", "--tenant", "acme", "--limit", "daily", "--format", "json"]).await;
    let shown: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((code, &shown["limits"][0]["remaining"], shown.get("text")), (0, &3.into(), None));
}

#[tokio::test]
async fn whose_plan_it_is_is_told_with_who_says_so() {
    let (gw, _) = gateway(&LIMITS.replace("default_auth: partners", "default_auth: [partners, dashboards]"));
    let text = |told: Value| told["text"].as_str().expect("text").to_owned();
    let beta = show(&gw, "tenant=beta").await.json();
    assert!(text(beta.clone()).starts_with("tenant  beta\nplan    pro, as `tenants` says\n"), "{beta}");
    assert!(!text(beta).contains("daily"), "its plan has no such limit");
    let claimed = show(&gw, "tenant=gamma&plan=pro").await.json();
    assert!(text(claimed.clone()).contains("pro, as its credential says"), "{claimed}");
    let nobody = text(show(&gw, "").await.json());
    assert!(!nobody.contains("plan    ") && nobody.contains("give --tenant TENANT"), "{nobody}");
    assert!(nobody.contains("daily") && nobody.contains("plan free"), "{nobody}");

    let (gw, _) = gateway(LIMITS);
    assert!(!text(show(&gw, "tenant=gamma").await.json()).contains("may name"), "no provider says anything of plans");
    let with_plans =
        PROVIDERS.replace("tenant: \"{key.tenant}\"", "tenant: \"{key.tenant}\", plan: \"{key.meta.plan}\"");
    let gw = TestGateway::from_folder(folder_with_keys(), &format!("{with_plans}{LIMITS}"), TestClock::new().clock());
    let gamma = text(show(&gw, "tenant=gamma").await.json());
    assert!(gamma.contains("free, the `default_plan`; unless its credential names another: --plan NAME"), "{gamma}");
    let beta = text(show(&gw, "tenant=beta").await.json());
    assert!(!beta.contains("names another"), "`tenants` wins: {beta}");
}

fn folder_with_keys() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder for the test");
    std::fs::write(folder.path().join("keys.yaml"), "# none\n").expect("a file");
    folder
}

#[tokio::test]
async fn a_reset_gives_back_what_is_a_tenants_alone() {
    let (gw, _) = gateway(LIMITS);
    for _ in 0..4 {
        assert_eq!(acme(&gw, "/other").await, 200);
        assert_eq!(call(&gw, "/other", "Beta00000001", "beta").await, 200);
    }
    assert_eq!(acme(&gw, "/other").await, 429);
    let (code, text, said) = tollgate(&gw, &["limits", "reset", "--tenant", "acme"]).await;
    assert_eq!((code, said.as_str()), (0, ""));
    assert_eq!(
        text,
        "\
reset daily (tenant acme): 0 of 4 was left
reset each (route /other, tenant acme): 6 of 10 was left
reset each (route /top, tenant acme): 10 of 10 was left
reset trial (tenant acme): 1 of 1 was left
"
    );
    assert_eq!(acme(&gw, "/other").await, 200);
    let left = |told: Value| told["limits"][0]["remaining"].clone();
    assert_eq!(left(show(&gw, "tenant=acme&limit=daily").await.json()), 3);
    assert_eq!(left(show(&gw, "tenant=beta&limit=each&route=/other").await.json()), 6, "nobody else's");
    assert_eq!(left(show(&gw, "limit=all").await.json()), 491, "what all share");
}

#[tokio::test]
async fn counts_of_one_gateway_alone_are_told_as_such() {
    let port = RefusedPort::reserve();
    let (gw, _) = gateway(&format!("state: {{ counters: 'redis://{}/0' }}\n{LIMITS}", port.addr()));
    assert_eq!(acme(&gw, "/other").await, 200);
    let show = ["limits", "show", "--tenant", "acme", "--limit", "daily"];
    let (code, text, _) = tollgate(&gw, &show).await;
    assert_eq!(code, 0);
    assert!(text.starts_with("Redis does not answer: these are this gateway's own counts.\n\ntenant  acme"), "{text}");
    let (_, json, _) = tollgate(&gw, &[&show[..], &["--format", "json"]].concat()).await;
    let told: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&told["redis_answers"], &told["limits"][0]["remaining"]), (&false.into(), &3.into()));
    let (code, text, _) = tollgate(&gw, &["limits", "reset", "--tenant", "acme", "--limit", "daily"]).await;
    assert_eq!(code, 0);
    assert_eq!(
        text,
        "reset daily (tenant acme): 3 of 4 was left\n\
         Redis does not answer: these will be forgotten in Redis as soon as it is back.\n"
    );
}

#[tokio::test]
async fn only_what_is_meant_is_reset() {
    let (gw, _) = gateway(LIMITS);
    assert_eq!(acme(&gw, "/other").await, 200);
    let names = |told: &Value| -> Vec<String> {
        let rows = told["reset"].as_array().expect("a list").iter();
        rows.map(|row| row["limit"].as_str().expect("a name").to_owned()).collect()
    };
    let told = reset(&gw, &json!({ "tenant": "acme", "limits": ["each"], "route": "/top" })).await.json();
    assert_eq!((names(&told), &told["reset"][0]["counted"]["route"]), (vec!["each".to_owned()], &"/top".into()));
    let told = reset(&gw, &json!({ "tenant": "acme", "caller": "partners:Acme00000001" })).await.json();
    assert_eq!(names(&told), ["person"], "what its tenant shares is not the caller's own");
    let told = reset(&gw, &json!({ "ip": "127.0.0.1" })).await.json();
    assert_eq!(names(&told), ["flood"]);
    let told = reset(&gw, &json!({ "limits": ["all"] })).await.json();
    assert_eq!(names(&told), ["all"], "what all share, by its name");
    let caller = reset(&gw, &json!({ "caller": "partners:Acme00000001" })).await.json();
    assert_eq!((names(&caller), &caller["left"]), (vec![], &json!(["person"])), "its tenant tells it apart");
    assert!(caller["text"].as_str().expect("text").contains("not reset: person, give --tenant TENANT"), "{caller}");
    let (code, _, _) = tollgate(&gw, &["limits", "reset", "--caller", "partners:Acme00000001"]).await;
    assert_eq!(code, 1, "nothing was reset");
}

#[tokio::test]
async fn nobody_resets_everything_by_accident_or_without_the_token() {
    let (gw, _) = gateway(LIMITS);
    assert_eq!(acme(&gw, "/other").await, 200);
    for (whose, words) in [
        (json!({}), "whose? Name a tenant, a caller or an address"),
        (json!({ "route": "/other" }), "whose?"),
        (json!({ "plan": "free" }), "whose?"),
        (json!({ "limits": ["daily"] }), "which count of `daily`? Give --tenant TENANT"),
        (json!({ "tenant": "beta", "limits": ["daily"] }), "the limit `daily` does not hold there"),
        (json!({ "tenants": "acme" }), "send {\"tenant\": \"acme\"}"),
        (json!([]), "send {"),
    ] {
        let response = reset(&gw, &whose).await;
        assert_eq!(response.status, 400, "{whose}");
        assert!(response.body_text().contains(words), "{whose}: {}", response.body_text());
    }
    let post = || Request::post("/limits/reset").json(r#"{"tenant":"acme"}"#);
    assert_eq!(post().send(gw.admin()).await.status, 401);
    assert_eq!(post().bearer("wrong").send(gw.admin()).await.status, 401);
    assert_eq!(
        post().bearer(&gw.admin_token()).header("Origin", "https://evil.com").send(gw.admin()).await.status,
        403
    );
    assert_eq!(Request::get("/limits").send(gw.admin()).await.status, 401, "it shows who calls, and how often");
    assert_eq!(Request::get("/limits/reset").bearer(&gw.admin_token()).send(gw.admin()).await.status, 405);
    let left = show(&gw, "tenant=acme&limit=daily").await.json();
    assert_eq!(left["limits"][0]["remaining"], 3, "nothing of this reset anything");
}

#[tokio::test]
async fn words_that_lead_nowhere_are_told_with_the_nearest() {
    let (gw, _) = gateway(LIMITS);
    for (query, words) in [
        ("limit=dayly", "there is no limit `dayly`; did you mean `daily`?"),
        ("plan=fre", "there is no plan `fre`; did you mean `free`?"),
        ("route=/othr", "there is no route `/othr`; did you mean `/other`?"),
        ("caller=partner:k1", "there is no provider `partner`; did you mean `partners`?"),
        ("caller=partners", "a caller is PROVIDER:ID"),
        ("caller=partners:", "this has no id"),
        ("tenant=a,b", "`a,b` is not the name of a tenant"),
        ("ip=here", "`here` is not an address"),
        ("tennant=acme", "`tennant` means nothing here"),
        ("tenant=acme&tenant=beta", "`tenant` stands twice"),
    ] {
        let response = show(&gw, query).await;
        assert_eq!(response.status, 400, "{query}");
        assert!(response.body_text().contains(words), "{query}: {}", response.body_text());
    }
    // A path stands for its route, and every host is the same where none is listed.
    let told = show(&gw, "tenant=acme&route=/top.csv&limit=each&host=anything.example.com").await.json();
    assert_eq!(
        (&told["limits"][0]["counted"]["route"], told["limits"].as_array().map(Vec::len)),
        (&"/top".into(), Some(1))
    );
    let (code, text, said) = tollgate(&gw, &["limits", "show", "--limit", "dayly"]).await;
    assert_eq!((code, text.as_str()), (2, ""));
    assert_eq!(said, "tollgate: there is no limit `dayly`; did you mean `daily`?\n");
}

#[tokio::test]
async fn a_gateway_without_limits_says_so() {
    let (gw, _) = gateway("default_auth: partners\nroutes: { /top: { pipe: top } }\n");
    let (code, text, _) = tollgate(&gw, &["limits", "show"]).await;
    assert_eq!((code, text.as_str()), (0, "No limit holds here.\n"));
    let (code, text, _) = tollgate(&gw, &["limits", "reset", "--tenant", "acme"]).await;
    assert_eq!(code, 1);
    assert!(text.starts_with("Nothing was reset"), "{text}");
}

#[tokio::test]
async fn requests_without_a_tenant_have_a_count_of_their_own() {
    let (gw, _) = gateway(&LIMITS.replace("default_auth: partners", "default_auth: public"));
    for _ in 0..3 {
        assert_eq!(gw.get("/top").await.status, 200);
    }
    let told = show(&gw, "tenant=&limit=each&route=/top").await.json();
    assert_eq!(told["limits"][0]["counted"], json!({ "route": "/top", "tenant": null }));
    assert_eq!(told["limits"][0]["remaining"], 7);
    let (code, text, _) =
        tollgate(&gw, &["limits", "reset", "--tenant", "", "--route", "/top", "--limit", "each"]).await;
    assert_eq!((code, text.as_str()), (0, "reset each (route /top, who has no tenant): 7 of 10 was left\n"));
}

#[tokio::test]
async fn a_gateway_that_is_not_there_cannot_be_asked() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let token = folder.path().join("token");
    std::fs::write(&token, "a-token-of-some-length").expect("a file");
    for command in ["show", "reset"] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        program.args(["limits", command, "--tenant", "acme", "--admin-url", "http://127.0.0.1:9", "--token-file"]);
        let output = program.arg(&token).output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("the gateway does not answer at http://127.0.0.1:9"), "{said}");
    }
}

#[tokio::test]
async fn a_request_that_is_asked_about_names_its_limits_and_spends_none() {
    let plans = PROVIDERS.replace("tenant: \"{key.tenant}\"", "tenant: \"{key.tenant}\", plan: \"{key.meta.plan}\"");
    let folder = tempfile::tempdir().expect("a folder for the test");
    let keys = record(&api_key("Acme00000001", "acme"), ", tenant: acme")
        + &record(&api_key("Gamma0000001", "gamma"), ", tenant: gamma, meta: { plan: gold }");
    std::fs::write(folder.path().join("keys.yaml"), keys).expect("a file");
    let sections = LIMITS.replace("default_plan: free\n", "").replace("beta: {", "acme: { plan: free }, beta: {");
    let gw = TestGateway::from_folder(folder, &format!("{plans}{sections}"), TestClock::new().clock());
    let about = async |path: &str, key: &str| {
        let asked = json!({ "method": "GET", "url": path, "headers": [["Authorization", format!("Bearer {key}")]] });
        let request = Request::post("/routes/test").bearer(&gw.admin_token()).json(asked.to_string());
        request.send(gw.admin()).await.json()
    };
    let (acme, gamma) = (api_key("Acme00000001", "acme"), api_key("Gamma0000001", "gamma"));
    let told = about("/top", &acme).await;
    assert_eq!(told["explanation"]["plan"], json!({ "name": "free", "because": "tenants" }));
    let text = told["text"].as_str().expect("text");
    assert!(
        text.contains(
            "\
limits      the plan is free, as `tenants` says
            flood            1000/s, 1000 at once  ip 127.0.0.1             server
            all              500/s, 500 at once    everybody together       server
            daily            4/day                 tenant acme              plan free
            each             10/m, 10 at once      route /top, tenant acme  route /top
            trial (dry run)  1/h, 1 at once        tenant acme              route /top
"
        ),
        "{text}"
    );
    for _ in 0..6 {
        about("/top", &acme).await;
    }
    assert_eq!(Request::get("/top").bearer(&acme).send(gw.addr()).await.status, 200, "nothing was spent");
    let daily = show(&gw, "tenant=acme&limit=daily").await.json();
    assert_eq!(daily["limits"][0]["remaining"], 3);

    // What is refused before comes no further than the limits by address.
    let told = about("/nowhere", &acme).await;
    let names = |told: &Value| -> Vec<String> {
        let rows = told["explanation"]["limits"].as_array().expect("limits").iter();
        rows.map(|row| row["limit"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names(&told), ["flood"]);
    assert_eq!(names(&about("/other", "wrong").await), ["flood"]);
    let told = about("/top", &gamma).await;
    let verdict = &told["explanation"]["verdict"];
    assert_eq!((&verdict["status"], &verdict["code"]), (&403.into(), &"forbidden".into()), "{told}");
    assert!(verdict["rule"].as_str().expect("a rule").contains("the credential's plan `gold`"), "{told}");
    let answer = Request::get("/top").bearer(&gamma).send(gw.addr()).await;
    assert_eq!((answer.status, &answer.json()["error"]), (403, &verdict["error"]));
}
