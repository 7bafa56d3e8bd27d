//! Examples are started and called; the commands of the README and of docs/commands.md are run.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use tollgate::app::App;
use tollgate::clock::Clock;
use tollgate::config::interpolate::Environment;
use tollgate::config::load;
use tollgate::config::section::listeners::Listener;
use tollgate::demo::{Demo, DemoOptions};
use tollgate::proxy::server::Signals;

use crate::credentials::Credentials;
use crate::curl::{Answer, Request, words};
use crate::markdown::{self, Block};
use crate::{files, project, read};

pub(crate) const TOKEN: &str = "p.eyJ1IjoiZGVtbyIsImhvc3QiOiJsb2NhbCJ9.tollgate-demo-token";
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn every_example_runs_and_answers_as_its_comments_say() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    for example in files("conf/examples", "yaml") {
        let options = DemoOptions { address: any_port(), token: TOKEN.to_owned(), clock: Clock::system() };
        let demo = runtime.block_on(Demo::start(options)).unwrap();
        let upstream = format!("http://{}", demo.address());
        let mut credentials = Credentials::new();
        let environment = Environment::of([
            ("TINYBIRD_URL", &upstream),
            ("WAREHOUSE_URL", &format!("{upstream}/v0/pipes")),
            ("OIDC_ISSUER", &credentials.issuer()),
        ]);
        let text = read(&example);
        let folder = copied("conf/examples");
        bring(&text, &mut credentials, folder.path());
        let example = folder.path().join(example.file_name().unwrap());
        let loaded = load(&example, &environment).unwrap_or_else(|issues| panic!("{issues}"));
        let mut config = loaded.config;
        for listener in &mut config.listeners {
            listener.address = any_port();
        }
        config.admin.address = any_port();
        let app = App::start(&config, Clock::system(), Signals::Ignore).unwrap_or_else(|error| panic!("{error:#}"));
        let calls = calls(&text);
        assert!(!calls.is_empty(), "{} says no curl line to try", example.display());
        for (line, expected) in calls {
            let request = Request::read(&credentials.fill(&line));
            let admin = request.url.starts_with("http://127.0.0.1:9901/");
            let over_tls = request.url.starts_with("https://");
            let listener = config.listeners.iter().position(|listener| listener.tls == over_tls).unwrap();
            let address = if admin { app.admin_address() } else { app.addresses()[listener] };
            let answer = match over_tls {
                true => request.send_over_tls(address, &config.state.folder().join("tls/internal/authority.pem")),
                false => request.send(&address.to_string()),
            };
            assert_answer(&example, &line, &expected, &answer);
            let comparable = request.url.contains("limit=2") && answer.text.contains("\"data\"");
            let promised = |tenant: &&&str| comparable && expected.contains(&format!("{tenant}'s rows"));
            for tenant in ["acme", "beta"].iter().filter(promised) {
                let own = format!(
                    "curl -H 'Authorization: Bearer {TOKEN}' 'http://x/v0/pipes/top_pages.json?limit=2&tenant_id={tenant}'"
                );
                let own = Request::read(&own).send(&demo.address().to_string());
                assert_eq!(rows_of(&answer), rows_of(&own), "{line}");
            }
        }
    }
}

#[test]
fn no_example_betrays_what_runs_behind_it() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    for example in files("conf/examples", "yaml") {
        let options = DemoOptions { address: any_port(), token: TOKEN.to_owned(), clock: Clock::system() };
        let demo = runtime.block_on(Demo::start(options)).unwrap();
        let upstream = format!("http://{}", demo.address());
        let mut credentials = Credentials::new();
        let folder = copied("conf/examples");
        bring(&read(&example), &mut credentials, folder.path());
        let file = folder.path().join(example.file_name().unwrap()).display().to_string();
        let words = ["audit", "--brand", "-c", &file].map(str::to_owned);
        let mut audit = tollgate(&words);
        audit.env("TINYBIRD_URL", &upstream).env("WAREHOUSE_URL", format!("{upstream}/v0/pipes"));
        let output = audit.env("OIDC_ISSUER", credentials.issuer()).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!((output.status.code(), &*out), (Some(0), ""), "{}\n{err}", example.display());
        assert!(err.contains("nothing betrays what runs behind them"), "{err}");
    }
}

/// The rows of an answer in JSON.
fn rows_of(answer: &Answer) -> String {
    let data = answer.text.split("\"data\"").nth(1).and_then(|data| data.split("\"rows\"").next());
    data.unwrap_or_else(|| panic!("{}", answer.text)).to_owned()
}

/// The credentials that the comments of an example name; those of files are made in its `folder`.
fn bring(example: &str, credentials: &mut Credentials, folder: &Path) {
    for line in example.lines().filter_map(|line| line.strip_prefix("#   ")) {
        if let Some((name, claims)) = line.split_once(" = {") {
            credentials.sign(name, &format!("{{{claims}"));
        } else if let Some((name, command)) = line.split_once("=$(").filter(|(name, _)| !name.contains(' ')) {
            let command = command.trim_end().strip_suffix(')').unwrap();
            let here = |word: &String| word.replace("conf/examples", &folder.display().to_string());
            let words: Vec<String> = words(command).iter().skip(1).map(here).collect();
            credentials.keep(name, &printed(&words));
        }
    }
}

/// What a command prints on stdout.
fn printed(words: &[String]) -> String {
    let output = tollgate(words).output().unwrap();
    assert!(output.status.success(), "{words:?}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A copy of a folder and of those in it.
fn copied(folder: &str) -> tempfile::TempDir {
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            let target = to.join(path.file_name().unwrap());
            match path.is_dir() {
                true => copy(&path, &target),
                false => drop(std::fs::copy(&path, &target).unwrap()),
            }
        }
    }
    let target = tempfile::tempdir().unwrap();
    copy(&project(folder), target.path());
    target
}

/// Every `#   curl .. # 200: words` of an example, with what stands behind the second `#`.
fn calls(example: &str) -> Vec<(String, String)> {
    let lines = example.lines().filter_map(|line| line.strip_prefix("#   ").filter(|line| line.starts_with("curl ")));
    lines
        .map(|line| {
            let (call, expected) = line.rsplit_once("  # ").unwrap_or_else(|| panic!("no status behind {line}"));
            (call.to_owned(), expected.to_owned())
        })
        .collect()
}

/// `404 route_not_found: words`, `200, with Access-Control-Allow-Origin`, `200, without: words`.
fn assert_answer(example: &Path, line: &str, expected: &str, answer: &Answer) {
    let place = format!("{}: {line}\n{}", example.display(), answer.text);
    let (expected, _) = expected.split_once(": ").unwrap_or((expected, ""));
    let (status, header) = expected.split_once(", ").unwrap_or((expected, ""));
    let mut status = status.split(' ');
    assert_eq!(status.next(), Some(answer.status.to_string().as_str()), "{place}");
    if let Some(code) = status.next().filter(|word| word.contains('_')) {
        assert!(answer.text.contains(&format!("\"code\":\"{code}\"")), "{place}");
    }
    let allowed = answer.text.to_ascii_lowercase().contains("access-control-allow-origin: ");
    if header == "without" {
        assert!(!allowed, "{place}");
    } else if header.starts_with("with Access-Control-Allow-Origin") {
        assert!(allowed, "{place}");
    }
}

#[test]
fn tenants_of_the_examples_stay_apart() {
    // The comments of params.yaml and tinybird_api.yaml promise rows, not only statuses.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let options = DemoOptions { address: any_port(), token: TOKEN.to_owned(), clock: Clock::system() };
    let demo = runtime.block_on(Demo::start(options)).unwrap();
    let environment = Environment::of([("TINYBIRD_URL", &format!("http://{}", demo.address()))]);
    let mut config = load(&project("conf/examples/params.yaml"), &environment).unwrap().config;
    config.listeners = vec![Listener::plain(any_port())];
    config.admin.address = any_port();
    let app = App::start(&config, Clock::system(), Signals::Ignore).unwrap();
    let rows = |line: &str| {
        let answer = Request::read(line).send(&app.addresses()[0].to_string());
        rows_of(&answer)
    };
    let acme = rows("curl 'http://x/acme/top-pages?limit=2'");
    assert_ne!(acme, rows("curl 'http://x/tenants/beta/top-pages?limit=2'"));
    assert_eq!(acme, rows("curl 'http://x/acme/top-pages?limit=2&tenant_id=beta'"));
    assert_eq!(acme, rows("curl 'http://x/acme/top-pages?limit=2&Tenant_Id[]=beta'"));
    assert_eq!(acme, rows("curl -d 'tenant_id=beta&limit=2' 'http://x/acme/top-pages'"));
}

#[test]
fn the_page_on_tenancy_does_what_it_shows() {
    const PAGE: &str = "docs/tenancy.md";
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let options = DemoOptions { address: any_port(), token: TOKEN.to_owned(), clock: Clock::system() };
    let demo = runtime.block_on(Demo::start(options)).unwrap();
    let mut credentials = Credentials::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tenancy.yaml");
    let here = |word: &String| match ["keys.yaml", "tenancy.yaml"].contains(&word.as_str()) {
        true => folder.path().join(word).display().to_string(),
        false => word.clone(),
    };
    let (mut gateway, mut answers, mut run) = (None::<App>, String::new(), 0);
    for block in markdown::blocks(&read(&project(PAGE))) {
        let place = format!("{PAGE}:{}", block.line);
        match (block.language, block.flags) {
            ("yaml", "") => {
                let text = block.text.replace("http://127.0.0.1:7181", &format!("http://{}", demo.address()));
                let text = text.replace("https://id.example.com/", &credentials.issuer());
                std::fs::write(&file, text).unwrap();
                gateway = None;
            }
            ("json", flags) => {
                let name = flags.strip_prefix("token=").unwrap_or_else(|| panic!("{place}: `{flags}` means nothing"));
                credentials.sign(name, &block.text);
            }
            ("sh", "") => {
                answers.clear();
                for line in block.text.lines() {
                    let line = credentials.fill(line);
                    if let Some((name, command)) = line.split_once("=$(") {
                        let words: Vec<String> =
                            words(command.strip_suffix(')').unwrap()).iter().skip(1).map(here).collect();
                        credentials.keep(name, &printed(&words));
                        gateway = None;
                    } else if line.starts_with("curl ") {
                        let gateway = gateway.get_or_insert_with(|| started(&file));
                        answers += &Request::read(&line).send(&gateway.addresses()[0].to_string()).text;
                    } else {
                        let words: Vec<String> = words(&line).iter().skip(1).map(here).collect();
                        answers += &printed(&words);
                    }
                }
                run += 1;
            }
            ("text", "answer") => assert_shown(&place, &block, &answers),
            ("sh", "norun") | ("js" | "python", "") => {}
            ("yaml", "fragment") => {}
            (language, flags) => panic!("{place}: `{language},{flags}` means nothing"),
        }
    }
    assert!(run > 5, "only {run} blocks were run");
}

/// A gateway with a file, on free ports.
fn started(file: &Path) -> App {
    let mut config = load(file, &Environment::of([])).unwrap_or_else(|issues| panic!("{issues}")).config;
    config.listeners = vec![Listener::plain(any_port())];
    config.admin.address = any_port();
    config.state.dir = Some(file.parent().unwrap().join("state"));
    App::start(&config, Clock::system(), Signals::Ignore).unwrap_or_else(|error| panic!("{error:#}"))
}

/// Pages whose commands are run.
const PAGES: [&str; 2] = ["README.md", "docs/commands.md"];

/// Words of a command that stand in a folder of the page's own: the last YAML block that is wrong, and what `init` and `keys create` write.
const SCRATCH: [&str; 3] = ["keys.yaml", "my-gateway", "wrong.yaml"];

#[test]
fn commands_do_what_their_pages_show() {
    let demo = DemoProgram::start();
    for page in PAGES {
        let scratch = tempfile::tempdir().unwrap();
        let mut answers = String::new();
        let mut run = 0;
        for block in markdown::blocks(&read(&project(page))) {
            let place = format!("{page}:{}", block.line);
            match (block.language, block.flags) {
                ("sh", "norun") => assert!(block.text.starts_with("# "), "{place}: say why it is not run"),
                ("sh", flags) if flags.is_empty() || flags.starts_with("exit=") => {
                    let status: i32 = flags.strip_prefix("exit=").unwrap_or("0").parse().unwrap();
                    let run_line = |line| command(&place, line, status, &demo, scratch.path());
                    answers = block.text.lines().map(run_line).collect();
                    run += 1;
                }
                ("yaml", flags) if flags.starts_with("error=") => {
                    std::fs::write(scratch.path().join("wrong.yaml"), &block.text).unwrap();
                }
                ("text", "answer") => assert_shown(&place, &block, &answers),
                ("text", "") => {}
                ("sh" | "text", flags) => panic!("{place}: `{flags}` means nothing"),
                _ => {}
            }
        }
        assert!(run > 2, "{page}: only {run} blocks were run");
    }
}

/// Runs a line of a shell block; what it says, and behind that what it prints.
fn command(place: &str, line: &str, status: i32, demo: &DemoProgram, scratch: &Path) -> String {
    let words = words(line);
    match words.first().map(String::as_str) {
        None => String::new(),
        Some("curl") => Request::read(line).send(&demo.address).text,
        Some("make") => {
            let makefile = read(&project("Makefile"));
            for target in words.iter().skip(1).filter(|word| !word.contains('=')) {
                assert!(makefile.contains(&format!("\n{target}: ")), "make has no target {target}");
            }
            String::new()
        }
        Some("tollgate") => {
            let there = |word: &String| match SCRATCH.iter().any(|name| word.starts_with(name)) {
                true => scratch.join(word).display().to_string(),
                false => word.clone(),
            };
            let mut program = tollgate(&words.iter().skip(1).map(there).collect::<Vec<_>>());
            let output = program.env("TINYBIRD_TOKEN", "p.token").output().unwrap();
            let (code, said) = (output.status.code(), String::from_utf8(output.stderr).unwrap());
            assert_eq!(code, Some(status), "{place}: {line}\n{said}");
            let printed = said + &String::from_utf8(output.stdout).unwrap();
            printed.replace(&format!("{}/", scratch.display()), "")
        }
        Some(other) => panic!("{place}: nobody knows how to run `{other}`"),
    }
}

/// What is shown stands in what was printed, in this order.
pub(crate) fn assert_shown(place: &str, block: &Block, printed: &str) {
    let mut rest = printed;
    for piece in block.text.lines().flat_map(|line| line.split('…')).map(str::trim).filter(|piece| !piece.is_empty())
    {
        let Some((_, behind)) = rest.split_once(piece) else {
            panic!("{place}: `{piece}` is not in the answer, or not behind what stands before it:\n{printed}")
        };
        rest = behind;
    }
}

/// A `tollgate demo` of our own; killed with the value.
struct DemoProgram {
    child: Child,
    address: String,
}

impl DemoProgram {
    fn start() -> Self {
        let mut program = tollgate(&["demo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"].map(str::to_owned));
        let mut child = program.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let (sender, lines) = mpsc::sync_channel(1_000);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // What nobody reads any more is dropped, but read, so that the demo never waits.
                let _ = sender.try_send(line);
            }
        });
        let first = lines.recv_timeout(PATIENCE);
        let address = first.ok().and_then(|line| Some(line.split_once("http://")?.1.split(' ').next()?.to_owned()));
        match address {
            Some(address) => Self { child, address },
            None => {
                let _ = child.kill();
                panic!("`tollgate demo` did not say where it listens");
            }
        }
    }
}

impl Drop for DemoProgram {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn tollgate(arguments: &[String]) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    program.args(arguments).current_dir(project(".")).stdin(Stdio::null());
    program
}

pub(crate) fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}
