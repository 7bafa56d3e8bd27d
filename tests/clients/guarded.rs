//! A gateway that checks Tinybird's JWTs, and the bundled upstream behind it, both in this process: a test can ask
//! what arrived there.

use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::runtime::Runtime;
use tollgate::app::App;
use tollgate::clock::Clock;
use tollgate::config::interpolate::Environment;
use tollgate::config::load_text;
use tollgate::demo::{ADMIN_TOKEN, Demo, DemoOptions, PIPES, Pipe, Visit, WORKSPACE_ID};
use tollgate::proxy::server::Signals;

pub(crate) struct Guarded {
    gateway: SocketAddr,
    demo: Demo,
    // Fields end in this order: the gateway before what it calls, and that before its runtime.
    _app: App,
    _runtime: Runtime,
}

impl Guarded {
    /// `upstream` are the keys of the upstream's entry besides its URL, `more` are top-level keys.
    pub(crate) fn start(upstream: &str, more: &str) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let options = DemoOptions { address, token: STATIC_TOKEN.to_owned(), clock: Clock::system() };
        let demo = runtime.block_on(Demo::start(options)).map_err(|error| error.to_string())?;
        let url = format!("http://{}", demo.address());
        let environment = Environment::of([
            ("UPSTREAM", url.as_str()),
            ("STATIC_TOKEN", STATIC_TOKEN),
            ("ADMIN_TOKEN", ADMIN_TOKEN),
            ("WORKSPACE_ID", WORKSPACE_ID),
        ]);
        let pipe_id = PIPES.iter().find(|pipe| pipe.name == PIPE).map(Pipe::id).ok_or("the demo has no such pipe")?;
        let text = CONFIG.replace("MORE\n", more).replace("AUTH", upstream).replace("PIPE_ID", &pipe_id);
        let loaded =
            load_text("clients.yaml", &text, PathBuf::new(), &environment).map_err(|issues| issues.to_string())?;
        let app = App::start(&loaded.config, Clock::system(), Signals::Ignore).map_err(|error| format!("{error:#}"))?;
        let gateway = *app.addresses().first().ok_or("the gateway listens nowhere")?;
        Ok(Self { gateway, demo, _app: app, _runtime: runtime })
    }

    pub(crate) fn gateway(&self) -> String {
        format!("http://{}", self.gateway)
    }

    pub(crate) fn upstream(&self) -> String {
        format!("http://{}", self.demo.address())
    }

    /// What arrived at the pipes, the oldest left out if it was much.
    pub(crate) fn visits(&self) -> Vec<Visit> {
        self.demo.visits().into_iter().filter(|visit| visit.path.ends_with(".json")).collect()
    }
}

/// The pipe most calls are for: it names the company in each row, and shows all of them to whoever does not say one.
pub(crate) const PIPE: &str = "sales_by_products";

/// The upstream shows whoever has it every tenant's rows.
pub(crate) const STATIC_TOKEN: &str = "p.the-static-token-of-the-gateway";

const CONFIG: &str = r#"
listeners: [{ address: "127.0.0.1:0" }]
admin: { address: "127.0.0.1:0" }
log: { access: off }
upstreams:
  tinybird: { url: "${UPSTREAM}", AUTH }
auth:
  dashboards:
    type: tinybird_jwt
    secret: ${ADMIN_TOKEN}
    workspace_id: ${WORKSPACE_ID}
    tenant: "{fixed_params.company_id}"
default_auth: [dashboards]
tinybird_api: true
MORE
routes:
  /sales: { pipe: sales_by_products, pipe_id: PIPE_ID }
  /top: { pipe: top-10-products }
"#;
