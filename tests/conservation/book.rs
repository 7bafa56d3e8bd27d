//! What callers saw, in the ledger's words, and what the ledger says.
//!
//! In: requests as they ended, one book for each life of the gateway. Out: sums by tenant, route and class, to be compared
//! with each other: those of the ledger, or of whoever else is told what was used. Not here: making requests (`caller`).

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

/// The names of [`Sums`], as the ledger has them. How long the upstream took, nobody outside can know.
const NAMES: [&str; 8] =
    ["requests", "refusals", "retries", "request_bytes", "response_bytes", "rows_read", "bytes_read", "unmeasured"];

/// What is added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums(pub(crate) [u64; NAMES.len()]);

/// Under what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    pub(crate) tenant: &'static str,
    pub(crate) route: &'static str,
    pub(crate) class: u8,
}

/// Sums by tenant, route and class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account(BTreeMap<(String, String, u8), Sums>);

/// What became of the requests to a gateway, from its start to its end.
#[derive(Debug, Default)]
pub(crate) struct Book {
    /// When they had ended.
    ended: Vec<(Instant, Key, Sums)>,
    /// Those that the connection ended before.
    pub(crate) broken: Vec<Broken>,
}

/// A request of which nobody knows whether the gateway began with it.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) number: usize,
    /// All that it may be counted as.
    pub(crate) possible: Vec<(Key, Sums)>,
}

impl Book {
    pub(crate) fn end(&mut self, key: Key, sums: Sums) {
        self.ended.push((Instant::now(), key, sums));
    }

    /// Everything that has ended.
    pub(crate) fn account(&self) -> Account {
        Account::of(self.ended.iter().map(|(_, key, sums)| (key, sums)))
    }

    /// What had ended by then.
    pub(crate) fn account_until(&self, then: Instant) -> Account {
        Account::of(self.ended.iter().filter(|(at, ..)| *at <= then).map(|(_, key, sums)| (key, sums)))
    }

    /// The most that may be counted: what has ended, and whatever may have become of the rest.
    pub(crate) fn at_most(&self) -> Account {
        let broken = self.broken.iter().flat_map(|broken| &broken.possible).map(|(key, sums)| (key, sums));
        Account::of(self.ended.iter().map(|(_, key, sums)| (key, sums)).chain(broken))
    }

    /// How many requests have ended.
    pub(crate) fn count(&self) -> usize {
        self.ended.len()
    }

    /// How long ago so many of them had.
    pub(crate) fn age_of(&self, count: usize) -> Option<std::time::Duration> {
        self.ended.get(count).map(|(at, ..)| at.elapsed())
    }
}

impl Account {
    fn of<'a>(rows: impl Iterator<Item = (&'a Key, &'a Sums)>) -> Self {
        let mut account = Account::default();
        for (Key { tenant, route, class }, sums) in rows {
            account.add(((*tenant).to_owned(), (*route).to_owned(), *class), *sums);
        }
        account
    }

    /// What the ledger in this folder says, through the command for it.
    pub(crate) fn of_ledger(folder: &Path) -> Self {
        let output = Command::new(env!("CARGO_BIN_EXE_tollgate"))
            .args(["usage", "--by", "tenant,route,class", "--since", "2d", "--json", "--dir"])
            .arg(folder)
            .output()
            .expect("the program starts");
        let said = String::from_utf8_lossy(&output.stderr);
        if said.contains("there is no ledger") {
            return Account::default();
        }
        assert!(output.status.success(), "{said}");
        let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let mut account = Account::default();
        for row in said["usage"].as_array().expect("rows") {
            let word = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
            let class = word("class").trim_end_matches("xx").parse().expect("a class");
            let sums = NAMES.map(|name| row[name].as_u64().unwrap_or_else(|| panic!("no {name} in {row}")));
            account.add((word("tenant"), word("route"), class), Sums(sums));
        }
        account
    }

    /// What lines of an export say.
    pub(crate) fn of_lines<'a>(lines: impl Iterator<Item = &'a Value>) -> Self {
        let mut account = Account::default();
        for line in lines {
            let word = |name: &str| line[name].as_str().expect("a text").to_owned();
            let class = line["class"].as_u64().and_then(|class| u8::try_from(class).ok()).expect("a class");
            let sums = NAMES.map(|name| line[name].as_u64().unwrap_or_else(|| panic!("no {name} in {line}")));
            account.add((word("tenant"), word("route"), class), Sums(sums));
        }
        account
    }

    fn add(&mut self, key: (String, String, u8), Sums(more): Sums) {
        let Sums(sums) = self.0.entry(key).or_default();
        sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
    }

    /// What was added to an earlier account.
    pub(crate) fn since(mut self, earlier: &Account) -> Account {
        for (key, Sums(before)) in &earlier.0 {
            let Sums(sums) = self.0.get_mut(key).unwrap_or_else(|| panic!("{key:?} is gone"));
            sums.iter_mut().zip(before).for_each(|(sum, before)| *sum = sum.checked_sub(*before).expect("no less"));
        }
        self.0.retain(|_, sums| *sums != Sums::default());
        self
    }

    /// A sum of all.
    pub(crate) fn all(&self, name: &str) -> u64 {
        let index = NAMES.iter().position(|known| *known == name).expect("a sum");
        self.0.values().map(|Sums(sums)| sums[index]).sum()
    }

    /// Panics where it says nothing of what it is there to say.
    pub(crate) fn assert_mixed(&self) {
        for name in NAMES {
            assert!(self.all(name) > 0, "no {name}");
        }
        for class in [2, 4] {
            let limited = self.0.keys().any(|(_, route, found)| route == "/limited" && *found == class);
            assert!(limited, "no {class}xx where a limit is");
        }
    }

    /// Where this account says more than another, in words.
    pub(crate) fn beyond(&self, other: &Account) -> Vec<String> {
        let mut found = Vec::new();
        for (key, Sums(sums)) in &self.0 {
            let Sums(others) = other.0.get(key).copied().unwrap_or_default();
            for ((name, sum), other) in NAMES.iter().zip(sums).zip(others) {
                if *sum > other {
                    found.push(format!("{key:?}: {sum} instead of {other} {name}"));
                }
            }
        }
        found
    }
}
