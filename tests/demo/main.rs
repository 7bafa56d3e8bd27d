//! The demo upstream over real HTTP, with a client written by hand so that the bytes are what a
//! test sees.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "the helpers below belong to tests, but are not marked as such"
)]

mod jwt;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;
use tollgate::clock::Clock;
use tollgate::demo::{Behaviour, Demo, DemoOptions, PIPES, Presence};

const TOKEN: &str = "p.demo";
const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain";

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn every_pipe_answers_its_example_in_every_format() {
    let demo = start().await;
    for pipe in PIPES.iter().filter(|pipe| pipe.behaviour != Behaviour::Failing) {
        let url = |extension: &str| format!("/v0/pipes/{}.{extension}?{}", pipe.name, pipe.example);
        let json = get(&demo, &url("json"));
        assert_eq!(json.status, 200, "{}: {}", pipe.name, json.body);
        assert_eq!(json.header("content-type"), "application/json; charset=utf-8");
        let document = json.document();
        let names: Vec<_> =
            document["meta"].as_array().unwrap().iter().map(|column| column["name"].as_str().unwrap()).collect();
        assert_eq!(names, pipe.columns.iter().map(|column| column.name).collect::<Vec<_>>());
        let rows = document["data"].as_array().unwrap();
        assert!(!rows.is_empty(), "{} is empty", pipe.name);
        assert_eq!(document["rows"], rows.len());
        for name in &names {
            assert!(rows[0].get(name).is_some(), "{} lacks {name}", pipe.name);
        }
        assert!(document["statistics"]["elapsed"].as_f64().unwrap() >= 0.0);

        let csv = get(&demo, &url("csv"));
        assert_eq!((csv.status, csv.header("content-type").as_str()), (200, "text/csv; charset=utf-8"));
        let header = names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(",");
        assert_eq!(csv.body.lines().next(), Some(header.as_str()));
        assert_eq!(csv.body.lines().count(), rows.len() + 1);

        let ndjson = get(&demo, &url("ndjson"));
        assert_eq!((ndjson.status, ndjson.header("content-type").as_str()), (200, "application/x-ndjson"));
        let lines: Vec<Value> = ndjson.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(&lines, rows);
    }
    let unknown = get(&demo, "/v0/pipes/kpis.parquet");
    assert_eq!(unknown.status, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_was_read_is_told() {
    let demo = start().await;
    let counts = get(&demo, "/v0/sql?q=SELECT%20(SELECT%20count(*)%20FROM%20sales)%20AS%20s,%20(SELECT%20count(*)%20FROM%20products)%20AS%20p").document();
    let row = &counts["data"][0];
    let products = get(&demo, "/v0/pipes/top-10-products.json").document();
    assert_eq!(
        products["statistics"]["rows_read"].as_i64(),
        Some(row["s"].as_i64().unwrap() + row["p"].as_i64().unwrap())
    );
    assert!(products["statistics"]["bytes_read"].as_i64().unwrap() > 100_000);
    assert_eq!(
        (products["rows"].as_i64(), products["rows_before_limit_at_least"].as_i64()),
        (Some(10), row["p"].as_i64())
    );
    assert_eq!(counts["statistics"]["rows_read"], products["statistics"]["rows_read"]);
    assert!(get(&demo, "/v0/pipes/kpis.json").document().get("rows_before_limit_at_least").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn parameters_arrive_by_query_form_json_and_a_mix() {
    let demo = start().await;
    let wanted = get(&demo, "/v0/pipes/top_pages.json?tenant_id=acme&limit=3").document()["data"].clone();
    assert_eq!(wanted.as_array().unwrap().len(), 3);
    let form = post(&demo, "/v0/pipes/top_pages.json", FORM, "tenant_id=acme&limit=3");
    assert_eq!(form.document()["data"], wanted);
    let json = post(&demo, "/v0/pipes/top_pages.json", JSON, r#"{"tenant_id":"acme","limit":3,"domain":null}"#);
    assert_eq!(json.document()["data"], wanted);
    let mixed = post(&demo, "/v0/pipes/top_pages.json?limit=3&from=chart", JSON, r#"{"tenant_id":"acme"}"#);
    assert_eq!(mixed.document()["data"], wanted);
    let by_id = get(
        &demo,
        &format!(
            "/v0/pipes/{}.json?tenant_id=acme&limit=3",
            PIPES.iter().find(|pipe| pipe.name == "top_pages").unwrap().id()
        ),
    );
    assert_eq!(by_id.document()["data"], wanted);
    // The body comes after the query, and the last value counts.
    let twice = post(&demo, "/v0/pipes/echo-params.json?text=query", FORM, "text=body");
    assert_eq!(echoed(&twice.document(), "text")["value"], "body");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn bodies_that_are_not_parameters_are_refused() {
    let demo = start().await;
    for (media, body, status) in
        [(JSON, "[1]", 400), (JSON, "{", 400), ("multipart/form-data; boundary=x", "--x--", 415), (TEXT, "\u{0}", 400)]
    {
        let answer = post(&demo, "/v0/pipes/kpis.json", media, body);
        assert_eq!(answer.status, status, "{media} {body}: {}", answer.body);
        assert!(answer.document()["error"].is_string());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn arrays_arrive_three_ways() {
    let demo = start().await;
    let path = "/v0/pipes/echo-params.json";
    let ways = [
        get(&demo, &format!("{path}?ids=1,2,3&names=ann%2Cbob")),
        get(&demo, &format!("{path}?ids=1&names=ann&ids=2&ids=3&names=bob")),
        post(&demo, path, JSON, r#"{"ids":[1,2,3],"names":["ann","bob"]}"#),
        post(&demo, path, FORM, "ids=1&ids=2,3&names=ann,bob"),
    ];
    for answer in ways {
        let document = answer.document();
        let ids = echoed(&document, "ids");
        assert_eq!(
            (&ids["type"], &ids["value"], &ids["elements"]),
            (&"Array(Int32)".into(), &"1,2,3".into(), &3.into())
        );
        assert_eq!(echoed(&document, "names")["elements"], 2);
        assert_eq!(document["data"][0]["total_length"], 12);
    }
    let wrong = get(&demo, &format!("{path}?ids=1,x"));
    assert_eq!(wrong.status, 400);
    assert!(wrong.body.contains("'ids'") && wrong.body.contains("Array(Int32)"));

    let chosen = get(&demo, "/v0/pipes/sales_by_products.json?products=acme-01&products=beta-02").document();
    assert!(
        chosen["data"]
            .as_array()
            .unwrap()
            .iter()
            .all(|row| row["product_id"] == "acme-01" || row["product_id"] == "beta-02")
    );
    assert_eq!(chosen["rows"], 6);
    let empty = get(&demo, "/v0/pipes/sales_by_products.json?products=").document();
    let mut products: Vec<_> =
        empty["data"].as_array().unwrap().iter().map(|row| row["product_id"].as_str().unwrap()).collect();
    products.dedup();
    assert_eq!(products.len(), 36);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn long_requests_fit() {
    let demo = start().await;
    let get_9k = get(&demo, &format!("/v0/pipes/echo-params.json?text={}", "a".repeat(9_000))).document();
    assert_eq!(echoed(&get_9k, "text")["length"], 9_000);
    let post_900k =
        post(&demo, "/v0/pipes/echo-params.json", FORM, &format!("text={}", "b".repeat(900_000))).document();
    assert_eq!(post_900k["data"][0]["total_length"], 900_000);
    let repeated = post(&demo, "/v0/pipes/echo-params.json", FORM, &"ids=1&".repeat(40_000));
    assert_eq!(echoed(&repeated.document(), "ids")["elements"], 40_000);
    let listed = format!("products={}", "acme-01,".repeat(100_000));
    assert_eq!(post(&demo, "/v0/pipes/sales_by_products.json", FORM, &listed).document()["rows"], 3);
    assert_eq!(post(&demo, "/v0/pipes/kpis.json", FORM, &"a&".repeat(400_000)).status, 400);
    assert_eq!(get(&demo, &format!("/v0/pipes/echo-params.json?text={}", "a".repeat(17_000))).status, 414);
    assert_eq!(post(&demo, "/v0/pipes/echo-params.json", FORM, &"c".repeat(3 << 20)).status, 413);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_tenant_filter_isolates_unless_it_is_empty() {
    let demo = start().await;
    let tenants = |query: &str| {
        let document = get(&demo, &format!("/v0/pipes/events_list.json?limit=20000{query}")).document();
        let mut found: Vec<_> = document["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["tenant_id"].as_str().unwrap().to_owned())
            .collect();
        let rows = found.len();
        found.sort();
        found.dedup();
        (found, rows)
    };
    let (acme, acme_rows) = tenants("&tenant_id=acme");
    assert_eq!(acme, ["acme"]);
    let (all, all_rows) = tenants("&tenant_id=");
    assert_eq!(all, ["acme", "beta", "gamma"]);
    assert!(all_rows > acme_rows && acme_rows > 1_000, "{all_rows} {acme_rows}");
    assert_eq!(tenants("").1, all_rows);
    assert_eq!(tenants("&tenant_id=nobody").1, 0);
    let hostile = get(&demo, "/v0/pipes/events_list.json?tenant_id=acme'%20OR%20'1'='1").document();
    assert_eq!(hostile["rows"], 0);
    let shop = get(&demo, "/v0/pipes/top-10-products.json?company_id=beta").document();
    assert!(
        shop["data"].as_array().unwrap().iter().all(|row| row["product_id"].as_str().unwrap().starts_with("beta-"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn wrong_and_missing_parameters_are_named_with_their_types() {
    let demo = start().await;
    let missing = get(&demo, "/v0/pipes/required-demo.json");
    assert_eq!(missing.status, 400);
    assert_eq!(missing.document()["error"], "[Error] Missing required parameter 'start_date' (Date)");
    assert!(missing.document()["documentation"].as_str().unwrap().starts_with("https://"));
    for (query, name, kind) in [
        ("required-demo.json?start_date=2026-02-30", "start_date", "Date"),
        ("required-demo.json?start_date=", "start_date", "Date"),
        ("top_pages.json?limit=ten", "limit", "Int32"),
        ("top_pages.json?limit=-1", "limit", "Int32"),
        ("top_pages.json?limit=99999999999", "limit", "Int32"),
        ("events_list.json?since=2026-01-01", "since", "DateTime"),
        ("events_list.json?with_payload=maybe", "with_payload", "Boolean"),
    ] {
        let answer = get(&demo, &format!("/v0/pipes/{query}"));
        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.body.contains(&format!("'{name}'")) && answer.body.contains(kind), "{query}: {}", answer.body);
    }
    let right = get(&demo, "/v0/pipes/events_list.json?since=2026-03-31T00:00:00.000&with_payload=False&undeclared=1")
        .document();
    assert!(
        right["data"]
            .as_array()
            .unwrap()
            .iter()
            .all(|row| row["payload"] == "" && row["timestamp"].as_str().unwrap() >= "2026-03-31")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn flaky_fails_as_ordered_for_each_key() {
    let demo = start().await;
    let ask = |query: &str| get(&demo, &format!("/v0/pipes/flaky.json?{query}"));
    for round in 0..2 {
        for _ in 0..2 {
            let failed = ask("fail=500&times=2&key=a");
            assert_eq!(failed.status, 500, "round {round}");
            assert!(failed.body.contains("SELECT") && failed.body.contains("jane.doe@acme.example"));
            assert_eq!(failed.header("x-db-exception-code"), "241");
        }
        let through = ask("fail=500&times=2&key=a").document();
        assert_eq!(through["data"][0]["attempts"], 3);
    }
    let limited = ask("fail=429&times=1&key=b&retry_after=7");
    assert_eq!((limited.status, limited.header("retry-after").as_str()), (429, "7"));
    assert_eq!(ask("fail=429&times=1&key=b").document()["data"][0]["attempts"], 2);
    for wrong in ["fail=200", "times=-1", "times=101", "retry_after=99999", &format!("key={}", "k".repeat(200))] {
        assert_eq!(ask(wrong).status, 400, "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn flaky_forgets_the_oldest_keys() {
    let demo = start().await;
    for key in 0..1_030 {
        assert_eq!(get(&demo, &format!("/v0/pipes/flaky.json?times=1&key={key}")).status, 500);
    }
    assert_eq!(get(&demo, "/v0/pipes/flaky.json?times=1&key=1029").status, 200);
    assert_eq!(get(&demo, "/v0/pipes/flaky.json?times=1&key=0").status, 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn only_the_token_opens_it() {
    let demo = start().await;
    let bare = |target: &str, header: &str| {
        exchange(demo.address(), &format!("GET {target} HTTP/1.1\r\nHost: x\r\n{header}Connection: close\r\n\r\n"))
    };
    for path in [
        "/v0/pipes/kpis.json",
        "/v0/pipes",
        "/v0/pipes/kpis",
        "/v0/pipes/openapi.json",
        "/v0/sql?q=SELECT%201",
        "/v0/nothing",
    ] {
        let refused = bare(path, "");
        assert_eq!(refused.status, 403, "{path}");
        assert!(refused.document()["error"].is_string());
    }
    assert_eq!(bare("/v0/pipes/kpis.json", "Authorization: Bearer p.wrong\r\n").status, 403);
    assert_eq!(bare("/v0/pipes/kpis.json?token=p.wrong", "").status, 403);
    assert_eq!(bare("/v0/pipes/kpis.json?token=p.demo", "").status, 200);
    assert_eq!(bare("/v0/pipes/kpis.json", "authorization: bearer p.demo\r\n").status, 200);
    assert_eq!(bare("/v0/regions", "").status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn sql_runs_over_the_result_by_query_form_and_raw_body() {
    let demo = start().await;
    let path = "/v0/pipes/top_pages.json";
    let ways = [
        get(&demo, &format!("{path}?tenant_id=acme&q=SELECT%20*%20FROM%20_%20LIMIT%201")),
        post(&demo, path, FORM, "tenant_id=acme&q=SELECT+*+FROM+_+LIMIT+1"),
        post(&demo, &format!("{path}?tenant_id=acme"), TEXT, "SELECT * FROM _ LIMIT 1 FORMAT JSON"),
        exchange(demo.address(), &request("POST", &format!("{path}?tenant_id=acme"), None, "SELECT * FROM _ LIMIT 1;")),
    ];
    let first = get(&demo, &format!("{path}?tenant_id=acme&limit=1")).document();
    for answer in ways {
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.document()["data"], first["data"]);
        assert_eq!(answer.document()["meta"], first["meta"]);
    }
    let counted = get(&demo, &format!("{path}?q=SELECT%20count(*)%20AS%20n%20FROM%20_")).document();
    assert_eq!((&counted["data"][0]["n"], &counted["meta"][0]["type"]), (&10.into(), &"Int64".into()));
    let sql = post(
        &demo,
        "/v0/sql",
        TEXT,
        "SELECT tenant_id, count(*) AS n FROM analytics_events GROUP BY 1 ORDER BY 1 FORMAT JSONEachRow",
    );
    assert_eq!(sql.header("content-type"), "application/x-ndjson");
    assert_eq!(sql.body.lines().count(), 3);
    assert_eq!(get(&demo, "/v0/sql").status, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn hostile_sql_neither_writes_nor_escapes_nor_hangs() {
    let demo = start().await;
    let cross = "SELECT count(*) FROM _ a, _ b, _ c, _ d, _ e, _ f, _ g, _ h, _ i, _ j";
    let bomb = |levels: usize, references: usize| {
        let nest = (1..levels).fold("WITH t0 AS (SELECT 1 x FROM _ LIMIT 1)".to_owned(), |sql, level| {
            let from: Vec<_> = (0..references).map(|at| format!("t{} a{at}", level - 1)).collect();
            format!("{sql}, t{level} AS (SELECT a0.x FROM {} LIMIT 1)", from.join(", "))
        });
        format!("{nest} SELECT x FROM t{} WHERE x > 2", levels - 1)
    };
    let deep = format!("SELECT {}1{}", "(".repeat(3_000), ")".repeat(3_000));
    let long = "SELECT substr(t || t || t || t || t || t || t || t, 1, 4000) t FROM";
    let wildcards = format!(
        "WITH w AS ({long} ({long} (SELECT 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' t))) SELECT 1 FROM w, _ a, _ b, _ c, _ d, _ e, _ f WHERE t || a.rowid LIKE '{}x'",
        "%a".repeat(18)
    );
    let hoarder = format!(
        "WITH w AS ({long} ({long} ({long} (SELECT 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' t)))) SELECT t FROM (SELECT DISTINCT t || a.rowid || b.rowid || c.rowid || d.rowid || e.rowid || f.rowid AS t FROM w, _ a, _ b, _ c, _ d, _ e, _ f ORDER BY 1) WHERE t = ''"
    );
    let attacks = [
        "DELETE FROM _",
        "DROP TABLE _",
        "INSERT INTO _ VALUES (1,2,3)",
        "CREATE TABLE t (x)",
        "UPDATE sales SET units = 0",
        "SELECT * FROM sales",
        "SELECT count(*) FROM sales",
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM main.products)",
        "SELECT * FROM sqlite_master",
        "SELECT * FROM temp.sqlite_master",
        "SELECT * FROM pragma_table_info('sales')",
        "ATTACH '/tmp/x.db' AS x",
        "VACUUM INTO '/tmp/x.db'",
        "PRAGMA query_only = 0",
        "PRAGMA hard_heap_limit = 0",
        "SELECT load_extension('x')",
        "SELECT readfile('/etc/passwd')",
        "SELECT zeroblob(1000000000)",
        "SELECT randomblob(1000000000)",
        "SELECT printf('%1000000000d', 1)",
        "SELECT 1; DELETE FROM _",
        "SELECT ?1",
        "SELECT :limit",
        "BEGIN",
        "SAVEPOINT s",
        "EXPLAIN SELECT 1",
        "ANALYZE",
        "REINDEX",
        "",
        ";",
        ";;;;",
        "--",
        "/*",
        "'",
        "\"",
        "\u{0}",
        "SELECT 1\u{0}SELECT 2",
        "FORMAT",
        "FORMAT JSON",
        "x FORMAT JSON",
        "SELECT CAST(x'ff' AS TEXT)",
        "SELECT sum(9223372036854775807) FROM _",
        "SELECT * FROM _ WHERE",
        "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r",
        "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n FROM r",
        &hoarder,
        cross,
        &bomb(60, 2),
        &bomb(12, 2),
        &bomb(12, 8),
        &bomb(3, 60),
        &bomb(4, 30),
        &bomb(5, 30),
        &bomb(6, 20),
        &bomb(7, 20),
        &bomb(8, 12),
        &deep,
        &wildcards,
        &";".repeat(8_000),
        &"(".repeat(100_000),
    ];
    for attack in attacks {
        for path in ["/v0/pipes/top_pages.json?limit=10", "/v0/sql?limit=10"] {
            let clean = attack.trim().trim_end_matches(';').is_empty();
            let attack = if path.starts_with("/v0/sql") {
                attack.replace("FROM _", "FROM products").replace(", _ ", ", products ")
            } else {
                attack.to_owned()
            };
            let answer = post(&demo, path, TEXT, &attack);
            let told = format!("{path} {:.80}: {} {:.200}", attack, answer.status, answer.body);
            assert!([200, 400, 403, 408].contains(&answer.status), "{told}");
            let reading = path.starts_with("/v0/sql")
                && attack.contains("SELECT")
                && (attack.contains("sales") || attack.contains("products"));
            assert!(answer.status != 200 || clean || reading || answer.document()["rows"] == 0, "{told}");
        }
    }
    let sales = get(&demo, "/v0/sql?q=SELECT%20count(*)%20AS%20n,%20min(units)%20AS%20u%20FROM%20sales").document();
    assert_eq!((&sales["data"][0]["n"], &sales["data"][0]["u"]), (&4_000.into(), &1.into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn sixty_four_bit_integers_stay_whole() {
    let demo = start().await;
    let answer = get(&demo, "/v0/pipes/events_list.json?limit=20000");
    assert_eq!(answer.header("transfer-encoding"), "chunked");
    let document = answer.document();
    let mut written = answer.body.lines().filter_map(|line| line.trim().strip_prefix("\"visitor_hash\": "));
    for row in document["data"].as_array().unwrap() {
        let hash = row["visitor_hash"].as_u64().unwrap();
        assert!(hash > 1 << 62 && hash % 2 == 1, "a double could hold {hash}");
        assert_eq!(written.next(), Some(format!("{hash},").as_str()));
    }
    assert!(answer.body.contains(r#""pathname": "\/pricing""#), "slashes are escaped as ClickHouse does");
    let again = get(&start().await, "/v0/pipes/events_list.json?limit=20000").document();
    assert_eq!(again["data"], document["data"], "the rows differ from run to run");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn events_are_taken_and_counted() {
    let demo = start().await;
    let lines = "{\"a\":1}\n\nnot json\n[1]\n{}";
    let answer = post(&demo, "/v0/events?name=usage&wait=true", "application/x-ndjson", lines);
    assert_eq!((answer.status, answer.document()["successful_rows"].as_u64()), (200, Some(2)));
    assert_eq!(answer.document()["quarantined_rows"], 2);
    assert_eq!(post(&demo, "/v0/events?name=usage", JSON, "{}").status, 202, "nobody waits");
    assert_eq!(post(&demo, "/v0/events", JSON, "{}").status, 400);
    assert_eq!(get(&demo, "/v0/events?name=usage").status, 405);
    let broken =
        request("POST", "/v0/events?name=usage", None, "{}").replace("\r\n\r\n", "\r\nContent-Encoding: gzip\r\n\r\n");
    assert_eq!(exchange(demo.address(), &broken).status, 400);
    assert_eq!(exchange(demo.address(), &broken.replace("events", "sql")).status, 415, "nowhere else");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn head_answers_like_get_without_a_body() {
    let demo = start().await;
    for path in ["/v0/pipes/kpis.csv?tenant_id=acme", "/v0/pipes/kpis", "/v0/regions"] {
        let got = get(&demo, path);
        let head = exchange(demo.address(), &request("HEAD", path, None, ""));
        assert_eq!((head.status, head.body.as_str()), (200, ""));
        assert_eq!(head.header("content-type"), got.header("content-type"));
        assert_eq!(head.header("content-length"), got.body.len().to_string());
    }
    assert_eq!(exchange(demo.address(), &request("HEAD", "/v0/pipes/required-demo.json", None, "")).status, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_neighbours_are_as_open_as_the_vendors() {
    let demo = start().await;
    let spec = get(&demo, "/v0/pipes/openapi.json").document();
    let list = get(&demo, "/v0/pipes").document();
    assert_eq!(list["pipes"].as_array().unwrap().len(), PIPES.len());
    for pipe in PIPES {
        let described = &spec["paths"][format!("/pipes/{}.{{format}}", pipe.name)]["get"];
        for parameter in pipe.parameters {
            let found = described["parameters"]
                .as_array()
                .unwrap()
                .iter()
                .find(|found| found["name"] == parameter.name)
                .unwrap();
            assert_eq!(found["required"], parameter.presence == Presence::Required);
        }
        let definition = get(&demo, &format!("/v0/pipes/{}", pipe.name)).document();
        assert_eq!(definition["nodes"][0]["sql"], pipe.sql);
        assert_eq!(definition["id"], pipe.id());
    }
    assert_eq!(get(&demo, "/v0/tokens").status, 403);
    for path in [
        "/",
        "/v0",
        "/v0/",
        "/v0/datasources",
        "/v0/pipes/",
        "/v0/pipes/unknown.json",
        "/v0/pipes/kpis/explain",
        "/v0/pipes/.json",
        "/v1/pipes/kpis.json",
    ] {
        let answer = get(&demo, path);
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.document()["error"].is_string());
    }
    for (method, path, allow) in [
        ("DELETE", "/v0/pipes/kpis.json", "GET, HEAD, POST"),
        ("PUT", "/v0/sql", "GET, HEAD, POST"),
        ("POST", "/v0/pipes", "GET, HEAD"),
    ] {
        let answer = exchange(demo.address(), &request(method, path, None, ""));
        assert_eq!((answer.status, answer.header("allow").as_str()), (405, allow), "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn every_answer_carries_the_vendors_headers() {
    let demo = start().await;
    for path in ["/v0/pipes/kpis.json", "/v0/nothing", "/v0/pipes/required-demo.json"] {
        let answer = get(&demo, path);
        assert_eq!(answer.header("server"), "Tinybird-demo");
        for name in ["via", "x-db-backend", "x-powered-by", "set-cookie"] {
            assert!(!answer.header(name).is_empty(), "{path}: {name}");
        }
        assert!(answer.header("link").contains(&demo.address().to_string()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn connections_are_kept_and_end_with_the_demo() {
    let demo = start().await;
    let mut stream = TcpStream::connect(demo.address()).unwrap();
    for _ in 0..3 {
        stream.write_all(format!("GET /v0/regions HTTP/1.1\r\nHost: {}\r\n\r\n", demo.address()).as_bytes()).unwrap();
        let mut received = Vec::new();
        while !received.ends_with(b"}]}") {
            let mut piece = [0; 4_096];
            let length = stream.read(&mut piece).unwrap();
            assert!(length > 0);
            received.extend_from_slice(&piece[..length]);
        }
    }
    let address = demo.address();
    drop(demo);
    assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0, "an idle connection is closed");
    assert!((0..10_000).any(|_| TcpStream::connect(address).is_err()), "it still accepts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn garbage_on_the_wire_ends_one_connection_only() {
    let demo = start().await;
    for garbage in [
        "\u{0}\u{1}\u{2}\r\n\r\n",
        "GET\r\n\r\n",
        "GET /v0/pipes/%ff.json?token=p.demo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(demo.address()).unwrap();
        stream.write_all(garbage.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(String::from_utf8_lossy(&answer).contains(" 400 "), "{garbage:?}");
    }
    for query in ["?limit=%ff", "?%", "?&&==&=", "?date_from=%00", "?date_from=\u{7f}"] {
        let status = get(&demo, &format!("/v0/pipes/top_pages.json{query}")).status;
        assert!(status == 200 || status == 400, "{query}: {status}");
    }
}

async fn start() -> Demo {
    let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
    Demo::start(DemoOptions { address, token: TOKEN.to_owned(), clock: Clock::system() }).await.unwrap()
}

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> String {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()).unwrap_or_default()
    }

    fn document(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

fn echoed<'a>(document: &'a Value, name: &str) -> &'a Value {
    document["data"].as_array().unwrap().iter().find(|row| row["name"] == name).unwrap()
}

fn get(demo: &Demo, target: &str) -> Answer {
    exchange(demo.address(), &request("GET", target, None, ""))
}

fn post(demo: &Demo, target: &str, media: &str, body: &str) -> Answer {
    exchange(demo.address(), &request("POST", target, Some(media), body))
}

fn request(method: &str, target: &str, media: Option<&str>, body: &str) -> String {
    let media = media.map(|media| format!("Content-Type: {media}\r\n")).unwrap_or_default();
    let length = body.len();
    format!(
        "{method} {target} HTTP/1.1\r\nHost: demo\r\nAuthorization: Bearer {TOKEN}\r\n{media}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

fn exchange(address: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let body = if chunked { dechunk(body) } else { body.to_owned() };
    Answer { status, headers, body }
}

fn dechunk(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((length, after)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        body.push_str(&after[..length]);
        rest = &after[length + 2..];
        if length == 0 {
            break;
        }
    }
    body
}
