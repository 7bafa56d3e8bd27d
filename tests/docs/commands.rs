//! docs/commands.md against `--help`: every command has its part, and every option is named there.

use std::collections::BTreeMap;

use crate::running::tollgate;
use crate::{markdown, project, read};

/// What clap adds by itself, and what the head of the page says once for all.
const OF_ALL: [&str; 3] = ["--config", "--help", "--version"];

#[test]
fn every_command_has_its_part_of_the_page() {
    let page = read(&project("docs/commands.md"));
    let parts = parts(&page);
    let rows: Vec<String> = markdown::rows(&page).map(|row| row[0].to_owned()).collect();
    let commands = commands(&[]);
    assert!(commands.len() > 10, "only {:?} were found", commands.keys());
    for (command, options) in commands {
        let part = parts.get(command.as_str());
        let part = part.unwrap_or_else(|| panic!("docs/commands.md has no heading `## {command}`"));
        for option in options {
            assert!(part.contains(&option), "docs/commands.md does not name {option} below `## {command}`");
        }
        let start = format!("[`{command}`](#");
        assert!(rows.iter().any(|row| row.starts_with(&start)), "the first table of docs/commands.md has no {command}");
    }
}

/// Every command that can be called, as it is written, with its long options.
fn commands(above: &[String]) -> BTreeMap<String, Vec<String>> {
    let output = tollgate(&[above, &["--help".to_owned()]].concat()).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let mut found = BTreeMap::new();
    let names = below(&help, "Commands:").filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    for name in names.filter(|name| !name.is_empty() && *name != "help") {
        found.extend(commands(&[above, &[name.to_owned()]].concat()));
    }
    // Some only hold others.
    let usage = help.lines().find(|line| line.starts_with("Usage:")).unwrap_or_default();
    if !usage.ends_with("<COMMAND>") {
        let lines = below(&help, "Options:").filter(|line| line.trim_start().starts_with('-'));
        let words = lines.flat_map(|line| line.split(' '));
        let options = words.filter(|word| word.starts_with("--") && !OF_ALL.contains(word));
        found.insert(above.join(" "), options.map(str::to_owned).collect());
    }
    found
}

/// The lines of a help below a heading, up to the next one.
fn below<'a>(help: &'a str, heading: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = help.lines().skip_while(move |line| *line != heading).skip(1);
    lines.take_while(|line| line.is_empty() || line.starts_with(' '))
}

/// What stands below each second-level heading.
fn parts(page: &str) -> BTreeMap<&str, &str> {
    page.split("\n## ").skip(1).filter_map(|part| part.split_once('\n')).collect()
}
