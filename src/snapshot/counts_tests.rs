use crate::clock::TestClock;
use crate::config::interpolate::Environment;
use crate::config::load_text;
use crate::pipeline::limits::words;
use crate::state::State;

use super::*;

const FILE: &str = "
upstreams: { t: { url: 'http://127.0.0.1:1' } }
auth:
  keys: { type: api_key, keys: keys.yaml }
  open: { type: jwt, secret: 'a-secret-of-more-than-32-characters!', issuer: https://id.example.com/, audience: a }
default_auth: [keys, open]
limits:
  flood: { by: ip, rate: 20/s }
  scan: { by: [ip, route], rate: 5/s }
  all: { by: gateway, rate: 500/s }
  each: { by: [tenant, route], rate: 10/s }
  site: { by: [tenant, host], rate: 10/s }
  who: { by: caller, rate: 1/s }
  bought: { by: tenant, quota: 100/day }
  unused: { by: gateway, rate: 1/s }
plans: { pro: { limits: [bought, all] } }
tenants: { acme: { plan: pro } }
server: { limits: [flood, all, scan] }
routes:
  /a: { pipe: a, formats: [json, csv], limits: [each, who] }
  /b: { pipe: b }
hosts:
  one.example.com: { limits: [site] }
  two.example.com: { limits: [each], routes: { /a: { pipe: a }, /c: { pipe: c, limits: [site] } } }
";

fn snapshot() -> Snapshot {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("keys.yaml"), "# none yet\n").unwrap();
    let loaded = load_text("test.yaml", FILE, folder.path().to_path_buf(), &Environment::of([]));
    let loaded = loaded.unwrap_or_else(|issues| panic!("{issues}"));
    Snapshot::compile(&loaded.config, &State::new(TestClock::new().clock()))
}

/// One line for each limit: its name, where it is attached, and whom it counts, or what is missing.
fn lines(whose: &Whose<'_>, most: usize) -> Vec<String> {
    let snapshot = snapshot();
    let plan = match whose.tenant {
        Named::Is("acme") => Named::Is(&**snapshot.plans.named("pro").unwrap()),
        Named::Is(_) | Named::Nobody => Named::Nobody,
        Named::Open => Named::Open,
    };
    let whose = Whose { plan, ..*whose };
    let held = snapshot.held(&whose, most).into_iter().map(|held| {
        let places: Vec<String> = held.places.iter().map(ToString::to_string).collect();
        let counts = held.counts.iter().map(|subject| words::who(held.limit.dimensions(), subject));
        let missing = held.missing.iter().map(|dimension| format!("{}?", dimension.word()));
        let counts: Vec<String> = counts.chain(missing).collect();
        let more = if held.more > 0 { format!(" +{}", held.more) } else { String::new() };
        format!("{} ({}): {}{more}", held.limit.name, places.join(", "), counts.join("; "))
    });
    held.collect()
}

#[test]
fn every_limit_of_a_tenant_is_found_with_its_places() {
    let acme = Whose { tenant: Named::Is("acme"), ..Whose::default() };
    assert_eq!(
        lines(&acme, 20),
        [
            "all (server, plan pro): everybody together",
            "bought (plan pro): tenant acme",
            "each (host two.example.com, route /a): route /a of two.example.com, tenant acme; \
             route /c of two.example.com, tenant acme; route /a, tenant acme",
            "flood (server): ip?",
            "scan (server): ip?",
            "site (host one.example.com, route /c of two.example.com): host one.example.com, tenant acme; \
             host two.example.com, tenant acme",
            "who (route /a): caller?",
        ]
    );
}

#[test]
fn a_named_host_or_route_leaves_the_others_out() {
    let whose = Whose { tenant: Named::Is("beta"), host: Some("one.example.com"), ..Whose::default() };
    assert_eq!(
        lines(&whose, 20),
        [
            "all (server): everybody together",
            "each (route /a): route /a, tenant beta",
            "flood (server): ip?",
            "scan (server): ip?",
            "site (host one.example.com): host one.example.com, tenant beta",
            "who (route /a): caller?",
        ]
    );
    let whose =
        Whose { tenant: Named::Nobody, route: Some("/c"), client: "192.0.2.1".parse().ok(), ..Whose::default() };
    assert_eq!(
        lines(&whose, 20),
        [
            "all (server): everybody together",
            "each (host two.example.com): route /c of two.example.com, who has no tenant",
            "flood (server): ip 192.0.2.1",
            "scan (server): route /c of two.example.com, ip 192.0.2.1",
            "site (route /c of two.example.com): host two.example.com, who has no tenant",
        ]
    );
}

#[test]
fn what_comes_from_an_address_is_counted_on_paths_that_are_not_served_too() {
    let whose = Whose { client: "192.0.2.1".parse().ok(), ..Whose::default() };
    let scan = lines(&whose, 20).into_iter().find(|line| line.starts_with("scan")).unwrap();
    assert_eq!(
        scan,
        "scan (server): route /a, ip 192.0.2.1; route /b, ip 192.0.2.1; paths that are not served, ip 192.0.2.1; \
         route /a of two.example.com, ip 192.0.2.1; route /c of two.example.com, ip 192.0.2.1"
    );
    let few = lines(&whose, 2).into_iter().find(|line| line.starts_with("scan")).unwrap();
    assert!(few.ends_with("route /b, ip 192.0.2.1 +3"), "{few}");
}

#[test]
fn a_caller_is_told_apart_by_tenant_where_its_provider_speaks_of_tenants() {
    let who = |provider, tenant| {
        let whose = Whose { caller: Named::Is((provider, "k1")), tenant, ..Whose::default() };
        lines(&whose, 20).into_iter().find(|line| line.starts_with("who")).unwrap()
    };
    assert_eq!(who("keys", Named::Open), "who (route /a): tenant?");
    assert_eq!(who("keys", Named::Is("acme")), "who (route /a): caller keys:k1");
    assert_eq!(who("open", Named::Open), "who (route /a): caller open:k1");
}

#[test]
fn many_counts_are_counted_and_then_no_more() {
    let routes: String = (0..110).map(|number| format!("  /r{number}: {{ pipe: p }}\n")).collect();
    let hosts: String = (0..110).map(|number| format!("  h{number}.example.com: {{}}\n")).collect();
    let text = format!(
        "upstreams: {{ t: {{ url: 'http://127.0.0.1:1' }} }}\nlimits: {{ l: {{ by: [host, route], rate: 1/s }} }}\n\
         server: {{ limits: [l] }}\nroutes:\n{routes}hosts:\n{hosts}"
    );
    let loaded = load_text("test.yaml", &text, std::env::temp_dir(), &Environment::of([])).unwrap();
    let snapshot = Snapshot::compile(&loaded.config, &State::new(TestClock::new().clock()));
    let held = snapshot.held(&Whose::default(), 20);
    assert_eq!((held[0].counts.len(), held[0].more, held[0].more_than_that), (20, 9_980, true));
    let held = snapshot.held(&Whose { host: Some("h7.example.com"), ..Whose::default() }, 20);
    assert_eq!((held[0].counts.len(), held[0].more, held[0].more_than_that), (20, 90, false));
}
