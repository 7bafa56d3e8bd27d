//! Breaks a good file in every single place. What is not legal any more must be reported where it was broken, with what to
//! do about it, and nothing else must be reported as an error.
//!
//! What stays legal stands in `mutations.expect` (`UPDATE_EXPECT=1` writes it anew): read it as a list of mistakes that
//! nobody is told about.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_yaml::{Mapping, Value};
use tollgate::config::interpolate::Environment;
use tollgate::config::issue::{Issue, Issues, Severity};
use tollgate::config::load_text;

/// Files with every key, each with the folder that its relative paths start from.
const FILES: [&str; 2] = ["conf/full.yaml", "tests/config/cases/good/every_key.yaml"];

type Steps = Vec<String>;

/// A file with one mistake in it.
struct Mutation {
    /// What was done, for people.
    name: String,
    file: Value,
    /// Where the mistake is; for what was taken out, what it was taken out of.
    path: Steps,
    /// A word that a message about another place must have: what was taken out, or what others refer to.
    missed: Option<String>,
}

/// What is said about some mistakes.
#[derive(Default)]
struct Findings {
    /// Those that are legal.
    legal: String,
    /// Those that are reported elsewhere, without help, or besides.
    wrong: String,
    tried: usize,
}

#[test]
fn every_single_mistake_is_reported_where_it_is() {
    let found = FILES.map(|file| {
        let text = std::fs::read_to_string(file).expect("the file can be read");
        let root: Value = serde_yaml::from_str(&text).expect("the file is YAML");
        let folder = Path::new(file).parent().expect("a folder");
        assert_eq!(errors(&emitted(&root).text, folder).len(), 0, "{file} is right before it is broken");
        let mutations = mutations(&root);
        // They have nothing to do with each other, and there are thousands.
        let share = mutations.len().div_ceil(std::thread::available_parallelism().map_or(1, usize::from));
        std::thread::scope(|scope| {
            let parts: Vec<_> =
                mutations.chunks(share).map(|part| scope.spawn(|| Findings::of(file, folder, part))).collect();
            parts.into_iter().map(|part| part.join().expect("no mistake ends it")).collect::<Vec<_>>()
        })
    });
    let found: Vec<Findings> = found.into_iter().flatten().collect();
    let tried: usize = found.iter().map(|found| found.tried).sum();
    let legal: String = found.iter().map(|found| found.legal.as_str()).collect();
    let wrong: String = found.iter().map(|found| found.wrong.as_str()).collect();
    assert!(tried > 500, "only {tried} mistakes were tried");
    assert!(wrong.is_empty(), "these are reported elsewhere, without help, or besides:\n\n{wrong}");
    let expected = Path::new("tests/config/mutations.expect");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(expected, &legal).expect("the list can be written");
    }
    let known = std::fs::read_to_string(expected).unwrap_or_default();
    assert!(
        legal == known,
        "other mistakes than before are legal now; look at the list, then UPDATE_EXPECT=1:\n{legal}"
    );
}

impl Findings {
    fn of(file: &str, folder: &Path, mutations: &[Mutation]) -> Self {
        let mut findings = Findings { tried: mutations.len(), ..Findings::default() };
        for mutation in mutations {
            let emitted = emitted(&mutation.file);
            let found = errors(&emitted.text, folder);
            if found.is_empty() {
                let _ = writeln!(findings.legal, "{file}: {}", mutation.name);
            }
            for issue in found.iter().filter(|issue| !is_about(issue, mutation, &emitted)) {
                let (name, help) = (&mutation.name, &issue.help);
                let _ = writeln!(findings.wrong, "{file}: {name}\n{}  help: {help:?}\n", issue.summary());
            }
        }
        findings
    }
}

fn errors(text: &str, folder: &Path) -> Vec<Issue> {
    let environment = Environment::of([
        ("TINYBIRD_TOKEN", "p.token"),
        ("TINYBIRD_ADMIN_TOKEN", "p.an-admin-token-of-some-length-and-more"),
        ("TOKEN", "p.token"),
        ("SIGNING", "a-secret-that-is-long-enough-to-sign"),
        ("HOST", "api.example.com"),
        ("TOLLGATE_ADMIN_TOKEN", "a-token"),
    ]);
    let issues = match load_text("broken.yaml", text, PathBuf::from(folder), &environment) {
        Ok(_) => Issues::default(),
        Err(issues) => issues,
    };
    issues.iter().filter(|issue| issue.severity() == Severity::Error).cloned().collect()
}

/// Whether an issue helps with the mistake that was made.
fn is_about(issue: &Issue, mutation: &Mutation, emitted: &Emitted) -> bool {
    let help = issue.help.as_deref().unwrap_or_default();
    let (first, last) = *emitted.lines.get(&mutation.path).expect("a line");
    let line = issue.place.as_ref().map_or(0, |place| place.line_and_column().0);
    let names = |word: &String| issue.title.contains(word.as_str()) || help.contains(word.as_str());
    !help.is_empty() && ((first..=last).contains(&line) || mutation.missed.as_ref().is_some_and(names))
}

fn mutations(root: &Value) -> Vec<Mutation> {
    let mut found = Vec::new();
    for path in paths(root) {
        let shown = path.join(".");
        let mut add = |name: &str, file: Value, path: &[String], missed: Option<String>| {
            found.push(Mutation { name: format!("{shown}: {name}"), file, path: path.to_vec(), missed });
        };
        let (last, above) = path.split_last().expect("not the root");
        let value = at(root, &path);
        for (name, other) in others(value) {
            let mut file = root.clone();
            *at_mut(&mut file, &path) = other;
            add(name, file, &path, renamed(&path));
        }
        if let Value::Mapping(map) = at(root, above) {
            let mut file = root.clone();
            *at_mut(&mut file, above) =
                map.iter().filter(|(key, _)| key.as_str() != Some(last)).map(pair).collect::<Mapping>().into();
            add("removed", file, above, Some(last.clone()));
            let misspelt = format!("{last}{}", last.chars().last().expect("a name"));
            let mut file = root.clone();
            let rename = |(key, value): (&Value, &Value)| match key.as_str() == Some(last) {
                true => (Value::from(misspelt.as_str()), value.clone()),
                false => pair((key, value)),
            };
            *at_mut(&mut file, above) = map.iter().map(rename).collect::<Mapping>().into();
            add("misspelt", file, &[above, std::slice::from_ref(&misspelt)].concat(), renamed(&path));
        }
    }
    found
}

fn pair((key, value): (&Value, &Value)) -> (Value, Value) {
    (key.clone(), value.clone())
}

/// What others refer to by its name is missed there, too.
fn renamed(path: &[String]) -> Option<String> {
    let [section, name] = path else { return None };
    ["auth", "limits", "plans", "upstreams"].contains(&section.as_str()).then(|| name.clone())
}

/// Values that hardly belong where `value` stands.
fn others(value: &Value) -> Vec<(&'static str, Value)> {
    let word = Value::from("zzz");
    let list = Value::Sequence(vec![word.clone()]);
    let map = Value::Mapping(Mapping::from_iter([(word.clone(), Value::from(1))]));
    let mut others = vec![("emptied", Value::Null)];
    match value {
        Value::Mapping(_) => others.extend([("a word for a section", word), ("a list for a section", list)]),
        Value::Sequence(_) => others.extend([("a word for a list", word), ("a section for a list", map)]),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Tagged(_) => {
            others.extend([
                ("another word", word),
                ("a list for a value", list),
                ("a section for a value", map),
                ("a negative number", Value::from(-1)),
                ("a fraction", Value::from(0.5)),
                ("true", Value::from(true)),
                ("an empty text", Value::from("")),
                ("a variable that is not set", Value::from("${NOT_SET}")),
            ]);
            let digits: String = value.as_str().unwrap_or_default().chars().take_while(char::is_ascii_digit).collect();
            if !digits.is_empty() {
                others.push(("without its unit", Value::from(digits)));
            }
        }
    }
    others
}

/// The path of everything below the root.
fn paths(root: &Value) -> Vec<Steps> {
    fn visit(value: &Value, path: &[String], found: &mut Vec<Steps>) {
        let children: Vec<(String, &Value)> = match value {
            Value::Mapping(map) => {
                map.iter().map(|(key, value)| (key.as_str().expect("text").to_owned(), value)).collect()
            }
            Value::Sequence(items) => items.iter().enumerate().map(|(index, item)| (index.to_string(), item)).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Tagged(_) => Vec::new(),
        };
        for (step, child) in children {
            let path = [path, &[step]].concat();
            found.push(path.clone());
            visit(child, &path, found);
        }
    }
    let mut found = Vec::new();
    visit(root, &[], &mut found);
    found
}

fn at<'a>(root: &'a Value, path: &[String]) -> &'a Value {
    path.iter().fold(root, |value, step| match step.parse::<usize>() {
        Ok(index) if value.is_sequence() => value.get(index).expect("an item"),
        Ok(_) | Err(_) => value.get(step.as_str()).expect("a key"),
    })
}

fn at_mut<'a>(root: &'a mut Value, path: &[String]) -> &'a mut Value {
    path.iter().fold(root, |value, step| match step.parse::<usize>() {
        Ok(index) if value.is_sequence() => value.get_mut(index).expect("an item"),
        Ok(_) | Err(_) => value.get_mut(step.as_str()).expect("a key"),
    })
}

/// A file as text, one key or item a line, and the lines of each path.
struct Emitted {
    text: String,
    /// That have ended.
    line: usize,
    lines: BTreeMap<Steps, (usize, usize)>,
}

fn emitted(root: &Value) -> Emitted {
    let mut emitted = Emitted { text: String::new(), line: 0, lines: BTreeMap::new() };
    emitted.write(root, &mut Vec::new());
    emitted.lines.insert(Vec::new(), (0, emitted.line));
    emitted
}

impl Emitted {
    fn write(&mut self, value: &Value, path: &mut Steps) {
        let children: Vec<(String, String, &Value)> = match value {
            Value::Mapping(map) => map
                .iter()
                .map(|(key, value)| {
                    let key = key.as_str().expect("text");
                    (key.to_owned(), format!("{}:", scalar(&Value::from(key))), value)
                })
                .collect(),
            Value::Sequence(items) => {
                items.iter().enumerate().map(|(index, item)| (index.to_string(), "-".to_owned(), item)).collect()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Tagged(_) => Vec::new(),
        };
        for (step, start, child) in children {
            let _ = write!(self.text, "{}{start}", "  ".repeat(path.len()));
            let first = self.line + 1;
            path.push(step);
            let has_children = child.as_mapping().is_some_and(|map| !map.is_empty())
                || child.as_sequence().is_some_and(|items| !items.is_empty());
            if has_children {
                self.text.push('\n');
                self.line += 1;
                self.write(child, path);
            } else {
                let _ = writeln!(self.text, " {}", scalar(child));
                self.line += 1;
            }
            self.lines.insert(path.clone(), (first, self.line));
            path.pop();
        }
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => {
            let plain = |c: char| c.is_ascii_alphanumeric() || "/._%-".contains(c);
            let is_plain = !text.is_empty() && text.chars().all(plain) && !text.starts_with(['%', '-']);
            if is_plain { text.clone() } else { format!("{text:?}") }
        }
        Value::Mapping(_) => "{}".to_owned(),
        Value::Sequence(_) => "[]".to_owned(),
        Value::Tagged(_) => unreachable!("the files have no tags"),
    }
}
