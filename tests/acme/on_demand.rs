//! The whole gateway: `tls: on_demand` in its file, somebody who approves of names, an authority, and callers of all kinds.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use tollgate::app::App;
use tollgate::clock::{Clock, TestClock};
use tollgate::config::interpolate::Environment;
use tollgate::config::load_text;
use tollgate::proxy::server::Signals;

use crate::gateway::{call, eventually_now, leaf, names, plain};
use crate::support::front::{Front, serve};
use crate::support::pebble::Pebble;

const ORDERS: &str = "order-plz";

/// A gateway with what stands around it.
struct Around {
    pebble: Pebble,
    /// What was asked whether a name may have a certificate.
    asked: Arc<Mutex<Vec<String>>>,
    ask: Front,
    /// The world outside, through which the gateway looks at itself.
    outside: Front,
    folder: tempfile::TempDir,
    /// Whether names lead to the gateway.
    leads: Arc<AtomicBool>,
}

impl Around {
    /// Names are approved of with this status, and all lead to the gateway.
    fn approving(status: impl Fn(&str) -> u16 + Send + Sync + 'static) -> Self {
        let pebble = Pebble::start();
        let gateway = ([127, 0, 0, 1], pebble.http_port).into();
        let leads = Arc::new(AtomicBool::new(true));
        let leading = Arc::clone(&leads);
        let outside = serve(0, move |_, target| {
            if !leading.load(Ordering::Acquire) {
                return (404, Vec::new(), "somebody else".to_owned());
            }
            let (name, path) = target.strip_prefix("http://").and_then(|target| target.split_once('/')).unwrap();
            let answer = plain(gateway, name, &format!("/{path}"));
            let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
            (status, Vec::new(), answer.split_once("\r\n\r\n").unwrap().1.to_owned())
        });
        Around { leads, ..Around::with(pebble, status, outside) }
    }

    fn with(pebble: Pebble, status: impl Fn(&str) -> u16 + Send + Sync + 'static, outside: Front) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&asked);
        let ask = serve(0, move |_, target| {
            heard.lock().unwrap().push(target.to_owned());
            let status = status(target.rsplit('=').next().unwrap());
            (status, vec![("Location", "/yes".to_owned())], String::new())
        });
        let folder = tempfile::tempdir().unwrap();
        pebble.write_ca(&folder.path().join("pebble.pem"));
        Around { pebble, asked, ask, outside, folder, leads: Arc::default() }
    }

    fn start(&self, hosts: &str, on_demand: &str, clock: Clock) -> App {
        let text = format!(
            r#"listeners: [{{ address: "127.0.0.1:{}" }}, {{ address: "127.0.0.1:0", tls: true }}]
admin: {{ address: "127.0.0.1:0" }}
upstreams: {{ t: {{ url: "http://127.0.0.1:9" }} }}
routes: {{ /top: {{ pipe: top }} }}
hosts: {{ {hosts} }}
tls:
  acme: {{ directory: "{}", ca: pebble.pem }}
  on_demand: {{ ask: "http://{}/may?key=x", via: "http://{}", {on_demand} }}
log: {{ access: off }}
"#,
            self.pebble.http_port,
            self.pebble.url(),
            self.ask.address(),
            self.outside.address(),
        );
        start(&text, self.folder.path(), clock)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn start(text: &str, folder: &Path, clock: Clock) -> App {
    let loaded = load_text("on_demand.yaml", text, folder.to_path_buf(), &Environment::of([]));
    let loaded = loaded.unwrap_or_else(|issues| panic!("{issues}\nin\n{text}"));
    App::start(&loaded.config, clock, Signals::Ignore).unwrap()
}

const CUSTOMERS: &str = r#""*.customers.example": { tls: on_demand, tenant: "{host.1}" }"#;

#[test]
fn the_first_connection_waits_for_its_certificate_and_a_restart_costs_nothing() {
    let around = Around::approving(|name| if name == "a.customers.example" { 200 } else { 404 });
    let app = around.start(CUSTOMERS, "", Clock::system());
    let over_tls = app.addresses()[1];
    assert_eq!(names(over_tls, "a.customers.example"), ["a.customers.example"]);
    let served = leaf(over_tls, "A.Customers.Example");
    assert_eq!(around.asked(), ["/may?key=x&domain=a.customers.example"], "the second costs nothing");
    let answer = call(over_tls, "a.customers.example", "/nowhere").unwrap();
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    for other in ["b.customers.example", "x.a.customers.example", "customers.example", "other.example"] {
        assert_eq!(leaf(over_tls, other), None, "{other}");
    }
    assert_eq!(around.asked().len(), 2, "only what the file has a pattern for is asked about");
    assert_eq!(around.pebble.count(ORDERS), 1);
    drop(app);

    let app = around.start(CUSTOMERS, "", Clock::system());
    assert_eq!(leaf(app.addresses()[1], "a.customers.example"), served);
    assert_eq!((around.asked().len(), around.pebble.count(ORDERS)), (2, 1));
    drop(app);
    let app = around.start(r#""*.others.example": { tls: on_demand }"#, "", Clock::system());
    assert_eq!(leaf(app.addresses()[1], "a.customers.example"), None, "it is not the file's any more");
}

#[test]
fn many_at_once_for_one_name_are_one_question_and_one_order() {
    let around = Around::approving(|_| 200);
    let app = around.start(CUSTOMERS, "", Clock::system());
    let over_tls = app.addresses()[1];
    thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|_| scope.spawn(|| leaf(over_tls, "a.customers.example"))).collect();
        let all: Vec<_> = all.into_iter().map(|one| one.join().unwrap()).collect();
        assert!(all.iter().all(|one| one.is_some() && *one == all[0]), "{:?}", all.iter().map(Option::is_some));
    });
    assert_eq!((around.asked().len(), around.pebble.count(ORDERS)), (1, 1));
}

#[test]
fn a_host_that_the_file_names_needs_nobodys_approval() {
    let around = Around::approving(|_| 404);
    let app = around.start("only.example: { tls: on_demand }", "", Clock::system());
    assert_eq!(names(app.addresses()[1], "only.example"), ["only.example"]);
    assert_eq!(around.asked().len(), 0);
}

#[test]
fn t2_a_thousand_random_names_are_no_order_and_few_questions() {
    let around = Around::approving(|_| 404);
    for (on_demand, looks) in [("", 3), ("rate_per_address: 1000/m", 10), ("rate: 40/m, rate_per_address: 20/m", 20)] {
        // It stands still, so that no budget comes back.
        let app = around.start(CUSTOMERS, on_demand, TestClock::new().clock());
        let (over_tls, before) = (app.addresses()[1], around.asked().len());
        for number in 0..334 {
            let name = match number % 3 {
                0 => format!("n{number}.elsewhere.example"),
                _ => format!("n{number}.customers.example"),
            };
            assert_eq!(leaf(over_tls, &name), None, "{name}");
        }
        assert_eq!(around.asked().len() - before, looks, "{on_demand}");
    }
    assert_eq!(around.pebble.count(ORDERS), 0);
}

#[test]
fn t2_a_name_that_leads_elsewhere_is_no_order_whoever_approves() {
    let outside = serve(0, |_, target| (200, Vec::new(), target.to_owned()));
    let around = Around::with(Pebble::start(), |_| 200, outside);
    let app = around.start(CUSTOMERS, "rate_per_address: 10/m", TestClock::new().clock());
    for number in 0..20 {
        assert_eq!(leaf(app.addresses()[1], &format!("n{number}.customers.example")), None);
    }
    assert_eq!((around.asked().len(), around.pebble.count(ORDERS)), (10, 0));
}

#[test]
fn whatever_is_not_a_yes_is_a_no() {
    for status in [201, 204, 302, 403, 500, 503] {
        let around = Around::approving(move |_| status);
        let app = around.start(CUSTOMERS, "", Clock::system());
        assert_eq!(leaf(app.addresses()[1], "a.customers.example"), None, "{status}");
        assert_eq!((around.asked().len(), around.pebble.count(ORDERS)), (1, 0), "{status}");
    }
    let mut around = Around::approving(|_| 200);
    let app = around.start(CUSTOMERS, "", Clock::system());
    // Nobody is there any more.
    around.ask = serve(0, |_, _| (200, Vec::new(), String::new()));
    assert_eq!(leaf(app.addresses()[1], "a.customers.example"), None);
    assert_eq!((around.asked().len(), around.pebble.count(ORDERS)), (0, 0));
}

const ADMIN_TOKEN: &str = "an-admin-token-of-32-characters-";

/// Asks on the admin address.
fn admin(app: &App, method: &str, path: &str, body: &str) -> (u16, serde_json::Value) {
    let mut stream = TcpStream::connect(app.admin_address()).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}",
        app.admin_address()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    (status, serde_json::from_str(body).unwrap_or_else(|_| body.into()))
}

fn with_domains(around: &Around, upstream: &Front) -> App {
    let text = format!(
        r#"listeners: [{{ address: "127.0.0.1:{}" }}, {{ address: "127.0.0.1:0", tls: true }}]
admin: {{ address: "127.0.0.1:0", token: "{ADMIN_TOKEN}" }}
upstreams: {{ t: {{ url: "http://{}" }} }}
routes: {{ /top: {{ pipe: top, params: {{ fixed: {{ tenant: "{{host.1}}" }}, allow_public_tenant: true }} }} }}
hosts: {{ "*.customers.example": {{ tls: internal }} }}
state: {{ dir: state }}
tls:
  acme: {{ directory: "{}", ca: pebble.pem }}
  on_demand: {{ via: "http://{}" }}
log: {{ access: off }}
"#,
        around.pebble.http_port,
        upstream.address(),
        around.pebble.url(),
        around.outside.address(),
    );
    start(&text, around.folder.path(), Clock::system())
}

#[test]
fn a_customers_own_domain_is_served_as_the_host_it_was_added_for_once_it_leads_here() {
    let around = Around::approving(|_| 404);
    let upstream = serve(0, |_, target| (200, Vec::new(), target.to_owned()));
    let app = with_domains(&around, &upstream);
    let (plainly, over_tls) = (app.addresses()[0], app.addresses()[1]);
    // Its first label is another customer's name.
    let name = "b.acme.example";
    around.leads.store(false, Ordering::Release);
    let body = format!(r#"{{"name":"{name}","host":"*.customers.example","tenant":"a"}}"#);
    let (status, told) = admin(&app, "POST", "/domains/add", &body);
    assert_eq!(
        (status, &told["leads_here"], &told["domain"]["state"]),
        (200, &false.into(), &"pending".into()),
        "{told}"
    );
    let text = told["text"].as_str().unwrap();
    assert!(text.contains("b.acme.example. CNAME a.customers.example.") && text.contains("does not lead"), "{text}");
    assert!(plain(plainly, name, "/top").starts_with("HTTP/1.1 404 "));
    assert_eq!((leaf(over_tls, name), around.pebble.count(ORDERS)), (None, 0), "a pending one gets no order");

    around.leads.store(true, Ordering::Release);
    let (_, told) = admin(&app, "POST", "/domains/verify", &format!(r#"{{"name":"{name}"}}"#));
    assert_eq!(told["leads_here"], true, "{told}");
    assert_eq!(names(over_tls, name), [name], "the connection waits for it");
    for answer in [call(over_tls, name, "/top").unwrap(), plain(plainly, name, "/top")] {
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("tenant=a"), "{answer}");
        assert!(!answer.contains("tenant=b"), "{answer}");
    }
    let family = r#"tollgate_certificate_not_after_seconds{host="*.customers.example",source="acme"}"#;
    let is_told = || {
        String::from_utf8(app.metrics().encode(tollgate::telemetry::usage::Exposition::Text).unwrap())
            .unwrap()
            .contains(family)
    };
    eventually_now("its end among the metrics", is_told);
    let (_, told) = admin(&app, "GET", "/domains", "");
    assert_eq!(told["domains"][0]["state"], "active", "{told}");
    assert!(told["domains"][0]["certificate"]["days_left"].as_i64().unwrap() > 60, "{told}");
    drop(app);

    let app = with_domains(&around, &upstream);
    assert_eq!(names(app.addresses()[1], name), [name], "a restart forgets none");
    assert_eq!(around.pebble.count(ORDERS), 1);
    let (status, told) = admin(&app, "POST", "/domains/remove", &format!(r#"{{"name":"{name}"}}"#));
    assert_eq!(status, 200, "{told}");
    assert_eq!(leaf(app.addresses()[1], name), None);
    assert!(plain(app.addresses()[0], name, "/top").starts_with("HTTP/1.1 404 "));
}

#[test]
fn domains_that_would_take_a_host_away_or_lead_nowhere_are_refused() {
    let around = Around::approving(|_| 404);
    let upstream = serve(0, |_, _| (200, Vec::new(), String::new()));
    let app = with_domains(&around, &upstream);
    for (name, rest, why) in [
        ("b.customers.example", r#""host":"a.customers.example""#, "a host of the file already"),
        ("localhost", r#""host":"a.customers.example""#, "no name that a certificate"),
        ("*.acme.example", r#""host":"a.customers.example""#, "no name that a certificate"),
        ("10.0.0.1", r#""host":"a.customers.example""#, "no name that a certificate"),
        ("bücher.example", r#""host":"a.customers.example""#, "`xn--`"),
        ("data.acme.example", r#""host":"*.customers.example""#, "is many hosts"),
        ("data.acme.example", r#""host":"a.customers.example","tenant":"x""#, "has none"),
        ("data.acme.example", r#""host":"*.customers.example","tenant":"a.b""#, "no host of the file"),
        ("data.acme.example", r#""host":"a.other.example""#, "no host of the file"),
        ("data.acme.example", r#""hots":"a.other.example""#, "unknown field"),
    ] {
        let (status, told) = admin(&app, "POST", "/domains/add", &format!(r#"{{"name":"{name}",{rest}}}"#));
        assert_eq!(status, 400, "{told}");
        assert!(told.as_str().unwrap().contains(why), "{name} {rest}: {told}");
    }
    for path in ["/domains/verify", "/domains/remove"] {
        assert_eq!(admin(&app, "POST", path, r#"{"name":"never.example"}"#).0, 400, "{path}");
    }
    let (_, told) = admin(&app, "GET", "/domains", "");
    assert_eq!(told["domains"], serde_json::json!([]), "{told}");
}

#[test]
fn a_name_without_a_label_in_front_is_told_to_have_addresses() {
    let around = Around::approving(|_| 404);
    let upstream = serve(0, |_, _| (200, Vec::new(), String::new()));
    let app = with_domains(&around, &upstream);
    for (name, addresses) in [("acme.example", true), ("data.acme.example", false)] {
        let (status, told) =
            admin(&app, "POST", "/domains/add", &format!(r#"{{"name":"{name}","host":"a.customers.example"}}"#));
        assert_eq!(status, 200, "{told}");
        let text = told["text"].as_str().unwrap();
        assert!(text.contains(&format!("  {name}. CNAME a.customers.example.")), "{text}");
        assert_eq!(text.contains("set A and AAAA records"), addresses, "{text}");
    }
}
