//! `white_label.openapi`: each host's own description of its routes.

use serde_json::{Value, json};

use tollgate::clock::TestClock;

use crate::support::client::{Request, Response};
use crate::support::credentials::{PROVIDERS, api_key, claims, jwt, record};
use crate::support::gateway::{TestGateway, assert_nothing_betrayed, assert_refused};
use crate::support::h2_client::H2Client;

const SECTIONS: &str = "white_label: { strip: [statistics, meta], openapi: /openapi.json }
tinybird_api: true
cors: { origins: ['https://app.example.com'] }
routes:
  /top-10:
    pipe: top_10
    formats: [json, csv]
    params: { allow: [start, limit, Company_Id], fixed: { company_id: acme }, default: { limit: '100' } }
  /reports/{report}: { pipe: 'r_{path.report}' }
  /ch/*: { proxy: '/in/{path.rest}', methods: [GET, PUT] }
";

fn document(response: &Response) -> Value {
    assert_eq!(response.status, 200, "{response:#?}");
    assert_eq!(response.header("content-type").as_deref(), Some("application/json"));
    response.assert_strictly_valid();
    assert_nothing_betrayed(response);
    response.json()
}

fn names(operation: &Value) -> Vec<(&str, &str)> {
    let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    let each = parameters.iter().map(|one| (one["in"].as_str(), one["name"].as_str()));
    each.map(|(place, name)| (place.unwrap_or_default(), name.unwrap_or_default())).collect()
}

#[tokio::test]
async fn a_host_describes_its_routes_as_callers_use_them() {
    let gw = TestGateway::with(SECTIONS);
    let api = document(&gw.get("/openapi.json").await);
    assert_eq!(api["openapi"], "3.0.3");
    let mut paths: Vec<&String> = api["paths"].as_object().unwrap().keys().collect();
    paths.sort();
    assert_eq!(paths, ["/ch/{rest}", "/reports/{report}", "/top-10", "/top-10.csv", "/top-10.json"]);

    let get = &api["paths"]["/top-10"]["get"];
    assert_eq!(names(get), [("query", "limit"), ("query", "start")], "what is fixed is gone, however it is written");
    assert_eq!(get["parameters"][0]["schema"], json!({ "type": "string", "default": "100" }));
    assert_eq!(get.get("description"), None);
    let rows = &get["responses"]["200"]["content"]["application/json"]["schema"]["properties"];
    assert_eq!(rows.as_object().unwrap().keys().collect::<Vec<_>>(), ["data", "rows"]);
    let post = &api["paths"]["/top-10"]["post"]["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(post["properties"].as_object().unwrap().len(), 2);
    assert!(api["paths"]["/top-10.csv"]["get"]["responses"]["200"]["content"]["text/csv"].is_object());

    let report = &api["paths"]["/reports/{report}"]["get"];
    assert_eq!(names(report), [("path", "report")]);
    assert!(report["description"].as_str().is_some_and(|text| text.contains("Further parameters")));
    let proxy = &api["paths"]["/ch/{rest}"];
    assert_eq!(proxy.as_object().unwrap().keys().collect::<Vec<_>>(), ["get", "put"]);
    assert_eq!(names(&proxy["get"]), [("path", "rest")]);

    let mut ids = Vec::new();
    for item in api["paths"].as_object().unwrap().values() {
        ids.extend(item.as_object().unwrap().values().map(|operation| operation["operationId"].as_str().unwrap()));
    }
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "every operation has a name of its own");
    for word in ["company", "acme", "r_", "top_10", "/in/", "127.0.0.1:1", "v0"] {
        assert!(!api["paths"].to_string().contains(word), "{word}");
    }
    gw.origin.assert_untouched();
}

#[tokio::test]
async fn its_server_is_where_the_caller_asked() {
    let gw = TestGateway::with(&format!("{SECTIONS}server: {{ trusted_proxies: [127.0.0.1] }}\n"));
    let url = |response: &Response| document(response)["servers"][0]["url"].as_str().unwrap().to_owned();
    let at = |host: &str| Request::get("/openapi.json").host(host);
    assert_eq!(url(&at("API.example.com:8443").send(gw.addr()).await), "http://api.example.com:8443");
    assert_eq!(url(&at("api.example.com").send(gw.addr()).await), "http://api.example.com");
    assert_eq!(url(&at("[::1]:80").send(gw.addr()).await), "http://[::1]:80");
    assert_eq!(url(&at("[::1]").send(gw.addr()).await), "http://[::1]");
    let secure = at("api.example.com").header("X-Forwarded-Proto", "https").send(gw.addr()).await;
    assert_eq!(url(&secure), "https://api.example.com");
    assert_eq!(at("a\"b").send(gw.addr()).await.status, 400);
    let new = H2Client::connect(gw.addr()).await.get("/openapi.json").await;
    assert_eq!(new.status, 200);
    assert!(new.json()["servers"][0]["url"].as_str().is_some_and(|url| url.starts_with("http://")));
}

#[tokio::test]
async fn only_reading_it_is_possible() {
    let gw = TestGateway::with(SECTIONS);
    let head = Request::head("/openapi.json").send(gw.addr()).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    head.assert_strictly_valid();
    let wrong = Request::post("/openapi.json").json("{}").send(gw.addr()).await;
    assert_refused(&wrong, 405, "method_not_allowed");
    assert_eq!(wrong.header("allow").as_deref(), Some("GET, HEAD"));
    let page = Request::get("/openapi.json").header("Origin", "https://app.example.com").send(gw.addr()).await;
    assert_eq!(page.header("access-control-allow-origin").as_deref(), Some("https://app.example.com"));
    let preflight = Request::preflight("/openapi.json", "https://app.example.com", "GET").send(gw.addr()).await;
    assert_eq!(preflight.status, 204);
    for path in ["/openapi.json/", "/openapi.JSON", "/openapi"] {
        assert_refused(&gw.get(path).await, 404, "route_not_found");
    }
    assert_eq!(gw.get("/%6fpenapi.json?x=1").await.status, 200, "it matches as routes do");
    let none = TestGateway::with("routes: { /a: { pipe: a } }");
    assert_refused(&none.get("/openapi.json").await, 404, "route_not_found");
}

#[tokio::test]
async fn each_host_speaks_of_its_own_routes() {
    let gw = TestGateway::with(
        "white_label: { openapi: /api.json }
routes: { /shared: { pipe: a } }
hosts:
  one.example.com: {}
  two.example.com: { tenant: two, routes: { /own: { pipe: b, params: { allow_public_tenant: true } } } }
  '*.example.org': {}
",
    );
    for (host, path) in [("one.example.com", "/shared"), ("two.example.com", "/own"), ("x.example.org", "/shared")] {
        let api = document(&Request::get("/api.json").host(host).send(gw.addr()).await);
        assert_eq!(api["paths"].as_object().unwrap().keys().collect::<Vec<_>>(), [path], "{host}");
        assert_eq!(api["servers"][0]["url"], format!("http://{host}"));
    }
    assert_refused(&Request::get("/api.json").host("other.com").send(gw.addr()).await, 404, "route_not_found");
}

/// A gateway with the providers `dashboards`, `employees` and `partners`.
fn guarded(sections: &str) -> TestGateway {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let line = record(&api_key("Good00000001", "good"), ", tenant: acme");
    std::fs::write(folder.path().join("keys.yaml"), line).expect("a file");
    TestGateway::from_folder(folder, &format!("{PROVIDERS}{sections}"), TestClock::new().clock())
}

#[tokio::test]
async fn who_may_read_it_is_who_may_call_what_says_nothing() {
    let routes = "routes: { /a: { pipe: a, params: { fixed: { company_id: '{tenant}' } } }, /open: { pipe: b, auth: public } }\n";
    let gw =
        guarded(&format!("white_label: {{ openapi: /openapi.json }}\ndefault_auth: [employees, partners]\n{routes}"));
    assert_refused(&gw.get("/openapi.json").await, 401, "credential_missing");
    let wrong = Request::get("/openapi.json").bearer(&api_key("Other0000001", "other")).send(gw.addr()).await;
    assert_refused(&wrong, 401, "credential_invalid");
    let known = Request::get("/openapi.json").bearer(&jwt(&claims())).send(gw.addr()).await;
    let api = document(&known);
    assert_eq!(known.header("cache-control").as_deref(), Some("private, no-cache"));
    assert_eq!(api["paths"]["/open"]["get"]["security"], json!([]));
    let schemes = api["components"]["securitySchemes"].as_object().unwrap();
    let security = api["paths"]["/a"]["get"]["security"].as_array().unwrap();
    assert!(!security.is_empty());
    assert!(security.iter().flat_map(|one| one.as_object().unwrap().keys()).all(|name| schemes.contains_key(name)));
    for name in ["employees", "partners", "id.example"] {
        assert!(!known.contains(name), "{name}");
    }
    let lines = gw.log(3).await;
    assert!(lines.iter().any(|line| line["status"] == 200 && !line["caller"].is_null()), "{lines:#?}");

    let all = guarded(&format!(
        "white_label: {{ openapi: /openapi.json, openapi_auth: public }}\ndefault_auth: employees\n{routes}"
    ));
    document(&all.get("/openapi.json").await);
}

#[tokio::test]
async fn everybody_reads_a_public_one_on_a_tenants_host_and_others_read_none_of_their_own() {
    let hosts = "default_auth: employees
routes: { /a: { pipe: a, params: { fixed: { company_id: '{tenant}' } } } }
hosts: { acme.example.com: { tenant: acme }, beta.example.com: { tenant: beta } }
";
    let gw = guarded(&format!("white_label: {{ openapi: /openapi.json, openapi_auth: public }}\n{hosts}"));
    document(&Request::get("/openapi.json").host("acme.example.com").send(gw.addr()).await);
    let gw = guarded(&format!("white_label: {{ openapi: /openapi.json }}\n{hosts}"));
    let at = |host: &str| Request::get("/openapi.json").host(host).bearer(&jwt(&claims()));
    document(&at("acme.example.com").send(gw.addr()).await);
    assert_refused(&at("beta.example.com").send(gw.addr()).await, 403, "tenant_mismatch");
}
