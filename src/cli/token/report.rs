//! What `token verify` found out, for people and for programs.

use std::collections::BTreeMap;

use serde::Serialize;

use super::shown;

/// Whether it would be accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Accepted,
    Refused,
    /// Something is missing that it takes to tell.
    #[default]
    Unknown,
}

/// A verdict and what it rests on. Nothing of it is a secret.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    pub(super) verdict: Verdict,
    /// Why it is refused, or cannot be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<String>,
    /// The pattern of the route that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) route: Option<String>,
    /// Who judges it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) provider: Option<Named>,
    /// Who calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) caller: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tenant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scopes: Option<Vec<String>>,
    /// Where no route was asked for: the pipes that a Tinybird JWT opens.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) pipes: Vec<Pipe>,
    /// Parameters that the caller cannot change.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) fixed: BTreeMap<String, String>,
    /// What the caller gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) answer: Option<Answer>,
    /// What it says of itself, proven or not.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) says: BTreeMap<&'static str, String>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) help: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Named {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
}

#[derive(Debug, Serialize)]
pub(super) struct Pipe {
    pub(super) pipe: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tenant: Option<String>,
    pub(super) fixed: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) code: &'static str,
}

impl Report {
    /// For people: one fact a line.
    pub(super) fn text(&self) -> String {
        let verdict = match self.verdict {
            Verdict::Accepted => "accepted",
            Verdict::Refused => "refused",
            Verdict::Unknown => "unknown",
        };
        let mut lines = vec![line(verdict, self.why.as_deref().unwrap_or_default())];
        let mut add = |label: &str, value: Option<String>| lines.extend(value.map(|value| line(label, &shown(&value))));
        add("route", self.route.clone());
        add("provider", self.provider.as_ref().map(|provider| format!("{} ({})", provider.name, provider.kind)));
        add("caller", self.caller.clone());
        add("tenant", self.tenant.clone());
        add(
            "scopes",
            self.scopes.as_ref().map(|scopes| if scopes.is_empty() { "none".into() } else { scopes.join(" ") }),
        );
        for pipe in &self.pipes {
            let fixed = (!pipe.fixed.is_empty()).then(|| format!(", with {}", pairs(&pipe.fixed)));
            let tenant = pipe.tenant.as_ref().map(|tenant| format!(", tenant {tenant}"));
            add("pipe", Some([Some(pipe.pipe.clone()), fixed, tenant].into_iter().flatten().collect()));
        }
        add("fixed", Some(pairs(&self.fixed)).filter(|fixed| !fixed.is_empty()));
        add("answer", self.answer.as_ref().map(|answer| format!("{} {}", answer.status, answer.code)));
        let says: Vec<String> = self.says.iter().map(|(name, value)| format!("{name} {value}")).collect();
        for (index, fact) in says.iter().enumerate() {
            add(if index == 0 { "it says" } else { "" }, Some(fact.clone()));
        }
        if let Some(help) = &self.help {
            lines.push(line("help", help));
        }
        lines.join("\n")
    }
}

fn line(label: &str, value: &str) -> String {
    format!("{label:9} {value}").trim_end().to_owned()
}

fn pairs(fixed: &BTreeMap<String, String>) -> String {
    fixed.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ")
}
