//! `usage plan`: what it says of limits is what a gateway with these limits does.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use tollgate::clock::TestClock;

use crate::support::client::Request;
use crate::support::credentials::{PROVIDERS, api_key, record};
use crate::support::gateway::TestGateway;
use crate::support::origin::Answer;

const LIMITS: &str = r#"limits:
  flood: { by: ip, rate: 60/m, burst: 25 }
  each: { by: [tenant, route], rate: 15/m, burst: 8 }
  daily: { by: tenant, quota: 45/hour }
  rows: { by: tenant, quota: 40000/hour, cost: rows_read, assume: 1000 }
  person: { by: caller, rate: 6/m, burst: 2, dry_run: true }
plans: { free: { limits: [daily] }, pro: { limits: [rows] } }
default_plan: free
tenants: { acme: { plan: pro } }
default_auth: partners
server: { limits: [flood, person] }
routes:
  /top: { pipe: top, limits: [each], formats: [json, csv] }
  /other: { pipe: other, limits: [each] }
"#;

/// The same numbers each time, and nothing that anybody would choose.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// How many requests a log says were refused by limits, and how many limits on trial would have refused, by tenant.
fn refused(log: &[Value]) -> (BTreeMap<String, u64>, u64) {
    let (mut refused, mut on_trial) = (BTreeMap::new(), 0);
    for line in log {
        on_trial += line["would_refuse"].as_array().map_or(0, |names| names.len() as u64);
        if line["limit"].is_string() {
            *refused.entry(line["tenant"].as_str().unwrap_or("nobody").to_owned()).or_insert(0) += 1;
        }
    }
    (refused, on_trial)
}

#[tokio::test]
async fn a_replay_refuses_what_the_gateway_refused() {
    let time = TestClock::new();
    let folder = tempfile::tempdir().expect("a folder for the test");
    let keys = [("Acme00000001", "acme"), ("Acme00000002", "acme"), ("Beta00000001", "beta")];
    let records = keys.map(|(id, tenant)| record(&api_key(id, id), &format!(", tenant: {tenant}")));
    std::fs::write(folder.path().join("keys.yaml"), records.concat()).expect("a file");
    let gw = TestGateway::from_folder(folder, &format!("{PROVIDERS}{LIMITS}"), time.clock());
    let mut dice = Dice(7);
    for count in 1..=300 {
        time.advance(Duration::from_millis(dice.roll(1_400)));
        let rows = dice.roll(1_500);
        let body = match dice.roll(5) {
            0 => json!({ "data": [] }),
            _ => json!({ "data": [], "statistics": { "rows_read": rows, "bytes_read": 1, "elapsed": 0.1 } }),
        };
        // 403, because 500 is tried again.
        let status = if dice.roll(9) == 0 { 403 } else { 200 };
        gw.origin.always(Answer::json(status, body.to_string()));
        let path = ["/top", "/top.csv", "/other", "/nowhere", "/other"][dice.roll(5) as usize];
        let id = ["Acme00000001", "Acme00000001", "Acme00000002", "Beta00000001", "Beta00000001", "wrong"]
            [dice.roll(6) as usize];
        Request::get(path).bearer(&api_key(id, id)).send(gw.addr()).await;
        // It has been settled once it is in the log.
        gw.log_lines(count).await;
    }
    let log = gw.log(300).await;
    let (by_tenant, on_trial) = refused(&log);
    assert!(["acme", "beta", "nobody"].iter().all(|whose| by_tenant.get(*whose) > Some(&3)), "{by_tenant:?}");
    assert!(on_trial > 3, "{on_trial}");

    let (file, lines) = (gw.folder().join("test.yaml"), gw.folder().join("access.log"));
    let mut program = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    program.args(["usage", "plan", "--format", "json", "--with"]).arg(file).arg("--replay").arg(lines);
    let output = program.output().expect("it starts");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let tenants = || told["tenants"].as_array().expect("tenants").iter();
    let replayed: BTreeMap<String, u64> = tenants()
        .map(|tenant| {
            let whose = tenant["tenant"].as_str().unwrap_or("nobody").to_owned();
            (whose, tenant["refused"].as_u64().expect("a number"))
        })
        .collect();
    assert_eq!(replayed, by_tenant, "{told}");
    let limits = || tenants().flat_map(|tenant| tenant["limits"].as_array().expect("limits"));
    let trial: u64 =
        limits().filter(|limit| limit["dry_run"] == true).filter_map(|limit| limit["refused"].as_u64()).sum();
    assert_eq!(trial, on_trial, "{told}");
    for name in ["flood", "each", "daily", "rows"] {
        let logged = log.iter().filter(|line| line["limit"] == name).count() as u64;
        let refused: u64 =
            limits().filter(|limit| limit["limit"] == name).filter_map(|limit| limit["refused"].as_u64()).sum();
        assert!(logged > 0 && refused >= logged, "{name}: {logged} in the log, {refused} in {told}");
    }
}
