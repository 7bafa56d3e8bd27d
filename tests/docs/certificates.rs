//! docs/client-certificates.md is run as it stands: its certificates are made, its gateway is started, its calls are made.

use std::path::Path;
use std::process::Command;

use tollgate::app::App;
use tollgate::clock::Clock;
use tollgate::config::interpolate::Environment;
use tollgate::config::load;
use tollgate::demo::{Demo, DemoOptions};
use tollgate::proxy::server::Signals;

use crate::running::{TOKEN, any_port, assert_shown};
use crate::{markdown, project, read};

const PAGE: &str = "docs/client-certificates.md";
/// Where the page says that its gateway listens.
const PORT: &str = "localhost:8443";

#[test]
fn the_page_on_client_certificates_does_what_it_shows() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let options = DemoOptions { address: any_port(), token: TOKEN.to_owned(), clock: Clock::system() };
    let demo = runtime.block_on(Demo::start(options)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tollgate.yaml");
    let (mut gateway, mut answers, mut run) = (None::<App>, String::new(), 0);
    for block in markdown::blocks(&read(&project(PAGE))) {
        let place = format!("{PAGE}:{}", block.line);
        match (block.language, block.flags) {
            ("yaml", "") => {
                let upstream = format!("http://{}", demo.address());
                std::fs::write(&file, block.text.replace("http://127.0.0.1:7181", &upstream)).unwrap();
            }
            ("sh", "") => {
                let port = match block.text.contains("curl ") {
                    true => gateway.get_or_insert_with(|| started(&file)).addresses()[0].port(),
                    false => 8443,
                };
                answers = shell(&place, folder.path(), &block.text.replace(PORT, &format!("localhost:{port}")));
                run += 1;
            }
            ("text", "answer") => assert_shown(&place, &block, &answers),
            (language, flags) => panic!("{place}: `{language},{flags}` means nothing"),
        }
    }
    assert!(run > 5, "only {run} blocks were run");
}

/// What a block prints, in order.
fn shell(place: &str, folder: &Path, text: &str) -> String {
    let script = format!("exec 2>&1\ntollgate() {{ '{}' \"$@\"; }}\n{text}", env!("CARGO_BIN_EXE_tollgate"));
    let mut program = Command::new("bash");
    program.args(["-euo", "pipefail", "-c", &script]).current_dir(folder).env_remove("TINYBIRD_TOKEN");
    let output = program.output().unwrap_or_else(|error| panic!("bash: {error}"));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{place}: apt-get install openssl curl, if one is missing\n{text}\n{printed}");
    printed
}

fn started(file: &Path) -> App {
    let mut config = load(file, &Environment::of([])).unwrap_or_else(|issues| panic!("{issues}")).config;
    for listener in &mut config.listeners {
        listener.address = any_port();
    }
    config.admin.address = any_port();
    App::start(&config, Clock::system(), Signals::Ignore).unwrap_or_else(|error| panic!("{error:#}"))
}
