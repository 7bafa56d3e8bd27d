//! Many callers of several tenants at once, over one pipe: nobody ever gets a foreign row.

use std::sync::Arc;

use serde_json::json;

use tollgate::clock::TestClock;

use crate::support::client::{RawClient, Request};
use crate::support::credentials::{PROVIDERS, api_key, claims_with, dashboard, jwt, record};
use crate::support::gateway::TestGateway;
use crate::support::origin::Answer;

const TENANTS: [&str; 4] = ["acme", "beta", "gamma", "delta"];
const CLIENTS: usize = 20;
const EACH: usize = 500;

fn key(tenant: &str) -> String {
    api_key(&format!("{:0<12}", format!("K{tenant}")), tenant)
}

/// The next of a caller's requests: every kind of credential, every place for parameters, always asking for others' rows.
fn request(number: usize, tenant: &str, foreign: &str) -> Request {
    let token = match number % 3 {
        0 => dashboard("top", tenant),
        1 => jwt(&claims_with(&json!({ "org_id": tenant }))),
        _ => key(tenant),
    };
    let target = format!("/top?n={number}&company_id={foreign}&Company_Id[]={foreign}");
    match number % 7 {
        0 => Request::get(format!("{target}&token={token}")),
        1 => Request::post(target).bearer(&token).form(format!("company_id={foreign}&company%5fid={foreign}")),
        2 => Request::post(target)
            .bearer(&token)
            .json(format!(r#"{{"company_id":"{foreign}","company_id":["{foreign}"]}}"#)),
        3 => Request::post("/top").bearer(&token).json(format!(r#"{{"n":{number},"COMPANY_ID":"{foreign}"}}"#)),
        4 => Request::get(target)
            .bearer(&token)
            .header("X-Tenant-Id", foreign)
            .header("Cookie", format!("company_id={foreign}")),
        _ => Request::get(target).bearer(&token),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_mixed_requests_never_see_a_foreign_row() {
    let folder = tempfile::tempdir().unwrap();
    let lines: String = TENANTS.iter().map(|tenant| record(&key(tenant), &format!(", tenant: {tenant}"))).collect();
    std::fs::write(folder.path().join("keys.yaml"), lines).unwrap();
    let routes = "routes: { /top: { pipe: top, auth: [dashboards, employees, partners], params: { fixed: { company_id: '{tenant}' } } } }\n";
    let gw = TestGateway::from_folder(folder, &format!("{PROVIDERS}{routes}"), TestClock::new().clock());
    // An upstream that shows every tenant that is asked for anywhere, and everything where none is.
    gw.origin.respond_with(|seen| {
        let text = format!("{}&{}", seen.query.clone().unwrap_or_default(), seen.body_text());
        let asked: Vec<&str> = TENANTS.iter().copied().filter(|tenant| text.contains(tenant)).collect();
        let once = seen.query_values("company_id").len() == 1 && text.to_lowercase().matches("company_id").count() == 1;
        Answer::json(200, json!({ "data": asked, "once": once }).to_string())
    });
    let gw = Arc::new(gw);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let addr = gw.addr();
            tokio::spawn(async move {
                // Half of the connections change hands with each request, as those of a proxy in front do.
                let shared = client % 2 == 0;
                let mut connection = RawClient::connect(addr).await;
                for number in 0..EACH {
                    let tenant = TENANTS[if shared { client + number } else { client } % TENANTS.len()];
                    let foreign = TENANTS[(client + number * 3 + 1) % TENANTS.len()];
                    let foreign = if foreign == tenant { "" } else { foreign };
                    let response = request(number, tenant, foreign).send_on(&mut connection).await;
                    assert_eq!(response.status, 200, "{client} {number}: {}", response.body_text());
                    assert_eq!(response.json(), json!({ "data": [tenant], "once": true }), "{client} {number}");
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(gw.origin.received_count(), CLIENTS * EACH);
    gw.origin.assert_strictly_valid();
}
