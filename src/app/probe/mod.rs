//! Tries what a configuration names: upstreams, addresses, files.
//!
//! In: a loaded configuration. Out: one [`Finding`] for everything that was
//! tried, and an issue at its place for everything that does not work. Runs no
//! query, changes nothing, and ends within [`TIME`]. Not here: showing it
//! (`cli`).

mod certificates;
mod keys;
mod ledger;
mod local;
mod upstream;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::config::issue::{Issue, IssueCode, Issues, Severity};
use crate::config::scalar::Endpoint;
use crate::config::section::upstreams::Upstream;
use crate::config::{Config, Loaded};

/// For everything together: upstreams are tried side by side.
pub const TIME: Duration = Duration::from_secs(10);

/// Certificates are commonly renewed a month before their end: what is nearer was forgotten.
const ENDS_SOON_DAYS: u64 = 21;

/// Whole days.
fn days(time: Duration) -> u64 {
    time.as_secs() / (24 * 60 * 60)
}

/// What was tried, and what does not work.
#[derive(Debug, Default)]
pub struct Probed {
    /// In the order of the file's sections, upstreams by name.
    pub findings: Vec<Finding>,
    /// In file order.
    pub issues: Issues,
}

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about, like `upstream tinybird`.
    pub subject: String,
    /// What was tried.
    pub trial: Trial,
    /// How it went.
    pub grade: Grade,
    /// In words.
    pub words: String,
}

/// What can be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// Listening on an address.
    Address,
    /// A harmless request with the upstream's credential.
    Answer,
    /// Opening a connection.
    Connect,
    /// Fetching the public keys of an identity provider.
    Keys,
    /// Resolving a host name.
    Lookup,
    /// Whether the pipes of the routes are among those that the credential can read.
    Pipes,
    /// A handshake, and the certificate.
    Tls,
    /// Writing a file.
    Write,
}

/// How a trial went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grade {
    /// It does not work.
    Failed,
    /// It cannot be told from here, and need not be wrong.
    Note,
    /// It works.
    Ok,
    /// It works and deserves a look.
    Warning,
}

/// Tries everything that `loaded` names.
pub async fn probe(loaded: &Loaded, clock: &Clock) -> Probed {
    let config = &loaded.config;
    let upstreams = config.upstreams.iter().flat_map(|(name, section)| {
        section.endpoints().map(move |endpoint| {
            let subject = subject(name, section, endpoint);
            let (about, of) = ((subject.clone(), name.clone()), (section.clone(), endpoint.clone()));
            let trial = upstream::probe(about, of, pipes_of(config, name), clock.clone());
            ((subject, name.clone()), trial)
        })
    });
    let (trials, keys, certificates, ledger) = tokio::join!(
        side_by_side(upstreams),
        keys::probe(config, clock),
        certificates::probe(config, clock),
        ledger::probe(config)
    );
    let mut probed = Probed::default();
    for found in trials.into_values().chain([keys, certificates, local::probe(config, clock.wall()), ledger]) {
        let Trials { findings, problems } = found;
        probed.findings.extend(findings);
        problems.into_iter().for_each(|problem| probed.issues.push(problem.at_its_place(loaded)));
    }
    probed.issues.sort();
    probed
}

/// What is tried: an upstream, or one of its backends.
fn subject(name: &str, section: &Upstream, endpoint: &Endpoint) -> String {
    match section.endpoints().nth(1) {
        None => format!("upstream {name}"),
        Some(_) => format!("upstream {name} at {}", endpoint.authority()),
    }
}

/// The trials of upstreams by subject, whichever ends first. One that breaks off has failed: what nobody tried is not fine.
async fn side_by_side<T>(upstreams: impl Iterator<Item = ((String, String), T)>) -> BTreeMap<String, Trials>
where
    T: Future<Output = Trials> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    let mut trials = BTreeMap::new();
    for ((subject, name), trial) in upstreams {
        let mut untried = Trials::default();
        let title = format!("`{name}` could not be tried: the trial itself broke off");
        let help = "this is a fault of the program: please report it, with what stands above";
        let problem = Problem::new(IssueCode::NoUsefulAnswer, &["upstreams", &name], title, help);
        untried.problem(&subject, Trial::Answer, problem);
        trials.insert(subject.clone(), untried);
        tasks.spawn(async move { (subject, trial.await) });
    }
    while let Some(ended) = tasks.join_next().await {
        if let Ok((subject, found)) = ended {
            trials.insert(subject, found);
        }
    }
    trials
}

/// The pipes that routes take from an upstream.
fn pipes_of(config: &Config, upstream: &str) -> Vec<PipeRoute> {
    let routes = config.all_routes().filter(|at| config.upstream_of(at.route) == Some(upstream));
    let pipes = routes.filter_map(|at| Some((at, at.route.pipe.as_ref()?)));
    pipes
        .map(|(at, pipe)| PipeRoute {
            route: at.key.as_str().to_owned(),
            path: at.path(&["pipe"]).into_iter().map(str::to_owned).collect(),
            name: pipe.literal().map(str::to_owned),
        })
        .collect()
}

/// A route that a pipe answers.
#[derive(Clone, Debug)]
struct PipeRoute {
    route: String,
    /// The keys that lead to the pipe's name.
    path: Vec<String>,
    /// None where the path fills it.
    name: Option<String>,
}

/// What was found of one subject.
#[derive(Debug, Default)]
struct Trials {
    findings: Vec<Finding>,
    problems: Vec<Problem>,
}

impl Trials {
    fn note(&mut self, subject: &str, trial: Trial, grade: Grade, words: impl Into<String>) {
        self.findings.push(Finding { subject: subject.to_owned(), trial, grade, words: words.into() });
    }

    /// A trial that went wrong; the words are the problem's title.
    fn problem(&mut self, subject: &str, trial: Trial, problem: Problem) {
        let grade = match problem.code.severity() {
            Severity::Error => Grade::Failed,
            Severity::Warning => Grade::Warning,
        };
        self.note(subject, trial, grade, problem.title.clone());
        self.problems.push(problem);
    }
}

/// An issue before its place is looked up.
#[derive(Debug)]
struct Problem {
    code: IssueCode,
    path: Vec<String>,
    title: String,
    help: String,
}

impl Problem {
    fn new(code: IssueCode, path: &[&str], title: impl Into<String>, help: impl Into<String>) -> Self {
        let path = path.iter().map(|step| (*step).to_owned()).collect();
        Problem { code, path, title: title.into(), help: help.into() }
    }

    fn at_its_place(self, loaded: &Loaded) -> Issue {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        // An upstream as a whole is marked at its name; what has a value is marked there.
        let place = match path.as_slice() {
            ["upstreams", _] => loaded.key_place(&path),
            _ => loaded.value_place(&path),
        };
        Issue::at(self.code, place, self.title).help(self.help)
    }
}

/// `1 pipe`, `2 pipes`.
fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_trial_that_breaks_off_has_failed() {
        let tried = side_by_side(["a", "b"].into_iter().map(|name| {
            ((format!("upstream {name}"), name.to_owned()), async move {
                if name == "a" {
                    panic!("on purpose");
                }
                Trials::default()
            })
        }));
        let trials = tried.await;
        assert_eq!(trials.len(), 2);
        let broken = &trials["upstream a"];
        assert_eq!((broken.findings.len(), broken.problems.len()), (1, 1));
        assert_eq!((broken.findings[0].grade, broken.findings[0].subject.as_str()), (Grade::Failed, "upstream a"));
        assert!(trials["upstream b"].findings.is_empty());
    }
}
