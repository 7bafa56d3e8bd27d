//! The command line: one file per command.
//!
//! In: arguments. Out: an exit code: 0 for success, 1 for problems that were
//! found, 2 for what could not be done at all, 3 for what needs a restart, 64 for arguments that make no
//! sense. Data goes to stdout, talk to stderr.

mod audit;
mod check;
mod check_online;
mod config;
mod demo;
mod domains;
mod explain;
mod healthcheck;
mod init;
mod keys;
mod limits;
mod operator;
mod reload;
mod routes;
mod routes_test;
mod run;
mod schema;
mod token;
mod upgrade;
mod usage;
mod version;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::OnceLock;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, Subcommand};

use crate::config::interpolate::Environment;
use crate::config::issue::{Colour, IssueCode, Issues};
use crate::config::{Loaded, load};

/// A self-hosted API gateway that puts Tinybird pipes, and any other analytics
/// HTTP API, on your own domain.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, before_help = EXAMPLES, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  tollgate demo                           a gateway with data to try, nothing needed
  tollgate init --yes                     a first tollgate.yaml, here
  tollgate check conf/tollgate.yaml       every problem of a file, explained
  tollgate explain TG0107                 what a problem means, and what to do
  tollgate run -c conf/tollgate.yaml      serve
  tollgate routes -c conf/tollgate.yaml   what is served, and where it leads
  tollgate routes test GET /top -c FILE   what would happen to one request
  tollgate config show conf/tollgate.yaml --origin   every value, and where it came from
  tollgate config diff old.yaml new.yaml             what would change
  tollgate keys create -f keys.yaml --tenant acme    a key for a caller, shown once
  tollgate token verify - -c FILE --route /top < token.txt   why a credential is refused
  tollgate limits show -c FILE --tenant acme         what a tenant has left of each limit
  tollgate usage -c FILE --by tenant --since 24h     who used how much
  tollgate usage plan --replay access.jsonl --with plans.yaml   who would be refused under other plans
  tollgate audit --brand -c conf/tollgate.yaml       whether any answer names what runs behind it
  tollgate reload -c conf/tollgate.yaml   take a changed file over, without a restart
  tollgate upgrade -c conf/tollgate.yaml  hand over to a new binary, without a lost request";

/// `EX_USAGE` of sysexits.h: a slip in a script must not look like a finding.
const WRONG_CALL: u8 = 64;

#[derive(Debug, Subcommand)]
enum Command {
    /// Call every route of a configuration and look for what betrays the upstream: exit 0 nothing, 1 something, 2 not done
    Audit(audit::Arguments),
    /// Check configurations: exit 0 clean, 1 problems, 2 could not be read
    #[command(visible_alias = "validate")]
    Check(check::Arguments),
    /// Show a configuration as it takes effect, or compare two
    Config(config::Arguments),
    /// Run a gateway in front of a bundled Tinybird-like API with data
    Demo(demo::Arguments),
    /// Run only the bundled Tinybird-like API
    DemoUpstream(demo::UpstreamArguments),
    /// Add, verify, list and remove customers' own domains of a running gateway
    Domains(domains::Arguments),
    /// Explain a code that `check` prints, with a wrong and a right file
    Explain(explain::Arguments),
    /// Ask a running gateway whether it is ready: exit 0 if so, else 1
    Healthcheck(healthcheck::Arguments),
    /// Write a first configuration, also from an OpenAPI document
    Init(init::Arguments),
    /// Make, list and revoke API keys in a file of hashes
    Keys(keys::Arguments),
    /// Show what somebody has left of each limit, or forget what was counted
    Limits(limits::Arguments),
    /// Have a running gateway load its file again: exit 0 done, 1 problems, 2 not reached, 3 done but for a restart
    Reload(reload::Arguments),
    /// List what a configuration serves, and where it leads; `routes test` explains one request
    Routes(routes::Arguments),
    /// Serve a configuration
    Run(run::Arguments),
    /// Print the JSON Schema of configurations, for editors
    Schema(schema::Arguments),
    /// Make a token to try with, say why one is refused, or show what it says
    Token(token::Arguments),
    /// Have a new process take over from a running gateway, without a lost request: exit 0 done, 2 not done
    Upgrade(upgrade::Arguments),
    /// Show who used how much; `usage plan` says who would have been refused under other plans
    Usage(usage::Arguments),
    /// Print the version
    Version(version::Arguments),
}

/// Form of an answer, for commands that have these two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    Json,
    Text,
}

/// What a command ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    /// Everything worked.
    Success,
    /// Problems were found.
    Problems,
    /// It could not be done at all.
    Impossible,
    /// It was done, but for what only a restart can do.
    NeedsRestart,
    /// The arguments make no sense together.
    WrongCall,
}

/// What a command is called for.
#[derive(Clone, Copy, Debug)]
enum Answer {
    /// How it ends.
    Ending,
    /// What it prints and says.
    Words,
}

impl Ending {
    /// The same, unless what was to be read could not be written: then nothing has been answered.
    fn as_written(self) -> Self {
        match (self, UNWRITTEN.get()) {
            (Ending::Success | Ending::Problems, Some(error)) => {
                say(&format!("tollgate: the output cannot be written: {error}"));
                Ending::Impossible
            }
            (Ending::Impossible | Ending::NeedsRestart | Ending::WrongCall, _) | (_, None) => self,
        }
    }

    /// Says why something could not be done.
    fn could_not(error: &anyhow::Error) -> Self {
        say(&format!("tollgate: {error:#}"));
        Ending::Impossible
    }
}

/// Runs the command that the arguments name.
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(mut error) => {
            hide_words(&mut error);
            note(error.print());
            return ExitCode::from(match (error.use_stderr(), UNWRITTEN.get()) {
                (true, _) => WRONG_CALL,
                (false, Some(_)) => 2,
                (false, None) => 0,
            });
        }
    };
    let answer = arguments.command.answer();
    let failed = arguments.command.failed();
    let ending = match arguments.command {
        Command::Audit(arguments) => audit::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Config(arguments) => config::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::DemoUpstream(arguments) => demo::run_upstream(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Domains(arguments) => domains::run(&arguments),
        Command::Healthcheck(arguments) => healthcheck::run(&arguments),
        Command::Init(arguments) => init::run(&arguments),
        Command::Keys(arguments) => keys::run(&arguments),
        Command::Limits(arguments) => limits::run(&arguments),
        Command::Reload(arguments) => reload::run(&arguments),
        Command::Routes(arguments) => routes::run(&arguments),
        Command::Run(arguments) => run::run(&arguments),
        Command::Schema(arguments) => schema::run(&arguments),
        Command::Token(arguments) => token::run(&arguments),
        Command::Upgrade(arguments) => upgrade::run(&arguments),
        Command::Usage(arguments) => usage::run(&arguments),
        Command::Version(arguments) => version::run(&arguments),
    };
    let ending = ending.unwrap_or_else(|error| {
        say(&format!("tollgate: {error:#}"));
        failed
    });
    let ending = match answer {
        Answer::Ending => ending,
        Answer::Words => ending.as_written(),
    };
    match ending {
        Ending::Success => ExitCode::SUCCESS,
        Ending::Problems => ExitCode::from(1),
        Ending::Impossible => ExitCode::from(2),
        Ending::NeedsRestart => ExitCode::from(3),
        Ending::WrongCall => ExitCode::from(WRONG_CALL),
    }
}

impl Command {
    /// What it is run for.
    fn answer(&self) -> Answer {
        match self {
            // A gateway whose log is full has served all the same, and Docker keeps 2 for itself.
            Command::Healthcheck(_) | Command::Run(_) => Answer::Ending,
            Command::Audit(_)
            | Command::Check(_)
            | Command::Config(_)
            | Command::Demo(_)
            | Command::DemoUpstream(_)
            | Command::Domains(_)
            | Command::Explain(_)
            | Command::Init(_)
            | Command::Keys(_)
            | Command::Limits(_)
            | Command::Reload(_)
            | Command::Routes(_)
            | Command::Schema(_)
            | Command::Token(_)
            | Command::Upgrade(_)
            | Command::Usage(_)
            | Command::Version(_) => Answer::Words,
        }
    }

    /// What an error ends it with.
    fn failed(&self) -> Ending {
        match self {
            // A gateway that did not start, whatever the reason; and one that is not healthy: Docker keeps 2 for itself.
            Command::Demo(_) | Command::DemoUpstream(_) | Command::Healthcheck(_) | Command::Run(_) => Ending::Problems,
            Command::Audit(_)
            | Command::Check(_)
            | Command::Config(_)
            | Command::Domains(_)
            | Command::Explain(_)
            | Command::Init(_)
            | Command::Keys(_)
            | Command::Limits(_)
            | Command::Reload(_)
            | Command::Routes(_)
            | Command::Schema(_)
            | Command::Token(_)
            | Command::Upgrade(_)
            | Command::Usage(_)
            | Command::Version(_) => Ending::Impossible,
        }
    }
}

/// Takes a word that is one too many out of a sentence about it. Behind `-H Authorization: Bearer ...`, which lacks its
/// quotes, it is a credential.
fn hide_words(error: &mut clap::Error) {
    let is_option = |word: &ContextValue| matches!(word, ContextValue::String(word) if word.starts_with('-'));
    let is_word = error.get(ContextKind::InvalidArg).is_some_and(|word| !is_option(word));
    if error.kind() == ErrorKind::UnknownArgument && is_word {
        let hidden = "(a word that is one too many; it is not shown)";
        error.insert(ContextKind::InvalidArg, ContextValue::String(hidden.to_owned()));
    }
}

/// Loads a file for a command, and shows what is wrong with it.
fn load_or_explain(path: &Path) -> Result<Loaded, Ending> {
    explain(load(path, &Environment::of_process()), path)
}

/// Shows what was found in the file at `path`.
fn explain(loaded: Result<Loaded, Issues>, path: &Path) -> Result<Loaded, Ending> {
    match loaded {
        Ok(loaded) => {
            show(&loaded.warnings);
            Ok(loaded)
        }
        Err(issues) => {
            show(&issues);
            say(&format!("{}: {}", path.display(), issues.count()));
            Err(ending_for(&issues))
        }
    }
}

fn ending_for(issues: &Issues) -> Ending {
    let unreadable = issues.iter().any(|issue| issue.code == IssueCode::Unreadable && issue.place.is_none());
    if unreadable { Ending::Impossible } else { Ending::Problems }
}

/// `1 route`, `2 routes`.
fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// Why a line could not be written, the first time. There is one for the process, as there is one output.
static UNWRITTEN: OnceLock<io::Error> = OnceLock::new();

/// Remembers a line that could not be written. Whoever reads may have stopped reading, as `head` does: that is no fault.
fn note(written: io::Result<()>) {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let _ = UNWRITTEN.set(error);
        }
        Err(_) | Ok(()) => {}
    }
}

/// Issues as a person reads them, in colour where that shows.
fn show(issues: &Issues) {
    note(write!(anstream::stderr(), "{}", issues.render(Colour::Ansi)));
}

/// A line for the person at the terminal.
fn say(line: &str) {
    note(writeln!(anstream::stderr(), "{line}"));
}

/// A line of data.
fn print(line: &str) {
    note(writeln!(anstream::stdout(), "{line}"));
}
