//! `tollgate init [DIR]`: a first configuration, from nothing or from an OpenAPI document.
//!
//! In: options, and answers where somebody is there to give them. Out: files
//! that pass `tollgate check`, what was not converted, the next commands.
//! Not here: reading the document (`upstream::catalogue`).

mod ask;
mod files;
mod import;
mod text;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::config::interpolate::Environment;
use crate::config::load_text;
use crate::config::scalar::Endpoint;
use crate::config::schema;

use super::{Ending, print, say, show};
use files::File;
use import::Import;
use text::Facts;

const UPSTREAM_URL: &str = "https://api.tinybird.co";
const TOKEN_VARIABLE: &str = "TINYBIRD_TOKEN";

#[derive(Debug, clap::Args)]
#[command(before_help = "\
Examples:
  tollgate init                     asks two questions, and writes here
  tollgate init my-gateway --yes    asks nothing
  tollgate init --from-openapi https://api.tinybird.co/v0/pipes/openapi.json --token-env TINYBIRD_TOKEN")]
pub(super) struct Arguments {
    /// The folder to write to; it is made if need be
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// Ask nothing, and take what the other options leave open by default
    #[arg(short, long)]
    yes: bool,
    /// Make a route for each pipe of an OpenAPI document
    #[arg(long, value_name = "URL|FILE")]
    from_openapi: Option<String>,
    /// Where the API is; left out: what the document says, or https://api.tinybird.co
    #[arg(long, value_name = "URL")]
    upstream_url: Option<String>,
    /// The environment variable with the API's token; also sent to where the document is
    #[arg(long, value_name = "NAME")]
    token_env: Option<String>,
    /// Replace files that are there
    #[arg(long)]
    force: bool,
}

/// The options that must be something. Read here and not by clap, which would show what it cannot read: a credential
/// may stand in it.
#[derive(Debug)]
struct Given {
    url: Option<Endpoint>,
    variable: Option<Variable>,
}

impl Given {
    fn of(arguments: &Arguments) -> Result<Self, String> {
        let url = arguments.upstream_url.as_deref().map(|url| match url.parse() {
            Ok(url) => Ok(url),
            // Its own sentence may quote it.
            Err(_) if url.contains(['@', '?', '#', ' ']) || !url.contains("://") => {
                Err(format!("--upstream-url: this is not the URL of an API: write it like {UPSTREAM_URL}"))
            }
            Err(problem) => Err(format!("--upstream-url: {problem}")),
        });
        let variable = arguments.token_env.as_deref().map(str::parse).transpose();
        Ok(Given { url: url.transpose()?, variable: variable.map_err(|problem| format!("--token-env: {problem}"))? })
    }
}

/// The name of an environment variable.
#[derive(Clone, Debug)]
struct Variable(String);

impl FromStr for Variable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_name = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        match is_name {
            true => Ok(Variable(text.to_owned())),
            // It is not quoted: it may be the token itself.
            false => Err(format!("this is not the name of a variable: write it like {TOKEN_VARIABLE}")),
        }
    }
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let given = match Given::of(arguments).and_then(|given| {
        import::check(arguments.from_openapi.as_deref())?;
        Ok(given)
    }) {
        Ok(given) => given,
        Err(problem) => {
            say(&format!("tollgate: {problem}"));
            return Ok(Ending::WrongCall);
        }
    };
    let names = files::names();
    let there = files::existing(&arguments.folder, &names);
    if !there.is_empty() && !arguments.force {
        let (verb, them) = if there.len() == 1 { ("is", "it") } else { ("are", "them") };
        let there = there.join(", ");
        say(&format!("{there} {verb} there already, and nothing was written: --force replaces {them}"));
        return Ok(Ending::Problems);
    }
    let import = match &arguments.from_openapi {
        None => None,
        Some(from) => match import::import(from, given.variable.as_ref()) {
            Ok(import) => Some(import),
            Err(problem) => {
                say(&format!("{problem}; nothing was written"));
                return Ok(Ending::Impossible);
            }
        },
    };
    if let Some(import) = &import {
        say(&import.report());
        if import.routes.is_empty() {
            say("Nothing could be converted, so nothing was written.");
            return Ok(Ending::Problems);
        }
    }
    let Some(facts) = facts(arguments, given, import.as_ref())? else {
        say("The document does not say where the API is, and nothing was written: add --upstream-url URL");
        return Ok(Ending::Problems);
    };
    let config = text::configuration(&facts, import.as_ref());
    if !passes(&config, &facts, import.as_ref()) {
        return Ok(Ending::Problems);
    }
    let written = [
        File::open(files::CONFIG, config),
        File::closed(files::VARIABLES, text::variables(&facts)),
        File::open(files::SCHEMA, schema::text()),
    ];
    files::write(&arguments.folder, &written)?;
    finish(&arguments.folder, &written);
    Ok(match import.is_some_and(|import| import.has_dropped()) {
        true => Ending::Problems,
        false => Ending::Success,
    })
}

/// What the file needs to know, from options, the document, or whoever sits there.
fn facts(arguments: &Arguments, given: Given, import: Option<&Import>) -> anyhow::Result<Option<Facts>> {
    let derived = import.and_then(|import| import.upstream.clone());
    let Given { url, mut variable } = given;
    let mut url = url.or(derived);
    let somebody_is_there = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if !arguments.yes && somebody_is_there {
        let (mut input, mut output) = (std::io::stdin().lock(), anstream::stderr());
        let mut questions = ask::Questions { input: &mut input, output: &mut output };
        if url.is_none() {
            url = Some(questions.ask("Where is the API?", UPSTREAM_URL)?);
        }
        if variable.is_none() {
            variable = Some(questions.ask("Which environment variable will have its token?", TOKEN_VARIABLE)?);
        }
    }
    if url.is_none() && import.is_none() {
        url = UPSTREAM_URL.parse().ok();
    }
    let variable = variable.map_or_else(|| TOKEN_VARIABLE.to_owned(), |Variable(name)| name);
    Ok(url.map(|url| Facts { url, variable }))
}

/// Whether the text is the configuration that it was meant to be: what a document says must not be able to break it.
fn passes(config: &str, facts: &Facts, import: Option<&Import>) -> bool {
    let environment = Environment::of([(facts.variable.as_str(), "p.stands-in-for-the-token")]);
    let routes = import.map_or(1, |import| import.routes.len());
    match load_text(files::CONFIG, config, PathBuf::new(), &environment) {
        Ok(loaded) if loaded.config.routes.len() == routes => true,
        Ok(_) => {
            say("The document makes other routes than it has pipes, so nothing was written.");
            false
        }
        Err(issues) => {
            show(&issues);
            say("What the document makes is no configuration that works, so nothing was written.");
            false
        }
    }
}

/// What was written, and what to do now.
fn finish(folder: &Path, written: &[File]) {
    for file in written {
        say(&format!("wrote {}", folder.join(file.name).display()));
    }
    let at = |name: &str| files::for_a_shell(&folder.join(name));
    let (example, variables, config) = (at(files::VARIABLES), at(".env"), at(files::CONFIG));
    print(&format!(
        "Next: write the token into a copy of {example}, check, serve:
  cp {example} {variables} && chmod 600 {variables} && ${{EDITOR:-vi}} {variables}
  set -a; . {variables}; set +a; tollgate check {config}
  tollgate run -c {config}"
    ));
}

#[cfg(test)]
mod tests;
