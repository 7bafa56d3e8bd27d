//! `plans`, `tenants.X.plan`, `default_plan`: whose limits a request must keep.

use crate::limits::{gateway, let_in};
use crate::support::client::Request;
use crate::support::credentials::{PROVIDERS, api_key};
use crate::support::gateway::assert_refused;

const PLANS: &str = r#"limits:
  little: { by: tenant, quota: 1/day }
  much: { by: tenant, quota: 3/day }
plans: { free: { limits: [little] }, big: { limits: [much] } }
"#;

#[tokio::test]
async fn the_operators_word_for_a_plan_wins_over_the_credentials_and_only_where_it_is_asked() {
    let asked = PROVIDERS.replace("tenant: \"{key.tenant}\"", "tenant: \"{key.tenant}\", plan: \"{key.meta.plan}\"");
    let routes = "routes: { /a: { pipe: a, auth: partners }, /open: { pipe: open, auth: public } }\n";
    let acme = || Request::get("/a").bearer(&api_key("Acme00000001", "acme"));
    let second = || Request::get("/a").bearer(&api_key("Acme00000002", "acme2"));
    let beta = || Request::get("/a").bearer(&api_key("Beta00000001", "beta"));

    let (gw, _) = gateway(&format!("{PROVIDERS}{PLANS}{routes}default_plan: free\n"));
    assert_eq!(let_in(&gw, 5, "quota_exhausted", |_| acme()).await, 1, "its word is not asked");
    assert_eq!(let_in(&gw, 3, "quota_exhausted", |_| Request::get("/open")).await, 1, "nobody's plan is the default");

    let (gw, _) = gateway(&format!("{asked}{PLANS}{routes}default_plan: free\n"));
    assert_eq!(let_in(&gw, 5, "quota_exhausted", |_| acme()).await, 3);
    assert_eq!(let_in(&gw, 5, "quota_exhausted", |_| beta()).await, 1, "no word of its own");

    let (gw, _) = gateway(&format!("{asked}{PLANS}{routes}tenants: {{ acme: {{ plan: free }} }}\n"));
    assert_eq!(let_in(&gw, 5, "quota_exhausted", |_| acme()).await, 1, "the operator's word wins");
    assert_eq!(let_in(&gw, 5, "quota_exhausted", |_| second()).await, 0, "it is the tenant's plan");
    assert_eq!(let_in(&gw, 5, "quota_exhausted", |_| beta()).await, 5, "no plan at all");

    let unknown = PLANS.replace("big:", "large:");
    let (gw, _) = gateway(&format!("{asked}{unknown}{routes}"));
    let response = acme().send(gw.addr()).await;
    assert_refused(&response, 403, "forbidden");
    assert!(!response.contains("big"));
    let line = &gw.log(1).await[0];
    assert!(line["fault"].as_str().unwrap().contains("`big` is not configured"), "{line}");
    let (gw, _) = gateway(&format!("{asked}{unknown}{routes}default_plan: free\n"));
    assert_eq!(let_in(&gw, 5, "quota_exhausted", |_| acme()).await, 1, "a plan that is not there is none");
}
